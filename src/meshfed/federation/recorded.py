"""Which of a remote's offers have a FederatedService: how many it may have is bounded, whatever the remote offers.

Of those that the import rules admit, up to `room`, first come, first served; of those that they refuse, the first
hundred, to say why. All others are only counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from meshfed.model.reasons import Decision, Reason

MAX_DENIED: Final = 100
"""The most FederatedServices kept for offers that the rules refuse; the others are only counted."""


def room(limit: int) -> int:
    """The most FederatedServices kept for offers that the rules admit, under an ``import.limit``.

    More than the limit, since some may not fit beside a local Service and leave their place to others.
    """
    return 2 * limit + MAX_DENIED


class Recorded:
    """The hosts of one remote that have a FederatedService, and those that do not. Every method is O(1)."""

    def __init__(self, limit: int) -> None:
        self._room = room(limit)
        self._admitted: set[str] = set()
        self._waiting: dict[str, None] = {}
        self._promoted: set[str] = set()
        self._refused: dict[str, None] = {}
        self._counted: dict[str, Reason] = {}
        self._counts: Counter[Reason] = Counter()

    def __contains__(self, host: object) -> bool:
        return host in self._admitted or host in self._refused

    def __len__(self) -> int:
        return len(self._admitted) + len(self._refused)

    @property
    def refused(self) -> int:
        """How many refused offers have a FederatedService all the same, to say why."""
        return len(self._refused)

    @property
    def missing(self) -> dict[Reason, int]:
        """How many offers have no FederatedService, by the reason why they are not imported."""
        return dict(self._counts + Counter({Reason.LIMIT_EXCEEDED: len(self._waiting)}))

    def put(self, host: str, verdict: Decision) -> None:
        """Find a place for what is offered as ``host``, which the import rules judge so."""
        self._uncount(host)
        if verdict.accepted:
            self._refused.pop(host, None)
            if len(self._admitted) < self._room:
                self._admitted.add(host)
            elif host not in self._admitted:
                self._waiting[host] = None
            return
        self._leave(host)
        if host in self._refused or len(self._refused) < MAX_DENIED:
            self._refused[host] = None
        else:
            self._counted[host] = verdict.reason
            self._counts[verdict.reason] += 1

    def drop(self, host: str) -> None:
        """``host`` is not offered any more."""
        self._refused.pop(host, None)
        self._uncount(host)
        self._leave(host)

    def clear(self) -> None:
        """Nothing is offered any more."""
        for hosts in (self._admitted, self._waiting, self._promoted, self._refused, self._counted, self._counts):
            hosts.clear()

    def promoted(self) -> set[str]:
        """Return the hosts that got the place of another since the last call."""
        promoted, self._promoted = self._promoted, set()
        return promoted

    def _uncount(self, host: str) -> None:
        reason = self._counted.pop(host, None)
        if reason is not None:
            self._counts[reason] -= 1

    def _leave(self, host: str) -> None:
        """``host`` needs no place among the admitted any more: who waited longest gets it."""
        self._waiting.pop(host, None)
        self._promoted.discard(host)
        if host in self._admitted:
            self._admitted.remove(host)
            successor = next(iter(self._waiting), None)
            if successor is not None:
                del self._waiting[successor]
                self._admitted.add(successor)
                self._promoted.add(successor)
