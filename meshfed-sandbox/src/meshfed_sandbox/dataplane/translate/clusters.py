"""Clusters: where requests may go, and how the connection is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Final

import msgspec

from meshfed_sandbox.dataplane.translate import schema_destination_rules
from meshfed_sandbox.dataplane.translate.destination_rules import Policy
from meshfed_sandbox.dataplane.translate.envoy import HTTP_OPTIONS, address, extension, from_file, typed
from meshfed_sandbox.dataplane.translate.mesh import Mesh, View
from meshfed_sandbox.dataplane.translate.names import cluster_name, file_name, inbound_cluster, sni
from meshfed_sandbox.dataplane.translate.peer_authentication import namespace_mode, port_mode
from meshfed_sandbox.dataplane.translate.protocols import Protocol
from meshfed_sandbox.dataplane.translate.registry import Endpoint, Port, Service
from meshfed_sandbox.dataplane.translate.tls import HTTP_ALPN, mutual_upstream, plain_upstream
from meshfed_sandbox.dataplane.values import INBOUND_SOURCE, JSONObject, ProxyIdentity

PASSTHROUGH: Final = "PassthroughCluster"
BLACK_HOLE: Final = "BlackHoleCluster"

_UNLIMITED: Final = 2**32 - 1
_LIMITS: Final = {
    "thresholds": [
        {
            "max_connections": _UNLIMITED,
            "max_pending_requests": _UNLIMITED,
            "max_requests": _UNLIMITED,
            "max_retries": _UNLIMITED,
        }
    ]
}
_BALANCING: Final = {"ROUND_ROBIN": "ROUND_ROBIN", "RANDOM": "RANDOM"}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One port of a service, and the policy for it."""

    service: Service
    port: Port
    policy: Policy

    @property
    def cluster(self) -> str:
        """The cluster that sidecars have for it."""
        return cluster_name(self.port.number, self.service.host)


def endpoints_name(cluster: str) -> str:
    """The file of a cluster's endpoints."""
    return file_name(cluster)


def outbound(view: View, target: Target) -> JSONObject:
    """The cluster for one port of a service, as sidecars have it."""
    return {
        **_base(view, target, target.cluster),
        **_protocol_options(target.port.protocol, target.policy),
        **_security(view, target),
    }


def passthrough(view: View, target: Target) -> JSONObject:
    """The cluster for one port of a service behind a gateway that passes TLS on as it is."""
    return _base(view, target, sni(target.port.number, target.service.host))


def assignment(view: View, target: Target, name: str) -> JSONObject:
    """The endpoints of one port that the proxy is told of, by locality.

    A gateway that passes TLS on has no use for those that do not take mTLS. Where outliers are detected, endpoints
    near the proxy come first and others only fail over.
    """
    mesh, proxy = view.mesh, view.proxy
    mutual_only = proxy.kind == "gateway"
    groups: dict[str, list[JSONObject]] = {}
    weights: dict[str, int] = {}
    seen = set()
    for each in target.service.endpoints.get(target.port.name, ()):
        if proxy.requested_network and each.network not in {"", proxy.requested_network}:
            continue
        mutual = takes_mutual(mesh, each, target.policy)
        if (mutual_only and not mutual) or (each.address, each.port) in seen:
            continue
        seen.add((each.address, each.port))
        groups.setdefault(each.locality, []).append(_endpoint(each, mutual=mutual))
        weights[each.locality] = weights.get(each.locality, 0) + (each.weight or 1)
    priorities = _priorities(_locality(mesh, proxy), groups) if target.policy.outlier_detection else {}
    return typed(
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        cluster_name=name,
        endpoints=[
            {
                "locality": locality_json(locality),
                "lb_endpoints": groups[locality],
                "load_balancing_weight": weights[locality],
                **({"priority": priorities[locality]} if priorities.get(locality) else {}),
            }
            for locality in sorted(groups, key=lambda each: (priorities.get(each, 0), each))
        ],
    )


def takes_mutual(mesh: Mesh, endpoint: Endpoint, policy: Policy) -> bool:
    """Whether proxies use mTLS towards an endpoint (istiod's ``mtlsChecker.checkMtlsEnabled``).

    It needs a sidecar, which takes it, unless a DestinationRule says how endpoints are called.
    """
    if policy.endpoint_mode:
        return endpoint.mutual and policy.endpoint_mode == "ISTIO_MUTUAL"
    return endpoint.mutual and port_mode(mesh, endpoint.namespace, endpoint.labels, endpoint.port) != "DISABLE"


def inbound(proxy: ProxyIdentity, port: int, protocol: Protocol) -> JSONObject:
    """The cluster that leads from a sidecar to its application."""
    name = inbound_cluster(port)
    return {
        **_cluster(name, "STATIC"),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(proxy.application, port)}}]}],
        },
        "upstream_bind_config": {"source_address": {"address": INBOUND_SOURCE, "port_value": 0}},
        **_protocol_options(protocol, Policy()),
    }


def catch_all(allow_any: bool) -> list[JSONObject]:
    """The clusters for what no service is: nowhere, and wherever it was dialled."""
    black_hole = {
        **_cluster(BLACK_HOLE, "STATIC"),
        "load_assignment": {"cluster_name": BLACK_HOLE},
    }
    onward = {
        **_cluster(PASSTHROUGH, "ORIGINAL_DST"),
        "lb_policy": "CLUSTER_PROVIDED",
        **_protocol_options("auto", Policy()),
    }
    return [black_hole, onward] if allow_any else [black_hole]


def sniffs(mesh: Mesh, target: Target) -> bool:
    """Whether what is offered in the TLS handshake depends on the request: the protocol is only known by then."""
    tls = target.policy.tls
    mutual = tls.mode == "ISTIO_MUTUAL" if tls else _auto_mutual(mesh, target.service, target.port)
    return target.port.protocol == "auto" and mutual


def _cluster(name: str, type_: str) -> JSONObject:
    return {
        **typed("envoy.config.cluster.v3.Cluster"),
        "name": name,
        "type": type_,
        "connect_timeout": "10s",
        "circuit_breakers": _LIMITS,
    }


def _base(view: View, target: Target, name: str) -> JSONObject:
    service, policy = target.service, target.policy
    result = {
        **_cluster(name, {"endpoints": "EDS", "dns": "STRICT_DNS", "original": "ORIGINAL_DST"}[service.resolution]),
        **_outliers(policy.outlier_detection),
    }
    if policy.connect_timeout:
        result["connect_timeout"] = seconds(policy.connect_timeout)
    if service.resolution == "original" and view.proxy.kind == "sidecar":
        return {**result, "lb_policy": "CLUSTER_PROVIDED"}
    simple = policy.load_balancer.simple if policy.load_balancer else "UNSPECIFIED"
    result["lb_policy"] = _BALANCING.get(simple, "LEAST_REQUEST")
    if service.resolution == "dns":
        resolver_address, resolver_port = view.files.resolver
        inline = assignment(view, target, name)
        inline.pop("@type")
        return {
            **result,
            "dns_lookup_family": "V4_ONLY",
            "dns_refresh_rate": "60s",
            "respect_dns_ttl": True,
            "typed_dns_resolver_config": extension(
                "envoy.network.dns_resolver.cares",
                "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                resolvers=[address(resolver_address, resolver_port)],
                dns_resolver_options={"no_default_search_domain": True},
            ),
            "load_assignment": inline,
        }
    path = str(PurePath(view.files.endpoints, endpoints_name(name)))
    return {**result, "type": "EDS", "eds_cluster_config": {"service_name": name, "eds_config": from_file(path)}}


def _security(view: View, target: Target) -> JSONObject:
    mesh, service, port, tls = view.mesh, target.service, target.port, target.policy.tls
    if tls is not None and tls.mode in {"SIMPLE", "MUTUAL"}:
        identities = () if service.kubernetes else service.accounts
        return {"transport_socket": plain_upstream(tls, identities=identities, http2=port.protocol == "http2")}
    if tls is not None and tls.mode == "DISABLE":
        return {}
    if tls is None and not _auto_mutual(mesh, service, port):
        return {}
    socket = mutual_upstream(
        view.files,
        sni=(tls.sni if tls else "") or sni(port.number, service.host),
        identities=(tls.subject_alt_names if tls else []) or service.identities(mesh.settings),
        alpn=HTTP_ALPN.get(port.protocol, HTTP_ALPN["tcp"]),
    )
    if tls is not None or service.resolution == "original":
        return {"transport_socket": socket}
    return {
        "transport_socket_matches": [
            {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transport_socket": socket},
            {
                "name": "tlsMode-disabled",
                "match": {},
                "transport_socket": extension(
                    "envoy.transport_sockets.raw_buffer",
                    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
                ),
            },
        ]
    }


def _auto_mutual(mesh: Mesh, service: Service, port: Port) -> bool:
    """Whether mTLS is used where an endpoint takes it, without anybody having said so.

    (``BestEffortInferServiceMTLSMode``:) not outside the mesh, not where its namespace disables it; and for headless
    Services, whose endpoints a client dials itself, only where all of them have sidecars.
    """
    if service.external or namespace_mode(mesh, service.namespace) == "DISABLE":
        return False
    if service.resolution != "original":
        return True
    endpoints = service.endpoints.get(port.name, ())
    return bool(endpoints) and all(each.mutual for each in endpoints)


def _protocol_options(protocol: Protocol, policy: Policy) -> JSONObject:
    if protocol in {"tcp", "tls", "udp"}:
        return {}
    options: JSONObject = {
        "http": {"explicit_http_config": {"http_protocol_options": {}}},
        "http2": {"explicit_http_config": {"http2_protocol_options": {}}},
        "auto": {"use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}}},
    }[protocol]
    tls = policy.tls
    if tls is not None and tls.mode in {"SIMPLE", "MUTUAL"} and not tls.sni:
        automatic = {"auto_sni": True, **({} if tls.subject_alt_names else {"auto_san_validation": True})}
        options = {**options, "upstream_http_protocol_options": automatic}
    return {"typed_extension_protocol_options": {HTTP_OPTIONS: typed(HTTP_OPTIONS, **options)}}


def _outliers(outliers: schema_destination_rules.OutlierDetection | None) -> JSONObject:
    """Outlier detection; success rates never count, and there is no panic unless a share of healthy ones is asked."""
    if outliers is None:
        return {}
    result: JSONObject = {"enforcing_success_rate": 0}
    for number, name in (
        (outliers.consecutive5xx_errors, "consecutive_5xx"),
        (outliers.consecutive_gateway_errors, "consecutive_gateway_failure"),
        (outliers.consecutive_local_origin_failures, "consecutive_local_origin_failure"),
    ):
        if number is None:
            continue
        if number:
            result[name] = number
        result[f"enforcing_{name}"] = 100 if number else 0
    if outliers.split_external_local_origin_errors:
        result["split_external_local_origin_errors"] = True
    if outliers.interval:
        result["interval"] = seconds(outliers.interval)
    if outliers.base_ejection_time:
        result["base_ejection_time"] = seconds(outliers.base_ejection_time)
    if outliers.max_ejection_percent:
        result["max_ejection_percent"] = outliers.max_ejection_percent
    return {
        "outlier_detection": result,
        "common_lb_config": {"healthy_panic_threshold": {"value": outliers.min_health_percent}},
    }


def seconds(duration: str) -> str:
    """A duration as Kubernetes writes it (``1m30s``), as Envoy reads it (``90s``)."""
    units = {"ms": 0.001, "h": 3600, "m": 60, "s": 1}
    total, number = 0.0, ""
    rest = duration
    while rest:
        if rest[0].isdigit() or rest[0] == ".":
            number, rest = number + rest[0], rest[1:]
            continue
        unit = "ms" if rest.startswith("ms") else rest[0]
        if not number or unit not in units:
            return duration
        total += float(number) * units[unit]
        number, rest = "", rest[len(unit) :]
    return f"{total:.9f}".rstrip("0").rstrip(".") + "s"


def _endpoint(endpoint: Endpoint, *, mutual: bool) -> JSONObject:
    result: JSONObject = {"endpoint": {"address": address(endpoint.address, endpoint.port)}}
    if mutual:
        result["metadata"] = {"filter_metadata": {"envoy.transport_socket_match": {"tlsMode": "istio"}}}
    if endpoint.weight:
        result["load_balancing_weight"] = endpoint.weight
    return result


def locality_json(locality: str) -> JSONObject:
    """A locality ``region/zone/subzone``."""
    return dict(zip(("region", "zone", "sub_zone"), [part for part in locality.split("/", 2) if part], strict=False))


def _locality(mesh: Mesh, proxy: ProxyIdentity) -> str:
    workload = mesh.registry.workloads.get((proxy.namespace, proxy.pod))
    return mesh.localities.get(workload.node, "") if workload else ""


def _priorities(own: str, localities: Iterable[str]) -> Mapping[str, int]:
    """How near endpoints are, without gaps: 0 the nearest that there are (istiod's ``LbPriority``)."""
    distances = {each: _distance(own.split("/"), each.split("/")) for each in localities}
    ranks: Sequence[int] = sorted(set(distances.values()))
    return {each: ranks.index(distance) for each, distance in distances.items()}


def _distance(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = [(list(one) + [""] * 3)[:3], (list(other) + [""] * 3)[:3]]
    same = 0
    for mine, theirs in zip(*pairs, strict=True):
        if mine != theirs:
            break
        same += 1
    return 3 - same
