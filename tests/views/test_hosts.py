"""Hosts over several meshes: who serves and who uses each, the worst first, and some of them at a time."""

from __future__ import annotations

import msgspec
import pytest

from meshfed.views.exports import exports, planned
from meshfed.views.hosts import STATES, HostPage, HostQuery, HostView, hosts, page
from meshfed.views.imports import ImportState, imports
from tests.builders import host, mesh_federation, namespace, remote_mesh, service
from tests.cli.fakes import condition, imported, snapshot, trouble

EAST = snapshot(
    mesh_federation("east"),
    remote_mesh("west", import_={}),
    imported("west", "ratings"),
    imported("west", "reviews", condition("Reachable", False, "NotPassedOn", "closed at the SNI")),
)
SOUTH = snapshot(
    mesh_federation("south"),
    imported("west", "ratings", condition("Accepted", False, "LocalServiceExists", "there is a local Service")),
    source="south",
)
WEST = snapshot(
    mesh_federation("west"),
    remote_mesh("east"),
    namespace("default"),
    namespace("prod"),
    *(service(name, exported=True) for name in ("ratings", "details")),
    service("outside.prod", exported=True, type="ExternalName", externalName="x.example", ports=[]),
    service("private"),
    source="west",
)


def found() -> tuple[HostView, ...]:
    offers = [one for mesh in (EAST, SOUTH) for one in imports(mesh)]
    return hosts(offers, exports(WEST, planned(WEST)[0]))


def shown(query: HostQuery, *, start: int = 0, size: int = 100) -> HostPage:
    return page(found(), query, start=start, size=size)


def test_every_host_once_the_worst_first() -> None:
    assert [(one.host, one.exporter, one.state, one.reason) for one in found()] == [
        (host("reviews"), "west", "Unreachable", "NotPassedOn"),
        (host("ratings"), "west", "Refused", "LocalServiceExists"),
        ("outside.prod", "west", "NotExported", "ExternalName"),
        (host("details"), "west", "Offered", "Exported"),
    ]


def test_who_uses_a_host_and_who_serves_it() -> None:
    ratings = found()[1]
    assert [(one.mesh, one.state) for one in ratings.used_by] == [
        ("south", ImportState.REFUSED),
        ("east", ImportState.IMPORTED),
    ]
    assert (ratings.service, ratings.namespace, ratings.to) == ("default/ratings", "default", None)


def test_a_namespace_is_known_by_its_host_where_the_exporter_is_not_read() -> None:
    (one,) = hosts(imports(snapshot(mesh_federation("east"), imported("west", "ratings.bookinfo"))), ())
    assert (one.namespace, one.service, one.to) == ("bookinfo", "", None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (HostQuery(words=("REVIEWS",)), ["reviews"]),
        (HostQuery(words=("default/", "west")), ["ratings", "details"]),
        (HostQuery(words=("notpassedon",)), ["reviews"]),
        (HostQuery(words=("south",)), ["ratings"]),
        (HostQuery(mesh="south"), ["ratings"]),
        (HostQuery(mesh="west", state="Offered"), ["details"]),
        (HostQuery(namespace="prod"), ["outside"]),
        (HostQuery(words=("nobody",)), []),
    ],
    ids=["host", "several-words", "reason", "user", "mesh", "state", "namespace", "nothing"],
)
def test_what_is_asked_for(query: HostQuery, expected: list[str]) -> None:
    assert [one.host.partition(".")[0] for one in shown(query).items] == expected


def test_the_states_are_counted_without_the_one_that_is_chosen() -> None:
    one = shown(HostQuery(state="Refused"))
    assert (one.total, one.all) == (1, 4)
    assert one.states == {"Unreachable": 1, "Refused": 1, "NotExported": 1, "Offered": 1}
    assert [*one.states] == [state for state in STATES if state in one.states]


def test_some_at_a_time() -> None:
    assert [one.host for one in shown(HostQuery(), start=2, size=2).items] == ["outside.prod", host("details")]
    assert shown(HostQuery(), start=400, size=2).start == 2
    assert shown(HostQuery(words=("nobody",)), start=4, size=2).start == 0


def test_by_exporter_and_namespace() -> None:
    groups = shown(HostQuery()).groups
    assert [msgspec.to_builtins(one) for one in groups] == [
        {
            "exporter": "west",
            "namespace": "default",
            "total": 3,
            "states": {"Unreachable": 1, "Refused": 1, "Offered": 1},
        },
        {"exporter": "west", "namespace": "prod", "total": 1, "states": {"NotExported": 1}},
    ]


def test_every_state_of_an_import_has_its_place() -> None:
    assert {*map(str, ImportState)} < {*STATES}
    states = [one.state for one in hosts(imports(trouble()), ())]
    assert states == sorted(states, key=STATES.index)
