"""PeerAuthentications of others, read as istiod reads them: in which mode of mutual TLS a port of a workload is.

istiod asks this in two places, and goes by less in one of them:

- Of each endpoint, by its labels and its own port (``mtlsChecker.checkMtlsEnabled``): `workload_modes`. One that is
  DISABLE is not behind the chains of an AUTO_PASSTHROUGH gateway at all (``EndpointsWithMTLSFilter``), and a sidecar
  speaks plaintext to it, also where it is the gateway of another mesh.
- Of a Service as a whole, for the clusters of its clients (``BestEffortInferServiceMTLSMode``): `namespace_mode`. Where
  that is DISABLE, sidecars speak plaintext to all endpoints, whatever is said of their workloads.

A DestinationRule that states a mode of TLS comes before either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import msgspec

Mode = Literal["DISABLE", "PERMISSIVE", "STRICT"]
_MODES: Final = get_args(Mode)

_PORT: Final = re.compile("[1-9][0-9]{0,4}")

Name = tuple[str, str]
"""Namespace and name."""


class PeerAuthentication(msgspec.Struct, frozen=True):
    """What of a PeerAuthentication matters: ``None`` for a mode that is UNSET, ports by number."""

    created: str = ""
    selector: dict[str, str] = {}
    mode: Mode | None = None
    ports: dict[int, Mode | None] = {}


class Ruling(msgspec.Struct, frozen=True):
    """A mode, and in words the PeerAuthentication and field that it is stated in; empty where nobody states one."""

    mode: Mode = "PERMISSIVE"
    stated: str = ""

    @property
    def off(self) -> str:
        """Who turns mTLS off, in words; empty where it is on."""
        return self.stated if self.mode == "DISABLE" else ""


class WorkloadModes(msgspec.Struct, frozen=True):
    """The modes of a workload's ports: those that have one of their own, and that of all others."""

    others: Ruling
    ports: dict[int, Ruling] = {}

    def of_port(self, number: int) -> Ruling:
        """Return the mode of a port, by the number on which the workload itself listens."""
        return self.ports.get(number, self.others)


def of_peer_authentication(found: Mapping[str, Any]) -> PeerAuthentication:
    """Return what of a PeerAuthentication matters, whatever else it is."""
    metadata, spec = _mapping(found.get("metadata")), _mapping(found.get("spec"))
    labels = _mapping(_mapping(spec.get("selector")).get("matchLabels"))
    ports = _mapping(spec.get("portLevelMtls"))
    return PeerAuthentication(
        created=str(metadata.get("creationTimestamp") or ""),
        selector={key: value for key, value in labels.items() if isinstance(value, str)},
        mode=_mode(spec.get("mtls")),
        ports={int(number): _mode(mtls) for number, mtls in ports.items() if _PORT.fullmatch(str(number))},
    )


def namespace_mode(found: Mapping[Name, PeerAuthentication]) -> Ruling | None:
    """Return what the PeerAuthentications of one namespace say of all of it; ``None`` where they leave that open.

    Then the root namespace's counts, and else PERMISSIVE. As ``AuthenticationPolicies.addPeerAuthentication``: of
    those without a selector the oldest, and no other though its mode is UNSET; its ``portLevelMtls`` is passed over.
    """
    name = _oldest({name: one for name, one in found.items() if not one.selector})
    return _stated(name, found[name].mode, "mtls.mode") if name is not None else None


def workload_modes(found: Mapping[Name, PeerAuthentication], inherited: Ruling) -> WorkloadModes:
    """Return the modes of a workload that the selectors of all ``found`` select; its namespace's is ``inherited``.

    As ``ComposePeerAuthentication``: of those with a selector the oldest, and what it leaves UNSET is inherited, by a
    port from the workload. For a workload of the root namespace ``found`` has to be empty: there one with a selector
    counts for nobody.
    """
    name = _oldest({name: one for name, one in found.items() if one.selector})
    if name is None:
        return WorkloadModes(inherited)
    one = found[name]
    others = _stated(name, one.mode, "mtls.mode") or inherited
    ports = {
        number: _stated(name, mode, f"portLevelMtls.{number}.mode") or others for number, mode in one.ports.items()
    }
    return WorkloadModes(others, ports)


def _oldest(found: Mapping[Name, PeerAuthentication]) -> Name | None:
    """Return the oldest, of several of one second the first by name (``configCompareByCreationTime``)."""
    return min(found, key=lambda name: (found[name].created, name[1], name[0]), default=None)


def _stated(name: Name, mode: Mode | None, field: str) -> Ruling | None:
    if mode is None:
        return None
    return Ruling(mode, f"PeerAuthentication {'/'.join(name)} (`{field}: {mode}`)")


def _mode(mtls: object) -> Mode | None:
    mode = _mapping(mtls).get("mode")
    return mode if mode in _MODES else None


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}
