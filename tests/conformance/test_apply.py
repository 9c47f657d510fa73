"""``kubectl apply``: client-side by patches, server-side by field ownership; and ``diff``, which tries either."""

from __future__ import annotations

from typing import Any

from tests.conformance.cluster import Session

SERVICE = """\
    apiVersion: v1
    kind: Service
    metadata:
      name: reviews
      labels: {app: reviews}
    spec:
      selector: {app: reviews}
      ports:
      - {name: http, port: 9080}
    """
CONFIG = """\
    apiVersion: v1
    kind: ConfigMap
    metadata:
      name: settings
    data: {colour: red}
    """
WIDGET = """\
    apiVersion: conformance.example.com/v1
    kind: Widget
    metadata:
      name: gear
    spec:
      size: 3
    """


def managers(obj: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(e["manager"], e["operation"], e.get("subresource", "")) for e in obj["metadata"]["managedFields"]]


def test_client_side_apply_creates_configures_and_leaves_alone(k: Session) -> None:
    assert k.apply(SERVICE) == "service/reviews created\n"
    created = k.get("service", "reviews")
    assert k.apply(SERVICE) == "service/reviews unchanged\n"
    assert k.get("service", "reviews")["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    more = SERVICE.replace("- {name: http, port: 9080}", "- {name: http, port: 9080}\n      - {name: grpc, port: 9090}")
    assert k.apply(more) == "service/reviews configured\n"
    ports = k.get("service", "reviews")["spec"]["ports"]
    assert ports == [
        {"name": "http", "port": 9080, "protocol": "TCP", "targetPort": 9080},
        {"name": "grpc", "port": 9090, "protocol": "TCP", "targetPort": 9090},
    ]
    assert k.apply(SERVICE) == "service/reviews configured\n"
    assert [port["name"] for port in k.get("service", "reviews")["spec"]["ports"]] == ["http"]


def test_client_side_apply_keeps_what_others_added(k: Session) -> None:
    k.apply(SERVICE)
    k.kubectl("label", "service", "reviews", "team=red")
    k.apply(SERVICE.replace("labels: {app: reviews}", "labels: {tier: back}"))
    assert k.get("service", "reviews")["metadata"]["labels"] == {"team": "red", "tier": "back"}


def test_client_side_apply_of_a_custom_resource(widgets: Session) -> None:
    assert widgets.apply(WIDGET) == "widget.conformance.example.com/gear created\n"
    assert widgets.apply(WIDGET) == "widget.conformance.example.com/gear unchanged\n"
    assert widgets.apply(WIDGET.replace("size: 3", "size: 4")) == "widget.conformance.example.com/gear configured\n"
    gear = widgets.get("widget", "gear")
    assert (gear["spec"], gear["metadata"]["generation"]) == ({"size": 4, "colour": "red"}, 2)
    assert managers(gear) == [("kubectl-client-side-apply", "Update", "")]


def test_server_side_apply_records_who_owns_what(k: Session) -> None:
    assert k.apply(SERVICE, "--server-side") == "service/reviews serverside-applied\n"
    (entry,) = k.get("service", "reviews")["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("kubectl", "Apply", "v1")
    assert entry["fieldsV1"] == {
        "f:metadata": {"f:labels": {"f:app": {}}},
        "f:spec": {
            "f:ports": {'k:{"port":9080,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}}},
            "f:selector": {},
        },
    }


def test_server_side_apply_twice_changes_nothing(k: Session) -> None:
    k.apply(SERVICE, "--server-side")
    before = k.get("service", "reviews")
    k.apply(SERVICE, "--server-side")
    assert k.get("service", "reviews") == before


def test_server_side_apply_removes_what_its_manager_no_longer_wants(k: Session) -> None:
    k.apply(CONFIG, "--server-side", "--field-manager=one")
    two = CONFIG.replace("colour: red", "size: big")
    k.apply(two, "--server-side", "--field-manager=two")
    assert k.get("configmap", "settings")["data"] == {"colour": "red", "size": "big"}
    k.apply(CONFIG.replace("colour: red", "shape: round"), "--server-side", "--field-manager=one")
    assert k.get("configmap", "settings")["data"] == {"shape": "round", "size": "big"}


def test_server_side_apply_conflicts_with_another_manager(k: Session) -> None:
    k.apply(CONFIG, "--server-side", "--field-manager=one")
    other = CONFIG.replace("red", "blue")
    complaint = k.refused("apply", "--server-side", "--field-manager=two", "-f", "-", stdin=other)
    assert complaint.startswith('error: Apply failed with 1 conflict: conflict with "one": .data.colour\n')
    k.apply(other, "--server-side", "--field-manager=two", "--force-conflicts")
    settings = k.get("configmap", "settings")
    assert settings["data"] == {"colour": "blue"}
    assert managers(settings) == [("two", "Apply", "")]


def test_server_side_apply_conflicts_with_an_update(widgets: Session) -> None:
    widgets.apply(WIDGET, "--server-side")
    widgets.kubectl(
        "patch", "widget", "gear", "--type=merge", "--field-manager=hand", "-p", '{"spec":{"size":5,"limit":9}}'
    )
    complaint = widgets.refused("apply", "--server-side", "-f", "-", stdin=WIDGET)
    assert complaint.startswith(
        'error: Apply failed with 1 conflict: conflict with "hand" using conformance.example.com/v1: .spec.size\n'
    )
    conflict = widgets.http(
        "PATCH",
        widgets.path("widgets", "gear", group="conformance.example.com/v1") + "?fieldManager=kubectl",
        {
            "apiVersion": "conformance.example.com/v1",
            "kind": "Widget",
            "metadata": {"name": "gear"},
            "spec": {"size": 3, "limit": 8},
        },
        media="application/apply-patch+yaml",
    )
    assert conflict.code == 409
    assert conflict.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'Apply failed with 2 conflicts: conflicts with "hand" using conformance.example.com/v1:\n'
        "- .spec.limit\n- .spec.size",
        "reason": "Conflict",
        "details": {
            "causes": [
                {
                    "reason": "FieldManagerConflict",
                    "message": 'conflict with "hand" using conformance.example.com/v1',
                    "field": field,
                }
                for field in (".spec.limit", ".spec.size")
            ]
        },
        "code": 409,
    }


def test_server_side_apply_of_lists_by_key(widgets: Session) -> None:
    one = WIDGET + "  parts: [{name: a, weight: 5}, {name: b}]\n"
    two = WIDGET.replace("size: 3", "parts: [{name: c, weight: 7}]")
    widgets.apply(one, "--server-side", "--field-manager=one")
    widgets.apply(two, "--server-side", "--field-manager=two")
    widgets.apply(WIDGET + "  parts: [{name: b}]\n", "--server-side", "--field-manager=one")
    parts = widgets.get("widget", "gear")["spec"]["parts"]
    assert sorted(parts, key=lambda part: str(part["name"])) == [
        {"name": "b", "weight": 1},
        {"name": "c", "weight": 7},
    ]


def test_apply_moves_from_client_side_to_server_side(k: Session) -> None:
    k.apply(CONFIG)
    k.apply(CONFIG.replace("colour: red", "shape: round"), "--server-side")
    settings = k.get("configmap", "settings")
    assert settings["data"] == {"shape": "round"}
    assert ("kubectl", "Apply", "") in managers(settings)


def test_apply_needs_a_manager(k: Session) -> None:
    answer = k.http("PATCH", k.path("configmaps", "x"), {}, media="application/apply-patch+yaml")
    assert answer.code == 422
    assert answer.json["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    )


def test_apply_of_yaml_by_hand(k: Session) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\ndata: {a: b}\n"
    path = k.path("configmaps", "plain") + "?fieldManager=me"
    created = k.http("PATCH", path, body, media="application/apply-patch+yaml")
    assert (created.code, created.json["data"]) == (201, {"a": "b"})
    assert k.http("PATCH", path, body, media="application/apply-patch+yaml").code == 200


def test_diff_shows_what_apply_would_change_and_changes_nothing(k: Session) -> None:
    k.apply(CONFIG)
    assert k.run("diff", "-f", "-", stdin=CONFIG).returncode == 0
    for mode in ((), ("--server-side", "--force-conflicts")):
        done = k.run("diff", *mode, "-f", "-", stdin=CONFIG.replace("red", "blue"))
        assert done.returncode == 1, done.stderr
        assert "\n-  colour: red\n" in done.stdout
        assert "\n+  colour: blue\n" in done.stdout
    assert k.get("configmap", "settings")["data"] == {"colour": "red"}


def test_apply_as_a_trial_on_the_server(widgets: Session) -> None:
    assert widgets.apply(WIDGET, "--dry-run=server") == "widget.conformance.example.com/gear created (server dry run)\n"
    assert widgets.refused("get", "widget", "gear").startswith("Error from server (NotFound)")
