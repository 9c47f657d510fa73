"""Field ownership, server-side apply and patches against the objects a real API server stores."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from meshfed_sandbox.apiserver.builtin_defaults import complete
from meshfed_sandbox.apiserver.managed_fields import apply, update
from meshfed_sandbox.apiserver.patches import PatchError
from meshfed_sandbox.apiserver.schema import Schema
from tests.sandbox.objects import cases
from tests.sandbox.objects.cases import GROUP, JsonObject, Step, answered, custom, recorded
from tests.sandbox.objects.serving import Life

_SCHEMA = Schema.compile(cases.schema("ownership"))
_KIND = f"{GROUP}/v1/Ownership"


def _life_of(obj: JsonObject) -> Life:
    version = obj["apiVersion"]
    key = f"{version}/{obj['kind']}" if "/" in version else f"/{version}/{obj['kind']}"
    return Life(key, _SCHEMA if key == _KIND else None)


def _comparable(answer: JsonObject) -> JsonObject:
    """Entries in a fixed order (by time they differ from run to run), and whether they have a time."""
    answer = copy.deepcopy(answer)
    if "object" in answer:
        entries = answer["object"]["metadata"].pop("managedFields", [])
        for entry in entries:
            entry["time"] = entry.get("time", False) not in (False, None)
        entries.sort(key=lambda e: (e["operation"], e["manager"], e["apiVersion"]))
        answer["object"]["metadata"]["managedFields"] = entries
    if "causes" in answer:
        answer["causes"].sort()
    return answer


@pytest.mark.parametrize("name", cases.LIVES)
def test_lives(name: str) -> None:
    life = _life_of(cases.LIVES[name][0].body)
    for index, (step, answer) in enumerate(zip(cases.LIVES[name], recorded("lives")[name], strict=True)):
        assert _comparable(life.write(step)) == _comparable(answer), f"step {index}: {step}"


@pytest.mark.parametrize(("spec", "answer"), answered(cases.MISFITS, "misfits"), ids=lambda value: str(value)[:60])
def test_misfits(spec: JsonObject, answer: str) -> None:
    life = Life(_KIND, _SCHEMA)
    refused = life.write(Step("apply", "k", custom("Ownership", spec)))
    assert f"{refused['status']} {refused['message']}" == answer


def _update(live: JsonObject | None, spec: JsonObject, now: str, **metadata: Any) -> JsonObject:
    new = custom("Ownership", spec, **metadata)
    return update(live, new, manager="m", schema=_SCHEMA, api_version=f"{GROUP}/v1", now=now)


def test_an_update_that_changes_nothing_keeps_the_entries() -> None:
    live = _update(None, {"a": 1}, "2024-01-01T00:00:00Z")
    same = _update(live, {"a": 1}, "2024-01-02T00:00:00Z")
    assert same == live
    assert same["metadata"]["managedFields"] is live["metadata"]["managedFields"]


def test_time_moves_when_something_is_set_and_not_when_something_is_only_removed() -> None:
    live = _update(None, {"a": 1, "b": "x"}, "2024-01-01T00:00:00Z")
    without = _update(live, {"a": 1}, "2024-01-02T00:00:00Z")
    changed = _update(without, {"a": 2}, "2024-01-03T00:00:00Z")
    times = [obj["metadata"]["managedFields"][0]["time"] for obj in (live, without, changed)]
    assert times == ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z", "2024-01-03T00:00:00Z"]


def test_what_the_server_sets_is_nobodys() -> None:
    system = {"uid": "u", "resourceVersion": "1", "generation": 1, "creationTimestamp": "2024-01-01T00:00:00Z"}
    live = _update(None, {"a": 1}, "t", namespace="default", **system)
    (entry,) = live["metadata"]["managedFields"]
    assert entry == {
        "manager": "m",
        "operation": "Update",
        "apiVersion": f"{GROUP}/v1",
        "time": "t",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {".": {}, "f:a": {}}},
    }


def test_a_status_update_owns_only_what_it_changes_and_says_so() -> None:
    live = _update(None, {"a": 1}, "1")
    new = live | {"status": {"ready": True}}
    stored = update(live, new, manager="c", schema=_SCHEMA, api_version=f"{GROUP}/v1", subresource="status", now="2")
    assert [(e["manager"], e.get("subresource"), e["fieldsV1"]) for e in stored["metadata"]["managedFields"]] == [
        ("m", None, {"f:spec": {".": {}, "f:a": {}}}),
        ("c", "status", {"f:status": {".": {}, "f:ready": {}}}),
    ]
    applied = custom("Ownership", {"a": 2})
    refused = pytest.raises(Exception, match="conflict with")
    with refused:
        apply(stored, applied, manager="k", force=False, schema=_SCHEMA, api_version=f"{GROUP}/v1", now="3")


def test_annotation_of_client_side_apply_follows_kubectls_server_side_apply() -> None:
    annotations = {cases.LAST_APPLIED: "{}"}
    live = _update(None, {"a": 1}, "1", annotations=annotations)
    applied = custom("Ownership", {"b": "x"})
    merged = apply(live, applied, manager="kubectl", force=False, schema=_SCHEMA, api_version=f"{GROUP}/v1", now="2")
    assert merged["metadata"]["annotations"][cases.LAST_APPLIED] == (
        '{"apiVersion":"objects.example.com/v1","kind":"Ownership","metadata":{"name":"it"},"spec":{"b":"x"}}\n'
    )
    other = apply(live, applied, manager="other", force=False, schema=_SCHEMA, api_version=f"{GROUP}/v1", now="2")
    assert other["metadata"]["annotations"] == annotations


@pytest.mark.parametrize("verb", ["json", "merge", "strategic"])
def test_a_patch_of_the_wrong_shape_is_refused(verb: str) -> None:
    life = Life("/v1/ConfigMap")
    life.write(Step("create", "m", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "it"}}))
    assert life.write(Step(verb, "m", "nonsense"))["status"] == 400
    assert issubclass(PatchError, Exception)


@pytest.mark.parametrize("body", cases.builtin_objects(), ids=lambda body: f"{body['kind']} {body['metadata']['name']}")
def test_what_an_apply_creates_shares_nothing_with_the_next_object_of_its_kind(body: JsonObject) -> None:
    life = _life_of(body)
    schema, before = life.schema, copy.deepcopy(life.schema.empty())
    bare = {key: body[key] for key in ("apiVersion", "kind", "metadata")}
    created = apply(None, bare, manager="k", force=False, schema=schema, api_version=life.api_version, now="1")
    schema.default(created)
    complete(life.kind_key, created)
    assert schema.empty() == before
