"""One remote's thousands do not delay another's one change. What comes in between is counted, and not timed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meshfed.api.meta import ObjectMeta
from meshfed.api.v1alpha1 import FederatedService, FederatedServiceSpec, RemoteMesh
from meshfed.controller.propagation import Propagation
from meshfed.controller.remotes.session import Reports, Session
from meshfed.controller.watches import Ours
from meshfed.controller.writing.delivery import Delivery
from meshfed.controller.writing.statuses import StatusWriter
from meshfed.fds import Update
from meshfed.federation.imports import record_name
from meshfed.kube import Manifest, Resource
from meshfed.kube.queue import WriteLimit
from meshfed.model.reasons import Condition, ConditionType, Decision, Reason
from meshfed.plan import ImportKey, Outputs, Ref, StatusUpdate
from meshfed.telemetry.metrics import Metrics
from tests.builders import host, mesh_federation, offer, remote_mesh, typed
from tests.controller.meshes import Mesh, meshes
from tests.controller.remotes import Remote, remotes
from tests.waiting import eventually, meanwhile

MANY = 800


@asynccontextmanager
async def flooding(remote: Remote) -> AsyncIterator[None]:
    """Have a remote change everything that it offers again and again."""

    async def flood() -> None:
        version = 0
        while True:
            version += 1
            for number in range(MANY):
                remote.offer(offer(f"west-{number}", labels={"app": "west", "version": str(version)}))
                if number % 50 == 0:
                    await asyncio.sleep(0.01)

    async with meanwhile(flood()):
        yield


def recorded(mesh: Mesh) -> int:
    return len(mesh.all_of("FederatedService"))


async def test_a_change_of_one_remote_is_written_amid_the_first_list_and_the_endless_changes_of_another() -> None:
    async with remotes("west", "east") as (west, east), meshes("here") as (here,):
        await here.apply(mesh_federation("here"), east.remote_mesh())
        await here.start()
        east.offer(offer("first"))
        await eventually(lambda: here.imported() == [host("first")])
        for number in range(MANY):
            west.offer(offer(f"west-{number}"))
        async with flooding(west):
            await here.apply(west.remote_mesh())
            await eventually(lambda: recorded(here) > 50)
            for name in ("second", "third"):
                assert recorded(here) < MANY, "the flood was over before anything was asked"
                before = here.writes
                east.offer(offer(name))
                await eventually(lambda name=name: host(name) in here.imported())  # type: ignore[misc]
                assert here.writes - before < MANY / 4, "of the thousands that the other has to be written"


def many(*, label: str = "") -> tuple[Any, ...]:
    return tuple(offer(f"s{number}", labels={"app": label or "s"}) for number in range(2000))


def session(desire: Any) -> Session:
    return Session(
        typed(RemoteMesh, remote_mesh("west", import_={"limit": 5000})),
        reports=Reports(desire=desire, connection=lambda _remote, _connection: None, heard=lambda _: None),
        judge=lambda _spec: Decision(accepted=True, reason=Reason.ACCEPTED, message=""),
        metrics=Metrics(),
        stamp=lambda: "2026-01-01T00:00:00Z",
        node="here",
    )


@pytest.mark.looptime
async def test_what_a_remote_says_is_carried_out_in_pieces_and_others_are_served_in_between() -> None:
    said: list[str] = []
    west = session(lambda _remote, host, _spec, _received: said.append(host))
    for update in (
        Update(upserts=many(), complete=True, synced=True),
        Update(upserts=many(label="changed"), synced=True),
        Update(removals=tuple(one.host for one in many()[:900]), synced=True),
    ):
        taking = asyncio.create_task(west.update(update))
        between = [len(said)]
        while not taking.done():
            await asyncio.sleep(0)
            between.append(len(said))
        assert between[-1] - between[0] >= 900
        assert max(after - before for before, after in itertools.pairwise(between)) <= 16
        await asyncio.sleep(2)  # since it is not the turn of hosts that changed a moment ago


@pytest.mark.looptime
async def test_what_waits_when_a_session_ends_in_the_middle_is_said() -> None:
    said: list[str] = []
    west = session(lambda _remote, host, _spec, _received: said.append(host))
    await west.update(Update(upserts=many(), complete=True, synced=True))
    said.clear()
    taking = asyncio.create_task(west.update(Update(removals=tuple(one.host for one in many()[:900]), synced=True)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    west.close()
    taking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await taking
    assert Counter(said) == Counter(one.host for one in many()[:900])


class Slow:
    """Takes a second to write a status. Stands in for the client."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.write_limit = WriteLimit()

    async def patch_status(
        self, _resource: Resource, name: str, _status: Mapping[str, Any], *, namespace: str | None = None
    ) -> Manifest:
        assert namespace == "istio-system"
        await asyncio.sleep(1)
        self.written.append(name)
        return {}


def stored(ref: Ref) -> Ours | None:
    kind, _, name = ref
    if kind == "RemoteMesh":
        return typed(RemoteMesh, remote_mesh(name))
    by = name.rpartition(".")[2]
    return FederatedService(metadata=ObjectMeta(name=name), spec=FederatedServiceSpec(remote=by, host=host("any")))


def status(kind: Any, name: str) -> StatusUpdate:
    condition = Condition(type=ConditionType.READY, status="True", reason=Reason.READY, message="")
    return StatusUpdate(kind=kind, namespace="istio-system", name=name, conditions=(condition,))


@pytest.mark.looptime
async def test_the_statuses_of_one_remotes_offers_delay_no_others() -> None:
    client = Slow()
    kinds = {kind: Resource("example.com", "v1", kind.lower(), kind) for kind in ("RemoteMesh", "FederatedService")}
    writer = StatusWriter(client, kinds, stored, stamp=lambda: "t")  # type: ignore[arg-type] # a fake
    task = asyncio.create_task(writer.run())
    for number in range(1000):
        writer.want(status("FederatedService", record_name(host(f"s{number}"), "west")))
    await asyncio.sleep(10.5)
    before = len(client.written)
    wanted = [record_name(host("mine"), "east"), "west", "east"]
    for kind, name in zip(("FederatedService", "RemoteMesh", "RemoteMesh"), wanted, strict=True):
        writer.want(status(kind, name))
    await asyncio.sleep(3)
    assert set(wanted) <= set(client.written[before : before + 3 * client.write_limit.allowed])
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert isinstance(stored(("RemoteMesh", "", "west")), RemoteMesh)


def test_what_a_key_wants_is_written_in_the_turn_of_whoever_had_it_worked_out() -> None:
    flows: dict[object, object] = {}

    class Engine:
        def want(self, source: object, _wanted: object, *, after: object, flow: object) -> None:
            flows[source] = flow

    nothing: Any = None
    engine: Any = Engine()
    delivery = Delivery(
        nothing,
        engine=engine,
        publisher=nothing,
        statuses=nothing,
        recorder=nothing,
        find=lambda _: None,
        services=nothing,
        metrics=Metrics(),
        propagation=Propagation(Metrics(), nothing),
        leading=True,
        prove=lambda _key, _probe: None,
    )
    delivery.send(ImportKey(host("ratings")), Outputs(), "west")
    assert flows == {ImportKey(host("ratings")): "west"}


@pytest.mark.looptime
async def test_a_hold_that_ends_while_the_list_is_taken_in_that_offers_all_again_takes_nothing_away() -> None:
    kept: dict[str, Any] = {}

    def desire(_remote: str, host: str, spec: Any, _received: float | None) -> None:
        kept[host] = spec

    west = session(desire)
    await west.update(Update(upserts=many(), complete=True, synced=True))
    await west.update(Update(removals=tuple(one.host for one in many()[:1500]), synced=True))
    hold = west._ledger.hold()
    assert hold is not None, "it is held"
    assert all(kept.values())
    taking = asyncio.create_task(west.update(Update(upserts=many(), complete=True, synced=True)))
    await asyncio.sleep(0)
    assert await west._act_on_time(hold.until + 1) is None, "its time is up"
    await taking
    assert all(kept.values())
    assert len(kept) == 2000
