"""EndpointSlices of Services without a selector, which somebody writes by hand, or whoever elects a leader.

The slices of all others follow from their selectors, and say in a label who wrote them. So the API server leaves those
out, and ten thousand of them cost nothing here. They remain unseen where a Service has lost its selector since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    """What of an EndpointSlice matters: its Service, the Pods that it names, and other addresses."""

    service: Place
    pods: tuple[Place, ...] = ()
    addresses: tuple[str, ...] = ()


def is_by_hand(labels: Mapping[str, str]) -> bool:
    """Whether `BY_HAND` selects a slice with these labels."""
    return SERVICE_NAME in labels and labels.get(_MANAGED_BY) != _BY_SELECTOR and _MULTICLUSTER not in labels


def of_slice(found: EndpointSlice) -> Backing:
    """Return what matters of an EndpointSlice (istiod, ``updateEndpointCacheForSlice``)."""
    namespace = found.metadata.namespace
    service = (namespace, found.metadata.labels.get(SERVICE_NAME, ""))
    endpoints = found.endpoints or ()
    if found.address_type == "FQDN":
        endpoints = ()  # istiod takes none of these
    references = [one.target_ref for one in endpoints]
    pods = ((ref.namespace, ref.name) for ref in references if ref is not None and ref.kind == "Pod")
    others = (one.addresses for one in endpoints if one.target_ref is None or one.target_ref.kind != "Pod")
    return Backing(service, tuple(dict.fromkeys(pods)), tuple(dict.fromkeys(ip for ips in others for ip in ips)))


class EndpointSlices:
    """Who is behind Services without a selector."""

    def __init__(self, graph: Graph, slices: Input[Place, Backing], workloads_in: ByGroup[str, Ref, Located]) -> None:
        self._slices = slices
        self._workloads_in = workloads_in
        known = Derived[Place, Backing](graph, "what matters of EndpointSlice", self._known, over=[slices])
        self._of_service = Index(graph, "EndpointSlices of", known, lambda _, backing: (backing.service,))

    def _known(self, context: Context, place: Place) -> Backing | None:
        """Return what of an EndpointSlice matters."""
        return context.get(self._slices, place)

    def behind(self, context: Context, service: Place) -> Iterator[Workload]:
        """Yield who is behind a Service."""
        for place in context.members(self._of_service, service):
            backing = context.get(self._slices, place)
            if backing is not None:
                yield from self._named(context, backing)
                yield from self._at(context, backing)

    def _named(self, context: Context, backing: Backing) -> Iterator[Workload]:
        """Yield the Pods that are named. One that is not there is no endpoint yet (istiod, ``getPod``)."""
        for namespace, name in backing.pods:
            pod = self._in(context, namespace).get(("Pod", namespace, name))
            if pod is None or not pod.workload.account:
                continue  # or it has finished, and is nothing any more
            # An account is one of the Service's namespace, as an export states it; another cannot be stated.
            elsewhere = namespace != backing.service[0]
            yield msgspec.structs.replace(pod.workload, account="") if elsewhere else pod.workload

    def _at(self, context: Context, backing: Backing) -> Iterator[Workload]:
        """Yield who is at the addresses: Pods of the namespace (``getPodsByIP``), or somebody outside."""
        if not backing.addresses:
            return
        pods: dict[str, list[Workload]] = {}
        for located in self._in(context, backing.service[0]).values():
            pods.setdefault(located.address, []).append(located.workload)
        for address in backing.addresses:
            yield from pods.get(address, (_OUTSIDE,))

    def _in(self, context: Context, namespace: str) -> Mapping[Ref, Located]:
        return context.get(self._workloads_in, namespace) or {}
