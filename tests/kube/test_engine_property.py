"""Whatever callers want, others do and the API fails at, what exists ends as wanted, and then nothing is written."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kube.memory import Cluster, MemoryClient, failure
from tests.kube.owned import OwnedEngine
from tests.kube.test_engine import ENTRIES, GATEWAYS, OWNER, entry
from tests.virtual import virtual_loop

SOURCES = st.sampled_from(["x", "y", "z"])
NAMES = ["a", "b", "c", "d", "e"]
SPECS = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2), max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("want"), SOURCES, SPECS, st.frozensets(SOURCES, max_size=1)),
        st.tuples(st.just("edit"), st.sampled_from(NAMES), st.integers(0, 2)),
        st.tuples(st.just("remove"), st.sampled_from(NAMES)),
        st.tuples(st.just("steal"), st.sampled_from(NAMES)),
        st.tuples(st.just("annotate"), st.sampled_from(NAMES)),
        st.tuples(st.sampled_from(["cut", "compact", "down", "up", "break", "mend", "silence"])),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.001, 0.1, 3.0, 100.0])),
    ),
    max_size=40,
)


class Story:
    """Somebody else's object stands in one name from the start, and a predecessor's in another."""

    def __init__(self, seed: int) -> None:
        self.cluster = cluster = Cluster(served={GATEWAYS, ENTRIES})
        cluster.put(ENTRIES, entry("e", whose="theirs"))
        cluster.put(ENTRIES, entry("d", labels=OWNER, port=1))
        self.engine = OwnedEngine(
            MemoryClient(cluster), [GATEWAYS, ENTRIES], owner=OWNER, workers=3, rng=Random(seed).random
        )
        self.wanted: dict[str, dict[str, int]] = {}

    def live(self, name: str) -> Any:
        return self.cluster.objects.get((ENTRIES, "istio-system", name))

    async def step(self, kind: str, *arguments: Any) -> None:
        cluster = self.cluster
        match kind, arguments:
            case "want", (source, specs, after):
                self.wanted[source] = specs
                self.engine.want(source, [entry(name, port=port) for name, port in specs.items()], after=after)
            case "edit", (name, port) if name != "e" and self.live(name):
                cluster.edit(ENTRIES, "istio-system", name, lambda live: live["spec"].update(port=port, more=1))
            case "remove", (name,) if name != "e" and self.live(name):
                cluster.remove(ENTRIES, "istio-system", name)
            case "steal", (name,) if name != "e" and self.live(name):
                cluster.edit(ENTRIES, "istio-system", name, lambda live: live["metadata"].update(labels=dict(OWNER)))
            case "annotate", (name,) if self.live(name):
                cluster.edit(
                    ENTRIES, "istio-system", name, lambda live: live["metadata"].update(annotations={"n": "m"})
                )
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
            case "break", _:
                cluster.refuse = lambda verb, _name: failure(500) if verb in {"create", "update", "delete"} else None
            case "mend", _:
                cluster.refuse = lambda _verb, _name: None
            case "silence", _:
                cluster.silent = True

    def heal(self) -> None:
        self.cluster.down = self.cluster.silent = False
        self.cluster.refuse = lambda _verb, _name: None
        self.cluster.cut()


async def tell(steps: list[tuple[Any, ...]], seed: int, allowed_after: int) -> None:
    story = Story(seed)
    task = asyncio.create_task(story.engine.run())
    for number, step in enumerate(steps):
        if number == allowed_after:
            story.engine.allow_deletes()
        await story.step(*step)
    story.heal()
    story.engine.allow_deletes()
    await asyncio.sleep(600)
    await story.engine.idle()
    specs = {place[2]: found["spec"] for place, found in story.cluster.objects.items()}
    wanted_ports: dict[str, set[int]] = {}
    for objects in story.wanted.values():
        for name, port in objects.items():
            wanted_ports.setdefault(name, set()).add(port)
    assert specs.pop("e") == {"whose": "theirs"}
    wanted_ports.pop("e", None)
    assert specs.keys() == wanted_ports.keys()
    for name, spec in specs.items():
        assert spec.keys() == {"port"}
        assert spec["port"] in wanted_ports[name]
    story.cluster.calls.clear()
    await asyncio.sleep(600)
    assert story.cluster.writes == []
    assert story.engine.pending == 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert story.cluster.open_watches == 0


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(0, 2**16), st.integers(0, 40))
def test_what_exists_ends_as_wanted(steps: list[tuple[Any, ...]], seed: int, allowed_after: int) -> None:
    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(tell(steps, seed, allowed_after))
