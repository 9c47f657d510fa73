"""Gateways that pass TLS on by its SNI, as it is: the door between meshes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from meshfed_sandbox.dataplane.translate import clusters
from meshfed_sandbox.dataplane.translate.destination_rules import policy
from meshfed_sandbox.dataplane.translate.envoy import TLS_INSPECTOR, access_log, address, tcp_proxy, typed
from meshfed_sandbox.dataplane.translate.mesh import Mesh, View
from meshfed_sandbox.dataplane.translate.names import covers, selects, sni
from meshfed_sandbox.dataplane.translate.registry import Port, Service
from meshfed_sandbox.dataplane.translate.registry_kubernetes import targets
from meshfed_sandbox.dataplane.translate.tls import INBOUND_ANY
from meshfed_sandbox.dataplane.values import JSONObject, ProxyConfig, ProxyIdentity, Untranslatable


class Door(msgspec.Struct, frozen=True):
    """A port of a gateway, and the hosts that its servers name."""

    port: int
    hosts: tuple[str, ...]


def gateway(view: View) -> ProxyConfig:
    """All that a gateway is told.

    No AuthorizationPolicy applies to what it passes on, as with istiod (``builtAutoPassthroughFilterChains``).
    """
    mesh, proxy = view.mesh, view.proxy
    listeners, found = [], {}
    endpoints: dict[str, JSONObject] = {}
    for door in doors(mesh, proxy)[0]:
        name = f"0.0.0.0_{door.port}"
        extra = _server_names(mesh, proxy, door.port, name)
        log = access_log(view.files, "gateway", name)
        chains = []
        for service, port in _reached(mesh, proxy, door.hosts):
            cluster = sni(port.number, service.host)
            rule = policy(mesh, service, port.number, proxy.namespace)
            target = clusters.Target(service=service, port=port, policy=rule)
            found[cluster] = clusters.passthrough(view, target)
            if service.resolution != "dns":
                endpoints[clusters.endpoints_name(cluster)] = clusters.assignment(view, target, cluster)
            chains.append(
                {
                    "name": cluster,
                    "filter_chain_match": {
                        "server_names": [cluster, *extra.get(cluster, ())],
                        "application_protocols": INBOUND_ANY,
                    },
                    "filters": [tcp_proxy(cluster, log)],
                }
            )
        listeners.append(
            typed(
                "envoy.config.listener.v3.Listener",
                name=name,
                address=address(proxy.address, door.port),
                traffic_direction="OUTBOUND",
                listener_filters=[TLS_INSPECTOR],
                filter_chains=chains,
                default_filter_chain={"name": "unknown", "filters": [tcp_proxy(clusters.BLACK_HOLE, log)]},
            )
        )
    return ProxyConfig(
        listeners=listeners,
        clusters=[*clusters.catch_all(allow_any=False), *(found[name] for name in sorted(found))],
        endpoints=dict(sorted(endpoints.items())),
        routes={},
    )


def doors(mesh: Mesh, proxy: ProxyIdentity) -> tuple[list[Door], list[str]]:
    """The ports on which a gateway listens, and what istiod would say about servers that it skips.

    Gateways of any namespace that select the Pod are merged, oldest first. A server that names a host which an older
    one has on the same port is skipped, with all its hosts (istiod's ``MergeGateways``).
    """
    taken: dict[int, dict[str, str]] = {}
    warnings = []
    for each in mesh.gateways:
        if not selects(each.spec.selector, proxy.labels):
            continue
        for index, server in enumerate(each.spec.servers):
            for host in server.hosts:
                if "/" in host:
                    raise Untranslatable(f"{each}: spec.servers[{index}].hosts: {host}: namespaces are not translated")
            port, *others = _ports(mesh, proxy, server.port.number)
            if others:
                warnings.append(
                    f"{each}: server {server.port.name}: Services lead port {server.port.number} of Pod "
                    f"{proxy.namespace}/{proxy.pod} to its ports {', '.join(map(str, [port, *others]))}, of which it "
                    f"listens on one alone: here on {port}, elsewhere on any"
                )
            known = taken.setdefault(port, {})
            twice = [host for host in server.hosts if host in known]
            if twice:
                warnings.append(
                    f"{each}: server {server.port.name} on port {port} is skipped whole, its "
                    f"{len(server.hosts)} hosts with it: {twice[0]} stands in {known[twice[0]]} too, which is older"
                )
                continue
            known.update(dict.fromkeys(server.hosts, str(each)))
    return [Door(port, tuple(hosts)) for port, hosts in sorted(taken.items())], warnings


def _ports(mesh: Mesh, proxy: ProxyIdentity, number: int) -> list[int]:
    """Where the Services that have a port lead it, the oldest's first; the port itself, where none has it.

    The gateway listens on the first alone (istiod's ``resolvePorts``).
    """
    workload = mesh.registry.workloads.get((proxy.namespace, proxy.pod))
    named = workload.ports if workload else {}
    found = [
        target
        for service in mesh.registry.services
        if service.kubernetes
        for port, target in targets(service, proxy.labels, proxy.namespace, named)
        if port.number == number
    ]
    return list(dict.fromkeys(found)) or [number]


def _reached(mesh: Mesh, proxy: ProxyIdentity, hosts: tuple[str, ...]) -> list[tuple[Service, Port]]:
    """The ports of services inside the mesh that a gateway's hosts name, by host."""
    found = [
        (service, port)
        for service in mesh.registry.seen_from(proxy.namespace)
        if not service.external and any(covers(host, service.host) for host in hosts)
        for port in service.ports
        if port.protocol != "udp"
    ]
    return sorted(found, key=lambda each: (each[0].host, each[1].number))


def _server_names(mesh: Mesh, proxy: ProxyIdentity, port: int, listener: str) -> Mapping[str, list[str]]:
    """The further names by which EnvoyFilters let filter chains be reached, by the chain's own.

    Those of the root namespace and of the gateway's apply; merging appends to a list.
    """
    found: dict[str, list[str]] = {}
    for each in mesh.envoy_filters:
        if not mesh.applies(each.meta.namespace, each.spec.workload_selector.labels, proxy.namespace, proxy.labels):
            continue
        for patch in each.spec.config_patches:
            match = patch.match.listener
            if match.port_number not in {0, port} or match.name not in {"", listener}:
                continue
            names = found.setdefault(match.filter_chain.sni, [])
            names += [name for name in patch.patch.value.filter_chain_match.server_names if name not in names]
    return found
