"""What can be worked out on its own: every output of the plan belongs to exactly one key.

A key waits to be worked out where what it goes by came out otherwise, and no other does; it is worked out from current
state, never from what changed. Keys have ranks, in the order in which they are best worked out: what decides before
what reports, so that most keys are worked out once.

Each object that is written says in an annotation which key it follows from (`origin`), so that a later process knows of
an object that nobody wants whom to ask whether it may go.
"""

from __future__ import annotations

from typing import ClassVar, Final, Protocol

import msgspec

from meshfed.api.v1alpha1 import ORIGIN_ANNOTATION
from meshfed.istio.metadata import Manifest


class ExportKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """A Service of this mesh: whether it is exported, and what the router needs for it."""

    rank: ClassVar[int] = 0
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"the export of Service {self.namespace}/{self.name}"


class ImportKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """A host that remotes serve here: its ServiceEntry, WorkloadEntries and DestinationRule."""

    rank: ClassVar[int] = 1
    host: str

    def __str__(self) -> str:
        return f"the import of {self.host}"


class MeshKey(msgspec.Struct, frozen=True, order=True):
    """What the mesh needs once: who may call its discovery service, and how the router reaches it."""

    rank: ClassVar[int] = 2

    def __str__(self) -> str:
        return "who may call the discovery service"


class RemoteKey(msgspec.Struct, frozen=True, order=True):
    """A remote mesh's discovery service: how this mesh reaches it."""

    rank: ClassVar[int] = 3
    name: str

    def __str__(self) -> str:
        return f"the way to RemoteMesh {self.name}"


class GatewayKey(msgspec.Struct, frozen=True, order=True):
    """One of the Gateway objects, which share the exported hosts."""

    rank: ClassVar[int] = 4
    index: int

    def __str__(self) -> str:
        return f"Gateway number {self.index}"


class OfferKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """The status of one FederatedService, by its object name."""

    rank: ClassVar[int] = 5
    name: str

    def __str__(self) -> str:
        return f"the status of FederatedService {self.name}"


class RemoteStatusKey(msgspec.Struct, frozen=True, order=True):
    """The status of one RemoteMesh."""

    rank: ClassVar[int] = 6
    name: str

    def __str__(self) -> str:
        return f"the status of RemoteMesh {self.name}"


class MeshStatusKey(msgspec.Struct, frozen=True, order=True):
    """The status of the MeshFederations."""

    rank: ClassVar[int] = 7

    def __str__(self) -> str:
        return "the status of the MeshFederation"


Key = ExportKey | ImportKey | MeshKey | RemoteKey | GatewayKey | OfferKey | RemoteStatusKey | MeshStatusKey


def origin(key: Key) -> str:
    """Return the key that an object follows from as that is written on the object: ``import <host>``, ``gateway 0``."""
    match key:
        case ExportKey(namespace=namespace, name=name):
            return f"export {namespace}/{name}"
        case ImportKey(host=host):
            return f"import {host}"
        case MeshKey():
            return "mesh"
        case RemoteKey(name=name):
            return f"remote {name}"
        case GatewayKey(index=index):
            return f"gateway {index}"
        case OfferKey(name=name):
            return f"offer {name}"
        case _:
            raise ValueError(f"no object follows from {key}")


def mark_origin(manifest: Manifest, key: Key) -> None:
    """Write on an object which key it follows from."""
    manifest["metadata"].setdefault("annotations", {})[ORIGIN_ANNOTATION] = origin(key)


def read_origin(text: str) -> Key | None:
    """Return the key that ``origin`` gave ``text`` for; ``None`` where that says nothing to us."""
    kind, _, name = text.partition(" ")
    match kind, name.split("/"):
        case "export", [namespace, service]:
            return ExportKey(namespace, service)
        case "import", [host]:
            return ImportKey(host)
        case "mesh", [""]:
            return MeshKey()
        case "remote", [remote]:
            return RemoteKey(remote)
        case "gateway", [index] if index.isdecimal():
            return GatewayKey(int(index))
        case "offer", [record]:
            return OfferKey(record)
        case _:
            return None


class Mark(Protocol):
    """Has a key worked out again, in the turn of ``flow``: the remote that gave reason to, or this mesh, ""."""

    def __call__(self, key: Key, flow: str = "") -> None:
        """Mark the key."""


TURN: Final = 8
"""The most keys of one turn, so that what another remote touched waits for some milliseconds and not for thousands."""


class Turn(msgspec.Struct, frozen=True):
    """Keys to work out now, all of one rank, and whose turn it is: the remote that made them wait, or this mesh, ""."""

    flow: str
    keys: list[Key]
