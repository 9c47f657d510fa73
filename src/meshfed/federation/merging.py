"""Merging: what the offers of several remotes for one host become together.

One host has one import, whoever serves it. The first in order says what it is (its ports, how its gateway is asked),
the others join where they agree and may; whoever does not is told why, and running traffic is not disturbed.

Each endpoint of a ServiceEntry is called on all of its ports: where it states none for one of them, istiod takes that
port's own number (``convertWorkloadInstanceToServiceInstance``). So who joins one has to serve all that the first does;
what it serves beyond that is left out by itself. Beside a local Service each remote has WorkloadEntries of its own,
with the ports that it serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from meshfed.federation.import_limit import standing
from meshfed.federation.imports import unidentified
from meshfed.federation.ports import LeftOut, all_left_out, without
from meshfed.model.imports import Backend, Import, LocalService
from meshfed.model.meshes import Remote
from meshfed.model.offers import Offer, Port
from meshfed.model.reasons import Decision, Reason

_NO_PORTS: Final[frozenset[int]] = frozenset()
"""One for all: an empty set is as large as one of a few."""


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
    traffic_policy: dict[str, Any] = {}
    """What its remote asks for of a DestinationRule's, under Istio's own field names."""
    taken_over: dict[str, Any] = {}
    """The ``trafficPolicy`` of a rule for a wildcard, whose place the rule of this host takes."""
    unidentified: bool = False
    """Whether nobody says who serves it, and somebody has to where it joins a local Service."""
    reason: Reason = Reason.ACCEPTED
    local: LocalService | None = None
    """The local Service that it joins."""
    note: str = ""
    """What a person should know of it though it is accepted, and under which reason."""
    rule: int = 0
    """The import rule that takes it; 0 where there are no rules."""
    left_out: tuple[LeftOut, ...] = ()
    """Ports that were offered, and are not among those of ``offer`` any more."""

    def without(self, host: str, left_out: Sequence[LeftOut]) -> Candidate | Decision:
        """Return it without some of its ports, or why it is not imported as ``host`` where none is left."""
        if not left_out:
            return self
        gone = {one.port for one in left_out}
        ports = tuple(port for port in self.offer.ports if port not in gone)
        told = (*self.left_out, *left_out)
        if not ports:
            return all_left_out(host, told)
        offer = msgspec.structs.replace(self.offer, ports=ports)
        return msgspec.structs.replace(self, offer=offer, left_out=tuple(sorted(told, key=lambda one: one.port.number)))

    def accepted(self, host: str) -> Decision:
        """Return that it is imported, with what a person should know of that."""
        by = f", by import rule {self.rule}" if self.rule else ""
        partly = self.left_out and self.reason is Reason.ACCEPTED
        return Decision(
            accepted=True,
            reason=Reason.PORTS_LEFT_OUT if partly else self.reason,
            message=f"imported as {host}{by}{self.note}{without(self.left_out)}",
        )


class Merged(msgspec.Struct, frozen=True, gc=False):
    """What becomes of a host: the import, where anyone serves it, and a decision for each candidate's record."""

    imported: Import | None
    decisions: tuple[tuple[str, Decision], ...]


def merge(host: str, candidates: Iterable[Candidate]) -> Merged:
    """Merge the candidates for ``host``; the order in which they are given does not matter."""
    order = sorted(candidates, key=_precedence)
    joined: list[Candidate] = []
    decisions: list[tuple[str, Decision]] = []
    others_stated = any(one.local is not None and one.offer.identities for one in order)
    for candidate in order:
        joining = _joining(host, joined, candidate)
        if isinstance(joining, Candidate) and joining.local is not None and joining.unidentified and others_stated:
            joining = unidentified(candidate.remote, host)
        if isinstance(joining, Candidate):
            joined.append(joining)
        decision = joining.accepted(host) if isinstance(joining, Candidate) else joining
        decisions.append((candidate.record, decision))
    return Merged(imported=_import(host, joined) if joined else None, decisions=tuple(decisions))


def _precedence(candidate: Candidate) -> tuple[object, ...]:
    first = standing(candidate.first_offered, candidate.record)
    return (-candidate.remote.priority, first[0], first[1], candidate.remote.name, candidate.record)


def _joining(host: str, joined: Sequence[Candidate], candidate: Candidate) -> Candidate | Decision:
    """Return ``candidate`` as it joins those that came before it, or why it cannot."""
    if not joined:
        return candidate
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
    if _asked_as(candidate) != _asked_as(first):
        return _refused(
            Reason.SNI_CONFLICT,
            f"the gateway of RemoteMesh {candidate.remote.name} ({candidate.remote.ingress_type}) is asked for "
            f"{candidate.offer.server_host}, and that of RemoteMesh {first.remote.name} ({first.remote.ingress_type}), "
            f"which comes first, for {first.offer.server_host}: one host cannot be asked for in two ways",
        )
    return candidate if candidate.local is not None else _agreeing(host, first, candidate)


def _agreeing(host: str, first: Candidate, candidate: Candidate) -> Candidate | Decision:
    """Return ``candidate`` with the ports that ``first`` serves too, or why it does not serve them all as that does."""
    lacking = _shape(first.offer.ports) - _shape(candidate.offer.ports)
    if lacking:
        numbers = ", ".join(str(number) for number, _ in sorted(lacking))
        here, there = _shown(first.offer.ports), _shown(candidate.offer.ports)
        return _refused(
            Reason.PORT_CONFLICT,
            f"{host} is imported from RemoteMesh {first.remote.name}, which comes first, with ports {here}; RemoteMesh "
            f"{candidate.remote.name} would serve {there}, and Istio would send it calls on port {numbers} all the "
            "same: make them agree, or have rules of both RemoteMeshes import only `ports` that agree"
            f"{without(candidate.left_out)}",
        )
    agreed = _shape(first.offer.ports)
    why = f"not imported from RemoteMesh {first.remote.name}, which comes first"
    return candidate.without(
        host,
        [
            LeftOut(port, Reason.PORT_CONFLICT, why)
            for port in candidate.offer.ports
            if (port.number, port.protocol) not in agreed
        ],
    )


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
    ports = {port.number: port for candidate in reversed(joined) for port in candidate.offer.ports}
    backends = tuple(
        Backend(
            remote=candidate.remote,
            sni_host=candidate.offer.server_host,
            labels=candidate.offer.labels,
            identities=candidate.offer.identities,
            without=frozenset(ports.keys() - {port.number for port in candidate.offer.ports}) or _NO_PORTS,
        )
        for candidate in sorted(joined, key=lambda candidate: candidate.remote.name)
    )
    return Import(
        host=host,
        ports=tuple(ports[number] for number in sorted(ports)),
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
