"""What a sidecar does with what its application sends.

Everything arrives on one listener, with the dialled address in a PROXY protocol header (in a cluster: redirected, with
the address kept by the kernel), and is handed to the listener that has this address. Those are bound to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any, Final

import msgspec

from meshfed_sandbox.dataplane.translate import clusters, routes
from meshfed_sandbox.dataplane.translate.destination_rules import policy
from meshfed_sandbox.dataplane.translate.envoy import (
    PROXY_PROTOCOL,
    access_log,
    address,
    extension,
    from_file,
    http_manager,
    inspectors,
    tcp_proxy,
    typed,
)
from meshfed_sandbox.dataplane.translate.mesh import Mesh, View
from meshfed_sandbox.dataplane.translate.names import file_name
from meshfed_sandbox.dataplane.values import OUTBOUND_PORT, JSONObject, ProxyFiles

ANY: Final = "0.0.0.0"  # noqa: S104 - no address to bind to: it stands for every address that no other listener has


class Listener(msgspec.Struct):
    """What is known so far of the listener for one address and port.

    ``route`` names the HTTP routes; ``targets`` are what they lead to. ``tcp`` is the cluster for what is not HTTP,
    ``names`` the clusters for TLS by SNI. Of two services that want the same the first gets it.
    """

    route: str = ""
    targets: list[clusters.Target] = []
    tcp: str = ""
    names: dict[str, str] = {}


class Outbound(msgspec.Struct, frozen=True, kw_only=True):
    """What a sidecar is told of what its application may call."""

    listeners: list[JSONObject]
    clusters: list[JSONObject]
    endpoints: Mapping[str, JSONObject]
    routes: Mapping[str, JSONObject]


def outbound(view: View) -> Outbound:
    """The outbound side of a sidecar."""
    mesh, namespace = view.mesh, view.proxy.namespace
    listeners: dict[tuple[str, int], Listener] = {}
    found = clusters.catch_all(mesh.settings.outbound_policy == "ALLOW_ANY")
    endpoints: dict[str, JSONObject] = {}
    for service in mesh.registry.seen_from(namespace):
        for port in service.ports:
            if port.protocol == "udp":
                continue
            rule = policy(mesh, service, port.number, namespace)
            target = clusters.Target(service=service, port=port, policy=rule)
            found.append(clusters.outbound(view, target))
            if service.resolution == "endpoints":
                name = target.cluster
                endpoints[clusters.endpoints_name(name)] = clusters.assignment(view, target, name)
            _listen(listeners, view, target)
    named = {each.route: each for each in listeners.values() if each.route}
    return Outbound(
        listeners=[
            _virtual(view),
            *(_listener(view, key, listeners[key]) for key in sorted(listeners)),
        ],
        clusters=sorted(found, key=lambda each: str(each["name"])),
        endpoints=dict(sorted(endpoints.items())),
        routes={file_name(name): _routes(view, name, each) for name, each in sorted(named.items())},
    )


def _listen(listeners: dict[tuple[str, int], Listener], view: View, target: clusters.Target) -> None:
    """Enter one port of a service into the listeners that lead to it (istiod's ``buildSidecarOutboundListener``).

    HTTP is told apart by the name in the request, so all HTTP on a port shares one listener. Anything else is told
    apart by the address that was dialled; a headless Service is dialled by its endpoints' addresses, a ServiceEntry
    without an address by any that no other listener has, or by SNI.
    """
    service, port = target.service, target.port
    name = target.cluster
    if port.protocol in {"http", "http2"}:
        shared = listeners.setdefault((ANY, port.number), Listener())
        shared.route = str(port.number)
        shared.targets.append(target)
        return
    addresses: Iterable[str] = service.virtual_addresses(dns_capture=view.dns_capture)
    if service.resolution == "original":
        dialled = {each.address for each in service.endpoints.get(port.name, ())}
        addresses = sorted(dialled - {view.proxy.address})
    for each in addresses:
        own = listeners.setdefault((each, port.number), Listener())
        if port.protocol == "auto" and not own.route and not own.tcp:
            own.route = f"{service.host}:{port.number}"
            own.targets.append(target)
        own.tcp = own.tcp or name
    if addresses or service.resolution == "original":
        return
    shared = listeners.setdefault((ANY, port.number), Listener())
    if port.protocol == "tls":
        shared.names.setdefault(service.host, name)
        return
    shared.tcp = shared.tcp or name
    if port.protocol == "auto":
        shared.route = str(port.number)
        shared.targets.append(target)


def _listener(view: View, key: tuple[str, int], listener: Listener) -> JSONObject:
    host, port = key
    name = f"{host}_{port}"
    log = access_log(view.files, "outbound", name)
    chains: list[JSONObject] = []
    if listener.route:
        chains.append(
            {
                "name": f"{name}_http",
                "filter_chain_match": {
                    "transport_protocol": "raw_buffer",
                    "application_protocols": ["http/1.0", "http/1.1", "h2c"],
                },
                "filters": [_http(view.files, name, listener.route, log)],
            }
        )
    for server_name, cluster in sorted(listener.names.items()):
        chains.append(
            {
                "name": f"{name}_{server_name}",
                "filter_chain_match": {"transport_protocol": "tls", "server_names": [server_name]},
                "filters": [tcp_proxy(cluster, log)],
            }
        )
    otherwise = listener.tcp or _unknown(view.mesh)
    return typed(
        "envoy.config.listener.v3.Listener",
        name=name,
        address=address(host, port),
        bind_to_port=False,
        traffic_direction="OUTBOUND",
        **_detection(chains),
        filter_chains=chains,
        default_filter_chain={
            "name": f"{name}_{'tcp' if listener.tcp else 'unknown'}",
            "filters": [tcp_proxy(otherwise, log)],
        },
    )


def _detection(chains: list[JSONObject]) -> dict[str, Any]:
    """Without a limit in time: a client that says nothing waits, as with istiod's default."""
    found = inspectors(chains)
    if not found:
        return {}
    return {
        "listener_filters": found,
        "listener_filters_timeout": "0s",
        "continue_on_listener_filters_timeout": True,
    }


def _http(files: ProxyFiles, name: str, route: str, log: list[JSONObject]) -> JSONObject:
    return http_manager(
        f"outbound_{name}",
        log,
        [extension(routes.ALPN_FILTER, routes.FILTER_STATE)],
        rds={"route_config_name": route, "config_source": from_file(str(PurePath(files.routes, file_name(route))))},
        use_remote_address=False,
        server_name="istio-envoy",
    )


def _virtual(view: View) -> JSONObject:
    log = access_log(view.files, "outbound", "virtualOutbound")
    return typed(
        "envoy.config.listener.v3.Listener",
        name="virtualOutbound",
        address=address(view.proxy.address, OUTBOUND_PORT),
        traffic_direction="OUTBOUND",
        use_original_dst=True,
        listener_filters=[PROXY_PROTOCOL],
        filter_chains=[
            {
                "name": "virtualOutbound-blackhole",
                "filter_chain_match": {"destination_port": OUTBOUND_PORT},
                "filters": [tcp_proxy(clusters.BLACK_HOLE, log)],
            },
            {"name": "virtualOutbound-catchall-tcp", "filters": [tcp_proxy(_unknown(view.mesh), log)]},
        ],
    )


def _unknown(mesh: Mesh) -> str:
    return clusters.PASSTHROUGH if mesh.settings.outbound_policy == "ALLOW_ANY" else clusters.BLACK_HOLE


def _routes(view: View, name: str, listener: Listener) -> JSONObject:
    if name.isdigit():
        return routes.by_host(view, name, listener.targets)
    return routes.of_one(view, name, listener.targets[0])
