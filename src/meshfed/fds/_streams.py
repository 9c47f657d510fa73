"""One subscriber's stream, in either dialect: what it is sent, and when."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from google.protobuf.message import DecodeError, Message

from meshfed.fds.exports import Chunk, Entry, ExportSet, Subscriber, Window
from meshfed.fds.importers import Importer, Importers
from meshfed.fds.messages import DELTA_TYPE, IMPORTED_TYPE, SOTW_TYPE, Dialect
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.fds.transport import Call, Status, StatusError
from meshfed.telemetry.logs import LogThrottle
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
CHUNK: Final = 256 * 1024
"""The bytes of resources after which an incremental response is sent and the next begun."""
_MAX_TYPES: Final = 16
_MAX_CLAIMS: Final = 100_000
_MAX_UNANSWERED: Final = 64
"""The responses of one stream of which it is remembered when what they say began."""
_KNOWN_TYPES: Final = frozenset({SOTW_TYPE, DELTA_TYPE})


class StreamTiming(msgspec.Struct, frozen=True):
    """When things are sent, in seconds.

    ``gather``: the range of the time for which changes are gathered, once some were sent; `Window` has the rule.
    ``heartbeat``: the range of the time between heartbeats. ``answer``: how often one stream's requests for the whole
    list are answered.
    """

    gather: tuple[float, float] = (0.05, 0.4)
    heartbeat: tuple[float, float] = (20.0, 30.0)
    answer: float = 1.0


class StreamContext(msgspec.Struct, frozen=True):
    """What all streams of a server work with."""

    exports: ExportSet
    importers: Importers
    metrics: Metrics
    timing: StreamTiming
    rng: random.Random
    log_throttle: LogThrottle
    subscribers_changed: Callable[[], None]
    """Hears that a stream subscribes, or does no more."""


class _Stream:
    """What both dialects share: a place in the export set, and a wake-up for the writer."""

    dialect: Dialect

    def __init__(self, call: Call, subscriber: Subscriber, service: StreamContext) -> None:
        self._call = call
        self._subscriber = subscriber
        self._exports = service.exports
        self._timing = service.timing
        self._service = service
        self._wake = asyncio.Event()
        self._window = Window(*service.timing.gather)
        self._seen = self._exports.sequence
        """The last change that was there when something was sent last."""
        self._view = self._exports.hold(subscriber.remotes, self._wake)
        self._nonces = itertools.count(1)
        self._unknown: list[str] = []
        self._types: set[str] = set()
        self._unanswered: dict[str, float] = {}
        """By nonce, when the first of the changes began that a response says."""
        self.subscribes = False
        """Whether the caller has asked for what this mesh exports."""

    def close(self) -> None:
        """Give the place in the export set back."""
        self._exports.release(self._view, self._wake)

    def _has_subscribed(self) -> None:
        if not self.subscribes:
            self.subscribes = True
            self._service.subscribers_changed()

    async def _gather(self) -> None:
        """Wait until what there is to send is due.

        What takes something away is never sent at once: more may be about to go, and whoever is told of all of it
        together can see how much that is, and hold it.
        """
        left = self._window.left(asyncio.get_running_loop().time())
        if left:  # else not even for a moment, in which others would have their turn
            await asyncio.sleep(left)
        if self._takes_away():
            await asyncio.sleep(self._timing.gather[0])
        self._wake.clear()

    def _takes_away(self) -> bool:
        """Whether something of what is to be sent is not offered to the subscriber any more."""
        remotes = self._view.remotes
        return any(
            not entry.visible(remotes) and entry.was_visible(remotes) for entry in self._exports.after(self._seen)
        )

    def _gathered(self, position: int) -> None:
        """Take note that all changes up to ``position`` were sent, or are none of the subscriber's business."""
        before, self._seen = self._seen, position
        self._window.sent(asyncio.get_running_loop().time(), position - before)

    def _nonce(self) -> str:
        return str(next(self._nonces))

    async def _send(self, message: Message) -> None:
        await self._call.send(message.SerializeToString())

    def _pushed(self) -> None:
        self._service.metrics.fds_pushes.labels(dialect=self.dialect.value).inc()

    def _told(self, nonce: str, since: float | None) -> None:
        """Remember when what a response says began, until it is answered; ``None``: nobody knows."""
        if since is None:
            return
        if len(self._unanswered) >= _MAX_UNANSWERED:
            del self._unanswered[next(iter(self._unanswered))]
        self._unanswered[nonce] = since

    def _acked(self, nonce: str) -> None:
        since = self._unanswered.pop(nonce, None)
        if since is not None:
            passed = asyncio.get_running_loop().time() - since
            self._service.metrics.export_propagation.labels(subscriber=self._subscriber.name).observe(passed)

    def _note_type(self, type_url: str) -> None:
        """Remember a type that is not ours, to be answered with an empty list of it, as the reference does."""
        if len(self._types) >= _MAX_TYPES:
            raise StatusError(Status.RESOURCE_EXHAUSTED, f"more than {_MAX_TYPES} types were asked for on one stream")
        self._types.add(type_url)
        self._unknown.append(type_url)
        self._wake.set()

    def _nacked(self, nonce: str, why: str) -> None:
        self._unanswered.pop(nonce, None)
        self._service.metrics.fds_refused.labels(reason="nack").inc()
        if not self._service.log_throttle.ready(("nack", self._subscriber.name)):
            return
        _log.warning(
            "a subscriber did not take what it was sent: %s",
            why[:300],
            extra={"subscriber": self._subscriber.name, "nonce": nonce[:20]},
        )


class SotwStream(_Stream):
    """The reference's dialect: the whole list, when asked for and when it has changed."""

    dialect = Dialect.SOTW

    def __init__(self, call: Call, subscriber: Subscriber, service: StreamContext) -> None:
        super().__init__(call, subscriber, service)
        self._asked = ""
        self._answer_due = False
        self._sent = ""
        self._position: int | None = None

    async def read(self) -> None:
        """Take requests until the stream ends. A half-close ends nothing: the subscriber still listens."""
        while (data := await self._call.receive()) is not None:
            try:
                request = pb.DiscoveryRequest.FromString(data)
            except DecodeError:
                raise StatusError(Status.INVALID_ARGUMENT, "the message is not a DiscoveryRequest") from None
            if request.type_url not in _KNOWN_TYPES:
                if not request.version_info and request.type_url not in self._types:
                    self._note_type(request.type_url)
            elif request.HasField("error_detail"):
                self._nacked(request.response_nonce, request.error_detail.message)
            elif not request.version_info:
                # The first request and every poll; the nonce may be anything. One that carries a version is an ACK.
                self._asked = request.type_url
                self._has_subscribed()
                self._answer_due = True
                self._wake.set()
            else:
                self._acked(request.response_nonce)
        await self._call.closed()

    async def write(self) -> None:
        """Send the list whenever it is due."""
        loop = asyncio.get_running_loop()
        answered = loop.time() - self._timing.answer
        while True:
            await self._wake.wait()
            await self._gather()
            while self._unknown:
                type_url = self._unknown.pop()
                await self._send(pb.DiscoveryResponse(version_info="0", type_url=type_url, nonce=self._nonce()))
            if not self._asked:
                continue
            if self._answer_due:
                # Whoever asks in a loop is answered now and then.
                await asyncio.sleep(max(0.0, answered + self._timing.answer - loop.time()))
                answered = loop.time()
            elif str(self._view.snapshot_digest) == self._sent:
                continue
            self._answer_due = False
            self._sent = str(self._view.snapshot_digest)
            response = pb.DiscoveryResponse(
                version_info=self._sent[:32],
                resources=self._exports.snapshot(self._view),
                type_url=self._asked,
                nonce=self._nonce(),
            )
            sent = self._exports.sequence
            self._told(response.nonce, _began(self._news()))
            self._pushed()
            await self._send(response)
            self._gathered(sent)

    def _news(self) -> list[Entry]:
        """What changed since the list was sent last, as far as the subscriber may see it; none the first time."""
        position, self._position = self._position, self._exports.sequence
        if position is None:
            return []
        remotes = self._view.remotes
        return [
            entry for entry in self._exports.after(position) if entry.visible(remotes) or entry.was_visible(remotes)
        ]


class DeltaStream(_Stream):
    """Meshfed's dialect: what changed since the stream's position, in chunks, and heartbeats."""

    dialect = Dialect.DELTA

    def __init__(self, call: Call, subscriber: Subscriber, service: StreamContext) -> None:
        super().__init__(call, subscriber, service)
        self._claims: dict[str, str] = {}
        self._stale: list[str] = []
        self._position = 0
        self._start = 0
        self._caught_up = False
        self._importer: Importer | None = None
        self._says_imports = False

    def close(self) -> None:
        super().close()
        if self._importer is not None:
            self._service.importers.end(self._importer)

    async def read(self) -> None:
        """Take requests until the stream ends: the subscription, then ACKs and NACKs."""
        while (data := await self._call.receive()) is not None:
            try:
                request = pb.DeltaDiscoveryRequest.FromString(data)
            except DecodeError:
                raise StatusError(Status.INVALID_ARGUMENT, "the message is not a DeltaDiscoveryRequest") from None
            if request.HasField("error_detail"):
                self._nacked(request.response_nonce, request.error_detail.message)
            elif request.type_url == IMPORTED_TYPE:
                await self._take_imports(request)
            elif request.type_url != DELTA_TYPE:
                if request.type_url not in self._types:
                    self._note_type(request.type_url)
            elif not self.subscribes:
                self._subscribe(request)
            else:
                self._acked(request.response_nonce)
        await self._call.closed()

    def _subscribe(self, request: pb.DeltaDiscoveryRequest) -> None:
        names = request.resource_names_subscribe
        if names and "*" not in names:
            raise StatusError(Status.INVALID_ARGUMENT, "subscribe to everything: with no resource names, or with '*'")
        if len(request.initial_resource_versions) > _MAX_CLAIMS:
            raise StatusError(Status.RESOURCE_EXHAUSTED, f"more than {_MAX_CLAIMS} initial_resource_versions")
        self._has_subscribed()
        self._claims = dict(request.initial_resource_versions)
        self._start = self._exports.sequence
        self._stale = [name for name in self._claims if not self._visible(name)]
        self._wake.set()

    async def _take_imports(self, request: pb.DeltaDiscoveryRequest) -> None:
        if self.subscribes and not self._says_imports:
            self._says_imports = True
            self._importer = self._service.importers.begin(self._subscriber, self._exports.sequence, self._wake)
        if await self._service.importers.take(self._importer, request):
            self._says_imports = False

    def _visible(self, host: str) -> bool:
        entry = self._exports.get(host)
        return entry is not None and entry.visible(self._view.remotes)

    async def write(self) -> None:
        """Send what is due, or a heartbeat where nothing was for a while."""
        while True:
            try:
                async with asyncio.timeout(self._service.rng.uniform(*self._timing.heartbeat)):
                    await self._wake.wait()
            except TimeoutError:
                if self.subscribes and not self._wake.is_set():
                    self._service.metrics.fds_heartbeats_sent.inc()
                    await self._send(self._response(last=True))
                continue
            await self._gather()
            while self._unknown:
                await self._send(pb.DeltaDiscoveryResponse(type_url=self._unknown.pop(), nonce=self._nonce()))
            end = self._exports.sequence
            while self.subscribes and (message := self._next_message()) is not None:
                self._pushed()
                await self._call.send(message)
                if self._position >= end and not self._stale:
                    break  # what came while this was sent has a window of its own
            self._gathered(self._position)
            if self._importer is not None and self._importer.asks:
                await self._send(self._importer.question(self._nonce()))

    def _response(self, *, last: bool) -> pb.DeltaDiscoveryResponse:
        return pb.DeltaDiscoveryResponse(
            type_url=DELTA_TYPE, nonce=self._nonce(), system_version_info=str(self._view.digest) if last else ""
        )

    def _next_message(self) -> bytes | None:
        """Make the next response from the state of this moment, ``None`` where the subscriber has everything.

        The first last one is sent even if it is empty: it tells the subscriber that it is in sync. At the end of
        the log the subscriber holds exactly what it may see, hence the set's digest there and nowhere before.
        """
        if self._exports.floor > max(self._position, self._start):
            raise StatusError(Status.UNAVAILABLE, "you are too far behind: subscribe anew")
        chunk = self._next_chunk()
        self._position = chunk.position
        if chunk.last:
            self._claims = {}
            if self._caught_up and not chunk.body:
                return None
            self._caught_up = True
        response = self._response(last=chunk.last)
        self._told(response.nonce, chunk.since)
        # Protocol Buffers are put together by writing one after the other.
        return chunk.body + response.SerializeToString()

    def _next_chunk(self) -> Chunk:
        """Return what comes next: of a stream that claims nothing, what any other in its place is sent as well."""
        if self._stale or self._claims:
            return self._make_chunk()[0]
        key = self._position, max(self._position, self._start), str(self._view.digest)
        chunk = self._exports.chunk(key)
        if chunk is None:
            chunk, shared = self._make_chunk()
            if shared:
                self._exports.keep_chunk(key, chunk)
        return chunk

    def _make_chunk(self) -> tuple[Chunk, bool]:
        """Put a chunk together; says too whether it is the same for all who see the same.

        It is not where it has a host that some never saw: only the others are told that it is gone.
        """
        response = pb.DeltaDiscoveryResponse()
        position, size, shared = self._position, 0, True
        news: list[Entry] = []
        while self._stale and size < CHUNK:
            name = self._stale.pop()
            if not self._visible(name):
                response.removed_resources.append(name.encode())
                size += len(name)
        last = not self._stale
        for entry in self._exports.after(self._position) if last else ():
            visible = entry.visible(self._view.remotes)
            cost = len(entry.resource) if visible else len(entry.host)
            if size and size + cost > CHUNK:
                last = False
                break
            position = entry.sequence
            shared = shared and entry.former is None
            if visible:
                if entry.sequence > self._start or self._claims.get(entry.host) != entry.version:
                    response.resources.append(entry.resource)
                    size += cost
                    news.append(entry)
            elif entry.sequence > self._start and entry.was_visible(self._view.remotes):
                response.removed_resources.append(entry.host.encode())
                size += cost
                news.append(entry)
        since = _began(entry for entry in news if entry.sequence > self._start)
        return Chunk(response.SerializeToString(), position, last, since), shared


def _began(entries: Iterable[Entry]) -> float | None:
    """When the first of the changes began that led to ``entries``, where that is known of any."""
    return min((entry.since for entry in entries if entry.since is not None), default=None)
