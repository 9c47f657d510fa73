"""What DestinationRules of others mean for an offer: one takes the place of ours, or ours of one, or one has subsets.

Ours states the SNI that a remote's ingress knows, without which no request gets there: where another takes its place,
the offer is not imported. What else it has, the RemoteMesh's ``trafficPolicy``, is lost then, and a person is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from meshfed import istio
from meshfed.derive import Context
from meshfed.federation.merging import Candidate
from meshfed.model.imports import Import
from meshfed.model.meshes import LocalMesh
from meshfed.model.offers import TLS_MODE
from meshfed.model.reasons import Decision, Reason
from meshfed.plan.foreign_destination_rules import stated
from meshfed.plan.meshes import visible_in
from meshfed.plan.overrides import Displaced, Override, Overrides
from meshfed.plan.values import Place

_REGION: Final = "topology.kubernetes.io/region"
_ZONE: Final = "topology.kubernetes.io/zone"
_SUBZONE: Final = "topology.istio.io/subzone"
_NETWORK: Final = "topology.istio.io/network"


def fit(
    context: Context,
    overrides: Overrides,
    mesh: LocalMesh,
    alone: Import,
    candidate: Candidate,
    *,
    rules: Sequence[Place],
) -> Candidate | Decision:
    """Return an offer as it fits in with the DestinationRules of others, or why it does not.

    ``alone`` is its import, were there no other offer; ``rules`` are those for its exact host.
    """
    fitted = _beside_ours(context, overrides, mesh, alone, candidate)
    return fitted if isinstance(fitted, Decision) else _with(fitted, _subsets_note(context, overrides, rules, alone))


def _beside_ours(
    context: Context, overrides: Overrides, mesh: LocalMesh, alone: Import, candidate: Candidate
) -> Candidate | Decision:
    """Return an offer as it fits in with what takes the place of ours, and with what ours takes the place of."""
    states_sni, asked = istio.states_sni(alone), stated(candidate.traffic_policy)
    if not states_sni and not candidate.traffic_policy:
        return candidate
    control_plane, local = mesh.control_plane_namespace, alone.local
    overriding, displaced = overrides.of(
        context,
        alone.host,
        service_namespace=local.host.namespace if local is not None else control_plane,
        control_plane=control_plane,
    )
    everywhere = [one for one in overriding if not one.clients]
    if states_sni and everywhere:
        return _sni_lost(everywhere, alone, candidate)
    seen = local.visible_in if local is not None else visible_in(alone.export_to, control_plane)
    some = [one for one in overriding if one.clients and (seen is None or one.clients in seen)]
    lost = [one for one in (*everywhere, *some) if asked - one.gives]
    if states_sni and some:
        # Who has no SNI reaches nobody, and loses nothing more.
        candidate = _with(candidate, _sni_lost_in(some))
    elif lost:
        candidate = _with(candidate, _policy_lost(lost, asked, candidate), Reason.TRAFFIC_POLICY_OVERRIDDEN)
    if displaced is None:
        return candidate
    told = candidate if everywhere else _with(candidate, _displacing(displaced))
    return msgspec.structs.replace(told, taken_over=displaced.policy or {})


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
            if not carried >= set(subset.labels):
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


def _sni_lost(rules: Sequence[Override], alone: Import, candidate: Candidate) -> Decision:
    return Decision(
        accepted=False,
        reason=Reason.SNI_OVERRIDDEN,
        message=f"{_named([one.rule for one in rules])} takes the place of the one that states the SNI under which "
        f"the ingress of RemoteMesh {candidate.remote.name} knows {alone.host}; delete it, or import under another "
        "host with a rule's `as`",
    )


def _sni_lost_in(rules: Sequence[Override]) -> str:
    where = ", ".join(sorted({one.clients for one in rules}))
    named = _named(sorted({one.rule for one in rules}))
    return f"; not for clients in {where}, whose {named} takes the place of the one that states the SNI"


def _policy_lost(rules: Sequence[Override], asked: frozenset[str], candidate: Candidate) -> str:
    fields = " and ".join(sorted(frozenset[str]().union(*(asked - one.gives for one in rules)), reverse=True))
    clients = sorted({one.clients for one in rules})
    where = "" if "" in clients else f"for clients in {', '.join(clients)} "
    named = _named(sorted({one.rule for one in rules}))
    return (
        f"; {where}{named} takes the place of the one with `trafficPolicy` of RemoteMesh {candidate.remote.name}, and "
        f"nothing of its {fields} counts: state it there too, or delete that rule"
    )


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


def _named(rules: Sequence[Place]) -> str:
    return "DestinationRule " + ", ".join("/".join(rule) for rule in rules)
