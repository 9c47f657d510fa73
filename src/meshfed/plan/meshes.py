"""Meshes as the decisions see them: the API's objects with every default filled in.

The API's types mirror what people write; everything past this module speaks of `LocalMesh` and `Remote`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from meshfed.api.core import Service
from meshfed.api.v1alpha1 import MeshFederation, RemoteMesh
from meshfed.istio.names import EXPORT_TO
from meshfed.model.identity import SpiffeID
from meshfed.model.imports import LocalPort, LocalService
from meshfed.model.meshes import GatewayAddress, IngressType, LocalMesh, MeshConfig, Remote
from meshfed.model.names import ServiceHost
from meshfed.plan.values import Settings

_DEFAULT_TRUST_DOMAIN = "cluster.local"
_CONTROLLER_ACCOUNT = "federation-controller"


def local_mesh(federation: MeshFederation, settings: Settings, config: MeshConfig) -> LocalMesh:
    """Return this mesh as the MeshFederation describes it, and what Istio's ``config`` says of it."""
    spec = federation.spec
    gateway = spec.ingress.gateway
    account = settings.account or (settings.namespace, _CONTROLLER_ACCOUNT)
    return LocalMesh(
        name=federation.metadata.name,
        namespace=settings.namespace,
        network=spec.network,
        trust_domain=spec.trust_domain,
        cluster_domain=spec.cluster_domain,
        control_plane_namespace=spec.control_plane_namespace,
        ingress_type=IngressType(spec.ingress.type),
        gateway_selector=gateway.selector,
        gateway_port_name=gateway.port_config.name,
        gateway_port=gateway.port_config.number,
        controller_selector=settings.controller_selector,
        identity=SpiffeID.of_workload(spec.trust_domain, *account),
        metrics_port=settings.metrics_port,
        health_port=settings.health_port,
        config=config,
    )


def root_elsewhere(mesh: LocalMesh) -> str:
    """Return what does not count since Istio's root namespace is not the control plane's, in words; else nothing."""
    root, here = mesh.root_namespace, mesh.control_plane_namespace
    if root == here:
        return ""
    return (
        f"; `rootNamespace` in {mesh.config.source} is {root}, and `spec.controlPlaneNamespace` is {here}: of what "
        f"Meshfed writes there, DestinationRules for hosts that a local Service has count for clients in {here} alone, "
        f"and EnvoyFilters for a gateway in {here} alone; set `rootNamespace` to {here}"
    )


def remote(mesh: RemoteMesh) -> Remote:
    """Return a remote mesh as its RemoteMesh describes it."""
    spec = mesh.spec
    default = SpiffeID.of_workload(spec.trust_domain, spec.discovery.namespace, _CONTROLLER_ACCOUNT)
    identity = SpiffeID.parse(spec.identity) if spec.identity is not None else None
    return Remote(
        name=mesh.metadata.name,
        # 192.0.2.20 and 192.0.2.20:15443 may be one: each is kept once, where it comes first.
        addresses=tuple(dict.fromkeys(GatewayAddress.parse(address, spec.port) for address in spec.addresses)),
        port=spec.port,
        network=spec.network,
        ingress_type=IngressType(spec.ingress_type),
        trust_domain=spec.trust_domain,
        cluster_domain=spec.cluster_domain,
        identity=identity or default,
        identity_configured=identity is not None,
        discovery_namespace=spec.discovery.namespace,
        discovery_port=spec.discovery.port,
        discovery_address=spec.discovery.address or "",
        locality=spec.locality,
        priority=spec.priority,
    )


def shadowed_by(mesh: LocalMesh, remote: Remote) -> str:
    """Return this mesh's trust domain where Istio takes the remote's identity for one of it; else nothing.

    In a principal, ``cluster.local`` is this mesh's trust domain, whatever that is called
    (``trustdomain.Bundle.ReplaceTrustDomainAliases``).
    """
    return mesh.trust_domain if remote.identity.trust_domain == _DEFAULT_TRUST_DOMAIN != mesh.trust_domain else ""


def traffic_policy(mesh: RemoteMesh) -> dict[str, Any]:
    """Return what a RemoteMesh asks for of a DestinationRule's trafficPolicy, under Istio's own field names.

    A field that is there counts, even where it is empty: ``outlierDetection: {}`` is outlier detection by Istio's
    defaults (``applyOutlierDetection``).
    """
    policy = mesh.spec.traffic_policy
    return msgspec.to_builtins(policy) if policy is not None else {}


def local_service(service: Service, mesh: LocalMesh) -> LocalService:
    """Return what of a Service of this mesh decides how remote endpoints join it."""
    meta, spec = service.metadata, service.spec
    seen = seen_in(service, mesh.config)
    return LocalService(
        host=ServiceHost(name=meta.name, namespace=meta.namespace, domain=mesh.cluster_domain),
        selector=spec.selector or {},
        ports=tuple(
            LocalPort(number=port.port, name=port.name, target_port=port.target_port)
            for port in spec.ports
            if port.protocol == "TCP"
        ),
        headless=spec.cluster_ip == "None",
        external_name=spec.type == "ExternalName",
        visible_in=seen,
        visible_by=seen_by(service, mesh.config) if seen is not None else "",
    )


def seen_in(service: Service, config: MeshConfig) -> tuple[str, ...] | None:
    """Return the namespaces whose proxies know a Service of this mesh, sorted; ``None`` where all do.

    What its annotation says counts, else the mesh's default (``PushContext.serviceExportTo``).
    """
    return visible_in(_exported_to(service) or config.default_service_export_to, service.metadata.namespace)


def seen_by(service: Service, config: MeshConfig) -> str:
    """Return what says who sees a Service, in words."""
    if _exported_to(service):
        return f"annotation {EXPORT_TO} of Service {service.metadata.namespace}/{service.metadata.name}"
    return f"`defaultServiceExportTo` of {config.source}" if config.default_service_export_to else ""


def hidden_by(config: MeshConfig) -> str:
    """Return what may say of Services that not everyone sees them, in words."""
    default = config.default_service_export_to
    also = f" or, without it, `defaultServiceExportTo` of {config.source}" if default and "*" not in default else ""
    return f"annotation {EXPORT_TO}{also}"


def _exported_to(service: Service) -> list[str]:
    return list(filter(None, service.metadata.annotations.get(EXPORT_TO, "").split(",")))


def visible_in(export_to: Iterable[str], namespace: str) -> tuple[str, ...] | None:
    """Return the namespaces that see what is exported like this from ``namespace``; ``None`` where all do.

    As ``PushContext.initServiceRegistry`` has it; where nothing is said, that is everyone.
    """
    named = {name.strip() for name in export_to}
    if not named or "*" in named:
        return None
    return () if "~" in named else tuple(sorted({namespace if name == "." else name for name in named} - {""}))
