"""What `make bench` measures and `meshfed bench` cannot: it starts and kills controllers, and looks into them."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence

import aiohttp
import msgspec

from meshfed.cli.bench import BenchClusters, find_course, one_by_one
from meshfed.cli.bench_pair import BenchPair, find_kinds, meanwhile
from meshfed.cli.clusters import InClusters, clusters
from meshfed.cli.output import say
from meshfed.kube import Client
from meshfed.views.measurements import Measurement, measurement
from tests.bench.processes import cpu_seconds, resident_bytes
from tests.bench.stage import Stage

LABEL = ("export-service", "true")
_SETTLE = 1.0
_CPU_BLOCKS, _CPU_CHANGES = 5, 10
_IDLE = 5.0
_BURSTS = 2
"""More would be paced: of one remote, 3,000 changes are taken at once."""


class Plan(msgspec.Struct, frozen=True):
    """How much to measure. ``burst`` is of label changes; ``rounds`` of what takes long."""

    changes: int = 100
    burst: int = 1000
    rounds: int = 3
    patience: float = 300.0


class Bench:
    """The measurements at one number of services, in the order in which they are taken."""

    def __init__(self, stage: Stage, pair: BenchPair, services: int, plan: Plan) -> None:
        self._stage = stage
        self._pair = pair
        self._services = services
        self._plan = plan
        self._found: list[Measurement] = []
        self._next = 0
        """The first Service of the floor that is not used yet."""

    async def run(self, *, burst: bool) -> list[Measurement]:
        """Measure everything; with ``burst`` also changes at once, which leave many more services."""
        plan, count = self._plan, self._services
        extra = plan.changes + _CPU_BLOCKS * _CPU_CHANGES + plan.rounds + 3
        say(f"{count} services: making them, and {extra} more to change")
        await self._pair.make(count + extra)
        async with self._pair.beside_floor():
            await self._cold()
            await self._restart()
            await self._changes()
            await self._processor()
            if burst:
                await self._burst()
        return self._found

    def _note(self, what: str, unit: str, measured: Sequence[float], floor: Sequence[float] = ()) -> None:
        self._found.append(measurement(what, self._services, unit, measured, floor))

    def _floors(self, count: int) -> range:
        self._next += count
        return range(self._next - count, self._next)

    async def _cold(self) -> None:
        """All at once into an importer that has none, from the RemoteMesh on; and what memory that takes."""
        say("cold import")
        await self._stage.unlink()
        await self._pair.load(self._pair.names[: self._services])
        await asyncio.sleep(_SETTLE)
        names = list(self._pair.labelled)
        empty = resident_bytes(self._stage.importer.pid)
        took, floors, filled = [], [], 0
        for number in range(self._plan.rounds):
            if number:
                await self._stage.unlink()
            loop = asyncio.get_running_loop()
            began = loop.time()
            async with self._pair.imported(names, there=True, what="cold import"):
                await self._stage.link()
            took.append(loop.time() - began)
            await self._quiet()
            filled = filled or resident_bytes(self._stage.importer.pid)
            floors.append(await self._pair.floor_of_import(len(names)))
        self._note("cold import", "s", took, floors)
        self._note("importer's memory", "MB", [filled / 1e6], [empty / 1e6])
        record, entry, _ = await self._pair.templates(names[0])
        bare = sum(len(msgspec.json.encode(one)) for one in (record, entry))
        self._note("memory an import", "KB", [(filled - empty) / len(names) / 1e3], [bare / 1e3])

    async def _quiet(self) -> None:
        """Wait until the controllers have nothing to do: they used next to no time for a while."""
        while True:
            before = cpu_seconds(*self._stage.pids)
            await asyncio.sleep(0.5)
            if cpu_seconds(*self._stage.pids) - before <= 0.03:
                return

    async def _changes(self) -> None:
        say(f"{self._plan.changes} changes, one by one")
        took, floors = await one_by_one(self._pair, self._floors(self._plan.changes))
        self._note("one change", "ms", took, floors)

    async def _processor(self) -> None:
        """What both controllers use of the processor for a change, and while there is none."""
        say("processor")
        await self._quiet()
        measured, floors = [], []
        for _ in range(_CPU_BLOCKS):
            ours, mine = await self._used(self._change_some())
            measured.append(1000 * ours / _CPU_CHANGES)
            _, bare = await self._used(self._floor_some())
            floors.append(max(0.0, 1000 * (bare - mine) / _CPU_CHANGES))
        self._note("processor, one change", "ms", measured, floors)
        ours, mine = await self._used(asyncio.sleep(_IDLE - _SETTLE))
        self._note("processor, idle", "%", [round(100 * ours / _IDLE, 1)], [round(100 * mine / _IDLE, 1)])

    async def _change_some(self) -> None:
        for _ in range(_CPU_CHANGES):
            await self._pair.change()

    async def _floor_some(self) -> None:
        for number in self._floors(_CPU_CHANGES):
            await self._pair.floor_of_change(number)

    async def _used(self, work: asyncio.Future[None] | object) -> tuple[float, float]:
        """The processor seconds of both controllers and of this process, for ``work`` and what follows from it."""
        ours, mine = cpu_seconds(*self._stage.pids), time.process_time()
        await work  # type: ignore[misc] # it is a coroutine
        await asyncio.sleep(_SETTLE)
        return cpu_seconds(*self._stage.pids) - ours, time.process_time() - mine

    async def _burst(self) -> None:
        say(f"{self._plan.burst} changes at once")
        await self._pair.make(_BURSTS * self._plan.burst)
        took, floors = [], []
        for _ in range(_BURSTS):
            await self._quiet()
            floors.append(await self._pair.floor_of_changes(self._floors(self._plan.burst)))
            took.append(await self._pair.label(self._pair.names[: self._plan.burst], what="changes at once"))
        self._note(f"{self._plan.burst} changes at once", "s", took, floors)

    async def _restart(self) -> None:
        """The importer is killed, something is exported meanwhile, and it starts again."""
        say("restart")
        loop = asyncio.get_running_loop()
        ready, first, ready_floors, first_floors, rewritten = [], [], [], [], []
        importer = self._stage.importer
        for _ in range(self._plan.rounds):
            await self._quiet()
            bare = await self._stage.bare_lists()
            change = await self._pair.floor_of_import(1)
            await importer.stop(signal.SIGKILL)
            name = self._pair.names[0]
            async with self._pair.imported([name], there=True, what="the first import after a restart"):
                await self._pair.load([name])
                began = loop.time()
                await importer.start()
                ready.append(await self._until_ready() - began)
            first.append(loop.time() - began)
            ready_floors.append(bare)
            first_floors.append(bare + change)
            await self._quiet()
            rewritten.append(await self._stage.writes() - 2)
        self._note("restart to ready", "s", ready, ready_floors)
        self._note("restart to a new import", "s", first, first_floors)
        self._note("rewritten by a restart", "", rewritten)

    async def _until_ready(self) -> float:
        loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession() as session, asyncio.timeout(self._plan.patience):
            while True:
                try:
                    async with session.get(f"{self._stage.importer.url('health')}/readyz") as answer:
                        if answer.status == 200:
                            return loop.time()
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.005)


async def bench(stage: Stage, services: int, plan: Plan, *, burst: bool) -> list[Measurement]:
    """Measure at one number of services."""
    await stage.link()
    await stage.synced()
    found = [(mesh, clusters(InClusters(kubeconfig=str(path)))[0][1]) for mesh, path in stage.kubeconfigs.items()]
    course = await find_course(found, BenchClusters(), LABEL)
    async with Client(found[0][1]) as exporter, Client(found[1][1]) as importer:
        kinds = await find_kinds(exporter, importer)
        pair = BenchPair(exporter, importer, kinds, course, label=LABEL, patience=plan.patience)
        await pair.begin()
        async with meanwhile(pair.entries.run()):
            return await Bench(stage, pair, services, plan).run(burst=burst)
