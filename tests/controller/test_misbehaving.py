"""One remote misbehaves in every way that there is; what it offers stays, and a healthy one does not feel it."""

from __future__ import annotations

import asyncio
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from meshfed.controller.remotes import session as sessions
from meshfed.fds.client import DiscoveryClient, Patience
from tests.builders import RESOURCES, host, mesh_federation, offer
from tests.controller.meshes import Mesh, meshes, remote_mesh_at
from tests.controller.misbehaving import HOSTS, KEPT, REMOTES, Misbehaving
from tests.controller.remotes import Remote, remotes
from tests.faulty import Fault, FaultyNetwork
from tests.waiting import eventually, meanwhile

ROUNDS = 7
MEMORY = 250_000_000
"""Bytes by which the process may grow: the controller, and all that its API server holds, which is in it too."""


@pytest.fixture(scope="module")
def misbehaving() -> Iterator[Misbehaving]:
    with Misbehaving.running() as process:
        yield process


@asynccontextmanager
async def kept_all(mesh: Mesh, hosts: set[str]) -> AsyncIterator[None]:
    """Fails where, at any moment while the context lasts, one of these imports is deleted or serves nobody."""
    lost: list[str] = []
    began = asyncio.Event()

    async def watch() -> None:
        async with aclosing(
            mesh.client.watch(RESOURCES["ServiceEntry"], resource_version="0", timeout_seconds=600)
        ) as events:
            began.set()
            async for event in events:
                spec: Any = msgspec.json.decode(event.object).get("spec", {})
                if hosts & {*spec.get("hosts", ())} and (event.type == "DELETED" or not spec["endpoints"]):
                    lost.append(f"{event.type} {spec['hosts']}")

    async with meanwhile(watch()):
        await began.wait()
        yield
    assert lost == []


class Propagation(NamedTuple):
    """What there is between an offer of a remote and its import, in the median, in seconds.

    ``work`` is what this process does meanwhile, controller and API server, for whomever: unlike the ``time`` that it
    takes, it is the same on a machine that has other things to do.
    """

    time: float
    work: float

    @classmethod
    async def measured(cls, mesh: Mesh, remote: Remote, name: str) -> Propagation:
        """Offer some, named so, one after the other."""
        found = []
        for number in range(ROUNDS):
            new, began = f"{name}-{number}", cls.now()
            remote.offer(offer(new))
            entry = f"import.{host(new)}"
            await eventually(lambda entry=entry: entry in names(mesh))  # type: ignore[misc] # bound now
            found.append([after - before for before, after in zip(began, cls.now(), strict=True)])
        return cls(*map(statistics.median, zip(*found, strict=True)))

    @classmethod
    def now(cls) -> Propagation:
        return cls(time.perf_counter(), time.process_time())

    def like(self, before: Propagation) -> bool:
        """Whether it is at most twice what it was before, and a moment; and does not wait for a flood to end."""
        return self.work <= 2 * before.work + 0.25 and self.time < 30


def names(mesh: Mesh) -> set[str]:
    """The names of all ServiceEntries, without a copy of each."""
    resource = RESOURCES["ServiceEntry"]
    return {one.metadata["name"] for one in mesh.server._store.collection(resource.group, resource.plural).items()}


def resident() -> int:
    """The bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@asynccontextmanager
async def with_a_healthy_remote() -> AsyncIterator[tuple[Mesh, Remote]]:
    async with remotes("east") as (east,), meshes("here") as (here,):
        await here.apply(mesh_federation("here"), east.remote_mesh())
        await here.start()
        east.offer(offer("first"))
        await eventually(lambda: here.imported() == [host("first")])
        yield here, east


@pytest.mark.parametrize("how", [one for one in REMOTES if one != "steady"])
async def test_what_it_offers_stays_and_a_healthy_remote_does_not_feel_it(how: str, misbehaving: Misbehaving) -> None:
    async with with_a_healthy_remote() as (here, east):
        before, memory = await Propagation.measured(here, east, "before"), resident()
        await here.apply(remote_mesh_at("west", misbehaving.ports[how]))
        await eventually(lambda: {host(name) for name in KEPT} <= {*here.imported()})
        async with kept_all(here, {host(name) for name in (*KEPT, "first", "before-0")}):
            await asyncio.sleep(2)
            after = await Propagation.measured(here, east, "after")
        grown = resident() - memory
        print(
            f"{how}: {before.time * 1000:.0f} -> {after.time * 1000:.0f} ms, "
            f"{before.work * 1000:.0f} -> {after.work * 1000:.0f} ms of work, {grown / 1e6:.0f} MB more"
        )
        assert after.like(before), (before, after)
        assert grown < MEMORY
        assert not {*here.imported()} & {*HOSTS}
        assert len(here.imported()) <= 1000 + 2 * ROUNDS + 1, "no more than the limit of one remote, beside the other's"


async def test_a_remote_that_is_stopped_is_noticed_and_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGSTOP: its connection stands, and nobody speaks. What it takes to notice is scaled down to 2 seconds."""

    def impatient(name: str, *arguments: Any, **options: Any) -> DiscoveryClient:
        patience = Patience(silence=2) if name == "west" else None
        return DiscoveryClient(name, *arguments, patience=patience, **options)

    monkeypatch.setattr(sessions, "DiscoveryClient", impatient)
    with Misbehaving.running() as process:
        async with with_a_healthy_remote() as (here, east):
            await here.apply(remote_mesh_at("west", process.ports["steady"]))
            await eventually(lambda: {host(name) for name in KEPT} <= {*here.imported()})
            before = await Propagation.measured(here, east, "before")
            async with kept_all(here, {host(name) for name in (*KEPT, "first")}):
                process.process.send_signal(signal.SIGSTOP)
                await eventually(lambda: here.condition("RemoteMesh", "west", "Connected")[0] == "False")
                after = await Propagation.measured(here, east, "after")
                process.process.send_signal(signal.SIGCONT)
                await eventually(lambda: here.condition("RemoteMesh", "west", "Connected")[0] == "True")
            assert after.like(before), (before, after)


def cut(network: FaultyNetwork) -> None:
    network.cut()


def faulty(fault: Fault, network: FaultyNetwork) -> None:
    network.fault = fault
    network.cut()


FAULTS: dict[str, Callable[[FaultyNetwork], None]] = {
    "late": partial(faulty, Fault(delay=0.3)),
    "1 kB a second": partial(faulty, Fault(rate=1000)),
    "answers end in the middle": partial(faulty, Fault(truncate=300)),
    "answers turn into nonsense": partial(faulty, Fault(garble=0.3)),
    "connections stand and are silent": lambda network: network.hold(new=True),
    "connections are cut": cut,
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_network_that_fails_before_one_remote_costs_no_import_and_is_caught_up_with(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(name: str, *arguments: Any, **options: Any) -> DiscoveryClient:
        patience = Patience(silence=3, first=0.1, most=1) if name == "west" else None
        return DiscoveryClient(name, *arguments, patience=patience, **options)

    monkeypatch.setattr(sessions, "DiscoveryClient", impatient)
    async with (
        with_a_healthy_remote() as (here, east),
        remotes("west") as (west,),
        FaultyNetwork.before(west.port) as network,
    ):
        west.offer(*map(offer, KEPT))
        await here.apply(remote_mesh_at("west", network.port))
        await eventually(lambda: {host(name) for name in KEPT} <= {*here.imported()})
        before = await Propagation.measured(here, east, "before")
        async with kept_all(here, {host(name) for name in (*KEPT[1:], "first")}):
            FAULTS[fault](network)
            west.offer(offer("later"))
            west.withdraw(host(KEPT[0]))
            after = await Propagation.measured(here, east, "after")
            await asyncio.sleep(2)
            network.release()
            network.cut()
            await eventually(lambda: host("later") in here.imported() and host(KEPT[0]) not in here.imported())
        assert after.like(before), (before, after)
        await here.stop()
