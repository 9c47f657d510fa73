"""How long changes take, as metrics: from received to written, and from a Service's event on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meshfed.api.v1alpha1 import FederatedService
from meshfed.controller.propagation import Propagation
from meshfed.kube import KubeError, ServerFailure
from meshfed.model.last_hour import HourOfChanges, LastChange, MinuteOfChanges
from meshfed.model.offers import Offer, Port
from meshfed.plan import ExportKey, ImportKey
from meshfed.plan.imports import Imports
from meshfed.telemetry.metrics import Metrics
from tests.builders import federated_service, host, mesh_federation, namespace, offer, remote_mesh, service, typed
from tests.controller.in_memory import Remote, World

pytestmark = pytest.mark.looptime

HTTP2 = Port(number=81, name="http-2", protocol="HTTP", target_port=81)
RATINGS = ImportKey(host("ratings"))


def measured(metrics: Metrics, remote: str = "west") -> tuple[float, float]:
    """How many changes of a remote were measured, and how many seconds they took together."""
    name, labels = "meshfed_import_propagation_seconds", {"remote": remote}
    values = (metrics.registry.get_sample_value(f"{name}_{part}", labels) for part in ("count", "sum"))
    count, total = (value or 0.0 for value in values)
    return count, total


def spec(name: str = "ratings", **fields: Any) -> Any:
    return typed(FederatedService, federated_service("west", name, **fields)).spec


def as_offered() -> Imports:
    """In the place of a planner's: west's offer is imported under its own name, and was not before."""
    found = SimpleNamespace(fate=lambda _: None, records=lambda host: ["record"] if host == RATINGS.host else [])
    return cast("Imports", found)


class Followed:
    """A change of west's, and the steps that it takes."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.propagation = Propagation(self.metrics, as_offered())
        self.in_place = False

    def want(self, wanted: Any, *, stands: Any = None, received: float | None) -> None:
        self.propagation.record_wanted("record", stands, wanted, received=received)

    def see(self, seen: Any) -> None:
        self.propagation.record_seen("record", seen)

    def work_out(self) -> None:
        self.propagation.import_wanted(RATINGS, in_place=lambda _: self.in_place)

    def write(self) -> None:
        self.propagation.import_in_place(RATINGS)


async def test_a_change_is_measured_from_when_it_was_received_until_its_objects_are_in_place() -> None:
    change = Followed()
    change.want(spec(), received=asyncio.get_running_loop().time())
    await asyncio.sleep(2)
    change.work_out()
    change.write()  # of something that was wanted before
    assert measured(change.metrics) == (0, 0)
    change.see(spec())
    change.work_out()
    change.propagation.done()
    await asyncio.sleep(3)
    change.metrics.imports_took.begin(0.0)
    change.write()
    assert measured(change.metrics) == (1, 5)
    change.write()
    assert measured(change.metrics) == (1, 5)
    await asyncio.sleep(65)
    hour = change.metrics.imports_took.seen(asyncio.get_running_loop().time()).remotes["west"]
    assert hour == HourOfChanges((MinuteOfChanges(1, 1, 5, 5),), LastChange(5, 65))


@pytest.mark.parametrize(
    "why",
    [
        "nothing follows",
        "it is in place already",
        "it stands already",
        "something else is why",
        "its remote is forgotten",
    ],
)
async def test_what_changes_nothing_is_not_measured_then_or_later(why: str) -> None:
    change = Followed()
    change.in_place = why == "it is in place already"
    stands = spec() if why == "it stands already" else None
    change.want(spec(), stands=stands, received=None if why == "something else is why" else 0.0)
    if why == "its remote is forgotten":
        change.propagation.forget("west")
    change.see(spec())
    if change.in_place:
        change.work_out()
    change.propagation.done()
    await asyncio.sleep(3600)
    change.in_place = False
    change.work_out()
    change.write()
    assert measured(change.metrics) == (0, 0)


async def test_a_record_that_is_seen_as_it_was_before_is_waited_for() -> None:
    change = Followed()
    change.want(spec(labels={"version": "2"}), stands=spec(), received=0.0)
    change.see(spec())  # its status changed
    change.propagation.done()
    change.want(spec(labels={"version": "3"}), stands=spec(), received=1.0)
    await asyncio.sleep(2)
    change.see(spec(labels={"version": "3"}))
    change.work_out()
    change.write()
    assert measured(change.metrics) == (1, 2), "since the first of the two"


async def test_a_service_begins_a_change_once_and_only_until_all_is_worked_out() -> None:
    propagation, key = Propagation(Metrics(), as_offered()), ExportKey("default", "ratings")
    await asyncio.sleep(1)
    propagation.service_changed("default", "ratings")
    await asyncio.sleep(1)
    propagation.service_changed("default", "ratings")
    assert [propagation.began(key), propagation.began(key)] == [1, None]
    propagation.service_changed("default", "ratings")
    propagation.done()
    assert propagation.began(key) is None


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch, west: Remote, **import_: Any) -> AsyncIterator[World]:
    world = World(monkeypatch, west=west)
    world.put(namespace("default"), mesh_federation("east"), remote_mesh("west", import_=import_))
    await world.start()
    await asyncio.sleep(30)
    try:
        yield world
    finally:
        await world.stop()


async def test_imports_come_change_and_go_under_whatever_name_and_each_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules = [
        {"hosts": [host("denied")], "action": "Deny"},
        {"hosts": [host("reviews")], "action": "Import", "as": {"host": "reviews.west.example"}},
        {"action": "Import"},
    ]
    west = Remote()
    async with running(monkeypatch, west, rules=rules) as world:
        counts = []
        changes: list[tuple[Callable[..., None], Offer | str]] = [
            (west.offer, offer("ratings")),
            (west.offer, offer("reviews")),
            (west.offer, offer("denied")),
            (west.offer, offer("reviews", ports=(HTTP2,))),
            (west.withdraw, host("reviews")),
            (west.withdraw, host("ratings")),
            (west.withdraw, host("denied")),
        ]
        for change, of_what in changes:
            change(of_what)
            await asyncio.sleep(30)
            count, total = measured(world.metrics)
            counts.append(int(count))
            assert total <= count, "at most a second each"
    assert counts == [1, 2, 2, 3, 4, 5, 5], "and what is denied leads to no object"


async def test_writes_that_fail_for_a_while_count(monkeypatch: pytest.MonkeyPatch) -> None:
    west = Remote()
    async with running(monkeypatch, west) as world:
        failing: list[KubeError] = [ServerFailure(503, "ServiceUnavailable", "etcd has no leader")]
        world.cluster.refuse = lambda verb, _name: failing[0] if verb == "create" and failing else None
        west.offer(offer("ratings"))
        await asyncio.sleep(600)
        assert measured(world.metrics) == (0, 0)
        failing.clear()
        await asyncio.sleep(600)
        count, total = measured(world.metrics)
        assert count == 1
        assert total >= 600


async def test_the_event_of_a_service_is_where_its_export_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch, Remote()) as world:
        assert world.publisher is not None
        moment = asyncio.get_running_loop().time()
        world.put(service("ratings", exported=True))
        await asyncio.sleep(10)
        entry = world.publisher._exports.get(host("ratings"))
        assert entry is not None
        assert entry.since == pytest.approx(moment, abs=0.1)
