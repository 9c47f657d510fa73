"""Which way of one remote is proven next, and when. No clock and no I/O: whoever asks says what time it is.

A gateway sees a steady trickle: all ways that answer in turn, one a second, however many there are, and none more
often than every few seconds. Beside that what is new, was changed or does not answer is proven soon, within a limit.
Times are jittered, so that the controllers of many meshes do not keep step.
"""

from __future__ import annotations

import heapq
import random
from typing import Final

import msgspec

from meshfed.model.probes import Way


class Pace(msgspec.Struct, frozen=True):
    """How often. All times are in seconds."""

    rest: float = 5.0
    """Between two proofs of one way that answers, at least."""
    gap: float = 1.0
    """Between two proofs of any ways that answer."""
    burst: float = 0.5
    """Between two proofs of any ways at all."""
    retry: tuple[float, float] = (1.0, 5.0)
    """Until a way that did not answer is tried again: the first time, and at most; it doubles between."""


PACE: Final = Pace()
_NEVER: Final = float("inf")


class Schedule:
    """The ways of one remote: each is to be proven soon, or has answered and waits for its turn, or is being proven."""

    def __init__(self, pace: Pace = PACE, jitter: random.Random | None = None) -> None:
        self._pace = pace
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads load, protects nothing
        self._ways: set[Way] = set()
        self._soon: dict[Way, float] = {}
        self._queue: list[tuple[float, Way]] = []
        """What is in ``_soon``, as a heap; an entry that says otherwise is void."""
        self._turns: dict[Way, float] = {}
        """What has answered, in the order of its turns, with when that may be at the earliest."""
        self._retry: dict[Way, float] = {}
        self._free_at = 0.0
        self._next_turn = 0.0

    def __len__(self) -> int:
        return len(self._ways)

    def soon(self, way: Way, now: float) -> None:
        """Prove a way as soon as possible: it is new, or was changed."""
        self._ways.add(way)
        self._turns.pop(way, None)
        self._soon[way] = now
        heapq.heappush(self._queue, (now, way))

    def drop(self, way: Way) -> None:
        """Prove a way no more."""
        self._ways.discard(way)
        for known in (self._soon, self._turns, self._retry):
            known.pop(way, None)

    def found(self, way: Way, now: float, *, answered: bool) -> None:
        """Take note of what came of a way that `take` gave; it is proven again later."""
        if way not in self._ways or way in self._soon:
            return
        pause = self._pace.rest if answered else self._retry.get(way, self._pace.retry[0])
        due = now + pause * self._jitter.uniform(0.9, 1.1)
        if answered:
            self._retry.pop(way, None)
            self._turns[way] = due
        else:
            self._retry[way] = min(2 * pause, self._pace.retry[1])
            self.soon(way, due)

    def take(self, now: float) -> Way | None:
        """Return the way to prove now, `found` tells what came of it; ``None`` where it is time for none."""
        soon, turn = self._when()
        if now < min(soon, turn):
            return None
        self._free_at = now + self._pace.burst
        if soon <= turn:
            way = heapq.heappop(self._queue)[1]
            del self._soon[way]
        else:
            way = next(iter(self._turns))
            del self._turns[way]
            self._next_turn = now + self._pace.gap * self._jitter.uniform(0.9, 1.1)
        return way

    def next(self) -> float:
        """Return when to ask again: in the past where that is now, for ever where there is nothing to prove."""
        return min(self._when())

    def _when(self) -> tuple[float, float]:
        """Return when something is to be proven soon, and when something else has its turn."""
        while self._queue and self._soon.get(self._queue[0][1]) != self._queue[0][0]:
            heapq.heappop(self._queue)
        soon = max(self._queue[0][0], self._free_at) if self._queue else _NEVER
        first = next(iter(self._turns.values()), _NEVER)
        return soon, max(first, self._next_turn, self._free_at)
