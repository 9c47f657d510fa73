"""Which definitions of a cluster are brought to this version's, and which stay, or are refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from meshfed import __version__
from meshfed.api.crd_upgrade import Step, judge
from meshfed.api.crds import DIGEST_ANNOTATION, VERSION_LABEL, all_crds, losses

JSONObject = dict[str, Any]
OURS = all_crds()[1]
NAME = OURS["metadata"]["name"]
Change = Callable[[JSONObject], None]


def spec_of(crd: JSONObject) -> JSONObject:
    """The schema of the spec's fields."""
    found: JSONObject = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    return found


def of_version(version: str | None) -> Change:
    def change(crd: JSONObject) -> None:
        crd["metadata"]["labels"][VERSION_LABEL] = version
        crd["metadata"]["annotations"][DIGEST_ANNOTATION] = f"that of {version}"
        if version is None:
            del crd["metadata"]["labels"]

    return change


def without(field: str) -> Change:
    return lambda crd: spec_of(crd).pop(field)


def with_field(field: str) -> Change:
    return lambda crd: spec_of(crd).update({field: {"type": "string"}})


def without_marks(crd: JSONObject) -> None:
    del crd["metadata"]["labels"], crd["metadata"]["annotations"]


def with_version_v1(crd: JSONObject) -> None:
    crd["spec"]["versions"].append(copy.deepcopy(crd["spec"]["versions"][0]) | {"name": "v1", "storage": False})


def changed(*changes: Change) -> JSONObject:
    crd = copy.deepcopy(OURS)
    for change in changes:
        change(crd)
    return crd


@pytest.mark.parametrize(
    ("changes", "step", "said"),
    [
        ((), Step.NOTHING, f"as this version, {__version__}, has it"),
        ((of_version("0.0.9"),), Step.APPLY, f"brought from 0.0.9 to {__version__}"),
        ((of_version("0.0.9"), without("trafficPolicy")), Step.APPLY, f"brought from 0.0.9 to {__version__}"),
        (
            (of_version("0.0.9"), with_field("given_up")),
            Step.APPLY,
            f"brought from 0.0.9 to {__version__}; in {__version__}, it has no spec.given_up",
        ),
        # Somebody took a field out by hand: the mark says ours, and it is not.
        ((without("trafficPolicy"),), Step.APPLY, f"brought from {__version__} to {__version__}"),
        # Builds of one version, as while it is worked on.
        ((of_version(f"{__version__}-rc.1"),), Step.APPLY, f"brought from {__version__}-rc.1 to {__version__}"),
        (
            (of_version(f"{__version__}-rc.1"), with_field("given_up")),
            Step.REFUSE,
            "objects lose what may be stored in them: it has no spec.given_up. Where that is meant: `meshfed",
        ),
        ((of_version(None),), Step.APPLY, "brought from a version that it does not state to"),
        ((of_version(None), with_field("given_up")), Step.REFUSE, "of a version that it does not state, and"),
        # Newer ones serve an older controller too, unless they lack what it needs.
        ((of_version("10.2.0"),), Step.NOTHING, f"of the newer version 10.2.0, which {__version__} gets along with"),
        ((of_version("10.2.0"), with_field("more")), Step.NOTHING, "of the newer version 10.2.0"),
        ((of_version("10.2.0"), with_version_v1), Step.NOTHING, "of the newer version 10.2.0"),
        (
            (of_version("10.2.0"), without("trafficPolicy")),
            Step.REFUSE,
            "needs (it has no spec.trafficPolicy): use 10.2.0 or a later one here too",
        ),
        # Somebody else's, and one of ours whose marks somebody took off.
        ((without_marks, without("trafficPolicy")), Step.REFUSE, "not Meshfed's (it has no spec.trafficPolicy)"),
        ((without_marks,), Step.APPLY, "brought from a version that it does not state to"),
        ((without_marks, with_field("more")), Step.REFUSE, "it has no spec.more"),
        ((without_marks, with_version_v1), Step.REFUSE, "v1 is not served"),
    ],
)
def test_what_is_done_about_a_definition(changes: tuple[Change, ...], step: Step, said: str) -> None:
    verdict = judge(NAME, changed(*changes))
    assert verdict.step is step
    assert said in verdict.said


def test_one_that_is_not_there_is_created() -> None:
    verdict = judge(NAME, None)
    assert (verdict.step, verdict.said) == (Step.APPLY, f"created, of version {__version__}")


def test_somebody_elses_is_replaced_only_where_that_is_asked_for() -> None:
    theirs = changed(without_marks, without("trafficPolicy"), with_field("theirs"))
    assert judge(NAME, theirs).step is Step.REFUSE
    assert judge(NAME, theirs, adopt=True).step is Step.APPLY
    newer = changed(of_version("10.0.0"), without("trafficPolicy"))
    assert judge(NAME, newer, adopt=True).step is Step.REFUSE


def test_many_differences_are_counted() -> None:
    theirs = changed(without_marks, *map(without, ("addresses", "network", "import", "trafficPolicy", "identity")))
    assert "; and 2 more)" in judge(NAME, theirs).said


def test_nothing_is_lost_from_one_definition_of_ours_to_itself() -> None:
    assert [losses(crd) for crd in all_crds()] == [(), (), ()]


def test_a_name_that_is_none_of_ours() -> None:
    with pytest.raises(KeyError):
        judge("gateways.networking.istio.io", None)
