"""How the connection to a remote stands, and what that means for what is imported from it: one judgement for all."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from meshfed.api.meta import StatusCondition
from meshfed.api.v1alpha1 import RemoteMesh
from meshfed.model.reasons import ConditionType, Reason
from meshfed.views.snapshot import find


class Hearing(StrEnum):
    """Whether a remote's discovery service is heard."""

    HEARD = "heard"
    KEPT = "kept"
    """It is not heard, and what it offered before stays as it was: requests go on, and what changes there is missed."""
    NOT_HEARD = "not heard"
    """It is not heard, and there is nothing of it to go on with."""
    UNKNOWN = "unknown"
    """No controller has said yet."""


class JudgedConnection(msgspec.Struct, frozen=True):
    """How a connection stands, and the condition that says so; ``None`` where none does."""

    hearing: Hearing
    condition: StatusCondition | None


def connection(remote: RemoteMesh, *, recorded: bool) -> JudgedConnection:
    """Return how the connection to a remote stands; ``recorded`` says whether there is anything that it offered."""
    found = find(remote.status.conditions, ConditionType.CONNECTED)
    if found is None or found.status == "Unknown":
        return JudgedConnection(Hearing.UNKNOWN, found)
    if found.status == "True":
        return JudgedConnection(Hearing.HEARD, found)
    return JudgedConnection(Hearing.KEPT if recorded else Hearing.NOT_HEARD, found)


class OffersKnown(StrEnum):
    """What is known of all that a remote offers."""

    COMPLETE = "complete"
    """What is not recorded is not offered, but for what is not imported."""
    NOT_YET = "not yet"
    """The remote is heard, and has not said everything, or not all of it is taken in yet."""
    UNKNOWN = "unknown"
    """The remote is not heard, or nobody has said."""


def offers_known(remote: RemoteMesh) -> OffersKnown:
    """Return whether all that a remote offers has been heard, as its conditions say."""
    connected, synced = (
        find(remote.status.conditions, type_) for type_ in (ConditionType.CONNECTED, ConditionType.SYNCED)
    )
    if connected is None or connected.status != "True" or synced is None:
        return OffersKnown.UNKNOWN
    # A hold keeps what was withdrawn; that the remote offers it no more was heard.
    return (
        OffersKnown.COMPLETE
        if synced.status == "True" or synced.reason == Reason.WITHDRAWAL_HELD
        else OffersKnown.NOT_YET
    )
