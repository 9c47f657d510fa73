"""Durations as Go and Kubernetes write them (``1h30m``, ``500ms``), and seconds."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|h|m|s)")


def parse_duration(text: str) -> float:
    """The seconds that ``text`` stands for; raises ValueError where it is not a duration."""
    if not re.fullmatch(f"(?:{_PART.pattern})+", text):
        raise ValueError(f"{text!r} is not a duration: write it as 10m, 1h30m or 500ms")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)) / 1000
