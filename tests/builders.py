"""The objects that tests speak of: one function for each kind, and every part that a test does not speak of is plain.

A manifest is what its owner would apply: ``service("reviews", exported=True)``, ``remote_mesh("west", network="n")``.
The fields of a spec are in the API's own words; ``import``, which is Python's word too, is ``import_``.
`typed` makes of it what the code under test decodes it to. What is on the wire is an `offer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from meshfed.federation.imports import record_name
from meshfed.kube import Manifest, Resource
from meshfed.model.offers import TLS_MODE, Offer, Port

T = TypeVar("T")

GROUP = "federation.openshift-service-mesh.io"
SYSTEM = "istio-system"
EXPORTED = {"export-service": "true"}
"""The label that `mesh_federation` exports by."""
GATEWAY = {"app": "federation-ingress-gateway"}
"""The labels of the ingress gateway of `mesh_federation`."""
HTTP = Port(number=9080, name="http", protocol="HTTP", target_port=8080)
"""The port of an `offer`."""

RESOURCES = {
    resource.kind: resource
    for resource in (
        Resource("", "v1", "configmaps", "ConfigMap"),
        Resource("", "v1", "services", "Service"),
        Resource("", "v1", "pods", "Pod"),
        Resource("", "v1", "namespaces", "Namespace", namespaced=False),
        Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
        Resource("apps", "v1", "deployments", "Deployment"),
        Resource("batch", "v1", "jobs", "Job"),
        Resource(
            "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
        ),
        Resource("multicluster.x-k8s.io", "v1alpha1", "serviceexports", "ServiceExport"),
        Resource("coordination.k8s.io", "v1", "leases", "Lease"),
        Resource(GROUP, "v1alpha1", "meshfederations", "MeshFederation"),
        Resource(GROUP, "v1alpha1", "remotemeshes", "RemoteMesh"),
        Resource(GROUP, "v1alpha1", "federatedservices", "FederatedService"),
        Resource("networking.istio.io", "v1", "gateways", "Gateway"),
        Resource("networking.istio.io", "v1", "serviceentries", "ServiceEntry"),
        Resource("networking.istio.io", "v1", "workloadentries", "WorkloadEntry"),
        Resource("networking.istio.io", "v1", "destinationrules", "DestinationRule"),
        Resource("networking.istio.io", "v1alpha3", "envoyfilters", "EnvoyFilter"),
        Resource("networking.istio.io", "v1", "sidecars", "Sidecar"),
        Resource("route.openshift.io", "v1", "routes", "Route"),
        Resource("security.istio.io", "v1", "peerauthentications", "PeerAuthentication"),
        Resource("security.istio.io", "v1", "authorizationpolicies", "AuthorizationPolicy"),
    )
}
"""The kinds that tests read and write, as the API has them."""


def typed(kind: type[T], plain: object) -> T:
    """Return what a manifest, or a part of one, is decoded to."""
    return msgspec.convert(plain, kind)


# --- any kind


def manifest(kind: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> Manifest:
    """Make an object of any kind of `RESOURCES`, in ``istio-system`` unless ``namespace`` says otherwise.

    Metadata that is empty or ``None`` is left out.
    """
    resource = RESOURCES[kind]
    meta = {"name": name, **({"namespace": SYSTEM} if resource.namespaced else {}), **metadata}
    return {
        "apiVersion": resource.api_version,
        "kind": kind,
        "metadata": {key: value for key, value in meta.items() if value},
        "spec": dict(spec),
    }


# --- Kubernetes' kinds


def namespace(name: str, **labels: str) -> Manifest:
    """Make a Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def config_map(name: str, *, namespace: str = "default", **data: str) -> Manifest:
    """Make a ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def port(number: int, name: str = "http", target: int | str | None = None, **more: Any) -> dict[str, Any]:
    """Make a port of a `service`."""
    return {"name": name, "port": number, **({"targetPort": target} if target else {}), **more}


def service(
    name: str,
    *,
    exported: bool = False,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    created: str = "",
    **spec: Any,
) -> Manifest:
    """Make a Service, ``reviews`` in ``default`` or ``reviews.bookinfo``: port http 9080 of the pods ``app: reviews``.

    ``exported``: labelled so that `mesh_federation` exports it.
    """
    short, place = _placed(name)
    return manifest(
        "Service",
        short,
        {"selector": {"app": short}, "ports": [port(9080)]} | spec,
        namespace=place,
        labels={"app": short} | (EXPORTED if exported else {}) | dict(labels or {}),
        annotations=annotations,
        creationTimestamp=created,
    )


def pod(
    name: str,
    app: str = "",
    *,
    account: str = "default",
    address: str = "",
    ports: Mapping[str, int] | None = None,
    sidecar: bool = True,
    labels: Mapping[str, str] | None = None,
    phase: str = "Running",
    ready: bool = True,
    node: str = "node",
    deleted: str = "",
) -> Manifest:
    """Make a Pod that runs, ``reviews-1`` in ``default`` or ``reviews-1.bookinfo``, of ``app``, or its own name."""
    short, place = _placed(name)
    container = {
        "name": "app",
        "image": "app",
        "ports": [{"name": name, "containerPort": number} for name, number in (ports or {}).items()],
    }
    made = manifest(
        "Pod",
        short,
        {"serviceAccountName": account, "nodeName": node, "containers": [container]},
        namespace=place,
        labels={"app": app or short} | ({TLS_MODE: "istio"} if sidecar else {}) | dict(labels or {}),
        deletionTimestamp=deleted,
    )
    conditions = [{"type": "Ready", "status": str(ready)}]
    return made | {"status": {"phase": phase, "podIP": address, "conditions": conditions}}


def endpoint_slice(
    name: str,
    of: str,
    *endpoints: str,
    managed_by: str = "",
    ports: Mapping[str, int] | None = None,
    address_type: str = "IPv4",
    pods_in: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Manifest:
    """Make an EndpointSlice of the Service ``of``, ``reviews-1`` in ``default`` or ``reviews-1.bookinfo``.

    An endpoint is an address, or a Pod, ``10.0.0.1=reviews-1``, of the slice's namespace or of ``pods_in``.
    """
    short, place = _placed(name)
    said = {"kubernetes.io/service-name": of} | (
        {"endpointslice.kubernetes.io/managed-by": managed_by} if managed_by else {}
    )
    made: list[dict[str, Any]] = []
    for address, _, pod_name in (one.partition("=") for one in endpoints):
        reference = {"kind": "Pod", "name": pod_name, "namespace": place if pods_in is None else pods_in}
        made.append({"addresses": [address]} | ({"targetRef": reference} if pod_name else {}))
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": short, "namespace": place, "labels": said | dict(labels or {})},
        "addressType": address_type,
        "endpoints": made,
        "ports": [
            {"name": name, "port": number, "protocol": "TCP"} for name, number in (ports or {"http": 9080}).items()
        ],
    }


def _placed(name: str) -> tuple[str, str]:
    short, _, place = name.partition(".")
    return short, place or "default"


def crd(
    kind: str,
    plural: str,
    group: str,
    *,
    version: str = "v1",
    schema: Mapping[str, Any] | None = None,
    namespaced: bool = True,
    status: bool = False,
) -> Manifest:
    """Make a CustomResourceDefinition, which takes any object where no ``schema`` is given.

    ``status``: with a subresource for it.
    """
    one: dict[str, Any] = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced" if namespaced else "Cluster",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "versions": [one | ({"subresources": {"status": {}}} if status else {})],
        },
    }


def service_exports_crd() -> Manifest:
    """Make the CRD of the multi-cluster services API's ServiceExport."""
    return crd("ServiceExport", "serviceexports", "multicluster.x-k8s.io", version="v1alpha1", status=True)


def service_export(name: str) -> Manifest:
    """Make a ServiceExport of a Service in ``default``."""
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": RESOURCES["ServiceExport"].api_version, "kind": "ServiceExport", "metadata": meta}


# --- Istio's kinds


def service_entry(name: str, *hosts: str, namespace: str = SYSTEM, **spec: Any) -> Manifest:
    """Make a ServiceEntry that another than us wrote, for ``hosts``, with port http 9080."""
    plain = {
        "hosts": list(hosts),
        "ports": [{"name": "http", "number": 9080, "protocol": "HTTP"}],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
    }
    return manifest("ServiceEntry", name, plain | spec, namespace=namespace)


def peer_authentication(
    name: str,
    mode: str = "",
    *,
    namespace: str = "default",
    app: str = "",
    ports: Mapping[int, str] | None = None,
    created: str = "",
) -> Manifest:
    """Make a PeerAuthentication that another than us wrote, for the workloads of ``app``, else for the namespace."""
    spec = {
        "selector": {"matchLabels": {"app": app}} if app else None,
        "mtls": {"mode": mode} if mode else None,
        "portLevelMtls": {str(number): {"mode": of} for number, of in (ports or {}).items()},
    }
    plain = {key: value for key, value in spec.items() if value}
    return manifest("PeerAuthentication", name, plain, namespace=namespace, creationTimestamp=created)


def workload_entry(
    name: str,
    app: str = "",
    *,
    account: str = "",
    address: str = "192.0.2.70",
    labels: Mapping[str, str] | None = None,
    **spec: Any,
) -> Manifest:
    """Make a WorkloadEntry that another than us wrote, ``vm-1`` in ``default`` or ``vm-1.bookinfo``, of ``app``.

    ``labels`` are those of its metadata.
    """
    short, place = _placed(name)
    plain = {"address": address, "labels": {"app": app or short}} | ({"serviceAccount": account} if account else {})
    return manifest("WorkloadEntry", short, plain | spec, namespace=place, labels=labels)


# --- our own kinds


def mesh_federation(
    name: str = "east", *, namespace: str = SYSTEM, created: str = "", deleted: str = "", **spec: Any
) -> Manifest:
    """Make a MeshFederation that exports what is labelled `EXPORTED`, by the gateway labelled `GATEWAY`.

    A field that is ``None`` is left out.
    """
    plain = {
        "network": f"{name}-network",
        "ingress": {"gateway": {"selector": GATEWAY}},
        "export": {"serviceSelectors": {"matchLabels": EXPORTED}},
    }
    meta = {"namespace": namespace, "creationTimestamp": created, "deletionTimestamp": deleted}
    return manifest("MeshFederation", name, _fields(plain, spec), **meta)


def remote_mesh(
    name: str = "west", *, namespace: str = SYSTEM, created: str = "", deleted: str = "", **spec: Any
) -> Manifest:
    """Make a RemoteMesh at one IP, all of whose offers are imported. A field that is ``None`` is left out."""
    plain = {"network": f"{name}-network", "addresses": ["192.0.2.10"], "import": {}}
    meta = {"namespace": namespace, "creationTimestamp": created, "deletionTimestamp": deleted}
    return manifest("RemoteMesh", name, _fields(plain, spec), **meta)


def _fields(plain: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    named = {**plain, **{key.rstrip("_"): value for key, value in given.items()}}
    return {key: value for key, value in named.items() if value is not None}


def federated_service(
    remote: str,
    name: str,
    *,
    ports: Sequence[Mapping[str, Any]] = ({"number": 9080, "name": "http", "protocol": "HTTP"},),
    labels: Mapping[str, str] | None = None,
    first_offered: str = "2026-01-01T00:00:00Z",
    **spec: Any,
) -> Manifest:
    """Make the FederatedService of what ``remote`` offers under ``name``, completed by `host`."""
    offered = host(name)
    plain = {
        "remote": remote,
        "host": offered,
        "ports": ports,
        "labels": labels or {"app": name.partition(".")[0]},
        "firstOffered": first_offered,
    }
    return manifest("FederatedService", record_name(offered, remote), plain | spec)


# --- what is on the wire


def host(name: str, domain: str = "cluster.local") -> str:
    """Complete ``reviews``, of ``default``, or ``reviews.bookinfo`` to a host; leave anything longer as it is."""
    labels = name.split(".")
    if len(labels) > 2:
        return name
    return f"{labels[0]}.{labels[1] if len(labels) == 2 else 'default'}.svc.{domain}"


def offer(name: str, **fields: Any) -> Offer:
    """Make an offer of ``name``, completed by `host`, on port `HTTP` and labelled ``app``; fields replace those."""
    plain = {"ports": (HTTP,), "labels": {"app": name.partition(".")[0]}}
    return Offer(host=host(name), **(plain | fields))
