"""The fast half of a schema: closures that say yes to a good object without naming a single path.

Nearly every object a server sees is valid, has no unknown fields and wants few defaults. So a schema is compiled to
predicates that only answer yes or no; where one says no, `schema_faults` walks the object again and says why. A
predicate may say no too often (the explanation then finds nothing), but never yes to what is wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

from meshfed_sandbox.apiserver.schema_formats import FORMATS, compile_pattern
from meshfed_sandbox.apiserver.schema_node import INT_OR_STRING, METADATA_NODE, Node

__all__ = ["Check", "Default", "compile_check", "compile_clean", "compile_default", "has_null", "is_unique", "same"]

Check: TypeAlias = Callable[[Any], bool]
Default: TypeAlias = Callable[[Any], None]

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


def _yes(_: object) -> bool:
    return True


def _no(_: object) -> bool:
    return False


def compile_check(node: Node, *, exact: bool = False) -> Check | type:
    """Is a value valid? A bare type stands for "any value of exactly this type".

    Args:
        node: the schema.
        exact: the answer must be right both ways, as branches of `oneOf` and `not` need it.
    """
    kinds = node.types or tuple(_JSON_TYPES)
    table: dict[type, Check] = {}
    for kind in kinds:
        for cls in _JSON_TYPES.get(kind, ()):
            table[cls] = _compile_kind(node, cls, exact=exact)
    if "integer" in kinds and "number" not in kinds:
        inner = table[float]
        table[float] = lambda v: v.is_integer() and inner(v)
    if node.nullable or not node.types:
        table[type(None)] = _yes
    junctors = _junctors(node)
    if not junctors and not node.nullable and len(node.types) == 1:
        cls = _JSON_TYPES.get(kinds[0], (object,))[0]
        test = table.get(cls, _no)
        if test is _yes and (cls in (str, bool) or (cls is int and not exact)):
            return cls
        if cls in (dict, list, str):
            return lambda v: v.__class__ is cls and test(v)
    get = table.get

    def check(value: Any) -> bool:
        return get(value.__class__, _no)(value)

    return _all([check, *junctors])


def _all(tests: list[Check]) -> Check:
    match tests:
        case []:
            return _yes
        case [one]:
            return one
        case [one, two]:
            return lambda v: one(v) and two(v)
        case _:
            return lambda v: all(test(v) for test in tests)


def _compile_kind(node: Node, cls: type, *, exact: bool) -> Check:
    if cls is dict:
        return _compile_object(node, exact=exact)
    if cls is list:
        return _compile_list(node, exact=exact)
    return _all(_string_tests(node) if cls is str else _number_tests(node) if cls is not bool else [])


def _string_tests(node: Node) -> list[Check]:
    raw, tests = node.raw, list[Check]()
    if (longest := raw.get("maxLength")) is not None:
        tests.append(lambda v: len(v) <= longest)
    if (shortest := raw.get("minLength")) is not None:
        tests.append(lambda v: len(v) >= shortest)
    if raw.get("pattern"):
        search = compile_pattern(raw["pattern"]).search
        tests.append(lambda v: search(v) is not None)
    if node.format in FORMATS:
        tests.append(FORMATS[node.format])
    return tests


def _number_tests(node: Node) -> list[Check]:
    raw, tests = node.raw, list[Check]()
    if (low := raw.get("minimum")) is not None:
        tests.append((lambda v: v > low) if raw.get("exclusiveMinimum") else (lambda v: v >= low))
    if (high := raw.get("maximum")) is not None:
        tests.append((lambda v: v < high) if raw.get("exclusiveMaximum") else (lambda v: v <= high))
    if (factor := raw.get("multipleOf")) is not None:
        tests.append(lambda v: v % factor == 0)
    return tests


def _compile_object(node: Node, *, exact: bool) -> Check:
    """For values that are known to be maps."""
    raw = node.raw
    children = {name: compile_check(prop, exact=exact) for name, prop in node.properties.items()}
    other = compile_check(node.additional, exact=exact) if isinstance(node.additional, Node) else None
    required = frozenset((*node.required, "apiVersion", "kind") if node.embedded else node.required)
    fewest, most = raw.get("minProperties", 0), raw.get("maxProperties")
    get = children.get

    def check(value: dict[str, Any]) -> bool:
        for key, item in value.items():
            test = get(key, other)
            if test is None:
                continue
            if test.__class__ is type:
                if item.__class__ is not test:
                    return False
            elif not test(item):
                return False
        return required <= value.keys() and len(value) >= fewest and (most is None or len(value) <= most)

    return check


def _compile_list(node: Node, *, exact: bool) -> Check:
    """For values that are known to be lists."""
    raw = node.raw
    test = compile_check(node.items, exact=exact) if node.items else _yes
    fewest, most = raw.get("minItems", 0), raw.get("maxItems")
    keyed = node.list_type != "atomic" and (not node.native or raw.get("uniqueItems") is True)

    def check(value: list[Any]) -> bool:
        if test.__class__ is type:
            for item in value:
                if item.__class__ is not test:
                    return False
        else:
            for item in value:
                if not test(item):
                    return False
        count = len(value)
        return (
            count >= fewest and (most is None or count <= most) and (count < 2 or not keyed or is_unique(node, value))
        )

    return check


def is_unique(node: Node, value: list[Any]) -> bool:
    """Do the items of a set, or the keys of the items of a map, differ from one another?"""
    if node.list_type == "set":
        seen = [v if isinstance(v, str) else repr(v) for v in value]
    else:
        keys = node.list_keys
        seen = [repr([v.get(k) for k in keys]) if isinstance(v, dict) else repr(v) for v in value]
    return len(set(seen)) == len(seen)


def _junctors(node: Node) -> list[Check]:
    tests = [_callable(n) for n in node.all_of]
    if allowed := node.raw.get("enum"):
        strings = frozenset(v for v in allowed if isinstance(v, str))
        others = [v for v in allowed if not isinstance(v, str)]
        tests.append(lambda v: v in strings if v.__class__ is str else any(same(v, a) for a in others))
    redundant = len(node.types) > 1 and node.raw.get("anyOf") == INT_OR_STRING  # says what the type says
    if node.any_of and not redundant:
        any_of = [_callable(n) for n in node.any_of]
        tests.append(lambda v: any(test(v) for test in any_of))
    if node.one_of:
        one_of = [_callable(n) for n in node.one_of]
        tests.append(lambda v: sum(test(v) for test in one_of) == 1)
    if node.negated:
        negated = _callable(node.negated)
        tests.append(lambda v: not negated(v))
    return tests


def _callable(node: Node) -> Check:
    test = compile_check(node, exact=True)
    return (lambda v: v.__class__ is test) if isinstance(test, type) else test


def compile_clean(node: Node) -> Check | None:
    """Is every field known? None where a value of this schema cannot hold an unknown field."""
    if node.items:
        return _clean_list(compile_clean(node.items))
    if not (node.properties or node.additional is not None or "object" in node.types):
        return None
    children: dict[str, Check | None] = {name: compile_clean(prop) for name, prop in node.properties.items()}
    if node.embedded:
        children |= {"apiVersion": None, "kind": None, "metadata": compile_clean(METADATA_NODE)}
    other: Check | None = None if node.preserve_unknown else _no
    if isinstance(node.additional, Node):
        other = compile_clean(node.additional)
    if other is None and not any(children.values()):
        return None
    get = children.get

    def clean(value: Any) -> bool:
        if value.__class__ is not dict:
            return value.__class__ is not list
        for key, item in value.items():
            test = get(key, other)
            if test is not None and not test(item):
                return False
        return True

    return clean


def _clean_list(test: Check | None) -> Check | None:
    if test is None:
        return None

    def clean(value: Any) -> bool:
        return value.__class__ is not list or all(map(test, value))

    return clean


def compile_default(node: Node) -> Default | None:
    """Brings a value into its stored form, in place: defaults are put in, what its kind never writes empty goes.

    None where there is nothing to do at or below this schema.
    """
    if node.items:
        return _default_list(compile_default(node.items))
    steps: list[Default] = []
    if own := [(name, prop) for name, prop in node.properties.items() if prop.raw.get("default") is not None]:
        steps.append(_put_in(own))
    if below := {name: fill for name, prop in node.properties.items() if (fill := compile_default(prop))}:
        steps.append(_descend(below))
    if isinstance(node.additional, Node) and (other := compile_default(node.additional)):
        steps.append(_descend_others(node.properties.keys(), other))
    if dropped := _dropped_when_empty(node):
        steps.append(_drop(dropped))
    if not steps:
        return None

    def default(value: Any) -> None:
        if value.__class__ is dict:
            for step in steps:
                step(value)

    return default


def _put_in(own: list[tuple[str, Node]]) -> Default:
    defaults = [(name, prop.raw["default"], prop.nullable) for name, prop in own]

    def put_in(value: dict[str, Any]) -> None:
        for key, default, nullable in defaults:
            if key not in value or (value[key] is None and not nullable):
                value[key] = copy.deepcopy(default) if default.__class__ in (dict, list) else default

    return put_in


def _descend(below: dict[str, Default]) -> Default:
    def descend(value: dict[str, Any]) -> None:
        for key, deeper in below.items():
            if key in value:
                deeper(value[key])

    return descend


def _descend_others(known: Collection[str], other: Default) -> Default:
    def descend(value: dict[str, Any]) -> None:
        for key, item in value.items():
            if key not in known:
                other(item)

    return descend


def _drop(names: frozenset[str]) -> Default:
    def drop(value: dict[str, Any]) -> None:
        for key in [k for k, v in value.items() if (v.__class__ is dict or v.__class__ is list) and not v]:
            if key in names:
                del value[key]

    return drop


def _dropped_when_empty(node: Node) -> frozenset[str]:
    """Maps and lists that Kubernetes' own types leave out where they are empty."""
    return frozenset(
        name
        for name, prop in node.properties.items()
        if prop.native and name not in node.required and ("array" in prop.types or isinstance(prop.additional, Node))
    )


def _default_list(fill: Default | None) -> Default | None:
    if fill is None:
        return None

    def fill_items(value: Any) -> None:
        if value.__class__ is list:
            for item in value:
                fill(item)

    return fill_items


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(v, other[k]) for k, v in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def has_null(value: Any) -> bool:
    """Is there a null anywhere in `value`?"""
    cls = value.__class__
    if cls is dict:
        value = value.values()
    elif cls is not list:
        return value is None
    for item in value:
        cls = item.__class__
        if cls is str or cls is int or cls is bool:
            continue
        if has_null(item):
            return True
    return False
