"""What the parts of the data plane tell each other: who a proxy is, what its mesh is set to, what it is to be told.

The node runs proxies and knows where they are; the translation knows what istiod would tell them. Between the two are
these values and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

JSONObject = dict[str, Any]

OUTBOUND_PORT: Final = 15001
"""Where a sidecar takes what its application sends: connections that begin with a PROXY protocol header (version 2),
which names the address that was dialled. In a cluster, iptables redirects them here and SO_ORIGINAL_DST names it.
"""
INBOUND_SOURCE: Final = "127.0.0.6"
"""The address from which a sidecar connects to its application, as in Istio."""


class MeshSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an administrator sets when installing Istio: the parts of MeshConfig that decide how traffic flows.

    ``skip_validate_trust_domain`` is istiod's PILOT_SKIP_VALIDATE_TRUST_DOMAIN. Without it, sidecars refuse clients
    whose identity is in none of this mesh's trust domain and its aliases, whatever certificate they present: meshes
    with trust domains of their own that federate have to set it, or name each other's as aliases.
    """

    name: str
    network: str
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    skip_validate_trust_domain: bool = False
    cluster_domain: str = "cluster.local"
    root_namespace: str = "istio-system"
    outbound_policy: Literal["REGISTRY_ONLY", "ALLOW_ANY"] = "REGISTRY_ONLY"
    default_service_export_to: tuple[str, ...] = ("*",)
    default_destination_rule_export_to: tuple[str, ...] = ("*",)

    @property
    def mesh_config(self) -> dict[str, Any]:
        """These settings as istiod's MeshConfig, JSON."""
        return {
            "trustDomain": self.trust_domain,
            "trustDomainAliases": list(self.trust_domain_aliases),
            "rootNamespace": self.root_namespace,
            "outboundTrafficPolicy": {"mode": self.outbound_policy},
            # Every sidecar here answers DNS.
            "defaultConfig": {"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"}},
            "defaultServiceExportTo": list(self.default_service_export_to),
            "defaultDestinationRuleExportTo": list(self.default_destination_rule_export_to),
        }


class ProxyIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """One proxy: the sidecar of a Pod, or a gateway, which is a Pod that is nothing but a proxy.

    ``address`` is the Pod's own IP, on which the proxy listens for what comes in. ``application`` is the address on
    which the application itself listens, on the same ports, for its sidecar alone; empty for a gateway. ``ports`` are
    the ports that the application listens on: its containerPorts.
    ``requested_network`` is ISTIO_META_REQUESTED_NETWORK_VIEW: the only network whose endpoints this proxy is told of;
    empty: all. ``dns_port`` is where on ``address`` the proxy answers DNS (DNS capture); 0: it does not.
    """

    kind: Literal["sidecar", "gateway"]
    namespace: str
    pod: str
    labels: Mapping[str, str]
    service_account: str
    address: str
    application: str = ""
    ports: tuple[int, ...] = ()
    requested_network: str = ""
    dns_port: int = 0


class ProxyFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where a proxy finds what is told to it apart from listeners and clusters; all absolute paths.

    ``certificate`` and ``trust`` are files with one ``envoy.extensions.transport_sockets.tls.v3.Secret`` each, in a
    DiscoveryResponse: the proxy's own certificate under the name ``default``, what it trusts under the name ``ROOTCA``.
    Clusters of type EDS name ``<endpoints>/<file>`` and HTTP listeners ``<routes>/<file>``; ``resolver`` is the
    ``(address, port)`` of the DNS server that answers for names outside the mesh. ``access_log`` is the file to which
    all listeners log, a line of JSON for each request or connection. In a sandbox these names, but for the log, stand
    for what ``discovery`` serves: an Envoy takes an inotify instance for each file it follows, and a user has few.
    """

    certificate: str
    trust: str
    endpoints: str
    routes: str
    resolver: tuple[str, int]
    access_log: str = "/dev/stdout"


class ProxyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All that one proxy is told, as Envoy's v3 JSON.

    ``listeners`` and ``clusters`` are resources with their ``@type``; ``endpoints`` and ``routes`` hold one resource
    for each file name that a cluster or listener names.
    """

    listeners: Sequence[JSONObject]
    clusters: Sequence[JSONObject]
    endpoints: Mapping[str, JSONObject]
    routes: Mapping[str, JSONObject]


class Untranslatable(Exception):
    """An object says something that this control plane does not know; the message names object, field and value.

    It is never passed over: a proxy that is told only a part would prove nothing.
    """
