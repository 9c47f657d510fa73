"""Who is at the other end: the SPIFFE identity that the connection proves, never one that the payload claims.

Two ways to know it. Behind a sidecar, the sidecar has verified the peer and appends what it saw to
``x-forwarded-client-cert``; only the last element is its own, and only the proxy itself is believed. Where we
terminate TLS, the certificate says it, provided that its chain ends in a root of *its own* trust domain: with
federated bundles any root in the store would otherwise vouch for any domain.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from meshfed.model.identity import SpiffeID

XFCC: Final = "x-forwarded-client-cert"
TRUSTED_PROXIES: Final = ("127.0.0.0/8", "::1/128", "::6/128")
"""Where Istio's sidecars connect from: the loopback, and 127.0.0.6 or ::6 for what they forward."""

Bundles = Mapping[str, frozenset[bytes]]
"""The root certificates of each trust domain, in DER."""


class TrustedProxies:
    """The networks whose ``x-forwarded-client-cert`` is believed. Raises ``ValueError`` for what is not a CIDR."""

    def __init__(self, cidrs: Iterable[str] = TRUSTED_PROXIES) -> None:
        self._networks = tuple(ipaddress.ip_network(cidr) for cidr in cidrs)

    def __contains__(self, address: object) -> bool:
        try:
            ip = ipaddress.ip_address(str(address).partition("%")[0])
        except ValueError:
            return False
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip in network for network in self._networks)


def from_header(header: str) -> SpiffeID | None:
    """Read the identity that the nearest proxy saw: the one URI of the last element, ``None`` where that is unclear."""
    elements = _split(header, ",")
    if elements is None:
        return None
    pairs = _split(elements[-1], ";")
    uris = [
        value for key, equals, value in (pair.partition("=") for pair in pairs or ()) if key.strip().lower() == "uri"
    ]
    if len(uris) != 1:
        return None
    return SpiffeID.parse(uris[0].strip().strip('"'))


def _split(text: str, separator: str) -> list[str] | None:
    """Split where ``separator`` is outside double quotes (a backslash escapes); ``None`` where a quote stays open."""
    parts: list[str] = []
    start = 0
    quoted = escaped = False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == separator and not quoted:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return None if quoted else parts


def from_tls(session: ssl.SSLObject, bundles: Bundles) -> SpiffeID | None:
    """Read the identity that the peer's verified certificate proves; ``None`` where it proves none.

    The context must require and verify a certificate against the roots of all ``bundles``.
    """
    certificate: Mapping[str, Any] = session.getpeercert() or {}
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    if len(uris) != 1:
        return None
    identity = SpiffeID.parse(uris[0])
    if identity is None:
        return None
    chain = verified_chain(session)
    if not chain or chain[-1] not in bundles.get(identity.trust_domain, frozenset()):
        return None
    return identity


def verified_chain(session: ssl.SSLObject) -> list[bytes]:
    """Return the peer's chain as it was verified, in DER: the leaf first, the root of our store last."""
    if hasattr(session, "get_verified_chain"):  # Python 3.13
        return list(session.get_verified_chain())
    import _ssl  # noqa: PLC0415 - what 3.13 made public; only older versions need it

    chain = session._sslobj.get_verified_chain() or ()  # type: ignore[attr-defined]  # noqa: SLF001 - as above
    return [certificate.public_bytes(_ssl.ENCODING_DER) for certificate in chain]


def server_verifier(expected: SpiffeID, bundles: Bundles) -> Callable[[ssl.SSLObject], None]:
    """Make the check of a server's certificate for ``Target.verify``: it must prove ``expected``."""

    def verify(session: ssl.SSLObject) -> None:
        found = from_tls(session, bundles)
        if found != expected:
            shown = found if found is not None else "no SPIFFE identity of a trust domain whose bundle we hold"
            raise ssl.SSLCertVerificationError(f"the server proves {shown}; expected {expected}")

    return verify
