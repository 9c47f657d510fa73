"""A remote that never stops changing is slowed, which is said, and its memory is bounded."""

from __future__ import annotations

import asyncio

import pytest

from meshfed.api.v1alpha1 import FederatedServiceSpec, RemoteMesh
from meshfed.controller.remotes.pacing import BURST, HOSTS_PER_SECOND, Pacer
from meshfed.controller.remotes.session import Reports, Session
from meshfed.fds import Dialect, Update
from meshfed.model.offers import Offer, Port
from meshfed.model.reasons import Decision, Reason
from meshfed.plan import RemoteConnection
from meshfed.telemetry.metrics import Metrics
from tests.builders import remote_mesh, typed

pytestmark = pytest.mark.looptime


def test_a_burst_passes_at_once_and_what_follows_at_the_steady_rate() -> None:
    pacer = Pacer()
    hosts = [f"s{number}" for number in range(BURST + 120)]
    for host in hosts:
        pacer.add(host)
    assert pacer.take(1000.0) == hosts[:BURST]
    assert (pacer.throttled, pacer.due()) == (True, 1001.0)
    assert pacer.take(1001.0) == hosts[BURST : BURST + HOSTS_PER_SECOND]
    assert pacer.take(1001.1) == hosts[BURST + HOSTS_PER_SECOND : BURST + HOSTS_PER_SECOND + 5]
    assert len(pacer.drain()) == 120 - HOSTS_PER_SECOND - 5
    assert (pacer.throttled, pacer.due()) == (False, None)


@pytest.mark.parametrize("now", [0.3, 0.4, 0.7, 1e9 + 0.1])
def test_a_host_is_taken_at_the_very_moment_that_is_said(now: float) -> None:
    pacer = Pacer()
    for _ in range(2):
        pacer.add("a")
        assert pacer.take(now) == ["a"]
        pacer.add("a")
        due = pacer.due()
        assert due is not None
        now = due


def test_changes_of_one_host_are_taken_once_a_second_and_hold_up_no_other() -> None:
    pacer = Pacer()
    pacer.add("a")
    assert pacer.take(10.0) == ["a"]
    pacer.add("a")
    pacer.add("b")
    assert pacer.take(10.5) == ["b"]
    assert (pacer.throttled, pacer.due()) == (False, 11.0)
    assert pacer.take(11.0) == ["a"]


class World:
    """A session whose remote is played by the test, and what came of it."""

    def __init__(self) -> None:
        self.records: dict[str, FederatedServiceSpec] = {}
        self.changes = 0
        self.connection = RemoteConnection()
        self.session = Session(
            typed(RemoteMesh, remote_mesh(import_={"limit": 10_000}, withdrawal={"maxPercent": 100})),
            reports=Reports(desire=self._desire, connection=self._connected, heard=lambda _: None),
            judge=lambda _spec: Decision(accepted=True, reason=Reason.ACCEPTED),
            metrics=Metrics(),
            stamp=lambda: "2026-01-01T00:00:00Z",
            node="east",
        )

    def _desire(self, _remote: str, host: str, spec: FederatedServiceSpec | None, _received: float | None) -> None:
        self.changes += 1
        if spec is None:
            self.records.pop(host, None)
        else:
            self.records[host] = spec

    def _connected(self, _remote: str, connection: RemoteConnection) -> None:
        self.connection = connection

    async def hear(self, *hosts: str, gone: tuple[str, ...] = (), mark: str = "") -> None:
        offers = tuple(
            Offer(host=f"{host}.shop.svc.cluster.local", ports=(Port(number=80, name="http"),), labels={"mark": mark})
            for host in hosts
        )
        await self.session.update(
            Update(upserts=offers, removals=tuple(f"{host}.shop.svc.cluster.local" for host in gone), synced=True)
        )


async def test_a_first_synchronisation_is_not_slowed_but_endless_change_is_and_says_so() -> None:
    world = World()
    await world.session.connected(Dialect.DELTA)
    keeping_time = asyncio.create_task(world.session._keep_time())
    names = [f"s{number}" for number in range(BURST + 1000)]
    await world.hear(*names)
    assert len(world.records) == BURST + 1000
    await asyncio.sleep(5)
    world.changes = 0
    for second in range(60):
        await world.hear(*names[:1000], mark=str(second))
        await asyncio.sleep(1)
    assert BURST + 59 * HOSTS_PER_SECOND <= world.changes <= BURST + 62 * HOSTS_PER_SECOND
    assert str(world.connection.sync_reason) == "Throttled"
    await asyncio.sleep(30)
    assert str(world.connection.sync_reason) == "Synced"
    assert {spec.labels["mark"] for host, spec in world.records.items() if host.split(".")[0] in names[:1000]} == {"59"}
    keeping_time.cancel()


async def test_what_comes_and_goes_before_its_turn_is_never_written_and_takes_no_memory() -> None:
    world = World()
    await world.session.connected(Dialect.DELTA)
    await world.hear("first")
    for number in range(20):
        names = tuple(f"s{number}-{index}" for index in range(1000))
        await world.hear(*names)
        await world.hear(gone=names)
    assert len(world.session._recording._pacer) <= BURST
    assert world.changes <= BURST + 2


async def test_a_session_that_ends_leaves_nothing_unsaid() -> None:
    world = World()
    await world.session.connected(Dialect.DELTA)
    await world.hear("a", "b")
    await world.hear("b", mark="1")
    await world.hear("c", gone=("b",))
    world.session.close()
    assert sorted(world.records) == ["a.shop.svc.cluster.local", "c.shop.svc.cluster.local"]
    await world.hear("d")
    assert len(world.records) == 2
