"""How long ago something was, in the words of kubectl."""

from __future__ import annotations

from datetime import datetime

from meshfed.api.times import parse_time


def age(since: str, now: datetime) -> str:
    """Return how long ago ``since`` (RFC 3339) was, such as ``45s``, ``5m30s``, ``3h`` or ``12d``.

    ``unknown`` where it is empty or no time, and ``0s`` where it is to come: clocks differ.
    """
    try:
        seconds = int((now - parse_time(since)).total_seconds())
    except ValueError:
        return "unknown"
    return duration(max(seconds, 0))


def duration(seconds: int) -> str:
    """Return a number of seconds as kubectl shows an age: two units where the first is small, else one."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    return f"{days}d" if days < 730 else f"{days // 365}y"


def _two(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"
