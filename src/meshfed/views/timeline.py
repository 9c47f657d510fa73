"""What happened: the last turn of each condition, the controller's Events, and who changed what is asked for.

The latest comes first. A condition says when its status last turned, and not what it was before; its message is of
now. Managed fields say when each manager last changed an object, and not what. So this is what can be known, and not
all that ever happened. What turned in the same second for the same reason is one entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from meshfed.api.meta import StatusCondition
from meshfed.api.times import parse_time
from meshfed.model.installation import WRITER
from meshfed.model.reasons import DENIALS, Reason
from meshfed.views.edits import EDITED, edits, moment
from meshfed.views.problems import is_wrong
from meshfed.views.snapshot import Document, Snapshot

_RECORD: Final = "FederatedService"
_FINE: Final = DENIALS | {Reason.PENDING, Reason.NOT_PROBED}
"""Why something of an offer does not hold, or is not known, where nobody has to act."""
_SHOWN: Final = 3


class Trace(StrEnum):
    """What a happening left, by which it is known."""

    CONDITION = "condition"
    EVENT = "event"
    EDIT = "edit"
    """The managed fields of an object that people write."""


_ORDER: Final = (Trace.EDIT, Trace.CONDITION, Trace.EVENT)


class HappeningView(msgspec.Struct, frozen=True, rename="camel"):
    """Something that turned or happened. ``at`` is RFC 3339, ``kind`` and ``objects`` are whose it is.

    Of many, ``objects`` has the first few, and ``count`` says how many there are. ``what`` is the condition with its
    status, the Event's reason, or ``Created`` or ``Changed``. ``remote`` is empty where it concerns none. ``bad``:
    somebody may have to act.
    """

    at: str
    mesh: str
    kind: str
    objects: tuple[str, ...]
    count: int
    remote: str
    what: str
    reason: str
    message: str
    bad: bool
    trace: Trace


class HappeningQuery(msgspec.Struct, frozen=True):
    """Which happenings are asked for; ``within`` is how long ago they may be, ``None`` for all."""

    words: tuple[str, ...] = ()
    mesh: str = ""
    remote: str = ""
    bad: bool = False
    within: timedelta | None = None


class TimelinePage(msgspec.Struct, frozen=True, rename="camel"):
    """Some of what happened, ``items`` from ``start`` on, of ``total`` that were asked for; ``all`` counts all."""

    items: tuple[HappeningView, ...]
    start: int
    total: int
    all: int
    notes: tuple[str, ...] = ()


def happenings(snapshot: Snapshot) -> tuple[HappeningView, ...]:
    """Return all that can be known to have happened in a mesh."""
    alike: dict[tuple[object, ...], list[HappeningView]] = {}
    for one in (*_conditions(snapshot), *_events(snapshot), *_edits(snapshot)):
        if not one.at:
            continue  # a report may say anything
        # Many offers turn at once, each with a message of its own; of anything else there are few.
        said = "" if one.kind == _RECORD else (*one.objects, one.message)
        alike.setdefault((one.at, one.kind, one.remote, one.what, one.reason, said), []).append(one)
    return tuple(sorted(map(_together, alike.values()), key=_latest, reverse=True))


def _latest(one: HappeningView) -> tuple[str, int, str, tuple[str, ...]]:
    # What is asked for comes before what follows from it, and an Event is written once a condition has turned.
    return one.at, _ORDER.index(one.trace), one.kind, one.objects


def _together(members: Sequence[HappeningView]) -> HappeningView:
    first = members[0]
    if len(members) == 1:
        return first
    names = sorted({name for one in members for name in one.objects})
    same = len({one.message for one in members}) == 1
    return msgspec.structs.replace(
        first,
        objects=tuple(names[:_SHOWN]),
        count=len(names),
        message=first.message if same else f"{names[0]}: {min(members, key=lambda one: one.objects).message}",
    )


def _conditions(snapshot: Snapshot) -> Iterator[HappeningView]:
    mesh = snapshot.mesh
    for federation in snapshot.federations:
        yield from _turned(mesh, "MeshFederation", federation.metadata.name, "", federation.status.conditions)
    for remote in snapshot.remotes:
        name = remote.metadata.name
        yield from _turned(mesh, "RemoteMesh", name, name, remote.status.conditions)
    for record in snapshot.records:
        yield from _turned(mesh, _RECORD, record.spec.host, record.spec.remote, record.status.conditions)


def _turned(
    mesh: str, kind: str, name: str, remote: str, conditions: Iterable[StatusCondition]
) -> Iterator[HappeningView]:
    for one in conditions:
        harmless = kind == _RECORD and one.reason in _FINE
        yield HappeningView(
            at=moment(one.last_transition_time),
            mesh=mesh,
            kind=kind,
            objects=(name,),
            count=1,
            remote=remote,
            what=f"{one.type} {one.status}",
            reason=one.reason,
            message=one.message,
            bad=is_wrong(one) and not harmless,
            trace=Trace.CONDITION,
        )


def _events(snapshot: Snapshot) -> Iterator[HappeningView]:
    """Yield the Events: of objects of ours, and of Services that came to be exported, or ceased to be."""
    mesh = snapshot.mesh
    records = {one.metadata.name: (one.spec.host, one.spec.remote) for one in snapshot.records}
    remotes = {one.metadata.name for one in snapshot.remotes}
    for event in snapshot.of_kind("Event"):
        if event.get("reportingComponent") != WRITER:
            continue
        about = event.get("involvedObject")
        about = about if isinstance(about, dict) else {}
        kind, name = str(about.get("kind") or ""), str(about.get("name") or "")
        if kind == _RECORD:
            # Of one that is gone, its name says which it was.
            host, remote = records.get(name) or _parted(name)
        else:
            host, remote = name, name if name in remotes else ""
        if kind not in {_RECORD, "RemoteMesh", "MeshFederation"}:
            host, remote = f"{about.get('namespace')}/{name}", ""
        yield HappeningView(
            at=moment(_last(event)),
            mesh=mesh,
            kind=kind,
            objects=(host,),
            count=1,
            remote=remote,
            what=str(event.get("reason") or ""),
            reason="",
            message=str(event.get("message") or ""),
            bad=event.get("type") == "Warning",
            trace=Trace.EVENT,
        )


def _parted(name: str) -> tuple[str, str]:
    host, _, remote = name.rpartition(".")
    return (host, remote) if host else (name, "")


def _edits(snapshot: Snapshot) -> Iterator[HappeningView]:
    """Yield who changed a MeshFederation or a RemoteMesh, once for each manager: when it last did."""
    for kind in EDITED:
        for document in snapshot.of_kind(kind):
            metadata = document.get("metadata") or {}
            if metadata.get("namespace", snapshot.namespace) != snapshot.namespace:
                continue
            name = str(metadata.get("name"))
            for one in edits(document):
                own = f"; its fields: {', '.join(one.fields)}" if one.fields else ""
                yield HappeningView(
                    at=one.at,
                    mesh=snapshot.mesh,
                    kind=kind,
                    objects=(name,),
                    count=1,
                    remote=name if kind == "RemoteMesh" else "",
                    what="Created" if one.made else "Changed",
                    reason="",
                    message=f"by {one.manager}{own}",
                    bad=False,
                    trace=Trace.EDIT,
                )


def _last(event: Document) -> str:
    metadata = event.get("metadata")
    made = metadata.get("creationTimestamp") if isinstance(metadata, dict) else ""
    return str(event.get("lastTimestamp") or event.get("eventTime") or made or "")


def page(
    found: Sequence[HappeningView],
    query: HappeningQuery,
    *,
    now: Mapping[str, datetime],
    start: int,
    size: int,
    notes: tuple[str, ...] = (),
) -> TimelinePage:
    """Return the happenings that are asked for, ``size`` of them from ``start`` on; ``now`` is by mesh."""
    words = tuple(word.lower() for word in query.words)
    asked = [one for one in found if _is_asked(one, query, now) and _has(one, words)]
    start = max(0, min(start, (len(asked) - 1) // size * size)) if asked else 0
    return TimelinePage(tuple(asked[start : start + size]), start, len(asked), len(found), notes)


def _is_asked(one: HappeningView, query: HappeningQuery, now: Mapping[str, datetime]) -> bool:
    return (
        query.mesh in ("", one.mesh)
        and query.remote in ("", one.remote)
        and (one.bad or not query.bad)
        and (query.within is None or (one.mesh in now and _is_since(one.at, now[one.mesh] - query.within)))
    )


def _is_since(at: str, since: datetime) -> bool:
    try:
        return parse_time(at) >= since
    except ValueError:
        return False


def _has(one: HappeningView, words: Sequence[str]) -> bool:
    text = " ".join((one.kind, *one.objects, one.remote, one.mesh, one.what, one.reason, one.message)).lower()
    return all(word in text for word in words)
