"""Which pairs a bench does not begin with, and what it says of them."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed.cli.bench_pair import namespace, service
from meshfed.kube import Manifest
from meshfed.views.measurable import SAMPLE, BenchCourse, NotMeasurable, course
from tests.builders import EXPORTED, federated_service, mesh_federation, remote_mesh
from tests.cli.fakes import condition, snapshot, with_status

EAST = remote_mesh("east", import_=None)
AUDIENCE = {"action": "Export", "labels": {"matchLabels": EXPORTED}, "remotes": ["north"]}
RENAMING = {"action": "Export", "labels": {"matchLabels": EXPORTED}, "as": {"name": "one"}}


def west_of_east(**spec: Any) -> Manifest:
    """The RemoteMesh west as east has it, heard and in sync."""
    made = remote_mesh("west", **spec)
    conditions = [condition("Connected", True, "Connected"), condition("Synced", True, "Synced")]
    return with_status(made, *conditions, importedServices=7)


def found(
    exporter: list[Manifest] | None = None, importer: list[Manifest] | None = None, label: dict[str, str] = EXPORTED
) -> BenchCourse:
    """What becomes of a Service between west, which exports, and east."""
    return course(
        snapshot(*([mesh_federation("west"), EAST] if exporter is None else exporter), source="west"),
        snapshot(*([mesh_federation("east"), west_of_east()] if importer is None else importer)),
        namespace(),
        service(SAMPLE, {}),
        service(SAMPLE, label),
    )


def test_the_way_of_a_service() -> None:
    one = found()
    assert (one.exporter, one.importer, one.room) == ("west", "east", 993)
    assert one.entry("bench-00017") == "import.bench-00017.meshfed-bench.svc.cluster.local"
    assert one.record("bench-00017") == "bench-00017.meshfed-bench.svc.cluster.local.west"


def test_what_the_exporter_offers_already_is_in_nobodys_way() -> None:
    other = federated_service("west", "ratings")
    assert found(importer=[mesh_federation("east"), west_of_east(), other]) == found()


def test_another_label_may_be_the_one() -> None:
    export = {"serviceSelectors": {"matchLabels": {"team": "shop"}}}
    exporter = [mesh_federation("west", export=export), EAST]
    assert found(exporter, label={"team": "shop"}) == found()
    with pytest.raises(NotMeasurable, match=r"labelled export-service=true: .*`export.serviceSelectors`; see --label"):
        found(exporter)


@pytest.mark.parametrize(
    ("exporter", "importer", "words"),
    [
        ([mesh_federation("west", network=7)], None, "west: MeshFederation istio-system/west cannot be understood"),
        ([], None, "west: there is no MeshFederation in namespace istio-system"),
        (None, [], "east: there is no MeshFederation in namespace istio-system"),
        ([mesh_federation("west")], None, "west has no RemoteMesh east in namespace istio-system: link the two first"),
        (None, [mesh_federation("east")], "east has no RemoteMesh west"),
        (
            None,
            [mesh_federation("east"), remote_mesh("west")],
            "RemoteMesh west of east is not Connected: no controller has said anything of it",
        ),
        (
            None,
            [
                mesh_federation("east"),
                with_status(remote_mesh("west"), condition("Connected", False, "Connecting", "it is down")),
            ],
            "RemoteMesh west of east is not Connected: it is down; `meshfed check`",
        ),
        (
            [mesh_federation("west", export={"rules": [{"action": "Export", "namespaces": ["shop"]}]}), EAST],
            None,
            "west does not export what is labelled export-service=true: .* matches none of the 1 export rules",
        ),
        (
            [mesh_federation("west", export={"rules": [{"names": ["bench-*"], "action": "Deny"}]}), EAST],
            None,
            r"is denied by export rule 1 \(`export.rules`\)",
        ),
        ([mesh_federation("west", export={}), EAST], None, "west exports Services without the label"),
        (
            [
                mesh_federation("west", export={"rules": [AUDIENCE]}),
                EAST,
            ],
            None,
            "west exports what is labelled export-service=true, but not to east",
        ),
        (
            None,
            [mesh_federation("east"), west_of_east(import_={"rules": [{"action": "Import", "namespaces": ["shop"]}]})],
            "east does not import it: .* matches none of the 1 import rules of RemoteMesh west",
        ),
        (None, [mesh_federation("east"), west_of_east(import_=None)], "east does not import it"),
        (
            [mesh_federation("west", export={"rules": [RENAMING]}), EAST],
            None,
            "Service bench-00000 would be offered as one.meshfed-bench.svc.cluster.local, as all others would",
        ),
    ],
    ids=[
        "not-understood",
        "no-federation-west",
        "no-federation-east",
        "not-linked-west",
        "not-linked-east",
        "no-controller",
        "away",
        "no-export-rule",
        "export-denied",
        "all-exported",
        "other-audience",
        "no-import-rule",
        "publish-only",
        "renamed",
    ],
)
def test_what_is_not_measured(exporter: list[Manifest] | None, importer: list[Manifest] | None, words: str) -> None:
    with pytest.raises(NotMeasurable, match=words):
        found(exporter, importer)
