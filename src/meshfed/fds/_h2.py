"""grpclib's HTTP/2 protocol, made fit for peers that are broken or hostile.

Out of the box it buffers without a bound for a peer that pings or never reads, keeps a Python object for every
one-byte DATA frame, takes an empty DATA frame for the end, and dies with a traceback of an extension frame or an odd
header. Everything of grpclib that is not documented is used in this module alone and listed in ``INTERNALS``, which a
test holds against the installed version.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

import msgspec
from grpclib import protocol as grpclib_protocol
from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event
from h2.exceptions import ProtocolError as H2ProtocolError
from h2.settings import SettingCodes, Settings

from meshfed.fds._budget import EARNED_BY_SENDING, TURN, Frames, Meter, cost, earned_by_reading
from meshfed.fds._inbox import Inbox, StreamClosed

INTERNALS: Final = {
    "Connection": ("_connection", "_transport", "create_stream", "write_ready", "feed", "ack", "flush", "close"),
    "Stream": (
        *("_h2_connection", "_transport", "init_stream", "buffer", "window_updated", "send_headers", "closable"),
        *("__ended__", "__terminated__", "headers", "headers_received", "trailers", "trailers_received"),
    ),
    "EventsProcessor": ("processors", "streams", "register", "process", "close"),
    "H2Protocol": ("connection", "processor", "connection_made", "data_received", "connection_lost"),
}
"""The undocumented names of ``grpclib.protocol`` that this module relies on, by class."""

_FRAME: Final = 64 * 1024  # the most handed to the socket at once, however large the peer lets frames be
_CLOSE_GRACE: Final = 2.0  # seconds that a closing connection has to take what is left for it
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 3}

Headers = list[tuple[str, str]]


class Bounds(msgspec.Struct, frozen=True):
    """What one peer may make us hold.

    ``message``: bytes of one received message. ``streams``: at once on one connection. ``stream_window`` and
    ``connection_window``: bytes received but not read yet. ``write_buffer``: bytes written but not taken by the peer;
    a connection beyond it is aborted. ``send_seconds``: how long one message may take to be taken.
    """

    message: int = 16 * 1024 * 1024
    streams: int = 100
    stream_window: int = 256 * 1024
    connection_window: int = 1024 * 1024
    write_buffer: int = 4 * 1024 * 1024
    send_seconds: float = 30.0


class Stream(grpclib_protocol.Stream):
    """A stream that wakes whoever waits on it when it ends, instead of cancelling their tasks."""

    connection: Connection
    buffer: Inbox  # type: ignore[assignment]  # has the methods that grpclib calls
    failure: str | None = None
    ended = False

    def init_stream(self, stream_id: int, connection: grpclib_protocol.Connection) -> None:
        """Give the stream its number and an inbox of ours."""
        super().init_stream(stream_id, connection)
        meter = self.connection.meter
        self.buffer = Inbox(
            lambda size: connection.ack(stream_id, size), lambda size: meter.spend(-earned_by_reading(size))
        )

    def __ended__(self) -> None:
        super().__ended__()
        self.ended = True
        if self.failure is None and self._h2_connection.config.client_side:
            # The call is over, and nobody takes what is still to be sent; what was received can be read.
            self.failure = "the service has ended the call"
            self.window_updated.set()

    def __terminated__(self, reason: str) -> None:
        if self.failure is None:
            self.failure = reason
            self.buffer.fail(reason)
            self.window_updated.set()
            self.headers_received.set()
            self.trailers_received.set()

    def check(self) -> None:
        """Raise ``StreamClosed`` where the stream is gone."""
        if self.failure is not None:
            raise StreamClosed(self.failure)

    def send_some(self, data: memoryview) -> int:
        """Send as much of ``data`` as the peer has room for now; returns how many bytes that was."""
        stream_id = self.id or 0
        sent = handed_over = 0
        try:
            while sent < len(data) and self.connection.write_ready.is_set():
                self.check()
                room = self._h2_connection.local_flow_control_window(stream_id)
                size = min(
                    room, self._h2_connection.max_outbound_frame_size, handed_over + _FRAME - sent, len(data) - sent
                )
                if size <= 0:
                    break
                self._h2_connection.send_data(stream_id, bytes(data[sent : sent + size]))
                sent += size
                self.connection.meter.spend(-EARNED_BY_SENDING)
                if sent - handed_over >= _FRAME:
                    self.connection.flush()
                    handed_over = sent
        except H2ProtocolError as error:
            raise StreamClosed(_said(error)) from error
        finally:
            if sent > handed_over:
                self.connection.flush()
        return sent

    async def room(self) -> None:
        """Wait until there may be room for more; raises ``StreamClosed``."""
        self.check()
        if not self.connection.write_ready.is_set():
            await self.connection.write_ready.wait()
        else:
            self.window_updated.clear()
            await self.window_updated.wait()
        self.check()

    @property
    def stalled_connection(self) -> bool:
        """Whether the connection as a whole takes nothing, not this stream alone."""
        return not self.connection.write_ready.is_set()

    def reset_now(self, code: ErrorCodes) -> None:
        """End the stream at once, without waiting for the peer."""
        if self.id is not None and self.closable:
            self._h2_connection.reset_stream(self.id, error_code=code)
            self.connection.flush()
        self.__terminated__("it was reset")


class Connection(grpclib_protocol.Connection):
    """A connection whose write buffer is bounded and which can always be got rid of."""

    write_buffer: int = Bounds().write_buffer
    meter: Meter
    closed = False

    def create_stream(self, *, stream_id: int | None = None, wrapper: object = None) -> Stream:
        """Make a stream of ours."""
        del wrapper
        return Stream(self, self._connection, self._transport, stream_id=stream_id)

    def ack(self, stream_id: int, size: int) -> None:
        """Give the peer room for ``size`` more bytes, while there is a peer."""
        if not self.is_closing():
            super().ack(stream_id, size)

    def flush(self) -> None:
        """Hand what is queued to the socket; a peer that takes none of it is cut off at the bound."""
        if self.is_closing():
            return
        super().flush()
        if self._transport.get_write_buffer_size() > self.write_buffer:
            self.abort()

    def close(self) -> None:
        """Close in order, and by force where the peer does not take the rest in time."""
        if not self.closed:
            self.closed = True
            self._transport.close()
            self.write_ready.set()
            self.stream_close_waiter.set()

    @property
    def max_frame(self) -> int:
        """The most bytes that the peer's frames may have."""
        return self._connection.max_inbound_frame_size

    def abort(self) -> None:
        """Drop the connection and what is queued for it."""
        self._transport.abort()

    def go_away(self, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Tell the peer that nothing more will come, and close."""
        if not self.closed and not self.is_closing():
            try:
                self._connection.close_connection(error_code=code)
                self.flush()
            except H2ProtocolError:
                pass  # the peer's GOAWAY came first
        self.close()


class Processor(grpclib_protocol.EventsProcessor):
    """Dispatches events; ignores those grpclib knows nothing of, and ends once."""

    _closed = False

    def process(self, event: Event) -> None:
        """Handle one event."""
        handlers = cast("dict[type[Event], Callable[[Event], None]]", {} if self._closed else self.processors)
        handle = handlers.get(type(event))
        if handle is not None:
            handle(event)

    def close(self, reason: str = "the connection was closed") -> None:
        """End every stream with ``reason`` and close the connection."""
        if self._closed:
            return
        self._closed = True
        self.connection.close()
        self.handler.close()
        for stream in list(self.streams.values()):
            stream.__terminated__(reason)


class Protocol(grpclib_protocol.H2Protocol):
    """One connection, either side. ``on_lost`` is called when it is gone for good.

    ``admit``: given the peer's address, returns the connection's account, ``None`` where it is not taken.
    """

    connection: Connection
    transport: asyncio.Transport

    def __init__(
        self,
        handler: AbstractHandler,
        bounds: Bounds,
        *,
        client: bool,
        admit: Callable[[Protocol, str], Meter | None],
        on_lost: Callable[[Protocol], None] = lambda _: None,
        on_cut: Callable[[], None] = lambda: None,
    ) -> None:
        # Header bytes are read as latin-1, which cannot fail; what they say is judged where it is used.
        config = H2Configuration(
            client_side=client,
            header_encoding="latin-1",
            validate_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_inbound_headers=False,
            normalize_outbound_headers=False,
        )
        super().__init__(handler, Configuration(), config)
        self._bounds = bounds
        self._client = client
        self._admit = admit
        self._on_lost = on_lost
        self._on_cut = on_cut
        self._frames = Frames(preface=not client)
        self._meter: Meter | None = None
        self._later: asyncio.Handle | None = None
        self._abort: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the preface and the settings, where the connection is taken."""
        self.transport = cast("asyncio.Transport", transport)
        self._meter = meter = self._admit(self, address_of(transport))
        if meter is None:
            self.transport.abort()
            return
        _tune(transport.get_extra_info("socket"))
        h2 = H2Connection(config=self.h2_config)
        h2.local_settings = Settings(
            client=self._client,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.MAX_CONCURRENT_STREAMS: self._bounds.streams,
                SettingCodes.INITIAL_WINDOW_SIZE: self._bounds.stream_window,
                SettingCodes.MAX_HEADER_LIST_SIZE: 64 * 1024,
            },
        )
        h2.initiate_connection()
        h2.increment_flow_control_window(max(1, self._bounds.connection_window - 65535))
        self.connection = Connection(h2, self.transport, config=self.config)
        self.connection.write_buffer = self._bounds.write_buffer
        self.connection.meter = meter
        self.connection.flush()
        self.processor = Processor(self.handler, self.connection)

    def data_received(self, data: bytes) -> None:
        """Take the peer's bytes, and work on them where it is this connection's turn."""
        self._frames.add(data)
        if self._later is None:
            self._take_turn()

    def _take_turn(self) -> None:
        """Work on what has arrived; leave what is too much for now, and read no more before that is done."""
        self._later = None
        wait = self._work()
        if wait is None or self.connection.closed:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()
            loop = asyncio.get_running_loop()
            self._later = loop.call_later(wait, self._take_turn) if wait else loop.call_soon(self._take_turn)

    def _work(self) -> float | None:
        """Feed the frames of one turn to the state machine; whatever breaks the protocol ends this connection alone.

        Returns the seconds until the next turn, ``None`` where nothing is left to work on.
        """
        meter, left = self.connection.meter, TURN
        try:
            while not self.connection.closed and (size := self._frames.size(self.connection.max_frame)):
                wait = meter.wait() if left > 0 else 0.0
                if wait or left <= 0:
                    self.connection.flush()
                    return wait
                frame = self._frames.take(size)
                left -= cost(frame)
                meter.spend(cost(frame))
                if meter.cut_off():
                    self._on_cut()
                    self.connection.go_away(ErrorCodes.ENHANCE_YOUR_CALM)
                    self.connection.abort()
                    return None
                for event in self.connection.feed(frame):
                    self.processor.process(event)
            self.connection.flush()
        except H2ProtocolError as error:
            self.connection.flush()  # the state machine has queued a GOAWAY that says what was wrong
            self.close(f"the peer broke HTTP/2: {_said(error)}")
        return None

    def close(self, reason: str) -> None:
        """End every stream and close; by force after a grace period."""
        self.processor.close(reason)
        if self._abort is None:
            self._abort = asyncio.get_running_loop().call_later(_CLOSE_GRACE, self.connection.abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End every stream: the connection is gone."""
        if self._meter is None:
            return  # it was never taken
        for timer in (self._later, self._abort):
            if timer is not None:
                timer.cancel()
        if self._client:
            self._work()  # what the service said before it hung up
        self.processor.close(f"the connection was lost{f': {exc}' if exc else ''}")
        self._on_lost(self)


def address_of(transport: asyncio.BaseTransport) -> str:
    """The IP address at the other end of ``transport``, empty where it is not a network connection."""
    address = transport.get_extra_info("peername")
    return str(address[0]) if isinstance(address, tuple) else ""


def _said(error: H2ProtocolError) -> str:
    return str(error) or type(error).__name__


def _tune(sock: socket.socket | None) -> None:
    """Send small messages at once, and let the kernel find peers that vanished."""
    if sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
