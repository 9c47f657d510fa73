"""Who wants which object: the union over all sources, and what has to wait for what. No I/O.

A source is a caller's key, say an imported host, that wants some objects. What it wants is replaced as a whole, and
costs nothing to the others. Three rules about order, each so that traffic never meets a gap or a duplicate:

- Apply before delete: what a source dropped is deleted once what it wants now is in place, or cannot be.
- ``after``: a source's objects are written once those of other sources are in place and what they dropped is gone.
- What exists without any source having dropped it (from before a restart) goes once every wanted object was tried.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from meshfed.kube.desired import Desired, Observed
from meshfed.kube.resources import ObjectKey

_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of an object."""

    PENDING = "Pending"
    """Not tried yet, or waiting for its turn."""
    APPLIED = "Applied"
    PAUSED = "Paused"
    """An annotation on it says to leave it alone."""
    NOT_OWNED = "NotOwned"
    """An object of that name exists that is not ours."""
    INVALID = "Invalid"
    """The API refuses it for what it says."""
    DRIFT_CONFLICT = "DriftConflict"
    """Something else keeps changing it back."""
    FAILED = "Failed"
    """The API refuses or fails it for another reason."""
    ABSENT = "Absent"
    """Neither wanted nor there."""


class ObjectState(msgspec.Struct, frozen=True):
    """What became of an object, a sentence on why, and the failed attempts since it last went well.

    ``refused``: it is in place, and why whoever is to act on it does not all the same.
    """

    outcome: Outcome
    message: str = ""
    attempts: int = 0
    refused: str = ""


class SourceState(msgspec.Struct, frozen=True):
    """What became of everything a source wants, and what it dropped that is not gone yet."""

    objects: dict[ObjectKey, ObjectState]
    deleting: frozenset[ObjectKey]


NOBODY: Final = object()
ABSENT: Final = ObjectState(Outcome.ABSENT)
APPLIED: Final = ObjectState(Outcome.APPLIED)
PENDING: Final = ObjectState(Outcome.PENDING)
_NO_KEYS: Final[frozenset[Any]] = frozenset()


@dataclass(slots=True, eq=False)
class Record:
    """What is known of one object that is wanted, or was and is to go. Times are the loop's."""

    key: ObjectKey
    desired: Desired | None = None
    source: Hashable = NOBODY
    """Who wants it, or who dropped it last."""
    state: ObjectState = PENDING
    working: Desired | None = None
    """What a worker is at; the same as ``desired`` unless that changed under way."""
    not_before: float = 0.0
    uid: str = ""
    """Of the object as we last wrote it."""
    written: Observed | None = None
    """What the server answered to our last write, until the watch has come as far."""
    deleted: bool = False
    """We deleted it, and the watch has not said so yet."""
    expires: float = 0.0
    """When ``written`` and ``deleted`` yield to the watch, whatever it said."""
    accepted: tuple[bytes, bytes] | None = None
    """Digest sent and digest stored, where the server made one of the other (defaults)."""
    applied: Desired | None = None
    """What was last seen in place, and since when."""
    applied_at: float = 0.0
    diverged_at: float | None = None
    rewrites: int = 0


@dataclass(slots=True, eq=False)
class Source:
    """What one source wants and dropped; ``waiting`` are the objects that wait for it.

    ``flow``: who had it want that, and in whose turn its objects are written.
    """

    # Of thousands of sources hardly any has something in these, and all that are empty are one.
    desired: tuple[ObjectKey, ...] = ()
    dropped: frozenset[ObjectKey] = _NO_KEYS
    blocking: frozenset[ObjectKey] = _NO_KEYS
    after: frozenset[Hashable] = _NO_KEYS
    waiting: frozenset[ObjectKey] = _NO_KEYS
    flow: Hashable = None


class Sources:
    """Every source and every object's record. Methods return the keys to work out again."""

    def __init__(self) -> None:
        self.records: dict[ObjectKey, Record] = {}
        self.outcomes: Counter[Outcome] = Counter()
        self._sources: dict[Hashable, Source] = {}
        self._contested: dict[ObjectKey, dict[Hashable, Desired]] = {}
        self._pending: set[ObjectKey] = set()
        self._orphans_waiting: set[ObjectKey] = set()

    def want(
        self, source: Hashable, wanted: dict[ObjectKey, Desired], after: frozenset[Hashable], flow: Hashable
    ) -> set[ObjectKey]:
        """Replace what ``source`` wants."""
        if not wanted and source not in self._sources:
            return set()
        entry = self._sources.setdefault(source, Source())
        entry.flow = flow
        before, entry.desired = entry.desired, tuple(wanted)
        changed = self._order(source, entry, after)
        for desired in wanted.values():
            changed |= self._claim(source, desired)
        for key in before:
            if key not in wanted:
                changed |= self._release(source, entry, key)
        return changed | self._released(source, entry)

    def state(self, key: ObjectKey) -> ObjectState | None:
        """What became of an object that is wanted or being deleted."""
        record = self.records.get(key)
        return record.state if record is not None else None

    def flow(self, key: ObjectKey) -> Hashable:
        """In whose turn an object is written; ``None`` where nobody ever wanted it."""
        record = self.records.get(key)
        entry = self._sources.get(record.source) if record is not None else None
        return entry.flow if entry is not None else None

    def source_state(self, source: Hashable) -> SourceState:
        """What became of what ``source`` wants."""
        entry = self._sources.get(source, Source())
        states = {}
        for key in entry.desired:
            record = self.records[key]
            states[key] = record.state
            if record.source != source:
                states[key] = ObjectState(Outcome.FAILED, f"{record.source!r} wants this object already")
        return SourceState(states, entry.dropped)

    @property
    def pending(self) -> frozenset[ObjectKey]:
        """Wanted objects that were not tried, or wait for their turn."""
        return frozenset(self._pending)

    def orphan(self, key: ObjectKey) -> Record:
        """The record of an object that exists and that nobody, as far as we know, ever wanted."""
        return self._record(key)

    def _record(self, key: ObjectKey) -> Record:
        record = self.records[key] = Record(key)
        self.outcomes[record.state.outcome] += 1
        return record

    def update(self, record: Record, state: ObjectState, *, blocking: bool) -> set[ObjectKey]:
        """Set what became of an object; ``blocking``: it may yet be applied, so that others should wait for it."""
        self.outcomes[record.state.outcome] -= 1
        self.outcomes[state.outcome] += 1
        record.state = state
        wanted = record.desired is not None
        if wanted and state.outcome is Outcome.PENDING:
            self._pending.add(record.key)
        else:
            self._pending.discard(record.key)
        entry = self._sources.get(record.source)
        changed = set()
        if entry is not None:
            change = _with if wanted and blocking else _without
            entry.blocking = change(entry.blocking, record.key)
            changed = self._released(record.source, entry)
        if not self._pending:
            changed |= self._orphans_waiting
            self._orphans_waiting = set()
        return changed

    def gone(self, record: Record) -> set[ObjectKey]:
        """An object that is not wanted does not exist any more."""
        del self.records[record.key]
        self.outcomes[record.state.outcome] -= 1
        entry = self._sources.get(record.source)
        if entry is None:
            return set()
        entry.dropped = _without(entry.dropped, record.key)
        return self._released(record.source, entry)

    def must_wait(self, record: Record) -> str:
        """What ``record`` has to wait for, in words; empty if nothing. It is worked out again when that is over."""
        if record.desired is None:
            return self._must_wait_to_go(record)
        for other in self._sources[record.source].after:
            entry = self._sources.get(other)
            if entry is not None and (entry.blocking or entry.dropped):
                entry.waiting = _with(entry.waiting, record.key)
                return f"waits until what {other!r} wants is in place"
        return ""

    def _must_wait_to_go(self, record: Record) -> str:
        entry = self._sources.get(record.source)
        if entry is None:
            if not self._pending:
                return ""
            self._orphans_waiting.add(record.key)
            return "is not wanted; waits until everything that is wanted was tried"
        if not entry.blocking:
            return ""
        entry.waiting = _with(entry.waiting, record.key)
        return f"is not wanted any more; waits until what {record.source!r} wants is in place"

    def _order(self, source: Hashable, entry: Source, after: frozenset[Hashable]) -> set[ObjectKey]:
        if circular := [other for other in after if self._reaches(other, source)]:
            _log.error("%r cannot come after %r, which comes after it", source, circular)
            after -= set(circular)
        if after == entry.after:
            return set()
        entry.after = after
        return set(entry.blocking)

    def _reaches(self, start: Hashable, target: Hashable) -> bool:
        seen, todo = set(), [start]
        while todo:
            source = todo.pop()
            if source == target:
                return True
            if source not in seen and source in self._sources:
                seen.add(source)
                todo += self._sources[source].after
        return False

    def _claim(self, source: Hashable, desired: Desired) -> set[ObjectKey]:
        key = desired.key
        record = self.records.get(key)
        if record is None:
            record = self._record(key)
        elif record.desired is not None and record.source != source:
            losers = self._contested.setdefault(key, {})
            if source not in losers:
                _log.error("%s is wanted by %r and by %r; the first is obeyed", key, record.source, source)
            losers[source] = desired
            return set()
        elif record.desired == desired:
            return set()
        changed = {key}
        dropper = self._sources.get(record.source)
        if dropper is not None and key in dropper.dropped:
            dropper.dropped = _without(dropper.dropped, key)
            changed |= self._released(record.source, dropper)
        record.desired = desired
        record.source = source
        record.not_before = 0.0
        record.rewrites = 0
        record.diverged_at = None
        return changed | self.update(record, PENDING, blocking=True)

    def _release(self, source: Hashable, entry: Source, key: ObjectKey) -> set[ObjectKey]:
        record = self.records[key]
        losers = self._contested.get(key, {})
        if record.source != source:
            del losers[source]
        if not losers:
            self._contested.pop(key, None)
        if record.source != source:
            return set()
        entry.blocking = _without(entry.blocking, key)
        record.desired = None
        record.not_before = 0.0
        if losers:
            heir = next(iter(losers))
            return self._claim(heir, losers.pop(heir))
        entry.dropped = _with(entry.dropped, key)
        return {key} | self.update(record, ObjectState(Outcome.PENDING, "is not wanted any more"), blocking=False)

    def _released(self, source: Hashable, entry: Source) -> set[ObjectKey]:
        """What waited for ``source`` and may look again; a source that has nothing left is forgotten."""
        if not entry.desired and not entry.dropped:
            self._sources.pop(source, None)
        elif entry.blocking:
            return set()
        released, entry.waiting = entry.waiting, _NO_KEYS
        return set(released)


def _with(keys: frozenset[ObjectKey], key: ObjectKey) -> frozenset[ObjectKey]:
    return keys if key in keys else keys | {key}


def _without(keys: frozenset[ObjectKey], key: ObjectKey) -> frozenset[ObjectKey]:
    return keys - {key} or _NO_KEYS if key in keys else keys
