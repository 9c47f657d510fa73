"""Routes: which the router admits, where each leads, and what it says in their status."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed_sandbox.dataplane.routes import Backend, RouteKey, backends, configuration, statuses
from tests.builders import port, service

NOW = "2030-01-01T00:00:00Z"


def route(name: str, host: str = "a.example.com", *, age: int = 1, **spec: Any) -> dict[str, Any]:
    """A Route of passthrough to Service ``gateway``; the lower its age, the older it is."""
    default = {
        "host": host,
        "to": {"kind": "Service", "name": "gateway", "weight": 100},
        "port": {"targetPort": "tls"},
        "tls": {"termination": "passthrough"},
        "wildcardPolicy": "None",
    }
    metadata = {"name": name, "namespace": "istio-system", "creationTimestamp": f"2029-01-01T00:00:{age:02}Z"}
    return {"metadata": metadata, "spec": {**default, **spec}}


def fronting(name: str, **ports: int) -> dict[str, Any]:
    """A Service with ports by name."""
    return service(f"{name}.istio-system", ports=[port(number, of) for of, number in ports.items()])


def endpoints(of: str, *addresses: str, not_ready: tuple[str, ...] = (), **ports: int) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"{of}-1",
            "namespace": "istio-system",
            "labels": {"kubernetes.io/service-name": of},
        },
        "addressType": "IPv4",
        "ports": [{"name": name, "port": number} for name, number in ports.items()],
        "endpoints": [
            *({"addresses": [address], "conditions": {"ready": True}} for address in addresses),
            *({"addresses": [address], "conditions": {"ready": False}} for address in not_ready),
        ],
    }


GATEWAY = [fronting("gateway", status=15021, tls=15443)]
GATEWAY_ENDPOINTS = [
    endpoints("gateway", "127.1.0.1", "127.1.0.2", not_ready=("127.1.0.3",), status=15021, tls=15443),
    endpoints("other", "127.1.0.9", tls=15443),
]


def leads(*routes: dict[str, Any], services: Any = GATEWAY, slices: Any = GATEWAY_ENDPOINTS) -> list[Any]:
    found = backends({"Route": routes, "Service": services, "EndpointSlice": slices})
    return [(backend.key.name, backend.host, list(backend.servers)) for backend in found]


BOTH = [("127.1.0.1", 15443, 100), ("127.1.0.2", 15443, 100)]


@pytest.mark.parametrize(
    ("spec", "servers"),
    [
        ({}, BOTH),
        ({"port": {"targetPort": 15443}}, BOTH),
        ({"port": {"targetPort": "15443"}}, BOTH),
        ({"port": {"targetPort": "status"}}, [("127.1.0.1", 15021, 100), ("127.1.0.2", 15021, 100)]),
        ({"port": {"targetPort": "none"}}, []),
        ({"port": None}, [("127.1.0.1", 15021, 100), ("127.1.0.2", 15021, 100)]),
        ({"to": {"kind": "Service", "name": "gateway"}}, [(address, port, 1) for address, port, _ in BOTH]),
        ({"to": {"kind": "Service", "name": "missing"}}, []),
        ({"to": {"kind": "Service", "name": "other"}}, []),
        (
            {"to": {"kind": "Service", "name": "gateway", "weight": 0}},
            [(address, port, 0) for address, port, _ in BOTH],
        ),
    ],
)
def test_where_a_route_leads(spec: dict[str, Any], servers: list[Any]) -> None:
    assert leads(route("a", **spec)) == [("a", "a.example.com", servers)]


def test_an_address_that_is_none_is_left_out() -> None:
    evil = endpoints("gateway", "127.1.0.1", "a b\nbackend evil", "gateway.example.com", "%", tls=15443)
    assert leads(route("a"), slices=[evil]) == [("a", "a.example.com", BOTH[:1])]


def test_alternate_backends() -> None:
    second = route("a", alternateBackends=[{"kind": "Service", "name": "other", "weight": 5}])
    assert leads(second, services=[*GATEWAY, fronting("other", tls=15443)]) == [
        ("a", "a.example.com", [*BOTH, ("127.1.0.9", 15443, 5)])
    ]


def says(*routes: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The reason and message for each Route that is refused."""
    patches = statuses(routes, canonical="router", now=NOW)
    found = {}
    for key, patch in patches.items():
        (entry,) = patch["status"]["ingress"]
        (condition,) = entry["conditions"]
        if condition["status"] == "False":
            found[key.name] = (condition["reason"], condition["message"])
    return found


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        ({"host": ""}, "InvalidHost", "spec.host '' is not a DNS name"),
        ({"host": "a b\nbackend evil"}, "InvalidHost", "is not a DNS name"),
        ({"host": "outbound_.9080_._.reviews"}, "InvalidHost", "is not a DNS name"),
        ({"wildcardPolicy": "Subdomain"}, "RouteNotAdmitted", "wildcard routes are not allowed"),
        ({"tls": None}, "UnsupportedTermination", "spec.tls.termination None is not served here"),
        ({"tls": {"termination": "edge"}}, "UnsupportedTermination", "termination 'edge' is not served here"),
        ({"to": {"kind": "Pod", "name": "a"}}, "UnsupportedTarget", "spec.to.kind Pod is not a Service"),
    ],
)
def test_what_is_not_admitted_leads_nowhere(spec: dict[str, Any], reason: str, message: str) -> None:
    refused = route("a", **spec)
    assert leads(refused) == []
    found = says(refused)["a"]
    assert found[0] == reason
    assert message in found[1]


def test_the_older_of_two_routes_has_the_host() -> None:
    younger, older = route("a", "A.example.com", age=2), route("b", "a.example.com", age=1)
    assert [name for name, _, _ in leads(younger, older)] == ["b"]
    assert says(younger, older) == {
        "a": ("HostAlreadyClaimed", "route istio-system/b has the host a.example.com and is older")
    }
    assert [name for name, _, _ in leads(younger)] == ["a"]


def test_a_route_that_is_refused_claims_no_host() -> None:
    assert [name for name, _, _ in leads(route("a", age=1, tls=None), route("b", age=2))] == ["b"]


def test_a_status_is_written_once() -> None:
    one = route("a")
    patches = statuses([one], canonical="router.example.com", now=NOW)
    assert patches == {
        RouteKey("istio-system", "a"): {
            "status": {
                "ingress": [
                    {
                        "host": "a.example.com",
                        "routerName": "default",
                        "routerCanonicalHostname": "router.example.com",
                        "wildcardPolicy": "None",
                        "conditions": [{"type": "Admitted", "status": "True", "lastTransitionTime": NOW}],
                    }
                ]
            }
        }
    }
    after = {**one, **patches[RouteKey("istio-system", "a")]}
    assert statuses([after], canonical="router.example.com", now="2030-01-01T00:00:09Z") == {}


def test_a_changed_status_keeps_what_other_routers_say_and_since_when() -> None:
    one = route("a")
    other = {"routerName": "sharded", "host": "a.example.com"}
    (first,) = statuses([one], canonical="router", now=NOW).values()
    one["status"] = {"ingress": [other, *first["status"]["ingress"]]}
    one["spec"]["host"] = "b.example.com"
    (second,) = statuses([one], canonical="router", now="2030-01-01T00:00:09Z").values()
    kept, own = second["status"]["ingress"]
    assert kept == other
    assert (own["host"], own["conditions"][0]["lastTransitionTime"]) == ("b.example.com", NOW)

    one["status"] = second["status"]
    one["spec"]["tls"] = {"termination": "edge"}
    (third,) = statuses([one], canonical="router", now="2030-01-01T00:00:09Z").values()
    (condition,) = third["status"]["ingress"][1]["conditions"]
    assert (condition["status"], condition["lastTransitionTime"]) == ("False", "2030-01-01T00:00:09Z")


def test_the_configuration_names_each_server() -> None:
    backend = Backend(key=RouteKey("istio-system", "a"), host="a.example.com", servers=(("127.1.0.1", 15443, 100),))
    text, names = configuration([backend], address="127.1.0.5", port=443, hosts="/tmp/hosts.map")
    assert names == "a.example.com istio-system:a\n"
    assert "    bind 127.1.0.5:443\n" in text
    assert text.endswith("backend istio-system:a\n    balance roundrobin\n    server 0 127.1.0.1:15443 weight 100\n")
