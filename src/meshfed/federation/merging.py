"""Merging: what the offers of several remotes for one host become together.

One host has one import, whoever serves it. The first in order says what it is (its ports, how its gateway is asked),
the others join where they agree and may; whoever does not is told why, and running traffic is not disturbed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sys import intern

import msgspec

from meshfed.federation.import_limit import standing
from meshfed.model.imports import Backend, Import, LocalService
from meshfed.model.meshes import Remote
from meshfed.model.offers import Offer, Port
from meshfed.model.reasons import Decision, Reason


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """An offer that its own remote's rules, its limit and the local Service let through.

    ``record`` is the name of its FederatedService; ``first_offered`` is RFC 3339, empty where not recorded yet.
    """

    record: str
    remote: Remote
    offer: Offer
    merge: bool = False
    first_offered: str = ""
    export_to: tuple[str, ...] = ("*",)
    outlier_detection: dict[str, str | int | bool] | None = None
    reason: Reason = Reason.ACCEPTED
    local: LocalService | None = None
    """The local Service that it joins."""
    note: str = ""
    """What a person should know of it though it is accepted, and under which reason."""


class Merged(msgspec.Struct, frozen=True, gc=False):
    """What becomes of a host: the import, where anyone serves it, and a decision for each candidate's record."""

    imported: Import | None
    decisions: tuple[tuple[str, Decision], ...]


def merge(host: str, candidates: Iterable[Candidate]) -> Merged:
    """Merge the candidates for ``host``; the order in which they are given does not matter."""
    order = sorted(candidates, key=_precedence)
    joined: list[Candidate] = []
    decisions: list[tuple[str, Decision]] = []
    for candidate in order:
        obstacle = _obstacle(host, joined, candidate)
        if obstacle is None:
            joined.append(candidate)
        # The status says the same, in the same words.
        message = intern(f"imported as {host}{candidate.note}")
        decision = obstacle or Decision(accepted=True, reason=candidate.reason, message=message)
        decisions.append((candidate.record, decision))
    return Merged(imported=_import(host, joined) if joined else None, decisions=tuple(decisions))


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
            labels=candidate.offer.labels,
            identities=candidate.offer.identities,
        )
        for candidate in sorted(joined, key=lambda candidate: candidate.remote.name)
    )
    outlier_detection = next((c.outlier_detection for c in joined if c.outlier_detection is not None), None)
    return Import(
        host=host,
        ports=first.offer.ports,
        backends=backends,
        export_to=first.export_to,
        outlier_detection=outlier_detection,
        local=first.local,
    )
