"""What this mesh offers, to whom, and what changed since when: the state behind every subscriber's stream.

Nothing is queued per subscriber. Changes are entries in one log, in which a host appears once, where it changed last;
a stream is a position in that log. So a burst of changes to one host is one entry, a slow subscriber costs a number,
and a change costs the same however many hosts there are. Streams in the same place are sent the same bytes, which are
put together once.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter
from typing import Final

import msgspec

from meshfed.fds import messages
from meshfed.fds.messages import Dialect, SetDigest
from meshfed.model.offers import Offer

FEW: Final = 4
"""Changes that may go together without a longer window: a message costs about as much as they do."""
_HALVINGS: Final = 64
"""More than this makes nothing any shorter."""

Audience = frozenset[str] | None
"""The remotes that may see a host; ``None``: everyone, anonymous callers too."""


class Subscriber(msgspec.Struct, frozen=True):
    """Who a stream is sent to: a name for logs, and the remotes it stands for.

    One remote as a rule; none for an anonymous caller; several where they share an identity, who are sent only what
    all of them may see.
    """

    name: str
    remotes: frozenset[str]


def _visible(audience: Audience, remotes: frozenset[str]) -> bool:
    return audience is None or (bool(remotes) and remotes <= audience)


class Entry:
    """A host: what is sent of it, or that it is offered no more (``offered`` is false), and when it changed last."""

    __slots__ = (
        "audience",
        "former",
        "host",
        "offered",
        "packed",
        "resource",
        "sequence",
        "since",
        "snapshot_term",
        "term",
        "version",
    )

    def __init__(self, host: str) -> None:
        self.host = host
        self.offered = False
        self.audience: Audience = frozenset()
        self.former: Audience = frozenset()
        self.sequence = 0
        self.since: float | None = None
        """When the change began that led here, by the loop's clock; ``None`` where that is not known."""
        self.version = ""
        self.resource = b""
        self.packed = b""
        self.term = 0
        self.snapshot_term = 0

    def visible(self, remotes: frozenset[str]) -> bool:
        """Whether it is offered to ``remotes``."""
        return self.offered and _visible(self.audience, remotes)

    def was_visible(self, remotes: frozenset[str]) -> bool:
        """Whether it may have been offered to ``remotes`` before: only they are told that it is gone."""
        return _visible(self.former, remotes)

    def encode(self, offer: Offer, version: str) -> None:
        """Write the offer for both dialects; the reference's has no aliases."""
        name = self.host.encode()
        self.version = version
        self.resource = messages.resource(self.host, version, messages.encode(offer, Dialect.DELTA))
        self.term = SetDigest.term(name, version.encode())
        self.packed = b"" if offer.sni_host else messages.packed(messages.encode(offer, Dialect.SOTW))
        self.snapshot_term = SetDigest.term(name, self.packed) if self.packed else 0


class Totals:
    """Entries as digests that are kept up change by change: ``delta`` for one dialect, ``sotw`` for the other."""

    __slots__ = ("delta", "sotw")

    def __init__(self) -> None:
        self.delta = SetDigest()
        self.sotw = SetDigest()

    def count(self, entry: Entry) -> None:
        """Count an entry in."""
        self.delta.add(entry.term)
        self.sotw.add(entry.snapshot_term)

    def discount(self, entry: Entry) -> None:
        """Count an entry out, before it changes."""
        self.delta.discard(entry.term)
        self.sotw.discard(entry.snapshot_term)


class View:
    """What one audience sees: what is for ``everyone``, which is counted once for all views, and what is for it."""

    def __init__(self, remotes: frozenset[str], everyone: Totals) -> None:
        self.remotes = remotes
        self.own = Totals()
        self.holders = 0
        self.snapshot: tuple[str, list[bytes]] | None = None
        self._everyone = everyone

    @property
    def digest(self) -> SetDigest:
        """Of all that it sees, as the incremental dialect has it."""
        return self._everyone.delta + self.own.delta

    @property
    def snapshot_digest(self) -> SetDigest:
        """Of all that it sees, as the reference's dialect has it."""
        return self._everyone.sotw + self.own.sotw


class Chunk(msgspec.Struct, frozen=True):
    """What a stream is sent in one response: ``body`` is its resources and removals as they go onto the wire.

    ``position`` is where the stream is then, ``last`` whether that is the end. ``since``: when the first of the changes
    began that it tells, where that is known.
    """

    body: bytes
    position: int
    last: bool
    since: float | None


ChunkKey = tuple[int, int, str]
"""Where a stream is, up to where it knows of no removal, and the digest of what it may see."""
_CHUNKS: Final = 16


class Window:
    """When the changes of one stream are due.

    What comes after quiet is due at once, and what follows waits until the window since the last message is over.
    The window doubles, from ``least`` up to ``most``, each time that more than a `FEW` changes go together.
    It is halved each time that fewer do, and again for each window that passes without any.
    """

    def __init__(self, least: float, most: float) -> None:
        self._least = least
        self._most = most
        self._length = least
        self._ends = float("-inf")

    @property
    def length(self) -> float:
        """How long the window is now."""
        return self._length

    def left(self, now: float) -> float:
        """How long what waits ``now`` has yet to wait; 0 where it is due."""
        return max(0.0, self._ends - now)

    def sent(self, now: float, changes: int) -> None:
        """So many ``changes`` were sent together by ``now``: the next window begins."""
        halvings = min((now - self._ends) // self._length, _HALVINGS) if self._length > 0 and now > self._ends else 0.0
        length = max(self._least, self._length / 2**halvings)
        self._length = max(self._least, min(length * 2 if changes > FEW else length / 2, self._most))
        self._ends = now + self._length


class ExportSet:
    """The offers of this mesh. Not for several threads. Until ``mark_ready`` nobody is told anything.

    ``withdrawals``: how many withdrawn hosts are remembered; a stream that is further behind starts anew.
    """

    def __init__(self, *, withdrawals: int = 4096) -> None:
        self._entries: dict[str, Entry] = {}
        self._withdrawn: dict[str, Entry] = {}
        self._max_withdrawn = withdrawals
        self._log: list[tuple[int, Entry]] = []
        self._sequence = 0
        self._floor = 0
        self._everyone = Totals()
        self._restricted: dict[str, Entry] = {}
        """What is offered, and not to everyone."""
        self._views: dict[frozenset[str], View] = {}
        self._chunks: dict[ChunkKey, Chunk] = {}
        """Those that many streams may be sent alike, of this sequence, the newest ones."""
        self._waiters: set[asyncio.Event] = set()
        self._ready = False

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def ready(self) -> bool:
        """Whether the set is complete, so that subscribers may be told."""
        return self._ready

    def mark_ready(self) -> None:
        """Say that the set is complete: every offer that should be in it is."""
        self._ready = True

    def set(self, offer: Offer, audience: Audience, *, since: float | None = None) -> None:
        """Offer a service to the remotes in ``audience``; tells subscribers where something they see changes.

        ``since``: when the change began that this follows from, by the loop's clock.
        Raises ``ValueError`` where the offer cannot be encoded; what was offered before then stays.
        """
        version = messages.version_of(offer)
        entry = self._entries.get(offer.host)
        if entry is not None and entry.version == version and entry.audience == audience:
            entry.encode(offer, version)  # a new subscriber is told the newest times; nobody is told of them alone
            self._chunks.clear()
            return
        fresh = Entry(offer.host)
        fresh.encode(offer, version)
        entry = entry or self._withdrawn.pop(offer.host, None) or Entry(offer.host)
        self._discount(entry)
        former = entry.former
        fresh.offered, fresh.audience = True, audience
        fresh.former = None if former is None or audience is None else former | audience
        self._entries[offer.host] = fresh
        self._changed(fresh, since)

    def remove(self, host: str, *, since: float | None = None) -> None:
        """Offer a service no more; does nothing where it is not offered."""
        entry = self._entries.pop(host, None)
        if entry is None:
            return
        self._discount(entry)
        gone = Entry(host)
        gone.former = entry.former
        self._withdrawn[host] = gone
        while len(self._withdrawn) > self._max_withdrawn:
            oldest = next(iter(self._withdrawn))
            self._floor = max(self._floor, self._withdrawn.pop(oldest).sequence)
        self._changed(gone, since)

    def _changed(self, entry: Entry, since: float | None) -> None:
        self._sequence += 1
        entry.sequence, entry.since = self._sequence, since
        self._log.append((entry.sequence, entry))
        self._chunks.clear()
        self._count(entry)
        if len(self._log) > 2 * (len(self._entries) + len(self._withdrawn)) + 1000:
            self._log = [item for item in self._log if self._current(item[1])]
        for waiter in self._waiters:
            waiter.set()

    def _count(self, entry: Entry) -> None:
        if entry.offered and entry.audience is None:
            self._everyone.count(entry)
        elif entry.offered:
            self._restricted[entry.host] = entry
            for view in self._views.values():
                if entry.visible(view.remotes):
                    view.own.count(entry)

    def _discount(self, entry: Entry) -> None:
        if entry.offered and entry.audience is None:
            self._everyone.discount(entry)
        elif entry.offered:
            del self._restricted[entry.host]
            for view in self._views.values():
                if entry.visible(view.remotes):
                    view.own.discount(entry)

    def chunk(self, key: ChunkKey) -> Chunk | None:
        """Look up what another stream in the same place was sent since the last change."""
        return self._chunks.get(key)

    def keep_chunk(self, key: ChunkKey, chunk: Chunk) -> None:
        """Keep what a stream is sent for others in the same place; some are kept at a time."""
        while len(self._chunks) >= _CHUNKS:
            del self._chunks[next(iter(self._chunks))]
        self._chunks[key] = chunk

    def _current(self, entry: Entry) -> bool:
        return (self._entries if entry.offered else self._withdrawn).get(entry.host) is entry

    @property
    def sequence(self) -> int:
        """The number of the last change."""
        return self._sequence

    @property
    def floor(self) -> int:
        """The last change that is forgotten: a stream before it has missed a withdrawal."""
        return self._floor

    def get(self, host: str) -> Entry | None:
        """Look up what is offered under ``host``."""
        return self._entries.get(host)

    def hosts(self) -> Iterator[str]:
        """Go through the hosts that are offered, in no order; not to be held over an ``await``."""
        return iter(self._entries)

    def after(self, position: int) -> Iterator[Entry]:
        """Go through what changed after ``position``, in that order; not to be held over an ``await``."""
        for index in range(bisect_right(self._log, position, key=itemgetter(0)), len(self._log)):
            entry = self._log[index][1]
            if self._current(entry):
                yield entry

    def snapshot(self, view: View) -> list[bytes]:
        """Everything that a state-of-the-world subscriber of ``view`` is sent, by host; kept until it changes."""
        key = str(view.snapshot_digest)
        if view.snapshot is None or view.snapshot[0] != key:
            entries = (entry for entry in self._entries.values() if entry.packed and entry.visible(view.remotes))
            view.snapshot = key, [entry.packed for entry in sorted(entries, key=lambda entry: entry.host)]
        return view.snapshot[1]

    def hold(self, remotes: frozenset[str], waiter: asyncio.Event) -> View:
        """Begin to watch as ``remotes``: ``waiter`` is set at every change, until ``release``."""
        view = self._views.get(remotes)
        if view is None:
            view = self._views[remotes] = View(remotes, self._everyone)
            for entry in self._restricted.values():
                if entry.visible(remotes):
                    view.own.count(entry)
        view.holders += 1
        self._waiters.add(waiter)
        return view

    def release(self, view: View, waiter: asyncio.Event) -> None:
        """Stop watching."""
        self._waiters.discard(waiter)
        view.holders -= 1
        if not view.holders:
            del self._views[view.remotes]
