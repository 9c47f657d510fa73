"""What it takes to make what exists equal to what is wanted, compared as the engine compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from meshfed.api.v1alpha1 import ORIGIN_ANNOTATION, OWNER_LABEL, OWNER_NAMESPACE_LABEL
from meshfed.istio.metadata import PAUSED, is_paused
from meshfed.kube import Manifest, Ownership
from meshfed.views.differences import Differences, differences
from tests.builders import SYSTEM, manifest

OURS = Ownership({OWNER_NAMESPACE_LABEL: SYSTEM}, ORIGIN_ANNOTATION, paused=is_paused)
LABELS = {OWNER_NAMESPACE_LABEL: SYSTEM, OWNER_LABEL: "east"}


def entry(name: str = "ratings", *, more: dict[str, str] | None = None, **spec: Any) -> Manifest:
    """What is wanted."""
    plain = {"hosts": [name], "ports": [{"number": 80, "name": "http"}]} | spec
    return manifest(
        "ServiceEntry", name, plain, labels=LABELS, annotations={ORIGIN_ANNOTATION: "import x"} | (more or {})
    )


def live(name: str = "ratings", *, more: dict[str, str] | None = None, **spec: Any) -> Manifest:
    """What exists: as it is wanted, and what an API server, and others, add to that."""
    one = entry(name, more=more, **spec)
    one["metadata"]["labels"] = one["metadata"]["labels"] | {"team": "shop"}
    one["metadata"] |= {"uid": "u", "resourceVersion": "7", "managedFields": []}
    return one | {"status": {"conditions": []}, "apiVersion": "networking.istio.io/v1beta1"}


def said(found: Differences) -> list[str]:
    return [f"{one.action} {one.name}" for one in found.changes] + [f"{one.name}: {one.why}" for one in found.left]


LEFT = "ratings: an annotation on it says to leave it alone"
TAKEN = "ratings: an object of that name is there, and it is not Meshfed's"


@pytest.mark.parametrize(
    ("existing", "wanted", "expected"),
    [
        pytest.param([], [], [], id="nothing"),
        pytest.param([live()], [entry()], [], id="what others and the server add"),
        pytest.param([], [entry()], ["Create ratings"], id="create"),
        pytest.param([live(hosts=["b"])], [entry()], ["Change ratings"], id="change"),
        pytest.param([live()], [], ["Delete ratings"], id="delete"),
        pytest.param([live(exportTo=["."])], [entry()], ["Change ratings"], id="a field too many"),
        pytest.param(
            [live(more={OWNER_LABEL: "x"})], [entry()], ["Change ratings"], id="an annotation of ours too many"
        ),
        pytest.param([live(more={"team": "x"})], [entry()], [], id="somebody else's annotation"),
        pytest.param([live(more={ORIGIN_ANNOTATION: "import y"})], [entry()], ["Change ratings"], id="another origin"),
        pytest.param([live(more={PAUSED: "true"}, hosts=["b"])], [entry()], [LEFT], id="paused"),
        pytest.param([live(more={PAUSED: "true"})], [], [LEFT], id="paused and not wanted"),
        pytest.param(
            [live("b"), live("c", hosts=["x"])],
            [entry("a"), entry("c")],
            ["Create a", "Delete b", "Change c"],
            id="by name",
        ),
    ],
)
def test_differences(existing: Sequence[Manifest], wanted: Sequence[Manifest], expected: list[str]) -> None:
    assert said(differences(existing, wanted, OURS)) == expected


def test_an_object_without_an_origin_is_not_written_for_that_alone() -> None:
    old = live()
    del old["metadata"]["annotations"]
    assert said(differences([old], [entry()], OURS)) == []


def test_somebody_elses_object_of_that_name_is_not_overwritten() -> None:
    theirs = live()
    del theirs["metadata"]["labels"]
    assert said(differences([], [entry()], OURS, others=[theirs])) == [TAKEN]


def test_what_is_being_deleted_is_no_news() -> None:
    going = live()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert said(differences([going], [], OURS)) == []
    assert said(differences([going], [entry()], OURS)) == ["Create ratings"]


def test_what_the_server_filled_in_is_no_difference() -> None:
    filled = live(ports=[{"number": 80, "name": "http", "protocol": "TCP"}], resolution="NONE")
    assert said(differences([filled], [entry()], OURS, wanted_before=[entry()])) == []
    # Where it was wanted before, or something else is, it is.
    assert said(differences([filled], [entry()], OURS, wanted_before=[entry(resolution="NONE")])) == ["Change ratings"]
    other = entry(hosts=["b"])
    assert said(differences([filled], [other], OURS, wanted_before=[other])) == ["Change ratings"]


def test_the_diff_shows_what_is_compared() -> None:
    (change,) = differences([live(hosts=["b"], more={"team": "x"})], [entry()], OURS).changes
    assert change.diff == "\n".join(
        [
            "@@ -10,7 +10,7 @@",
            "   namespace: istio-system",
            " spec:",
            "   hosts:",
            "-  - b",
            "+  - ratings",
            "   ports:",
            "   - name: http",
            "     number: 80",
        ]
    )
