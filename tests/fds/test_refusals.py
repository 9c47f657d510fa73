"""What a service refuses with reaches us in every order in which it can come, whenever the client looks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.events
import pytest

from meshfed.fds import Bounds, DiscoveryError, NotReady, ProtocolError, Refused, Target, Unreachable, Unsupported
from meshfed.fds._channel import ClientCall, connect
from meshfed.fds.messages import DELTA_METHOD, SOTW_METHOD, Dialect
from meshfed.fds.transport import Status, StatusError, run_until_first_error
from tests.waiting import eventually

from .support import Recorder, following

Answer = Callable[[h2.connection.H2Connection, int], None]
GRPC = [(":status", "200"), ("content-type", "application/grpc")]


class Scripted:
    """A server that answers each call with the same steps; ``apart``: each in a segment of its own."""

    def __init__(self, *steps: Answer | None, apart: bool = False, only: str = "") -> None:
        self._steps = steps
        self._apart = apart
        self._only = only.encode()
        self.paths: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        with contextlib.suppress(ConnectionError, asyncio.CancelledError, h2.exceptions.ProtocolError):
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        path = dict(event.headers)[b":path"]
                        self.paths.append(path)
                        if path.startswith(self._only) and not await self._answer(connection, writer, event.stream_id):
                            return
                writer.write(connection.data_to_send())
        writer.transport.abort()

    async def _answer(self, connection: h2.connection.H2Connection, writer: asyncio.StreamWriter, stream: int) -> bool:
        """Play the steps; whether the connection is still there."""
        for step in self._steps:
            if step is None:
                writer.write(connection.data_to_send())
                writer.close()
                return False
            step(connection, stream)
            if self._apart:
                writer.write(connection.data_to_send())
                await asyncio.sleep(0.002)
        writer.write(connection.data_to_send())
        return True


def headers(*fields: tuple[str, str], end: bool = False) -> Answer:
    return lambda connection, stream: connection.send_headers(stream, list(fields), end_stream=end)


def status(code: int, message: str = "no: %C3%BC") -> list[tuple[str, str]]:
    return [("grpc-status", str(code)), ("grpc-message", message)]


def body(data: bytes, *, end: bool = False) -> Answer:
    return lambda connection, stream: connection.send_data(stream, data, end_stream=end)


def reset(code: int = 0) -> Answer:
    return lambda connection, stream: connection.reset_stream(stream, error_code=code)


def goodbye(connection: h2.connection.H2Connection, _: int) -> None:
    connection.close_connection(last_stream_id=1)


def garbage(connection: h2.connection.H2Connection, _: int) -> None:
    connection._data_to_send += b"\x00\x00\x01\x06\x00\x00\x00\x00\x00x"  # a PING of one byte


def refusing(code: int) -> dict[str, tuple[Answer | None, ...]]:
    """The ways in which a service that speaks gRPC, or its proxy, refuses with ``code``."""
    alone = headers(*GRPC, *status(code), end=True)
    unended = headers(*GRPC, *status(code))
    late = (headers(*GRPC), headers(*status(code), end=True))
    cut_short = (headers(*GRPC), body(b"\x00\x00\x00\x00\x09abc"), headers(*status(code), end=True))
    return {
        "trailers alone": (alone,),
        "trailers alone, reset": (alone, reset()),
        "trailers alone, cancelled": (alone, reset(8)),
        "trailers alone, not ended, reset": (unended, reset(8)),
        "trailers alone, goodbye": (alone, goodbye),
        "trailers alone, hung up": (alone, None),
        "trailers alone, nonsense": (alone, garbage),
        "trailers alone, reset, goodbye, hung up": (alone, reset(), goodbye, None),
        "trailers": late,
        "trailers, reset": (*late, reset()),
        "trailers, goodbye": (*late, goodbye),
        "trailers, hung up": (*late, None),
        "trailers inside a message": cut_short,
        "trailers inside a message, reset": (*cut_short, reset()),
        "with another HTTP status": (
            headers((":status", "503"), ("content-type", "text/plain"), *status(code), end=True),
        ),
    }


def paging(code: str) -> dict[str, tuple[Answer | None, ...]]:
    """The ways in which a proxy answers that does not know that it is asked in gRPC."""
    page = (headers((":status", code), ("content-type", "text/plain")), body(b"RBAC: access denied", end=True))
    return {
        "a page": page,
        "a page, reset": (*page, reset()),
        "a page, not ended, reset": (page[0], body(b"RBAC: access denied"), reset(8)),
        "a page, in parts": (page[0], body(b"RBAC: "), body(b"access denied", end=True)),
        "a page, goodbye": (*page, goodbye),
        "a page, hung up": (*page, None),
    }


def _over(call: ClientCall) -> bool:
    return call._stream.ended or call._stream.failure is not None


async def _receive_at_once(call: ClientCall) -> None:
    await call.receive()


async def _send_too_late(call: ClientCall) -> None:
    await eventually(lambda: _over(call))
    await call.send(b"x")
    await call.receive()


async def _receive_too_late(call: ClientCall) -> None:
    with contextlib.suppress(ConnectionError):
        await call.send(b"x")
    await eventually(lambda: _over(call))
    await call.receive()


async def _send_until_told(call: ClientCall) -> None:
    while True:
        await call.send(bytes(40_000))  # more than there is room for


async def _both(call: ClientCall) -> None:
    async def receive() -> None:
        await call.receive()

    await run_until_first_error(_send_until_told(call), receive())


MOMENTS = [_receive_at_once, _send_too_late, _receive_too_late, _send_until_told, _both]


async def _outcome(steps: tuple[Answer | None, ...], moment: Callable[[ClientCall], object], *, apart: bool) -> object:
    async with (
        Scripted(*steps, apart=apart).listening() as port,
        connect(Target(host="127.0.0.1", port=port), bounds=Bounds(send_seconds=20)) as channel,
        channel.call(DELTA_METHOD) as call,
    ):
        try:
            await moment(call)  # type: ignore[misc]
        except StatusError as error:
            return error.status, error.message
        return "nothing"


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("order", refusing(7))
async def test_a_refusal_is_heard_in_every_order(order: str, moment: Callable[[ClientCall], object]) -> None:
    for apart in (False, True):
        if None in refusing(7)[order] and moment in {_send_until_told, _both, _receive_too_late}:
            continue  # what is on its way to a socket that closes makes the system throw away what came from it
        assert await _outcome(refusing(7)[order], moment, apart=apart) == (Status.PERMISSION_DENIED, "no: ü"), apart


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("order", paging("403"))
async def test_a_proxy_s_page_is_heard_in_every_order(order: str, moment: Callable[[ClientCall], object]) -> None:
    for apart in (False, True):
        if None in paging("403")[order] and moment in {_send_until_told, _both, _receive_too_late}:
            continue  # as above
        heard = await _outcome(paging("403")[order], moment, apart=apart)
        assert heard == (Status.PERMISSION_DENIED, "the answer was HTTP '403': 'RBAC: access denied'"), apart


@pytest.mark.parametrize(
    ("steps", "kind", "words"),
    [
        (refusing(7)["trailers alone, reset"], Refused, "PERMISSION_DENIED: no: ü"),
        (refusing(16)["trailers alone, goodbye"], Refused, "UNAUTHENTICATED: no: ü"),
        (refusing(14)["trailers alone, reset"], NotReady, "UNAVAILABLE: no: ü"),
        (refusing(14)["trailers, reset"], NotReady, "UNAVAILABLE: no: ü"),
        (refusing(12)["trailers alone, reset"], Unsupported, "UNIMPLEMENTED: no: ü"),
        (refusing(8)["trailers, goodbye"], ProtocolError, "RESOURCE_EXHAUSTED: no: ü"),
        (paging("401")["a page, reset"], Refused, "HTTP '401': 'RBAC: access denied'"),
        (paging("403")["a page"], Refused, "HTTP '403': 'RBAC: access denied'"),
        (paging("503")["a page, goodbye"], NotReady, "HTTP '503': 'RBAC: access denied'"),
        (paging("404")["a page"], Unsupported, "HTTP '404'"),
        ((headers((":status", "200"), ("content-type", "text/html")), reset()), Unreachable, "is not gRPC"),
        ((headers(*GRPC, end=True),), Unreachable, "the stream ended without a status"),
        ((headers(*GRPC), reset(8)), Unreachable, "error_code: 8"),
        ((reset(7),), Unreachable, "error_code: 7"),
        ((goodbye,), Unreachable, "GOAWAY"),
    ],
)
@pytest.mark.parametrize("dialect", ["delta", "sotw"])
async def test_each_refusal_is_an_error_of_its_kind(
    steps: tuple[Answer | None, ...], kind: type[DiscoveryError], words: str, dialect: Dialect
) -> None:
    async with Scripted(*steps).listening() as port:
        sink = Recorder()
        async with following(port, sink, dialect=dialect):
            await sink.until(lambda: len(sink.errors) >= 3)
    for error in sink.errors[:3]:
        assert type(error) is kind, error
        assert words in str(error)


@pytest.mark.parametrize("order", refusing(12))
async def test_whoever_does_not_speak_the_dialect_is_asked_in_the_reference_s(order: str) -> None:
    """On the same connection, or first thing on the next where the service hangs up."""
    server = Scripted(*refusing(12)[order], only=DELTA_METHOD)
    async with server.listening() as port, following(port, Recorder()):
        await eventually(lambda: len(server.paths) >= 2)
    assert server.paths[:2] == [DELTA_METHOD.encode(), SOTW_METHOD.encode()]


async def test_a_service_that_takes_no_calls_is_given_up() -> None:
    """SETTINGS_MAX_CONCURRENT_STREAMS 0, once it is known."""
    steps = (lambda connection, _: connection.update_settings({3: 0}), *refusing(12)["trailers alone"])
    async with (
        Scripted(*steps).listening() as port,
        connect(Target(host="127.0.0.1", port=port), bounds=Bounds(send_seconds=0.1)) as channel,
    ):
        with pytest.raises(StatusError):
            async with channel.call(DELTA_METHOD) as call:
                await call.receive()
        with pytest.raises(Exception, match=r"took no call for 0\.1 seconds"):
            async with channel.call(SOTW_METHOD):
                pass
