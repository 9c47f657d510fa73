"""Label and field selectors, as they stand in a query string, turned into predicates over stored objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from meshfed_sandbox.apiserver import errors

JSONObject = dict[str, Any]
Predicate = Callable[[JSONObject], bool]

_SET = re.compile(r"^(\S+)\s+(in|notin)\s*\(([^()]*)\)$")
_EQUALITY = re.compile(r"^([^\s!=<>]+)\s*(==|!=|=|<|>)\s*([^\s=!]*)$")
_KEY = re.compile(r"^(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")

LabelTest = Callable[[Mapping[str, str]], bool]


def _split(text: str) -> list[str]:
    """Split at commas outside parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _checked_key(key: str, selector: str) -> str:
    if not _KEY.match(key):
        raise errors.bad_request(
            f'unable to parse requirement: <nil>: Invalid value: "{key}": in selector "{selector}"'
        )
    return key


def _among(key: str, values: frozenset[str], wanted: bool) -> LabelTest:
    if wanted:
        return lambda labels: labels.get(key) in values
    return lambda labels: labels.get(key) not in values


def _compared(key: str, text: str, *, greater: bool) -> LabelTest:
    bound = int(text)

    def test(labels: Mapping[str, str]) -> bool:
        value = labels.get(key, "")
        if not re.fullmatch(r"-?\d+", value):
            return False
        return int(value) > bound if greater else int(value) < bound

    return test


def _requirement(text: str, selector: str) -> LabelTest:
    if match := _SET.match(text):
        key = _checked_key(match[1], selector)
        return _among(key, frozenset(value.strip() for value in match[3].split(",")), match[2] == "in")
    if match := _EQUALITY.match(text):
        key, operator, value = _checked_key(match[1], selector), match[2], match[3]
        if operator in {"<", ">"}:
            if not re.fullmatch(r"-?\d+", value):
                raise errors.bad_request(f'for "Gt", "Lt" operators, the value must be an integer: "{value}"')
            return _compared(key, value, greater=operator == ">")
        return _among(key, frozenset({value}), operator != "!=")
    if text.startswith("!"):
        absent = _checked_key(text[1:].strip(), selector)
        return lambda labels: absent not in labels
    present = _checked_key(text, selector)
    return lambda labels: present in labels


def label_selector(text: str) -> Predicate | None:
    """``a=b,c!=d,e in (f,g),h,!i`` as a predicate; ``None`` where it selects everything; 400 where it is malformed."""
    tests = [_requirement(part, text) for part in _split(text)]
    if not tests:
        return None

    def selects(obj: JSONObject) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(test(labels) for test in tests)

    return selects


def field_at(obj: JSONObject, path: str) -> str:
    """The field at a dotted ``path`` as field selectors compare it: a string, empty where absent."""
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def field_selector(text: str, supported: tuple[str, ...]) -> Predicate | None:
    """``a.b=c,d.e!=f`` as a predicate; 400 where a field is neither ``metadata.name`` nor among ``supported``."""
    tests: list[tuple[str, str, bool]] = []
    for part in text.split(","):
        if not part:
            continue
        match = re.match(r"^([^!=]+)(==|!=|=)(.*)$", part)
        if match is None:
            raise errors.bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        if match[1] not in {"metadata.name", "metadata.namespace", *supported}:
            raise errors.bad_request(f"field label not supported: {match[1]}")
        tests.append((match[1], match[3], match[2] != "!="))
    if not tests:
        return None
    return lambda obj: all((field_at(obj, path) == value) is wanted for path, value, wanted in tests)


def exact_name(text: str) -> str:
    """The one ``metadata.name`` that a field selector asks for; empty where it asks for none, or for others."""
    names = {part.partition("=")[2].lstrip("=") for part in text.split(",") if part.startswith("metadata.name=")}
    return names.pop() if len(names) == 1 else ""


def text_of(selector: Mapping[str, Any]) -> str:
    """A LabelSelector object as a label selector's text; empty where it selects everything."""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for term in selector.get("matchExpressions") or ():
        values = f" ({','.join(term.get('values') or ())})" if term.get("values") else ""
        operator = {"In": " in", "NotIn": " notin", "Exists": "", "DoesNotExist": ""}[term["operator"]]
        parts.append(f"{'!' if term['operator'] == 'DoesNotExist' else ''}{term['key']}{operator}{values}")
    return ",".join(parts)


def both(first: Predicate | None, second: Predicate | None) -> Predicate | None:
    """The conjunction, where ``None`` selects everything."""
    if first is None or second is None:
        return first or second
    return lambda obj: first(obj) and second(obj)
