"""Whatever owners, networks, API servers and processes do, in whatever order: against a model of what may be gone.

The model knows of each import of each mesh which meshes serve it. Where one of them withdraws it, or is taken away
here, that reason falls away, and only without any may the import go. It is looked at in the moment of each change of an
object, in each mesh. Whenever all is well for some minutes, each mesh imports what the others export, and no more.

More than the few that always run: ``MESHFED_STEPS=20000 make unit ARGS=tests/controller/test_model.py``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.builders import host
from tests.controller.federations import NAMES, Federation, Spurious
from tests.virtual import virtual_loop

DIALECTS: dict[str, Any] = {"east": "delta", "west": "sotw", "north": "delta"}
EXPORTED = {"east": "b", "west": "abc", "north": "c"}
"""Services with which each run begins; `a` is of a remote alone, `b` and `c` of two."""
STEPS = 40
"""Of each run."""
TOTAL = int(os.environ.get("MESHFED_STEPS", "400"))
MINUTE = 60.0
SETTLED = 5 * MINUTE
"""Seconds in which whatever waits longest, for a remote or to be tried again, has its turn."""
MESHES = st.sampled_from(sorted(DIALECTS))
WAYS = st.sampled_from([(one, other) for one in DIALECTS for other in DIALECTS if one != other])
WAYS_OF_THE_REFERENCE = WAYS.filter(lambda way: DIALECTS[way[1]] == "sotw")
SERVICES = st.sampled_from(NAMES)


class Model(RuleBasedStateMachine):
    """What may happen, and what has to hold meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self._runner = asyncio.Runner(loop_factory=virtual_loop)
        self._meddled = 0
        self.federation: Federation

    def run(self, work: Coroutine[Any, Any, Any]) -> None:
        """Have something done, and let time pass as far as that takes."""
        self._runner.run(work)

    @initialize()
    def begin(self) -> None:
        async def begun() -> None:
            self.federation = Federation(self._patch, **DIALECTS)
            await self.federation.begin()
            for name, exported in EXPORTED.items():
                for service in exported:
                    self.federation.meshes[name].service(service, exported=True)
            await asyncio.sleep(MINUTE)
            self.federation.settled()

        self.run(begun())

    def teardown(self) -> None:
        async def ended() -> None:
            for mesh in self.federation.meshes.values():
                await mesh.end()
            await asyncio.sleep(1)
            assert asyncio.all_tasks() == {asyncio.current_task()}, "something is left to do"

        try:
            if hasattr(self, "federation"):
                self.settle()
                self.run(ended())
        finally:
            self._runner.close()
            self._patch.undo()

    # --- owners

    @rule(name=MESHES, service=SERVICES, exported=st.booleans())
    def a_service_is_there(self, name: str, service: str, exported: bool) -> None:
        mesh = self.federation.meshes[name]
        if not exported:
            self.federation.withdrawn(mesh, service)
        self.run(_now(lambda: mesh.service(service, exported=exported)))

    @rule(name=MESHES, service=SERVICES)
    def a_service_is_gone(self, name: str, service: str) -> None:
        mesh = self.federation.meshes[name]
        self.federation.withdrawn(mesh, service)
        self.run(_now(lambda: mesh.drop("Service", service, "default")))

    @rule(way=WAYS)
    def a_remote_is_taken_away(self, way: tuple[str, str]) -> None:
        mesh = self.federation.meshes[way[0]]
        for by in mesh.serves.values():
            by.discard(way[1])
        self.run(_now(lambda: mesh.drop("RemoteMesh", way[1], "istio-system")))

    @rule(way=WAYS)
    def a_remote_is_there(self, way: tuple[str, str]) -> None:
        mesh, other = (self.federation.meshes[name] for name in way)
        self.run(_now(lambda: mesh.remote(other)))

    @precondition(lambda self: self._meddled < 3)
    @rule(name=MESHES, number=st.integers(0, 5))
    def somebody_deletes_an_object_of_an_import(self, name: str, number: int) -> None:
        self._meddled += 1
        mesh = self.federation.meshes[name]
        self.run(_now(lambda: mesh.meddle(number)))

    # --- networks

    @rule(way=WAYS, down=st.booleans())
    def a_way_breaks_or_is_mended(self, way: tuple[str, str], down: bool) -> None:
        found = self.federation.ways[way]
        found.down = down
        if down:
            self.run(_now(found.cut))

    @rule(way=WAYS)
    def a_stream_ends(self, way: tuple[str, str]) -> None:
        self.run(_now(self.federation.ways[way].cut))

    @rule(way=WAYS, what=st.sampled_from(get_args(Spurious)), times=st.integers(1, 3))
    def a_remote_sends_what_it_should_not(self, way: tuple[str, str], what: Spurious, times: int) -> None:
        for _ in range(times):
            self.run(_now(lambda: self.federation.ways[way].receive(what)))

    @rule(way=WAYS_OF_THE_REFERENCE, before=st.sampled_from([0.0, 5.0, 60.0]))
    def a_remote_that_failed_sends_an_empty_list(self, way: tuple[str, str], before: float) -> None:
        async def failed() -> None:
            await asyncio.sleep(before)
            self.federation.ways[way].receive("an empty list")
            await asyncio.sleep(3)

        self.run(failed())

    # --- processes

    @rule(name=MESHES)
    def all_replicas_are_killed_and_one_starts(self, name: str) -> None:
        async def restarted() -> None:
            mesh = self.federation.meshes[name]
            while mesh.replicas:
                await self.federation.kill(mesh, 0)
            await mesh.join()

        self.run(restarted())

    @rule(name=MESHES)
    def a_replica_comes(self, name: str) -> None:
        mesh = self.federation.meshes[name]
        if len(mesh.replicas) < 3:
            self.run(mesh.join())

    @rule(name=MESHES, number=st.integers(0, 2))
    def a_replica_is_killed(self, name: str, number: int) -> None:
        mesh = self.federation.meshes[name]
        if len(mesh.replicas) > 1:
            self.run(self.federation.kill(mesh, number % len(mesh.replicas)))

    # --- API servers

    @rule(name=MESHES, seconds=st.sampled_from([1.0, 30.0, 100.0]))
    def the_api_is_away(self, name: str, seconds: float) -> None:
        async def away() -> None:
            cluster = self.federation.meshes[name].cluster
            cluster.down = True
            cluster.cut()
            await asyncio.sleep(seconds)
            cluster.down = False

        self.run(away())

    @rule(name=MESHES, error=st.sampled_from([429, 500, 503]), seconds=st.sampled_from([1.0, 30.0]))
    def the_api_refuses_half_of_all(self, name: str, error: int, seconds: float) -> None:
        async def refusing() -> None:
            mesh = self.federation.meshes[name]
            mesh.refuse(error)
            await asyncio.sleep(seconds)
            mesh.refuse(0)

        self.run(refusing())

    @rule(name=MESHES, how=st.sampled_from(["cut", "compact", "mute"]))
    def watches_end_or_fall_silent(self, name: str, how: str) -> None:
        async def trouble() -> None:
            cluster = self.federation.meshes[name].cluster
            if how == "compact":
                cluster.compact()
            if how == "mute":
                cluster.mute()
            else:
                cluster.cut()

        self.run(trouble())

    # --- time

    @rule(seconds=st.sampled_from([0.0, 0.1, 5.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule()
    def settle(self) -> None:
        """All is well again, and nothing more happens for a while."""

        async def well() -> None:
            for way in self.federation.ways.values():
                way.down = False
            for one, other in self.federation.ways:
                self.federation.meshes[one].remote(self.federation.meshes[other])
            await asyncio.sleep(2 * MINUTE)
            for one, other in self.federation.ways:  # one that was being deleted is gone by now
                self.federation.meshes[one].remote(self.federation.meshes[other])
            await asyncio.sleep(SETTLED)
            for mesh in self.federation.meshes.values():
                mesh.cluster.history.clear()  # which every watch has seen
            self.federation.settled()

        self.run(well())

    @invariant()
    def nothing_was_lost(self) -> None:
        if hasattr(self, "federation"):
            assert [one for mesh in self.federation.meshes.values() for one in mesh.lost] == []


async def _now(do: Any) -> None:
    do()


@pytest.mark.timeout(600 + 10 * TOTAL)
def test_nothing_goes_without_a_reason_and_all_comes_to_what_is_exported() -> None:
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=max(1, TOTAL // STEPS),
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=TOTAL <= STEPS * 10,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        ),
    )


def test_the_model_would_notice_a_loss() -> None:
    """Of an import that is taken away by hand, and that nobody has told the model of."""
    model = Model()
    model.begin()
    try:
        model.a_service_is_there("west", "a", True)
        model.settle()
        assert host("a") in model.federation.meshes["east"].imported()
        east = model.federation.meshes["east"]
        east.serves = {}
        east.meddle(0)
        assert east.lost == []
        model.run(asyncio.sleep(SETTLED))
        east.serves = {host("a"): {"west"}}
        place = next(place for place in east.cluster.objects if place[2] == f"import.{host('a')}")
        model.run(_now(lambda: east.cluster.remove(*place)))
        with pytest.raises(AssertionError):
            model.nothing_was_lost()
        east.lost.clear()
    finally:
        model.teardown()
