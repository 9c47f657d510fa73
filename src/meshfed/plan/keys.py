"""What can be worked out on its own: every output of the plan belongs to exactly one key.

A change marks the keys whose outputs it may affect, and no others; a key is worked out from current state,
never from what changed. Keys sort in the order in which a batch is best worked out: what decides before what
reports, so that most keys are worked out once.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class ExportKey(msgspec.Struct, frozen=True, order=True):
    """A Service of this mesh: whether it is exported, and what the router needs for it."""

    rank: ClassVar[int] = 0
    namespace: str
    name: str


class ImportKey(msgspec.Struct, frozen=True, order=True):
    """A host that remotes serve here: its ServiceEntry, WorkloadEntries and DestinationRule."""

    rank: ClassVar[int] = 1
    host: str


class MeshKey(msgspec.Struct, frozen=True, order=True):
    """What the mesh needs once: who may call its discovery service, and how the router reaches it."""

    rank: ClassVar[int] = 2


class RemoteKey(msgspec.Struct, frozen=True, order=True):
    """A remote mesh's discovery service: how this mesh reaches it."""

    rank: ClassVar[int] = 3
    name: str


class GatewayKey(msgspec.Struct, frozen=True, order=True):
    """One of the Gateway objects, which share the exported hosts."""

    rank: ClassVar[int] = 4
    index: int


class OfferKey(msgspec.Struct, frozen=True, order=True):
    """The status of one FederatedService, by its object name."""

    rank: ClassVar[int] = 5
    name: str


class RemoteStatusKey(msgspec.Struct, frozen=True, order=True):
    """The status of one RemoteMesh."""

    rank: ClassVar[int] = 6
    name: str


class MeshStatusKey(msgspec.Struct, frozen=True, order=True):
    """The status of the MeshFederations."""

    rank: ClassVar[int] = 7


Key = ExportKey | ImportKey | MeshKey | RemoteKey | GatewayKey | OfferKey | RemoteStatusKey | MeshStatusKey


class DirtyKeys:
    """The keys that wait to be worked out, each once."""

    def __init__(self) -> None:
        self._waiting: dict[int, set[Key]] = {}

    def add(self, key: Key) -> None:
        """Let ``key`` wait, if it does not already."""
        self._waiting.setdefault(key.rank, set()).add(key)

    def __contains__(self, key: Key) -> bool:
        return key in self._waiting.get(key.rank, ())

    def take(self) -> list[Key]:
        """Return the keys of the lowest rank, sorted, and forget them; empty where none waits."""
        if not self._waiting:
            return []
        return sorted(self._waiting.pop(min(self._waiting)), key=msgspec.structs.astuple)
