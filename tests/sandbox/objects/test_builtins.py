"""Built-in kinds: what is stored and what is refused, against a real API server."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from meshfed_sandbox.apiserver.builtin_defaults import BUILTIN_SCHEMAS
from meshfed_sandbox.apiserver.schema import Schema
from tests.sandbox.objects import cases
from tests.sandbox.objects.cases import JsonObject, Step, answered
from tests.sandbox.objects.serving import Life

_SCHEMAS = {key: Schema.compile(schema) for key, schema in BUILTIN_SCHEMAS.items()}

# What a whole server adds by admission, allocation or controllers, which is not object logic.
_ADDED_BY_THE_SERVER: dict[str, list[tuple[str, ...]]] = {
    "Pod": [
        ("spec", "preemptionPolicy"),
        ("spec", "priority"),
        ("spec", "tolerations"),
        ("status", "qosClass"),
    ],
    "DaemonSet": [("metadata", "annotations"), ("metadata", "managedFields")],
    "Job": [
        ("metadata", "labels"),
        ("metadata", "managedFields"),
        ("spec", "selector"),
        ("spec", "manualSelector"),
        ("spec", "template", "metadata", "labels"),
    ],
    "Event": [("eventTime",)],
    "Namespace": [("metadata", "managedFields")],
}


def _key(obj: JsonObject) -> str:
    version = obj["apiVersion"]
    return f"{version}/{obj['kind']}" if "/" in version else f"/{version}/{obj['kind']}"


def _without(obj: JsonObject, path: tuple[str, ...]) -> None:
    *way, last = path
    here: Any = obj
    for key in way:
        here = here.get(key, {})
    here.pop(last, None)


@pytest.mark.parametrize(
    ("body", "answer"),
    answered(cases.builtin_objects(), "builtins"),
    ids=lambda value: f"{value['kind']} {value['metadata']['name']}",
)
def test_stored(body: JsonObject, answer: JsonObject) -> None:
    schema = _SCHEMAS[_key(body)]
    assert schema.prune(copy.deepcopy(body)) == []
    life = Life(_key(body), schema)
    stored = copy.deepcopy(life.write(Step("create", "record", body))["object"])
    assert schema.validate(stored) == []
    for entry in stored["metadata"].get("managedFields", []):
        entry["time"] = True
    for path in _ADDED_BY_THE_SERVER.get(body["kind"], []):
        _without(stored, path)
        _without(answer, path)
    assert stored == answer


@pytest.mark.parametrize(("body", "answer"), answered(cases.BAD_BUILTINS, "bad_builtins"), ids=lambda v: str(v)[:80])
def test_refused(body: JsonObject, answer: list[list[str]]) -> None:
    life = Life(_key(body), _SCHEMAS[_key(body)])
    obj = life.finish(body)
    assert [list(cause) for cause in sorted(set(life.schema.validate(obj)))] == answer


@pytest.mark.parametrize(
    ("kind_key", "old", "new", "expected"),
    [
        (
            "apps/v1/Deployment",
            {"spec": {"selector": {"matchLabels": {"a": "b"}}}},
            {"spec": {"selector": {"matchLabels": {"a": "c"}}}},
            'spec.selector: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable',
        ),
        (
            "rbac.authorization.k8s.io/v1/RoleBinding",
            {"roleRef": {"kind": "Role", "name": "a"}},
            {"roleRef": {"kind": "Role", "name": "b"}},
            'roleRef: Invalid value: {"kind":"Role","name":"b"}: cannot change roleRef',
        ),
        ("/v1/Secret", {"type": "a"}, {"type": "b"}, 'type: Invalid value: "b": field is immutable'),
        (
            "/v1/ConfigMap",
            {"immutable": True, "data": {"a": "b"}},
            {"immutable": True, "data": {"a": "c"}},
            "data: Forbidden: field is immutable when `immutable` is set",
        ),
    ],
)
def test_fields_that_never_change(kind_key: str, old: JsonObject, new: JsonObject, expected: str) -> None:
    version, _, kind = kind_key.rpartition("/")
    named = {"apiVersion": version.removeprefix("/"), "kind": kind, "metadata": {"name": "it"}}
    assert expected in [str(cause) for cause in _SCHEMAS[kind_key].validate(named | new, named | old)]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("a", "Always"),
        ("a:latest", "Always"),
        ("a:1", "IfNotPresent"),
        ("host:5000/a", "Always"),
        ("a@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "it"}}
    pod = Life("/v1/Pod").finish(body | {"spec": {"containers": [{"name": "a", "image": image}]}})
    assert pod["spec"]["containers"][0]["imagePullPolicy"] == policy


def _fields(schema: JsonObject, path: str) -> list[tuple[str, JsonObject]]:
    found = [(path, schema)]
    for name, prop in schema.get("properties", {}).items():
        found += _fields(prop, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found += _fields(schema[key], f"{path}[]")
    return found


@pytest.mark.parametrize("key", BUILTIN_SCHEMAS)
def test_every_field_says_what_it_is(key: str) -> None:
    undescribed = [
        path
        for path, schema in _fields(BUILTIN_SCHEMAS[key], key)
        if not path.endswith("[]") and not schema.get("description")
    ]
    assert undescribed == []
