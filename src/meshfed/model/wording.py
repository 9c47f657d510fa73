"""How lists and numbers stand in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_SHOWN: Final = 3


def listed(names: Sequence[str], shown: int = _SHOWN) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 host``, ``2 hosts``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
