"""The schema of a kind: prunes, defaults and validates objects as the API server does.

The pieces live next door: `schema_node` reads a schema, `schema_check` compiles it into fast predicates,
`schema_faults` finds the words when a predicate says no, `cel` runs the validation rules.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import msgspec

from meshfed_sandbox.apiserver.builtin_rules import RULES
from meshfed_sandbox.apiserver.causes import Cause
from meshfed_sandbox.apiserver.cel import RuleTree, compile_rules
from meshfed_sandbox.apiserver.schema_check import compile_check, compile_clean, compile_default, has_null
from meshfed_sandbox.apiserver.schema_faults import NOTHING, drop_nulls, explain, explain_lists, prune
from meshfed_sandbox.apiserver.schema_node import METADATA_NODE, JsonObject, Node, parse
from meshfed_sandbox.apiserver.schema_structure import structural_faults

__all__ = ["Cause", "Schema", "SchemaError"]

_BLOCKING = frozenset(
    {
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)
_UNCHECKED = Cause(
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
    "<nil>",
)


class SchemaError(Exception):
    """A schema that cannot be used, such as one with a rule that does not compile.

    Attributes:
        causes: what is wrong with it; fields start with `openAPIV3Schema`.
    """

    def __init__(self, causes: list[Cause]) -> None:
        super().__init__("; ".join(map(str, causes)))
        self.causes = tuple(causes)


class Schema:
    """A compiled structural schema; one serves any number of objects.

    Attributes:
        node: the schema as a tree, for what walks objects by themselves (patches, field ownership).
        builtin: it is a kind of Kubernetes itself, whose fields without a pointer are always there.
    """

    def __init__(self, node: Node, rules: RuleTree | None) -> None:
        self.node = node
        self.builtin = node.native
        self._rules = rules
        self._native_rule = RULES.get(_kind_key(node.raw)) if node.native else None
        self._check: Callable[[object], bool] = _as_predicate(node)
        self._clean = compile_clean(node)
        self._fill = compile_default(node)
        self._empty = _always_there(node) if self.builtin else {}

    @classmethod
    def compile(cls, openapi_v3: JsonObject) -> Schema:
        """Compiles the schema of a kind: a CRD's `openAPIV3Schema` or one of `BUILTIN_SCHEMAS`.

        That takes a while, so servers in one process share what is compiled: it does not change, nor with `openapi_v3`.

        Raises:
            SchemaError: it is not structural, or a validation rule, pattern or default in it is wrong.
        """
        return _compiled(msgspec.json.encode(openapi_v3))

    def empty(self) -> JsonObject:
        """What an object of this kind has before anybody set anything; it is the caller's own.

        Kinds of Kubernetes have fields that are always there, if only as `{}`; custom resources have nothing.
        """
        return copy.deepcopy(self._empty)

    def prune(self, obj: JsonObject) -> list[str]:
        """Removes what the schema does not know, in place; returns the paths, sorted, e.g. `spec.ports[0].bar`."""
        found: list[str] = []
        if self._clean is not None and not self._clean(obj):
            prune(self.node, obj, "", found)
        found.sort()
        return found

    def default(self, obj: JsonObject) -> None:
        """Fills in defaults and drops nulls that mean nothing, in place."""
        if has_null(obj):
            drop_nulls(self.node, obj)
        if self._fill is not None:
            self._fill(obj)

    def validate(self, obj: JsonObject, old: JsonObject | None = None) -> list[Cause]:
        """What is wrong with `obj`; on an update, faults that `old` has in the same place are forgiven."""
        causes: list[Cause] = []
        if not self._check(obj):
            causes = explain(self.node, obj, old=NOTHING if old is None else old)
            if old is None or not explain_lists(self.node, old):
                causes += explain_lists(self.node, obj)
        if self._native_rule is not None and not any(c.reason == "FieldValueTypeInvalid" for c in causes):
            known = {cause.field for cause in causes}
            causes += [cause for cause in self._native_rule(obj, old) if cause.field not in known]
        if self._rules is not None:
            if any(cause.reason in _BLOCKING for cause in causes):
                causes.append(_UNCHECKED)
            else:
                causes += self._rules.validate(obj, old)
        return causes


def _default_faults(node: Node, path: str) -> list[Cause]:
    """Defaults must themselves be valid."""
    causes: list[Cause] = []
    default = node.raw.get("default")
    if default is not None:
        where = f"{path}.default"
        for cause in explain(node, default):
            inner = "" if cause.field == "<nil>" else f".{cause.field}"
            causes.append(cause._replace(field=where + inner))
    for name, prop in node.properties.items():
        causes += _default_faults(prop, f"{path}.properties[{name}]")
    if isinstance(node.additional, Node):
        causes += _default_faults(node.additional, f"{path}.additionalProperties")
    return causes + (_default_faults(node.items, f"{path}.items") if node.items else [])


def _kind_key(openapi_v3: JsonObject) -> str:
    (kind,) = openapi_v3["x-kubernetes-group-version-kind"]
    return f"{kind['group']}/{kind['version']}/{kind['kind']}"


@lru_cache(maxsize=1024)
def _compiled(encoded: bytes) -> Schema:
    openapi_v3: JsonObject = msgspec.json.decode(encoded)
    native = _is_builtin(openapi_v3)
    problems = [] if native else structural_faults(openapi_v3, "openAPIV3Schema")
    if problems:
        raise SchemaError(problems)
    node = parse(openapi_v3, native=native)
    node.embedded = True
    rules = compile_rules(node, "openAPIV3Schema", problems)
    if not native:
        problems += _default_faults(node, "openAPIV3Schema")
    if problems:
        raise SchemaError(problems)
    metadata = node.properties.get("metadata")
    named = {key: Node({"type": "string"}, ("string",)) for key in ("apiVersion", "kind")}
    node.properties = named | node.properties | {"metadata": _merged_metadata(metadata)}
    return Schema(node, rules)


def _is_builtin(openapi_v3: JsonObject) -> bool:
    # A CustomResourceDefinition may not say this; the published schemas of built-in kinds do.
    return "x-kubernetes-group-version-kind" in openapi_v3


def _as_predicate(node: Node) -> Callable[[object], bool]:
    check = compile_check(node)
    return (lambda v: v.__class__ is check) if isinstance(check, type) else check


def _merged_metadata(own: Node | None) -> Node:
    """What every object's metadata may hold, and what this schema asks of the name besides."""
    if own is None or not own.properties:
        return METADATA_NODE
    return replace(METADATA_NODE, properties=METADATA_NODE.properties | own.properties)


def _always_there(node: Node) -> JsonObject:
    """Fields whose default is the zero of their type, and lists that must be given, are no pointers in Kubernetes."""
    found: JsonObject = {}
    for name, prop in node.properties.items():
        default = prop.raw.get("default")
        if default in ({}, "", 0, False):
            found[name] = _always_there(prop) if default == {} else default
        elif "array" in prop.types and name in node.required:
            found[name] = None
    return found
