"""DestinationRules that are not ours: what of them decides which one counts for a host, and what it says of ours.

There may be thousands, so little of each is kept. Only of a rule for a wildcard the whole ``trafficPolicy`` is, as
JSON: ours takes its place for one host, and takes it over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

ISTIO_MUTUAL: Final = "ISTIO_MUTUAL"
MTLS: Final = frozenset({"", ISTIO_MUTUAL})
"""The modes in which endpoints are spoken to by Istio's mTLS, if they can; empty: no mode is stated."""
_LONGEST: Final = 253
"""No name in DNS is longer, and so no SNI that anybody asks for."""


class PortSettings(msgspec.Struct, frozen=True):
    """What of a ``trafficPolicy`` matters for the ports that it holds for: one, or all that have none of their own."""

    gives: frozenset[str] = frozenset()
    """What of `stated` it states."""
    tls_mode: str = ""
    """Empty where it has no ``tls``. One without a mode is DISABLE, as the first value of the enum."""
    sni: str = ""


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
    general: PortSettings = PortSettings()
    ports: tuple[tuple[int, PortSettings], ...] = ()
    """``portLevelSettings``, each port once."""
    subsets: tuple[Subset, ...] = ()
    policy: bytes = b""
    """The ``trafficPolicy`` of a rule for a wildcard, as JSON."""
    created: str = ""

    def of_port(self, number: int) -> PortSettings:
        """Return what counts for a port: its own settings whole, if it has any (``GetPortLevelTrafficPolicy``)."""
        return next((settings for port, settings in self.ports if port == number), self.general)

    def tls_mode(self, number: int) -> str:
        """Return in which mode a port's endpoints are called; empty: as they and PeerAuthentications have it.

        What a port leaves out has its default in the cluster, but the mode is looked for above when it comes to
        endpoints (``trafficPolicyTLSModeForPort``), and one of these without mTLS is called in plaintext.
        """
        return self.of_port(number).tls_mode or self.general.tls_mode

    @property
    def has_tls(self) -> bool:
        """Whether it states a mode for any port."""
        return bool(self.general.tls_mode or any(settings.tls_mode for _, settings in self.ports))


def of_destination_rule(rule: Mapping[str, Any]) -> ForeignDestinationRule:
    """Return what of a DestinationRule matters, whatever else it is."""
    metadata, spec = _mapping(rule.get("metadata")), _mapping(rule.get("spec"))
    host, policy = spec.get("host"), spec.get("trafficPolicy")
    return ForeignDestinationRule(
        host=host if isinstance(host, str) else "",
        export_to=tuple(sorted({one for one in _list(spec.get("exportTo")) if isinstance(one, str)})),
        selects=isinstance(spec.get("workloadSelector"), dict),
        has_policy=isinstance(policy, dict),
        general=_settings(_mapping(policy)),
        ports=tuple(_of_ports(_mapping(policy)).items()),
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


def _settings(policy: Mapping[str, Any]) -> PortSettings:
    tls = policy.get("tls")
    if not isinstance(tls, dict):
        return PortSettings(stated(policy))
    mode, sni = tls.get("mode"), tls.get("sni")
    return PortSettings(
        gives=stated(policy),
        tls_mode=mode if isinstance(mode, str) and mode else "DISABLE",
        sni=sni[:_LONGEST] if isinstance(sni, str) else "",
    )


def _of_ports(policy: Mapping[str, Any]) -> dict[int, PortSettings]:
    """Return the settings of ports, of several for one those that come first."""
    found: dict[int, PortSettings] = {}
    for one in map(_mapping, _list(policy.get("portLevelSettings"))):
        number = _mapping(one.get("port")).get("number")
        if isinstance(number, int):
            found.setdefault(number, _settings(one))
    return found


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
