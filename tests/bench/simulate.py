"""``make simulate``: one mesh among hundreds, in virtual time and without a socket.

In a full mesh every mesh has the same to do, so one is watched: a whole controller, as it runs in a cluster, on a
Kubernetes API in memory. Every other mesh is what that one meets of it: a real discovery server with real exports, and
a real discovery client, each with its own clock of heartbeats, delays and backoff. Between them is the network's place,
where messages and bytes are counted. Of hub and spokes, the hub is watched, which has to do what any mesh of a full
mesh has, and a spoke.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import cyclopts
import msgspec
import pytest
from cyclopts import Parameter

from meshfed.cli.output import TableColumn, say, table
from meshfed.controller.remotes import session as sessions
from meshfed.fds import DiscoveryServer, ExportSet, Subscriber, Target
from meshfed.fds.client import DiscoveryClient
from meshfed.fds.identity import XFCC
from meshfed.kube import Manifest
from meshfed.telemetry.metrics import Metrics
from meshfed.views.measurements import percentile
from tests.builders import RESOURCES, SYSTEM, host, mesh_federation, namespace, offer, remote_mesh, service
from tests.controller.in_memory import World
from tests.fds.support import Memory, Recorder
from tests.virtual import virtual_loop

Watched = Literal["mesh", "spoke"]
_WATCHED: tuple[Watched, ...] = ("mesh", "spoke")
_SETTLED = 180.0
_QUIET, _OUTAGE = 600.0, 600.0
_API_LATENCY = 0.005
"""Seconds that a request to the Kubernetes API takes."""
_CHURN_SECONDS = 60.0
_LOOK = 0.05
_DONE = 2.0
"""Seconds in which what follows from a change is done, statuses and all."""


class Phase(msgspec.Struct, frozen=True):
    """What the mesh had to do in one phase: messages and bytes in and out, and writes to its API.

    ``took``: of what was waited for, the seconds of virtual time, by their median and their worst; empty where nothing
    was.
    """

    meshes: int
    topology: str
    what: str
    messages_in: int
    bytes_in: int
    messages_out: int
    bytes_out: int
    writes: int
    took: tuple[float, ...] = ()


class Neighbour:
    """Another mesh, as the watched one meets it."""

    def __init__(self, name: str, services: int) -> None:
        self.name = name
        self.exports = ExportSet()
        for number in range(services):
            self.exports.set(offer(f"{name}-{number}"), None)
        self.exports.mark_ready()
        self.server = DiscoveryServer(
            self.exports, lambda _: Subscriber("one", frozenset({"one"})), Metrics(), rng=random.Random(name)
        )
        self.to_it = Memory(self.server)
        """By which the watched mesh calls it."""
        self.heard = Recorder()


class Simulation:
    """The watched mesh, and the others around it."""

    def __init__(self, patch: pytest.MonkeyPatch, topology: str, meshes: int, services: int, others: int) -> None:
        self._topology, self._meshes, self._services = topology, meshes, services
        self.neighbours = {f"m{number}": Neighbour(f"m{number}", services) for number in range(others)}
        self.world = World(patch)
        self.world.cluster.latency = _API_LATENCY
        patch.setattr(sessions, "DiscoveryClient", self._client)
        self.phases: list[Phase] = []
        self._back: list[Memory] = []
        self._tasks: list[asyncio.Task[Any]] = []

    def _client(self, name: str, target: Target, sink: Any, **more: Any) -> DiscoveryClient:
        dial = self.neighbours[name].to_it
        return DiscoveryClient(name, target, sink, dial=dial, rng=random.Random(f"one {name}"), **more)

    async def begin(self) -> None:
        """Start the watched mesh, and have all others follow it."""
        self.world.put(namespace(SYSTEM), namespace("default"), mesh_federation("one"))
        self.world.put(*(service(f"one-{number}", exported=True) for number in range(self._services)))
        for name in self.neighbours:
            self.world.put(remote_mesh(name, trustDomain=f"{name}.local", network=name))
        await self._start()
        assert self.world.publisher is not None
        for name, neighbour in self.neighbours.items():
            caller = f"URI=spiffe://{name}.local/ns/{SYSTEM}/sa/federation-controller"
            dial = Memory(self.world.publisher._server, {XFCC: caller})
            self._back.append(dial)
            rng = random.Random(f"{name} one")
            client = DiscoveryClient("one", Target("memory", 1), neighbour.heard, metrics=Metrics(), dial=dial, rng=rng)
            self._tasks.append(asyncio.create_task(client.run()))

    async def _start(self) -> None:
        """Start the controller of the watched mesh; whatever it has chance decide is the same each time."""
        random.seed(1)
        await self.world.start()
        assert self.world.publisher is not None
        self.world.publisher._server._service.rng.seed(2)

    async def end(self) -> None:
        """Stop everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self.world.stop()

    def note(self, what: str, took: Iterable[float] = ()) -> None:
        """Close a phase: count what was sent since the last, and forget it."""
        sums = {
            "in": self._taken(server for one in self.neighbours.values() for server in _calls(one.to_it))
            + self._taken(call.other for dial in self._back for call in _calls(dial)),
            "out": self._taken(call.other for one in self.neighbours.values() for call in _calls(one.to_it))
            + self._taken(call for dial in self._back for call in _calls(dial)),
        }
        calls, self.world.cluster.calls = self.world.cluster.calls, []
        writes = sum(verb in {"create", "update", "patch", "delete"} for verb, _ in calls)
        times = sorted(took)
        self.phases.append(
            Phase(
                self._meshes,
                self._topology,
                what,
                len(sums["in"]),
                sum(sums["in"]),
                len(sums["out"]),
                sum(sums["out"]),
                writes,
                (percentile(times, 50), times[-1]) if times else (),
            )
        )

    def _forget(self) -> None:
        """Count what came since for no phase."""
        self.note("")
        self.phases.pop()

    @staticmethod
    def _taken(sides: Iterable[Any]) -> list[int]:
        found = []
        for side in sides:
            found += [len(message) for _, message in side.sent]
            side.sent.clear()
        return found

    async def run(self) -> None:
        """Go through the phases."""
        loop = asyncio.get_running_loop()
        everything = len(self.neighbours) * self._services
        while self._entries() < everything:  # noqa: ASYNC110 - it is looked at now and then
            await asyncio.sleep(_LOOK)
        for one in self.neighbours.values():
            await one.heard.until(lambda one=one: len(one.heard.offers) == self._services, timeout=600)  # type: ignore[misc]
        took = loop.time()
        await asyncio.sleep(_SETTLED)
        self.note("start", [took])

        await asyncio.sleep(_QUIET)
        self.note(f"{_QUIET / 60:.0f} quiet minutes")

        began = loop.time()
        self.world.edit("Service", "one-0", _relabelled)
        heard = await asyncio.gather(*(self._heard(one, began) for one in self.neighbours.values()))
        await asyncio.sleep(_DONE)
        self.note("a change of its own", heard)

        await asyncio.sleep(_SETTLED)
        self._forget()
        first = next(iter(self.neighbours.values()))
        took = await self._change(first, "new")
        await asyncio.sleep(_DONE)
        self.note("a change of another", [took])

        await asyncio.sleep(_SETTLED)
        self._forget()
        rng = random.Random(1)
        tasks = []
        for number, one in enumerate(self.neighbours.values()):
            tasks.append(self._later(rng.uniform(0, _CHURN_SECONDS), one, f"churn{number}"))
        churned = await asyncio.gather(*tasks)
        await asyncio.sleep(_DONE)
        self.note("one change of each other, in a minute", churned)

        await asyncio.sleep(_SETTLED)
        self._cut(down=True)
        await asyncio.sleep(_OUTAGE)
        self._forget()
        began = loop.time()
        before = {name: len(one.to_it.attempts) for name, one in self.neighbours.items()}
        self._cut(down=False)
        await asyncio.sleep(_SETTLED)
        back = [one.to_it.attempts[before[name]] - began for name, one in self.neighbours.items()]
        self.note(f"back after {_OUTAGE / 60:.0f} minutes", back)

        await self.world.stop()
        self._forget()
        began = loop.time()
        await self._start()
        for dial in self._back:
            assert self.world.publisher is not None
            dial.server = self.world.publisher._server
            _break_off(dial)
        first.exports.set(offer("after-restart"), None)  # nobody listens yet
        await self._imported(host("after-restart"))
        took = loop.time() - began
        await asyncio.sleep(_SETTLED)
        self.note("restart, until something new is imported", [took])

    async def _later(self, delay: float, one: Neighbour, name: str) -> float:
        await asyncio.sleep(delay)
        return await self._change(one, name)

    async def _change(self, one: Neighbour, name: str) -> float:
        """Have another mesh export one more; returns the seconds until its ServiceEntry is there."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        one.exports.set(offer(f"{one.name}-{name}"), None)
        await self._imported(host(f"{one.name}-{name}"))
        return loop.time() - began

    async def _heard(self, one: Neighbour, began: float) -> float:
        await one.heard.until(lambda: "v" in one.heard.offers[host("one-0")].labels, timeout=600)
        return asyncio.get_running_loop().time() - began

    def _entries(self) -> int:
        """How many hosts are imported."""
        return sum(place[0].kind == "ServiceEntry" for place in self.world.cluster.objects) - len(self.neighbours)

    async def _imported(self, of: str) -> None:
        """Wait until a host is imported."""
        while (RESOURCES["ServiceEntry"], SYSTEM, f"import.{of}") not in self.world.cluster.objects:
            await self.world.cluster.changed.wait()

    def _cut(self, *, down: bool) -> None:
        """Everything between the meshes breaks off, or is there again."""
        for dial in (*(one.to_it for one in self.neighbours.values()), *self._back):
            dial.down = down
            if down:
                _break_off(dial)


def _break_off(dial: Memory) -> None:
    for call in _calls(dial):
        for side in (call, call.other):
            side.ended.set()
            side.inbox.put_nowait(None)


def _calls(dial: Memory) -> Iterator[Any]:
    for channel in dial.channels:
        yield from channel.calls


def _relabelled(one: Manifest) -> None:
    one["metadata"]["labels"]["v"] = "2"


async def _simulated(topology: str, meshes: int, services: int, others: int) -> list[Phase]:
    with pytest.MonkeyPatch.context() as patch:
        simulation = Simulation(patch, topology, meshes, services, others)
        await simulation.begin()
        try:
            await simulation.run()
        finally:
            await simulation.end()
        return simulation.phases


def simulate(topology: Watched, meshes: int, services: int) -> list[Phase]:
    """What one mesh has to do among ``meshes`` that each export ``services``."""
    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        others = 1 if topology == "spoke" else meshes - 1
        return runner.run(_simulated(topology, meshes, services, others))


def main(
    *,
    meshes: str = "10,100,500",
    services: int = 10,
    output: Annotated[Literal["table", "json"], Parameter(name=["--output", "-o"])] = "table",
) -> None:
    """Simulate one mesh among many, with real controllers, in virtual time.

    Parameters
    ----------
    meshes
        The numbers of meshes, separated by commas.
    services
        How many Services each of them exports.
    output
        A table, or a document.
    """
    found: list[Phase] = []
    for count in map(int, meshes.split(",")):
        for topology in _WATCHED:
            say(f"{count} meshes with {services} services each: {topology}")
            found += simulate(topology, count, services)
    if output == "json":
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    columns = [
        TableColumn[Any]("MESHES", lambda one: str(one.meshes)),
        TableColumn[Any]("WATCHED", lambda one: "any, or a hub" if one.topology == "mesh" else "a spoke"),
        TableColumn[Any]("PHASE", lambda one: one.what),
        TableColumn[Any]("TOOK", lambda one: " to ".join(f"{seconds:.3g} s" for seconds in one.took) or "-"),
        TableColumn[Any]("IN", lambda one: f"{one.messages_in} ({one.bytes_in / 1e3:.1f} KB)"),
        TableColumn[Any]("OUT", lambda one: f"{one.messages_out} ({one.bytes_out / 1e3:.1f} KB)"),
        TableColumn[Any]("WRITES", lambda one: str(one.writes)),
    ]
    print("\n".join(table(columns, found)))


if __name__ == "__main__":
    application = cyclopts.App(name="make simulate", default_parameter=Parameter(negative=""))
    application.default(main)
    application()
