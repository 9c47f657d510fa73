"""Where PeerAuthentications of others turn mTLS off, which every way from mesh to mesh needs.

At an exporter, its gateway passes nothing on to a port without it. At an importer, clients would speak plaintext to the
gateway of the remote. What counts for whom is `meshfed.istio.peer_authentications`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from meshfed.derive import Context, Derived, Graph, Index, SubsetIndex
from meshfed.istio.peer_authentications import PeerAuthentication, Ruling, WorkloadModes, namespace_mode, workload_modes
from meshfed.model.imports import LocalService
from meshfed.model.meshes import LocalMesh
from meshfed.model.workloads import Workload
from meshfed.plan.inputs import ClusterInputs
from meshfed.plan.local_services import WORKLOAD, Local, LocalServices
from meshfed.plan.values import THIS, Place
from meshfed.plan.workloads import labelled, namespace_in, namespace_of, port_of

_ON = Ruling()
_ANY_PORT = 0
"""No port's number: that of a port of which nobody says which one of the workload it is."""


class MutualTLS:
    """The PeerAuthentications of others, and who is without mTLS because of one."""

    def __init__(self, graph: Graph, inputs: ClusterInputs, locals_: LocalServices) -> None:
        self._inputs = inputs.peer_authentications
        self._meshes = inputs.meshes
        self._locals = locals_
        self._known = Derived[Place, PeerAuthentication](
            graph, "what matters of PeerAuthentication", self._matters, over=[self._inputs]
        )
        self._selecting = SubsetIndex[Place](
            graph,
            "PeerAuthentications that select",
            self._known,
            _selected_by,
            perhaps=namespace_of,
            where=namespace_in,
        )
        by_namespace = self._by_namespace = Index(
            graph, "PeerAuthentications of all of", self._known, _whole, perhaps=lambda place: (place[0],)
        )
        self._namespaces = Derived[str, Ruling](graph, "the mTLS of namespace", self._of_all_in, over=[by_namespace])

    # --- what is derived

    def _matters(self, context: Context, place: Place) -> PeerAuthentication | None:
        """Return what matters of a PeerAuthentication."""
        return context.get(self._inputs, place)

    def _of_all_in(self, context: Context, namespace: str) -> Ruling | None:
        """Return whether the PeerAuthentications of a namespace turn mTLS off, or on; ``None`` where neither.

        In which way it is on matters to nobody here, so nobody hears of that, nor of it being on in the whole mesh, as
        it is where nothing is said.
        """
        found = namespace_mode(self._read(context, context.members(self._by_namespace, namespace)))
        if found is None or found.off:
            return found
        mesh = context.get(self._meshes, THIS)
        return None if mesh is not None and namespace == mesh.root_namespace else _ON

    def _read(self, context: Context, places: Iterable[Place]) -> dict[Place, PeerAuthentication]:
        found = {place: context.get(self._known, place) for place in places}
        return {place: one for place, one in found.items() if one is not None}

    # --- for who asks

    def off_everywhere(self, context: Context, mesh: LocalMesh) -> str:
        """Return who turns mTLS off for the whole mesh, in words; empty where nobody does."""
        ruling = context.get(self._namespaces, mesh.root_namespace) or _ON
        return ruling.off

    def off_for(
        self, context: Context, mesh: LocalMesh, namespace: str, labels: Mapping[str, str], ports: Iterable[int]
    ) -> str:
        """Return who turns mTLS off for endpoints of ours in a namespace, in words; empty where nobody does.

        ``ports`` are those at which they are dialled, of the remote's ingress. A PeerAuthentication that selects their
        labels takes them for pods.
        """
        whole = self._namespace(context, mesh, namespace)
        modes = self._workload(context, mesh, namespace, labelled(namespace, {**labels, **WORKLOAD}.items()))
        return whole.off or min((off for port in ports if (off := modes.of_port(port).off)), default="")

    def off_at(self, context: Context, mesh: LocalMesh, place: Place) -> dict[int, str]:
        """Return the ports of a Service that nobody behind it serves with mTLS, and in words who turns it off."""
        rulings: dict[int, list[Ruling]] = {}
        for port, ruling in self._served(context, mesh, place):
            rulings.setdefault(port, []).append(ruling)
        return {port: found[0].off for port, found in rulings.items() if all(one.off for one in found)}

    def off_at_any(self, context: Context, mesh: LocalMesh, local: LocalService, ports: Iterable[int]) -> str:
        """Return who turns mTLS off for some workload behind a Service, at one of these ports; empty where nobody."""
        asked = frozenset(ports)
        served = self._served(context, mesh, (local.host.namespace, local.host.name))
        return min((ruling.off for port, ruling in served if port in asked and ruling.off), default="")

    def _served(self, context: Context, mesh: LocalMesh, place: Place) -> Iterator[tuple[int, Ruling]]:
        """Yield the ports of a Service, each as often as a workload in the mesh serves it, and the mode there."""
        local = context.get(self._locals.services, place)
        if local is None or local.service.external_name:
            return
        if local.selects is None:
            yield from self._served_by_hand(context, mesh, local.service, place)
            return
        for workload, labels in self._behind(context, local, local.selects, place):
            modes = self._workload(context, mesh, place[0], labels)
            for port in local.service.ports:
                number = port_of(workload, port)
                if number is not None:
                    yield port.number, modes.of_port(number)

    def _behind(
        self, context: Context, local: Local, selects: frozenset[Any], place: Place
    ) -> list[tuple[Workload, frozenset[Any]]]:
        """Return what is in the mesh behind a Service, in a stable order, and the labels of each (`labelled`).

        Where nothing is that it selects, or nobody knows what, one that has the labels that it selects by and no
        others: whoever comes has them too.
        """
        found = self._selected(context, selects)
        if found:
            return found
        named = {port.target_port: _ANY_PORT for port in local.service.ports if isinstance(port.target_port, str)}
        coming = Workload(labels=tuple(sorted(local.service.selector.items())), ports=tuple(sorted(named.items())))
        return [(coming, labelled(place[0], coming.labels))]

    def _selected(self, context: Context, selects: frozenset[Any]) -> list[tuple[Workload, frozenset[Any]]]:
        workloads = self._locals.workloads
        sorts = sorted(
            (sort for sort in context.members(workloads, selects) if sort[1].in_mesh),
            key=lambda sort: (sort[1].labels, sort[1].ports),
        )
        # By the set that is there already: there are as many as Pods that differ.
        return [(sort[1], workloads.items_of(sort) or frozenset()) for sort in sorts]

    def _served_by_hand(
        self, context: Context, mesh: LocalMesh, service: LocalService, place: Place
    ) -> Iterator[tuple[int, Ruling]]:
        """Yield the same of a Service without a selector: EndpointSlices say who serves which port, and on which."""
        numbers = {port.name: port.number for port in service.ports}
        found = context.get(self._locals.by_hand, place) or frozenset()
        for one in sorted(found, key=lambda one: (one.workload.labels, one.number, one.port)):
            if one.workload.in_mesh:
                labels = labelled(place[0], one.workload.labels)
                yield numbers[one.port], self._workload(context, mesh, place[0], labels).of_port(one.number)

    def _workload(self, context: Context, mesh: LocalMesh, namespace: str, labels: frozenset[Any]) -> WorkloadModes:
        inherited = self._namespace(context, mesh, namespace)
        if namespace == mesh.root_namespace:
            return workload_modes({}, inherited)
        selecting = self._read(context, context.members(self._selecting, labels))
        return workload_modes(selecting, inherited)

    def _namespace(self, context: Context, mesh: LocalMesh, namespace: str) -> Ruling:
        own = context.get(self._namespaces, namespace)
        return own or context.get(self._namespaces, mesh.root_namespace) or _ON


def _selected_by(place: Place, one: PeerAuthentication) -> frozenset[Any] | None:
    return labelled(place[0], one.selector.items()) if one.selector else None


def _whole(place: Place, one: PeerAuthentication) -> tuple[str, ...]:
    return () if one.selector else (place[0],)
