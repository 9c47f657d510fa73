"""JSONPath, as far as printer columns use it: fields, indexes, ``*`` and ``[?(@.a=="b")]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

JSONObject = dict[str, Any]

_STEP = re.compile(
    r"\.(?P<field>(?:\\.|[^.\[\]\\])+)"
    r"|\[['\"](?P<quoted>[^'\"]+)['\"]\]"
    r"|\[(?P<index>-?\d+|\*)\]"
    r"|\[\?\(@\.(?P<where>[^=\s]+)\s*==\s*['\"](?P<equals>[^'\"]*)['\"]\)\]"
)


def json_path(path: str) -> Callable[[JSONObject], list[Any]]:
    """Compile ``path`` into what finds the values there."""
    steps = [match.groupdict() for match in _STEP.finditer(path)]

    def find(obj: JSONObject) -> list[Any]:
        values: list[Any] = [obj]
        for step in steps:
            values = [found for value in values for found in _stepped(value, step)]
        return values

    return find


def _stepped(value: Any, step: dict[str, str | None]) -> Sequence[Any]:
    name = step["field"] or step["quoted"]
    if name is not None:
        name = name.replace("\\.", ".")
        return [value[name]] if isinstance(value, dict) and value.get(name) is not None else []
    if not isinstance(value, list):
        return []
    if step["where"] is not None:
        return [item for item in value if str(lookup(item, *step["where"].split("."))) == step["equals"]]
    if step["index"] == "*":
        return value
    position = int(step["index"] or 0)
    return value[position : position + 1 or None]


def lookup(obj: Any, *path: str | int) -> Any:
    """What lies at ``path`` inside ``obj``; ``None`` where nothing does."""
    for step in path:
        try:
            obj = obj[step]
        except (KeyError, IndexError, TypeError):
            return None
    return obj
