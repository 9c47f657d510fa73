"""Keeps a store equal to what the API server holds: lists, then watches, for as long as it runs.

What it promises, whatever the server and the network do:

- A failure changes nothing in the store. Only an object's event, or a list that came in whole, does; a list that
  came in whole and is empty is the truth.
- No deletion is lost: after a gap that the server cannot replay (410), a new list is compared with the store.
- It never spins: between any two tries lies a growing, jittered delay, which starts over only after a watch held, and
  none only after one that held for as long as it was asked to.
- It never waits for long on a silent server. A connection that lives but carries nothing (behind a proxy or a load
  balancer that lost its other half) looks like a kind that does not change, and bookmarks come once a minute, or never
  where nothing changes. What every server does is end a watch when it was asked to. So that is asked for often, and a
  watch that is not over a little later is silent. The next goes on from the last resourceVersion, without a list; and
  a server that has bookmarks sends one just before the end, so that this is never too old to go on from.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from enum import StrEnum
from sys import intern
from typing import Final, Generic, TypeVar, Unpack

import msgspec
from prometheus_client import Counter

from meshfed.kube.backoff import Backoff
from meshfed.kube.client import PAGE_SIZE, Client, Selection, WatchEvent
from meshfed.kube.errors import APIError, Forbidden, Gone, KubeError, MalformedAnswer, NotFound, Silent
from meshfed.kube.resources import Resource, version_number
from meshfed.kube.store import Key, Store

_log = logging.getLogger(__name__)
T = TypeVar("T")

_PAUSE_EVERY: Final = 4
"""The events that are taken between two looks at everything else the process has to do."""
_WATCH_SECONDS: Final = 30
"""A watch is asked to end after this to half as much again, so that watches of one moment do not end in one."""
_EARLY: Final = 1.0
"""A watch that ends sooner than so many seconds before its time was broken off."""
_DOUBT_SECONDS: Final = 300.0
"""For how long watches that end in their time need no list to say whether the server's state is still not older."""
_BACKOFF: Final = (0.2, 30.0)
_HEALTHY: Final = 5.0
"""Seconds a watch must hold before the next delay is the shortest again."""
_ABSENT_PERIOD: Final = 30.0
_FAILURES_TO_RELIST: Final = 3


class ReflectorState(StrEnum):
    """What a reflector is about."""

    STARTING = "starting"
    LISTING = "listing"
    WATCHING = "watching"
    WAITING = "waiting"
    """After a failure, or between two watches."""
    ABSENT = "absent"
    """The server does not know the resource; it is asked again every half minute or so."""


class ReflectorStatistics(msgspec.Struct, frozen=True):
    """How a reflector is doing; ``last_error`` is empty while all is well."""

    state: ReflectorState
    lists: int
    watches: int
    events: int
    objects: int
    undecodable: int
    resource_version: str
    last_error: str


class _Metadata(msgspec.Struct, rename="camel"):
    # Nothing is required, since a bookmark's object has a resourceVersion alone.
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Partial(msgspec.Struct):
    metadata: _Metadata


_decode_partial: Final = msgspec.json.Decoder(_Partial).decode
_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Reflector(Generic[T]):
    """Lists and watches ``resource`` into ``store``, each object decoded ``into`` a (projected, frozen) type.

    ``decode`` replaces that where the record is worked out rather than projected; what it raises of msgspec's
    ``ValidationError`` marks the object as undecodable. ``optional``: the store counts as synced, and empty, while
    the server does not know the resource and never did. ``advisory``: nothing hinges on it, so that whoever waits for
    an answer (`answered`) is content with being forbidden to look.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        into: type[T],
        store: Store[T],
        *,
        optional: bool = False,
        advisory: bool = False,
        decode: Callable[[msgspec.Raw], T] | None = None,
        rng: Callable[[], float] = random.random,
        **selection: Unpack[Selection],
    ) -> None:
        self._client = client
        self.resource = resource
        self._store = store
        self._selection = selection
        self._optional = optional
        self._advisory = advisory
        self._answered = asyncio.Event()
        self._decode = decode or msgspec.json.Decoder(into).decode
        self._rng = rng
        self._backoff = Backoff(base=_BACKOFF[0], cap=_BACKOFF[1], rng=rng)
        self.resource_version = ""
        """The state of the server that the store shows; empty while only a new list can tell."""
        self.state = ReflectorState.STARTING
        self._check_at = 0.0
        self._objects_gauge = client.metrics.store_objects.labels(str(resource))
        self._undecodable_gauge = client.metrics.store_undecodable.labels(str(resource))
        self._measured = (-1, -1)
        self._event_counts: dict[str, Counter] = {}
        self._whole_lists = False
        self._failures = 0
        self._lists = self._watches = self._events = 0
        self._last_error = ""
        self.failure: KubeError | None = None
        """What the last list or watch failed with; ``None`` while all is well."""

    def statistics(self) -> ReflectorStatistics:
        """How it is doing."""
        return ReflectorStatistics(
            state=self.state,
            lists=self._lists,
            watches=self._watches,
            events=self._events,
            objects=len(self._store),
            undecodable=len(self._store.undecodable),
            resource_version=self.resource_version,
            last_error=self._last_error,
        )

    async def run(self) -> None:
        """Keep the store current until cancelled; no failure ends it."""
        try:
            await self._run()
        finally:
            # What nobody listens for is not silent: the watches of who leads end with that.
            self._client.metrics.watch_last_heard.remove_by_labels({"resource": str(self.resource)})

    async def _run(self) -> None:
        while True:
            retry_after: float | None = None
            try:
                held = await self._follow()
                self._failures = 0
                if held:
                    continue
                cause = "ended"
            except NotFound as error:
                cause = "absent"
                retry_after = self._absent(error)
            except KubeError as error:
                cause = self._failed(error)
                retry_after = error.retry_after
                if isinstance(error, Forbidden) and self._advisory:
                    self._answered.set()
                    retry_after = _ABSENT_PERIOD
            self._client.metrics.watch_restarts.labels(str(self.resource), cause).inc()
            await asyncio.sleep(self._backoff.next(at_least=retry_after))

    async def answered(self) -> None:
        """Wait until the store is synced, or where the reflector is advisory, until the server forbade to look."""
        await self._answered.wait()

    async def _follow(self) -> bool:
        """One list, if one is needed, and one watch; returns whether that held until its time."""
        loop = asyncio.get_running_loop()
        check_at, self._check_at = self._check_at, 0.0  # at once, where this watch does not hold
        if self.resource_version and loop.time() >= check_at:
            if await self._went_back():
                self._forget("the server's state is older than ours: it was restored, or is another one")
            check_at = loop.time() + _DOUBT_SECONDS
        if not self.resource_version:
            await self._list()
            check_at = loop.time() + _DOUBT_SECONDS
        if not await self._watch():
            return False
        self._check_at = check_at
        return True

    def _heard(self) -> None:
        self._client.metrics.watch_last_heard.labels(str(self.resource)).set(time.time())

    def _absent(self, error: NotFound) -> float:
        self._heard()
        if self.state is not ReflectorState.ABSENT:
            level = logging.DEBUG if self._optional else logging.WARNING
            _log.log(level, "the API does not serve %s (%s); asking again later", self.resource, error.message)
        self.state = ReflectorState.ABSENT
        self._last_error, self.failure = str(error), error
        self.resource_version = ""
        # A server that restarts may deny a resource for a moment, so 404 empties nothing. Where the resource really
        # went, the server deleted its objects first, and the watch said so.
        if self._optional and not self._store.synced:
            self._store.replace_all({}, {})
            self._answered.set()
        return _ABSENT_PERIOD * (0.5 + self._rng())

    def _failed(self, error: KubeError) -> str:
        self.state = ReflectorState.WAITING
        self._failures += 1
        said, self._last_error, self.failure = self._last_error, str(error), error
        if isinstance(error, Gone | MalformedAnswer) or (
            isinstance(error, APIError) and self._failures >= _FAILURES_TO_RELIST
        ):
            self._forget(str(error))
        if isinstance(error, Gone):
            return "expired"
        cause = "silent" if isinstance(error, Silent) else "failed"
        level = logging.DEBUG if self._advisory and str(error) == said else logging.WARNING
        _log.log(level, "list or watch of %s failed: %s", self.resource, error, extra={"failures": self._failures})
        return cause

    def _forget(self, why: str) -> None:
        if self.resource_version:
            _log.info("listing %s again: %s", self.resource, why)
        self.resource_version = ""

    # --- list

    async def _list(self) -> None:
        self.state = ReflectorState.LISTING
        objects: dict[Key, T] = {}
        undecodable: dict[Key, str] = {}
        version = ""
        try:
            # Neither resourceVersion 0 (any cache, possibly one from before what we saw) nor the last one seen (an
            # error after a restore): without one, the answer is the state of now.
            async for page in self._client.pages(
                self.resource, limit=0 if self._whole_lists else PAGE_SIZE, **self._selection
            ):
                version = page.resource_version
                for item in page.items:
                    self._take(item, objects, undecodable)
        except Gone:
            # Its pages took longer than the server keeps history; in one piece it cannot expire.
            self._whole_lists = True
            raise
        self._whole_lists = False
        self._lists += 1
        self._store.replace_all(objects, undecodable)
        self._answered.set()
        self._heard()
        self._measure()
        self.resource_version = version
        self._last_error, self.failure = "", None

    def _take(self, item: msgspec.Raw, objects: dict[Key, T], undecodable: dict[Key, str]) -> None:
        metadata = _metadata(item)
        key = _key(metadata)
        try:
            objects[key] = self._decode(item)
        except _UNDECODABLE as error:
            undecodable[key] = str(error)
            if self._store.undecodable.get(key) != str(error):
                self._report(key, error)

    # --- watch

    async def _went_back(self) -> bool:
        """Whether the server's present state is older than ours, as after a restore from a backup.

        It would then accept a watch from our resourceVersion and say nothing until it has come that far again.
        """
        page = await self._client.page(self.resource, limit=1, **self._selection)
        return version_number(page.resource_version) < version_number(self.resource_version)

    async def _watch(self) -> bool:
        """Take in one watch; returns whether it held for as long as the server was asked to."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.state = ReflectorState.WATCHING
        self._watches += 1
        seconds = int(_WATCH_SECONDS * (1.0 + self._rng() / 2))
        stream = self._client.watch(
            self.resource, resource_version=self.resource_version, timeout_seconds=seconds, **self._selection
        )
        try:
            async with contextlib.aclosing(stream):
                async for event in stream:
                    self._apply(event)
                    if self._events % _PAUSE_EVERY == 0:
                        await asyncio.sleep(0)
        finally:
            if loop.time() - began >= _HEALTHY:
                self._backoff.reset()
                self._failures = 0
        self.state = ReflectorState.WAITING
        self._heard()
        return loop.time() - began >= seconds - _EARLY

    def _apply(self, event: WatchEvent) -> None:
        self._events += 1
        self._count(event.type)
        metadata = _metadata(event.object)
        version = metadata.resource_version
        if version_number(version) < version_number(self.resource_version):
            raise MalformedAnswer(f"an event of state {version} came after state {self.resource_version}")
        key = _key(metadata)
        match event.type:
            case "ADDED" | "MODIFIED":
                self._put(key, event.object)
            case "DELETED":
                self._store.delete(key)
            case "BOOKMARK":
                pass
            case other:
                raise MalformedAnswer(f"a watch event of the unknown type {other!r}")
        self.resource_version = version
        self._last_error, self.failure = "", None
        self._heard()
        self._measure()

    def _put(self, key: Key, data: msgspec.Raw) -> None:
        try:
            record = self._decode(data)
        except _UNDECODABLE as error:
            if self._store.put_undecodable(key, str(error)):
                self._report(key, error)
        else:
            self._store.put(key, record)

    def _count(self, kind: str) -> None:
        count = self._event_counts.get(kind)
        if count is None:
            count = self._event_counts[kind] = self._client.metrics.watch_events.labels(str(self.resource), kind)
        count.inc()

    def _measure(self) -> None:
        before, self._measured = self._measured, (len(self._store), len(self._store.undecodable))
        if self._measured != before:
            self._objects_gauge.set(self._measured[0])
            self._undecodable_gauge.set(self._measured[1])

    def _report(self, key: Key, error: Exception) -> None:
        _log.warning(
            "an object of %s cannot be understood (%s); its last good state, if any, stays in use",
            self.resource,
            error,
            extra={"object": "/".join(key).lstrip("/")},
        )


def _key(metadata: _Metadata) -> Key:
    # The same words are in the record, and in what follows from it.
    return Key(intern(metadata.namespace), intern(metadata.name))


def _metadata(data: msgspec.Raw) -> _Metadata:
    try:
        return _decode_partial(data).metadata
    except _UNDECODABLE as error:
        raise MalformedAnswer(f"an object without usable metadata: {error}") from error
