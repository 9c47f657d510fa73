"""What a sidecar is told of its own application: given these objects, exactly this."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from meshfed_sandbox.dataplane.translate import translate
from meshfed_sandbox.dataplane.translate.authorization import with_aliases
from meshfed_sandbox.dataplane.values import JSONObject, MeshSettings, Untranslatable
from tests.builders import port
from tests.sandbox.dataplane.cluster_objects import FILES, SETTINGS, identity, istio, pod_at, service_at, slice_of
from tests.sandbox.dataplane.envoys import validate

PORTS = {"http": 9080, "tcp": 9090, "raw": 9091}
RATINGS = pod_at("ratings", "127.9.0.3", ports={**PORTS, "unknown": 9099})
SERVER = identity(RATINGS, application="127.9.128.3")
BASE: dict[str, list[JSONObject]] = {
    "Pod": [RATINGS],
    "Service": [service_at("ratings", "10.0.0.2", [port(80 + index, name, name) for index, name in enumerate(PORTS)])],
}
ANY = ["istio-peer-exchange", "istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"]
HTTP = ["istio-http/1.0", "istio-http/1.1", "istio-h2"]
PLAIN = ["http/1.0", "http/1.1", "h2c"]


def inbound(objects: dict[str, list[JSONObject]], settings: MeshSettings = SETTINGS) -> dict[int, JSONObject]:
    """The listeners by port."""
    found = translate(settings, objects, SERVER, FILES).listeners
    return {
        each["address"]["socket_address"]["port_value"]: each
        for each in found
        if each["traffic_direction"] == "INBOUND"
    }


def chains(listener: JSONObject) -> list[tuple[str, list[str], bool, bool]]:
    """Of each filter chain: what it takes, whether it ends mutual TLS, whether it speaks HTTP."""
    return [
        (
            each["filter_chain_match"]["transport_protocol"],
            each["filter_chain_match"].get("application_protocols", []),
            "transport_socket" in each,
            each["filters"][-1]["name"].endswith("http_connection_manager"),
        )
        for each in listener["filter_chains"]
    ]


def inspectors(listener: JSONObject) -> list[str]:
    return [each["name"].rpartition(".")[2] for each in listener["listener_filters"]]


@pytest.mark.parametrize(
    ("mode", "number", "expected", "filters"),
    [
        (
            "PERMISSIVE",
            9080,
            [("tls", ANY, True, True), ("raw_buffer", [], False, True)],
            ["tls_inspector"],
        ),
        (
            "PERMISSIVE",
            9090,
            [("tls", ANY, True, False), ("raw_buffer", [], False, False), ("tls", [], False, False)],
            ["tls_inspector"],
        ),
        (
            "PERMISSIVE",
            9091,
            [
                ("tls", HTTP, True, True),
                ("tls", ["istio-peer-exchange", "istio"], True, False),
                ("raw_buffer", PLAIN, False, True),
                ("raw_buffer", [], False, False),
                ("tls", [], False, False),
            ],
            ["tls_inspector", "http_inspector"],
        ),
        ("STRICT", 9080, [("tls", [], True, True)], ["tls_inspector"]),
        ("STRICT", 9090, [("tls", [], True, False)], ["tls_inspector"]),
        ("STRICT", 9091, [("tls", HTTP, True, True), ("tls", [], True, False)], ["tls_inspector"]),
        ("DISABLE", 9080, [("raw_buffer", [], False, True)], []),
        ("DISABLE", 9090, [("raw_buffer", [], False, False)], []),
        (
            "DISABLE",
            9091,
            [("raw_buffer", PLAIN, False, True), ("raw_buffer", [], False, False)],
            ["http_inspector"],
        ),
    ],
)
def test_what_a_port_takes(mode: str, number: int, expected: Sequence[Any], filters: list[str]) -> None:
    listener = inbound({**BASE, "PeerAuthentication": [istio("mesh", {"mtls": {"mode": mode}})]})[number]
    assert chains(listener) == expected
    assert inspectors(listener) == filters


def test_a_port_that_no_service_names_is_found_out() -> None:
    listeners = inbound(BASE)
    assert chains(listeners[9099]) == chains(listeners[9091])


def test_a_port_that_only_a_service_names_is_served() -> None:
    local = service_at("ratings", "10.0.0.2", [port(80, "http", 7070)])
    assert sorted(inbound({"Pod": [RATINGS], "Service": [local]})) == [7070, 9080, 9090, 9091, 9099]


WORKLOAD = {"matchLabels": {"app": "ratings"}}


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], "PERMISSIVE"),
        ([("istio-system", {"mtls": {"mode": "STRICT"}})], "STRICT"),
        ([("istio-system", {"mtls": {"mode": "STRICT"}}), ("bookinfo", {"mtls": {"mode": "DISABLE"}})], "DISABLE"),
        ([("istio-system", {"mtls": {"mode": "STRICT"}}), ("bookinfo", {"mtls": {"mode": "UNSET"}})], "STRICT"),
        ([("istio-system", {"mtls": {"mode": "STRICT"}}), ("other", {"mtls": {"mode": "DISABLE"}})], "STRICT"),
        ([("bookinfo", {"mtls": {"mode": "STRICT"}}), ("bookinfo", {"mtls": {"mode": "DISABLE"}})], "STRICT"),
        ([("bookinfo", {"selector": WORKLOAD, "mtls": {"mode": "STRICT"}})], "STRICT"),
        ([("istio-system", {"selector": WORKLOAD, "mtls": {"mode": "STRICT"}})], "PERMISSIVE"),
        ([("bookinfo", {"selector": {"matchLabels": {"app": "x"}}, "mtls": {"mode": "STRICT"}})], "PERMISSIVE"),
        ([("bookinfo", {"selector": WORKLOAD, "portLevelMtls": {"9080": {"mode": "STRICT"}}})], "STRICT"),
        ([("bookinfo", {"selector": WORKLOAD, "portLevelMtls": {"9081": {"mode": "STRICT"}}})], "PERMISSIVE"),
        ([("bookinfo", {"portLevelMtls": {"9080": {"mode": "STRICT"}}})], "PERMISSIVE"),
        (
            [
                ("istio-system", {"mtls": {"mode": "STRICT"}}),
                ("bookinfo", {"selector": WORKLOAD, "portLevelMtls": {"9080": {"mode": "PERMISSIVE"}}}),
            ],
            "PERMISSIVE",
        ),
    ],
)
def test_the_closest_peer_authentication_counts(policies: list[tuple[str, JSONObject]], expected: str) -> None:
    objects = [istio(f"p{index}", spec, namespace=where) for index, (where, spec) in enumerate(policies)]
    found = chains(inbound({**BASE, "PeerAuthentication": objects})[9080])
    modes = {
        "STRICT": [("tls", [], True, True)],
        "PERMISSIVE": [("tls", ANY, True, True), ("raw_buffer", [], False, True)],
        "DISABLE": [("raw_buffer", [], False, True)],
    }
    assert found == modes[expected]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (SETTINGS, ["spiffe://east.local/"]),
        (
            MeshSettings(name="e", network="e", trust_domain="east.local", trust_domain_aliases=("west.local",)),
            ["spiffe://east.local/", "spiffe://west.local/"],
        ),
        (MeshSettings(name="e", network="e", skip_validate_trust_domain=True), []),
    ],
)
def test_clients_are_of_a_trust_domain_of_the_mesh(settings: MeshSettings, expected: list[str]) -> None:
    socket = inbound(BASE, settings)[9080]["filter_chains"][0]["transport_socket"]["typed_config"]
    context = socket["common_tls_context"]["combined_validation_context"]["default_validation_context"]
    assert [each["matcher"]["prefix"] for each in context.get("match_typed_subject_alt_names", [])] == expected
    assert socket["require_client_certificate"] is True


def test_the_caller_is_named_to_the_application() -> None:
    manager = inbound(BASE)[9080]["filter_chains"][0]["filters"][-1]["typed_config"]
    assert manager["forward_client_cert_details"] == "APPEND_FORWARD"
    assert manager["set_current_client_cert_details"] == {"subject": True, "uri": True, "dns": True}


def rules(policies: list[JSONObject], number: int = 9080) -> list[JSONObject]:
    """The rules of all RBAC filters of a port, in their order."""
    filters = inbound({**BASE, "AuthorizationPolicy": policies})[number]["filter_chains"][0]["filters"]
    if number == 9080:
        filters = filters[-1]["typed_config"]["http_filters"]
    return [each["typed_config"]["rules"] for each in filters if each["name"].endswith(".rbac")]


def policy(name: str, rules: Sequence[JSONObject], action: str = "ALLOW", namespace: str = "bookinfo") -> JSONObject:
    return istio(name, {"action": action, "rules": list(rules)}, namespace=namespace)


def test_the_whole_of_a_policy() -> None:
    rule = {
        "from": [
            {
                "source": {
                    "principals": ["east.local/ns/bookinfo/sa/reviews", "*/sa/any", "west.local/ns/x/*", "*"],
                    "notNamespaces": ["bad", "team-*"],
                    "ipBlocks": ["10.1.2.3", "10.2.0.0/16"],
                }
            }
        ],
        "to": [
            {
                "operation": {
                    "methods": ["GET"],
                    "paths": ["/exact", "/pre*", "*/post", "*"],
                    "hosts": ["Ratings*"],
                    "notPorts": ["15020"],
                }
            }
        ],
    }

    def principal(**match: Any) -> JSONObject:
        return {"authenticated": {"principal_name": match}}

    def regex(text: str) -> JSONObject:
        return {"regex": text}

    assert rules([policy("p", [rule])]) == [
        {
            "action": "ALLOW",
            "policies": {
                "ns[bookinfo]-policy[p]-rule[0]": {
                    "permissions": [
                        {
                            "and_rules": {
                                "rules": [
                                    _or(
                                        {
                                            "header": {
                                                "name": ":authority",
                                                "string_match": {"prefix": "Ratings", "ignore_case": True},
                                            }
                                        }
                                    ),
                                    _or({"header": {"name": ":method", "string_match": {"exact": "GET"}}}),
                                    _or(
                                        {"url_path": {"path": {"exact": "/exact"}}},
                                        {"url_path": {"path": {"prefix": "/pre"}}},
                                        {"url_path": {"path": {"suffix": "/post"}}},
                                        {"url_path": {"path": {"safe_regex": regex(".+")}}},
                                    ),
                                    {"not_rule": _or({"destination_port": 15020})},
                                ]
                            }
                        }
                    ],
                    "principals": [
                        {
                            "and_ids": {
                                "ids": [
                                    {
                                        "or_ids": {
                                            "ids": [
                                                principal(exact="spiffe://east.local/ns/bookinfo/sa/reviews"),
                                                principal(safe_regex=regex("spiffe://.*/sa/any")),
                                                principal(prefix="spiffe://west.local/ns/x/"),
                                                principal(safe_regex=regex(".+")),
                                            ]
                                        }
                                    },
                                    {
                                        "not_id": {
                                            "or_ids": {
                                                "ids": [
                                                    principal(safe_regex=regex(".*/ns/bad/.*")),
                                                    principal(safe_regex=regex(".*/ns/team\\-.*/.*")),
                                                ]
                                            }
                                        }
                                    },
                                    {
                                        "or_ids": {
                                            "ids": [
                                                {"direct_remote_ip": {"address_prefix": "10.1.2.3", "prefix_len": 32}},
                                                {"direct_remote_ip": {"address_prefix": "10.2.0.0", "prefix_len": 16}},
                                            ]
                                        }
                                    },
                                ]
                            }
                        }
                    ],
                }
            },
        }
    ]


def _or(*rules: JSONObject) -> JSONObject:
    return {"or_rules": {"rules": list(rules)}}


def test_denials_come_first_and_allowing_nothing_is_a_policy() -> None:
    found = rules(
        [policy("allow", []), policy("deny", [{}], "DENY", "istio-system"), policy("x", [{}], "DENY", "other")]
    )
    everybody = {"permissions": [{"any": True}], "principals": [{"any": True}]}
    assert found == [
        {"action": "DENY", "policies": {"ns[istio-system]-policy[deny]-rule[0]": everybody}},
        {"action": "ALLOW", "policies": {}},
    ]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("ALLOW", {}),
        (
            "DENY",
            {
                "ns[bookinfo]-policy[p]-rule[0]": {
                    "permissions": [{"and_rules": {"rules": [_or({"destination_port": 9090})]}}],
                    "principals": [{"any": True}],
                }
            },
        ),
    ],
)
def test_a_rule_about_http_on_a_port_that_is_not(action: str, expected: JSONObject) -> None:
    """An ALLOW rule is void, and so allows nothing; a DENY rule denies whatever the path is."""
    rule = {"to": [{"operation": {"paths": ["/x"], "ports": ["9090"]}}]}
    assert rules([policy("p", [rule], action)], 9090) == [{"action": action, "policies": expected}]


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ("east.local/ns/a/sa/b", ["east.local/ns/a/sa/b", "old.local/ns/a/sa/b"]),
        ("old.local/ns/a/sa/b", ["east.local/ns/a/sa/b", "old.local/ns/a/sa/b"]),
        ("cluster.local/ns/a/sa/b", ["east.local/ns/a/sa/b", "old.local/ns/a/sa/b"]),
        ("west.local/ns/a/sa/b", ["west.local/ns/a/sa/b"]),
        ("*/ns/a/sa/b", ["*/ns/a/sa/b"]),
        ("*.local/ns/a/sa/b", ["*.local/ns/a/sa/b"]),
        ("*", ["*"]),
        ("east.local/*", ["east.local/*"]),
    ],
)
def test_a_principal_stands_for_all_aliases_of_the_trust_domain(principal: str, expected: list[str]) -> None:
    settings = MeshSettings(name="e", network="e", trust_domain="east.local", trust_domain_aliases=("old.local",))
    assert with_aliases(settings, [principal]) == expected


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"from": [{"source": {"ipBlocks": ["x"]}}]}, "from: ipBlocks: x is neither an IP nor a range of IPs"),
        ({"to": [{"operation": {"ports": ["http"]}}]}, "to: ports: http is no port number"),
        ({"to": [{"operation": {"paths": ["/a/{*}"]}}]}, "to: paths: /a/{*}: templates are not translated"),
    ],
)
def test_a_value_that_is_not_known_is_refused_with_its_place(rule: JSONObject, message: str) -> None:
    with pytest.raises(Untranslatable) as raised:
        rules([policy("odd", [rule])])
    assert str(raised.value) == f"AuthorizationPolicy bookinfo/odd: spec.rules[0].{message}"


def test_everything_a_sidecar_may_be_told_of_itself_is_valid(tmp_path: Path) -> None:
    rule = {
        "from": [
            {
                "source": {
                    "principals": ["a/ns/b/sa/c", "*"],
                    "notPrincipals": ["*/sa/x"],
                    "namespaces": ["a", "b-*"],
                    "notNamespaces": ["c"],
                    "ipBlocks": ["10.0.0.0/8"],
                    "notIpBlocks": ["2001:db8::/32"],
                }
            }
        ],
        "to": [
            {
                "operation": {
                    "hosts": ["*", "a*", "*b"],
                    "notHosts": ["c"],
                    "methods": ["GET", "*"],
                    "notMethods": ["PUT"],
                    "paths": ["/a", "/b*", "*c", "*"],
                    "notPaths": ["/d"],
                    "ports": ["80"],
                    "notPorts": ["81"],
                }
            }
        ],
    }
    policies = [policy("allow", [rule, {}]), policy("deny", [rule], "DENY"), policy("none", [])]
    for mode in ("STRICT", "PERMISSIVE", "DISABLE"):
        authentication = istio("mesh", {"mtls": {"mode": mode}})
        objects = {**BASE, "AuthorizationPolicy": policies, "PeerAuthentication": [authentication]}
        validate(translate(SETTINGS, objects, SERVER, FILES), tmp_path)


def test_a_pod_that_no_service_selects_serves_those_that_have_endpoints_at_its_address() -> None:
    led = service_at("led", "10.0.0.9", [port(80, "http"), port(81, "tcp")], selector={})
    slices = slice_of(led, [RATINGS], {"http": 9099, "tcp": 9090, "none": 9091})
    del slices["endpoints"][0]["targetRef"]
    objects: dict[str, list[JSONObject]] = {"Pod": [RATINGS], "Service": [led], "EndpointSlice": [slices]}
    found = {number: [http for *_, http in chains(each)] for number, each in inbound(objects).items()}
    # HTTP, TCP, and where it is found out, either.
    assert (set(found[9099]), set(found[9090]), set(found[9091])) == ({True}, {False}, {True, False})
    assert found[9080] == found[9091]
    selecting = {**objects, "Service": [led, *BASE["Service"]]}
    assert [http for *_, http in chains(inbound(selecting)[9099])] == found[9091], (
        "else those that select it count alone"
    )
