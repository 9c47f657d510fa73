"""Projections of the kinds of others that decisions and statuses look at: Service, Namespace, Pod and a few more.

Only the fields that matter are decoded, which is what keeps ten thousand of them cheap.
"""

from __future__ import annotations

from typing import Any

import msgspec

from meshfed.api.meta import ObjectMeta


class ServicePort(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A port of a Service; ``target_port`` is a number, a name, or absent."""

    port: int
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str = ""
    target_port: int | str | None = None


class ServiceSpec(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What of a Service's spec decides anything here. ``cluster_ip`` is ``None`` (text) for a headless one."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    selector: dict[str, str] | None = None
    ports: tuple[ServicePort, ...] = ()
    external_ips: tuple[str, ...] = msgspec.field(default=(), name="externalIPs")


class LoadBalancerIngress(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Where a load balancer takes traffic."""

    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a load balancer has been given for a Service."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What of a Service's status says where it is reached."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A Service."""

    metadata: ObjectMeta
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class ServiceExportStatus(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What is said of a ServiceExport. Its conditions are the only field, as KEP-1645 has it.

    They are as they stand, since others write some of them, in whatever form.
    """

    conditions: tuple[dict[str, Any], ...] = ()


class ServiceExport(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A ServiceExport of the multi-cluster services API: its name and namespace are the Service's."""

    metadata: ObjectMeta
    status: ServiceExportStatus = ServiceExportStatus()


class Namespace(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A Namespace; its labels are what selectors look at."""

    metadata: ObjectMeta


class ContainerPort(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A port of a container, by whose name a Service may ask for it."""

    container_port: int = 0
    name: str = ""
    protocol: str = "TCP"


class Container(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A container; an init container whose ``restart_policy`` is ``Always`` runs beside the others."""

    ports: tuple[ContainerPort, ...] = ()
    restart_policy: str = ""


class PodSpec(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What of a Pod's spec decides who it is, and where it is reached."""

    service_account_name: str = ""
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()


class PodCondition(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A condition of a Pod."""

    type: str = ""
    status: str = ""


class PodStatus(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What of a Pod's status says whether it takes requests."""

    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    conditions: tuple[PodCondition, ...] = ()


class Pod(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A Pod."""

    metadata: ObjectMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class ObjectReference(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Which object an endpoint stands for."""

    kind: str = ""
    namespace: str = ""
    name: str = ""


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """An endpoint of an EndpointSlice."""

    addresses: tuple[str, ...] = ()
    target_ref: ObjectReference | None = None


class EndpointPort(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A port of all endpoints of an EndpointSlice; its name is that of the Service's port."""

    name: str | None = None
    port: int | None = None


class EndpointSlice(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """An EndpointSlice: its fields are beside its metadata. Which Service it is of, a label says."""

    metadata: ObjectMeta
    address_type: str = ""
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[EndpointPort, ...] | None = None


class RouteCondition(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a router says of a Route: ``Admitted``, or why not."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class RouteIngress(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A Route at one router."""

    router_name: str = ""
    router_canonical_hostname: str = ""
    conditions: tuple[RouteCondition, ...] = ()


class RouteStatus(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A Route at every router that has seen it."""

    ingress: tuple[RouteIngress, ...] = ()


class Route(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A Route of OpenShift, which we write; what routers say of it."""

    metadata: ObjectMeta
    status: RouteStatus = RouteStatus()
