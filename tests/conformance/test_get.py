"""``kubectl get``: tables, columns, selectors, chunks."""

from __future__ import annotations

import json
import re

import pytest

from tests.conformance.cluster import Session
from tests.waiting import eventually_sync

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


def rows(printed: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in printed.splitlines()]


@pytest.fixture
def fleet(k: Session) -> Session:
    """Five ConfigMaps with labels."""
    manifest = "".join(
        f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n}, labels: {{num: '{n}', odd: '{n % 2}'}}}}\n"
        for n in range(5)
    )
    k.apply(manifest)
    return k


def test_a_crds_printer_columns(widgets: Session) -> None:
    widgets.apply(
        """\
        apiVersion: conformance.example.com/v1
        kind: Widget
        metadata: {name: gear}
        spec: {size: 3, colour: green}
        """
    )
    printed = rows(widgets.kubectl("get", "wd"))
    assert printed[0] == ["NAME", "SIZE", "READY", "AGE"]
    assert printed[1][:2] == ["gear", "3"]
    widgets.kubectl(
        "patch", "wd", "gear", "--subresource=status", "--type=merge", "-p",
        '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}',
    )  # fmt: skip
    wide = rows(widgets.kubectl("get", "wd", "-o", "wide"))
    assert wide[0] == ["NAME", "SIZE", "READY", "COLOUR", "AGE"]
    assert wide[1][:4] == ["gear", "3", "True", "green"]
    assert re.fullmatch(r"\d+s", wide[1][4])
    assert rows(widgets.kubectl("get", "gadgets"))[1][0] == "gear"


def test_the_columns_of_services(k: Session) -> None:
    k.apply(
        """\
        apiVersion: v1
        kind: Service
        metadata: {name: a}
        spec: {selector: {app: a, v: b}, ports: [{name: x, port: 80}, {name: dns, port: 53, protocol: UDP}]}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: headless}
        spec: {clusterIP: None}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: outside}
        spec: {type: ExternalName, externalName: example.com}
        """
    )
    printed = rows(k.kubectl("get", "svc", "-o", "wide"))
    assert printed[0] == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"]
    address = k.get("svc", "a")["spec"]["clusterIP"]
    assert address.startswith("10.96.")
    assert [row[:5] + row[6:] for row in printed[1:]] == [
        ["a", "ClusterIP", address, "<none>", "80/TCP,53/UDP", "app=a,v=b"],
        ["headless", "ClusterIP", "None", "<none>", "<none>", "<none>"],
        ["outside", "ExternalName", "<none>", "example.com", "<none>", "<none>"],
    ]


@pytest.mark.parametrize(
    ("resource", "header"),
    [
        ("namespaces", "NAME STATUS AGE"),
        ("configmaps", "NAME DATA AGE"),
        ("secrets", "NAME TYPE DATA AGE"),
        ("serviceaccounts", "NAME AGE"),
        ("pods", "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED_NODE READINESS_GATES"),
        ("endpoints", "NAME ENDPOINTS AGE"),
        ("endpointslices", "NAME ADDRESSTYPE PORTS ENDPOINTS AGE"),
        ("deployments", "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR"),
        ("leases", "NAME HOLDER AGE"),
        ("poddisruptionbudgets", "NAME MIN_AVAILABLE MAX_UNAVAILABLE ALLOWED_DISRUPTIONS AGE"),
        ("networkpolicies", "NAME POD-SELECTOR AGE"),
        ("rolebindings", "NAME ROLE AGE USERS GROUPS SERVICEACCOUNTS"),
        ("roles", "NAME CREATED_AT"),
        ("crds", "NAME CREATED_AT"),
    ],
)
def test_the_columns_of_built_in_kinds(k: Session, resource: str, header: str) -> None:
    plural, _, group = {
        "endpointslices": "endpointslices discovery.k8s.io/v1",
        "deployments": "deployments apps/v1",
        "leases": "leases coordination.k8s.io/v1",
        "poddisruptionbudgets": "poddisruptionbudgets policy/v1",
        "networkpolicies": "networkpolicies networking.k8s.io/v1",
        "rolebindings": "rolebindings rbac.authorization.k8s.io/v1",
        "roles": "roles rbac.authorization.k8s.io/v1",
        "crds": "customresourcedefinitions apiextensions.k8s.io/v1",
    }.get(resource, resource).partition(" ")
    path = f"/apis/{group}/{plural}" if group else f"/api/v1/{plural}"
    table = k.http("GET", path, accept=TABLE).json
    names = [column["name"].upper().replace(" ", "_") for column in table["columnDefinitions"]]
    assert names == header.split()
    wide = [column["name"] for column in table["columnDefinitions"] if column["priority"] > 0]
    assert len(wide) == {"pods": 4, "deployments": 3, "rolebindings": 3}.get(resource, 0)


def test_a_table_of_one_and_its_rows(fleet: Session) -> None:
    table = fleet.http("GET", fleet.path("configmaps", "c1"), accept=f"{TABLE},application/json").json
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    (row,) = table["rows"]
    assert row["cells"][:2] == ["c1", 0]
    assert (row["object"]["kind"], row["object"]["metadata"]["name"]) == ("PartialObjectMetadata", "c1")
    whole = fleet.http("GET", fleet.path("configmaps", "c1") + "?includeObject=Object", accept=TABLE).json
    assert whole["rows"][0]["object"]["kind"] == "ConfigMap"
    none = fleet.http("GET", fleet.path("configmaps", "c1") + "?includeObject=None", accept=TABLE).json
    assert none["rows"][0].get("object") is None


def test_metadata_alone(fleet: Session) -> None:
    one = fleet.http("GET", fleet.path("configmaps", "c1"), accept=PARTIAL).json
    assert set(one) == {"kind", "apiVersion", "metadata"}
    assert (one["kind"], one["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    several = fleet.http("GET", fleet.path("configmaps"), accept=PARTIAL_LIST).json
    assert (several["kind"], several["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert [item["metadata"]["name"] for item in several["items"]] == ["c0", "c1", "c2", "c3", "c4"]


def test_what_cannot_be_shown_so(fleet: Session) -> None:
    answer = fleet.http("GET", fleet.path("configmaps"), accept="image/png")
    assert (answer.code, answer.json["reason"]) == (406, "NotAcceptable")


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("odd=1", "c1 c3"),
        ("odd==1,num!=1", "c3"),
        ("num in (0, 4)", "c0 c4"),
        ("num notin (0,1,2)", "c3 c4"),
        ("odd,!even", "c0 c1 c2 c3 c4"),
        ("even", ""),
        ("num>2", "c3 c4"),
    ],
)
def test_label_selectors(fleet: Session, selector: str, names: str) -> None:
    assert fleet.kubectl("get", "cm", "-o", "jsonpath={.items[*].metadata.name}", "-l", selector) == names


@pytest.mark.parametrize(
    ("selector", "names"),
    [("metadata.name=c1", "c1"), ("metadata.name!=c1", "c0 c2 c3 c4"), ("metadata.namespace=elsewhere", "")],
)
def test_field_selectors(fleet: Session, selector: str, names: str) -> None:
    assert fleet.kubectl("get", "cm", "-o", "jsonpath={.items[*].metadata.name}", "--field-selector", selector) == names


def test_field_selectors_of_a_kind(widgets: Session) -> None:
    for name, colour in (("a", "red"), ("b", "green")):
        widgets.apply(
            f"""\
            apiVersion: conformance.example.com/v1
            kind: Widget
            metadata: {{name: {name}}}
            spec: {{size: 1, colour: {colour}}}
            """
        )
    assert widgets.kubectl("get", "wd", "-o", "name", "--field-selector=spec.colour=green") == (
        "widget.conformance.example.com/b\n"
    )
    widgets.apply("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {clusterIP: None}\n")
    assert widgets.kubectl("get", "svc", "-o", "name", "--field-selector=spec.type=ClusterIP") == "service/s\n"
    assert "field label not supported: spec.size" in widgets.refused("get", "wd", "--field-selector=spec.size=1")


def test_a_malformed_selector(fleet: Session) -> None:
    assert fleet.http("GET", fleet.path("configmaps") + "?labelSelector=a%20b").code == 400


def test_chunked_lists(fleet: Session) -> None:
    printed = fleet.kubectl("get", "cm", "--chunk-size=2", "-o", "name")
    assert printed.split() == [f"configmap/c{n}" for n in range(5)]
    first = fleet.http("GET", fleet.path("configmaps") + "?limit=2").json
    assert [item["metadata"]["name"] for item in first["items"]] == ["c0", "c1"]
    assert first["metadata"]["remainingItemCount"] == 3
    fleet.kubectl("delete", "cm", "c3")
    fleet.kubectl("create", "-f", "-", stdin="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c2b}\n")
    token = first["metadata"]["continue"]
    rest = fleet.http("GET", fleet.path("configmaps") + f"?limit=10&continue={token}").json
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c2", "c3", "c4"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert "continue" not in rest["metadata"]
    now = fleet.http("GET", fleet.path("configmaps")).json
    assert [item["metadata"]["name"] for item in now["items"]] == ["c0", "c1", "c2", "c2b", "c4"]


def test_lists_of_a_past_and_of_a_future_version(fleet: Session) -> None:
    then = fleet.http("GET", fleet.path("configmaps")).json["metadata"]["resourceVersion"]
    fleet.kubectl("delete", "cm", "--all")
    path = fleet.path("configmaps")
    past = fleet.http("GET", f"{path}?resourceVersion={then}&resourceVersionMatch=Exact").json
    assert [item["metadata"]["name"] for item in past["items"]] == ["c0", "c1", "c2", "c3", "c4"]
    newer = fleet.http("GET", f"{path}?resourceVersion={then}&resourceVersionMatch=NotOlderThan").json
    assert newer["items"] == []
    future = fleet.http("GET", f"{path}?resourceVersion={int(then) + 100000}")
    assert (future.code, future.json["reason"]) == (504, "Timeout")
    assert future.json["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    senseless = fleet.http("GET", f"{path}?resourceVersionMatch=Exact")
    assert senseless.code == 422


def test_the_shape_of_lists(widgets: Session) -> None:
    widgets.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")
    built_in = widgets.http("GET", widgets.path("configmaps")).json
    assert (built_in["kind"], built_in["apiVersion"]) == ("ConfigMapList", "v1")
    assert "kind" not in built_in["items"][0]
    widgets.apply("apiVersion: conformance.example.com/v1\nkind: Widget\nmetadata: {name: gear}\nspec: {size: 1}\n")
    custom = widgets.http("GET", widgets.path("widgets", group="conformance.example.com/v1beta1")).json
    assert (custom["kind"], custom["apiVersion"]) == ("WidgetList", "conformance.example.com/v1beta1")
    assert (custom["items"][0]["kind"], custom["items"][0]["apiVersion"]) == (
        "Widget",
        "conformance.example.com/v1beta1",
    )


def test_get_and_follow(fleet: Session) -> None:
    with fleet.running("get", "cm", "-w", "-l", "odd=1", "--output-watch-events") as watching:
        assert watching.stdout is not None
        lines = [watching.stdout.readline().split()[:2] for _ in range(3)]
        assert lines == [["EVENT", "NAME"], ["ADDED", "c1"], ["ADDED", "c3"]]
        fleet.kubectl("label", "cm", "c1", "seen=yes")
        fleet.kubectl("label", "cm", "c3", "odd=0", "--overwrite")
        fleet.kubectl("label", "cm", "c2", "odd=1", "--overwrite")
        fleet.kubectl("delete", "cm", "c1")
        lines = [watching.stdout.readline().split()[:2] for _ in range(4)]
    assert lines == [["MODIFIED", "c1"], ["DELETED", "c3"], ["ADDED", "c2"], ["DELETED", "c1"]]


def test_events_in_both_apis(k: Session) -> None:
    k.http(
        "POST",
        k.path("events", group="events.k8s.io/v1"),
        {
            "metadata": {"name": "e1"},
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "regarding": {"kind": "Pod", "namespace": k.namespace, "name": "p", "apiVersion": "v1"},
            "note": "it went well",
            "reason": "Good",
            "action": "Going",
            "type": "Normal",
            "reportingController": "tests",
            "reportingInstance": "one",
        },
    )
    core = k.get("events.v1.", "e1")
    assert (core["involvedObject"]["name"], core["message"], core["reportingComponent"]) == (
        "p",
        "it went well",
        "tests",
    )
    assert "note" not in core
    newer = k.http("GET", k.path("events", "e1", group="events.k8s.io/v1")).json
    assert (newer["regarding"]["name"], newer["note"]) == ("p", "it went well")
    assert "message" not in newer
    printed = rows(k.kubectl("get", "events", "--field-selector=involvedObject.name=p"))
    assert printed[0] == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert printed[1][1:] == ["Normal", "Good", "pod/p", "it went well"]


def test_the_wait_for_creation_deletion_conditions_and_fields(widgets: Session) -> None:
    manifest = "apiVersion: conformance.example.com/v1\nkind: Widget\nmetadata: {name: gear}\nspec: {size: 1}\n"
    with widgets.running("wait", "--for=create", "wd/gear", "--timeout=20s") as waiting:
        widgets.apply(manifest)
        assert waiting.wait(30) == 0
    status = {"status": {"phase": "Done", "conditions": [{"type": "Ready", "status": "True"}]}}
    with (
        widgets.running("wait", "--for=condition=Ready", "wd/gear", "--timeout=20s") as condition,
        widgets.running("wait", "--for=jsonpath={.status.phase}=Done", "wd/gear", "--timeout=20s") as field,
    ):
        widgets.kubectl("patch", "wd", "gear", "--subresource=status", "--type=merge", "-p", json.dumps(status))
        assert (condition.wait(30), field.wait(30)) == (0, 0)
    with widgets.running("wait", "--for=delete", "wd/gear", "--timeout=20s") as deletion:
        widgets.kubectl("delete", "wd", "gear")
        assert deletion.wait(30) == 0
    assert "timed out" in widgets.refused("wait", "--for=delete", "ns/default", "--timeout=1s")


def test_describe(widgets: Session) -> None:
    widgets.apply(
        """\
        apiVersion: v1
        kind: Service
        metadata: {name: web, labels: {a: b}}
        spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: web-0}
        spec: {containers: [{name: main, image: nginx}], serviceAccountName: default}
        ---
        apiVersion: conformance.example.com/v1
        kind: Widget
        metadata: {name: gear}
        spec: {size: 3}
        """
    )
    service = widgets.kubectl("describe", "service", "web")
    assert re.search(r"Name: +web\n", service)
    assert re.search(r"Selector: +app=web\n", service)
    assert re.search(r"TargetPort: +8080/TCP\n", service)
    pod = widgets.kubectl("describe", "pod", "web-0")
    assert re.search(r"Status: +Pending\n", pod)
    assert re.search(r"Image: +nginx\n", pod)
    gear = widgets.kubectl("describe", "widget", "gear")
    assert re.search(r"Kind: +Widget\n", gear)
    assert re.search(r"Colour: +red\n", gear)
    eventually_sync(
        lambda: "Name" in widgets.kubectl("describe", "namespace", "default"), "the description of a namespace"
    )
