"""Creating, replacing and deleting, and everything a server refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.cluster import Session
from tests.waiting import eventually_sync

GROUP = "conformance.example.com/v1"


def widget(name: str = "gear", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": GROUP, "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 3} | spec}


def config(name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name} | metadata}


def test_what_the_server_fills_in(widgets: Session) -> None:
    created = widgets.http("POST", widgets.path("widgets", group=GROUP), widget())
    assert created.code == 201
    meta = created.json["metadata"]
    assert set(meta) == {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
    }
    assert (meta["namespace"], meta["generation"]) == (widgets.namespace, 1)
    assert created.json["spec"] == {"size": 3, "colour": "red"}


def test_generated_names(k: Session) -> None:
    first, second = (
        k.http("POST", k.path("configmaps"), {"metadata": {"generateName": "c-"}}).json["metadata"] for _ in range(2)
    )
    assert first["name"] != second["name"]
    assert first["name"].startswith("c-")
    assert len(first["name"]) == 7
    assert first["generateName"] == "c-"


def test_create_what_exists(k: Session) -> None:
    k.http("POST", k.path("configmaps"), config("c"))
    answer = k.http("POST", k.path("configmaps"), config("c"))
    assert (answer.code, answer.json) == (
        409,
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": 'configmaps "c" already exists',
            "reason": "AlreadyExists",
            "details": {"name": "c", "kind": "configmaps"},
            "code": 409,
        },
    )


def test_kubectls_own_creations(k: Session) -> None:
    assert k.kubectl("create", "configmap", "c", "--from-literal=a=b") == "configmap/c created\n"
    assert k.kubectl("create", "secret", "generic", "s", "--from-literal=a=b") == "secret/s created\n"
    assert k.kubectl("create", "serviceaccount", "sa") == "serviceaccount/sa created\n"
    assert k.kubectl("create", "service", "clusterip", "svc", "--tcp=80:8080") == "service/svc created\n"
    assert k.kubectl("create", "deployment", "d", "--image=nginx", "--replicas=2") == "deployment.apps/d created\n"
    assert k.kubectl("create", "role", "r", "--verb=get", "--resource=pods").startswith("role.rbac")
    assert k.kubectl("create", "rolebinding", "rb", "--role=r", "--user=me").startswith("rolebinding.rbac")
    assert k.kubectl("create", "namespace", f"{k.namespace}-more") == f"namespace/{k.namespace}-more created\n"
    assert k.get("cm", "c")["data"] == {"a": "b"}
    assert k.get("secret", "s")["data"] == {"a": "Yg=="}
    assert k.get("svc", "svc")["spec"]["ports"] == [
        {"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}
    ]
    deployment = k.get("deployment", "d")
    assert (deployment["spec"]["replicas"], deployment["spec"]["template"]["spec"]["containers"][0]["image"]) == (
        2,
        "nginx",
    )
    assert k.get("rolebinding", "rb")["subjects"] == [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "me"}
    ]


def test_create_as_a_trial(k: Session) -> None:
    manifest = json.dumps(config("c"))
    printed = k.kubectl("create", "--dry-run=server", "-f", "-", stdin=manifest)
    assert printed == "configmap/c created (server dry run)\n"
    assert k.http("GET", k.path("configmaps", "c")).code == 404


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (
            config("Upper"),
            (
                'metadata.name: Invalid value: "Upper": a lowercase RFC 1123 subdomain must consist of lower case '
                "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
                "'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ),
        ),
        (config(""), "name or generateName is required"),
        (
            config("c", labels={"a": "b c"}),
            (
                'metadata.labels: Invalid value: "b c": a valid label must be an empty string or consist of '
                "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
                "'MyValue',  or 'my_value',  or '12345', regex used for validation is "
                "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            ),
        ),
        (
            config("c", labels={"a b": "c"}),
            (
                "metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', "
                "'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
                "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            ),
        ),
    ],
)
def test_metadata_that_is_refused(k: Session, obj: dict[str, Any], message: str) -> None:
    answer = k.http("POST", k.path("configmaps"), obj)
    assert answer.code == 422
    assert answer.json["reason"] == "Invalid"
    assert message in answer.json["message"]


def test_objects_of_another_place_or_kind(k: Session) -> None:
    elsewhere = k.http("POST", k.path("configmaps"), config("c", namespace="elsewhere"))
    assert (elsewhere.code, elsewhere.json["message"]) == (
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
    )
    other = k.http("POST", k.path("configmaps"), {**config("c"), "kind": "Secret"})
    assert other.code == 400
    nowhere = k.http("POST", "/api/v1/namespaces/nowhere/configmaps", config("c"))
    assert (nowhere.code, nowhere.json["message"]) == (404, 'namespaces "nowhere" not found')
    k.http("POST", k.path("configmaps"), config("c"))
    renamed = k.http("PUT", k.path("configmaps", "c"), config("d"))
    assert (renamed.code, renamed.json["message"]) == (
        400,
        "the name of the object (d) does not match the name on the URL (c)",
    )


def test_bodies_that_cannot_be_read(k: Session) -> None:
    text = k.http("POST", k.path("configmaps"), b"hello", media="text/plain")
    assert (text.code, text.json["reason"]) == (415, "UnsupportedMediaType")
    broken = k.http("POST", k.path("configmaps"), b"{")
    assert (broken.code, broken.json["reason"]) == (400, "BadRequest")
    mistyped = k.http("POST", k.path("configmaps"), config("c", labels={"a": 1}))
    assert (mistyped.code, mistyped.json["reason"]) == (400, "BadRequest")
    assert "json: cannot unmarshal" in mistyped.json["message"]
    huge = config("c") | {"data": {"x": "y" * 4_000_000}}
    large = k.http("POST", k.path("configmaps"), huge)
    assert (large.code, large.json["reason"]) == (413, "RequestEntityTooLarge")
    yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-yaml}\n"
    assert k.http("POST", k.path("configmaps"), yaml, media="application/yaml").code == 201


def test_unknown_fields(widgets: Session) -> None:
    obj = widget("w1", nonsense=1)
    path = widgets.path("widgets", group=GROUP)
    strict = widgets.http("POST", path + "?fieldValidation=Strict", obj)
    assert (strict.code, strict.json["message"]) == (
        400,
        'Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.nonsense"',
    )
    warned = widgets.http("POST", path, obj)
    assert (warned.code, warned.headers["Warning"]) == (201, '299 - "unknown field \\"spec.nonsense\\""')
    assert "nonsense" not in warned.json["spec"]
    ignored = widgets.http("POST", path + "?fieldValidation=Ignore", widget("w2", nonsense=1))
    assert (ignored.code, ignored.headers["Warning"]) == (201, None)
    complaint = widgets.refused("create", "-f", "-", stdin=json.dumps(widget("w3", nonsense=1)))
    assert complaint == (
        'Error from server (BadRequest): error when creating "STDIN": Widget in version "v1" cannot be handled as a '
        'Widget: strict decoding error: unknown field "spec.nonsense"'
    )
    built_in = widgets.http(
        "POST", widgets.path("services") + "?fieldValidation=Strict", {"metadata": {"name": "s"}, "spec": {"prots": []}}
    )
    assert (built_in.code, built_in.json["message"]) == (
        400,
        'Service in version "v1" cannot be handled as a Service: strict decoding error: unknown field "spec.prots"',
    )


def test_replace_and_its_conflict(widgets: Session) -> None:
    widgets.apply(json.dumps(widget()))
    first = widgets.get("wd", "gear")
    first["spec"]["size"] = 7
    assert widgets.kubectl("replace", "-f", "-", stdin=json.dumps(first)).endswith("/gear replaced\n")
    first["spec"]["size"] = 8
    complaint = widgets.refused("replace", "-f", "-", stdin=json.dumps(first))
    assert complaint == (
        'Error from server (Conflict): error when replacing "STDIN": Operation cannot be fulfilled on '
        'widgets.conformance.example.com "gear": the object has been modified; please apply your changes to the '
        "latest version and try again"
    )
    assert widgets.get("wd", "gear")["spec"]["size"] == 7


def test_edit(widgets: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    widgets.apply(json.dumps(widget()))
    editor = widgets.directory / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/size: 3/size: 4/' \"$1\"\n")
    editor.chmod(0o755)
    monkeypatch.setenv("KUBE_EDITOR", str(editor))
    assert widgets.kubectl("edit", "wd", "gear").endswith("/gear edited\n")
    assert widgets.get("wd", "gear")["spec"]["size"] == 4


def test_a_put_without_a_version(widgets: Session) -> None:
    path = widgets.path("widgets", "gear", group=GROUP)
    assert widgets.http("PUT", path, widget()).code == 404
    widgets.http("POST", widgets.path("widgets", group=GROUP), widget())
    answer = widgets.http("PUT", path, widget(size=5))
    assert (answer.code, answer.json["message"]) == (
        422,
        (
            'widgets.conformance.example.com "gear" is invalid: metadata.resourceVersion: Invalid value: 0: '
            "must be specified for an update"
        ),
    )
    widgets.http("POST", widgets.path("configmaps"), config("c"))
    assert widgets.http("PUT", widgets.path("configmaps", "c"), {**config("c"), "data": {"a": "b"}}).code == 200
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
    assert widgets.http("PUT", widgets.path("leases", "l", group="coordination.k8s.io/v1"), lease).code == 201


def test_what_an_update_cannot_change(widgets: Session) -> None:
    path = widgets.path("widgets", group=GROUP)
    created = widgets.http("POST", path, widget()).json
    other_uid = json.loads(json.dumps(created))
    other_uid["metadata"]["uid"] = "11111111-2222-3333-4444-555555555555"
    answer = widgets.http("PUT", f"{path}/gear", other_uid)
    assert (answer.code, answer.json["reason"]) == (409, "Conflict")
    later = json.loads(json.dumps(created))
    later["metadata"] |= {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 77}
    answer = widgets.http("PUT", f"{path}/gear", later)
    assert (answer.code, answer.json["metadata"]["creationTimestamp"], answer.json["metadata"]["generation"]) == (
        200,
        created["metadata"]["creationTimestamp"],
        1,
    )


def test_the_status_subresource(widgets: Session) -> None:
    path = widgets.path("widgets", group=GROUP)
    created = widgets.http("POST", path, {**widget(), "status": {"phase": "Early"}}).json
    assert "status" not in created
    both = {**created, "spec": {"size": 50}, "status": {"phase": "Busy"}}
    after_status = widgets.http("PUT", f"{path}/gear/status", both).json
    assert (after_status["spec"]["size"], after_status["status"]) == (3, {"phase": "Busy"})
    assert after_status["metadata"]["generation"] == 1
    entry = after_status["metadata"]["managedFields"][-1]
    assert (entry["manager"], entry["subresource"], entry["fieldsV1"]) == (
        "conformance",
        "status",
        {"f:status": {".": {}, "f:phase": {}}},
    )
    after_main = widgets.http("PUT", f"{path}/gear", {**after_status, "spec": {"size": 9}, "status": {}}).json
    assert (after_main["spec"]["size"], after_main["status"]) == (9, {"phase": "Busy"})
    assert after_main["metadata"]["generation"] == 2
    assert widgets.http("GET", f"{path}/gear/status").json == after_main
    assert widgets.http("DELETE", f"{path}/gear/status").code == 405
    printed = widgets.kubectl(
        "patch", "wd", "gear", "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Done"}}'
    )
    assert printed.endswith("/gear patched\n")
    assert widgets.kubectl("get", "wd", "gear", "-o", "jsonpath={.status.phase}") == "Done"


def test_delete(widgets: Session) -> None:
    path = widgets.path("widgets", group=GROUP)
    created = widgets.http("POST", path, widget()).json
    answer = widgets.http("DELETE", f"{path}/gear")
    assert (answer.code, answer.json) == (
        200,
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {
                "name": "gear",
                "group": "conformance.example.com",
                "kind": "widgets",
                "uid": created["metadata"]["uid"],
            },
        },
    )
    assert widgets.http("DELETE", f"{path}/gear").code == 404
    complaint = widgets.refused("delete", "wd", "gear")
    assert complaint == 'Error from server (NotFound): widgets.conformance.example.com "gear" not found'


def test_delete_under_preconditions(k: Session) -> None:
    meta = k.http("POST", k.path("configmaps"), config("c")).json["metadata"]
    wrong = k.http("DELETE", k.path("configmaps", "c"), {"preconditions": {"resourceVersion": "1"}})
    assert (wrong.code, wrong.json["reason"]) == (409, "Conflict")
    assert wrong.json["message"] == (
        'Operation cannot be fulfilled on ConfigMap "c": the ResourceVersion in the precondition (1) does not match '
        f"the ResourceVersion in record ({meta['resourceVersion']}). The object might have been modified"
    )
    right = k.http("DELETE", k.path("configmaps", "c"), {"preconditions": {"uid": meta["uid"]}})
    assert right.code == 200


def test_delete_a_collection(k: Session) -> None:
    for name, colour in (("a", "red"), ("b", "green"), ("c", "red")):
        k.http("POST", k.path("configmaps"), config(name, labels={"colour": colour}))
    answer = k.http("DELETE", k.path("configmaps") + "?labelSelector=colour%3Dred")
    assert answer.code == 200
    assert k.kubectl("get", "cm", "-o", "name") == "configmap/b\n"
    assert k.kubectl("delete", "cm", "--all").startswith('configmap "b" deleted')


def test_finalizers_hold_a_deletion(widgets: Session) -> None:
    held = widget()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    path = widgets.path("widgets", group=GROUP)
    created = widgets.http("POST", path, held).json
    deleted = widgets.http("DELETE", f"{path}/gear")
    assert (deleted.code, deleted.json["kind"]) == (200, "Widget")
    assert "deletionTimestamp" in deleted.json["metadata"]
    assert deleted.json["metadata"]["deletionGracePeriodSeconds"] == 0
    again = widgets.http("DELETE", f"{path}/gear").json
    assert again["metadata"]["deletionTimestamp"] == deleted.json["metadata"]["deletionTimestamp"]
    patch = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
    more = widgets.http("PATCH", f"{path}/gear", patch, media="application/merge-patch+json")
    assert more.code == 422
    assert "no new finalizers can be added if the object is being deleted" in more.json["message"]
    with widgets.watch(f"{path}?watch=1&resourceVersion={created['metadata']['resourceVersion']}") as events:
        widgets.kubectl("patch", "wd", "gear", "--type=merge", "-p", '{"metadata":{"finalizers":[]}}')
        assert [next(events)["type"] for _ in range(2)] == ["MODIFIED", "DELETED"]
    assert widgets.http("GET", f"{path}/gear").code == 404


@pytest.mark.parametrize(("policy", "left"), [("background", False), ("foreground", False), ("orphan", True)])
@pytest.mark.usefixtures("controllers")
def test_owners_take_their_dependents_along(k: Session, policy: str, left: bool) -> None:
    owner = k.http("POST", k.path("configmaps"), config("owner")).json
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }
    k.http("POST", k.path("configmaps"), config("child", ownerReferences=[reference]))
    k.kubectl("delete", "cm", "owner", f"--cascade={policy}")

    def settled() -> bool:
        child = k.http("GET", k.path("configmaps", "child"))
        return child.code == 200 and "ownerReferences" not in child.json["metadata"] if left else child.code == 404

    eventually_sync(settled, f"the child after a deletion with {policy}")
    assert k.http("GET", k.path("configmaps", "owner")).code == 404


@pytest.mark.usefixtures("controllers")
def test_a_namespace_goes_with_what_is_in_it(widgets: Session) -> None:
    space = f"{widgets.namespace}-gone"
    widgets.http("POST", "/api/v1/namespaces", {"metadata": {"name": space}})
    held = widget()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    widgets.http("POST", f"/api/v1/namespaces/{space}/configmaps", config("c"))
    widgets.http("POST", f"/apis/{GROUP}/namespaces/{space}/widgets", held)
    widgets.kubectl("delete", "namespace", space, "--wait=false")
    found = widgets.http("GET", f"/api/v1/namespaces/{space}").json
    assert found["status"]["phase"] == "Terminating"
    refused = widgets.http("POST", f"/api/v1/namespaces/{space}/configmaps", config("d"))
    assert (refused.code, refused.json["reason"]) == (403, "Forbidden")
    assert (
        f"unable to create new content in namespace {space} because it is being terminated" in (refused.json["message"])
    )
    widgets.kubectl("patch", "-n", space, "wd", "gear", "--type=merge", "-p", '{"metadata":{"finalizers":[]}}')
    eventually_sync(lambda: widgets.http("GET", f"/api/v1/namespaces/{space}").code == 404, "the namespace's end")


def test_namespaces(k: Session) -> None:
    space = k.get("ns", k.namespace)
    assert space["metadata"]["labels"] == {"kubernetes.io/metadata.name": k.namespace}
    assert (space["spec"], space["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    assert "may not be deleted" in k.refused("delete", "ns", "default")


def test_services(k: Session) -> None:
    def create(name: str, **spec: Any) -> tuple[int, dict[str, Any]]:
        answer = k.http("POST", k.path("services"), {"metadata": {"name": name}, "spec": spec})
        return answer.code, answer.json

    code, plain = create("plain", ports=[{"port": 80}])
    assert code == 201
    address = plain["spec"]["clusterIP"]
    assert plain["spec"] == {
        "ports": [{"protocol": "TCP", "port": 80, "targetPort": 80}],
        "clusterIP": address,
        "clusterIPs": [address],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
    }
    assert plain["status"] == {"loadBalancer": {}}
    code, headless = create("headless", clusterIP="None")
    assert (code, headless["spec"]["clusterIP"]) == (201, "None")
    code, external = create("external", type="ExternalName", externalName="example.com")
    assert (code, external["spec"]) == (
        201,
        {"type": "ExternalName", "externalName": "example.com", "sessionAffinity": "None"},
    )
    code, portless = create("portless")
    assert (code, portless["message"]) == (422, 'Service "portless" is invalid: spec.ports: Required value')
    code, unnamed = create("unnamed", ports=[{"port": 80}, {"port": 81}])
    assert (code, unnamed["message"]) == (
        422,
        'Service "unnamed" is invalid: [spec.ports[0].name: Required value, spec.ports[1].name: Required value]',
    )
    code, twice = create("twice", clusterIP=address, ports=[{"port": 80}])
    assert code == 422
    assert "provided IP is already allocated" in twice["message"]
    code, _ = create("first.of-all", ports=[{"port": 80}])
    assert code == 422
    moved = {**plain, "spec": {**plain["spec"], "clusterIP": "10.96.200.200", "clusterIPs": ["10.96.200.200"]}}
    refused = k.http("PUT", k.path("services", "plain"), moved)
    assert refused.code == 422
    assert "may not change once set" in refused.json["message"]


def test_secrets(k: Session) -> None:
    created = k.http("POST", k.path("secrets"), {"metadata": {"name": "s"}, "stringData": {"a": "b"}}).json
    assert (created["data"], created["type"]) == ({"a": "Yg=="}, "Opaque")
    assert "stringData" not in created
    changed = k.http("PUT", k.path("secrets", "s"), {**created, "type": "other"})
    assert changed.code == 422
    assert 'type: Invalid value: "other": field is immutable' in changed.json["message"]
