"""Offers as bytes, in both dialects, and the digests that let two sides compare what they hold.

The bytes of one offer are always the same (maps are sorted, ports are ordered), so replicas of an exporter agree on
every resource version without talking to each other.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from sys import intern
from typing import Final

from google.protobuf.message import DecodeError

from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.model.offers import Offer, Port

SERVICE: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
SOTW_METHOD: Final = SERVICE + "StreamAggregatedResources"
DELTA_METHOD: Final = SERVICE + "DeltaAggregatedResources"
SOTW_TYPE: Final = "federation.openshift-service-mesh.io/v1alpha1/ExportedService"
DELTA_TYPE: Final = "federation.openshift-service-mesh.io/v1alpha1/FederatedService"
IMPORTED_TYPE: Final = "federation.openshift-service-mesh.io/v1alpha1/ImportedService"
"""Of requests alone, in the incremental dialect: what the client has in place of what it was sent."""
_PACKED_TYPE: Final = b"type.googleapis.com/v1alpha1.FederatedService"
_UNKNOWN_PROTOCOL: Final = "TCP"


class Dialect(StrEnum):
    """How a stream speaks: the reference's state of the world, or Meshfed's incremental one."""

    SOTW = "sotw"
    DELTA = "delta"


class MalformedError(Exception):
    """A resource that cannot be used; ``host`` is what it names, or empty where not even that can be told."""

    def __init__(self, host: str, why: str) -> None:
        super().__init__(why)
        self.host = host
        self.why = why


def _ports(offer: Offer) -> list[Port]:
    """Ordered, and each number and name once: receivers refuse a service that repeats one."""
    numbers: set[int] = set()
    names: set[str] = set()
    kept = []
    for port in sorted(offer.ports, key=lambda port: port.number):
        if port.number not in numbers and port.name not in names:
            numbers.add(port.number)
            names.add(port.name)
            kept.append(port)
    return kept


def _message(offer: Offer, *, unknown_protocol: str) -> pb.FederatedService:
    return pb.FederatedService(
        hostname=offer.host,
        ports=[
            pb.ServicePort(
                number=port.number,
                protocol=port.protocol or unknown_protocol,
                name=port.name,
                targetPort=port.target_port,
            )
            for port in _ports(offer)
        ],
        labels=offer.labels,
    )


def encode(offer: Offer, dialect: Dialect) -> bytes:
    """Write a FederatedService.

    The reference's dialect has only the reference's fields, and says TCP where the protocol is not known.
    Raises ``ValueError`` where a field cannot be encoded (a number or a time out of range, a lone surrogate).
    """
    if dialect is Dialect.SOTW:
        return _message(offer, unknown_protocol=_UNKNOWN_PROTOCOL).SerializeToString(deterministic=True)
    message = _message(offer, unknown_protocol="")
    message.sni_host = offer.sni_host
    message.identities.extend(sorted(set(offer.identities)))
    message.locality = offer.locality
    if offer.ready is not None:
        message.ready = offer.ready
    if offer.exported_at:
        message.exported_at.FromJsonString(offer.exported_at)
    return message.SerializeToString(deterministic=True)


def version_of(offer: Offer) -> str:
    """Digest what decides how the offer is imported: everything but ``ready`` and ``exported_at``."""
    message = _message(offer, unknown_protocol="")
    message.sni_host = offer.sni_host
    message.identities.extend(sorted(set(offer.identities)))
    message.locality = offer.locality
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()[:32]


def decode(data: bytes) -> Offer:
    """Read a FederatedService of either dialect; raises ``MalformedError``. Nothing but its encoding is judged."""
    try:
        message = pb.FederatedService.FromString(data)
    except DecodeError:
        host = host_of(data)
        raise MalformedError(host, "it is not a FederatedService message with text in valid UTF-8") from None
    if not message.hostname:
        raise MalformedError("", "it names no host")
    return Offer(
        host=intern(message.hostname),
        ports=tuple(
            Port(number=port.number, name=port.name, protocol=port.protocol, target_port=port.targetPort)
            for port in message.ports
        ),
        labels={intern(key): intern(value) for key, value in message.labels.items()},
        sni_host=message.sni_host,
        identities=tuple(map(intern, message.identities)),
        locality=intern(message.locality),
        ready=message.ready if message.HasField("ready") else None,
        exported_at=_moment(message),
    )


def host_of(data: bytes) -> str:
    """Read the host alone, of a FederatedService that need not be well-formed; empty where that fails."""
    try:
        return pb.FederatedServiceName.FromString(data).hostname.decode()
    except (DecodeError, UnicodeDecodeError):
        return ""


def _moment(message: pb.FederatedService) -> str:
    if not message.HasField("exported_at"):
        return ""
    try:
        return message.exported_at.ToJsonString()
    except ValueError:  # a year out of range; the time is only shown
        return ""


def packed(value: bytes) -> bytes:
    """Wrap a FederatedService as the resource of a state-of-the-world response."""
    return pb.Packed(type_url=_PACKED_TYPE, value=value).SerializeToString()


def unpacked(data: bytes) -> bytes:
    """Take the FederatedService out of a resource; the type it states is ignored. Raises ``MalformedError``."""
    try:
        return pb.Packed.FromString(data).value
    except DecodeError:
        raise MalformedError("", "it is not a google.protobuf.Any") from None


def resource(name: str, version: str, value: bytes) -> bytes:
    """Wrap a FederatedService as the resource of an incremental response."""
    wrapped = pb.Packed(type_url=_PACKED_TYPE, value=value)
    return pb.Resource(name=name.encode(), version=version.encode(), resource=wrapped).SerializeToString()


_MODULUS: Final = 1 << 256


class SetDigest:
    """A digest of a set of (name, version) pairs that is kept up one pair at a time, in any order."""

    __slots__ = ("_sum",)

    def __init__(self) -> None:
        self._sum = 0

    @staticmethod
    def term(name: bytes, version: bytes) -> int:
        """What one pair adds."""
        return int.from_bytes(hashlib.sha256(name + b"\0" + version).digest(), "big")

    def add(self, term: int) -> None:
        """Count a pair in."""
        self._sum = (self._sum + term) % _MODULUS

    def discard(self, term: int) -> None:
        """Count a pair out."""
        self._sum = (self._sum - term) % _MODULUS

    def __add__(self, other: SetDigest) -> SetDigest:
        """The digest of both sets together, which have nothing in common."""
        both = SetDigest()
        both.add(self._sum + other._sum)
        return both

    def __str__(self) -> str:
        return f"{self._sum:064x}"
