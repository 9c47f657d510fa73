"""Two controller processes for one mesh: the leader is killed with -9, the other takes over, and nothing is missed."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from meshfed.api.crds import all_crds
from meshfed_sandbox import Sandbox
from meshfed_sandbox.demo.cast import SYSTEM_NAMESPACE, bookinfo, federation, host
from meshfed_sandbox.demo.controllers import ControllerProcess
from meshfed_sandbox.demo.stage import Stage, staged
from meshfed_sandbox.ports import Ports
from tests.forked import forked
from tests.sandbox.test_kill import IMPORTS, apply, started

DETAILS, RATINGS = map(host, ("details", "ratings"))
LEASE_SECONDS = 6
FLAGS = (
    "--leader-elect",
    f"--leader-elect-lease-duration={LEASE_SECONDS}s",
    "--leader-elect-renew-deadline=4s",
    "--leader-elect-retry-period=500ms",
)


async def holder(stage: Stage) -> str:
    found = await stage.kubectl("east", "get", "leases", "meshfed-controller", "-n", SYSTEM_NAMESPACE, "-o", "json")
    return str(json.loads(found)["spec"]["holderIdentity"])


async def offered(controller: ControllerProcess) -> set[str]:
    """What a subscriber hears from one replica."""
    with forked():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "meshfed", "fds", "get", f"127.0.0.1:{controller.discovery_port}", "-o", "json"),
            stdout=asyncio.subprocess.PIPE,
        )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return {one["host"] for one in json.loads(out)}


@pytest.mark.timeout(180)
async def test_the_leader_is_killed_the_other_takes_over_and_every_import_stands(tmp_path: Path, ports: Ports) -> None:
    async with (
        Sandbox(("east", "west"), directory=tmp_path, crds=all_crds()) as box,
        staged(tmp_path, box.kubeconfigs) as stage,
    ):
        east, west = stage.actors["east"], stage.actors["west"]
        first, second = (
            ControllerProcess("east", east.kubeconfig, tmp_path / f"replica-{number}.log", ports, flags=FLAGS)
            for number in (1, 2)
        )
        # West hears the second replica, which leads only later.
        heard = federation(east.place, west.place), federation(west.place, east.place)
        heard_second = heard[1].replace(str(east.place.discovery_port), str(second.discovery_port))
        for mesh, text in (("east", heard[0]), ("west", heard_second)):
            await apply(stage, mesh, bookinfo(mesh))
            await apply(stage, mesh, text)
        await started(west.controller)
        try:
            await started(first)
            await first.ready()
            leader = await holder(stage)
            await started(second)
            await second.ready()
            await stage.kubectl("east", "label", "service", "details", "reviews", "export-service=true")
            await stage.kubectl("west", "label", "service", "ratings", "export-service=true")
            await stage.until("east imports from west", lambda: east.see.imported_hosts() == {RATINGS})
            await stage.until("west imports from east", lambda: west.see.imported_hosts() == {DETAILS})
            assert await offered(first) == await offered(second) == {DETAILS, host("reviews")}
            assert (await first.metric("meshfed_leader"), await second.metric("meshfed_leader")) == (1, 0)

            began = {actor.name: len(actor.see.history) for actor in (east, west)}
            loop = asyncio.get_running_loop()
            killed = loop.time()
            await first.stop(signal.SIGKILL)
            while await second.metric("meshfed_leader") == 0:
                assert await offered(second) == {DETAILS, host("reviews")}
                assert loop.time() - killed < 5 * LEASE_SECONDS, "it never took over"
                await asyncio.sleep(0.3)
            assert await holder(stage) != leader
            await stage.kubectl("west", "label", "service", "reviews", "export-service=true")
            await stage.until("the new leader imports", lambda: bool(east.see.workload_entries(app="reviews")))
            for actor in (east, west):
                lost = [one for one in actor.see.history[began[actor.name] :] if one.deleted and one.kind in IMPORTS]
                assert lost == []

            # The first comes back, and follows; the second ends in order and hands over without a wait.
            await started(first)
            await first.ready()
            await second.stop()
            released = loop.time()
            while await first.metric("meshfed_leader") == 0:
                assert loop.time() - released < LEASE_SECONDS
                await asyncio.sleep(0.1)
        finally:
            for process in (first, second):
                await process.stop()
