"""Who may call a workload, and how: with real Envoys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import h2.config
import h2.connection
import h2.events

from meshfed_sandbox.dataplane.translate import configuration, read_mesh
from meshfed_sandbox.dataplane.values import JSONObject
from tests.builders import port
from tests.sandbox.dataplane.cluster_objects import SETTINGS, identity, istio, pod_at, service_at, slice_of
from tests.sandbox.dataplane.envoys import Envoy, running, trust_of
from tests.sandbox.dataplane.wire import answered, ask, dial, exchange, get, network, serving
from tests.waiting import PATIENCE

PORTS = {"http": 9080, "tcp": 9090, "raw": 9091}


def objects_of(start: str, **more: list[JSONObject]) -> dict[str, list[JSONObject]]:
    """Two clients, and ratings, which both call."""
    server = pod_at("ratings", f"{start}.0.3", ports=PORTS)
    ratings = service_at("ratings", "10.0.0.2", [port(number, name) for name, number in PORTS.items()])
    return {
        "Pod": [pod_at("reviews", f"{start}.0.2"), pod_at("details", f"{start}.0.4"), server],
        "Service": [ratings],
        "EndpointSlice": [slice_of(ratings, [server], PORTS)],
        **more,
    }


@contextlib.asynccontextmanager
async def envoys_of(start: str, objects: dict[str, list[JSONObject]]) -> AsyncIterator[dict[str, Envoy]]:
    proxies = {
        each["metadata"]["name"]: identity(
            each, application=f"{start}.128.{each['status']['podIP'].rpartition('.')[2]}"
        )
        for each in objects["Pod"]
    }
    async with contextlib.AsyncExitStack() as stack:
        for number in PORTS.values():
            await stack.enter_async_context(serving(f"{start}.128.3", number))
        yield await stack.enter_async_context(running(SETTINGS, objects, proxies, trust_of("east")))


async def test_a_policy_lets_some_in_and_keeps_others_out() -> None:
    policy = {
        "selector": {"matchLabels": {"app": "ratings"}},
        "rules": [
            {
                "from": [{"source": {"principals": ["cluster.local/ns/bookinfo/sa/reviews"]}}],
                "to": [{"operation": {"ports": ["9080"], "methods": ["GET"], "paths": ["/ratings/*"]}}],
            },
            {"from": [{"source": {"principals": ["*/sa/reviews"]}}], "to": [{"operation": {"ports": ["9090"]}}]},
        ],
    }
    with network() as start:
        objects = objects_of(start, AuthorizationPolicy=[istio("allow", policy, namespace="bookinfo")])
        async with envoys_of(start, objects) as envoys:
            allowed, _ = await get(f"{start}.0.2", "10.0.0.2", 9080, "ratings", "/ratings/0")
            path, body = await get(f"{start}.0.2", "10.0.0.2", 9080, "ratings", "/admin")
            caller, _ = await get(f"{start}.0.4", "10.0.0.2", 9080, "ratings", "/ratings/0")
            tcp = await exchange(f"{start}.0.2", "10.0.0.2", 9090, b"hello\n")
            closed = await exchange(f"{start}.0.4", "10.0.0.2", 9090, b"hello\n")
            line = await envoys["ratings"].logged(lambda line: line["path"] == "/admin")
    assert (allowed, path, body, caller) == (200, 403, "RBAC: access denied", 403)
    assert (tcp, closed) == (b"HELLO\n", b"")
    assert line["response_code_details"].startswith("rbac_access_denied")


async def test_plaintext_is_taken_unless_mutual_tls_is_required() -> None:
    """Port by port: required for the workload, excepted for one of its ports."""
    strict = {
        "selector": {"matchLabels": {"app": "ratings"}},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {"9091": {"mode": "PERMISSIVE"}},
    }
    with network() as start:
        objects = objects_of(start, PeerAuthentication=[istio("strict", strict, namespace="bookinfo")])
        async with envoys_of(start, objects):
            with_mutual, _ = await get(f"{start}.0.2", "10.0.0.2", 9080, "ratings")
            async with asyncio.timeout(PATIENCE):
                permissive, _ = await ask(*await asyncio.open_connection(f"{start}.0.3", 9091), "ratings")
                reader, writer = await asyncio.open_connection(f"{start}.0.3", 9080)
                with contextlib.closing(writer):
                    writer.write(b"GET / HTTP/1.1\r\nhost: ratings\r\n\r\n")
                    try:
                        refused = await reader.read()
                    except ConnectionResetError:
                        refused = b""
    assert (with_mutual, permissive, refused) == (200, 200, b"")


async def test_http_2_is_found_out_too() -> None:
    with network() as start:
        async with envoys_of(start, objects_of(start)) as envoys:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await dial(f"{start}.0.2", "10.0.0.2", 9091)
                with contextlib.closing(writer):
                    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
                    connection.initiate_connection()
                    connection.send_headers(
                        1,
                        [(":method", "GET"), (":scheme", "http"), (":authority", "ratings"), (":path", "/h2")],
                        end_stream=True,
                    )
                    writer.write(connection.data_to_send())
                    answered = False
                    while not answered:
                        events = connection.receive_data(await reader.read(65536))
                        answered = any(isinstance(event, h2.events.ResponseReceived) for event in events)
            line = await envoys["ratings"].logged(lambda line: line["path"] == "/h2")
    assert (line["protocol"], line["filter_chain"]) == ("HTTP/2", "mtls-http")
    assert line["downstream_peer_uri_san"] == "spiffe://east.local/ns/bookinfo/sa/reviews"


async def test_what_is_told_anew_is_taken_up() -> None:
    """Nobody answers until there is an endpoint, and again when it is gone."""
    with network() as start:
        objects = objects_of(start)
        slices = objects.pop("EndpointSlice")
        async with envoys_of(start, objects) as envoys:
            before, _ = await get(f"{start}.0.2", "10.0.0.2", 9080, "ratings")
            client = envoys["reviews"]
            old = configuration(read_mesh(SETTINGS, objects), client.proxy, client.files)
            new = configuration(read_mesh(SETTINGS, {**objects, "EndpointSlice": slices}), client.proxy, client.files)
            client.tell(new)
            await answered(f"{start}.0.2", "10.0.0.2", 9080, "ratings")
            client.tell(old)
            await answered(f"{start}.0.2", "10.0.0.2", 9080, "ratings", status=503)
    assert before == 503
