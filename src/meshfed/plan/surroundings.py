"""What is beside an offer in this mesh and decides whether it fits: the local Service of its host, who else selects
that one's endpoints, its pods without a sidecar, and others' DestinationRules, ServiceEntries and PeerAuthentications.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from meshfed import istio
from meshfed.derive import Context, Derived, Graph
from meshfed.federation.imports import Verdict, beside_local, capturing, lacking, unidentified
from meshfed.federation.merging import Candidate, merge
from meshfed.model.imports import Import, LocalService
from meshfed.model.meshes import LocalMesh
from meshfed.model.reasons import Decision, Reason
from meshfed.plan import rule_conflicts
from meshfed.plan.foreign_service_entries import ForeignServiceEntries
from meshfed.plan.inputs import ClusterInputs
from meshfed.plan.local_services import LocalServices
from meshfed.plan.mutual_tls import MutualTLS
from meshfed.plan.overrides import Overrides
from meshfed.plan.values import THIS, Place


class Beside(msgspec.Struct, frozen=True):
    """What is for a host in this mesh already: a Service, or else ServiceEntries of others, and DestinationRules."""

    local: LocalService | None = None
    rivals: tuple[Place, ...] = ()
    rules: tuple[Place, ...] = ()
    """The DestinationRules of others for it."""


class Surroundings:
    """What offers have to fit in with; asked about one offer at a time."""

    def __init__(
        self,
        graph: Graph,
        inputs: ClusterInputs,
        locals_: LocalServices,
        rivals: ForeignServiceEntries,
        *,
        mutual_tls: MutualTLS,
        overrides: Overrides,
    ) -> None:
        self._inputs = inputs
        self._locals = locals_
        self._rivals = rivals
        self._mutual_tls = mutual_tls
        self._overrides = overrides
        self._beside = Derived[str, Beside](
            graph,
            "what is here beside",
            self._of_host,
            over=[locals_.by_host, self._rivals.by_host, self._overrides.by_host],
        )

    def _of_host(self, context: Context, host: str) -> Beside | None:
        """Return what has a host already; ``None`` where nothing has."""
        rules = tuple(context.members(self._overrides.by_host, host))
        places = context.members(self._locals.by_host, host)
        found = context.get(self._locals.services, places[0]) if places else None
        if found is not None:
            return Beside(local=found.service, rules=rules)
        rivals = tuple(context.members(self._rivals.by_host, host))
        return Beside(rivals=rivals, rules=rules) if rivals or rules else None

    def fit(self, context: Context, mesh: LocalMesh, verdict: Verdict, candidate: Candidate) -> Candidate | Decision:
        """Return an offer that its remote's rules let through as it fits in here, or why it does not."""
        beside = context.get(self._beside, verdict.host) or Beside()
        unfit = capturing(candidate.remote, verdict) if beside.local is None else lacking(verdict, beside.local)
        fitting = candidate.without(verdict.host, unfit)
        if isinstance(fitting, Decision):
            return fitting
        candidate = fitting
        if beside.local is not None:
            candidate = msgspec.structs.replace(candidate, local=beside.local, note=_seen_by(beside.local))
        elif beside.rivals:
            note = _shared(beside.rivals, mesh.control_plane_namespace)
            candidate = msgspec.structs.replace(candidate, reason=Reason.HOST_SHARED, note=note)
        alone = merge(verdict.host, [candidate]).imported
        if alone is None:
            return candidate
        refusal = self._cannot_join(context, mesh, verdict, alone)
        if refusal is not None:
            return refusal
        counting = rule_conflicts.counting(context, self._overrides, mesh, alone, candidate)
        reached = rule_conflicts.reached(counting, candidate)
        if isinstance(reached, Decision):
            return reached
        if reached is not candidate:
            candidate, alone = reached, msgspec.structs.replace(alone, ports=reached.offer.ports)
            counting = msgspec.structs.replace(counting, alone=alone)
            refusal = self._cannot_join(context, mesh, verdict, alone)
            if refusal is not None:
                return refusal
        candidate = rule_conflicts.fit(context, self._overrides, counting, candidate, rules=beside.rules)
        if istio.states_sni(alone):
            fitted = self._with_sni(context, mesh, alone, candidate)
        else:
            fitted = self._in_plaintext(context, mesh, alone) or candidate
        if isinstance(fitted, Candidate) and fitted.unidentified and self._is_served(context, fitted.local):
            return unidentified(candidate.remote, verdict.host)
        return fitted

    def _cannot_join(self, context: Context, mesh: LocalMesh, verdict: Verdict, alone: Import) -> Decision | None:
        """Return why an offer cannot join the local Service of its host; ``None`` where it can, or there is none."""
        if alone.local is None:
            return None
        shared = self._locals.shared_with(context, alone.local) if verdict.merge else ""
        remote = alone.backends[0].remote
        refusal = beside_local(remote, verdict, alone.local.host, selector_shared_with=shared)
        if refusal is not None:
            return refusal
        joined = istio.workload_entries(mesh, alone, alone.local, {})
        return joined if isinstance(joined, Decision) and joined.reason is not Reason.UNRESOLVED else None

    def _in_plaintext(self, context: Context, mesh: LocalMesh, alone: Import) -> Decision | None:
        """Return why clients would speak plaintext to the remote's ingress; ``None`` where they would not.

        Where a DestinationRule of ours states the SNI, that states mTLS too, and nobody asks further.
        """
        local, remote = alone.local, alone.backends[0].remote
        namespace = local.host.namespace if local is not None else mesh.control_plane_namespace
        labels = local.selector if local is not None else alone.backends[0].labels
        ports = {address.port for address in remote.addresses}
        off = self._mutual_tls.off_for(context, mesh, namespace, labels, ports)
        if not off:
            return None
        holds, narrower = f"holds for what is imported, in namespace {namespace}", ""
        if off == self._mutual_tls.off_everywhere(context, mesh):
            holds = "holds for the whole mesh"
        elif local is not None:
            service = f"{local.host.namespace}/{local.host.name}"
            holds = f"holds for all that Service {service} selects, so for endpoints of the remote too"
            narrower = ", or import under another host with a rule's `as`"
        return Decision(
            accepted=False,
            reason=Reason.MTLS_DISABLED,
            message=f"{off} {holds}, and clients would speak plaintext to the ingress of RemoteMesh {remote.name}, "
            f"which takes mTLS alone; set PERMISSIVE there{narrower}",
        )

    def _with_sni(self, context: Context, mesh: LocalMesh, alone: Import, candidate: Candidate) -> Candidate | Decision:
        """Return an offer that needs a DestinationRule of ours to state its SNI, and so mTLS."""
        local = alone.local
        if local is not None and self._is_served_outside(context, local):
            return Decision(
                accepted=False,
                reason=Reason.PLAINTEXT_ENDPOINTS,
                message=f"Service {local.host.namespace}/{local.host.name} has pods without a sidecar, and stating "
                f"the SNI that RemoteMesh {candidate.remote.name} needs would have everybody speak mTLS with them; "
                "have sidecars injected, or import under another host with a rule's `as`",
            )
        ports = [port.number for port in alone.ports]
        off = self._mutual_tls.off_at_any(context, mesh, local, ports) if local is not None else ""
        if local is not None and off:
            return Decision(
                accepted=False,
                reason=Reason.MTLS_DISABLED,
                message=f"{off} has pods of Service {local.host.namespace}/{local.host.name} take plaintext alone, and "
                f"stating the SNI that RemoteMesh {candidate.remote.name} needs would have everybody speak mTLS with "
                "them; set PERMISSIVE there, or import under another host with a rule's `as`",
            )
        return candidate

    def _is_served(self, context: Context, local: LocalService | None) -> bool:
        """Whether a local Service has, or may have, endpoints, whose accounts are the ones that callers accept."""
        if local is None:
            return False
        place = (local.host.namespace, local.host.name)
        if context.get(self._inputs.pods_listed, THIS) is False:
            return True
        return context.get(self._locals.serving, place) is not None

    def _is_served_outside(self, context: Context, local: LocalService) -> bool:
        """Whether there are pods without a sidecar behind a local Service."""
        serving = context.get(self._locals.serving, (local.host.namespace, local.host.name))
        return serving is not None and serving.outside


def _seen_by(local: LocalService) -> str:
    if local.visible_in is None:
        return ""
    return f", for clients in {', '.join(local.visible_in)} alone, as {local.visible_by} says"


def _shared(rivals: Sequence[Place], control_plane: str) -> str:
    named = ", ".join("/".join(rival) for rival in rivals)
    mixed = ", and those in one namespace have their endpoints mixed" if (control_plane in dict(rivals)) else ""
    return (
        f"; ServiceEntry {named} {'has' if len(rivals) == 1 else 'have'} this host too, and a client is served by one "
        f"of them alone: by one whose `exportTo` names the client's namespace, else by the oldest{mixed}; delete the "
        "other, or import under another host with a rule's `as`"
    )
