"""Leader election: at most one leads, somebody does as soon as that is safe, and the Lease tells people which."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshfed.kube import Client, ClusterConfig, Elector, LeaseTiming, NotLeading, Resource, TransportError
from meshfed.kube.lease import LEASES
from meshfed_sandbox.apiserver import APIServer
from tests.kube.memory import Cluster, MemoryClient, failure
from tests.virtual import virtual_loop
from tests.waiting import eventually

PLACE = (LEASES, "istio-system", "meshfed-controller")
TIMING = LeaseTiming()


class Process:
    """One candidate, with a clock of its own that goes at ``rate``; may stand still, be cut off, or die."""

    def __init__(self, cluster: Cluster, name: str, *, rate: float = 1.0, offset: float = 0.0, seed: int = 1) -> None:
        self.name = name
        self.client = Frail(cluster)
        self.elector = Elector(
            self.client,
            namespace="istio-system",
            name="meshfed-controller",
            identity=name,
            clock=lambda: asyncio.get_running_loop().time() * rate + offset,
            rng=Random(seed).random,
        )
        self.terms = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def leading(self) -> bool:
        return self.elector.leading

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while True:
                await self.elector.acquire()
                self.terms += 1
                await self.elector.hold()
                assert not self.leading
        finally:
            await self.elector.release()

    async def kill(self) -> None:
        """As kill -9: nothing is cleaned up."""
        self.client.dead = True
        self.elector._leads_until = 0.0  # the dead do not write
        await self.stop()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task


class Frail(MemoryClient):
    """A client whose process may stand still: then it neither sends nor hears an answer."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.dead = False
        self.lost: Callable[[], bool] = lambda: False
        self.awake = asyncio.Event()
        self.awake.set()

    async def _enter(self, verb: str, resource: Resource, name: str = "") -> None:
        await self.awake.wait()
        if self.dead:
            raise TransportError("the process is gone")
        await super()._enter(verb, resource, name)

    async def replace(self, *args: Any, **more: Any) -> Any:
        done = await super().replace(*args, **more)
        await self.awake.wait()
        if self.lost():
            raise TransportError("the connection was reset before the answer came")
        return done


def cluster() -> Cluster:
    return Cluster(served={LEASES})


def lease(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.objects[PLACE]["spec"]
    return found


async def time_until(holds: Callable[[], bool], within: float) -> float:
    """Wait until ``holds``; returns after how long."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await eventually(holds, within=within)
    return loop.time() - began


@asynccontextmanager
async def processes(*made: Process) -> AsyncIterator[None]:
    for process in made:
        process.start()
    try:
        yield
    finally:
        for process in made:
            await process.stop()


@pytest.mark.looptime
async def test_one_leads_renews_and_nobody_else_writes() -> None:
    shared = cluster()
    a, b = Process(shared, "a"), Process(shared, "b", seed=2)
    async with processes(a):
        await eventually(lambda: a.leading, within=1)
        b.start()
        before = len(shared.writes)
        await asyncio.sleep(60)
        assert (a.leading, b.leading, a.terms, b.terms) == (True, False, 1, 0)
        assert 25 <= len(shared.writes) - before <= 31
        assert {verb for verb, _ in shared.calls[-20:]} == {"update", "get"}
        spec = lease(shared)
        assert {key: spec[key] for key in ("holderIdentity", "leaseDurationSeconds", "leaseTransitions")} == {
            "holderIdentity": "a",
            "leaseDurationSeconds": 15,
            "leaseTransitions": 0,
        }
        assert spec["acquireTime"] < spec["renewTime"]
        await b.stop()


@pytest.mark.looptime
async def test_a_lease_that_changed_hands_as_often_as_can_be_said_changes_hands_once_more() -> None:
    shared = cluster()
    most = 2**31 - 1  # the API server takes no more
    shared.put(
        LEASES,
        {
            "metadata": {"name": PLACE[2], "namespace": PLACE[1]},
            "spec": {"holderIdentity": "gone", "leaseDurationSeconds": 1, "leaseTransitions": most},
        },
    )
    a = Process(shared, "a")
    async with processes(a):
        await eventually(lambda: a.leading, within=5)
        assert (lease(shared)["holderIdentity"], lease(shared)["leaseTransitions"]) == ("a", most)


@pytest.mark.looptime
async def test_the_next_takes_over_when_the_leader_dies_and_not_before_its_time() -> None:
    shared = cluster()
    a, b = Process(shared, "a"), Process(shared, "b", seed=2)
    async with processes(a, b):
        await eventually(lambda: a.leading or b.leading, within=1)
        await asyncio.sleep(31)
        dying, next_one = (a, b) if a.leading else (b, a)
        await dying.kill()
        took = await time_until(lambda: next_one.leading, TIMING.lease + 2.2 * TIMING.retry + 1)
        assert took >= TIMING.lease - TIMING.retry
        assert lease(shared)["leaseTransitions"] == 1


@pytest.mark.looptime
async def test_a_leader_that_is_told_to_stop_hands_over_at_once() -> None:
    shared = cluster()
    a, b = Process(shared, "a"), Process(shared, "b", seed=2)
    async with processes(a):
        await eventually(lambda: a.leading, within=1)
        b.start()
        await asyncio.sleep(5)
        await a.stop()
        assert not a.leading
        assert (lease(shared)["holderIdentity"], lease(shared)["leaseDurationSeconds"]) == ("", 1)
        await eventually(lambda: b.leading, within=2.2 * TIMING.retry + 0.1)
        assert lease(shared)["leaseTransitions"] == 1
        await b.stop()


@pytest.mark.looptime
async def test_a_leader_that_cannot_renew_stops_before_another_may_begin_and_comes_back() -> None:
    shared = cluster()
    a = Process(shared, "a")
    async with processes(a):
        await eventually(lambda: a.leading, within=1)
        await asyncio.sleep(1)
        shared.down = True
        took = await time_until(lambda: not a.leading, TIMING.renew + 0.1)
        assert took >= TIMING.renew - TIMING.retry
        await asyncio.sleep(100)
        assert not a.leading
        shared.down = False
        await eventually(lambda: a.leading, within=2.2 * TIMING.retry + 0.1)
        assert (a.terms, lease(shared)["leaseTransitions"]) == (2, 0)


@pytest.mark.looptime
async def test_a_few_failures_cost_nothing() -> None:
    shared = cluster()
    a = Process(shared, "a")
    async with processes(a):
        await eventually(lambda: a.leading, within=1)
        now = asyncio.get_running_loop().time
        shared.refuse = lambda _verb, _name: failure(500) if now() % 9 < 3 else None
        a.client.lost = lambda: now() % 9 > 6  # it is done, and nobody hears of it
        for _ in range(2000):
            await asyncio.sleep(0.1)
            assert a.leading
        assert a.terms == 1


@pytest.mark.looptime
async def test_a_leader_that_finds_another_name_stops_at_once() -> None:
    shared = cluster()
    a = Process(shared, "a")
    async with processes(a):
        await eventually(lambda: a.leading, within=1)
        shared.edit(*PLACE, lambda live: live["spec"].update(holderIdentity="somebody"))
        await eventually(lambda: not a.leading, within=TIMING.retry + 0.1)
        took = await time_until(lambda: a.leading, TIMING.lease + 2.2 * TIMING.retry + 0.1)
        assert took >= TIMING.lease - TIMING.retry


@pytest.mark.looptime
async def test_a_lease_deleted_under_its_living_holder_is_not_free_for_others() -> None:
    shared = cluster()
    a, b = Process(shared, "a"), Process(shared, "b", seed=2)
    async with processes(a):
        await eventually(lambda: a.leading, within=1)
        b.start()
        await asyncio.sleep(5)
        for _ in range(20):
            shared.remove(*PLACE)
            for _ in range(30):
                await asyncio.sleep(0.1)
                assert (a.leading, b.leading) == (True, False)
        await b.stop()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rates=st.lists(st.floats(0.85, 1.15), min_size=2, max_size=3),
    offsets=st.lists(st.floats(0, 1e6), min_size=3, max_size=3),
    trouble=st.lists(
        st.tuples(
            st.sampled_from(["sleep", "wake", "down", "up", "slow", "fast", "errors", "lost", "fine", "stop", "kill"]),
            st.integers(0, 2),
            st.sampled_from([0.0, 0.5, 3.0, 9.0, 12.0, 40.0]),
        ),
        max_size=25,
    ),
)
def test_never_two_lead_whatever_happens_and_one_does_in_the_end(
    seed: int, rates: list[float], offsets: list[float], trouble: list[tuple[str, int, float]]
) -> None:
    """Clocks a third faster than others and days apart, a slow and broken API, pauses, deaths."""
    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(_story(seed, rates, offsets, trouble))


async def _story(seed: int, rates: list[float], offsets: list[float], trouble: list[tuple[str, int, float]]) -> None:
    shared, rng = cluster(), Random(seed)

    def process(number: int) -> Process:
        return Process(
            shared, f"p{rng.random()}", rate=rates[number], offset=offsets[number], seed=rng.randrange(2**32)
        )

    living = [process(number) for number in range(len(rates))]
    for one in living:
        one.start()

    async def watch() -> None:
        while True:
            assert sum(one.leading for one in living) <= 1
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch())
        for kind, which, wait in trouble:
            number = which % len(living)
            one = living[number]
            match kind:
                case "sleep":
                    one.client.awake.clear()
                case "wake":
                    one.client.awake.set()
                case "down" | "up":
                    shared.down = kind == "down"
                case "slow" | "fast":
                    shared.latency = 4.0 if kind == "slow" else 0.001
                case "errors":
                    shared.refuse = lambda _verb, _name: failure(500) if rng.random() < 0.5 else None
                case "lost":
                    one.client.lost = lambda: rng.random() < 0.5
                case "fine":
                    shared.refuse = lambda _verb, _name: None
                case _:
                    await (one.kill() if kind == "kill" else one.stop())
                    living[number] = process(number)
                    living[number].start()
            await asyncio.sleep(wait)
        shared.down, shared.latency, shared.refuse = False, 0.001, lambda _verb, _name: None
        for one in living:
            one.client.awake.set()
            one.client.lost = lambda: False
        await eventually(lambda: any(one.leading for one in living), within=40)
        watching.cancel()
        for one in living:
            await one.stop()


@pytest.mark.parametrize(
    ("lease_for", "renew", "retry", "complaint"),
    [
        (10, 10, 2, r"has to be longer than the renew deadline \(10 s\)"),
        (15, 2, 2, "longer than 1.2 times the retry period"),
        (15, 10, 0, "longer than 1.2 times the retry period"),
        (0.5, 0.4, 0.1, "whole seconds"),
        (2.5, 2, 1, "whole seconds"),
    ],
)
def test_times_that_do_not_fit_together_are_refused(
    lease_for: float, renew: float, retry: float, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        LeaseTiming(lease_for, renew, retry)


async def test_who_does_not_lead_sends_no_write(api_server: APIServer) -> None:
    may = [True]
    spaces = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
    async with Client(ClusterConfig(server=api_server.url)) as client:
        fenced = client.fenced(lambda: may[0])
        await fenced.create(spaces, {"metadata": {"name": "one"}})
        may[0] = False
        before = api_server.counters.writes
        for write in (
            lambda: fenced.create(spaces, {"metadata": {"name": "two"}}),
            lambda: fenced.replace(spaces, {"metadata": {"name": "one"}}),
            lambda: fenced.patch(spaces, "one", {"metadata": {"labels": {"a": "b"}}}),
            lambda: fenced.delete(spaces, "one"),
        ):
            with pytest.raises(NotLeading):
                await write()
        assert (await fenced.get(spaces, "one"))["metadata"]["name"] == "one"
        assert api_server.counters.writes == before
        await client.create(spaces, {"metadata": {"name": "two"}})
