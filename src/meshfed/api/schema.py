"""Structural OpenAPI v3 schemas from the API's types, as CustomResourceDefinitions hold them.

msgspec can write JSON Schema itself, but with ``$ref`` and ``anyOf``, which a structural schema must not have, and
without what Kubernetes adds: list types, CEL rules, and defaults that the API server fills in.
"""

from __future__ import annotations

import ast
import inspect as source
import itertools
import sys
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

import msgspec
from msgspec import inspect

from meshfed.api.validation_rules import RULES

Schema = dict[str, Any]


def structural(kind: type[msgspec.Struct], *, defaults: bool) -> Schema:
    """The schema of ``kind``; with ``defaults`` the fields' defaults are part of it.

    Raises TypeError for a type that a structural schema cannot express.
    """
    return _schema(inspect.type_info(kind), defaults=defaults)


def plain(docstring: str | None) -> str:
    """A docstring as one line of plain text, for people who do not read reStructuredText."""
    return " ".join((docstring or "").replace("``", "`").split())


@lru_cache
def field_docs(cls: type[msgspec.Struct]) -> dict[str, str]:
    """What the string below each field says, by the field's name in Python; inherited fields included."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base is not msgspec.Struct and issubclass(base, msgspec.Struct):
            docs |= _documented(base.__module__)[base.__qualname__]
    return docs


@cache
def _documented(module: str) -> dict[str, dict[str, str]]:
    """The same of each class at the top of a module, by its name: a source is read once, for all of its classes."""
    tree = ast.parse(source.getsource(sys.modules[module]))
    return {one.name: dict(_documented_fields(one)) for one in tree.body if isinstance(one, ast.ClassDef)}


def _documented_fields(definition: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, after in itertools.pairwise(definition.body):
        match statement, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, plain(text)


def _schema(type_: inspect.Type, *, defaults: bool) -> Schema:
    match type_:
        case inspect.Metadata(type=inner, extra_json_schema=extra):
            return _schema(inner, defaults=defaults) | (extra or {})
        case inspect.UnionType(types=types):
            return _union([member for member in types if not isinstance(member, inspect.NoneType)], defaults=defaults)
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType(ge=low, le=high):
            small = low is not None and high is not None and low >= -(2**31) and high < 2**31
            return _given(type="integer", format="int32" if small else "int64", minimum=low, maximum=high)
        case inspect.StrType(min_length=low, max_length=high, pattern=pattern):
            return _given(type="string", minLength=low, maxLength=high, pattern=pattern)
        case inspect.LiteralType(values=values):
            return {"type": "string", "enum": list(values)}
        case inspect.DictType(value_type=value, min_length=low, max_length=high):
            return _given(
                type="object",
                additionalProperties=_schema(value, defaults=defaults),
                minProperties=low,
                maxProperties=high,
            )
        case inspect.VarTupleType(item_type=item, min_length=low, max_length=high):
            kind = {"x-kubernetes-list-type": "atomic"}
            return _given(type="array", items=_schema(item, defaults=defaults), minItems=low, maxItems=high) | kind
        case inspect.StructType():
            return _struct(type_, defaults=defaults)
        case _:
            raise TypeError(f"a structural schema cannot express {type_}")


def _union(members: list[inspect.Type], *, defaults: bool) -> Schema:
    if len(members) == 1:
        return _schema(members[0], defaults=defaults)
    found = sorted((_schema(member, defaults=defaults) for member in members), key=lambda one: str(one.get("type")))
    if [one.get("type") for one in found] == ["integer", "string"]:
        titles = [one["title"] for one in found if "title" in one]
        both = _given(title=" or ".join(titles) or None, **{"x-kubernetes-int-or-string": True})
        return {key: value for one in found for key, value in one.items() if key not in {"type", "format"}} | both
    raise TypeError(f"a structural schema cannot express a choice between {members}")


def _struct(type_: inspect.StructType, *, defaults: bool) -> Schema:
    docs = field_docs(type_.cls)
    properties: dict[str, Schema] = {}
    for field in type_.fields:
        schema = _schema(field.type, defaults=defaults)
        properties[field.encode_name] = schema | _given(
            description=docs.get(field.name),
            default=_default(field.default) if defaults else None,
        )
    result = _given(
        type="object",
        description=plain(type_.cls.__doc__),
        properties=properties,
        required=[field.encode_name for field in type_.fields if field.required],
    )
    _attach_rules(result, type_.cls)
    return result


def _default(value: object) -> object:
    """What the API server fills in; an empty text or list says no more than an absent one, so it is left out."""
    if isinstance(value, msgspec.Struct):
        return {}  # the parts fill themselves in from there
    if value in (None, msgspec.NODEFAULT, "", ()):
        return None
    return list(value) if isinstance(value, tuple) else value


def _attach_rules(schema: Schema, cls: type[msgspec.Struct]) -> None:
    for rule in RULES:
        if rule.on is cls:
            node = schema
            if rule.part:
                node = schema["properties"][rule.part.removesuffix("[]")]
                node = node["items"] if rule.part.endswith("[]") else node
            entry = _given(rule=rule.cel, message=rule.message, fieldPath=rule.field or None)
            node.setdefault("x-kubernetes-validations", []).append(entry)


def _given(**entries: object) -> Schema:
    return {key: value for key, value in entries.items() if value is not None and value != []}
