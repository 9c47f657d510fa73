"""What the embedded server offers to those who test clients against it, and what kubectl cannot show."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from meshfed_sandbox.apiserver import APIServer
from tests.builders import crd
from tests.waiting import eventually

CONFIGS = "/api/v1/namespaces/default/configmaps"


class Client:
    """Plain HTTP against one server."""

    def __init__(self, session: aiohttp.ClientSession, server: APIServer) -> None:
        self._session = session
        self._server = server

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        async with self._session.request(method, self._server.url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def create(self, name: str, **data: str) -> dict[str, Any]:
        code, found = await self.call("POST", CONFIGS, {"metadata": {"name": name}, "data": data})
        assert code == 201, found
        created: dict[str, Any] = found
        return created

    @asynccontextmanager
    async def watch(self, query: str = "") -> AsyncIterator[aiohttp.StreamReader]:
        async with self._session.get(f"{self._server.url}{CONFIGS}?watch=1{query}") as answer:
            assert answer.status == 200
            yield answer.content


@pytest.fixture
async def client(api_server: APIServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield Client(session, api_server)


async def event(stream: aiohttp.StreamReader) -> tuple[str, Any]:
    found = json.loads(await asyncio.wait_for(stream.readline(), 30))
    return found["type"], found["object"]


async def version(client: Client) -> int:
    _, listed = await client.call("GET", CONFIGS)
    return int(listed["metadata"]["resourceVersion"])


async def test_compaction_makes_old_watches_and_continuations_expire(api_server: APIServer, client: Client) -> None:
    for name in "abc":
        await client.create(name)
    _, first = await client.call("GET", f"{CONFIGS}?limit=1")
    start = int((await client.create("d"))["metadata"]["resourceVersion"])
    await client.create("e")
    async with client.watch(f"&resourceVersion={start}") as running:
        assert (await event(running))[1]["metadata"]["name"] == "e"
        api_server.compact()
        await client.create("f")
        assert (await event(running))[1]["metadata"]["name"] == "f"
    async with client.watch(f"&resourceVersion={start}") as stream:
        kind, status = await event(stream)
        assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
        assert await stream.read() == b""
    token = first["metadata"]["continue"]
    code, status = await client.call("GET", f"{CONFIGS}?limit=2&continue={token}")
    assert (code, status["reason"]) == (410, "Expired")
    code, rest = await client.call("GET", f"{CONFIGS}?continue={status['metadata']['continue']}")
    assert (code, [item["metadata"]["name"] for item in rest["items"]]) == (200, list("bcdef"))


async def test_watches_are_cut_on_demand(api_server: APIServer, client: Client) -> None:
    async with client.watch() as one, client.watch() as other:
        await client.create("a")
        assert [(await event(stream))[0] for stream in (one, other)] == ["ADDED", "ADDED"]
        assert api_server.counters.watches == 2
        api_server.drop_watches()
        for stream in (one, other):
            with pytest.raises(aiohttp.ClientError):
                await stream.read()
    assert api_server.counters.watches == 0


async def test_watches_that_clients_leave_do_not_stay(api_server: APIServer, client: Client) -> None:
    for _ in range(5):
        async with client.watch():
            pass
    await eventually(lambda: api_server.counters.watches == 0)


async def test_a_restart_keeps_port_and_state(api_server: APIServer, client: Client) -> None:
    await client.create("a")
    before, url = await version(client), api_server.url
    async with client.watch(f"&resourceVersion={before}") as stream:
        await api_server.stop()
        with pytest.raises(aiohttp.ClientError):
            await stream.read()
    with pytest.raises(aiohttp.ClientError):
        await client.call("GET", CONFIGS)
    await api_server.start()
    assert api_server.url == url
    assert await version(client) == before
    async with client.watch(f"&resourceVersion={before}") as stream:
        await client.create("b")
        assert (await event(stream))[1]["metadata"]["name"] == "b"


async def test_injected_refusals(api_server: APIServer, client: Client) -> None:
    api_server.fail(verb="create", resource="configmaps", status=429, retry_after=3, times=2)
    for _ in range(2):
        code, status = await client.call("POST", CONFIGS, {"metadata": {"name": "a"}})
        assert (code, status["reason"], status["details"]) == (429, "TooManyRequests", {"retryAfterSeconds": 3})
    assert (await client.call("GET", CONFIGS))[0] == 200
    await client.create("a")
    lasting = api_server.fail(verb="get", name="a", status=500, times=1000)
    assert [(await client.call("GET", f"{CONFIGS}/a"))[0] for _ in range(3)] == [500, 500, 500]
    lasting.times = 0
    assert (await client.call("GET", f"{CONFIGS}/a"))[0] == 200


async def test_an_injected_hang_and_a_lost_connection(api_server: APIServer, client: Client) -> None:
    api_server.fail("hang", verb="list")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.call("GET", CONFIGS), 0.2)
    # Clients repeat a GET by themselves where a kept connection breaks, so this takes a method they do not repeat.
    api_server.fail("drop", verb="create")
    with pytest.raises(aiohttp.ClientError):
        await client.call("POST", CONFIGS, {"metadata": {"name": "a"}})
    assert (await client.call("GET", f"{CONFIGS}/a"))[0] == 404


async def test_an_injected_half_event(api_server: APIServer, client: Client) -> None:
    await client.create("a")
    api_server.fail("half-line", verb="watch")
    async with client.watch() as stream:
        with pytest.raises(aiohttp.ClientError):
            await stream.readline()
    async with client.watch() as stream:
        assert (await event(stream))[0] == "ADDED"


async def test_counters_tell_requests_and_writes(api_server: APIServer, client: Client) -> None:
    before = api_server.counters
    await client.create("a")
    patch = {"Content-Type": "application/merge-patch+json"}
    for _ in range(2):
        await client.call("PATCH", f"{CONFIGS}/a", {"data": {"x": "y"}}, **patch)
    await client.call("GET", CONFIGS)
    after = api_server.counters
    assert after.requests - before.requests == {
        ("create", "configmaps"): 1,
        ("patch", "configmaps"): 2,
        ("list", "configmaps"): 1,
    }
    assert after.writes - before.writes == 2


async def test_a_snapshot_has_every_object(api_server: APIServer, client: Client) -> None:
    created = await client.create("a", x="y")
    assert api_server.snapshot("configmaps") == [created]
    kinds = {obj["kind"] for obj in api_server.snapshot()}
    assert kinds == {"ConfigMap", "Namespace"}


async def test_a_reader_that_does_not_keep_up_is_cut_and_disturbs_nobody(
    api_server: APIServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshfed_sandbox.apiserver.watching.QUEUE_LIMIT", 20)
    address = api_server.url.removeprefix("http://")
    host, _, port = address.partition(":")
    # A reader with a small window: what it does not read soon fills the server's buffer.
    slow, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(f"GET {CONFIGS}?watch=1 HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    await slow.readline()
    async with client.watch() as quick:
        names = []
        for number in range(200):
            await client.create(f"c{number}", text="x" * 50_000)
            names.append((await event(quick))[1]["metadata"]["name"])
        assert names == [f"c{number}" for number in range(200)]
        assert api_server.counters.watches == 1
    writer.close()


async def test_the_token_is_asked_for() -> None:
    async with APIServer(token="secret") as server, aiohttp.ClientSession() as session:
        client = Client(session, server)
        code, status = await client.call("GET", CONFIGS)
        assert (code, status["reason"]) == (401, "Unauthorized")
        assert (await client.call("GET", CONFIGS, Authorization="Bearer secret"))[0] == 200
        assert server.kubeconfig()["users"][0]["user"] == {"token": "secret"}


async def test_an_orphan_without_any_owner_goes(api_server: APIServer, client: Client) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "never", "uid": "0000"}
    await client.call("POST", CONFIGS, {"metadata": {"name": "a", "ownerReferences": [owner]}})
    await eventually(lambda: not api_server.snapshot("configmaps"))


async def test_deleting_a_crd_deletes_its_objects(api_server: APIServer, client: Client) -> None:
    api_server.install_crd(crd("Thing", "things", "example.com", namespaced=False))
    thing = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "a", "finalizers": ["example.com/x"]},
    }
    path = "/apis/example.com/v1/things"
    assert (await client.call("POST", path, thing))[0] == 201
    definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.example.com"
    await client.call("DELETE", definition)
    await eventually(lambda: "deletionTimestamp" in api_server.snapshot("things")[0]["metadata"])
    assert (await client.call("GET", definition))[0] == 200
    patch = {"Content-Type": "application/merge-patch+json"}
    await client.call("PATCH", f"{path}/a", {"metadata": {"finalizers": None}}, **patch)
    await eventually(lambda: not api_server.snapshot("customresourcedefinitions"))


async def test_a_client_that_does_not_read_keeps_no_connection_open_when_the_server_stops(
    client: Client, api_server: APIServer
) -> None:
    await client.create("large", text="x" * 900_000)
    host, _, port = api_server.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1)
    writer.write(f"GET {CONFIGS} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 20)
    await asyncio.sleep(1)
    await api_server.stop()
    await asyncio.sleep(0)
    assert int(port) not in ports_of_the_loop()
    writer.transport.abort()
    await api_server.start()


def ports_of_the_loop() -> set[int]:
    """The ports of the sockets that the event loop still waits for."""
    loop: Any = asyncio.get_running_loop()
    found = set()
    for key in loop._selector.get_map().values():
        with socket.socket(fileno=os.dup(key.fd)) as one:
            name = one.getsockname()
        found |= {name[1]} if isinstance(name, tuple) else set()
    return found
