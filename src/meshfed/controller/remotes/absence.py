"""How long a remote has been away, and when that is longer than its staleness policy allows.

Times are the caller's, in seconds of any steady clock.
"""

from __future__ import annotations

import math
from typing import Final

STARTING_SECONDS: Final = 60.0
"""For how long a remote that says it is not ready, to a process that was never connected, may just be starting."""


class Absence:
    """One remote's absence; it may have begun before this process did."""

    def __init__(self) -> None:
        self._since: float | None = None
        # An absence that began before this process may be over: it counts once somebody has looked.
        self._not_before = math.inf
        self._is_over_limit = False

    def recall(self, since: float) -> None:
        """An earlier process lost the remote at ``since``."""
        self._since = since

    def end(self) -> None:
        """The remote is here."""
        self._since = None
        self._not_before = 0.0
        self._is_over_limit = False

    def found_away(self, now: float, *, starting: bool) -> None:
        """An attempt to reach the remote failed; ``starting`` where its answer was that it is not ready."""
        self._not_before = min(self._not_before, now + (STARTING_SECONDS if starting else 0.0))
        if self._since is None:
            self._since = now

    def too_long_at(self, limit: float) -> float | None:
        """Return when it is longer than ``limit`` seconds; ``None`` where that was acted on, or cannot be said yet."""
        if self._since is None or self._is_over_limit or self._not_before == math.inf:
            return None
        return max(self._since + limit, self._not_before)

    def acted_on(self) -> None:
        """What the policy says of an absence that is too long was done."""
        self._is_over_limit = True

    def reconsider(self) -> None:
        """The policy is another one: what is too long may be, or come to, something else."""
        self._is_over_limit = False
