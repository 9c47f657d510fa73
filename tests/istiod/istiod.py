"""A real istiod beside the sandbox's control plane: what it tells a proxy about the same objects.

``ISTIOD`` names its binary, ``pilot-discovery``, which ``go build ./pilot/cmd/pilot-discovery`` makes in a checkout of
Istio. It watches a mesh's API server as it would in a cluster. A proxy is stood in for by its node and its
subscriptions; what it would be told is read from istiod's debug interface, as JSON.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import grpc.aio
import yaml
from google.protobuf import json_format, struct_pb2

from meshfed.fds.pb.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from meshfed_sandbox.dataplane.values import MeshSettings, ProxyIdentity
from meshfed_sandbox.ports import Ports

JSONObject = dict[str, Any]

_STREAM: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
_CLUSTERS: Final = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
_ENDPOINTS: Final = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
_LISTENERS: Final = "type.googleapis.com/envoy.config.listener.v3.Listener"
_ROUTES: Final = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
_NAMES: Final = "type.googleapis.com/istio.networking.nds.v1.NameTable"
_PATIENCE: Final = 60.0

ENVIRONMENT: Final = {
    "CLUSTER_ID": "Kubernetes",
    "ENABLE_CA_SERVER": "false",
    "ENABLE_LEADER_ELECTION": "false",
    "INJECTION_WEBHOOK_CONFIG_NAME": "",
    "PILOT_CERT_PROVIDER": "none",
    "PILOT_ENABLE_GATEWAY_API": "false",
    "POD_NAME": "istiod",
    "VALIDATION_WEBHOOK_CONFIG_NAME": "",
}
"""istiod alone: it signs nothing, injects nothing, and refuses nothing at admission."""


def binary() -> Path | None:
    """The istiod that ``ISTIOD`` names."""
    named = os.environ.get("ISTIOD")
    return Path(named) if named and Path(named).is_file() else None


def crds() -> Iterator[JSONObject]:
    """Kinds that istiod waits for and the sandbox's API server has not, so that there are none of them."""
    for group, kind, scope in (
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "Cluster"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "Cluster"),
        ("networking.k8s.io", "Ingress", "Namespaced"),
        ("networking.k8s.io", "IngressClass", "Cluster"),
    ):
        plural = f"{kind.lower()}{'es' if kind.endswith('s') else 's'}"
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
        yield {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": f"{plural}.{group}",
                "annotations": {"api-approved.kubernetes.io": "unapproved, stands in for what every cluster has"},
            },
            "spec": {
                "group": group,
                "names": names,
                "scope": scope,
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
            },
        }


class Istiod:
    """The istiod of one mesh, while it runs."""

    def __init__(self, settings: MeshSettings, grpc_port: int, http_port: int, log: Path) -> None:
        self.settings = settings
        self.log = log
        self._address = f"127.0.0.1:{grpc_port}"
        self._http = f"http://127.0.0.1:{http_port}"

    async def listens(self) -> None:
        """Wait until proxies can connect, which is later than the debug interface answers."""
        async with grpc.aio.insecure_channel(self._address) as channel:
            await channel.channel_ready()

    async def asked(self, path: str) -> Any:
        """What the debug interface answers; raises ``aiohttp.ClientError``."""
        async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(self._http + path) as response:
            return await response.json()

    async def tells(self, proxy: ProxyIdentity) -> Mapping[str, list[JSONObject]]:
        """What a proxy that connects now is told: ``clusters``, ``endpoints``, ``listeners``, ``routes``, ``names``."""
        node = _node(self.settings, proxy)
        async with grpc.aio.insecure_channel(self._address) as channel:
            stream: Any = channel.stream_stream(_STREAM, response_deserializer=DiscoveryResponse.FromString)()
            await stream.write(_request(_CLUSTERS, (), node))
            for kind in (_LISTENERS, _NAMES):
                await stream.write(_request(kind))
            seen: set[str] = set()
            await _hear(stream, seen, {_CLUSTERS, _LISTENERS, _NAMES})
            clusters, listeners, names = [await self._dump(proxy, kind) for kind in ("cds", "lds", "nds")]
            followed = {_ENDPOINTS: _endpoint_names(clusters), _ROUTES: sorted(set(_route_names(listeners)))}
            wanted = {kind for kind, names_ in followed.items() if names_}
            for kind in sorted(wanted):
                await stream.write(_request(kind, followed[kind]))
            await _hear(stream, seen, wanted)
            endpoints, routes = [await self._dump(proxy, kind) for kind in ("eds", "rds")]
            stream.cancel()
        return {
            "clusters": clusters,
            "endpoints": endpoints,
            "listeners": listeners,
            "routes": routes,
            "names": names,
        }

    async def _dump(self, proxy: ProxyIdentity, kind: str) -> list[JSONObject]:
        found = await self.asked(f"/debug/config_dump?proxyID={proxy.pod}.{proxy.namespace}&types={kind}")
        return [snake_case(each) for each in found.get("configs", [])]


@asynccontextmanager
async def istiod(settings: MeshSettings, kubeconfig: Path, directory: Path) -> AsyncIterator[Istiod]:
    """Run istiod for the mesh behind ``kubeconfig``, whose API server has to serve ``crds``."""
    mesh, networks, log = _files(settings, directory)
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "POD_NAMESPACE": settings.root_namespace,
        "PILOT_SKIP_VALIDATE_TRUST_DOMAIN": str(settings.skip_validate_trust_domain).lower(),
    }
    with Ports() as ports:
        grpc_port, http_port, monitoring = ports.take(), ports.take(), ports.take()
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                str(binary()),
                "discovery",
                f"--kubeconfig={kubeconfig}",
                f"--meshConfig={mesh}",
                f"--networksConfig={networks}",
                f"--grpcAddr=127.0.0.1:{grpc_port}",
                f"--httpAddr=127.0.0.1:{http_port}",
                f"--monitoringAddr=127.0.0.1:{monitoring}",
                "--secureGRPCAddr=",
                "--httpsAddr=",
                "--ctrlz_port=0",
                "--registries=Kubernetes",
                stdout=output,
                stderr=output,
                env=environment,
            )
        try:
            found = Istiod(settings, grpc_port, http_port, log)
            await _ready(found, process)
            yield found
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


def _files(settings: MeshSettings, directory: Path) -> tuple[Path, Path, Path]:
    """What istiod reads, and where it writes its log."""
    directory.mkdir(parents=True, exist_ok=True)
    mesh, networks = directory / "mesh.yaml", directory / "networks.yaml"
    mesh.write_text(yaml.safe_dump(_mesh_config(settings)))
    networks.write_text("networks: {}\n")
    return mesh, networks, directory / "istiod.log"


async def _ready(found: Istiod, process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            while process.returncode is None:
                with suppress(aiohttp.ClientError, ValueError):
                    await found.asked("/debug/networkz")
                    await found.listens()
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        pass
    raise AssertionError(f"istiod does not start: {found.log.read_text()[-2000:]}")


def _mesh_config(settings: MeshSettings) -> JSONObject:
    return settings.mesh_config | {"ingressControllerMode": "OFF"}


def _node(settings: MeshSettings, proxy: ProxyIdentity) -> bytes:
    """The field ``node`` of a request: who asks, as the agent says it."""
    metadata = {
        "CLUSTER_ID": ENVIRONMENT["CLUSTER_ID"],
        "DNS_AUTO_ALLOCATE": "true",
        "DNS_CAPTURE": "true",
        "INSTANCE_IPS": proxy.address,
        "ISTIO_VERSION": "1.31.0",
        "LABELS": dict(proxy.labels),
        "NAME": proxy.pod,
        "NAMESPACE": proxy.namespace,
        "NETWORK": proxy.labels.get("topology.istio.io/network", settings.network),
        "SERVICE_ACCOUNT": proxy.service_account,
        **({"REQUESTED_NETWORK_VIEW": proxy.requested_network} if proxy.requested_network else {}),
    }
    kind = "router" if proxy.kind == "gateway" else "sidecar"
    domain = f"{proxy.namespace}.svc.{settings.cluster_domain}"
    named = DiscoveryRequest()
    named.node.id = f"{kind}~{proxy.address}~{proxy.pod}.{proxy.namespace}~{domain}"
    struct = json_format.ParseDict(metadata, struct_pb2.Struct())
    return named.SerializeToString() + _field(2, _field(3, struct.SerializeToString()))


def _field(number: int, value: bytes) -> bytes:
    """A field that our own message of that name has no use for; messages are merged when they are read."""
    length, size = len(value), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes([number << 3 | 2]) + bytes(size) + value


def _request(kind: str, names: Collection[str] = (), node: bytes = b"", nonce: str = "", version: str = "") -> bytes:
    request = DiscoveryRequest(type_url=kind, resource_names=names, response_nonce=nonce, version_info=version)
    return node + request.SerializeToString()


async def _hear(stream: Any, seen: set[str], wanted: Collection[str]) -> None:
    """Wait until something was said of every kind."""
    async with asyncio.timeout(_PATIENCE):
        while not seen.issuperset(wanted):
            response = await stream.read()
            assert response is not grpc.aio.EOF, "istiod ended the stream"
            seen.add(response.type_url)


def _endpoint_names(clusters: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the endpoints that clusters of type EDS ask for."""
    return [
        each.get("eds_cluster_config", {}).get("service_name") or each["name"]
        for each in clusters
        if each.get("type") == "EDS"
    ]


def _route_names(value: Any) -> Iterator[str]:
    """The names of the routes that listeners ask for."""
    if isinstance(value, dict):
        if "route_config_name" in value:
            yield value["route_config_name"]
        for each in value.values():
            yield from _route_names(each)
    elif isinstance(value, list):
        for each in value:
            yield from _route_names(each)


def snake_case(value: Any) -> Any:
    """JSON of protocol buffers with the fields' own names; keys that are no such names stay as they are."""
    if isinstance(value, dict):
        return {_snake(name): snake_case(each) for name, each in value.items()}
    return [snake_case(each) for each in value] if isinstance(value, list) else value


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", name) if name.isalnum() else name
