"""Times as an API server takes them (RFC 3339, and a little more), and moments."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
LATEST: Final = datetime.max.replace(tzinfo=UTC)

_TIME: Final = re.compile(
    # In upper and lower case, after any mark for the fraction, and with anything after a second t: as strfmt's
    # IsDateTime has it, by which the API server judges the format date-time.
    r"([0-9]{4})(-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
    r"(?:[Tt](?s:.*))?"
)


def age(moment: str, now: str) -> float:
    """Return the seconds from ``moment`` to ``now``; 0 where the clock was set back, or either is not a time."""
    try:
        passed = parse_time(now) - parse_time(moment)
    except ValueError:
        return 0.0
    return max(0.0, passed.total_seconds())


def timestamp(moment: datetime, timespec: str = "seconds") -> str:
    """Return a moment of UTC as API servers write it, in whole seconds or what else ``isoformat`` knows."""
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """The moment that ``text`` stands for, in UTC, to the microsecond; raises ValueError where it is not a time.

    Every text is a time that an API server takes for one. Outside the years 1 to 9999 it is the first or the last
    moment of those.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a time: write it as 2026-01-31T09:30:00Z")
    year, date, clock, fraction, sign, hours, minutes = found.groups()
    if year == "0000":
        datetime.fromisoformat(f"0004{date}")  # a leap year, as the year 0 is
        return EARLIEST
    local = datetime.fromisoformat(f"{year}{date}T{clock}.{(fraction or '')[:6]:0<6}+00:00")
    if sign is None:
        return local
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        return local - offset if sign == "+" else local + offset
    except OverflowError:
        return EARLIEST if sign == "+" else LATEST
