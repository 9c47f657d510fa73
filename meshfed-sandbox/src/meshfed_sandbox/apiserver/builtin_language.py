"""A small language for the schemas of built-in kinds.

OpenAPI spells one field over ten lines; a reader who wants to know what a Service looks like should not need to scroll
through a thousand. One line is one field here:

    ServicePort: One port of a service.
      port! int 1..65535 # The port clients connect to.
      protocol string SCTP|TCP|UDP =TCP # Its transport.
      targets [Target] map(name) merge(name)

A type starts at the margin (`atomic`: it is owned and merged as a whole). A field is a name, `!` where it must be
given (and not be empty), a type, and what else holds. Types: `string int bool number bytes time quantity intstr any
metadata`, another type of the same source, `[T]` a list, `{T}` a map of strings to T. What else: `A|B` the values there
are, `1..9` or `0..` a range, `=x` the default, `{}` always there (if only empty), `map(a,b)` or `set` how a list is
keyed, `merge(k)` or `merge` how strategic merge patch merges it, `retain`, `replace`, `unique`. `#` starts what
`kubectl explain` says.
"""

from __future__ import annotations

import re
from typing import Any, Final

from meshfed_sandbox.apiserver.schema_node import METADATA, JsonObject

__all__ = ["kinds"]

_SCALARS: Final[dict[str, JsonObject]] = {
    "string": {"type": "string"},
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "number": {"type": "number"},
    "bytes": {"type": "string", "format": "byte"},
    "time": {"type": "string", "format": "date-time"},
    "quantity": {"anyOf": [{"type": "string"}, {"type": "number"}]},
    "intstr": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
    "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "metadata": METADATA,
}
_TYPE: Final = re.compile(r"(\w+)(?: (atomic))?:(?: (.*))?")
_FIELD: Final = re.compile(r"  ([\w$-]+)(!?) ([\w\[\]{}]+)([^#]*)(?:# (.*))?")
_RANGE: Final = re.compile(r"(-?\d+)\.\.(\d*)")
_CALL: Final = re.compile(r"(map|merge)\(([\w,]+)\)")


def kinds(group_version: str, names: list[str], *sources: str) -> dict[str, JsonObject]:
    """The schemas of the kinds `names`, by "group/version/Kind", from types written in the language above."""
    types: dict[str, tuple[JsonObject, list[str]]] = {}
    fields: list[str] = []
    for line in "\n".join(sources).splitlines():
        if match := _TYPE.fullmatch(line):
            name, atomic, text = match.groups()
            head: JsonObject = {"type": "object", "description": text or ""}
            types[name] = (head | ({"x-kubernetes-map-type": "atomic"} if atomic else {}), [])
            fields = types[name][1]
        elif line.strip():
            fields.append(line)
    done: dict[str, JsonObject] = {}
    group, _, version = group_version.rpartition("/")
    return {f"{group}/{version}/{name}": _root(_expand(name, types, done), group, version, name) for name in names}


def _root(schema: JsonObject, group: str, version: str, kind: str) -> JsonObject:
    own = schema["properties"]
    return schema | {
        "properties": {
            "apiVersion": _SCALARS["string"] | {"description": f"{group}/{version}".removeprefix("/") + " here."},
            "kind": _SCALARS["string"] | {"description": f"{kind} here."},
            "metadata": METADATA,
            **own,
        },
        "x-kubernetes-group-version-kind": [{"group": group, "version": version, "kind": kind}],
    }


def _expand(name: str, types: dict[str, tuple[JsonObject, list[str]]], done: dict[str, JsonObject]) -> JsonObject:
    if name in _SCALARS:
        return _SCALARS[name]
    if name not in done:
        head, lines = types[name]
        properties: JsonObject = {}
        required: list[str] = []
        for line in lines:
            match = _FIELD.fullmatch(line)
            if match is None:
                raise ValueError(f"{name}: not a field: {line!r}")
            field, must, kind, rest, text = match.groups()
            schema = _typed(kind, types, done)
            properties[field] = _qualified(schema, rest.split(), must=bool(must))
            if text:
                properties[field]["description"] = text
            if must:
                required.append(field)
        done[name] = head | {"properties": properties} | ({"required": required} if required else {})
    return done[name]


def _typed(kind: str, types: dict[str, tuple[JsonObject, list[str]]], done: dict[str, JsonObject]) -> JsonObject:
    inner = kind[1:-1]
    if kind[0] == "[":
        return {"type": "array", "items": _expand(inner, types, done), "x-kubernetes-list-type": "atomic"}
    if kind[0] == "{":
        return {"type": "object", "additionalProperties": _expand(inner, types, done)}
    return dict(_expand(kind, types, done))


def _qualified(schema: JsonObject, words: list[str], *, must: bool) -> JsonObject:
    result = dict(schema)
    if must and result.get("type") == "string":
        result["minLength"] = 1
    if must and result.get("type") == "array":
        result["minItems"] = 1
    for word in words:
        result |= _qualifier(word, result)
    return result


def _qualifier(word: str, schema: JsonObject) -> JsonObject:
    if match := _CALL.fullmatch(word):
        what, keys = match.groups()
        if what == "map":
            return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys.split(",")}
        return {"x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": keys}
    if match := _RANGE.fullmatch(word):
        low, high = match.groups()
        return {"minimum": int(low)} | ({"maximum": int(high)} if high else {})
    match word:
        case "{}":
            return {"default": {}}
        case "set":
            return {"x-kubernetes-list-type": "set"}
        case "atomic":
            return {"x-kubernetes-map-type": "atomic"}
        case "merge" | "replace":
            return {"x-kubernetes-patch-strategy": word}
        case "retain":
            strategy = schema.get("x-kubernetes-patch-strategy")
            return {"x-kubernetes-patch-strategy": f"{strategy},retainKeys" if strategy else "retainKeys"}
        case "unique":
            return {"uniqueItems": True}
    if word.startswith("="):
        return {"default": _literal(word[1:], schema)}
    if "|" in word:
        return {"enum": word.split("|")}
    raise ValueError(f"not part of the language: {word!r}")


def _literal(text: str, schema: JsonObject) -> Any:
    if schema.get("type") == "boolean":
        return text == "true"
    return int(text) if schema.get("type") == "integer" else text
