"""What one cluster held at one moment, as far as it could be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from meshfed.api.meta import ObjectMeta, StatusCondition
from meshfed.api.v1alpha1 import FederatedService, MeshFederation, RemoteMesh

if TYPE_CHECKING:
    from meshfed.views.importers import ImportersSeen

T = TypeVar("T", bound=msgspec.Struct)
Document = dict[str, Any]
"""An object as plain data."""

KINDS: Final[dict[str, type[MeshFederation | RemoteMesh | FederatedService]]] = {
    "MeshFederation": MeshFederation,
    "RemoteMesh": RemoteMesh,
    "FederatedService": FederatedService,
}
"""The kinds of our API."""


class Unreached(msgspec.Struct, frozen=True):
    """A cluster of which nothing is known, and why, in words."""

    source: str
    why: str


class Clock(msgspec.Struct, frozen=True):
    """By how many seconds the clock of an API server is ahead of the one here, and within how many that is sure.

    It comes from the ``Date`` of an answer, which has whole seconds.
    """

    ahead: float
    within: float

    def is_better(self, other: Clock | None) -> bool:
        """Whether this is to be believed, and no longer what was read before: it is surer, or both cannot be."""
        if other is None or self.within < other.within:
            return True
        return abs(self.ahead - other.ahead) > self.within + other.within

    @classmethod
    def read(cls, date: str, asked: datetime, answered: datetime) -> Clock | None:
        """Compare the ``Date`` of an answer with when it was ``asked`` for and ``answered``; ``None`` if it is none."""
        try:
            sent = parsedate_to_datetime(date)
        except (TypeError, ValueError):
            return None
        if sent.tzinfo is None:
            return None
        took = (answered - asked).total_seconds()
        return cls((sent - asked).total_seconds() + 0.5 - took / 2, 0.5 + took / 2)


class Server(msgspec.Struct, frozen=True):
    """What an API server says of itself: its version, as ``v1.36.3``, and its time; empty where it does not say."""

    version: str = ""
    clock: Clock | None = None


class Snapshot(msgspec.Struct, frozen=True, dict=True):
    """The objects of one cluster that matter to the installation in ``namespace``.

    ``source`` is the kubeconfig's context, or the files. ``unread`` says of each kind that could not be read why, in
    words; nothing is known of its objects, which is not that there are none. ``taken`` is by the clock of the API
    server, where that is known: times in objects are by it, and the clock here may be wrong. What is made of objects is
    made once, so they do not change.
    """

    source: str
    namespace: str
    taken: datetime
    objects: tuple[Document, ...] = ()
    unread: Mapping[str, str] = {}
    server: Server = Server()
    importers: ImportersSeen | None = None
    """Who imports what is exported, of all hosts; ``None`` where nobody was asked."""

    def of_kind(self, kind: str) -> Iterator[Document]:
        """Yield the objects of a kind, as they came."""
        return iter(self._by_kind.get(kind, ()))

    @cached_property
    def _by_kind(self) -> Mapping[str, list[Document]]:
        found: dict[str, list[Document]] = {}
        for document in self.objects:
            found.setdefault(str(document.get("kind")), []).append(document)
        return found

    @cached_property
    def federations(self) -> tuple[MeshFederation, ...]:
        """The MeshFederations, the oldest first: that is the one in force."""
        found = self._decoded("MeshFederation", MeshFederation)
        return tuple(sorted(found, key=lambda one: (one.metadata.creation_timestamp, one.metadata.name)))

    @cached_property
    def remotes(self) -> tuple[RemoteMesh, ...]:
        """The RemoteMeshes, by name."""
        return tuple(sorted(self._decoded("RemoteMesh", RemoteMesh), key=lambda one: one.metadata.name))

    @cached_property
    def records(self) -> tuple[FederatedService, ...]:
        """The FederatedServices, by host and remote."""
        found = self._decoded("FederatedService", FederatedService)
        return tuple(sorted(found, key=lambda one: (one.spec.host, one.spec.remote)))

    @cached_property
    def mesh(self) -> str:
        """The name of this mesh; where nobody says it, of where the objects are from."""
        return next((one.metadata.name for one in self.federations), self.source)

    def not_understood(self) -> tuple[str, ...]:
        """Return the objects of ours that this version cannot decode, in words."""
        return tuple(problem for kind in KINDS for _, problem in self._ours[kind] if problem)

    def _decoded(self, kind: str, type_: type[T]) -> Iterator[T]:
        return (decoded for decoded, _ in self._ours[kind] if isinstance(decoded, type_))

    @cached_property
    def _ours(self) -> Mapping[str, tuple[tuple[object | None, str], ...]]:
        """By kind, each object decoded, or why it cannot be."""
        return {kind: tuple(self._tried(kind, KINDS[kind])) for kind in KINDS}

    def _tried(self, kind: str, type_: type[T]) -> Iterator[tuple[T | None, str]]:
        for document in self.of_kind(kind):
            metadata = document.get("metadata") or {}
            if metadata.get("namespace", self.namespace) != self.namespace:
                continue
            try:
                yield msgspec.convert(document, type_), ""
            except msgspec.ValidationError as error:
                yield None, f"{kind} {metadata.get('namespace')}/{metadata.get('name')} cannot be understood: {error}"


def find(conditions: Iterable[StatusCondition], type_: str) -> StatusCondition | None:
    """Return the condition of that type, if there is one."""
    return next((one for one in conditions if one.type == type_), None)


def named(metadata: ObjectMeta) -> str:
    """Return ``namespace/name``."""
    return f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name
