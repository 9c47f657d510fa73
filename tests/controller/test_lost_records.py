"""FederatedServices that are deleted behind the controller's back, one or all, or with their CRD: imports stay."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meshfed.controller.startup.definitions import bring_up
from meshfed.controller.watches import CRDS
from meshfed.kube import time_now
from tests.builders import GROUP, SYSTEM, host, mesh_federation, offer, service
from tests.controller.meshes import Mesh, meshes, synced
from tests.controller.remotes import Remote, remotes
from tests.waiting import eventually

IMPORTS = ("ServiceEntry", "WorkloadEntry")
NAMES = [f"s{number}" for number in range(10)]
MANY = 60.0
"""Seconds until a kind that was not served is looked for again, and then some."""


@asynccontextmanager
async def imported(**spec: Any) -> AsyncIterator[tuple[Mesh, Remote]]:
    """Mesh east, which imports ten services of west, one of them beside a Service of its own."""
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(*map(offer, NAMES))
        await east.apply(mesh_federation("east"), service("s0"), west.remote_mesh(**spec))
        await east.start()
        await eventually(lambda: (len(east.imported()), len(east.merged())) == (9, 1) and applied(east) == 10)
        yield east, west


def applied(mesh: Mesh) -> int:
    """How many FederatedServices say that their objects are in place."""
    return [mesh.condition("FederatedService", name, "Applied")[0] for name in mesh.all("FederatedService")].count(
        "True"
    )


async def delete_records(mesh: Mesh) -> None:
    for name in mesh.all("FederatedService"):
        await mesh.delete("FederatedService", name)


async def delete_definition(mesh: Mesh) -> None:
    """Delete the CRD, and all FederatedServices with it."""
    await mesh.client.delete(CRDS, f"federatedservices.{GROUP}")
    await eventually(lambda: not mesh.all("FederatedService"))


async def test_while_their_remote_is_connected_they_are_put_back(caplog: pytest.LogCaptureFixture) -> None:
    async with imported() as (east, west):
        before, records = east.identities(*IMPORTS), east.identities("FederatedService")
        with caplog.at_level(logging.WARNING):
            await delete_records(east)
            await eventually(lambda: applied(east) == 10)
        assert records.isdisjoint(east.identities("FederatedService"))
        assert east.identities(*IMPORTS) == before
        assert sum("they are put back" in one.getMessage() for one in caplog.records) == 1
        west.withdraw(host("s0"), host("s1"))
        await eventually(lambda: len(east.imported()) == 8 and not east.merged())


async def test_one_that_somebody_made_by_hand_goes_as_they_like() -> None:
    async with imported() as (east, west):
        record = east.all("FederatedService")[f"{host('s1')}.west"]
        west.withdraw(host("s1"))
        await eventually(lambda: len(east.imported()) == 8)
        made = {key: record[key] for key in ("apiVersion", "kind", "spec")}
        await east.apply(made | {"metadata": {"name": "by-hand", "namespace": SYSTEM}})
        await eventually(lambda: len(east.imported()) == 9)
        west.offer(offer("s1"))
        await eventually(lambda: applied(east) == 10)
        await east.delete("FederatedService", "by-hand")
        west.withdraw(host("s1"))
        await eventually(lambda: len(east.imported()) == 8)


async def test_while_their_remote_is_away_the_removal_stands() -> None:
    async with imported() as (east, west):
        await west.stop()
        await eventually(lambda: east.condition("RemoteMesh", "west", "Connected")[1] == "Unreachable")
        before = east.identities(*IMPORTS)
        await east.delete("FederatedService", f"{host('s1')}.west")
        await eventually(lambda: len(east.imported()) == 8)
        assert east.identities(*IMPORTS) < before


async def test_with_their_definition_they_come_back_and_what_is_withdrawn_meanwhile_goes() -> None:
    async with imported() as (east, west):
        before = east.identities(*IMPORTS)
        await delete_definition(east)
        west.withdraw(host("s0"), host("s1"))
        await eventually(lambda: len(east.imported()) == 8 and not east.merged())
        await bring_up(east.client)
        await eventually(lambda: applied(east) == 8, within=MANY)
        assert east.identities(*IMPORTS) < before


async def lose_memory(east: Mesh, west: Remote) -> None:
    """Have the CRD deleted and made anew while no controller runs, and west away."""
    await east.stop()
    await west.stop()
    await delete_definition(east)
    last = max(found["metadata"]["creationTimestamp"] for kind in IMPORTS for found in east.all_of(kind))
    await eventually(lambda: last < time_now())
    await bring_up(east.client)


async def test_without_the_definition_a_controller_waits_and_takes_nothing_away() -> None:
    async with imported() as (east, _):
        before = east.identities(*IMPORTS)
        await east.stop()
        await delete_definition(east)
        await east.start()
        await eventually(
            lambda: east.controller is not None and "does not serve" in (east.controller.not_ready_reason or "")
        )
        assert east.identities(*IMPORTS) == before


async def test_a_controller_that_starts_without_them_takes_nothing_away_before_it_has_heard_the_remote(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with imported() as (east, west):
        before = east.identities(*IMPORTS)
        await lose_memory(east, west)
        with caplog.at_level(logging.WARNING):
            await east.start()
            await east.ready()
            await eventually(lambda: east.condition("RemoteMesh", "west", "Connected")[1] == "Unreachable")
            await east.apply(service("a", exported=True))
            await eventually(lambda: east.exported() == [host("a")])
        assert east.identities(*IMPORTS) == before
        assert any("to be heard: west" in one.getMessage() for one in caplog.records)
        west.withdraw(host("s0"), host("s1"))
        await west.start()
        await eventually(lambda: applied(east) == 8)
        await eventually(lambda: len(east.imported()) == 8 and not east.merged())
        assert east.identities(*IMPORTS) < before


@pytest.mark.parametrize("action", ["Remove", "Keep"])
async def test_a_remote_that_stays_away_is_up_to_its_staleness_policy(action: str) -> None:
    async with imported(staleness={"after": "1s", "action": action}) as (east, west):
        await lose_memory(east, west)
        await east.start()
        await eventually(lambda: east.condition("RemoteMesh", "west", "Synced")[1] == "Stale")
        if action == "Remove":
            await eventually(lambda: not east.imported() and not east.merged())
        else:
            await east.apply(service("a", exported=True))
            await eventually(lambda: east.exported() == [host("a")])
            assert (len(east.imported()), len(east.merged())) == (9, 1)
            await east.delete("RemoteMesh", "west")
            await eventually(lambda: not east.imported() and not east.merged() and not east.all("RemoteMesh"))


async def test_a_remote_that_offers_nothing_any_more_is_believed() -> None:
    async with imported() as (east, west):
        await lose_memory(east, west)
        west.withdraw(*map(host, NAMES))
        await west.start()
        await east.start()
        await synced(east, west)
        await eventually(lambda: not east.imported() and not east.merged())


async def test_where_they_alone_were_deleted_while_no_controller_ran_that_stands() -> None:
    async with imported() as (east, west):
        await east.stop()
        await west.stop()
        await delete_records(east)
        await east.start()
        await eventually(lambda: not east.imported() and not east.merged())
