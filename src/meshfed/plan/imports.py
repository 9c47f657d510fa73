"""What is imported: what each offer comes to, and what each host that remotes serve becomes.

An offer is judged by itself, by its remote's rules and by whether it fits in here. Which of them are within their
remote's limit, and what the offers of several remotes for one host mean for each other, comes after that. All of it is
derived (`meshfed.derive`), one function a question; what is rendered of that is in `meshfed.plan.import_objects`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from meshfed.api.v1alpha1 import API_VERSION, REMOTE_LABEL, FederatedService, FederatedServiceSpec
from meshfed.derive import Context, Derived, Graph, Index, Input, Leading, Tally, Unknown
from meshfed.federation.import_limit import Standing, over_limit, standing
from meshfed.federation.imports import Verdict, judge, record_name, recorded_offer
from meshfed.federation.merging import Candidate, Merged, merge
from meshfed.istio.metadata import Manifest, manifest
from meshfed.model.identity import SpiffeID
from meshfed.model.meshes import LocalMesh
from meshfed.model.offers import Offer, Refusal, checked
from meshfed.model.probes import Probe
from meshfed.model.reasons import Decision, Reason
from meshfed.plan.keys import OfferKey, mark_origin
from meshfed.plan.remotes import Peer, Remotes, ourselves
from meshfed.plan.surroundings import Surroundings
from meshfed.plan.values import THIS
from meshfed.plan.ways import of_import

_IMPORTED: Final = (THIS, True)
_NOT_IMPORTED: Final = (THIS, False)


class Judged(msgspec.Struct, frozen=True, gc=False):
    """An offer by itself: the host it would be imported as, and why it is not, or what it brings."""

    remote: str
    standing: Standing
    host: str = ""
    refusal: Decision | None = None
    candidate: Candidate | None = None


class Fate(msgspec.Struct, frozen=True, gc=False):
    """What becomes of an offer, and as which host it is imported, empty where it is not."""

    remote: str
    decision: Decision
    host: str = ""
    probe: Probe | None = None
    """What is to be proven of the way to it; ``None`` where it is not imported, or no way leads there."""


class Imports:
    """The offers of all remotes, and the hosts that they become."""

    OFFER: ClassVar = "FederatedService"
    JUDGED: ClassVar = "the offer"
    FATE: ClassVar = "what becomes of offer"
    MERGED: ClassVar = "the import of"

    def __init__(
        self,
        graph: Graph,
        *,
        meshes: Input[str, LocalMesh],
        surroundings: Surroundings,
        remotes: Remotes,
    ) -> None:
        self._surroundings = surroundings
        self._remotes = remotes
        self._peers = remotes.peers
        self._meshes = meshes
        self.offers = Input[str, FederatedService](graph, self.OFFER, output=True)
        self._unread: dict[str, tuple[str, ...]] = {}
        """The FederatedServices that are unknown, and the hosts that they may be for."""
        self._judged = Derived[str, Judged](graph, self.JUDGED, self._judge, over=[self.offers])
        self._queue = Index(graph, "queue of", self._judged, _queue_of, perhaps=lambda _: (), order=_standing_of)
        self._by_host = Index(graph, "offers as", self._judged, _host_of, perhaps=self._perhaps_as)
        self._limits = Derived[str, int](graph, "the limit of RemoteMesh", self._limit, over=[self._peers])
        self._within = Leading(graph, "within the limit", self._queue, self._limits)
        self.merged = Derived[str, Merged](graph, self.MERGED, self._merge, over=[self._by_host], output=True)
        self.hosts = Tally(graph, "hosts that are imported by", self.merged, _is_imported)
        """How many hosts are imported, under true, and how many are not."""
        self._fates = Derived[str, Fate](graph, self.FATE, self._fate, over=[self._judged], output=True)
        self.counts = Tally(graph, "the offers of RemoteMesh", self._fates, _reason_of)
        """By remote, how many offers are not imported, by reason, and under ``None`` how many are."""

    # --- inputs -----------------------------------------------------------------------------------

    def offer_changed(self, record: str, offer: FederatedService | None) -> None:
        """Take in a FederatedService; its status, which we write ourselves, changes nothing."""
        before = self.offer(record)
        if offer is not None and offer.metadata.deletion_timestamp:
            offer = None
        if before is not None and offer is not None and before.spec == offer.spec and _head(before) == _head(offer):
            return
        known = offer or before
        if known is not None:
            self.offers.put(record, offer, known.spec.remote)

    def offer_unknown(self, record: str, reason: str, hosts: Sequence[str]) -> None:
        """Take note of a FederatedService of which nobody can say what it is, but that it may be for these hosts."""
        self._unread[record] = tuple(hosts)
        self.offers.unknown(record, reason)

    def offer_known(self, record: str) -> None:
        """Take note that a FederatedService is what was given since, or gone."""
        self.offers.clear(record)
        self._unread.pop(record, None)

    # --- one offer --------------------------------------------------------------------------------

    def _judge(self, context: Context, record: str) -> Judged | None:
        """Return what an offer is by itself."""
        offer = context.get(self.offers, record)
        if offer is None:
            return None
        spec = offer.spec
        place = standing(spec.first_offered, record)
        mesh = context.get(self._meshes, THIS)
        peer = context.get(self._peers, spec.remote) if mesh is not None else None
        accepted = _admitted_by_rules(mesh, peer, spec)
        if isinstance(accepted, Decision):
            return Judged(remote=spec.remote, standing=place, refusal=accepted)
        mesh, peer, verdict, announced = accepted
        candidate = Candidate(
            record=record,
            remote=peer.remote,
            offer=msgspec.structs.replace(announced, ports=verdict.ports),
            merge=verdict.merge,
            unidentified=verdict.identities is None and not announced.identities,
            first_offered=spec.first_offered,
            export_to=peer.rules.export_to if peer.rules is not None else ("*",),
            traffic_policy=peer.traffic_policy,
            rule=verdict.rule,
            left_out=verdict.left_out,
        )
        fitted = self._surroundings.fit(context, mesh, verdict, candidate)
        if mesh.config.unread and offer.status.imported_as and _takes_an_alias(fitted, candidate.offer, verdict.host):
            # It fitted in before: an alias of the trust domain that cannot be read is not one that is gone.
            context.unknown(mesh.config.unread)
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
        merged = context.get(self.merged, judged.host)
        if merged is None:
            return None
        decision = dict(merged.decisions)[record]
        if not decision.accepted or judged.candidate is None or merged.imported is None:
            return Fate(judged.remote, decision)
        return Fate(judged.remote, decision, judged.host, of_import(judged.candidate, merged.imported))

    def _perhaps_as(self, record: str) -> tuple[str, ...]:
        """Return the hosts that an offer may be imported as of which that is not known."""
        offer = self.offer(record)
        if offer is None:
            return self._unread.get(record, ())
        return offer.status.imported_as or offer.spec.host, self.host_of(offer.spec)

    def host_of(self, spec: FederatedServiceSpec) -> str:
        """Return the host that an offer is imported as if it is, as far as anybody can say."""
        try:
            accepted = _admitted_by_rules(self._mesh, self._remotes.peer(spec.remote), spec)
        except Exception:  # noqa: BLE001 - whoever judges it is told
            return spec.host
        return spec.host if isinstance(accepted, Decision) else accepted[2].host

    def judge(self, spec: FederatedServiceSpec) -> Decision:
        """Return what the rules of its remote make of an offer that need not be recorded."""
        accepted = _admitted_by_rules(self._mesh, self._remotes.peer(spec.remote), spec)
        return accepted if isinstance(accepted, Decision) else accepted[2].decision

    # --- one host ---------------------------------------------------------------------------------

    def _merge(self, context: Context, host: str) -> Merged | None:
        """Return what the offers for a host become together."""
        if context.get(self._meshes, THIS) is None:
            return None
        records = context.members(self._by_host, host)
        if not records:
            return None
        offers = [context.get(self._judged, record) for record in records if context.get(self._within, record)]
        return merge(host, [one.candidate for one in offers if one is not None and one.candidate is not None])

    def why_unknown(self, host: str) -> str:
        """Return why nobody can say what becomes of a host; empty where somebody can."""
        # Of a host that nothing is known to be offered as there is no value, and yet there may be something.
        doubt = self._by_host.doubt(host)
        return self.merged.why_unknown(host) or (doubt.reason if doubt is not None else "")

    def why_offer_unknown(self, record: str) -> str:
        """Return why nobody can say what a FederatedService is, or its RemoteMesh; empty where somebody can."""
        return self.offers.why_unknown(record) or self._peers.why_unknown(self.remote_of(record))

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
        offer = self.offers.get(record)
        return None if isinstance(offer, Unknown) else offer

    def remote_of(self, record: str) -> str:
        """Return the remote that a FederatedService is of; empty where it is gone."""
        offer = self.offer(record)
        return offer.spec.remote if offer is not None else ""

    def fate(self, record: str) -> Fate | None:
        """Return what became of an offer; ``None`` where there is none, or nobody can say."""
        fate = self._fates.get(record)
        return None if isinstance(fate, Unknown) else fate

    def records(self, host: str) -> Sequence[str]:
        """Return the names of the FederatedServices that would be imported as a host."""
        return self._by_host.members(host)

    def all(self) -> list[str]:
        """Return the hosts that somebody offers, or may offer."""
        return self._by_host.known_keys()


def record_manifest(mesh: LocalMesh, spec: FederatedServiceSpec) -> Manifest:
    """Return the FederatedService that records an offer, as it is written."""
    record = manifest(
        mesh,
        api_version=API_VERSION,
        kind="FederatedService",
        name=record_name(spec.host, spec.remote),
        namespace=mesh.namespace,
        spec=msgspec.to_builtins(spec),
    )
    record["metadata"]["labels"][REMOTE_LABEL] = spec.remote
    mark_origin(record, OfferKey(record["metadata"]["name"]))
    return record


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
    if not verdict.decision.accepted:
        return verdict.decision
    offer = judged.offer
    if verdict.identities:
        offer = msgspec.structs.replace(offer, identities=verdict.identities)
    return mesh, peer, verdict, offer


def _takes_an_alias(fitted: Candidate | Decision, offer: Offer, host: str) -> bool:
    """Whether an offer would join the local Service of ``host`` if its trust domain were an alias of this mesh's."""
    if not isinstance(fitted, Decision) or fitted.reason is not Reason.IDENTITY_MISMATCH:
        return False
    served_by = [SpiffeID.parse(one) for one in offer.identities]
    workloads = [one.workload if one is not None else None for one in served_by]
    return all(one is not None and one[0] == host.split(".")[1] for one in workloads)


def _queue_of(_record: str, judged: Judged) -> tuple[str, ...]:
    return (judged.remote,) if judged.refusal is None else ()


def _standing_of(_record: str, judged: Judged) -> Standing:
    return judged.standing


def _host_of(_record: str, judged: Judged) -> tuple[str, ...]:
    return (judged.host,) if judged.host else ()


def _reason_of(_record: str, fate: Fate) -> tuple[str, Reason | None]:
    return fate.remote, None if fate.decision.accepted else fate.decision.reason


def _is_imported(_host: str, merged: Merged) -> tuple[str, bool]:
    return _IMPORTED if merged.imported is not None else _NOT_IMPORTED


def _head(offer: FederatedService) -> tuple[str, int]:
    return offer.metadata.uid, offer.metadata.generation


def _refused(reason: Reason, message: str) -> Decision:
    return Decision(accepted=False, reason=reason, message=message)
