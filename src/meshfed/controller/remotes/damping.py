"""What is said of a way whose state comes and goes: when it is news, and when it is worth an Event. No clock, no I/O.

What comes and goes is said ever more slowly, and other words for the same once a minute, so that nobody can have
statuses written without end. Times are the caller's, in seconds of any steady clock.
"""

from __future__ import annotations

from typing import Final

import msgspec

from meshfed.model.reasons import Condition

LASTING: Final = 30.0
"""Seconds for which something has to be False until that counts for more than itself."""
REWORDED: Final = 60.0
"""Seconds between two messages of one status."""
FLAPPING: Final = (600.0, 5.0, 30.0)
"""For how many seconds it is remembered that something was False; and for how many it then has to be True until that
is said: the second time, and at most. It doubles between. Who mended it and looks has to see it soon."""


class Said(msgspec.Struct):
    """What was said of something last, when, and how often it was False lately."""

    condition: Condition
    lasting: bool = False
    at: float = 0.0
    false_since: float | None = None
    times_false: int = 0
    recalled: bool = False
    """Whether that was before a restart, so that nobody has looked since."""


def said_before(condition: Condition, seconds: float, now: float) -> Said:
    """Return what an earlier process said, where that is False, and has been for so many seconds."""
    lasting = seconds >= LASTING
    return Said(condition, lasting, now - REWORDED, now - seconds, times_false=1, recalled=True)


def damped(said: Said | None, condition: Condition, now: float) -> tuple[Said | None, bool]:
    """Return what is to be said now that ``condition`` holds, and whether it has to be looked at again later.

    ``said`` is what was said last; the result is ``None`` where there is nothing new, or its time has not come.
    """
    last = said or Said(condition, at=now - REWORDED)
    false = condition.status == "False"
    if not false and last.false_since is not None and now < last.at + _hold(last):
        return None, True  # it comes and goes
    since = (last.false_since if last.false_since is not None else now) if false else None
    lasting = since is not None and now - since >= LASTING
    waits = (false and not lasting) or condition.status == "Unknown"
    if said is not None and (condition.status, lasting) == (said.condition.status, said.lasting):
        if condition == said.condition:
            return None, waits
        if now - said.at < REWORDED:
            return None, True
    began = false and last.false_since is None
    lately = last.times_false if now - last.at < FLAPPING[0] else 0
    return Said(condition, lasting, now, since, lately + began), waits


def _hold(said: Said) -> float:
    """Return for how long something that was False has to be True until that is said."""
    _, first, most = FLAPPING
    return min(first * 2 ** (said.times_false - 2), most) if said.times_false > 1 else 0.0
