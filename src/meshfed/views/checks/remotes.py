"""Remote meshes, one by one: who they are, whether they are heard, and whether their gateways answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final

import msgspec

from meshfed.api.v1alpha1 import FederatedService, RemoteMesh
from meshfed.federation.reachability import reachable, unproven
from meshfed.model.probes import Answered, ways
from meshfed.model.reasons import ConditionType, Reason
from meshfed.plan.statuses import counted, listed
from meshfed.views.ages import duration
from meshfed.views.checks.facts import Facts, arguments, way_of
from meshfed.views.checks.results import Check, CheckOutcome, Evidence, Result, ok, skipped, unknown
from meshfed.views.checks.stored import Alive, alive, condition, docs_of, doubted
from meshfed.views.imports import ImportState, ImportView, imports
from meshfed.views.snapshot import Document, Snapshot, find

_Ask = Callable[[Facts, RemoteMesh], Iterator[Result]]
_ELSEWHERE: Final = (
    ConditionType.CONNECTED,
    ConditionType.SYNCED,
    ConditionType.REACHABLE,
)
"""Conditions that have a check of their own, so that Ready does not have to say the same."""
_SOON: Final = timedelta(minutes=10)
"""Before a workload's certificate ends, which it renews at half of its time."""


def _each(ask: _Ask) -> Callable[[Facts], Iterator[Result]]:
    """Ask it of each remote."""

    def run(facts: Facts) -> Iterator[Result]:
        why = facts.unread("RemoteMesh")
        if why:
            yield unknown(why)
        elif not facts.remotes:
            yield skipped("there are no RemoteMeshes")
        for remote in facts.remotes:
            if remote.metadata.deletion_timestamp:
                yield skipped("it is being deleted", about=remote.metadata.name)
                continue
            for result in ask(facts, remote):
                yield msgspec.structs.replace(result, about=remote.metadata.name)

    return run


def _publishes_only(remote: RemoteMesh) -> bool:
    return remote.spec.import_ is None


# --- who it is


def _configured(facts: Facts, remote: RemoteMesh) -> Iterator[Result]:
    found = condition(facts, "RemoteMesh", remote, ConditionType.READY)
    conflict = facts.decided("RemoteMesh", remote.metadata.name, ConditionType.READY)
    told = {one.reason for type_ in _ELSEWHERE if (one := find(remote.status.conditions, type_)) is not None}
    if conflict is not None and conflict.reason in {Reason.NAME_CONFLICT, Reason.INVALID}:
        yield Result(CheckOutcome.FAILED, conflict.message, conflict.reason, evidence=Evidence.DECIDED)
    elif found.outcome is CheckOutcome.FAILED and found.reason in told:
        yield skipped(f"it is not ready for {found.reason}, which another check says")
    else:
        yield found


def _identity(facts: Facts, remote: RemoteMesh) -> Iterator[Result]:
    yield condition(facts, "RemoteMesh", remote, ConditionType.IDENTITY_UNIQUE)


# --- discovery


def _connected(facts: Facts, remote: RemoteMesh) -> Iterator[Result]:
    if _publishes_only(remote):
        yield skipped("nothing is imported from it, so it is not asked what it offers")
        return
    yield condition(facts, "RemoteMesh", remote, ConditionType.CONNECTED)


def _synced(facts: Facts, remote: RemoteMesh) -> Iterator[Result]:
    if _publishes_only(remote):
        yield skipped("nothing is imported from it")
        return
    yield condition(facts, "RemoteMesh", remote, ConditionType.SYNCED)


def _subscribed(facts: Facts, remote: RemoteMesh) -> Iterator[Result]:
    found = find(remote.status.conditions, "Subscribed")
    if found is None:
        yield skipped("the controller does not say who hears it")
        return
    result = condition(facts, "RemoteMesh", remote, "Subscribed")
    if result.outcome is CheckOutcome.FAILED:
        # Whether it wants to hear anything is not known here.
        result = unknown(f"{found.message}; ask there whether it imports from this mesh", reason=found.reason)
    yield result


# --- its gateway


def _gateway(facts: Facts, remote: RemoteMesh) -> Iterator[Result]:
    why = untried(facts, remote)
    if why:
        yield skipped(why)
        return
    result = condition(facts, "RemoteMesh", remote, ConditionType.REACHABLE)
    proof = facts.proofs.get(remote.metadata.name)
    if proof is not None and proof.handled and result.evidence is Evidence.STATUS:
        result = msgspec.structs.replace(result, evidence=Evidence.HANDSHAKE, since="")
    yield result
    if proof is not None and not proof.handled:
        yield unknown(f"the controller did not try it just now: {proof.why}")


def untried(facts: Facts, remote: RemoteMesh) -> str:
    """Return why a controller proves no way to a remote."""
    if _publishes_only(remote):
        return "nothing is imported from it, so its gateway is not tried"
    if "--no-probe" in arguments(facts.snapshot):
        return "the controller is told to try no way (--no-probe)"
    return "" if way_of(remote) is not None else "its discovery service is not behind its gateway"


def _from_here(facts: Facts, remote: RemoteMesh) -> Iterator[Result]:
    probe = way_of(remote)
    if facts.findings is None:
        yield skipped("it is tried with --probe")
        return
    if probe is None:
        yield skipped("its discovery service is not behind its gateway")
        return
    if not facts.roots:
        yield unknown(f"there are no roots to compare with: {facts.no_roots}")
        return
    found = reachable(probe, facts.findings) or unproven("not every way there was tried")
    if found.status == "True":
        yield ok(found.message, Evidence.HANDSHAKE_HERE)
        return
    words = f"tried from here, and not from the mesh: {found.message}"
    proven = condition(facts, "RemoteMesh", remote, ConditionType.REACHABLE)
    reached = found.reason not in {Reason.NAME_NOT_RESOLVED, Reason.GATEWAY_NOT_REACHED, Reason.NOT_PROBED}
    if proven.outcome is CheckOutcome.OK:
        yield unknown(f"{words}. The controller reaches it", reason=found.reason)
    elif reached or proven.outcome is CheckOutcome.FAILED:
        yield Result(
            CheckOutcome.FAILED, words, found.reason, evidence=Evidence.HANDSHAKE_HERE, docs=docs_of(found.reason)
        )
    else:
        yield unknown(f"{words}. Whether the mesh reaches it is not known either", reason=found.reason)


def _certificate(facts: Facts, remote: RemoteMesh) -> Iterator[Result]:
    probe = way_of(remote)
    found = [facts.findings[way] for way in ways(probe) if way in facts.findings] if probe and facts.findings else []
    answered = [one.expires for one in found if isinstance(one, Answered)]
    if not answered:
        yield skipped("nobody showed a certificate" if facts.findings is not None else "it is seen with --probe")
        return
    left = datetime.fromtimestamp(min(answered), UTC) - facts.snapshot.taken
    words = f"the certificate of its controller is valid for {duration(max(int(left.total_seconds()), 0))} more"
    if left > _SOON:
        yield ok(words, Evidence.HANDSHAKE_HERE)
        return
    yield Result(
        CheckOutcome.WARNING,
        words,
        remedy="its sidecar does not renew it: look at its log there, and at istiod",
        evidence=Evidence.HANDSHAKE_HERE,
    )


# --- what it offers

_OUTCOMES: Final = {
    ImportState.FAILED: CheckOutcome.FAILED,
    ImportState.UNREACHABLE: CheckOutcome.FAILED,
    ImportState.UNKNOWN: CheckOutcome.UNKNOWN,
    ImportState.PENDING: CheckOutcome.UNKNOWN,
    ImportState.REFUSED: CheckOutcome.WARNING,
    ImportState.DENIED: CheckOutcome.OK,
}


def _imports(facts: Facts, remote: RemoteMesh) -> Iterator[Result]:
    why = facts.unread("FederatedService")
    if why:
        yield unknown(why)
        return
    snapshot = _of_remote(facts.snapshot, remote.metadata.name)
    offers = imports(snapshot)
    if not offers:
        yield skipped("it offers nothing, or nothing that was recorded")
        return
    living, records = alive(facts), {one.metadata.name: one for one in snapshot.records}
    judged = [(_outcome(living, records[one.name], one), one) for one in offers]
    judged.sort(key=lambda pair: (list(CheckOutcome).index(pair[0][0]), pair[0][1], pair[1].host))
    wrong = [pair for pair in judged if pair[0][0] is not CheckOutcome.OK]
    for (outcome, reason, message), group in groupby(wrong, key=lambda pair: pair[0]):
        yield _together(outcome, reason, message, [one for _, one in group])
    if not wrong:
        reached = [one for one in offers if one.state is ImportState.IMPORTED]
        denied = len(offers) - len(reached)
        words = f"{counted(len(reached), 'host')} in place, and every way to each answered" if reached else ""
        refused = f"{denied} not imported, as somebody decided" if denied else ""
        since = max(one.since for one in reached or offers)
        yield ok("; ".join(filter(None, (words, refused))), Evidence.STATUS, since=since)


def _of_remote(snapshot: Snapshot, name: str) -> Snapshot:
    """Return a snapshot with the offers of one remote alone: to read all of them anew for each would take long."""
    kept = (one for one in snapshot.objects if one.get("kind") != "FederatedService" or _remote_of(one) == name)
    return msgspec.structs.replace(snapshot, objects=tuple(kept))


def _remote_of(record: Document) -> object:
    spec = record.get("spec")
    return spec.get("remote") if isinstance(spec, dict) else None


def _outcome(living: Alive, record: FederatedService, one: ImportView) -> tuple[CheckOutcome, str, str]:
    """Return how an offer came out, why, and in which words where they do not name it."""
    outcome = _OUTCOMES.get(one.state)
    if outcome not in {CheckOutcome.FAILED, CheckOutcome.UNKNOWN}:
        doubt = doubted(living, record.metadata, find(record.status.conditions, ConditionType.ACCEPTED))
        if doubt:
            return CheckOutcome.UNKNOWN, "", doubt
    if outcome is not None:
        return outcome, one.reason, ""
    if one.reachable != "True":
        return CheckOutcome.UNKNOWN, one.reason, "in place, and whether anybody answers was not seen"
    accepted = find(record.status.conditions, ConditionType.ACCEPTED)
    if accepted is not None and accepted.reason != Reason.ACCEPTED:
        return CheckOutcome.WARNING, accepted.reason, ""
    return CheckOutcome.OK, "", ""


def _together(outcome: CheckOutcome, reason: str, message: str, offers: list[ImportView]) -> Result:
    """Return what is to be said of offers that came out alike; of many, the first stands for all."""
    first = offers[0]
    return Result(
        outcome,
        f"{listed([one.host for one in offers])}: {message or first.message}",
        reason,
        evidence=Evidence.STATUS if outcome is not CheckOutcome.UNKNOWN else None,
        since=max(one.since for one in offers) if outcome is not CheckOutcome.UNKNOWN else "",
        docs=docs_of(reason) if outcome is CheckOutcome.FAILED else "",
    )


def _check(name: str, says: str, docs: str, ask: _Ask) -> Check:
    return Check("remotes", name, says, docs, _each(ask), of_remote=True)


CHECKS: Final = (
    _check(
        "ready",
        "Whether it has a name and a network of its own, addresses, and what leads there is written.",
        "troubleshooting.md#a-remote-is-not-connected",
        _configured,
    ),
    _check(
        "identity",
        "Whether callers with its identity can be told from all others.",
        "troubleshooting.md#a-remote-is-not-connected",
        _identity,
    ),
    _check(
        "gateway",
        "Whether its gateway passes a handshake on to its controller, as the controller here sees it.",
        "troubleshooting.md#a-way-is-broken",
        _gateway,
    ),
    _check(
        "gateway-from-here",
        "With `--probe`: the same handshake, made by the command. Where the controller reaches the gateway and the "
        "command does not, that is unknown and no failure.",
        "troubleshooting.md#a-way-is-broken",
        _from_here,
    ),
    _check(
        "certificate",
        "With `--probe`: for how long the certificate is valid that was shown.",
        "troubleshooting.md#a-certificate-is-not-accepted",
        _certificate,
    ),
    _check(
        "connected",
        "Whether its discovery service is connected.",
        "troubleshooting.md#a-remote-is-not-connected",
        _connected,
    ),
    _check(
        "synced",
        "Whether all that it offers was received, and nothing of it is held.",
        "troubleshooting.md#nothing-is-imported",
        _synced,
    ),
    _check(
        "subscribed",
        "Whether it hears what this mesh exports.",
        "troubleshooting.md#a-remote-is-not-connected",
        _subscribed,
    ),
    _check(
        "imports",
        "Whether everything that is imported from it is in place, and every way to it answered.",
        "troubleshooting.md#nothing-is-imported",
        _imports,
    ),
)
