"""kill -9 at random moments: real controller processes, started again at once, always come to the same end."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from meshfed.api.crds import all_crds
from meshfed_sandbox import Sandbox
from meshfed_sandbox.demo.cast import bookinfo, federation, host
from meshfed_sandbox.demo.controllers import Controller
from meshfed_sandbox.demo.stage import Actor, Stage, staged
from tests.forked import forked

DETAILS, RATINGS, REVIEWS = map(host, ("details", "ratings", "reviews"))
IMPORTS = {"ServiceEntry", "WorkloadEntry", "FederatedService"}


async def killing(actor: Actor, rng: random.Random, times: int) -> None:
    """Kill and restart a controller at random moments, mostly before it has found its feet."""
    for _ in range(times):
        await asyncio.sleep(rng.random() * 0.7)
        await actor.controller.stop(signal.SIGKILL)
        await started(actor.controller)


async def started(controller: Controller) -> None:
    """Start a controller, and do not wait until it is ready."""
    with forked():
        await controller.start()


async def apply(stage: Stage, mesh: str, text: str) -> None:
    path = stage.directory / "applied.yaml"
    path.write_text(text)
    await stage.kubectl(mesh, "apply", "-f", str(path))


@pytest.mark.timeout(240)
async def test_killed_at_random_moments_both_controllers_converge_and_lose_nothing(tmp_path: Path) -> None:
    rng = random.Random(9)
    async with (
        Sandbox(("east", "west"), directory=tmp_path, crds=all_crds()) as box,
        staged(tmp_path, box.kubeconfigs) as stage,
    ):
        east, west = stage.actors["east"], stage.actors["west"]
        for own, other in ((east, west), (west, east)):
            await apply(stage, own.name, bookinfo(own.name))
            await apply(stage, own.name, federation(own.place, other.place))
            await started(own.controller)
        async with asyncio.TaskGroup() as group:
            group.create_task(killing(east, rng, 4))
            group.create_task(killing(west, rng, 4))
            await stage.kubectl("east", "label", "service", "details", "reviews", "export-service=true")
            await stage.kubectl("west", "label", "service", "ratings", "reviews", "export-service=true")
        await stage.until("west imports from east", lambda: _imports(west) == ({DETAILS}, 1))
        await stage.until("east imports from west", lambda: _imports(east) == ({RATINGS}, 1))

        began = {actor.name: len(actor.see.history) for actor in (east, west)}
        async with asyncio.TaskGroup() as group:
            group.create_task(killing(east, rng, 4))
            group.create_task(killing(west, rng, 4))
        for actor in (east, west):
            await actor.controller.ready()
            remote = "west" if actor is east else "east"
            await stage.until(
                f"{actor.name} is in sync",
                lambda actor=actor, remote=remote: actor.see.condition("RemoteMesh", remote, "Synced") == "True",  # type: ignore[misc] # bound now
            )
            lost = [one for one in actor.see.history[began[actor.name] :] if one.deleted and one.kind in IMPORTS]
            assert lost == []
        assert (_imports(west), _imports(east)) == (({DETAILS}, 1), ({RATINGS}, 1))
        assert (east.see.exported(), west.see.exported()) == ({DETAILS, REVIEWS}, {RATINGS, REVIEWS})


def _imports(actor: Actor) -> tuple[set[str], int]:
    return actor.see.imported_hosts(), len(actor.see.workload_entries(app="reviews"))
