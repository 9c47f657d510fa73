"""How fast the changes of one remote are taken, so that one that never stops changing is felt by nobody else.

Changes to one host are taken once a second at most, the latest state wins. A remote has an allowance for bursts,
which a minute of changes at the steady rate fills; beyond it, its changes wait for their turn at that rate.
"""

from __future__ import annotations

import itertools
from typing import Final

HOSTS_PER_SECOND: Final = 50
"""The steady rate."""
BURST: Final = 60 * HOSTS_PER_SECOND
INTERVAL: Final = 1.0
"""Seconds between two changes of one host."""


class Pacer:
    """Holds hosts that changed until they may be acted on. Times are the caller's, in seconds of any steady clock."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}
        self._resting: dict[str, float] = {}
        """Until when each host that was taken is not taken again."""
        self._allowance = float(BURST)
        self._at = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def throttled(self) -> bool:
        """Whether something waits because the allowance is used up."""
        return bool(self._waiting) and self._allowance < 1

    def add(self, host: str) -> None:
        """A host changed; one that waits already keeps its place."""
        self._waiting[host] = None

    def discard(self, host: str) -> None:
        """There is nothing to carry out for a host any more."""
        self._waiting.pop(host, None)

    def take(self, now: float, most: int | None = None) -> list[str]:
        """The hosts whose turn it is, ``most`` of them; their changes are to be carried out now."""
        self._allowance = min(float(BURST), self._allowance + (now - self._at) * HOSTS_PER_SECOND)
        self._at = now
        while self._resting and now >= self._resting[oldest := next(iter(self._resting))]:
            del self._resting[oldest]
        turn: list[str] = []
        for host in self._waiting:
            if self._allowance < 1 or len(turn) == most:
                break
            if host not in self._resting:
                self._allowance -= 1
                turn.append(host)
        for host in turn:
            del self._waiting[host]
            self._resting[host] = now + INTERVAL
        return turn

    def due(self) -> float | None:
        """When to take again; ``None`` while nothing waits."""
        if not self._waiting:
            return None
        if self._allowance < 1:
            return self._at + INTERVAL
        return min(self._resting.get(host, self._at) for host in self._waiting)

    def drain(self, most: int | None = None) -> list[str]:
        """The hosts that wait, ``most`` of them, whether it is their turn or not."""
        hosts = list(itertools.islice(self._waiting, most))
        for host in hosts:
            del self._waiting[host]
        return hosts
