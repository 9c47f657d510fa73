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
        holder = waiting.pop()
        # Of a dictionary with nothing but strings for keys the collector is told of the values alone.
        keys = tuple(dict.keys(holder)) if isinstance(holder, dict) else ()
        # What is kept from the collector says by itself what it holds.
        fields = () if gc.is_tracked(holder) else getattr(holder, "__struct_fields__", ())
        for held in (*keys, *(getattr(holder, field) for field in fields), *gc.get_referents(holder)):
            if type(held) is str:
                if mark in held and held != mark:
                    found.add(held)
            elif not gc.is_tracked(held) and isinstance(held, (tuple, dict, msgspec.Struct)):
                waiting.append(held)  # it holds nothing but plain values, so that the collector does not know it
    return sorted(found)
