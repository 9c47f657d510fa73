"""``federation.openshift-service-mesh.io/v1alpha1``: MeshFederation, RemoteMesh, FederatedService.

These types are the single source: the CRDs are generated from them (constraints from ``msgspec.Meta``,
descriptions from the docstrings), and the controller decodes what the API server holds into them. A list or
selector whose absence means *all* is ``None`` when absent and never empty.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, field

from meshfed.api.meta import ObjectMeta, StatusCondition
from meshfed.model.offers import Port
from meshfed.model.selectors import LabelSelector

GROUP: Final = "federation.openshift-service-mesh.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

OWNER_LABEL: Final = f"{GROUP}/owner"
"""On everything we write: ``<namespace>.<name>`` of the MeshFederation (a digest where that is too long)."""
REMOTE_LABEL: Final = f"{GROUP}/remote"
"""On FederatedServices: the RemoteMesh that offers them."""
FINALIZER: Final = f"{GROUP}/cleanup"

DnsLabel = Annotated[str, Meta(pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
DnsName = Annotated[
    str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253)
]
TrustDomain = Annotated[str, Meta(pattern="^[a-z0-9._-]+$", min_length=1, max_length=255)]
Network = Annotated[str, Meta(min_length=1, max_length=63)]
PortNumber = Annotated[int, Meta(ge=1, le=65535)]
PortName = Annotated[str, Meta(pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
Duration = Annotated[str, Meta(pattern="^([0-9]+(h|m|s|ms))+$", max_length=32)]
Glob = Annotated[str, Meta(pattern="^[a-z0-9.*-]+$", min_length=1, max_length=253)]
Globs = Annotated[tuple[Glob, ...], Meta(min_length=1, max_length=256)]
IngressKind = Literal["istio", "openshift-router"]


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """What every type that people write has in common: unknown fields are refused."""


# --- MeshFederation -------------------------------------------------------------------------------


class PortConfig(_Spec, frozen=True):
    """The port of the federation ingress gateway."""

    name: PortName = "tls-passthrough"
    number: PortNumber = 15443


class GatewayRef(_Spec, frozen=True):
    """The federation ingress gateway of this mesh: the labels of its pods and the port it listens on."""

    selector: Annotated[dict[str, str], Meta(min_length=1)]
    port_config: PortConfig = PortConfig()


class LocalIngress(_Spec, frozen=True):
    """How other meshes reach this one."""

    gateway: GatewayRef
    type: IngressKind = "istio"


class ExportAlias(_Spec, frozen=True):
    """The name and namespace under which a Service is offered instead of its own; an absent one is kept."""

    name: Annotated[str, Meta(pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=63)] | None = None
    namespace: DnsLabel | None = None


class ExportRule(_Spec, frozen=True):
    """One export rule; every part that is given must match."""

    action: Literal["Export", "Deny"]
    namespaces: Globs | None = None
    names: Globs | None = None
    labels: LabelSelector | None = None
    remotes: Annotated[tuple[DnsLabel, ...], Meta(min_length=1, max_length=256)] | None = None
    as_: ExportAlias | None = field(default=None, name="as")


class Export(_Spec, frozen=True):
    """Which Services are exported; empty exports every Service outside the protected namespaces."""

    service_selectors: LabelSelector | None = None
    namespace_selectors: LabelSelector | None = None
    rules: Annotated[tuple[ExportRule, ...], Meta(min_length=1, max_length=256)] = ()
    service_exports: bool = False


class MeshFederationSpec(_Spec, frozen=True):
    """This mesh, how it is reached, and what it exports."""

    network: Network
    ingress: LocalIngress
    trust_domain: TrustDomain = "cluster.local"
    cluster_domain: DnsName = "cluster.local"
    control_plane_namespace: DnsLabel = "istio-system"
    export: Export | None = None


class MeshFederationStatus(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What holds; counts, never long lists."""

    observed_generation: int = 0
    conditions: tuple[StatusCondition, ...] = ()
    exported_services: int = 0
    imported_services: int = 0
    remote_meshes: int = 0


class MeshFederation(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """This mesh: its name is the suffix of ``federation-discovery-service-<name>``."""

    metadata: ObjectMeta
    spec: MeshFederationSpec
    status: MeshFederationStatus = MeshFederationStatus()


# --- RemoteMesh -----------------------------------------------------------------------------------


class Discovery(_Spec, frozen=True):
    """Where the remote's controller is; an address only where it is not reached through the ingress."""

    namespace: DnsLabel = "istio-system"
    port: PortNumber = 15080
    address: Annotated[str, Meta(pattern=r"^\S+:[0-9]+$", max_length=260)] | None = None


class OutlierDetection(_Spec, frozen=True):
    """Istio's outlier detection, for what is imported from the remote; fields as in a DestinationRule."""

    consecutive5xx_errors: Annotated[int, Meta(ge=0)] | None = field(default=None, name="consecutive5xxErrors")
    consecutive_gateway_errors: Annotated[int, Meta(ge=0)] | None = None
    consecutive_local_origin_failures: Annotated[int, Meta(ge=0)] | None = None
    split_external_local_origin_errors: bool | None = None
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    min_health_percent: Annotated[int, Meta(ge=0, le=100)] | None = None


class TrafficPolicy(_Spec, frozen=True):
    """What goes into the DestinationRules of the remote's imports."""

    outlier_detection: OutlierDetection | None = None


class ImportAlias(_Spec, frozen=True):
    """The host under which an offer is imported; ``{name}`` and ``{namespace}`` stand for the offered ones."""

    host: Annotated[str, Meta(pattern=r"^[a-z0-9{}.-]+$", min_length=3, max_length=253)]


class ImportRule(_Spec, frozen=True):
    """One import rule; every part that is given must match what was offered."""

    action: Literal["Import", "Deny"]
    hosts: Globs | None = None
    namespaces: Globs | None = None
    labels: LabelSelector | None = None
    as_: ImportAlias | None = field(default=None, name="as")
    merge: bool | None = None


class Import(_Spec, frozen=True):
    """What of the remote's offers is imported; empty imports everything that does not exist here."""

    merge: bool = False
    allow_tcp: bool = field(default=False, name="allowTCP")
    rules: Annotated[tuple[ImportRule, ...], Meta(min_length=1, max_length=256)] = ()
    limit: Annotated[int, Meta(ge=0, le=100000)] = 1000
    export_to: Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)] = ("*",)


class Staleness(_Spec, frozen=True):
    """What becomes of imports whose remote has been unreachable for a time."""

    after: Duration = "10m"
    action: Literal["Keep", "Remove"] = "Keep"


class Withdrawal(_Spec, frozen=True):
    """When a withdrawal is too sudden to be believed at once, and for how long it is held."""

    max_percent: Annotated[int, Meta(ge=0, le=100)] = 50
    min_services: Annotated[int, Meta(ge=0)] = 20
    hold: Duration = "5m"


class RemoteMeshSpec(_Spec, frozen=True):
    """One remote mesh: where its ingress answers, who it is, and what is imported from it."""

    network: Network
    addresses: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=253)], ...], Meta(max_length=64)] = ()
    port: PortNumber = 15443
    ingress_type: IngressKind = "istio"
    trust_domain: TrustDomain = "cluster.local"
    cluster_domain: DnsName = "cluster.local"
    identity: Annotated[str, Meta(pattern="^spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+$", max_length=2048)] | None = None
    discovery: Discovery = Discovery()
    locality: Annotated[str, Meta(max_length=253)] = ""
    traffic_policy: TrafficPolicy | None = None
    priority: int = 0
    import_: Import | None = field(default=None, name="import")
    staleness: Staleness = Staleness()
    withdrawal: Withdrawal = Withdrawal()


class RemoteMeshStatus(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What holds of the connection and of what came over it; times move only with a transition."""

    observed_generation: int = 0
    conditions: tuple[StatusCondition, ...] = ()
    offered_services: int = 0
    imported_services: int = 0
    denied_services: int = 0
    last_connected: str = ""
    last_sync: str = ""
    dialect: str = ""
    identity: str = ""


class RemoteMesh(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A remote mesh, named as that mesh names itself."""

    metadata: ObjectMeta
    spec: RemoteMeshSpec
    status: RemoteMeshStatus = RemoteMeshStatus()


# --- FederatedService -----------------------------------------------------------------------------


class FederatedServiceSpec(_Spec, frozen=True):
    """What one remote offers under one host, as announced, and since when.

    ``problem`` says what of the last announcement could not be used; the rest then stands as it was before.
    """

    remote: str
    host: str
    ports: tuple[Port, ...] = ()
    labels: dict[str, str] = {}
    sni_host: str = ""
    identities: tuple[str, ...] = ()
    locality: str = ""
    first_offered: str = ""
    problem: str = ""


class FederatedServiceStatus(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Whether the offer is accepted and applied, and the objects that carry it, as ``Kind namespace/name``."""

    observed_generation: int = 0
    conditions: tuple[StatusCondition, ...] = ()
    imported_as: str = ""
    objects: tuple[str, ...] = ()


class FederatedService(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One service that one remote offers; written by the controller, and its durable memory."""

    metadata: ObjectMeta
    spec: FederatedServiceSpec
    status: FederatedServiceStatus = FederatedServiceStatus()
