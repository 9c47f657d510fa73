"""Many subscribers, counted: what is put together once for all of them, what each is sent, and when they come back."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meshfed.fds import DiscoveryServer, ExportSet, Subscriber, Target, messages
from meshfed.fds._streams import DeltaStream
from meshfed.fds.client import DiscoveryClient
from meshfed.fds.exports import Entry, View
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.telemetry.metrics import Metrics
from tests.builders import host, offer

from .support import Memory, MemoryCall, Recorder, ready, server_of

pytestmark = pytest.mark.looptime

SERVICES, SUBSCRIBERS = 300, 40
QUIET = 5.0


class Following:
    """Subscribers, each a remote of its own."""

    def __init__(self, dials: list[Memory], sinks: list[Recorder]) -> None:
        self.dials = dials
        self.sinks = sinks

    def sent(self) -> list[list[bytes]]:
        """What each was sent since this was asked last."""
        found = []
        for dial in self.dials:
            calls: list[MemoryCall] = [call for channel in dial.channels for call in channel.calls]
            found.append([message for call in calls for _, message in call.sent])
            for call in calls:
                call.sent.clear()
        return found

    def down(self, *, down: bool) -> None:
        """The exporter is away, and all streams end; or it is back."""
        for dial in self.dials:
            dial.down = down
            for channel in dial.channels if down else ():
                for call in channel.calls:
                    call.other.inbox.put_nowait(None)
                    call.inbox.put_nowait(None)
                    call.ended.set()


def remotes() -> Any:
    """Admits each caller as another remote, ``r0`` and so on."""
    numbers = iter(range(10**9))
    return lambda _: Subscriber(name := f"r{next(numbers)}", frozenset({name}))


@asynccontextmanager
async def following(server: DiscoveryServer, count: int = SUBSCRIBERS) -> AsyncIterator[Following]:
    """Have so many follow ``server`` until all are in sync."""
    dials = [Memory(server) for _ in range(count)]
    sinks = [Recorder() for _ in range(count)]
    clients = [
        DiscoveryClient(
            f"c{number}", Target("memory", 1), sinks[number], metrics=Metrics(), dial=dial, rng=random.Random(number)
        )
        for number, dial in enumerate(dials)
    ]
    tasks = [asyncio.create_task(client.run()) for client in clients]
    try:
        await asyncio.sleep(QUIET)
        assert all(sink.synced for sink in sinks)
        yield Following(dials, sinks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts how often an offer is encoded, and a chunk put together."""
    counted: Counter[str] = Counter()
    encode, make = messages.encode, DeltaStream._make_chunk

    def count_encode(*arguments: Any) -> bytes:
        counted["offers"] += 1
        return encode(*arguments)

    def count_make(stream: DeltaStream) -> Any:
        counted["chunks"] += 1
        return make(stream)

    monkeypatch.setattr(messages, "encode", count_encode)
    monkeypatch.setattr(DeltaStream, "_make_chunk", count_make)
    return counted


async def test_what_all_may_see_is_put_together_once(made: Counter[str]) -> None:
    exports = ready(*(offer(f"s{number}") for number in range(SERVICES)))
    dialects = 2
    assert made["offers"] == dialects * SERVICES
    async with following(server_of(exports, remotes())) as found:
        assert all(len(sink.offers) == SERVICES for sink in found.sinks)
        assert made["offers"] == dialects * SERVICES
        first = made["chunks"]
        assert first <= 3, "one for all that there is, and one for that there is no more"
        found.sent()
        exports.set(offer("s7", labels={"v": "2"}), None)
        await asyncio.sleep(QUIET)
        assert made["offers"] == dialects * (SERVICES + 1)
        assert made["chunks"] - first <= 2
        each = found.sent()
        assert {len(sent) for sent in each} == {1}
        assert all(len(message) < 700 for (message,) in each)
        exports.remove(host("s7"))
        await asyncio.sleep(QUIET)
        assert all(host("s7") not in sink.offers for sink in found.sinks)


async def test_what_some_may_see_is_sent_to_them_alone_though_others_are_in_the_same_place() -> None:
    exports = ready(offer("all"), offer("changing"))
    exports.set(offer("some"), frozenset({"r0", "r1"}))
    async with following(server_of(exports, remotes()), 4) as found:
        seen = [set(sink.offers) for sink in found.sinks]
        everyone = {host("all"), host("changing")}
        assert seen == [everyone | {host("some")}] * 2 + [everyone] * 2
        found.sent()
        exports.set(offer("some", labels={"v": "2"}), frozenset({"r1", "r2"}))
        await asyncio.sleep(QUIET)
        assert [host("some") in sink.offers for sink in found.sinks] == [False, True, True, False]
        exports.remove(host("some"))
        await asyncio.sleep(QUIET)
        each = [[pb.DeltaDiscoveryResponse.FromString(message) for message in messages_] for messages_ in found.sent()]
        gone = [[bytes(name).decode() for one in sent for name in one.removed_resources] for sent in each]
        # Who has never seen it is not told that there was such a host.
        assert gone == [[host("some")] * 2, [host("some")], [host("some")], []]


async def test_one_more_subscriber_costs_the_same_however_many_services_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exports = ready(*(offer(f"s{number}") for number in range(SERVICES)))
    for number in range(3):
        exports.set(offer(f"restricted{number}"), frozenset({"r0"}))
    looked = 0
    visible = Entry.visible

    def count(entry: Entry, names: frozenset[str]) -> bool:
        nonlocal looked
        looked += 1
        return visible(entry, names)

    monkeypatch.setattr(Entry, "visible", count)
    views: list[View] = [exports.hold(frozenset({f"r{number}"}), asyncio.Event()) for number in range(10)]
    assert looked == 10 * 3
    assert str(views[0].digest) != str(views[1].digest) == str(views[2].digest)


def test_a_view_is_the_same_whenever_it_was_begun() -> None:
    exports, rng = ExportSet(), random.Random(3)
    exports.mark_ready()
    audiences = (None, frozenset({"a"}), frozenset({"b"}), frozenset({"a", "b"}))
    early = exports.hold(frozenset({"a"}), asyncio.Event())
    for _ in range(400):
        name = f"s{rng.randrange(12)}"
        if rng.random() < 0.3:
            exports.remove(host(name))
        else:
            exports.set(offer(name, labels={"v": str(rng.randrange(3))}), rng.choice(audiences))
        fresh = View(frozenset({"a"}), exports._everyone)
        for entry in exports._restricted.values():
            if entry.visible(fresh.remotes):
                fresh.own.count(entry)
        assert (str(early.digest), str(early.snapshot_digest)) == (str(fresh.digest), str(fresh.snapshot_digest))
        expected = messages.SetDigest()
        for entry in exports.after(0):
            if entry.visible(early.remotes):
                expected.add(entry.term)
        assert str(early.digest) == str(expected)


async def test_after_an_outage_all_come_back_apart_and_are_sent_what_changed() -> None:
    exports = ready(*(offer(f"s{number}") for number in range(SERVICES)))
    async with following(server_of(exports, remotes())) as found:
        found.down(down=True)
        await asyncio.sleep(300)
        exports.set(offer("s7", labels={"v": "2"}), None)
        exports.remove(host("s8"))
        found.sent()
        before = [len(dial.attempts) for dial in found.dials]
        began = asyncio.get_running_loop().time()
        found.down(down=False)
        await asyncio.sleep(120)
        assert all(
            set(sink.offers) == {host(f"s{number}") for number in range(SERVICES) if number != 8}
            for sink in found.sinks
        )
        assert all(sink.synced for sink in found.sinks)
        for sent in found.sent():
            told = [pb.DeltaDiscoveryResponse.FromString(message) for message in sent]
            assert sum(len(one.resources) + len(one.removed_resources) for one in told) == 2
            assert sum(map(len, sent)) < 2500, "heartbeats and all"
        back = sorted(dial.attempts[number] - began for dial, number in zip(found.dials, before, strict=True))
        assert back[-1] <= 60
        seconds = Counter(int(at) for at in back)
        assert max(seconds.values()) <= SUBSCRIBERS // 5, "they come back all at once"
