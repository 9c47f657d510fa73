"""The values that the tests of rendering start from; no two fields of one are alike, so none passes for another."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from meshfed.istio import Manifest
from meshfed.model.identity import SpiffeID
from meshfed.model.imports import Backend, Import, LocalPort, LocalService
from meshfed.model.meshes import GatewayAddress, IngressType, LocalMesh, Remote
from meshfed.model.names import ServiceHost
from meshfed.model.offers import Port

ROUTER = IngressType.OPENSHIFT_ROUTER
HTTP = Port(number=9080, name="http", protocol="HTTP", target_port=8080)
RATINGS = "ratings.bookinfo.svc.cluster.local"


def east(**changes: Any) -> LocalMesh:
    """This mesh, east."""
    east = LocalMesh(
        name="east",
        namespace="meshfed",
        network="east-network",
        trust_domain="cluster.local",
        cluster_domain="cluster.local",
        control_plane_namespace="istio-system",
        ingress_type=IngressType.ISTIO,
        gateway_selector={"istio": "eastwest", "app": "federation-ingress-gateway"},
        gateway_port_name="tls-passthrough",
        gateway_port=15443,
        identity=SpiffeID.of_workload("cluster.local", "meshfed", "federation-controller"),
        controller_selector={"app.kubernetes.io/name": "federation-controller", "app": "meshfed"},
    )
    return msgspec.structs.replace(east, **changes)


def peer(name: str = "west", *addresses: str, **changes: Any) -> Remote:
    """A remote mesh, at 192.0.2.10 unless said otherwise, and at port 15444 where neither address nor ``port`` says."""
    port = changes.get("port", 15444)
    value = Remote(
        name=name,
        addresses=tuple(GatewayAddress.parse(address, port) for address in addresses or ("192.0.2.10",)),
        port=port,
        network=f"{name}-network",
        ingress_type=IngressType.ISTIO,
        trust_domain="cluster.local",
        cluster_domain="cluster.local",
        identity=SpiffeID.of_workload("west.local", "meshfed", "federation-controller"),
        discovery_namespace="federation",
    )
    return msgspec.structs.replace(value, **changes)


def backend(of: Remote | None = None, **changes: Any) -> Backend:
    """What serves ratings in a remote mesh."""
    return msgspec.structs.replace(Backend(remote=of or peer(), sni_host=RATINGS), **changes)


def imported(*backends: Backend, **changes: Any) -> Import:
    """Ratings, imported from ``backends``."""
    return msgspec.structs.replace(Import(host=RATINGS, ports=(HTTP,), backends=backends or (backend(),)), **changes)


def local_service(*ports: LocalPort, **changes: Any) -> LocalService:
    """The local Service ratings, with a numeric targetPort unless said otherwise."""
    value = LocalService(
        host=ServiceHost("ratings", "bookinfo", "cluster.local"),
        selector={"version": "v1", "app": "ratings"},
        ports=ports or (LocalPort(number=9080, name="http-web", target_port=9081),),
    )
    return msgspec.structs.replace(value, **changes)


def expected(api_version: str, kind: str, name: str, spec: str, *, namespace: str = "istio-system") -> Manifest:
    """A whole expected object of mesh east; ``spec`` is YAML."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {
                "federation.openshift-service-mesh.io/owner-namespace": "meshfed",
                "federation.openshift-service-mesh.io/owner": "east",
                "app.kubernetes.io/managed-by": "meshfed",
            },
        },
        "spec": yaml.safe_load(spec),
    }
