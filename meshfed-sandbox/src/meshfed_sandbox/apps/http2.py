"""HTTP/2 without TLS, by prior knowledge (RFC 9113, 3.3): whole requests in, JSON out, and the client's side of it.

The framing is h2's. It is what a sidecar speaks to an application whose port is named ``http2``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import msgspec
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError

MAX_BODY: Final = 1 << 16
"""How much of a request an echo takes, in bytes."""
_MAX_STREAMS: Final = 100

Answer = Callable[[Mapping[str, str], bytes], dict[str, Any]]
"""From a request's headers (names in lower case, pseudo-headers among them) and body to what is answered as JSON."""


class HTTP2Server:
    """Answers every request with what ``answer`` makes of it."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[None]:
        """Listen for as long as the context lasts; then all connections end."""
        connections: set[asyncio.Transport] = set()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self._answer, connections), host, port)
        try:
            yield
        finally:
            server.close()
            for transport in tuple(connections):
                transport.abort()
            await server.wait_closed()


class _Request:
    """One stream: what has come of a request, and what has not yet gone of the answer."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers
        self.body = bytearray()
        self.answer = b""


class _Connection(asyncio.Protocol):
    def __init__(self, answer: Answer, connections: set[asyncio.Transport]) -> None:
        self._answer = answer
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._requests: dict[int, _Request] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self._transport)
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._connections.discard(self._transport)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._handle(event)
        except (ProtocolError, UnicodeDecodeError):
            self._flush()  # h2 has queued the GOAWAY that says what was wrong
            if self._transport is not None:
                self._transport.close()
            return
        self._flush()

    def _handle(self, event: object) -> None:
        match event:
            case RequestReceived(stream_id=int(stream), headers=headers):
                if len(self._requests) >= _MAX_STREAMS:
                    self._h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
                    return
                self._requests[stream] = _Request({str(name): str(value) for name, value in headers or ()})
            case DataReceived(stream_id=int(stream), data=data, flow_controlled_length=int(length)):
                self._h2.acknowledge_received_data(length, stream)
                request = self._requests.get(stream)
                if request is None:
                    return
                request.body += data or b""
                if len(request.body) > MAX_BODY:
                    del self._requests[stream]
                    self._h2.reset_stream(stream, ErrorCodes.ENHANCE_YOUR_CALM)
            case StreamEnded(stream_id=int(stream)) if stream in self._requests:
                request = self._requests[stream]
                request.answer = msgspec.json.encode(self._answer(request.headers, bytes(request.body)))
                self._h2.send_headers(stream, [(":status", "200"), ("content-type", "application/json")])
                self._send(stream)
            case StreamReset(stream_id=int(stream)):
                self._requests.pop(stream, None)
            case WindowUpdated():
                for stream in [stream for stream, request in self._requests.items() if request.answer]:
                    self._send(stream)

    def _send(self, stream: int) -> None:
        """As much of the answer as the peer has room for; the rest when it says that it has more."""
        request = self._requests[stream]
        while request.answer:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                return
            chunk, request.answer = request.answer[:room], request.answer[room:]
            self._h2.send_data(stream, chunk, end_stream=not request.answer)
        del self._requests[stream]

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(self._h2.data_to_send())


async def get(host: str, port: int, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    """GET over a connection of its own: the status, the headers (names in lower case) and the body.

    Raises:
        OSError: there is no connection, or it is reset.
        EOFError: it ends before the answer does; the message says which way.
        h2.exceptions.ProtocolError: what comes is not HTTP/2.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        connection.initiate_connection()
        stream = connection.get_next_available_stream_id()
        asked = [(":method", "GET"), (":scheme", "http"), (":authority", f"{host}:{port}"), (":path", path)]
        connection.send_headers(stream, [*asked, *((name.lower(), value) for name, value in headers.items())], True)
        return await _answer(connection, reader, writer)
    finally:
        writer.close()


async def _answer(
    connection: H2Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[int, dict[str, str], bytes]:
    found: dict[str, str] = {}
    body = bytearray()
    while True:
        writer.write(connection.data_to_send())
        read = await reader.read(MAX_BODY)
        if not read:
            raise EOFError("the connection was closed without an answer")
        for event in connection.receive_data(read):
            match event:
                case ResponseReceived(headers=headers):
                    found = {str(name): str(value) for name, value in headers or ()}
                case DataReceived(stream_id=int(stream), data=data, flow_controlled_length=int(length)):
                    connection.acknowledge_received_data(length, stream)
                    body += data or b""
                case StreamReset() | ConnectionTerminated():
                    raise EOFError(f"the request was ended: {type(event).__name__}")
                case StreamEnded():
                    return int(found.pop(":status")), found, bytes(body)
