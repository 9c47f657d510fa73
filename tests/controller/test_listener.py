"""Sessions come and go with RemoteMeshes, and so does all that is measured of a remote."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meshfed.api.v1alpha1 import FederatedService, RemoteMesh
from meshfed.controller.faults import Faults
from meshfed.controller.propagation import Propagation
from meshfed.controller.remotes import remote_sessions as module
from meshfed.controller.remotes.confirming import Placement
from meshfed.controller.remotes.remote_sessions import RemoteSessions
from meshfed.kube import Engine, Store
from meshfed.telemetry.metrics import Metrics
from tests.builders import host, mesh_federation, offer, remote_mesh
from tests.controller.meshes import meshes
from tests.controller.remotes import Remote, remotes
from tests.waiting import eventually
from tests.world import World, stored


def series(metrics: Metrics, name: str = "west") -> set[str]:
    """What is measured of a remote."""
    return {
        sample.name
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.labels.get("remote") == name
    }


TOLD = {"meshfed_imported_services", "meshfed_denied_services"}
"""What is read off the status of a RemoteMesh."""


async def test_what_is_measured_of_a_remote_goes_with_its_remote_mesh() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(offer("ratings"))
        await east.apply(mesh_federation("east"), west.remote_mesh(), Remote("north", 1).remote_mesh(import_=None))
        await east.start()
        await eventually(lambda: east.imported() == [host("ratings")])
        await eventually(lambda: series(east.metrics) > TOLD and series(east.metrics, "north") == TOLD)
        await east.patch("RemoteMesh", "west", {"spec": {"import": None}})
        await eventually(lambda: series(east.metrics) == TOLD)
        await east.patch("RemoteMesh", "west", {"spec": {"import": {}}})
        await eventually(lambda: series(east.metrics) > TOLD)
        for name in ("west", "north"):
            await east.delete("RemoteMesh", name)
        await eventually(lambda: not series(east.metrics) | series(east.metrics, "north"))
        await eventually(lambda: not east.all("RemoteMesh"))
        assert not series(east.metrics) | series(east.metrics, "north")


class Talkative:
    """Sessions that take their time to end, and report until then."""

    def __init__(self, mesh: RemoteMesh, *, metrics: Metrics, **_: Any) -> None:
        self.name, self.metrics = mesh.metadata.name, metrics

    def report(self) -> None:
        self.metrics.fds_connected.labels(remote=self.name).set(1)
        self.metrics.fds_connects.labels(remote=self.name, outcome="synced").inc()

    async def run(self) -> None:
        try:
            self.report()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            self.report()

    def remember(self, _: object) -> None: ...

    def left(self) -> tuple[()]:
        return ()

    def forget_all(self) -> None: ...

    def close(self) -> None: ...

    def reconfigure(self, *_: object, **__: object) -> bool:
        return False


@pytest.mark.looptime
@pytest.mark.parametrize("after", ["it goes", "nothing is imported from it", "it is made anew", "it comes and goes"])
async def test_what_a_session_reports_while_it_ends_is_forgotten_too(
    after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Session", Talkative)
    world, metrics = World(mesh_federation()), Metrics()
    listener = RemoteSessions(
        planner=world.planner,
        engine=cast("Engine", SimpleNamespace()),
        offers=cast("Store[FederatedService]", SimpleNamespace(by_index=lambda *_: ())),
        metrics=metrics,
        propagation=Propagation(metrics, world.planner.imports),
        stamp=lambda: "",
        faults=Faults(metrics),
        standing=cast("Placement", SimpleNamespace(is_done=lambda: False)),
    )
    west = stored(remote_mesh("west"))
    listener.federation_changed()
    listener.remote_changed("west", west)
    for name in listener.recall():
        listener.arrange(name)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(listener.run())
        await asyncio.sleep(0.1)
        assert series(metrics)
        match after:
            case "it goes":
                listener.remote_changed("west", None)
            case "nothing is imported from it":
                listener.remote_changed("west", stored(remote_mesh("west", import_=None)))
            case "it is made anew":
                listener.remote_changed("west", None)
                listener.remote_changed("west", west)
            case _:
                listener.remote_changed("west", None)
                listener.remote_changed("west", west)
                await asyncio.sleep(0.5)
                listener.remote_changed("west", None)
        await asyncio.sleep(3)
        assert bool(series(metrics)) is (after == "it is made anew")
        running.cancel()
