"""What the reference's controller writes, as facts of it say: names, labels, API versions and specs.

Made independently of what is tested, so that it can be compared with what Meshfed writes and be put into a cluster as
what the reference left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from meshfed.kube import Manifest

SYSTEM = "istio-system"
PEER = {"federation.openshift-service-mesh.io/peer": "todo"}
TLS = {"security.istio.io/tlsMode": "istio"}
ROUTER = "openshift-router"


RECORD: Manifest = {
    "apiVersion": "federation.openshift-service-mesh.io/v1alpha1",
    "kind": "FederatedService",
    "metadata": {
        "name": "ratings-default-svc-cluster-local-west",
        "namespace": SYSTEM,
        "labels": {"federation.openshift-service-mesh.io/source-mesh": "west"},
        "finalizers": ["federation.example.org/theirs"],
    },
    "spec": {"host": "ratings.default.svc.cluster.local"},
}
"""What its record of an offer looks like, held by a finalizer."""


class Port(msgspec.Struct, frozen=True):
    """A port of a Service."""

    number: int = 9080
    name: str = "http"
    protocol: str = "HTTP"
    target: int = 9080


class Service(msgspec.Struct, frozen=True):
    """A Service, here or in a remote."""

    name: str
    namespace: str = "default"
    ports: tuple[Port, ...] = (Port(),)
    labels: dict[str, str] = {}

    @property
    def host(self) -> str:
        return f"{self.name}.{self.namespace}.svc.cluster.local"


class Peer(msgspec.Struct, frozen=True):
    """One of ``meshPeers.remotes``; ``addresses`` are IPs, or one host name that resolves to ``resolved``."""

    name: str
    addresses: tuple[str, ...]
    network: str = ""
    port: int = 15443
    ingress: str = "istio"
    offers: tuple[Service, ...] = ()
    resolved: tuple[str, ...] = ()


class ReferenceMesh(msgspec.Struct, frozen=True):
    """A mesh that the reference's controller federates."""

    name: str
    peers: tuple[Peer, ...]
    exports: tuple[Service, ...] = ()
    locals: tuple[Service, ...] = ()
    """Further Services that the mesh has itself."""
    ingress: str = "istio"
    selector: dict[str, str] = msgspec.field(default_factory=lambda: {"app": "federation-ingress-gateway"})
    port: int = 15443
    port_name: str = "tls-passthrough"

    def objects(self) -> list[Manifest]:
        """Everything, in no order that means anything."""
        return [*self._own(), *(one for peer in self.peers for one in self._of(peer))]

    def _own(self) -> Iterator[Manifest]:
        fds = Service(f"federation-discovery-service-{self.name}", SYSTEM, (Port(15080, "grpc", "GRPC", 15080),))
        server = {
            "hosts": sorted(one.host for one in (fds, *self.exports)),
            "port": {"number": self.port, "name": self.port_name, "protocol": "TLS"},
            "tls": {"mode": "AUTO_PASSTHROUGH"},
        }
        yield _networking("Gateway", "federation-ingress-gateway", {"selector": self.selector, "servers": [server]})
        yield _object(
            "security.istio.io/v1beta1",
            "PeerAuthentication",
            "fds-strict-mtls",
            {
                "selector": {"matchLabels": {"app.kubernetes.io/name": "federation-controller"}},
                "mtls": {"mode": "STRICT"},
            },
        )
        if self.ingress == ROUTER:
            for service in (fds, *self.exports):
                for port in service.ports:
                    yield self._filter(service, port.number)
                    yield self._route(service, port.number)

    def _filter(self, service: Service, port: int) -> Manifest:
        match = {
            "listener": {
                "name": f"0.0.0.0_{self.port}",
                "filterChain": {"sni": f"outbound_.{port}_._.{service.host}"},
            }
        }
        value = {"filter_chain_match": {"server_names": [_router_sni(service, port)]}}
        return _networking(
            "EnvoyFilter",
            f"sni-{service.name}-{service.namespace}-{port}",
            {
                "workloadSelector": {"labels": self.selector},
                "configPatches": [
                    {
                        "applyTo": "FILTER_CHAIN",
                        "match": match,
                        "patch": {"operation": "MERGE", "value": value},
                    }
                ],
            },
        )

    def _route(self, service: Service, port: int) -> Manifest:
        return _object(
            "route.openshift.io/v1",
            "Route",
            f"{service.name}-{service.namespace}-{port}-to-federation-ingress-gateway",
            {
                "host": _router_sni(service, port),
                "to": {"kind": "Service", "name": "federation-ingress-gateway"},
                "port": {"targetPort": self.port_name},
                "tls": {"termination": "passthrough"},
            },
        )

    def _of(self, peer: Peer) -> Iterator[Manifest]:
        static = not peer.resolved
        fds = Service(f"federation-discovery-service-{peer.name}", SYSTEM, (Port(15080, "grpc", "GRPC", 15080),))
        own = {(one.namespace, one.name) for one in (*self.exports, *self.locals)}
        yield _networking("ServiceEntry", fds.name, _entry(fds, peer, static=static, target=False))
        if peer.ingress == ROUTER:
            tls = {"mode": "ISTIO_MUTUAL", "sni": _router_sni(fds, 15080)}
            name = f"mtls-sni-{fds.host.replace('.', '-')}"
            yield _networking("DestinationRule", name, {"host": fds.host, "trafficPolicy": {"tls": tls}})
        for service in peer.offers:
            dashed = service.host.replace(".", "-")
            if (service.namespace, service.name) in own:
                for index, address in enumerate(peer.resolved or peer.addresses):
                    name = f"import-{peer.name}-{service.name}-{index}"
                    spec = _endpoint(address, peer, service.labels, [port.name for port in service.ports])
                    yield _networking("WorkloadEntry", name, spec, namespace=service.namespace)
            else:
                name = f"import-{dashed}-{peer.name}"
                yield _networking("ServiceEntry", name, _entry(service, peer, static=static))
            if peer.ingress == ROUTER:
                settings = [
                    {
                        "port": {"number": port.number},
                        "tls": {"mode": "ISTIO_MUTUAL", "sni": _router_sni(service, port.number)},
                    }
                    for port in service.ports
                ]
                spec = {"host": service.host, "trafficPolicy": {"portLevelSettings": settings}}
                yield _networking("DestinationRule", f"mtls-sni-{dashed}", spec)


def _entry(service: Service, peer: Peer, *, static: bool, target: bool = True) -> dict[str, Any]:
    return {
        "hosts": [service.host],
        "ports": [
            {"number": port.number, "name": port.name, "protocol": port.protocol}
            | ({"targetPort": port.target} if target else {})
            for port in service.ports
        ],
        "endpoints": [
            _endpoint(address, peer, service.labels, [port.name for port in service.ports])
            for address in peer.addresses
        ],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC" if static else "DNS",
    }


def _endpoint(address: str, peer: Peer, labels: Mapping[str, str], ports: Sequence[str]) -> dict[str, Any]:
    network = {"network": peer.network} if peer.network else {}
    return {"address": address, "labels": {**labels, **TLS}, "ports": dict.fromkeys(ports, peer.port)} | network


def _router_sni(service: Service, port: int) -> str:
    return f"{service.name}-{port}.{service.namespace}.svc.cluster.local"


def _networking(kind: str, name: str, spec: dict[str, Any], *, namespace: str = SYSTEM) -> Manifest:
    return _object("networking.istio.io/v1alpha3", kind, name, spec, namespace=namespace)


def _object(version: str, kind: str, name: str, spec: dict[str, Any], *, namespace: str = SYSTEM) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": PEER}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
