"""Which turns of conditions, and of exports, are told as Events."""

from __future__ import annotations

import pytest

from meshfed.api.meta import StatusCondition
from meshfed.model.offers import Offer
from meshfed.model.reasons import EVENTS, Decision, EventReason, EventRecord, Reason
from meshfed.plan import Published
from meshfed.plan.events import export_turned, turned

Turn = tuple[str, str] | None
"""Status and reason of a condition; ``None``: there was none."""


def condition(kind: str, turn: Turn) -> tuple[StatusCondition, ...]:
    if turn is None:
        return ()
    return (StatusCondition(type=kind, status=turn[0], reason=turn[1], message="why"),)  # type: ignore[arg-type]


UP, DOWN, REFUSED = ("True", "Connected"), ("False", "Unreachable"), ("False", "PermissionDenied")
CONNECTING = ("False", "Connecting")
READY, PENDING, DENIED = ("True", "Ready"), ("False", "Pending"), ("False", "DeniedByRule")


@pytest.mark.parametrize(
    ("kind", "type_", "before", "after", "told"),
    [
        ("RemoteMesh", "Connected", None, UP, "RemoteFound"),
        ("RemoteMesh", "Connected", CONNECTING, UP, "RemoteFound"),
        ("RemoteMesh", "Connected", DOWN, UP, "RemoteFound"),
        ("RemoteMesh", "Connected", UP, UP, None),
        ("RemoteMesh", "Connected", UP, CONNECTING, None),
        ("RemoteMesh", "Connected", UP, DOWN, "RemoteLost!"),
        ("RemoteMesh", "Connected", None, DOWN, "RemoteLost!"),
        ("RemoteMesh", "Connected", DOWN, DOWN, None),
        ("RemoteMesh", "Connected", DOWN, REFUSED, "RemoteLost!"),
        ("RemoteMesh", "Synced", ("True", "Synced"), ("False", "WithdrawalHeld"), "WithdrawalHeld!"),
        ("RemoteMesh", "Synced", ("False", "NotSynced"), ("False", "Stale"), "Stale!"),
        ("RemoteMesh", "Synced", ("True", "Synced"), ("False", "Throttled"), "Throttled!"),
        ("RemoteMesh", "Synced", ("True", "Synced"), ("False", "NotSynced"), None),
        ("RemoteMesh", "IdentityUnique", None, ("True", "IdentityUnique"), None),
        ("RemoteMesh", "IdentityUnique", None, ("False", "IdentityAmbiguous"), "IdentityAmbiguous!"),
        ("RemoteMesh", "IdentityUnique", None, ("False", "IdentityShadowed"), "IdentityShadowed!"),
        ("RemoteMesh", "Ready", READY, ("False", "NotOwned"), "NotReady!"),
        ("RemoteMesh", "Ready", READY, DOWN, None),
        ("RemoteMesh", "Ready", READY, ("True", "ImportsNotReached"), "ImportsNotReached!"),
        ("RemoteMesh", "Ready", ("True", "ImportsNotReached"), ("True", "ImportsNotReached"), None),
        ("RemoteMesh", "Ready", ("True", "ImportsNotReached"), READY, None),
        ("MeshFederation", "Ready", None, PENDING, None),
        ("MeshFederation", "Ready", PENDING, READY, "Ready"),
        ("MeshFederation", "Ready", READY, ("False", "Duplicate"), "NotReady!"),
        ("FederatedService", "Accepted", None, ("True", "Accepted"), None),
        ("FederatedService", "Accepted", ("True", "Accepted"), ("True", "HostShared"), "HostShared!"),
        ("FederatedService", "Accepted", ("True", "HostShared"), ("True", "Accepted"), None),
        ("FederatedService", "Accepted", ("True", "Accepted"), ("True", "PortsLeftOut"), "PortsLeftOut"),
        (
            "FederatedService",
            "Accepted",
            ("True", "Accepted"),
            ("True", "TrafficPolicyOverridden"),
            "TrafficPolicyOverridden!",
        ),
        ("FederatedService", "Accepted", None, DENIED, "Denied"),
        ("FederatedService", "Accepted", None, ("False", "PortConflict"), "Denied!"),
        ("FederatedService", "Accepted", None, ("False", "RemoteMissing"), None),
        ("FederatedService", "Applied", None, ("True", "Applied"), "Imported"),
        ("FederatedService", "Applied", PENDING, ("True", "Applied"), "Imported"),
        ("FederatedService", "Applied", None, DENIED, None),
        ("FederatedService", "Applied", ("True", "Applied"), ("False", "DriftConflict"), "ImportFailed!"),
        ("ServiceExport", "Valid", None, ("True", "Exported"), "Exported"),
        ("ServiceExport", "Valid", None, ("False", "NoService"), "NotExported!"),
    ],
)
def test_turns_of_conditions(kind: str, type_: str, before: Turn, after: Turn, told: str | None) -> None:
    found = [
        f"{one.reason}{'!' if one.warns else ''}"
        for one in turned(kind, condition(type_, before), condition(type_, after))
    ]
    assert found == ([told] if told else [])


def test_a_connection_that_is_made_again_by_a_new_process_is_no_news() -> None:
    before, after = condition("Connected", CONNECTING), condition("Connected", UP)
    assert list(turned("RemoteMesh", before, after, connected_before=True)) == []


PUBLISHED = Published(Offer(host="a.default.svc.cluster.local"))
CHOSEN = Published(Offer(host="a.default.svc.cluster.local"), frozenset({"west", "north"}))
ALIAS = Published(Offer(host="b.default.svc.cluster.local"))
NOT_SELECTED = Decision(accepted=False, reason=Reason.NOT_SELECTED, message="no label")
TAKEN = Decision(accepted=False, reason=Reason.HOST_TAKEN, message="by another")
INVALID = Decision(accepted=False, reason=Reason.INVALID, message="too many ports")
EXTERNAL = Decision(accepted=False, reason=Reason.EXTERNAL_NAME, message="no endpoints")
OFFERED = EventRecord(EventReason.EXPORTED, "offered to other meshes as a.default.svc.cluster.local")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, PUBLISHED, OFFERED),
        (TAKEN, PUBLISHED, OFFERED),
        (PUBLISHED, PUBLISHED, None),
        (ALIAS, PUBLISHED, OFFERED),
        (CHOSEN, PUBLISHED, OFFERED),
        (
            PUBLISHED,
            CHOSEN,
            EventRecord(EventReason.EXPORTED, "offered to RemoteMesh north, west only as a.default.svc.cluster.local"),
        ),
        (None, NOT_SELECTED, None),
        (
            PUBLISHED,
            NOT_SELECTED,
            EventRecord(EventReason.UNEXPORTED, "not offered to other meshes any more: no label"),
        ),
        (PUBLISHED, None, None),
        (None, TAKEN, EventRecord(EventReason.NOT_EXPORTED, "HostTaken: by another", warns=True)),
        (TAKEN, TAKEN, None),
        (None, INVALID, EventRecord(EventReason.NOT_EXPORTED, "Invalid: too many ports", warns=True)),
        (NOT_SELECTED, EXTERNAL, EventRecord(EventReason.NOT_EXPORTED, "ExternalName: no endpoints", warns=True)),
    ],
)
def test_turns_of_exports(
    before: Published | Decision | None, after: Published | Decision | None, told: EventRecord | None
) -> None:
    assert export_turned(before, after) == told


def test_every_event_is_documented() -> None:
    assert set(EVENTS) == set(EventReason)
