"""What a configuration of Envoy's says about traffic, so that two that differ in form can be compared.

Left out is what does not decide where requests go, who may send them, and how they are secured: statistics, tracing,
logs, metadata exchange, and what the sandbox does otherwise on purpose (docs/sandbox-dataplane.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

JSONObject = dict[str, Any]
Facts = dict[str, Any]

HTTP = "envoy.filters.network.http_connection_manager"
TCP = "envoy.filters.network.tcp_proxy"
NEVER = {"not_rule": {"any": True}}
_NO_SERVICE = "inbound, by no Service"
RBAC = {"envoy.filters.http.rbac", "envoy.filters.network.rbac"}

FILTERED = {"istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2", "http/1.1"}
"""What the filter ``istio.alpn`` adds where the cluster does not offer it, or is about the exchange of metadata."""


def facts(
    clusters: Sequence[JSONObject],
    endpoints: Sequence[JSONObject],
    listeners: Sequence[JSONObject],
    routes: Sequence[JSONObject],
) -> Facts:
    """Facts by what they are about; both sides of a comparison are read by the same code."""
    found: Facts = {}
    for listener in listeners:
        found.update(_listener(listener))
    for route in routes:
        found[f"routes {route['name']}"] = _domains(route)
    used = set(_clusters(found)) - {"BlackHoleCluster"}
    for cluster in clusters:
        if cluster["name"] in used:
            found[f"cluster {cluster['name']}"] = _cluster(cluster)
            if "load_assignment" in cluster:
                found[f"endpoints {cluster['name']}"] = _endpoints(cluster["load_assignment"])
    for assignment in endpoints:
        if assignment["cluster_name"] in used:
            found[f"endpoints {assignment['cluster_name']}"] = _endpoints(assignment)
    return found


def differences(ours: Facts, theirs: Facts) -> list[str]:
    """A line for each fact on which they differ.

    A port that no Service names has a listener here, and in istiod's configuration the chains for all such ports, or
    chains of its own where a PeerAuthentication names it. So does one then at which nobody listens.
    """
    theirs = dict(theirs)
    others = theirs.pop("inbound any", None)
    for key in theirs.pop(_NO_SERVICE, {}):
        if key not in ours:
            theirs.pop(key)
    for key in ours.keys() - theirs.keys():
        if key.startswith("inbound ") and others is not None:
            theirs[key] = others
    return [line for key in sorted({*ours, *theirs}) for line in _difference(key, ours.get(key), theirs.get(key))]


def resolved(names: Mapping[str, Sequence[str]]) -> Facts:
    """What names resolve to."""
    return {name: sorted(map(_address, addresses)) for name, addresses in names.items()}


def _clusters(value: Any) -> Iterator[str]:
    """The clusters that something leads to, but for those that lead to the application or nowhere, which are alike."""
    if isinstance(value, dict):
        for each in value.values():
            yield from _clusters(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _clusters(each)
    elif isinstance(value, str):
        yield value.removeprefix("tcp ")


def _difference(key: str, ours: Any, theirs: Any) -> Iterator[str]:
    if ours == theirs:
        return
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _difference(f"{key}[{index}]", one, other)
        return
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours and theirs:
        for each in sorted({*ours, *theirs}):
            yield from _difference(f"{key}: {each}", ours.get(each), theirs.get(each))
        return
    yield f"{key}: here {ours!r}, istiod {theirs!r}"


# --- clusters


def _cluster(cluster: JSONObject) -> Facts:
    matches = cluster.get("transport_socket_matches")
    sockets = (
        {_tls_mode(each["match"]): _socket(each["transport_socket"]) for each in matches}
        if matches
        else {"all": _socket(cluster.get("transport_socket"))}
    )
    outliers = {name.replace("_", ""): value for name, value in cluster.get("outlier_detection", {}).items()}
    outliers.pop("enforcingsuccessrate", None)
    return {
        "type": cluster.get("type", "STATIC"),
        "balancing": cluster.get("lb_policy", "ROUND_ROBIN"),
        "sockets": sockets,
        # A gateway passes TLS on as it is, whatever protocol is inside.
        "protocol": None if cluster["name"].startswith("outbound_.") else _protocol(cluster),
        "outliers": outliers,
        "timeout": float(cluster.get("connect_timeout", "0s").removesuffix("s")),
        "locality": "locality_weighted_lb_config" in cluster.get("common_lb_config", {}),
    }


def _tls_mode(labels: Mapping[str, str]) -> str:
    return labels.get("tlsMode", labels.get("tls_mode", "other"))


def _protocol(cluster: JSONObject) -> list[str]:
    options = cluster.get("typed_extension_protocol_options", {})
    http = options.get("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", {})
    kinds = {
        **http.get("explicit_http_config", {}),
        **http.get("use_downstream_protocol_config", {}),
        **{name: value for name, value in http.get("upstream_http_protocol_options", {}).items() if value},
    }
    return sorted(kinds) or ["http_protocol_options"]


def _socket(socket: JSONObject | None) -> Any:
    """How a connection is secured: in the clear, or by TLS of which we say what decides who may be at the ends."""
    config = (socket or {}).get("typed_config", {})
    if not config.get("@type", "").endswith("TlsContext"):
        return "clear"
    common = config["common_tls_context"]
    validation = common.get("combined_validation_context", {}).get("default_validation_context")
    validation = validation if validation is not None else common.get("validation_context", {})
    names = [
        *validation.get("match_subject_alt_names", ()),
        *(each["matcher"] for each in validation.get("match_typed_subject_alt_names", ())),
    ]
    return {
        "sni": config.get("sni", ""),
        "names": sorted(f"{kind} {name}" for matcher in names for kind, name in matcher.items()),
        "offers": [name for name in common.get("alpn_protocols", ()) if name not in FILTERED],
        "certificate": sorted(each["name"] for each in common.get("tls_certificate_sds_secret_configs", ())),
        "client certificate": config.get("require_client_certificate", False),
    }


def _endpoints(assignment: JSONObject) -> list[str]:
    found = []
    for group in assignment.get("endpoints", ()):
        locality = "/".join(group.get("locality", {}).get(part, "") for part in ("region", "zone", "sub_zone"))
        for each in group.get("lb_endpoints", ()):
            where = each["endpoint"]["address"]["socket_address"]
            metadata = each.get("metadata", {}).get("filter_metadata", {})
            mode = _tls_mode(metadata.get("envoy.transport_socket_match", {}))
            found.append(
                f"{where['address']}:{where['port_value']} {'mutual' if mode == 'istio' else 'clear'}"
                f" weight {each.get('load_balancing_weight', 1)}"
                f" at {locality.strip('/') or 'no locality'} priority {group.get('priority', 0)}"
            )
    return sorted(found)


# --- routes


def _domains(route: JSONObject) -> Facts:
    """By the name in a request, where it goes; a name with a dot at its end is the same."""
    return {
        _address(domain.removesuffix(".")): _goes(host["routes"])
        for host in route.get("virtual_hosts", ())
        for domain in host["domains"]
    }


def _goes(routes: Sequence[JSONObject]) -> list[str]:
    return [
        _application(route["route"]["cluster"]) if "route" in route else f"status {route['direct_response']['status']}"
        for route in routes
    ]


# --- listeners


def _listener(listener: JSONObject) -> Facts:
    where = listener["address"]["socket_address"]
    chains = [*listener.get("filter_chains", ())]
    if listener.get("traffic_direction") == "INBOUND":
        return _inbound(listener, chains)
    if any(each.get("filter_chain_match", {}).get("server_names") for each in chains) and listener.get(
        "bind_to_port", True
    ):
        return {f"gateway {where['port_value']}": dict(_passed_on(chains))}
    if default := listener.get("default_filter_chain"):
        chains.append({**default, "filter_chain_match": {}})
    return {
        f"listener {_address(listener['name'])}": {
            _match(each.get("filter_chain_match", {})): _leads(each) for each in chains
        }
    }


def _address(name: str) -> str:
    """An address that was allocated is any: which one is nobody's business."""
    return re.sub(r"^240\.240\.\d+\.\d+", "allocated", name)


def _passed_on(chains: Sequence[JSONObject]) -> Iterator[tuple[str, Any]]:
    """By SNI, and by the transport where a chain states that: it comes before one that does not."""
    for each in chains:
        match = each.get("filter_chain_match", {})
        for name in match.get("server_names", ()):
            yield (
                " ".join(filter(None, (name, match.get("transport_protocol")))),
                {
                    "leads": _leads(each),
                    "rules": list(_rules(each)),
                    "protocols": sorted(match.get("application_protocols", ())),
                },
            )


def _inbound(listener: JSONObject, chains: Sequence[JSONObject]) -> Facts:
    """By the port that was dialled; a port of its own listener, or of a chain of the one listener that istiod has."""
    own = listener["address"]["socket_address"]["port_value"]
    found: Facts = {}
    for each in chains:
        match = each.get("filter_chain_match", {})
        port = match.get("destination_port", 0 if own == 15006 else own)
        if port != 15006:
            if port and own == 15006 and "InboundPassthroughCluster" in _clusters(each["filters"]):
                found.setdefault(_NO_SERVICE, {})[f"inbound {port}"] = True
            found.setdefault(f"inbound {port or 'any'}", {})[_match(match)] = {
                "leads": _leads(each),
                "security": _socket(each.get("transport_socket")),
                "rules": list(_rules(each)),
            }
    return found


def _match(match: JSONObject) -> str:
    protocols = [each for each in match.get("application_protocols", ()) if each != "http/1.0"]
    parts = [
        match.get("transport_protocol", ""),
        ",".join(sorted(protocols)),
        ",".join(sorted(match.get("server_names", ()))),
    ]
    return " ".join(part for part in parts if part) or "otherwise"


def _leads(chain: JSONObject) -> str:
    for each in chain["filters"]:
        config = each["typed_config"]
        if each["name"] == TCP:
            return f"tcp {_application(config['cluster'])}"
        if each["name"] == HTTP:
            if "rds" in config:
                return f"http routes {config['rds']['route_config_name']}"
            return f"http {_domains(config['route_config'])}"
    return "nowhere"


def _application(cluster: str) -> str:
    """A cluster's name; what leads to the application behind a sidecar has one here for each port."""
    return "the application" if cluster == "InboundPassthroughCluster" or cluster.startswith("inbound|") else cluster


def _rules(chain: JSONObject) -> Iterator[Any]:
    """Who may: the filters that decide by it, in their order."""
    for each in chain["filters"]:
        inner = each["typed_config"].get("http_filters", ()) if each["name"] == HTTP else ()
        for one in (each, *inner):
            if one["name"] in RBAC:
                rules = one["typed_config"].get("rules", {})
                policies = _plain(rules.get("policies", {}))
                yield (
                    rules.get("action", "ALLOW"),
                    {name: each for name, each in policies.items() if NEVER not in each["permissions"]},
                )


def _plain(value: Any) -> Any:
    """Rules without groups of one, which say what their one member says."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    for name, group in value.items():
        if name in {"and_ids", "or_ids", "and_rules", "or_rules"}:
            [members] = group.values()
            if len(members) == 1:
                return _plain(members[0])
    return {name: _plain(each) for name, each in value.items()}
