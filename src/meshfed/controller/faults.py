"""Where our own code failed, until it no longer does.

An exception of ours says nothing about what exists. So nothing is deleted for one, and none goes unseen: it is logged
with its trace, and ``/readyz`` and the metric ``meshfed_faults`` name what it concerns until it is over. What is done
about it depends on what failed:

- What is worked out by itself (one key, one derived value, one report) is tried again by itself,
  and what it led to stays.
- Where an object of the cluster was being taken in, what we know is half changed and cannot be trusted. The term ends,
  and the next one begins with nothing in memory (`Feed`). In it the object is set aside, as one that cannot be
  understood, so that what follows from it is unknown and stays (`NotUnderstood`), and everything else goes on.
- Anything else ends the term too, and the next one begins after a pause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from meshfed.api.meta import ObjectMeta
from meshfed.kube import Key, Store
from meshfed.plan import Ref
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
T = TypeVar("T")

FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 300.0
"""Seconds until what failed is tried again; they double each time that it fails once more."""
ASIDE_FIRST: Final = 30.0
ASIDE_LAST: Final = 1800.0
"""The same of an object that was set aside: it ends another term if it fails once more."""
A_TERM: Final = "the controller's own work"
"""What a fault that ended a term concerns, until a later one finds its feet."""
_SHOWN: Final = 50
"""The most faults that the log has a trace of at a time, and the metric a series for; all others are one."""


class Fault(msgspec.Struct):
    """One that stands: what it is, how often it came, and the timer of what is to be done about it."""

    error: str
    attempts: int = 0
    timer: asyncio.TimerHandle | None = None


class _Aside(msgspec.Struct):
    """An object that could not be taken in: as it was then, and when it is to be tried again."""

    record: object
    error: str
    attempts: int
    due: float
    on_trial: bool = False


class Faults:
    """The faults that stand, by what they concern. What is set aside outlives a term; all others end with theirs."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._standing: dict[str, Fault] = {}
        self._aside: dict[Ref, _Aside] = {}
        self._trial_at = 0.0
        self._failed_trials = 0
        self._unread: set[Ref] = set()
        self._underived: set[Ref] = set()
        self.came = asyncio.Event()
        """Set whenever a fault comes or goes while any stands; whoever has looked clears it."""

    def __bool__(self) -> bool:
        """Whether any stands."""
        return bool(self._standing)

    # --- what is tried again by itself

    def caught(self, what: str, error: BaseException, again: Callable[[], object] | None = None) -> None:
        """``what`` failed with ``error``; ``again``, in a while, has it tried once more."""
        known = self._standing.get(what)
        text = described(error)
        if known is None or known.error != text:
            # Where hundreds fail, as many traces would hide the first.
            few = len(self._standing) < _SHOWN
            _log.log(
                logging.ERROR if few else logging.DEBUG,
                "%s failed, which is a fault of Meshfed: please report it. What it led to stays as it is",
                what,
                exc_info=error,
            )
        fault = self._standing[what] = Fault(text, known.attempts + 1 if known is not None else 0)
        if known is not None and known.timer is not None:
            known.timer.cancel()
        if again is not None:
            pause = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(fault.attempts, 20))
            fault.timer = asyncio.get_running_loop().call_later(pause, self._again, what, again)
        self._changed()

    def over(self, what: str) -> None:
        """``what`` did well."""
        fault = self._standing.pop(what, None) if self._standing else None
        if fault is None:
            return
        if fault.timer is not None:
            fault.timer.cancel()
        _log.info("%s does well again", what)
        self._changed()

    def by_key(self, doing: str) -> Callable[[Hashable, Exception | None], None]:
        """Return what hears of the keys of a queue that tries them again by itself."""

        def told(key: Hashable, error: Exception | None) -> None:
            what = f"{doing} {'/'.join(filter(None, key)) if isinstance(key, tuple) else key}"
            if error is None:
                self.over(what)
            else:
                self.caught(what, error)

        return told

    def derived(self, subject: Ref | str, error: Exception | None, again: Callable[[], object]) -> None:
        """What follows from an object of the cluster, or else a value, can be worked out, or cannot (``error``)."""
        what = subject if isinstance(subject, str) else named(subject)
        if error is None:
            if not isinstance(subject, str):
                self._underived.discard(subject)
            self.over(what)
        else:
            if not isinstance(subject, str):
                self._underived.add(subject)
            self.caught(what, error, again)

    def _again(self, what: str, again: Callable[[], object]) -> None:
        try:
            again()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is caught for being seen
            self.caught(what, error, again)

    # --- objects that are set aside

    def set_aside(self, ref: Ref, record: object, error: BaseException) -> None:
        """Taking in an object failed: from the next term on it is left out, until it is another or its time comes."""
        self.caught(named(ref), error)
        known = self._aside.get(ref)
        now = asyncio.get_running_loop().time()
        if known is not None and known.on_trial:
            self._failed_trials += 1
            self._trial_at = now + _pause_aside(self._failed_trials)
        attempts = known.attempts + 1 if known is not None else 0
        self._aside[ref] = _Aside(record, described(error), attempts, now + _pause_aside(attempts))

    def refuses(self, ref: Ref, record: object) -> str:
        """Why an object is not to be taken in; empty where it is, as one that changed since it was set aside."""
        aside = self._aside.get(ref) if self._aside else None
        if aside is None or aside.on_trial or _essence(record) != _essence(aside.record):
            return ""
        aside.record = record  # whose status may be another by now
        return aside.error

    def taken_in(self, ref: Ref) -> None:
        """An object was taken in, or is gone."""
        if ref in self._unread or ref in self._aside:
            self._unread.discard(ref)
            aside = self._aside.pop(ref, None)
            if aside is not None and aside.on_trial:
                self._trial_at, self._failed_trials = 0.0, 0
            if ref not in self._underived:
                self.over(named(ref))

    def aside(self) -> tuple[Ref, ...]:
        """What is set aside."""
        return tuple(self._aside)

    def records(self, kind: str) -> list[Any]:
        """Return the objects of a kind that are set aside."""
        return [aside.record for ref, aside in self._aside.items() if ref[0] == kind]

    def on_trial(self, ref: Ref, now: float) -> Any:
        """Return the object of ``ref`` where it is due to be tried once more, and let it through; else ``None``.

        One that fails ends a term. So the more of them have failed, the longer none is tried, however many there are.
        """
        aside = self._aside[ref]
        if now < max(aside.due, self._trial_at):
            return None
        aside.on_trial = True
        return aside.record

    # --- objects that cannot be read

    def decoding(self, kind: str, store: Store[T], decode: Callable[[msgspec.Raw], T]) -> Callable[[msgspec.Raw], T]:
        """Return ``decode`` so that an object of ``kind`` on which it fails is one that cannot be understood."""

        def again(ref: Ref, data: msgspec.Raw) -> None:
            key = Key(*ref[1:])
            if key in store.undecodable:
                store.put(key, decode(data))
            self.taken_in(ref)

        def decoded(data: msgspec.Raw) -> T:
            try:
                return decode(data)
            except msgspec.MsgspecError:
                raise
            except Exception as error:
                metadata = msgspec.json.decode(data, type=_Named).metadata
                ref = (kind, metadata.namespace, metadata.name)
                self._unread.add(ref)
                self.caught(named(ref), error, partial(again, ref, data))
                raise msgspec.ValidationError(described(error)) from error

        return decoded

    # --- what is to be seen of them

    def unknown(self) -> Iterator[tuple[Ref, str]]:
        """Yield each object of the cluster that could not be read or taken in, and why."""
        for ref in {*self._unread, *self._aside}:
            fault = self._standing.get(named(ref))
            error = fault.error if fault is not None else "the log has it"
            yield ref, f"a fault of Meshfed's own: {error}; please report it"

    def begin(self) -> None:
        """A term begins, with nothing in memory: what failed in the one before is forgotten, but for what is aside."""
        for fault in self._standing.values():
            if fault.timer is not None:
                fault.timer.cancel()
        ended = {A_TERM: self._standing[A_TERM]} if A_TERM in self._standing else {}
        self._standing = ended | {named(ref): Fault(aside.error) for ref, aside in self._aside.items()}
        self._underived.clear()
        self._unread.clear()
        self._changed()

    @property
    def said(self) -> str | None:
        """What stands, in words; ``None`` where nothing does."""
        if not self._standing:
            return None
        what, fault = next(iter(self._standing.items()))
        more = f", and {len(self._standing) - 1} more" if len(self._standing) > 1 else ""
        return (
            f"{what} failed ({fault.error}){more}: a fault of Meshfed, please report it; what it led to stays as it is"
        )

    def _changed(self) -> None:
        gauge = self._metrics.faults
        gauge.clear()
        for what in list(self._standing)[:_SHOWN]:
            gauge.labels(what=what).set(1)
        if len(self._standing) > _SHOWN:
            gauge.labels(what="others").set(len(self._standing) - _SHOWN)
        if self._standing:
            self.came.set()


def _pause_aside(attempts: int) -> float:
    return min(ASIDE_LAST, ASIDE_FIRST * 2.0 ** min(attempts, 20))


def named(ref: Ref) -> str:
    """An object of the cluster, for a person."""
    kind, namespace, name = ref
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


class _Named(msgspec.Struct):
    metadata: ObjectMeta


def described(error: BaseException) -> str:
    """An exception as a short text of one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    # It may hold what a remote sent.
    text = "".join(char if char.isprintable() else " " for char in f"{type(error).__name__}: {error}")
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:199]}…"


def _essence(record: object) -> object:
    """What of an object is another where it may do better; its status and its version, which we change, are not."""
    metadata = getattr(record, "metadata", None)
    if metadata is None:
        return record
    return msgspec.structs.replace(metadata, resource_version="", finalizers=()), getattr(record, "spec", None)
