"""A connection that lives and carries nothing any more: how soon that is noticed, and what it costs to ask so often."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from meshfed.kube import Client, ClusterConfig, Reflector, Resource, Store, TransportError
from meshfed.kube import client as client_module
from meshfed.kube import reflector as reflector_module
from meshfed_sandbox.apiserver import APIServer
from tests.builders import config_map
from tests.faulty import FaultyNetwork
from tests.kube.test_reflector import SERVICES, cluster_with, following, record

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")


def restarts(client: Client) -> dict[str, float]:
    (metric,) = client.metrics.watch_restarts.collect()
    return {sample.labels["cause"]: sample.value for sample in metric.samples if sample.name.endswith("_total")}


@pytest.mark.looptime
async def test_a_change_made_in_silence_is_seen_within_a_minute() -> None:
    """Whenever in a watch's life the silence begins; each watch has another length."""
    cluster = cluster_with(a=0)
    random = Random(5)
    async with following(cluster) as found:
        await found.store.wait_synced()
        seen = asyncio.Event()
        found.store.subscribe(lambda _key, _old, _new: seen.set())
        for port in range(1, 41):
            await asyncio.sleep(random.uniform(60, 120))
            seen.clear()
            cluster.mute()
            cluster.put(SERVICES, record("a", port))
            async with asyncio.timeout(60):
                await seen.wait()
        assert restarts(found.client) == {"silent": 40}
        assert found.reflector.statistics().lists == 1


@pytest.mark.looptime
@pytest.mark.parametrize("bookmarks", [True, False])
async def test_a_kind_in_which_nothing_happens(bookmarks: bool, caplog: pytest.LogCaptureFixture) -> None:
    """It costs two requests a minute, hardly a list among them, and looks like nothing in metrics and logs."""
    caplog.set_level(logging.INFO)
    cluster = cluster_with(a=1)
    cluster.bookmarks = bookmarks
    async with following(cluster) as found:
        await found.store.wait_synced()
        cluster.calls.clear()
        await asyncio.sleep(3600)
        verbs = [verb for verb, _ in cluster.calls]
        assert 80 <= verbs.count("watch") <= 120
        assert verbs.count("list") <= 12
        assert restarts(found.client) == {}
        assert caplog.messages == []


@pytest.mark.looptime
async def test_history_that_is_short_is_no_reason_to_list_what_is_quiet() -> None:
    """Others of the kind change and push ours out of the server's history; the bookmarks before each end save it."""
    cluster = cluster_with()
    cluster.put(SERVICES, record("mine", 1, labels={"mine": "yes"}))
    async with following(cluster, label_selector="mine=yes") as found:
        await found.store.wait_synced()
        for number in range(1, 100):
            cluster.put(SERVICES, record("other", number))
            cluster.history[:] = cluster.history[-3:]
            cluster.compacted = cluster.history[0].version - 1
            await asyncio.sleep(20)
        assert found.reflector.statistics().lists == 1
        assert restarts(found.client) == {}


@pytest.mark.looptime
async def test_a_watch_that_breaks_off_early_is_counted_and_the_server_looked_at_again() -> None:
    cluster = cluster_with(a=1)
    async with following(cluster) as found:
        await found.store.wait_synced()
        await asyncio.sleep(10)
        cluster.calls.clear()
        cluster.cut()
        await asyncio.sleep(1)
        assert [verb for verb, _ in cluster.calls] == ["list", "watch"]
        assert restarts(found.client) == {"failed": 1}


async def test_a_proxy_that_holds_its_connections(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The times are scaled down; the sockets, the client and the server are real."""
    monkeypatch.setattr(reflector_module, "_WATCH_SECONDS", 1)
    monkeypatch.setattr(client_module, "_WATCH_GRACE", 0.2)
    async with (
        APIServer() as server,
        FaultyNetwork.before(int(server.url.rsplit(":", 1)[1])) as proxy,
        Client(ClusterConfig(server=server.url)) as beside,
        Client(ClusterConfig(server=proxy.url)) as client,
    ):
        names: asyncio.Queue[str] = asyncio.Queue()
        store: Store[dict[str, Any]] = Store()
        store.subscribe(lambda key, _old, _new: names.put_nowait(key.name))
        reflector = Reflector(client, CONFIG_MAPS, dict, store, namespace="default")
        following = asyncio.create_task(reflector.run())
        await store.wait_synced()
        async with asyncio.timeout(30):
            await beside.create(CONFIG_MAPS, config_map("before"))
            while await names.get() != "before":
                pass
            proxy.hold()
            await beside.create(CONFIG_MAPS, config_map("hidden"))
            while await names.get() != "hidden":
                pass
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert restarts(client) == {"silent": 1}
        assert reflector.statistics().lists == 1
        assert "look at what is between: a proxy, a load balancer" in caplog.text


async def test_every_request_has_a_time_after_which_silence_is_an_error() -> None:
    """Those that are answered at once as well: the proxy swallows the answer, whatever the verb."""
    async with (
        APIServer() as server,
        FaultyNetwork.before(int(server.url.rsplit(":", 1)[1])) as proxy,
        Client(ClusterConfig(server=proxy.url), timeout=0.3) as client,
    ):
        await client.fetch("/version")
        made = await client.create(CONFIG_MAPS, config_map("a"))
        proxy.hold(new=True)
        name = {"name": "a", "namespace": "default"}
        requests: list[Callable[[], Awaitable[object]]] = [
            lambda: client.get(CONFIG_MAPS, **name),
            lambda: client.list(CONFIG_MAPS),
            lambda: client.create(CONFIG_MAPS, config_map("b")),
            lambda: client.replace(CONFIG_MAPS, made),
            lambda: client.patch(CONFIG_MAPS, "a", {}, namespace="default"),
            lambda: client.delete(CONFIG_MAPS, **name),
            lambda: client.fetch("/version"),
        ]
        found = await asyncio.gather(*(request() for request in requests), return_exceptions=True)
        assert [type(one) for one in found] == [TransportError] * len(requests)
