"""A withdrawal of much at once is held for a while, since failures look just like that.

Time comes in as arguments: ``now`` in seconds of any steady clock, ``stamp`` as RFC 3339 for people.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

WINDOW: Final = 60.0
"""Withdrawals this many seconds apart or less count as one, so that a mass withdrawal in small steps is one too."""


class Guard(msgspec.Struct, frozen=True):
    """A withdrawal of over ``max_percent`` of all and at least ``min_services`` is held, for ``hold`` seconds."""

    max_percent: int = 50
    min_services: int = 20
    hold: float = 300.0


class Hold(msgspec.Struct, frozen=True):
    """A held withdrawal: how many hosts, until when (steady seconds), and the word that lets it through."""

    hosts: int
    until: float
    token: str


class Withdrawals:
    """What one remote withdrew lately, and what of it is held. ``guard`` may be another at any time."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self._held: dict[str, None] = {}
        self._until = 0.0
        self._token = ""
        self._resumed: Hold | None = None
        self._recent: deque[tuple[float, int]] = deque()

    def __contains__(self, host: object) -> bool:
        return host in self._held

    def resume(self, hold: Hold | None) -> None:
        """An earlier process held a withdrawal: the next one is that, where it is no more; ``None``: it is over."""
        self._resumed = hold

    def reoffered(self, hosts: Iterable[str]) -> None:
        """Hosts are offered again, so that no hold's end takes them."""
        for host in hosts:
            self._held.pop(host, None)

    def holds(self, gone: list[str], *, of: int, now: float, stamp: str) -> bool:
        """Take in that hosts were withdrawn, out of ``of`` that are left with them; returns whether that is held."""
        while self._recent and now - self._recent[0][0] > WINDOW:
            self._recent.popleft()
        recent = sum(count for _, count in self._recent)
        withdrawn = recent + len(gone) + len(self._held)
        guard = self.guard
        if withdrawn < guard.min_services or withdrawn * 100 <= guard.max_percent * (of + recent):
            self._recent.append((now, len(gone)))
            return False
        if not self._held:
            known = self._resumed
            if known is None or len(gone) > known.hosts:
                known = Hold(hosts=len(gone), until=now + guard.hold, token=stamp)
            self._until, self._token = known.until, known.token
        self._held.update(dict.fromkeys(gone))
        return True

    def hold(self) -> Hold | None:
        """The withdrawal that is being held, if any."""
        return Hold(hosts=len(self._held), until=self._until, token=self._token) if self._held else None

    def released(self, *, now: float, token: str | None) -> set[str]:
        """Return the hosts that were held and are no more, where the time is up or ``token`` names the withdrawal."""
        if not self._held or (now < self._until and token != self._token):
            return set()
        gone = set(self._held)
        self._held.clear()
        self._recent.clear()
        return gone
