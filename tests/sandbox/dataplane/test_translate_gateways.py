"""What a gateway is told: given these objects, exactly this; and what istiod would report of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshfed_sandbox.dataplane.translate import translate, warnings
from meshfed_sandbox.dataplane.translate.names import EXPORT_TO
from meshfed_sandbox.dataplane.values import JSONObject, Untranslatable
from tests.builders import port
from tests.sandbox.dataplane.cluster_objects import (
    FILES,
    SETTINGS,
    SIDECAR,
    identity,
    istio,
    pod_at,
    service_at,
    slice_of,
)
from tests.sandbox.dataplane.envoys import validate

GATEWAY = pod_at("gateway", "127.9.0.5", namespace="istio-system")
PROXY = identity(GATEWAY, kind="gateway", requested_network="east-network")
RATINGS = pod_at("ratings", "127.9.0.3", ports={"http": 9080})
BARE = pod_at("ratings-bare", "127.9.0.4", app="ratings", sidecar=False)
RATINGS_SERVICE = service_at("ratings", "10.0.0.2", [port(9080), port(9090, "tcp")])
DETAILS_SERVICE = service_at("details", "10.0.0.3", [port(9080)])
BASE: dict[str, list[JSONObject]] = {
    "Pod": [GATEWAY, RATINGS, BARE],
    "Service": [RATINGS_SERVICE, DETAILS_SERVICE],
    "EndpointSlice": [slice_of(RATINGS_SERVICE, [RATINGS, BARE], {"http": 9080, "tcp": 9090})],
}
RATINGS_HOST, DETAILS_HOST = (f"{name}.bookinfo.svc.cluster.local" for name in ("ratings", "details"))


def gateway(name: str, *hosts: str, number: int = 15443, **more: Any) -> JSONObject:
    server = {
        "port": {"number": number, "name": "tls-passthrough", "protocol": "TLS"},
        "hosts": list(hosts),
        "tls": {"mode": "AUTO_PASSTHROUGH"},
        **more,
    }
    return istio(name, {"selector": {"app": "gateway"}, "servers": [server]})


def names(objects: dict[str, list[JSONObject]]) -> dict[int, list[list[str]]]:
    """The server names of each filter chain, by port."""
    return {
        each["address"]["socket_address"]["port_value"]: [
            chain["filter_chain_match"]["server_names"] for chain in each["filter_chains"]
        ]
        for each in translate(SETTINGS, objects, PROXY, FILES).listeners
    }


def sni(number: int, host: str) -> str:
    return f"outbound_.{number}_._.{host}"


def test_the_whole_of_a_gateway() -> None:
    config = translate(SETTINGS, {**BASE, "Gateway": [gateway("g", DETAILS_HOST)]}, PROXY, FILES)
    [listener] = config.listeners
    name = sni(9080, DETAILS_HOST)
    proxies = [
        each["filters"][0]["typed_config"] for each in [*listener["filter_chains"], listener["default_filter_chain"]]
    ]
    assert [each["cluster"] for each in proxies] == [name, "BlackHoleCluster"]
    assert listener["address"] == {"socket_address": {"address": "127.9.0.5", "port_value": 15443}}
    assert [each["filter_chain_match"] for each in listener["filter_chains"]] == [
        {
            "server_names": [name],
            "application_protocols": [
                "istio-peer-exchange",
                "istio",
                "istio-http/1.0",
                "istio-http/1.1",
                "istio-h2",
            ],
        }
    ]
    assert [each["name"] for each in config.clusters] == ["BlackHoleCluster", name]
    assert [
        each
        for cluster in config.clusters
        for each in cluster
        if each in {"transport_socket", "transport_socket_matches"}
    ] == []
    assert config.endpoints == {
        f"{name}.json": {
            "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": name,
            "endpoints": [],
        }
    }
    assert config.routes == {}


def test_only_endpoints_with_mutual_tls_in_the_requested_network() -> None:
    workload = istio(
        "ratings.west",
        {
            "address": "127.8.0.4",
            "labels": {"app": "ratings", **SIDECAR},
            "ports": {"http": 15443},
            "network": "west-network",
        },
        namespace="bookinfo",
    )
    objects = {**BASE, "Gateway": [gateway("g", RATINGS_HOST)], "WorkloadEntry": [workload]}

    def addresses(**more: Any) -> list[str]:
        proxy = identity(GATEWAY, kind="gateway", **more)
        groups = translate(SETTINGS, objects, proxy, FILES).endpoints[f"{sni(9080, RATINGS_HOST)}.json"]["endpoints"]
        return [
            each["endpoint"]["address"]["socket_address"]["address"]
            for group in groups
            for each in group["lb_endpoints"]
        ]

    assert addresses(requested_network="east-network") == ["127.9.0.3"]
    assert addresses() == ["127.8.0.4", "127.9.0.3"]


@pytest.mark.parametrize(
    ("policy", "reached"),
    [
        ({}, True),
        ({"tls": {"mode": "DISABLE"}}, False),
        ({"tls": {"mode": "SIMPLE"}}, False),
        ({"tls": {"mode": "ISTIO_MUTUAL"}}, True),
        ({"portLevelSettings": [{"port": {"number": 9080}, "tls": {"mode": "DISABLE"}}]}, False),
        ({"portLevelSettings": [{"port": {"number": 9090}, "tls": {"mode": "DISABLE"}}]}, True),
        ({"tls": {"mode": "DISABLE"}, "portLevelSettings": [{"port": {"number": 9080}}]}, False),
    ],
)
def test_a_destination_rule_may_take_endpoints_from_a_gateway(policy: JSONObject, reached: bool) -> None:
    rule = istio("rule", {"host": "ratings", "trafficPolicy": policy}, namespace="bookinfo")
    objects = {**BASE, "Gateway": [gateway("g", RATINGS_HOST)], "DestinationRule": [rule]}
    found = translate(SETTINGS, objects, PROXY, FILES).endpoints[f"{sni(9080, RATINGS_HOST)}.json"]
    assert bool(found["endpoints"]) is reached


def test_gateways_on_one_port_are_merged() -> None:
    gateways = [gateway("a", RATINGS_HOST), gateway("b", DETAILS_HOST), gateway("c", "x.example.com", number=15444)]
    assert names({**BASE, "Gateway": gateways}) == {
        15443: [[sni(9080, DETAILS_HOST)], [sni(9080, RATINGS_HOST)], [sni(9090, RATINGS_HOST)]],
        15444: [],
    }


@pytest.mark.parametrize(
    ("export_to", "passed_on"),
    [
        ("*", True),
        ("bookinfo, istio-system", True),
        ("~,*", True),
        (".", False),
        ("bookinfo", False),
        ("~", False),
        ("istio-system, ~", False),
    ],
)
def test_only_what_its_namespace_sees_is_passed_on(export_to: str, passed_on: bool) -> None:
    hidden = {**DETAILS_SERVICE, "metadata": {**DETAILS_SERVICE["metadata"], "annotations": {EXPORT_TO: export_to}}}
    objects = {**BASE, "Service": [hidden], "Gateway": [gateway("g", DETAILS_HOST)]}
    clusters = [each["name"] for each in translate(SETTINGS, objects, PROXY, FILES).clusters]
    assert names(objects) == {15443: [[sni(9080, DETAILS_HOST)]] if passed_on else []}
    assert (sni(9080, DETAILS_HOST) in clusters) is passed_on


def test_the_younger_of_two_servers_with_a_host_is_skipped_whole() -> None:
    objects = {**BASE, "Gateway": [gateway("older", RATINGS_HOST), gateway("younger", DETAILS_HOST, RATINGS_HOST)]}
    assert names(objects) == {15443: [[sni(9080, RATINGS_HOST)], [sni(9090, RATINGS_HOST)]]}
    assert warnings(SETTINGS, objects) == (
        (
            "Gateway istio-system/younger: server tls-passthrough on port 15443 is skipped whole, its 2 hosts with it: "
            f"{RATINGS_HOST} stands in Gateway istio-system/older too, which is older"
        ),
    )


def test_a_gateway_listens_where_its_service_leads() -> None:
    outside = service_at(
        "gateway", "10.0.0.9", [port(443, "tls", 15443)], namespace="istio-system", selector={"app": "gateway"}
    )
    objects = {**BASE, "Service": [*BASE["Service"], outside], "Gateway": [gateway("g", DETAILS_HOST, number=443)]}
    assert list(names(objects)) == [15443]


def test_of_two_services_with_a_port_the_older_leads_it() -> None:
    objects = {
        **BASE,
        "Gateway": [gateway("g", DETAILS_HOST)],
        "Service": [
            *BASE["Service"],
            service_at(
                "one", "10.0.0.8", [port(15443, "tls", 8443)], namespace="istio-system", selector={"app": "gateway"}
            ),
            service_at(
                "two", "10.0.0.9", [port(15443, "tls", 9443)], namespace="istio-system", selector={"app": "gateway"}
            ),
        ],
    }
    assert list(names(objects)) == [8443]
    assert warnings(SETTINGS, objects) == (
        (
            "Gateway istio-system/g: server tls-passthrough: Services lead port 15443 of Pod istio-system/gateway to "
            "its ports 8443, 9443, of which it listens on one alone: here on 8443, elsewhere on any"
        ),
    )


def test_what_has_no_effect_here_is_said() -> None:
    objects = {**BASE, "NetworkPolicy": [istio("closed", {"podSelector": {}})], "Telemetry": [istio("logs", {})]}
    assert warnings(SETTINGS, objects) == (
        "NetworkPolicy istio-system/closed: has no effect here: nothing enforces it, so that every Pod can be reached",
        "Telemetry istio-system/logs: has no effect here: access logs are always written, and nothing else",
    )


def test_a_service_has_the_endpoints_of_a_service_entry_in_its_namespace() -> None:
    local = tcp_entry("local", RATINGS_HOST)
    local["metadata"]["namespace"] = "bookinfo"
    local["spec"]["ports"] = [{"name": "http", "number": 9080, "protocol": "HTTP"}]
    objects = {**BASE, "ServiceEntry": [local]}
    client = identity(RATINGS, application="127.9.128.3")
    told = translate(SETTINGS, objects, client, FILES).endpoints[f"outbound~9080~~{RATINGS_HOST}.json"]
    assert "127.8.0.5" in {
        each["endpoint"]["address"]["socket_address"]["address"]
        for place in told["endpoints"]
        for each in place["lb_endpoints"]
    }
    assert warnings(SETTINGS, objects) == (
        (
            f"ServiceEntry bookinfo/local: host {RATINGS_HOST} is ignored: a Service has it; its endpoints are added "
            "to those"
        ),
    )


def test_a_gateway_for_others_is_not_told() -> None:
    other = gateway("g", RATINGS_HOST)
    other["spec"]["selector"] = {"app": "another"}
    assert names({**BASE, "Gateway": [other]}) == {}


@pytest.mark.parametrize(
    ("match", "namespace", "labels", "expected"),
    [
        ({"portNumber": 15443}, "istio-system", {"app": "gateway"}, True),
        ({"name": "0.0.0.0_15443"}, "istio-system", {}, True),
        ({"portNumber": 15444}, "istio-system", {}, False),
        ({"name": "0.0.0.0_443"}, "istio-system", {}, False),
        ({"portNumber": 15443}, "bookinfo", {}, False),
        ({"portNumber": 15443}, "istio-system", {"app": "other"}, False),
    ],
)
def test_an_envoy_filter_adds_a_name_to_a_chain(
    match: JSONObject, namespace: str, labels: dict[str, str], expected: bool
) -> None:
    filter_ = {
        "workloadSelector": {"labels": labels},
        "configPatches": [
            {
                "applyTo": "FILTER_CHAIN",
                "match": {
                    "context": "GATEWAY",
                    "listener": {**match, "filterChain": {"sni": sni(9080, DETAILS_HOST)}},
                },
                "patch": {
                    "operation": "MERGE",
                    "value": {"filter_chain_match": {"server_names": ["details-9080.bookinfo"]}},
                },
            }
        ],
    }
    objects = {
        **BASE,
        "Gateway": [gateway("g", DETAILS_HOST)],
        "EnvoyFilter": [istio("sni", filter_, namespace=namespace)],
    }
    added = ["details-9080.bookinfo"] if expected else []
    assert names(objects) == {15443: [[sni(9080, DETAILS_HOST), *added]]}


TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def added_chain(cluster: str, *server_names: str) -> JSONObject:
    chain = {
        "filter_chain_match": {"server_names": list(server_names), "application_protocols": ["istio"]},
        "filters": [
            {
                "name": "envoy.filters.network.tcp_proxy",
                "typed_config": {"@type": TCP_PROXY, "stat_prefix": "x", "cluster": cluster},
            }
        ],
    }
    patch = {"operation": "ADD", "value": chain}
    match = {"context": "GATEWAY", "listener": {"portNumber": 15443}}
    change = {"applyTo": "FILTER_CHAIN", "match": match, "patch": patch}
    return istio("add", {"workloadSelector": {"labels": {"app": "gateway"}}, "configPatches": [change]})


def test_an_envoy_filter_adds_a_chain_for_a_host_that_no_gateway_names() -> None:
    """The cluster is there for every Service that the gateway sees (``buildOutboundSniDnatClusters``)."""
    cluster = sni(9080, RATINGS_HOST)
    objects = {**BASE, "Gateway": [gateway("g", DETAILS_HOST)], "EnvoyFilter": [added_chain(cluster, cluster, "other")]}
    assert names(objects) == {15443: [[sni(9080, DETAILS_HOST)], [cluster, "other"]]}
    config = translate(SETTINGS, objects, PROXY, FILES)
    chain = config.listeners[0]["filter_chains"][1]
    assert chain["filter_chain_match"]["application_protocols"] == ["istio"]
    assert chain["filters"][0]["typed_config"]["cluster"] == cluster
    assert cluster in {each["name"] for each in config.clusters}
    assert sni(9090, RATINGS_HOST) not in {each["name"] for each in config.clusters}


def test_a_chain_that_states_its_transport_may_stand_beside_the_one_of_a_gateway(tmp_path: Path) -> None:
    """To Envoy they are two, and the one that says more comes first; without, it refuses the whole listener."""
    cluster = sni(9080, RATINGS_HOST)
    added = added_chain(cluster, cluster)
    match = added["spec"]["configPatches"][0]["patch"]["value"]["filter_chain_match"]
    match["application_protocols"] = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"]
    objects = {**BASE, "Gateway": [gateway("g", RATINGS_HOST)], "EnvoyFilter": [added]}
    with pytest.raises(AssertionError, match="overlapping matching rules"):
        validate(translate(SETTINGS, objects, PROXY, FILES), tmp_path)
    match["transport_protocol"] = "tls"
    validate(translate(SETTINGS, objects, PROXY, FILES), tmp_path)


def test_a_chain_that_is_added_and_leads_to_nothing_ends_every_call() -> None:
    objects = {**BASE, "Gateway": [gateway("g", DETAILS_HOST)], "EnvoyFilter": [added_chain("nowhere", "a")]}
    chain = translate(SETTINGS, objects, PROXY, FILES).listeners[0]["filter_chains"][1]
    assert chain["filters"][0]["typed_config"]["cluster"] == "BlackHoleCluster"


def test_an_envoy_filter_that_adds_into_a_chain_is_not_translated() -> None:
    odd = added_chain(sni(9080, RATINGS_HOST), "a")
    odd["spec"]["configPatches"][0]["match"]["listener"]["filterChain"] = {"sni": "x"}
    with pytest.raises(Untranslatable, match="a filter chain is added whole"):
        translate(SETTINGS, {**BASE, "Gateway": [gateway("g", DETAILS_HOST)], "EnvoyFilter": [odd]}, PROXY, FILES)


def tcp_entry(name: str, host: str, **spec: Any) -> JSONObject:
    ports = [{"name": "tcp", "number": 9080, "protocol": "TCP"}]
    address = {"address": f"127.8.0.{len(name)}"}
    return istio(name, {"hosts": [host], "ports": ports, "resolution": "STATIC", "endpoints": [address], **spec})


def test_what_istiod_would_report_and_pass_over() -> None:
    rule = {"host": DETAILS_HOST, "trafficPolicy": {"tls": {"mode": "DISABLE"}}}
    objects = {
        **BASE,
        "ServiceEntry": [
            tcp_entry("local", RATINGS_HOST),
            tcp_entry("one", "x.example.com"),
            tcp_entry("three", "x.example.com"),
            tcp_entry("y", "y.example.com"),
        ],
        "DestinationRule": [istio("older", rule), istio("younger", rule)],
    }
    assert warnings(SETTINGS, objects) == (
        (
            "DestinationRule istio-system/younger: is ignored: the older DestinationRule istio-system/older is for "
            f"host {DETAILS_HOST} too"
        ),
        f"ServiceEntry istio-system/local: host {RATINGS_HOST} is ignored: a Service has it",
        (
            "ServiceEntry istio-system/three: host x.example.com is ignored: the older ServiceEntry istio-system/one "
            "has it; its endpoints are added to those"
        ),
        (
            "host y.example.com: port 9080 is TCP without an address, as that of x.example.com is: proxies without DNS "
            "capture send both there"
        ),
    )
    client = identity(RATINGS, application="127.9.128.3")
    told = translate(SETTINGS, objects, client, FILES).endpoints["outbound~9080~~x.example.com.json"]
    assert [
        each["endpoint"]["address"]["socket_address"]["address"] for each in told["endpoints"][0]["lb_endpoints"]
    ] == ["127.8.0.3", "127.8.0.5"]


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ({"tls": {"mode": "SIMPLE"}}, "spec.servers[0].tls.mode: Invalid enum value 'SIMPLE'; its value is \"SIMPLE\""),
        ({"hosts": ["bookinfo/x"]}, "spec.servers[0].hosts: bookinfo/x: namespaces are not translated"),
        ({"bind": "127.0.0.1"}, 'spec.servers[0].bind: this field is not translated; its value is "127.0.0.1"'),
    ],
)
def test_a_server_that_is_not_known_is_refused_with_its_place(server: JSONObject, message: str) -> None:
    odd = gateway("odd", DETAILS_HOST)
    odd["spec"]["servers"][0].update(server)
    with pytest.raises(Untranslatable) as raised:
        translate(SETTINGS, {**BASE, "Gateway": [odd]}, PROXY, FILES)
    assert str(raised.value) == f"Gateway istio-system/odd: {message}"


def test_no_policy_holds_for_what_a_gateway_passes_on() -> None:
    rule = {"from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}}]}
    objects = {
        **BASE,
        "Gateway": [gateway("g", DETAILS_HOST)],
        "AuthorizationPolicy": [
            istio("allow", {"rules": [rule]}),
            istio("else", {"action": "DENY"}, namespace="bookinfo"),
        ],
    }
    [listener] = translate(SETTINGS, objects, PROXY, FILES).listeners
    filters = listener["filter_chains"][0]["filters"]
    assert [each["name"].rpartition(".")[2] for each in filters] == ["tcp_proxy"]


def test_everything_a_gateway_may_be_told_is_valid(tmp_path: Path) -> None:
    imported = tcp_entry("dns", "dns.example.com", resolution="DNS", location="MESH_INTERNAL")
    headless = service_at("headless", "None", [port(9080)])
    policy = istio("deny", {"action": "DENY", "rules": [{"from": [{"source": {"principals": ["*"]}}]}]})
    objects = {
        **BASE,
        "Service": [*BASE["Service"], headless],
        "ServiceEntry": [imported],
        "Gateway": [gateway("g", "*.cluster.local", "dns.example.com")],
        "EnvoyFilter": [added_chain(sni(9080, DETAILS_HOST), "added")],
        "AuthorizationPolicy": [policy],
    }
    assert len(names(objects)[15443]) == 6
    validate(translate(SETTINGS, objects, PROXY, FILES), tmp_path)
