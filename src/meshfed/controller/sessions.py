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
import math
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import msgspec

from meshfed.api.durations import parse_duration
from meshfed.api.v1alpha1 import GROUP, FederatedServiceSpec, RemoteMesh
from meshfed.controller.pacing import HOSTS_PER_SECOND, Pacer
from meshfed.fds import Dialect, DiscoveryClient, DiscoveryError, NotReady, Refused, Target, Update
from meshfed.federation.ledger import Guard, Hold, Ledger
from meshfed.model.reasons import ConditionType, Reason
from meshfed.plan import Connection
from meshfed.telemetry.logs import Seldom
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

ACCEPT_WITHDRAWAL: Final = f"{GROUP}/accept-withdrawal"
"""Annotation on a RemoteMesh that lets a held withdrawal through: its value is the token of the hold."""

STARTING_SECONDS: Final = 60.0
"""For how long a remote that answers UNAVAILABLE, to a process that was never connected, may just be starting."""

Admits = Callable[[FederatedServiceSpec], bool]
"""Whether the import rules admit an offer."""


class Reports(msgspec.Struct, frozen=True):
    """Where a session reports to; every call returns at once."""

    desire: Callable[[str, str, FederatedServiceSpec | None], None]
    """Remote, host, and the FederatedService that should exist for them (``None``: none)."""
    connection: Callable[[str, Connection], None]
    """Remote, and how its discovery stands now."""


class Session:
    """One remote mesh, from its discovery stream to its FederatedServices. A sink of its ``DiscoveryClient``.

    ``settling``: seconds to wait before the first connection.
    """

    def __init__(
        self,
        mesh: RemoteMesh,
        *,
        reports: Reports,
        admits: Admits,
        metrics: Metrics,
        stamp: Callable[[], str],
        node: str,
        settling: float = 0.0,
    ) -> None:
        self._mesh = mesh
        self._name = mesh.metadata.name
        self._reports = reports
        self._admits = admits
        self._metrics = metrics
        self._stamp = stamp
        self._node = node
        self._settling = settling
        self._connection = _resumed(mesh)
        self._dialect = Dialect.DELTA
        self._ledger = Ledger(
            self._name,
            trust_domain=mesh.spec.trust_domain,
            guard=_guard(mesh),
            limit=_limit(mesh),
            admits=self._admits,
        )
        self._client: DiscoveryClient | None = None
        self._changed = asyncio.Event()
        self._lost_at: float | None = None
        self._stale_not_before = math.inf
        self._stale = False
        self._closed = False
        self._pacer = Pacer()
        self._said: set[str] = set()
        self._unusable = Seldom()

    @property
    def is_connected(self) -> bool:
        """Whether the remote's stream is up."""
        return self._connection.connected

    @property
    def is_heard(self) -> bool:
        """Whether the remote has said all that it offers, on the connection that is up."""
        return self._connection.connected and self._connection.sync_reason in _HEARD

    def offers(self, host: str) -> bool:
        """Whether the remote offers ``host``, as far as that is remembered and worth recording."""
        return self._ledger.desired(host) is not None

    def close(self) -> None:
        """Say what waits, and then no more: what still runs until it is cancelled has no say in what comes next."""
        self._say(self._pacer.drain())
        self._closed = True

    def known(self) -> tuple[FederatedServiceSpec, ...]:
        """What the remote offers, as far as it is remembered."""
        return self._ledger.specs()

    def remember(self, specs: Iterable[FederatedServiceSpec]) -> None:
        """Start from the FederatedServices that exist: they stay until the remote was heard and says otherwise."""
        self._ledger.remember(specs)
        self._say(self._ledger.hosts())
        now, before = asyncio.get_running_loop().time(), self._connection
        if before.since:
            self._lost_at = now - self._age(before.since)
        if before.held:
            until = now + max(0.0, _guard(self._mesh).hold - self._age(before.held_since))
            self._ledger.resume(Hold(hosts=before.held, until=until, token=before.held_since))
        self._reports.connection(self._name, before)

    def forget_all(self) -> None:
        """Nothing is imported from this remote any more: what it offered goes."""
        self._say(self._ledger.clear())

    def reconfigure(self, mesh: RemoteMesh, *, rejudge: bool = False) -> bool:
        """The RemoteMesh changed: take the change in; returns false where only a new session can.

        ``rejudge``: this mesh changed, on which the import rules' verdicts depend, and whose the FederatedServices are.
        """
        before, self._mesh = self._mesh, mesh
        # What was announced under another trust domain was dropped as it came in, so all has to be heard again.
        # And who may answer is checked when a connection is made, by the sidecar, and not again while it lasts.
        if _target(mesh) != _target(before) or _is_another(mesh, before):
            return False
        if mesh.spec != before.spec or rejudge:
            changed = self._ledger.rejudge(
                trust_domain=mesh.spec.trust_domain, guard=_guard(mesh), limit=_limit(mesh), admits=self._admits
            )
            self._say(self._ledger.hosts() if rejudge else changed)
        if mesh.spec.staleness != before.spec.staleness and self._connection.sync_reason is Reason.STALE:
            # Judged by another policy it may not be, or may come to something else.
            self._stale = False
            self._report(msgspec.structs.replace(self._connection, sync_reason=Reason.NOT_SYNCED, sync_message=_AWAY))
        self._changed.set()
        return True

    def removed_by_hand(self, host: str) -> bool:
        """Someone deleted a FederatedService; returns whether that stands, as it does while the remote is away."""
        if self.is_connected:
            return False
        self._ledger.forget(host)
        if self._client is not None:
            # Else the remote would be told that we have it still, and would not offer it again.
            self._client.forget()
        return True

    async def run(self) -> None:
        """Listen until cancelled; a session that ends leaves everything as it is."""
        await asyncio.sleep(self._settling)
        target = _target(self._mesh)
        if target is None:
            # Without an address there is nobody to listen to, which the plan says on the RemoteMesh.
            await asyncio.Event().wait()
            return
        self._client = DiscoveryClient(self._name, target, self, metrics=self._metrics, node=self._node)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._client.run())
            tasks.create_task(self._keep_time())

    # --- what the client reports (a ``Sink``)

    async def connected(self, dialect: Dialect) -> None:
        """The stream is up."""
        self._dialect = dialect
        self._lost_at = None
        self._stale_not_before = 0.0
        self._stale = False
        now = self._stamp()
        self._report(
            msgspec.structs.replace(
                self._connection,
                connected=True,
                synced=False,
                reason=Reason.CONNECTED,
                message=f"connected since {now}, {_DIALECTS[dialect]}",
                sync_reason=Reason.NOT_SYNCED,
                sync_message="connected; its whole offer has not been received on this connection yet",
                dialect=dialect.value,
                identity=str(self._mesh.spec.identity or ""),
                since=now,
                last_connected=now,
            )
        )
        _log.info("connected, %s", _DIALECTS[dialect], extra={"remote": self._name})
        self._changed.set()

    async def update(self, update: Update) -> None:
        """The remote said what it offers, or what of that changed."""
        loop = asyncio.get_running_loop()
        if update.rejected and self._unusable.ready(self._name):
            first = update.rejected[0]
            _log.warning(
                "%d offers are not usable, such as this: %s (more is said of them in a minute at the earliest)",
                len(update.rejected),
                first.why,
                extra={"remote": self._name, "host": first.host},
            )
        kept = {rejected.host for rejected in update.rejected}
        removals: Iterable[str] = update.removals
        complete = update.complete
        if complete and kept:
            # A host that came mangled was not withdrawn; where even its name is lost, nothing is taken away.
            complete = False
            offered = kept.union(offer.host for offer in update.upserts)
            removals = () if "" in kept else [host for host in self._ledger.hosts() if host not in offered]
        dropped = self._ledger.dropped
        changed = self._ledger.update(
            update.upserts,
            removals,
            complete=complete,
            now=loop.time(),
            stamp=self._stamp(),
        )
        for what, number in (self._ledger.dropped - dropped).items():
            self._metrics.dropped.labels(remote=self._name, what=what).inc(number)
        if self._connection.sync_reason in _HEARD:
            for host in changed:
                if host in self._said or self._ledger.desired(host) is not None:
                    self._pacer.add(host)
                else:
                    self._pacer.discard(host)  # it came and went before its turn
            self._say(self._pacer.take(loop.time()))
        else:
            self._say(changed)  # a first synchronisation takes as long as it takes, and no longer
        if update.synced:
            if self._connection.sync_reason not in _HEARD:
                _log.info("all that it offers has been received", extra={"remote": self._name})
            self._report(self._synced())
        self._changed.set()

    async def disconnected(self, error: DiscoveryError) -> None:
        """An attempt failed, or the stream is gone: nothing is withdrawn by that."""
        loop = asyncio.get_running_loop()
        grace = STARTING_SECONDS if isinstance(error, NotReady) else 0.0
        self._stale_not_before = min(self._stale_not_before, loop.time() + grace)
        if self._lost_at is None:
            self._lost_at = loop.time()
        before = self._connection
        reason = Reason.PERMISSION_DENIED if isinstance(error, Refused) else Reason.UNREACHABLE
        since = before.since if not before.connected and before.since else self._stamp()
        said = f"{error}{_hint(error, self._mesh)}"
        self._report(
            msgspec.structs.replace(
                before,
                connected=False,
                synced=False,
                reason=reason,
                message=f"since {since}: {said}; what was imported stays, and it is tried again",
                sync_reason=Reason.NOT_SYNCED if before.sync_reason is not Reason.STALE else Reason.STALE,
                sync_message=_AWAY if before.sync_reason is not Reason.STALE else before.sync_message,
                since=since,
            )
        )
        self._changed.set()

    # --- inside

    def _age(self, moment: str) -> float:
        """Seconds since ``moment`` (RFC 3339) by the clock that stamps; none where that clock was set back."""
        try:
            passed = datetime.fromisoformat(self._stamp()) - datetime.fromisoformat(moment)
        except ValueError:
            return 0.0
        return max(0.0, passed.total_seconds())

    def _say(self, hosts: Iterable[str]) -> None:
        if self._closed:
            return
        for host in hosts:
            spec = self._ledger.desired(host)
            if spec is not None:
                self._said.add(host)
            else:
                self._said.discard(host)
            self._reports.desire(self._name, host, spec)

    def _report(self, connection: Connection) -> None:
        if not self._closed and connection != self._connection:
            self._connection = connection
            self._reports.connection(self._name, connection)

    def _synced(self) -> Connection:
        """The connection as it stands once everything the remote had to say was received."""
        hold = self._ledger.hold()
        connection = self._connection
        if hold is None and self._pacer.throttled:
            reason = Reason.THROTTLED
            message = f"it keeps changing more than {HOSTS_PER_SECOND} hosts a second, and is followed at that rate"
        elif hold is None:
            reason, message = Reason.SYNCED, "all that it offers has been received"
        else:
            reason = Reason.WITHDRAWAL_HELD
            message = (
                f"it withdrew {hold.hosts} services at once, which is held for {self._mesh.spec.withdrawal.hold} since "
                f"{hold.token}; to let it through now: kubectl annotate remotemesh {self._name} "
                f"-n {self._mesh.metadata.namespace} --overwrite {ACCEPT_WITHDRAWAL}={hold.token}"
            )
        if self._ledger.unusable:
            message += "; some of what it announced were no usable host names, which the log tells"
        self._metrics.withdrawals_held.labels(remote=self._name).set(hold.hosts if hold else 0)
        return msgspec.structs.replace(
            connection,
            # What is held or waits is not yet as the remote says, and a person should know.
            synced=reason is Reason.SYNCED,
            sync_reason=reason,
            sync_message=message,
            last_sync=connection.last_sync if connection.sync_reason in _HEARD else self._stamp(),
            denied_unrecorded=self._ledger.unrecorded,
            held=hold.hosts if hold else 0,
            held_since=hold.token if hold else "",
        )

    async def _keep_time(self) -> None:
        """Carry out what time or a person decides: the end of a hold, and staleness."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            now = loop.time()
            token = self._mesh.metadata.annotations.get(ACCEPT_WITHDRAWAL)
            gone = self._ledger.release(now=now, token=token)
            if gone:
                _log.info("carrying out the withdrawal of %d services", len(gone), extra={"remote": self._name})
                self._say(gone)
            self._say(self._pacer.take(now))
            if self._connection.sync_reason in _HEARD:
                self._report(self._synced())
            stale_at = self._stale_at()
            if stale_at is not None and now >= stale_at:
                self._remove_stale()
                stale_at = None
            hold = self._ledger.hold()
            deadlines = [at for at in (hold.until if hold else None, stale_at, self._pacer.due()) if at is not None]
            pause = min(deadlines) - now if deadlines else None
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    def _stale_at(self) -> float | None:
        # An absence that began before this process may be over: it counts once somebody has looked.
        if self._lost_at is None or self._stale or self._stale_not_before == math.inf:
            return None
        return max(self._lost_at + parse_duration(self._mesh.spec.staleness.after), self._stale_not_before)

    def _remove_stale(self) -> None:
        """The remote has been away for longer than its policy allows."""
        policy = self._mesh.spec.staleness
        self._stale = True
        removed = self._ledger.clear() if policy.action == "Remove" else set()
        if removed and self._client is not None:
            self._client.forget()
        _log.warning(
            "the remote has been away for more than %s: %s",
            policy.after,
            f"removed {len(removed)} services" if policy.action == "Remove" else "what it exported is kept",
            extra={"remote": self._name},
        )
        self._say(removed)
        done = "what it exported was removed" if policy.action == "Remove" else "what it exported is kept"
        self._report(
            msgspec.structs.replace(
                self._connection,
                sync_reason=Reason.STALE,
                sync_message=f"away for more than {policy.after}; {done} (staleness.action: {policy.action})",
            )
        )


def _resumed(mesh: RemoteMesh) -> Connection:
    """How the connection stands for a process that begins: as its predecessor left it, but for being connected.

    So what counts from a remote's loss, or from a withdrawal, goes on counting.
    """
    status = mesh.status
    connection = Connection(
        dialect=status.dialect,
        identity=status.identity,
        last_connected=status.last_connected,
        last_sync=status.last_sync,
        held=status.held_services,
        held_since=status.held_since,
    )
    stored = {condition.type: condition for condition in status.conditions}
    connected, synced = stored.get(ConditionType.CONNECTED), stored.get(ConditionType.SYNCED)
    if connected is None or connected.reason not in {Reason.UNREACHABLE, Reason.PERMISSION_DENIED}:
        return connection
    connection = msgspec.structs.replace(
        connection,
        reason=Reason(connected.reason),
        message=connected.message,
        sync_message=_AWAY,
        since=connected.last_transition_time,
    )
    if synced is None or synced.reason != Reason.STALE:
        return connection
    return msgspec.structs.replace(connection, sync_reason=Reason.STALE, sync_message=synced.message)


def _hint(error: DiscoveryError, mesh: RemoteMesh) -> str:
    """What may be behind an answer that only says that nothing can be had."""
    if isinstance(error, Refused) and _SIDECARS_WORDS in str(error):
        return "; its sidecar says so: compare `identity` of its RemoteMesh for this mesh with our service account"
    if not isinstance(error, NotReady):
        return ""
    if any(words in str(error) for words in _PROXYS_WORDS):
        gateway = ", ".join(f"{address}:{mesh.spec.port}" for address in mesh.spec.addresses[:3])
        return (
            f"; a proxy says so: the remote's controller is not reached by way of its gateway ({gateway}), or is not "
            "whom spec.identity says, or one does not believe the other's certificate"
        )
    return "; it is starting, or not in sync yet"


_SIDECARS_WORDS: Final = "RBAC: access denied"
"""What Envoy answers whom no policy admits; the controller behind it, which would name the identity, is not asked."""
_PROXYS_WORDS: Final = ("upstream connect error", "no healthy upstream")
"""How Envoy begins what it answers in the place of a service."""
_HEARD: Final = frozenset({Reason.SYNCED, Reason.WITHDRAWAL_HELD, Reason.THROTTLED})
"""Everything the remote had to say has been received on this connection."""
_AWAY: Final = "not connected; what was imported stays as it was"
_DIALECTS: Final = {
    Dialect.DELTA: "told of its changes one by one",
    Dialect.SOTW: "in the reference's dialect, whole lists at a time",
}


def _guard(mesh: RemoteMesh) -> Guard:
    policy = mesh.spec.withdrawal
    return Guard(max_percent=policy.max_percent, min_services=policy.min_services, hold=parse_duration(policy.hold))


def _limit(mesh: RemoteMesh) -> int:
    return mesh.spec.import_.limit if mesh.spec.import_ is not None else 0


def _is_another(mesh: RemoteMesh, before: RemoteMesh) -> bool:
    """Whether it is somebody else who may answer."""
    return (mesh.spec.trust_domain, mesh.spec.identity) != (before.spec.trust_domain, before.spec.identity)


def _target(mesh: RemoteMesh) -> Target | None:
    """Where the remote's discovery service is dialled.

    Behind sidecars the authority decides where a call goes, so any address that leads into the mesh's own proxy
    will do: the remote's first one, on the discovery port, which the discovery ServiceEntry knows.
    """
    spec = mesh.spec
    authority = (
        f"federation-discovery-service-{mesh.metadata.name}.{spec.discovery.namespace}.svc.{spec.cluster_domain}"
    )
    if spec.discovery.address is not None:
        host, _, port = spec.discovery.address.rpartition(":")
        return Target(host.strip("[]"), int(port), authority=authority)
    if not spec.addresses:
        return None
    return Target(spec.addresses[0], spec.discovery.port, authority=authority)
