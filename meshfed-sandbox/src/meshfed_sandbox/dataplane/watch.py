"""What one mesh's API server holds, as plain JSON and by kind: what a kubelet, controllers and istiod all look at."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from meshfed.kube import Client, Key, NotFound, Reflector, Resource, Store

JSONObject = dict[str, Any]

_NETWORKING: Final = ("networking.istio.io", "v1")
_SECURITY: Final = ("security.istio.io", "v1")

POD: Final = Resource("", "v1", "pods", "Pod")
SERVICE: Final = Resource("", "v1", "services", "Service")
CONFIG_MAP: Final = Resource("", "v1", "configmaps", "ConfigMap")
NODE: Final = Resource("", "v1", "nodes", "Node", namespaced=False)
EVENT: Final = Resource("", "v1", "events", "Event")
DEPLOYMENT: Final = Resource("apps", "v1", "deployments", "Deployment")
JOB: Final = Resource("batch", "v1", "jobs", "Job")
ENDPOINT_SLICE: Final = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
SERVICE_ENTRY: Final = Resource(*_NETWORKING, "serviceentries", "ServiceEntry")
ROUTE: Final = Resource("route.openshift.io", "v1", "routes", "Route")

_POLL: Final = 0.02

_WATCHED: Final = (
    POD,
    SERVICE,
    DEPLOYMENT,
    JOB,
    ENDPOINT_SLICE,
    NODE,
    Resource("", "v1", "namespaces", "Namespace", namespaced=False),
    SERVICE_ENTRY,
    Resource(*_NETWORKING, "workloadentries", "WorkloadEntry"),
    Resource(*_NETWORKING, "destinationrules", "DestinationRule"),
    Resource(*_NETWORKING, "gateways", "Gateway"),
    Resource("networking.istio.io", "v1alpha3", "envoyfilters", "EnvoyFilter"),
    Resource(*_SECURITY, "peerauthentications", "PeerAuthentication"),
    Resource(*_SECURITY, "authorizationpolicies", "AuthorizationPolicy"),
    ROUTE,
    # None of these is translated: an object of theirs is seen so that it can be said.
    Resource(*_NETWORKING, "virtualservices", "VirtualService"),
    Resource(*_NETWORKING, "sidecars", "Sidecar"),
    Resource(*_SECURITY, "requestauthentications", "RequestAuthentication"),
    Resource("extensions.istio.io", "v1alpha1", "wasmplugins", "WasmPlugin"),
    Resource("extensions.istio.io", "v1alpha1", "trafficextensions", "TrafficExtension"),
    Resource("telemetry.istio.io", "v1", "telemetries", "Telemetry"),
    Resource("networking.istio.io", "v1beta1", "proxyconfigs", "ProxyConfig"),
    Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"),
    Resource("gateway.networking.k8s.io", "v1", "grpcroutes", "GRPCRoute"),
    Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
)
KINDS: Final = frozenset(resource.kind for resource in _WATCHED)


class Watch:
    """The objects of one mesh. ``changed`` is called with the kind after each change."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stores: dict[str, Store[JSONObject]] = {resource.kind: Store() for resource in _WATCHED}
        self._reflectors = [_reflector(client, resource, self._stores[resource.kind]) for resource in _WATCHED]
        self._subscribers: list[Callable[[str], None]] = []

    def subscribe(self, changed: Callable[[str], None]) -> None:
        """Call ``changed`` with the kind of every object that changes from now on."""
        self._subscribers.append(changed)

    async def run(self) -> None:
        """Watch until cancelled."""
        for kind, store in self._stores.items():
            store.subscribe(lambda _key, _old, _new, kind=kind: self._notify(kind))  # type: ignore[misc]
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())

    async def synced(self) -> None:
        """Wait until everything was seen once."""
        for store in self._stores.values():
            await store.wait_synced()

    async def caught_up(self) -> None:
        """Wait until everything was seen that the API server holds as of this call.

        Raises:
            KubeError: the API server cannot be asked.
        """
        for resource in _WATCHED:
            with contextlib.suppress(NotFound):  # a kind that is not served has nothing to be seen
                page = await self._client.page(resource, limit=0)
                objects = [msgspec.json.decode(item) for item in page.items]
                listed = {_key(obj): _version(obj) for obj in objects}
                while not self._has_seen(resource.kind, listed, int(page.resource_version)):  # noqa: ASYNC110 - soon over
                    await asyncio.sleep(_POLL)

    def _has_seen(self, kind: str, listed: Mapping[Key, int], as_of: int) -> bool:
        seen = {key: _version(obj) for key, obj in self._stores[kind].items()}
        current = all(seen.get(key, -1) >= version for key, version in listed.items())
        # What the list lacks is gone, unless it came after the list.
        return current and all(version > as_of for key, version in seen.items() if key not in listed)

    def _notify(self, kind: str) -> None:
        for changed in self._subscribers:
            changed(kind)

    def all(self, kind: str) -> Sequence[JSONObject]:
        """Every object of a kind, by namespace and name."""
        return [obj for _, obj in sorted(self._stores[kind].items(), key=lambda item: item[0])]

    def knows(self, kind: str) -> bool:
        """Whether objects of a kind are watched."""
        return kind in self._stores

    def get(self, kind: str, namespace: str, name: str) -> JSONObject | None:
        """One object; a cluster's has no namespace (empty)."""
        return self._stores[kind].get((namespace, name))

    def objects(self, kinds: Collection[str]) -> Mapping[str, Sequence[JSONObject]]:
        """All objects of those of ``kinds`` that are watched, by kind."""
        return {kind: self.all(kind) for kind in self._stores if kind in kinds}


def _key(obj: JSONObject) -> Key:
    return Key(obj["metadata"].get("namespace") or "", obj["metadata"]["name"])


def _version(obj: JSONObject) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _reflector(client: Client, resource: Resource, store: Store[JSONObject]) -> Reflector[JSONObject]:
    def decode(data: msgspec.Raw) -> JSONObject:
        # Inside a list, built-in kinds come without these.
        found: JSONObject = {"apiVersion": resource.api_version, "kind": resource.kind, **msgspec.json.decode(data)}
        found["metadata"].pop("managedFields", None)
        return found

    return Reflector(client, resource, dict, store, optional=True, decode=decode)
