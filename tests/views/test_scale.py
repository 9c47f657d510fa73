"""Views of thousands take time in proportion: what is read of a snapshot is read once, not once for each row."""

from __future__ import annotations

import sys

import msgspec
import pytest

from meshfed.views.checks import CheckOutcome, remotes, run
from meshfed.views.explain.answers import answer
from meshfed.views.explain.seen import seen
from meshfed.views.exports import exports, planned
from meshfed.views.imports import imports
from meshfed.views.meshes import mesh
from meshfed.views.snapshot import Snapshot
from tests.builders import mesh_federation, namespace, remote_mesh, service
from tests.cli.fakes import imported, snapshot
from tests.views.healthy import facts


@pytest.mark.parametrize("number", [5, 50])
def test_the_objects_are_gone_through_as_often_for_many_as_for_few(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    of_kind = Snapshot.of_kind

    def counted(self: Snapshot, kind: str):  # type: ignore[no-untyped-def] # as the method's
        nonlocal looks
        looks += 1
        return of_kind(self, kind)

    here = snapshot(
        mesh_federation("east"),
        remote_mesh("west"),
        namespace("default"),
        *(imported("west", f"offered-{one}") for one in range(number)),
        *(service(f"own-{one}", exported=True) for one in range(number)),
    )
    monkeypatch.setattr(Snapshot, "of_kind", counted)
    assert len(imports(here)) == number
    assert len(exports(here, planned(here)[0])) == number
    mesh(here)
    assert looks < 25


@pytest.mark.parametrize("number", [5, 50])
def test_checks_of_many_offers_decode_each_as_often_as_of_few(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    of_kind = Snapshot.of_kind

    def counted(self: Snapshot, kind: str):  # type: ignore[no-untyped-def] # as the method's
        nonlocal looks
        looks += 1
        return of_kind(self, kind)

    found = facts({f"offered-{one}": imported("west", f"offered-{one}") for one in range(number)})
    monkeypatch.setattr(Snapshot, "of_kind", counted)
    assert {one.outcome for one in run(found, remotes.CHECKS)} <= {CheckOutcome.OK, CheckOutcome.SKIPPED}
    assert looks < 80


def test_a_chain_among_many_takes_as_many_calls_as_among_few() -> None:
    """But for what is made once: the first chain makes it."""

    def calls(number: int) -> int:
        here = seen(
            snapshot(
                mesh_federation("east"),
                remote_mesh("west"),
                namespace("default"),
                *(imported("west", f"offered-{one}") for one in range(number)),
                *(service(f"own-{one}", exported=True) for one in range(number)),
            )
        )
        count = 0

        def counted(*_: object) -> None:
            nonlocal count
            count += 1

        for name in ("offered-1", "own-1"):
            assert answer((name,), [here]).chains
        sys.setprofile(counted)
        for name in ("offered-2", "own-2"):
            answer((name,), [here])
        sys.setprofile(None)
        return count

    few, many = calls(5), calls(100)
    assert many < 1.1 * few


def test_objects_are_decoded_once_for_each_snapshot() -> None:
    here = snapshot(mesh_federation("east"), remote_mesh("west"), imported("west", "ratings"))
    assert here.records is here.records
    assert here.remotes is here.remotes
    assert here.federations is here.federations
    assert msgspec.structs.replace(here, objects=()).records == ()
