"""The Lease by which this process says that it lives, its version, and who subscribes here: leader or not.

It is renewed every few seconds, and at once where who subscribes has changed, at most once a second. Nothing waits for
it: where it cannot be written, the log says so once, and everything else goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import msgspec

from meshfed import __version__
from meshfed.controller.faults import Faults
from meshfed.kube import (
    LEASES,
    AlreadyExists,
    Client,
    Conflict,
    Forbidden,
    KubeError,
    Manifest,
    NotFound,
    micro_time_now,
    time_now,
)
from meshfed.plan.replicas import (
    DURATION,
    Replica,
    Subscription,
    Withdrawn,
    lease_name,
    lease_name_beside,
    replica_lease,
    replica_of,
)

_log = logging.getLogger(__name__)

RENEW_SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 1.0
"""Between any two writes."""
_ANSWER_SECONDS: Final = 10.0
_REMOVE_SECONDS: Final = 3.0
_FAULT: Final = "the Lease of this replica"


class _Said(NamedTuple):
    """What a replica says of itself that may change."""

    subscribers: dict[str, Subscription]
    withdrawn: tuple[Withdrawn, ...]


class OwnLease:
    """The Lease of this process in ``namespace``; in leader election it is called ``identity``."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        identity: str,
        subscribers: Callable[[], Mapping[str, str]],
        changed: asyncio.Event,
        faults: Faults,
        imports: Callable[[], Mapping[str, int]] = dict,
        withdrawn: Callable[[], tuple[Withdrawn, ...]] = tuple,
        stamp: Callable[[], str] = time_now,
    ) -> None:
        """``subscribers``: the dialect of each remote that subscribes here, by name. ``changed`` is set where they do.

        ``imports``: how many of our hosts each says that it has in place, which is no reason to write. ``withdrawn``:
        what was withdrawn lately from who has it in place; ``changed`` is set where there is more of that, too.
        ``stamp`` returns the time as RFC 3339.
        """
        self._client = client
        self._namespace = namespace
        self._identity = identity
        self._subscribers = subscribers
        self._changed = changed
        self._faults = faults
        self._stamp = stamp
        self._name = lease_name(identity)
        self._lease: Manifest | None = None
        """As it was written last, as long as it is thought to be so still."""
        self._held = False
        """Whether it was this process's under this name."""
        self._imports = imports
        self._withdrawn = withdrawn
        self._known: dict[str, Subscription] = {}
        self._written: _Said | None = None
        self._failure = ""

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep the Lease while the context lasts, and delete it at its end."""
        task = asyncio.create_task(self.run(), name=_FAULT)
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self._remove()

    async def run(self) -> None:
        """Renew the Lease until cancelled."""
        while True:
            self._changed.clear()
            await self._renew()
            await self._until_due()

    async def _until_due(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RENEW_SECONDS):
                await asyncio.sleep(PAUSE_SECONDS)
                while self._current() == self._written:
                    await self._changed.wait()
                    self._changed.clear()

    def _current(self) -> _Said:
        """Return who subscribes now, each since it was seen first, and what was withdrawn from them."""
        known, now = self._known, self._stamp()
        self._known = {
            remote: before
            if (before := known.get(remote)) is not None and before.dialect == dialect
            else Subscription(now, str(dialect))
            for remote, dialect in sorted(self._subscribers().items())
        }
        return _Said(self._known, self._withdrawn())

    def _with_imports(self) -> _Said:
        """Return the same, with how many of our hosts each has in place just now."""
        counts, said = self._imports(), self._current()
        self._known = {
            remote: msgspec.structs.replace(one, imports=counts.get(remote)) for remote, one in said.subscribers.items()
        }
        return said._replace(subscribers=self._known)

    # --- one renewal

    async def _renew(self) -> None:
        self._written = self._with_imports()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._write(self._written)
        except (Conflict, AlreadyExists):
            self._lease = self._written = None  # somebody changed it: the next look, in a second, says how
        except (KubeError, TimeoutError) as error:
            if isinstance(error, NotFound) and self._lease is not None:
                self._lease = self._written = None  # somebody deleted it
            else:
                self._failed(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours here must not disturb anything else
            self._faults.caught(_FAULT, error)
        else:
            self._faults.over(_FAULT)
            if self._failure:
                self._failure = ""
                _log.info("the Lease %s is written again", self)

    async def _write(self, said: _Said) -> None:
        before = self._lease or await self._find()
        replica = Replica(
            name=self._name,
            holder=self._identity,
            version=__version__,
            renewed=micro_time_now(),
            duration=DURATION,
            subscribers=said.subscribers,
            withdrawn=said.withdrawn,
        )
        lease = replica_lease(before, replica, self._namespace)
        send = self._client.create if before is None else self._client.replace
        self._lease = await send(LEASES, lease)
        self._held = True

    async def _find(self) -> Manifest | None:
        """Return the Lease as it is; ``None`` where there is none.

        One that another process holds is a predecessor's in this pod. But where it was this process's before, the other
        lives beside this one, on the same host, and has it from now on: this one takes another name.
        """
        found = await self._read()
        if found is not None and self._held and replica_of(found).holder != self._identity:
            self._name, self._held = lease_name_beside(self._identity), False
            found = await self._read()
        return found

    async def _read(self) -> Manifest | None:
        try:
            return await self._client.get(LEASES, self._name, namespace=self._namespace)
        except NotFound:
            return None

    def _failed(self, error: KubeError | TimeoutError) -> None:
        kind = type(error).__name__
        if kind == self._failure:
            return
        self._failure = kind
        remedy = (
            "; grant get, list, watch, create, update and delete on leases of coordination.k8s.io in that namespace"
            if isinstance(error, Forbidden)
            else ""
        )
        _log.warning(
            "the Lease %s cannot be written, so nobody sees who subscribes here; nothing else depends on it: %s%s",
            self,
            str(error) or "no answer in time",
            remedy,
        )

    async def _remove(self) -> None:
        """Delete the Lease where it is ours; never fails, never takes long."""
        if not self._held:
            return
        try:
            async with asyncio.timeout(_REMOVE_SECONDS):
                found = await self._read()
                if found is not None and replica_of(found).holder == self._identity:
                    meta = found["metadata"]
                    await self._client.delete(
                        LEASES,
                        self._name,
                        namespace=self._namespace,
                        uid=meta["uid"],
                        resource_version=meta["resourceVersion"],
                    )
        except (KubeError, TimeoutError) as error:
            _log.info("the Lease %s is not deleted, so it has to run out: %s", self, str(error) or "no answer in time")

    def __str__(self) -> str:
        return f"{self._namespace}/{self._name}"
