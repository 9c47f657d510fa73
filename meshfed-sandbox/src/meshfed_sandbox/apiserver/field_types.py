"""Does an applied object fit its schema well enough to say which fields it speaks of?

Server-side apply needs to know before anything else, so it has checks, and words, of its own: they come before those
of validation and the API server answers them with 500.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from meshfed_sandbox.apiserver.causes import go_print
from meshfed_sandbox.apiserver.field_sets import item_element, shown_element
from meshfed_sandbox.apiserver.schema_node import Node

__all__ = ["type_faults"]

_GO_TYPES: Final = {str: "string", bool: "bool", dict: "map[string]interface {}", list: "[]interface {}"}


def type_faults(node: Node, value: Any, path: str = "") -> Iterator[str]:
    """What does not fit, each starting with its path."""
    if value is None or len(node.types) != 1:
        return
    match node.types[0]:
        case "object" if not isinstance(value, dict):
            yield f"{path}: expected map, got &{{{go_print(value)}}}"
        case "object":
            yield from _map_faults(node, value, path)
        case "array" if not isinstance(value, list):
            yield f"{path}: expected list, got &{{{go_print(value)}}}"
        case "array":
            yield from _list_faults(node, value, path)
        case "string" | "boolean" as kind if type(value) is not {"string": str, "boolean": bool}[kind]:
            yield f"{path}: expected {kind}, got &value.valueUnstructured{{Value:{_go_literal(value)}}}"
        case "integer" | "number" if isinstance(value, bool) or not isinstance(value, int | float):
            yield f"{path}: expected numeric (int or float), got {_GO_TYPES[type(value)]}"


def _map_faults(node: Node, value: dict[str, Any], path: str) -> Iterator[str]:
    open_ended = node.preserve_unknown or node.additional is not None or not node.properties
    for key in sorted(value):
        child = node.child(key)
        if child:
            yield from type_faults(child, value[key], f"{path}.{key}")
        elif not open_ended:
            yield f"{path}.{key}: field not declared in schema"


def _list_faults(node: Node, value: list[Any], path: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, item in enumerate(value):
        where = f"{path}[{index}]"
        if node.list_type != "atomic":
            complaint = _cannot_be_item(node, item)
            if complaint:
                yield f"{path}: element {index}: {complaint}"
                continue
            element = item_element(node, item)
            where = path + shown_element(element)
            if element in seen:
                yield f"{path}: duplicate entries for key {shown_element(element)}"
                continue
            seen.add(element)
        if node.items:
            yield from type_faults(node.items, item, where)


def _cannot_be_item(node: Node, item: Any) -> str:
    match node.list_type, item:
        case "map", None:
            return "associative list with keys may not have a null element"
        case "map", dict():
            return ""
        case "map", _:
            return "associative list with keys may not have non-map elements"
        case "set", dict():
            return "associative list without keys has an element that's a map type"
        case "set", list():
            return "not supported: associative list with lists as elements"
        case "set", None:
            return "associative list without keys has an element that's an explicit null"
        case _:
            return ""


def _go_literal(value: Any) -> str:
    match value:
        case dict():
            return "map[string]interface {}{" + ", ".join(f'"{k}":{_go_literal(value[k])}' for k in sorted(value)) + "}"
        case list():
            return "[]interface {}{" + ", ".join(map(_go_literal, value)) + "}"
        case _:
            return json.dumps(value)
