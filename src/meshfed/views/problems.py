"""What is wrong: each condition that does not hold though somebody may expect it to, with what it says to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import msgspec

from meshfed.api.meta import StatusCondition
from meshfed.api.v1alpha1 import MeshFederation, RemoteMesh
from meshfed.model.reasons import ConditionType, Reason
from meshfed.views.imports import GOOD, ORDER, ImportView
from meshfed.views.snapshot import Snapshot, named

_SHOWN = 3


class ProblemView(msgspec.Struct, frozen=True, rename="camel"):
    """One thing that is wrong. ``objects`` names whose it is: of many offers with one reason, the first few.

    ``count`` is how many there are.
    """

    kind: str
    objects: tuple[str, ...]
    count: int
    condition: str
    status: str
    reason: str
    message: str
    since: str


def problems(snapshot: Snapshot, imports: Iterable[ImportView]) -> tuple[ProblemView, ...]:
    """Return what is wrong: of this mesh first, then of remotes, then of what they offer."""
    found: list[ProblemView] = []
    for federation in snapshot.federations:
        found += _of("MeshFederation", federation)
    for remote in snapshot.remotes:
        found += _of("RemoteMesh", remote)
    found += _of_imports(imports)
    return tuple(found)


def _of(kind: str, one: MeshFederation | RemoteMesh) -> Iterator[ProblemView]:
    """Yield the conditions that do not hold; Ready alone only where nothing else says why."""
    if not one.status.conditions:
        message = "it has no status: no controller has looked at it yet; see whether one runs in this namespace"
        yield ProblemView(kind, (named(one.metadata),), 1, "", "", "", message, one.metadata.creation_timestamp)
        return
    wrong = [condition for condition in one.status.conditions if _is_wrong(condition)]
    others = [condition for condition in wrong if condition.type != ConditionType.READY]
    # What a handshake found says why nobody is connected, which a proxy's words on the connection only guess at.
    others.sort(key=lambda condition: condition.type != ConditionType.REACHABLE)
    told = {condition.reason for condition in others}
    for condition in [*(condition for condition in wrong if condition.reason not in told), *others]:
        yield ProblemView(
            kind=kind,
            objects=(named(one.metadata),),
            count=1,
            condition=condition.type,
            status=condition.status,
            reason=condition.reason,
            message=condition.message,
            since=condition.last_transition_time,
        )


def _is_wrong(condition: StatusCondition) -> bool:
    if condition.type == ConditionType.SUBSCRIBED:
        return False  # who imports nothing of ours is no trouble of ours
    if condition.status == "Unknown":
        return condition.reason != Reason.NOT_PROBED
    return condition.status == "False" and condition.reason != Reason.PUBLISH_ONLY


def _of_imports(imports: Iterable[ImportView]) -> Iterator[ProblemView]:
    wrong = sorted(
        (one for one in imports if one.state not in GOOD),
        key=lambda one: (ORDER[one.state], one.remote, one.reason, one.host),
    )
    for (remote, state, reason), group in groupby(wrong, key=lambda one: (one.remote, one.state, one.reason)):
        members = list(group)
        first = members[0]
        yield ProblemView(
            kind="FederatedService",
            objects=tuple(one.host for one in members[:_SHOWN]),
            count=len(members),
            condition=str(state),
            status=f"from {remote}",
            reason=reason,
            message=first.message,
            since=max(one.since for one in members),
        )
