"""DestinationRules that are not ours, by the host that they are for.

A proxy takes one DestinationRule for a host: that of its own namespace, else that of the Service's, else that of the
control plane's, and in each an exact host before a wildcard (istiod, ``PushContext.destinationRule``). Whichever comes
before ours replaces it whole, and with it the SNI that ours states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from meshfed.derive import Context, Derived, Graph, Index, SubsetIndex
from meshfed.model.names import ServiceHost
from meshfed.plan.inputs import ClusterInputs
from meshfed.plan.values import THIS, Place


def host_of(rule: Mapping[str, Any]) -> str:
    """Return the host that a DestinationRule is for, as it stands there; empty where none does."""
    spec = rule.get("spec")
    host = spec.get("host") if isinstance(spec, dict) else None
    return host if isinstance(host, str) else ""


class Overriding(msgspec.Struct, frozen=True):
    """What replaces our DestinationRule for a host: for everybody, or for clients in its own namespace alone."""

    everywhere: tuple[Place, ...] = ()
    in_places: tuple[Place, ...] = ()


class Overrides:
    """The DestinationRules of others."""

    def __init__(self, graph: Graph, inputs: ClusterInputs) -> None:
        self._inputs = inputs
        self._hosts = Derived[Place, str](graph, "the host of DestinationRule", self._host, over=[inputs.rules])
        self._by_host = Index(graph, "DestinationRules for", self._hosts, lambda _, host: (host,))
        self._wildcards = SubsetIndex[Place](
            graph,
            "DestinationRules for any of",
            self._hosts,
            lambda _, host: frozenset({host}),
            perhaps=lambda _: THIS,
            where=lambda _: THIS,
        )

    def _host(self, context: Context, rule: Place) -> str | None:
        """Return the host or wildcard that a rule is for: of a short one the full one that it stands for."""
        host = context.get(self._inputs.rules, rule)
        if host is None or "." in host or host == "*":
            return host
        mesh = context.get(self._inputs.meshes, THIS)
        return ServiceHost(name=host, namespace=rule[0], domain=mesh.cluster_domain).fqdn if mesh is not None else None

    def of(self, context: Context, host: str, *, service_namespace: str, control_plane: str) -> Overriding:
        """Return what replaces our rule for ``host``, which is in the control plane's namespace."""
        exact, wild = context.members(self._by_host, host), context.members(self._wildcards, _wildcards_for(host))
        # In the control plane's namespace ours is for the exact host, and a wildcard comes after it.
        rules = {*exact, *(rule for rule in wild if rule[0] != control_plane)}
        everywhere = {rule for rule in rules if rule[0] in (service_namespace, control_plane)}
        return Overriding(tuple(sorted(everywhere)), tuple(sorted(rules - everywhere)))


def _wildcards_for(host: str) -> frozenset[str]:
    """Return every wildcard that matches ``host``."""
    labels = host.split(".")
    return frozenset({"*", *(".".join(("*", *labels[depth:])) for depth in range(1, len(labels)))})
