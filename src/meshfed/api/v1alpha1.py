"""``federation.openshift-service-mesh.io/v1alpha1``: MeshFederation, RemoteMesh, FederatedService.

These types are the single source: the CRDs are generated from them (constraints from ``msgspec.Meta``,
descriptions from the docstrings of types and fields, defaults from the fields), the reference in ``docs/api.md``
is generated from the CRDs, and the controller decodes what the API server holds into them. A list or selector
whose absence means *all* is ``None`` or empty when absent, and never empty in a manifest.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, field

from meshfed.api.meta import Conditions, ObjectMeta, RefusedByReason
from meshfed.api.scalars import (
    SET,
    Address,
    AliasHost,
    Count,
    DnsLabel,
    DnsName,
    Duration,
    ExportTo,
    Globs,
    HostPort,
    IngressKind,
    Locality,
    MeshName,
    Network,
    Percent,
    PortName,
    PortNumber,
    Ports,
    Selector,
    ServiceName,
    SpiffeUri,
    SubjectAltNames,
    Timestamp,
    TrustDomain,
)
from meshfed.api.traffic_policy import TrafficPolicy
from meshfed.model.installation import API_GROUP, NAMESPACE
from meshfed.model.offers import Port
from meshfed.model.selectors import LabelSelector

GROUP: Final = API_GROUP
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

OWNER_NAMESPACE_LABEL: Final = f"{GROUP}/owner-namespace"
"""On everything we write: the namespace of the MeshFederation, which is what tells two installations apart."""
OWNER_LABEL: Final = f"{GROUP}/owner"
"""On everything we write: the name of the MeshFederation."""
REMOTE_LABEL: Final = f"{GROUP}/remote"
"""On FederatedServices: the RemoteMesh that offers them."""
ORIGIN_ANNOTATION: Final = f"{GROUP}/derived-from"
"""On everything we write: what it follows from, such as ``import <host>`` (`meshfed.plan.keys.origin`)."""
PROBE_REQUEST_ANNOTATION: Final = f"{GROUP}/probe-requested-at"
"""On RemoteMeshes: another value than before asks for a proof of all ways now; ``status.probeHandledAt`` repeats it."""
FINALIZER: Final = f"{GROUP}/cleanup"


def _shown_at_zero() -> int:
    # From a factory, a default is not omitted: a count of zero is written, and so stands in its printer column.
    return field(default_factory=int)


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """What every type that people write has in common: unknown fields are refused."""


class _Status(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What every status has in common: a field that a newer controller wrote is skipped, not refused."""

    observed_generation: int = 0
    """The generation of the spec that this status speaks of."""
    conditions: Conditions = ()
    """What holds, with a reason and a message a person can act on."""


class PortConfig(_Spec, frozen=True):
    """The port of the federation ingress gateway."""

    name: PortName = "tls-passthrough"
    """The port's name in the gateway's Service, which an OpenShift Route refers to."""
    number: PortNumber = 15443
    """The port's number in the gateway's Service."""


class GatewayRef(_Spec, frozen=True):
    """The federation ingress gateway of this mesh."""

    selector: Selector
    """The labels of the gateway's pods."""
    port_config: PortConfig = PortConfig()
    """The port on which the gateway takes traffic from other meshes."""


class LocalIngress(_Spec, frozen=True):
    """How other meshes reach this one."""

    gateway: GatewayRef
    """The gateway that takes traffic from other meshes."""
    type: IngressKind = "istio"
    """What stands before the gateway: `istio`, nothing, it has an address of its own; `openshift-router`, Routes."""


class ExportAlias(_Spec, frozen=True):
    """The name and namespace under which a Service is offered instead of its own; an absent one is kept."""

    name: ServiceName | None = None
    """The name to offer the Service under."""
    namespace: DnsLabel | None = None
    """The namespace to offer the Service under."""


class ExportRule(_Spec, frozen=True):
    """One export rule; every part that is given must match."""

    action: Literal["Export", "Deny"]
    """What becomes of a Service, or of the `ports`, that this rule matches, and no rule before it."""
    namespaces: Globs | None = None
    """Globs of which one matches the Service's namespace; absent: any namespace."""
    names: Globs | None = None
    """Globs of which one matches the Service's name; absent: any name."""
    labels: LabelSelector | None = None
    """A selector that the Service's labels meet; absent: any labels."""
    ports: Ports | None = None
    """The ports that the rule is for, one of which the Service has; absent: all. What is not exported is closed."""
    remotes: Annotated[tuple[MeshName, ...], Meta(min_length=1, max_length=256, extra_json_schema=SET)] | None = None
    """The RemoteMeshes that see the Service; absent: all. This limits discovery, not access."""
    as_: ExportAlias | None = field(default=None, name="as")
    """Another name for the Service towards remote meshes."""


class Export(_Spec, frozen=True):
    """Which Services are exported; empty exports every Service outside the protected namespaces."""

    service_selectors: LabelSelector | None = None
    """A selector that the Service's labels meet; absent or empty: all Services."""
    namespace_selectors: LabelSelector | None = None
    """A selector that the labels of the Service's Namespace meet; absent or empty: all Namespaces."""
    rules: Annotated[tuple[ExportRule, ...], Meta(min_length=1, max_length=256)] = ()
    """Ordered rules of which the first match decides; a Service that none matches is not exported. Absent: no rules."""
    service_exports: bool = False
    """Whether what a ServiceExport of the multi-cluster services API names is exported too."""


class MeshFederationSpec(_Spec, frozen=True):
    """This mesh, how it is reached, and what it exports."""

    network: Network
    """Istio's network name of this mesh, unique among the federated meshes."""
    ingress: LocalIngress
    """How other meshes reach this one."""
    trust_domain: TrustDomain = "cluster.local"
    """The trust domain of this mesh."""
    cluster_domain: DnsName = "cluster.local"
    """The DNS suffix of this cluster's Services."""
    control_plane_namespace: DnsLabel = NAMESPACE
    """The namespace of istiod, where mesh-wide objects are written."""
    export: Export | None = None
    """What this mesh exports; absent: nothing."""


class MeshFederationStatus(_Status, frozen=True):
    """What holds of this mesh; counts, never long lists."""

    exported_services: int = _shown_at_zero()
    """How many Services this mesh exports."""
    imported_services: int = _shown_at_zero()
    """How many hosts this mesh imports."""
    remote_meshes: int = _shown_at_zero()
    """How many RemoteMeshes there are."""


class MeshFederation(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """This mesh and what it exports; named as the mesh, whose discovery is `federation-discovery-service-<name>`."""

    metadata: ObjectMeta
    spec: MeshFederationSpec
    status: MeshFederationStatus = MeshFederationStatus()


class Discovery(_Spec, frozen=True):
    """Where the remote's controller is."""

    namespace: DnsLabel = NAMESPACE
    """The namespace of the remote's controller, in its own cluster."""
    port: PortNumber = 15080
    """The port of the remote's discovery service."""
    address: HostPort | None = None
    """`host:port` of the discovery service, only where it is not reached through the remote's ingress."""


class ImportAlias(_Spec, frozen=True):
    """The host under which an offer is imported."""

    host: AliasHost
    """A host name; `{name}` and `{namespace}` stand for the offered ones."""


class ImportRule(_Spec, frozen=True):
    """One import rule; every part that is given must match what was offered."""

    action: Literal["Import", "Deny"]
    """What becomes of an offer, or of the `ports`, that this rule matches, and no rule before it."""
    hosts: Globs | None = None
    """Globs of which one matches the offered host; absent: any host."""
    namespaces: Globs | None = None
    """Globs of which one matches the offered namespace; absent: any. Naming one without `*` lifts its protection."""
    labels: LabelSelector | None = None
    """A selector that the offered labels meet; absent: any labels."""
    ports: Ports | None = None
    """The ports that the rule is for, one of which is offered; absent: all."""
    as_: ImportAlias | None = field(default=None, name="as")
    """Another host for the import in this mesh."""
    merge: bool | None = None
    """`merge` of the import, for the hosts of this rule."""
    allow_tcp: bool | None = field(default=None, name="allowTCP")
    """`allowTCP` of the import, for the hosts of this rule."""
    subject_alt_names: SubjectAltNames | None = None
    """The SPIFFE IDs of whoever serves the hosts of this rule there; absent: those that the remote announces."""


class ImportPolicy(_Spec, frozen=True):
    """What of the remote's offers is imported; empty imports everything that does not exist here."""

    merge: bool = False
    """Whether the remote may also serve hosts that a local Service, or another remote, serves."""
    allow_tcp: bool = field(default=False, name="allowTCP")
    """Whether ports other than HTTP, HTTP2, GRPC, TLS and HTTPS are imported, for hosts that no local Service has."""
    rules: Annotated[tuple[ImportRule, ...], Meta(min_length=1, max_length=256)] = ()
    """Ordered rules of which the first match decides; an offer that none matches is denied. Absent: no rules."""
    limit: Annotated[int, Meta(ge=0, le=100000)] = 1000
    """The most hosts that the remote may put into this mesh."""
    export_to: ExportTo = ("*",)
    """The namespaces that see the imported hosts: `*`, all; `.`, the control plane namespace; or names."""
    confirm: bool = True
    """Whether the remote is told which of its services are in place here; by default, as it offered them itself."""


class Staleness(_Spec, frozen=True):
    """What becomes of imports whose remote has been unreachable for a time."""

    after: Duration = "10m"
    """How long the remote is unreachable before its imports are stale."""
    action: Literal["Keep", "Remove"] = "Keep"
    """What becomes of stale imports."""


class Withdrawal(_Spec, frozen=True):
    """When a withdrawal is too sudden to be believed at once, and for how long it is held."""

    max_percent: Percent = 50
    """A withdrawal of more than this share of the remote's services at once is held, in percent."""
    min_services: Count = 20
    """A withdrawal of fewer services than this is never held."""
    hold: Duration = "5m"
    """How long a withdrawal is held before it is applied."""


class RemoteMeshSpec(_Spec, frozen=True):
    """One remote mesh: where its ingress answers, who it is, and what is imported from it."""

    network: Network
    """Istio's network name of the remote mesh."""
    addresses: Annotated[tuple[Address, ...], Meta(max_length=64, extra_json_schema=SET)] = ()
    """Where the remote's federation ingress answers: IP addresses or host names, each alone or as `host:port`."""
    port: PortNumber = 15443
    """The port of the remote's federation ingress, at every address that states none of its own."""
    ingress_type: IngressKind = "istio"
    """What stands before the remote's ingress gateway."""
    trust_domain: TrustDomain = "cluster.local"
    """The trust domain of the remote mesh."""
    cluster_domain: DnsName = "cluster.local"
    """The DNS suffix of the remote cluster's Services: its hosts end in `svc.<clusterDomain>`."""
    identity: SpiffeUri | None = None
    """The SPIFFE ID of the remote's controller; absent: of `federation-controller` in the discovery namespace."""
    discovery: Discovery = Discovery()
    """Where the remote's controller is."""
    locality: Locality = ""
    """Where the remote's endpoints are, as `region/zone/subzone`; for failover, set outlierDetection too."""
    traffic_policy: TrafficPolicy | None = None
    """What goes into the DestinationRules of the remote's imports."""
    priority: int = 0
    """Decides conflicts between remotes, before who offered first; the higher wins."""
    import_: ImportPolicy | None = field(default=None, name="import")
    """What is imported from the remote; absent: nothing, it is published to only."""
    staleness: Staleness = Staleness()
    """What becomes of imports whose remote has been unreachable for a time."""
    withdrawal: Withdrawal = Withdrawal()
    """When a withdrawal is held, and for how long."""


class RemoteMeshStatus(_Status, frozen=True):
    """What holds of the connection and of what came over it; times move only with a transition."""

    offered_services: int = _shown_at_zero()
    """How many services the remote offers."""
    imported_services: int = _shown_at_zero()
    """How many of them are imported."""
    denied_services: int = _shown_at_zero()
    """How many of them are denied by the import rules, or because there is no `import`."""
    refused_services: int = _shown_at_zero()
    """How many of them are not imported for another reason, such as `LimitExceeded` or `LocalServiceExists`."""
    refused: RefusedByReason = ()
    """For which reasons these are not imported, and how many for each."""
    held_services: int = 0
    """How many services it withdrew at once, so that they are held for a while."""
    held_since: Timestamp = ""
    """Since when they are held."""
    last_connected: Timestamp = ""
    """When the connection was last made."""
    last_sync: Timestamp = ""
    """When the remote's whole offer was last received."""
    dialect: str = ""
    """The dialect of discovery that is spoken with the remote."""
    identity: str = ""
    """The SPIFFE ID that the remote's controller is configured to have; empty where the default is assumed."""
    imported_there: int = 0
    """How many Services of this mesh it says that it imports, in half a minute's steps; absent where it says none."""
    probe_handled_at: str = ""
    """The annotation `federation.openshift-service-mesh.io/probe-requested-at` upon which all ways were tried."""


class RemoteMesh(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A remote mesh, named as that mesh names itself, and what is imported from it."""

    metadata: ObjectMeta
    spec: RemoteMeshSpec
    status: RemoteMeshStatus = RemoteMeshStatus()


class FederatedServiceSpec(_Spec, frozen=True, gc=False):
    """What one remote offers under one host, as announced, and since when."""

    remote: str
    """The RemoteMesh that offers the service."""
    host: str
    """The host, as announced."""
    ports: tuple[Port, ...] = ()
    """The ports, as announced."""
    labels: dict[str, str] = {}
    """The labels, as announced."""
    sni_host: str = ""
    """The exporter's own host, where `host` is an alias of it."""
    identities: tuple[str, ...] = ()
    """The SPIFFE IDs that serve the host, as announced."""
    locality: str = ""
    """Where the service is, as announced; shown only, the RemoteMesh's locality is what counts."""
    first_offered: Timestamp = ""
    """When the remote offered the host first, in microseconds; decides conflicts between remotes of one priority."""
    problem: str = ""
    """What of the last announcement could not be used; the rest then stands as it was before."""


class FederatedServiceStatus(_Status, frozen=True, gc=False):
    """Whether the offer is accepted and applied, and the objects that carry it."""

    imported_as: str = ""
    """The host under which the service is imported."""
    objects: tuple[str, ...] = ()
    """The Istio objects that carry the import, as `Kind namespace/name`; the first 64 of them."""


class FederatedService(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """One service that one remote offers: written by the controller, and its durable memory."""

    metadata: ObjectMeta
    spec: FederatedServiceSpec
    status: FederatedServiceStatus = FederatedServiceStatus()
