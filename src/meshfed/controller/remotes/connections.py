"""How the discovery of one remote stands, in words for a person: each moment of it from the one before."""

from __future__ import annotations

from typing import Final

import msgspec

from meshfed.api.v1alpha1 import GROUP, RemoteMesh
from meshfed.controller.remotes.dialling import hint
from meshfed.controller.remotes.pacing import HOSTS_PER_SECOND
from meshfed.fds import Dialect, DiscoveryError, Refused
from meshfed.federation.ledger import Ledger
from meshfed.model.reasons import ConditionType, Reason
from meshfed.plan import RemoteConnection

ACCEPT_WITHDRAWAL: Final = f"{GROUP}/accept-withdrawal"
"""Annotation on a RemoteMesh that lets a held withdrawal through: its value is the token of the hold."""

DIALECTS: Final = {
    Dialect.DELTA: "told of its changes one by one",
    Dialect.SOTW: "in the reference's dialect, whole lists at a time",
}
_HEARD: Final = frozenset({Reason.SYNCED, Reason.WITHDRAWAL_HELD, Reason.THROTTLED})
_AWAY: Final = "not connected; what was imported stays as it was"


def is_heard(connection: RemoteConnection) -> bool:
    """Whether everything the remote had to say has been received on this connection."""
    return connection.sync_reason in _HEARD


def resumed(mesh: RemoteMesh) -> RemoteConnection:
    """Return how it stands for a process that begins: as its predecessor left it, but for being connected.

    So what counts from a remote's loss, or from a withdrawal, goes on counting.
    """
    status = mesh.status
    connection = RemoteConnection(
        dialect=status.dialect,
        identity=status.identity,
        last_connected=status.last_connected,
        last_sync=status.last_sync,
        held=max(0, status.held_services),
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


def made(before: RemoteConnection, dialect: Dialect, mesh: RemoteMesh, *, now: str) -> RemoteConnection:
    """The stream is up."""
    return msgspec.structs.replace(
        before,
        connected=True,
        synced=False,
        reason=Reason.CONNECTED,
        message=f"connected since {now}, {DIALECTS[dialect]}",
        sync_reason=Reason.NOT_SYNCED,
        sync_message="connected; its whole offer has not been received on this connection yet",
        dialect=dialect.value,
        identity=str(mesh.spec.identity or ""),
        since=now,
        last_connected=now,
    )


def lost(before: RemoteConnection, error: DiscoveryError, mesh: RemoteMesh, *, now: str) -> RemoteConnection:
    """An attempt failed, or the stream is gone."""
    since = before.since if not before.connected and before.since else now
    stale = before.sync_reason is Reason.STALE
    return msgspec.structs.replace(
        before,
        connected=False,
        synced=False,
        reason=Reason.PERMISSION_DENIED if isinstance(error, Refused) else Reason.UNREACHABLE,
        message=f"since {since}: {error}{hint(error, mesh)}; what was imported stays, and it is tried again",
        sync_reason=Reason.STALE if stale else Reason.NOT_SYNCED,
        sync_message=before.sync_message if stale else _AWAY,
        since=since,
    )


def failed(before: RemoteConnection, why: str) -> RemoteConnection:
    """A fault of ours ended the listening; the remote is not to blame, so that it does not count as away for it."""
    return msgspec.structs.replace(
        before,
        connected=False,
        synced=False,
        reason=Reason.CONNECTING,
        message=f"listening to it failed ({why}), which is a fault of Meshfed: please report it. It is tried again, "
        "and what was imported stays",
        sync_reason=Reason.NOT_SYNCED,
        sync_message=_AWAY,
    )


def heard(before: RemoteConnection, ledger: Ledger, mesh: RemoteMesh, *, throttled: bool, now: str) -> RemoteConnection:
    """Everything the remote had to say was received; ``ledger`` knows what of it stands, and what is held."""
    hold = ledger.hold()
    if hold is not None:
        reason = Reason.WITHDRAWAL_HELD
        message = (
            f"it withdrew {hold.hosts} services at once, which is held for {mesh.spec.withdrawal.hold} since "
            f"{hold.token}; to let it through now: kubectl annotate remotemesh {mesh.metadata.name} "
            f"-n {mesh.metadata.namespace} --overwrite {ACCEPT_WITHDRAWAL}={hold.token}"
        )
    elif throttled:
        reason = Reason.THROTTLED
        message = f"it keeps changing more than {HOSTS_PER_SECOND} hosts a second, and is followed at that rate"
    else:
        reason, message = Reason.SYNCED, "all that it offers has been received"
    if ledger.unusable:
        message += "; some of what it announced were no usable host names, which the log tells"
    return msgspec.structs.replace(
        before,
        # What is held or waits is not yet as the remote says, and a person should know.
        synced=reason is Reason.SYNCED,
        sync_reason=reason,
        sync_message=message,
        last_sync=before.last_sync if is_heard(before) else now,
        unrecorded=ledger.unrecorded,
        held=hold.hosts if hold else 0,
        held_since=hold.token if hold else "",
    )


def away_too_long(before: RemoteConnection, mesh: RemoteMesh) -> RemoteConnection:
    """The remote has been away for longer than its policy allows, and what that says was done."""
    policy = mesh.spec.staleness
    done = "what it exported was removed" if policy.action == "Remove" else "what it exported is kept"
    return msgspec.structs.replace(
        before,
        sync_reason=Reason.STALE,
        sync_message=f"away for more than {policy.after}; {done} (staleness.action: {policy.action})",
    )


def reconsidered(before: RemoteConnection) -> RemoteConnection:
    """The policy changed by which the remote was away for too long."""
    if before.sync_reason is not Reason.STALE:
        return before
    return msgspec.structs.replace(before, sync_reason=Reason.NOT_SYNCED, sync_message=_AWAY)
