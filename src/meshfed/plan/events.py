"""What of a change is worth an Event: turns of conditions as they were written, and exports that begin and end.

What is written turns once and stays turned over a restart, so nothing is announced twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from meshfed.api.meta import StatusCondition
from meshfed.model.names import listed
from meshfed.model.reasons import BROKEN, DENIALS, ConditionType, Decision, EventReason, EventRecord, Reason
from meshfed.plan.values import Published

_LOST = frozenset({Reason.UNREACHABLE, Reason.PERMISSION_DENIED})
_FAILED = frozenset({Reason.NOT_OWNED, Reason.DRIFT_CONFLICT, Reason.WRITE_FAILED, Reason.UNRESOLVED})
_MISCONFIGURED = _FAILED | BROKEN | {Reason.NAME_CONFLICT, Reason.INVALID}
_OF_REMOTES: Mapping[tuple[str, str], EventReason] = {
    (ConditionType.SYNCED, Reason.WITHDRAWAL_HELD): EventReason.WITHDRAWAL_HELD,
    (ConditionType.SYNCED, Reason.THROTTLED): EventReason.THROTTLED,
    (ConditionType.SYNCED, Reason.STALE): EventReason.STALE,
    (ConditionType.READY, Reason.IMPORTS_NOT_REACHED): EventReason.IMPORTS_NOT_REACHED,
}
"""What of a RemoteMesh's conditions has an Event of its own."""
_REMARKS = {
    Reason.HOST_SHARED: EventReason.HOST_SHARED,
    Reason.PORTS_LEFT_OUT: EventReason.PORTS_LEFT_OUT,
    Reason.TRAFFIC_POLICY_OVERRIDDEN: EventReason.TRAFFIC_POLICY_OVERRIDDEN,
}
"""What is said of an offer that is imported."""
_HARMLESS = frozenset({Reason.PORTS_LEFT_OUT})
"""Which of it is as somebody wants it."""
_UNEXPECTED = frozenset(
    {
        *(Reason.EXTERNAL_NAME, Reason.HOST_TAKEN, Reason.INVALID, Reason.NAME_TOO_LONG, Reason.NO_USABLE_PORTS),
        Reason.MTLS_DISABLED,
    }
)
"""Why a Service that somebody selected is not exported all the same."""


def turned(
    kind: str, before: Iterable[StatusCondition], after: Iterable[StatusCondition], *, connected_before: bool = False
) -> Iterator[EventRecord]:
    """What is worth telling of an object of ``kind`` whose conditions were ``before`` and are ``after`` now.

    ``connected_before``: for a RemoteMesh, whether there ever was a connection.
    """
    known: Mapping[str, StatusCondition] = {condition.type: condition for condition in before}
    for now in after:
        was = known.get(now.type)
        if was is not None and (was.status, was.reason) == (now.status, now.reason):
            continue
        found = _happening(kind, was, now, connected_before=connected_before)
        if found is not None:
            yield found


def _happening(
    kind: str, was: StatusCondition | None, now: StatusCondition, *, connected_before: bool
) -> EventRecord | None:
    holds, held = now.status == "True", was is not None and was.status == "True"
    match kind, now.type:
        case "RemoteMesh", ConditionType.CONNECTED if holds:
            # A controller that restarts connects anew, which is no news of the remote.
            again = was is not None and was.reason == Reason.CONNECTING and connected_before
            return None if again else EventRecord(EventReason.REMOTE_FOUND, now.message)
        case "RemoteMesh", ConditionType.CONNECTED if now.reason in _LOST:
            return EventRecord(EventReason.REMOTE_LOST, now.message, warns=True)
        case "RemoteMesh", _ if (now.type, now.reason) in _OF_REMOTES:
            return EventRecord(_OF_REMOTES[now.type, now.reason], now.message, warns=True)
        case "RemoteMesh", ConditionType.IDENTITY_UNIQUE if not holds:
            shadowed = now.reason == Reason.IDENTITY_SHADOWED
            reason = EventReason.IDENTITY_SHADOWED if shadowed else EventReason.IDENTITY_AMBIGUOUS
            return EventRecord(reason, now.message, warns=True)
        case "RemoteMesh", ConditionType.READY if now.reason in _MISCONFIGURED:
            return EventRecord(EventReason.NOT_READY, f"{now.reason}: {now.message}", warns=True)
        case "MeshFederation", ConditionType.READY if holds and not held:
            return EventRecord(EventReason.READY, now.message)
        case "MeshFederation", ConditionType.READY if not holds and now.reason != Reason.PENDING:
            return EventRecord(EventReason.NOT_READY, f"{now.reason}: {now.message}", warns=True)
        case "FederatedService", ConditionType.ACCEPTED if not holds and now.reason != Reason.REMOTE_MISSING:
            return EventRecord(EventReason.DENIED, f"{now.reason}: {now.message}", warns=now.reason not in DENIALS)
        case "FederatedService", ConditionType.ACCEPTED if now.reason in _REMARKS:
            return EventRecord(_REMARKS[Reason(now.reason)], now.message, warns=now.reason not in _HARMLESS)
        case "FederatedService", ConditionType.APPLIED if holds and not held:
            return EventRecord(EventReason.IMPORTED, f"imported: {now.message}")
        case "FederatedService", ConditionType.APPLIED if now.reason in _FAILED:
            return EventRecord(EventReason.IMPORT_FAILED, f"{now.reason}: {now.message}", warns=True)
        case "ServiceExport", ConditionType.VALID:
            return _exported(now.message) if holds else _not_exported(now.reason, now.message)
    return None


def export_turned(before: Published | Decision | None, after: Published | Decision | None) -> EventRecord | None:
    """What is worth telling of a Service whose export stood at ``before`` and stands at ``after`` now."""
    if isinstance(after, Published):
        if isinstance(before, Published) and _told(before) == _told(after):
            return None
        whom = "other meshes" if after.audience is None else f"RemoteMesh {listed(sorted(after.audience))} only"
        return _exported(f"offered to {whom} as {after.offer.host}")
    if isinstance(after, Decision) and after.reason in _UNEXPECTED:
        same = isinstance(before, Decision) and before.reason == after.reason
        return None if same else _not_exported(after.reason, after.message)
    if isinstance(before, Published) and after is not None:
        return EventRecord(EventReason.UNEXPORTED, f"not offered to other meshes any more: {after.message}")
    return None


def withdrawn(remote: str, host: str) -> EventRecord:
    """What is worth telling of an offer that its remote took back."""
    return EventRecord(EventReason.WITHDRAWN, f"RemoteMesh {remote} does not offer {host} to this mesh any more")


def still_imported(host: str, remotes: Iterable[str], *, service: str = "") -> EventRecord:
    """What is to be said of a host that is not offered any more to remotes that have it in place.

    ``service`` names the Service where that is gone, so that it is said elsewhere.
    """
    what = f"Service {service}, which is gone, was offered as {host}" if service else f"it was offered as {host}"
    message = (
        f"{what}, and RemoteMesh {listed(list(remotes))} said to import that when it was withdrawn: callers there lose "
        "it, unless something else serves the host. To give them time, export it again, and ask their owners first"
    )
    return EventRecord(EventReason.STILL_IMPORTED, message, warns=True)


def _told(published: Published) -> tuple[object, ...]:
    return published.offer.host, published.audience


def _exported(message: str) -> EventRecord:
    return EventRecord(EventReason.EXPORTED, message)


def _not_exported(reason: str, message: str) -> EventRecord:
    return EventRecord(EventReason.NOT_EXPORTED, f"{reason}: {message}", warns=True)
