"""EndpointSlices of Services without a selector, which somebody writes by hand, or whoever elects a leader.

The slices of all others follow from their selectors, and say in a label who wrote them. So the API server leaves those
out, and ten thousand of them cost nothing here. They remain unseen where a Service has lost its selector since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

import msgspec

from meshfed.api.core import EndpointSlice
from meshfed.derive import ByGroup, Context, Derived, Graph, Index, Input
from meshfed.model.workloads import Located, Workload
from meshfed.plan.values import Place, Ref

SERVICE_NAME: Final = "kubernetes.io/service-name"
_MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
_BY_SELECTOR: Final = "endpointslice-controller.k8s.io"
_MULTICLUSTER: Final = "multicluster.kubernetes.io/service-name"
BY_HAND: Final = f"{SERVICE_NAME},{_MANAGED_BY}!={_BY_SELECTOR},!{_MULTICLUSTER}"
"""Selects the slices that do not follow from a selector. istiod too passes over those of the multi-cluster services API
(``endpointSliceSelector``).
"""
_OUTSIDE: Final = Workload()
"""An endpoint that is no Pod."""


class Backing(msgspec.Struct, frozen=True):
    """What of an EndpointSlice matters: its Service, the Pods that it names, other addresses, and its ports.

    ``ports`` are by the name that the Service's port has, and the number is the endpoints' own.
    """

    service: Place
    pods: tuple[Place, ...] = ()
    addresses: tuple[str, ...] = ()
    ports: tuple[tuple[str, int], ...] = ()


class ByHand(msgspec.Struct, frozen=True):
    """Who is behind a port of a Service without a selector, by the port's name, and on which port of its own."""

    port: str
    workload: Workload
    number: int


class NamedHere(msgspec.Struct, frozen=True):
    """Who of the workloads of a namespace is named by a slice there, by name or by address."""

    pods: dict[str, Workload] = {}
    at: dict[str, tuple[Workload, ...]] = {}


def is_by_hand(labels: Mapping[str, str]) -> bool:
    """Whether `BY_HAND` selects a slice with these labels."""
    return SERVICE_NAME in labels and labels.get(_MANAGED_BY) != _BY_SELECTOR and _MULTICLUSTER not in labels


def of_slice(found: EndpointSlice) -> Backing:
    """Return what matters of an EndpointSlice (istiod, ``updateEndpointCacheForSlice``).

    Whether its endpoints are ready does not: who serves a host is announced before it does.
    """
    namespace = found.metadata.namespace
    service = (namespace, found.metadata.labels.get(SERVICE_NAME, ""))
    endpoints = found.endpoints or ()
    if found.address_type == "FQDN":
        endpoints = ()  # istiod takes none of these
    references = [one.target_ref for one in endpoints]
    pods = ((ref.namespace, ref.name) for ref in references if ref is not None and ref.kind == "Pod")
    others = (one.addresses for one in endpoints if one.target_ref is None or one.target_ref.kind != "Pod")
    return Backing(
        service,
        tuple(dict.fromkeys(pods)),
        tuple(dict.fromkeys(ip for ips in others for ip in ips)),
        tuple(sorted({(one.name or "", one.port) for one in found.ports or () if one.port})),
    )


class EndpointSlices:
    """Who is behind Services without a selector."""

    def __init__(self, graph: Graph, slices: Input[Place, Backing], workloads_in: ByGroup[str, Ref, Located]) -> None:
        self._slices = slices
        self._workloads_in = workloads_in
        known = Derived[Place, Backing](graph, "what matters of EndpointSlice", self._known, over=[slices])
        self._of_service = Index(graph, "EndpointSlices of", known, lambda _, backing: (backing.service,))
        self._in = Index(
            graph, "EndpointSlices in", known, lambda place, _: (place[0],), perhaps=lambda place: (place[0],)
        )
        self._found = Derived[str, NamedHere](graph, "whom EndpointSlices name in", self._of_namespace, over=[self._in])

    def _known(self, context: Context, place: Place) -> Backing | None:
        """Return what of an EndpointSlice matters."""
        return context.get(self._slices, place)

    def _of_namespace(self, context: Context, namespace: str) -> NamedHere | None:
        """Return whom the slices of a namespace name there. Of all other workloads no Service hears."""
        slices = [context.get(self._slices, place) for place in context.members(self._in, namespace)]
        addresses = {address for one in slices if one is not None for address in one.addresses}
        names = {name for one in slices if one is not None for place, name in one.pods if place == namespace}
        if not addresses and not names:
            return None
        pods: dict[str, Workload] = {}
        at: dict[str, dict[Workload, None]] = {}
        for (kind, _, name), located in self._workloads(context, namespace).items():
            if kind == "Pod" and name in names:
                pods[name] = located.workload
            if located.address in addresses:
                at.setdefault(located.address, {})[located.workload] = None
        return NamedHere(pods, {address: tuple(there) for address, there in at.items()})

    def behind(self, context: Context, service: Place, ports: Collection[str]) -> Iterator[ByHand]:
        """Yield who is behind a Service, at ports of these names: istiod finds endpoints of a port by its name."""
        for place in context.members(self._of_service, service):
            backing = context.get(self._slices, place)
            served = [(name, number) for name, number in backing.ports if name in ports] if backing is not None else []
            if backing is not None and served:
                for workload in self._there(context, backing):
                    yield from (ByHand(name, workload, number) for name, number in served)

    def _there(self, context: Context, backing: Backing) -> Iterator[Workload]:
        """Yield whom a slice names."""
        found = context.get(self._found, backing.service[0]) or NamedHere()
        yield from self._named(context, backing, found)
        # Pods of the namespace (``getPodsByIP``), or somebody outside.
        for address in backing.addresses:
            yield from found.at.get(address, (_OUTSIDE,))

    def _named(self, context: Context, backing: Backing, found: NamedHere) -> Iterator[Workload]:
        """Yield the Pods that are named. One that is not there is no endpoint yet (istiod, ``getPod``)."""
        for namespace, name in backing.pods:
            if namespace == backing.service[0]:
                pod = found.pods.get(name)
            else:
                located = self._workloads(context, namespace).get(("Pod", namespace, name))
                pod = located.workload if located is not None else None
            if pod is None or not pod.account:
                continue  # or it has finished, and is nothing any more
            # An account is one of the Service's namespace, as an export states it; another cannot be stated.
            yield pod if namespace == backing.service[0] else msgspec.structs.replace(pod, account="")

    def _workloads(self, context: Context, namespace: str) -> Mapping[Ref, Located]:
        return context.get(self._workloads_in, namespace) or {}
