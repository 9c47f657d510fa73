"""A small language for the objects that tests speak of, so that a test reads as a specification.

``service("reviews", labels=EXPORTED)``, ``remote("west", import_={})``, ``offer("west", "ratings.bookinfo")``: every
part that a test does not speak of has a plain value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from meshfed.api.core import Namespace, Service
from meshfed.api.v1alpha1 import FederatedService, MeshFederation, RemoteMesh
from meshfed.federation.imports import record_name
from meshfed.model.meshes import LocalMesh
from meshfed.plan import Settings, meshes

T = TypeVar("T")

CONTROL_PLANE = "istio-system"
EXPORTED = {"export-service": "true"}
"""The label that `mesh()` exports by."""
HTTP = {"name": "http", "port": 9080}


def host(name: str, domain: str = "cluster.local") -> str:
    """Complete ``reviews`` or ``reviews.bookinfo`` to a Service's host; leave anything longer as it is."""
    labels = name.split(".")
    if len(labels) > 2:
        return name
    namespace = labels[1] if len(labels) == 2 else "default"
    return f"{labels[0]}.{namespace}.svc.{domain}"


def mesh(name: str = "east", *, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> MeshFederation:
    """Make a MeshFederation that exports what is labelled ``EXPORTED``; ``spec`` in the API's own words."""
    meta = {"name": name, "namespace": CONTROL_PLANE, "creationTimestamp": created, "generation": 1}
    plain = {
        "network": f"{name}-network",
        "ingress": {"gateway": {"selector": {"app": "federation-ingress-gateway"}}},
        "export": {"serviceSelectors": {"matchLabels": EXPORTED}},
    }
    return msgspec.convert({"metadata": meta, "spec": plain | spec}, MeshFederation)


def remote(name: str = "west", *, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> RemoteMesh:
    """Make a RemoteMesh at one IP, with a trust domain of its own and ``import: {}``."""
    meta = {"name": name, "namespace": CONTROL_PLANE, "creationTimestamp": created, "generation": 1}
    plain = {"network": f"{name}-network", "addresses": ["192.0.2.10"], "import": {}}
    spec = {key.rstrip("_"): value for key, value in spec.items()}
    return msgspec.convert({"metadata": meta, "spec": plain | spec}, RemoteMesh)


def namespace(name: str, **labels: str) -> Namespace:
    """Make a Namespace."""
    return msgspec.convert({"metadata": {"name": name, "labels": labels}}, Namespace)


def service(
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    selector: Mapping[str, str] | None = None,
    ports: Sequence[Mapping[str, Any]] = (HTTP,),
    created: str = "2026-01-01T00:00:00Z",
    **spec: Any,
) -> Service:
    """Make a Service, ``reviews`` or ``reviews.bookinfo``, whose pods are labelled ``app: <name>``."""
    short, _, space = name.partition(".")
    meta = {
        "name": short,
        "namespace": space or "default",
        "labels": {"app": short, **(labels or {})},
        "creationTimestamp": created,
    }
    body = {"clusterIP": "10.0.0.1", "selector": {"app": short} if selector is None else selector, "ports": ports}
    return msgspec.convert({"metadata": meta, "spec": body | spec}, Service)


def exported(name: str, **parts: Any) -> Service:
    """Make a Service that `mesh()` exports."""
    return service(name, labels={**EXPORTED, **parts.pop("labels", {})}, **parts)


def offer(
    by: str,
    name: str,
    *,
    ports: Sequence[Mapping[str, Any]] = ({"number": 9080, "name": "http", "protocol": "HTTP"},),
    labels: Mapping[str, str] | None = None,
    first_offered: str = "2026-01-01T00:00:00Z",
    **spec: Any,
) -> FederatedService:
    """Make the FederatedService of what remote ``by`` offers under ``name`` (completed by `host`)."""
    offered = host(name)
    meta = {"name": record_name(offered, by), "namespace": CONTROL_PLANE, "generation": 1}
    body = {
        "remote": by,
        "host": offered,
        "ports": ports,
        "labels": labels or {"app": name.partition(".")[0]},
        "firstOffered": first_offered,
    }
    return msgspec.convert({"metadata": meta, "spec": body | spec}, FederatedService)


def local(federation: MeshFederation | None = None) -> LocalMesh:
    """Return this mesh as decisions see it."""
    return meshes.local_mesh(federation or mesh(), Settings())


def convert(kind: type[T], plain: object) -> T:
    """Make a value of the API from what a person would write."""
    return msgspec.convert(plain, kind)
