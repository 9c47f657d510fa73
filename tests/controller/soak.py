"""Meshes that live for hours of virtual time, in minutes: ``make soak``.

Three meshes of `tests.controller.federations` live through what `tests.controller.test_model` knows can happen, as
chance has it, in one go: owners change their minds, ways break, remotes send what they should not, replicas are killed,
API servers refuse and forget. One mesh keeps its first replica, so that something lives through all of it. In between
all is quiet. Then each mesh imports what the others export, the metrics say what is there, and nothing has grown:
objects, tasks, series of metrics, memory.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from random import Random
from typing import Final, NamedTuple, get_args

import cyclopts
from cyclopts import Parameter

from tests.bench.processes import resident_bytes
from tests.controller.federations import NAMES, MemoryMesh, Spurious
from tests.controller.replicas import Replica
from tests.controller.test_model import DIALECTS, Model

LASTING: Final = "east"
"""The mesh whose first replica is never killed."""
HOUR: Final = 3600.0
_ACTIONS: Final = 30
"""Between two times of quiet."""
_PAUSES: Final = (0.0, 0.1, 2.0, 20.0, 90.0)
_WARM: Final = 3
"""Times of quiet until all caches have what they will have."""
_GROWN: Final = 1.05
_GROWN_BYTES: Final = 4 << 20


class Sizes(NamedTuple):
    """What there is when all is quiet. ``objects`` are those that Python's collector knows, all meshes together."""

    objects: int
    tasks: int
    series: int
    resident: int


class Errors(logging.Handler):
    """What was logged as an error: of which nothing here should make any."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"logged: {record.levelname} {record.name} {record.getMessage()}")


class Soak:
    """A run, and what did not hold in it."""

    def __init__(self, seed: int, say: Callable[[str], None]) -> None:
        self.found: list[str] = []
        """What did not hold."""
        self.actions = 0
        self.sizes: list[Sizes] = []
        """From quiet to quiet."""
        self._say = say
        self._rng = Random(seed)
        self._model = Model()

    def run(self, hours: float) -> None:
        """Let so much time pass, in rounds; it ends after the first in which something did not hold."""
        errors = Errors()
        logging.getLogger().addHandler(errors)
        self._model.begin()
        began = self._now()
        try:
            while not self.found and self._now() < began + hours * HOUR:
                self._round()
                at = (self._now() - began) / HOUR
                one = self.sizes[-1]
                self._say(
                    f"{at:5.2f} h: {self.actions} actions; {one.objects} objects, {one.tasks} tasks,"
                    f" {one.series} series, {one.resident >> 20} MiB"
                )
            self.found += [*growth(self.sizes), *errors.lines]
        finally:
            logging.getLogger().removeHandler(errors)
            self._model.teardown()

    def _now(self) -> float:
        return self._model._runner.get_loop().time()

    def _round(self) -> None:
        self._model._meddled = 0
        for _ in range(_ACTIONS):
            self._action()
            self.actions += 1
            self._model.run(asyncio.sleep(self._rng.choice(_PAUSES)))
            self._model.nothing_was_lost()
        self._model.settle()
        self._model.nothing_was_lost()
        meshes = self._model.federation.meshes.values()
        self.found += [problem for mesh in meshes for problem in _said(mesh)]
        self.sizes.append(self._sizes())

    def _action(self) -> None:
        """Do one of the things that may happen."""
        model, rng = self._model, self._rng
        name, service, yes = rng.choice(sorted(DIALECTS)), rng.choice(NAMES), rng.random() < 0.5
        way = name, rng.choice([other for other in sorted(DIALECTS) if other != name])
        mortal = rng.choice([one for one in sorted(DIALECTS) if one != LASTING])
        reference = rng.choice([one for one in model.federation.ways if DIALECTS[one[1]] == "sotw"])
        actions: list[Callable[[], object]] = [
            lambda: model.a_service_is_there(name, service, yes),
            lambda: model.a_service_is_there(name, service, yes),
            lambda: model.a_service_is_gone(name, service),
            lambda: model.a_remote_is_taken_away(way),
            lambda: model.a_remote_is_there(way),
            lambda: model._meddled or model.somebody_deletes_an_object_of_an_import(name, rng.randrange(6)),
            lambda: model.a_way_breaks_or_is_mended(way, yes),
            lambda: model.a_stream_ends(way),
            lambda: model.a_remote_sends_what_it_should_not(way, rng.choice(get_args(Spurious)), rng.randint(1, 3)),
            lambda: model.a_remote_that_failed_sends_an_empty_list(reference, rng.choice([0.0, 5.0, 60.0])),
            lambda: model.all_replicas_are_killed_and_one_starts(mortal),
            lambda: model.a_replica_comes(mortal),
            lambda: model.a_replica_is_killed(mortal, rng.randrange(3)),
            lambda: model.the_api_is_away(name, rng.choice([1.0, 30.0, 100.0])),
            lambda: model.the_api_refuses_half_of_all(name, rng.choice([429, 500, 503]), rng.choice([1.0, 30.0])),
            lambda: model.watches_end_or_fall_silent(name, rng.choice(["cut", "compact", "mute"])),
        ]
        rng.choice(actions)()

    def _sizes(self) -> Sizes:
        model = self._model

        async def alone() -> None:
            # As many everywhere as there will be again, so that sizes can be compared.
            for mesh in model.federation.meshes.values():
                while len(mesh.replicas) > 1:
                    await model.federation.kill(mesh, len(mesh.replicas) - 1)
            await asyncio.sleep(120)

        model.run(alone())
        for mesh in model.federation.meshes.values():
            mesh.cluster.calls.clear()  # which the API server in memory keeps for tests
            for place in [one for one in mesh.cluster.objects if one[0].kind == "Event"]:
                del mesh.cluster.objects[place]  # as a server does after an hour
        gc.collect()
        tasks = len(asyncio.all_tasks(model._runner.get_loop()))
        (lasting,) = model.federation.meshes[LASTING].replicas
        series = sum(len(family.samples) for family in lasting.metrics.registry.collect())
        return Sizes(len(gc.get_objects()), tasks, series, resident_bytes(os.getpid()))


def _said(mesh: MemoryMesh) -> Iterator[str]:
    """Yield what the metrics of the replica that leads say that is not so."""
    (leader,) = (one for one in mesh.replicas if one.leads)
    records = mesh.recorded()
    wanted = {
        "meshfed_exported_services": len(mesh.exported()),
        "meshfed_imported_services": len(records),
        "meshfed_fds_connected": len(DIALECTS) - 1,
        "meshfed_engine_pending": 0,
        "meshfed_queue_depth": 0,
        "meshfed_faults": 0,
        "meshfed_store_undecodable": 0,
    }
    for metric, value in wanted.items():
        if (said := _total(leader, metric)) != value:
            yield f"{mesh.name}: {metric} is {said:g} where there are {value}"


def _total(replica: Replica, metric: str) -> float:
    """The sum of a gauge over its labels."""
    every = (sample for family in replica.metrics.registry.collect() for sample in family.samples)
    return sum(sample.value for sample in every if sample.name == metric)


def growth(sizes: list[Sizes]) -> Iterator[str]:
    """Yield what grew from the first times of quiet, once warm, to the last."""
    if len(sizes) < _WARM + 2:
        return
    third = max(1, (len(sizes) - _WARM) // 3)
    before, after = sizes[_WARM : _WARM + third], sizes[-third:]
    for field in ("objects", "tasks", "series"):
        first, last = (max(getattr(one, field) for one in some) for some in (before, after))
        if last > first * _GROWN:
            yield f"there are {last} {field}, and were {first} at first"
    first, last = (max(one.resident for one in some) for some in (before, after))
    if last > first + _GROWN_BYTES:
        yield f"the process has {last >> 20} MiB, and had {first >> 20} at first"


def main(*, hours: float = 8.0, seed: int = 1) -> None:
    """Let meshes live for hours of virtual time; exit code 1 where something did not hold.

    Parameters
    ----------
    hours
        For how long, in virtual time.
    seed
        By which chance decides what happens.
    """
    soak = Soak(seed, lambda line: print(line, flush=True))
    soak.run(hours)
    print(*(soak.found or [f"all held, in {soak.actions} actions with seed {seed}"]), sep="\n")
    sys.exit(1 if soak.found else 0)


if __name__ == "__main__":
    application = cyclopts.App(name="make soak", default_parameter=Parameter(negative=""))
    application.default(main)
    application()
