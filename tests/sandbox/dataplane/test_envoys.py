"""What the translation does when real Envoys act on it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from meshfed_sandbox.dataplane.values import MeshSettings
from tests.builders import port
from tests.sandbox.dataplane.cluster_objects import SETTINGS, identity, pod_at, service_at, slice_of
from tests.sandbox.dataplane.envoys import Envoy, running, trust_of
from tests.sandbox.dataplane.wire import exchange, get, network, serving


@contextlib.asynccontextmanager
async def calling(start: str, number: int, name: str) -> AsyncIterator[dict[str, Envoy]]:
    """A client, and a server with one port."""
    client = pod_at("reviews", f"{start}.0.2")
    server = pod_at("ratings", f"{start}.0.3", ports={name: number})
    ratings = service_at("ratings", "10.0.0.2", [port(number, name)])
    objects = {
        "Pod": [client, server],
        "Service": [ratings],
        "EndpointSlice": [slice_of(ratings, [server], {name: number})],
    }
    proxies = {
        "client": identity(client, application=f"{start}.128.2"),
        "server": identity(server, application=f"{start}.128.3"),
    }
    async with serving(f"{start}.128.3", number), running(SETTINGS, objects, proxies, trust_of("east")) as envoys:
        yield envoys


async def test_a_sidecar_calls_another_by_name_with_mutual_tls() -> None:
    with network() as start:
        async with calling(start, 9080, "http") as envoys:
            status, body = await get(f"{start}.0.2", "10.0.0.2", 9080, "ratings:9080", "/ratings/0")
            sent = await envoys["client"].logged(lambda line: line["path"] == "/ratings/0")
            came = await envoys["server"].logged(lambda line: line["path"] == "/ratings/0")
    assert status == 200
    assert body.splitlines()[0] == "from 127.0.0.6"
    lines = dict(line.split(": ", 1) for line in body.splitlines() if ": " in line)
    assert lines["x-forwarded-client-cert"].split(";") == [
        "By=spiffe://east.local/ns/bookinfo/sa/ratings",
        lines["x-forwarded-client-cert"].split(";")[1],  # a digest of the client's certificate
        'Subject=""',
        "URI=spiffe://east.local/ns/bookinfo/sa/reviews",
    ]
    assert {
        name: sent[name] for name in ("listener", "upstream_cluster", "upstream_host", "upstream_peer_uri_san")
    } == {
        "listener": "0.0.0.0_9080",
        "upstream_cluster": "outbound|9080||ratings.bookinfo.svc.cluster.local",
        "upstream_host": f"{start}.0.3:9080",
        "upstream_peer_uri_san": "spiffe://east.local/ns/bookinfo/sa/ratings",
    }
    assert {
        name: came[name]
        for name in ("filter_chain", "downstream_peer_uri_san", "requested_server_name", "response_code")
    } == {
        "filter_chain": "mtls-http",
        "downstream_peer_uri_san": "spiffe://east.local/ns/bookinfo/sa/reviews",
        "requested_server_name": "outbound_.9080_._.ratings.bookinfo.svc.cluster.local",
        "response_code": 200,
    }


async def test_a_protocol_that_nobody_states_is_found_out() -> None:
    with network() as start:
        async with calling(start, 9091, "raw") as envoys:
            status, _ = await get(f"{start}.0.2", "10.0.0.2", 9091, "ratings", "/sniffed")
            echoed = await exchange(f"{start}.0.2", "10.0.0.2", 9091, b"hello\n")
            http = await envoys["server"].logged(lambda line: line["path"] == "/sniffed")
            tcp = await envoys["server"].logged(lambda line: line["event"] == "TcpConnectionEnd")
    assert (status, echoed) == (200, b"HELLO\n")
    assert (http["filter_chain"], tcp["filter_chain"]) == ("mtls-http", "mtls-tcp")
    assert tcp["downstream_peer_uri_san"] == "spiffe://east.local/ns/bookinfo/sa/reviews"


async def test_what_is_no_service_is_passed_on_where_the_mesh_allows_it() -> None:
    with network() as start:
        client = pod_at("reviews", f"{start}.0.2")
        anybody = MeshSettings(name="east", network="east-network", outbound_policy="ALLOW_ANY")
        proxies = {"client": identity(client, application=f"{start}.128.2")}
        ratings = service_at("ratings", "10.0.0.2", [port(9080)])
        objects = {"Pod": [client], "Service": [ratings]}
        async with (
            serving(f"{start}.0.9", 7777),
            serving(f"{start}.0.9", 9080),
            running(anybody, objects, proxies, trust_of("east")) as envoys,
        ):
            other = await exchange(f"{start}.0.2", f"{start}.0.9", 7777, b"hello\n")
            status, body = await get(f"{start}.0.2", f"{start}.0.9", 9080, "unknown.example.com", "/anywhere")
            line = await envoys["client"].logged(lambda line: line["path"] == "/anywhere")
    assert (other, status) == (b"HELLO\n", 200)
    assert body.splitlines()[0] == f"from {start}.0.2"
    assert (line["upstream_cluster"], line["upstream_host"]) == ("PassthroughCluster", f"{start}.0.9:9080")


async def test_endpoints_with_and_without_a_sidecar() -> None:
    """A headless Service, dialled by the endpoint's address; and a server that has no sidecar."""
    with network() as start:
        client = pod_at("reviews", f"{start}.0.2")
        server = pod_at("ratings", f"{start}.0.3", ports={"tcp": 9090})
        bare = pod_at("details", f"{start}.0.4", sidecar=False)
        headless = service_at("ratings", "None", [port(9090, "tcp")])
        details = service_at("details", "10.0.0.3", [port(9080)])
        objects = {
            "Pod": [client, server, bare],
            "Service": [headless, details],
            "EndpointSlice": [slice_of(headless, [server], {"tcp": 9090}), slice_of(details, [bare], {"http": 9080})],
        }
        proxies = {
            "client": identity(client, application=f"{start}.128.2"),
            "server": identity(server, application=f"{start}.128.3"),
        }
        async with (
            serving(f"{start}.128.3", 9090),
            serving(f"{start}.0.4", 9080),
            running(SETTINGS, objects, proxies, trust_of("east")) as envoys,
        ):
            echoed = await exchange(f"{start}.0.2", f"{start}.0.3", 9090, b"hello\n")
            plain, _ = await get(f"{start}.0.2", "10.0.0.3", 9080, "details")
            came = await envoys["server"].logged(lambda line: line["event"] == "TcpConnectionEnd")
    assert (echoed, plain) == (b"HELLO\n", 200)
    assert came["downstream_peer_uri_san"] == "spiffe://east.local/ns/bookinfo/sa/reviews"


async def test_what_is_no_service_is_refused() -> None:
    with network() as start:
        client = pod_at("reviews", f"{start}.0.2")
        ratings = service_at("ratings", "10.0.0.2", [port(9080)])
        objects = {"Pod": [client], "Service": [ratings]}
        proxies = {"client": identity(client, application=f"{start}.128.2")}
        async with running(SETTINGS, objects, proxies, trust_of("east")) as envoys:
            by_name, _ = await get(f"{start}.0.2", "10.0.0.9", 9080, "unknown.example.com", "/unknown")
            without_endpoints, _ = await get(f"{start}.0.2", "10.0.0.2", 9080, "ratings", "/empty")
            by_address = await exchange(f"{start}.0.2", "10.0.0.9", 7777, b"hello\n")
            unknown = await envoys["client"].logged(lambda line: line["path"] == "/unknown")
            empty = await envoys["client"].logged(lambda line: line["path"] == "/empty")
            refused = await envoys["client"].logged(lambda line: line["listener"] == "virtualOutbound")
    assert (by_name, without_endpoints, by_address) == (502, 503, b"")
    assert (unknown["upstream_cluster"], empty["response_flags"]) == (None, "UH")
    assert refused["upstream_cluster"] == "BlackHoleCluster"
