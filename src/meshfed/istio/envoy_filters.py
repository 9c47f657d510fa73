"""EnvoyFilter: what the ingress gateway answers to that no Gateway can say.

That is the SNI that comes through OpenShift's router, and that of a single port: a Gateway names hosts, and passes on
every port of theirs (istiod's ``builtAutoPassthroughFilterChains``). On what it passes on so, no AuthorizationPolicy
applies there, and a DestinationRule that shut a port of the gateway would displace its owner's for whatever else is in
the gateway's namespace. So a host of which the export rules leave out ports is in no Gateway: each exported port
has a filter chain of its own, and what is not listed is closed, whatever ports or subsets it gets later.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from meshfed.istio.metadata import NETWORKING_ALPHA, Manifest, manifest
from meshfed.istio.names import filter_name
from meshfed.istio.sni import istio_sni, router_sni
from meshfed.model.meshes import IngressType, LocalMesh
from meshfed.model.names import ServiceHost

_MTLS: Final = ("istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2")
"""The ALPN of mTLS between proxies, in istiod's order: anything else might be let in by a workload without a
certificate (``allIstioMtlsALPNs``).
"""
_TCP_PROXY: Final = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def passthrough_filter(mesh: LocalMesh, host: ServiceHost, port: int) -> Manifest | None:
    """Add the router SNI of one exported port to the gateway's filter chain for it.

    ``None`` where this mesh is not behind a router, or the SNI cannot be served. MERGE appends to ``server_names``,
    so the chain goes on answering to Istio's own SNI. That SNI alone says which chain is meant, wherever the gateway's
    pods listen.
    """
    router = _router_sni(mesh, host, port)
    if router is None:
        return None
    match = {"filterChain": {"sni": istio_sni(host.fqdn, port)}}
    change = {"operation": "MERGE", "value": {"filter_chain_match": {"server_names": [router]}}}
    return _filter(mesh, filter_name(host, port), [match], change)


def port_filter(mesh: LocalMesh, host: ServiceHost, port: int, *, listening: Iterable[int]) -> Manifest:
    """Add a filter chain for one exported port of a host that is in no Gateway, as istiod makes them for those.

    ``listening`` are the ports on which the gateway's pods may listen: a listener is matched by port and not by its
    name, which starts with ``0.0.0.0`` or ``[::]`` depending on the cluster. The chain's cluster is there for every
    Service that the gateway sees, and has only endpoints that speak mTLS (istiod's ``buildOutboundSniDnatClusters``).

    istiod's chains state no ``transport_protocol``. So a Gateway may list the host as well, ours or anybody's, or one
    with a wildcard: to Envoy these are two chains, and ours, which says more, comes first. Of two that match alike it
    would refuse the whole listener (``FilterChainManagerImpl``).
    """
    sni, router = istio_sni(host.fqdn, port), _router_sni(mesh, host, port)
    names = [sni] if router is None else [sni, router]
    proxy = {"@type": _TCP_PROXY, "stat_prefix": sni, "cluster": sni}
    chain = {
        "filter_chain_match": {
            "server_names": names,
            "transport_protocol": "tls",
            "application_protocols": list(_MTLS),
        },
        "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}],
    }
    listeners = [{"portNumber": number} for number in sorted(listening)]
    return _filter(mesh, filter_name(host, port), listeners, {"operation": "ADD", "value": chain})


def _router_sni(mesh: LocalMesh, host: ServiceHost, port: int) -> str | None:
    return router_sni(host, port) if mesh.ingress_type is IngressType.OPENSHIFT_ROUTER else None


def _filter(mesh: LocalMesh, name: str, listeners: Iterable[dict[str, Any]], patch: dict[str, Any]) -> Manifest:
    return manifest(
        mesh,
        api_version=NETWORKING_ALPHA,
        kind="EnvoyFilter",
        name=name,
        namespace=mesh.control_plane_namespace,
        spec={
            "workloadSelector": {"labels": dict(sorted(mesh.gateway_selector.items()))},
            "configPatches": [
                {"applyTo": "FILTER_CHAIN", "match": {"context": "GATEWAY", "listener": listener}, "patch": patch}
                for listener in listeners
            ],
        },
    )
