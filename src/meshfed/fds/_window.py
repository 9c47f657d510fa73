"""How long changes are gathered before one subscriber is told of them. Pure: times are the caller's, in seconds."""

from __future__ import annotations

from typing import Final

FEW: Final = 4
"""Changes that may go together without a longer window: a message costs about as much as they do."""
_HALVINGS: Final = 64
"""More than this makes nothing any shorter."""


class Window:
    """When the changes of one stream are due.

    What comes after quiet is due at once, and what follows waits until the window since the last message is over.
    The window doubles, from ``least`` up to ``most``, each time that more than a `FEW` changes go together.
    It is halved each time that fewer do, and again for each window that passes without any.
    """

    def __init__(self, least: float, most: float) -> None:
        self._least = least
        self._most = most
        self._length = least
        self._ends = float("-inf")

    @property
    def length(self) -> float:
        """How long the window is now."""
        return self._length

    def left(self, now: float) -> float:
        """How long what waits ``now`` has yet to wait; 0 where it is due."""
        return max(0.0, self._ends - now)

    def sent(self, now: float, changes: int) -> None:
        """So many ``changes`` were sent together by ``now``: the next window begins."""
        halvings = min((now - self._ends) // self._length, _HALVINGS) if self._length > 0 and now > self._ends else 0.0
        length = max(self._least, self._length / 2**halvings)
        self._length = max(self._least, min(length * 2 if changes > FEW else length / 2, self._most))
        self._ends = now + self._length
