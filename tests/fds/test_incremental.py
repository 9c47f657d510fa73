"""The incremental dialect between our server and our client, in virtual time and without sockets."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meshfed.fds import (
    Bounds,
    Dialect,
    DiscoveryServer,
    ExportSet,
    Limits,
    NotReady,
    Patience,
    Refused,
    Rejected,
    StreamTiming,
    Subscriber,
    Target,
    Unreachable,
    Update,
)
from meshfed.fds._streams import _Stream
from meshfed.fds.client import DiscoveryClient
from meshfed.fds.errors import ProtocolError
from meshfed.fds.messages import DELTA_METHOD, DELTA_TYPE, SOTW_METHOD, SOTW_TYPE, SetDigest, encode
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.telemetry.metrics import Metrics
from tests.builders import host, offer

from .support import WEST, Memory, MemoryCall, Recorder, by_identity, everyone, ready

pytestmark = pytest.mark.looptime


class World:
    """A server, a client that follows it, and its sink."""

    def __init__(self, exports: ExportSet, authorize: Any, headers: dict[str, str], **options: Any) -> None:
        self.exports = exports
        self.metrics = Metrics()
        self.heard = 0
        """How often it was heard that who subscribes may have changed."""
        self.server = DiscoveryServer(
            exports,
            authorize,
            self.metrics,
            timing=StreamTiming(),
            rng=random.Random(1),
            subscribers_changed=self._count_heard,
        )
        self.dial = Memory(self.server, headers)
        self.sink = Recorder()
        options.setdefault("patience", Patience())
        self.client = DiscoveryClient(
            "east",
            Target(host="east", port=1),
            self.sink,
            metrics=self.metrics,
            rng=random.Random(2),
            dial=self.dial,
            **options,
        )

    def _count_heard(self) -> None:
        self.heard += 1

    @property
    def call(self) -> MemoryCall:
        """The server's side of the last call."""
        return self.dial.channels[-1].calls[-1]

    @property
    def responses(self) -> list[tuple[float, pb.DeltaDiscoveryResponse]]:
        return [(when, pb.DeltaDiscoveryResponse.FromString(data)) for when, data in self.call.sent]

    def break_stream(self) -> None:
        from meshfed.fds.transport import StreamClosed

        self.call.other.inbox.put_nowait(StreamClosed("the cable was cut"))

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def world(
    exports: ExportSet, authorize: Any = everyone, headers: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[World]:
    made = World(exports, authorize, headers or {}, **options)
    task = asyncio.create_task(made.client.run())  # begins at the first await
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_everything_then_changes() -> None:
    exports = ready(offer("a"), offer("b"))
    async with world(exports) as w:
        await w.sink.until_offered("a", "b")
        exports.set(offer("c"), None)
        await w.sink.until_offered("a", "b", "c")
        exports.remove(host("a"))
        await w.sink.until_offered("b", "c")
        exports.set(offer("b", labels={}), None)
        await w.sink.until(lambda: w.sink.offers[host("b")].labels == {})
    assert w.sink.log == [
        Dialect.DELTA,
        Update(upserts=(offer("a"), offer("b")), complete=True, synced=True),
        Update(upserts=(offer("c"),), synced=True),
        Update(removals=(host("a"),), synced=True),
        Update(upserts=(offer("b", labels={}),), synced=True),
    ]


async def test_what_does_not_matter_is_not_pushed_but_told_to_those_who_come_later() -> None:
    exports = ready(offer("a"))
    async with world(exports) as w:
        await w.sink.until_offered("a")
        exports.set(offer("a", exported_at="2026-01-01T00:00:00Z", ready=True), None)
        exports.set(offer("a", exported_at="2026-01-02T00:00:00Z", ready=False), None)
        await asyncio.sleep(10)
        assert len(w.responses) == 1
    async with world(exports) as w:
        await w.sink.until_offered("a")
    assert w.sink.offers[host("a")] == offer("a", exported_at="2026-01-02T00:00:00Z", ready=False)


async def test_an_empty_set_is_told_as_such() -> None:
    async with world(ready()) as w:
        await w.sink.until_offered()
    assert w.sink.log == [Dialect.DELTA, Update(complete=True, synced=True)]


async def test_after_an_outage_only_what_changed_is_sent() -> None:
    exports = ready(*(offer(f"s{number}") for number in range(100)))
    async with world(exports) as w:
        await w.sink.until(lambda: w.sink.synced)
        w.dial.down = True
        w.break_stream()
        await w.sink.until(lambda: bool(w.sink.errors))
        exports.set(offer("new"), None)
        exports.set(offer("s1", labels={"app": "changed"}), None)
        exports.remove(host("s2"))
        w.dial.down = False
        await w.sink.until(lambda: w.sink.synced)
        (_, response), *rest = w.responses
        assert (len(response.resources), list(response.removed_resources), rest) == (2, [host("s2").encode()], [])
    assert w.sink.updates[-1] == Update(
        upserts=(offer("new"), offer("s1", labels={"app": "changed"})), removals=(host("s2"),), synced=True
    )
    assert len(w.sink.offers) == 100


async def test_after_an_outage_in_which_nothing_changed_that_is_said() -> None:
    async with world(ready(offer("a"))) as w:
        await w.sink.until_offered("a")
        w.break_stream()
        await w.sink.until(lambda: len(w.sink.dialects) == 2 and w.sink.synced)
        assert w.sink.updates[-1] == Update(synced=True)
        assert set(w.sink.offers) == {host("a")}


async def test_a_large_list_comes_in_chunks_and_is_reported_as_one() -> None:
    big = {f"label{number}": "x" * 60 for number in range(100)}
    exports = ready(*(offer(f"s{number}", labels=big) for number in range(200)))
    async with world(exports) as w:
        await w.sink.until(lambda: w.sink.synced)
        responses = [response for _, response in w.responses]
    assert len(responses) > 3
    assert all(response.ByteSize() <= 256 * 1024 + 1000 for response in responses)
    assert [bool(response.system_version_info) for response in responses] == [False] * (len(responses) - 1) + [True]
    assert len(w.sink.updates) == 1
    assert len(w.sink.updates[0].upserts) == 200


async def test_heartbeats_come_every_20_to_30_seconds_with_the_digest_and_nothing_else_does() -> None:
    async with world(ready(offer("a"))) as w:
        await asyncio.sleep(600)
        (_, first), *beats = w.responses
        for _, beat in beats:
            assert (list(beat.resources), list(beat.removed_resources)) == ([], [])
            assert beat.system_version_info == first.system_version_info
        times = [when for when, _ in w.responses]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert all(20 <= gap <= 30.1 for gap in gaps)
        assert len(set(gaps)) > 5, "jitter"
        assert len(w.sink.updates) == 1
        assert w.count("meshfed_fds_heartbeats_sent_total") == len(beats) >= 20
        assert w.count("meshfed_fds_pushes_total", dialect="delta") == 1
        assert w.dial.attempts == [0]


async def test_three_missed_heartbeats_end_the_stream() -> None:
    async with world(ready(offer("a"))) as w:
        await w.sink.until_offered("a")
        w.call.other = MemoryCall({})  # from now on nothing arrives
        await w.sink.until(lambda: bool(w.sink.errors), timeout=1000)
        assert 90 <= asyncio.get_running_loop().time() <= 91
        assert str(w.sink.errors[0]) == "nothing was heard from east for 90 seconds"
        assert isinstance(w.sink.errors[0], Unreachable)
        assert set(w.sink.offers) == {host("a")}


async def test_attempts_back_off_at_random_up_to_a_minute_and_start_over_after_a_steady_stream() -> None:
    async with world(ready(offer("a"))) as w:
        w.dial.down = True
        await asyncio.sleep(3600)
        gaps = [b - a for a, b in itertools.pairwise(w.dial.attempts)]
        ceilings = [min(60.0, 2.0**number) for number in range(len(gaps))]
        assert all(0 <= gap <= ceiling for gap, ceiling in zip(gaps, ceilings, strict=True))
        assert max(gaps) > 50
        assert len(gaps) > 80
        w.dial.down = False
        await w.sink.until_offered("a")
        await asyncio.sleep(31)
        w.break_stream()
        await asyncio.sleep(1.001)
        assert w.sink.synced


async def test_a_sign_of_the_remote_is_not_left_to_the_delay() -> None:
    async with world(ready(offer("a"))) as w:
        w.dial.down = True
        await asyncio.sleep(3600)
        failed = len(w.dial.attempts)
        await asyncio.sleep(2)
        assert len(w.dial.attempts) == failed, "the delay is a long one"
        w.dial.down = False
        w.client.try_now()
        await asyncio.sleep(1.001)
        assert w.sink.synced


async def test_signs_without_end_cost_no_more_than_an_attempt_a_second() -> None:
    async with world(ready(offer("a"))) as w:
        w.dial.down = True
        await asyncio.sleep(3600)
        before = len(w.dial.attempts)
        for _ in range(6000):
            w.client.try_now()
            await asyncio.sleep(0.01)
        assert 30 < len(w.dial.attempts) - before <= 62


async def test_that_a_stream_ends_which_held_is_no_warning_until_it_cannot_be_made_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="meshfed.fds.client")

    def logged() -> list[str]:
        found = [record.levelname for record in caplog.records if "discovery" in record.message]
        caplog.clear()
        return found

    async with world(ready(offer("a"))) as w:
        await w.sink.until_offered("a")
        w.break_stream()
        await asyncio.sleep(5)
        assert logged() == ["WARNING"], "it had only begun"
    async with world(ready(offer("a"))) as w:
        await w.sink.until_offered("a")
        await asyncio.sleep(31)
        w.break_stream()
        await asyncio.sleep(5)
        assert (logged(), w.sink.synced) == (["INFO"], True)
        await asyncio.sleep(31)
        w.dial.down = True
        w.break_stream()
        await asyncio.sleep(30)
        assert logged()[:2] == ["INFO", "WARNING"]


async def test_a_sink_that_takes_its_time_holds_up_no_heartbeat_and_gets_the_latest_state() -> None:
    class Slow(Recorder):
        async def update(self, update: Update) -> None:
            await asyncio.sleep(200)
            await super().update(update)

    exports = ready(offer("a"))
    async with world(exports) as w:
        slow = Slow()
        client = DiscoveryClient("slow", Target("east", 1), slow, metrics=w.metrics, dial=Memory(w.server))
        task = asyncio.create_task(client.run())
        for number in range(300):
            await asyncio.sleep(1)
            exports.set(offer("b", labels={"n": str(number)}), None)
            if number % 10 == 0:
                exports.remove(host("a"))
                exports.set(offer("a"), None)
        await slow.until(lambda: len(slow.updates) == 3, timeout=1000)
        assert slow.offers == {host("a"): offer("a"), host("b"): offer("b", labels={"n": "299"})}
        assert slow.errors == []
        task.cancel()
        await asyncio.wait({task})


async def test_sets_that_differ_are_found_out_and_heal() -> None:
    exports = ready(offer("a"), offer("b"))
    async with world(exports) as w:
        await w.sink.until_offered("a", "b")
        client_side, w.call.other = w.call.other, MemoryCall({})
        exports.remove(host("a"))
        exports.set(offer("c"), None)
        await asyncio.sleep(1)  # and what was sent of it is lost
        w.call.other = client_side
        await w.sink.until(lambda: bool(w.sink.errors), timeout=100)
        assert str(w.sink.errors[0]).startswith("what the remote says it sent is not what was received")
        assert set(w.sink.offers) == {host("a"), host("b")}
        await w.sink.until_offered("b", "c")
        assert w.sink.updates[-1].complete
        assert w.count("meshfed_fds_divergences_total", remote="east") == 1


XFCC_WEST = {"x-forwarded-client-cert": f"URI={WEST}"}


async def test_a_subscriber_is_sent_what_its_audience_may_see_as_that_changes() -> None:
    exports = ready(offer("all"))
    exports.set(offer("west"), frozenset({"west"}))
    exports.set(offer("north"), frozenset({"north"}))
    async with world(exports, by_identity, XFCC_WEST) as w:
        await w.sink.until_offered("all", "west")
        exports.set(offer("north"), frozenset({"north", "west"}))
        await w.sink.until_offered("all", "west", "north")
        exports.set(offer("all"), frozenset({"north"}))
        await w.sink.until_offered("west", "north")
        exports.remove(host("all"))
        exports.set(offer("secret"), frozenset({"north"}))
        exports.remove(host("secret"))
        exports.set(offer("last"), None)
        await w.sink.until_offered("west", "north", "last")
        await asyncio.sleep(100)
        assert w.sink.errors == []
        named = b"".join(data for _, data in w.call.sent)
        assert b"secret" not in named


async def test_who_subscribes_is_known_as_long_as_they_do() -> None:
    exports = ready(offer("a"))
    async with world(exports, by_identity, XFCC_WEST) as w:
        assert list(w.server.subscriptions()) == []
        await w.sink.until_offered("a")
        ((subscriber, dialect),) = w.server.subscriptions()
        assert (sorted(subscriber.remotes), dialect, w.heard) == (["west"], Dialect.DELTA, 1)
        exports.set(offer("b"), None)
        await w.sink.until_offered("a", "b")
        assert w.heard == 1, "what is sent changes nothing"
        w.dial.down = True
        w.break_stream()
        await w.sink.until(lambda: bool(w.sink.errors))
        await asyncio.sleep(1)
        assert (list(w.server.subscriptions()), w.heard) == ([], 2)


async def test_what_changed_hands_while_a_subscriber_was_away_is_told_it() -> None:
    exports = ready(offer("a"), offer("b"))
    async with world(exports, by_identity, XFCC_WEST) as w:
        await w.sink.until_offered("a", "b")
        w.dial.down = True
        w.break_stream()
        await w.sink.until(lambda: bool(w.sink.errors))
        exports.set(offer("a"), frozenset({"north"}))
        w.dial.down = False
        await w.sink.until_offered("b")
        assert w.sink.updates[-1] == Update(removals=(host("a"),), synced=True)


@pytest.mark.parametrize(
    ("authorize", "marked", "kind", "words"),
    [
        (by_identity, True, Refused, "PERMISSION_DENIED: the connection proves no SPIFFE identity"),
        (everyone, False, NotReady, "UNAVAILABLE: the list of exported services is not complete yet"),
    ],
)
async def test_who_is_refused_is_told_why_and_keeps_what_it_has(
    authorize: Any, marked: bool, kind: type[Exception], words: str
) -> None:
    exports = ExportSet()
    exports.set(offer("a"), None)
    if marked:
        exports.mark_ready()
    async with world(exports, authorize) as w:
        await w.sink.until(lambda: len(w.sink.errors) == 3)
        assert {type(error) for error in w.sink.errors} == {kind}
        assert words in str(w.sink.errors[0])
        assert w.sink.updates == []
        assert w.sink.dialects == []


async def test_when_what_a_subscriber_is_changes_it_subscribes_anew_and_gets_the_difference() -> None:
    exports = ready(offer("all"))
    exports.set(offer("west"), frozenset({"west"}))
    subscriber = Subscriber(name="west", remotes=frozenset({"west"}))
    async with world(exports, lambda _: subscriber) as w:
        await w.sink.until_offered("all", "west")
        w.server.reevaluate()
        await asyncio.sleep(100)
        assert w.sink.errors == []
        subscriber = Subscriber(name="anyone", remotes=frozenset())
        w.server.reevaluate()
        await w.sink.until_offered("all")
        assert [type(error) for error in w.sink.errors] == [NotReady]
        assert w.sink.updates[-1] == Update(removals=(host("west"),), synced=True)


class Script:
    """A server's side of an incremental stream, written out by the test."""

    def __init__(self, call: MemoryCall) -> None:
        self.call = call
        self.digest = SetDigest()

    def send(self, *resources: tuple[bytes, bytes, bytes], last: bool = True, removed: tuple[bytes, ...] = ()) -> None:
        response = pb.DeltaDiscoveryResponse(type_url=DELTA_TYPE, nonce="n", removed_resources=removed)
        for name, version, value in resources:
            self.digest.add(SetDigest.term(name, version))
            wrapped = pb.Packed(value=value)
            response.resources.append(pb.Resource(name=name, version=version, resource=wrapped).SerializeToString())
        response.system_version_info = str(self.digest) if last else ""
        self.raw(response.SerializeToString())

    def raw(self, data: bytes) -> None:
        self.call.other.inbox.put_nowait(data)

    async def requests(self) -> list[pb.DeltaDiscoveryRequest]:
        """What the client has sent so far, once it is waiting again."""
        await asyncio.sleep(1)
        return [pb.DeltaDiscoveryRequest.FromString(data) for _, data in self.call.other.sent]


@asynccontextmanager
async def scripted(**options: Any) -> AsyncIterator[tuple[World, Script]]:
    """A client whose server does only what the test says."""
    async with world(ExportSet(), **options) as w:
        w.dial.server = None
        await asyncio.sleep(0.1)
        yield w, Script(w.call)


def encoded(name: str, **fields: Any) -> bytes:
    return encode(offer(name, **fields), Dialect.DELTA)


async def test_a_resource_that_is_bad_in_itself_is_acknowledged_and_reported_on_its_own() -> None:
    async with scripted() as (w, script):
        name = host("bad").encode()
        script.send(
            (host("a").encode(), b"1", encoded("a")),
            (name, b"2", encoded("bad", labels={"app": "xyz"}).replace(b"xyz", b"\xff\xff\xff")),
            (b"\xff\xfe", b"3", encoded("c")),
            (host("d").encode(), b"4", encoded("e")),
            (host("f").encode(), b"5", b"\x0a" * 300_000),
        )
        requests = await script.requests()
        assert [(one.response_nonce, one.HasField("error_detail")) for one in requests[1:]] == [("n", False)]
        script.send()
        await asyncio.sleep(100)
    assert w.sink.log[:2] == [
        Dialect.DELTA,
        Update(
            upserts=(offer("a"),),
            complete=True,
            synced=True,
            rejected=(
                Rejected(host("bad"), "it is not a FederatedService message with text in valid UTF-8"),
                Rejected("", "the name b'\\xff\\xfe' is not valid UTF-8"),
                Rejected(host("d"), f"it is a service of another name, '{host('e')}'"),
                Rejected(host("f"), "it has 300000 bytes; at most 262144 are taken"),
            ),
        ),
    ]
    assert [str(error)[:17] for error in w.sink.errors] == ["nothing was heard"], "the digest covers what was refused"


@pytest.mark.parametrize("data", [b"\xff\xff", pb.DeltaDiscoveryResponse(type_url=DELTA_TYPE, resources=[b"\xff"])])
async def test_what_cannot_be_parsed_at_all_is_refused_and_ends_the_stream(data: Any) -> None:
    async with scripted() as (w, script):
        script.raw(data if isinstance(data, bytes) else data.SerializeToString())
        requests = await script.requests()
        assert [one.HasField("error_detail") for one in requests] == [False, True]
        assert [type(error) for error in w.sink.errors] == [ProtocolError]
        assert w.sink.updates == []


async def test_what_is_beyond_the_limit_is_left_out_and_read_again_once_there_is_room() -> None:
    async with scripted(limits=Limits(services=2)) as (w, script):
        script.send(*((host(name).encode(), b"1", encoded(name)) for name in ("a", "b", "c", "d")))
        await w.sink.until(lambda: bool(w.sink.updates))
        assert [one.host for one in w.sink.updates[0].upserts] == [host("a"), host("b")]
        assert not w.sink.updates[0].complete
        assert [item.why[:26] for item in w.sink.updates[0].rejected] == ["2 services were left out: "]
        assert w.client.statistics()["known"] == 2
        script.send(removed=(host("a").encode(),))
        await asyncio.sleep(0.01)
        assert w.sink.errors == []
        script.send(removed=(host("b").encode(),))
        await w.sink.until(lambda: bool(w.sink.errors))
        assert "fits by now" in str(w.sink.errors[0])
        await asyncio.sleep(1.1)
        assert len(w.call.other.sent) == 1
        assert pb.DeltaDiscoveryRequest.FromString(w.call.other.sent[0][1]).initial_resource_versions == {}


async def test_a_list_that_was_cut_off_is_asked_for_whole_again() -> None:
    async with scripted() as (w, script):
        script.send((host("a").encode(), b"1", encoded("a")), last=False)
        await asyncio.sleep(0.1)
        w.break_stream()
        await asyncio.sleep(2.1)
        again = Script(w.call)
        assert [one.initial_resource_versions for one in await again.requests()] == [{}]
        again.send((host("a").encode(), b"1", encoded("a")))
        await w.sink.until_offered("a")
        assert len(w.sink.updates) == 1


async def test_a_server_that_never_says_that_it_is_done_is_never_in_sync() -> None:
    async with scripted() as (w, script):
        for number in range(100):
            script.send((host("a").encode(), str(number).encode(), encoded("a")), last=False)
            await asyncio.sleep(10)
        assert w.sink.updates == []
        assert w.count("meshfed_fds_connected", remote="east") == 0


async def test_a_stream_that_missed_a_forgotten_withdrawal_starts_anew() -> None:
    exports = ExportSet(withdrawals=1)
    for name in ("a", "b", "c"):
        exports.set(offer(name), None)
    exports.mark_ready()
    async with world(exports) as w:
        await w.sink.until_offered("a", "b", "c")
        exports.remove(host("a"))
        exports.remove(host("b"))
        await w.sink.until_offered("c")
        assert [type(error) for error in w.sink.errors] == [NotReady]
        assert "too far behind" in str(w.sink.errors[0])
        assert w.count("meshfed_fds_divergences_total", remote="east") == 0


async def test_a_change_is_measured_until_the_subscriber_has_acknowledged_it() -> None:
    exports = ready(offer("a"))

    def measured(w: World) -> tuple[float, float]:
        name, labels = "meshfed_export_propagation_seconds", {"subscriber": "anyone"}
        return w.count(f"{name}_count", **labels), w.count(f"{name}_sum", **labels)

    exports.set(offer("b"), None, since=0.0)
    async with world(exports) as w:
        await w.sink.until_offered("a", "b")
        await asyncio.sleep(100)
        assert measured(w) == (0, 0), "what it found when it came did not change for it"
        now = asyncio.get_running_loop().time()
        exports.set(offer("c"), None, since=now - 2)
        exports.remove(host("a"), since=now - 1)
        exports.set(offer("d"), None)
        await w.sink.until_offered("b", "c", "d")
        await asyncio.sleep(1)
        count, total = measured(w)
        assert count == 1
        assert total == pytest.approx(2.05, abs=0.01), (
            "the oldest of one response, and the 50 ms that a withdrawal waits"
        )
        exports.set(offer("e"), None)
        await asyncio.sleep(1)
        assert measured(w) == (count, total)


@pytest.mark.parametrize("dialect", Dialect)
async def test_only_what_is_acknowledged_is_measured_and_what_never_is_not_remembered_for_ever(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = set[Any]()
    told = _Stream._told

    def noted(stream: Any, *args: Any) -> None:
        streams.add(stream)
        told(stream, *args)

    monkeypatch.setattr(_Stream, "_told", noted)
    exports = ready(offer("a"))
    w = World(exports, everyone, {})
    delta = dialect is Dialect.DELTA
    asks, answers = (
        (pb.DeltaDiscoveryRequest, pb.DeltaDiscoveryResponse) if delta else (pb.DiscoveryRequest, pb.DiscoveryResponse)
    )
    dialled = w.dial(Target(host="east", port=1), bounds=Bounds(), timeout=1)
    async with dialled as channel, channel.call(DELTA_METHOD if delta else SOTW_METHOD) as call:

        async def say(**fields: Any) -> None:
            await call.send(asks(type_url=DELTA_TYPE if delta else SOTW_TYPE, **fields).SerializeToString())

        async def heard(*, ack: bool = False, **fields: Any) -> float:
            """Answer what comes next, and return how many changes were measured by then."""
            data = await call.receive()
            assert data is not None
            ack_fields: dict[str, Any] = {"version_info": "1"} if ack and not delta else {}
            await say(response_nonce=answers.FromString(data).nonce, **ack_fields, **fields)
            await asyncio.sleep(1)
            return w.count("meshfed_export_propagation_seconds_count", subscriber="anyone")

        def change(label: str) -> None:
            exports.set(offer("a", labels={"a": label}), None, since=asyncio.get_running_loop().time())

        await say()
        assert await heard(ack=True) == 0
        change("1")
        assert await heard(ack=True) == 1
        change("2")
        assert await heard(error_detail=pb.Status(message="no")) == 1
        for label in range(100):
            change(f"not answered {label}")
            await asyncio.sleep(1)
            assert await call.receive()
        (stream,) = streams
        assert len(stream._unanswered) == 64
        change("3")
        assert await heard(ack=True) == 2
