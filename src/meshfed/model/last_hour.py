"""How long changes took over the last hour, minute by minute: what is kept of that, and what is answered of it.

Times are in seconds of one clock that does not go back. What is answered says how long ago something was, and not when,
so that nobody has to compare clocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

MINUTES: Final = 60
"""How many are kept."""
_SECONDS: Final = 60.0
_DIGITS: Final = 4
"""Of seconds: a tenth of a millisecond is less than anybody looks at."""


class MinuteOfChanges(msgspec.Struct, frozen=True, gc=False):
    """The changes of one minute, which began ``ago`` whole minutes before the one that is under way.

    ``mean`` and ``slowest`` are seconds.
    """

    ago: int
    changes: int
    mean: float
    slowest: float


class LastChange(msgspec.Struct, frozen=True, gc=False):
    """How many seconds the last change took, and how many ago it was in place."""

    seconds: float
    ago: float


class HourOfChanges(msgspec.Struct, frozen=True):
    """The minutes of the last hour in which there were changes, the latest first; and the last change of all."""

    minutes: tuple[MinuteOfChanges, ...]
    last: LastChange


class ChangesSeen(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last hour of each remote that there were changes of, in one direction.

    ``measured``: for how many seconds that has been measured; ``None``: it is not, here.
    """

    measured: float | None = None
    remotes: dict[str, HourOfChanges] = {}


class _Minute(msgspec.Struct, gc=False):
    number: int
    changes: int = 0
    total: float = 0.0
    slowest: float = 0.0


class LastHour:
    """The changes of one remote in one direction. It takes the same room, and the same time, however many there are."""

    def __init__(self) -> None:
        self._ring: list[_Minute | None] = [None] * MINUTES
        self._last = (0.0, 0.0)

    def add(self, seconds: float, now: float) -> None:
        """Count a change that took so long, and is in place now."""
        number = int(now // _SECONDS)
        minute = self._ring[number % MINUTES]
        if minute is None or minute.number != number:
            minute = self._ring[number % MINUTES] = _Minute(number)
        minute.changes += 1
        minute.total += seconds
        minute.slowest = max(minute.slowest, seconds)
        self._last = (seconds, now)

    def seen(self, now: float) -> HourOfChanges:
        """Return what there is of the last hour."""
        current = int(now // _SECONDS)
        recent = [one for one in self._ring if one is not None and one.number > current - MINUTES]
        minutes = tuple(
            MinuteOfChanges(
                current - one.number, one.changes, round(one.total / one.changes, _DIGITS), round(one.slowest, _DIGITS)
            )
            for one in sorted(recent, key=_number, reverse=True)
        )
        seconds, at = self._last
        return HourOfChanges(minutes, LastChange(round(seconds, _DIGITS), round(now - at, _DIGITS)))


class LastHours:
    """The changes of all remotes in one direction. It counts from ``begin`` on."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._hours: dict[str, LastHour] = {}

    def begin(self, now: float) -> None:
        """Measure from now on."""
        self._began = now

    def add(self, remote: str, seconds: float, now: float) -> None:
        """Count a change of a remote that took so long, and is in place now."""
        self._hours.setdefault(remote, LastHour()).add(seconds, now)

    def forget(self, remote: str) -> None:
        """Drop what there is of a remote."""
        self._hours.pop(remote, None)

    def end(self) -> None:
        """Measure nothing any more, and drop all that there is."""
        self._began = None
        self._hours.clear()

    def seen(self, now: float) -> ChangesSeen:
        """Return the last hour of each remote."""
        if self._began is None:
            return ChangesSeen()
        hours = {remote: hour.seen(now) for remote, hour in sorted(self._hours.items())}
        return ChangesSeen(round(now - self._began, _DIGITS), hours)


def together(several: Iterable[ChangesSeen]) -> ChangesSeen:
    """Return what several replicas measured, as one. Their minutes begin at other moments, less than one apart.

    It has been measured for as long as by the one that began last: what was at that one before is not known.
    """
    found = [one for one in several if one.measured is not None]
    remotes: dict[str, list[HourOfChanges]] = {}
    for one in found:
        for remote, hour in one.remotes.items():
            remotes.setdefault(remote, []).append(hour)
    measured = min((one.measured for one in found if one.measured is not None), default=None)
    return ChangesSeen(measured, {remote: _hour(hours) for remote, hours in sorted(remotes.items())})


def _hour(hours: Iterable[HourOfChanges]) -> HourOfChanges:
    hours = tuple(hours)
    if len(hours) == 1:
        return hours[0]
    minutes: dict[int, list[MinuteOfChanges]] = {}
    for hour in hours:
        for one in hour.minutes:
            minutes.setdefault(one.ago, []).append(one)
    return HourOfChanges(
        tuple(_minute(ago, ones) for ago, ones in sorted(minutes.items())),
        min((hour.last for hour in hours), key=_ago),
    )


def _minute(ago: int, ones: Iterable[MinuteOfChanges]) -> MinuteOfChanges:
    ones = tuple(ones)
    changes = sum(one.changes for one in ones)
    mean = sum(one.mean * one.changes for one in ones) / changes
    return MinuteOfChanges(ago, changes, round(mean, _DIGITS), max(one.slowest for one in ones))


def _number(one: _Minute) -> int:
    return one.number


def _ago(one: LastChange) -> float:
    return one.ago
