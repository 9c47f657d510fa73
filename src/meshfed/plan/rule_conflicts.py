"""What DestinationRules of others mean for an offer: one takes the place of ours, or ours of one, or one has subsets.

A remote's ingress takes Istio's mTLS alone, under one SNI for each port. Where a rule that counts for everybody has
clients call it in another way, or takes the place of ours that states the SNI, no request would get there, and the port
is not imported. What else ours has, the RemoteMesh's ``trafficPolicy``, is lost where another counts, and a person is
told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from meshfed import istio
from meshfed.derive import Context
from meshfed.federation.merging import Candidate
from meshfed.federation.ports import LeftOut
from meshfed.model.imports import Import
from meshfed.model.meshes import LocalMesh
from meshfed.model.names import listed
from meshfed.model.offers import TLS_MODE, Port
from meshfed.model.reasons import Decision, Reason
from meshfed.plan.foreign_destination_rules import ISTIO_MUTUAL, MTLS, stated
from meshfed.plan.meshes import visible_in
from meshfed.plan.overrides import Displaced, Override, Overrides
from meshfed.plan.values import Place

_REGION: Final = "topology.kubernetes.io/region"
_ZONE: Final = "topology.kubernetes.io/zone"
_SUBZONE: Final = "topology.istio.io/subzone"
_NETWORK: Final = "topology.istio.io/network"
_CLUSTER: Final = "topology.istio.io/cluster"
"""The endpoints that we write have it too, with the name of this cluster, which nobody tells us."""


class Counting(msgspec.Struct, frozen=True):
    """The DestinationRules of others that count for the import of an offer, were there no other offer."""

    alone: Import
    everywhere: tuple[Override, ...] = ()
    """Those for clients of every namespace."""
    somewhere: tuple[Override, ...] = ()
    """Those for clients of one namespace, which sees the import."""
    displaced: Displaced | None = None
    """What ours takes the place of."""

    @property
    def ports(self) -> list[int]:
        """The numbers of the ports that are imported."""
        return [port.number for port in self.alone.ports]


def counting(context: Context, overrides: Overrides, mesh: LocalMesh, alone: Import, candidate: Candidate) -> Counting:
    """Return what counts beside ours, if there is to be one of ours, and else without it."""
    control_plane, local = mesh.control_plane_namespace, alone.local
    has_ours = istio.states_sni(alone) or bool(candidate.traffic_policy)
    found = overrides.of(
        context,
        mesh,
        alone.host,
        service_namespace=local.host.namespace if local is not None else control_plane,
        beside_ours=has_ours,
    )
    seen = local.visible_in if local is not None else visible_in(alone.export_to, control_plane)
    return Counting(
        alone,
        tuple(one for one in found if not one.clients),
        tuple(one for one in found if one.clients and (seen is None or one.clients in seen)),
        overrides.displaced(context, mesh, alone.host) if has_ours else None,
    )


def reached(found: Counting, candidate: Candidate) -> Candidate | Decision:
    """Return an offer without the ports on which no client would get through to the remote, or why there is none."""
    left_out: dict[Port, LeftOut] = {}
    for override in found.everywhere:
        for port in found.alone.ports:
            barred = _barred(override, port.number, found.alone)
            if barred is not None:
                why = f"{_named([override])} {barred.why}; {barred.remedy}"
                left_out.setdefault(port, LeftOut(port, barred.reason, why))
    reasons = {(one.reason, one.why) for one in left_out.values()}
    if len(left_out) == len(found.alone.ports) and len(reasons) == 1:
        ((reason, why),) = reasons
        return Decision(accepted=False, reason=reason, message=why)
    return candidate.without(found.alone.host, list(left_out.values()))


def fit(
    context: Context, overrides: Overrides, found: Counting, candidate: Candidate, *, rules: Sequence[Place]
) -> Candidate:
    """Return an offer as it fits in with the DestinationRules of others; ``rules`` are those for its exact host."""
    barred = {one: why for one in found.somewhere if (why := _barred_at(one, found))}
    for why in dict.fromkeys(barred.values()):
        note = _not_for([one for one in barred if barred[one] == why], why, len(found.ports))
        candidate = _with(candidate, note, why[0][1].reason)
    asked = stated(candidate.traffic_policy)
    lost: dict[Override, frozenset[str]] = {}
    for one in (*found.everywhere, *found.somewhere):
        # Who does not get through to a port loses nothing more there.
        ports = [port for port in found.ports if port not in dict(barred.get(one, ()))]
        gone = asked - one.gives(ports)
        if ports and gone:
            lost[one] = gone
    if lost:
        candidate = _with(candidate, _policy_lost(lost, candidate), Reason.TRAFFIC_POLICY_OVERRIDDEN)
    if found.displaced is not None:
        told = candidate if found.everywhere else _with(candidate, _displacing(found.displaced))
        candidate = msgspec.structs.replace(told, taken_over=found.displaced.policy or {})
    return _with(candidate, _subsets_note(context, overrides, rules, found.alone))


class _Barred(msgspec.Struct, frozen=True):
    """Why calls do not get through to a remote where a rule counts, in words that go on from its name."""

    reason: Reason
    why: str
    remedy: str


def _barred(override: Override, port: int, alone: Import) -> _Barred | None:
    """Return why calls to a port do not get through to the remote where a rule counts; ``None`` where they do."""
    sni, settings, mode = istio.stated_sni(alone, port), override.says.of_port(port), override.says.tls_mode(port)
    ingress = f"the ingress of RemoteMesh {alone.backends[0].remote.name}"
    if sni is not None:
        if not override.leaves_some and (settings.tls_mode, settings.sni) == (ISTIO_MUTUAL, sni):
            return None
        return _Barred(
            Reason.SNI_OVERRIDDEN,
            f"takes the place of the one that states the SNI under which {ingress} knows {alone.host}",
            "delete it, or import under another host with a rule's `as`",
        )
    if mode not in MTLS:
        return _Barred(
            Reason.MTLS_DISABLED,
            f"states `tls.mode: {mode}`, and {ingress} takes Istio's mTLS alone",
            "set ISTIO_MUTUAL there, or leave `tls` out",
        )
    if settings.sni not in {"", istio.istio_sni(alone.host, port)}:
        return _Barred(
            Reason.SNI_OVERRIDDEN,
            f"states `tls.sni: {settings.sni}`, by which {ingress} does not know {alone.host}",
            "leave `sni` out there",
        )
    return None


def _barred_at(override: Override, found: Counting) -> tuple[tuple[int, _Barred], ...]:
    """Return the ports to which calls do not get through where a rule counts."""
    return tuple((port, why) for port in found.ports if (why := _barred(override, port, found.alone)) is not None)


def _not_for(rules: Sequence[Override], barred: Sequence[tuple[int, _Barred]], every: int) -> str:
    """Return for whose clients which ports are not, ``every`` being how many ports there are."""
    ports = "" if len(barred) == every else f"port {', '.join(str(port) for port, _ in barred)} "
    clients = listed(sorted({one.clients for one in rules}))
    why = barred[0][1].why
    return f"; {ports}not for clients in {clients}, whose {_named(rules)} {why}"


def _subsets_note(context: Context, overrides: Overrides, rules: Sequence[Place], alone: Import) -> str:
    """Return what a person should know of the subsets of ``rules``, which are for the host; empty where nothing.

    A request to a subset goes to endpoints with its labels alone, and names it in its SNI, where that is not stated.
    """
    if not rules:
        return ""
    carried = _labels_of_endpoints(alone).items()
    outside: dict[Place, list[str]] = {}
    unknown_there: dict[Place, list[str]] = {}
    for place in rules:
        rule = context.get(overrides.rules, place)
        for subset in rule.subsets if rule is not None else ():
            if not carried >= {(key, value) for key, value in subset.labels if key != _CLUSTER}:
                outside.setdefault(place, []).append(subset.name)
            elif not subset.states_sni and not istio.states_sni(alone):
                unknown_there.setdefault(place, []).append(subset.name)
    whom = "local pods alone" if alone.local is not None else "nobody"
    note = ""
    if outside:
        note += f"; it is not in {_subsets(outside)}, whose labels its endpoints lack: a call to that reaches {whom}"
    if unknown_there:
        note += f"; of {_subsets(unknown_there)} its gateway knows only what a DestinationRule there has by that name"
    return note


def _labels_of_endpoints(alone: Import) -> dict[str, str]:
    """Return the labels that istiod knows of a remote's endpoints (``labelutil.AugmentLabels``)."""
    backend = alone.backends[0]
    remote = backend.remote
    region, zone, subzone = (*remote.locality.split("/"), "", "")[:3]
    place = {_REGION: region, _ZONE: zone, _SUBZONE: subzone}
    own = alone.local.selector if alone.local is not None else backend.labels
    network = {_NETWORK: remote.network} if remote.network else {}
    return {**network, **own, **{label: value for label, value in place.items() if value}, TLS_MODE: "istio"}


def _subsets(found: Mapping[Place, Sequence[str]]) -> str:
    return " and ".join(
        f"subset {', '.join(names)} of DestinationRule {'/'.join(place)}" for place, names in sorted(found.items())
    )


def _policy_lost(lost: Mapping[Override, frozenset[str]], candidate: Candidate) -> str:
    gone = frozenset[str]().union(*lost.values())
    clients = sorted({one.clients for one in lost})
    where = "" if "" in clients else f"for clients in {listed(clients)} "
    return (
        f"; {where}{_named(lost)} takes the place of the one with `trafficPolicy` of RemoteMesh "
        f"{candidate.remote.name}, and nothing of its {' and '.join(sorted(gone, reverse=True))} counts: state it "
        "there too, or delete that rule"
    )


def _named(rules: Iterable[Override]) -> str:
    return "DestinationRule " + listed(sorted({"/".join(one.rule) for one in rules}))


def _displacing(displaced: Displaced) -> str:
    rule = f"DestinationRule {'/'.join(displaced.rule)}"
    if displaced.policy is None:
        return f"; {rule} does not count for this host, since there is one for this host alone"
    left = ["subsets"] if displaced.has_subsets else []
    left += ["tls"] if istio.tls_left_behind(displaced.policy) else []
    but = f", but not its {' and '.join(left)}" if left else ""
    return f"; what {rule} has as `trafficPolicy` is taken over for this host{but}"


def _with(candidate: Candidate, note: str, reason: Reason | None = None) -> Candidate:
    """Return the offer with one more note, and the reason if there is none that is worse."""
    told = reason if reason is not None and candidate.reason is Reason.ACCEPTED else candidate.reason
    return msgspec.structs.replace(candidate, note=candidate.note + note, reason=told)
