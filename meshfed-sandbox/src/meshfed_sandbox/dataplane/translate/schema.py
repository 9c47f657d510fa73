"""The fields of Istio's objects that are translated; an object that sets any other is refused.

These types are the list of what this control plane knows: what is not here cannot be overlooked, since decoding fails
on it. Core objects of Kubernetes are read leniently, as istiod reads them: most of what they say concerns others.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A part of an Istio object: every field is known, or the object is refused."""


class Lenient(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of a Kubernetes object: other fields are none of a proxy's business."""


class Meta(Lenient, frozen=True, kw_only=True):
    """``metadata``. ``creation_timestamp`` decides which of two conflicting objects counts: the older."""

    name: str
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: str | None = ""
    deletion_timestamp: str | None = None


class Selector(Spec, frozen=True, kw_only=True):
    """``selector`` of security policies."""

    match_labels: dict[str, str] = {}


class WorkloadSelector(Spec, frozen=True, kw_only=True):
    """``workloadSelector`` of networking objects."""

    labels: dict[str, str] = {}


# ServiceEntry and WorkloadEntry


class EntryPort(Spec, frozen=True, kw_only=True):
    """A port of a ServiceEntry; without a protocol, proxies find out."""

    number: int
    name: str
    protocol: str = ""
    target_port: int = 0


class WorkloadEntrySpec(Spec, frozen=True, kw_only=True):
    """A WorkloadEntry, or an endpoint of a ServiceEntry."""

    address: str = ""
    ports: dict[str, int] = {}
    labels: dict[str, str] = {}
    network: str = ""
    locality: str = ""
    weight: int = 0
    service_account: str = ""


class ServiceEntrySpec(Spec, frozen=True, kw_only=True):
    """A ServiceEntry; what ``resolution`` NONE means to proxies is not translated."""

    hosts: list[str]
    addresses: list[str] = []
    ports: list[EntryPort] = []
    location: Literal["MESH_EXTERNAL", "MESH_INTERNAL"] = "MESH_EXTERNAL"
    resolution: Literal["STATIC", "DNS"]
    endpoints: list[WorkloadEntrySpec] = []
    workload_selector: WorkloadSelector | None = None
    export_to: list[str] = []
    subject_alt_names: list[str] = []


# Gateway


class ServerPort(Spec, frozen=True, kw_only=True):
    """``port`` of a Gateway's server."""

    number: int
    name: str
    protocol: Literal["TLS", "HTTPS"]


class ServerTLS(Spec, frozen=True, kw_only=True):
    """``tls`` of a Gateway's server: only passing on by SNI is translated."""

    mode: Literal["AUTO_PASSTHROUGH"]


class Server(Spec, frozen=True, kw_only=True):
    """A server of a Gateway."""

    port: ServerPort
    hosts: list[str]
    tls: ServerTLS
    name: str = ""


class GatewaySpec(Spec, frozen=True, kw_only=True):
    """A Gateway."""

    selector: dict[str, str] = {}
    servers: list[Server] = []


# PeerAuthentication and AuthorizationPolicy

Mode = Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]


class MutualTLS(Spec, frozen=True, kw_only=True):
    """``mtls`` of a PeerAuthentication."""

    mode: Mode = "UNSET"


class PeerAuthenticationSpec(Spec, frozen=True, kw_only=True):
    """A PeerAuthentication."""

    selector: Selector = Selector()
    mtls: MutualTLS = MutualTLS()
    port_level_mtls: dict[str, MutualTLS] = {}


class Source(Spec, frozen=True, kw_only=True):
    """``source`` of an AuthorizationPolicy's rule; all that is set must hold, one value of each."""

    principals: list[str] = []
    not_principals: list[str] = []
    namespaces: list[str] = []
    not_namespaces: list[str] = []
    ip_blocks: list[str] = []
    not_ip_blocks: list[str] = []


class Operation(Spec, frozen=True, kw_only=True):
    """``operation`` of an AuthorizationPolicy's rule; all that is set must hold, one value of each."""

    hosts: list[str] = []
    not_hosts: list[str] = []
    ports: list[str] = []
    not_ports: list[str] = []
    methods: list[str] = []
    not_methods: list[str] = []
    paths: list[str] = []
    not_paths: list[str] = []


class From(Spec, frozen=True, kw_only=True):
    """One alternative of ``from``."""

    source: Source = Source()


class To(Spec, frozen=True, kw_only=True):
    """One alternative of ``to``."""

    operation: Operation = Operation()


class Rule(Spec, frozen=True, kw_only=True):
    """A rule of an AuthorizationPolicy."""

    from_: list[From] = msgspec.field(default_factory=list, name="from")
    to: list[To] = []


class AuthorizationPolicySpec(Spec, frozen=True, kw_only=True):
    """An AuthorizationPolicy. ALLOW without rules allows nothing."""

    selector: Selector = Selector()
    action: Literal["ALLOW", "DENY"] = "ALLOW"
    rules: list[Rule] = []


# Kubernetes


class KubernetesPort(Lenient, frozen=True, kw_only=True):
    """A port of a Service."""

    port: int
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None
    target_port: int | str | None = None


class ServiceSpec(Lenient, frozen=True, kw_only=True):
    """A Service."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    ports: list[KubernetesPort] = []
    selector: dict[str, str] | None = None


class ContainerPort(Lenient, frozen=True, kw_only=True):
    """A port that a container says it listens on."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"


class Container(Lenient, frozen=True, kw_only=True):
    """A container."""

    ports: list[ContainerPort] = []


class PodSpec(Lenient, frozen=True, kw_only=True):
    """A Pod."""

    containers: list[Container] = []
    service_account_name: str = "default"
    node_name: str = ""


class Condition(Lenient, frozen=True, kw_only=True):
    """A condition of a Pod."""

    type: str
    status: str


class PodStatus(Lenient, frozen=True, kw_only=True):
    """The state of a Pod."""

    pod_ip: str = msgspec.field(default="", name="podIP")
    conditions: list[Condition] = []


class SlicePort(Lenient, frozen=True, kw_only=True):
    """A port of an EndpointSlice, by the name that the Service's port has."""

    name: str | None = ""
    port: int | None = None


class SliceConditions(Lenient, frozen=True, kw_only=True):
    """The state of an endpoint; unknown counts as ready."""

    ready: bool | None = None


class Reference(Lenient, frozen=True, kw_only=True):
    """The object that an endpoint stands for."""

    kind: str = ""
    name: str = ""
    namespace: str = ""


class SliceEndpoint(Lenient, frozen=True, kw_only=True):
    """An endpoint of an EndpointSlice."""

    addresses: list[str] = []
    conditions: SliceConditions = SliceConditions()
    hostname: str | None = None
    target_ref: Reference | None = None


class EndpointSliceObject(Lenient, frozen=True, kw_only=True):
    """An EndpointSlice: its fields are beside its metadata."""

    metadata: Meta
    address_type: str = "IPv4"
    ports: list[SlicePort] | None = None
    endpoints: list[SliceEndpoint] | None = None
