"""gRPC calls as streams of bytes, with a bound on everything a peer can make us hold.

A ``Call`` is one RPC, on either side. Messages are bytes; what they mean is not decided here. A message is refused by
its length prefix, before any of it is kept; one that the peer does not take in time ends its call, and the connection
too where the whole connection takes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import msgspec
from grpclib.const import Status
from grpclib.metadata import decode_grpc_message, encode_grpc_message
from grpclib.protocol import AbstractHandler
from grpclib.protocol import Stream as GrpclibStream
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError as H2ProtocolError

from meshfed.fds._h2 import Bounds, Connection, Headers, Protocol, Stream, StreamClosed

__all__ = ["Bounds", "Call", "Listener", "Status", "StatusError", "StreamClosed", "Target", "connect", "together"]

_log = logging.getLogger(__name__)
_PREFIX: Final = struct.Struct(">BI")
_CONTENT_TYPE: Final = "application/grpc"
_HTTP_STATUS: Final = {
    "400": Status.INTERNAL,
    "401": Status.UNAUTHENTICATED,
    "403": Status.PERMISSION_DENIED,
    "404": Status.UNIMPLEMENTED,
    "429": Status.UNAVAILABLE,
    "502": Status.UNAVAILABLE,
    "503": Status.UNAVAILABLE,
    "504": Status.UNAVAILABLE,
}


class StatusError(Exception):
    """A call that ended with a status: raised by a handler to end it so, and to a client that it ended so."""

    def __init__(self, status: Status, message: str = "") -> None:
        super().__init__(f"{status.name}: {message}" if message else status.name)
        self.status = status
        self.message = message


class Target(msgspec.Struct, frozen=True):
    """Where a service is: ``authority`` (default ``host:port``) is what it is asked for as, in HTTP and in TLS.

    ``tls`` with ``verify``: the context's hostname check is off and ``verify`` judges the certificate; it raises
    ``ssl.SSLCertVerificationError``.
    """

    host: str
    port: int
    authority: str = ""
    tls: ssl.SSLContext | None = None
    verify: Callable[[ssl.SSLObject], None] | None = None

    @property
    def name(self) -> str:
        """The authority to ask for."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.authority or f"{host}:{self.port}"

    @property
    def server_name(self) -> str:
        """The authority without its port: the SNI."""
        host, colon, port = self.name.rpartition(":")
        return (host if colon and port.isdigit() else self.name).strip("[]")


class Call:
    """One RPC: messages both ways, then a status."""

    def __init__(self, stream: Stream, bounds: Bounds, headers: Mapping[str, str]) -> None:
        self._stream = stream
        self._bounds = bounds
        self._open_for_data = False
        self.headers = headers

    @property
    def peer_address(self) -> str:
        """The IP address at the other end of the connection, empty where it is not a network connection."""
        address = self._stream._transport.get_extra_info("peername")  # noqa: SLF001 - see _h2.INTERNALS
        return str(address[0]) if isinstance(address, tuple) else ""

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS session of the connection, ``None`` where it is plaintext."""
        session: ssl.SSLObject | None = self._stream._transport.get_extra_info("ssl_object")  # noqa: SLF001 - see above
        return session

    async def receive(self) -> bytes | None:
        """Return the next message, ``None`` after the peer's last.

        Raises ``StreamClosed``, or ``StatusError`` for a message that breaks the framing or the bound.
        """
        prefix = await self._stream.buffer.read(_PREFIX.size)
        if not prefix:
            return None
        if len(prefix) < _PREFIX.size:
            raise StatusError(Status.INTERNAL, "the stream ended inside a message's prefix")
        compressed, length = _PREFIX.unpack(prefix)
        if compressed:
            raise StatusError(Status.UNIMPLEMENTED, "compressed messages are not supported")
        if length > self._bounds.message:
            raise StatusError(
                Status.RESOURCE_EXHAUSTED,
                f"a message of {length} bytes is longer than the {self._bounds.message} that are taken",
            )
        message = await self._stream.buffer.read(length)
        if len(message) < length:
            raise StatusError(Status.INTERNAL, f"the stream ended {length - len(message)} bytes before its message did")
        return message

    async def send(self, message: bytes, *, end: bool = False) -> None:
        """Send a message; ``end``: and no more after it. Raises ``StreamClosed``, also where it takes too long."""
        if not self._open_for_data:
            self._open_for_data = True
            await self._begin()
        data = memoryview(_PREFIX.pack(0, len(message)) + message)
        data = data[self._stream.send_some(data) :]
        if data:
            await self._send_slowly(data)
        if end:
            await self._stream.end()

    async def _begin(self) -> None:
        """Send what comes before the first message."""

    async def _send_slowly(self, data: memoryview) -> None:
        try:
            async with asyncio.timeout(self._bounds.send_seconds):
                while data:
                    await self._stream.room()
                    data = data[self._stream.send_some(data) :]
        except TimeoutError:
            connection = self._stream.connection
            if self._stream.stalled_connection and isinstance(connection, Connection):
                connection.abort()
            else:
                self._stream.reset_now(ErrorCodes.CANCEL)
            raise StreamClosed(f"the peer took nothing for {self._bounds.send_seconds:g} seconds") from None

    def reset(self, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        """End the call at once."""
        self._stream.reset_now(code)

    async def closed(self) -> None:
        """Wait for the end of a call on which nothing more is to be received; raises ``StreamClosed``."""
        while True:
            self._stream.window_updated.clear()
            self._stream.check()
            await self._stream.window_updated.wait()


class ServerCall(Call):
    """An RPC that a peer made to us."""

    _headers_sent = False

    async def _begin(self) -> None:
        await self._send_headers([(":status", "200"), ("content-type", _CONTENT_TYPE)])

    async def _send_headers(self, headers: Headers, *, end: bool = False) -> None:
        self._stream.check()
        try:
            async with asyncio.timeout(self._bounds.send_seconds):
                await self._stream.send_headers(headers, end_stream=end)
        except (H2ProtocolError, TimeoutError) as error:
            self._stream.reset_now(ErrorCodes.CANCEL)
            raise StreamClosed(f"the peer did not take headers: {type(error).__name__}") from error
        self._headers_sent = True

    async def finish(self, status: Status, message: str = "") -> None:
        """End the call with ``status``, whether or not the peer is done; does nothing where it is over."""
        headers = [] if self._headers_sent else [(":status", "200"), ("content-type", _CONTENT_TYPE)]
        headers.append(("grpc-status", str(status.value)))
        if message:
            headers.append(("grpc-message", encode_grpc_message(message)))
        try:
            await self._send_headers(headers, end=True)
        except StreamClosed:
            return
        self._stream.reset_now(ErrorCodes.NO_ERROR)


Handler = Callable[[ServerCall], Awaitable[None]]


class Listener:
    """Serves calls by path. At most ``connections`` at once; one without a call for ``idle_seconds`` is closed."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        bounds: Bounds | None = None,
        connections: int = 256,
        calls: int = 1000,
        idle_seconds: float = 300.0,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._handlers = handlers
        self._bounds = bounds or Bounds()
        self._max_connections = connections
        self._max_calls = calls
        self._idle_seconds = idle_seconds
        self._refused = refused
        self._connections: set[Protocol] = set()
        self._calls = 0

    def statistics(self) -> dict[str, int]:
        """Say how many connections and calls there are, and how many there may be."""
        return {
            "connections": len(self._connections),
            "connections_max": self._max_connections,
            "calls": self._calls,
            "calls_max": self._max_calls,
        }

    @asynccontextmanager
    async def listen(self, host: str | None, port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
        """Serve while the context is open, which is given the port (of use where ``port`` is 0).

        ``host``: an address or a name, ``None`` for every interface. Raises ``OSError`` where it cannot be bound.
        On the way out connections are closed and calls cancelled.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:

            def protocol() -> Protocol:
                handler = _Acceptor(self, tasks)
                handler.protocol = Protocol(
                    handler, self._bounds, client=False, on_made=handler.made, on_lost=handler.lost
                )
                return handler.protocol

            options: dict[str, Any] = {"ssl_handshake_timeout": 10.0} if tls else {}
            # Serving starts in a second step: cancelled within the first, asyncio would leave the socket open.
            server = await loop.create_server(
                protocol, host, port, ssl=tls, backlog=128, start_serving=False, **options
            )
            try:
                await server.start_serving()
                yield server.sockets[0].getsockname()[1]
            finally:
                server.close()
                for connection in list(self._connections):
                    connection.connection.go_away()
                    connection.close("the server is shutting down")
                await self._drained()
                for connection in list(self._connections):
                    connection.connection.abort()

    async def _drained(self) -> None:
        """Give connections a moment to take what is left for them."""
        for _ in range(20):
            if not self._connections:
                return
            await asyncio.sleep(0.01)

    def full(self) -> str | None:
        """Why no more connections are taken, if so."""
        return "connections" if len(self._connections) >= self._max_connections else None

    async def serve(self, stream: Stream, headers: Headers, release: Callable[[], Any]) -> None:
        """Handle one call."""
        fields = _joined(headers)
        call = ServerCall(stream, self._bounds, fields)
        handler = self._handlers.get(fields.get(":path", ""))
        self._calls += 1
        try:
            if fields.get(":method") != "POST" or not fields.get("content-type", "").startswith(_CONTENT_TYPE):
                await call.finish(Status.INTERNAL, "this is a gRPC service: POST, with content-type application/grpc")
            elif handler is None:
                await call.finish(Status.UNIMPLEMENTED, "there is no such method")
            elif self._calls > self._max_calls:
                self._refused("streams")
                await call.finish(Status.RESOURCE_EXHAUSTED, f"{self._max_calls} streams are open, which is the limit")
            else:
                await handler(call)
                await call.finish(Status.OK)
        except StatusError as error:
            await call.finish(error.status, error.message)
        except StreamClosed as error:
            _log.debug("a stream ended: %s", error)
        except Exception:  # noqa: BLE001 - one call's bug must not end the others
            _log.exception("a discovery stream failed; this is a bug")
            await call.finish(Status.INTERNAL, "internal error")
        finally:
            self._calls -= 1
            release()


class _Acceptor(AbstractHandler):
    """One connection's side of the listener."""

    protocol: Protocol

    def __init__(self, listener: Listener, tasks: asyncio.TaskGroup) -> None:
        self._listener = listener
        self._tasks = tasks
        self._running = 0
        self._idle: asyncio.TimerHandle | None = None

    def made(self, protocol: Protocol) -> None:
        why = self._listener.full()
        self._listener._connections.add(protocol)  # noqa: SLF001 - the listener's own other half
        if why is not None:
            self._listener._refused(why)  # noqa: SLF001 - as above
            protocol.connection.go_away(ErrorCodes.REFUSED_STREAM)
            protocol.connection.abort()
            return
        self._watch()

    def lost(self, protocol: Protocol) -> None:
        self._listener._connections.discard(protocol)  # noqa: SLF001 - as above
        if self._idle is not None:
            self._idle.cancel()

    def accept(self, stream: GrpclibStream, headers: Headers, release_stream: Callable[[], Any]) -> None:
        self._running += 1
        if self._idle is not None:
            self._idle.cancel()
        task = self._tasks.create_task(self._listener.serve(cast("Stream", stream), headers, release_stream))
        task.add_done_callback(self._done)

    def _done(self, _: asyncio.Task[None]) -> None:
        self._running -= 1
        if not self._running and not self.protocol.connection.closed:
            self._watch()

    def _watch(self) -> None:
        def close() -> None:
            self.protocol.connection.go_away()
            self.protocol.close("the connection was idle")

        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self._listener._idle_seconds, close)  # noqa: SLF001 - as above

    def cancel(self, stream: GrpclibStream) -> None:
        """Nothing to do: the stream itself wakes whoever waits on it."""

    def close(self) -> None:
        """Nothing to do, as above."""


def _joined(headers: Headers) -> dict[str, str]:
    """The headers by name; one that is repeated is one list, as in HTTP."""
    fields: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        fields[key] = f"{fields[key]},{value}" if key in fields else value
    return fields


class _Caller(AbstractHandler):
    """The client's side of a connection: nobody calls us on it."""

    def accept(self, stream: GrpclibStream, headers: Headers, release_stream: Callable[[], Any]) -> None:
        del stream, headers
        release_stream()

    def cancel(self, stream: GrpclibStream) -> None:
        pass

    def close(self) -> None:
        pass


class ClientCall(Call):
    """An RPC that we make."""

    async def receive(self) -> bytes | None:
        """Return the next message; raises ``StatusError`` with the call's status after the last."""
        if self._stream.headers is None:
            await self._stream.headers_received.wait()
            self._check_headers()
        message = await super().receive()
        if message is None:
            # Trailers come with the end of the data, or not at all.
            raise _status_of(dict(self._stream.trailers or ()))
        return message

    def _check_headers(self) -> None:
        if self._stream.headers is None:
            self._stream.check()
        fields = dict(self._stream.headers or ())
        if "grpc-status" in fields:
            raise _status_of(fields)
        status = fields.get(":status", "")
        if status != "200":
            raise StatusError(_HTTP_STATUS.get(status, Status.UNKNOWN), f"the answer was HTTP {status[:20]!a}")
        if not fields.get("content-type", "").startswith(_CONTENT_TYPE):
            raise StatusError(Status.UNKNOWN, "the answer is not gRPC")


def _status_of(fields: Mapping[str, str]) -> StatusError:
    if "grpc-status" not in fields:
        return StatusError(Status.UNKNOWN, "the stream ended without a status")
    try:
        status = Status(int(fields["grpc-status"]))
    except ValueError:
        status = Status.UNKNOWN
    return StatusError(status, decode_grpc_message(fields.get("grpc-message", ""))[:500])


class Channel:
    """A connection to a service, on which calls are made."""

    def __init__(self, target: Target, protocol: Protocol, bounds: Bounds) -> None:
        self._target = target
        self._protocol = protocol
        self._bounds = bounds

    @asynccontextmanager
    async def call(self, path: str) -> AsyncIterator[ClientCall]:
        """Open a call, and reset it on the way out. Raises ``StreamClosed``."""
        connection = self._protocol.connection
        stream = connection.create_stream()
        headers = [
            (":method", "POST"),
            (":scheme", "https" if self._target.tls else "http"),
            (":path", path),
            (":authority", self._target.name),
            ("te", "trailers"),
            ("content-type", _CONTENT_TYPE),
            ("user-agent", "meshfed"),
        ]
        if connection.is_closing():
            raise StreamClosed("the connection is gone")
        try:
            release = await stream.send_request(headers, _processor=self._protocol.processor)
        except H2ProtocolError as error:
            raise StreamClosed(f"{type(error).__name__} {error}") from error
        try:
            yield ClientCall(stream, self._bounds, {})
        finally:
            stream.reset_now(ErrorCodes.CANCEL)
            release()


@asynccontextmanager
async def connect(target: Target, *, bounds: Bounds | None = None, timeout: float = 10.0) -> AsyncIterator[Channel]:
    """Connect to ``target`` while the context is open.

    Raises ``OSError`` (which ``ssl.SSLError`` is) where that fails, ``TimeoutError`` after ``timeout`` seconds.
    """
    limits = bounds or Bounds()
    loop = asyncio.get_running_loop()
    lost: asyncio.Future[None] = loop.create_future()

    def on_lost(_: Protocol) -> None:
        if not lost.done():
            lost.set_result(None)

    async with asyncio.timeout(timeout):
        _, protocol = await loop.create_connection(
            lambda: Protocol(_Caller(), limits, client=True, on_lost=on_lost),
            target.host,
            target.port,
            ssl=target.tls,
            server_hostname=target.server_name if target.tls else None,
        )
    try:
        if target.verify is not None and target.tls is not None:
            target.verify(protocol.transport.get_extra_info("ssl_object"))
        yield Channel(target, protocol, limits)
    finally:
        protocol.connection.go_away()
        protocol.connection.abort()
        await lost


async def together(*parts: Coroutine[None, None, None]) -> None:
    """Run the parts of a call at the same time until one fails, and raise its error alone.

    Not a TaskGroup, which loses a cancellation where a part fails in the same moment, say because its stream closes.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        errors = {task: task.exception() for task in tasks if not task.cancelled()}
    for task in tasks:
        error = errors.get(task)
        if task in done and error is not None:
            raise error
