"""The client's side of the transport: a connection to a service under the name it is asked for as."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from grpclib.metadata import decode_grpc_message
from grpclib.protocol import AbstractHandler
from grpclib.protocol import Stream as GrpclibStream
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError as H2ProtocolError

from meshfed.fds._budget import Meter
from meshfed.fds._h2 import Bounds, Headers, Protocol
from meshfed.fds._inbox import StreamClosed
from meshfed.fds.transport import CONTENT_TYPE, Call, CutShort, Status, StatusError

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

_BODY: Final = 200  # bytes of a proxy's page that are shown
_BODY_SECONDS: Final = 1.0


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
    """An RPC that we make. Where the service has said how it ended, that is what is raised, whatever came after it."""

    _answered = False

    async def send(self, message: bytes, *, end: bool = False) -> None:
        """Send a message; raises ``StatusError`` where the service has ended the call, else as ``Call.send``."""
        try:
            await super().send(message, end=end)
        except StreamClosed:
            if self._stream.headers is not None:
                await self._check_headers()
                if self._stream.ended:
                    raise self._status() from None
            raise

    async def receive(self) -> bytes | None:
        """Return the next message; raises ``StatusError`` with the call's status after the last."""
        if not self._answered:
            await self._stream.headers_received.wait()
            if self._stream.headers is None:
                self._stream.check()
            await self._check_headers()
            self._answered = True
        try:
            message = await super().receive()
        except CutShort as error:
            said = self._status()  # of a proxy, say, whose connection to the service was lost in the middle
            raise said if said.status not in {Status.OK, Status.UNKNOWN} else error from None
        if message is None:
            raise self._status()
        return message

    async def _check_headers(self) -> None:
        fields = dict(self._stream.headers or ())
        if "grpc-status" in fields:
            raise _status_of(fields)
        status = fields.get(":status", "")
        if status != "200":
            body = await self._stream.buffer.glance(_BODY, _BODY_SECONDS)
            page = f": {body.decode(errors='replace')!a}" if body else ""
            raise StatusError(_HTTP_STATUS.get(status, Status.UNKNOWN), f"the answer was HTTP {status[:20]!a}{page}")
        if not fields.get("content-type", "").startswith(CONTENT_TYPE):
            raise StatusError(Status.UNKNOWN, "the answer is not gRPC")

    def _status(self) -> StatusError:
        """What the trailers say; they come with the end of the data, or not at all."""
        return _status_of(dict(self._stream.trailers or ()))


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
            ("content-type", CONTENT_TYPE),
            ("user-agent", "meshfed"),
        ]
        if connection.is_closing():
            raise StreamClosed("the connection is gone")
        try:
            async with asyncio.timeout(self._bounds.send_seconds):
                release = await stream.send_request(headers, _processor=self._protocol.processor)
        except TimeoutError:
            raise StreamClosed(f"the service took no call for {self._bounds.send_seconds:g} seconds") from None
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

    try:
        async with asyncio.timeout(timeout):
            _, protocol = await loop.create_connection(
                lambda: Protocol(_Caller(), limits, client=True, admit=lambda *_: Meter(loop.time), on_lost=on_lost),
                target.host,
                target.port,
                ssl=target.tls,
                server_hostname=target.server_name if target.tls else None,
            )
    except UnicodeError as error:
        raise OSError(f"{target.host} is no host name: {error}") from error
    try:
        if target.verify is not None and target.tls is not None:
            target.verify(protocol.transport.get_extra_info("ssl_object"))
        yield Channel(target, protocol, limits)
    finally:
        protocol.connection.go_away()
        protocol.connection.abort()
        await lost
