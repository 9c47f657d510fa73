"""What an importer has in place of an exporter's hosts, and at which version: how it says so, and what is kept of it.

Both sides of one exchange, on the stream that there is. The client sends requests of a type of their own: a host with
the version that is in place, a host that it does not import, and ``*`` once it has said all that there is. Nothing is
answered. A server of an earlier version answers the first with an empty list of that type, and reads no other.

The server may ask, with ``*`` as the version of a response: then the client repeats its nonce once all that came before
was worked out, and what there is to say of it is said.

Whoever says something is believed of itself alone, and of nothing but what is offered to it. So what is kept of a
remote is bounded by what this mesh exports, and the last stream of a remote that says anything speaks for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import chain
from typing import Final

import msgspec

from meshfed.fds.exports import Entry, ExportSet, Subscriber
from meshfed.fds.messages import IMPORTED_TYPE
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.fds.transport import Status, StatusError
from meshfed.telemetry.metrics import Metrics

ALL: Final = "*"
"""In the place of a host: everything that is imported was said; among those that are not: nothing is said any more."""
GATHER: Final = 0.05
"""Seconds between two requests, in which what is to be said is gathered."""
_REQUEST: Final = 64 * 1024
"""The bytes of hosts and versions after which a request is sent and the next begun."""
_MAX_VERSION: Final = 128
_MAX_HOSTS: Final = 10_000
"""In one request."""
_PAUSE_EVERY: Final = 500
"""The hosts that are taken in between two looks at everything else the process has to do."""
_ROOM: Final = 1000
"""How many hosts beyond twice what is exported may be kept of a remote, until those that are withdrawn are dropped."""

# --- who imports


class Confirming:
    """What a client has to say to a remote of that remote's hosts. It is said anew on each stream."""

    def __init__(self) -> None:
        self._versions: dict[str, str] = {}
        """What is in place, by host."""
        self._unsaid: dict[str, None] = {}
        self._open = False
        """Whether there is a stream to say it on."""
        self._begun = False
        """Whether it is being said on it."""
        self._whole = False
        """Whether all that there was has been said on it."""
        self._retract = False
        self._answer = ""
        """The nonce of what was asked last, once it may be answered."""
        self._wake = asyncio.Event()

    def put(self, host: str, version: str | None) -> None:
        """State at which version a host is in place; ``None``: it is not imported."""
        if version is None:
            self._versions.pop(host, None)
        elif self._versions.get(host) == version:
            return
        else:
            self._versions[host] = version
        self._say(host)

    def offered(self, hosts: Mapping[str, str]) -> None:
        """Take note of hosts that the remote offers, at these versions: it may have forgotten what was said of them."""
        for host, version in hosts.items():
            if self._versions.get(host) == version:
                self._say(host)

    def _say(self, host: str) -> None:
        if self._begun:
            self._unsaid[host] = None
            self._wake.set()

    def begin(self) -> None:
        """Say from now on what there is: what the remote offers was taken in."""
        if self._open and not self._begun:
            self._begun, self._whole, self._retract = True, False, False
            self._unsaid = dict.fromkeys(self._versions)
            self._wake.set()

    def answer(self, nonce: str) -> None:
        """Answer what was asked: all that had come before was worked out, and stated here."""
        if self._begun:
            self._answer = nonce
            self._wake.set()

    def end(self) -> None:
        """Say nothing any more on this stream."""
        self._open = self._begun = self._retract = False
        self._unsaid, self._answer = {}, ""

    def stop(self) -> None:
        """Say nothing any more, and take back what was said."""
        self._retract, self._begun = self._begun, False
        self._versions, self._unsaid = {}, {}
        self._wake.set()

    async def run(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Say on one stream what there is to say, until cancelled."""
        self._open = True
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while (request := self._next()) is not None:
                    await send(request.SerializeToString(deterministic=True))
                await asyncio.sleep(GATHER)
        finally:
            self.end()

    def _next(self) -> pb.DeltaDiscoveryRequest | None:
        request = pb.DeltaDiscoveryRequest(type_url=IMPORTED_TYPE)
        if self._retract:
            self._retract = False
            request.resource_names_unsubscribe.append(ALL)
            return request
        if not self._begun or (self._whole and not self._unsaid and not self._answer):
            return None
        size = 0
        while self._unsaid and size < _REQUEST:
            host, _ = self._unsaid.popitem()
            version = self._versions.get(host)
            size += len(host) + len(version or "")
            if version is None:
                request.resource_names_unsubscribe.append(host)
            else:
                request.initial_resource_versions[host] = version
        if not self._whole and not self._unsaid:
            self._whole = True
            request.resource_names_subscribe.append(ALL)
        if not self._unsaid:
            request.response_nonce, self._answer = self._answer, ""
        return request


# --- who exports


class InPlace(msgspec.Struct, frozen=True, gc=False):
    """What an importer said of a host: the version in place, ``None``: none; and the change that it speaks of."""

    version: str | None
    sequence: int


class Propagated(msgspec.Struct, frozen=True):
    """A change that an importer has in place: of which host, for how many seconds that took, and when it was so.

    ``at`` is by the loop's clock.
    """

    host: str
    seconds: float
    at: float


class Echoed(msgspec.Struct, frozen=True):
    """After how many seconds an importer had worked out all that it had been sent, and when, by the loop's clock."""

    seconds: float
    at: float


class Importer:
    """What one remote says of our exports, on one stream, which began when the export set stood at ``start``.

    ``wake`` is set where the stream has something to send.
    """

    def __init__(self, remote: str, start: int, wake: asyncio.Event) -> None:
        self.remote = remote
        self.start = start
        self._wake = wake
        self._nonce = ""
        self._asked_at = 0.0
        self.asks = False
        """Whether the stream is to ask it."""
        self.echoed: Echoed | None = None
        self.hosts: dict[str, InPlace] = {}
        self.whole = False
        """Whether it has said all that it imports: what it said nothing of it does not import."""
        self.last: Propagated | None = None

    def version(self, host: str) -> str | None:
        """Return the version of ``host`` that it has in place; ``None`` where it said of none."""
        said = self.hosts.get(host)
        return said.version if said is not None else None

    def ask(self) -> None:
        """Have it asked to say when it has worked out all that it was sent."""
        self.asks = True
        self._wake.set()

    def question(self, nonce: str) -> pb.DeltaDiscoveryResponse:
        """Ask it, after all that was sent before."""
        self.asks, self._nonce, self._asked_at = False, nonce, asyncio.get_running_loop().time()
        return pb.DeltaDiscoveryResponse(type_url=IMPORTED_TYPE, nonce=nonce, system_version_info=ALL)

    def answered(self, nonce: str) -> None:
        """It says that it has."""
        if nonce and nonce == self._nonce:
            now = asyncio.get_running_loop().time()
            self._nonce, self.echoed = "", Echoed(now - self._asked_at, now)

    def imported(self) -> Iterator[tuple[str, str]]:
        """Yield each host that it has in place, and at which version; some may be withdrawn."""
        return ((host, said.version) for host, said in self.hosts.items() if said.version is not None)


class Importers:
    """What remotes say of our exports: the newest stream of each that says anything."""

    def __init__(self, exports: ExportSet, metrics: Metrics) -> None:
        self._exports = exports
        self._metrics = metrics
        self._said: dict[str, Importer] = {}

    def begin(self, subscriber: Subscriber, start: int, wake: asyncio.Event) -> Importer | None:
        """Hear a stream out from now on, in the place of others of that remote.

        ``None`` for a caller that is no one remote: what it says would be said of all who share its identity.
        """
        if len(subscriber.remotes) != 1:
            return None
        (remote,) = subscriber.remotes
        importer = Importer(remote, start, wake)
        self._said[importer.remote] = importer
        return importer

    def end(self, importer: Importer) -> None:
        """Forget what was said on a stream; its remote says nothing until it says it anew."""
        if self._said.get(importer.remote) is importer:
            del self._said[importer.remote]

    async def take(self, importer: Importer | None, request: pb.DeltaDiscoveryRequest) -> bool:
        """Take in what was said on a stream; returns whether it says nothing any more. Raises ``StatusError``."""
        number = len(request.initial_resource_versions) + len(request.resource_names_unsubscribe)
        if number > _MAX_HOSTS:
            raise StatusError(Status.RESOURCE_EXHAUSTED, f"more than {_MAX_HOSTS} hosts in one request")
        if importer is None or self._said.get(importer.remote) is not importer:
            self._count("dropped", number)
            return False
        if ALL in request.resource_names_unsubscribe:
            self.end(importer)
            return True
        said: Iterator[tuple[str, str | None]] = chain(
            request.initial_resource_versions.items(), ((host, None) for host in request.resource_names_unsubscribe)
        )
        for index, (host, version) in enumerate(said, 1):
            if index % _PAUSE_EVERY == 0:
                await asyncio.sleep(0)
            self._put(importer, host, version)
        if ALL in request.resource_names_subscribe:
            importer.whole = True
        importer.answered(request.response_nonce)
        if len(importer.hosts) > 2 * len(self._exports) + _ROOM:
            importer.hosts = {
                host: one for host, one in importer.hosts.items() if self._visible(importer, host) is not None
            }
        return False

    def _visible(self, importer: Importer, host: str) -> Entry | None:
        entry = self._exports.get(host)
        return entry if entry is not None and entry.visible(frozenset((importer.remote,))) else None

    def _put(self, importer: Importer, host: str, version: str | None) -> None:
        entry, before = self._visible(importer, host), importer.hosts.get(host)
        if entry is None:
            if version is None and before is not None:
                del importer.hosts[host]  # it was withdrawn, and is gone there by now
                self._count("gone")
            else:
                self._count("dropped")
            return
        if version == entry.version:
            version = entry.version  # the string is there once
            self._measure(importer, entry, before)
        elif version is not None and len(version) > _MAX_VERSION:
            version = ""
        self._count("gone" if version is None else "in_place")
        importer.hosts[entry.host] = InPlace(version, entry.sequence)

    def _measure(self, importer: Importer, entry: Entry, before: InPlace | None) -> None:
        """Measure how long a change took that the importer has in place now, the first time that it says so.

        What it says anew, of changes from before the stream, is no news; nor is what it had answered by a refusal.
        """
        heard = before.sequence if before is not None and before.version in (None, entry.version) else importer.start
        if entry.since is None or entry.sequence <= max(heard, importer.start):
            return
        now = asyncio.get_running_loop().time()
        importer.last = Propagated(entry.host, now - entry.since, now)
        self._metrics.export_took(importer.remote, now - entry.since, now)

    def _count(self, outcome: str, number: int = 1) -> None:
        if number:
            self._metrics.fds_confirmations.labels(outcome=outcome).inc(number)

    # --- what is asked

    def all(self) -> Mapping[str, Importer]:
        """Return, by remote, what each says; a remote that is missing says nothing."""
        return self._said

    def of(self, host: str) -> list[str]:
        """Return the remotes that said that they have a host in place, sorted."""
        return sorted(remote for remote, one in self._said.items() if one.version(host) is not None)
