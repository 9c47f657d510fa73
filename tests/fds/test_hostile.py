"""Peers that are broken or hostile, in HTTP/2 itself: each costs itself its connection, and nobody else a thing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpclib.protocol
import h2.config
import h2.connection
import h2.events
import pytest

from meshfed.fds import Bounds, DiscoveryServer, ProtocolError, Unreachable, _h2
from meshfed.fds._budget import Meter
from meshfed.fds._inbox import Inbox
from meshfed.fds.messages import DELTA_METHOD, DELTA_TYPE, SOTW_METHOD, SOTW_TYPE
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.fds.transport import Call
from meshfed.telemetry.metrics import Metrics
from tests.builders import host, offer
from tests.waiting import eventually

from .reference import reference_client
from .support import NORTH, WEST, Recorder, by_identity, everyone, following, ready, server_of

ASK = pb.DiscoveryRequest(type_url=SOTW_TYPE, response_nonce="x").SerializeToString()


def framed(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


class Raw:
    """A client of bare HTTP/2, which does what it is told and no more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        config = h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding=None
        )
        self.h2 = h2.connection.H2Connection(config=config)
        self.h2.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def call(self, path: str = SOTW_METHOD, *extra: tuple[str | bytes, str | bytes], end: bool = False) -> int:
        stream = self.h2.get_next_available_stream_id()
        headers = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"), ("te", "trailers")]
        self.h2.send_headers(stream, [*headers, ("content-type", "application/grpc"), *extra], end_stream=end)
        self.flush()
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.h2.send_data(stream, data, end_stream=end)
        self.flush()

    async def until(self, kind: type[h2.events.Event], *, timeout: float = 20) -> h2.events.Event | None:
        """Read until an event of ``kind``; ``None`` where the connection ends before."""
        async with asyncio.timeout(timeout):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        self.events.remove(event)
                        return event
                try:
                    data = await self.reader.read(65536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self.events += self.h2.receive_data(data)
                for event in self.events:
                    if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.flush()

    async def status(self) -> dict[bytes, bytes]:
        """The status of the next call that ends."""
        event = await self.until(h2.events.TrailersReceived)
        assert isinstance(event, h2.events.TrailersReceived)
        return dict(event.headers)

    async def refusal(self) -> dict[bytes, bytes]:
        """The status of the next call that is answered with nothing else."""
        event = await self.until(h2.events.ResponseReceived)
        assert isinstance(event, h2.events.ResponseReceived)
        return dict(event.headers)

    async def gone(self) -> bool:
        """Whether the server ends the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        return True


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def still_serves(port: int) -> None:
    """A well-behaved client is served, whatever else goes on."""
    async with reference_client(port) as client:
        await client.ask()
        assert await client.hosts() == [host("a")]


def test_what_is_used_of_grpclib_s_insides_is_there() -> None:
    missing = {
        f"{name}.{attribute}"
        for name, attributes in _h2.INTERNALS.items()
        for attribute in attributes
        if not hasattr(getattr(grpclib.protocol, name), attribute)
        and f"self.{attribute}" not in inspect.getsource(getattr(grpclib.protocol, name))
        and f"    {attribute}:" not in inspect.getsource(getattr(grpclib.protocol, name))
    }
    assert missing == set()


async def test_a_message_is_refused_by_its_prefix() -> None:
    async with server_of(ready(offer("a"))).listen("127.0.0.1", 0) as port, raw(port) as peer:
        stream = peer.call()
        peer.send(stream, struct.pack(">BI", 0, 100_000_000))
        status = await peer.refusal()
        assert status[b"grpc-status"] == b"8"
        assert status[b"grpc-message"] == b"a message of 100000000 bytes is longer than the 4194304 that are taken"
        await still_serves(port)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"\x00\x00\x00", b"13", b"the stream ended inside a message's prefix"),
        (framed(ASK)[:-3], b"13", b"the stream ended 3 bytes before its message did"),
        (b"\x01" + framed(ASK)[1:], b"12", b"compressed messages are not supported"),
        (struct.pack(">BI", 0, 3) + ASK, b"3", b"the message is not a DiscoveryRequest"),
        (framed(b"\xff\xff\xff"), b"3", b"the message is not a DiscoveryRequest"),
        (framed(pb.DiscoveryRequest(type_url="x").SerializeToString()[:-1] + b"\xff"), b"3", b"not a DiscoveryRequest"),
    ],
)
async def test_framing_that_lies_ends_its_stream_alone(data: bytes, code: bytes, words: bytes) -> None:
    async with server_of(ready(offer("a"))).listen("127.0.0.1", 0) as port, raw(port) as peer:
        good, bad = peer.call(), peer.call()
        peer.send(bad, data, end=True)
        status = await peer.refusal()
        assert status[b"grpc-status"] == code
        assert words in status[b"grpc-message"]
        peer.send(good, framed(ASK))
        assert isinstance(await peer.until(h2.events.DataReceived), h2.events.DataReceived)


@pytest.mark.parametrize("stall", ["stream", "connection"])
async def test_a_subscriber_that_takes_nothing_is_cut_off_and_only_where_it_is_stuck(stall: str) -> None:
    label = {f"k{number}": "x" * 60 for number in range(200)}
    exports = ready(*(offer(f"s{number}", labels=label) for number in range(300)))
    server = server_of(exports, bounds=Bounds(send_seconds=0.5))
    async with server.listen("127.0.0.1", 0) as port, raw(port) as peer:
        if stall == "connection":
            # Room enough in HTTP/2; it is the socket that is not read.
            peer.h2.increment_flow_control_window(2**31 - 1 - 65535)
            peer.h2.update_settings({4: 2**31 - 1})
            peer.flush()
        stream = peer.call()
        peer.send(stream, framed(ASK))
        await eventually(lambda: server.statistics()["sotw"] == 1)
        await eventually(lambda: server.statistics()["sotw"] == 0)
        await eventually(lambda: server.statistics()["connections"] == (1 if stall == "stream" else 0))


async def test_odd_frames_and_headers_do_no_harm() -> None:
    async with server_of(ready(offer("a"))).listen("127.0.0.1", 0) as port, raw(port) as peer:
        peer.writer.write(b"\x00\x00\x04\xbe\x00\x00\x00\x00\x00abcd")  # an extension frame
        peer.writer.write(b"\x00\x00\x05\x0a\x00\x00\x00\x00\x00\x00\x01xxx")  # ALTSVC
        peer.writer.write(b"\x00\x00\x05\x02\x00\x00\x00\x00\x07\x00\x00\x00\x00\x10")  # PRIORITY
        stream = peer.call(SOTW_METHOD, (b"x-odd", b"\xff\xfe\x00"), ("Upper", "x"), ("connection", "close"), ("", ""))
        peer.send(stream, b"")
        peer.send(stream, framed(ASK)[:1])
        peer.send(stream, b"")
        for byte in framed(ASK)[1:]:
            peer.h2.send_data(stream, bytes([byte]), pad_length=3)
        peer.flush()
        assert isinstance(await peer.until(h2.events.DataReceived), h2.events.DataReceived)


@pytest.mark.parametrize(
    ("path", "extra", "code"),
    [
        ("/nothing/Here", (), b"12"),
        (SOTW_METHOD, (("content-type", "text/html"),), None),
        (DELTA_METHOD + "x", (), b"12"),
    ],
)
async def test_calls_of_something_else_are_told_so(
    path: str, extra: tuple[tuple[str, str], ...], code: bytes | None
) -> None:
    async with server_of(ready(offer("a"))).listen("127.0.0.1", 0) as port, raw(port) as peer:
        peer.call(path, *extra)
        if code is not None:
            assert (await peer.refusal())[b"grpc-status"] == code
        await still_serves(port)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 50]
)
async def test_what_is_not_http_2_is_hung_up_on(data: bytes) -> None:
    server = server_of(ready(offer("a")))
    async with server.listen("127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                while await reader.read(1000):
                    pass
        writer.transport.abort()
        await eventually(lambda: server.statistics()["connections"] == 0)
        await still_serves(port)


@pytest.mark.parametrize("turns", range(6))
async def test_who_is_accepted_as_the_server_closes_is_hung_up_on(turns: int) -> None:
    async with server_of(ready(offer("a"))).listen("127.0.0.1", 0) as port:
        late = socket.create_connection(("127.0.0.1", port))
        for _ in range(turns):
            await asyncio.sleep(0)
    with late:
        late.setblocking(False)
        client = h2.connection.H2Connection()
        client.initiate_connection()
        with contextlib.suppress(ConnectionError):
            late.sendall(client.data_to_send())
            async with asyncio.timeout(20):
                while await asyncio.get_running_loop().sock_recv(late, 1000):
                    pass


async def test_streams_are_capped() -> None:
    metrics = Metrics()
    server = DiscoveryServer(ready(offer("a")), everyone, metrics, streams=2)
    async with server.listen("127.0.0.1", 0) as port:
        async with raw(port) as peer:
            for _ in range(3):
                peer.call()
            refusal = await peer.refusal()
            assert (refusal[b"grpc-status"], refusal[b"grpc-message"]) == (
                b"8",
                b"2 streams are open, which is the limit",
            )
        await eventually(lambda: server.statistics()["connections"] == 0)
        await still_serves(port)
    assert metrics.registry.get_sample_value("meshfed_fds_refused_total", {"reason": "streams"}) == 1


async def test_one_remote_does_not_take_the_places_of_the_others() -> None:
    server = server_of(ready(offer("a")), by_identity)
    async with server.listen("127.0.0.1", 0) as port, raw(port) as peer:
        for _ in range(33):
            peer.call(SOTW_METHOD, ("x-forwarded-client-cert", f"URI={WEST}"))
        assert (await peer.refusal())[b"grpc-message"] == b"west has 32 streams, which is the limit"
        stream = peer.call(SOTW_METHOD, ("x-forwarded-client-cert", f"URI={NORTH}"))
        peer.send(stream, framed(ASK))
        event = await peer.until(h2.events.DataReceived)
        assert isinstance(event, h2.events.DataReceived)
        assert event.stream_id == stream


async def test_a_flood_of_small_frames_costs_no_more_than_its_bytes() -> None:
    server = server_of(ready(offer("a")))
    async with server.listen("127.0.0.1", 0) as port, raw(port) as peer:
        await peer.until(h2.events.RemoteSettingsChanged)
        stream = peer.call(DELTA_METHOD)
        peer.send(stream, struct.pack(">BI", 0, 4_000_000))
        await eventually(lambda: server.statistics()["delta"] == 1)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        frame = b"\x00\x00\x01\x00\x00" + struct.pack(">I", stream) + b"x"
        for _ in range(20):
            peer.writer.write(frame * 3000)
            await peer.writer.drain()
        await asyncio.sleep(0.5)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        # 60,000 bytes of message; the peer's own side of this test is in the figure.
        assert grown < 3_000_000


@asynccontextmanager
async def lying_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A server of bare sockets, for clients to meet."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await talk(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _answering(payload: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        connection = h2.connection.H2Connection(config=config)
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    headers = [(":status", "200"), ("content-type", "application/grpc")]
                    connection.send_headers(event.stream_id, headers)
                    connection.send_data(event.stream_id, payload)
            writer.write(connection.data_to_send())
            await writer.drain()

    return talk


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await reader.read()


async def _hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    ("talk", "kind", "words"),
    [
        (_answering(struct.pack(">BI", 0, 100_000_000)), ProtocolError, "longer than the 16777216 that are taken"),
        (_answering(struct.pack(">BI", 1, 10)), ProtocolError, "compressed messages are not supported"),
        (_answering(framed(b"\xff\xff")), ProtocolError, "a response could not be parsed"),
        (_garbage, Unreachable, "the peer broke HTTP/2"),
        (_hang_up, Unreachable, "the connection"),
    ],
)
async def test_a_client_survives_a_lying_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], kind: type[Exception], words: str
) -> None:
    async with lying_server(talk) as port:
        sink = Recorder()
        async with following(port, sink, dialect="delta"):
            await sink.until(lambda: len(sink.errors) >= 2)
        for error in sink.errors[:2]:
            assert isinstance(error, kind), error
            assert words in str(error)
        assert sink.updates == []


async def test_thousands_of_small_messages_take_turns_with_everything_else() -> None:
    stream = _h2.Stream.__new__(_h2.Stream)
    stream.connection = _h2.Connection.__new__(_h2.Connection)
    stream.connection.meter = Meter(asyncio.get_running_loop().time)
    stream.buffer = Inbox(lambda _: None)
    stream.buffer.add(framed(b"x") * 10_000, 60_000)
    stream.buffer.eof()
    call = Call(stream, Bounds(), {})
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    received = 0
    while await call.receive() is not None:
        received += 1
    counting.cancel()
    assert received == 10_000
    assert turns >= 100


async def test_a_nack_loop_costs_the_one_who_loops(caplog: pytest.LogCaptureFixture) -> None:
    nack = pb.DeltaDiscoveryRequest(type_url=DELTA_TYPE, response_nonce="1", error_detail=pb.Status(message="no\n!"))
    exports = ready(offer("a"))
    server = server_of(exports)
    async with server.listen("127.0.0.1", 0) as port, raw(port) as peer:
        stream = peer.call(DELTA_METHOD)
        peer.send(stream, framed(pb.DeltaDiscoveryRequest(type_url=DELTA_TYPE).SerializeToString()))
        assert isinstance(await peer.until(h2.events.DataReceived), h2.events.DataReceived)
        for _ in range(500):
            peer.send(stream, framed(nack.SerializeToString()))
        with pytest.raises(TimeoutError):
            await peer.until(h2.events.DataReceived, timeout=0.5)
        exports.set(offer("b"), None)
        assert isinstance(await peer.until(h2.events.DataReceived), h2.events.DataReceived)
    assert sum("did not take" in record.message for record in caplog.records) == 1


async def test_refusals_are_logged_seldom(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    server = server_of(ready(offer("a")), lambda _: None, metrics=metrics)
    async with server.listen("127.0.0.1", 0) as port, raw(port) as peer:
        for _ in range(50):
            peer.call()
            assert (await peer.refusal())[b"grpc-status"] == b"7"
    assert sum("refused a discovery subscriber" in record.message for record in caplog.records) == 1
    assert metrics.registry.get_sample_value("meshfed_fds_refused_total", {"reason": "identity"}) == 50
