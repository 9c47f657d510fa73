"""What is imported: what each offer comes to, and what each host that remotes serve becomes.

An offer is judged by itself, by its remote's rules and by whether it fits in here. Which of them are within their
remote's limit, and what the offers of several remotes for one host mean for each other, comes after that. All of it is
derived (`meshfed.derive`), one function a question; what is rendered is worked out for who writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final

import msgspec

from meshfed import istio
from meshfed.api.v1alpha1 import FederatedService, FederatedServiceSpec
from meshfed.derive import Context, Derived, Graph, Index, Input, Leading, Tally, Unknown
from meshfed.federation.import_limit import Standing, over_limit, standing
from meshfed.federation.imports import Verdict, judge, recorded_offer
from meshfed.federation.merging import Candidate, Merged, merge
from meshfed.model.imports import Import
from meshfed.model.meshes import LocalMesh, is_ip
from meshfed.model.offers import Offer, Refusal, checked
from meshfed.model.reasons import Decision, Reason
from meshfed.plan.keys import ImportKey, Mark, MeshStatusKey, OfferKey, RemoteStatusKey
from meshfed.plan.remotes import Peer, Remotes, ourselves
from meshfed.plan.surroundings import Surroundings
from meshfed.plan.values import THIS, HostOutcome, Outputs

MAX_ADDRESSES: Final = 64
"""The most IPs of one name that are used, as many as a RemoteMesh may list by itself."""


class Judged(msgspec.Struct, frozen=True):
    """An offer by itself: the host it would be imported as, and why it is not, or what it brings."""

    remote: str
    standing: Standing
    host: str = ""
    refusal: Decision | None = None
    candidate: Candidate | None = None


class Fate(msgspec.Struct, frozen=True):
    """What becomes of an offer, and as which host it is imported, empty where it is not."""

    remote: str
    decision: Decision
    host: str = ""


class Imports:
    """The offers of all remotes, and the hosts that they become.

    ``settled`` is called with a host of which something else has become. ``is_dirty`` says whether a host waits to be
    worked out.
    """

    JUDGED: ClassVar = "the offer"
    FATE: ClassVar = "what becomes of offer"
    MERGED: ClassVar = "the import of"
    COUNTS: ClassVar = "the offers of RemoteMesh"

    def __init__(
        self,
        graph: Graph,
        mark: Mark,
        *,
        meshes: Input[str, LocalMesh],
        surroundings: Surroundings,
        remotes: Remotes,
        settled: Callable[[str], None],
        is_dirty: Callable[[ImportKey], bool],
    ) -> None:
        self._graph = graph
        self._is_dirty = is_dirty
        self.flow = ""
        """Whose turn it is."""
        self._mark = mark
        self._settled = settled
        self._surroundings = surroundings
        self._peers = remotes.peers
        self._meshes = meshes
        self._offers = Input[str, FederatedService](graph, "FederatedService")
        self._unread: dict[str, tuple[str, ...]] = {}
        """The FederatedServices that are unknown, and the hosts that they may be for."""
        self._judged = Derived[str, Judged](graph, self.JUDGED, self._judge, over=[self._offers])
        self._queue = Index(graph, "queue of", self._judged, _queue_of, perhaps=lambda _: (), order=_standing_of)
        self._by_host = Index(graph, "offers as", self._judged, _host_of, perhaps=self._perhaps_as)
        self._limits = Derived[str, int](graph, "the limit of RemoteMesh", self._limit, over=[self._peers])
        self._within = Leading(graph, "within the limit", self._queue, self._limits)
        self._merged = Derived[str, Merged](graph, self.MERGED, self._merge, over=[self._by_host], output=True)
        self._fates = Derived[str, Fate](graph, self.FATE, self._fate, over=[self._judged], output=True)
        self._counts = Tally(graph, self.COUNTS, self._fates, _reason_of, output=True)
        self._resolved: dict[str, tuple[str, ...]] = {}
        self._needing: dict[str, set[str]] = {}
        self._outcomes: dict[str, HostOutcome] = {}
        self._imported = 0

    # --- inputs -----------------------------------------------------------------------------------

    def configure(self, mesh: LocalMesh | None) -> None:
        """Take note of this mesh, before it is another; a change of it asks about everything."""
        if mesh == self._mesh:
            return
        for host in self._by_host.known_keys():
            self._mark(ImportKey(host))
        for record in self._offers.known_keys():
            self._mark(OfferKey(record), self.remote_of(record))

    def offer_changed(self, record: str, offer: FederatedService | None) -> None:
        """Take in a FederatedService; its status, which we write ourselves, changes nothing."""
        before = self.offer(record)
        if offer is not None and offer.metadata.deletion_timestamp:
            offer = None
        if before is not None and offer is not None and before.spec == offer.spec and _head(before) == _head(offer):
            return
        known = offer or before
        if known is not None:
            self._mark(OfferKey(record), known.spec.remote)
            self._offers.put(record, offer, known.spec.remote)

    def offer_unknown(self, record: str, reason: str, hosts: Sequence[str]) -> None:
        """Take note of a FederatedService of which nobody can say what it is, but that it may be for these hosts."""
        self._unread[record] = tuple(hosts)
        self._offers.unknown(record, reason)

    def offer_known(self, record: str) -> None:
        """Take note that a FederatedService is what was given since, or gone."""
        self._offers.clear(record)
        self._unread.pop(record, None)

    def resolution_changed(self, host_name: str, addresses: tuple[str, ...]) -> None:
        """Take in an answer of DNS; no answer keeps the last one."""
        answers = tuple(sorted(set(addresses)))[:MAX_ADDRESSES]
        if answers and answers != self._resolved.get(host_name):
            self._resolved[host_name] = answers
            for host in self._needing.get(host_name, ()):
                self._mark(ImportKey(host), host_name)

    # --- one offer --------------------------------------------------------------------------------

    def _judge(self, context: Context, record: str) -> Judged | None:
        """Return what an offer is by itself."""
        offer = context.get(self._offers, record)
        if offer is None:
            return None
        spec = offer.spec
        place = standing(spec.first_offered, record)
        mesh, peer = context.get(self._meshes, THIS), context.get(self._peers, spec.remote)
        accepted = _admitted_by_rules(mesh, peer, spec)
        if isinstance(accepted, Decision):
            return Judged(remote=spec.remote, standing=place, refusal=accepted)
        mesh, peer, verdict, announced = accepted
        candidate = Candidate(
            record=record,
            remote=peer.remote,
            offer=announced,
            merge=verdict.merge,
            first_offered=spec.first_offered,
            export_to=peer.rules.export_to if peer.rules is not None else ("*",),
            outlier_detection=peer.outlier_detection,
        )
        fitted = self._surroundings.fit(context, mesh, verdict, candidate)
        return Judged(
            remote=spec.remote,
            standing=place,
            host=verdict.host,
            refusal=fitted if isinstance(fitted, Decision) else None,
            candidate=None if isinstance(fitted, Decision) else fitted,
        )

    def _limit(self, context: Context, remote: str) -> int | None:
        """Return how many offers of a remote are imported at most: those that stand longest."""
        peer = context.get(self._peers, remote)
        return peer.rules.limit if peer is not None and peer.rules is not None else None

    def _fate(self, context: Context, record: str) -> Fate | None:
        """Return what becomes of an offer, with whatever others there are."""
        judged = context.get(self._judged, record)
        if judged is None:
            return None
        if judged.refusal is not None:
            return Fate(judged.remote, judged.refusal)
        if not context.get(self._within, record):
            return Fate(judged.remote, over_limit(judged.remote, context.get(self._limits, judged.remote) or 0))
        merged = context.get(self._merged, judged.host)
        if merged is None:
            return None
        decision = merged.decisions[record]
        return Fate(judged.remote, decision, judged.host if decision.accepted else "")

    def _perhaps_as(self, record: str) -> tuple[str, ...]:
        """Return the hosts that an offer may be imported as of which that is not known."""
        offer = self.offer(record)
        if offer is None:
            return self._unread.get(record, ())
        said = offer.status.imported_as or offer.spec.host
        try:
            accepted = _admitted_by_rules(self._mesh, self._peer(offer.spec.remote), offer.spec)
        except Exception:  # noqa: BLE001 - that is what it is unknown for, and it has been told
            return (said,)
        return said, said if isinstance(accepted, Decision) else accepted[2].host

    def _peer(self, remote: str) -> Peer | None:
        peer = self._peers.get(remote)
        return None if isinstance(peer, Unknown) else peer

    def judge(self, spec: FederatedServiceSpec) -> Decision:
        """Return what the rules of its remote make of an offer that need not be recorded."""
        accepted = _admitted_by_rules(self._mesh, self._peer(spec.remote), spec)
        return accepted if isinstance(accepted, Decision) else accepted[2].decision

    def changed(self, collection: str, key: str, flow: str) -> None:
        """Take note that something else became of an offer, a host, or the offers of a remote."""
        if collection == self.MERGED:
            self._mark(ImportKey(key), flow)
        elif collection == self.FATE:
            self._mark(OfferKey(key), flow)
        else:
            # Not in the turn of the remote, in which it would wait for as long as that goes on changing its offers.
            self._mark(RemoteStatusKey(key))

    # --- one host ---------------------------------------------------------------------------------

    def _merge(self, context: Context, host: str) -> Merged | None:
        """Return what the offers for a host become together."""
        records = context.members(self._by_host, host)
        if not records:
            return None
        offers = [context.get(self._judged, record) for record in records if context.get(self._within, record)]
        return merge(host, [one.candidate for one in offers if one is not None and one.candidate is not None])

    def reconcile(self, host: str) -> Outputs | None:
        """Return the objects that carry a host, ``None`` where that is unknown; and keep what became of it."""
        merged = self._merged.get(host)
        if isinstance(merged, Unknown):
            return None
        objects: tuple[istio.Manifest, ...] = ()
        outcome = HostOutcome()
        mesh = self._mesh
        if merged is not None and merged.imported is not None and mesh is not None:
            objects, outcome = self._render(mesh, merged.imported)
        self._record(host, outcome)
        return Outputs(objects=objects)

    def _render(self, mesh: LocalMesh, imported: Import) -> tuple[tuple[istio.Manifest, ...], HostOutcome]:
        rule = istio.import_rule(mesh, imported)
        names: frozenset[str] = frozenset()
        if imported.local is None:
            objects = [istio.import_entry(mesh, imported)]
            reached = {backend.remote.name for backend in imported.backends if backend.remote.addresses}
        else:
            entries = istio.workload_entries(mesh, imported, imported.local, self._resolved)
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
        return tuple(objects), HostOutcome(
            backends=imported.backends,
            objects=tuple(_reference(manifest) for manifest in objects),
            names=names,
            unresolved=frozenset(backend.remote.name for backend in imported.backends) - reached,
        )

    def _record(self, host: str, after: HostOutcome) -> None:
        """Keep what became of a host, and mark who has to be told."""
        before = self._outcomes.get(host, HostOutcome())
        if before == after:
            return
        self._imported += bool(after.backends) - bool(before.backends)
        for name in before.names - after.names:
            self._needing[name].discard(host)
            if not self._needing[name]:
                del self._needing[name]
        for name in after.names - before.names:
            self._needing.setdefault(name, set()).add(host)
        if after == HostOutcome():
            self._outcomes.pop(host, None)
        else:
            self._outcomes[host] = after
        for record in self.records(host):
            self._mark(OfferKey(record), self.remote_of(record))
        self._mark(MeshStatusKey(), self.flow)
        self._settled(host)

    def why_unknown(self, host: str) -> str:
        """Return why nobody can say what becomes of a host; empty where somebody can."""
        # Of a host that nothing is known to be offered as there is no value, and yet there may be something.
        doubt = self._by_host.doubt(host)
        return self._merged.why_unknown(host) or (doubt.reason if doubt is not None else "")

    def is_to_be_told(self, host: str) -> bool:
        """Whether something else became of a host, of which its key is not marked yet."""
        return self._graph.is_to_be_told(self._merged, host)

    def why_offer_unknown(self, record: str) -> str:
        """Return why nobody can say what a FederatedService is, or its RemoteMesh; empty where somebody can."""
        return self._offers.why_unknown(record) or self._peers.why_unknown(self.remote_of(record))

    def why_fate_unknown(self, record: str) -> str:
        """Return why nobody can say what becomes of an offer; empty where somebody can."""
        return self._fates.why_unknown(record)

    # --- for the status ---------------------------------------------------------------------------

    @property
    def _mesh(self) -> LocalMesh | None:
        mesh = self._meshes.get(THIS)
        return None if isinstance(mesh, Unknown) else mesh

    def offer(self, record: str) -> FederatedService | None:
        """Return the FederatedService of that name."""
        offer = self._offers.get(record)
        return None if isinstance(offer, Unknown) else offer

    def remote_of(self, record: str) -> str:
        """Return the remote that a FederatedService is of; empty where it is gone."""
        offer = self.offer(record)
        return offer.spec.remote if offer is not None else ""

    def fate(self, record: str) -> Fate | None:
        """Return what became of an offer; ``None`` where there is none, or nobody can say."""
        fate = self._fates.get(record)
        return None if isinstance(fate, Unknown) else fate

    def outcome(self, host: str) -> HostOutcome:
        """Return what became of a host."""
        if self._is_dirty(ImportKey(host)):
            self.reconcile(host)
        return self._outcomes.get(host, HostOutcome())

    def served_by(self, host: str) -> frozenset[str]:
        """Return the remotes that serve a host, as it was worked out last."""
        return frozenset(backend.remote.name for backend in self._outcomes.get(host, HostOutcome()).backends)

    def records(self, host: str) -> Sequence[str]:
        """Return the names of the FederatedServices that would be imported as a host."""
        return self._by_host.members(host)

    def counts(self, remote: str) -> Mapping[Reason | None, int]:
        """Return how many offers of a remote are not imported, by reason, and under ``None`` how many are."""
        counts = self._counts.get(remote)
        return {} if counts is None or isinstance(counts, Unknown) else counts

    @property
    def count(self) -> int:
        """How many hosts are imported."""
        return self._imported

    def names_to_resolve(self) -> frozenset[str]:
        """Return the host names of remotes that some WorkloadEntry needs the IPs of."""
        return frozenset(self._needing)


def _admitted_by_rules(
    mesh: LocalMesh | None, peer: Peer | None, spec: FederatedServiceSpec
) -> tuple[LocalMesh, Peer, Verdict, Offer] | Decision:
    if mesh is None:
        return _refused(Reason.NO_MESH_FEDERATION, "there is no MeshFederation, so nothing is imported")
    if peer is None:
        return _refused(Reason.REMOTE_MISSING, f"there is no RemoteMesh {spec.remote}")
    conflict = ourselves(mesh, peer.remote)
    if conflict is not None:
        return conflict
    judged = checked(recorded_offer(spec), peer.remote.trust_domain)
    if isinstance(judged, Refusal):
        reason = Reason.INVALID_PORTS if judged.field == "ports" else Reason.INVALID_HOST
        return _refused(reason, spec.problem or judged.message)
    verdict = judge(mesh, peer.remote, peer.rules, judged.offer)
    return (mesh, peer, verdict, judged.offer) if verdict.decision.accepted else verdict.decision


def _queue_of(_record: str, judged: Judged) -> tuple[str, ...]:
    return (judged.remote,) if judged.refusal is None else ()


def _standing_of(_record: str, judged: Judged) -> Standing:
    return judged.standing


def _host_of(_record: str, judged: Judged) -> tuple[str, ...]:
    return (judged.host,) if judged.host else ()


def _reason_of(_record: str, fate: Fate) -> tuple[str, Reason | None]:
    return fate.remote, None if fate.decision.accepted else fate.decision.reason


def _head(offer: FederatedService) -> tuple[str, int]:
    return offer.metadata.uid, offer.metadata.generation


def _refused(reason: Reason, message: str) -> Decision:
    return Decision(accepted=False, reason=reason, message=message)


def _reference(manifest: istio.Manifest) -> str:
    meta = manifest["metadata"]
    return f"{manifest['kind']} {meta['namespace']}/{meta['name']}"
