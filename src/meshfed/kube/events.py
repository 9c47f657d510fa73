"""Events: what happened to an object, where ``kubectl describe`` shows it. Best effort: never waits, never fails.

There is one Event for an object and a reason. What happens again counts up in it, also after a restart, since its name
follows from both; so an object never has more Events than there are reasons. The API server drops them after an hour.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Literal

import msgspec

from meshfed.kube.client import Client
from meshfed.kube.errors import AlreadyExists, Forbidden, KubeError, NotFound
from meshfed.kube.queue import EVENTS as EVENTS_RANK
from meshfed.kube.resources import Manifest, Resource
from meshfed.model.turns import Turns
from meshfed.telemetry.logs import LogThrottle

_log = logging.getLogger(__name__)

EVENTS: Final = Resource("", "v1", "events", "Event")
EventType = Literal["Normal", "Warning"]

_MESSAGE: Final = 1024
_NAME: Final = 253
_BURST: Final = 200
_SECONDS: Final = 0.2
_OBJECTS: Final = 4096
_MOST: Final = 2**31 - 1
"""The API server takes no higher count."""


class Subject(msgspec.Struct, frozen=True):
    """The object that an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


class _Waiting(msgspec.Struct, frozen=True, eq=False):
    subject: Subject
    type: EventType
    reason: str
    message: str
    at: str

    @property
    def name(self) -> str:
        digest = hashlib.sha256(f"{self.subject.kind}/{self.subject.uid}/{self.reason}".encode()).hexdigest()[:16]
        return f"{self.subject.name[: _NAME - 17].rstrip('.-')}.{digest}"


class Bucket:
    """Lets ``burst`` through at once, and then one every ``seconds``."""

    def __init__(self, burst: int, seconds: float) -> None:
        self._burst = burst
        self._seconds = seconds
        self._left = float(burst)
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether one may pass at ``now``, in seconds of any steady clock."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) / self._seconds)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Recorder:
    """Writes Events in the name of ``component``. ``stamp`` is the time as Kubernetes writes it.

    An object may have 25 at once and then one every 5 minutes, as with client-go; all together 200 and then 5 a second,
    in which flows take turns. Of each flow 200 may wait. What is beyond is dropped and counted, like what the API
    refuses or fails.
    """

    def __init__(
        self,
        client: Client,
        *,
        component: str,
        instance: str,
        stamp: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._component = component
        self._instance = instance
        self._stamp = stamp
        self._clock = clock
        self._all = Bucket(_BURST, _SECONDS)
        self._each: OrderedDict[str, Bucket] = OrderedDict()
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._waiting: Turns[_Waiting] = Turns()
        self._of_flow: Counter[Hashable] = Counter()
        self._some = asyncio.Event()
        self._refused = LogThrottle(period=3600.0)

    def record(self, subject: Subject, kind: EventType, reason: str, message: str, *, flow: Hashable = None) -> None:
        """Have an Event written about ``subject`` in the turn of ``flow``, unless there are too many already."""
        now = self._clock()
        bucket = self._each.setdefault(subject.uid, Bucket(25, 300.0))
        self._each.move_to_end(subject.uid)
        while len(self._each) > _OBJECTS:
            self._each.popitem(last=False)
        if not bucket.take(now) or self._of_flow[flow] >= _BURST:
            self._count("dropped")
            return
        self._of_flow[flow] += 1
        self._waiting.add(_Waiting(subject, kind, reason, message[:_MESSAGE], self._stamp()), flow)
        self._some.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            waiting = await self._next()
            try:
                async with self._client.write_limit.slot(EVENTS_RANK):
                    await self._write(waiting)
            except Forbidden as error:
                self._count("refused")
                if self._refused.ready(waiting.subject.namespace):
                    _log.warning(
                        "no Events in namespace %s: grant create, get and patch on events; it works without, too: %s",
                        waiting.subject.namespace,
                        error,
                    )
            except KubeError as error:
                self._count("failed")
                _log.debug("an Event is lost: %s", error)
            else:
                self._count("written")

    async def _next(self) -> _Waiting:
        """Whose turn it is, once one more may be written."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        while not self._all.take(self._clock()):  # noqa: ASYNC110 - for time to pass
            await asyncio.sleep(_SECONDS)
        flow, (waiting,) = self._waiting.take()
        self._of_flow[flow] -= 1
        return waiting

    async def _write(self, waiting: _Waiting) -> None:
        name, namespace = waiting.name, waiting.subject.namespace
        count = self._counts.pop(name, 0)
        if not count:
            try:
                await self._client.create(EVENTS, self._event(waiting, name))
            except AlreadyExists:
                found = await self._client.get(EVENTS, name, namespace=namespace)
                count = int(found.get("count") or 1)
        if count:
            again = {
                "count": min(count + 1, _MOST),
                "lastTimestamp": waiting.at,
                "type": waiting.type,
                "message": waiting.message,
            }
            try:
                await self._client.patch(EVENTS, name, again, namespace=namespace)
            except NotFound:  # its hour is over
                count = 0
                await self._client.create(EVENTS, self._event(waiting, name))
        self._counts[name] = count + 1
        while len(self._counts) > _OBJECTS:
            self._counts.popitem(last=False)

    def _event(self, waiting: _Waiting, name: str) -> Manifest:
        subject, now = waiting.subject, waiting.at
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": name, "namespace": subject.namespace},
            "involvedObject": {
                "apiVersion": subject.api_version,
                "kind": subject.kind,
                "namespace": subject.namespace,
                "name": subject.name,
                "uid": subject.uid,
            },
            "type": waiting.type,
            "reason": waiting.reason,
            "message": waiting.message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

    def _count(self, outcome: str) -> None:
        self._client.metrics.events.labels(outcome=outcome).inc()
