"""Fields whose mere presence says something: what is there and empty is not what is not there.

Each case is a field of our API, or one of others' that is read, first left out, then there and empty.
"""

from __future__ import annotations

from typing import Any

import pytest

from meshfed.api.v1alpha1 import ImportPolicy, MeshFederationSpec, RemoteMeshSpec
from meshfed.plan.foreign_service_entries import of_service_entry
from tests.builders import federated_service, mesh_federation, remote_mesh, service, typed
from tests.world import World

RATINGS = "ratings.default.svc.cluster.local"
RECORD = f"{RATINGS}.west"
RULE = f"DestinationRule istio-system/mtls-sni.{RATINGS}"
ALIASED: dict[str, Any] = {"action": "Import", "as": {"host": "{name}.{namespace}.svc.west.mesh"}}


def world(**remote: Any) -> World:
    return World(mesh_federation(), remote_mesh(**remote), federated_service("west", "ratings"))


def test_an_export_that_says_nothing_exports_everything_and_none_nothing() -> None:
    reviews = service("reviews")
    assert World(mesh_federation(export=None), reviews).published == {}
    assert list(World(mesh_federation(export={}), reviews).published) == ["reviews.default.svc.cluster.local"]


@pytest.mark.parametrize("field", ["serviceSelectors", "namespaceSelectors"])
def test_a_selector_of_exports_that_says_nothing_selects_everything(field: str) -> None:
    reviews = service("reviews")
    assert len(World(mesh_federation(export={field: {}}), reviews).published) == 1
    assert World(mesh_federation(export={field: {"matchLabels": {"a": "b"}}}), reviews).published == {}


@pytest.mark.parametrize("labels", [None, {}, {"matchLabels": {}}])
def test_labels_of_a_rule_that_say_nothing_match_everything(labels: dict[str, Any] | None) -> None:
    said = {} if labels is None else {"labels": labels}
    exporting = mesh_federation(export={"rules": [{"action": "Export", **said}]})
    assert len(World(exporting, service("reviews")).published) == 1
    assert world(import_={"rules": [{"action": "Import", **said}]}).accepted() == {RECORD: "Accepted"}


def test_an_import_that_says_nothing_imports_everything_and_none_nothing() -> None:
    assert world(import_=None).accepted() == {RECORD: "NotImported"}
    assert world(import_={}).accepted() == {RECORD: "Accepted"}


def test_a_merge_of_a_rule_that_says_no_is_not_one_that_says_nothing() -> None:
    def of(**rule: Any) -> str:
        found = world(import_={"merge": True, "rules": [{"action": "Import"} | rule]})
        return found.put(service("ratings")).accepted()[RECORD]

    assert of() == "Accepted"
    assert of(merge=False) == "LocalServiceExists"


@pytest.mark.parametrize(
    ("policy", "written"),
    [
        (None, None),
        ({}, None),
        ({"outlierDetection": {}}, {"outlierDetection": {}}),
        ({"outlierDetection": {"consecutive5xxErrors": 0}}, {"outlierDetection": {"consecutive5xxErrors": 0}}),
        (
            {"outlierDetection": {"splitExternalLocalOriginErrors": False, "maxEjectionPercent": 0}},
            {"outlierDetection": {"splitExternalLocalOriginErrors": False, "maxEjectionPercent": 0}},
        ),
    ],
)
def test_outlier_detection_that_says_nothing_is_istios_own(
    policy: dict[str, Any] | None, written: dict[str, Any] | None
) -> None:
    manifests = world(trafficPolicy=policy).manifests
    assert manifests.get(RULE, {}).get("trafficPolicy") == written


def test_outlier_detection_that_says_nothing_is_repeated_for_each_port() -> None:
    found = world(trafficPolicy={"outlierDetection": {}}, import_={"rules": [ALIASED]}).manifests
    (settings,) = found["DestinationRule istio-system/mtls-sni.ratings.default.svc.west.mesh"]["trafficPolicy"][
        "portLevelSettings"
    ]
    assert settings["outlierDetection"] == {}


@pytest.mark.parametrize(
    ("kind", "field", "empty"),
    [
        (ImportPolicy, "rules", []),
        (ImportPolicy, "exportTo", []),
        (RemoteMeshSpec, "locality", None),
        (MeshFederationSpec, "export", {"rules": []}),
        (MeshFederationSpec, "export", {"serviceSelectors": []}),
        (MeshFederationSpec, "export", {"rules": [{"action": "Export", "namespaces": []}]}),
        (MeshFederationSpec, "export", {"rules": [{"action": "Export", "names": []}]}),
        (MeshFederationSpec, "export", {"rules": [{"action": "Export", "remotes": []}]}),
        (RemoteMeshSpec, "import", {"rules": [{"action": "Import", "hosts": []}]}),
        (RemoteMeshSpec, "import", {"rules": [{"action": "Import", "namespaces": []}]}),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(kind: type[Any], field: str, empty: object) -> None:
    required: dict[str, Any] = {"network": "west-network", "ingress": {"gateway": {"selector": {"a": "b"}}}}
    given = {name: value for name, value in required.items() if name in kind.__annotations__}
    with pytest.raises(ValueError, match=r"Expected"):
        typed(kind, given | {field: empty})


def test_a_workload_selector_of_a_service_entry_that_says_nothing_selects_everything_there() -> None:
    found = world(import_={"merge": True}).put(service("ratings"))

    def beside(**spec: Any) -> str:
        entry = {"metadata": {"namespace": "default"}, "spec": {"hosts": ["vm.example"], **spec}}
        found.planner.inputs.entries.put(("default", "vms"), of_service_entry(entry))
        return found.accepted()[RECORD]

    assert beside() == "Accepted"
    assert beside(workloadSelector={"labels": {"app": "vm"}}) == "Accepted"
    assert beside(workloadSelector={"labels": {}}) == "SelectorShared"
    assert beside(workloadSelector={}) == "SelectorShared"
    assert beside(workloadSelector=None) == "Accepted"


@pytest.mark.parametrize("export_to", [None, []])
def test_an_export_to_of_a_service_entry_that_says_nothing_is_for_everybody(export_to: list[str] | None) -> None:
    said = {} if export_to is None else {"exportTo": export_to}
    assert of_service_entry({"metadata": {"namespace": "shop"}, "spec": said}).visible_in is None


def test_a_selector_of_a_service_that_says_nothing_selects_nothing() -> None:
    selectors: list[dict[str, str] | None] = [None, {}]
    for selector in selectors:
        found = world(import_={"merge": True}).put(service("ratings"), service("theirs", selector=selector))
        assert found.accepted() == {RECORD: "Accepted"}
