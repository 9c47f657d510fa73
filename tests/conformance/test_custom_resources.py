"""What a CRD's schema makes of objects, in the server's own words; and CRDs themselves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conformance.cluster import Session
from tests.waiting import eventually_sync

GROUP = "conformance.example.com/v1"
ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = Path(os.environ.get("MESHFED_PUBLISHED_CRDS") or ROOT.parent / "shared" / "data")
"""A folder of manifests as other projects publish them."""


SCHEMA = {"openAPIV3Schema": {"type": "object"}}


def widget(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": GROUP, "kind": "Widget", "metadata": {"name": "gear"}, "spec": spec}


def published(name: str) -> Path:
    path = PUBLISHED / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "spec.size: Required value"),
        ({"size": "3"}, 'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"'),
        ({"size": 0}, "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        ({"size": 101}, "spec.size: Invalid value: 101: spec.size in body should be less than or equal to 100"),
        (
            {"size": 1, "colour": "blue"},
            'spec.colour: Unsupported value: "blue": supported values: "red", "green", "black"',
        ),
        ({"size": 1, "name": "A1"}, "spec.name: Invalid value: \"A1\": spec.name in body should match '^[a-z]+$'"),
        ({"size": 1, "name": "abcdefghijk"}, "spec.name: Too long: may not be more than 10 bytes"),
        ({"size": 1, "parts": [{}]}, "spec.parts[0].name: Required value"),
        (
            {"size": 1, "parts": [{"name": "a"}, {"name": "a"}]},
            'spec.parts[1]: Duplicate value: {"name":"a"}',
        ),
        ({"size": 1, "tags": ["a", "a"]}, 'spec.tags[1]: Duplicate value: "a"'),
        (
            {"size": 1, "parts": [{"name": n} for n in "abcd"]},
            "spec.parts: Too many: 4: must have at most 3 items",
        ),
    ],
)
def test_what_the_schema_refuses(widgets: Session, spec: dict[str, Any], message: str) -> None:
    answer = widgets.http("POST", widgets.path("widgets", group=GROUP), widget(**spec))
    assert (answer.code, answer.json["reason"]) == (422, "Invalid")
    assert message in answer.json["message"]
    assert answer.json["message"].startswith('Widget.conformance.example.com "gear" is invalid: ')
    assert {cause["field"] for cause in answer.json["details"]["causes"]} >= {message.partition(":")[0]}


def test_what_a_rule_refuses(widgets: Session) -> None:
    complaint = widgets.refused("create", "-f", "-", stdin=json.dumps(widget(size=5, limit=4)))
    assert (
        complaint == ('The Widget "gear" is invalid: spec: Invalid value: size may not exceed limit')
        or "size may not exceed limit" in complaint
    )


def test_a_rule_over_the_old_object(widgets: Session) -> None:
    widgets.apply(json.dumps(widget(size=1, colour="black")))
    complaint = widgets.refused("patch", "wd", "gear", "--type=merge", "-p", '{"spec":{"colour":"red"}}')
    assert "black stays black" in complaint
    widgets.kubectl("patch", "wd", "gear", "--type=merge", "-p", '{"spec":{"size":2}}')


def test_several_faults_at_once(widgets: Session) -> None:
    answer = widgets.http("POST", widgets.path("widgets", group=GROUP), widget(size=0, name="A"))
    assert answer.json["message"].startswith('Widget.conformance.example.com "gear" is invalid: [')
    assert sorted(cause["field"] for cause in answer.json["details"]["causes"]) == ["spec.name", "spec.size"]


def test_defaults_go_into_lists_and_unknown_fields_where_they_may(widgets: Session) -> None:
    created = widgets.http(
        "POST",
        widgets.path("widgets", group=GROUP),
        widget(size=1, parts=[{"name": "a"}], extra={"any": {"thing": [1, 2.5, None, True]}}),
    ).json
    assert created["spec"] == {
        "size": 1,
        "colour": "red",
        "parts": [{"name": "a", "weight": 1}],
        "extra": {"any": {"thing": [1, 2.5, None, True]}},
    }


def crd(name: str, **schema: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{name}s.{name}.example.com"},
        "spec": {
            "group": f"{name}.example.com",
            "scope": "Cluster",
            "names": {"plural": f"{name}s", "kind": name.title()},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema or {"type": "object"}},
                }
            ],
        },
    }


def conditions(k: Session, name: str) -> dict[str, str]:
    found = k.http("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}").json
    return {condition["type"]: condition["status"] for condition in found.get("status", {}).get("conditions") or ()}


def test_the_life_of_a_crd(k: Session) -> None:
    definition = crd(
        "gizmo", type="object", properties={"spec": {"type": "object", "properties": {"a": {"type": "string"}}}}
    )
    name = definition["metadata"]["name"]
    k.kubectl("create", "-f", "-", stdin=json.dumps(definition))
    eventually_sync(
        lambda: conditions(k, name) == {"NamesAccepted": "True", "Established": "True"}, f"the conditions of {name}"
    )
    k.kubectl("wait", "--for=condition=established", "crd", name, "--timeout=20s")
    found = k.get("crd", name)
    assert found["status"]["acceptedNames"] == {
        "kind": "Gizmo",
        "listKind": "GizmoList",
        "plural": "gizmos",
        "singular": "gizmo",
    }
    assert found["status"]["storedVersions"] == ["v1"]
    path = "/apis/gizmo.example.com/v1/gizmos"
    eventually_sync(lambda: k.http("GET", path).code == 200, "the new resource")
    gizmo = {
        "apiVersion": "gizmo.example.com/v1",
        "kind": "Gizmo",
        "metadata": {"name": "g"},
        "spec": {"a": "x", "b": 1},
    }
    assert k.http("POST", path, gizmo).json["spec"] == {"a": "x"}
    found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["b"] = {
        "type": "integer"
    }
    k.kubectl("replace", "-f", "-", stdin=json.dumps(found))

    def takes_b() -> bool:
        answer = k.http("POST", path, {**gizmo, "metadata": {"generateName": "g-"}})
        return bool(answer.json["spec"] == {"a": "x", "b": 1})

    eventually_sync(takes_b, "the changed schema")
    k.kubectl("delete", "crd", name)
    eventually_sync(lambda: k.http("GET", path).code == 404, "the end of the resource")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": {"name": "other.example.com"}}, 'must be spec.names.plural+"."+spec.group'),
        ({"spec": {"scope": "Everywhere"}}, 'spec.scope: Unsupported value: "Everywhere": supported values: '),
        (
            {"spec": {"versions": [{"name": "v1", "served": True, "storage": False, "schema": SCHEMA}]}},
            "must have exactly one version marked as storage version",
        ),
        (
            {"spec": {"versions": [{"name": "v1", "served": True, "storage": True}]}},
            "spec.versions[0].schema.openAPIV3Schema: Required value",
        ),
    ],
)
def test_crds_that_are_refused(k: Session, change: dict[str, Any], message: str) -> None:
    definition = crd("doodad")
    for key, value in change.items():
        definition[key] = definition[key] | value
    answer = k.http("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    assert (answer.code, answer.json["reason"]) == (422, "Invalid")
    assert message in answer.json["message"]


def test_istios_own_crds(k: Session) -> None:
    path = published("istio-1.30-crds.yaml")
    printed = k.kubectl("apply", "--server-side", "-f", str(path))
    definitions = [d for d in yaml.safe_load_all(path.read_text()) if d]
    assert len(printed.splitlines()) == len(definitions)
    k.kubectl("wait", "--for=condition=established", "--timeout=30s", "-f", str(path))
    host = "ratings.bookinfo.svc.cluster.local"
    entry = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": host},
        "spec": {
            "hosts": [host],
            "ports": [{"number": 9080, "name": "http", "protocol": "HTTP"}],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "endpoints": [{"address": "192.0.2.1", "ports": {"http": 15443}, "network": "west"}],
        },
    }
    k.kubectl("create", "-f", "-", stdin=json.dumps(entry))
    assert k.kubectl("get", "se", "--no-headers").split()[:4] == [host, f'["{host}"]', "MESH_INTERNAL", "STATIC"]
    entry["metadata"] = {"name": "bad"}
    entry["spec"]["resolution"] = "SOMETIMES"  # type: ignore[index]  # a nested mapping
    assert 'Unsupported value: "SOMETIMES"' in k.refused("create", "-f", "-", stdin=json.dumps(entry))
    older = k.http("GET", k.path("serviceentries", host, group="networking.istio.io/v1beta1")).json
    assert older["apiVersion"] == "networking.istio.io/v1beta1"


def test_openshifts_route(k: Session) -> None:
    path = published("openshift-route-crd.yaml")
    k.kubectl("apply", "--server-side", "-f", str(path))
    k.kubectl("wait", "--for=condition=established", "--timeout=30s", "-f", str(path))
    eventually_sync(lambda: "KIND:       Route" in k.run("explain", "route").stdout, "the explanation of Route")


def test_bookinfo_applies_unchanged(k: Session) -> None:
    path = published("bookinfo.yaml")
    created = k.kubectl("apply", "-f", str(path)).splitlines()
    objects = [o for o in yaml.safe_load_all(path.read_text()) if o]
    assert len(created) == len(objects)
    assert all(line.endswith(" created") for line in created)
    assert all(line.endswith(" unchanged") for line in k.kubectl("apply", "-f", str(path)).splitlines())
    assert k.kubectl("get", "services", "-o", "jsonpath={.items[*].metadata.name}") == (
        "details productpage ratings reviews"
    )
