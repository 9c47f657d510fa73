"""Many subscribers, some of them stuck: the others do not feel it, memory is bounded, nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator

from meshfed.fds import Bounds, DiscoveryServer, ExportSet, StreamTiming, Target
from meshfed.fds._channel import connect
from meshfed.fds.messages import DELTA_METHOD, DELTA_TYPE
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.telemetry.metrics import Metrics
from tests.builders import host, offer
from tests.waiting import eventually

from .support import Recorder, everyone, following, ready

SUBSCRIBE = pb.DeltaDiscoveryRequest(type_url=DELTA_TYPE).SerializeToString()
LABELS = {f"label{number}": "x" * 40 for number in range(15)}


class Subscriber:
    """A subscriber that notes when it hears of each version, unless it is told to stop reading."""

    def __init__(self) -> None:
        self.heard: dict[str, float] = {}
        self.first = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()

    async def run(self, port: int) -> None:
        target = Target("127.0.0.1", port)
        bounds = Bounds(stream_window=64 * 1024, connection_window=65536)
        async with connect(target, bounds=bounds) as channel, channel.call(DELTA_METHOD) as call:
            await call.send(SUBSCRIBE)
            while (data := await call.receive()) is not None:
                response = pb.DeltaDiscoveryResponse.FromString(data)
                for resource in response.resources:
                    version = pb.Resource.FromString(resource).version.decode()
                    self.heard.setdefault(version, time.perf_counter())
                self.first.set()
                await self.reading.wait()


@contextlib.asynccontextmanager
async def subscribers(port: int, count: int) -> AsyncIterator[list[Subscriber]]:
    made = [Subscriber() for _ in range(count)]
    tasks = [asyncio.create_task(one.run(port)) for one in made]
    try:
        async with asyncio.timeout(60):
            for one in made:
                await one.first.wait()
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _latencies(exports: ExportSet, listening: list[Subscriber], rounds: int) -> list[float]:
    """Change hosts again and again; how long each change took to be heard by each of ``listening``."""
    latencies: list[float] = []
    for number in range(rounds):
        for name in range(20):
            exports.set(offer(f"churn{name}", labels=LABELS | {"n": str(number)}), None)
        entry = exports.get(host("churn19"))
        assert entry is not None
        version, begun = entry.version, time.perf_counter()
        await eventually(lambda version=version: all(version in one.heard for one in listening))  # type: ignore[misc]  # bound now
        latencies += [one.heard[version] - begun for one in listening]
    return latencies


async def test_fifty_of_a_hundred_subscribers_stall_and_the_others_do_not_feel_it() -> None:
    exports = ready(*(offer(f"s{number}", labels=LABELS) for number in range(100)))
    server = DiscoveryServer(exports, everyone, Metrics(), timing=StreamTiming(gather=(0.005, 0.005)), connections=200)
    async with server.listen("127.0.0.1", 0) as port, subscribers(port, 100) as all_of_them:
        stuck, well = all_of_them[:50], all_of_them[50:]
        before = await _latencies(exports, well, 10)
        for one in stuck:
            one.reading.clear()
        await _latencies(exports, well, 20)  # fills every window and buffer on the way to those that are stuck
        gc.collect()
        tracemalloc.start()
        held = tracemalloc.get_traced_memory()[0]
        await _latencies(exports, well, 20)
        for one in all_of_them:
            one.heard.clear()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - held
        tracemalloc.stop()
        after = await _latencies(exports, well, 10)
        assert server.statistics()["delta"] == 100
    print(f"median {statistics.median(before):.4f} -> {statistics.median(after):.4f} s, grown {grown / 1e6:.1f} MB")
    # 20 rounds of 20 changes of 1 KB would be 20 MB for 50 that are stuck, if each were queued for each.
    assert grown < 10_000_000
    assert statistics.median(after) < 3 * statistics.median(before) + 0.05


async def test_a_change_costs_the_same_however_many_services_there_are() -> None:
    costs = []
    for count in (10, 2000):
        exports = ready(*(offer(f"s{number}") for number in range(count)))
        server = DiscoveryServer(exports, everyone, Metrics(), timing=StreamTiming(gather=(0.001, 0.001)))
        async with server.listen("127.0.0.1", 0) as port:
            target = Target("127.0.0.1", port)
            async with connect(target) as channel, channel.call(DELTA_METHOD) as call:
                await call.send(SUBSCRIBE)
                while not pb.DeltaDiscoveryResponse.FromString(await call.receive() or b"").system_version_info:
                    pass
                exports.set(offer("s1", labels={"changed": "yes"}), None)
                costs.append(len(await call.receive() or b""))
    assert abs(costs[0] - costs[1]) <= 2, "but for the digits of the nonce"
    assert costs[0] < 500


async def test_nothing_is_left_behind() -> None:
    tasks = asyncio.all_tasks()
    exports = ready(offer("a"))
    server = DiscoveryServer(exports, everyone, Metrics(), timing=StreamTiming(gather=(0.001, 0.001)))
    async with server.listen("127.0.0.1", 0) as port:
        for dialect in ("delta", "sotw") * 3:
            sink = Recorder()
            async with following(port, sink, dialect=dialect):
                await sink.until_offered("a")
        await eventually(lambda: server.statistics()["connections"] == 0)
        sink = Recorder()
        client = following(port, sink)
        await client.__aenter__()
        await sink.until_offered("a")
    # The server has gone first; the client goes on trying until it is told to stop.
    await sink.until(lambda: len(sink.errors) > 1)
    await client.__aexit__(None, None, None)
    assert asyncio.all_tasks() == tasks
    assert exports._views == {}
    assert exports._waiters == set()
    assert server.statistics() == {
        "connections": 0,
        "connections_max": 256,
        "calls": 0,
        "calls_max": 1000,
        "sotw": 0,
        "delta": 0,
        "exports": 1,
    }
