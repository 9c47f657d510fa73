"""The slow half of a schema: walks an object that is not right and says what is wrong, and where.

The order and the words are those of the API server's own validator, down to its choice of which branch of an `anyOf`
came closest. On an update, faults in parts that did not change are forgiven, so that an old object stays editable
after its schema became stricter ("ratcheting").
"""

from __future__ import annotations

import json
from typing import Any, Final

from meshfed_sandbox.apiserver.causes import (
    Cause,
    duplicate,
    go_float,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
    type_invalid,
    wrong_type,
)
from meshfed_sandbox.apiserver.schema_check import same
from meshfed_sandbox.apiserver.schema_formats import FORMATS, compile_pattern
from meshfed_sandbox.apiserver.schema_node import META_FIELDS, METADATA_NODE, JsonObject, Node

__all__ = ["NOTHING", "drop_nulls", "explain", "explain_lists", "prune"]

NOTHING: Final = object()
"""There is no old value to compare with."""

_TYPES: Final[dict[type, str]] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "array",
    type(None): "null",
}
_GO_FORMATS: Final = {int: "int64", float: "double"}


def explain(node: Node, value: Any, *, old: Any = NOTHING, path: str = "") -> list[Cause]:
    """Everything that is wrong with `value`, but for what is also in `old`, unchanged."""
    causes = _faults(node, value, old, path)
    return [] if causes and old is not NOTHING and same(value, old) else causes


def _faults(node: Node, value: Any, old: Any, path: str) -> list[Cause]:
    causes = _type_faults(node, value, path)
    if value is not None:
        causes += _junctor_faults(node, value, path)
    match value:
        case None | bool():
            pass
        case str():
            causes += _string_faults(node, value, path)
        case int() | float():
            causes += _number_faults(node, value, path)
        case list():
            causes += _list_faults(node, value, old, path)
    allowed = node.raw.get("enum")
    if allowed and (value is None or not any(same(value, a) for a in allowed)):
        causes.append(not_supported(path or "<nil>", value, allowed))
    if isinstance(value, dict):
        causes += _object_faults(node, value, old, path)
    return causes


def _type_faults(node: Node, value: Any, path: str) -> list[Cause]:
    found = _TYPES[type(value)]
    if not node.types or found in node.types or (value is None and node.nullable):
        return []
    if (found == "integer" and "number" in node.types) or (
        isinstance(value, float) and value.is_integer() and "integer" in node.types
    ):
        return []
    expected = ",".join(node.types)
    if node.format in FORMATS and value is not None:
        expected, found = node.raw["format"], _GO_FORMATS.get(type(value), "")
    return [wrong_type(path, expected, found)]


def _string_faults(node: Node, value: str, path: str) -> list[Cause]:
    raw, causes = node.raw, list[Cause]()
    longest, shortest, pattern = raw.get("maxLength"), raw.get("minLength"), raw.get("pattern")
    if longest is not None and len(value) > longest:
        causes.append(too_long(path, longest))
    elif shortest is not None and len(value) < shortest and node.native:
        causes.append(required(path))
    elif shortest is not None and len(value) < shortest:
        causes.append(invalid(path, value, f"{path} in body should be at least {shortest} chars long"))
    elif pattern and not compile_pattern(pattern).search(value):
        causes.append(invalid(path, value, f"{path} in body should match '{pattern}'"))
    if node.format in FORMATS and not FORMATS[node.format](value):
        detail = f'{path} in body must be of type {raw["format"]}: "{value}"'
        causes.append(type_invalid(path, value, detail))
    return causes


def _number_faults(node: Node, value: float, path: str) -> list[Cause]:
    raw, causes = node.raw, list[Cause]()

    def bound(number: float) -> str:
        return str(int(number)) if isinstance(value, int) else go_float(number)

    if node.native:
        return _native_range_faults(raw, value, path)
    factor, high, low = raw.get("multipleOf"), raw.get("maximum"), raw.get("minimum")
    if factor is not None and value % factor:
        causes.append(invalid(path, value, f"{path} in body should be a multiple of {bound(factor)}"))
    if low is not None and (value <= low if raw.get("exclusiveMinimum") else value < low):
        words = "greater than" if raw.get("exclusiveMinimum") else "greater than or equal to"
        causes.append(invalid(path, value, f"{path} in body should be {words} {bound(low)}"))
    if high is not None and (value >= high if raw.get("exclusiveMaximum") else value > high):
        words = "less than" if raw.get("exclusiveMaximum") else "less than or equal to"
        causes.append(invalid(path, value, f"{path} in body should be {words} {bound(high)}"))
    return causes


def _native_range_faults(raw: JsonObject, value: float, path: str) -> list[Cause]:
    low, high = raw.get("minimum"), raw.get("maximum")
    if (low is None or value >= low) and (high is None or value <= high):
        return []
    if high is not None:
        return [invalid(path, value, f"must be between {low} and {high}, inclusive")]
    return [invalid(path, value, "must be greater than 0" if low == 1 else f"must be greater than or equal to {low}")]


def _list_faults(node: Node, value: list[Any], old: Any, path: str) -> list[Cause]:
    raw, causes = node.raw, list[Cause]()
    if node.items:
        for index, item in enumerate(value):
            before = _old_item(node, item, old)
            causes += explain(node.items, item, old=before, path=f"{path}[{index}]")
    fewest, most = raw.get("minItems"), raw.get("maxItems")
    if fewest is not None and len(value) < fewest:
        few = invalid(path, len(value), f"{path} in body should have at least {fewest} items")
        causes.append(required(path) if node.native else few)
    if most is not None and len(value) > most:
        causes.append(too_many(path, len(value), most))
    return causes


def _old_item(node: Node, item: Any, old: Any) -> Any:
    if node.list_type != "map" or not isinstance(old, list) or not isinstance(item, dict):
        return NOTHING
    key = [item.get(k) for k in node.list_keys]
    return next((o for o in old if isinstance(o, dict) and [o.get(k) for k in node.list_keys] == key), NOTHING)


def _object_faults(node: Node, value: JsonObject, old: Any, path: str) -> list[Cause]:
    raw, causes = node.raw, list[Cause]()
    before = old if isinstance(old, dict) else {}
    fewest, most = raw.get("minProperties"), raw.get("maxProperties")
    if fewest is not None and len(value) < fewest:
        causes.append(invalid(path, len(value), f"{path} in body should have at least {fewest} properties"))
    if most is not None and len(value) > most:
        causes.append(too_many(path, len(value), most))
    for key in sorted(value.keys() - node.properties.keys()):
        if isinstance(node.additional, Node):
            causes += explain(node.additional, value[key], old=before.get(key, NOTHING), path=_join(path, key))
        elif node.additional is False:
            causes.append(invalid(path, key, f"{path}.{key} in body is a forbidden property"))
    for key, prop in node.properties.items():
        if key in value:
            causes += explain(prop, value[key], old=before.get(key, NOTHING), path=_join(path, key))
    for key in (*node.required, "apiVersion", "kind") if node.embedded else node.required:
        if key not in value:
            causes += _missing(node.properties.get(key), _join(path, key))
    return causes


def _missing(node: Node | None, path: str) -> list[Cause]:
    if node and node.native and node.types == ("integer",):
        return _native_range_faults(node.raw, 0, path)  # a number that was not given is 0 there
    return [required(path)]


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _junctor_faults(node: Node, value: Any, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if node.any_of:
        results = [_faults(n, value, NOTHING, path) for n in node.any_of]
        if all(results):
            causes.append(invalid("", "", f'"{path}" must validate at least one schema (anyOf)'))
            causes += _closest(node.any_of, results, value)
    if node.one_of:
        results = [_faults(n, value, NOTHING, path) for n in node.one_of]
        valid = sum(not r for r in results)
        if valid != 1:
            found = f"Found {valid} valid alternatives" if valid else "Found none valid"
            causes.append(invalid("", "", f'"{path}" must validate one and only one schema (oneOf). {found}'))
            causes += [] if valid else _closest(node.one_of, results, value)
    if node.all_of:
        results = [_faults(n, value, NOTHING, path) for n in node.all_of]
        causes += [cause for result in results for cause in result]
        if any(results):
            none = ". None validated" if all(results) else ""
            causes.append(invalid("", "", f'"{path}" must validate all the schemas (allOf){none}'))
    if node.negated and not _faults(node.negated, value, NOTHING, path):
        causes.append(invalid("", "", f'"{path}" must not validate the schema (not)'))
    return causes


def _closest(branches: tuple[Node, ...], results: list[list[Cause]], value: Any) -> list[Cause]:
    """The faults of the branch that got furthest: the first with the most checks passed."""
    scores = [_score(branch, value) for branch in branches]
    return results[scores.index(max(scores))]


def _score(node: Node, value: Any) -> int:
    """How many checks the API server's validator counts as done; only the differences between branches matter."""
    score = 3  # junctors, enumeration, and the schema as such
    if node.types or node.format in FORMATS:
        score += 1 + (not _type_faults(node, value, ""))
    for branches in (node.any_of, node.one_of):
        passing = [b for b in branches if not _faults(b, value, NOTHING, "")]
        if branches and (passing or len(branches)):
            score += _score(passing[0], value) if passing else max(_score(b, value) for b in branches)
    score += sum(_score(b, value) for b in node.all_of)
    match value:
        case bool() | None:
            return score
        case str():
            return score + 1 + (node.format in FORMATS)
        case int() | float():
            return score + 2
        case list():
            return score + 2 + (sum(_score(node.items, item) for item in value) if node.items else 0)
        case _:
            children = ((node.child(key), item) for key, item in value.items())
            return score + 1 + sum(_score(child, item) for child, item in children if child)


def explain_lists(node: Node, value: Any, path: str = "") -> list[Cause]:
    """Duplicates in lists that are sets, or maps by key."""
    causes: list[Cause] = []
    if isinstance(value, list):
        keyed = node.list_type != "atomic" and (not node.native or node.raw.get("uniqueItems") is True)
        if keyed:
            causes += _duplicates(node, value, path)
        if node.items:
            for index, item in enumerate(value):
                causes += explain_lists(node.items, item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            child = node.child(key)
            if child:
                where = _join(path, key) if key in node.properties else f"{path}[{key}]"
                causes += explain_lists(child, item, where)
    return causes


def _duplicates(node: Node, value: list[Any], path: str) -> list[Cause]:
    causes: list[Cause] = []
    seen: dict[str, int] = {}
    for index, item in enumerate(value):
        if node.list_type == "map" and not isinstance(item, dict):
            return [invalid(f"{path}[{index}]", item, "must be an object for an array of list-type map")]
        key = {k: item[k] for k in node.list_keys if k in item} if node.list_type == "map" else item
        identity = json.dumps(key, sort_keys=True)
        seen[identity] = seen.get(identity, 0) + 1
        if seen[identity] == 2:
            if node.native and isinstance(key, dict) and len(key) == 1:
                causes += [duplicate(f"{path}[{index}].{name}", value) for name, value in key.items()]
            else:
                causes.append(duplicate(f"{path}[{index}]", key))
    return causes


def prune(node: Node | None, value: Any, path: str, found: list[str]) -> None:
    """Removes unknown fields from `value`, in place, and adds their paths to `found`."""
    keep = node is not None and node.preserve_unknown
    if isinstance(value, list):
        items = node.items if node else None
        if not keep or items:
            for index, item in enumerate(value):
                prune(items, item, f"{path}[{index}]", found)
        return
    if not isinstance(value, dict):
        return
    for key in list(value):
        if node and node.embedded and key in META_FIELDS:
            if key == "metadata":
                prune(METADATA_NODE, value[key], _join(path, key), found)
            continue
        if node and (key in node.properties or node.additional is not None):
            prune(node.child(key), value[key], _join(path, key), found)
        elif not keep:
            found.append(_join(path, key))
            del value[key]


def drop_nulls(node: Node | None, value: Any) -> None:
    """Removes nulls that are neither allowed nor stand for a default, in place."""
    if isinstance(value, list):
        for item in value:
            drop_nulls(node.items if node else None, item)
    elif isinstance(value, dict):
        for key, item in list(value.items()):
            child = node.child(key) if node else None
            if item is None and child and not child.nullable and child.raw.get("default") is None:
                del value[key]
            else:
                drop_nulls(child, item)
