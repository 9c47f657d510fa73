"""What a sidecar does with what comes in for its application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from meshfed_sandbox.dataplane.translate import clusters
from meshfed_sandbox.dataplane.translate.authorization import Authorization, authorization
from meshfed_sandbox.dataplane.translate.envoy import (
    access_log,
    address,
    http_manager,
    inspectors,
    tcp_proxy,
    typed,
)
from meshfed_sandbox.dataplane.translate.mesh import View
from meshfed_sandbox.dataplane.translate.names import inbound_cluster
from meshfed_sandbox.dataplane.translate.peer_authentication import Mode, port_mode
from meshfed_sandbox.dataplane.translate.protocols import Protocol
from meshfed_sandbox.dataplane.translate.registry_kubernetes import targets
from meshfed_sandbox.dataplane.translate.tls import INBOUND_ANY, INBOUND_HTTP, INBOUND_TCP, mutual_downstream
from meshfed_sandbox.dataplane.values import JSONObject

PLAIN_HTTP: Final = ("http/1.0", "http/1.1", "h2c")


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """A filter chain: what it takes, and how. ``name`` says it in the access log."""

    name: str
    transport: str
    http: bool
    protocols: Sequence[str] = ()
    mutual: bool = False


_STRICT: Final = {
    "http": [Chain(name="mtls-http", transport="tls", http=True, mutual=True)],
    "tcp": [Chain(name="mtls-tcp", transport="tls", http=False, mutual=True)],
    "auto": [
        Chain(name="mtls-http", transport="tls", protocols=INBOUND_HTTP, http=True, mutual=True),
        Chain(name="mtls-tcp", transport="tls", http=False, mutual=True),
    ],
}
_PLAIN: Final = {
    "http": [Chain(name="plain-http", transport="raw_buffer", http=True)],
    "tcp": [Chain(name="plain-tcp", transport="raw_buffer", http=False)],
    "auto": [
        Chain(name="plain-http", transport="raw_buffer", protocols=PLAIN_HTTP, http=True),
        Chain(name="plain-tcp", transport="raw_buffer", http=False),
    ],
}
_OTHER_TLS: Final = Chain(name="tls", transport="tls", http=False)
_PERMISSIVE: Final = {
    "http": [Chain(name="mtls-http", transport="tls", protocols=INBOUND_ANY, http=True, mutual=True), *_PLAIN["http"]],
    "tcp": [
        Chain(name="mtls-tcp", transport="tls", protocols=INBOUND_ANY, http=False, mutual=True),
        *_PLAIN["tcp"],
        _OTHER_TLS,
    ],
    "auto": [
        Chain(name="mtls-http", transport="tls", protocols=INBOUND_HTTP, http=True, mutual=True),
        Chain(name="mtls-tcp", transport="tls", protocols=INBOUND_TCP, http=False, mutual=True),
        *_PLAIN["auto"],
        _OTHER_TLS,
    ],
}
_CHAINS: Final = {"STRICT": _STRICT, "PERMISSIVE": _PERMISSIVE, "DISABLE": _PLAIN}


def chains_for(mode: Mode, protocol: Protocol) -> list[Chain]:
    """The filter chains of a port (istiod's ``getFilterChainMatchOptions``).

    In PERMISSIVE mode clients with sidecars are known by what they offer in the handshake; other TLS is the
    application's own and passed on. In DISABLE mode nobody looks for TLS, and it is bytes like any other.
    """
    kind = {"http2": "http", "tls": "tcp"}.get(protocol, protocol)
    return _CHAINS[mode][kind]


def inbound(view: View) -> tuple[list[JSONObject], list[JSONObject]]:
    """The listeners and clusters for the ports of an application.

    A port that no Service names is served too: what it speaks is found out.
    """
    mesh, proxy = view.mesh, view.proxy
    workload = mesh.registry.workloads.get((proxy.namespace, proxy.pod))
    protocols: dict[int, Protocol] = {}
    for port, number in targets(mesh.registry.services, proxy, workload.ports if workload else {}):
        protocols.setdefault(number, port.protocol)
    for number in proxy.ports:
        protocols.setdefault(number, "auto")
    rules = authorization(mesh, proxy.namespace, proxy.labels)
    listeners = [_listener(view, rules, port, protocol) for port, protocol in sorted(protocols.items())]
    return listeners, [clusters.inbound(proxy, port, protocol) for port, protocol in sorted(protocols.items())]


def _listener(view: View, rules: Authorization, port: int, protocol: Protocol) -> JSONObject:
    proxy = view.proxy
    name = f"{proxy.address}_{port}"
    mode = port_mode(view.mesh, proxy.namespace, proxy.labels, port)
    chains = [_chain(view, rules, port, chain) for chain in chains_for(mode, protocol)]
    found = inspectors(chains)
    return typed(
        "envoy.config.listener.v3.Listener",
        name=name,
        address=address(proxy.address, port),
        traffic_direction="INBOUND",
        listener_filters=found,
        listener_filters_timeout="0s",
        continue_on_listener_filters_timeout=True,
        filter_chains=chains,
    )


def _chain(view: View, rules: Authorization, port: int, chain: Chain) -> JSONObject:
    name = f"{view.proxy.address}_{port}"
    log = access_log(view.files, "inbound", name)
    match: dict[str, Any] = {"transport_protocol": chain.transport}
    if chain.protocols:
        match["application_protocols"] = list(chain.protocols)
    filters = (
        [_http(name, port, rules, log)]
        if chain.http
        else [*rules.network_filters, tcp_proxy(inbound_cluster(port), log)]
    )
    socket = (
        {"transport_socket": mutual_downstream(view.mesh.settings, view.files, http=chain.http)} if chain.mutual else {}
    )
    return {"name": chain.name, "filter_chain_match": match, "filters": filters, **socket}


def _http(name: str, port: int, rules: Authorization, log: list[JSONObject]) -> JSONObject:
    cluster = inbound_cluster(port)
    return http_manager(
        f"inbound_{name}",
        log,
        rules.http_filters,
        route_config={
            "name": cluster,
            "validate_clusters": False,
            "virtual_hosts": [
                {
                    "name": f"inbound|http|{port}",
                    "domains": ["*"],
                    "routes": [
                        {
                            "name": "default",
                            "match": {"prefix": "/"},
                            "route": {
                                "cluster": cluster,
                                "timeout": "0s",
                                "retry_policy": {"retry_on": "reset-before-request", "num_retries": 2},
                                "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
                            },
                        }
                    ],
                }
            ],
        },
        use_remote_address=False,
        forward_client_cert_details="APPEND_FORWARD",
        set_current_client_cert_details={"subject": True, "uri": True, "dns": True},
        server_name="istio-envoy",
        server_header_transformation="PASS_THROUGH",
    )
