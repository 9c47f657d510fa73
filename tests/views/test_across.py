"""What ``meshfed check`` compares where it looks at several meshes, and the clocks of one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from meshfed.views.checks import CHECKS, CheckOutcome, CheckView, Facts, Root, beside_each_other, run
from meshfed.views.checks.clocks import ALLOWED
from meshfed.views.explain.seen import seen
from meshfed.views.snapshot import Clock, Server
from tests.cli.fakes import NOW, condition
from tests.views.federated import World, saying

COMMON = Root("root of all meshes", NOW + timedelta(days=365), "aa")
OWN = Root("root of west", NOW + timedelta(days=365), "bb")
SURE = Clock(0.0, 0.5)
CUT_OFF = condition("Reachable", False, "GatewayNotReached", "refused")
Change = Callable[[World], Any]
ACROSS = [one for one in CHECKS if one.group == "across"]


def two(
    change: Change = lambda _: None, *said: dict[str, Any], its_clock: Clock | None = SURE, **west: Any
) -> tuple[Facts, ...]:
    """What is found out of east and west; ``west`` is what is found otherwise there, ``said`` what east says of it."""
    world = World()
    change(world)
    sides = list(world.snapshots())
    if said:
        sides[0] = saying(sides[0], "RemoteMesh", "west", *said)
    sides = [
        msgspec.structs.replace(one, server=Server("v1.31.2", clock))
        for one, clock in zip(sides, (SURE, its_clock), strict=True)
    ]
    found = [Facts(snapshot=one, plan=seen(one).plan, roots=(COMMON,)) for one in sides]
    found[1] = msgspec.structs.replace(found[1], **west)
    return beside_each_other(tuple(found))


def asked(name: str, found: tuple[Facts, ...]) -> list[CheckView]:
    """What a check says of each mesh, in turn."""
    return [one for facts in found for one in run(facts, tuple(ACROSS)) if one.check == name]


def spec(mesh: str, kind: str, name: str, **fields: Any) -> Change:
    return lambda world: world.one(kind, name, mesh)["spec"].update(fields)


def renamed(world: World) -> None:
    world.one("MeshFederation", "west")["metadata"]["name"] = "east"


def unlinked(*meshes: str) -> Change:
    def change(world: World) -> None:
        for mesh in meshes:
            world.remove("RemoteMesh", {"east": "west", "west": "east"}[mesh], mesh)

    return change


def test_one_mesh_alone_is_compared_with_nobody() -> None:
    (east, _) = two()
    assert list(run(msgspec.structs.replace(east, others=()), tuple(ACROSS))) == []
    assert beside_each_other((east,)) == (east,)


def test_where_two_fit_each_other_everything_is_ok_and_what_is_mutual_is_said_once() -> None:
    views = [one for facts in two() for one in run(facts, tuple(ACROSS))]
    assert [(one.mesh, one.check, one.about, one.outcome) for one in views] == [
        ("east", "unique", "west", "ok"),
        ("east", "described", "west", "ok"),
        ("east", "addresses", "west", "ok"),
        ("east", "common-root", "west", "ok"),
        ("east", "versions", "west", "ok"),
        ("east", "clocks", "west", "ok"),
        ("west", "described", "east", "ok"),
        ("west", "addresses", "east", "ok"),
    ]


@pytest.mark.parametrize(
    ("name", "found", "outcome", "words"),
    [
        ("unique", two(renamed), "failed", "both meshes have `metadata.name` east"),
        (
            "unique",
            two(spec("west", "MeshFederation", "west", network="east-network")),
            "failed",
            "both meshes have `spec.network` east-network",
        ),
        ("unique", two(lambda world: world.remove("MeshFederation", "west")), "skipped", "has no MeshFederation"),
        (
            "described",
            two(spec("east", "RemoteMesh", "west", network="elsewhere")),
            "failed",
            "`network` of RemoteMesh west is elsewhere, and west's is west-network",
        ),
        (
            "described",
            two(spec("west", "RemoteMesh", "east", identity="spiffe://cluster.local/ns/a/sa/b")),
            "failed",
            "`identity` of RemoteMesh east is spiffe://cluster.local/ns/a/sa/b, and east's is",
        ),
        (
            "described",
            two(spec("east", "RemoteMesh", "west", clusterDomain="west.example")),
            "failed",
            "`clusterDomain` of RemoteMesh west is west.example, and west's is cluster.local",
        ),
        ("described", two(unlinked("west")), "warning", "east has a RemoteMesh for west, and west has none for east"),
        ("described", two(unlinked("east", "west")), "skipped", "neither has a RemoteMesh for the other"),
        (
            "addresses",
            two(spec("east", "RemoteMesh", "west", addresses=["192.0.2.99"]), CUT_OFF),
            "failed",
            "RemoteMesh west leads to 192.0.2.99:15443, and the gateway's Service of west has 192.0.2.10:15443",
        ),
        (
            "addresses",
            two(
                spec("east", "RemoteMesh", "west", addresses=["192.0.2.99"]),
                condition("Reachable", True, "Answered", "answered"),
            ),
            "ok",
            "it is reached all the same",
        ),
        (
            "addresses",
            two(spec("east", "RemoteMesh", "west", addresses=["gateway.west.example"]), CUT_OFF),
            "unknown",
            "one is a name, which may lead to the other",
        ),
        (
            "addresses",
            two(lambda world: world.one("Service", "gateway")["spec"].pop("externalIPs")),
            "unknown",
            "where the gateway of west is reached is not seen there",
        ),
        (
            "addresses",
            two(lambda world: world.one("RemoteMesh", "west", "east")["spec"].pop("import")),
            "skipped",
            "nothing is imported from west",
        ),
        (
            "common-root",
            two(roots=(OWN,)),
            "failed",
            "no root is common: east trusts root of all meshes, and west trusts root of west",
        ),
        ("common-root", two(roots=(OWN, COMMON)), "ok", "both trust root of all meshes"),
        ("common-root", two(roots=(), no_roots="there is no ConfigMap"), "unknown", "of west: there is no ConfigMap"),
        (
            "clocks",
            two(its_clock=Clock(90.0, 0.5)),
            "warning",
            "the API server of west is 90s ahead of that of east, to within 1.0 s",
        ),
        ("clocks", two(its_clock=Clock(-90.0, 0.5)), "warning", "the API server of east is 90s ahead of that of west"),
        ("clocks", two(its_clock=Clock(60.5, 0.5)), "ok", "have the same time, to within 1.0 s"),
        ("clocks", two(its_clock=None), "unknown", "the API server of west does not say what time it is"),
        ("versions", two(lambda world: world.remove("Lease", "meshfed-replica-controller-0")), "unknown", "of west"),
        (
            "unique",
            two(snapshot=msgspec.structs.replace(two()[1].snapshot, unread={"RemoteMesh": "no"})),
            "unknown",
            "",
        ),
    ],
)
def test_each_comparison(name: str, found: tuple[Facts, ...], outcome: str, words: str) -> None:
    views = asked(name, found)
    assert any(one.outcome == outcome and words in one.message for one in views), views
    assert all(one.remedy for one in views if one.outcome in {CheckOutcome.FAILED, CheckOutcome.WARNING})


def test_every_comparison_has_a_case_in_which_it_is_not_ok() -> None:
    for check in ACROSS:
        assert any(
            one.outcome is not CheckOutcome.OK
            for found in (two(renamed), two(unlinked("west")), two(roots=(), its_clock=None), other_version())
            for one in asked(check.name, found)
        ), check.name


def other_version() -> tuple[Facts, ...]:
    """West's controller is of another version."""

    def change(world: World) -> None:
        lease = world.one("Lease", "meshfed-replica-controller-0")
        key = "federation.openshift-service-mesh.io/version"
        lease["metadata"] |= {"annotations": {**lease["metadata"]["annotations"], key: "0.9"}}

    return two(change)


def test_versions_that_differ_are_named() -> None:
    (one,) = asked("versions", other_version())
    assert (one.outcome, one.message) == (
        "warning",
        "east has controllers of 1.2.3 and CRDs of none, and west has controllers of 0.9 and CRDs of none",
    )


@pytest.mark.parametrize(
    ("date", "took", "expected"),
    [
        ("Thu, 01 Jan 2026 12:00:00 GMT", 1.0, Clock(0.0, 1.0)),
        ("Thu, 01 Jan 2026 12:02:00 GMT", 0.0, Clock(120.5, 0.5)),
        ("Thu, 01 Jan 2026 11:58:00 GMT", 0.0, Clock(-119.5, 0.5)),
        ("", 0.0, None),
        ("yesterday", 0.0, None),
        ("Thu, 01 Jan 2026 12:00:00 -0000", 0.0, None),
    ],
)
def test_a_clock_is_read_from_when_an_answer_was_sent(date: str, took: float, expected: Clock | None) -> None:
    assert Clock.read(date, NOW, NOW + timedelta(seconds=took)) == expected


def test_clocks_may_differ_by_what_a_certificate_may_begin_too_early() -> None:
    assert timedelta(minutes=1) == ALLOWED
