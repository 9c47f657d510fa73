"""Merging: what the offers of several remotes for one host become together.

One host has one import, whoever serves it. The first in order says what it is (its ports, how its gateway is asked),
the others join where they agree and may; whoever does not is told why, and running traffic is not disturbed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from meshfed.federation.import_limit import standing
from meshfed.model.imports import Backend, Import, LocalService
from meshfed.model.meshes import Remote
from meshfed.model.offers import Offer, Port, usable_labels
from meshfed.model.reasons import Decision, Reason


class Candidate(msgspec.Struct, frozen=True):
    """An offer that its own remote's rules, its limit and the local Service let through.

    ``record`` is the name of its FederatedService; ``first_offered`` is RFC 3339, empty where not recorded yet.
    """

    record: str
    remote: Remote
    offer: Offer
    merge: bool = False
    first_offered: str = ""
    export_to: tuple[str, ...] = ("*",)
    traffic_policy: dict[str, Any] = {}
    """What its remote asks for of a DestinationRule's, under Istio's own field names."""
    taken_over: dict[str, Any] = {}
    """The ``trafficPolicy`` of a rule for a wildcard, whose place the rule of this host takes."""
    reason: Reason = Reason.ACCEPTED
    local: LocalService | None = None
    """The local Service that it joins."""
    note: str = ""
    """What a person should know of it though it is accepted, and under which reason."""


class Merged(msgspec.Struct, frozen=True):
    """What becomes of a host: the import, where anyone serves it, and a decision for each candidate's record."""

    imported: Import | None
    decisions: dict[str, Decision]


def merge(host: str, candidates: Iterable[Candidate]) -> Merged:
    """Merge the candidates for ``host``; the order in which they are given does not matter."""
    order = sorted(candidates, key=_precedence)
    joined: list[Candidate] = []
    decisions: dict[str, Decision] = {}
    for candidate in order:
        obstacle = _obstacle(host, joined, candidate)
        if obstacle is None:
            joined.append(candidate)
        decisions[candidate.record] = obstacle or Decision(
            accepted=True, reason=candidate.reason, message=f"imported as {host}{candidate.note}"
        )
    return Merged(imported=_import(host, joined) if joined else None, decisions=decisions)


def _precedence(candidate: Candidate) -> tuple[object, ...]:
    first = standing(candidate.first_offered, candidate.record)
    return (-candidate.remote.priority, first[0], first[1], candidate.remote.name, candidate.record)


def _obstacle(host: str, joined: Sequence[Candidate], candidate: Candidate) -> Decision | None:
    """Return why ``candidate`` cannot join those that came before it; ``None`` where it can."""
    if not joined:
        return None
    first = joined[0]
    if any(other.remote.name == candidate.remote.name for other in joined):
        return _refused(
            Reason.ALREADY_IMPORTED,
            f"another offer of RemoteMesh {candidate.remote.name} is imported as {host} already",
        )
    if not candidate.merge:
        return _refused(
            Reason.ALREADY_IMPORTED,
            f"{host} is imported from RemoteMesh {first.remote.name}; set `merge` in `import` of RemoteMesh "
            f"{candidate.remote.name}, or in a rule for {host}, for both to serve it",
        )
    if _shape(candidate.offer.ports) != _shape(first.offer.ports):
        return _refused(
            Reason.PORT_CONFLICT,
            f"RemoteMesh {candidate.remote.name} offers {host} with ports {_shown(candidate.offer.ports)}, and "
            f"RemoteMesh {first.remote.name}, which comes first, with {_shown(first.offer.ports)}; make them agree",
        )
    if _asked_as(candidate) != _asked_as(first):
        return _refused(
            Reason.SNI_CONFLICT,
            f"the gateway of RemoteMesh {candidate.remote.name} ({candidate.remote.ingress_type}) is asked for "
            f"{candidate.offer.server_host}, and that of RemoteMesh {first.remote.name} ({first.remote.ingress_type}), "
            f"which comes first, for {first.offer.server_host}: one host cannot be asked for in two ways",
        )
    return None


def _refused(reason: Reason, message: str) -> Decision:
    return Decision(accepted=False, reason=reason, message=message)


def _shape(ports: Sequence[Port]) -> frozenset[tuple[int, str]]:
    """What remotes must agree on: names and targetPorts of the exporter do not matter behind its gateway."""
    return frozenset((port.number, port.protocol) for port in ports)


def _shown(ports: Sequence[Port]) -> str:
    return ", ".join(f"{port.number}/{port.protocol or 'any'}" for port in ports)


def _asked_as(candidate: Candidate) -> tuple[str, str]:
    """What decides the SNI under which a remote's gateway is asked for the host."""
    return candidate.remote.ingress_type, candidate.offer.server_host


def _import(host: str, joined: Sequence[Candidate]) -> Import:
    first = joined[0]
    backends = tuple(
        Backend(
            remote=candidate.remote,
            sni_host=candidate.offer.server_host,
            labels=usable_labels(candidate.offer.labels),
            identities=candidate.offer.identities,
        )
        for candidate in sorted(joined, key=lambda candidate: candidate.remote.name)
    )
    return Import(
        host=host,
        ports=first.offer.ports,
        backends=backends,
        export_to=first.export_to,
        traffic_policy=_traffic_policy(joined),
        taken_over=next((candidate.taken_over for candidate in joined if candidate.taken_over), {}),
        local=first.local,
    )


def _traffic_policy(joined: Sequence[Candidate]) -> dict[str, Any]:
    """Return each field as the first that states it does: one host has one DestinationRule."""
    policy: dict[str, Any] = {}
    for candidate in joined:
        policy = candidate.traffic_policy | policy
    return policy
