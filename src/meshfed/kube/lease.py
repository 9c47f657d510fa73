"""Leader election by a Lease: of several processes that could do a job, one does, and another when that one is gone.

The rules are those of client-go's leaderelection, so that ``kubectl get lease`` shows what people know. Candidates read
the Lease; whoever finds it free, or unchanged for as long as it says, writes its own name in with the resourceVersion
that was read, so that of two writers one is refused. The holder renews it every few seconds.

Times on the Lease are for people. What decides is each process's own steady clock: a candidate counts from the moment
at which it saw the Lease change last, the holder from the moment at which it *sent* its last good renewal. So clocks
may differ by years. What must hold is that

- no clock runs faster than another by the factor ``lease`` / ``renew`` (1.5 by default), and
- nobody deletes the Lease or changes it by hand while its holder lives.

Then ``Elector.leading`` is true in at most one process at any moment, however slow or broken the API is, and also where
a process stands still for minutes: it is worked out from the clock whenever it is asked, and not set by a timer that
may be late. Ask immediately before every write; ``Client.fenced`` does.

That is no fence in the API server. A request that was sent while its sender led may arrive when another leads. Such a
straggler does no lasting harm where writes are bound to what they were decided on: a PUT carries the resourceVersion
of what it replaces and a DELETE the uid, a POST of what exists is refused. What remains, a DELETE of an object that the
new leader wants, or a POST of one that it does not, the new leader sees by its watch and puts right.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import socket
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

import msgspec

from meshfed.kube.client import Client
from meshfed.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from meshfed.kube.resources import Manifest, Resource
from meshfed.kube.times import micro_time_now
from meshfed.telemetry.logs import LogThrottle

_log = logging.getLogger(__name__)

LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
_JITTER: Final = 1.2
"""Candidates wait up to this much of the retry period more, so that they do not all come at once."""
_RELEASE_SECONDS: Final = 3.0
_MOST: Final = 2**31 - 1
"""The API server takes no higher number of transitions."""
_TICK: Final = 0.001
"""Below what timers tell apart."""


class LeaseTiming(msgspec.Struct, frozen=True):
    """The times of an election, in seconds; client-go's defaults.

    ``lease``: how long a candidate waits after the holder's last sign of life. ``renew``: how long the holder goes on
    without a renewal. ``retry``: between two looks or renewals. ``ValueError`` where they do not fit together.
    """

    lease: float = 15.0
    renew: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        """Check that a holder stops before another may begin, and gets more than one try to renew."""
        if self.lease < 1 or self.lease != int(self.lease):
            raise ValueError(f"the lease duration is {self.lease:g} s; it has to be in whole seconds, at least 1")
        if self.lease <= self.renew:
            raise ValueError(
                f"the lease duration ({self.lease:g} s) has to be longer than the renew deadline ({self.renew:g} s): "
                "else another leads before the holder has given up"
            )
        if self.retry <= 0 or self.renew <= self.retry * _JITTER:
            raise ValueError(
                f"the renew deadline ({self.renew:g} s) has to be longer than {_JITTER} times the retry period "
                f"({self.retry:g} s), which is above zero: else one slow answer costs the leadership"
            )


def process_identity() -> str:
    """A name for this process that no other has, nor itself after a restart: the host's (a pod's), and a UUID."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


def steady_clock() -> float:
    """Seconds that never jump, and go on where the machine is suspended, wherever the system can count those."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Elector:
    """One candidate for the Lease ``namespace``/``name``: ``acquire``, then ``hold``, then perhaps again; ``release``.

    ``client`` should be its own, so that no other work of the process keeps a renewal waiting. ``identity`` must be
    unique to the process. Not for several tasks.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        identity: str,
        timing: LeaseTiming = LeaseTiming(),  # noqa: B008 - immutable
        clock: Callable[[], float] = steady_clock,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self.identity = identity
        """What stands on the Lease as its holder while this one leads."""
        self._timing = timing
        self._clock = clock
        self._rng = rng
        self._lease: Manifest | None = None
        self._seen = ""
        self._holder = ""
        self._free_at = -math.inf
        self._leads_until = -math.inf
        self._reported = LogThrottle()

    @property
    def leading(self) -> bool:
        """Whether this process leads at this very moment."""
        return self._clock() < self._leads_until

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while not await self._round():
            wait = self._timing.retry * (1 + self._rng() * _JITTER)
            left = self._free_at - self._clock()
            # Whoever holds it now may be dead: then it is free at that moment, and no later.
            await asyncio.sleep(max(_TICK, min(wait, left)) if left > 0 else wait)
        transitions = (self._lease or {})["spec"]["leaseTransitions"]
        _log.info("leading: holding the lease %s, which has changed hands %d times", self, transitions)

    async def hold(self) -> None:
        """Renew the lease for as long as that goes; by the time this returns, ``leading`` is false."""
        while (left := self._leads_until - self._clock()) > 0:
            await asyncio.sleep(max(_TICK, min(self._timing.retry, left)))
            if self.leading:
                await self._round()
        _log.warning(
            "the lease %s is lost: %s; not writing any more",
            self,
            f"it could not be renewed for {self._timing.renew:g} s"
            if self._holder == self.identity
            else f"{self._holder or 'nobody'} holds it",
        )

    async def release(self) -> None:
        """Let go of the lease where it is held, so that another need not wait; never fails, never takes long.

        Whatever writes must have ended before.
        """
        leading, self._leads_until = self.leading, -math.inf
        if not leading:
            return
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                # The last renewal may have been cut off between the server's doing it and its answer.
                lease = await self._read()
                if lease is not None and self._holder == self.identity:
                    await self._write(lease, holder="", duration=1)
                    _log.info("released the lease %s", self)
        except (KubeError, TimeoutError) as error:
            _log.warning("the lease %s is not released, so it has to run out: %s", self, _words(error))

    def __str__(self) -> str:
        return f"{self._namespace}/{self._name}"

    # --- one round

    async def _round(self) -> bool:
        """Try to get or renew the lease; returns whether this process leads."""
        patience = self._timing.renew / 2
        if self.leading:
            patience = min(patience, self._leads_until - self._clock())
        try:
            async with asyncio.timeout(patience):
                return await self._try()
        except (Conflict, AlreadyExists):
            return False  # another was faster, or changed something; the next round sees what
        except (KubeError, TimeoutError) as error:
            if self._reported.ready("round"):
                _log.warning(
                    "cannot %s the lease %s, and go on trying: %s",
                    "renew" if self.leading else "get",
                    self,
                    _words(error),
                )
            return False

    async def _try(self) -> bool:
        if self.leading and self._lease is not None:
            try:
                return await self._take(self._lease)
            except (Conflict, NotFound):
                self._lease = None  # then it is not as it was
        lease = await self._read()
        if self._holder not in {"", self.identity}:
            # Whatever this process believed, here is another's name. And a Lease that was deleted under its living
            # holder is not free before it would have been.
            self._leads_until = -math.inf
            if self._clock() < self._free_at:
                return False
        return await self._take(lease)

    async def _read(self) -> Manifest | None:
        """The Lease as it is; notes whose it is, and until when that counts."""
        try:
            lease = await self._client.get(LEASES, self._name, namespace=self._namespace)
        except NotFound:
            return None
        spec = lease.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen:
            self._seen = version
            self._free_at = self._clock() + float(spec.get("leaseDurationSeconds") or self._timing.lease)
        if holder != self._holder:
            self._holder = holder
            if holder not in {"", self.identity}:
                _log.info("following: %s holds the lease %s", holder, self)
        return lease

    async def _take(self, lease: Manifest | None) -> bool:
        sent = self._clock()
        self._lease = await self._write(lease, holder=self.identity, duration=int(self._timing.lease))
        self._holder = self.identity
        self._leads_until = sent + self._timing.renew
        return True

    async def _write(self, lease: Manifest | None, *, holder: str, duration: int) -> Manifest:
        now = micro_time_now()
        before: dict[str, Any] = (lease or {}).get("spec") or {}
        same = before.get("holderIdentity") == holder
        transitions = before.get("leaseTransitions") or 0
        if lease is not None and holder and not same:
            transitions = min(transitions + 1, _MOST)
        spec = {
            **before,
            "holderIdentity": holder,
            "leaseDurationSeconds": duration,
            "acquireTime": before.get("acquireTime") if same else now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        if lease is not None:
            return await self._client.replace(LEASES, {**lease, "spec": spec})
        metadata = {"name": self._name, "namespace": self._namespace}
        return await self._client.create(
            LEASES, {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        )


def _words(error: KubeError | TimeoutError) -> str:
    return str(error) or "no answer in time"
