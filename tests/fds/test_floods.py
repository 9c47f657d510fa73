"""Floods of whatever HTTP/2 has: they cost whoever sends them, and nobody who shares the connection or the address."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import h2.events
import hpack
import pytest
from h2.exceptions import FrameTooLargeError
from hypothesis import given
from hypothesis import strategies as st

from meshfed.fds import DiscoveryServer, _h2
from meshfed.fds._budget import (
    BURST,
    EARNED_BY_SENDING,
    PREFACE,
    RATE,
    TURN,
    Addresses,
    Allowance,
    Frames,
    Meter,
    cost,
    earned_by_reading,
)
from meshfed.fds.messages import SOTW_METHOD
from meshfed.telemetry.metrics import Metrics
from tests.builders import offer
from tests.waiting import eventually

from .support import WEST, by_identity, everyone, ready, server_of
from .test_hostile import ASK, Raw, framed, raw


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


BLOCK = hpack.Encoder().encode(
    [(":method", "POST"), (":scheme", "http"), (":path", "/x/Y"), (":authority", "x"), ("content-type", "x")]
)
CALL = frame(1, BLOCK, flags=4, stream=1)  # of a stranger: it is refused


def calls(*after: Callable[[int], bytes], flags: int = 4) -> Callable[[int], bytes]:
    """Calls without end, each with what comes after its headers."""
    return lambda number: (
        frame(1, BLOCK, flags=flags, stream=2 * number + 3) + b"".join(make(2 * number + 3) for make in after)
    )


FLOODS: dict[str, Callable[[int], bytes]] = {
    "WINDOW_UPDATE": lambda _: frame(8, struct.pack(">I", 1)),
    "WINDOW_UPDATE of a stream": lambda _: frame(8, struct.pack(">I", 1), stream=1),
    "SETTINGS": lambda number: frame(4, struct.pack(">HI", 4, 65535 + number % 100)),
    "SETTINGS, empty": lambda _: frame(4),
    "SETTINGS, acknowledged": lambda _: frame(4, flags=1),
    "PING": lambda _: frame(6, bytes(8)),
    "PING, acknowledged": lambda _: frame(6, bytes(8), flags=1),
    "DATA of a byte": lambda _: frame(0, b"x", stream=1),
    "DATA of nothing": lambda _: frame(0, stream=1),
    "DATA of padding": lambda _: frame(0, bytes([200]) + bytes(200), flags=8, stream=1),
    "PRIORITY": lambda number: frame(2, b"\0\0\0\0\x10", stream=2 * number + 3),
    "RST_STREAM": lambda _: frame(3, bytes(4), stream=1),
    "an unknown type": lambda _: frame(0xBE, b"abcd"),
    "a large frame of an unknown type": lambda _: frame(0xBE, bytes(16384)),
    "ALTSVC": lambda _: frame(0x0A, b"\0\0xxx", stream=1),
    "calls": calls(),
    "calls, reset": calls(lambda stream: frame(3, bytes(4), stream=stream)),
    "CONTINUATION": calls(
        *[lambda stream: frame(9, stream=stream)] * 20, lambda stream: frame(9, flags=4, stream=stream), flags=0
    ),
}


@asynccontextmanager
async def flooding(peer: Raw, flood: Callable[[int], bytes]) -> AsyncIterator[asyncio.Task[None]]:
    """Send without end, and take the answers, until the connection is gone; the task ends with that."""

    async def send() -> None:
        number = 0
        while not peer.writer.is_closing():
            peer.writer.write(b"".join(flood(number + further) for further in range(100)))
            number += 100
            await peer.writer.drain()
            await asyncio.sleep(0)

    async def run() -> None:
        sending = asyncio.create_task(send())
        await asyncio.wait({sending, asyncio.create_task(peer.gone())}, return_when=asyncio.FIRST_COMPLETED)
        sending.cancel()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await sending

    task = asyncio.create_task(run())
    try:
        yield task
    finally:
        peer.writer.transport.abort()
        await asyncio.wait({task})


@pytest.fixture
def worked_on(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What each frame cost that was worked on, on any connection that is served."""
    costs: list[float] = []
    feed = _h2.Connection.feed

    def noted(connection: _h2.Connection, data: bytes) -> object:
        if not connection._connection.config.client_side:
            costs.append(cost(data))
        return feed(connection, data)

    monkeypatch.setattr(_h2.Connection, "feed", noted)
    return costs


async def admitted(peer: Raw) -> int:
    """Subscribe as a remote that is known; returns the stream."""
    stream = peer.call(SOTW_METHOD, ("x-forwarded-client-cert", f"URI={WEST}"))
    peer.send(stream, framed(ASK))
    assert isinstance(await peer.until(h2.events.DataReceived), h2.events.DataReceived)
    return stream


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_stranger_that_floods_is_cut_off(kind: str, worked_on: list[float]) -> None:
    metrics = Metrics()
    server = server_of(ready(offer("a")), by_identity, metrics=metrics)
    async with server.listen("127.0.0.1", 0) as port:
        async with raw(port) as peer:
            peer.writer.write(CALL)
            begin = time.monotonic()
            async with flooding(peer, FLOODS[kind]) as flood, asyncio.timeout(60):
                await flood
            await eventually(lambda: server.statistics()["connections"] == 0 and server.statistics()["calls"] == 0)
            assert sum(worked_on) <= BURST + RATE * (time.monotonic() - begin) + 2 * TURN + max(worked_on)
        async with raw(port) as healthy:
            await admitted(healthy)
    assert metrics.registry.get_sample_value("meshfed_fds_refused_total", {"reason": "frames"}) == 1


async def test_a_new_connection_brings_no_new_allowance_and_the_address_is_not_locked_out(
    worked_on: list[float],
) -> None:
    server = server_of(ready(offer("a")), by_identity)
    async with server.listen("127.0.0.1", 0) as port, contextlib.AsyncExitStack() as stack:
        begin = time.monotonic()
        for _ in range(5):
            peer = await stack.enter_async_context(raw(port))
            await stack.enter_async_context(flooding(peer, FLOODS["PING, acknowledged"]))
        await eventually(lambda: sum(worked_on) > BURST)
        # Five connections have five allowances, and their address has one: whoever floods waits now.
        async with raw(port) as healthy:
            await admitted(healthy)
            spent = sum(worked_on)
            assert spent <= BURST + RATE * (time.monotonic() - begin) + 6 * TURN


@pytest.mark.parametrize("kind", ["PING", "WINDOW_UPDATE", "calls"])
async def test_who_shares_a_connection_with_a_flood_is_told_what_changes(kind: str, worked_on: list[float]) -> None:
    """Behind a sidecar, remotes share connections: those are slowed down, and what is sent on them is not."""
    exports = ready(offer("a"))
    server = server_of(exports, by_identity)
    async with server.listen("127.0.0.1", 0) as port, raw(port) as peer:
        stream = await admitted(peer)
        if kind == "calls":
            for _ in range(500):
                peer.h2.reset_stream(peer.call("/x/Y"))
            peer.flush()
        else:
            peer.writer.write(FLOODS[kind](0) * int(3 * BURST))
        await eventually(lambda: sum(worked_on) > BURST)  # and what is left of the flood waits
        for name in ("b", "c"):
            exports.set(offer(name), None)
            event = await peer.until(h2.events.DataReceived)
            assert isinstance(event, h2.events.DataReceived)
            assert event.stream_id == stream
        assert server.statistics()["connections"] == 1


async def test_a_full_listener_makes_room_among_those_whom_nobody_knows() -> None:
    metrics = Metrics()
    server = DiscoveryServer(ready(offer("a")), by_identity, metrics, connections=3)
    async with server.listen("127.0.0.1", 0) as port, raw(port) as known, raw(port) as first, raw(port) as second:
        await admitted(known)
        await eventually(lambda: server.statistics()["connections"] == 3)
        async with raw(port) as third:
            await admitted(third)
            assert await first.gone()
            async with raw(port) as fourth:
                await admitted(fourth)
                assert await second.gone()
                async with raw(port) as fifth:
                    assert await fifth.gone()
                assert server.statistics()["connections"] == 3
    assert metrics.registry.get_sample_value("meshfed_fds_refused_total", {"reason": "connections"}) == 3


# The account, with a clock of the test's.


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_allowance_is_spent_and_comes_back() -> None:
    clock = Clock()
    allowance = Allowance(clock)
    allowance.spend(BURST)
    assert allowance.wait() == 0
    allowance.spend(RATE)
    assert allowance.wait() == 1
    clock.now += 0.5
    assert allowance.wait() == 0.5
    clock.now += 1000
    assert allowance.whole()
    allowance.spend(-RATE)
    allowance.spend(BURST)
    assert (allowance.wait(), allowance.whole()) == (0, False)


def test_turns_at_an_address_are_taken_in_order_and_one_is_enough_to_be_admitted() -> None:
    clock = Clock()
    shared = Allowance(clock)
    shared.spend(BURST)
    waits = [Meter(clock, shared).wait() for _ in range(64)]
    assert waits == [number * TURN / RATE for number in range(64)]
    opening = (CALL, frame(4), frame(4, flags=1), frame(8, bytes(4)), frame(0, framed(ASK), stream=1))
    assert sum(map(cost, opening)) < TURN


def test_who_was_admitted_owes_its_address_nothing_and_is_never_cut_off() -> None:
    clock = Clock()
    shared = Allowance(clock)
    meter = Meter(clock, shared)
    assert meter.wait() == 0
    assert not shared.whole()
    meter.spend(2 * BURST)
    assert meter.cut_off()
    meter.admit()
    assert shared.whole()
    assert not meter.cut_off()
    assert meter.wait() == BURST / RATE


def test_what_large_messages_take_is_earned() -> None:
    meter = Meter(Clock())
    for _ in range(10_000):
        meter.spend(-EARNED_BY_SENDING)  # a DATA frame of ours
        for answer in (frame(8, bytes(4)), frame(8, bytes(4), stream=1), frame(0, bytes(30), stream=1)):
            meter.spend(cost(answer))
        meter.spend(cost(frame(0, bytes(1400))))  # one of theirs, as small as a network makes it
        meter.spend(-earned_by_reading(1400))
    assert meter.wait() == 0


def test_addresses_are_remembered_within_a_bound() -> None:
    clock = Clock()
    addresses = Addresses(clock)
    for number in range(5000):
        addresses.of(f"10.0.{number // 250}.{number % 250}").spend(1)
    assert len(addresses) == 1024
    assert addresses.of("10.9.9.9") is addresses.of("10.9.9.8")
    assert addresses.of("10.0.0.1") is not addresses.of("10.0.0.2")
    clock.now += 1000  # those that have everything again are nothing to remember
    assert addresses.of("10.9.9.9") is not addresses.of("10.9.9.8")
    assert len(addresses) == 1024


def test_an_address_is_an_ipv4_address_or_an_ipv6_network() -> None:
    addresses = Addresses(Clock())
    assert addresses.of("::ffff:10.0.0.1") is addresses.of("10.0.0.1")
    assert addresses.of("2001:db8::1") is addresses.of("2001:db8::ffff:1")
    assert addresses.of("2001:db8::1") is not addresses.of("2001:db8:0:1::1")
    assert addresses.of("fe80::1%eth0") is addresses.of("fe80::2%eth1")
    assert addresses.of("") is addresses.of("nonsense")


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(min_value=1, max_value=60)))
def test_frames_are_the_same_however_they_arrive(payloads: list[bytes], cuts: list[int]) -> None:
    sent = [frame(number % 11, payload) for number, payload in enumerate(payloads)]
    data = b"p" * PREFACE + b"".join(sent)
    frames = Frames(preface=True)
    taken: list[bytes] = []
    for cut in [*cuts, len(data)]:
        part, data = data[:cut], data[cut:]
        frames.add(part)
        while size := frames.size(16384):
            taken.append(frames.take(size))
    preface = len(taken) - len(sent)
    assert b"".join(taken[:preface]) == b"p" * PREFACE
    assert taken[preface:] == sent


def test_an_overlong_frame_is_refused_by_its_length() -> None:
    frames = Frames(preface=False)
    frames.add(struct.pack(">I", 16385)[1:] + bytes(6))
    with pytest.raises(FrameTooLargeError):
        frames.size(16384)


async def test_whom_everyone_may_be_is_slowed_down_and_not_cut_off(worked_on: list[float]) -> None:
    server = server_of(ready(offer("a")), everyone)
    async with server.listen("127.0.0.1", 0) as port, raw(port) as peer:
        await admitted(peer)
        begin = time.monotonic()
        async with flooding(peer, FLOODS["PING"]):
            await eventually(lambda: sum(worked_on) > BURST + RATE / 2)
            assert sum(worked_on) <= BURST + RATE * (time.monotonic() - begin) + 10 * TURN
            assert server.statistics()["connections"] == 1
