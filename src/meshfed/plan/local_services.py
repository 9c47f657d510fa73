"""The Services of this mesh as imports see them: which host each has, what serves it, who else selects its endpoints.

A WorkloadEntry carries the labels of the Service that it joins, so whatever selects those takes it too: another Service
of the namespace, or a ServiceEntry with a ``workloadSelector``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

import msgspec

from meshfed.derive import Context, Derived, Graph, Index, SubsetIndex, SupersetIndex, Unknown
from meshfed.model.imports import LocalService
from meshfed.model.names import ServiceHost
from meshfed.model.offers import TLS_MODE
from meshfed.model.workloads import Serving, Workload
from meshfed.plan import meshes
from meshfed.plan.endpoint_slices import ByHand, EndpointSlices
from meshfed.plan.foreign_service_entries import ForeignServiceEntries, selected_by
from meshfed.plan.inputs import ClusterInputs, Sort
from meshfed.plan.values import THIS, Place, Ref
from meshfed.plan.workloads import labelled, namespace_in, namespace_of

WORKLOAD: Final = {TLS_MODE: "istio"}
"""What every WorkloadEntry of ours carries beside its Service's selector."""


class Local(msgspec.Struct, frozen=True):
    """A Service of this mesh, as everything but its export goes by it."""

    service: LocalService
    selects: frozenset[Any] | None = None
    """What it selects by (`labelled`); ``None`` where it selects nothing."""
    is_front: bool = False
    """Whether its selector alone says that it is in front of the gateway."""


class LocalServices:
    """The Services of this mesh, and what serves them."""

    LOCAL: ClassVar = "the local Service"
    SERVING: ClassVar = "what serves"

    def __init__(self, graph: Graph, inputs: ClusterInputs, rivals: ForeignServiceEntries) -> None:
        self._inputs = inputs
        self._rivals = rivals
        self._slices = EndpointSlices(graph, inputs.slices, inputs.workloads_in)
        self.services = Derived[Place, Local](graph, self.LOCAL, self._local, over=[inputs.services])
        self.by_host = Index(graph, "the local Service of", self.services, _host_of, perhaps=self._perhaps_of)
        self.selecting = SubsetIndex[Place](
            graph, "Services that select", self.services, _selected_by, perhaps=namespace_of, where=namespace_in
        )
        self.workloads = SupersetIndex[Sort](
            graph, "workloads with", inputs.workloads, _carried_by, perhaps=_namespace_of, where=namespace_in
        )
        self.by_hand = Derived[Place, frozenset[ByHand]](
            graph, "who is without a selector behind", self._by_hand, over=[self.services]
        )
        self.serving = Derived[Place, Serving](graph, self.SERVING, self._serving, over=[self.services])

    def _local(self, context: Context, place: Place) -> Local | None:
        """Return what of a Service matters to others than those to whom it is exported."""
        # The mesh comes first: also what is unknown is looked for under another host where that has another domain.
        mesh, service = context.get(self._inputs.meshes, THIS), context.get(self._inputs.services, place)
        if mesh is None or service is None:
            return None
        local = meshes.local_service(service, mesh)
        if not local.selector or local.external_name:
            return Local(local)
        is_front = may_select(local.selector, mesh.gateway_selector)
        return Local(local, labelled(place[0], local.selector.items()), is_front=is_front)

    def _perhaps_of(self, place: Place) -> tuple[str, ...]:
        """Return the host of a Service of which nothing else is known."""
        mesh = self._inputs.meshes.get(THIS)
        if mesh is None or isinstance(mesh, Unknown):
            return ()
        return (ServiceHost(name=place[1], namespace=place[0], domain=mesh.cluster_domain).fqdn,)

    def _serving(self, context: Context, place: Place) -> Serving | None:
        """Return what is behind a Service; ``None`` where nothing is."""
        local = context.get(self.services, place)
        if local is None or local.service.external_name:
            return None
        # Istio adds WorkloadEntries to no headless Service (istiod, ``serviceInstancesFromWorkloadInstances``).
        found = [one for one in self._selected(context, local.selects) if not (one.is_entry and local.service.headless)]
        found += self._of_service_entries(context, local.service.host)
        by_hand = context.get(self.by_hand, place) if local.selects is None else None
        found += {one.workload for one in by_hand or ()}
        if not found:
            return None
        # Beside what is no Pod there may be Pods that may not be read.
        all_known = not any(one.is_entry for one in found) or context.get(self._inputs.pods_listed, THIS) is not False
        return Serving.of(found, all_known=all_known)

    def _by_hand(self, context: Context, place: Place) -> frozenset[ByHand] | None:
        """Return who is behind a Service without a selector, as its EndpointSlices say; ``None`` where nobody is."""
        # Where Pods may not be read, nobody can say of an address that it is none's.
        local = context.get(self.services, place)
        if local is None or context.get(self._inputs.pods_listed, THIS) is False:
            return None
        ports = {port.name for port in local.service.ports}
        return frozenset(self._slices.behind(context, place, ports)) or None

    def _selected(self, context: Context, selects: frozenset[Any] | None) -> Iterator[Workload]:
        """Yield what is selected, alike ones once."""
        if selects is not None:
            yield from (workload for _, workload in context.members(self.workloads, selects))

    def _of_service_entries(self, context: Context, host: ServiceHost) -> Iterator[Workload]:
        """Yield what ServiceEntries add to the Service of their host and namespace.

        istiod keeps endpoints by these two, whatever brought them (``EndpointIndex.ShardsForService``).
        """
        for place in context.members(self._rivals.adding, host.namespace):
            entry = context.get(self._rivals.entries, place)
            if entry is not None and host.fqdn in entry.hosts:
                yield from entry.endpoints
                yield from self._selected(context, selected_by(place, entry))

    def shared_with(self, context: Context, local: LocalService) -> str:
        """Return who else would take the endpoints that join a Service, in words; empty where nobody would."""
        own = (local.host.namespace, local.host.name)
        labels = labelled(own[0], (WORKLOAD if local.external_name else {**local.selector, **WORKLOAD}).items())
        services = [f"Service {name}" for _, name in context.members(self.selecting, labels) - {own}]
        entries = [f"ServiceEntry {name}" for _, name in context.members(self._rivals.selecting, labels)]
        return min(services, default="") or min(entries, default="")


def may_select(selector: Mapping[str, str], gateway: Mapping[str, str]) -> bool:
    """Whether a Service's selector alone says that it is in front of the gateway, by the labels of its pods."""
    return selector.items() <= gateway.items() or gateway.items() <= selector.items()


def _host_of(_place: Place, local: Local) -> tuple[str, ...]:
    return (local.service.host.fqdn,)


def _selected_by(_place: Place, local: Local) -> frozenset[Any] | None:
    return local.selects


def _carried_by(sort: Sort, _there: bool) -> frozenset[Any]:
    return labelled(sort[0], sort[1].labels)


def _namespace_of(ref: Ref) -> str:
    return ref[1]
