"""gRPC calls as streams of bytes, with a bound on everything a peer can make us hold.

A ``Call`` is one RPC, on either side. Messages are bytes; what they mean is not decided here. A message is refused by
its length prefix, before any of it is kept; one that the peer does not take in time ends its call, and the connection
too where the whole connection takes nothing.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Coroutine, Mapping
from typing import Final

from grpclib.const import Status
from h2.errors import ErrorCodes

from meshfed.fds._h2 import Bounds, Stream, address_of
from meshfed.fds._inbox import StreamClosed

__all__ = ["CONTENT_TYPE", "Bounds", "Call", "Status", "StatusError", "StreamClosed", "run_until_first_error"]

_PREFIX: Final = struct.Struct(">BI")
_YIELD_EVERY: Final = 50
CONTENT_TYPE: Final = "application/grpc"


class StatusError(Exception):
    """A call that ended with a status: raised by a handler to end it so, and to a client that it ended so."""

    def __init__(self, status: Status, message: str = "") -> None:
        super().__init__(f"{status.name}: {message}" if message else status.name)
        self.status = status
        self.message = message


class CutShort(StatusError):
    """The stream ended inside a message."""


class Call:
    """One RPC: messages both ways, then a status."""

    def __init__(self, stream: Stream, bounds: Bounds, headers: Mapping[str, str]) -> None:
        self._stream = stream
        self._bounds = bounds
        self._open_for_data = False
        self._received = 0
        self.headers = headers

    @property
    def peer_address(self) -> str:
        """The IP address at the other end of the connection, empty where it is not a network connection."""
        return address_of(self._stream._transport)  # noqa: SLF001 - see _h2.INTERNALS

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS session of the connection, ``None`` where it is plaintext."""
        session: ssl.SSLObject | None = self._stream._transport.get_extra_info("ssl_object")  # noqa: SLF001 - see above
        return session

    async def receive(self) -> bytes | None:
        """Return the next message, ``None`` after the peer's last.

        Raises ``StreamClosed``, or ``StatusError`` for a message that breaks the framing or the bound.
        """
        self._received += 1
        if self._received % _YIELD_EVERY == 0:
            await asyncio.sleep(0)  # a peer that has thousands of small messages ready takes turns with the others
        prefix = await self._stream.buffer.read(_PREFIX.size)
        if not prefix:
            return None
        self._stream.connection.meter.spend(1.0)
        if len(prefix) < _PREFIX.size:
            raise CutShort(Status.INTERNAL, "the stream ended inside a message's prefix")
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
            raise CutShort(Status.INTERNAL, f"the stream ended {length - len(message)} bytes before its message did")
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
            if self._stream.stalled_connection:
                self._stream.connection.abort()
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


async def run_until_first_error(*parts: Coroutine[None, None, None]) -> None:
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
