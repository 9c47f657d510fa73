"""What goes and what stays where several things come together; in memory, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from meshfed.controller.watches import CRDS
from meshfed.kube import Invalid, KubeError
from tests.builders import GROUP, RESOURCES, SYSTEM, host, mesh_federation, namespace, offer, service
from tests.controller.in_memory import PatchingClient, Remote, World
from tests.controller.meshes import remote_mesh_at
from tests.virtual import virtual_loop

RECORDS = RESOURCES["FederatedService"]
NAMES = ["s0", "s1", "s2", "s3"]


def in_virtual_time(story: Callable[[World, Remote], Awaitable[None]]) -> None:
    """Tell a story of mesh east, whose controller imports from west what `NAMES` has, and is stopped then."""

    async def told(monkeypatch: pytest.MonkeyPatch) -> None:
        west = Remote()
        west.offer(*map(offer, NAMES))
        found = World(monkeypatch, west=west)
        found.put(
            namespace(SYSTEM), namespace("default"), mesh_federation("east"), remote_mesh_at("west", 1, discovery={})
        )
        await found.start()
        await asyncio.sleep(20)
        assert found.imported() == imports(*NAMES)
        await found.stop()
        await story(found, west)
        await found.stop()

    with pytest.MonkeyPatch.context() as monkeypatch, asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(told(monkeypatch))


def imports(*names: str) -> set[str]:
    return {f"import.{host(name)}" for name in names}


def record(name: str) -> str:
    return f"{host(name)}.west"


async def restarted(found: World) -> None:
    await found.start()
    await asyncio.sleep(30)


def test_a_federated_service_that_is_repaired_while_its_remote_is_away_stays_and_its_import() -> None:
    async def story(found: World, west: Remote) -> None:
        specs: list[Any] = []

        def spoil(one: dict[str, Any]) -> None:
            specs.append(one["spec"])
            one["spec"] = specs[0] | {"ports": 7}

        found.edit("FederatedService", record("s0"), spoil, namespace=SYSTEM)
        west.away = True
        await restarted(found)
        assert found.imported() == imports(*NAMES)
        found.edit("FederatedService", record("s0"), lambda one: one.update(spec=specs[0]), namespace=SYSTEM)
        await asyncio.sleep(30)
        assert found.imported() == imports(*NAMES)
        assert ("FederatedService", record("s0")) in found.written()
        west.away = False
        west.withdraw(host("s0"))
        await asyncio.sleep(30)
        assert found.imported() == imports("s1", "s2", "s3")

    in_virtual_time(story)


def lose_records(found: World, *names: str) -> None:
    """Have the CRD made anew, and those of ``names`` not recorded again."""
    made = {"creationTimestamp": "2026-06-01T00:00:00Z"}
    found.cluster.edit(CRDS, "", f"federatedservices.{GROUP}", lambda one: one["metadata"].update(made))
    for name in names:
        found.cluster.record((RECORDS, SYSTEM, record(name)), None)


def test_where_a_predecessor_recorded_a_part_again_what_it_did_not_come_to_stays_too() -> None:
    async def story(found: World, west: Remote) -> None:
        lose_records(found, "s1", "s2", "s3")
        west.away = True
        await restarted(found)
        assert found.imported() == imports(*NAMES)
        west.away = False
        west.withdraw(host("s3"))
        await asyncio.sleep(30)
        assert found.imported() == imports("s0", "s1", "s2")

    in_virtual_time(story)


def test_of_lost_federated_services_one_that_cannot_be_written_keeps_its_import_and_no_other() -> None:
    async def story(found: World, west: Remote) -> None:
        lose_records(found, *NAMES)
        west.withdraw(host("s3"))

        def refuse(verb: str, name: str) -> KubeError | None:
            return Invalid(422, "Invalid", "it is odd") if (verb, name) == ("create", record("s0")) else None

        found.cluster.refuse = refuse
        await restarted(found)
        assert found.imported() == imports("s0", "s1", "s2")
        assert ("Applied", "True", "Applied") in found.said()[f"FederatedService {record('s1')}"]
        found.cluster.refuse = lambda _verb, _name: None
        await asyncio.sleep(600)
        west.withdraw(host("s0"))
        await asyncio.sleep(30)
        assert found.imported() == imports("s1", "s2")

    in_virtual_time(story)


def test_where_no_mesh_federation_is_left_but_one_that_cannot_be_understood_everything_stays() -> None:
    async def story(found: World, _: Remote) -> None:
        found.put(mesh_federation("other", created="2026-02-01T00:00:00Z", network=7))
        await restarted(found)
        before = found.written()
        await delete(found, "MeshFederation", "east")
        assert found.written() == before
        assert "MeshFederation east" not in found.said()
        found.edit("MeshFederation", "other", lambda one: one["spec"].update(network="east-network"), namespace=SYSTEM)
        await asyncio.sleep(30)
        assert found.written().keys() == before.keys()
        assert found.said()["MeshFederation other"][0] == ("ExportsReady", "True", "NothingExported")
        await delete(found, "MeshFederation", "other")
        assert not found.written()

    in_virtual_time(story)


def test_a_mesh_federation_that_cannot_be_understood_takes_what_stays_for_it_with_it() -> None:
    async def story(found: World, _: Remote) -> None:
        found.put(mesh_federation("other", created="2026-02-01T00:00:00Z", network=7))
        await restarted(found)
        await delete(found, "MeshFederation", "east")
        await delete(found, "MeshFederation", "other")
        assert not found.written()

    in_virtual_time(story)


async def delete(found: World, kind: str, name: str) -> None:
    await PatchingClient(found.cluster).delete(RESOURCES[kind], name, namespace=SYSTEM)
    await asyncio.sleep(30)


SPOILT = {
    "RemoteMesh": (SYSTEM, "west"),
    "FederatedService": (SYSTEM, record("s0")),
    "Service": ("default", "reviews"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_with_the_mesh_federation_everything_goes_whatever_cannot_be_understood(kind: str) -> None:
    async def story(found: World, west: Remote) -> None:
        found.put(service("reviews", exported=True))
        west.offer(offer("reviews"))
        await restarted(found)
        await found.stop()
        where, name = SPOILT[kind]
        found.edit(kind, name, lambda one: one.update(spec={"network": 7, "ports": 7}), namespace=where)
        west.away = True
        await restarted(found)
        await delete(found, "MeshFederation", "east")
        assert not found.written()
        assert "MeshFederation east" not in found.said(), "its finalizer is off"
        assert not found.offered()

    in_virtual_time(story)
