"""Many subscribers of one discovery service: the processor time of the server, beside a bare stream of as many bytes.

Each part is measured in a process that does nothing else; readers are processes apart, and parse nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import multiprocessing.connection
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from meshfed.cli.exits import NotHeld
from meshfed.fds import DiscoveryServer, ExportSet, StreamTiming
from meshfed.fds._streams import CHUNK
from meshfed.fds.exports import Subscriber
from meshfed.telemetry.metrics import Metrics
from meshfed.views.measurements import Measurement, measurement
from tests.builders import offer

LABELS = {f"label{number}": "x" * 12 for number in range(6)}


class Scale(msgspec.Struct, frozen=True):
    """How many Services, subscribers, and single changes."""

    services: int
    subscribers: int
    changes: int = 20


class Used(msgspec.Struct, frozen=True):
    """Of all that is sent at first, and of single changes: the bytes, and the server's seconds of the processor."""

    first_bytes: int
    first: float
    change_bytes: int
    change: float


@asynccontextmanager
async def _readers(port: int, count: int, kind: str) -> AsyncIterator[Callable[[], Coroutine[Any, Any, int]]]:
    """Readers in a process of their own; gives what says how many bytes they have."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.readers",
        str(port),
        str(count),
        kind,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    async def read() -> int:
        stdin.write(b"\n")
        line = await stdout.readline()
        if not line:
            raise NotHeld("a subscriber was cut off, which took nothing for too long: give fewer --subscribers")
        return int(line)

    try:
        if await stdout.readline() != b"reading\n":
            raise NotHeld("the subscribers did not come: give fewer --subscribers")
        yield read
    finally:
        stdin.close()
        await process.wait()


async def _steady(read: Callable[[], Coroutine[Any, Any, int]], least: int = 1) -> int:
    """Wait until at least ``least`` bytes, and then no more, have come; returns how many."""
    before = -1
    while (now := await read()) != before or now < least:
        before = now
        await asyncio.sleep(0.3)
    return now


async def _discovery(scale: Scale) -> Used:
    exports = ExportSet()
    for number in range(scale.services):
        exports.set(offer(f"s{number}", labels=LABELS), None)
    exports.mark_ready()
    # Each is a remote of its own, as in a federation.
    numbers = iter(range(1 << 30))
    server = DiscoveryServer(
        exports,
        lambda _: Subscriber(name, frozenset({name})) if (name := f"r{next(numbers)}") else None,
        Metrics(),
        timing=StreamTiming(heartbeat=(3600.0, 3600.0)),
        connections=2 * scale.subscribers,
        streams=2 * scale.subscribers,
    )

    async def change(number: int) -> None:
        exports.set(offer("s1", labels=LABELS | {"n": str(number)}), None)

    async with server.listen("127.0.0.1", 0) as port:
        least = scale.subscribers * sum(len(entry.resource) for entry in exports.after(0))
        return await _measured(port, scale, "delta", least, change)


async def _bare(scale: Scale, sizes: tuple[int, int]) -> Used:
    """A server that writes as many bytes to each, in pieces of the same size."""
    first, change = sizes
    chunk, line = bytes(CHUNK), bytes(change)
    writers: list[asyncio.StreamWriter] = []

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        left = first
        while left > 0:
            writer.write(chunk[:left])
            left -= len(chunk)
            await writer.drain()

    async def tell(_number: int) -> None:
        for writer in writers:
            writer.write(line)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        used = await _measured(server.sockets[0].getsockname()[1], scale, "bare", scale.subscribers * first, tell)
        for writer in writers:
            writer.close()
    return used


async def _measured(
    port: int, scale: Scale, kind: str, least: int, change: Callable[[int], Coroutine[Any, Any, None]]
) -> Used:
    began = time.process_time()
    async with _readers(port, scale.subscribers, kind) as read:
        first_bytes = await _steady(read, least)
        first = time.process_time() - began
        began, told = time.process_time(), first_bytes
        for number in range(scale.changes):
            await change(number)
            told = await _steady(read, told + scale.subscribers)
        return Used(first_bytes, first, told - first_bytes, time.process_time() - began)


def _apart(work: Callable[..., Coroutine[Any, Any, Used]], *arguments: Any) -> Used:
    """Do it in a process of its own."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_send, args=(theirs, work, arguments))
    process.start()
    theirs.close()
    try:
        used: Used | str = ours.recv()
        if isinstance(used, str):
            raise NotHeld(used)
        return used
    finally:
        process.join()


def _send(pipe: Any, work: Callable[..., Coroutine[Any, Any, Used]], arguments: tuple[Any, ...]) -> None:
    with contextlib.closing(pipe):
        try:
            pipe.send(asyncio.run(work(*arguments)))
        except* NotHeld as errors:
            pipe.send(str(errors.exceptions[0]))


def fan_out(scale: Scale, rounds: int) -> list[Measurement]:
    """Measure the server's processor time in seconds, for all that subscribers are told at first, and for a change."""
    first: list[tuple[float, float]] = []
    change: list[tuple[float, float]] = []
    for _ in range(rounds):
        ours = _apart(_discovery, scale)
        each = ours.first_bytes // scale.subscribers, ours.change_bytes // scale.subscribers // scale.changes
        floor = _apart(_bare, scale, each)
        first.append((ours.first, floor.first))
        change.append((1000 * ours.change / scale.changes, 1000 * floor.change / scale.changes))
    told = f"to {scale.subscribers} subscribers"
    return [
        measurement(f"processor, all {told}", scale.services, "s", *zip(*first, strict=True)),
        measurement(f"processor, one change {told}", scale.services, "ms", *zip(*change, strict=True)),
    ]
