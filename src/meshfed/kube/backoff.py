"""How long to wait before trying again: exponential, with full jitter, so that many who failed together do not
come back together.
"""

from __future__ import annotations

import random
from collections.abc import Callable


def jittered(attempt: int, *, base: float, cap: float, rng: Callable[[], float] = random.random) -> float:
    """Seconds before try ``attempt`` + 1: anywhere up to ``base`` doubled ``attempt`` times, at most ``cap``."""
    # 2.0**1024 overflows, and 64 doublings are beyond any cap.
    return rng() * min(cap, base * 2.0 ** min(attempt, 64))


class Backoff:
    """Successive delays of one caller, in seconds, until ``reset``."""

    def __init__(self, *, base: float, cap: float, rng: Callable[[], float] = random.random) -> None:
        self._base = base
        self._cap = cap
        self._rng = rng
        self.attempts = 0

    def next(self, *, at_least: float | None = None) -> float:
        """The next delay; not below ``at_least``, such as what the server asked for."""
        delay = jittered(self.attempts, base=self._base, cap=self._cap, rng=self._rng)
        self.attempts += 1
        return max(delay, at_least or 0.0)

    def reset(self) -> None:
        """Begin again from the shortest delay."""
        self.attempts = 0
