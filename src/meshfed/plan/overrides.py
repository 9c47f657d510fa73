"""Which DestinationRule counts for a host, where others than ours are for it too.

A proxy takes one for a host, as istiod chooses it (``PushContext.destinationRule``): one of its own namespace, else one
of the Service's that is exported to it, else one of the control plane's, where ours are. In each the most specific host
comes first, whoever may see that. Those for one host in one namespace are merged if they are exported alike: subsets
add up, and of ``trafficPolicy`` the oldest that there is counts whole (``PushContext.mergeDestinationRule``); those
that are not stand side by side. One with a ``workloadSelector`` is for its own namespace, and there no other
namespace's counts for whom it does not select (``SidecarScope.DestinationRule``).

What ``meshConfig.defaultDestinationRuleExportTo`` says of those that say nothing is not known here: they count as
exported to all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from meshfed.derive import Context, Derived, Graph, Index, SubsetIndex
from meshfed.model.names import ServiceHost
from meshfed.plan.foreign_destination_rules import ForeignDestinationRule
from meshfed.plan.inputs import ClusterInputs
from meshfed.plan.values import THIS, Place

Found = tuple[Place, ForeignDestinationRule]
_EVERYBODY = frozenset({(), ("*",)})


class Override(msgspec.Struct, frozen=True):
    """A rule that takes the place of ours, what it gives of what ours may, and for clients in which namespace."""

    rule: Place
    gives: frozenset[str] = frozenset()
    clients: str = ""
    """Empty: for clients of every namespace that has no rule of its own."""


class Displaced(msgspec.Struct, frozen=True):
    """A rule for a wildcard whose place ours takes for one host."""

    rule: Place
    policy: dict[str, Any] | None = None
    """Its ``trafficPolicy``; ``None`` where it has none, or it is not for everybody alone."""
    has_subsets: bool = False


class Overrides:
    """The DestinationRules of others."""

    def __init__(self, graph: Graph, inputs: ClusterInputs) -> None:
        self._inputs = inputs
        self.rules = Derived[Place, ForeignDestinationRule](
            graph, "what matters of DestinationRule", self._rule, over=[inputs.rules]
        )
        self.by_host = Index(graph, "DestinationRules for", self.rules, _exact, perhaps=lambda _: ())
        """Of one of which nothing is known, who needs to know is told by the wildcards."""
        self._wildcards = SubsetIndex[Place](
            graph,
            "DestinationRules for any of",
            self.rules,
            _wildcard,
            perhaps=lambda _: THIS,
            where=lambda _: THIS,
        )

    def _rule(self, context: Context, place: Place) -> ForeignDestinationRule | None:
        """Return what of a rule matters: of a short host the full one that it stands for."""
        rule = context.get(self._inputs.rules, place)
        if rule is None or "." in rule.host or rule.host in {"", "*"}:
            return rule
        mesh = context.get(self._inputs.meshes, THIS)
        if mesh is None:
            return None
        full = ServiceHost(name=rule.host, namespace=place[0], domain=mesh.cluster_domain).fqdn
        return msgspec.structs.replace(rule, host=full)

    def of(
        self, context: Context, host: str, *, service_namespace: str, control_plane: str
    ) -> tuple[tuple[Override, ...], Displaced | None]:
        """Return what takes the place of ours for ``host``, sorted, and what ours takes the place of."""
        found = self._for(context, host)
        overriding: set[Override] = set()
        for namespace in {place[0] for place, _ in found}:
            there = [one for one in found if one[0][0] == namespace]
            if namespace == control_plane:
                overriding.update(_beside_ours(there, host, control_plane))
            else:
                overriding.update(_at_home(there, namespace))
                if namespace == service_namespace:
                    overriding.update(_exported(_most_specific(_exportable(there)), namespace))
        ours_instead = _displaced([one for one in found if one[0][0] == control_plane], host)
        return tuple(sorted(overriding, key=lambda one: (one.clients, one.rule))), ours_instead

    def _for(self, context: Context, host: str) -> list[Found]:
        wild = context.members(self._wildcards, _wildcards_for(host))
        places = {*context.members(self.by_host, host), *wild}
        rules = ((place, context.get(self.rules, place)) for place in places)
        return [(place, rule) for place, rule in rules if rule is not None]


def _at_home(there: list[Found], namespace: str) -> Iterator[Override]:
    """Yield what counts for clients of the rules' own namespace."""
    for place, rule in _that_speak(_most_specific(one for one in there if _is_seen_at_home(*one))):
        # Whom it does not select is left without any rule.
        yield Override(place, frozenset() if rule.selects else rule.gives, namespace)


def _exported(rules: list[Found], namespace: str) -> Iterator[Override]:
    """Yield what counts for clients elsewhere, or for everybody."""
    for place, rule in _that_speak(rules):
        if rule.export_to in _EVERYBODY:
            yield Override(place, rule.gives)
        else:
            yield from (Override(place, rule.gives, one) for one in rule.export_to if one not in {".", namespace})


def _beside_ours(there: list[Found], host: str, control_plane: str) -> Iterator[Override]:
    """Yield what of the control plane's namespace counts instead of ours, which is for the exact host and everybody."""
    kept_to_itself = [one for one in there if not _is_exportable(*one)]
    yield from _at_home(kept_to_itself, control_plane)
    exact = [(place, rule) for place, rule in _exportable(there) if rule.host == host]
    # One that is exported as ours is, and has no policy, only adds its subsets to ours.
    yield from _exported([(p, rule) for p, rule in exact if rule.export_to or rule.has_policy], control_plane)


def _displaced(there: list[Found], host: str) -> Displaced | None:
    """Return what would count in the control plane's namespace were ours not there."""
    rules = _exportable(there)
    if any(rule.host == host for _, rule in rules):
        return None
    first = _most_specific(rules)
    speaking = _that_speak(first)
    if not speaking or not any(rule.has_policy or rule.subsets for _, rule in first):
        return None
    (place, rule), *others = speaking
    if others or rule.export_to not in _EVERYBODY or not rule.policy:
        return Displaced(place)
    return Displaced(place, msgspec.json.decode(rule.policy), has_subsets=any(one.subsets for _, one in first))


def _most_specific(rules: Iterable[Found]) -> list[Found]:
    """Return those for the most specific host (``MostSpecificHostMatch``); all of them match the same one."""
    found = list(rules)
    first = max((_rank(rule.host) for _, rule in found), default=None)
    return [one for one in found if _rank(one[1].host) == first]


def _rank(host: str) -> tuple[bool, int]:
    return not host.startswith("*"), len(host)


def _that_speak(rules: list[Found]) -> list[Found]:
    """Return those whose policy counts: of all that are merged the oldest that has one."""
    merged: dict[tuple[Any, ...], Found] = {}
    for place, rule in sorted(rules, key=lambda one: (not one[1].has_policy, one[1].created, one[0][1])):
        merged.setdefault((rule.export_to, rule.selects), (place, rule))
    return sorted(merged.values(), key=lambda one: one[0])


def _exportable(rules: list[Found]) -> list[Found]:
    return [one for one in rules if _is_exportable(*one)]


def _is_exportable(place: Place, rule: ForeignDestinationRule) -> bool:
    """Whether a rule may count beyond its own namespace."""
    return not rule.selects and rule.export_to not in {(".",), (place[0],)}


def _is_seen_at_home(place: Place, rule: ForeignDestinationRule) -> bool:
    """Whether a rule counts for clients of its own namespace."""
    return rule.selects or not rule.export_to or bool({"*", ".", place[0]} & set(rule.export_to))


def _exact(_place: Place, rule: ForeignDestinationRule) -> tuple[str, ...]:
    return () if rule.host.startswith("*") or not rule.host else (rule.host,)


def _wildcard(_place: Place, rule: ForeignDestinationRule) -> frozenset[str] | None:
    return frozenset({rule.host}) if rule.host.startswith("*") else None


def _wildcards_for(host: str) -> frozenset[str]:
    """Return every wildcard that matches ``host``."""
    labels = host.split(".")
    return frozenset({"*", *(".".join(("*", *labels[depth:])) for depth in range(1, len(labels)))})
