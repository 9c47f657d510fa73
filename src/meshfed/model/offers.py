"""Offers: what a mesh exports to another, as announced, and what of it may be believed.

An ``Offer`` is plain data from a remote. ``checked`` is the gate: it returns the offer with everything
unusable dropped and counted, or says why the offer as a whole is refused. No later code re-validates.
"""

from __future__ import annotations

from typing import Final

import msgspec

from meshfed.model.identity import SpiffeID
from meshfed.model.names import MAX_SERVED, is_dns_label, is_dns_name, is_label_key, is_label_value

MAX_PORTS: Final = 100
MAX_PORT_NAME: Final = 62
"""The longest port name that Istio's CRDs take on an endpoint (a CEL rule), one less than a DNS label."""
MAX_LABELS: Final = 64
MAX_IDENTITIES: Final = 64
TLS_MODE: Final = "security.istio.io/tlsMode"
PROTOCOLS: Final = frozenset({"HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS", "TCP", "MONGO", "MYSQL", "REDIS"})
"""The protocols Istio knows for a TCP port; an empty protocol lets Istio find out for itself."""

_RESERVED_LABELS = (".istio.io", ".kubernetes.io", ".k8s.io")


class Port(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """A port of a Service."""

    number: int
    """The Service's port."""
    name: str = ""
    """The port's name."""
    protocol: str = ""
    """Istio's name of the protocol in upper case; empty where unknown."""
    target_port: int = 0
    """The port of the pods; 0 where it is not a number."""


class Offer(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """One service that a mesh offers.

    ``sni_host`` is the exporter's own host where ``host`` is an alias; ``identities`` are SPIFFE IDs that serve
    it; ``locality`` and ``ready`` (``None``: not said) are shown, and decide nothing; ``exported_at`` is RFC 3339.
    """

    host: str
    ports: tuple[Port, ...] = ()
    labels: dict[str, str] = {}
    sni_host: str = ""
    identities: tuple[str, ...] = ()
    locality: str = ""
    ready: bool | None = None
    exported_at: str = ""

    @property
    def server_host(self) -> str:
        """The host whose SNI the exporter's gateway answers to."""
        return self.sni_host or self.host


class Refusal(msgspec.Struct, frozen=True):
    """Why an offer cannot be used at all: the field, and a sentence that names the value."""

    field: str
    message: str


class Checked(msgspec.Struct, frozen=True):
    """An offer that passed, and how many labels and identities were dropped from it on the way."""

    offer: Offer
    dropped_labels: int = 0
    dropped_identities: int = 0


def is_reserved_label(key: str) -> bool:
    """Whether Istio or Kubernetes act on this label key, so that a remote may not set it on our endpoints."""
    prefix, slash, _ = key.partition("/")
    return key == "istio-locality" or (bool(slash) and f".{prefix}".endswith(_RESERVED_LABELS))


def usable_labels(labels: dict[str, str]) -> dict[str, str]:
    """The labels that may be copied to our endpoints, sorted, at most ``MAX_LABELS``; as a rule they are all."""
    kept = [
        (key, value)
        for key, value in labels.items()
        if not is_reserved_label(key) and is_label_key(key) and is_label_value(value)
    ]
    kept = sorted(kept)[:MAX_LABELS]
    return labels if kept == [*labels.items()] else dict(kept)


def _refusal(offer: Offer) -> Refusal | None:
    shown = ascii(offer.host[:100])
    if not is_dns_name(offer.host) or offer.host.count(".") < 1:
        return Refusal("host", f"host {shown} is not a lower-case DNS name of two labels or more")
    if offer.sni_host and not is_dns_name(offer.sni_host):
        return Refusal("sniHost", f"sniHost {offer.sni_host[:100]!a} of {shown} is not a DNS name")
    if len(offer.server_host) > MAX_SERVED:
        return Refusal(
            "sniHost" if offer.sni_host else "host",
            f"{offer.server_host[:100]!a}... has {len(offer.server_host)} characters; a host of more than {MAX_SERVED} "
            "fits into no TLS server name, so that it could not be called: the exporter has to shorten it",
        )
    if not offer.ports:
        return Refusal("ports", f"{shown} is offered without a port")
    if len(offer.ports) > MAX_PORTS:
        return Refusal("ports", f"{shown} is offered with {len(offer.ports)} ports; at most {MAX_PORTS} are taken")
    numbers: set[int] = set()
    names: set[str] = set()
    for port in offer.ports:
        if not 1 <= port.number <= 65535:
            return Refusal("ports", f"port number {port.number} of {shown} is not between 1 and 65535")
        if not 0 <= port.target_port <= 65535:
            return Refusal(
                "ports",
                f"targetPort {port.target_port} of port {port.number} of {shown} is not a port number",
            )
        if not is_dns_label(port.name) or len(port.name) > MAX_PORT_NAME:
            return Refusal(
                "ports",
                f"port {port.number} of {shown} has the name {port.name[:70]!a}, which is not a DNS label "
                f"of at most {MAX_PORT_NAME} characters",
            )
        if port.protocol and port.protocol not in PROTOCOLS:
            return Refusal("ports", f"port {port.number} of {shown} has the unknown protocol {port.protocol[:40]!a}")
        if port.number in numbers:
            return Refusal("ports", f"port number {port.number} of {shown} appears twice")
        if port.name in names:
            return Refusal("ports", f"port name {port.name} of {shown} appears twice")
        numbers.add(port.number)
        names.add(port.name)
    return None


def checked(offer: Offer, trust_domain: str) -> Checked | Refusal:
    """Judge what a remote of ``trust_domain`` announced: the usable part of it, or why none is usable."""
    refusal = _refusal(offer)
    if refusal is not None:
        return refusal
    labels = usable_labels(offer.labels)
    identities = tuple(
        sorted(
            {
                text
                for text in offer.identities
                if (identity := SpiffeID.parse(text)) is not None and identity.trust_domain == trust_domain
            }
        )[:MAX_IDENTITIES]
    )
    usable = msgspec.structs.replace(
        offer,
        ports=tuple(sorted(offer.ports, key=lambda port: port.number)),
        labels=labels,
        identities=identities,
        locality=offer.locality[:253],
    )
    return Checked(
        # As a rule it is usable as it is, and as a rule there are thousands.
        offer=offer if usable == offer and labels is offer.labels else usable,
        dropped_labels=len(offer.labels) - len(labels),
        dropped_identities=len(offer.identities) - len(identities),
    )
