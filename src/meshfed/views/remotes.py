"""Remote meshes, and how each stands, both ways."""

from __future__ import annotations

from typing import Final

import msgspec

from meshfed.api.meta import RefusedCount, StatusCondition
from meshfed.api.v1alpha1 import RemoteMesh
from meshfed.model.reasons import ConditionType, Reason
from meshfed.views.imports import ImportState, ImportView
from meshfed.views.snapshot import Snapshot, find

NOBODY_YET: Final = "it federates with nobody yet: there is no RemoteMesh"
LINK: Final = (
    "give the owner of the other mesh what `meshfed link card` prints, and make a RemoteMesh of the card that they "
    "give you: `meshfed link CARD --apply`"
)
"""What to do where there is no RemoteMesh."""


class RemoteView(msgspec.Struct, frozen=True, rename="camel"):
    """One remote mesh. ``hears`` and ``heard`` are statuses of conditions: whether it subscribes to what this mesh
    exports, and whether this mesh is connected to its discovery service; ``-`` where nobody says. ``imports``: whether
    anything is imported from it.

    ``ready``, ``reason``, ``message`` and ``since`` are of its condition Ready.
    """

    mesh: str
    name: str
    addresses: tuple[str, ...]
    network: str
    trust_domain: str
    imports: bool
    ready: str
    reason: str
    message: str
    since: str
    heard: str
    hears: str
    reachable: str
    offered: int
    imported: int
    denied: int
    refused: int
    refused_by_reason: tuple[RefusedCount, ...]
    unreachable: int
    held: int
    last_sync: str
    imported_there: int
    """How many Services of this mesh it says that it imports."""
    conditions: tuple[StatusCondition, ...]


def remotes(snapshot: Snapshot, imports: tuple[ImportView, ...]) -> tuple[RemoteView, ...]:
    """Return every remote mesh, those that are not ready first."""
    unreachable: dict[str, int] = {}
    for one in imports:
        if one.state is ImportState.UNREACHABLE:
            unreachable[one.remote] = unreachable.get(one.remote, 0) + 1
    mesh = snapshot.mesh
    found = [_view(mesh, remote, unreachable.get(remote.metadata.name, 0)) for remote in snapshot.remotes]
    return tuple(sorted(found, key=lambda one: (one.ready == "True", one.name)))


def _view(mesh: str, remote: RemoteMesh, unreachable: int) -> RemoteView:
    status, spec = remote.status, remote.spec
    ready = find(status.conditions, ConditionType.READY)
    connected = find(status.conditions, ConditionType.CONNECTED)
    publishes_only = connected is not None and connected.reason == Reason.PUBLISH_ONLY
    return RemoteView(
        mesh=mesh,
        name=remote.metadata.name,
        addresses=spec.addresses,
        network=spec.network,
        trust_domain=spec.trust_domain,
        imports=spec.import_ is not None,
        ready=ready.status if ready is not None else "Unknown",
        reason=ready.reason if ready is not None else "",
        message=ready.message if ready is not None else "it has no status yet: no controller has looked at it",
        since=ready.last_transition_time if ready is not None else remote.metadata.creation_timestamp,
        heard="-" if connected is None or publishes_only else connected.status,
        hears=_status(remote, ConditionType.SUBSCRIBED),
        reachable=_status(remote, ConditionType.REACHABLE),
        offered=status.offered_services,
        imported=status.imported_services,
        denied=status.denied_services,
        refused=status.refused_services,
        refused_by_reason=status.refused,
        unreachable=unreachable,
        held=status.held_services,
        last_sync=status.last_sync,
        imported_there=status.imported_there,
        conditions=status.conditions,
    )


def _status(remote: RemoteMesh, type_: str) -> str:
    found = find(remote.status.conditions, type_)
    return found.status if found is not None else "-"
