"""Gateways that pass TLS on by its SNI, as it is: the door between meshes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from meshfed_sandbox.dataplane.translate import clusters
from meshfed_sandbox.dataplane.translate.destination_rules import policy
from meshfed_sandbox.dataplane.translate.envoy import TLS_INSPECTOR, access_log, address, tcp_proxy, typed
from meshfed_sandbox.dataplane.translate.mesh import Mesh, View
from meshfed_sandbox.dataplane.translate.names import covers, selects, sni
from meshfed_sandbox.dataplane.translate.registry import Port, Service
from meshfed_sandbox.dataplane.translate.registry_kubernetes import targets
from meshfed_sandbox.dataplane.translate.schema_envoy_filters import FilterChainPatch
from meshfed_sandbox.dataplane.translate.tls import INBOUND_ANY
from meshfed_sandbox.dataplane.values import JSONObject, ProxyConfig, ProxyIdentity, Untranslatable


class Door(msgspec.Struct, frozen=True):
    """A port of a gateway, and the hosts that its servers name."""

    port: int
    hosts: tuple[str, ...]


class FilterChainChange(msgspec.Struct, frozen=True):
    """What an EnvoyFilter changes in a filter chain, found by its SNI, or the one that it adds."""

    operation: str
    value: FilterChainPatch
    sni: str


def gateway(view: View) -> ProxyConfig:
    """All that a gateway is told.

    No AuthorizationPolicy applies to what it passes on, as with istiod (``builtAutoPassthroughFilterChains``).
    """
    mesh, proxy = view.mesh, view.proxy
    listeners, found = [], {}
    endpoints: dict[str, JSONObject] = {}
    for door in doors(mesh, proxy)[0]:
        name = f"0.0.0.0_{door.port}"
        patches = list(_patches(mesh, proxy, door.port, name))
        extra = _server_names(patches)
        log = access_log(view.files, "gateway", name)
        chains = []
        reached = _reached(mesh, proxy, door.hosts)
        added = [patch.value for patch in patches if patch.operation == "ADD"]
        wanted = {each.typed_config.cluster for chain in added for each in chain.filters}
        for service, port in _reached(mesh, proxy, ("*",)) if wanted else reached:
            cluster = sni(port.number, service.host)
            listed = (service, port) in reached
            if not listed and cluster not in wanted:
                continue
            rule = policy(mesh, service, port.number, proxy.namespace)
            target = clusters.Target(service=service, port=port, policy=rule)
            found[cluster] = clusters.passthrough(view, target)
            if service.resolution != "dns":
                endpoints[clusters.endpoints_name(cluster)] = clusters.assignment(view, target, cluster)
            if listed:
                chains.append(_chain(cluster, [cluster, *extra.get(cluster, ())], INBOUND_ANY, tcp_proxy(cluster, log)))
        for chain in added:
            match, leads_to = chain.filter_chain_match, chain.filters[0].typed_config.cluster
            proxied = tcp_proxy(leads_to if leads_to in found else clusters.BLACK_HOLE, log)
            transport = {"transport_protocol": match.transport_protocol} if match.transport_protocol else {}
            chains.append(_chain(leads_to, match.server_names, match.application_protocols, proxied, **transport))
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
    found = [target for port, target in targets(mesh.registry.services, proxy, named) if port.number == number]
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


def _chain(
    name: str, server_names: list[str], protocols: list[str], leads_to: JSONObject, **transport: str
) -> JSONObject:
    return {
        "name": name,
        "filter_chain_match": {"server_names": server_names, **transport, "application_protocols": protocols},
        "filters": [leads_to],
    }


def _patches(mesh: Mesh, proxy: ProxyIdentity, port: int, listener: str) -> Iterator[FilterChainChange]:
    """What EnvoyFilters change in the filter chains of a listener.

    Those of the root namespace and of the gateway's apply.
    """
    for each in mesh.envoy_filters:
        if not mesh.applies(each.meta.namespace, each.spec.workload_selector.labels, proxy.namespace, proxy.labels):
            continue
        for patch in each.spec.config_patches:
            match = patch.match.listener
            if match.port_number not in {0, port} or match.name not in {"", listener}:
                continue
            chain, adds = match.filter_chain, patch.patch.operation == "ADD"
            if adds != (chain is None) or adds != bool(patch.patch.value.filters):
                raise Untranslatable(
                    f"{each}: a filter chain is added whole, to a listener; into one that is matched by SNI, server "
                    "names are merged: nothing else is translated"
                )
            yield FilterChainChange(patch.patch.operation, patch.patch.value, chain.sni if chain is not None else "")


def _server_names(patches: Iterable[FilterChainChange]) -> Mapping[str, list[str]]:
    """The further names by which EnvoyFilters let filter chains be reached, by the chain's own.

    Merging appends to a list. Chains that are added come after it.
    """
    found: dict[str, list[str]] = {}
    for patch in patches:
        if patch.operation == "MERGE":
            names = found.setdefault(patch.sni, [])
            names += [name for name in patch.value.filter_chain_match.server_names if name not in names]
    return found
