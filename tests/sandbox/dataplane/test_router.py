"""The router as a real HAProxy: TLS goes through by its server name, also while it reloads."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import trustme

from meshfed_sandbox.dataplane import router as module
from meshfed_sandbox.dataplane.router import (
    Router,
    RouterError,
    RouterFailed,
    RouterUnavailable,
    https_port,
)
from meshfed_sandbox.ports import Ports
from tests.e2e.support import needs_haproxy
from tests.sandbox.dataplane.test_routes import endpoints, fronting, route


class World:
    """Two TLS servers behind two Services, each saying its name to every line; and a router before them."""

    def __init__(self, router: Router, ca: trustme.CA, ports: dict[str, int]) -> None:
        self.router = router
        self.ports = ports
        self.trust = ssl.create_default_context()
        ca.configure_trust(self.trust)

    async def serve(self, *names: str) -> dict[str, str]:
        """Have a Route for each name, leading to the server of its first letter; what each was told."""
        patches = await self.router.update(
            {
                "Route": [route(name.replace(".", "-"), name, to={"name": name[0]}) for name in names],
                "Service": [fronting(name, tls=port) for name, port in self.ports.items()],
                "EndpointSlice": [endpoints(name, "127.0.0.1", tls=port) for name, port in self.ports.items()],
            }
        )
        return {key.name: patch["status"]["ingress"][0]["conditions"][0]["status"] for key, patch in patches.items()}

    async def connect(self, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = (self.router.address, self.router.port)
        async with asyncio.timeout(30):
            return await asyncio.open_connection(*address, ssl=self.trust, server_hostname=name)

    async def ask(self, name: str) -> str:
        reader, writer = await self.connect(name)
        try:
            return await say(reader, writer)
        finally:
            writer.close()


async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    writer.write(b"who\n")
    async with asyncio.timeout(30):
        line = await reader.readline()
    if not line:
        raise ConnectionResetError
    return line.decode().strip()


@pytest.fixture
async def world(ports: Ports) -> AsyncIterator[World]:
    ca = trustme.CA()
    async with AsyncExitStack() as stack:
        served: dict[str, int] = {}
        for name in ("a", "b"):
            settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ca.issue_cert(f"{name}.example.com", f"{name}2.example.com").configure_cert(settings)

            async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str = name) -> None:
                try:
                    while await reader.readline():
                        writer.write(f"{name}\n".encode())
                except OSError:
                    pass
                finally:
                    writer.close()

            server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=settings)
            stack.callback(server.close)
            served[name] = server.sockets[0].getsockname()[1]
        router = await stack.enter_async_context(Router("127.0.0.1", ports.take()))
        yield World(router, ca, served)


@needs_haproxy
async def test_the_server_name_decides_and_tls_stays_whole(world: World) -> None:
    assert await world.serve("a.example.com", "b.example.com") == {"a-example-com": "True", "b-example-com": "True"}
    assert [await world.ask(name) for name in ("a.example.com", "b.example.com")] == ["a", "b"]
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await world.connect("a2.example.com")


@needs_haproxy
async def test_a_route_that_goes_closes_the_way(world: World) -> None:
    await world.serve("a.example.com", "b.example.com")
    await world.serve("a.example.com")
    assert await world.ask("a.example.com") == "a"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await world.connect("b.example.com")
    await world.serve("a.example.com", "b.example.com")
    assert await world.ask("b.example.com") == "b"


@needs_haproxy
async def test_what_is_not_tls_is_refused(world: World) -> None:
    await world.serve("a.example.com")
    reader, writer = await asyncio.open_connection(world.router.address, world.router.port)
    writer.write(b"GET / HTTP/1.1\r\nhost: a.example.com\r\n\r\n" * 20)
    async with asyncio.timeout(30):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()


@needs_haproxy
async def test_a_reload_drops_nothing(world: World) -> None:
    await world.serve("a.example.com")
    reader, writer = await world.connect("a.example.com")
    stop = False
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def ask_on() -> None:
        while not stop:
            await asked.put(await world.ask("a.example.com"))

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(ask_on())
        for number in range(6):
            await world.serve("a.example.com", *(["b.example.com"] if number % 2 else []))
            assert {await asked.get() for _ in range(asked.qsize() + 3)} == {"a"}
            assert await say(reader, writer) == "a"
        stop = True
    writer.close()


@needs_haproxy
async def test_nothing_new_is_no_reload(world: World) -> None:
    await world.serve("a.example.com")
    assert world.router._reloads == 1
    await world.serve("a.example.com")
    assert world.router._reloads == 1


@needs_haproxy
async def test_a_router_that_died_says_so(world: World) -> None:
    assert world.router._process is not None
    world.router._process.kill()
    await world.router._process.wait()
    with pytest.raises(RouterFailed, match=r"haproxy on 127\.0\.0\.1:\d+ ended: "):
        await world.serve("a.example.com")


@needs_haproxy
async def test_nothing_is_left_behind(ports: Ports) -> None:
    router = Router("127.0.0.1", ports.take())
    async with router:
        folder, process = router._folder, router._process
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert process is not None
    assert process.returncode is not None
    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", router.port)


@needs_haproxy
async def test_a_taken_port(world: World) -> None:
    taken = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with taken:
        port = taken.sockets[0].getsockname()[1]
        with pytest.raises(RouterFailed, match=rf"(?s)haproxy on 127.0.0.1:{port} ended: .*cannot bind"):
            async with Router("127.0.0.1", port):
                pass


async def test_without_haproxy_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(module, "_ELSEWHERE", ())
    with pytest.raises(RouterUnavailable, match="apt-get install haproxy"):
        async with Router("127.0.0.1", 1):
            pass
    assert issubclass(RouterUnavailable, RouterError)


def test_the_port_is_one_that_can_be_had() -> None:
    assert https_port("127.0.0.1") in ({443, 8443} if os.geteuid() == 0 else {8443, 443})
