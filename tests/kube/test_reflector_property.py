"""Whatever happens to cluster and connection, a store ends equal to the cluster, and tells every difference once."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from meshfed.kube import Key, Reflector, Store
from tests.kube.memory import Cluster, MemoryClient, failure
from tests.kube.test_reflector import SERVICES, Record, record
from tests.virtual import virtual_loop

NAMES = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, st.integers(0, 3)),
        st.tuples(st.just("spoil"), NAMES),
        st.tuples(st.just("remove"), NAMES),
        st.tuples(st.sampled_from(["cut", "compact", "down", "up", "backup", "restore", "break", "mend", "silence"])),
        st.tuples(st.just("wait"), st.sampled_from([0.001, 0.1, 3.0, 40.0, 400.0])),
    ),
    max_size=40,
)


class Story:
    """Applies steps to a cluster."""

    def __init__(self) -> None:
        self.cluster = Cluster(served={SERVICES})
        self._backup = self.cluster.snapshot()

    async def step(self, kind: str, *arguments: Any) -> None:
        cluster = self.cluster
        match kind, arguments:
            case "put", (name, port):
                cluster.put(SERVICES, record(name, port))
            case "spoil", (name,):
                cluster.put(SERVICES, record(name, "no number"))
            case "remove", (name,) if (SERVICES, "shop", name) in cluster.objects:
                cluster.remove(SERVICES, "shop", name)
            case "wait", (seconds,):
                await asyncio.sleep(seconds)
            case "cut", _:
                cluster.cut()
            case "compact", _:
                cluster.compact()
            case "down", _:
                cluster.down = True
                cluster.cut()
            case "up", _:
                cluster.down = False
            case "backup", _:
                self._backup = cluster.snapshot()
            case "restore", _:
                await self._restore()
            case "break", _:
                cluster.refuse = lambda _verb, _name: failure(500)
            case "mend", _:
                cluster.refuse = lambda _verb, _name: None
            case "silence", _:
                cluster.silent = True

    async def _restore(self) -> None:
        # No API server runs while etcd is restored, so whoever watches or asks meanwhile fails. A restored server has
        # no history from before, nor a client that could tell by numbers alone if it overtakes them while nobody
        # looks; so the story goes on only once they noticed.
        self.cluster.down = True
        self.cluster.cut()
        await asyncio.sleep(1)
        self.cluster.restore(self._backup)
        self.cluster.history.clear()
        self.cluster.compacted = self.cluster.version
        self.heal()
        await asyncio.sleep(200)

    def heal(self) -> None:
        self.cluster.down = self.cluster.silent = False
        self.cluster.refuse = lambda _verb, _name: None
        self.cluster.cut()


async def tell(steps: list[tuple[Any, ...]], seed: int) -> None:
    story = Story()
    store: Store[Record] = Store()
    mirror: dict[Key, Record] = {}

    def hear(key: Key, old: Record | None, new: Record | None) -> None:
        assert old != new
        assert mirror.get(key) == old
        if new is None:
            del mirror[key]
        else:
            mirror[key] = new

    store.subscribe(hear)
    reflector = Reflector(MemoryClient(story.cluster), SERVICES, Record, store, rng=Random(seed).random)
    task = asyncio.create_task(reflector.run())
    for step in steps:
        await story.step(*step)
    story.heal()
    await asyncio.sleep(200)
    good = {Key(*place[1:]): found for place, found in story.cluster.objects.items() if type(found["port"]) is int}
    bad = {Key(*place[1:]) for place in story.cluster.objects} - good.keys()
    ports = {key: record.port for key, record in store.items()}
    assert {key: port for key, port in ports.items() if key not in bad} == {k: v["port"] for k, v in good.items()}
    assert set(store.undecodable) == bad
    assert mirror == dict(store.items())
    assert reflector.statistics().state == "watching"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert story.cluster.open_watches == 0


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(0, 2**16))
def test_a_store_ends_equal_to_the_cluster(steps: list[tuple[Any, ...]], seed: int) -> None:
    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(tell(steps, seed))
