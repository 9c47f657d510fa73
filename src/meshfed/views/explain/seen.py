"""One mesh as far as it was read, and what the controller would decide of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from meshfed.api.v1alpha1 import (
    ORIGIN_ANNOTATION,
    OWNER_NAMESPACE_LABEL,
    FederatedService,
    MeshFederation,
    RemoteMesh,
)
from meshfed.model.installation import MESH_CONFIG
from meshfed.model.meshes import GatewayAddress
from meshfed.model.names import ServiceHost
from meshfed.model.reasons import Reason
from meshfed.model.workloads import Workload
from meshfed.plan import Key, Plan
from meshfed.plan.keys import origin
from meshfed.views.cards import gateway_ways
from meshfed.views.checks.facts import account
from meshfed.views.explain.parts import MeshDescription, of_federation
from meshfed.views.exports import ExportView, exports, planned
from meshfed.views.snapshot import Document, Snapshot
from meshfed.views.workloads import workloads

T = TypeVar("T")


class Seen(msgspec.Struct, frozen=True, dict=True):
    """A snapshot, the plan for it, and each Service with what became of its export.

    Who asks about a thousand hosts finds each by its name: what finds them is made once.
    """

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
        return self._records.get((remote, host))

    @cached_property
    def _records(self) -> Mapping[tuple[str, str], FederatedService]:
        return {(one.spec.remote, one.spec.host): one for one in reversed(self.snapshot.records)}

    def records_named(self, name: str) -> Sequence[FederatedService]:
        """Return the records of this name, and those of what is, or begins with, these labels of a host."""
        return self._records_named.get(name, ())

    @cached_property
    def _records_named(self) -> Mapping[str, Sequence[FederatedService]]:
        return _by_name(
            (one, (one.metadata.name,), (one.spec.host, one.status.imported_as)) for one in self.snapshot.records
        )

    def services_named(self, name: str) -> Sequence[ExportView]:
        """Return the Services of this name, as ``namespace/name`` too, and those of which the host begins with it."""
        return self._services_named.get(name, ())

    @cached_property
    def _services_named(self) -> Mapping[str, Sequence[ExportView]]:
        return _by_name((one, (one.name, f"{one.namespace}/{one.name}"), (self.host_of(one),)) for one in self.services)

    def export(self, place: tuple[str, str]) -> ExportView | None:
        """Return what became of the export of a Service; ``None`` where there is none of that name."""
        return self._exports.get(place)

    @cached_property
    def _exports(self) -> Mapping[tuple[str, str], ExportView]:
        return {(one.namespace, one.name): one for one in reversed(self.services)}

    def service(self, place: tuple[str, str]) -> Document | None:
        """Return a Service."""
        return self.object("Service", *place)

    def place_of(self, host: str) -> tuple[str, str] | None:
        """Return namespace and name of the Service that is, or would be, exported as a host."""
        offered = next(((one.namespace, one.name) for one in self.services_named(host) if one.host == host), None)
        own = ServiceHost.parse(host, self.cluster_domain)
        return offered or ((own.namespace, own.name) if own is not None else None)

    def host_of(self, one: ExportView) -> str:
        """Return the host that a Service is offered as, or would be without an alias."""
        return one.host or ServiceHost(one.name, one.namespace, self.cluster_domain).fqdn

    def object(self, kind: str, namespace: str, name: str) -> Document | None:
        """Return an object; ``None`` where it is not there, or its kind was not read."""
        return self._objects.get((kind, namespace, name))

    @cached_property
    def _objects(self) -> Mapping[tuple[str, str, str], Document]:
        return {(str(one.get("kind")), *place(one)): one for one in reversed(self.snapshot.objects)}

    def entry(self, host: str) -> Document | None:
        """Return the first ServiceEntry that has a host, where there is one."""
        return self._entries.get(host)

    @cached_property
    def _entries(self) -> Mapping[str, Document]:
        found: dict[str, Document] = {}
        for one in self.snapshot.of_kind("ServiceEntry"):
            for host in mapping(one.get("spec")).get("hosts") or ():
                found.setdefault(str(host), one)
        return found

    def why_unread(self, *kinds: str) -> str:
        """Return why the first of some kinds could not be read; empty where all were."""
        return next((self.snapshot.unread[kind] for kind in kinds if kind in self.snapshot.unread), "")

    def why_not_understood(self, kind: str, namespace: str, name: str) -> str:
        """Return what of an object cannot be understood; empty where all can."""
        return next((problem for problem in self.problems if f"{kind} {namespace}/{name}:" in problem), "")

    def workloads(self, namespace: str, selector: dict[str, str]) -> tuple[Workload, ...]:
        """Return whoever a Service selects."""
        wanted = selector.items()
        found = (one for one in self._workloads.get(namespace, ()) if wanted <= dict(one.labels).items())
        return tuple(found) if selector else ()

    @cached_property
    def _workloads(self) -> Mapping[str, Sequence[Workload]]:
        found: defaultdict[str, list[Workload]] = defaultdict(list)
        for namespace, one in workloads(self.snapshot):
            found[namespace].append(one)
        return found

    def wanted(self, key: Key) -> Sequence[Document]:
        """Return the objects that should exist and follow from one key."""
        return self._wanted.get(origin(key), ())

    @cached_property
    def _wanted(self) -> Mapping[str, Sequence[Document]]:
        found: defaultdict[str, list[Document]] = defaultdict(list)
        for one in self.plan.objects:
            found[origin_of(one)].append(one)
        return found

    @cached_property
    def gateways(self) -> Sequence[Document]:
        """The Gateways that should exist."""
        return [one for one in self.plan.objects if one.get("kind") == "Gateway"]

    @cached_property
    def ways(self) -> tuple[GatewayAddress, ...]:
        """Where this mesh's gateway is reached from outside; none where that is not seen."""
        return () if self.why_unread("Service") else gateway_ways(self.snapshot, self.plan.mesh)


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


def _by_name(named: Iterable[tuple[T, Iterable[str], Iterable[str]]]) -> Mapping[str, Sequence[T]]:
    """Return each by its names, and by the hosts it has and their first labels."""
    found: defaultdict[str, list[T]] = defaultdict(list)
    for one, names, hosts in named:
        labels = [host.split(".") for host in hosts if host]
        starts = (".".join(each[:count]) for each in labels for count in range(1, len(each) + 1))
        for name in dict.fromkeys((*names, *starts)):
            found[name].append(one)
    return found


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
