"""What is wrong: each condition that does not hold though somebody may expect it to, with what it says to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from meshfed.api.meta import StatusCondition
from meshfed.api.v1alpha1 import MeshFederation, RemoteMesh
from meshfed.model.reasons import ConditionType, Reason
from meshfed.views.imports import GOOD, ORDER, ImportState, ImportView
from meshfed.views.snapshot import Snapshot, named

_SHOWN = 3


class ProblemView(msgspec.Struct, frozen=True, rename="camel"):
    """One thing that is wrong. ``objects`` names whose it is: of many offers with one reason, the first few.

    ``count`` is how many there are. ``consequences`` names what does not hold because of it, in words.
    """

    kind: str
    objects: tuple[str, ...]
    count: int
    condition: str
    status: str
    reason: str
    message: str
    since: str
    consequences: tuple[str, ...] = ()


def problems(snapshot: Snapshot, imports: Iterable[ImportView]) -> tuple[ProblemView, ...]:
    """Return what is wrong: of this mesh first, then of remotes, then of what they offer.

    What follows from something that is wrong is said with that, and not again.
    """
    found: list[ProblemView] = []
    offers = tuple(_of_imports(imports))
    covered: set[ProblemView] = set()
    for federation in snapshot.federations:
        found += _of("MeshFederation", federation)
    for remote in snapshot.remotes:
        for problem in _of("RemoteMesh", remote):
            same = [one for one in offers if _is_of_remote(one, problem, remote)]
            covered.update(same)
            more = tuple(f"{one.count} {'import' if one.count == 1 else 'imports'} {one.condition}" for one in same)
            found.append(msgspec.structs.replace(problem, consequences=problem.consequences + more))
    return (*found, *(one for one in offers if one not in covered))


def _of(kind: str, one: MeshFederation | RemoteMesh) -> Iterator[ProblemView]:
    """Yield the conditions that do not hold; Ready alone only where nothing else says why."""
    if not one.status.conditions:
        message = "it has no status: no controller has looked at it yet; see whether one runs in this namespace"
        yield ProblemView(kind, (named(one.metadata),), 1, "", "", "", message, one.metadata.creation_timestamp)
        return
    wrong = [condition for condition in one.status.conditions if is_wrong(condition)]
    follows = {condition.type: cause for condition in wrong if (cause := _cause(condition, wrong)) is not None}
    others = [condition for condition in wrong if condition.type != ConditionType.READY]
    told = {condition.reason for condition in others}
    for condition in [*(condition for condition in wrong if condition.reason not in told), *others]:
        if condition.type not in follows:
            yield ProblemView(
                kind=kind,
                objects=(named(one.metadata),),
                count=1,
                condition=condition.type,
                status=condition.status,
                reason=condition.reason,
                message=condition.message,
                since=condition.last_transition_time,
                consequences=tuple(
                    f"{other.type} {other.status}" for other in others if _root(other.type, follows) == condition.type
                ),
            )


def _cause(condition: StatusCondition, wrong: Sequence[StatusCondition]) -> str | None:
    """Return the type of the condition that says why this one does not hold; ``None`` where none does.

    What a handshake found says why nobody is connected, which a proxy's words on the connection only guess at.
    """
    types = {one.type for one in wrong if one.status == "False"}
    match condition.type, condition.reason:
        case ConditionType.SYNCED, Reason.NOT_SYNCED if ConditionType.CONNECTED in types:
            return ConditionType.CONNECTED
        case ConditionType.CONNECTED, Reason.UNREACHABLE if ConditionType.REACHABLE in types:
            return ConditionType.REACHABLE
        case _:
            return None


def _root(type_: str, follows: Mapping[str, str]) -> str:
    """Return the type of the condition from which one follows in the end; empty where it follows from none."""
    cause = follows.get(type_, "")
    return _root(cause, follows) or cause if cause else ""


def _is_of_remote(offers: ProblemView, problem: ProblemView, remote: RemoteMesh) -> bool:
    """Whether what is wrong with offers of a remote is what is wrong with the remote, and has been said of that.

    Where its discovery service is not reached, words on other hosts differ by what else was found on the way.
    """
    is_way = problem.condition == ConditionType.REACHABLE and offers.condition == ImportState.UNREACHABLE
    return (
        offers.reason == problem.reason
        and offers.status == f"from {remote.metadata.name}"
        and (is_way or offers.message == problem.message)
    )


def is_wrong(condition: StatusCondition) -> bool:
    """Whether somebody may expect a condition to hold that does not, or of which nobody can say."""
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
