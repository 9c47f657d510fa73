"""Whatever happens to exports and streams, a client ends up with what it may see, and loses nothing on the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshfed.fds import DiscoveryServer, ExportSet, Limits, Subscriber, Target, Update
from meshfed.fds.client import DiscoveryClient
from meshfed.fds.messages import Dialect as Wire
from meshfed.fds.messages import decode, encode
from meshfed.fds.transport import StreamClosed
from meshfed.model.offers import Offer
from meshfed.telemetry.metrics import Metrics
from tests.builders import host, offer
from tests.virtual import virtual_loop

from .support import Memory, Recorder

NAMES = st.sampled_from("abc")
AUDIENCES = st.sampled_from([None, frozenset({"west"}), frozenset({"north"}), frozenset({"west", "north"})])
REMOTES = st.sampled_from([frozenset({"west"}), frozenset[str](), frozenset({"west", "north"})])
SETS = st.tuples(st.just("set"), NAMES, st.integers(0, 1), AUDIENCES, st.sampled_from([False, False, True]))
REMOVES = st.tuples(st.just("remove"), NAMES)
TROUBLE = st.one_of(
    st.just(("break",)),
    st.just(("stall",)),
    st.tuples(st.just("down"), st.booleans()),
    st.tuples(st.just("become"), REMOTES),
)
PAUSES = st.sampled_from([0.0, 0.0, 0.06, 1.0, 40.0])
STEPS = st.lists(st.tuples(SETS | SETS | REMOVES | TROUBLE, PAUSES), max_size=25)


class Checked(Recorder):
    """Fails where a host is withdrawn that was offered, visibly, all the time."""

    def __init__(self, steady: Callable[[], set[str]]) -> None:
        super().__init__()
        self._steady = steady

    async def update(self, update: Update) -> None:
        before = set(self.offers)
        await super().update(update)
        assert not (before - set(self.offers)) & self._steady()


async def play(steps: list[tuple[Any, ...]], dialect: Literal["sotw", "delta"], withdrawals: int) -> None:
    exports = ExportSet(withdrawals=withdrawals)
    held: dict[str, tuple[Offer, frozenset[str] | None]] = {}
    touched: set[str] = set()
    for name in ("a", "steady"):
        held[host(name)] = offer(name), None
        exports.set(*held[host(name)])
    exports.mark_ready()
    remotes = frozenset({"west"})
    server = DiscoveryServer(exports, lambda _: Subscriber(name="w", remotes=remotes), Metrics(), rng=random.Random(1))
    dial = Memory(server)
    metrics = Metrics()
    sink = Checked(lambda: set(held) - touched)
    client = DiscoveryClient(
        "east",
        Target("east", 1),
        sink,
        metrics=metrics,
        rng=random.Random(2),
        dial=dial,
        dialect=dialect,
        limits=Limits(services=100),
    )
    task = asyncio.create_task(client.run())
    await asyncio.sleep(1)
    for step, pause in steps:
        match step:
            case ("set", name, variant, audience, alias):
                new = offer(name, labels={"v": str(variant)}, sni_host="x.y" if alias else "")
                held[host(name)] = new, audience
                touched.add(host(name))
                exports.set(new, audience)
            case ("remove", name):
                held.pop(host(name), None)
                touched.add(host(name))
                exports.remove(host(name))
            case ("break",):
                if dial.channels and dial.channels[-1].calls:
                    dial.channels[-1].calls[-1].other.inbox.put_nowait(StreamClosed("cut"))
            case ("stall",):
                if dial.channels and dial.channels[-1].calls:
                    dial.channels[-1].calls[-1].flowing.clear()
            case ("down", down):
                dial.down = down
            case ("become", remotes):
                touched |= set(held)
                server.reevaluate()
        await asyncio.sleep(pause)
    dial.down = False
    await asyncio.sleep(300)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled(), task.exception()
    visible = {
        name: one for name, (one, audience) in held.items() if audience is None or (remotes and remotes <= audience)
    }
    if dialect == "sotw":
        visible = {name: decode(encode(one, Wire.SOTW)) for name, one in visible.items() if not one.sni_host}
    assert sink.offers == visible
    # Healing would hide mistakes: nothing was lost, so nothing may need it.
    assert not metrics.registry.get_sample_value("meshfed_fds_divergences_total", {"remote": "east"})
    assert sink.synced
    assert server.statistics()["sotw"] == server.statistics()["delta"] == 0


@pytest.mark.parametrize("dialect", ["sotw", "delta"])
@given(steps=STEPS, withdrawals=st.sampled_from([1, 3, 4096]))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_the_client_s_set_is_the_server_s_as_it_may_be_seen(
    dialect: Literal["sotw", "delta"], steps: list[tuple[Any, ...]], withdrawals: int
) -> None:
    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(play(steps, dialect, withdrawals))
