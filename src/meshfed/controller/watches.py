"""What the cluster must serve before the controller may act, and the watches whose objects decisions depend on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from meshfed.api.compact import decode_offer
from meshfed.api.core import EndpointSlice, Namespace, Pod, Service, ServiceExport
from meshfed.api.crds import APPLY_COMMAND, differences
from meshfed.api.v1alpha1 import GROUP, OWNER_NAMESPACE_LABEL, FederatedService, MeshFederation, RemoteMesh
from meshfed.controller.faults import Faults
from meshfed.istio.peer_authentications import PeerAuthentication, of_peer_authentication
from meshfed.kube import Client, KubeError, Reflector, Resource, Store, discover, retry_on_error
from meshfed.model.workloads import Located
from meshfed.plan import Ref, endpoint_slices, foreign_destination_rules, foreign_service_entries, workloads

S = TypeVar("S")
T = TypeVar("T")

NETWORKING: Final = "networking.istio.io"
SECURITY: Final = "security.istio.io"
API_KINDS: Final = ("MeshFederation", "RemoteMesh", "FederatedService")
ISTIO_KINDS: Final = (
    (NETWORKING, "Gateway"),
    (NETWORKING, "ServiceEntry"),
    (NETWORKING, "WorkloadEntry"),
    (NETWORKING, "DestinationRule"),
    (NETWORKING, "EnvoyFilter"),
    (SECURITY, "PeerAuthentication"),
    (SECURITY, "AuthorizationPolicy"),
)
ROUTE: Final = Resource("route.openshift.io", "v1", "routes", "Route")
"""Served by OpenShift only, and needed only behind its router. It comes from a server of its own, which may be down:
so it is watched wherever it is served, and waited for where it is not.
"""
SERVICES: Final = Resource("", "v1", "services", "Service")
PODS: Final = Resource("", "v1", "pods", "Pod")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
SERVICE_EXPORTS: Final = Resource("multicluster.x-k8s.io", "v1alpha1", "serviceexports", "ServiceExport")
"""Of the multi-cluster services API, which not every cluster has."""
CRDS: Final = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)

NOT_OURS: Final = f"!{OWNER_NAMESPACE_LABEL}"
"""Selects what no installation of ours has written."""

DECIDING: Final = frozenset({*API_KINDS, "Service", "Namespace", "ServiceExport"})
"""Kinds on whose objects it depends what there should be. Others' Istio objects can be read whatever they say,
so of those only one is unknown on which our own code fails (`meshfed.controller.faults`).
"""

Ours = MeshFederation | RemoteMesh | FederatedService | ServiceExport
"""Objects that have a status of our making."""


class Served(msgspec.Struct, frozen=True):
    """The resources of a cluster that has all it needs, by kind, each in the version to speak."""

    ours: Mapping[str, Resource]
    written: tuple[Resource, ...]
    """What is rendered: Istio's kinds, and Routes, whether they are served or not."""

    def istio(self, kind: str) -> Resource:
        """Return the resource of one of Istio's kinds."""
        return next(resource for resource in self.written if resource.kind == kind)


class Lacking(KubeError):
    """The cluster lacks something; the message says what, and the command that mends it."""


class LacksDefinitions(Lacking):
    """Our CRDs are not there, or others stand in their place."""


async def _served(client: Client) -> Served:
    found = await discover(client)
    ours = {kind: found.find(GROUP, kind) for kind in API_KINDS}
    missing = [kind for kind, resource in ours.items() if resource is None]
    if missing:
        raise LacksDefinitions(
            f"the cluster does not serve {', '.join(missing)}: run `meshfed crds | kubectl apply --server-side -f -`"
        )
    written = {pair: found.find(*pair) for pair in ISTIO_KINDS}
    absent = [f"{kind}.{group}" for (group, kind), resource in written.items() if resource is None]
    if absent:
        raise Lacking(f"the cluster does not serve Istio's {', '.join(absent)}: install Istio, or its base chart")
    for resource in ours.values():
        if resource is not None:
            crd: dict[str, Any] = await client.get(CRDS, f"{resource.plural}.{GROUP}")
            found_differences = differences(crd)
            if found_differences:
                raise LacksDefinitions(
                    f"the CRD {resource.plural}.{GROUP} is not Meshfed's ({'; '.join(found_differences[:3])}), so "
                    f"objects could be stored without their contents: run `{APPLY_COMMAND}`"
                )
    return Served(
        ours={kind: resource for kind, resource in ours.items() if resource is not None},
        written=(*(resource for resource in written.values() if resource is not None), ROUTE),
    )


async def wait_until_served(
    client: Client, not_ready: Callable[[str], None], *, define: Callable[[Client], Awaitable[None]] | None = None
) -> Served:
    """Wait until the cluster answers and serves all that is needed; ``not_ready`` hears what is still wrong.

    ``define`` puts our CRDs in place, where that is for us to do.
    """

    async def served() -> Served:
        try:
            return await _served(client)
        except LacksDefinitions:
            if define is None:
                raise
            await define(client)
            return await _served(client)

    return await retry_on_error(served, not_ready=not_ready)


def _of_others(
    client: Client,
    resource: Resource,
    into: type[T],
    store: Store[T],
    decode: Callable[[Mapping[str, Any]], T],
    *,
    faults: Faults,
    others: str,
) -> Reflector[T]:
    """Return what follows the objects of a kind that ``others`` selects; ``decode`` takes whatever they are."""
    return Reflector(
        client,
        resource,
        into,
        store,
        decode=faults.decoding(resource.kind, store, lambda data: decode(msgspec.json.decode(data))),
        label_selector=others,
    )


def _projected(
    client: Client,
    resource: Resource,
    store: Store[T],
    *,
    types: tuple[type[S], type[T]],
    project: Callable[[S], T],
    faults: Faults,
    selector: str | None,
) -> Reflector[T]:
    """Return what follows the objects of a kind that nothing hinges on, and keeps what ``project`` makes of each."""
    decode = msgspec.json.Decoder(types[0]).decode
    return Reflector(
        client,
        resource,
        types[1],
        store,
        advisory=True,
        optional=True,
        decode=faults.decoding(resource.kind, store, lambda data: project(decode(data))),
        label_selector=selector,
    )


class Watches:
    """The stores that decisions depend on, and the reflectors that keep them current."""

    def __init__(
        self,
        client: Client,
        served: Served,
        *,
        namespace: str,
        fixed: bool,
        read_pods: bool,
        faults: Faults,
        others: str = NOT_OURS,
    ) -> None:
        """``faults`` knows which objects are to count as such that cannot be understood; ``others`` selects by label
        what counts as written by somebody else.
        """

        def store(kind: str) -> Store[Any]:
            return Store(refuses=lambda key, record: faults.refuses((kind, *key), record))

        self.federations: Store[MeshFederation] = store("MeshFederation")
        self.remotes: Store[RemoteMesh] = store("RemoteMesh")
        self.offers: Store[FederatedService] = store("FederatedService")
        self.services: Store[Service] = store("Service")
        self.namespaces: Store[Namespace] = store("Namespace")
        self.service_exports: Store[ServiceExport] = store("ServiceExport")
        self.pods: Store[Located] = store("Pod")
        self.slices: Store[endpoint_slices.Backing] = store("EndpointSlice")
        self.workload_entries: Store[Located] = store("WorkloadEntry")
        self.rules: Store[foreign_destination_rules.ForeignDestinationRule] = store("DestinationRule")
        self.entries: Store[foreign_service_entries.ForeignServiceEntry] = store("ServiceEntry")
        self.peer_authentications: Store[PeerAuthentication] = store("PeerAuthentication")
        self.offers.add_index("remote", lambda offer: (offer.spec.remote,))
        ours, theirs = served.ours, partial(_of_others, others=others, faults=faults)
        self._reflectors: list[Reflector[Any]] = [
            Reflector(
                client,
                ours["FederatedService"],
                FederatedService,
                self.offers,
                namespace=namespace,
                decode=faults.decoding("FederatedService", self.offers, decode_offer),
            ),
            Reflector(client, SERVICES, Service, self.services),
            Reflector(client, NAMESPACES, Namespace, self.namespaces),
            Reflector(client, SERVICE_EXPORTS, ServiceExport, self.service_exports, optional=True),
            theirs(client, served.istio("WorkloadEntry"), Located, self.workload_entries, workloads.of_entry),
            theirs(
                client,
                served.istio("DestinationRule"),
                foreign_destination_rules.ForeignDestinationRule,
                self.rules,
                foreign_destination_rules.of_destination_rule,
            ),
            theirs(
                client,
                served.istio("ServiceEntry"),
                foreign_service_entries.ForeignServiceEntry,
                self.entries,
                foreign_service_entries.of_service_entry,
            ),
            theirs(
                client,
                served.istio("PeerAuthentication"),
                PeerAuthentication,
                self.peer_authentications,
                of_peer_authentication,
            ),
        ]
        self._advisory: list[Reflector[Any]] = []
        if read_pods:
            self._advisory += [
                _projected(
                    client,
                    PODS,
                    self.pods,
                    types=(Pod, Located),
                    project=workloads.of_pod,
                    faults=faults,
                    selector=None,
                ),
                _projected(
                    client,
                    ENDPOINT_SLICES,
                    self.slices,
                    types=(EndpointSlice, endpoint_slices.Backing),
                    project=endpoint_slices.of_slice,
                    faults=faults,
                    selector=endpoint_slices.BY_HAND,
                ),
            ]
        if not fixed:
            self._reflectors += [
                Reflector(client, ours["MeshFederation"], MeshFederation, self.federations, namespace=namespace),
                Reflector(client, ours["RemoteMesh"], RemoteMesh, self.remotes, namespace=namespace),
            ]
        self._watched: dict[str, Store[Any]] = {
            "FederatedService": self.offers,
            "Service": self.services,
            "Namespace": self.namespaces,
            "ServiceExport": self.service_exports,
            "WorkloadEntry": self.workload_entries,
            "DestinationRule": self.rules,
            "ServiceEntry": self.entries,
            "PeerAuthentication": self.peer_authentications,
        }
        if not fixed:
            self._watched |= {"MeshFederation": self.federations, "RemoteMesh": self.remotes}

    def find(self, ref: Ref) -> Ours | None:
        """Return the object of ours as the watch last showed it."""
        kind, *key = ref
        found: Ours | None = self.store(kind).get((key[0], key[1]))
        return found

    def has(self, ref: Ref) -> bool:
        """Whether a state of the object is known, be it the last good one."""
        kind, *key = ref
        return (key[0], key[1]) in self.store(kind)

    def store(self, kind: str) -> Store[Any]:
        """Return what is known of the objects of a kind."""
        # Objects that come from flags are watched nowhere, and have a store all the same, which is empty.
        unwatched: dict[str, Store[Any]] = {
            "MeshFederation": self.federations,
            "RemoteMesh": self.remotes,
            "Pod": self.pods,
            "EndpointSlice": self.slices,
        }
        return self._watched[kind] if kind in self._watched else unwatched[kind]

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for reflector in (*self._reflectors, *self._advisory):
                tasks.create_task(reflector.run())

    def not_understood(self) -> Iterator[tuple[Ref, str]]:
        """Yield each object whose state cannot be understood, and why; it is not an object that is gone."""
        for kind in DECIDING & self._watched.keys():
            store = self._watched[kind]
            yield from (((kind, *key), error) for key, error in store.undecodable.items())

    async def wait_synced(self, not_ready: Callable[[str], None]) -> None:
        """Wait until everything there is was listed; ``not_ready`` hears what is not. Nothing may be decided before."""
        for kind, store in self._watched.items():
            not_ready(f"{kind} objects are not listed yet")
            await store.wait_synced()
        for reflector in self._advisory:
            not_ready(f"{reflector.resource.kind} objects are not listed yet")
            await reflector.answered()
