"""Which DestinationRule counts for a host, where others than ours are for it too.

A proxy takes one for a host, as istiod chooses it (``PushContext.destinationRule``): one of its own namespace, else one
of the Service's that is exported to it, else one of the root namespace's, which mostly is the control plane's, where
ours are. In each the most specific host comes first, whoever may see that. Those for one host in one namespace are
merged if they are exported alike, or the younger to more namespaces: subsets add up, and of ``trafficPolicy`` the
oldest that there is counts whole (``PushContext.mergeDestinationRule``). Those that are not stand side by side, and of
these the last that a client sees counts. One with a ``workloadSelector`` is for its own namespace, and there no other
namespace's counts for whom it does not select (``SidecarScope.DestinationRule``).

One that says nothing is for everybody, unless ``.`` is in ``meshConfig.defaultDestinationRuleExportTo``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from meshfed.derive import Context, Derived, Graph, Index
from meshfed.model.meshes import LocalMesh
from meshfed.model.names import ServiceHost
from meshfed.plan.foreign_destination_rules import MTLS, ForeignDestinationRule
from meshfed.plan.inputs import ClusterInputs
from meshfed.plan.values import THIS, Place

Found = tuple[Place, ForeignDestinationRule]
_EVERYBODY: Final = frozenset({(), ("*",)})
_HOME_BY_DEFAULT: Final = ("(default)",)
"""Stands for the ``exportTo`` of one that has none, where the mesh's default keeps it to its own namespace. It is like
no other: rules are only merged where they state the same.
"""
_OURS: Final = ("", "")
"""The place of ours, which is for the exact host and everybody. Nobody can say here how old it is, and beside another
in its namespace it counts for less.
"""


class Override(msgspec.Struct, frozen=True):
    """A rule that counts, and not ours, for clients in which namespace."""

    rule: Place
    says: ForeignDestinationRule
    clients: str = ""
    """Empty: for clients of every namespace that has no rule of its own."""
    leaves_some: bool = False
    """Whether there are others of these clients, whom it does not select, and for whom no rule counts."""

    def gives(self, ports: Iterable[int]) -> frozenset[str]:
        """Return what it states, of that which ours may, for each of these ports."""
        stated = [self.says.of_port(port).gives for port in ports]
        return frozenset[str]() if self.leaves_some or not stated else stated[0].intersection(*stated[1:])


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
        by_wildcard = self._by_wildcard = Index(graph, "DestinationRules under", self.rules, _wildcard)
        self._wild = Derived[str, tuple[Found, ...]](graph, "what matters under", self._under, over=[by_wildcard])
        """Once for all hosts: there may be as many as there are namespaces."""

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

    def _under(self, context: Context, wildcard: str) -> tuple[Found, ...] | None:
        """Return the rules that are looked for under a wildcard."""
        return tuple(self._read(context, context.members(self._by_wildcard, wildcard))) or None

    def _read(self, context: Context, places: Iterable[Place]) -> Iterator[Found]:
        for place in places:
            rule = context.get(self.rules, place)
            if rule is not None:
                yield place, rule

    def of(
        self, context: Context, mesh: LocalMesh, host: str, *, service_namespace: str, beside_ours: bool
    ) -> tuple[Override, ...]:
        """Return what counts for ``host`` instead of ours, or without one of ours, sorted."""
        found, root = self._for(context, host), mesh.root_namespace
        if beside_ours:
            export_to = () if mesh.config.shows_rules else ("*",)
            ours = (_OURS, ForeignDestinationRule(host=host, export_to=export_to, has_policy=True))
            found.setdefault(mesh.control_plane_namespace, []).append(ours)
        everybodys = _counting(found, "", service_namespace, root)
        overriding = [*_overrides(everybodys, "")]
        for clients in _named(found, service_namespace, root):
            counting = _counting(found, clients, service_namespace, root)
            if counting != everybodys:
                overriding += _overrides(counting, clients)
        return tuple(sorted(overriding, key=lambda one: (one.clients, one.rule)))

    def displaced(self, context: Context, mesh: LocalMesh, host: str) -> Displaced | None:
        """Return what ours takes the place of for ``host``."""
        found = self._for(context, host)
        beside = _exportable(found.get(mesh.control_plane_namespace, []))
        return _displaced(beside or _exportable(found.get(mesh.root_namespace, [])), host)

    def off_for(
        self,
        context: Context,
        mesh: LocalMesh,
        host: str,
        *,
        service_namespace: str,
        clients: Iterable[str],
        ports: Iterable[int],
    ) -> dict[int, str]:
        """Return the ports of a host at which rules turn mTLS off for proxies of all these namespaces, and one of them.

        The rule is named in words. Whether one that selects proxies selects these is not asked.
        """
        found = self._for(context, host)
        first, *others = (
            {port: _off(_counting(found, one, service_namespace, mesh.root_namespace), port) for port in ports}
            for one in sorted(clients)
        )
        return {port: off for port, off in first.items() if off and all(other[port] for other in others)}

    def states_tls(self, context: Context, host: str) -> bool:
        """Whether any rule for ``host`` states a mode of TLS."""
        return any(rule.has_tls for there in self._for(context, host).values() for _, rule in there)

    def _for(self, context: Context, host: str) -> dict[str, list[Found]]:
        """Return the rules for a host, by namespace."""
        exact = self._read(context, context.members(self.by_host, host))
        wild = (one for wildcard in _wildcards_for(host) for one in context.get(self._wild, wildcard) or ())
        found: dict[str, list[Found]] = {}
        for place, rule in (*exact, *(one for one in wild if host.endswith(one[1].host[1:]))):
            found.setdefault(place[0], []).append((place, rule))
        if found and "." in _by_default(context.get(self._inputs.meshes, THIS)):
            return {namespace: [_at_home(*one) for one in there] for namespace, there in found.items()}
        return found


def _counting(found: Mapping[str, list[Found]], clients: str, service_namespace: str, root: str) -> list[Found]:
    """Return the rules that count for clients of a namespace: those that select some, and that for all others.

    Without ``clients``: for those of namespaces that no rule names, and that have none.
    """
    at_home = [one for one in found.get(clients, []) if _is_seen_at_home(*one)]
    if clients == root:
        at_home = [one for one in at_home if not _is_exportable(*one)]
    if at_home:
        rules = _merged(_most_specific(at_home))
        return [one for one in rules if one[1].selects] + [one for one in rules if not one[1].selects][-1:]
    for namespace in (service_namespace, root):
        rules = _merged(_most_specific(_exportable(found.get(namespace, []))))
        seen = [one for one in rules if _is_exported_to(one[1], clients)]
        if seen:
            return seen[-1:]
    return []


def _named(found: Mapping[str, list[Found]], service_namespace: str, root: str) -> set[str]:
    """Return the namespaces for whose clients another rule may count than for everybody's."""
    exported = [rule for namespace in (service_namespace, root) for _, rule in found.get(namespace, [])]
    return {*found, *(name for rule in exported for name in rule.export_to)} - {"", ".", "*", "~"}


def _overrides(counting: list[Found], clients: str) -> Iterator[Override]:
    """Yield what counts, as far as it is not ours."""
    for_all = any(not rule.selects for _, rule in counting)
    for place, rule in counting:
        if place != _OURS:
            yield Override(place, rule, clients, leaves_some=not for_all)


def _off(counting: list[Found], port: int) -> str:
    """Return which rule turns mTLS off for whom no rule selects, in words; empty where none does."""
    for place, rule in counting:
        mode = rule.tls_mode(port)
        if not rule.selects and mode not in MTLS:
            return f"DestinationRule {'/'.join(place)} (`tls.mode: {mode}`)"
    return ""


def _displaced(rules: list[Found], host: str) -> Displaced | None:
    """Return what would count of ``rules``, which are exportable and of one namespace, were ours not there."""
    if any(rule.host == host for _, rule in rules):
        return None
    first = _most_specific(rules)
    speaking = _merged(first)
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


def _merged(rules: Iterable[Found]) -> list[Found]:
    """Return those that stand side by side, in istiod's order, each with the policy that is merged into it.

    One is merged into all before it that are exported alike, or to fewer namespaces, and stands for itself too where
    the last one before it is neither. So nobody else hears of one that is exported to more. Of ours nobody can say
    here how old it is: another's policy counts before it.
    """
    beside: list[Found] = []
    for place, rule in sorted(rules, key=lambda one: (not one[1].selects, one[1].created, one[0][1])):
        stands = True
        for at, (there, first) in enumerate(beside):
            exported, wider = _exported_to(first), _exported_to(rule)
            stands = not (exported == wider or (exported and exported < wider)) or (first.selects and rule.selects)
            if stands:
                continue
            if rule.has_policy and (not first.has_policy or there == _OURS):
                beside[at] = place, msgspec.structs.replace(rule, export_to=first.export_to, selects=first.selects)
            stands = first.selects and exported != wider
        if stands:
            beside.append((place, rule))
    return beside


def _exported_to(rule: ForeignDestinationRule) -> frozenset[str]:
    """Return the ``exportTo`` that counts: one that selects is for its own namespace."""
    return frozenset({"."} if rule.selects else rule.export_to)


def _exportable(rules: list[Found]) -> list[Found]:
    return [one for one in rules if _is_exportable(*one)]


def _is_exportable(place: Place, rule: ForeignDestinationRule) -> bool:
    """Whether a rule may count beyond its own namespace."""
    return not rule.selects and rule.export_to not in {(".",), (place[0],), _HOME_BY_DEFAULT}


def _is_exported_to(rule: ForeignDestinationRule, clients: str) -> bool:
    return not rule.export_to or "*" in rule.export_to or (bool(clients) and clients in rule.export_to)


def _is_seen_at_home(place: Place, rule: ForeignDestinationRule) -> bool:
    """Whether a rule counts for clients of its own namespace."""
    return rule.selects or not rule.export_to or bool({"*", ".", place[0], *_HOME_BY_DEFAULT} & set(rule.export_to))


def _by_default(mesh: LocalMesh | None) -> tuple[str, ...]:
    return mesh.config.default_destination_rule_export_to if mesh is not None else ()


def _at_home(place: Place, rule: ForeignDestinationRule) -> Found:
    return place, rule if rule.export_to else msgspec.structs.replace(rule, export_to=_HOME_BY_DEFAULT)


def _exact(_place: Place, rule: ForeignDestinationRule) -> tuple[str, ...]:
    return () if rule.host.startswith("*") or not rule.host else (rule.host,)


def _wildcard(_place: Place, rule: ForeignDestinationRule) -> tuple[str, ...]:
    """Return under what a wildcard is looked for: one such as ``*-v1.example`` with all of its domain's."""
    if not rule.host.startswith("*"):
        return ()
    _, dot, domain = rule.host.partition(".")
    return (f"*{dot}{domain}",)


def _wildcards_for(host: str) -> Iterator[str]:
    """Yield under what all wildcards are that match ``host``; it is the same for all of a domain."""
    yield "*"
    labels = host.split(".")
    for depth in range(1, len(labels)):
        yield ".".join(("*", *labels[depth:]))
