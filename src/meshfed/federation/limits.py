"""Limits: which of a remote's offers fit under `import.limit`.

The longest-standing offers fit, so a new offer never pushes a running import out. Kept sorted, so that one offer
more or less changes the standing of one other at most.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from datetime import datetime

from meshfed.api.times import LATEST, parse_time
from meshfed.model.reasons import Decision, Reason

Standing = tuple[bool, datetime, str]
"""An offer's place in the queue: not yet recorded, first offered, name of its FederatedService."""


def standing(first_offered: str, name: str) -> Standing:
    """Return an offer's place: who was recorded first comes first, what is not recorded yet comes last."""
    return (not first_offered, _moment(first_offered), name)


def _moment(first_offered: str) -> datetime:
    """Return when that was; where nobody can tell, nobody was after it."""
    try:
        return parse_time(first_offered)
    except ValueError:
        return LATEST


def over_limit(remote: str, limit: int) -> Decision:
    """Return why an offer of ``remote`` that its quota does not admit is not imported."""
    return Decision(
        accepted=False,
        reason=Reason.LIMIT_EXCEEDED,
        message=f"RemoteMesh {remote} has as many hosts as its `import.limit` of {limit} allows; raise it, or deny "
        "others by a rule",
    )


class Quota:
    """The offers of one remote that pass its rules, of which the first ``limit`` are admitted."""

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self._queue: list[Standing] = []

    @property
    def limit(self) -> int:
        """The most offers that are admitted."""
        return self._limit

    def __len__(self) -> int:
        return len(self._queue)

    def admits(self, entry: Standing) -> bool:
        """Whether ``entry`` is in the queue and within the limit."""
        position = bisect_left(self._queue, entry)
        return position < self._limit and position < len(self._queue) and self._queue[position] == entry

    def add(self, entry: Standing) -> list[str]:
        """Queue ``entry``; returns the names of the other offers whose standing that changes."""
        insort(self._queue, entry)
        if len(self._queue) > self._limit:
            return self._names(self._limit, self._limit + 1, but=entry)
        return []

    def remove(self, entry: Standing) -> list[str]:
        """Take ``entry`` out; returns the names of the other offers whose standing that changes."""
        position = bisect_left(self._queue, entry)
        del self._queue[position]
        if position < self._limit <= len(self._queue):
            return self._names(self._limit - 1, self._limit)
        return []

    def resize(self, limit: int) -> list[str]:
        """Change the limit; returns the names of the offers whose standing that changes."""
        low, high = sorted((self._limit, limit))
        self._limit = limit
        return self._names(low, high)

    def _names(self, start: int, end: int, *, but: Standing | None = None) -> list[str]:
        return [entry[2] for entry in self._queue[start:end] if entry != but]
