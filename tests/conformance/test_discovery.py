"""What the server says it serves, in the words kubectl has for it."""

from __future__ import annotations

import re
import time

import pytest

from tests.conformance.cluster import Session


def test_api_resources_have_short_names_groups_scopes_and_kinds(widgets: Session) -> None:
    rows = {tuple(line.split()) for line in widgets.kubectl("api-resources", "--no-headers").splitlines()}
    assert {
        ("namespaces", "ns", "v1", "false", "Namespace"),
        ("services", "svc", "v1", "true", "Service"),
        ("endpoints", "ep", "v1", "true", "Endpoints"),
        ("pods", "po", "v1", "true", "Pod"),
        ("nodes", "no", "v1", "false", "Node"),
        ("events", "ev", "v1", "true", "Event"),
        ("events", "ev", "events.k8s.io/v1", "true", "Event"),
        ("deployments", "deploy", "apps/v1", "true", "Deployment"),
        ("jobs", "batch/v1", "true", "Job"),
        ("leases", "coordination.k8s.io/v1", "true", "Lease"),
        ("endpointslices", "discovery.k8s.io/v1", "true", "EndpointSlice"),
        ("networkpolicies", "netpol", "networking.k8s.io/v1", "true", "NetworkPolicy"),
        ("poddisruptionbudgets", "pdb", "policy/v1", "true", "PodDisruptionBudget"),
        ("clusterroles", "rbac.authorization.k8s.io/v1", "false", "ClusterRole"),
        ("customresourcedefinitions", "crd,crds", "apiextensions.k8s.io/v1", "false", "CustomResourceDefinition"),
        ("widgets", "wd", "conformance.example.com/v1", "true", "Widget"),
    } <= rows


def test_api_resources_by_category(widgets: Session) -> None:
    assert widgets.kubectl("api-resources", "--categories=gadgets", "-o", "name") == "widgets.conformance.example.com\n"


def test_api_versions(widgets: Session) -> None:
    versions = set(widgets.kubectl("api-versions").split())
    assert {
        "v1",
        "apps/v1",
        "batch/v1",
        "coordination.k8s.io/v1",
        "discovery.k8s.io/v1",
        "events.k8s.io/v1",
        "networking.k8s.io/v1",
        "policy/v1",
        "rbac.authorization.k8s.io/v1",
        "apiextensions.k8s.io/v1",
        "conformance.example.com/v1",
        "conformance.example.com/v1beta1",
    } <= versions


def test_the_older_discovery_by_group(widgets: Session) -> None:
    group = widgets.http("GET", "/apis/conformance.example.com").json
    assert group == {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": "conformance.example.com",
        "versions": [
            {"groupVersion": "conformance.example.com/v1", "version": "v1"},
            {"groupVersion": "conformance.example.com/v1beta1", "version": "v1beta1"},
        ],
        "preferredVersion": {"groupVersion": "conformance.example.com/v1", "version": "v1"},
    }
    resources = widgets.http("GET", "/apis/conformance.example.com/v1").json
    assert [(r["name"], r["kind"], r["namespaced"]) for r in resources["resources"]] == [
        ("widgets", "Widget", True),
        ("widgets/status", "Widget", True),
    ]
    assert "conformance.example.com" in {g["name"] for g in widgets.http("GET", "/apis").json["groups"]}
    assert widgets.http("GET", "/api").json["versions"] == ["v1"]
    core = widgets.http("GET", "/api/v1").json
    assert core["groupVersion"] == "v1"
    assert {"services", "services/status", "namespaces"} <= {r["name"] for r in core["resources"]}


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_health(k: Session, path: str) -> None:
    answer = k.http("GET", path)
    assert (answer.code, answer.body) == (200, b"ok")


def test_version(k: Session) -> None:
    assert re.search(r"Server Version: v1\.\d+\.\d+", k.kubectl("version"))


def test_explain_a_custom_resource(widgets: Session) -> None:
    shown = widgets.kubectl("explain", "widgets.spec.colour")
    assert "GROUP:      conformance.example.com\n" in shown
    assert "KIND:       Widget\n" in shown
    assert "FIELD: colour <string>" in shown
    assert "ENUM:\n    red\n    green\n    black\n" in shown
    assert "Its colour." in shown
    recursive = widgets.kubectl("explain", "widgets", "--recursive")
    for line in ("apiVersion\t<string>", "spec\t<Object> -required-", "parts\t<[]Object>", "tags\t<[]string>"):
        assert line in recursive


def test_explain_built_in_kinds(k: Session) -> None:
    shown = k.kubectl("explain", "service.spec.ports")
    assert "KIND:       Service\n" in shown
    assert "FIELD: ports <[]" in shown
    assert "port\t<integer> -required-" in shown
    recursive = k.kubectl("explain", "deployments", "--recursive")
    for line in ("replicas\t<integer>", "image\t<string>"):
        assert line in recursive


def test_explain_of_what_there_is_not(widgets: Session) -> None:
    said = ""
    for _ in range(50):
        said = widgets.refused("explain", "widgets.spec.nothing")
        if "couldn't find resource" not in said:
            break
        time.sleep(0.2)  # a real server publishes a new kind's schema a moment after it serves the kind
    assert said == 'error: field "nothing" does not exist'


def test_may_i_and_who_am_i(k: Session) -> None:
    assert k.kubectl("auth", "can-i", "create", "services") == "yes\n"
    assert "system:masters" in k.kubectl("auth", "whoami")


def test_what_is_not_there(k: Session) -> None:
    assert k.refused("get", "gizmos") == 'error: the server doesn\'t have a resource type "gizmos"'
    unknown = k.http("GET", "/apis/nowhere.example.com/v1/things")
    assert (unknown.code, unknown.headers.get_content_type()) == (404, "text/plain")
    missing = k.http("GET", "/api/v1/gizmos")
    assert (missing.code, missing.json["reason"]) == (404, "NotFound")
    assert missing.json["message"] == "the server could not find the requested resource"
    assert k.http("POST", "/api/v1/namespaces/default/services/kubernetes", {}).code == 405
