"""Route: takes what other meshes send to OpenShift's router on to the ingress gateway."""

from __future__ import annotations

from meshfed.istio.metadata import ROUTE, Manifest, manifest
from meshfed.istio.names import INGRESS_GATEWAY, route_name
from meshfed.istio.sni import router_sni
from meshfed.model.meshes import IngressType, LocalMesh
from meshfed.model.names import ServiceHost


def route(mesh: LocalMesh, host: ServiceHost, port: int) -> Manifest | None:
    """One exported port; ``None`` where this mesh is not behind a router, or the SNI cannot be served.

    Passthrough: the router reads the SNI and leaves the mTLS connection whole. ``to.kind``, ``to.weight`` and
    ``wildcardPolicy`` are the API server's defaults, written out so that it has nothing to add.
    """
    if mesh.ingress_type is not IngressType.OPENSHIFT_ROUTER:
        return None
    sni = router_sni(host, port)
    if sni is None:
        return None
    return manifest(
        mesh,
        api_version=ROUTE,
        kind="Route",
        name=route_name(host, port),
        namespace=mesh.control_plane_namespace,
        spec={
            "host": sni,
            "to": {"kind": "Service", "name": INGRESS_GATEWAY, "weight": 100},
            "port": {"targetPort": mesh.gateway_port_name},
            "tls": {"termination": "passthrough"},
            "wildcardPolicy": "None",
        },
    )
