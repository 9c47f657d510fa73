"""Whether one mesh's controller reaches another, or an import is answered: by fresh proofs, and where each ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from meshfed.api.v1alpha1 import FederatedService, RemoteMesh
from meshfed.model.reasons import ConditionType, Reason
from meshfed.views.checks.facts import Facts
from meshfed.views.checks.remotes import untried
from meshfed.views.checks.results import CheckOutcome, Evidence, Result
from meshfed.views.checks.stored import alive, condition, doubted
from meshfed.views.controllers import controller
from meshfed.views.imports import called
from meshfed.views.requests import RequestPlace
from meshfed.views.snapshot import find


class PathView(msgspec.Struct, frozen=True, rename="camel"):
    """A path from the mesh ``client`` to the mesh ``server``: of their controllers, or to a ``host`` there.

    ``outcome`` is ``ok``, ``failed``, ``unknown`` or ``skipped``. ``ended_at`` is the place where a failed one ended,
    where that is known.
    """

    client: str
    server: str
    host: str
    outcome: CheckOutcome
    ended_at: str
    reason: str
    message: str
    evidence: str


_PLACES: Final = {
    Reason.NAME_NOT_RESOLVED: RequestPlace.NAME,
    Reason.NAME_TOO_LONG: RequestPlace.NAME,
    Reason.GATEWAY_NOT_REACHED: RequestPlace.GATEWAY,
    Reason.NOT_PASSED_ON: RequestPlace.GATEWAY,
    Reason.NO_MUTUAL_TLS: RequestPlace.GATEWAY,
    Reason.NO_CERTIFICATE: RequestPlace.WORKLOAD,
    Reason.ROOT_NOT_TRUSTED: RequestPlace.WORKLOAD,
    Reason.CERTIFICATE_NOT_VALID: RequestPlace.WORKLOAD,
    Reason.UNEXPECTED_IDENTITY: RequestPlace.WORKLOAD,
    Reason.PERMISSION_DENIED: RequestPlace.WORKLOAD,
}
"""Where what a proof, or the controller's own request, found to be broken is passed."""


def directions(meshes: Sequence[Facts], remote: str = "") -> Iterator[PathView]:
    """Yield both directions between each mesh and its remotes, or between it and ``remote``, each once.

    Who calls knows best where its calls end; what the called one sees of them counts where the other was not asked.
    """
    callers = {(one.snapshot.mesh, other.metadata.name) for one in meshes for other in one.remotes}
    for facts in meshes:
        here = facts.snapshot.mesh
        for one in facts.remotes:
            there = one.metadata.name
            if remote and remote not in {here, there}:
                continue
            yield _towards(facts, one)
            if (there, here) not in callers:
                yield _back(facts, one)


def of_host(facts: Facts, host: str) -> Iterator[PathView]:
    """Yield, of each remote that offers ``host``, whether it is imported, and answered there."""
    for record in facts.snapshot.records:
        if called(record) == host:
            yield _import(facts, record, host)


def _towards(facts: Facts, remote: RemoteMesh) -> PathView:
    client, server = facts.snapshot.mesh, remote.metadata.name
    if remote.spec.import_ is None:
        why = "nothing is imported from it, so the controller does not call there"
        return _path(client, server, Result(CheckOutcome.SKIPPED, why))
    stream = condition(facts, "RemoteMesh", remote, ConditionType.CONNECTED)
    if untried(facts, remote):
        place = _place(stream, RequestPlace.GATEWAY)
        return _path(client, server, stream, place)
    shaken = condition(facts, "RemoteMesh", remote, ConditionType.REACHABLE)
    if shaken.outcome is CheckOutcome.FAILED:
        return _path(client, server, _fresh(facts, server, shaken), _place(shaken))
    if stream.outcome is CheckOutcome.FAILED:
        # The handshake was answered: by the same way, but not through the controller's own sidecar.
        answered = shaken.outcome is CheckOutcome.OK
        place = _place(stream, RequestPlace.SIDECAR if answered else RequestPlace.GATEWAY)
        return _path(client, server, stream, place)
    proof = facts.proofs.get(server)
    if proof is None or not proof.handled:
        why = proof.why if proof is not None else "nobody asked for it"
        return _path(client, server, Result(CheckOutcome.UNKNOWN, f"it was not tried just now: {why}"))
    if stream.outcome is not CheckOutcome.OK:
        return _path(client, server, stream)
    stands = f"and discovery, a request by the same way from the controller's sidecar, is {stream.message}"
    words = shaken.message if shaken.outcome is CheckOutcome.OK else f"the handshake says nothing ({shaken.message})"
    return _path(
        client, server, Result(CheckOutcome.OK, f"{words}; {stands}", shaken.reason, evidence=Evidence.HANDSHAKE)
    )


def _back(facts: Facts, remote: RemoteMesh) -> PathView:
    found = condition(facts, "RemoteMesh", remote, ConditionType.SUBSCRIBED)
    living = [one for one in controller(facts.snapshot).replicas if one.alive]
    if (
        found.outcome is CheckOutcome.OK
        and living
        and not any(remote.metadata.name in one.subscribers for one in living)
    ):
        # A condition stays for a while, so that a restart turns none; the Lease of each replica has who is there now.
        found = Result(CheckOutcome.UNKNOWN, f"{found.message}; that stream has ended since", found.reason)
    if found.outcome is not CheckOutcome.OK:
        # Whether it wants to hear anything, and where its call ends, is known there alone.
        ask = f"where its calls end is seen there: run this with the --context of {remote.metadata.name} too"
        found = Result(CheckOutcome.UNKNOWN, f"{found.message}; {ask}", found.reason)
    return _path(remote.metadata.name, facts.snapshot.mesh, found)


def _import(facts: Facts, record: FederatedService, host: str) -> PathView:
    client, server = facts.snapshot.mesh, record.spec.remote
    conditions = record.status.conditions
    for type_ in (ConditionType.ACCEPTED, ConditionType.APPLIED):
        one = find(conditions, type_)
        if one is not None and one.status == "False":
            result = Result(CheckOutcome.FAILED, one.message, one.reason, evidence=Evidence.STATUS)
            return _path(client, server, result, RequestPlace.NAME, host)
    found = find(conditions, ConditionType.REACHABLE)
    doubt = doubted(alive(facts), record.metadata, found)
    proof = facts.proofs.get(server)
    if doubt or found is None:
        untold = f"it was not tried just now: {proof.why}" if proof is not None and not proof.handled else doubt
        return _path(client, server, Result(CheckOutcome.UNKNOWN, untold), host=host)
    outcome = {"True": CheckOutcome.OK, "False": CheckOutcome.FAILED}.get(found.status, CheckOutcome.UNKNOWN)
    result = _fresh(facts, server, Result(outcome, found.message, found.reason, evidence=Evidence.STATUS))
    if outcome is CheckOutcome.OK and (proof is None or not proof.handled):
        why = proof.why if proof is not None else "nobody asked for it"
        result = Result(CheckOutcome.UNKNOWN, f"it was not tried just now: {why}; before that, {found.message}")
    place = _place(result) if outcome is CheckOutcome.FAILED else ""
    return _path(client, server, result, place, host)


def _fresh(facts: Facts, remote: str, result: Result) -> Result:
    """Return a result as of just now, where the controller tried it because it was asked."""
    proof = facts.proofs.get(remote)
    known = proof is not None and proof.handled and result.evidence is Evidence.STATUS
    return msgspec.structs.replace(result, evidence=Evidence.HANDSHAKE, since="") if known else result


def _place(result: Result, otherwise: str = "") -> str:
    return next((place for reason, place in _PLACES.items() if reason == result.reason), otherwise)


def _path(client: str, server: str, result: Result, ended_at: str = "", host: str = "") -> PathView:
    return PathView(
        client=client,
        server=server,
        host=host,
        outcome=result.outcome,
        ended_at=ended_at if result.outcome is CheckOutcome.FAILED else "",
        reason=result.reason,
        message=result.message,
        evidence=str(result.evidence or ""),
    )
