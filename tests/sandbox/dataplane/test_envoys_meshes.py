"""Calls from mesh to mesh, through a gateway that passes TLS on: with real Envoys."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Literal

import pytest

from meshfed_sandbox.dataplane.values import JSONObject, MeshSettings
from tests.builders import port
from tests.sandbox.dataplane.cluster_objects import identity, istio, pod_at, service_at, slice_of
from tests.sandbox.dataplane.envoys import Envoy, running, trust_of
from tests.sandbox.dataplane.wire import exchange, get, network, serving

Mode = Literal["shared", "federated", "none"]

RATINGS = "ratings.bookinfo.svc.cluster.local"
IMPORTED = "240.240.0.9"


def settings(name: str) -> MeshSettings:
    return MeshSettings(
        name=name, network=f"{name}-network", trust_domain=f"{name}.local", skip_validate_trust_domain=True
    )


def imported(gateway: str, names: Sequence[str] = ()) -> JSONObject:
    """What a controller writes for a host of another mesh."""
    return istio(
        "import.ratings",
        {
            "hosts": [RATINGS],
            "addresses": [IMPORTED],
            "ports": [
                {"name": "http", "number": 9080, "protocol": "HTTP"},
                {"name": "tcp", "number": 9090, "protocol": "TCP"},
            ],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "endpoints": [
                {
                    "address": gateway,
                    "ports": {"http": 15443, "tcp": 15443},
                    "labels": {"security.istio.io/tlsMode": "istio"},
                    "network": "west-network",
                }
            ],
            "subjectAltNames": list(names),
        },
    )


@contextlib.asynccontextmanager
async def meshes(
    start: str,
    east: dict[str, list[JSONObject]],
    west: dict[str, list[JSONObject]],
    mode: Mode = "shared",
) -> AsyncIterator[dict[str, Envoy]]:
    """East with a client, west with ratings behind a gateway."""
    client = pod_at("reviews", f"{start}.0.2")
    server = pod_at("ratings", f"{start}.0.3", ports={"http": 9080, "tcp": 9090})
    gateway = pod_at("gateway", f"{start}.0.4", namespace="istio-system")
    ratings = service_at("ratings", "10.0.0.2", [port(9080), port(9090, "tcp")])
    exported = {
        "selector": {"app": "gateway"},
        "servers": [
            {
                "port": {"number": 15443, "name": "tls", "protocol": "TLS"},
                "hosts": [RATINGS],
                "tls": {"mode": "AUTO_PASSTHROUGH"},
            }
        ],
    }
    there = {
        "Pod": [server, gateway],
        "Service": [ratings],
        "EndpointSlice": [slice_of(ratings, [server], {"http": 9080, "tcp": 9090})],
        "Gateway": [istio("federation-ingress-gateway", exported)],
        **west,
    }
    trust = trust_of("east", "west", mode=mode)
    async with (
        serving(f"{start}.128.3", 9080),
        serving(f"{start}.128.3", 9090),
        running(
            settings("east"),
            {"Pod": [client], **east},
            {"client": identity(client, application=f"{start}.128.2")},
            trust,
        ) as here,
        running(
            settings("west"),
            there,
            {
                "server": identity(server, application=f"{start}.128.3"),
                "gateway": identity(gateway, kind="gateway", requested_network="west-network"),
            },
            trust,
        ) as remote,
    ):
        yield {**here, **remote}


@pytest.mark.parametrize("mode", ["shared", "federated"])
async def test_a_call_goes_through_the_gateway_as_it_is(mode: Mode) -> None:
    with network() as start:
        names = ["spiffe://west.local/ns/bookinfo/sa/ratings"]
        async with meshes(start, {"ServiceEntry": [imported(f"{start}.0.4", names)]}, {}, mode) as envoys:
            status, _ = await get(f"{start}.0.2", IMPORTED, 9080, "ratings.bookinfo:9080", "/across")
            echoed = await exchange(f"{start}.0.2", IMPORTED, 9090, b"hello\n")
            sent = await envoys["client"].logged(lambda line: line["path"] == "/across")
            passed = await envoys["gateway"].logged(lambda line: "_.9080_." in str(line["upstream_cluster"]))
            came = await envoys["server"].logged(lambda line: line["path"] == "/across")
            tcp = await envoys["server"].logged(lambda line: line["event"] == "TcpConnectionEnd")
    assert (status, echoed) == (200, b"HELLO\n")
    assert (sent["upstream_host"], sent["upstream_peer_uri_san"]) == (f"{start}.0.4:15443", names[0])
    assert (passed["upstream_host"], passed["requested_server_name"]) == (
        f"{start}.0.3:9080",
        f"outbound_.9080_._.{RATINGS}",
    )
    assert came["downstream_peer_uri_san"] == "spiffe://east.local/ns/bookinfo/sa/reviews"
    assert tcp["requested_server_name"] == f"outbound_.9090_._.{RATINGS}"


@pytest.mark.parametrize(
    ("mode", "account"), [("shared", "details"), ("federated", "details"), ("none", "ratings"), ("none", None)]
)
async def test_a_server_with_another_identity_or_of_no_trusted_root_is_refused(mode: Mode, account: str | None) -> None:
    with network() as start:
        names = [f"spiffe://west.local/ns/bookinfo/sa/{account}"] if account else []
        async with meshes(start, {"ServiceEntry": [imported(f"{start}.0.4", names)]}, {}, mode) as envoys:
            status, _ = await get(f"{start}.0.2", IMPORTED, 9080, RATINGS, "/refused")
            sent = await envoys["client"].logged(lambda line: line["path"] == "/refused")
    assert (status, set(sent["response_flags"].split(","))) == (503, {"UF", "URX"})
    assert "CERTIFICATE_VERIFY_FAILED" in sent["upstream_transport_failure_reason"]


@pytest.mark.parametrize("patched", [True, False])
async def test_a_router_needs_a_name_of_its_own_on_both_sides(patched: bool) -> None:
    router_name = "ratings-9080.bookinfo.svc.cluster.local"
    rule = {
        "host": RATINGS,
        "trafficPolicy": {
            "portLevelSettings": [{"port": {"number": 9080}, "tls": {"mode": "ISTIO_MUTUAL", "sni": router_name}}]
        },
    }
    patch = {
        "workloadSelector": {"labels": {"app": "gateway"}},
        "configPatches": [
            {
                "applyTo": "FILTER_CHAIN",
                "match": {
                    "context": "GATEWAY",
                    "listener": {"portNumber": 15443, "filterChain": {"sni": f"outbound_.9080_._.{RATINGS}"}},
                },
                "patch": {"operation": "MERGE", "value": {"filter_chain_match": {"server_names": [router_name]}}},
            }
        ],
    }
    with network() as start:
        east = {"ServiceEntry": [imported(f"{start}.0.4")], "DestinationRule": [istio("mtls-sni", rule)]}
        west = {"EnvoyFilter": [istio("sni", patch)]} if patched else {}
        async with meshes(start, east, west) as envoys:
            status, _ = await get(f"{start}.0.2", IMPORTED, 9080, RATINGS, "/routed")
            passed = await envoys["gateway"].logged(lambda line: line["requested_server_name"] == router_name)
    assert (status, passed["filter_chain"]) == ((200, f"outbound_.9080_._.{RATINGS}") if patched else (503, "unknown"))


async def test_a_client_of_another_trust_domain_is_refused_unless_istiod_is_told_not_to_check() -> None:
    with network() as start:
        server = pod_at("ratings", f"{start}.0.3", ports={"http": 9080})
        client = pod_at("reviews", f"{start}.0.2")
        ratings = service_at("ratings", "10.0.0.2", [port(9080)])
        there = {"Pod": [server], "Service": [ratings]}
        entry = imported(f"{start}.0.3")
        for endpoint in entry["spec"]["endpoints"]:
            endpoint["ports"] = {"http": 9080}
        trust = trust_of("east", "west")
        west = MeshSettings(name="west", network="west-network", trust_domain="west.local")
        async with (
            serving(f"{start}.128.3", 9080),
            running(
                settings("east"),
                {"Pod": [client], "ServiceEntry": [entry]},
                {"client": identity(client, application=f"{start}.128.2")},
                trust,
            ),
            running(west, there, {"server": identity(server, application=f"{start}.128.3")}, trust),
        ):
            status, _ = await get(f"{start}.0.2", IMPORTED, 9080, RATINGS)
    assert status == 503
