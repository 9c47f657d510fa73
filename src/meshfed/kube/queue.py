"""A work queue of keys: what is to be worked out again, each key once, however often that was said.

Keys belong to flows, which take turns: where one makes thousands of keys wait, the next free worker is another's.

Level-based: a key says where to look, never what happened there. A key that is being worked out is not given to a
second worker; if it is added meanwhile it comes round again afterwards. A delayed key waits apart, under its
earliest time. So the queue is never longer than there are keys.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import msgspec

from meshfed.kube.backoff import jittered
from meshfed.model.turns import Turns

_log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)


class QueueStatistics(msgspec.Struct, frozen=True):
    """How full a queue is: keys ready, being worked out, and delayed; and how many were handed out so far."""

    ready: int
    processing: int
    delayed: int
    handed_out: int


class WorkQueue(Generic[K]):
    """Keys to work out. ``base`` and ``cap`` bound the seconds that ``retry`` waits.

    ``flow`` says whose a key is at the moment when it is added; one flow, unless it is given. ``told`` hears of a key
    that could not be worked out for an exception, and without one once it could; by default the log does.
    """

    def __init__(
        self,
        *,
        flow: Callable[[K], Hashable] = lambda _: None,
        told: Callable[[K, Exception | None], None] | None = None,
        base: float = 0.2,
        cap: float = 30.0,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._flow = flow
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
        _, (key,) = self._ready.take()
        self._processing.add(key)
        self._handed_out += 1
        return key

    def done(self, key: K) -> None:
        """``key`` was worked out; if it was added meanwhile, it is ready again."""
        self._processing.discard(key)
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


def _log_failure(key: Hashable, error: Exception | None) -> None:
    if error is not None:
        _log.error("working out %s failed; it is tried again", key, exc_info=error)
