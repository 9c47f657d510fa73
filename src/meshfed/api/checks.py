"""Judges a JSON value by a structural schema as the API server does, and fills in the defaults.

It is how ``meshfed plan`` can say offline what the API server would say, with the same substance and all at once:
types, enums, bounds, patterns, required and unknown fields, sets, and the rules of ``rules`` in place of CEL.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, Final

from meshfed.api.errors import Problem, shown
from meshfed.api.schema import Schema
from meshfed.api.times import parse_time
from meshfed.api.validation_rules import RULES

_HOLDS: Final = {rule.cel: rule.holds for rule in RULES}
_TYPES: Final[dict[str, tuple[str, tuple[type, ...]]]] = {
    "object": ("an object", (dict,)),
    "array": ("a list", (list,)),
    "string": ("a text", (str,)),
    "integer": ("a whole number", (int,)),
    "boolean": ("true or false", (bool,)),
}
_OPEN: Final = "status"
"""The part of an object in which unknown fields are skipped: a newer controller may have written it."""


def check(value: Any, schema: Schema, *, strict: bool = True) -> tuple[Any, list[Problem]]:
    """``value`` with the defaults of ``schema`` filled in, and what is wrong with it in the order of its fields.

    With ``strict``, unknown fields are wrong, but for those below status. ``value`` is left as it is.
    """
    return _check(value, schema, "", strict)


def _check(value: Any, schema: Schema, path: str, strict: bool) -> tuple[Any, list[Problem]]:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return value, []
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            return value, [Problem(path, "it must be a number or a text", shown(value))]
        return value, [Problem(path, reason, shown(value)) for reason in _scalar_faults(value, schema)]
    words, types = _TYPES[schema["type"]]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        quote = ": put it in quotes" if types == (str,) and isinstance(value, bool | int | float) else ""
        return value, [Problem(path, f"it must be {words}{quote}", shown(value))]
    match value:
        case dict():
            value, problems = _check_object(value, schema, path, strict)
        case list():
            value, problems = _check_list(value, schema, path, strict)
        case _:
            problems = [Problem(path, reason, shown(value)) for reason in _scalar_faults(value, schema)]
    if not problems:  # as the API server does it: a rule may rely on what the schema says
        problems = _broken_rules(value, schema, path)
    return value, problems


def _check_object(
    value: dict[Any, Any], schema: Schema, path: str, strict: bool
) -> tuple[dict[str, Any], list[Problem]]:
    problems = [Problem(path, reason) for reason in _size_faults(len(value), schema, "Properties", "entries")]
    result: dict[str, Any] = {}
    properties, others = schema.get("properties"), schema.get("additionalProperties")
    for key, item in value.items():
        inner = f"{path}.{key}" if path else str(key)
        if properties is None and others is not None:
            result[key], found = _check(item, others, inner, strict)
            problems += found
        elif properties is None or (key not in properties and not strict):
            result[key] = item
        elif key not in properties:
            problems.append(Problem(inner, _unknown(str(key), properties)))
        elif item is not None:  # the API server drops a null
            result[key], found = _check(item, properties[key], inner, strict and (bool(path) or key != _OPEN))
            problems += found
    for key, inner_schema in (properties or {}).items():
        if key not in result and value.get(key) is None:
            inner = f"{path}.{key}" if path else key
            if "default" in inner_schema:
                result[key], _ = _check(inner_schema["default"], inner_schema, inner, strict)
            elif key in schema.get("required", ()):
                meaning = inner_schema.get("description", "")
                problems.append(Problem(inner, f"it is required, and missing: {meaning}".rstrip(": ")))
    return result, problems


def _check_list(value: list[Any], schema: Schema, path: str, strict: bool) -> tuple[list[Any], list[Problem]]:
    problems = [Problem(path, reason) for reason in _size_faults(len(value), schema, "Items", "entries")]
    result = []
    for index, item in enumerate(value):
        checked, found = _check(item, schema["items"], f"{path}[{index}]", strict)
        result.append(checked)
        problems += found
    if schema.get("x-kubernetes-list-type") == "set":
        problems += [
            Problem(f"{path}[{index}]", "it stands there twice: remove one", shown(item))
            for index, item in enumerate(value)
            if item in value[:index]
        ]
    return result, problems


def _scalar_faults(value: Any, schema: Schema) -> Iterable[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"it must be one of {', '.join(schema['enum'])}"
    if isinstance(value, str):
        yield from _size_faults(len(value), schema, "Length", "characters")
        if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
            yield f"it must be a {schema['title']}" if "title" in schema else f"it must match {schema['pattern']}"
        if schema.get("format") == "date-time" and not _is_timestamp(value):
            yield "it must be a time such as 2026-01-31T09:30:00Z"
    elif not isinstance(value, bool):
        if value < schema.get("minimum", -(2**63)):
            yield f"it must be at least {schema.get('minimum', -(2**63))}"
        if value > schema.get("maximum", 2**63 - 1):
            yield f"it must be at most {schema.get('maximum', 2**63 - 1)}"


def _size_faults(size: int, schema: Schema, what: str, unit: str) -> Iterable[str]:
    low, high = schema.get(f"min{what}", 0), schema.get(f"max{what}")
    if size < low:
        remedy = ": leave the field out instead" if what == "Items" else ""
        yield f"it must not be empty{remedy}" if low == 1 else f"it must have at least {low} {unit}, and has {size}"
    if high is not None and size > high:
        yield f"it must have at most {high} {unit}, and has {size}"


def _broken_rules(value: Any, schema: Schema, path: str) -> list[Problem]:
    given = "" if isinstance(value, dict | list) else shown(value)
    return [
        Problem((path + rule.get("fieldPath", "")).lstrip("."), rule["message"], given)
        for rule in schema.get("x-kubernetes-validations", ())
        if not _HOLDS[rule["rule"]](value)
    ]


def _unknown(key: str, known: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(key.lower(), by_lower, n=1)
    if close:
        return f"there is no such field: did you mean {by_lower[close[0]]}?"
    return f"there is no such field: there are {', '.join(sorted(by_lower.values()))}"


def _is_timestamp(text: str) -> bool:
    try:
        parse_time(text)
    except ValueError:
        return False
    return True
