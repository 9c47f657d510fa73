"""What a client reports of a remote, and the mailbox between the stream and whoever consumes the reports.

A slow consumer never holds up the stream, whose heartbeats must be heard: reports that wait are merged, latest state
wins, so what waits is at most one list of what the remote offers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from meshfed.fds.errors import DiscoveryError
from meshfed.fds.messages import Dialect
from meshfed.model.offers import Offer

MAX_REJECTED: Final = 100
"""How many rejections one update names; more are counted in the metrics alone."""


class Rejected(msgspec.Struct, frozen=True):
    """Something that could not be taken, and why. ``host`` is empty where it is not known, or stands for many.

    A rejected host is still offered: what was known of it before stays.
    """

    host: str
    why: str


class Update(msgspec.Struct, frozen=True):
    """What changed in what a remote offers.

    ``upserts`` have unique hosts and valid UTF-8, and are otherwise as announced (see ``model.offers.checked``).
    ``complete``: ``upserts`` is the whole list, and whatever is neither in it nor in ``rejected`` was withdrawn.
    Otherwise only ``removals`` were withdrawn. ``synced``: with this, everything has arrived that the remote had to
    say when the stream began; until then more is on its way.
    """

    upserts: tuple[Offer, ...] = ()
    removals: tuple[str, ...] = ()
    complete: bool = False
    synced: bool = False
    rejected: tuple[Rejected, ...] = ()
    received: float = 0.0
    """When it came, by the loop's clock; of several that were merged, the first."""
    versions: Mapping[str, str] = {}
    """By host, the version under which each of ``upserts`` was announced, in the dialect that has versions."""
    asked: str = ""
    """What to answer with once all that came until now was worked out, where the remote asked for that."""


class Sink(Protocol):
    """Consumes what a client reports, one call at a time. What it raises ends the client's ``run``."""

    async def connected(self, dialect: Dialect) -> None:
        """Hear that a stream is up: the remote has answered, in ``dialect``. Updates follow."""

    async def update(self, update: Update) -> None:
        """Take a change; while it is being taken, later ones are merged."""

    async def disconnected(self, error: DiscoveryError) -> None:
        """Hear that an attempt failed, or that the stream that was up is gone. Nothing was withdrawn by that."""


class Mailbox:
    """Reports on their way to a sink: at most one change of connection and one merged update."""

    def __init__(self) -> None:
        self._status: Dialect | DiscoveryError | None = None
        self._update: Update | None = None
        self._filled = asyncio.Event()

    def connected(self, dialect: Dialect) -> None:
        """Report a stream that is up."""
        self._status = dialect
        self._filled.set()

    def disconnected(self, error: DiscoveryError) -> None:
        """Report an attempt that failed or a stream that ended."""
        self._status = error
        self._filled.set()

    def put(self, update: Update) -> None:
        """Report a change."""
        self._update = update if self._update is None else merged(self._update, update)
        self._filled.set()

    def statistics(self) -> dict[str, int]:
        """Say how many offers and withdrawals wait for the sink."""
        waiting = self._update
        return {"waiting": len(waiting.upserts) + len(waiting.removals) if waiting else 0}

    async def deliver(self, sink: Sink) -> None:
        """Hand everything to ``sink``, in an order that makes sense of what was merged, until cancelled."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            status, update = self._status, self._update
            self._status = self._update = None
            if isinstance(status, Dialect):
                await sink.connected(status)
            if update is not None:
                await sink.update(update)
            if isinstance(status, DiscoveryError):
                await sink.disconnected(status)
            del status, update  # else all that a remote offers is kept until it says something else


def merged(first: Update, second: Update) -> Update:
    """Make one update of two in a row."""
    if second.complete:
        return msgspec.structs.replace(second, received=first.received, asked=second.asked or first.asked)
    upserts = {offer.host: offer for offer in first.upserts}
    removals = dict.fromkeys(first.removals)
    for host in second.removals:
        upserts.pop(host, None)
        removals[host] = None
    for offer in second.upserts:
        upserts[offer.host] = offer
        removals.pop(offer.host, None)
    rejected = {(item.host, item.why): item for item in (*first.rejected, *second.rejected)}
    settled = {offer.host for offer in second.upserts} | set(second.removals)
    return Update(
        upserts=tuple(upserts.values()),
        removals=() if first.complete else tuple(removals),
        complete=first.complete,
        synced=second.synced,
        rejected=tuple(item for item in rejected.values() if item.host not in settled)[:MAX_REJECTED],
        received=first.received,
        asked=second.asked or first.asked,
        versions={host: version for host, version in {**first.versions, **second.versions}.items() if host in upserts},
    )
