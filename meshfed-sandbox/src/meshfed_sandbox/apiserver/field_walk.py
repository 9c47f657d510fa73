"""Walks objects by their schema, in terms of field paths: what differs, what is said, what is merged, what is removed.

These are the four primitives of server-side apply (https://kubernetes.io/docs/reference/using-api/server-side-apply/).
What counts as one field is the schema's decision: a map or list marked atomic is one field, a keyed list is merged
item by item, and what the schema does not describe is merged map by map, with its lists atomic.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

from meshfed_sandbox.apiserver.field_sets import MEMBER, FieldSet, item_element
from meshfed_sandbox.apiserver.schema_node import JsonObject, Node

__all__ = ["Difference", "compare", "merge", "remove", "said", "with_named_fields"]

_ABSENT: Final = object()


def _shape(node: Node | None, value: Any) -> Literal["map", "list", "leaf"]:
    if isinstance(value, dict):
        return "leaf" if node and node.map_atomic else "map"
    if isinstance(value, list):
        return "list" if node and node.list_type != "atomic" else "leaf"
    return "leaf"


def _children(node: Node | None, value: Any) -> Iterable[tuple[str, Node | None, Any]]:
    """The path element, schema and value of each child of a map or keyed list."""
    if value is None:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"f:{key}", node.child(key) if node else None, item
    elif node:
        for item in value:
            yield item_element(node, item), node.items, item


class Difference(NamedTuple):
    """The paths that were added or got another value, and those that are gone."""

    changed: FieldSet
    removed: FieldSet


def compare(node: Node | None, old: Any, new: Any) -> Difference:
    """What differs. Both are maps or both keyed lists; a null is whatever the other is, and empty."""
    found = Difference({}, {})
    if isinstance(new, dict) or isinstance(old, dict):
        before = old or {}
        for key, item in (new or {}).items():
            previous = before.get(key, _ABSENT)
            if previous is not item and previous != item:
                _compare_child(node.child(key) if node else None, f"f:{key}", previous, item, found)
        for key in before:
            if not new or key not in new:
                found.removed[f"f:{key}"] = _whole(node.child(key) if node else None, before[key])
    elif node:
        kept = {item_element(node, item): item for item in old or ()}
        for item in new or ():
            key = item_element(node, item)
            previous = kept.pop(key, _ABSENT)
            if previous is not item and previous != item:
                _compare_child(node.items, key, previous, item, found)
        for key, item in kept.items():
            found.removed[key] = _whole(node.items, item)
    return found


def _compare_child(node: Node | None, key: str, previous: Any, item: Any, found: Difference) -> None:
    if previous is _ABSENT:
        found.changed[key] = _whole(node, item)
        return
    shape = _shape(node, previous if item is None else item)
    if shape == "leaf" or (None not in (item, previous) and shape != _shape(node, previous)):
        found.changed[key] = _whole(node, item)
        return
    changed, removed = compare(node, previous, item)
    if changed:
        found.changed[key] = changed
    if removed:
        found.removed[key] = removed


def _whole(node: Node | None, value: Any) -> FieldSet:
    """The set of a value that was not there before (or is not any more): itself and everything in it."""
    if _shape(node, value) == "leaf" or not value:
        return {}
    fields: FieldSet = {MEMBER: {}}
    for key, child, item in _children(node, value):
        fields[key] = {} if key in fields else _whole(child, item)
    return fields


def said(node: Node | None, value: Any) -> FieldSet:
    """The paths that an applied object speaks of: its leaves, items of lists, and entries of maps."""
    fields: FieldSet = {}
    for key, child, item in _children(node, value):
        shape = _shape(child, item)
        below = {} if shape == "leaf" else said(child, item)
        named = key[0] == "f" and node is not None and key[2:] in node.properties
        if shape == "leaf" or not named or item == {}:
            fields[key] = {MEMBER: {}, **below} if below else {}
        elif below:
            fields[key] = below
    return fields


def with_named_fields(node: Node | None, fields: FieldSet) -> FieldSet:
    """The set with the fields added that are parents in it and that the schema names."""
    result: FieldSet = {}
    for key, below in fields.items():
        if key == MEMBER:
            result[key] = below
            continue
        child = _child_by_element(node, key)
        named = key[0] == "f" and node is not None and key[2:] in node.properties
        deeper = with_named_fields(child, below)
        result[key] = {MEMBER: {}, **deeper} if deeper and named else deeper
    return result


def _child_by_element(node: Node | None, key: str) -> Node | None:
    if node is None:
        return None
    return node.child(key[2:]) if key[0] == "f" else node.items


def merge(node: Node | None, live: Any, applied: Any) -> Any:
    """`live` with what `applied` says put over it."""
    shape = _shape(node, applied)
    if shape == "leaf" or shape != _shape(node, live):
        return applied
    if shape == "map":
        merged = dict(live)
        for key, item in applied.items():
            merged[key] = merge(node.child(key) if node else None, live[key], item) if key in live else item
        return merged
    return _merge_items(node, live, applied) if node else applied


def _merge_items(node: Node, live: list[Any], applied: list[Any]) -> list[Any]:
    """Items in the applied order, with those that only the live list has where they were among the shared ones."""
    ours = {item_element(node, item): item for item in live}
    theirs = {item_element(node, item): item for item in applied}
    pending = list(ours)
    shared = [key for key in theirs if key in ours]
    merged: list[Any] = []
    for key, item in theirs.items():
        while pending and pending[0] != key:
            if pending[0] not in theirs:
                merged.append(ours[pending.pop(0)])
            elif shared and pending[0] == shared[0]:
                break
            else:
                pending.pop(0)
        if key in ours:
            shared.remove(key)
            pending = pending[1:] if pending and pending[0] == key else pending
            merged.append(merge(node.items, ours[key], item))
        else:
            merged.append(item)
    return merged + [ours[key] for key in pending if key not in theirs]


def remove(node: Node | None, value: Any, fields: FieldSet) -> Any:
    """`value` without the paths in `fields`; null where nothing is left.

    What is below a path stays as a null, since somebody may own the path itself.
    """
    if not fields:
        return value
    if _shape(node, value) == "leaf":
        return None
    kept: JsonObject = {}
    for key, child, item in _children(node, value):
        below = fields.get(key)
        if below is None:
            kept[key] = item
        elif below and MEMBER not in below:
            kept[key] = remove(child, item, below)
    if not kept:
        return None
    return {key[2:]: item for key, item in kept.items()} if isinstance(value, dict) else list(kept.values())
