"""A reflector's promises, in virtual time against a cluster in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import msgspec
import pytest

from meshfed.api.meta import ObjectMeta
from meshfed.kube import Key, Manifest, Reflector, ReflectorState, Resource, Store
from tests.kube.memory import Cluster, MemoryClient, failure
from tests.waiting import meanwhile

pytestmark = pytest.mark.looptime

SERVICES = Resource("", "v1", "services", "Service")


class Record(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    port: int = 0


class Following:
    """A cluster, a store that follows it, and every difference the store told of."""

    def __init__(
        self, cluster: Cluster, client: MemoryClient, store: Store[Record], reflector: Reflector[Record]
    ) -> None:
        self.cluster = cluster
        self.client = client
        self.store = store
        self.reflector = reflector
        self.heard: list[tuple[str, int | None, int | None]] = []
        store.subscribe(self._hear)

    def _hear(self, key: Key, old: Record | None, new: Record | None) -> None:
        self.heard.append((key.name, old.port if old else None, new.port if new else None))

    def ports(self) -> dict[str, int]:
        return {key.name: record.port for key, record in self.store.items()}


@contextlib.asynccontextmanager
async def following(cluster: Cluster, **arguments: Any) -> AsyncIterator[Following]:
    store: Store[Record] = Store()
    client = MemoryClient(cluster)
    reflector = Reflector(client, SERVICES, Record, store, rng=Random(7).random, **arguments)
    found = Following(cluster, client, store, reflector)
    async with meanwhile(reflector.run()):
        yield found
    assert cluster.open_watches == 0


def record(name: str, port: Any, **metadata: Any) -> Manifest:
    return {"metadata": {"namespace": "shop", "name": name, **metadata}, "port": port}


def cluster_with(**ports: int) -> Cluster:
    cluster = Cluster(served={SERVICES})
    for name, port in ports.items():
        cluster.put(SERVICES, record(name, port))
    return cluster


async def test_lists_then_follows() -> None:
    cluster = cluster_with(a=1, b=2)
    async with following(cluster) as found:
        await found.store.wait_synced()
        cluster.put(SERVICES, record("c", 3))
        cluster.put(SERVICES, record("a", 9))
        cluster.remove(SERVICES, "shop", "b")
        await asyncio.sleep(1)
        assert found.ports() == {"a": 9, "c": 3}
        assert found.heard == [("a", None, 1), ("b", None, 2), ("c", None, 3), ("a", 1, 9), ("b", 2, None)]


async def test_a_long_list_comes_in_pages() -> None:
    cluster = cluster_with(**{f"s{n}": n for n in range(1201)})
    async with following(cluster) as found:
        await found.store.wait_synced()
        assert found.ports() == {f"s{n}": n for n in range(1201)}
        assert [verb for verb, _ in cluster.calls if verb == "list"] == ["list"] * 3


async def test_history_compacted_between_two_pages() -> None:
    """It starts again with one page of everything, which cannot expire."""
    cluster = cluster_with(**{f"s{n}": n for n in range(700)})

    def compact(verb: str, _: str) -> None:
        if cluster.calls.count(("list", "")) == 2 and not cluster.compacted:
            cluster.put(SERVICES, record("late", 1))
            cluster.compact()

    cluster.refuse = compact
    async with following(cluster) as found:
        await found.store.wait_synced()
        assert found.ports() == {f"s{n}": n for n in range(700)} | {"late": 1}
        assert found.reflector.statistics().lists == 1


async def test_deletions_missed_while_away_are_told_after_a_410() -> None:
    cluster = cluster_with(a=1, b=2, c=3)
    async with following(cluster) as found:
        await found.store.wait_synced()
        cluster.down = True
        cluster.cut()
        cluster.remove(SERVICES, "shop", "b")
        cluster.put(SERVICES, record("c", 4))
        cluster.compact()
        await asyncio.sleep(300)
        assert found.ports() == {"a": 1, "b": 2, "c": 3}
        found.heard.clear()
        cluster.down = False
        await asyncio.sleep(60)
        assert found.heard == [("b", 2, None), ("c", 3, 4)]
        assert found.reflector.statistics().lists == 2


async def test_history_that_is_still_there_is_replayed_without_a_list() -> None:
    cluster = cluster_with(a=1, b=2)
    async with following(cluster) as found:
        await found.store.wait_synced()
        cluster.cut()
        cluster.remove(SERVICES, "shop", "a")
        await asyncio.sleep(60)
        assert found.ports() == {"b": 2}
        assert found.reflector.statistics().lists == 1


async def test_a_cluster_restored_from_a_backup() -> None:
    cluster = cluster_with(a=1)
    backup = cluster.snapshot()
    async with following(cluster) as found:
        await found.store.wait_synced()
        cluster.put(SERVICES, record("b", 2))
        cluster.put(SERVICES, record("c", 2))
        await asyncio.sleep(1)
        cluster.restore(backup)
        cluster.put(SERVICES, record("d", 4))
        await asyncio.sleep(60)
        assert found.ports() == {"a": 1, "d": 4}


async def test_a_server_that_becomes_an_older_one_between_two_requests_is_noticed_in_time() -> None:
    """Nothing fails then, and a watch from a state that is not yet reached says nothing."""
    cluster = cluster_with(a=1)
    backup = cluster.snapshot()
    cluster.put(SERVICES, record("b", 2))
    async with following(cluster) as found:
        await found.store.wait_synced()
        cluster.restore(backup)  # the list was answered, and the watch is not yet open
        await asyncio.sleep(290)
        assert found.reflector.statistics().lists == 1
        await asyncio.sleep(60)
        assert found.ports() == {"a": 1}


async def test_an_empty_list_is_the_truth() -> None:
    cluster = cluster_with(a=1)
    async with following(cluster) as found:
        await found.store.wait_synced()
        cluster.down = True
        cluster.cut()
        cluster.remove(SERVICES, "shop", "a")
        cluster.compact()
        await asyncio.sleep(100)
        assert found.ports() == {"a": 1}
        cluster.down = False
        await asyncio.sleep(60)
        assert found.ports() == {}


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_an_error_empties_nothing_and_does_not_spin(status: int) -> None:
    cluster = cluster_with(a=1)
    async with following(cluster) as found:
        await found.store.wait_synced()
        cluster.refuse = lambda _verb, _name: failure(status)
        cluster.cut()
        cluster.calls.clear()
        await asyncio.sleep(600)
        assert found.ports() == {"a": 1}
        assert 15 < len(cluster.calls) < 80
        cluster.refuse = lambda _verb, _name: None
        cluster.put(SERVICES, record("b", 2))
        await asyncio.sleep(60)
        assert found.ports() == {"a": 1, "b": 2}


async def test_a_watch_that_always_ends_at_once_does_not_spin() -> None:
    cluster = cluster_with(a=1)

    def hang_up(verb: str, _: str) -> None:
        if verb == "watch":
            asyncio.get_running_loop().call_later(0.01, cluster.cut)

    cluster.refuse = hang_up
    async with following(cluster):
        await asyncio.sleep(600)
        assert len(cluster.calls) < 150


async def test_the_first_retry_after_a_watch_that_held_is_quick() -> None:
    cluster = cluster_with(a=1)
    async with following(cluster) as found:
        await asyncio.sleep(100)
        cluster.put(SERVICES, record("b", 2))
        cluster.cut()
        await asyncio.sleep(0.25)
        assert found.ports() == {"a": 1, "b": 2}


async def test_a_server_that_falls_silent_is_left_at_the_deadline() -> None:
    cluster = cluster_with(a=1)
    async with following(cluster) as found:
        await asyncio.sleep(1)
        cluster.silent = True
        cluster.cut()
        await asyncio.sleep(1)
        cluster.put(SERVICES, record("b", 2))
        await asyncio.sleep(700)
        assert found.reflector.statistics().watches >= 3
        cluster.silent = False
        cluster.cut()
        await asyncio.sleep(31)
        assert found.ports() == {"a": 1, "b": 2}


async def test_an_object_that_does_not_decode_keeps_its_last_good_state(caplog: pytest.LogCaptureFixture) -> None:
    cluster = cluster_with(a=1, b=2)
    async with following(cluster) as found:
        await found.store.wait_synced()
        cluster.put(SERVICES, record("a", "not a number"))
        cluster.put(SERVICES, record("a", "not a number", labels={"x": "y"}))
        cluster.put(SERVICES, record("b", 3))
        await asyncio.sleep(1)
        key = Key("shop", "a")
        assert found.ports() == {"a": 1, "b": 3}
        assert found.store.undecodable == {key: "Expected `int`, got `str` - at `$.port`"}
        assert caplog.text.count("an object of services cannot be understood (Expected `int`, got `str`") == 1
        cluster.compact()  # through a list as well
        cluster.cut()
        await asyncio.sleep(60)
        assert found.ports() == {"a": 1, "b": 3}
        assert set(found.store.undecodable) == {key}
        cluster.put(SERVICES, record("a", 5))
        await asyncio.sleep(1)
        assert (found.ports(), dict(found.store.undecodable)) == ({"a": 5, "b": 3}, {})


async def test_an_undecodable_object_that_is_deleted_is_gone() -> None:
    cluster = cluster_with(a=1)
    async with following(cluster) as found:
        await found.store.wait_synced()
        cluster.put(SERVICES, record("a", "x"))
        cluster.remove(SERVICES, "shop", "a")
        await asyncio.sleep(1)
        assert (found.ports(), dict(found.store.undecodable)) == ({}, {})


async def test_a_resource_that_is_not_served_is_picked_up_when_it_is() -> None:
    cluster = Cluster()
    async with following(cluster) as found:
        await asyncio.sleep(100)
        assert (found.reflector.state, found.store.synced) == (ReflectorState.ABSENT, False)
        assert len(cluster.calls) < 8
        cluster.served.add(SERVICES)
        cluster.put(SERVICES, record("a", 1))
        await asyncio.sleep(46)
        assert (found.reflector.state, found.ports()) == (ReflectorState.WATCHING, {"a": 1})


async def test_an_optional_resource_that_is_not_served_is_empty() -> None:
    cluster = Cluster()
    async with following(cluster, optional=True) as found:
        await asyncio.sleep(1)
        assert (found.reflector.state, found.store.synced, found.ports()) == (ReflectorState.ABSENT, True, {})


async def test_only_what_is_selected() -> None:
    cluster = cluster_with(a=1)
    cluster.put(SERVICES, record("b", 2, labels={"mine": "yes"}))
    async with following(cluster, label_selector="mine=yes") as found:
        await found.store.wait_synced()
        cluster.edit(SERVICES, "shop", "b", lambda o: o["metadata"].pop("labels"))
        cluster.edit(SERVICES, "shop", "a", lambda o: o["metadata"].update(labels={"mine": "yes"}))
        await asyncio.sleep(1)
        assert found.heard == [("b", None, 2), ("b", 2, None), ("a", None, 1)]


async def test_what_nobody_listens_for_any_more_is_not_said_to_be_silent() -> None:
    async with following(cluster_with(a=1)) as found:
        await found.store.wait_synced()
        registry, name = found.client.metrics.registry, "meshfed_kube_watch_last_heard_timestamp_seconds"
        assert registry.get_sample_value(name, {"resource": str(SERVICES)})
    assert registry.get_sample_value(name, {"resource": str(SERVICES)}) is None
