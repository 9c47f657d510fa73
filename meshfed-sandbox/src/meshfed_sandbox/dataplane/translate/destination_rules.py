"""Which DestinationRule counts for a host, and what it says of one port."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from meshfed_sandbox.dataplane.translate import schema_destination_rules
from meshfed_sandbox.dataplane.translate.mesh import Mesh
from meshfed_sandbox.dataplane.translate.names import covers, visible
from meshfed_sandbox.dataplane.translate.reading import Object
from meshfed_sandbox.dataplane.translate.registry import Service

Rule = Object[schema_destination_rules.DestinationRuleSpec]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is set for one port of a host."""

    tls: schema_destination_rules.TLS | None = None
    endpoint_mode: str = ""
    """The mode of TLS that counts when it is asked which endpoints take mTLS; empty where none is stated."""
    outlier_detection: schema_destination_rules.OutlierDetection | None = None
    load_balancer: schema_destination_rules.LoadBalancer | None = None
    connect_timeout: str = ""


def policy(mesh: Mesh, service: Service, port: int, namespace: str) -> Policy:
    """What proxies in ``namespace`` are told of one port of ``service``.

    Port level settings count whole: what they leave out has its default, not the value of the level above. Only the
    mode of TLS of a port's endpoints is looked for there then (istiod's ``trafficPolicyTLSModeForPort``).
    """
    rule = winner(mesh, service, namespace)
    general = rule.spec.traffic_policy if rule else None
    if general is None:
        return Policy()
    for each in general.port_level_settings:
        if each.port.number == port:
            return _policy(each, each.tls or general.tls)
    return _policy(general, general.tls)


def _policy(
    given: schema_destination_rules.TrafficPolicy | schema_destination_rules.PortPolicy,
    endpoint_tls: schema_destination_rules.TLS | None,
) -> Policy:
    tcp = given.connection_pool.tcp if given.connection_pool else None
    return Policy(
        tls=given.tls,
        endpoint_mode=endpoint_tls.mode if endpoint_tls else "",
        outlier_detection=given.outlier_detection,
        load_balancer=given.load_balancer,
        connect_timeout=tcp.connect_timeout if tcp else "",
    )


def winner(mesh: Mesh, service: Service, namespace: str) -> Rule | None:
    """The one rule that counts (istiod's ``PushContext.destinationRule``).

    Rules in the client's namespace come first, then those in the service's that are exported, then those in the root
    namespace. Within one namespace the host that is more specific wins, whoever sees that. Rules for it are merged, or
    stand side by side, and of these the last counts that the client sees. A rule in the root namespace that is not
    exported (``exportTo: ['.']``) is for proxies there.
    """
    root = mesh.settings.root_namespace
    rules = [rule for rule in mesh.destination_rules if covers(host(mesh, rule), service.host)]
    at_home = [
        rule
        for rule in rules
        if rule.meta.namespace == namespace and visible(rule.spec.export_to, namespace, namespace)
    ]
    if namespace == root:
        at_home = [rule for rule in at_home if _is_private(mesh, rule)]
    if at_home:
        return _merged(_most_specific(mesh, at_home))[-1].rule
    for owner in (service.namespace, root):
        exported = [rule for rule in rules if rule.meta.namespace == owner and not _is_private(mesh, rule)]
        merged = _merged(_most_specific(mesh, exported))
        seen = [one.rule for one in merged if not one.export_to or one.export_to & {"*", namespace}]
        if seen:
            return seen[-1]
    return None


class Merged(msgspec.Struct):
    """Several rules as one: the one whose policy counts, and to whom the first is exported."""

    export_to: frozenset[str]
    rule: Rule


def _merged(rules: Iterable[Rule]) -> list[Merged]:
    """Rules for one host, oldest first, as they stand side by side (istiod's ``PushContext.mergeDestinationRule``).

    One is merged into those before it that are exported alike, or to fewer namespaces; it stands by itself too where
    the last before it is neither.
    """
    found: list[Merged] = []
    for rule in rules:
        export_to, stands = frozenset(rule.spec.export_to), True
        for one in found:
            stands = not (one.export_to == export_to or (one.export_to and one.export_to < export_to))
            if not stands and one.rule.spec.traffic_policy is None:
                one.rule = rule
        if stands:
            found.append(Merged(export_to, rule))
    return found


def _most_specific(mesh: Mesh, rules: Iterable[Rule]) -> list[Rule]:
    ranked = [(("*" not in host(mesh, rule), len(host(mesh, rule))), rule) for rule in rules]
    first = max((rank for rank, _ in ranked), default=None)
    return [rule for rank, rule in ranked if rank == first]


def _is_private(mesh: Mesh, rule: Rule) -> bool:
    """Whether a rule is for its own namespace alone; of the mesh's default, ``.`` counts and nothing else does."""
    if not rule.spec.export_to:
        return "." in mesh.settings.default_destination_rule_export_to
    return set(rule.spec.export_to) in ({"."}, {rule.meta.namespace})


def host(mesh: Mesh, rule: Rule) -> str:
    """The host of a rule; one without a dot is a Service of the rule's namespace."""
    name = rule.spec.host
    if "." in name or "*" in name:
        return name.lower()
    return f"{name}.{rule.meta.namespace}.svc.{mesh.settings.cluster_domain}"
