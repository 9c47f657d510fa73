"""The CRDs on a real kube-apiserver: what it says of them, and of good and bad objects, against what we say offline."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from meshfed.api.checks import check
from meshfed.api.crds import KINDS, all_crds, crds_yaml, differences
from meshfed.api.errors import InvalidObject
from meshfed.api.objects import decode_object, manifest_schema
from meshfed.api.v1alpha1 import API_VERSION
from tests.api.cases import bare_mesh_federation

from .administrator import Administrator, administered
from .cases import BAD, GOOD, Bad
from .strategies import manifests, mutated

pytestmark = pytest.mark.skipif(
    not os.environ.get("KUBEBUILDER_ASSETS"), reason="KUBEBUILDER_ASSETS names no folder with kube-apiserver and etcd"
)
KIND = {kind.name: kind for kind in KINDS}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Administrator]:
    """A server that has our CRDs, which it took without a warning."""
    with administered(tmp_path_factory.mktemp("real")) as running:
        applied = running.kubectl("apply", "--server-side", "-f", "-", stdin=crds_yaml())
        assert (applied.returncode, applied.stderr) == (0, "")
        waited = running.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        assert waited.returncode == 0, waited.stderr
        yield running


def _create(server: Administrator, obj: dict[str, Any]) -> tuple[int, Any]:
    plural = KIND[obj["kind"]].plural
    path = f"/apis/{API_VERSION}/namespaces/default/{plural}?dryRun=All&fieldValidation=Strict"
    return server.request("POST", path, obj)


def test_the_served_definitions_are_ours_word_for_word(server: Administrator) -> None:
    for crd in all_crds():
        code, served = server.request(
            "GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}"
        )
        assert (code, differences(served)) == (200, ())
        ours, theirs = crd["spec"]["versions"][0]["schema"], served["spec"]["versions"][0]["schema"]
        assert theirs == ours
        assert {condition["type"]: condition["status"] for condition in served["status"]["conditions"]} == {
            "NamesAccepted": "True",
            "Established": "True",
        }


@pytest.mark.parametrize("obj", GOOD.values(), ids=GOOD)
def test_a_good_object_is_taken_with_the_defaults_that_we_fill_in(server: Administrator, obj: dict[str, Any]) -> None:
    code, created = _create(server, obj)
    assert code == 201, created
    filled, problems = check(obj, manifest_schema(KIND[obj["kind"]].type))
    assert (created["spec"], problems) == (filled["spec"], [])


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.id)
def test_a_bad_object_is_refused_with_the_same_paths(server: Administrator, case: Bad) -> None:
    refused = server.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(case.obj))
    assert refused.returncode != 0
    for path, reason in case.problems:
        assert path in refused.stderr
        assert reason in refused.stderr or not case.cel


def test_what_kubectl_shows(server: Administrator) -> None:
    assert server.kubectl("create", "-f", "-", stdin=json.dumps(bare_mesh_federation("shown"))).returncode == 0
    path = f"/apis/{API_VERSION}/namespaces/default/meshfederations/shown/status"
    status = {
        "conditions": [{"type": "Ready", "status": "False", "reason": "NotReady", "message": "no gateway"}],
        "exportedServices": 0,
        "importedServices": 2,
        "remoteMeshes": 1,
    }
    _, current = server.request("GET", path)
    code, updated = server.request("PUT", path, current | {"status": status})
    assert (code, updated["status"]) == (200, status)
    head, row = server.kubectl("get", "federation", "-o", "wide").stdout.splitlines()
    columns = "NAME NETWORK READY EXPORTED IMPORTED REMOTES AGE TRUST DOMAIN INGRESS REASON MESSAGE"
    assert head.split() == columns.split()
    cells = row.split()
    assert cells.pop(6).endswith("s")  # its age
    assert cells[0].endswith("/shown")
    assert " ".join(cells[1:]) == "east-network False 0 2 1 cluster.local istio NotReady no gateway"
    for name in ("meshfed", "mfed", "rmesh", "fsvc"):
        assert server.kubectl("get", name).returncode == 0
    explained = server.kubectl("explain", "rmesh.spec.staleness.after").stdout
    assert "How long the remote is unreachable before its imports are stale." in explained


SOME = st.one_of(*(manifests(kind) for kind in KINDS), mutated(list(GOOD.values())))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(obj=SOME)
def test_we_take_what_the_server_takes_and_refuse_what_it_refuses(server: Administrator, obj: dict[str, Any]) -> None:
    kind, metadata = obj.get("kind"), obj.get("metadata")
    assume(isinstance(kind, str) and kind in KIND)
    assume(not isinstance(metadata, dict) or metadata.get("namespace") == "default")  # the path says so already
    code, answer = _create(server, obj)
    problems = ""
    try:
        decode_object(obj, KIND[obj["kind"]].type)
    except InvalidObject as error:
        problems = str(error)
    assert (code == 201) == (problems == ""), (problems, answer.get("message"))
