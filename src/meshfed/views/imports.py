"""What remotes offer, and what became of each offer here."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from meshfed.api.meta import StatusCondition
from meshfed.api.v1alpha1 import FederatedService
from meshfed.model.offers import Port
from meshfed.model.reasons import DENIALS, RESERVED, ConditionType, Reason
from meshfed.views.snapshot import Snapshot, find


class ImportState(StrEnum):
    """What became of an offer, the worst first."""

    FAILED = "Failed"
    """Accepted, and its Istio objects are not in place."""
    UNREACHABLE = "Unreachable"
    """In place, and a handshake by one of its ways was not answered by whom it should be."""
    UNKNOWN = "Unknown"
    """Nobody can say what becomes of it just now; what there was stays."""
    REFUSED = "Refused"
    """Not imported, though no rule denies it."""
    PENDING = "Pending"
    """Its Istio objects are being written."""
    DENIED = "Denied"
    """Not imported, as somebody decided."""
    IMPORTED = "Imported"
    """In place; ``reachable`` says whether that was seen to lead anywhere."""


ORDER: Final = {state: position for position, state in enumerate(ImportState)}
GOOD: Final = frozenset({ImportState.IMPORTED, ImportState.DENIED, ImportState.PENDING})
"""States in which nobody has to act."""


class ImportView(msgspec.Struct, frozen=True, rename="camel"):
    """One offer of one remote. ``reason``, ``message`` and ``since`` are of the condition that ``state`` follows from.

    ``host`` is as it is offered, ``imported_as`` as it is imported, empty where it is not. ``reachable`` is the status
    of that condition, ``-`` where it has none.
    """

    mesh: str
    remote: str
    host: str
    imported_as: str
    name: str
    state: ImportState
    reachable: str
    reason: str
    message: str
    since: str
    ports: tuple[Port, ...]
    labels: dict[str, str]
    identities: tuple[str, ...]
    objects: tuple[str, ...]


def is_named(name: str, *hosts: str) -> bool:
    """Whether ``name`` is one of the hosts, or the first labels of one."""
    return any(host == name or host.startswith(f"{name}.") for host in hosts if host)


def imports(snapshot: Snapshot) -> tuple[ImportView, ...]:
    """Return every offer, the worst first, then by host and remote."""
    mesh = snapshot.mesh
    found = [_view(mesh, record) for record in snapshot.records]
    return tuple(sorted(found, key=lambda one: (ORDER[one.state], one.host, one.remote)))


def called(record: FederatedService) -> str:
    """Return the host by which clients here call what is offered, or would, were it imported."""
    return record.status.imported_as or record.spec.host


def trouble(snapshot: Snapshot, host: str) -> str:
    """Return in words what of the offers of ``host`` is not imported, not reached, or not for all; empty where none."""
    return "; ".join(
        f"{one.remote}'s offer is {one.state}, {one.reason}: {one.message}"
        for one in imports(snapshot)
        if host == (one.imported_as or one.host) and (one.state is not ImportState.IMPORTED or one.reason in RESERVED)
    )


def _view(mesh: str, record: FederatedService) -> ImportView:
    state, decisive = _state(record)
    reachable = find(record.status.conditions, ConditionType.REACHABLE)
    return ImportView(
        mesh=mesh,
        remote=record.spec.remote,
        host=record.spec.host,
        imported_as=record.status.imported_as if _holds(record, ConditionType.ACCEPTED) else "",
        name=record.metadata.name,
        state=state,
        reachable=reachable.status if reachable is not None else "-",
        reason=decisive.reason if decisive is not None else "",
        message=decisive.message if decisive is not None else "it has no status yet: no controller has looked at it",
        since=decisive.last_transition_time if decisive is not None else record.metadata.creation_timestamp,
        ports=record.spec.ports,
        labels=record.spec.labels,
        identities=record.spec.identities,
        objects=record.status.objects,
    )


def _state(record: FederatedService) -> tuple[ImportState, StatusCondition | None]:
    """Return what became of an offer, and the condition that says so."""
    accepted, applied, reachable = (
        find(record.status.conditions, type_)
        for type_ in (ConditionType.ACCEPTED, ConditionType.APPLIED, ConditionType.REACHABLE)
    )
    if accepted is None or accepted.status == "Unknown":
        return ImportState.UNKNOWN, accepted
    if accepted.status == "False":
        return (ImportState.DENIED if accepted.reason in DENIALS else ImportState.REFUSED), accepted
    if applied is None or applied.status != "True":
        pending = applied is None or applied.reason == Reason.PENDING
        return (ImportState.PENDING if pending else ImportState.FAILED), applied or accepted
    if reachable is not None and reachable.status == "False":
        return ImportState.UNREACHABLE, reachable
    # What is imported with a reservation (PortsLeftOut, say) names it; else the evidence is of more use.
    return ImportState.IMPORTED, accepted if accepted.reason != Reason.ACCEPTED else reachable or accepted


def _holds(record: FederatedService, type_: ConditionType) -> bool:
    found = find(record.status.conditions, type_)
    return found is not None and found.status == "True"
