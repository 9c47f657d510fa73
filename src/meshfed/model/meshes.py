"""Meshes: this one and the remote ones, reduced to what decisions and rendering need.

Defaults are filled in and nothing here is optional, unlike the API's types, which mirror what people write.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import Final

import msgspec

from meshfed.model.identity import SpiffeID

FDS_PORT: Final = 15080
"""The port of the federation discovery service."""
FDS_PORT_NAME: Final = "grpc"
FDS_SERVICE_PREFIX: Final = "federation-discovery-service-"


class IngressType(StrEnum):
    """How traffic from other meshes reaches a federation ingress gateway."""

    ISTIO = "istio"
    OPENSHIFT_ROUTER = "openshift-router"


class MeshConfig(msgspec.Struct, frozen=True):
    """What the mesh's own configuration states; nothing where it leaves that out, or is not known.

    ``source`` names the object that it is from, for people; empty where it is not known. ``unread`` says why nobody
    knows what it states, for people; empty where that is known.
    """

    source: str = ""
    unread: str = ""
    trust_domain: str = ""
    trust_domain_aliases: tuple[str, ...] = ()
    """Other trust domains that Istio takes for this one, sorted."""
    default_service_export_to: tuple[str, ...] = ()
    """The ``exportTo`` of a Service or ServiceEntry that has none; empty: ``*``, Istio's own default."""
    default_destination_rule_export_to: tuple[str, ...] = ()
    """The ``exportTo`` of a DestinationRule that has none: with ``.`` its own namespace, and else everyone."""
    root_namespace: str = ""
    """The namespace whose objects hold for the whole mesh."""

    @property
    def shows_entries(self) -> bool:
        """Whether it is known that a ServiceEntry that has no ``exportTo`` is for everyone."""
        return not self.unread and "*" in (self.default_service_export_to or "*")

    @property
    def shows_rules(self) -> bool:
        """Whether it is known that a DestinationRule that has no ``exportTo`` is for everyone.

        Of the default, ``.`` counts and nothing else does (``PushContext.setDestinationRules``).
        """
        return not self.unread and "." not in self.default_destination_rule_export_to


class LocalMesh(msgspec.Struct, frozen=True):
    """This mesh, as its MeshFederation describes it, and what Istio's ``config`` says of it.

    ``namespace`` and ``owner`` (the MeshFederation's name) say whose the written objects are;
    ``controller_selector`` finds the controller's own pods, and ``identity`` is whom other meshes know it as.
    """

    name: str
    namespace: str
    network: str
    trust_domain: str
    cluster_domain: str
    control_plane_namespace: str
    ingress_type: IngressType
    gateway_selector: dict[str, str]
    gateway_port_name: str
    gateway_port: int
    controller_selector: dict[str, str]
    identity: SpiffeID
    metrics_port: int = 8080
    health_port: int = 8081
    config: MeshConfig = MeshConfig()

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """The trust domains whose identities Istio takes for those of this mesh: its own first, then its aliases."""
        return tuple(dict.fromkeys((self.trust_domain, *self.config.trust_domain_aliases)))

    @property
    def root_namespace(self) -> str:
        """The namespace whose objects hold for the whole mesh: the control plane's, where nobody knows of another."""
        return self.config.root_namespace or self.control_plane_namespace

    @property
    def fds_service(self) -> str:
        """The name of the Service in front of this mesh's controller."""
        return FDS_SERVICE_PREFIX + self.name

    @property
    def fds_host(self) -> str:
        """The host under which other meshes know this mesh's controller."""
        return f"{self.fds_service}.{self.namespace}.svc.{self.cluster_domain}"


class GatewayAddress(msgspec.Struct, frozen=True, order=True):
    """Where a remote's ingress answers: an IP or a host name, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, port: int) -> GatewayAddress:
        """Read ``HOST``, which is at ``port``, ``HOST:PORT`` or ``[IPV6]:PORT``, as the API admits them."""
        if ":" not in text or is_ip(text):
            return cls(text, port)
        host, _, own = text.rpartition(":")
        return cls(host.strip("[]"), int(own))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Remote(msgspec.Struct, frozen=True):
    """A remote mesh: where its ingress is, who its controller is, how its hosts are named.

    ``port`` is that of every address that states none; each of ``addresses`` has the one that holds for it.
    ``identity_configured`` says that a person stated ``identity``, so that no other may answer in its place.
    """

    name: str
    addresses: tuple[GatewayAddress, ...]
    port: int
    network: str
    ingress_type: IngressType
    trust_domain: str
    cluster_domain: str
    identity: SpiffeID
    discovery_namespace: str
    discovery_port: int = FDS_PORT
    discovery_address: str = ""
    locality: str = ""
    priority: int = 0
    identity_configured: bool = True

    @property
    def fds_host(self) -> str:
        """The host of the remote's discovery service, as its own mesh names it."""
        return f"{FDS_SERVICE_PREFIX}{self.name}.{self.discovery_namespace}.svc.{self.cluster_domain}"

    @property
    def has_only_ips(self) -> bool:
        """Whether every address is an IP, so that resolution can be STATIC."""
        return all(is_ip(address.host) for address in self.addresses)


def is_ip(address: str) -> bool:
    """Whether ``address`` is an IPv4 or IPv6 address rather than a host name."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
