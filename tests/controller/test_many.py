"""A controller that starts where very much is imported: nothing goes and nothing is written."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from tests.builders import host, mesh_federation, offer
from tests.controller.meshes import Mesh, meshes, synced
from tests.controller.remotes import remotes
from tests.controller.test_misbehaving import kept_all, names, resident
from tests.controller.test_static import IMPORTS
from tests.waiting import eventually

MANY = int(os.environ.get("MESHFED_IMPORTS", "500"))
"""Imports; as many as 20,000 take half an hour or so."""
SECONDS = 60 + MANY / 5


def written(mesh: Mesh) -> int:
    """How much was written but for Leases, which are renewed, and Events, which come a few at a time."""
    left_out = ("leases", "events")
    return sum(
        count
        for (verb, resource), count in mesh.server.counters.requests.items()
        if verb in {"create", "update", "patch", "delete"} and not resource.startswith(left_out)
    )


@pytest.mark.timeout(4 * SECONDS)
@pytest.mark.parametrize("away", [False, True], ids=["the remote is there", "the remote is away"])
async def test_a_restart_loses_nothing_and_writes_nothing(away: bool) -> None:
    async with remotes("west") as (west,), meshes("east") as (east,):
        west.offer(*(offer(f"s{number}") for number in range(MANY)))
        await east.apply(mesh_federation("east"), west.remote_mesh(import_={"limit": max(MANY, 1000)}))
        began = time.monotonic()
        await east.start()
        await eventually(lambda: len(names(east)) >= MANY, within=SECONDS)
        await synced(east, west)
        imported = time.monotonic() - began
        writes = written(east) - 1
        while writes != written(east):  # until every status is
            writes = written(east)
            await asyncio.sleep(3)
        before = east.identities(*IMPORTS)
        await east.stop()
        if away:
            await west.stop()
        memory, began = resident(), time.monotonic()
        async with kept_all(east, {*west.offers}):
            await east.start()
            await eventually(
                lambda: east.controller is not None and east.controller.not_ready_reason is None, within=SECONDS
            )
            started = time.monotonic() - began
            if away:
                await eventually(lambda: east.condition("RemoteMesh", "west", "Connected")[0] == "False")
            else:
                await synced(east, west)
            await asyncio.sleep(3)
        assert east.identities(*IMPORTS) == before
        # Since when the remote is connected, or away, is news; what is imported of it is not.
        assert written(east) - writes <= 4
        print(
            f"{MANY} imports: in place after {imported:.0f} s, ready {started:.1f} s after a restart, with "
            f"{(resident() - memory) / 1e6:.0f} MB, and {written(east) - writes} writes"
        )
        if not away:
            west.offer(offer("later"))
            await eventually(lambda: f"import.{host('later')}" in names(east))
