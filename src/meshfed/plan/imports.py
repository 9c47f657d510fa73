"""What is imported, kept up offer by offer: what its remote's rules say, whether it fits, what its host becomes.

An offer is judged by itself when it, its remote or the local Service of its host changes. What the offers of
several remotes mean for each other is worked out per host, when the host is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from meshfed import istio
from meshfed.api.v1alpha1 import FederatedService, FederatedServiceSpec
from meshfed.federation.imports import Verdict, judge, recorded_offer
from meshfed.federation.limits import Quota, Standing, over_limit, standing
from meshfed.federation.merging import Candidate, merge
from meshfed.model.imports import Import
from meshfed.model.meshes import LocalMesh, is_ip
from meshfed.model.offers import Offer, Refusal, checked
from meshfed.model.reasons import Decision, Reason
from meshfed.plan.judging import Judging, Unjudged
from meshfed.plan.keys import ImportKey, Mark, MeshStatusKey, OfferKey, RemoteStatusKey
from meshfed.plan.overrides import matches
from meshfed.plan.remotes import Peer, Remotes
from meshfed.plan.surroundings import Surroundings
from meshfed.plan.tallies import Tally
from meshfed.plan.values import Outcome

MAX_ADDRESSES: Final = 64
"""The most IPs of one name that are used, as many as a RemoteMesh may list by itself."""


class _Entry(msgspec.Struct, frozen=True):
    """One offer by itself: the host it would be imported as, and why it is not, or what it brings."""

    remote: str
    standing: Standing
    host: str = ""
    refusal: Decision | None = None
    candidate: Candidate | None = None


class Imports:
    """The offers of all remotes, and the hosts that they become.

    ``settled`` is called with a host of which something else has become.
    """

    def __init__(
        self,
        mark: Mark,
        surroundings: Surroundings,
        remotes: Remotes,
        settled: Callable[[str], None],
        judging: Judging,
        *,
        namespace: str,
    ) -> None:
        self._mark = mark
        self._judging = judging
        self._namespace = namespace
        self._settled = settled
        self._surroundings = surroundings
        self._remotes = remotes
        self._mesh: LocalMesh | None = None
        self._offers: dict[str, FederatedService] = {}
        self._entries: dict[str, _Entry] = {}
        self._by_host: dict[str, set[str]] = {}
        self._by_remote: dict[str, set[str]] = {}
        self._quotas: dict[str, Quota] = {}
        self._resolved: dict[str, tuple[str, ...]] = {}
        self._needing: dict[str, set[str]] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._stale: set[str] = set()
        self._tally = Tally()
        self._imported = 0

    # --- inputs -----------------------------------------------------------------------------------

    def configure(self, mesh: LocalMesh | None) -> None:
        """Take in this mesh; a change of it asks about every offer."""
        if mesh == self._mesh:
            return
        self._mesh = mesh
        for entry in self._entries.values():
            if entry.host:
                self._touch(entry.host, entry.remote)
        for record, offer in self._offers.items():
            self._mark(OfferKey(record), offer.spec.remote)
            self.refresh(record)

    def remote_changed(self, name: str) -> None:
        """Take note of a change to a remote that its imports depend on."""
        peer = self._remotes.get(name)
        quota = self._quotas.setdefault(name, Quota())
        limit = peer.rules.limit if peer is not None and peer.rules is not None else 0
        self._displaced(quota.resize(limit))
        for record in sorted(self._by_remote.get(name, ())):
            self.refresh(record)
        if peer is None and not quota:
            del self._quotas[name]

    def offer_changed(self, record: str, offer: FederatedService | None) -> None:
        """Take in a FederatedService; its status, which we write ourselves, changes nothing."""
        before = self._offers.get(record)
        if offer is None or offer.metadata.deletion_timestamp:
            self._offers.pop(record, None)
        else:
            self._offers[record] = offer
            if before is not None and before.spec == offer.spec and _head(before) == _head(offer):
                return
        known = offer or before
        if known is not None:
            self._mark(OfferKey(record), known.spec.remote)
        self.refresh(record)

    def surroundings_changed(self, pattern: str) -> None:
        """Take note that something beside the offers decides otherwise about a host, or about those of a wildcard."""
        hosts = [host for host in self._by_host if matches(pattern, host)] if "*" in pattern else [pattern]
        for host in hosts:
            for record in sorted(self._by_host.get(host, ())):
                self.refresh(record)

    def local_changed(self, host: str) -> None:
        """Take note that the local Service of a host is another."""
        if host in self._by_host:
            self._touch(host, "")
            self.surroundings_changed(host)

    def resolution_changed(self, host_name: str, addresses: tuple[str, ...]) -> None:
        """Take in an answer of DNS; no answer keeps the last one."""
        answers = tuple(sorted(set(addresses)))[:MAX_ADDRESSES]
        if answers and answers != self._resolved.get(host_name):
            self._resolved[host_name] = answers
            for host in self._needing.get(host_name, ()):
                self._touch(host, host_name)

    # --- one offer by itself ----------------------------------------------------------------------

    def refresh(self, record: str) -> None:
        """Judge an offer again, and mark whatever that changes."""
        before = self._entries.get(record)
        offer = self._offers.get(record)
        after = self._judging.judge(("FederatedService", self._namespace, record), lambda: self._judge(record, offer))
        if isinstance(after, Unjudged) or before == after:
            return
        if before is not None:
            self._forget(record, before, after)
        if after is not None:
            self._entries[record] = after
            self._by_remote.setdefault(after.remote, set()).add(record)
            if after.host:
                self._by_host.setdefault(after.host, set()).add(record)
                self._touch(after.host, after.remote)
            if after.refusal is None and not _queues_as(before, after):
                self._displaced(self._quota(after.remote).add(after.standing))
        for remote in dict.fromkeys(entry.remote for entry in (before, after) if entry is not None):
            self._turned(record, remote)
            self._mark(RemoteStatusKey(remote))

    def _forget(self, record: str, entry: _Entry, successor: _Entry | None) -> None:
        del self._entries[record]
        self._discard(self._by_remote, entry.remote, record)
        if entry.host:
            self._discard(self._by_host, entry.host, record)
            self._touch(entry.host, entry.remote)
        if entry.refusal is None and not _queues_as(successor, entry):
            self._displaced(self._quota(entry.remote).remove(entry.standing))

    @staticmethod
    def _discard(index: dict[str, set[str]], key: str, record: str) -> None:
        index[key].discard(record)
        if not index[key]:
            del index[key]

    def _quota(self, remote: str) -> Quota:
        return self._quotas.setdefault(remote, Quota())

    def _displaced(self, records: Iterable[str]) -> None:
        """Mark the offers that the limit now lets in, or no more."""
        for record in records:
            self._turned(record, self.remote_of(record))
            entry = self._entries.get(record)
            if entry is not None:
                self._touch(entry.host, entry.remote)

    def _turned(self, record: str, flow: str) -> None:
        """Have it told and counted that something else became of an offer, or may have."""
        self._mark(OfferKey(record), flow)
        entry, decision = self._entries.get(record), None
        if entry is not None:
            decision = self._refusal(entry) or self._outcomes.get(entry.host, Outcome()).decisions.get(record)
        for remote in self._tally.change(record, entry.remote if entry is not None else "", decision):
            self._mark(RemoteStatusKey(remote))

    def _judge(self, record: str, offer: FederatedService | None) -> _Entry | None:
        if offer is None:
            return None
        spec = offer.spec
        place = standing(spec.first_offered, record)
        accepted = self._admitted_by_rules(spec)
        if isinstance(accepted, Decision):
            return _Entry(remote=spec.remote, standing=place, refusal=accepted)
        peer, verdict, announced = accepted
        candidate = Candidate(
            record=record,
            remote=peer.remote,
            offer=announced,
            merge=verdict.merge,
            first_offered=spec.first_offered,
            export_to=peer.rules.export_to if peer.rules is not None else ("*",),
            outlier_detection=peer.outlier_detection,
        )
        fitted = self._surroundings.fit(verdict, candidate)
        return _Entry(
            remote=spec.remote,
            standing=place,
            host=verdict.host,
            refusal=fitted if isinstance(fitted, Decision) else None,
            candidate=None if isinstance(fitted, Decision) else fitted,
        )

    def _admitted_by_rules(self, spec: FederatedServiceSpec) -> tuple[Peer, Verdict, Offer] | Decision:
        if self._mesh is None:
            return _refused(Reason.NO_MESH_FEDERATION, "there is no MeshFederation, so nothing is imported")
        peer = self._remotes.get(spec.remote)
        if peer is None:
            return _refused(Reason.REMOTE_MISSING, f"there is no RemoteMesh {spec.remote}")
        ourselves = self._remotes.is_ourselves(self._mesh, spec.remote)
        if ourselves is not None:
            return ourselves
        judged = checked(recorded_offer(spec), peer.remote.trust_domain)
        if isinstance(judged, Refusal):
            reason = Reason.INVALID_PORTS if judged.field == "ports" else Reason.INVALID_HOST
            return _refused(reason, spec.problem or judged.message)
        verdict = judge(self._mesh, peer.remote, peer.rules, judged.offer)
        return (peer, verdict, judged.offer) if verdict.decision.accepted else verdict.decision

    def judge(self, spec: FederatedServiceSpec) -> Decision:
        """Return what the rules of its remote make of an offer that need not be recorded."""
        accepted = self._admitted_by_rules(spec)
        return accepted if isinstance(accepted, Decision) else accepted[1].decision

    # --- one host ---------------------------------------------------------------------------------

    def _touch(self, host: str, flow: str) -> None:
        """Have a host worked out in the turn of whoever gave reason to, who need not be the only one that serves it."""
        self._stale.add(host)
        self._mark(ImportKey(host), flow)

    def reconcile(self, host: str) -> tuple[istio.Manifest, ...]:
        """Return the objects that carry a host, and settle what becomes of the offers for it."""
        entries = [self._entries[record] for record in sorted(self._by_host.get(host, ()))]
        merged = merge(
            host,
            [
                entry.candidate
                for entry in entries
                if entry.candidate is not None and self._quota(entry.remote).admits(entry.standing)
            ],
        )
        objects: tuple[istio.Manifest, ...] = ()
        outcome = Outcome(decisions=merged.decisions)
        if merged.imported is not None and self._mesh is not None:
            objects, outcome = self._render(self._mesh, merged.imported, merged.decisions)
        self._stale.discard(host)
        self._record(host, outcome)
        return objects

    def _render(
        self, mesh: LocalMesh, imported: Import, decisions: dict[str, Decision]
    ) -> tuple[tuple[istio.Manifest, ...], Outcome]:
        local = self._surroundings.local(imported.host)
        rule = istio.import_rule(mesh, imported)
        names: frozenset[str] = frozenset()
        if local is None:
            objects = [istio.import_entry(mesh, imported)]
            reached = {backend.remote.name for backend in imported.backends if backend.remote.addresses}
        else:
            entries = istio.workload_entries(mesh, imported, local, self._resolved)
            objects = entries if not isinstance(entries, Decision) else []
            names = frozenset(
                address for backend in imported.backends for address in backend.remote.addresses if not is_ip(address)
            )
            reached = {
                backend.remote.name
                for backend in imported.backends
                if any(is_ip(address) or address in self._resolved for address in backend.remote.addresses)
            }
        if rule is not None and objects:
            objects = [*objects, rule]
        return tuple(objects), Outcome(
            decisions=decisions,
            imported=imported,
            objects=tuple(_reference(manifest) for manifest in objects),
            names=names,
            unresolved=frozenset(backend.remote.name for backend in imported.backends) - reached,
        )

    def _record(self, host: str, after: Outcome) -> None:
        """Keep what became of a host, and mark who has to be told."""
        before = self._outcomes.get(host, Outcome())
        if before == after:
            return
        self._imported += (after.imported is not None) - (before.imported is not None)
        for name in before.names - after.names:
            self._discard(self._needing, name, host)
        for name in after.names - before.names:
            self._needing.setdefault(name, set()).add(host)
        if after == Outcome():
            self._outcomes.pop(host, None)
        else:
            self._outcomes[host] = after
        for record in before.decisions.keys() | after.decisions.keys():
            self._turned(record, self.remote_of(record))
        self._mark(MeshStatusKey())
        self._settled(host)

    # --- for the status ---------------------------------------------------------------------------

    def offer(self, record: str) -> FederatedService | None:
        """Return the FederatedService of that name."""
        return self._offers.get(record)

    def remote_of(self, record: str) -> str:
        """Return the remote that a FederatedService is of; empty where it is gone."""
        entry = self._entries.get(record)
        return entry.remote if entry is not None else ""

    def decision(self, record: str) -> tuple[Decision, str]:
        """Return what became of an offer, and the host that it is imported as, empty where it is not."""
        entry = self._entries[record]
        decision = self._refusal(entry) or self.outcome(entry.host).decisions[record]
        return decision, entry.host if decision.accepted else ""

    def _refusal(self, entry: _Entry) -> Decision | None:
        """Return why an offer is not imported, whoever else offers its host; ``None`` where that decides."""
        quota = self._quota(entry.remote)
        if entry.refusal is not None or quota.admits(entry.standing):
            return entry.refusal
        return over_limit(entry.remote, quota.limit)

    def outcome(self, host: str) -> Outcome:
        """Return what became of a host."""
        if host in self._stale:
            self.reconcile(host)
        return self._outcomes.get(host, Outcome())

    def served_by(self, host: str) -> frozenset[str]:
        """Return the remotes that serve a host, as it was settled last."""
        imported = self._outcomes.get(host, Outcome()).imported
        return frozenset(backend.remote.name for backend in imported.backends) if imported is not None else frozenset()

    def records(self, host: str) -> Iterable[str]:
        """Return the names of the FederatedServices that would be imported as a host."""
        return self._by_host.get(host, ())

    def offered(self, remote: str) -> int:
        """How many offers of a remote are recorded."""
        return len(self._by_remote.get(remote, ()))

    def accepted(self, remote: str) -> int:
        """How many offers of a remote are imported."""
        return self._tally.accepted(remote)

    def refused(self, remote: str) -> Mapping[Reason, int]:
        """How many offers of a remote are recorded and not imported, by reason."""
        return self._tally.refused(remote)

    @property
    def count(self) -> int:
        """How many hosts are imported."""
        return self._imported

    def names_to_resolve(self) -> frozenset[str]:
        """Return the host names of remotes that some WorkloadEntry needs the IPs of."""
        return frozenset(self._needing)


def _head(offer: FederatedService) -> tuple[str, int]:
    return offer.metadata.uid, offer.metadata.generation


def _queues_as(one: _Entry | None, other: _Entry) -> bool:
    """Whether both stand in the same place of the same queue."""
    return one is not None and one.refusal is None and (one.remote, one.standing) == (other.remote, other.standing)


def _refused(reason: Reason, message: str) -> Decision:
    return Decision(accepted=False, reason=reason, message=message)


def _reference(manifest: istio.Manifest) -> str:
    meta = manifest["metadata"]
    return f"{manifest['kind']} {meta['namespace']}/{meta['name']}"
