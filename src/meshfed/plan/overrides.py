"""DestinationRules that are not ours, by the host that they are for.

A proxy takes one DestinationRule for a host: that of its own namespace, else that of the Service's, else that of the
control plane's, and in each an exact host before a wildcard (istiod, ``PushContext.destinationRule``). Whichever comes
before ours replaces it whole, and with it the SNI that ours states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from meshfed.derive import Context, Derived, Graph, Index
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

    def _host(self, context: Context, rule: Place) -> str | None:
        """Return the host or wildcard that a rule is for: of a short one the full one that it stands for."""
        host = context.get(self._inputs.rules, rule)
        if host is None or "." in host or host == "*":
            return host
        mesh = context.get(self._inputs.meshes, THIS)
        return ServiceHost(name=host, namespace=rule[0], domain=mesh.cluster_domain).fqdn if mesh is not None else None

    def of(self, context: Context, host: str, *, service_namespace: str, control_plane: str) -> Overriding:
        """Return what replaces our rule for ``host``, which is in the control plane's namespace."""
        everywhere: set[Place] = set()
        in_places: set[Place] = set()
        for pattern in _patterns(host):
            for rule in context.members(self._by_host, pattern):
                context.get(self._hosts, rule)
                if rule[0] == control_plane:
                    # There, ours is for the exact host, and a wildcard comes after it.
                    everywhere |= {rule} if pattern == host else set()
                else:
                    (everywhere if rule[0] == service_namespace else in_places).add(rule)
        return Overriding(tuple(sorted(everywhere)), tuple(sorted(in_places)))


def _patterns(host: str) -> Iterator[str]:
    """Yield ``host``, and every wildcard that matches it."""
    yield host
    rest = host
    while rest:
        _, _, rest = rest.partition(".")
        yield f"*.{rest}" if rest else "*"
