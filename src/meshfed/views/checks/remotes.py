"""Remote meshes, one by one: who they are, whether they are heard, and whether their gateways answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final

import msgspec

from meshfed.api.v1alpha1 import FederatedService, RemoteMesh
from meshfed.federation.reachability import reachable, unproven
from meshfed.model.names import counted, listed
from meshfed.model.probes import Answered, ways
from meshfed.model.reasons import ConditionType, Reason
from meshfed.views.ages import duration
from meshfed.views.checks.facts import Facts, arguments, way_of
from meshfed.views.checks.results import Check, CheckOutcome, Evidence, Result, ok, skipped, unknown
from meshfed.views.checks.stored import Alive, alive, condition, docs_of, doubted
from meshfed.views.connections import Hearing, connection
from meshfed.views.imports import ImportState, ImportView, imports
from meshfed.views.snapshot import Document, Snapshot, find

_Ask = Callable[[Facts, RemoteMesh], Iterator[Result]]
_ELSEWHERE: Final = (
    ConditionType.CONNECTED,
    ConditionType.SYNCED,
    ConditionType.REACHABLE,
)
"""Conditions that have a check of their own, so that Ready does not have to say the same."""
LATE_SECONDS: Final = 60.0
"""After which a change that a remote does not have in place yet is worth a warning."""
_SOON: Final = timedelta(minutes=10)
"""Before a workload's certificate ends, which it renews at half of its time."""


def _each(ask: _Ask) -> Callable[[Facts], Iterator[Result]]:
    """Ask it of each remote."""

    def run(facts: Facts) -> Iterator[Result]:
        why = facts.unread("RemoteMesh")
        if why:
            yield unknown(why)
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
    found, recorded = condition(facts, "RemoteMesh", remote, ConditionType.CONNECTED), _is_recorded(facts, remote)
    if found.outcome is CheckOutcome.FAILED and connection(remote, recorded=recorded).hearing is Hearing.KEPT:
        found = msgspec.structs.replace(found, outcome=CheckOutcome.WARNING)
    yield found


def _is_recorded(facts: Facts, remote: RemoteMesh) -> bool:
    """Whether anything is recorded that a remote offers."""
    name = remote.metadata.name
    return any(_remote_of(one) == name for one in facts.snapshot.of_kind("FederatedService"))


def _synced(facts: Facts, remote: RemoteMesh) -> Iterator[Result]:
    if _publishes_only(remote):
        yield skipped("nothing is imported from it")
        return
    found = find(remote.status.conditions, ConditionType.CONNECTED)
    synced = find(remote.status.conditions, ConditionType.SYNCED)
    if found is not None and found.status == "False" and (synced is None or synced.reason != Reason.STALE):
        yield skipped("it is not connected, which another check says")
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


def _propagation(facts: Facts, remote: RemoteMesh) -> Iterator[Result]:
    if facts.importers is None:
        yield skipped("the controller was not asked who imports")
        return
    found, why = facts.importers.remotes.get(remote.metadata.name), facts.importers.why
    if found is None:
        yield unknown(f"who imports is not known: {why}") if why else skipped("it does not subscribe")
    elif not found.says:
        yield skipped("it does not say what it imports: see `import.confirm` there, and its version")
    elif found.waiting is not None and found.waiting >= LATE_SECONDS:
        yield Result(
            CheckOutcome.WARNING,
            f"{found.outdated} of {counted(found.imports, 'host')} that it imports are not in place there as they are "
            f"offered now, the first for {duration(int(found.waiting))}",
            remedy="the other mesh says why: `meshfed imports --problems` there",
            evidence=Evidence.SAID,
        )
    else:
        imports = f"{counted(found.imports, 'host')} imported there"
        if found.echo is not None:
            asked = _moment(facts, found.echo.ago)
            imports += (
                f"; asked at {asked}, it had worked out all that it was sent after {_seconds(found.echo.seconds)}"
            )
        if found.outdated:
            imports += f", {found.outdated} of them as they were offered before"
        if found.last is None:
            yield ok(f"{imports}; nothing that it imports changed since it connected", Evidence.SAID)
            return
        took = f"the last change, of {found.last.host}, was in place there after {_seconds(found.last.seconds)}"
        yield ok(f"{took}; {imports}", Evidence.SAID, since=_moment(facts, found.last.ago))


def _moment(facts: Facts, ago: float) -> str:
    return f"{facts.snapshot.taken - timedelta(seconds=ago):%Y-%m-%dT%H:%M:%SZ}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else duration(int(seconds))


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
    ImportState.DENIED: CheckOutcome.WARNING,
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
        words = f"{counted(len(offers), 'host')} in place, and every way to each answered"
        yield ok(words, Evidence.STATUS, since=max(one.since for one in offers))


_DENIED: Final = (
    "where clients here call it, have an import rule that is asked before import it; where nobody does, have the "
    "exporter leave this mesh out (`remotes` of its export rule)"
)


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
        # Which rule says so is to be told of each rule.
        rule = one.message.removeprefix(f"{one.host} ") if one.state is ImportState.DENIED else ""
        return outcome, one.reason, rule
    if one.reachable != "True":
        return CheckOutcome.UNKNOWN, one.reason, "in place, and whether anybody answers was not seen"
    accepted = find(record.status.conditions, ConditionType.ACCEPTED)
    if accepted is not None and accepted.reason != Reason.ACCEPTED:
        return CheckOutcome.WARNING, accepted.reason, ""
    return CheckOutcome.OK, "", ""


def _together(outcome: CheckOutcome, reason: str, message: str, offers: list[ImportView]) -> Result:
    """Return what is to be said of offers that came out alike; of many, the first stands for all."""
    first, hosts = offers[0], listed([one.host for one in offers])
    is_denied = first.state is ImportState.DENIED and bool(message)
    alone = f"{hosts} {message}" if len(offers) == 1 else f"of {len(offers)} hosts each {message}: {hosts}"
    return Result(
        outcome,
        alone if is_denied else f"{hosts}: {message or first.message}",
        reason,
        remedy=_DENIED if is_denied else "",
        evidence=Evidence.STATUS if outcome is not CheckOutcome.UNKNOWN else None,
        since=max(one.since for one in offers) if outcome is not CheckOutcome.UNKNOWN else "",
        docs=docs_of(reason) if outcome is CheckOutcome.FAILED else "",
    )


def _check(name: str, says: str, docs: str, ask: _Ask) -> Check:
    return Check("remotes", name, says, docs, _each(ask), of_remote=True)


FROM_HERE: Final = ("gateway-from-here", "certificate")
"""Which of them go by a handshake made from where somebody looks, and by nothing that a controller said."""
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
        "propagation",
        "Whether what it imports from this mesh is in place there as it is offered now, by its own word, and how long "
        "the last change took. It takes `get` on `pods/proxy` in the controller's namespace.",
        "operations.md#who-imports",
        _propagation,
    ),
    _check(
        "imports",
        "Whether everything that is imported from it is in place, and every way to it answered.",
        "troubleshooting.md#nothing-is-imported",
        _imports,
    ),
)
