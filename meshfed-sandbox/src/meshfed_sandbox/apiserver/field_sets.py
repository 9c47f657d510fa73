"""Sets of field paths in the shape in which objects carry them (`fieldsV1`), and their algebra.

A set is a nested dict: `{"f:spec": {".": {}, "f:ports": {'k:{"port":80}': {}}}}`. Keys are path elements: `f:` a
field, `k:` an item of a list by its keys, `v:` an item of a set by its value. A path is in the set where its dict is
empty or holds `.`. Working on this shape directly saves decoding and encoding it on every write. Sets are never
changed in place, since objects share them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from meshfed_sandbox.apiserver.causes import go_quote
from meshfed_sandbox.apiserver.schema_node import Node

__all__ = [
    "MEMBER",
    "FieldSet",
    "difference",
    "intersection",
    "item_element",
    "paths",
    "shown_element",
    "sorted_set",
    "union",
]

FieldSet: TypeAlias = dict[str, Any]

MEMBER: Final = "."


def _node(*, member: bool, children: FieldSet) -> FieldSet | None:
    """One path's dict; None where neither it nor anything below it is in the set."""
    if member:
        return {MEMBER: {}, **children} if children else {}
    return children or None


def _is_member(node: FieldSet) -> bool:
    return not node or MEMBER in node


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """The paths that are in either."""
    if not one or not other:
        return one or other
    result = dict(one)
    for key, theirs in other.items():
        ours = result.get(key)
        if ours is None:
            result[key] = theirs
        elif ours != theirs:
            result[key] = _union_node(ours, theirs)
    return result if len(result) == len(one) else {key: result[key] for key in sorted(result)}


def _union_node(one: FieldSet, other: FieldSet) -> FieldSet:
    member = _is_member(one) or _is_member(other)
    below = union(_below(one), _below(other))
    return _node(member=member, children=below) or {}


def _below(node: FieldSet) -> FieldSet:
    return {k: v for k, v in node.items() if k != MEMBER} if MEMBER in node else node


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """The paths that are in `one` and not in `other`."""
    if not other or not one:
        return one
    result: FieldSet = {}
    for key, ours in one.items():
        theirs = other.get(key)
        if theirs is None:
            result[key] = ours
            continue
        member = _is_member(ours) and not _is_member(theirs)
        kept = _node(member=member, children=difference(_below(ours), _below(theirs)))
        if kept is not None:
            result[key] = kept
    return result


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    """The paths that are in both."""
    result: FieldSet = {}
    for key, ours in one.items():
        theirs = other.get(key)
        if theirs is None:
            continue
        member = _is_member(ours) and _is_member(theirs)
        kept = _node(member=member, children=intersection(_below(ours), _below(theirs)))
        if kept is not None:
            result[key] = kept
    return result


def sorted_set(fields: FieldSet) -> FieldSet:
    """The same set with its keys in the order in which the API server writes them."""
    return {key: sorted_set(fields[key]) for key in sorted(fields)}


def paths(fields: FieldSet, prefix: str = "") -> Iterator[str]:
    """The paths of a set as people read them, e.g. `.spec.ports[port=80,protocol="TCP"].name`; parents first."""
    here = sorted((key, node) for key, node in fields.items() if key != MEMBER)
    for key, node in here:
        if _is_member(node):
            yield prefix + shown_element(key)
    for key, node in here:
        yield from paths(node, prefix + shown_element(key))


def shown_element(element: str) -> str:
    """A path element as people read it."""
    kind, _, rest = element.partition(":")
    if kind == "f":
        return f".{rest}"
    value = json.loads(rest)
    if kind == "k":
        return "[" + ",".join(f"{k}={_literal(v)}" for k, v in value.items()) + "]"
    return f"[={_literal(value)}]" if kind == "v" else f"[{rest}]"


def _literal(value: Any) -> str:
    return go_quote(value) if isinstance(value, str) else json.dumps(value)


def item_element(node: Node, item: Any) -> str:
    """The path element of an item of a list that is a set, or a map by keys."""
    if not node.list_keys or not isinstance(item, dict):
        return "v:" + json.dumps(item, ensure_ascii=False, separators=(",", ":"))
    keys: dict[str, Any] = {}
    for name in sorted(node.list_keys):
        if name in item:
            keys[name] = item[name]
        elif (
            node.items
            and (field := node.items.properties.get(name))
            and (default := field.raw.get("default")) is not None
        ):
            keys[name] = default
    return "k:" + json.dumps(keys, ensure_ascii=False, separators=(",", ":"))
