"""What is wrong with an object, field by field, in the API server's own words.

People and programs know these sentences: `kubectl` prints them, controllers match on the reasons. A cause renders
as `spec.replicas: Invalid value: ...`; joined they make the message of a 422 (`X.group "name" is invalid: [a, b]`).
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

__all__ = [
    "OMITTED",
    "Cause",
    "duplicate",
    "forbidden",
    "go_float",
    "go_print",
    "go_quote",
    "invalid",
    "not_found",
    "not_supported",
    "required",
    "too_long",
    "too_many",
    "type_invalid",
    "wrong_type",
]

OMITTED: Final = object()
"""A value that a message leaves out."""

ROOT: Final = "<nil>"
"""How the API server names the object itself where it expects the path of a field."""


class Cause(NamedTuple):
    """One entry of `Status.details.causes`; `str()` of it is its part of the status message."""

    reason: str
    message: str
    field: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def invalid(field: str, value: Any, detail: str) -> Cause:
    """The value breaks a rule."""
    return Cause("FieldValueInvalid", _with_value("Invalid value", value, detail), field or ROOT)


def type_invalid(field: str, value: Any, detail: str) -> Cause:
    """The value is of another type than the schema's."""
    return Cause("FieldValueTypeInvalid", _with_value("Invalid value", value, detail), field or ROOT)


def wrong_type(field: str, expected: str, found: str) -> Cause:
    """A value of type `found` stands where the schema says `expected`."""
    where = "" if field == ROOT else field
    return type_invalid(where, found, f"{where} in body must be of type {expected}: {go_quote(found)}")


def required(field: str, detail: str = "") -> Cause:
    """A value is missing."""
    return Cause("FieldValueRequired", "Required value" + (f": {detail}" if detail else ""), field or ROOT)


def forbidden(field: str, detail: str) -> Cause:
    """The value may not be set here."""
    return Cause("FieldValueForbidden", f"Forbidden: {detail}", field or ROOT)


def not_found(field: str, value: Any) -> Cause:
    """The value names something that is not there."""
    return Cause("FieldValueNotFound", _with_value("Not found", value, ""), field or ROOT)


def duplicate(field: str, value: Any) -> Cause:
    """The value must be unique and is not."""
    return Cause("FieldValueDuplicate", _with_value("Duplicate value", value, ""), field or ROOT)


def not_supported(field: str, value: Any, supported: list[Any]) -> Cause:
    """The value is none of the enumeration's."""
    names = ", ".join(go_quote(s if isinstance(s, str) else _go_json(s)) for s in supported)
    return Cause("FieldValueNotSupported", _with_value("Unsupported value", value, f"supported values: {names}"), field)


def too_long(field: str, limit: int) -> Cause:
    """A string exceeds its maximum length."""
    unit = "byte" if limit == 1 else "bytes"
    return Cause("FieldValueTooLong", f"Too long: may not be more than {limit} {unit}", field or ROOT)


def too_many(field: str, found: int, limit: int) -> Cause:
    """A list or map has too many entries."""
    unit = "item" if limit == 1 else "items"
    return Cause("FieldValueTooMany", f"Too many: {found}: must have at most {limit} {unit}", field or ROOT)


def go_quote(text: str) -> str:
    """`text` as Go's `%q` shows it."""
    return json.dumps(text, ensure_ascii=False)


def go_print(value: Any) -> str:
    """A JSON value as Go's `%v` shows it."""
    match value:
        case dict():
            return "map[" + " ".join(f"{k}:{go_print(value[k])}" for k in sorted(value)) + "]"
        case list():
            return "[" + " ".join(map(go_print, value)) + "]"
        case bool():
            return "true" if value else "false"
        case None:
            return "<nil>"
        case float():
            return go_float(value)
        case _:
            return str(value)


def go_float(number: float) -> str:
    """`number` as Go's `%v` shows it: plain digits up to twenty of them, an exponent beyond."""
    if number == int(number) and abs(number) < 1e21:
        return str(int(number))
    text = repr(number)
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:].zfill(2)}"


def _with_value(what: str, value: Any, detail: str) -> str:
    shown = what if value is OMITTED else f"{what}: {_shown(value)}"
    return f"{shown}: {detail}" if detail else shown


def _shown(value: Any) -> str:
    match value:
        case str():
            return go_quote(value)
        case bool():
            return "true" if value else "false"
        case float():
            return go_float(value)
        case _:
            return _go_json(value)


def _go_json(value: Any) -> str:
    # Go's maps are written in the order of their keys, its structures in the order they were declared in.
    declared = isinstance(value, dict) and "Rule" in value
    text = json.dumps(value, ensure_ascii=False, sort_keys=not declared, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
