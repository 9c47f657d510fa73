"""Properties: the fast checks and the explanations agree, sets obey their algebra, an apply is a fixed point."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshfed_sandbox.apiserver.builtin_defaults import BUILTIN_SCHEMAS
from meshfed_sandbox.apiserver.field_sets import FieldSet, difference, intersection, paths, union
from meshfed_sandbox.apiserver.managed_fields import apply, update
from meshfed_sandbox.apiserver.schema import Schema
from meshfed_sandbox.apiserver.schema_check import compile_check, compile_clean
from meshfed_sandbox.apiserver.schema_faults import explain, explain_lists, prune
from meshfed_sandbox.apiserver.schema_node import parse
from tests.sandbox.objects import cases
from tests.sandbox.objects.cases import GROUP, JsonObject, Step, custom
from tests.sandbox.objects.serving import Life

_RAW = cases.schema("values")["properties"]["spec"]
_SPEC = parse(_RAW)
_CHECK = compile_check(_SPEC)
_CLEAN = compile_clean(_SPEC) or bool
_OWNED = Schema.compile(cases.schema("ownership"))
_API: Any = {"schema": _OWNED, "api_version": f"{GROUP}/v1"}

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 12),
    st.sampled_from([0.5, 1.5, 2.0]),
    st.sampled_from(["a", "b", "ab", "5%", ""]),
)
_json = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", "k", "x", "name", "port", "v"]), inner, max_size=3),
    ),
    max_leaves=6,
)


def _fits(spec: JsonObject) -> bool:
    assert not isinstance(_CHECK, type)
    return _CHECK(spec)


@given(st.dictionaries(st.sampled_from([*_RAW["properties"], "unknown"]), _json, max_size=4))
@settings(max_examples=120, deadline=None)
def test_what_the_fast_check_accepts_needs_no_explanation(spec: JsonObject) -> None:
    if _fits(spec):
        assert explain(_SPEC, spec) + explain_lists(_SPEC, spec) == []


@pytest.mark.parametrize("kind", ["oo", "oo2", "ao", "al", "nt", "onot", "ios2", "e", "ei"])
@given(value=_json)
@settings(max_examples=60, deadline=None)
def test_an_exact_check_is_right_both_ways(kind: str, value: Any) -> None:
    node = parse(_RAW["properties"][kind])
    check = compile_check(node, exact=True)
    assert not isinstance(check, type)
    assert bool(check(value)) == (explain(node, value) == [])


@given(st.dictionaries(st.sampled_from(["map", "pu", "ap", "deep", "unknown"]), _json, max_size=3))
@settings(max_examples=120, deadline=None)
def test_what_is_clean_loses_nothing_to_pruning(spec: JsonObject) -> None:
    if _CLEAN(spec) and _fits(spec | {"req": "x"}):
        before, found = copy.deepcopy(spec), list[str]()
        prune(_SPEC, spec, "", found)
        assert (spec, found) == (before, [])


def _as_set(fields: FieldSet) -> set[str]:
    return set(paths(fields))


_elements = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])
_nodes: st.SearchStrategy[FieldSet] = st.recursive(
    st.just({}),
    lambda below: st.builds(
        lambda member, children: {".": {}} | children if member else children,
        st.booleans(),
        st.dictionaries(_elements, below, min_size=1, max_size=3),
    ),
    max_leaves=8,
)
_sets = st.dictionaries(_elements, _nodes, max_size=3)


@given(_sets, _sets)
@settings(max_examples=120, deadline=None)
def test_sets_obey_their_algebra(one: FieldSet, other: FieldSet) -> None:
    before = copy.deepcopy((one, other))
    assert _as_set(union(one, other)) == _as_set(one) | _as_set(other)
    assert _as_set(difference(one, other)) == _as_set(one) - _as_set(other)
    assert _as_set(intersection(one, other)) == _as_set(one) & _as_set(other)
    assert (one, other) == before


_specs = st.fixed_dictionaries(
    {},
    optional={
        "a": st.integers(0, 2),
        "b": st.sampled_from(["x", "y"]),
        "gm": st.dictionaries(st.sampled_from("kl"), st.sampled_from("vw"), min_size=1, max_size=2),
        "al": st.lists(st.sampled_from("xy"), min_size=1, max_size=2),
        "set": st.lists(st.sampled_from("xyz"), min_size=1, max_size=3, unique=True),
        "ml": st.lists(st.integers(1, 3), min_size=1, max_size=3, unique=True).map(
            lambda ports: [{"port": port, "protocol": "TCP", "name": f"n{port}"} for port in ports]
        ),
    },
)


@given(_specs, _specs, _specs)
@settings(max_examples=120, deadline=None)
def test_an_apply_is_a_fixed_point_and_takes_back_only_its_own(
    created: JsonObject, first: JsonObject, other: JsonObject
) -> None:
    live = update(None, custom("Ownership", created), manager="m", now="0", **_API)
    applied = custom("Ownership", first)
    once = apply(live, applied, manager="k", force=True, now="1", **_API)
    assert apply(once, applied, manager="k", force=False, now="2", **_API) == once
    shared = apply(once, custom("Ownership", other), manager="o", force=True, now="3", **_API)
    alone = apply(shared, custom("Ownership"), manager="k", force=False, now="4", **_API)
    for field, value in other.items():
        kept = alone["spec"][field]
        if isinstance(value, dict):
            assert kept | value == kept
        elif isinstance(value, list):
            assert all(item in kept for item in value)
        else:
            assert kept == value
    assert "k" not in {entry["manager"] for entry in alone["metadata"].get("managedFields", [])}


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += _places(item, (*path, key))
    return found


def _put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    *way, last = path
    for key in way:
        value = value[key]
    value[last] = new


_BODIES = cases.builtin_objects()
_COMPILED = {key: Schema.compile(schema) for key, schema in BUILTIN_SCHEMAS.items()}


@pytest.mark.parametrize("index", range(len(_BODIES)), ids=lambda index: _BODIES[index]["kind"])
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_no_malformed_object_breaks_the_logic(index: int, data: st.DataObject) -> None:
    body = copy.deepcopy(_BODIES[index])
    version = body["apiVersion"]
    key = f"{version}/{body['kind']}" if "/" in version else f"/{version}/{body['kind']}"
    places = [path for path in _places(body) if path[0] not in ("apiVersion", "kind") and path != ("metadata",)]
    _put(body, data.draw(st.sampled_from(places)), data.draw(_json))
    life = Life(key, _COMPILED[key])
    created = life.write(Step("create", "m", body))["object"]
    life.schema.validate(created)
    life.schema.validate(created, _BODIES[index])
    answer = life.write(Step("force", "k", body))
    assert answer.keys() in ({"object"}, {"status", "message"})
