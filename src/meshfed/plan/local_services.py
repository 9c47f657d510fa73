"""The Services of this mesh as imports see them: which host each has, what serves it, who else selects its endpoints.

A WorkloadEntry carries the labels of the Service that it joins, so whatever selects those takes it too: another Service
of the namespace, or a ServiceEntry with a ``workloadSelector``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from meshfed.derive import Context, Derived, Graph, Index, SubsetIndex, SupersetIndex, Unknown
from meshfed.model.imports import LocalService
from meshfed.model.names import ServiceHost
from meshfed.model.offers import TLS_MODE
from meshfed.model.workloads import Serving
from meshfed.plan import meshes
from meshfed.plan.inputs import ClusterInputs, Sort
from meshfed.plan.values import THIS, Place, Ref

WORKLOAD: Final = {TLS_MODE: "istio"}
"""What every WorkloadEntry of ours carries beside its Service's selector."""


class LocalServices:
    """The Services of this mesh, and what serves them."""

    LOCAL: ClassVar = "the local Service"
    SERVING: ClassVar = "what serves"

    def __init__(self, graph: Graph, inputs: ClusterInputs) -> None:
        self._inputs = inputs
        self.services = Derived[Place, LocalService](graph, self.LOCAL, self._local, over=[inputs.services])
        self.by_host = Index(graph, "the local Service of", self.services, _host_of, perhaps=self._perhaps_of)
        self.selecting = SubsetIndex[Place](
            graph, "Services that select", self.services, _selected_by, perhaps=_may_select
        )
        self._selectors = Derived[Place, Mapping[str, str]](
            graph, "what is selected by ServiceEntry", self._selector, over=[inputs.entries]
        )
        self._entries_selecting = SubsetIndex[Place](
            graph, "ServiceEntries that select", self._selectors, _selected_by_entry, perhaps=_may_select
        )
        self.workloads = SupersetIndex[Sort](graph, "workloads with", inputs.workloads, _carried_by, perhaps=_may_carry)
        self.serving = Derived[Place, Serving](graph, self.SERVING, self._serving, over=[self.services])

    def _local(self, context: Context, place: Place) -> LocalService | None:
        """Return what of a Service decides how remote endpoints join it."""
        mesh, service = context.get(self._inputs.meshes, THIS), context.get(self._inputs.services, place)
        return meshes.local_service(service, mesh.cluster_domain) if mesh is not None and service is not None else None

    def _perhaps_of(self, place: Place) -> tuple[str, ...]:
        """Return the host of a Service of which nothing else is known."""
        mesh = self._inputs.meshes.get(THIS)
        if mesh is None or isinstance(mesh, Unknown):
            return ()
        return (ServiceHost(name=place[1], namespace=place[0], domain=mesh.cluster_domain).fqdn,)

    def _selector(self, context: Context, place: Place) -> Mapping[str, str] | None:
        """Return what a ServiceEntry selects; ``None`` where it has endpoints of its own."""
        entry = context.get(self._inputs.entries, place)
        return entry.selector or None if entry is not None else None

    def _serving(self, context: Context, place: Place) -> Serving | None:
        """Return what is behind a Service; ``None`` where nothing is."""
        local = context.get(self.services, place)
        selected = _selected_by(place, local) if local is not None else None
        if selected is None:
            return None
        found = context.members(self.workloads, selected)
        return Serving.of(workload for _, workload in found) if found else None

    def shared_with(self, context: Context, local: LocalService) -> str:
        """Return who else would take the endpoints that join a Service, in words; empty where nobody would."""
        own = (local.host.namespace, local.host.name)
        labels = labelled(own[0], (WORKLOAD if local.external_name else {**local.selector, **WORKLOAD}).items())
        services = [f"Service {name}" for _, name in context.members(self.selecting, labels) - {own}]
        entries = [f"ServiceEntry {name}" for _, name in context.members(self._entries_selecting, labels)]
        return min(services, default="") or min(entries, default="")


def labelled(namespace: str, labels: Iterable[tuple[str, str]]) -> frozenset[Any]:
    """Return the labels of something, or those that it selects by, with its namespace, in which alone these count."""
    return frozenset((namespace, *labels))


def _host_of(_place: Place, local: LocalService) -> tuple[str, ...]:
    return (local.host.fqdn,)


def _selected_by(place: Place, local: LocalService) -> frozenset[Any] | None:
    selects = bool(local.selector) and not local.external_name
    return labelled(place[0], local.selector.items()) if selects else None


def _selected_by_entry(place: Place, selector: Mapping[str, str]) -> frozenset[Any]:
    return labelled(place[0], selector.items())


def _carried_by(sort: Sort, _there: bool) -> frozenset[Any]:
    return labelled(sort[0], sort[1].labels)


def _may_select(place: Place, labels: frozenset[Any]) -> bool:
    return place[0] in labels


def _may_carry(ref: Ref, selector: frozenset[Any]) -> bool:
    """Whether a workload of which nothing is known may be selected: in its namespace, or wherever it is."""
    return ref[1] in selector or all(isinstance(item, tuple) for item in selector)
