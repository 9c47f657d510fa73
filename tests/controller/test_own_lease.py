"""The Lease of one replica, in virtual time: when it is written, by whom, and that nothing depends on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meshfed import __version__
from meshfed.controller.faults import Faults
from meshfed.controller.replicas.own_lease import PAUSE_SECONDS, RENEW_SECONDS, OwnLease
from meshfed.kube import LEASES, Forbidden
from meshfed.plan.replicas import Replica, Subscription, replica_of
from meshfed.telemetry.metrics import Metrics
from tests.builders import SYSTEM
from tests.kube.memory import Cluster, MemoryClient

NAME = "meshfed-replica-pod-1"


class Process:
    """One replica, and who subscribes to it."""

    def __init__(self, cluster: Cluster, identity: str = "pod-1_first") -> None:
        self.identity = identity
        self.subscribers: dict[str, str] = {}
        self.changed = asyncio.Event()
        self.faults = Faults(Metrics())
        self.lease = OwnLease(
            MemoryClient(cluster),
            namespace=SYSTEM,
            identity=identity,
            subscribers=lambda: self.subscribers,
            changed=self.changed,
            faults=self.faults,
            stamp=lambda: f"at {asyncio.get_running_loop().time():.0f}",
        )

    def subscribe(self, **subscribers: str) -> None:
        self.subscribers = subscribers
        self.changed.set()


@asynccontextmanager
async def running(cluster: Cluster, identity: str = "pod-1_first") -> AsyncIterator[Process]:
    process = Process(cluster, identity)
    async with process.lease.kept():
        await asyncio.sleep(0.5)
        yield process


@asynccontextmanager
async def killed(cluster: Cluster, identity: str) -> AsyncIterator[Process]:
    """One that dies at the end."""
    process = Process(cluster, identity)
    task = asyncio.create_task(process.lease.run())
    try:
        await asyncio.sleep(0.5)
        yield process
    finally:
        task.cancel()


def new_cluster() -> Cluster:
    return Cluster(served={LEASES})


def replicas(cluster: Cluster) -> dict[str, Replica]:
    return {name: replica_of(one) for (_, _, name), one in sorted(cluster.objects.items(), key=lambda item: item[0][2])}


def spec(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.objects[LEASES, SYSTEM, NAME]["spec"]
    return found


@pytest.mark.looptime
async def test_it_is_renewed_as_long_as_the_process_lives_and_goes_with_it() -> None:
    cluster = new_cluster()
    async with running(cluster) as one:
        began = spec(cluster)["acquireTime"]
        assert replicas(cluster)[NAME].version == __version__
        assert spec(cluster)["holderIdentity"] == one.identity
        await asyncio.sleep(10 * RENEW_SECONDS)
        assert cluster.writes == [("create", NAME), *[("update", NAME)] * 10]
        assert spec(cluster)["acquireTime"] == began < spec(cluster)["renewTime"]
        assert [verb for verb, _ in cluster.calls] == ["get", "create", *["update"] * 10]
    assert cluster.objects == {}


@pytest.mark.looptime
async def test_who_comes_and_who_goes_is_written_at_once() -> None:
    cluster = new_cluster()
    async with running(cluster) as one:
        await asyncio.sleep(3)
        one.subscribe(west="delta")
        await asyncio.sleep(0.1)
        assert replicas(cluster)[NAME].subscribers == {"west": Subscription("at 4", "delta")}
        await asyncio.sleep(25)
        one.subscribe(west="delta", north="sotw")
        await asyncio.sleep(0.1)
        found = replicas(cluster)[NAME].subscribers
        assert found == {"west": Subscription("at 4", "delta"), "north": Subscription("at 29", "sotw")}
        await asyncio.sleep(3)
        one.subscribe()
        await asyncio.sleep(0.1)
        assert replicas(cluster)[NAME].subscribers == {}


@pytest.mark.looptime
async def test_who_comes_and_goes_a_hundred_times_a_second_costs_a_write_a_second() -> None:
    cluster = new_cluster()
    async with running(cluster) as one:
        await asyncio.sleep(3)
        before = len(cluster.writes)
        for _ in range(3000):
            one.subscribe()
            await asyncio.sleep(0.005)
            one.subscribe(west="delta")
            await asyncio.sleep(0.005)
        assert len(cluster.writes) - before <= 30 / PAUSE_SECONDS + 1
        await asyncio.sleep(2)
        assert "west" in replicas(cluster)[NAME].subscribers


@pytest.mark.looptime
async def test_what_wakes_it_and_changes_nothing_writes_nothing() -> None:
    cluster = new_cluster()
    async with running(cluster) as one:
        await asyncio.sleep(2)
        for _ in range(50):
            one.changed.set()
            await asyncio.sleep(0.1)
        assert len(cluster.writes) == 1


@pytest.mark.looptime
async def test_where_it_may_not_be_written_the_log_says_so_once_with_the_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = new_cluster()
    refused = Forbidden(403, "Forbidden", "leases is forbidden")
    for verbs in ({"get"}, {"create"}, {"update"}):
        caplog.clear()
        cluster.refuse = lambda verb, _, verbs=verbs: refused if verb in verbs else None  # type: ignore[misc]
        with caplog.at_level(logging.INFO):
            async with running(cluster) as one:
                await asyncio.sleep(120)
                (said,) = caplog.messages
                assert f"{SYSTEM}/{NAME}" in said
                assert "grant get, list, watch, create, update and delete on leases" in said
                cluster.refuse = lambda *_: None
                await asyncio.sleep(2 * RENEW_SECONDS)
                assert caplog.messages[1:] == [f"the Lease {SYSTEM}/{NAME} is written again"]
                assert replicas(cluster)[NAME].holder == one.identity
                assert not one.faults


@pytest.mark.looptime
async def test_while_the_api_is_away_it_goes_on_trying_and_ends_in_time() -> None:
    cluster = new_cluster()
    async with running(cluster):
        cluster.down = True
        await asyncio.sleep(60)
        before = len(cluster.calls)
        await asyncio.sleep(60)
        assert len(cluster.calls) - before <= 60 / RENEW_SECONDS + 1
        cluster.down = False
        written = len(cluster.writes)
        await asyncio.sleep(RENEW_SECONDS + 1)
        assert len(cluster.writes) > written
        cluster.latency = 3600
        ended = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - ended < 5
    assert list(replicas(cluster)) == [NAME]


@pytest.mark.looptime
async def test_a_fault_of_ours_is_named_and_ends_nothing() -> None:
    cluster = new_cluster()
    async with running(cluster) as one:
        write, one.lease._write = one.lease._write, None  # type: ignore[method-assign,assignment]
        await asyncio.sleep(2 * RENEW_SECONDS)
        assert one.faults
        one.lease._write = write  # type: ignore[method-assign]
        await asyncio.sleep(2 * RENEW_SECONDS)
        assert not one.faults


@pytest.mark.looptime
async def test_what_a_predecessor_in_the_pod_left_is_taken_over() -> None:
    cluster = new_cluster()
    async with killed(cluster, "pod-1_first"):
        began = spec(cluster)["acquireTime"]
    async with running(cluster, "pod-1_second"):
        assert {name: one.holder for name, one in replicas(cluster).items()} == {NAME: "pod-1_second"}
        assert spec(cluster)["acquireTime"] > began
    assert cluster.objects == {}


@pytest.mark.looptime
async def test_two_processes_on_one_host_have_a_lease_each() -> None:
    cluster = new_cluster()
    async with running(cluster, "pod-1_first"), running(cluster, "pod-1_second"):
        await asyncio.sleep(2 * RENEW_SECONDS)
        holders = {name: one.holder for name, one in replicas(cluster).items()}
        assert sorted(holders.values()) == ["pod-1_first", "pod-1_second"]
        assert holders[NAME] == "pod-1_second"
        before = len(cluster.writes)
        await asyncio.sleep(10 * RENEW_SECONDS)
        assert len(cluster.writes) - before == 20, "they let one another alone"
    assert cluster.objects == {}


@pytest.mark.looptime
@pytest.mark.parametrize("deleted", [True, False])
async def test_what_somebody_deletes_or_changes_is_there_again(deleted: bool) -> None:
    cluster = new_cluster()
    async with running(cluster) as one:
        if deleted:
            cluster.remove(LEASES, SYSTEM, NAME)
        else:
            cluster.edit(LEASES, SYSTEM, NAME, lambda lease: lease["metadata"].pop("labels"))
        await asyncio.sleep(RENEW_SECONDS + 3)
        assert replicas(cluster)[NAME].holder == one.identity
        assert cluster.objects[LEASES, SYSTEM, NAME]["metadata"]["labels"]


@pytest.mark.looptime
async def test_another_s_is_not_deleted_at_the_end() -> None:
    cluster = new_cluster()
    async with running(cluster):
        cluster.edit(LEASES, SYSTEM, NAME, lambda lease: lease["spec"].update(holderIdentity="pod-1_other"))
    assert replicas(cluster)[NAME].holder == "pod-1_other"
