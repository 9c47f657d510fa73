"""The server's side of the transport: connections and calls of peers, each capped, handled by path."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from grpclib.metadata import encode_grpc_message
from grpclib.protocol import AbstractHandler
from grpclib.protocol import Stream as GrpclibStream
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError as H2ProtocolError

from meshfed.fds._budget import Addresses, Meter
from meshfed.fds._h2 import Bounds, Headers, Protocol, Stream
from meshfed.fds._inbox import StreamClosed
from meshfed.fds.transport import CONTENT_TYPE, Call, Status, StatusError

_log = logging.getLogger(__name__)
_QUEUE: Final = 64  # connections of one address that wait for their turn: three seconds of turns


class ServerCall(Call):
    """An RPC that a peer made to us."""

    _headers_sent = False

    def admit(self) -> None:
        """Say that the caller is known: what its connection sends no longer counts against its address."""
        self._stream.connection.meter.admit()

    async def _begin(self) -> None:
        await self._send_headers([(":status", "200"), ("content-type", CONTENT_TYPE)])

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
        headers = [] if self._headers_sent else [(":status", "200"), ("content-type", CONTENT_TYPE)]
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
    """Serves calls by path. At most ``connections`` at once; one without a call for ``idle_seconds`` is closed.

    Where there are more, one on which nobody was admitted makes room: the oldest of the address that has most of those.
    """

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
        self._connections: dict[Protocol, tuple[str, Meter]] = {}  # the oldest first
        self._addresses = Addresses(lambda: asyncio.get_running_loop().time())
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
                handler = _Acceptor(self, tasks, server.is_serving)
                handler.protocol = Protocol(
                    handler,
                    self._bounds,
                    client=False,
                    admit=handler.admit,
                    on_lost=handler.lost,
                    on_cut=lambda: self._refused("frames"),
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

    def admit(self, protocol: Protocol, address: str) -> Meter | None:
        """Take a new connection and open its account; ``None`` where it is not taken."""
        shared = self._addresses.of(address)
        strangers: dict[str, list[Protocol]] = {}
        for other, (where, meter) in self._connections.items():
            if not meter.known:
                strangers.setdefault(where, []).append(other)
        if shared.wait() and len(strangers.get(address, ())) >= _QUEUE:
            self._refused("connections")
            return None
        if len(self._connections) >= self._max_connections:
            self._refused("connections")
            if not strangers:
                return None
            oldest = max(strangers.values(), key=len)[0]
            self.forget(oldest)
            oldest.connection.abort()
        meter = Meter(asyncio.get_running_loop().time, shared)
        self._connections[protocol] = address, meter
        return meter

    def forget(self, protocol: Protocol) -> None:
        """Note that a connection is gone."""
        self._connections.pop(protocol, None)

    async def serve(self, stream: Stream, headers: Headers, release: Callable[[], Any]) -> None:
        """Handle one call."""
        fields = _joined(headers)
        call = ServerCall(stream, self._bounds, fields)
        handler = self._handlers.get(fields.get(":path", ""))
        self._calls += 1
        try:
            if fields.get(":method") != "POST" or not fields.get("content-type", "").startswith(CONTENT_TYPE):
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

    def __init__(self, listener: Listener, tasks: asyncio.TaskGroup, serving: Callable[[], bool]) -> None:
        self._listener = listener
        self._tasks = tasks
        self._serving = serving
        self._running = 0
        self._idle: asyncio.TimerHandle | None = None

    def admit(self, protocol: Protocol, address: str) -> Meter | None:
        if not self._serving():  # it was accepted just before the server closed, and nobody would end it
            return None
        meter = self._listener.admit(protocol, address)
        if meter is not None:
            self._watch()
        return meter

    def lost(self, protocol: Protocol) -> None:
        self._listener.forget(protocol)
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
