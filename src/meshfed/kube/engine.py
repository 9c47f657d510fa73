"""Makes what exists equal to what is wanted, object by object, and keeps it so.

Callers say what each source wants (``want``); what exists is watched through the owner's labels. Whatever differs is
created, replaced whole, or deleted; whatever is equal is not touched, so that a steady state writes nothing. Every
object is retried by itself and holds up no other. An object without the owner's labels is never overwritten, and
one that nobody wants is deleted where callers say that it does not stay.

If the process dies at any point, the next one finds what it did by its labels and goes on from there: nothing is
remembered anywhere but in the cluster. There each object says in an annotation what it follows from.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from meshfed.kube import retries
from meshfed.kube.backoff import jittered
from meshfed.kube.client import Client
from meshfed.kube.desired import Desired, Observed, desire, in_place
from meshfed.kube.errors import KubeError
from meshfed.kube.observation import Observation, WatchedKind
from meshfed.kube.ownership import Ownership
from meshfed.kube.queue import MOST, QueueStatistics, WorkQueue
from meshfed.kube.reflector import ReflectorStatistics
from meshfed.kube.resources import ObjectKey, Resource, version_number
from meshfed.kube.sources import ABSENT, APPLIED, NOBODY, ObjectState, Outcome, Record, Sources, SourceState
from meshfed.kube.writer import Writer, Written

_log = logging.getLogger(__name__)
Wanted = Sequence[Mapping[str, Any]]
_WRITTEN_FOR: Final = 60.0
"""Seconds for which the answer to a write is believed before the watch; far longer than any watch lags."""
_TROUBLE: Final = frozenset({Outcome.NOT_OWNED, Outcome.INVALID, Outcome.DRIFT_CONFLICT, Outcome.FAILED})


class EngineStatistics(msgspec.Struct, frozen=True):
    """How the engine is doing: objects by outcome, those observed, and its parts."""

    outcomes: dict[Outcome, int]
    observed: int
    queue: QueueStatistics
    reflectors: dict[str, ReflectorStatistics]


class Engine:
    """Desired against observed, for the kinds of ``resources`` (several versions of one: the newest served is used).

    ``stays`` is given an object that nobody wants, and what it says that it follows from, empty where it does not say;
    it returns why the object stays for now, empty where it is to be deleted. ``told`` is the `WorkQueue`'s.
    """

    def __init__(
        self,
        client: Client,
        resources: Iterable[Resource],
        *,
        ownership: Ownership,
        stays: Callable[[ObjectKey, str], str],
        told: Callable[[ObjectKey, Exception | None], None] | None = None,
        workers: int = MOST,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._ownership = ownership
        self._writer = Writer(client, ownership)
        self._stays = stays
        self._staying: set[ObjectKey] = set()
        """What nobody wants and stays for now."""
        self._workers = workers
        self._rng = rng
        self._sources = Sources()
        self._queue = WorkQueue[ObjectKey](flow=self._sources.flow, told=told, rng=rng, limit=client.write_limit)
        self._blocked: set[ObjectKey] = set()
        self._subscribers: list[Callable[[Hashable], None]] = []
        self._progress = asyncio.Event()
        self._observation = Observation(
            client,
            resources,
            label_selector=ownership.selector,
            decode=lambda data: self._writer.observe(msgspec.json.decode(data)),
            seen=self._seen,
            known=self._known,
            rng=rng,
        )

    # --- what callers say and ask

    def want(self, source: Hashable, wanted: Wanted, *, after: Iterable[Hashable] = (), flow: Hashable = None) -> None:
        """Replace what ``source`` wants by these manifests; an empty sequence wants nothing more.

        Objects that it wanted and does not want now are deleted, once those it wants are in place. Its objects are
        written after what the sources ``after`` want by now is in place, and in the turn of ``flow``, which caused it.
        Costs nothing for other sources.
        ``ValueError`` for a manifest that is no object, is of a kind that is not watched, or stands there twice.
        """
        found: dict[ObjectKey, Desired] = {}
        for manifest in wanted:
            desired = desire(manifest, self._ownership.labels)
            kind = self._observation.kind_of(desired.key)
            if kind is None or kind.resource.namespaced != bool(desired.key.namespace):
                raise ValueError(f"{desired.key}: its kind is not watched, or the namespace is missing or too much")
            if desired.key in found:
                raise ValueError(f"{desired.key} is wanted twice by {source!r}")
            found[desired.key] = desired
        changed = self._sources.want(source, found, frozenset(after), flow)
        if changed:
            self._again(changed)
            self._measure()
            self._notify(source)

    def look_again(self) -> None:
        """Ask again of each object that nobody wants and that stays for now."""
        staying, self._staying = self._staying, set()
        self._again(staying)

    def state(self, key: ObjectKey) -> ObjectState:
        """What became of one object."""
        return self._sources.state(key) or ABSENT

    def source_state(self, source: Hashable) -> SourceState:
        """What became of what ``source`` wants, and what it dropped that is not gone yet."""
        return self._sources.source_state(source)

    def subscribe(self, subscriber: Callable[[Hashable], None]) -> None:
        """Have ``subscriber`` called with a source whenever its ``source_state`` changed. It must be quick."""
        self._subscribers.append(subscriber)

    @property
    def pending(self) -> int:
        """How many objects were not tried yet, or wait for their turn."""
        return self._sources.outcomes[Outcome.PENDING]

    async def idle(self) -> None:
        """Wait until all that can be done now is done: the rest failed and waits to be retried, or for that."""
        while not self._is_idle():
            self._progress.clear()
            await self._progress.wait()

    def statistics(self) -> EngineStatistics:
        """How it is doing."""
        return EngineStatistics(
            outcomes={outcome: count for outcome, count in self._sources.outcomes.items() if count},
            observed=sum(len(kind.store) for kind in self._observation.kinds),
            queue=self._queue.statistics(),
            reflectors=self._observation.statistics(),
        )

    async def run(self) -> None:
        """Work until cancelled; no failure of the API ends it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._observation.run())
            tasks.create_task(self._queue.run(self._work, workers=self._workers))

    # --- what happens

    def _seen(self, key: ObjectKey) -> None:
        record = self._sources.records.get(key)
        if record is not None:
            record.deleted = False
        self._queue.add(key)

    def _known(self, kind: WatchedKind) -> None:
        self._again(key for key in self._sources.records if (key.group, key.kind) == (kind.group, kind.name))
        self._progress.set()

    def _again(self, keys: Iterable[ObjectKey]) -> None:
        for key in keys:
            self._queue.add(key)

    def _is_idle(self) -> bool:
        queue = self._queue.statistics()
        return (
            queue.ready == queue.processing == 0
            and all(kind.store.synced or kind.absent for kind in self._observation.kinds)
            and all(
                key in self._blocked or record.state.outcome is not Outcome.PENDING
                for key, record in self._sources.records.items()
            )
        )

    async def _work(self, key: ObjectKey) -> None:
        kind = self._observation.kind_of(key)
        record = self._sources.records.get(key)
        if kind is None:
            return
        if record is None:
            observed = kind.get(key)
            if observed is None or self._why_it_stays(key, observed, None):
                return
            record = self._sources.orphan(key)
        self._blocked.discard(key)
        record.working = record.desired
        try:
            await self._reconcile(record, kind)
        except KubeError as error:
            self._failed(record, kind, error)
        finally:
            self._measure()
            self._progress.set()

    # --- one object

    async def _reconcile(self, record: Record, kind: WatchedKind) -> None:
        if not kind.store.synced:  # it comes round again once the kind is known
            if kind.absent:
                self._set(record, Outcome.FAILED, f"the API does not serve {kind.resource}; install its CRD")
        elif record.desired is None:
            await self._remove(record, kind)
        else:
            await self._apply(record, kind, record.desired)

    async def _apply(self, record: Record, kind: WatchedKind, desired: Desired) -> None:
        observed = self._observed(record, kind)
        if observed is not None and self._settled(record, desired, observed):
            return
        if waits := self._sources.must_wait(record):
            self._block(record, waits)
            return
        if self._held_back(record):
            return
        if observed is not None:
            written = await self._writer.replace(kind.resource, desired, observed)
        else:
            # Others' objects are not seen by our watch, so one that was there is looked for before each try.
            look_first = record.state.outcome is Outcome.NOT_OWNED
            written = await self._writer.create(kind.resource, desired, uid=record.uid, look_first=look_first)
        if written.wrote and record.applied is desired:
            done = "changed" if observed is not None else "deleted"
            _log.info("%s was %s by somebody else, and put back", record.key, done, extra={"source": record.source})
        self._remember(record, desired, written)

    def _settled(self, record: Record, desired: Desired, observed: Observed) -> bool:
        """Whether there is nothing to write: the object is as wanted, or to be left alone for now."""
        if observed.deleting:
            self._set(record, Outcome.FAILED, "is being deleted; it is created again once it is gone", blocking=True)
        elif observed.paused:
            self._set(record, Outcome.PAUSED, "an annotation on the object says to leave it alone")
        elif self._writer.equal(desired, observed, record.accepted):
            record.uid = observed.uid
            record.diverged_at = None
            if record.applied is not desired:
                record.applied_at = self._now()
            record.applied = in_place(desired, observed)
            if record.desired is desired:
                record.desired = record.working = record.applied
            self._set_applied(record, observed)
        else:
            return False
        return True

    def _held_back(self, record: Record) -> bool:
        """Whether it is too early to write: after a failure, or since something keeps changing the object back."""
        if retries.is_contested(record, self._now()):
            delay = jittered(record.rewrites - retries.REWRITES, base=10.0, cap=300.0, rng=self._rng)
            record.not_before = self._now() + delay
            message = "something else keeps changing it back; `kubectl get --show-managed-fields` shows who"
            self._set(record, Outcome.DRIFT_CONFLICT, message)
        return self._early(record)

    def _early(self, record: Record) -> bool:
        left = self._left(record.not_before)
        if left:
            self._queue.add_after(record.key, left)
        return left > 0

    async def _remove(self, record: Record, kind: WatchedKind) -> None:
        observed = self._observed(record, kind)
        if observed is None:
            if not (record.deleted and kind.get(record.key)):  # else the watch will say so
                self._again(self._sources.gone(record))
                self._notify(record.source)
        elif observed.paused:
            self._set(record, Outcome.PAUSED, "is not wanted; an annotation on the object says to leave it alone")
        elif observed.deleting:
            self._block(record, "is being deleted; its finalizers hold it")
        elif why := self._why_it_stays(record.key, observed, record.applied):
            self._block(record, f"is not wanted, and stays: {why}")
        elif waits := self._sources.must_wait(record):
            self._block(record, waits)
        elif not self._early(record):
            await self._writer.delete(kind.resource, record.key, observed.uid)
            record.written = None
            record.deleted = True
            record.expires = self._now() + _WRITTEN_FOR
            # The watch may have said so already, and then nothing more comes of it.
            self._queue.add(record.key)

    def _why_it_stays(self, key: ObjectKey, observed: Observed, applied: Desired | None) -> str:
        """Return why an object that nobody wants stays: what we wanted of it before says more than what was found."""
        annotations = dict(observed.annotations if applied is None else applied.annotations)
        why = self._stays(key, annotations.get(self._ownership.origin, ""))
        if why:
            self._staying.add(key)
        return why

    # --- what is remembered of it

    def _observed(self, record: Record, kind: WatchedKind) -> Observed | None:
        """The object as it is: what the watch says, or the answer to our own last write, whichever is newer."""
        if left := self._left(record.expires):
            written = record.written
            if record.deleted:
                self._queue.add_after(record.key, left)
                return None
            if written is not None and kind.resource_version < version_number(written.resource_version):
                self._queue.add_after(record.key, left)
                return written
        record.written = None
        record.deleted = False
        return kind.get(record.key)

    def _remember(self, record: Record, desired: Desired, written: Written) -> None:
        observed = written.observed
        record.uid = observed.uid
        record.written = observed if version_number(observed.resource_version) else None
        record.deleted = False
        record.expires = self._now() + _WRITTEN_FOR
        self._queue.add_after(record.key, _WRITTEN_FOR)
        if not written.wrote:
            self._settled(record, desired, observed)
            return
        record.rewrites = record.rewrites + 1 if record.applied is desired else 0
        record.applied, record.applied_at, record.diverged_at = desired, self._now(), None
        # What the server made of it (defaults, pruned fields) is as good as what we sent; only later changes are not.
        record.accepted = None if observed.digest == desired.digest else (desired.digest, observed.digest)
        self._set_applied(record, observed)

    def _set_applied(self, record: Record, observed: Observed) -> None:
        record.not_before = 0.0
        if record.rewrites > retries.REWRITES and (left := self._left(record.applied_at + retries.UNDISTURBED)):
            self._queue.add_after(record.key, left)
            return
        message = "the server stores it with changes of its own" if record.accepted else ""
        self._set(record, Outcome.APPLIED, message, refused=observed.refused)

    def _failed(self, record: Record, kind: WatchedKind, error: KubeError) -> None:
        self._client.metrics.engine_failures.labels(str(kind.resource), type(error).__name__).inc()
        if record.desired is not record.working:
            return
        attempts = record.state.attempts
        retry = retries.after(error, attempts)
        delay = max(jittered(attempts, base=retry.base, cap=retry.cap, rng=self._rng), retry.at_least)
        record.not_before = self._now() + delay
        self._queue.add_after(record.key, delay)
        self._set(record, retry.outcome, retry.message, blocking=retry.blocking, attempts=attempts + 1)

    def _block(self, record: Record, message: str) -> None:
        self._blocked.add(record.key)
        self._set(record, Outcome.PENDING, message, blocking=True)

    def _set(
        self,
        record: Record,
        outcome: Outcome,
        message: str,
        *,
        blocking: bool = False,
        attempts: int = 0,
        refused: str = "",
    ) -> None:
        if record.desired is not record.working:
            return  # something else was wanted meanwhile; it comes round again, and this says nothing about that
        before = record.state
        state = ObjectState(outcome, message, attempts, refused)
        self._again(self._sources.update(record, APPLIED if state == APPLIED else state, blocking=blocking))
        if (before.outcome, before.message, before.refused) == (outcome, message, refused):
            return
        if refused:
            _log.warning("%s is in place and refused: %s", record.key, refused, extra={"source": record.source})
        if outcome in _TROUBLE:
            _log.warning("%s: %s: %s", record.key, outcome, message, extra={"source": record.source})
        self._notify(record.source)

    def _notify(self, source: Hashable) -> None:
        for subscriber in self._subscribers if source is not NOBODY else ():
            try:
                subscriber(source)
            except Exception:  # noqa: BLE001 - a subscriber's bug must not stop the engine
                _log.exception("a subscriber failed", extra={"source": source})

    def _measure(self) -> None:
        outcomes = self._sources.outcomes
        settled = outcomes[Outcome.APPLIED] + outcomes[Outcome.PAUSED]
        self._client.metrics.engine_pending.set(outcomes.total() - settled)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _left(self, moment: float) -> float:
        """Seconds until ``moment``; none where it is due within the clock's resolution, when timers may fire."""
        left = moment - self._now()
        return left if left > 0.001 else 0.0
