"""DestinationRules that are not ours: what of them decides which one counts for a host, and what it says of ours.

There may be thousands, so little of each is kept. Only of a rule for a wildcard the whole ``trafficPolicy`` is, as
JSON: ours takes its place for one host, and takes it over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec


class Subset(msgspec.Struct, frozen=True):
    """A subset of a DestinationRule, and the labels of the endpoints that are in it, sorted."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()
    states_sni: bool = False
    """Whether its own ``trafficPolicy`` states the SNI of a port."""


class ForeignDestinationRule(msgspec.Struct, frozen=True):
    """What of somebody else's DestinationRule matters."""

    host: str = ""
    """As it stands there, or the full one that a short one stands for."""
    export_to: tuple[str, ...] = ()
    """``exportTo`` as it stands there, sorted."""
    selects: bool = False
    """Whether it has a ``workloadSelector``: one that is empty counts too."""
    has_policy: bool = False
    """Whether it has a ``trafficPolicy``: one that is empty counts too."""
    gives: frozenset[str] = frozenset()
    """What of `stated` it states for every port."""
    subsets: tuple[Subset, ...] = ()
    policy: bytes = b""
    """The ``trafficPolicy`` of a rule for a wildcard, as JSON."""
    created: str = ""


def of_destination_rule(rule: Mapping[str, Any]) -> ForeignDestinationRule:
    """Return what of a DestinationRule matters, whatever else it is."""
    metadata, spec = _mapping(rule.get("metadata")), _mapping(rule.get("spec"))
    host, policy = spec.get("host"), spec.get("trafficPolicy")
    return ForeignDestinationRule(
        host=host if isinstance(host, str) else "",
        export_to=tuple(sorted({one for one in _list(spec.get("exportTo")) if isinstance(one, str)})),
        selects=isinstance(spec.get("workloadSelector"), dict),
        has_policy=isinstance(policy, dict),
        gives=_given(_mapping(policy)),
        subsets=tuple(_subsets(_list(spec.get("subsets")))),
        policy=msgspec.json.encode(policy) if isinstance(policy, dict) and str(host).startswith("*") else b"",
        created=str(metadata.get("creationTimestamp") or ""),
    )


def stated(policy: Mapping[str, Any]) -> frozenset[str]:
    """Return which of the fields that a RemoteMesh may ask for a ``trafficPolicy``, or that of a port, states."""
    found = {"outlierDetection"} if isinstance(policy.get("outlierDetection"), dict) else set[str]()
    if _mapping(_mapping(policy.get("connectionPool")).get("tcp")).get("connectTimeout"):
        found.add("connectTimeout")
    return frozenset(found)


def _given(policy: Mapping[str, Any]) -> frozenset[str]:
    # What is said of a port counts whole: what it leaves out is not taken from the level above.
    ports = [stated(_mapping(port)) for port in _list(policy.get("portLevelSettings"))]
    return stated(policy).intersection(*ports)


def _subsets(found: list[Any]) -> Iterator[Subset]:
    for subset in map(_mapping, found):
        labels = _mapping(subset.get("labels"))
        if isinstance(subset.get("name"), str):
            policy = _mapping(subset.get("trafficPolicy"))
            parts = [policy, *map(_mapping, _list(policy.get("portLevelSettings")))]
            yield Subset(
                name=subset["name"],
                labels=tuple(sorted((key, str(value)) for key, value in labels.items())),
                states_sni=any(_mapping(part.get("tls")).get("sni") for part in parts),
            )


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []
