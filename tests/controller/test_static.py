"""Fail static: an import goes because it was withdrawn or a person said so, and for no other reason."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial

import pytest

from tests.builders import host, service, service_entry
from tests.controller.meshes import Mesh, federated, synced
from tests.controller.test_federation import BOOKINFO, export_all
from tests.waiting import eventually

IMPORTS = ("ServiceEntry", "WorkloadEntry", "FederatedService")


@asynccontextmanager
async def nothing_lost(*watched: Mesh) -> AsyncIterator[None]:
    """Fails where, at any moment while the context lasts, an import of these meshes is gone or made anew."""
    before = {mesh.name: mesh.identities(*IMPORTS) for mesh in watched}
    lost: list[str] = []

    def look(mesh: Mesh) -> None:
        missing = before[mesh.name] - mesh.identities(*IMPORTS)
        lost.extend(f"{mesh.name}: {one}" for one in sorted(missing))

    with ExitStack() as stack:
        for mesh in watched:
            stack.enter_context(mesh.server.told(partial(look, mesh)))
        yield
    assert lost == []


async def test_a_controller_that_restarts_while_its_remote_is_away_keeps_every_import_and_writes_nothing() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        async with nothing_lost(east, west):
            await west.stop()
            await eventually(lambda: east.condition("RemoteMesh", "west", "Connected")[0] == "False")
            await east.stop()
            objects = east.written()
            await east.start()
            await east.ready()
            await eventually(lambda: east.condition("RemoteMesh", "west", "Connected") == ("False", "Unreachable"))
            assert east.written() == objects
            await west.start()
            await synced(east, west)
            await synced(west, east)
            assert east.written() == objects


async def test_what_was_withdrawn_while_the_controller_was_down_goes_once_the_remote_is_heard() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        await east.stop()
        await west.label("ratings", export_service=None)
        await west.label("productpage", export_service="true")
        await eventually(lambda: west.exported() == [host("productpage"), host("reviews")])
        await east.start()
        await eventually(lambda: not east.imported())
        await eventually(lambda: east.merged() == [("default", "productpage"), ("default", "reviews")])


async def test_a_remote_removed_while_the_controller_was_down_is_cleaned_up() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        await east.stop()
        await east.delete("RemoteMesh", "west")
        await east.start()
        await eventually(lambda: not east.imported() and not east.merged() and not east.all("FederatedService"))
        assert east.exported() == [host("details"), host("reviews")]


async def test_killed_at_any_moment_it_converges_to_the_same_and_loses_nothing() -> None:
    rng = random.Random(20260101)
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        objects = (east.written(), west.written())
        async with nothing_lost(east, west):
            for _ in range(8):
                killed = rng.choice((east, west))
                await killed.stop()
                await killed.start()
                await asyncio.sleep(rng.random() / 10)
                other = west if killed is east else east
                if rng.random() < 0.5:
                    await other.stop()
                    await other.start()
            await east.ready()
            await west.ready()
            await synced(east, west)
            await synced(west, east)
        assert (east.written(), west.written()) == objects


async def test_killed_in_the_middle_of_changes_it_converges_to_what_they_ask_for() -> None:
    names = [f"shop-{number}" for number in range(12)]
    services = {"east": (), "west": tuple(service(name) for name in names)}
    rng = random.Random(20260102)
    async with federated("east", "west", services=services) as (east, west):
        for name in names:
            await west.label(name, export_service="true")
            if rng.random() < 0.4:
                killed = rng.choice((east, west))
                await killed.stop()
                await killed.start()
        await eventually(lambda: east.imported() == sorted(map(host, names)))
        for name in names[::2]:
            await west.label(name, export_service=None)
            if rng.random() < 0.4:
                killed = rng.choice((east, west))
                await killed.stop()
                await killed.start()
        await eventually(lambda: east.imported() == sorted(map(host, names[1::2])))
        await eventually(lambda: len(east.all("FederatedService")) == len(names) // 2)


@pytest.mark.parametrize("trouble", ["restart", "compacted", "errors", "throttled", "half sent", "unanswered"])
async def test_the_kubernetes_api_in_trouble_costs_no_import_and_is_caught_up_with(trouble: str) -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        async with nothing_lost(east):
            match trouble:
                case "restart":
                    await east.server.stop()
                    await west.label("productpage", export_service="true")
                    await asyncio.sleep(0.3)
                    await east.server.start()
                case "compacted":
                    east.server.compact()
                    east.server.drop_watches()
                    await west.label("productpage", export_service="true")
                case "errors":
                    east.server.fail(status=500, times=20)
                    east.server.drop_watches()
                    await west.label("productpage", export_service="true")
                case "half sent":
                    east.server.fail("half-line", verb="watch", times=20)
                    east.server.drop_watches()
                    await west.label("productpage", export_service="true")
                case "unanswered":
                    for verb in ("create", "update", "patch", "delete"):
                        east.server.fail("drop", verb=verb, times=5)
                    await west.label("productpage", export_service="true")
                case "throttled":
                    east.server.fail(verb="create", status=429, times=5)
                    await west.label("productpage", export_service="true")
            await eventually(lambda: ("default", "productpage") in east.merged())


async def test_the_api_is_down_when_the_controller_starts() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        await east.stop()
        await east.server.stop()
        await east.start()
        await asyncio.sleep(0.2)
        assert east.controller is not None
        assert east.controller.not_ready_reason is not None
        async with nothing_lost(east):
            await east.server.start()
            await east.ready()
            await synced(east, west)


async def test_drift_is_repaired_and_what_others_added_is_left_alone() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        wanted = east.written()
        (entry,) = east.all("ServiceEntry")
        await east.patch("ServiceEntry", entry, {"metadata": {"labels": {"team": "shop"}}})
        await east.patch("ServiceEntry", entry, {"spec": {"location": "MESH_EXTERNAL", "exportTo": ["."]}})
        await eventually(lambda: east.written() == wanted)
        assert east.all("ServiceEntry")[entry]["metadata"]["labels"]["team"] == "shop"
        await east.delete("ServiceEntry", entry)
        for name in east.all("Gateway"):
            await east.delete("Gateway", name)
        await eventually(lambda: east.written() == wanted)


async def test_an_object_of_that_name_that_is_not_ours_is_never_overwritten() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        foreign = service_entry(f"import.{host('ratings')}", "somebody.example.com")
        await east.apply(foreign)
        await west.label("ratings", export_service="true")
        await west.label("reviews", export_service="true")
        await eventually(lambda: east.merged() == [("default", "reviews")])
        record = f"{host('ratings')}.west"
        await eventually(lambda: east.condition("FederatedService", record, "Applied") == ("False", "NotOwned"))
        assert east.imported() == ["somebody.example.com"]
        await east.delete("ServiceEntry", f"import.{host('ratings')}")
        await eventually(lambda: east.imported() == [host("ratings")], within=90)


async def test_a_federated_service_deleted_by_hand_is_put_back_while_the_remote_is_there() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        record = f"{host('ratings')}.west"
        uid = east.all("FederatedService")[record]["metadata"]["uid"]
        await east.delete("FederatedService", record)
        await eventually(
            lambda: (
                east.all("FederatedService").get(record, {}).get("metadata", {}).get("uid", uid) != uid
                and east.imported() == [host("ratings")]
            )
        )


async def test_a_federated_service_deleted_by_hand_while_the_remote_is_away_stays_deleted_until_offered_again() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        await west.stop()
        await eventually(lambda: east.condition("RemoteMesh", "west", "Connected")[0] == "False")
        await east.delete("FederatedService", f"{host('ratings')}.west")
        await eventually(lambda: not east.imported())
        await asyncio.sleep(0.3)
        assert east.imported() == []
        assert east.merged() == [("default", "reviews")]
        await west.start()
        await synced(east, west)
        await eventually(lambda: east.imported() == [host("ratings")])


async def test_a_mass_withdrawal_is_held_and_let_through_by_the_word_in_the_condition() -> None:
    names = [f"shop-{number}" for number in range(24)]
    services = {"west": tuple(service(name, exported=True) for name in names)}
    async with federated("east", "west", services=services) as (east, west):
        await eventually(lambda: len(east.imported()) == 24)
        async with nothing_lost(east):
            await west.patch("MeshFederation", "west", {"spec": {"export": None}})
            await eventually(lambda: east.condition("RemoteMesh", "west", "Synced") == ("False", "WithdrawalHeld"))
            assert len(east.imported()) == 24
        conditions = east.all("RemoteMesh")["west"]["status"]["conditions"]
        (message,) = [one["message"] for one in conditions if one["type"] == "Synced"]
        annotation, _, token = message.rpartition(" ")[2].partition("=")
        assert annotation in message
        await east.patch("RemoteMesh", "west", {"metadata": {"annotations": {annotation: token}}})
        await eventually(lambda: not east.imported())
        await eventually(lambda: east.condition("RemoteMesh", "west", "Synced") == ("True", "Synced"))


async def test_removing_the_remote_object_of_a_remote_that_is_away_removes_its_imports() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        await west.stop()
        await eventually(lambda: east.condition("RemoteMesh", "west", "Connected")[0] == "False")
        await east.delete("RemoteMesh", "west")
        await eventually(lambda: not east.all("RemoteMesh"))
        assert (east.imported(), east.merged(), east.all("FederatedService")) == ([], [], {})
        await east.apply(west.remote_mesh())
        await west.start()
        await eventually(lambda: east.imported() == [host("ratings")])
