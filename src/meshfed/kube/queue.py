"""A work queue of keys: what is to be worked out again, each key once, however often that was said.

Keys belong to flows, which take turns: where one makes thousands of keys wait, the next free worker is another's.

Level-based: a key says where to look, never what happened there. A key that is being worked out is not given to a
second worker; if it is added meanwhile it comes round again afterwards. A delayed key waits apart, under its
earliest time. So the queue is never longer than there are keys.

Where working a key out is to write, `WriteLimit` says how many are at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

import msgspec

from meshfed.kube.backoff import jittered
from meshfed.kube.errors import KubeError, ServerFailure, TooManyRequests, TransportError
from meshfed.model.turns import Turns

_log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

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
    """Lets as many writes be under way at once as the API server bears, and what matters most first.

    One more is tried after each round of writes, as long as few of them had to wait at the server; one less, where
    many had to. How many wait is told by time: of writes that take twice as long as they could, half wait (the rule of
    TCP Vegas). Where the server has too much (429), or fails, there are half as many, and none begins before the
    server wants to be asked again. Only a 429 takes them below `FIRST`: a failure, or slowness, may be that of a few
    objects alone.

    Lower ranks begin first: objects carry traffic, statuses and Events only say so. It has no flows: who waits here is
    a worker, and takes a key, in turns, only once it may begin.
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


class QueueStatistics(msgspec.Struct, frozen=True):
    """How full a queue is: keys ready, being worked out, and delayed; and how many were handed out so far."""

    ready: int
    processing: int
    delayed: int
    handed_out: int


class WorkQueue(Generic[K]):
    """Keys to work out. ``base`` and ``cap`` bound the seconds that ``retry`` waits.

    ``flow`` says whose a key is at the moment when it is added; one flow, unless it is given. ``told`` hears of a key
    that could not be worked out for an exception, and without one once it could; by default the log does. Where work is
    to write, ``limit`` says when it may begin, and a key is taken then and not before; ``rank`` is the `WriteLimit`'s.
    """

    def __init__(
        self,
        *,
        flow: Callable[[K], Hashable] = lambda _: None,
        told: Callable[[K, Exception | None], None] | None = None,
        base: float = 0.2,
        cap: float = 30.0,
        rng: Callable[[], float] = random.random,
        limit: WriteLimit | None = None,
        rank: int = 0,
    ) -> None:
        self._flow = flow
        self._limit = limit
        self._rank = rank
        self._told = told or _log_failure
        self._failing: set[K] = set()
        self._base = base
        self._cap = cap
        self._rng = rng
        self._ready: Turns[K] = Turns()
        self._processing: set[K] = set()
        self._again: set[K] = set()
        self._delayed: dict[K, asyncio.TimerHandle] = {}
        self._attempts: dict[K, int] = {}
        self._handed_out = 0
        self._offers = asyncio.Semaphore(0)
        """One for each key that is ready, so that it wakes up one worker."""
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, key: K) -> None:
        """Work ``key`` out as soon as a worker is free; a delay it had is over."""
        timer = self._delayed.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._processing:
            self._again.add(key)
        elif self._ready.add(key, self._flow(key)):
            self._offers.release()
        self._idle.clear()

    def add_after(self, key: K, delay: float) -> None:
        """Work ``key`` out in ``delay`` seconds, unless it is added, or due, before."""
        if delay <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        timer = self._delayed.get(key)
        if key in self._ready or key in self._again or (timer is not None and timer.when() <= due):
            return
        if timer is not None:
            timer.cancel()
        self._delayed[key] = loop.call_at(due, self.add, key)

    def retry(self, key: K, *, at_least: float | None = None) -> float:
        """Work ``key`` out again after its next delay, which grows until it was worked out well; returns the delay."""
        attempt = self._attempts.get(key, 0)
        self._attempts[key] = attempt + 1
        delay = max(jittered(attempt, base=self._base, cap=self._cap, rng=self._rng), at_least or 0.0)
        self.add_after(key, delay)
        return delay

    async def get(self) -> K:
        """The key whose turn it is, in its flow the one that waited longest; the caller must say ``done`` of it."""
        await self._offers.acquire()
        if self._limit is not None:
            await self._limit.begin(self._rank)
        _, (key,) = self._ready.take()
        self._processing.add(key)
        self._handed_out += 1
        return key

    def done(self, key: K) -> None:
        """``key`` was worked out; if it was added meanwhile, it is ready again."""
        self._processing.discard(key)
        if self._limit is not None:
            self._limit.end()
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        if not self._processing and not self._ready:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no key is ready or being worked out; delayed ones do not count."""
        await self._idle.wait()

    def statistics(self) -> QueueStatistics:
        """How full the queue is."""
        return QueueStatistics(len(self._ready), len(self._processing), len(self._delayed), self._handed_out)

    def close(self) -> None:
        """Drop every delayed key, so that no timer outlives the queue's owner."""
        for timer in self._delayed.values():
            timer.cancel()
        self._delayed.clear()

    async def run(self, work: Callable[[K], Awaitable[None]], *, workers: int = 1) -> None:
        """Work keys out with ``work``, as many as ``workers`` at a time, until cancelled.

        After an exception out of ``work`` that key is retried, and the others are not held up. Where ``work``
        asks for no ``retry``, the key did well or is nothing any more: its next one starts from the shortest delay.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(workers):
                    tasks.create_task(self._work(work))
        finally:
            self.close()

    async def _work(self, work: Callable[[K], Awaitable[None]]) -> None:
        while True:
            key = await self.get()
            attempts = self._attempts.get(key)
            try:
                await work(key)
                if self._attempts.get(key) == attempts:
                    self._attempts.pop(key, None)
            except Exception as error:  # noqa: BLE001 - a bug that one key brings out must not stop all others
                self.retry(key)
                self._failing.add(key)
                self._told(key, error)
            else:
                if key in self._failing:
                    self._failing.discard(key)
                    self._told(key, None)
            finally:
                self.done(key)
            del key  # else a worker that has nothing to do keeps the last one


def _log_failure(key: Hashable, error: Exception | None) -> None:
    if error is not None:
        _log.error("working out %s failed; it is tried again", key, exc_info=error)
