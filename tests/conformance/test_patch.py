"""Patches of every kind, and what each does to lists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.cluster import Session

DEPLOYMENT = """\
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          containers:
          - {name: main, image: nginx}
          - {name: side, image: envoy}
    """


def patched(k: Session, kind: str, patch: Any, *target: str) -> dict[str, Any]:
    k.kubectl("patch", *target, f"--type={kind}", "-p", json.dumps(patch))
    found: dict[str, Any] = k.get(*target)
    return found


def images(deployment: dict[str, Any]) -> list[tuple[str, str]]:
    return [(c["name"], c["image"]) for c in deployment["spec"]["template"]["spec"]["containers"]]


def test_strategic_merge_merges_lists_by_key(k: Session) -> None:
    k.apply(DEPLOYMENT)
    target = ("deployment", "web")
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "envoy:2"}]}}}}
    assert images(patched(k, "strategic", patch, *target)) == [("main", "nginx"), ("side", "envoy:2")]
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "third", "image": "x"}]}}}}
    assert sorted(images(patched(k, "strategic", patch, *target))) == [
        ("main", "nginx"),
        ("side", "envoy:2"),
        ("third", "x"),
    ]
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}}}
    assert sorted(images(patched(k, "strategic", patch, *target))) == [("main", "nginx"), ("third", "x")]


def test_merge_replaces_lists(k: Session) -> None:
    k.apply(DEPLOYMENT)
    patch = {"spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "only", "image": "y"}]}}}}
    deployment = patched(k, "merge", patch, "deployment", "web")
    assert (images(deployment), deployment["spec"]["replicas"]) == ([("only", "y")], 3)
    assert deployment["metadata"]["generation"] == 2


def test_json_patch_operates_in_order(k: Session) -> None:
    k.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {a/b: x}}\ndata: {one: '1', two: '2'}\n")
    operations = [
        {"op": "test", "path": "/data/one", "value": "1"},
        {"op": "remove", "path": "/data/one"},
        {"op": "replace", "path": "/data/two", "value": "zwei"},
        {"op": "copy", "from": "/data/two", "path": "/data/three"},
        {"op": "add", "path": "/metadata/labels/a~1c", "value": "y"},
    ]
    found = patched(k, "json", operations, "cm", "c")
    assert found["data"] == {"two": "zwei", "three": "zwei"}
    assert found["metadata"]["labels"] == {"a/b": "x", "a/c": "y"}


def test_a_json_patch_that_does_not_apply(k: Session) -> None:
    k.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {one: '1'}\n")
    operations = json.dumps([{"op": "test", "path": "/data/one", "value": "2"}])
    complaint = k.refused("patch", "cm", "c", "--type=json", "-p", operations)
    assert complaint == "The request is invalid: the server rejected our request due to an error in our request"


def test_a_merge_patch_removes_with_null(widgets: Session) -> None:
    widgets.apply(
        """\
        apiVersion: conformance.example.com/v1
        kind: Widget
        metadata: {name: gear, annotations: {keep: me, drop: me}}
        spec: {size: 3, limit: 10}
        """
    )
    patch = {"spec": {"limit": None}, "metadata": {"annotations": {"drop": None}}}
    gear = patched(widgets, "merge", patch, "wd", "gear")
    assert gear["spec"] == {"size": 3, "colour": "red"}
    assert gear["metadata"]["annotations"].get("drop") is None
    assert gear["metadata"]["annotations"]["keep"] == "me"


@pytest.mark.parametrize(
    ("media", "code"),
    [("application/strategic-merge-patch+json", 415), ("application/json", 415), ("application/merge-patch+json", 200)],
)
def test_the_patches_a_custom_resource_takes(widgets: Session, media: str, code: int) -> None:
    group = "conformance.example.com/v1"
    path = widgets.path("widgets", group=group)
    widget = {"apiVersion": group, "kind": "Widget", "metadata": {"name": "gear"}, "spec": {"size": 3}}
    assert widgets.http("POST", path, widget).code == 201
    answer = widgets.http("PATCH", f"{path}/gear", {"spec": {"size": 4}}, media=media)
    assert answer.code == code, answer.body


def test_a_patch_of_what_there_is_not(k: Session) -> None:
    assert k.refused("patch", "cm", "none", "-p", "{}") == 'Error from server (NotFound): configmaps "none" not found'


def test_a_malformed_patch(k: Session) -> None:
    k.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")
    answer = k.http("PATCH", k.path("configmaps", "c"), b"{", media="application/merge-patch+json")
    assert (answer.code, answer.json["reason"]) == (400, "BadRequest")


def test_a_patch_with_a_stale_version(k: Session) -> None:
    k.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")
    answer = k.http(
        "PATCH",
        k.path("configmaps", "c"),
        {"metadata": {"resourceVersion": "1"}, "data": {"a": "b"}},
        media="application/merge-patch+json",
    )
    assert (answer.code, answer.json["reason"]) == (409, "Conflict")


def test_label_and_annotate(k: Session) -> None:
    k.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")
    assert k.kubectl("label", "cm", "c", "a=1", "b=2") == "configmap/c labeled\n"
    assert "already has a value" in k.refused("label", "cm", "c", "a=2")
    assert k.kubectl("label", "cm", "c", "a=2", "--overwrite") == "configmap/c labeled\n"
    assert k.kubectl("label", "cm", "c", "b-") == "configmap/c unlabeled\n"
    assert k.kubectl("annotate", "cm", "c", "note=grüße\u0085, 世界") == "configmap/c annotated\n"
    meta = k.get("cm", "c")["metadata"]
    assert meta["labels"] == {"a": "2"}
    assert meta["annotations"]["note"] == "grüße\u0085, 世界"


def test_a_write_that_changes_nothing_is_none(widgets: Session) -> None:
    widgets.apply("apiVersion: conformance.example.com/v1\nkind: Widget\nmetadata: {name: gear}\nspec: {size: 1}\n")
    before = widgets.get("wd", "gear")
    path = widgets.path("widgets", "gear", group="conformance.example.com/v1")
    put = widgets.http("PUT", path, before)
    assert (put.code, put.json) == (200, before)
    patch = widgets.http("PATCH", path, {"spec": {"size": 1}}, media="application/merge-patch+json")
    assert (patch.code, patch.json) == (200, before)


def test_a_deployment_is_scaled_apart_from_the_rest_of_it(k: Session) -> None:
    k.apply(DEPLOYMENT)
    target = ("deployment", "web")
    before = k.get(*target)
    assert "scaled" in k.kubectl("scale", *target, "--replicas=3")
    assert "scaled" in k.kubectl("scale", *target, "--replicas=0", "--current-replicas=3")
    after = k.get(*target)
    assert after["spec"] == before["spec"] | {"replicas": 0}
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 2
    scale = json.loads(k.kubectl("get", *target, "--subresource=scale", "-o", "json"))
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {})
    assert scale["status"]["selector"] == "app=web"


def test_a_scale_that_is_no_number_is_refused(k: Session) -> None:
    k.apply(DEPLOYMENT)
    patch = json.dumps({"spec": {"replicas": -1}})
    said = k.refused("patch", "deployment", "web", "--subresource=scale", "--type=merge", "-p", patch)
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in said
