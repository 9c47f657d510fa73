"""Which way of one remote is proven next, and when. No clock and no I/O: whoever asks says what time it is.

Ways wait in lines, and who was served longest ago comes next, so that no line waits for another: what is new, what has
to be tried a second time before it is believed, what answers, and what does not. A gateway sees a steady trickle: what
answers comes one a second, however many there are, none more often than every few seconds, and all lines together two
a second. Times are jittered, so that the controllers of many meshes do not keep step.
"""

from __future__ import annotations

import random
from enum import IntEnum
from typing import Final

import msgspec

from meshfed.model.probes import Way

_NEVER: Final = float("inf")


class Pace(msgspec.Struct, frozen=True):
    """How often. All times are in seconds."""

    rest: float = 5.0
    """Between two proofs of one way, at least, and until one that does not answer is tried again."""
    again: float = 1.0
    """Until a way is tried again that is not believed to be broken yet."""
    gap: float = 1.0
    """Between two proofs of any ways that answer."""
    burst: float = 0.5
    """Between two proofs of any ways at all."""


PACE: Final = Pace()


class Line(IntEnum):
    """What ways wait for; of several lines that are due, that which was served longest ago, or the first of these."""

    DOUBTED = 0
    NEW = 1
    ANSWERING = 2
    BROKEN = 3


class Schedule:
    """The ways of one remote: each waits in one line, or is being proven."""

    def __init__(self, pace: Pace = PACE, jitter: random.Random | None = None) -> None:
        self._pace = pace
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads load, protects nothing
        self._line: dict[Way, Line | None] = {}
        """Where each waits; ``None``: it is being proven."""
        self._due: dict[Line, dict[Way, float]] = {line: {} for line in Line}
        """Who waits in a line, in order, and when each may come at the earliest."""
        self._served: dict[Line, float] = dict.fromkeys(Line, -_NEVER)
        self._free_at = -_NEVER

    def __len__(self) -> int:
        return len(self._line)

    def soon(self, way: Way, now: float) -> None:
        """Prove a way soon: it is new, or was changed. One that waits for that already keeps its place."""
        line = self._line.get(way)
        if line is not Line.NEW and line is not Line.DOUBTED:
            self._put(way, Line.NEW, now)

    def doubt(self, way: Way, now: float) -> None:
        """Prove a way again, before what is new: there is reason to think that it is broken."""
        if way in self._line and self._line[way] is not Line.DOUBTED:
            self._put(way, Line.DOUBTED, now)

    def drop(self, way: Way) -> None:
        """Prove a way no more."""
        self._leave(way)
        self._line.pop(way, None)

    def found(self, way: Way, now: float, line: Line) -> None:
        """Take note of what came of a way that `take` gave: it waits in ``line`` from now on."""
        if way in self._line and self._line[way] is None:
            pause = self._pace.again if line is Line.DOUBTED else self._pace.rest
            self._put(way, line, now + pause * self._jitter.uniform(0.9, 1.1))

    def take(self, now: float) -> Way | None:
        """Return the way to prove now, `found` tells what came of it; ``None`` where it is time for none."""
        due = [line for line in Line if self._when(line) <= now]
        if not due:
            return None
        line = min(due, key=lambda one: (self._served[one], one))
        way = next(iter(self._due[line]))
        self._leave(way)
        self._line[way] = None
        self._served[line] = now
        self._free_at = now + self._pace.burst
        return way

    def next(self) -> float:
        """Return when to ask again: in the past where that is now, for ever where there is nothing to prove."""
        return min(self._when(line) for line in Line)

    def _when(self, line: Line) -> float:
        """Return when the first of a line comes, if no other line does."""
        first = next(iter(self._due[line].values()), _NEVER)
        turn = self._served[line] + self._pace.gap if line is Line.ANSWERING else -_NEVER
        return max(first, turn, self._free_at)

    def _put(self, way: Way, line: Line, due: float) -> None:
        self._leave(way)
        self._line[way] = line
        self._due[line][way] = due

    def _leave(self, way: Way) -> None:
        line = self._line.get(way)
        if line is not None:
            del self._due[line][way]
