"""EnvoyFilter: lets the ingress gateway answer to the SNI that came through OpenShift's router."""

from __future__ import annotations

from meshfed.istio.metadata import NETWORKING_ALPHA, Manifest, manifest
from meshfed.istio.names import filter_name
from meshfed.istio.sni import istio_sni, router_sni
from meshfed.model.meshes import IngressType, LocalMesh
from meshfed.model.names import ServiceHost


def passthrough_filter(mesh: LocalMesh, host: ServiceHost, port: int) -> Manifest | None:
    """Add the router SNI of one exported port to the gateway's filter chain for it.

    ``None`` where this mesh is not behind a router, or the SNI cannot be served. MERGE appends to ``server_names``,
    so the chain goes on answering to Istio's own SNI. The listener is matched by port and not by its name, which
    starts with ``0.0.0.0`` or ``[::]`` depending on the cluster.
    """
    if mesh.ingress_type is not IngressType.OPENSHIFT_ROUTER:
        return None
    sni = router_sni(host, port)
    if sni is None:
        return None
    listener = {"portNumber": mesh.gateway_port, "filterChain": {"sni": istio_sni(host.fqdn, port)}}
    return manifest(
        mesh,
        api_version=NETWORKING_ALPHA,
        kind="EnvoyFilter",
        name=filter_name(host, port),
        namespace=mesh.control_plane_namespace,
        spec={
            "workloadSelector": {"labels": dict(sorted(mesh.gateway_selector.items()))},
            "configPatches": [
                {
                    "applyTo": "FILTER_CHAIN",
                    "match": {"context": "GATEWAY", "listener": listener},
                    "patch": {"operation": "MERGE", "value": {"filter_chain_match": {"server_names": [sni]}}},
                }
            ],
        },
    )
