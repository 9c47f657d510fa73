"""What the written objects are called.

The reference's fixed names stay, so that its users find what they know. Everything else joins its parts with dots:
a dot cannot stand inside a Service's or a mesh's name as a dash can, so no two objects of one kind ever meet
(``a-b``/``c`` and ``a``/``b-c`` would, with dashes). Too long or otherwise invalid names end in a digest instead.
"""

from __future__ import annotations

import re
from typing import Final

from meshfed.api.v1alpha1 import GROUP
from meshfed.model.meshes import FDS_SERVICE_PREFIX, GatewayAddress, Remote
from meshfed.model.names import ServiceHost, shortened

INGRESS_GATEWAY: Final = "federation-ingress-gateway"
"""The first Gateway object, and the Kubernetes Service in front of the gateway's pods."""
PEER_AUTHENTICATION: Final = "fds-strict-mtls"
AUTHORIZATION_POLICY: Final = "fds-known-remotes"

RESOLVED_FROM: Final = f"{GROUP}/resolved-from"
"""Annotation on a WorkloadEntry whose address is what DNS answered: the names asked for, joined by commas."""

EXPORT_TO: Final = "networking.istio.io/exportTo"
"""Istio's annotation on a Service that says which namespaces see it."""

_FURTHER_GATEWAY = re.compile(rf"{INGRESS_GATEWAY}-([2-9]|[1-9][0-9]+)")


def gateway_name(index: int) -> str:
    """The name of Gateway ``index``: the reference's for 0, then ``...-2``, ``...-3`` and so on."""
    return INGRESS_GATEWAY if index == 0 else f"{INGRESS_GATEWAY}-{index + 1}"


def gateway_index(name: str) -> int | None:
    """Which of the Gateways is called ``name``; ``None`` where it is none of ours."""
    if name == INGRESS_GATEWAY:
        return 0
    match = _FURTHER_GATEWAY.fullmatch(name)
    return int(match[1]) - 1 if match else None


def discovery_name(remote: Remote) -> str:
    """The ServiceEntry of a remote's discovery service."""
    return shortened(FDS_SERVICE_PREFIX + remote.name)


def import_name(host: str) -> str:
    """The ServiceEntry of an imported host."""
    return shortened(f"import.{host}")


def workload_name(host: str, remote: Remote, address: GatewayAddress, account: str) -> str:
    """The WorkloadEntry for one address of one remote, and one service account where one was announced.

    A port of the address's own is told apart by a dash, which no IP has.
    """
    place = address.host if address.port == remote.port else f"{address.host}-{address.port}"
    return shortened(".".join(part for part in (host, remote.name, place, account) if part))


def discovery_rule_name(remote: Remote) -> str:
    """The DestinationRule of a remote's discovery service; never an import's, whose host has a dot."""
    return shortened(f"mtls-sni.{FDS_SERVICE_PREFIX}{remote.name}")


def import_rule_name(host: str) -> str:
    """The DestinationRule of an imported host."""
    return shortened(f"mtls-sni.{host}")


def filter_name(host: ServiceHost, port: int) -> str:
    """The EnvoyFilter of one exported port."""
    return shortened(f"sni.{host.fqdn}.{port}")


def route_name(host: ServiceHost, port: int) -> str:
    """The Route of one exported port."""
    return shortened(f"{INGRESS_GATEWAY}.{host.fqdn}.{port}")
