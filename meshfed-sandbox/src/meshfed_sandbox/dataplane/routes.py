"""What OpenShift's router makes of Routes: which of them it admits, where each leads, and the HAProxy that does it.

Pure. A Route says under which server name a Service is reached; the router reads the name that TLS begins with, and
passes the connection on as it is. That is all this router does, and what it does not do it does not admit.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from meshfed.model.names import is_dns_name

JSONObject = dict[str, Any]
Objects = Mapping[str, Sequence[JSONObject]]
"""Kubernetes objects by kind: ``Route``, ``Service`` and ``EndpointSlice`` are looked at."""

ROUTER_NAME: Final = "default"


class RouteKey(msgspec.Struct, frozen=True, order=True):
    """Names a Route."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """What the router says of a Route. Admitted, ``reason`` and ``message`` are empty."""

    key: RouteKey
    host: str
    reason: str = ""
    message: str = ""


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """Where the connections for ``host`` go: addresses with ports and weights. Without any, they are closed."""

    key: RouteKey
    host: str
    servers: tuple[tuple[str, int, int], ...]


def admit(routes: Iterable[JSONObject]) -> list[Admission]:
    """Judge all Routes together: of two for one host the older is served, as its owner relies on it."""
    taken: dict[str, RouteKey] = {}
    found: list[Admission] = []
    for route in sorted(routes, key=lambda route: (route["metadata"].get("creationTimestamp") or "", _key(route))):
        key, host = _key(route), str(_spec(route).get("host") or "").lower()
        reason, message = _judge(_spec(route), host)
        if not reason and host in taken:
            reason, message = "HostAlreadyClaimed", f"route {taken[host]} has the host {host} and is older"
        if not reason:
            taken[host] = key
        found.append(Admission(key=key, host=host, reason=reason, message=message))
    return found


def _judge(spec: JSONObject, host: str) -> tuple[str, str]:
    """Why a Route cannot be served, by itself: a reason and a message; both empty where it can."""
    termination = (spec.get("tls") or {}).get("termination")
    kinds = {str(target.get("kind", "Service")) for target in _targets(spec)}
    if not is_dns_name(host):
        return "InvalidHost", f"spec.host {host!r} is not a DNS name: name the host that clients connect to"
    if (spec.get("wildcardPolicy") or "None") != "None":
        return "RouteNotAdmitted", "wildcard routes are not allowed: leave spec.wildcardPolicy away"
    if termination != "passthrough":
        return "UnsupportedTermination", (
            f"spec.tls.termination {termination!r} is not served here, where TLS is passed through: use 'passthrough'"
        )
    if kinds != {"Service"}:
        return "UnsupportedTarget", f"spec.to.kind {', '.join(sorted(kinds - {'Service'}))} is not a Service"
    return "", ""


def backends(objects: Objects) -> list[Backend]:
    """Where each admitted Route leads, in the order of their keys."""
    services = {_key(service): service for service in objects.get("Service", ())}
    slices: dict[RouteKey, list[JSONObject]] = {}
    for endpoints in objects.get("EndpointSlice", ()):
        metadata = endpoints["metadata"]
        service = (metadata.get("labels") or {}).get("kubernetes.io/service-name", "")
        slices.setdefault(RouteKey(metadata.get("namespace", ""), service), []).append(endpoints)
    routes = {_key(route): route for route in objects.get("Route", ())}
    found: list[Backend] = []
    for admission in sorted(admit(routes.values()), key=lambda admission: admission.key):
        if admission.reason:
            continue
        spec = _spec(routes[admission.key])
        servers: dict[tuple[str, int], int] = {}
        for target in _targets(spec):
            key = RouteKey(admission.key.namespace, str(target.get("name", "")))
            weight = target.get("weight")
            for server in _servers(spec, services.get(key), slices.get(key, ())):
                servers[server] = 1 if weight is None else min(int(weight), 256)
        listed = tuple(sorted((address, port, weight) for (address, port), weight in servers.items()))
        found.append(Backend(key=admission.key, host=admission.host, servers=listed))
    return found


def _targets(spec: JSONObject) -> list[JSONObject]:
    return [spec.get("to") or {}, *(spec.get("alternateBackends") or ())]


def _servers(spec: JSONObject, service: JSONObject | None, slices: Iterable[JSONObject]) -> Iterable[tuple[str, int]]:
    """The ready endpoints behind a Service, with the port that the Route asks for: by its name, or a Pod's number.

    A Route that asks for none gets the Service's first port.
    """
    if service is None:
        return
    wanted = (spec.get("port") or {}).get("targetPort")
    if wanted is None:
        wanted = str((_spec(service).get("ports") or [{}])[0].get("name") or "")
    for endpoints in slices:
        ports = [
            int(port["port"])
            for port in endpoints.get("ports") or ()
            if port.get("port") and wanted in (port.get("name") or "", port["port"], str(port["port"]))
        ]
        for endpoint in endpoints.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for address in endpoint.get("addresses") or ():
                if _is_ip(str(address)):  # a name, or anything else, would become part of the configuration
                    yield from ((str(address), port) for port in ports)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def configuration(backends: Sequence[Backend], *, address: str, port: int, hosts: str) -> tuple[str, str]:
    """HAProxy's configuration, and the map of server names to back ends that is to stand in the file ``hosts``."""
    lines = [
        "global",
        "    nbthread 1",
        "    maxconn 4096",
        "    hard-stop-after 1h",  # of a process that was replaced, and still serves what was connected then
        "defaults",
        "    mode tcp",
        "    timeout connect 5s",
        "    timeout client 1h",
        "    timeout server 1h",
        "frontend passthrough",
        f"    bind {address}:{port}",
        "    tcp-request inspect-delay 5s",
        "    tcp-request content accept if { req.ssl_hello_type 1 }",
        "    tcp-request content reject",
        f"    use_backend %[req.ssl_sni,lower,map_str({hosts},no-route)]",
        "backend no-route",
        "    tcp-request content reject",
    ]
    for backend in backends:
        lines += [f"backend {_backend_name(backend)}", "    balance roundrobin"]
        lines += [
            f"    server {index} {server}:{number} weight {weight}"
            for index, (server, number, weight) in enumerate(backend.servers)
        ]
    names = "".join(f"{backend.host} {_backend_name(backend)}\n" for backend in backends)
    return "\n".join(lines) + "\n", names


def _backend_name(backend: Backend) -> str:
    return f"{backend.key.namespace}:{backend.key.name}"


def statuses(routes: Iterable[JSONObject], *, canonical: str, now: str) -> dict[RouteKey, JSONObject]:
    """The merge patches of those statuses that say something else than the router has to say.

    ``canonical`` is the host name of the router itself, ``now`` the time as Kubernetes writes it. Entries of other
    routers stay.
    """
    routes = list(routes)
    by_key = {_key(route): route for route in routes}
    patches: dict[RouteKey, JSONObject] = {}
    for admission in admit(routes):
        existing = ((by_key[admission.key].get("status") or {}).get("ingress")) or []
        own: JSONObject = next((entry for entry in existing if entry.get("routerName") == ROUTER_NAME), {})
        condition = {"type": "Admitted", "status": "False" if admission.reason else "True"}
        if admission.reason:
            condition |= {"reason": admission.reason, "message": admission.message}
        before: JSONObject = next(iter(own.get("conditions") or ()), {})
        since = before.get("lastTransitionTime") if before.get("status") == condition["status"] else None
        entry = {
            "host": admission.host,
            "routerName": ROUTER_NAME,
            "routerCanonicalHostname": canonical,
            "wildcardPolicy": "None",
            "conditions": [{**condition, "lastTransitionTime": since or now}],
        }
        if entry != own:
            others = [other for other in existing if other.get("routerName") != ROUTER_NAME]
            patches[admission.key] = {"status": {"ingress": [*others, entry]}}
    return patches


def _key(item: JSONObject) -> RouteKey:
    return RouteKey(str(item["metadata"].get("namespace", "")), str(item["metadata"]["name"]))


def _spec(item: JSONObject) -> JSONObject:
    return item.get("spec") or {}
