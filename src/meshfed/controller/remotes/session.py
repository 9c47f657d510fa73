"""The remote meshes we listen to: for each a discovery client, and the ledger between it and the FederatedServices.

What a remote says goes into its ledger, and from there into FederatedService objects, and no further: everything
else in the controller derives from the watch on those objects. So a restart, an outage and normal operation take
the same path. The crash story: a FederatedService is written first and the Istio objects follow from the watch; a
withdrawal deletes it and they go because nothing wants them any more. Whatever moment a crash comes at, the next
process starts from the FederatedServices that exist and hears the remote out before it takes anything away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

import msgspec

from meshfed.api.durations import parse_duration
from meshfed.api.times import age
from meshfed.api.v1alpha1 import FederatedServiceSpec, RemoteMesh
from meshfed.controller.remotes import connections
from meshfed.controller.remotes.absence import Absence
from meshfed.controller.remotes.confirming import Confirmer, Placement
from meshfed.controller.remotes.dialling import is_another, target
from meshfed.controller.remotes.recording import PIECE, Desire, Recording
from meshfed.fds import Dialect, DiscoveryClient, DiscoveryError, NotReady, Update
from meshfed.federation.ledger import Ledger
from meshfed.federation.withdrawals import Guard, Hold
from meshfed.kube import micro_time_now
from meshfed.model.reasons import Decision
from meshfed.plan import RemoteConnection
from meshfed.telemetry.logs import LogThrottle
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

TICK: Final = 0.001
"""Seconds below which timers may fire early: what was not due yet is not looked at again sooner."""

Judge = Callable[[FederatedServiceSpec], Decision]
"""Whether the import rules admit an offer, and if not, why."""


class Reports(msgspec.Struct, frozen=True):
    """Where a session reports to; every call returns at once."""

    desire: Desire
    connection: Callable[[str, RemoteConnection], None]
    """Remote, and how its discovery stands now."""
    heard: Callable[[str], None]
    """Of a remote was taken in what it said."""


class Session:
    """One remote mesh, from its discovery stream to its FederatedServices. A sink of its ``DiscoveryClient``.

    ``settling``: seconds to wait before the first connection.
    """

    def __init__(
        self,
        mesh: RemoteMesh,
        *,
        reports: Reports,
        judge: Judge,
        metrics: Metrics,
        stamp: Callable[[], str],
        node: str,
        settling: float = 0.0,
    ) -> None:
        self._mesh = mesh
        self._name = mesh.metadata.name
        self._reports = reports
        self._metrics = metrics
        self._stamp = stamp
        self._node = node
        self._settling = settling
        self._connection = connections.resumed(mesh)
        self._ledger = Ledger(
            self._name,
            trust_domain=mesh.spec.trust_domain,
            guard=_guard(mesh),
            limit=_limit(mesh),
            judge=judge,
        )
        self._client: DiscoveryClient | None = None
        self._changed = asyncio.Event()
        self._recording = Recording(self._name, self._ledger, reports.desire)
        self._confirmer = Confirmer(self._ledger, allowed=_confirms(mesh))
        self._absence = Absence()
        self._was_heard = False
        self._failed = False
        self._unusable = LogThrottle()

    @property
    def is_connected(self) -> bool:
        """Whether the remote's stream is up."""
        return self._connection.connected

    @property
    def is_heard(self) -> bool:
        """Whether the remote has said all that it offers, on the connection that is up."""
        return self.is_connected and connections.is_heard(self._connection)

    @property
    def was_heard(self) -> bool:
        """Whether the remote said all that it offers at least once, or was away for so long that all of it went."""
        return self._was_heard

    @property
    def said(self) -> Collection[FederatedServiceSpec]:
        """The FederatedServices that there should be by now."""
        return self._recording.said.values()

    def offers(self, host: str) -> bool:
        """Whether the remote offers ``host``, as far as that is remembered and worth recording."""
        return self._ledger.desired(host) is not None

    def is_withdrawn(self, host: str) -> bool:
        """Whether the remote is heard, and does not offer ``host``."""
        return self.is_heard and not self._failed and not self._ledger.remembers(host)

    def came(self) -> None:
        """The remote subscribes here: so it is there, and need not be waited for."""
        if self._client is not None:
            self._client.try_now()

    def close(self) -> None:
        """Say what waits, and then no more: what still runs until it is cancelled has no say in what comes next."""
        self._recording.close()

    def known(self) -> tuple[FederatedServiceSpec, ...]:
        """What the remote offers, as far as it is remembered."""
        return self._ledger.specs()

    def left(self) -> tuple[FederatedServiceSpec, ...]:
        """What a successor begins with: what is known, and whatever was said of what a fault of ours may have lost."""
        return tuple({**self._recording.said, **{spec.host: spec for spec in self._ledger.specs()}}.values())

    def fail(self, why: str) -> None:
        """A fault of ours ended it: it has no say any more, and what it said stands until a successor was told more."""
        self._recording.closed = self._failed = True
        self._connection = connections.failed(self._connection, why)
        self._reports.connection(self._name, self._connection)

    def remember(self, specs: Iterable[FederatedServiceSpec]) -> None:
        """Start from the FederatedServices that exist: they stay until the remote was heard and says otherwise."""
        self._ledger.remember(specs)
        self._recording.say(self._ledger.hosts())
        now, before = asyncio.get_running_loop().time(), self._connection
        if before.since:
            self._absence.recall(now - self._age(before.since))
        if before.held:
            until = now + max(0.0, _guard(self._mesh).hold - self._age(before.held_since))
            self._ledger.resume(Hold(hosts=before.held, until=until, token=before.held_since))
        self._reports.connection(self._name, before)

    def forget_all(self) -> None:
        """Nothing is imported from this remote any more: what it offered goes."""
        self._recording.closed = False  # also where a fault ended it
        self._recording.say({*self._recording.said, *self._ledger.clear()})

    def reconfigure(self, mesh: RemoteMesh, *, rejudge: bool = False) -> bool:
        """The RemoteMesh changed: take the change in; returns false where only a new session can.

        ``rejudge``: this mesh changed, on which the import rules' verdicts depend, and whose the FederatedServices are.
        """
        before, self._mesh = self._mesh, mesh
        if mesh.spec == before.spec and not rejudge:
            if mesh.metadata.annotations != before.metadata.annotations:
                self._changed.set()
            return True  # one that failed waits for its successor
        if self._failed or is_another(mesh, before):
            return False
        changed = self._ledger.rejudge(trust_domain=mesh.spec.trust_domain, guard=_guard(mesh), limit=_limit(mesh))
        self._recording.say(self._ledger.hosts() if rejudge else changed)
        to = self._client.confirming if self._client is not None else None
        self._confirmer.allow(to, allowed=_confirms(mesh))
        self._reports.heard(self._name)
        if mesh.spec.staleness != before.spec.staleness:
            self._absence.reconsider()
            self._report(connections.reconsidered(self._connection))
        self._changed.set()
        return True

    def record_removed(self, host: str) -> bool:
        """Someone deleted a FederatedService; returns whether that stands, as it does while the remote is away."""
        if self._failed:
            return host not in self._recording.said  # what is remembered is in doubt
        if not self.offers(host):
            return True
        if self.is_connected:
            return False
        self._ledger.forget(host)
        if self._client is not None:
            # Else the remote would be told that we have it still, and would not offer it again.
            self._client.forget()
        self._recording.say([host])
        return True

    def record_found(self, spec: FederatedServiceSpec) -> None:
        """There is a FederatedService that was not there to `remember`: until the remote was heard, it offers that."""
        if not self._was_heard and not self.offers(spec.host):
            self._ledger.remember([spec])
            self._recording.say([spec.host])

    def turned(self, host: str) -> None:
        """What becomes of a host that the remote offers is something else: it is told once all was worked out."""
        self._confirmer.turned(host)

    def settle(self, standing: Placement) -> None:
        """All was worked out: tell the remote which of its offers are in place."""
        if self._client is not None and not self._recording.closed:
            self._confirmer.settle(self._client.confirming, lambda host: standing.of(self._name, host))

    async def run(self) -> None:
        """Listen until cancelled; a session that ends leaves everything as it is."""
        await asyncio.sleep(self._settling)
        there = target(self._mesh)
        if there is None:
            # Without an address there is nobody to listen to, which the plan says on the RemoteMesh.
            await asyncio.Event().wait()
            return
        self._client = DiscoveryClient(self._name, there, self, metrics=self._metrics, node=self._node)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._client.run())
            tasks.create_task(self._keep_time())

    # --- what the client reports (a ``Sink``)

    async def connected(self, dialect: Dialect) -> None:
        """The stream is up."""
        with self._closed_by_failure():
            self._absence.end()
            self._report(connections.made(self._connection, dialect, self._mesh, now=self._stamp()))
            _log.info("connected, %s", connections.DIALECTS[dialect], extra={"remote": self._name})
            self._changed.set()

    async def update(self, update: Update) -> None:
        """The remote said what it offers, or what of that changed."""
        with self._closed_by_failure():
            await self._take_in(update)

    async def _take_in(self, update: Update) -> None:
        loop = asyncio.get_running_loop()
        if update.rejected and self._unusable.ready(self._name):
            first = update.rejected[0]
            _log.warning(
                "%d offers are not usable, such as this: %s (more is said of them in a minute at the earliest)",
                len(update.rejected),
                first.why,
                extra={"remote": self._name, "host": first.host},
            )
        # It is taken in in pieces, and between two of them the time of a hold may be up.
        self._ledger.reoffered(offer.host for offer in update.upserts)
        # A first synchronisation takes as long as it takes, and no longer.
        at_once = not connections.is_heard(self._connection)
        dropped, moment = self._ledger.dropped, micro_time_now()
        for start in range(0, len(update.upserts), PIECE):
            offered = self._ledger.offered(update.upserts[start : start + PIECE], moment=moment)
            self._recording.note(offered, received=update.received)
            await self._recording.carry_out(at_once=at_once)
        for what, number in (self._ledger.dropped - dropped).items():
            self._metrics.dropped.labels(remote=self._name, what=what).inc(number)
        # A host that came mangled was not withdrawn; where even its name is lost, nothing is taken away.
        mangled = {rejected.host for rejected in update.rejected}
        named = mangled.union(offer.host for offer in update.upserts)
        gone = [host for host in update.removals if host not in named]
        if update.complete and "" not in mangled:
            gone = self._ledger.missing(named)
        complete = update.complete and not mangled
        withdrawn = self._ledger.withdrawn(gone, complete=complete, now=loop.time(), stamp=self._stamp())
        self._recording.note(withdrawn, received=update.received)
        await self._recording.carry_out(at_once=at_once)
        if update.synced:
            if not connections.is_heard(self._connection):
                _log.info("all that it offers has been received", extra={"remote": self._name})
            self._was_heard = True
            self._report_heard()
        self._confirmer.heard(update)
        self._reports.heard(self._name)
        self._changed.set()

    async def disconnected(self, error: DiscoveryError) -> None:
        """An attempt failed, or the stream is gone: nothing is withdrawn by that."""
        with self._closed_by_failure():
            self._absence.found_away(asyncio.get_running_loop().time(), starting=isinstance(error, NotReady))
            self._report(connections.lost(self._connection, error, self._mesh, now=self._stamp()))
            self._changed.set()

    # --- inside

    @contextlib.contextmanager
    def _closed_by_failure(self) -> Iterator[None]:
        """Where our code fails, what is remembered is in doubt at once, and nothing may follow from it."""
        try:
            yield
        except Exception:
            self._recording.closed = True
            raise

    def _age(self, moment: str) -> float:
        """Seconds since ``moment`` (RFC 3339) by the clock that stamps; none where that clock was set back."""
        return age(moment, self._stamp())

    def _report(self, connection: RemoteConnection) -> None:
        if not self._recording.closed and connection != self._connection:
            self._connection = connection
            self._reports.connection(self._name, connection)

    def _report_heard(self) -> None:
        hold = self._ledger.hold()
        self._metrics.withdrawals_held.labels(remote=self._name).set(hold.hosts if hold else 0)
        self._report(
            connections.heard(
                self._connection, self._ledger, self._mesh, throttled=self._recording.throttled, now=self._stamp()
            )
        )

    async def _keep_time(self) -> None:
        """Carry out what time or a person decides: the end of a hold, and staleness."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            with self._closed_by_failure():
                due = await self._act_on_time(loop.time())
            if due is not None:
                due = max(due, loop.time() + TICK)
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._changed.wait()

    async def _act_on_time(self, now: float) -> float | None:
        """Do what is due, and return when something else is; ``None`` where nothing will be."""
        token = self._mesh.metadata.annotations.get(connections.ACCEPT_WITHDRAWAL)
        gone = self._ledger.release(now=now, token=token)
        if gone:
            _log.info("carrying out the withdrawal of %d services", len(gone), extra={"remote": self._name})
            self._recording.note(gone)
        await self._recording.carry_out(at_once=bool(gone))
        if connections.is_heard(self._connection):
            self._report_heard()
        after = self._mesh.spec.staleness.after
        stale_at = None if self.is_connected else self._absence.too_long_at(parse_duration(after))
        if stale_at is not None and now >= stale_at:
            await self._remove_stale()
            stale_at = None
        hold = self._ledger.hold()
        deadlines = [at for at in (hold.until if hold else None, stale_at, self._recording.due()) if at is not None]
        return min(deadlines, default=None)

    async def _remove_stale(self) -> None:
        """The remote has been away for longer than its policy allows."""
        policy = self._mesh.spec.staleness
        self._absence.acted_on()
        removed = self._ledger.clear() if policy.action == "Remove" else set()
        self._was_heard = self._was_heard or policy.action == "Remove"
        if removed and self._client is not None:
            self._client.forget()
        _log.warning(
            "the remote has been away for more than %s: %s",
            policy.after,
            f"removed {len(removed)} services" if policy.action == "Remove" else "what it exported is kept",
            extra={"remote": self._name},
        )
        self._report(connections.away_too_long(self._connection, self._mesh))
        self._recording.note(removed)
        await self._recording.carry_out(at_once=True)


def _guard(mesh: RemoteMesh) -> Guard:
    policy = mesh.spec.withdrawal
    return Guard(max_percent=policy.max_percent, min_services=policy.min_services, hold=parse_duration(policy.hold))


def _confirms(mesh: RemoteMesh) -> bool:
    return mesh.spec.import_ is not None and mesh.spec.import_.confirm


def _limit(mesh: RemoteMesh) -> int:
    return mesh.spec.import_.limit if mesh.spec.import_ is not None else 0
