"""What an importer says of an exporter's hosts, in virtual time: what is kept of it, and what is measured."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meshfed.fds import ExportSet, Subscriber, Update
from meshfed.fds._streams import DeltaStream
from meshfed.fds.importers import Importer
from meshfed.fds.messages import DELTA_METHOD, DELTA_TYPE, IMPORTED_TYPE, version_of
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.fds.transport import StatusError
from meshfed.model.identity import SpiffeID
from meshfed.telemetry.metrics import Metrics
from meshfed_sandbox.ports import Ports
from tests.builders import host, offer
from tests.waiting import eventually

from .support import NORTH, WEST, Memory, MemoryCall, Recorder, by_identity, following, ready, server_of
from .test_incremental import World, world

pytestmark = pytest.mark.looptime

XFCC_WEST = {"x-forwarded-client-cert": f"URI={WEST}"}


class Placing(Recorder):
    """A sink that has in place what it is told, ``after`` some seconds; but for what it does ``refuse``."""

    def __init__(self, w: World, after: float = 0.0) -> None:
        super().__init__()
        self.confirming = w.client.confirming
        self.after = after
        self.refuse: set[str] = set()

    async def update(self, update: Update) -> None:
        await super().update(update)
        await asyncio.sleep(self.after)
        for name, version in update.versions.items():
            self.confirming.put(name, None if name in self.refuse else version)
        for name in update.removals:
            self.confirming.put(name, None)
        if update.synced:
            self.confirming.begin()
        if update.asked:
            self.confirming.answer(update.asked)


@asynccontextmanager
async def placing(
    exports: ExportSet, authorize: Any = by_identity, after: float = 0.0
) -> AsyncIterator[tuple[World, Placing]]:
    """A server, and a client that has in place what it hears; both begin at the first await."""
    async with world(exports, authorize, XFCC_WEST) as w:
        w.client._sink = sink = Placing(w, after)
        w.sink = sink
        yield w, sink


def said(w: World, remote: str = "west") -> dict[str, str | None]:
    """What is kept of a remote: the first label of each host, with its version."""
    importer = w.server.importers.all().get(remote)
    return {} if importer is None else {name.partition(".")[0]: one.version for name, one in importer.hosts.items()}


def west(w: World) -> Importer:
    return w.server.importers.all()["west"]


def requests(w: World) -> list[pb.DeltaDiscoveryRequest]:
    """What was said on the last stream."""
    found = [pb.DeltaDiscoveryRequest.FromString(data) for _, data in w.call.other.sent]
    return [one for one in found if one.type_url == IMPORTED_TYPE]


def measured(w: World) -> list[float]:
    return [w.count(f"meshfed_export_in_place_seconds_{part}", subscriber="west") for part in ("count", "sum")]


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_what_is_in_place_is_said_with_its_version_and_what_is_not_imported_is_not() -> None:
    exports = ready(offer("a"), offer("b"))
    async with placing(exports) as (w, sink):
        sink.refuse = {host("b")}
        await sink.until_offered("a", "b")
        await asyncio.sleep(1)
        assert said(w) == {"a": version_of(offer("a"))}
        assert west(w).whole
        exports.set(offer("a", labels={"n": "2"}), None, since=now())
        await asyncio.sleep(1)
        assert said(w) == {"a": version_of(offer("a", labels={"n": "2"}))}
        exports.set(offer("c"), None, since=now())
        await asyncio.sleep(1)
        assert w.server.importers.of(host("c")) == ["west"]
        exports.set(offer("d"), None, since=now())
        sink.refuse.add(host("d"))
        await asyncio.sleep(1)
        assert said(w)["d"] is None, "that it is not imported is said of what comes"
        exports.remove(host("c"))
        await asyncio.sleep(1)
        assert w.server.importers.of(host("c")) == []
        assert set(said(w)) == {"a", "d"}


async def test_until_all_was_said_nobody_can_say_what_is_not_imported() -> None:
    async with placing(ready(offer("a")), after=30) as (w, sink):
        await sink.until_offered("a")
        await asyncio.sleep(10)
        assert dict(w.server.importers.all()) == {}, "it says nothing yet"
        await asyncio.sleep(30)
        assert west(w).whole


async def test_how_long_a_change_takes_until_it_is_in_place_is_measured_once_by_our_clock() -> None:
    exports = ready()
    exports.set(offer("old"), None, since=now())
    async with placing(exports, after=2.0) as (w, _):
        await asyncio.sleep(100)
        assert measured(w) == [0, 0], "what was there before the stream began is no change"
        exports.set(offer("a"), None, since=now() - 1)
        await asyncio.sleep(10)
        assert measured(w) == pytest.approx([1, 3.05], abs=0.06)
        last = west(w).last
        assert last is not None
        assert last.host == host("a")
        assert last.seconds == pytest.approx(3.05, abs=0.06)
        w.metrics.exports_took.begin(0.0)
        assert w.metrics.exports_took.seen(now()).remotes["west"].last.seconds == pytest.approx(last.seconds, abs=1e-3)
        exports.set(offer("b"), None)
        await asyncio.sleep(10)
        assert measured(w)[0] == 1, "nobody knows when that began"
        w.break_stream()
        await asyncio.sleep(100)
        assert set(said(w)) == {"old", "a", "b"}
        assert measured(w)[0] == 1, "what is said anew on another stream is no news"


async def test_what_was_refused_first_and_is_imported_for_another_reason_later_is_not_measured() -> None:
    exports = ready()
    async with placing(exports) as (w, sink):
        await sink.until_offered()
        sink.refuse = {host("a")}
        exports.set(offer("a"), None, since=now())
        await asyncio.sleep(3600)
        sink.confirming.put(host("a"), version_of(offer("a")))
        await asyncio.sleep(10)
        assert said(w) == {"a": version_of(offer("a"))}
        assert measured(w)[0] == 0


async def test_after_a_reconnect_all_is_said_anew_in_chunks() -> None:
    names = [f"service-with-a-name-of-some-length-{number}" for number in range(1500)]
    async with placing(ready(*map(offer, names))) as (w, sink):
        await asyncio.sleep(5)
        assert len(said(w)) == 1500
        w.break_stream()
        await asyncio.sleep(0)
        await sink.until(lambda: len(sink.dialects) == 2)
        await asyncio.sleep(5)
        assert len(said(w)) == 1500
        assert west(w).whole
        assert len(requests(w)) > 1
        assert all(one.ByteSize() < 128 * 1024 for one in requests(w))
        marks = [list(one.resource_names_subscribe) for one in requests(w)]
        assert marks == [[]] * (len(marks) - 1) + [["*"]]


async def test_a_burst_of_changes_is_said_in_few_requests() -> None:
    exports = ready()
    async with placing(exports) as (w, sink):
        await sink.until_offered()
        for number in range(200):
            exports.set(offer(f"s{number}"), None, since=now())
            await asyncio.sleep(0.005)
        await asyncio.sleep(1)
        assert len(said(w)) == 200
        assert len(requests(w)) < 30
        before = len(requests(w))
        await asyncio.sleep(3600)
        assert len(requests(w)) == before, "where nothing changes, nothing is said"


async def test_what_is_held_at_the_importer_and_offered_again_is_said_again() -> None:
    exports = ready(offer("a"), offer("b"))
    async with placing(exports) as (w, sink):
        await sink.until_offered("a", "b")
        exports.remove(host("a"))
        sink.confirming.put(host("a"), version_of(offer("a")))  # its withdrawal is held there
        await asyncio.sleep(1)
        w.break_stream()
        await asyncio.sleep(5)
        assert said(w) == {"b": version_of(offer("b"))}, "of what is not offered nothing is kept"
        sink.confirming.put(host("a"), version_of(offer("a")))
        exports.set(offer("a"), None)
        await asyncio.sleep(5)
        assert set(said(w)) == {"a", "b"}


async def test_nothing_is_said_any_more_and_what_was_said_is_taken_back() -> None:
    async with placing(ready(offer("a"))) as (w, sink):
        await sink.until_offered("a")
        await asyncio.sleep(1)
        assert said(w)
        sink.confirming.stop()
        await asyncio.sleep(1)
        assert dict(w.server.importers.all()) == {}
        sink.confirming.put(host("a"), version_of(offer("a")))
        sink.confirming.begin()
        await asyncio.sleep(1)
        assert set(said(w)) == {"a"}


async def test_with_the_stream_goes_what_was_said_on_it() -> None:
    async with placing(ready(offer("a"))) as (w, sink):
        await sink.until_offered("a")
        await asyncio.sleep(1)
        w.dial.down = True
        w.break_stream()
        await asyncio.sleep(1)
        assert dict(w.server.importers.all()) == {}


# --- over sockets


@pytest.mark.looptime(False)
async def test_over_real_connections_with_restarts_of_either_side(ports: Ports) -> None:
    exports, metrics, port = ready(offer("a")), Metrics(), ports.take()
    servers = [server_of(exports, as_west, metrics=metrics)]

    def said() -> Mapping[str, Importer]:
        return servers[-1].importers.all()

    async with contextlib.AsyncExitStack() as up:
        await up.enter_async_context(servers[-1].listen("127.0.0.1", port))
        async with following(port, Recorder()) as client:
            client.confirming.put(host("a"), version_of(offer("a")))
            for number in range(3000):
                client.confirming.put(f"nobody-{number}.example", "1")
            await eventually(lambda: list(servers[-1].subscriptions()))
            client.confirming.begin()
            await eventually(lambda: "west" in said() and said()["west"].whole)
            assert set(said()["west"].hosts) == {host("a")}
            exports.set(offer("b"), None, since=now())
            client.confirming.put(host("b"), version_of(offer("b")))
            await eventually(lambda: servers[-1].importers.of(host("b")) == ["west"])
            await up.aclose()
            await eventually(lambda: dict(said()) == {})
            servers.append(server_of(exports, as_west, metrics=metrics))
            await up.enter_async_context(servers[-1].listen("127.0.0.1", port))
            await eventually(lambda: list(servers[-1].subscriptions()))
            client.confirming.begin()
            await eventually(lambda: servers[-1].importers.of(host("b")) == ["west"])
        await eventually(lambda: dict(said()) == {})
        async with following(port, Recorder()) as client:
            await eventually(lambda: list(servers[-1].subscriptions()))
            client.confirming.begin()
            await eventually(lambda: "west" in said() and said()["west"].whole)
            assert said()["west"].hosts == {}
    count = metrics.registry.get_sample_value("meshfed_export_in_place_seconds_count", {"subscriber": "west"})
    assert count == 1


def as_west(_: SpiffeID | None) -> Subscriber:
    return Subscriber("west", frozenset({"west"}))


# --- who is asked


async def test_who_is_asked_answers_once_all_that_came_before_was_worked_out() -> None:
    exports = ready(offer("a"))
    async with placing(exports, after=2.0) as (w, sink):
        await asyncio.sleep(10)
        exports.set(offer("b"), None, since=now())
        west(w).ask()
        await asyncio.sleep(1)
        assert west(w).echoed is None
        assert "b" not in said(w)
        await asyncio.sleep(2)
        echoed = west(w).echoed
        assert echoed is not None
        assert 2 <= echoed.seconds < 2.2
        assert "b" in said(w)
        sink.after = 0.0
        west(w).ask()
        await asyncio.sleep(1)
        echoed = west(w).echoed
        assert echoed is not None
        assert echoed.seconds < 0.1
        assert sink.errors == []


async def test_who_does_not_answer_or_was_not_asked_has_answered_nothing() -> None:
    async with placing(ready(offer("a"))) as (w, _):
        await asyncio.sleep(1)
        call = await (stranger := Stranger(w, NORTH)).subscribe()
        await say(call, {host("a"): "1"})
        request = pb.DeltaDiscoveryRequest(type_url=IMPORTED_TYPE, response_nonce="2")
        await call.send(request.SerializeToString())
        w.server.importers.all()["north"].ask()
        await asyncio.sleep(60)
        assert w.server.importers.all()["north"].echoed is None
        await stranger.leave()


async def test_a_client_takes_no_notice_of_a_response_of_a_type_that_it_does_not_know() -> None:
    async with world(ready(offer("a")), by_identity, XFCC_WEST) as w:
        await w.sink.until_offered("a")
        question = pb.DeltaDiscoveryResponse(type_url="another.example/Type", nonce="9", system_version_info="*")
        await w.call.send(question.SerializeToString())
        await asyncio.sleep(600)
        assert w.sink.errors == []
        assert len(w.sink.dialects) == 1


# --- who is of an earlier version


async def test_a_client_of_an_earlier_version_never_says_it() -> None:
    async with world(ready(offer("a")), by_identity, XFCC_WEST) as w:
        await w.sink.until_offered("a")
        await asyncio.sleep(600)
        assert requests(w) == []
        assert dict(w.server.importers.all()) == {}


async def test_a_server_of_an_earlier_version_answers_with_an_empty_list_and_is_told_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def unknown(self: DeltaStream, request: pb.DeltaDiscoveryRequest) -> None:
        """Answer as it did before it knew the type."""
        if request.type_url not in self._types:
            self._note_type(request.type_url)

    monkeypatch.setattr(DeltaStream, "_take_imports", unknown)
    exports = ready(offer("a"))
    async with placing(exports) as (w, sink):
        await sink.until_offered("a")
        await asyncio.sleep(1)
        (answer,) = [one for _, one in w.responses if one.type_url == IMPORTED_TYPE]
        assert (list(answer.resources), list(answer.removed_resources)) == ([], [])
        for number in range(50):
            exports.set(offer(f"s{number}"), None)
            await asyncio.sleep(1)
        assert len(requests(w)) == 1
        await asyncio.sleep(600)
        assert sink.errors == []
        assert len(sink.dialects) == 1
        assert len(sink.offers) == 51


# --- who means harm


class Stranger:
    """A subscriber that says whatever it likes."""

    def __init__(self, w: World, identity: SpiffeID | None) -> None:
        self.call = Memory(w.server, {"x-forwarded-client-cert": f"URI={identity}"})
        self._opened: Any = None

    async def subscribe(self) -> MemoryCall:
        async with self.call(None, bounds=None, timeout=1) as channel:  # type: ignore[arg-type]
            self._opened = channel.call(DELTA_METHOD)
            call: MemoryCall = await self._opened.__aenter__()
        await call.send(pb.DeltaDiscoveryRequest(type_url=DELTA_TYPE).SerializeToString())
        await asyncio.sleep(1)
        return call

    async def leave(self) -> None:
        await self._opened.__aexit__(None, None, None)


async def say(call: MemoryCall, versions: dict[str, str] | None = None, *, gone: tuple[str, ...] = ()) -> None:
    request = pb.DeltaDiscoveryRequest(
        type_url=IMPORTED_TYPE, initial_resource_versions=versions or {}, resource_names_unsubscribe=gone
    )
    await call.send(request.SerializeToString())
    await asyncio.sleep(1)


async def test_nobody_can_say_anything_of_what_is_not_offered_to_them_or_of_another() -> None:
    exports = ready(offer("a"))
    exports.set(offer("west"), frozenset({"west"}))
    async with placing(exports) as (w, sink):
        await sink.until_offered("a", "west")
        await asyncio.sleep(1)
        before = said(w)
        north = Stranger(w, NORTH)
        call = await north.subscribe()
        await say(call, {host("a"): "x", host("west"): version_of(offer("west")), host("nowhere"): "1"})
        await say(call, gone=(host("a"), host("west"), "*"))
        await say(call, {host("a"): "y" * 100_000})
        assert said(w) == before, "west is who it was"
        assert said(w, "north") == {"a": ""}
        assert w.count("meshfed_fds_confirmations_total", outcome="dropped") == 2
        await north.leave()


async def test_what_is_kept_of_a_remote_is_bounded_by_what_is_exported() -> None:
    exports = ready()
    async with placing(exports) as (w, sink):
        await sink.until_offered()
        call = await (stranger := Stranger(w, NORTH)).subscribe()
        for number in range(30):
            names = [f"s{number}-{one}" for one in range(100)]
            for name in names:
                exports.set(offer(name), None)
            await say(call, {host(name): "1" for name in names})
            await say(call, {f"made-up-{number}-{one}.example": "1" for one in range(1000)})
            for name in names:
                exports.remove(host(name))
        assert len(said(w, "north")) <= 1200
        await stranger.leave()


async def test_too_many_hosts_in_one_request_end_the_stream() -> None:
    async with placing(ready(offer("a"))) as (w, sink):
        await sink.until_offered("a")
        call = await (stranger := Stranger(w, NORTH)).subscribe()
        await say(call, {f"h{number}": "1" for number in range(10_001)})
        await call.receive()
        with pytest.raises(StatusError, match="RESOURCE_EXHAUSTED: more than 10000 hosts in one request"):
            await call.receive()
        await stranger.leave()


async def test_before_anybody_subscribes_nothing_is_believed() -> None:
    async with placing(ready(offer("a"))) as (w, sink):
        await sink.until_offered("a")
        stranger = Stranger(w, NORTH)
        async with stranger.call(None, bounds=None, timeout=1) as channel, channel.call(DELTA_METHOD) as call:  # type: ignore[arg-type]
            await say(call, {host("a"): "1"})
            assert "north" not in w.server.importers.all()


async def test_the_newest_stream_of_a_remote_speaks_for_it() -> None:
    async with placing(ready(offer("a"), offer("b"))) as (w, sink):
        await sink.until_offered("a", "b")
        await asyncio.sleep(1)
        assert set(said(w)) == {"a", "b"}
        call = await (newer := Stranger(w, WEST)).subscribe()
        await say(call, {host("a"): "1"})
        assert said(w) == {"a": "1"}
        sink.confirming.put(host("b"), "2")
        await asyncio.sleep(1)
        assert said(w) == {"a": "1"}, "who led before does not take it back"
        await newer.leave()
        await asyncio.sleep(1)
        assert said(w) == {}


async def test_nothing_is_kept_of_who_may_be_one_of_several() -> None:
    def shared(_: SpiffeID | None) -> Subscriber:
        return Subscriber("north+west", frozenset({"north", "west"}))

    async with placing(ready(offer("a")), shared) as (w, sink):
        await sink.until_offered("a")
        await asyncio.sleep(10)
        assert dict(w.server.importers.all()) == {}
        assert w.count("meshfed_fds_confirmations_total", outcome="dropped") == 1
