"""Meshes that the page shows: what it asks of each, and those of which a report tells what they held."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from meshfed.cli.exits import BadInput
from meshfed.cli.kinds import EVENTS, LEASES, OURS
from meshfed.views.checks import Facts
from meshfed.views.importers import NOT_REPORTED, ImportersSeen
from meshfed.views.snapshot import Document, Snapshot


class Topic(StrEnum):
    """What of a cluster may change, so that who shows something knows whether that is concerned."""

    STATUS = "status"
    """What controllers say: our kinds, Leases, and whether the cluster answers."""
    OBJECTS = "objects"
    """What decides besides about exports and imports."""
    EVENTS = "events"


ALL: Final = frozenset(Topic)
_OF_KIND: Final = {**{one.kind: Topic.STATUS for one in (*OURS, LEASES)}, EVENTS.kind: Topic.EVENTS}


def topic_of(kind: str) -> Topic:
    """Return of which topic objects of a kind are."""
    return _OF_KIND.get(kind, Topic.OBJECTS)


class ShownMesh(ABC):
    """One mesh, under the name that a person knows it by."""

    def __init__(self, source: str, *, unreached: str = "") -> None:
        self.source = source
        self.unreached = unreached
        """Why it does not answer, in words; empty while it does."""
        self.versions: dict[Topic, int] = dict.fromkeys(Topic, 0)
        """Counts the changes."""
        self.changed: Callable[[Topic], None] = lambda _topic: None
        """Hears of each change, by its topic."""

    def _tell(self, *topics: Topic) -> None:
        for topic in topics:
            self.versions[topic] += 1
            self.changed(topic)

    @property
    @abstractmethod
    def is_known(self) -> bool:
        """Whether there is something to show: whatever says how it stands was read, or may not be."""

    @property
    @abstractmethod
    def is_being_read(self) -> bool:
        """Whether something of it has not come in yet, which is on its way."""

    @property
    @abstractmethod
    def time(self) -> datetime:
        """The time there, by the clock of its API server as far as that is known."""

    @abstractmethod
    async def run(self) -> None:
        """Keep it current until cancelled."""

    @abstractmethod
    def snapshot(self, topics: frozenset[Topic] = ALL, *, beside: Iterable[Document] = ()) -> Snapshot:
        """Return what the cluster holds of some topics, and ``beside``; of what could not be read, why."""

    @abstractmethod
    async def tried(self, remote: str) -> Facts:
        """Shake hands with a remote's gateway from here. Raises ``KubeError`` and ``CommandError``."""

    @abstractmethod
    async def importers(self) -> ImportersSeen:
        """Return what each replica of the controller knows of remotes; of none that could not be asked, why."""

    @abstractmethod
    async def named(self, mesh_config: str) -> tuple[list[Document], dict[str, str]]:
        """Return what is read by its name, when that is needed: Istio's configuration. And why what is not known."""


class HeldMesh(ShownMesh):
    """A mesh that holds what a report says, and does not change."""

    def __init__(self, snapshot: Snapshot, *, unreached: str = "") -> None:
        super().__init__(snapshot.source, unreached=unreached)
        self._held = snapshot

    @property
    def is_known(self) -> bool:
        """Whether there is something to show."""
        return True

    @property
    def is_being_read(self) -> bool:
        """Whether something is still on its way."""
        return False

    @property
    def time(self) -> datetime:
        """The time there."""
        return self._held.taken

    async def run(self) -> None:
        """Keep it current until cancelled."""
        await asyncio.Event().wait()

    def snapshot(self, topics: frozenset[Topic] = ALL, *, beside: Iterable[Document] = ()) -> Snapshot:
        """Return what the cluster holds of some topics, and ``beside``."""
        kept = (one for one in self._held.objects if topic_of(str(one.get("kind"))) in topics)
        unread = {kind: why for kind, why in self._held.unread.items() if topic_of(kind) in topics}
        return msgspec.structs.replace(self._held, objects=(*kept, *beside), unread=unread)

    async def tried(self, remote: str) -> Facts:
        """Shake hands with a remote's gateway from here, as far as that is possible."""
        raise BadInput(f"{remote}: {self.source} is known from a report, which nobody can be tried from")

    async def importers(self) -> ImportersSeen:
        """Return what each replica of the controller knew of remotes."""
        return self._held.importers or NOT_REPORTED

    async def named(self, mesh_config: str) -> tuple[list[Document], dict[str, str]]:
        """Return what is read by its name."""
        return [], {}
