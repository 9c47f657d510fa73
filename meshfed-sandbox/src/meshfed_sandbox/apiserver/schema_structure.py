"""What the API server demands of the schema in a CustomResourceDefinition itself.

A schema must be "structural": it says the type of every field outside of `anyOf`, `allOf`, `oneOf` and `not`, which may
only narrow values. Otherwise pruning, defaulting and field ownership could not know what an object looks like.
See https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal

from meshfed_sandbox.apiserver.causes import Cause, forbidden, invalid, not_supported, required
from meshfed_sandbox.apiserver.schema_formats import compile_pattern
from meshfed_sandbox.apiserver.schema_node import INT_OR_STRING, JsonObject

__all__ = ["structural_faults"]

_TYPES: Final = ["array", "boolean", "integer", "number", "object", "string"]
_EMPTY_TYPE: Final = {
    "root": "must not be empty at the root",
    "field": "must not be empty for specified object fields",
    "item": "must not be empty for specified array items",
}
_NOT_IN_BRANCHES: Final = {
    "type": "must be empty to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "additionalProperties": "must be undefined to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}

Level = Literal["root", "field", "item"]


def structural_faults(raw: JsonObject, path: str) -> list[Cause]:
    """What is wrong with a schema, in the order of the paths; `path` is where it is."""
    causes = _faults(raw, path, "root")
    metadata = raw.get("properties", {}).get("metadata")
    if metadata and metadata.get("properties", {}).keys() - {"name", "generateName"}:
        detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        causes.append(forbidden(f"{path}.properties[metadata]", detail))
    if "additionalProperties" in raw:
        causes.append(forbidden(f"{path}.additionalProperties", "must not be used at the root"))
    return sorted(causes, key=str)


def _faults(raw: JsonObject, path: str, level: Level) -> list[Cause]:
    causes = _type_faults(raw, path, level) + _list_faults(raw, path)
    properties, additional, items = raw.get("properties") or {}, raw.get("additionalProperties"), raw.get("items")
    if "$ref" in raw:
        causes.append(forbidden(f"{path}.$ref", "$ref is not supported"))
    if raw.get("uniqueItems"):
        slow = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        causes.append(forbidden(f"{path}.uniqueItems", slow))
    if additional is not None and properties:
        causes.append(
            forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
        )
    if additional is False:
        causes.append(forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false"))
    if raw.get("x-kubernetes-preserve-unknown-fields") is False:
        where = f"{path}.x-kubernetes-preserve-unknown-fields"
        causes.append(invalid(where, value=False, detail="must be true or undefined"))
    if (
        raw.get("x-kubernetes-embedded-resource")
        and not raw.get("x-kubernetes-preserve-unknown-fields")
        and not properties
    ):
        detail = (
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        )
        causes.append(required(f"{path}.properties", detail))
    for name, prop in properties.items():
        causes += _faults(prop, f"{path}.properties[{name}]", "field")
    if isinstance(additional, dict):
        causes += _faults(additional, f"{path}.additionalProperties", "field")
    if isinstance(items, dict):
        causes += _faults(items, f"{path}.items", "item")
    return causes + _value_faults(raw, path)


def _type_faults(raw: JsonObject, path: str, level: Level) -> list[Cause]:
    kind = raw.get("type")
    if kind is not None and kind not in _TYPES:
        return [not_supported(f"{path}.type", kind, _TYPES)]
    if raw.get("x-kubernetes-embedded-resource") and kind != "object":
        detail = "must be object if x-kubernetes-embedded-resource is true"
        return [invalid(f"{path}.type", kind, detail) if kind else required(f"{path}.type", detail)]
    untyped = raw.get("x-kubernetes-int-or-string") or raw.get("x-kubernetes-preserve-unknown-fields")
    if not kind and not untyped:
        return [required(f"{path}.type", _EMPTY_TYPE[level])]
    if level == "root" and kind and kind != "object":
        return [invalid(f"{path}.type", kind, "must be object at the root")]
    if kind == "array" and "items" not in raw:
        return [required(f"{path}.items", "must be specified")]
    return []


def _list_faults(raw: JsonObject, path: str) -> list[Cause]:
    list_type, keys, causes = raw.get("x-kubernetes-list-type"), raw.get("x-kubernetes-list-map-keys"), list[Cause]()
    if list_type not in (None, "atomic", "set", "map"):
        causes.append(not_supported(f"{path}.x-kubernetes-list-type", list_type, ["atomic", "set", "map"]))
    if raw.get("x-kubernetes-map-type") not in (None, "atomic", "granular"):
        found = raw["x-kubernetes-map-type"]
        causes.append(not_supported(f"{path}.x-kubernetes-map-type", found, ["atomic", "granular"]))
    if keys and list_type != "map":
        detail = "must be map if x-kubernetes-list-map-keys is non-empty"
        where = f"{path}.x-kubernetes-list-type"
        causes.append(invalid(where, list_type, detail) if list_type else required(where, detail))
    if list_type != "map":
        return causes
    if not keys:
        detail = "must not be empty if x-kubernetes-list-type is map"
        causes.append(required(f"{path}.x-kubernetes-list-map-keys", detail))
    items = raw.get("items") or {}
    for key in keys or ():
        prop = items.get("properties", {}).get(key)
        where = f"{path}.items.properties[{key}]"
        if prop is None:
            detail = "entries must all be names of item properties"
            causes.append(invalid(f"{path}.x-kubernetes-list-map-keys", keys, detail))
        elif "default" not in prop and key not in (items.get("required") or ()):
            detail = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            )
            causes.append(required(f"{where}.default", detail))
        elif prop.get("type") in ("object", "array"):
            detail = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            causes.append(invalid(f"{where}.type", items.get("type"), detail))
    return causes


def _value_faults(raw: JsonObject, path: str) -> list[Cause]:
    """Of what narrows values: patterns, and the branches of `anyOf` and its like."""
    causes: list[Cause] = []
    if pattern := raw.get("pattern"):
        try:
            compile_pattern(pattern)
        except re.error as error:
            detail = f"must be a valid regular expression, but isn't: error parsing regexp: {error}"
            causes.append(invalid(f"{path}.pattern", pattern, detail))
    for junctor in ("anyOf", "allOf", "oneOf"):
        if raw.get("x-kubernetes-int-or-string") and raw.get(junctor) == INT_OR_STRING:
            continue
        for index, branch in enumerate(raw.get(junctor) or ()):
            wrapped = index == 0 and junctor == "allOf" and raw.get("x-kubernetes-int-or-string")
            inner = {k: v for k, v in branch.items() if k != "anyOf"} if wrapped else branch
            causes += _branch_faults(inner, f"{path}.{junctor}[{index}]", rules=junctor == "allOf")
    if isinstance(raw.get("not"), dict):
        causes += _branch_faults(raw["not"], f"{path}.not", rules=False)
    return causes


def _branch_faults(raw: JsonObject, path: str, *, rules: bool) -> list[Cause]:
    def absent(value: Any) -> bool:
        return value is None or value is False or value in ("", [])

    causes = [
        forbidden(f"{path}.{key}", detail)
        for key, detail in _NOT_IN_BRANCHES.items()
        if not absent(raw.get(key)) and not (rules and key == "x-kubernetes-validations")
    ]
    for name, prop in (raw.get("properties") or {}).items():
        where = f"{path}.properties[{name}]"
        if name == "metadata":
            causes.append(forbidden(where, "must not be specified in a nested context"))
        causes += _branch_faults(prop, where, rules=rules)
    if isinstance(raw.get("items"), dict):
        causes += _branch_faults(raw["items"], f"{path}.items", rules=rules)
    return causes + _value_faults(raw, path)
