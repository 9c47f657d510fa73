"""DestinationRules that are not ours, by the host that they are for.

A proxy takes one DestinationRule for a host: that of its own namespace, else that of the Service's, else that of the
control plane's, and in each an exact host before a wildcard (istiod, ``PushContext.destinationRule``). Whichever comes
before ours replaces it whole, and with it the SNI that ours states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from meshfed.model.names import ServiceHost

Rule = tuple[str, str]
"""Namespace and name of a DestinationRule."""


def host_of(rule: Mapping[str, Any]) -> str:
    """Return the host that a DestinationRule is for, as it stands there; empty where none does."""
    spec = rule.get("spec")
    host = spec.get("host") if isinstance(spec, dict) else None
    return host if isinstance(host, str) else ""


class Overriding(msgspec.Struct, frozen=True):
    """What replaces our DestinationRule for a host: for everybody, or for clients in its own namespace alone."""

    everywhere: tuple[Rule, ...] = ()
    in_places: tuple[Rule, ...] = ()


class Overrides:
    """The DestinationRules of others."""

    def __init__(self) -> None:
        self._domain = ""
        self._hosts: dict[Rule, str] = {}
        self._by_host: dict[str, set[Rule]] = {}
        """Rules by their host; a short one as the full one that it stands for."""

    def configure(self, domain: str) -> None:
        """Take in the cluster domain, which short hosts are completed with."""
        if domain == self._domain:
            return
        known = dict(self._hosts)
        for rule in known:
            self.change(rule, "")
        self._domain = domain
        for rule, host in known.items():
            self.change(rule, host)

    def change(self, rule: Rule, host: str) -> tuple[str, ...]:
        """Take in the host of a rule, empty where it is gone; returns the hosts or wildcards that this is about."""
        before = self._hosts.pop(rule, "")
        if host:
            self._hosts[rule] = host
        if before == host:
            return ()
        if before:
            known = self._full(rule, before)
            self._by_host[known].discard(rule)
            if not self._by_host[known]:
                del self._by_host[known]
        if host:
            self._by_host.setdefault(self._full(rule, host), set()).add(rule)
        return tuple(self._full(rule, one) for one in (before, host) if one)

    def _full(self, rule: Rule, host: str) -> str:
        if "." in host or host == "*":
            return host
        return ServiceHost(name=host, namespace=rule[0], domain=self._domain).fqdn

    def of(self, host: str, *, service_namespace: str, control_plane: str) -> Overriding:
        """Return what replaces our rule for ``host``, which is in the control plane's namespace."""
        everywhere: set[Rule] = set()
        in_places: set[Rule] = set()
        for pattern in _patterns(host):
            for rule in self._by_host.get(pattern, ()):
                if rule[0] == control_plane:
                    # There, ours is for the exact host, and a wildcard comes after it.
                    everywhere |= {rule} if pattern == host else set()
                else:
                    (everywhere if rule[0] == service_namespace else in_places).add(rule)
        return Overriding(tuple(sorted(everywhere)), tuple(sorted(in_places)))


def matches(pattern: str, host: str) -> bool:
    """Whether a host or wildcard of a DestinationRule is for ``host``."""
    return pattern == host or (pattern.startswith("*") and host.endswith(pattern[1:]))


def _patterns(host: str) -> Iterator[str]:
    """Yield ``host``, and every wildcard that matches it."""
    yield host
    rest = host
    while rest:
        _, _, rest = rest.partition(".")
        yield f"*.{rest}" if rest else "*"
