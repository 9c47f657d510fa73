"""Statuses: written when they change and only then, each object by itself, stamped with when they turned.

The plan says what should hold; here it is compared with what stands in the watched object. A status that
differs is patched into the status subresource; one that could not be written is tried again with backoff.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from meshfed.api.meta import StatusCondition
from meshfed.api.v1alpha1 import FederatedService
from meshfed.controller.watches import Ours
from meshfed.kube import Client, KubeError, NotFound, Resource, Subject, WorkQueue
from meshfed.kube.queue import MOST, STATUSES
from meshfed.model.reasons import Condition, EventRecord, Reason
from meshfed.plan.events import turned
from meshfed.plan.values import Ref, StatusUpdate

_log = logging.getLogger(__name__)

PENDING_SECONDS: Final = 3.0
"""How long something must be pending for that to be said."""
REST_SECONDS: Final = 1.0
"""Between two writes of a status that counts thousands, where only numbers and words are others."""

_COUNTING: Final = frozenset({"MeshFederation", "RemoteMesh"})

Stand = tuple[int, frozenset[tuple[str, str, str]]]
"""Of which generation a status is, and how each condition stands: type, status, reason."""


def stamped(
    wanted: Iterable[Condition], present: Sequence[StatusCondition], *, generation: int, now: str
) -> tuple[StatusCondition, ...]:
    """``wanted`` as stored conditions: the time moves only where the status turns; others' types stay as they are."""
    known = {condition.type: condition for condition in present}
    result: dict[str, StatusCondition] = dict(known)
    for condition in wanted:
        before = known.get(condition.type)
        result[condition.type] = StatusCondition(
            type=str(condition.type),
            status=condition.status,
            reason=str(condition.reason),
            message=condition.message,
            last_transition_time=(
                before.last_transition_time if before is not None and before.status == condition.status else now
            ),
            observed_generation=generation,
        )
    return tuple(result.values())


def merged(
    present: Iterable[dict[str, Any]], wanted: Sequence[Condition], *, generation: int, now: str
) -> tuple[dict[str, Any], ...]:
    """``present``, the conditions of an object as they are stored, with ``wanted`` in the place of those types."""
    before, others = _read(present, {condition.type for condition in wanted})
    return _sorted(msgspec.to_builtins(stamped(wanted, before, generation=generation, now=now)), others)


class StatusWriter:
    """Brings the statuses of our objects to what the plan says."""

    def __init__(
        self,
        client: Client,
        resources: Mapping[str, Resource],
        stored: Callable[[Ref], Ours | None],
        *,
        stamp: Callable[[], str],
        again: Callable[[Ref, str], None] = lambda _ref, _flow: None,
        told: Callable[[Ref, Exception | None], None] | None = None,
        tell: Callable[[Subject, EventRecord, str], None] = lambda _subject, _happening, _flow: None,
    ) -> None:
        """``tell`` hears what is worth an Event and in whose turn, once the status that says it is written.

        ``again`` has stated anew, in whose turn, what one of thousands should say: once it does, that is forgotten.
        """
        self._again = again
        self._client = client
        self._tell = tell
        self._resources = resources
        self._stored = stored
        self._stamp = stamp
        self._wanted: dict[Ref, StatusUpdate] = {}
        self._passing_since: dict[Ref, float] = {}
        self._echoes: dict[Ref, tuple[str, dict[str, Any]]] = {}
        self._rests: dict[Ref, tuple[float, Stand]] = {}
        """Until when what counts thousands is not written again, and how it stands, unless that changes."""
        self.queue: WorkQueue[Ref] = WorkQueue(flow=self._flow, told=told, limit=client.write_limit, rank=STATUSES)

    def want(self, update: StatusUpdate) -> None:
        """State what the status of an object should say; replaces what was stated before."""
        ref = (update.kind, update.namespace, update.name)
        self._wanted[ref] = update
        if _is_passing(update.conditions):
            self._passing_since.setdefault(ref, asyncio.get_running_loop().time())
        else:
            self._passing_since.pop(ref, None)
        self.look(ref)

    def look(self, ref: Ref) -> None:
        """The object changed: see whether its status still says what was last stated, if anything was."""
        if ref in self._wanted:
            self.queue.add_after(ref, self._patience(ref))
        elif ref[0] == "FederatedService":
            self._again(ref, self._flow(ref))

    def forget(self, ref: Ref) -> None:
        """The object is gone, and with it whatever was to be said of it."""
        self._wanted.pop(ref, None)
        self._passing_since.pop(ref, None)
        self._echoes.pop(ref, None)
        self._rests.pop(ref, None)

    async def run(self, workers: int = MOST) -> None:
        """Write until cancelled."""
        await self.queue.run(self._write, workers=workers)

    def _flow(self, ref: Ref) -> str:
        """The remote that a FederatedService is of, so that its thousands wait for themselves; of others are few."""
        stored = self._stored(ref) if ref[0] == "FederatedService" else None
        return stored.spec.remote if isinstance(stored, FederatedService) else ""

    def _patience(self, ref: Ref) -> float:
        """How long, in seconds, to wait before saying what is wanted; 0 unless that passes as a rule, or rests."""
        # As a rule it is over before anybody could read it, most of all when all is looked at again after a start.
        now, since = asyncio.get_running_loop().time(), self._passing_since.get(ref)
        left = 0.0 if since is None else since + PENDING_SECONDS - now
        rests = self._rests.get(ref)
        if rests is not None and rests[0] > now and rests[1] == _stand(self._wanted[ref]):
            left = max(left, rests[0] - now)
        return left if left > 0.001 else 0.0  # below that timers may fire early

    def _wrote(self, ref: Ref, update: StatusUpdate, version: str, status: dict[str, Any]) -> None:
        """Remember what was written over the object as of ``version``."""
        if ref in self._wanted:  # the object may have gone meanwhile
            self._echoes[ref] = (version, status)
            if ref[0] in _COUNTING:
                self._rests[ref] = (asyncio.get_running_loop().time() + REST_SECONDS, _stand(update))

    async def _write(self, ref: Ref) -> None:
        update, stored = self._wanted.get(ref), self._stored(ref)
        if update is None or stored is None:
            return
        if patience := self._patience(ref):
            # What was to be said when it was queued has given way to something that passes.
            self.queue.add_after(ref, patience)
            return
        version = stored.metadata.resource_version
        present: dict[str, Any] = msgspec.to_builtins(stored.status)
        echo = self._echoes.get(ref)
        if echo is not None:
            if echo[0] == version:
                # The watch has not shown our own last write yet.
                present = echo[1]
            else:
                del self._echoes[ref]
        standing = [one for one in present.get("conditions", ()) if one.get("type") not in update.ended]
        wanted = (*update.conditions, *_unsaid(update.at_first, standing))
        before, others = _read(standing, {condition.type for condition in wanted})
        conditions = stamped(
            wanted,
            before,
            generation=update.observed_generation,
            now=self._stamp(),
        )
        desired = {
            **present,
            **({"observedGeneration": update.observed_generation} if _is_ours(ref) else {}),
            "conditions": _sorted(msgspec.to_builtins(conditions), others),
            **msgspec.to_builtins(update.fields),
        }
        # What is empty says the same as what is absent.
        if not [key for key, value in desired.items() if (value or None) != (present.get(key) or None)]:
            if ref[0] == "FederatedService":
                del self._wanted[ref]
            return
        kind, namespace, name = ref
        # A merge patch: null takes a field away, which is how a time or a text becomes absent again.
        patch = {key: None if value in ("", (), []) else value for key, value in desired.items()}
        try:
            await self._client.patch_status(self._resources[kind], name, patch, namespace=namespace)
        except NotFound:
            self.forget(ref)
        except KubeError as error:
            delay = self.queue.retry(ref)
            _log.warning(
                "cannot write the status of %s %s/%s, again in %.1f s: %s", kind, namespace, name, delay, error
            )
        else:
            self._wrote(ref, update, version, desired)
            subject = Subject(self._resources[kind].api_version, kind, namespace, name, stored.metadata.uid)
            connected_before = bool(present.get("lastConnected"))
            for event in turned(kind, before, conditions, connected_before=connected_before):
                self._tell(subject, event, self._flow(ref))


def _stand(update: StatusUpdate) -> Stand:
    conditions = frozenset((str(one.type), one.status, str(one.reason)) for one in update.conditions)
    return update.observed_generation, conditions


def _is_passing(conditions: Iterable[Condition]) -> bool:
    """Whether they say that something is on its way: being written, connecting, connected and not yet in sync."""
    reasons = {condition.reason for condition in conditions}
    return Reason.PENDING in reasons or Reason.CONNECTING in reasons or {Reason.CONNECTED, Reason.NOT_SYNCED} <= reasons


def _unsaid(conditions: Iterable[Condition], standing: Iterable[dict[str, Any]]) -> list[Condition]:
    """Return those of which nothing stands there."""
    types = {one.get("type") for one in standing}
    return [condition for condition in conditions if condition.type not in types]


def _read(
    conditions: Iterable[dict[str, Any]], ours: Collection[str]
) -> tuple[tuple[StatusCondition, ...], list[dict[str, Any]]]:
    """Return what stands there of ``ours``, and the conditions of others, which stay as they are."""
    known: list[StatusCondition] = []
    others: list[dict[str, Any]] = []
    for condition in conditions:
        if str(condition.get("type")) not in ours:
            others.append(condition)
            continue
        with contextlib.suppress(msgspec.ValidationError):
            known.append(msgspec.convert(condition, StatusCondition))
    return tuple(known), others


def _sorted(*conditions: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(sorted(itertools.chain(*conditions), key=lambda one: str(one.get("type"))))


def _is_ours(ref: Ref) -> bool:
    """Whether the kind is of our API; a ServiceExport's status has conditions and nothing else."""
    return ref[0] != "ServiceExport"
