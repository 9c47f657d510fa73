"""Values, rules and schemas against the answers of a real API server."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from meshfed_sandbox.apiserver.causes import Cause
from meshfed_sandbox.apiserver.schema import Schema, SchemaError
from tests.sandbox.objects import cases
from tests.sandbox.objects.cases import JsonObject, answered, custom, recorded

_VALUES = Schema.compile(cases.schema("values"))
_RULES = Schema.compile(cases.schema("rules"))


def _sorted(causes: list[Cause]) -> list[list[str]]:
    # The real server finds the faults of an object in the random order of Go's maps.
    return [list(cause) for cause in sorted(set(causes))]


@pytest.mark.parametrize(("spec", "answer"), answered(cases.SPECS, "values"), ids=lambda value: str(value)[:60])
def test_values(spec: Any, answer: JsonObject) -> None:
    obj = custom("Values") | {"spec": copy.deepcopy(spec)}
    _VALUES.prune(obj)
    _VALUES.default(obj)
    causes = _VALUES.validate(obj)
    assert ({"causes": _sorted(causes)} if causes else {"spec": obj.get("spec")}) == answer


@pytest.mark.parametrize(("spec", "answer"), answered(cases.RULE_SPECS, "rules"), ids=lambda value: str(value)[:60])
def test_rules(spec: JsonObject, answer: list[list[str]]) -> None:
    assert _sorted(_RULES.validate(custom("Rules", spec))) == answer


@pytest.mark.parametrize(
    ("transition", "answer"),
    answered(cases.TRANSITIONS, "transitions"),
    ids=lambda value: str(value)[:60],
)
def test_transitions(transition: tuple[JsonObject, JsonObject], answer: list[list[str]]) -> None:
    old, new = (custom("Rules", spec) for spec in transition)
    assert _sorted(_RULES.validate(new, old)) == answer


def test_a_rule_is_judged_afresh_after_a_forgiven_fault() -> None:
    old = custom("Rules", {"l": ["no"], "a": 1})
    assert _RULES.validate(custom("Rules", {"l": ["no"], "a": 2}), old) == []
    assert [str(c) for c in _RULES.validate(custom("Rules", {"l": ["no"]}))] == ['spec.l[0]: Invalid value: "no": item']


@pytest.mark.parametrize("name", cases.SCHEMAS)
def test_schemas(name: str) -> None:
    found: list[list[str]] = []
    try:
        Schema.compile(cases.SCHEMAS[name])
    except SchemaError as error:
        found = _sorted([cause._replace(field=f"spec.validation.{cause.field}") for cause in error.causes])
    assert found == recorded("schemas")[name]


def test_what_is_compiled_is_shared_and_stays_as_it_was() -> None:
    given: JsonObject = {"type": "object", "properties": {"spec": {"type": "string"}}}
    compiled = Schema.compile(given)
    assert Schema.compile(copy.deepcopy(given)) is compiled
    given["properties"]["spec"]["type"] = "integer"
    assert compiled.validate(custom("Values", "a")) == []
    assert [cause.field for cause in Schema.compile(given).validate(custom("Values", "a"))] == ["spec"]


def test_a_pattern_that_does_not_compile_is_refused() -> None:
    # Not recorded: the words about a pattern are those of the regular expression library.
    with pytest.raises(SchemaError) as refused:
        Schema.compile({"type": "object", "properties": {"spec": {"type": "string", "pattern": "("}}})
    (cause,) = refused.value.causes
    assert cause.field == "openAPIV3Schema.properties[spec].pattern"
    assert cause.message.startswith('Invalid value: "(": must be a valid regular expression, but isn\'t: ')


def test_the_message_of_an_answer_is_made_of_the_causes() -> None:
    causes = _VALUES.validate(custom("Values", {"i": 0, "e": "c"}))
    assert ", ".join(map(str, causes)) == (
        "spec.i: Invalid value: 0: spec.i in body should be greater than or equal to 1, "
        'spec.e: Unsupported value: "c": supported values: "a", "b", '
        "spec.req: Required value"
    )


def test_unknown_fields_are_named_and_removed() -> None:
    obj = custom("Values", {"req": "x", "q": {"r": 1}, "map": [{"name": "a", "z": 1}], "pu": {"z": 1}}, wrong="y")
    obj["also"] = 1
    assert _VALUES.prune(obj) == ["also", "metadata.wrong", "spec.map[0].z", "spec.q"]
    assert obj == custom("Values", {"req": "x", "map": [{"name": "a"}], "pu": {"z": 1}})
    assert _VALUES.prune(obj) == []


def test_defaults_are_not_shared_between_objects() -> None:
    one, other = custom("Values", {"req": "x"}), custom("Values", {"req": "x"})
    _VALUES.default(one)
    _VALUES.default(other)
    one["spec"]["df"]["b"].append(2)
    assert other["spec"]["df"] == {"a": "q", "b": [1]}
