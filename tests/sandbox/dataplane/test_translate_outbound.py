"""What a sidecar is told of others: given these objects, exactly this."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from meshfed_sandbox.dataplane.translate import hosts, read_mesh, translate
from meshfed_sandbox.dataplane.values import JSONObject, MeshSettings, ProxyIdentity, Untranslatable
from tests.builders import endpoint_slice, port, service_entry
from tests.sandbox.dataplane.cluster_objects import (
    FILES,
    SETTINGS,
    SIDECAR,
    aged,
    identity,
    istio,
    pod_at,
    service_at,
    slice_of,
)
from tests.sandbox.dataplane.envoys import trust_of, validate

REVIEWS = pod_at("reviews", "127.9.0.2", ports={"http": 9080})
RATINGS = pod_at("ratings", "127.9.0.3", ports={"http": 9080})
RATINGS_SERVICE = service_at("ratings", "10.0.0.2", [port(9080)])
CLIENT = identity(REVIEWS, application="127.9.128.2")
BASE: dict[str, list[JSONObject]] = {
    "Pod": [REVIEWS, RATINGS],
    "Service": [RATINGS_SERVICE],
    "EndpointSlice": [slice_of(RATINGS_SERVICE, [RATINGS], {"http": 9080})],
}
HOST = "ratings.bookinfo.svc.cluster.local"
TYPES = "type.googleapis.com/"


def clusters(
    objects: dict[str, list[JSONObject]], client: ProxyIdentity = CLIENT, settings: MeshSettings = SETTINGS
) -> dict[str, JSONObject]:
    return {each["name"]: each for each in translate(settings, objects, client, FILES).clusters}


def listeners(objects: dict[str, list[JSONObject]], client: ProxyIdentity = CLIENT) -> dict[str, JSONObject]:
    return {each["name"]: each for each in translate(SETTINGS, objects, client, FILES).listeners}


def details_elsewhere(name: str = "import", namespace: str = "istio-system", **spec: Any) -> JSONObject:
    """A ServiceEntry for details, in another mesh."""
    endpoint = {"address": "127.8.0.4", "ports": {"http": 15443}, "labels": SIDECAR, "network": "west-network"}
    plain = {"hosts": ["details.bookinfo.svc.cluster.local"], "endpoints": [endpoint]}
    return aged(service_entry(name, namespace=namespace, **(plain | spec)))


def sni_of(cluster: JSONObject) -> str:
    socket = cluster.get("transport_socket") or cluster["transport_socket_matches"][0]["transport_socket"]
    return str(socket["typed_config"]["sni"])


def identities(cluster: JSONObject) -> list[str]:
    socket = cluster.get("transport_socket") or cluster["transport_socket_matches"][0]["transport_socket"]
    context = socket["typed_config"]["common_tls_context"]["combined_validation_context"]["default_validation_context"]
    return [each["matcher"]["exact"] for each in context.get("match_typed_subject_alt_names", [])]


def test_the_whole_cluster_of_a_service() -> None:
    limit = 2**32 - 1
    assert clusters(BASE)[f"outbound|9080||{HOST}"] == {
        "@type": TYPES + "envoy.config.cluster.v3.Cluster",
        "name": f"outbound|9080||{HOST}",
        "type": "EDS",
        "connect_timeout": "10s",
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": limit,
                    "max_pending_requests": limit,
                    "max_requests": limit,
                    "max_retries": limit,
                }
            ]
        },
        "lb_policy": "LEAST_REQUEST",
        "eds_cluster_config": {
            "service_name": f"outbound|9080||{HOST}",
            "eds_config": {
                "path_config_source": {"path": f"/run/endpoints/outbound~9080~~{HOST}.json"},
                "resource_api_version": "V3",
            },
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": TYPES + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
        "transport_socket_matches": [
            {
                "name": "tlsMode-istio",
                "match": {"tlsMode": "istio"},
                "transport_socket": {
                    "name": "envoy.transport_sockets.tls",
                    "typed_config": {
                        "@type": TYPES + "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                        "sni": f"outbound_.9080_._.{HOST}",
                        "common_tls_context": {
                            "tls_params": {
                                "tls_minimum_protocol_version": "TLSv1_2",
                                "tls_maximum_protocol_version": "TLSv1_3",
                            },
                            "alpn_protocols": ["istio-http/1.1", "istio", "http/1.1"],
                            "tls_certificate_sds_secret_configs": [
                                {
                                    "name": "default",
                                    "sds_config": {
                                        "path_config_source": {"path": "/run/certificate.json"},
                                        "resource_api_version": "V3",
                                    },
                                }
                            ],
                            "combined_validation_context": {
                                "default_validation_context": {
                                    "match_typed_subject_alt_names": [
                                        {
                                            "san_type": "URI",
                                            "matcher": {"exact": "spiffe://east.local/ns/bookinfo/sa/ratings"},
                                        }
                                    ]
                                },
                                "validation_context_sds_secret_config": {
                                    "name": "ROOTCA",
                                    "sds_config": {
                                        "path_config_source": {"path": "/run/trust.json"},
                                        "resource_api_version": "V3",
                                    },
                                },
                            },
                        },
                    },
                },
            },
            {
                "name": "tlsMode-disabled",
                "match": {},
                "transport_socket": {
                    "name": "envoy.transport_sockets.raw_buffer",
                    "typed_config": {"@type": TYPES + "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"},
                },
            },
        ],
    }


def test_the_whole_of_the_endpoints_and_routes_of_a_service() -> None:
    config = translate(SETTINGS, BASE, CLIENT, FILES)
    assert config.endpoints == {
        f"outbound~9080~~{HOST}.json": {
            "@type": TYPES + "envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": f"outbound|9080||{HOST}",
            "endpoints": [
                {
                    "locality": {},
                    "lb_endpoints": [
                        {
                            "endpoint": {"address": {"socket_address": {"address": "127.9.0.3", "port_value": 9080}}},
                            "metadata": {"filter_metadata": {"envoy.transport_socket_match": {"tlsMode": "istio"}}},
                        }
                    ],
                    "load_balancing_weight": 1,
                }
            ],
        }
    }
    assert list(config.routes) == ["9080.json"]
    assert [
        (host["name"], host["domains"], host["routes"][0].get("route", {}).get("cluster"))
        for host in config.routes["9080.json"]["virtual_hosts"]
    ] == [
        (
            f"{HOST}:9080",
            [HOST, "ratings", "ratings.bookinfo", "ratings.bookinfo.svc", "10.0.0.2"],
            f"outbound|9080||{HOST}",
        ),
        ("block_all", ["*"], None),
    ]


def test_names_are_short_only_in_their_namespace() -> None:
    client = identity(pod_at("client", "127.9.0.9", namespace="other"), application="127.9.128.9")
    hosts_ = translate(SETTINGS, BASE, client, FILES).routes["9080.json"]["virtual_hosts"]
    assert hosts_[0]["domains"] == [HOST, "ratings.bookinfo", "ratings.bookinfo.svc", "10.0.0.2"]


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ([port(80, "http-web")], {"0.0.0.0_80": ("80", "BlackHoleCluster", [])}),
        ([port(80, "x", appProtocol="http")], {"0.0.0.0_80": ("80", "BlackHoleCluster", [])}),
        ([port(80, "grpc")], {"0.0.0.0_80": ("80", "BlackHoleCluster", [])}),
        ([port(80, "x", appProtocol="kubernetes.io/h2c")], {"0.0.0.0_80": ("80", "BlackHoleCluster", [])}),
        ([port(80, "http", appProtocol="tcp")], {"10.0.0.2_80": (None, f"outbound|80||{HOST}", [])}),
        ([port(80, "tcp")], {"10.0.0.2_80": (None, f"outbound|80||{HOST}", [])}),
        ([port(443, "https")], {"10.0.0.2_443": (None, f"outbound|443||{HOST}", [])}),
        ([port(80, "other")], {"10.0.0.2_80": (f"{HOST}:80", f"outbound|80||{HOST}", [])}),
        ([port(80, "")], {"10.0.0.2_80": (f"{HOST}:80", f"outbound|80||{HOST}", [])}),
        ([port(3306, "db")], {"10.0.0.2_3306": (None, f"outbound|3306||{HOST}", [])}),
        ([port(53, "dns", protocol="UDP")], {}),
    ],
)
def test_where_a_port_of_a_service_is_listened_for(ports: list[JSONObject], expected: dict[str, Any]) -> None:
    assert summary({"Service": [service_at("ratings", "10.0.0.2", ports)]}) == expected


DETAILS = "details.bookinfo.svc.cluster.local"


@pytest.mark.parametrize(
    ("protocol", "capture", "expected"),
    [
        ("HTTP", False, {"0.0.0.0_9080": ("9080", "BlackHoleCluster", [])}),
        ("TCP", False, {"0.0.0.0_9080": (None, f"outbound|9080||{DETAILS}", [])}),
        ("TLS", False, {"0.0.0.0_9080": (None, "BlackHoleCluster", [DETAILS])}),
        ("", False, {"0.0.0.0_9080": ("9080", f"outbound|9080||{DETAILS}", [])}),
        ("HTTP", True, {"0.0.0.0_9080": ("9080", "BlackHoleCluster", [])}),
        ("TCP", True, {"240.240.55.190_9080": (None, f"outbound|9080||{DETAILS}", [])}),
        ("TLS", True, {"240.240.55.190_9080": (None, f"outbound|9080||{DETAILS}", [])}),
        ("", True, {"240.240.55.190_9080": (f"{DETAILS}:9080", f"outbound|9080||{DETAILS}", [])}),
    ],
)
def test_where_a_port_of_a_service_entry_is_listened_for(
    protocol: str, capture: bool, expected: dict[str, Any]
) -> None:
    objects = {"ServiceEntry": [details_elsewhere(ports=[{"name": "http", "number": 9080, "protocol": protocol}])]}
    assert summary(objects, dns_port=53 if capture else 0) == expected


def summary(objects: dict[str, list[JSONObject]], dns_port: int = 0) -> dict[str, Any]:
    """Of each outbound listener: the name of its routes, where other traffic goes, and the names it takes TLS for."""
    client = identity(REVIEWS, application="127.9.128.2", dns_port=dns_port)
    found = {}
    for name, each in listeners(objects, client).items():
        if each["traffic_direction"] == "OUTBOUND" and name != "virtualOutbound":
            http = [chain for chain in each["filter_chains"] if chain["name"].endswith("_http")]
            names = [chain["filter_chain_match"].get("server_names", []) for chain in each["filter_chains"]]
            found[name] = (
                http[0]["filters"][0]["typed_config"]["rds"]["route_config_name"] if http else None,
                each["default_filter_chain"]["filters"][0]["typed_config"]["cluster"],
                [each for some in names for each in some],
            )
    return found


@pytest.mark.parametrize(
    ("name", "protocol", "offered", "options"),
    [
        ("http", "explicit_http_config", ["istio-http/1.1", "istio", "http/1.1"], {"http_protocol_options": {}}),
        ("http2", "explicit_http_config", ["istio-h2", "istio", "h2"], {"http2_protocol_options": {}}),
        ("grpc", "explicit_http_config", ["istio-h2", "istio", "h2"], {"http2_protocol_options": {}}),
        ("tcp", None, ["istio"], None),
        (
            "other",
            "use_downstream_protocol_config",
            ["istio"],
            {"http_protocol_options": {}, "http2_protocol_options": {}},
        ),
    ],
)
def test_what_is_spoken_to_a_port(name: str, protocol: str | None, offered: list[str], options: Any) -> None:
    cluster = clusters({"Service": [service_at("ratings", "10.0.0.2", [port(80, name)])]})[f"outbound|80||{HOST}"]
    socket = cluster["transport_socket_matches"][0]["transport_socket"]["typed_config"]
    assert socket["common_tls_context"]["alpn_protocols"] == offered
    extensions = cluster.get("typed_extension_protocol_options", {})
    assert [each.get(protocol) for each in extensions.values()] == ([options] if protocol else [])


def test_who_is_at_an_address_that_somebody_wrote_down() -> None:
    """The Pod that is named, if it is there, else the Pod of the namespace that has the address, else nobody known."""
    service = service_at("leader", "10.0.0.9", [port(9080)], selector=None)
    slices = [
        endpoint_slice("leader-1.bookinfo", "leader", "127.9.0.3=ratings", "192.0.2.7", "127.9.0.9=gone"),
        endpoint_slice("leader-2.bookinfo", "leader", "127.9.0.3"),
        endpoint_slice("leader-3.bookinfo", "leader", "127.9.0.4=ratings", pods_in="elsewhere"),
        endpoint_slice("leader-4.bookinfo", "leader", "leader.example.com", address_type="FQDN"),
        endpoint_slice(
            "leader-5.bookinfo", "leader", "192.0.2.8", labels={"multicluster.kubernetes.io/service-name": "leader"}
        ),
    ]
    in_mesh = ("127.9.0.3", "spiffe://east.local/ns/bookinfo/sa/ratings", True)
    for chosen in (slices, slices[1:]):
        (found, *_) = read_mesh(SETTINGS, {**BASE, "Service": [service], "EndpointSlice": chosen}).registry.services
        assert [(one.address, one.account, one.mutual) for one in found.endpoints["http"]] == [
            in_mesh,
            *([("192.0.2.7", "", False)] if chosen is slices else []),
        ]


HEADLESS = service_at("ratings", "None", [port(9080), port(9090, "tcp")])


def test_a_headless_service_is_dialled_by_its_endpoints() -> None:
    objects = {
        **BASE,
        "Service": [HEADLESS],
        "EndpointSlice": [slice_of(HEADLESS, [RATINGS], {"http": 9080, "tcp": 9090})],
    }
    assert summary(objects) == {
        "0.0.0.0_9080": ("9080", "BlackHoleCluster", []),
        "127.9.0.3_9090": (None, f"outbound|9090||{HOST}", []),
    }
    cluster = clusters(objects)[f"outbound|9090||{HOST}"]
    assert (cluster["type"], cluster["lb_policy"], sni_of(cluster)) == (
        "ORIGINAL_DST",
        "CLUSTER_PROVIDED",
        f"outbound_.9090_._.{HOST}",
    )
    assert hosts(SETTINGS, objects, CLIENT) == {HOST: ("127.9.0.3",)}
    objects["EndpointSlice"][0]["endpoints"][0]["hostname"] = "ratings-0"
    assert hosts(SETTINGS, objects, CLIENT)[f"ratings-0.{HOST}"] == ("127.9.0.3",)
    without_sidecar = pod_at("ratings", "127.9.0.3", sidecar=False)
    plain = clusters({**objects, "Pod": [REVIEWS, without_sidecar]})[f"outbound|9090||{HOST}"]
    assert "transport_socket" not in plain


@pytest.mark.parametrize(
    ("target", "ports", "expected"),
    [
        (9080, {"http": 15443}, 15443),
        (9080, {}, 9080),
        (9080, {"web": 15443}, 9080),
        ("web", {"web": 15443}, 15443),
        ("web", {"http": 15443}, None),
        ("web", {}, None),
    ],
)
def test_a_workload_entry_answers_where_istiod_looks_for_its_port(
    target: int | str, ports: dict[str, int], expected: int | None
) -> None:
    workload = istio(
        "ratings.west", {"address": "127.8.0.4", "labels": {"app": "ratings"}, "ports": ports}, namespace="bookinfo"
    )
    local = service_at("ratings", "10.0.0.2", [port(9080, "http", target)])
    config = translate(SETTINGS, {"Service": [local], "WorkloadEntry": [workload]}, CLIENT, FILES)
    groups = config.endpoints[f"outbound~9080~~{HOST}.json"]["endpoints"]
    found = [
        each["endpoint"]["address"]["socket_address"]["port_value"]
        for group in groups
        for each in group["lb_endpoints"]
    ]
    assert found == ([expected] if expected else [])


def test_the_labels_of_a_workload_entry_itself_are_laid_over_those_in_its_spec() -> None:
    spec = {"address": "127.8.0.4", "labels": {"app": "ratings"}, "ports": {"http": 15443}}
    local = service_at("ratings", "10.0.0.2", [port(9080, "http", 9081)])
    selected = {}
    for own in ({}, {"app": "other"}, {"team": "a"}):
        entry = istio("ratings.west", spec, namespace="bookinfo")
        entry["metadata"]["labels"] = own
        config = translate(SETTINGS, {"Service": [local], "WorkloadEntry": [entry]}, CLIENT, FILES)
        selected[str(own)] = "127.8.0.4" in str(config.endpoints)
    assert selected == {"{}": True, "{'app': 'other'}": False, "{'team': 'a'}": True}


@pytest.mark.parametrize(
    ("annotations", "conditions", "counts"),
    [
        ({}, [], True),
        ({}, [{"type": "Healthy", "status": "False"}], True),
        ({"proxy.istio.io/health-checks-enabled": "true"}, [], False),
        ({"proxy.istio.io/health-checks-enabled": "true"}, [{"type": "Healthy", "status": "False"}], False),
        ({"proxy.istio.io/health-checks-enabled": "true"}, [{"type": "Healthy", "status": "True"}], True),
    ],
)
def test_a_workload_entry_whose_health_is_checked_counts_once_it_is_healthy(
    annotations: dict[str, str], conditions: list[dict[str, str]], counts: bool
) -> None:
    entry = istio("vm", {"address": "127.8.0.4", "labels": {"app": "ratings"}}, namespace="bookinfo")
    entry["metadata"]["annotations"], entry["status"] = annotations, {"conditions": conditions}
    local = service_at("ratings", "10.0.0.2", [port(9080, "http", 9081)])
    config = translate(SETTINGS, {"Service": [local], "WorkloadEntry": [entry]}, CLIENT, FILES)
    assert ("127.8.0.4" in str(config.endpoints)) is counts


def test_an_unnamed_port_of_a_workload_entry_is_the_target_port() -> None:
    workload = istio(
        "w", {"address": "127.8.0.4", "labels": {"app": "ratings"}, "ports": {"": 15443}}, namespace="bookinfo"
    )
    local = service_at("ratings", "10.0.0.2", [port(9080, "", 9081)])
    config = translate(SETTINGS, {"Service": [local], "WorkloadEntry": [workload]}, CLIENT, FILES)
    assert '"port_value": 9081' in str(config.endpoints).replace("'", '"')


def test_the_identities_of_a_host_are_those_of_all_its_endpoints() -> None:
    workloads = [
        istio(
            f"ratings.{account}",
            {
                "address": "127.8.0.4",
                "labels": {"app": "ratings", **SIDECAR},
                "ports": {"http": 15443},
                "serviceAccount": account,
            },
            namespace="bookinfo",
        )
        for account in ("remote", "other")
    ]
    settings = MeshSettings(
        name="east", network="east", trust_domain="east.local", trust_domain_aliases=("west.local",)
    )
    cluster = clusters({**BASE, "WorkloadEntry": workloads}, settings=settings)[f"outbound|9080||{HOST}"]
    assert identities(cluster) == [
        f"spiffe://{domain}/ns/bookinfo/sa/{account}"
        for domain in ("east.local", "west.local")
        for account in ("other", "ratings", "remote")
    ]


def test_a_service_entry_states_identities_or_takes_any() -> None:
    name = "outbound|9080||details.bookinfo.svc.cluster.local"
    stated = ["spiffe://west.local/ns/bookinfo/sa/details"]
    assert identities(clusters({"ServiceEntry": [details_elsewhere(subjectAltNames=stated)]})[name]) == stated
    assert identities(clusters({"ServiceEntry": [details_elsewhere()]})[name]) == []


def test_outside_the_mesh_there_is_no_mutual_tls() -> None:
    objects = {"ServiceEntry": [details_elsewhere(location="MESH_EXTERNAL")]}
    cluster = clusters(objects)["outbound|9080||details.bookinfo.svc.cluster.local"]
    assert not {"transport_socket", "transport_socket_matches"} & set(cluster)


def test_what_is_resolved_is_asked_of_the_resolver() -> None:
    endpoints = [
        {"address": "gateway.west.example", "ports": {"http": 15443}, "labels": SIDECAR},
        {"address": "127.8.0.4"},
    ]
    cluster = clusters({"ServiceEntry": [details_elsewhere(resolution="DNS", endpoints=endpoints)]})[
        "outbound|9080||details.bookinfo.svc.cluster.local"
    ]
    assert cluster["type"] == "STRICT_DNS"
    assert cluster["typed_dns_resolver_config"]["typed_config"]["resolvers"] == [
        {"socket_address": {"address": "127.0.0.1", "port_value": 5353}}
    ]
    assert [
        each["endpoint"]["address"]["socket_address"]
        for each in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    ] == [
        {"address": "127.8.0.4", "port_value": 9080},
        {"address": "gateway.west.example", "port_value": 15443},
    ]


def test_a_service_entry_selects_pods_and_workload_entries() -> None:
    """Those of its own namespace; their identities are theirs."""
    labels = {"app": "details"}
    workloads = [
        istio(
            name,
            {"address": address, "labels": labels, "ports": {"http": 8080}, "serviceAccount": "vm"},
            namespace=where,
        )
        for name, address, where in (("here", "127.8.0.1", "bookinfo"), ("there", "127.8.0.2", "other"))
    ]
    selecting = details_elsewhere("select", "bookinfo", endpoints=[], workloadSelector={"labels": labels})
    objects = {"Pod": [pod_at("details", "127.9.0.7")], "WorkloadEntry": workloads, "ServiceEntry": [selecting]}
    config = translate(SETTINGS, objects, CLIENT, FILES)
    [told] = config.endpoints.values()
    assert [each["endpoint"]["address"]["socket_address"] for each in told["endpoints"][0]["lb_endpoints"]] == [
        {"address": "127.8.0.1", "port_value": 8080},
        {"address": "127.9.0.7", "port_value": 9080},
    ]
    assert identities(clusters(objects)[f"outbound|9080||{DETAILS}"]) == [
        f"spiffe://east.local/ns/bookinfo/sa/{account}" for account in ("details", "vm")
    ]


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [("bookinfo", "of-client"), ("other", "of-service"), ("istio-system", "of-service")],
)
def test_the_closest_destination_rule_counts(namespace: str, expected: str) -> None:
    def rule(sni: str, host: str = HOST, **more: Any) -> JSONObject:
        return {"host": host, "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL", "sni": sni}}, **more}

    details = details_elsewhere(namespace="services")
    objects = {
        "ServiceEntry": [details],
        "DestinationRule": [
            istio("root", rule("of-root", "*.bookinfo.svc.cluster.local")),
            istio("wild", rule("too-wide", "*.svc.cluster.local"), namespace="services"),
            istio("service", rule("of-service", DETAILS), namespace="services"),
            istio("younger", rule("too-young", DETAILS), namespace="services"),
            istio("hidden", rule("hidden", DETAILS, exportTo=["nobody"]), namespace="bookinfo"),
            istio("client", rule("of-client", DETAILS), namespace="bookinfo"),
        ],
    }
    client = identity(pod_at("client", "127.9.0.9", namespace=namespace), application="127.9.128.9")
    assert sni_of(clusters(objects, client)[f"outbound|9080||{DETAILS}"]) == expected


@pytest.mark.parametrize(("namespace", "expected"), [("other", "of-root"), ("shop", "narrow"), ("services", "at-home")])
def test_the_most_specific_rule_of_a_namespace_counts_whoever_sees_it(namespace: str, expected: str) -> None:
    def rule(sni: str, host: str, *export_to: str) -> JSONObject:
        policy = {"tls": {"mode": "ISTIO_MUTUAL", "sni": sni}}
        return {"host": host, "trafficPolicy": policy, "exportTo": list(export_to)}

    objects = {
        "ServiceEntry": [details_elsewhere(namespace="services")],
        "DestinationRule": [
            istio("root", rule("of-root", "*.local")),
            istio("private", rule("at-root", DETAILS, ".")),
            istio("wide", rule("wide", "*.svc.cluster.local"), namespace="services"),
            istio("narrow", rule("narrow", "*.bookinfo.svc.cluster.local", "shop"), namespace="services"),
            istio("home", rule("at-home", DETAILS, "services"), namespace="services"),
        ],
    }
    client = identity(pod_at("client", "127.9.0.9", namespace=namespace), application="127.9.128.9")
    assert sni_of(clusters(objects, client)[f"outbound|9080||{DETAILS}"]) == expected


def _rules_for_details(*rules: tuple[str, tuple[str, ...]]) -> JSONObject:
    """Rules of the Service's namespace, oldest first, each by the SNI that it states, if any, and its ``exportTo``."""
    made = [
        {"host": DETAILS, "exportTo": list(export_to)}
        | ({"trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL", "sni": sni}}} if sni else {})
        for sni, export_to in rules
    ]
    return {
        "ServiceEntry": [details_elsewhere(namespace="services")],
        "DestinationRule": [istio(f"r{at}", spec, namespace="services") for at, spec in enumerate(made)],
    }


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        # Exported otherwise: the last that a client sees.
        ([("all", ()), ("web", ("web",))], {"web": "web", "shop": "all"}),
        ([("web", ("web",)), ("all", ())], {"web": "all", "shop": "all"}),
        # Exported alike: the oldest that has a policy.
        ([("", ("web",)), ("second", ("web",)), ("third", ("web",))], {"web": "second", "shop": ""}),
        # To more: it is part of the first, and nobody else hears of it.
        ([("web", ("web",)), ("both", ("web", "shop"))], {"web": "web", "shop": ""}),
        ([("", ("web",)), ("both", ("web", "shop"))], {"web": "both", "shop": ""}),
        ([("web", ("web",)), ("all", ("*",))], {"web": "all", "shop": "all"}),
        # Unlike the last before it: it stands for itself too.
        (
            [("", ()), ("some", ("shop", "web")), ("all", ()), ("web", ("web",))],
            {"web": "web", "shop": "all", "other": "all"},
        ),
    ],
)
def test_rules_for_one_host_are_merged_or_stand_side_by_side(
    rules: list[tuple[str, tuple[str, ...]]], expected: dict[str, str]
) -> None:
    objects = _rules_for_details(*rules)
    for namespace, sni in expected.items():
        client = identity(pod_at("client", "127.9.0.9", namespace=namespace), application="127.9.128.9")
        told = clusters(objects, client)[f"outbound|9080||{DETAILS}"]
        assert sni_of(told) == (sni or f"outbound_.9080_._.{DETAILS}")


def test_where_the_mesh_says_so_rules_are_for_their_own_namespace() -> None:
    objects = _rules_for_details(("mine", ()), ("web", ("web",)))
    for default, expected in ((("*",), "mine"), ((".",), ""), (("*", "."), ""), (("shop",), "mine")):
        settings = msgspec.structs.replace(SETTINGS, default_destination_rule_export_to=default)
        for namespace, sni in (("other", expected), ("services", "mine"), ("web", "web")):
            client = identity(pod_at("client", "127.9.0.9", namespace=namespace), application="127.9.128.9")
            told = clusters(objects, client, settings)[f"outbound|9080||{DETAILS}"]
            assert sni_of(told) == (sni or f"outbound_.9080_._.{DETAILS}")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"tls": {"mode": "DISABLE"}}, None),
        ({"tls": {"mode": "ISTIO_MUTUAL"}}, f"outbound_.9080_._.{HOST}"),
        ({"tls": {"mode": "ISTIO_MUTUAL", "sni": "x"}}, "x"),
        ({"tls": {"mode": "SIMPLE", "sni": "x"}}, "x"),
        (
            {
                "tls": {"mode": "DISABLE"},
                "portLevelSettings": [{"port": {"number": 9080}, "tls": {"mode": "ISTIO_MUTUAL"}}],
            },
            f"outbound_.9080_._.{HOST}",
        ),
        (
            {"tls": {"mode": "DISABLE"}, "portLevelSettings": [{"port": {"number": 1}, "tls": {"mode": "SIMPLE"}}]},
            None,
        ),
    ],
)
def test_a_destination_rule_decides_about_tls(policy: JSONObject, expected: str | None) -> None:
    objects = {**BASE, "DestinationRule": [istio("rule", {"host": HOST, "trafficPolicy": policy})]}
    cluster = clusters(objects)[f"outbound|9080||{HOST}"]
    assert "transport_socket_matches" not in cluster
    assert (sni_of(cluster) if "transport_socket" in cluster else None) == expected


def test_port_level_settings_leave_nothing_of_the_level_above() -> None:
    policy = {
        "outlierDetection": {"consecutive5xxErrors": 1},
        "portLevelSettings": [{"port": {"number": 9080}, "tls": {"mode": "ISTIO_MUTUAL"}}],
    }
    objects = {
        **BASE,
        "DestinationRule": [istio("rule", {"host": "ratings", "trafficPolicy": policy}, namespace="bookinfo")],
    }
    assert "outlier_detection" not in clusters(objects)[f"outbound|9080||{HOST}"]


def test_a_connection_that_takes_too_long() -> None:
    slow, fast = ({"connectionPool": {"tcp": {"connectTimeout": time}}} for time in ("1m", "1s500ms"))
    outliers: JSONObject = {"outlierDetection": {}}
    for policy, timeout in (
        ({}, "10s"),
        ({"connectionPool": {"tcp": {}}}, "10s"),
        (slow, "60s"),
        (slow | {"portLevelSettings": [{"port": {"number": 9080}, **fast, **outliers}]}, "1.5s"),
        (slow | {"portLevelSettings": [{"port": {"number": 9080}, **outliers}]}, "10s"),
    ):
        objects = {**BASE, "DestinationRule": [istio("rule", {"host": HOST, "trafficPolicy": policy})]}
        cluster = clusters(objects)[f"outbound|9080||{HOST}"]
        assert cluster["connect_timeout"] == timeout
        # What says nothing is outlier detection all the same.
        assert ("outlier_detection" in cluster) is ("portLevelSettings" in policy)


def test_outliers_and_localities() -> None:
    """With outlier detection, what is near comes first; without, all are alike."""
    nodes = [
        {
            "metadata": {
                "name": "node",
                "labels": {"topology.kubernetes.io/region": "r1", "topology.kubernetes.io/zone": "z1"},
            }
        }
    ]
    workloads = [
        istio(name, {"address": address, "labels": {"app": "ratings"}, "locality": locality}, namespace="bookinfo")
        for name, address, locality in (
            ("a", "127.8.0.1", "r2/z1"),
            ("b", "127.8.0.2", "r1/z2"),
            ("c", "127.8.0.3", ""),
        )
    ]
    outliers = {"consecutive5xxErrors": 3, "interval": "1m30s", "baseEjectionTime": "500ms", "maxEjectionPercent": 100}
    rule = istio("rule", {"host": HOST, "trafficPolicy": {"outlierDetection": outliers}})
    objects = {**BASE, "Node": nodes, "WorkloadEntry": workloads}

    def places(objects: dict[str, list[JSONObject]]) -> list[tuple[JSONObject, int]]:
        groups = translate(SETTINGS, objects, CLIENT, FILES).endpoints[f"outbound~9080~~{HOST}.json"]["endpoints"]
        return [(group["locality"], group.get("priority", 0)) for group in groups]

    with_rule = {**objects, "DestinationRule": [rule]}
    assert places(with_rule) == [
        ({"region": "r1", "zone": "z1"}, 0),
        ({"region": "r1", "zone": "z2"}, 1),
        ({}, 2),
        ({"region": "r2", "zone": "z1"}, 2),
    ]
    assert {priority for _, priority in places(objects)} == {0}
    cluster = clusters(with_rule)[f"outbound|9080||{HOST}"]
    assert cluster["outlier_detection"] == {
        "enforcing_success_rate": 0,
        "consecutive_5xx": 3,
        "enforcing_consecutive_5xx": 100,
        "interval": "90s",
        "base_ejection_time": "0.5s",
        "max_ejection_percent": 100,
    }
    assert cluster["common_lb_config"] == {
        "healthy_panic_threshold": {"value": 0},
    }


def test_mutual_tls_is_not_used_where_a_server_has_it_disabled() -> None:
    """For a workload: its endpoints are plain. For its namespace: nobody asks what they take."""
    one = istio(
        "off", {"selector": {"matchLabels": {"app": "ratings"}}, "mtls": {"mode": "DISABLE"}}, namespace="bookinfo"
    )
    endpoints = translate(SETTINGS, {**BASE, "PeerAuthentication": [one]}, CLIENT, FILES).endpoints
    assert "tlsMode" not in str(endpoints)
    whole = istio("off", {"mtls": {"mode": "DISABLE"}}, namespace="bookinfo")
    cluster = clusters({**BASE, "PeerAuthentication": [whole]})[f"outbound|9080||{HOST}"]
    assert "transport_socket_matches" not in cluster


def test_hosts_are_seen_where_they_are_exported_to() -> None:
    here, nowhere = (
        details_elsewhere("a", exportTo=["bookinfo"]),
        details_elsewhere("b", exportTo=["."], hosts=["hidden.example.com"]),
    )
    names = clusters({"ServiceEntry": [here, nowhere]})
    assert [name for name in names if name.startswith("outbound")] == [f"outbound|9080||{DETAILS}"]


def test_where_nothing_says_who_sees_a_host_the_meshs_default_does() -> None:
    said = details_elsewhere("b", exportTo=["*"], hosts=["said.example.com"])
    objects = {**BASE, "ServiceEntry": [details_elsewhere("a"), said]}

    def seen(*default: str) -> set[str]:
        settings = msgspec.structs.replace(SETTINGS, default_service_export_to=default)
        found = clusters(objects, settings=settings)
        return {name.rpartition("|")[2] for name in found if name.startswith("outbound")}

    assert seen("*") == {HOST, DETAILS, "said.example.com"}
    assert seen(".") == {HOST, "said.example.com"}
    assert seen("istio-system") == {"said.example.com"}
    assert seen("bookinfo") == {HOST, DETAILS, "said.example.com"}


def test_the_names_that_are_resolved() -> None:
    objects = {
        **BASE,
        "ServiceEntry": [
            details_elsewhere(),
            details_elsewhere("b", hosts=["fixed.example.com"], addresses=["198.51.100.1"]),
        ],
    }
    capturing = identity(REVIEWS, application="127.9.128.2", dns_port=53)
    assert hosts(SETTINGS, objects, CLIENT) == {HOST: ("10.0.0.2",)}
    assert hosts(SETTINGS, objects, capturing) == {
        DETAILS: ("240.240.55.190",),
        "fixed.example.com": ("198.51.100.1",),
        HOST: ("10.0.0.2",),
    }


def test_what_is_told_does_not_depend_on_the_order_of_objects() -> None:
    objects = {**BASE, "ServiceEntry": [details_elsewhere(f"e{n}", hosts=[f"h{n}.example.com"]) for n in range(5)]}
    first = translate(SETTINGS, objects, CLIENT, FILES)
    for seed in range(5):
        shuffled = {kind: random.Random(seed).sample(list(found), len(found)) for kind, found in objects.items()}
        assert translate(SETTINGS, shuffled, CLIENT, FILES) == first


def test_another_endpoint_changes_nothing_but_the_endpoints() -> None:
    more = pod_at("ratings-2", "127.9.0.4", app="ratings")
    slices = [slice_of(RATINGS_SERVICE, [RATINGS, more], {"http": 9080})]
    before = translate(SETTINGS, BASE, CLIENT, FILES)
    after = translate(SETTINGS, {**BASE, "Pod": [REVIEWS, RATINGS, more], "EndpointSlice": slices}, CLIENT, FILES)
    assert (after.listeners, after.clusters, after.routes) == (before.listeners, before.clusters, before.routes)
    assert after.endpoints.keys() == before.endpoints.keys()
    assert after.endpoints != before.endpoints


def test_everything_a_sidecar_may_be_told_is_valid(tmp_path: Path) -> None:
    names = ["http", "grpc", "tcp", "https", "other"]
    all_ports = [port(9000 + index, name) for index, name in enumerate(names)]
    entry_ports = [
        {"name": name or "auto", "number": 9100 + index, "protocol": name}
        for index, name in enumerate(["HTTP", "GRPC", "TCP", "TLS", ""])
    ]
    (tmp_path / "root.pem").write_text(trust_of("east").bundles("east")["east.local"])
    simple = {"mode": "SIMPLE", "caCertificates": "/run/root.pem"}
    objects = {
        **BASE,
        "Service": [
            RATINGS_SERVICE,
            service_at("all", "10.0.0.7", all_ports, selector={"app": "reviews"}),
            service_at("headless", "None", all_ports, selector={"app": "ratings"}),
        ],
        "ServiceEntry": [
            details_elsewhere("a", ports=entry_ports, endpoints=[{"address": "127.8.0.4", "labels": SIDECAR}]),
            details_elsewhere(
                "b", ports=entry_ports, hosts=["b.example.com"], resolution="DNS", addresses=["198.51.100.1"]
            ),
            details_elsewhere("c", ports=entry_ports, hosts=["*.wild.example.com"], location="MESH_EXTERNAL"),
        ],
        "DestinationRule": [
            istio("simple", {"host": "*.wild.example.com", "trafficPolicy": {"tls": simple}}),
            istio("tls", {"host": "b.example.com", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL", "sni": "b"}}}),
            istio(
                "outliers",
                {
                    "host": HOST,
                    "trafficPolicy": {
                        "outlierDetection": {"consecutiveGatewayErrors": 2, "consecutive5xxErrors": 0},
                        "loadBalancer": {"simple": "ROUND_ROBIN"},
                    },
                },
            ),
        ],
        "PeerAuthentication": [istio("mesh", {"mtls": {"mode": "STRICT"}})],
    }
    for policy in ("REGISTRY_ONLY", "ALLOW_ANY"):
        settings = MeshSettings(name="east", network="east-network", outbound_policy=policy)
        for dns_port in (0, 53):
            client = identity(REVIEWS, application="127.9.128.2", dns_port=dns_port)
            validate(translate(settings, objects, client, FILES), tmp_path)


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        (
            "DestinationRule",
            {"host": HOST, "subsets": [{"name": "v1"}]},
            'spec.subsets: this field is not translated; its value is [{"name":"v1"}]',
        ),
        (
            "DestinationRule",
            {"host": HOST, "trafficPolicy": {"connectionPool": {"http": {}}}},
            "spec.trafficPolicy.connectionPool.http: this field is not translated; its value is {}",
        ),
        (
            "ServiceEntry",
            {"hosts": [HOST], "resolution": "NONE"},
            "spec.resolution: Invalid enum value 'NONE'; its value is \"NONE\"",
        ),
        ("ServiceEntry", {"hosts": [HOST]}, "spec: Object missing required field `resolution`"),
        (
            "ServiceEntry",
            {"hosts": [HOST], "resolution": "STATIC", "endpoints": [{"address": "west.example"}]},
            "spec.endpoints[0].address: west.example is no IP, which resolution STATIC needs",
        ),
        (
            "AuthorizationPolicy",
            {"action": "CUSTOM"},
            "spec.action: Invalid enum value 'CUSTOM'; its value is \"CUSTOM\"",
        ),
        (
            "AuthorizationPolicy",
            {"rules": [{"when": [{"key": "x"}]}]},
            'spec.rules[0].when: this field is not translated; its value is [{"key":"x"}]',
        ),
        (
            "PeerAuthentication",
            {"mtls": {"mode": "ALWAYS"}},
            "spec.mtls.mode: Invalid enum value 'ALWAYS'; its value is \"ALWAYS\"",
        ),
        (
            "EnvoyFilter",
            {"configPatches": [{"applyTo": "CLUSTER"}]},
            "spec.configPatches[0].applyTo: Invalid enum value 'CLUSTER'; its value is \"CLUSTER\"",
        ),
        ("VirtualService", {"hosts": ["x"]}, "this kind is not translated; delete it"),
    ],
)
def test_what_is_not_known_is_refused_with_its_place(kind: str, spec: JSONObject, message: str) -> None:
    with pytest.raises(Untranslatable) as raised:
        translate(SETTINGS, {kind: [istio("odd", spec)]}, CLIENT, FILES)
    assert str(raised.value) == f"{kind} istio-system/odd: {message}"


def test_whoever_is_named_for_a_port_that_a_service_has_not_may_answer_for_it_too() -> None:
    led = service_at("led", "10.0.0.9", [port(9080)], selector={})
    objects = {**BASE, "Service": [led], "EndpointSlice": [slice_of(led, [RATINGS], {"none": 9080})]}
    assert identities(clusters(objects)["outbound|9080||led.bookinfo.svc.cluster.local"]) == [
        "spiffe://east.local/ns/bookinfo/sa/ratings"
    ]
