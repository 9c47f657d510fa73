"""What a stream has received and nobody has read yet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable


class StreamClosed(Exception):
    """The stream or its connection is gone; the message says why."""


class Inbox:
    """The received bytes of a stream, counted by size rather than by frame; the peer gets room as they are read."""

    def __init__(self, acknowledge: Callable[[int], None], was_read: Callable[[int], None] = lambda _: None) -> None:
        self._acknowledge = acknowledge
        self._was_read = was_read
        self._data = bytearray()
        self._arrived = asyncio.Event()
        self._ended = False
        self._failure: str | None = None

    def add(self, data: bytes, ack_size: int) -> None:
        """Take a frame; ``ack_size`` counts its padding too, which is given back at once."""
        if ack_size > len(data):
            self._acknowledge(ack_size - len(data))
        self._data += data
        self._arrived.set()

    def eof(self) -> None:
        """Note that the peer sends no more."""
        self._ended = True
        self._arrived.set()

    def fail(self, why: str) -> None:
        """Note that the stream is gone."""
        self._failure = why
        self._arrived.set()

    def unacked_size(self) -> int:
        """Count what was never read."""
        return len(self._data)

    async def read(self, size: int) -> bytes:
        """Return ``size`` bytes, fewer only where the peer's side has ended; raises ``StreamClosed``."""
        taken = bytearray()
        while len(taken) < size:
            if self._data:
                part = self._data[: size - len(taken)]
                del self._data[: len(part)]
                taken += part
                self._acknowledge(len(part))
                self._was_read(len(part))
            elif self._ended:
                break
            elif self._failure is not None:
                raise StreamClosed(self._failure)
            else:
                self._arrived.clear()
                await self._arrived.wait()
        return bytes(taken)

    async def glance(self, most: int, seconds: float) -> bytes:
        """Return the first ``most`` bytes and leave them here, fewer where no more come in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self._data) < most and not self._ended and self._failure is None:
                    self._arrived.clear()
                    await self._arrived.wait()
        return bytes(self._data[:most])
