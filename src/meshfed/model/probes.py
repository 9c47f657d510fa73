"""Ways into remote meshes that can be proven: where each leads, who is to answer, and what a handshake showed."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from meshfed.model.meshes import GatewayAddress


class Link(StrEnum):
    """Where a way is broken, in the order in which it is gone; the values are labels of a metric."""

    NAME = "name"
    ADDRESS = "address"
    SNI = "sni"
    WORKLOAD = "workload"
    TLS = "tls"
    VERSION = "version"
    ROOT = "root"
    VALIDITY = "validity"


LINKS: Final[dict[Link, str]] = {
    Link.NAME: "the host name of the gateway has no address",
    Link.ADDRESS: "nobody takes a connection at the address of the gateway",
    Link.SNI: "the gateway closed the connection when it had seen the SNI",
    Link.WORKLOAD: "the gateway took the connection, and no certificate came",
    Link.TLS: "whoever answers does not speak TLS",
    Link.VERSION: "whoever answers does not take TLS 1.3",
    Link.ROOT: "the certificate is of no root that this mesh trusts",
    Link.VALIDITY: "the certificate is not valid now",
}
"""What each means, for the documentation and for messages."""


class Answered(msgspec.Struct, frozen=True):
    """A handshake that ended: ``identity`` is the certificate's URI, empty where it has none."""

    identity: str
    expires: float
    """When the certificate ends, in Unix seconds."""


class Broken(msgspec.Struct, frozen=True):
    """A handshake that did not: at which link, and the words of whoever said so."""

    link: Link
    detail: str = ""


Finding: TypeAlias = Answered | Broken


class Probe(msgspec.Struct, frozen=True):
    """What is to be proven for one import, or for the discovery service of one remote.

    There is a way for each of ``addresses`` and each of ``names``, the SNIs.
    """

    remote: str
    addresses: tuple[GatewayAddress, ...]
    names: tuple[str, ...]
    identities: tuple[str, ...] = ()
    """The SPIFFE IDs of which one is to answer; empty: whoever has a certificate of a root that is trusted."""
    unnamed: tuple[int, ...] = ()
    """Ports for which the remote's ingress has no SNI, so that nobody reaches them."""
    is_discovery: bool = False
    """Whether it is of the remote's discovery service."""


class Way(msgspec.Struct, frozen=True, order=True):
    """One address of a gateway and one SNI."""

    gateway: GatewayAddress
    name: str


MOST_WAYS: Final = 16
"""The most ways of one probe that are tried."""


def ways(probe: Probe) -> tuple[Way, ...]:
    """Return the ways of a probe that are tried: all, or of many the first few, of several addresses and names."""
    found = [
        (max(row, column), row, Way(address, name))
        for row, address in enumerate(probe.addresses[:MOST_WAYS])
        for column, name in enumerate(probe.names[:MOST_WAYS])
    ]
    return tuple(way for *_, way in sorted(found)[:MOST_WAYS])
