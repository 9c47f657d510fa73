"""What a process still knows of something that is gone."""

from __future__ import annotations

import gc

import msgspec


def known(mark: str) -> list[str]:
    """The strings with ``mark`` in them that any object of this process still holds, modules' own included."""
    gc.collect()
    found: set[str] = set()
    waiting = gc.get_objects()
    while waiting:
        for held in gc.get_referents(waiting.pop()):
            if type(held) is str:
                if mark in held and held != mark:
                    found.add(held)
            elif not gc.is_tracked(held) and isinstance(held, (tuple, dict, msgspec.Struct)):
                waiting.append(held)  # holds nothing but plain values, so that the collector knows nothing of it
    return sorted(found)
