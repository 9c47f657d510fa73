"""What a client knows of a remote's list, in either dialect, and how a response changes it.

Nothing here does I/O. Only versions are kept, never the offers: those are the consumer's. Everything a remote can make
grow is bounded; what is beyond is left out, counted and said.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec
from google.protobuf.message import DecodeError

from meshfed.fds import messages
from meshfed.fds.errors import ProtocolError
from meshfed.fds.messages import DELTA_TYPE, SOTW_TYPE, MalformedError, SetDigest
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.fds.updates import MAX_REJECTED, Rejected, Update
from meshfed.model.offers import Offer

MAX_RESOURCE: Final = 256 * 1024
"""The bytes of one service; what is larger is rejected."""
_MAX_NAME: Final = 1024
_MAX_VERSION: Final = 128
_PAUSE_EVERY: Final = 20
"""The services that are read between two looks at everything else the process has to do."""

Outcome = Literal["accepted", "removed", "duplicate", "malformed", "limit"]
Count = Callable[[Outcome], None]


class Limits(msgspec.Struct, frozen=True):
    """What is taken of one remote: ``services``, and ``size``: the bytes of all of them together."""

    services: int = 20_000
    size: int = 64 * 1024 * 1024


class Diverged(ProtocolError):
    """What the remote says it sent and what was received differ; what was known is forgotten, to be sent again."""


class _Rejections:
    """Collects what is rejected of one update: the first by name, the rest as numbers."""

    def __init__(self, count: Count) -> None:
        self._count = count
        self._named: list[Rejected] = []
        self.over = 0

    def malformed(self, host: str, why: str) -> None:
        self._count("malformed")
        if len(self._named) < MAX_REJECTED:
            self._named.append(Rejected(host=host, why=why))

    def limit(self) -> None:
        self._count("limit")
        self.over += 1

    def take(self, limits: Limits) -> tuple[Rejected, ...]:
        named = tuple(self._named)
        self._named.clear()
        if not self.over:
            return named
        why = (
            f"{self.over} services were left out: of one remote at most {limits.services} are taken, "
            f"of {limits.size} bytes together"
        )
        return (*named[: MAX_REJECTED - 1], Rejected(host="", why=why))


class _Known(msgspec.Struct, frozen=True, gc=False):
    version: bytes
    size: int


class DeltaKnowledge:
    """The remote's list by resource name, kept up across streams so that a new one is sent only what changed."""

    def __init__(self, limits: Limits, count: Count) -> None:
        self._limits = limits
        self._count = count
        self._known: dict[bytes, _Known] = {}
        self._digest = SetDigest()
        self._size = 0
        self._list: dict[str, Offer] | None = None
        self._rejections = _Rejections(count)
        self._over_size = 0
        self._synced = False

    def __len__(self) -> int:
        return len(self._known)

    @property
    def synced(self) -> bool:
        """Whether the stream has brought everything it had at its start."""
        return self._synced

    def forget(self) -> None:
        """Start from nothing, so that the remote sends its whole list."""
        self._known.clear()
        self._digest = SetDigest()
        self._size = 0

    def begin(self, node: str) -> pb.DeltaDiscoveryRequest:
        """Begin a stream: what to ask for, given what is known."""
        if self._list is not None or self._rejections.over:
            self.forget()  # a list that was cut off or cut short says nothing of what is missing from it
        self._synced = False
        self._rejections = _Rejections(self._count)
        self._over_size = 0
        self._list = {} if not self._known else None
        for name in [name for name in self._known if _text(name) is None]:
            self._drop(name)  # it cannot be claimed; the remote will send it again
        return pb.DeltaDiscoveryRequest(
            node=pb.Node(id=node, user_agent_name="meshfed"),
            type_url=DELTA_TYPE,
            initial_resource_versions={name.decode(): known.version.decode() for name, known in self._known.items()},
        )

    async def receive(self, response: pb.DeltaDiscoveryResponse) -> Update | None:
        """Take a response in; ``None`` where there is nothing to report, or not yet.

        Raises ``ProtocolError`` for a response that cannot be parsed, nothing of which is taken, and ``Diverged``.
        """
        if response.type_url != DELTA_TYPE:
            return None
        try:
            resources = [pb.Resource.FromString(data) for data in response.resources]
        except DecodeError:
            raise ProtocolError("a response holds something that is not a Resource") from None
        upserts: dict[str, Offer] = {}
        removals = self._remove(response.removed_resources)
        for index, resource in enumerate(resources):
            if index % _PAUSE_EVERY == _PAUSE_EVERY - 1:
                await asyncio.sleep(0)
            offer = self._take(resource)
            if offer is not None:
                if offer.host in upserts:
                    self._count("duplicate")
                upserts[offer.host] = offer
        last = bool(response.system_version_info)
        if last:
            self._compare(response.system_version_info)
        return self._report(upserts, removals, last=last)

    def _versions(self, upserts: Iterable[str]) -> dict[str, str]:
        return {host: self._known[host.encode()].version.decode("ascii", "replace") for host in upserts}

    def _report(self, upserts: dict[str, Offer], removals: list[str], *, last: bool) -> Update | None:
        whole = self._list
        first = last and not self._synced
        self._synced = self._synced or last
        if whole is not None:
            for host in removals:
                whole.pop(host, None)
            whole.update(upserts)
            if not last:
                return None
            self._list = None
            return Update(
                upserts=tuple(whole.values()),
                complete=not self._rejections.over,
                synced=True,
                rejected=self._rejections.take(self._limits),
                versions=self._versions(whole),
            )
        rejected = self._rejections.take(self._limits) if upserts or removals or first else ()
        if not upserts and not removals and not rejected and not first:
            return None
        return Update(
            upserts=tuple(upserts.values()),
            removals=tuple(removals),
            synced=self._synced,
            rejected=rejected,
            versions=self._versions(upserts),
        )

    def _remove(self, names: Iterable[bytes]) -> list[str]:
        removals = []
        for name in names:
            if name in self._known:
                self._drop(name)
                text = _text(name)
                if text is not None:
                    self._count("removed")
                    removals.append(text)
        return removals

    def _drop(self, name: bytes) -> None:
        known = self._known.pop(name)
        self._size -= known.size
        self._digest.discard(SetDigest.term(name, known.version))

    def _take(self, resource: pb.Resource) -> Offer | None:
        """Note the resource's version, whether it is good or bad; return it where it is good."""
        name, value = resource.name, resource.resource.value
        before = self._known.get(name)
        size = len(value) if len(value) <= MAX_RESOURCE else 0
        over = len(name) > _MAX_NAME or len(resource.version) > _MAX_VERSION
        over = over or (before is None and len(self._known) >= self._limits.services)
        if over or self._size + size - (before.size if before else 0) > self._limits.size:
            self._rejections.limit()
            self._over_size += size
            return None
        if before is not None:
            self._drop(name)
        self._known[name] = _Known(version=resource.version, size=size)
        self._size += size
        self._digest.add(SetDigest.term(name, resource.version))
        host = _text(name)
        if host is None:
            self._rejections.malformed("", f"the name {name[:100]!r} is not valid UTF-8")
            return None
        if len(value) > MAX_RESOURCE:
            self._rejections.malformed(host, f"it has {len(value)} bytes; at most {MAX_RESOURCE} are taken")
            return None
        try:
            offer = messages.decode(value)
        except MalformedError as error:
            self._rejections.malformed(host, error.why)
            return None
        if offer.host != host:
            self._rejections.malformed(host, f"it is a service of another name, {offer.host[:100]!a}")
            return None
        self._count("accepted")
        return offer

    def _compare(self, digest: str) -> None:
        over = self._rejections.over
        if over:
            room = (
                len(self._known) + over <= self._limits.services and self._size + self._over_size <= self._limits.size
            )
            if room:
                raise ProtocolError("what was left out for its size fits by now: reading the whole list again")
        elif digest != str(self._digest):
            self.forget()
            raise Diverged("what the remote says it sent is not what was received: reading the whole list again")


def _text(name: bytes) -> str | None:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


class SotwKnowledge:
    """The remote's list as it was last sent whole; only differences are reported."""

    def __init__(self, limits: Limits, count: Count) -> None:
        self._limits = limits
        self._count = count
        self._known: dict[str, str] = {}
        self._fingerprint = -1
        self.synced = False
        self.doubted = False

    def __len__(self) -> int:
        return len(self._known)

    def begin(self) -> None:
        """Begin a stream: its first list is reported even if it is the same."""
        self.synced = False
        self.doubted = False
        self._fingerprint = -1

    async def receive(self, response: pb.DiscoveryResponse, *, confirms: bool) -> Update | None:
        """Take a response in; ``None`` where it is of another type, says nothing new, or cannot be believed yet.

        An empty list is believed only where it ``confirms`` an earlier one (the reference also sends it when it
        failed); until then ``doubted`` is set.
        """
        if response.type_url != SOTW_TYPE:
            return None
        fingerprint = _fingerprint(response.resources)
        if fingerprint == self._fingerprint:
            self.doubted = False
            return None
        if not response.resources and not confirms:
            self.doubted = True
            return None
        self.doubted = False
        self._fingerprint = fingerprint
        return await self._read(response.resources)

    async def _read(self, resources: Iterable[bytes]) -> Update | None:
        rejections = _Rejections(self._count)
        offers: dict[str, Offer] = {}
        unnamed = False
        bad: set[str] = set()
        for index, data in enumerate(resources):
            if index % _PAUSE_EVERY == _PAUSE_EVERY - 1:
                await asyncio.sleep(0)
            try:
                offer = _parse(data)
            except MalformedError as error:
                rejections.malformed(error.host, error.why)
                bad.add(error.host)
                unnamed = unnamed or not error.host
                continue
            if offer.host in offers:
                self._count("duplicate")
            elif len(offers) >= self._limits.services and offer.host not in self._known:
                rejections.limit()
                continue
            offers[offer.host] = offer
        for host in self._surplus(offers):
            rejections.limit()
            del offers[host]
        return self._report(offers, bad, rejections, unnamed=unnamed)

    def _surplus(self, offers: dict[str, Offer]) -> list[str]:
        """What is too many, of the hosts that were not known before: those that were must not come and go."""
        over = len(offers) - self._limits.services
        return [host for host in offers if host not in self._known][:over] if over > 0 else []

    def _report(
        self, offers: dict[str, Offer], bad: set[str], rejections: _Rejections, *, unnamed: bool
    ) -> Update | None:
        known = {host: messages.version_of(offer) for host, offer in offers.items()}
        kept = {
            host: version for host, version in self._known.items() if host not in known and (unnamed or host in bad)
        }
        gone = tuple(host for host in self._known if host not in known and host not in kept)
        unchanged = self.synced and not gone and not rejections.over and known.items() <= self._known.items()
        self._known = known | kept
        self.synced = True
        complete = not unnamed and not rejections.over
        rejected = rejections.take(self._limits)
        for _ in offers:
            self._count("accepted")
        if unchanged and not rejected:
            return None
        return Update(
            upserts=tuple(offers.values()),
            removals=() if complete else gone,
            complete=complete,
            synced=True,
            rejected=rejected,
        )


def _parse(data: bytes) -> Offer:
    value = messages.unpacked(data)
    if len(value) > MAX_RESOURCE:
        host = messages.host_of(value)
        raise MalformedError(host, f"it has {len(value)} bytes; at most {MAX_RESOURCE} are taken")
    return messages.decode(value)


def _fingerprint(resources: Iterable[bytes]) -> int:
    """A digest of a list in any order."""
    total = 0
    for data in resources:
        total += int.from_bytes(hashlib.sha256(data).digest(), "big")
    return total
