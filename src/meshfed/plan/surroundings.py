"""What is beside an offer in this mesh and decides whether it fits: the local Service of its host, who else selects
that one's endpoints, its pods without a sidecar, and DestinationRules and ServiceEntries of others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from meshfed import istio
from meshfed.federation.imports import Verdict, beside_local
from meshfed.federation.merging import Candidate, merge
from meshfed.istio.names import EXPORT_TO
from meshfed.model.imports import Import, LocalService
from meshfed.model.meshes import LocalMesh
from meshfed.model.reasons import Decision, Reason
from meshfed.model.workloads import Serving
from meshfed.plan.local_services import LocalServices, Place
from meshfed.plan.overrides import Overrides, Overriding, Rule
from meshfed.plan.rivals import Rivals


class Surroundings:
    """What offers have to fit in with; asked about one offer at a time."""

    def __init__(self, locals_: LocalServices, serving: Callable[[Place], Serving]) -> None:
        self._locals = locals_
        self._serving = serving
        self.overrides = Overrides()
        self.rivals = Rivals()
        self._mesh: LocalMesh | None = None

    def configure(self, mesh: LocalMesh | None) -> None:
        """Take in this mesh; whoever does that asks about every offer anyway."""
        if mesh == self._mesh:
            return
        self._mesh = mesh
        self._locals.configure(mesh)
        self.overrides.configure(mesh.cluster_domain if mesh is not None else "")

    def local(self, host: str) -> LocalService | None:
        """Return the Service of this mesh that has ``host``."""
        return self._locals.of_host(host)

    def fit(self, verdict: Verdict, candidate: Candidate) -> Candidate | Decision:
        """Return an offer that its remote's rules let through as it fits in here, or why it does not."""
        alone = merge(verdict.host, [candidate]).imported
        if self._mesh is None or alone is None:
            return candidate
        local = self.local(verdict.host)
        if local is not None:
            refusal = self._beside(self._mesh, local, verdict, candidate, alone)
            if refusal is not None:
                return refusal
            candidate = msgspec.structs.replace(candidate, note=_seen_by(local))
        elif rivals := self.rivals.of(alone.host):
            note = _shared(rivals, self._mesh.control_plane_namespace)
            candidate = msgspec.structs.replace(candidate, reason=Reason.HOST_SHARED, note=note)
        if not istio.states_sni(alone):
            return candidate
        return self._with_sni(self._mesh, local, alone.host, candidate)

    def _beside(
        self, mesh: LocalMesh, local: LocalService, verdict: Verdict, candidate: Candidate, alone: Import
    ) -> Decision | None:
        """Return why an offer cannot join the local Service of its host."""
        shared = self._locals.shared_with((local.host.namespace, local.host.name))
        refusal = beside_local(candidate.remote, verdict, local.host, selector_shared_with=shared)
        if refusal is not None:
            return refusal
        joined = istio.workload_entries(mesh, alone, local, {})
        return joined if isinstance(joined, Decision) and joined.reason is not Reason.UNRESOLVED else None

    def _with_sni(
        self, mesh: LocalMesh, local: LocalService | None, host: str, candidate: Candidate
    ) -> Candidate | Decision:
        """Return an offer that needs a DestinationRule of ours to be the one that counts."""
        control_plane = mesh.control_plane_namespace
        overriding = self.overrides.of(
            host,
            service_namespace=local.host.namespace if local is not None else control_plane,
            control_plane=control_plane,
        )
        if overriding.everywhere:
            return Decision(
                accepted=False,
                reason=Reason.SNI_OVERRIDDEN,
                message=f"{_named(overriding.everywhere)} takes the place of the one that states the SNI under which "
                f"the ingress of RemoteMesh {candidate.remote.name} knows {host}; delete it, or import under another "
                "host with a rule's `as`",
            )
        if local is not None and self._serving((local.host.namespace, local.host.name)).outside:
            return Decision(
                accepted=False,
                reason=Reason.PLAINTEXT_ENDPOINTS,
                message=f"Service {local.host.namespace}/{local.host.name} has pods without a sidecar, and stating "
                f"the SNI that RemoteMesh {candidate.remote.name} needs would have everybody speak mTLS with them; "
                "have sidecars injected, or import under another host with a rule's `as`",
            )
        return msgspec.structs.replace(candidate, note=candidate.note + _note(overriding))


def _seen_by(local: LocalService) -> str:
    if local.visible_in is None:
        return ""
    return (
        f", for clients in {', '.join(local.visible_in)} alone, as annotation {EXPORT_TO} of Service "
        f"{local.host.namespace}/{local.host.name} says"
    )


def _shared(rivals: Sequence[Place], control_plane: str) -> str:
    named = ", ".join("/".join(rival) for rival in rivals)
    mixed = ", and those in one namespace have their endpoints mixed" if (control_plane in dict(rivals)) else ""
    return (
        f"; ServiceEntry {named} {'has' if len(rivals) == 1 else 'have'} this host too, and a client is served by one "
        f"of them alone: by one whose `exportTo` names the client's namespace, else by the oldest{mixed}; delete the "
        "other, or import under another host with a rule's `as`"
    )


def _note(overriding: Overriding) -> str:
    if not overriding.in_places:
        return ""
    where = ", ".join(sorted({namespace for namespace, _ in overriding.in_places}))
    return (
        f"; not for clients in {where}, whose {_named(overriding.in_places)} takes the place of the one that states "
        "the SNI"
    )


def _named(rules: tuple[Rule, ...]) -> str:
    return "DestinationRule " + ", ".join("/".join(rule) for rule in rules)
