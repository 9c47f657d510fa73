"""How many writes are under way at once: as many as the API server bears, and what matters most first.

One more is tried after each round of writes, as long as few of them had to wait at the server; one less, where many
had to. How many wait is told by time: of writes that take twice as long as they could, half wait (the rule of TCP
Vegas). Where the server has too much (429), or fails, there are half as many, and none begins before the server wants
to be asked again. Only a 429 takes them below `FIRST`: a failure, or slowness, may be that of a few objects alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from meshfed.kube.errors import KubeError, ServerFailure, TooManyRequests, TransportError

OBJECTS: Final = 0
STATUSES: Final = 1
EVENTS: Final = 2

FIRST: Final = 8
LEAST: Final = 2
MOST: Final = 32
_FEW, _MANY = 8.0, 16.0
"""Writes that may wait at the server: below, one more is tried; above, one less."""
_FORGET: Final = 10.0
"""Seconds after which it is measured anew how long a write takes at its shortest."""
_PAUSE: Final = 30.0
"""The longest for which nothing is written, whatever the server asks for."""
_SHARE: Final = 16
"""Of so many that begin one is of those that matter least, so that these come to an end too."""


class WriteLimit:
    """Lets writes begin, lower ranks first: objects carry traffic, statuses and Events only say so.

    It has no flows: who waits here is a worker, and takes a key, in turns, only once it may begin.
    """

    def __init__(self) -> None:
        self.allowed = FIRST
        """How many may be under way."""
        self.under_way = 0
        self._waiting: tuple[deque[asyncio.Future[None]], ...] = (deque(), deque(), deque())
        self._begun = 0
        self._not_before = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._cut_at = float("-inf")
        self._is_full = False
        """Whether, in this round, as many were under way as may be."""
        self._answers = 0
        self._seconds = 0.0
        self._shortest = self._shortest_before = float("inf")
        self._measured_since = float("-inf")

    async def begin(self, rank: int) -> None:
        """Wait until a write of this ``rank`` may begin; the caller must say `end` of it."""
        loop = asyncio.get_running_loop()
        if self.under_way < self.allowed and not any(self._waiting) and loop.time() >= self._not_before:
            self._start()
            return
        waits: asyncio.Future[None] = loop.create_future()
        self._waiting[rank].append(waits)
        self._let(loop)
        if waits.done():
            return
        try:
            await waits
        except asyncio.CancelledError:
            if not waits.cancelled():
                self.end()
            raise

    def end(self) -> None:
        """A write is over, or came to nothing."""
        self.under_way -= 1
        self._let(asyncio.get_running_loop())

    @asynccontextmanager
    async def slot(self, rank: int) -> AsyncIterator[None]:
        """Write within this context."""
        await self.begin(rank)
        try:
            yield
        finally:
            self.end()

    def answered(self, begun: float, error: KubeError | None) -> None:
        """Learn from a write that began then, by the loop's clock, and is answered now."""
        now = asyncio.get_running_loop().time()
        if isinstance(error, TooManyRequests):
            self._cut(begun, now, LEAST, error.retry_after or 0.0)
            return
        if isinstance(error, ServerFailure | TransportError):
            self._cut(begun, now, FIRST, error.retry_after or 0.0)
            return
        if now - self._measured_since > _FORGET:
            self._measured_since = now
            self._shortest_before, self._shortest = self._shortest, float("inf")
        seconds = now - begun
        self._shortest = min(self._shortest, seconds)
        self._answers += 1
        self._seconds += seconds
        if self._answers >= self.allowed:
            self._adapt()

    def _adapt(self) -> None:
        """A round is over: as many were answered as may be under way."""
        average = self._seconds / self._answers
        shortest = min(self._shortest, self._shortest_before)
        waiting = self.allowed * (1 - shortest / average) if average > 0 else 0.0
        if waiting > _MANY:
            self.allowed = max(FIRST, self.allowed - 1)
        elif waiting < _FEW and self._is_full:
            self.allowed = min(MOST, self.allowed + 1)
        self._next_round()

    def _next_round(self) -> None:
        self._answers, self._seconds, self._is_full = 0, 0.0, False

    def _cut(self, begun: float, now: float, least: int, retry_after: float) -> None:
        self._not_before = max(self._not_before, now + min(retry_after, _PAUSE))
        if begun < self._cut_at:
            return  # it was on its way already when there were too many
        self._cut_at = now
        self.allowed = max(min(least, self.allowed), self.allowed // 2)
        self._next_round()

    def _let(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let begin whoever may."""
        if loop.time() < self._not_before:
            if self._timer is None or self._timer.when() < self._not_before:
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = loop.call_at(self._not_before, self._let_again, loop)
            return
        while self.under_way < self.allowed:
            ranks = [queue for queue in self._waiting if queue]
            if not ranks:
                return
            waits = ranks[-1 if self._begun % _SHARE == 0 else 0].popleft()
            if not waits.done():
                self._start()
                waits.set_result(None)

    def _start(self) -> None:
        self._begun += 1
        self.under_way += 1
        self._is_full = self._is_full or self.under_way >= self.allowed

    def _let_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        # Timers may fire within the clock's resolution before their time.
        self._not_before = min(self._not_before, loop.time())
        self._let(loop)
