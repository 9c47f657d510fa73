"""A network as a Pod sees it: what is dialled, what is listened on, and what names mean."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import dnslib
import msgspec
import pytest
import yaml
from aiohttp import web

from meshfed.api.crds import all_crds
from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.dataplane import processes
from meshfed_sandbox.dataplane.addresses import Addresses, application_address
from meshfed_sandbox.dataplane.inside import command
from meshfed_sandbox.dataplane.network import PLACE, Place, inside, proxy_header
from meshfed_sandbox.dataplane.values import OUTBOUND_PORT
from meshfed_sandbox.istio_crds import istio_crds

RECORDS = {
    "ratings.bookinfo.svc.cluster.local": ["240.240.0.7"],
    "gateway.west.example": ["192.0.2.1", "192.0.2.2"],
    "twice.bookinfo.svc.cluster.local": ["240.240.0.8"],
    "twice": ["192.0.2.9"],
}


class NameServer(asyncio.DatagramProtocol):
    """Answers from `RECORDS` and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent = 0
        self.code = 0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = dnslib.DNSRecord.parse(data)
        name = str(question.q.qname).rstrip(".")
        self.asked.append(name)
        if self.silent:
            self.silent -= 1
            return
        answer = question.reply()
        for address in RECORDS.get(name, []):
            answer.add_answer(dnslib.RR(name, rdata=dnslib.A(address)))
        answer.header.rcode = self.code or (0 if name in RECORDS else dnslib.RCODE.NXDOMAIN)
        self._transport.sendto(answer.pack(), addr)


@pytest.fixture
def address(addresses: Addresses) -> Iterator[str]:
    taken = addresses.take("tests")
    yield taken
    addresses.give_back(taken)


@pytest.fixture
async def name_server(address: str) -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(NameServer, local_addr=(address, 15053))
    yield protocol
    transport.close()


@pytest.fixture
def with_sidecar(address: str) -> Place:
    """A Pod with a sidecar."""
    return Place(
        namespace="bookinfo",
        address=address,
        application=application_address(address),
        sidecar=True,
        resolver=(address, 15053),
    )


@pytest.fixture
def plain(address: str) -> Place:
    """A Pod without a sidecar."""
    return Place(namespace="bookinfo", address=address, application=address, sidecar=False, resolver=(address, 15053))


class Sidecar:
    """Takes what is sent to 15001, and reads where it was to go."""

    def __init__(self) -> None:
        self.dialled: list[tuple[str, int]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = await reader.readexactly(28)
        assert header[:16] == b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
        source, target, source_port, port = struct.unpack("!4s4sHH", header[16:])
        assert socket.inet_ntoa(source).startswith("127.")
        assert source_port == writer.get_extra_info("peername")[1]
        self.dialled.append((socket.inet_ntoa(target), port))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def sidecar_of(place: Place) -> AsyncIterator[Sidecar]:
    sidecar = Sidecar()
    async with await asyncio.start_server(sidecar, place.address, OUTBOUND_PORT):
        yield sidecar


async def greet(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


async def resolve(host: str) -> list[str]:
    loop = asyncio.get_running_loop()
    return [str(found[4][0]) for found in await loop.getaddrinfo(host, 80, type=socket.SOCK_STREAM)]


async def test_what_is_dialled_goes_to_the_sidecar_and_says_where_to(
    with_sidecar: Place, name_server: NameServer
) -> None:
    async with sidecar_of(with_sidecar) as sidecar:
        with inside(with_sidecar):
            assert await greet("http://ratings:9080/ratings/0") == "hi"
            reader, writer = await asyncio.open_connection("10.96.0.1", 443)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert (await reader.read()).endswith(b"hi")
            writer.close()
    assert sidecar.dialled == [("240.240.0.7", 9080), ("10.96.0.1", 443)]
    assert name_server.asked == ["ratings.bookinfo.svc.cluster.local"]


async def test_an_application_listens_beside_its_sidecar_and_reaches_itself_directly(with_sidecar: Place) -> None:
    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="own")

    with inside(with_sidecar):
        app = web.Application()
        app.router.add_get("/", hello)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", 9080).start()
        assert runner.addresses == [(with_sidecar.application, 9080)]
        for name in ("localhost", "127.0.0.1", with_sidecar.address):
            assert await greet(f"http://{name}:9080/") == "own"
    # From outside the Pod, that is where it is, and the Pod's own address is the sidecar's.
    assert await greet(f"http://{with_sidecar.application}:9080/") == "own"
    with pytest.raises(aiohttp.ClientConnectorError):
        await greet(f"http://{with_sidecar.address}:9080/")
    await runner.cleanup()


@pytest.mark.parametrize("host", [None, "", "0.0.0.0", "::", "127.0.0.1", ["0.0.0.0", "::"]])
async def test_every_interface_means_the_pods_own(with_sidecar: Place, host: str | None) -> None:
    with inside(with_sidecar):
        async with await asyncio.start_server(lambda _reader, writer: writer.close(), host, 9081) as server:
            assert [sock.getsockname() for sock in server.sockets] == [(with_sidecar.application, 9081)]


async def test_a_pod_without_sidecar_has_its_own_address_at_both_ends(plain: Place, addresses: Addresses) -> None:
    peers: list[str] = []

    def note(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername")[0])
        writer.close()

    with inside(plain):
        async with await asyncio.start_server(note, "0.0.0.0", 9082) as server:
            assert server.sockets[0].getsockname() == (plain.address, 9082)
    async with await asyncio.start_server(note, addresses.take("others"), 9082) as server:
        with inside(plain):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()
    assert peers == [plain.address]


async def test_names_follow_the_search_path(with_sidecar: Place, name_server: NameServer) -> None:
    with inside(with_sidecar):
        assert await resolve("ratings") == ["240.240.0.7"]
        assert await resolve("ratings.bookinfo") == ["240.240.0.7"]
        assert await resolve("gateway.west.example") == ["192.0.2.1", "192.0.2.2"]
        assert await resolve("twice") == ["240.240.0.8"]
        assert await resolve("twice.") == ["192.0.2.9"]
        assert await resolve("192.0.2.5") == ["192.0.2.5"]
        name_server.asked.clear()
        with pytest.raises(socket.gaierror, match="nowhere"):
            await resolve("nowhere")
        assert name_server.asked == [
            "nowhere.bookinfo.svc.cluster.local",
            "nowhere.svc.cluster.local",
            "nowhere.cluster.local",
            "nowhere",
        ]


async def test_a_name_server_that_fails_is_no_answer(with_sidecar: Place, name_server: NameServer) -> None:
    name_server.code = dnslib.RCODE.SERVFAIL
    with inside(with_sidecar), pytest.raises(socket.gaierror) as caught:
        await resolve("ratings")
    assert caught.value.errno == socket.EAI_AGAIN


async def test_a_lost_question_is_asked_again(with_sidecar: Place, name_server: NameServer) -> None:
    name_server.silent = 1
    with inside(with_sidecar):
        assert await resolve("ratings") == ["240.240.0.7"]
    assert len(name_server.asked) == 2


@pytest.mark.usefixtures("name_server")
async def test_tasks_stay_in_their_pods(with_sidecar: Place) -> None:
    other = msgspec.structs.replace(with_sidecar, namespace="elsewhere")

    async def look() -> list[str]:
        await asyncio.sleep(0)
        return await resolve("ratings")

    with inside(with_sidecar):
        here = asyncio.create_task(look())
    with inside(other):
        there = asyncio.create_task(look())
    assert await here == ["240.240.0.7"]
    with pytest.raises(socket.gaierror):
        await there
    assert PLACE.get() is None


async def test_ipv6_is_refused_with_a_word(with_sidecar: Place) -> None:
    with inside(with_sidecar), pytest.raises(OSError, match="IPv4 alone"):
        await asyncio.open_connection("::1", 80)


def test_shares_differ_and_addresses_come_back() -> None:
    with Addresses() as one, Addresses() as other:
        assert one.number != other.number
        first = one.take("bookinfo/ratings")
        second = one.take("bookinfo/ratings")
        assert first != second
        one.give_back(second)
        assert one.take("istio-system/gateway") not in {first, second}
        assert one.take("bookinfo/ratings") == second
        assert application_address(first) == first.replace(".0.", ".128.", 1)


def test_the_header_is_the_one_of_the_specification() -> None:
    header = proxy_header(("127.7.0.10", 40000), ("10.96.0.1", 443))
    assert header == bytes.fromhex("0d0a0d0a000d0a515549540a 21 11 000c 7f07000a 0a600001 9c40 01bb")


async def test_a_controller_runs_in_a_pod_as_it_is_released(
    with_sidecar: Place, api_server: APIServer, tmp_path: Path
) -> None:
    """It listens where its sidecar looks for it, and reaches the API without one."""
    for crd in (*istio_crds(), *all_crds()):
        api_server.install_crd(crd)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(api_server.kubeconfig()))
    port = int(api_server.url.rpartition(":")[2])
    place = msgspec.structs.replace(with_sidecar, namespace="istio-system", direct=(("127.0.0.1", port),))
    log = tmp_path / "log"
    arguments = ("controller", f"--kubeconfig={kubeconfig}", "--namespace=istio-system")
    process = await processes.spawn(command(place, *arguments), log)
    try:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with (
                        aiohttp.ClientSession() as session,
                        session.get(f"http://{with_sidecar.application}:8081/healthz") as answer,
                    ):
                        assert answer.status == 200
                        if api_server.counters.watches:
                            break
                assert process.returncode is None, processes.tail(log)
                await asyncio.sleep(0.05)
    finally:
        await processes.end(process, signal.SIGTERM)
    assert process.returncode == 0, processes.tail(log)
