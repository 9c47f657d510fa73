"""How CEL sees a value: names of fields are escaped, and some types are more than their JSON.

A field that is a `number` is a double even where its value is whole, times and durations can be compared as such, and
a field called `namespace` or `max-age` has a name that a rule can spell.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from meshfed_sandbox.apiserver.schema_node import Node

__all__ = ["Convert", "conversion", "escape", "unescape"]

_ESCAPES: Final = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_RESERVED: Final = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)

Convert: TypeAlias = Callable[[Any], Any]


def escape(name: str) -> str:
    """The name of a field as rules spell it: `-` and its like become words, reserved words get underscores."""
    if name in _RESERVED:
        return f"__{name}__"
    for plain, escaped in _ESCAPES:
        name = name.replace(plain, escaped)
    return name


def unescape(name: str) -> str:
    """The field that a rule means by `name`."""
    if name.startswith("__") and name[2:-2] in _RESERVED:
        return name[2:-2]
    for plain, escaped in reversed(_ESCAPES):
        name = name.replace(escaped, plain)
    return name


def conversion(node: Node) -> Convert | None:
    """How a value of this schema is shown to CEL; None: as it is."""
    if node.types == ("number",):
        return lambda v: float(v) if isinstance(v, int) else v
    if node.types == ("string",) and node.format == "datetime":
        return _time
    if node.types == ("string",) and node.format == "duration":
        return _duration
    if node.items and (each := conversion(node.items)):
        return lambda v: [each(item) for item in v] if isinstance(v, list) else v
    if isinstance(node.additional, Node) and (every := conversion(node.additional)):
        return lambda v: {k: every(item) for k, item in v.items()} if isinstance(v, dict) else v
    fields = {name: (escape(name), conversion(prop)) for name, prop in node.properties.items()}
    if all(name == escaped and convert is None for name, (escaped, convert) in fields.items()):
        return None

    def convert_object(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        shown = {}
        for key, item in value.items():
            name, convert = fields.get(key, (key, None))
            shown[name] = convert(item) if convert else item
        return shown

    return convert_object


_AMOUNT: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _time(value: Any) -> Any:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):  # an old value, stored while the schema was laxer
        return value


def _duration(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    seconds = sum(float(n) * _UNITS[u] for n, u in _AMOUNT.findall(value))
    return timedelta(seconds=-seconds if value.startswith("-") else seconds)
