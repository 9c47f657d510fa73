"""How long changes took over the last hour between a mesh and one of its remotes, as its controller measured it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from meshfed.model.last_hour import ChangesSeen, LastChange, MinuteOfChanges
from meshfed.views.importers import ImportersSeen

_HOUR: Final = 3600.0


class DirectionView(msgspec.Struct, frozen=True, rename="camel"):
    """The changes of the last hour in one direction, ``changes`` in all; of a minute without any there is no entry.

    ``measured``: how many seconds of that hour were measured by all who measure; ``None``: none, or nobody says.
    ``slowest`` is seconds. ``last`` may be older than the hour. ``underway`` hosts are not in place yet as they are
    offered now, the first for ``waiting`` seconds; ``None`` where nobody here knows.
    """

    measured: float | None
    changes: int
    slowest: float | None
    last: LastChange | None
    minutes: tuple[MinuteOfChanges, ...]
    underway: int | None = None
    waiting: float | None = None


class PropagationView(msgspec.Struct, frozen=True, rename="camel"):
    """How long changes took: of the remote until they were in place here, and of this mesh until they were there.

    ``source`` is the cluster. ``confirms``: whether the remote says what it has in place; ``None`` where it does not
    subscribe, or that is not known. ``why`` says what could not be asked; empty where all was.
    """

    source: str
    remote: str
    imports: DirectionView
    exports: DirectionView
    confirms: bool | None
    why: str


class PropagationListing(msgspec.Struct, frozen=True):
    """How long changes took, of each remote of each mesh, without the minutes."""

    items: tuple[PropagationView, ...]


def propagation(seen: ImportersSeen, source: str, remote: str) -> PropagationView:
    """Return what the replicas of the controller of a cluster say of one remote."""
    imports, exports = (_direction(one, remote) for one in (seen.imports_took, seen.exports_took))
    said = seen.remotes.get(remote)
    if said is not None and said.says:
        exports = msgspec.structs.replace(exports, underway=said.outdated, waiting=said.waiting)
    return PropagationView(source, remote, imports, exports, said.says if said is not None else None, seen.why)


def listing(found: Iterable[PropagationView]) -> PropagationListing:
    """Return several without their minutes."""
    return PropagationListing(
        tuple(
            msgspec.structs.replace(
                one,
                imports=msgspec.structs.replace(one.imports, minutes=()),
                exports=msgspec.structs.replace(one.exports, minutes=()),
            )
            for one in found
        )
    )


def _direction(seen: ChangesSeen, remote: str) -> DirectionView:
    measured = None if seen.measured is None else min(seen.measured, _HOUR)
    hour = seen.remotes.get(remote)
    if hour is None:
        return DirectionView(measured, 0, None, None, ())
    return DirectionView(
        measured,
        sum(one.changes for one in hour.minutes),
        max((one.slowest for one in hour.minutes), default=None),
        hour.last,
        hour.minutes,
    )
