"""What the discovery tests share: a sink that remembers, and calls without sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from meshfed.fds import (
    Bounds,
    Dialect,
    DiscoveryError,
    DiscoveryServer,
    ExportSet,
    Limits,
    Patience,
    StreamTiming,
    Subscriber,
    Target,
    Update,
)
from meshfed.fds.client import DiscoveryClient
from meshfed.fds.messages import DELTA_METHOD, SOTW_METHOD
from meshfed.fds.transport import Status, StatusError, StreamClosed
from meshfed.model.identity import SpiffeID
from meshfed.model.offers import Offer
from meshfed.telemetry.metrics import Metrics
from tests.builders import host

WEST = SpiffeID.parse("spiffe://west.local/ns/istio-system/sa/federation-controller")
NORTH = SpiffeID.parse("spiffe://north.local/ns/istio-system/sa/federation-controller")
assert WEST is not None
assert NORTH is not None


def ready(*offers: Offer) -> ExportSet:
    """An export set that is complete, with ``offers`` for everyone."""
    exports = ExportSet()
    for one in offers:
        exports.set(one, None)
    exports.mark_ready()
    return exports


def everyone(_: SpiffeID | None) -> Subscriber:
    return Subscriber(name="anyone", remotes=frozenset())


def by_identity(caller: SpiffeID | None) -> Subscriber | None:
    """West and north are known, by their identities; nobody else is."""
    names = {WEST: "west", NORTH: "north"}
    name = names.get(caller) if caller is not None else None
    return Subscriber(name=name, remotes=frozenset({name})) if name else None


class Recorder:
    """A sink that remembers what it was told, and what the remote offers by it."""

    def __init__(self) -> None:
        self.log: list[Dialect | Update | DiscoveryError] = []
        self.offers: dict[str, Offer] = {}
        self.synced = False
        self._changed = asyncio.Condition()

    async def connected(self, dialect: Dialect) -> None:
        await self._note(dialect)

    async def disconnected(self, error: DiscoveryError) -> None:
        self.synced = False
        await self._note(error)

    async def update(self, update: Update) -> None:
        kept = {item.host for item in update.rejected}
        if update.complete:
            self.offers = {name: one for name, one in self.offers.items() if name in kept}
        for name in update.removals:
            self.offers.pop(name, None)
        self.offers |= {one.host: one for one in update.upserts}
        self.synced = update.synced
        await self._note(update)

    async def _note(self, item: Dialect | Update | DiscoveryError) -> None:
        async with self._changed:
            # When it came is the clock's business, and under which version the server's.
            plain = {"received": 0.0, "versions": {}}
            self.log.append(msgspec.structs.replace(item, **plain) if isinstance(item, Update) else item)
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool], *, timeout: float = 30) -> None:
        """Wait for ``condition``, looked at after every report."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(condition)

    async def until_offered(self, *names: str) -> None:
        await self.until(lambda: self.synced and set(self.offers) == {host(name) for name in names})

    @property
    def updates(self) -> list[Update]:
        return [item for item in self.log if isinstance(item, Update)]

    @property
    def errors(self) -> list[DiscoveryError]:
        return [item for item in self.log if isinstance(item, DiscoveryError)]

    @property
    def dialects(self) -> list[Dialect]:
        return [item for item in self.log if isinstance(item, Dialect)]


@asynccontextmanager
async def following(port: int, sink: Any, *, authority: str = "", **options: Any) -> AsyncIterator[DiscoveryClient]:
    """Follow the service on ``port`` of this machine while the context is open."""
    options.setdefault("metrics", Metrics())
    options.setdefault("patience", Patience(first=0.05, most=0.2))
    target = options.pop("target", None) or Target(host="127.0.0.1", port=port, authority=authority)
    client = DiscoveryClient("east", target, sink, **options)
    task = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


class MemoryCall:
    """One side of a call whose messages never touch a socket, for tests in virtual time."""

    tls = None
    peer_address = "127.0.0.6"

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers
        self.inbox: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.other: MemoryCall = self
        self.sent: list[tuple[float, bytes]] = []
        self.ended = asyncio.Event()
        self.flowing = asyncio.Event()
        self.flowing.set()

    def admit(self) -> None:
        pass

    async def receive(self) -> bytes | None:
        item = await self.inbox.get()
        if isinstance(item, Exception):
            self.inbox.put_nowait(item)
            raise item
        return item

    async def send(self, message: bytes) -> None:
        if self.ended.is_set():
            raise StreamClosed("it ended")
        await self.flowing.wait()
        self.sent.append((asyncio.get_running_loop().time(), message))
        self.other.inbox.put_nowait(message)

    async def closed(self) -> None:
        await self.ended.wait()
        raise StreamClosed("it ended")


class MemoryChannel:
    """Calls to ``server`` without sockets; with none, it is the test that answers them."""

    def __init__(self, server: DiscoveryServer | None, headers: dict[str, str]) -> None:
        self._server = server
        self._headers = headers
        self.calls: list[MemoryCall] = []

    @asynccontextmanager
    async def call(self, path: str) -> AsyncIterator[MemoryCall]:
        ours, theirs = MemoryCall({}), MemoryCall(self._headers)
        ours.other, theirs.other = theirs, ours
        self.calls.append(theirs)
        task = asyncio.create_task(self._serve(path, theirs))
        try:
            yield ours
        finally:
            for side in (ours, theirs):
                side.ended.set()
                side.inbox.put_nowait(StreamClosed("it ended"))
            await asyncio.wait({task})
            task.result()

    async def _serve(self, path: str, call: MemoryCall) -> None:
        if self._server is None:
            return
        handler: Any = {DELTA_METHOD: self._server._delta, SOTW_METHOD: self._server._sotw}[path]
        try:
            await handler(call)
        except (StatusError, StreamClosed) as error:
            call.other.inbox.put_nowait(error)


class Memory:
    """Dials a server without sockets; ``attempts`` remembers when, ``down`` makes it fail."""

    def __init__(self, server: DiscoveryServer | None, headers: dict[str, str] | None = None) -> None:
        self.server = server
        self.headers = headers or {}
        self.attempts: list[float] = []
        self.channels: list[MemoryChannel] = []
        self.down = False

    @asynccontextmanager
    async def __call__(self, target: Target, *, bounds: Bounds, timeout: float) -> AsyncIterator[Any]:
        del target, bounds, timeout
        self.attempts.append(asyncio.get_running_loop().time())
        if self.down:
            raise ConnectionRefusedError(111, "refused")
        channel = MemoryChannel(self.server, self.headers)
        self.channels.append(channel)
        yield channel


def server_of(exports: ExportSet, authorize: Any = everyone, **options: Any) -> DiscoveryServer:
    """A server that gathers changes for a moment only."""
    options.setdefault("timing", StreamTiming(gather=(0.001, 0.001), answer=0.01))
    options.setdefault("rng", random.Random(7))
    return DiscoveryServer(exports, authorize, options.pop("metrics", Metrics()), **options)


def hosts(offers: Iterable[Offer]) -> list[str]:
    return sorted(one.host for one in offers)


__all__ = [
    "NORTH",
    "WEST",
    "Limits",
    "Memory",
    "MemoryCall",
    "MemoryChannel",
    "Recorder",
    "Status",
    "by_identity",
    "everyone",
    "following",
    "hosts",
    "ready",
    "server_of",
]
