"""One mesh as far as it was read, and what the controller would decide of it."""

from __future__ import annotations

from typing import Any

import msgspec

from meshfed.api.v1alpha1 import (
    ORIGIN_ANNOTATION,
    OWNER_NAMESPACE_LABEL,
    FederatedService,
    MeshFederation,
    RemoteMesh,
)
from meshfed.model.installation import MESH_CONFIG
from meshfed.model.names import ServiceHost
from meshfed.model.reasons import Reason
from meshfed.model.workloads import Workload
from meshfed.plan import Plan
from meshfed.views.checks.facts import account
from meshfed.views.explain.parts import MeshDescription, of_federation
from meshfed.views.exports import ExportView, exports, planned
from meshfed.views.snapshot import Document, Snapshot
from meshfed.views.workloads import workloads


class Seen(msgspec.Struct, frozen=True):
    """A snapshot, the plan for it, and each Service with what became of its export."""

    snapshot: Snapshot
    plan: Plan
    services: tuple[ExportView, ...]
    problems: tuple[str, ...] = ()
    """What cannot be understood, in words."""
    account: str = ""
    """The controller's; empty where no Pod of it is seen."""

    @property
    def federation(self) -> MeshFederation | None:
        """The MeshFederation in force."""
        return next(iter(self.snapshot.federations), None)

    @property
    def mesh(self) -> MeshDescription:
        """This mesh; of one without a MeshFederation the name alone, which is where it was read."""
        found = self.federation
        return (
            of_federation(found, self.snapshot.namespace, self.account)
            if found is not None
            else MeshDescription(self.snapshot.mesh)
        )

    @property
    def cluster_domain(self) -> str:
        """The suffix of its Services' hosts."""
        return self.mesh.cluster_domain or "cluster.local"

    def remote(self, name: str) -> RemoteMesh | None:
        """Return the RemoteMesh of that name."""
        return next((one for one in self.snapshot.remotes if one.metadata.name == name), None)

    def record(self, remote: str, host: str) -> FederatedService | None:
        """Return the record of what a remote offers under a host."""
        found = (one for one in self.snapshot.records if (one.spec.remote, one.spec.host) == (remote, host))
        return next(found, None)

    def export(self, place: tuple[str, str]) -> ExportView | None:
        """Return what became of the export of a Service; ``None`` where there is none of that name."""
        return next((one for one in self.services if (one.namespace, one.name) == place), None)

    def service(self, place: tuple[str, str]) -> Document | None:
        """Return a Service."""
        return self.object("Service", *place)

    def place_of(self, host: str) -> tuple[str, str] | None:
        """Return namespace and name of the Service that is, or would be, exported as a host."""
        offered = next(((one.namespace, one.name) for one in self.services if one.host == host), None)
        own = ServiceHost.parse(host, self.cluster_domain)
        return offered or ((own.namespace, own.name) if own is not None else None)

    def host_of(self, one: ExportView) -> str:
        """Return the host that a Service is offered as, or would be without an alias."""
        return one.host or ServiceHost(one.name, one.namespace, self.cluster_domain).fqdn

    def object(self, kind: str, namespace: str, name: str) -> Document | None:
        """Return an object; ``None`` where it is not there, or its kind was not read."""
        return next((one for one in self.snapshot.of_kind(kind) if place(one) == (namespace, name)), None)

    def why_unread(self, *kinds: str) -> str:
        """Return why the first of some kinds could not be read; empty where all were."""
        return next((self.snapshot.unread[kind] for kind in kinds if kind in self.snapshot.unread), "")

    def why_not_understood(self, kind: str, namespace: str, name: str) -> str:
        """Return what of an object cannot be understood; empty where all can."""
        return next((problem for problem in self.problems if f"{kind} {namespace}/{name}:" in problem), "")

    def workloads(self, namespace: str, selector: dict[str, str]) -> tuple[Workload, ...]:
        """Return whoever a Service selects."""
        wanted = selector.items()
        found = (one for _, one in workloads(self.snapshot, namespace) if wanted <= dict(one.labels).items())
        return tuple(found) if selector else ()


def seen(snapshot: Snapshot, *, mesh_config_map: str = MESH_CONFIG) -> Seen:
    """Return a snapshot with the plan for it."""
    plan, problems = planned(snapshot, mesh_config_map=mesh_config_map)
    decided = exports(snapshot, plan)
    known, mesh = {(one.namespace, one.name) for one in decided}, snapshot.mesh
    # Of others nothing is decided: there is no MeshFederation, or they cannot be understood.
    others = [place(one) for one in snapshot.of_kind("Service") if place(one) not in known]
    undecided = (
        ExportView(
            mesh=mesh,
            namespace=namespace,
            name=name,
            exported=False,
            reason=Reason.NO_MESH_FEDERATION if plan.mesh is None else Reason.NOT_UNDERSTOOD,
            message="nothing is decided of it",
            labels={},
        )
        for namespace, name in others
    )
    return Seen(snapshot, plan, (*decided, *undecided), problems, (account(snapshot) or ("", ""))[1])


def place(document: Document) -> tuple[str, str]:
    """Return namespace and name of an object."""
    metadata = mapping(document.get("metadata"))
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or "")


def shown(document: Document) -> str:
    """Return an object as ``Kind namespace/name``."""
    return f"{document.get('kind')} {'/'.join(filter(None, place(document)))}"


def is_ours(document: Document) -> bool:
    """Whether the controller wrote an object."""
    return OWNER_NAMESPACE_LABEL in mapping(mapping(document.get("metadata")).get("labels"))


def origin_of(document: Document) -> str:
    """Return what an object says that it follows from."""
    return str(mapping(mapping(document.get("metadata")).get("annotations")).get(ORIGIN_ANNOTATION) or "")


def mapping(value: object) -> dict[str, Any]:
    """Return what is a mapping, or should be."""
    return value if isinstance(value, dict) else {}
