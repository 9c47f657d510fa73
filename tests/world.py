"""A small language for the objects that tests speak of, so that a test reads as a specification.

``service("reviews", labels=EXPORTED)``, ``remote("west", import_={})``, ``offer("west", "ratings.bookinfo")``: every
part that a test does not speak of has a plain value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from meshfed.api.core import Namespace, Pod, Service
from meshfed.api.v1alpha1 import FederatedService, MeshFederation, RemoteMesh
from meshfed.federation.imports import record_name
from meshfed.model.meshes import LocalMesh
from meshfed.model.offers import TLS_MODE
from meshfed.plan import ImportKey, Key, Outputs, Planner, Settings, StatusUpdate, meshes
from meshfed.plan.workloads import of_pod

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


def _meta(name: str, created: str, deleted: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": CONTROL_PLANE, "creationTimestamp": created, "generation": 1}
    return meta | ({"deletionTimestamp": deleted} if deleted else {})


def mesh(
    name: str = "east", *, created: str = "2026-01-01T00:00:00Z", deleted: str = "", **spec: Any
) -> MeshFederation:
    """Make a MeshFederation that exports what is labelled ``EXPORTED``; ``spec`` in the API's own words."""
    meta = _meta(name, created, deleted)
    plain = {
        "network": f"{name}-network",
        "ingress": {"gateway": {"selector": {"app": "federation-ingress-gateway"}}},
        "export": {"serviceSelectors": {"matchLabels": EXPORTED}},
    }
    return msgspec.convert({"metadata": meta, "spec": plain | spec}, MeshFederation)


def remote(name: str = "west", *, created: str = "2026-01-01T00:00:00Z", deleted: str = "", **spec: Any) -> RemoteMesh:
    """Make a RemoteMesh at one IP with ``import: {}``; ``spec`` in the API's own words."""
    meta = _meta(name, created, deleted)
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
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Service:
    """Make a Service, ``reviews`` or ``reviews.bookinfo``, whose pods are labelled ``app: <name>``."""
    short, _, space = name.partition(".")
    meta = {
        "name": short,
        "namespace": space or "default",
        "labels": {"app": short, **(labels or {})},
        "annotations": annotations or {},
        "creationTimestamp": created,
    }
    body = {"clusterIP": "10.0.0.1", "selector": {"app": short} if selector is None else selector, "ports": ports}
    return msgspec.convert({"metadata": meta, "spec": body | spec}, Service)


def pod(
    name: str,
    *,
    app: str = "",
    account: str = "",
    sidecar: bool = True,
    labels: Mapping[str, str] | None = None,
    phase: str = "Running",
    ready: bool = True,
    deleted: str = "",
) -> Pod:
    """Make a Pod, ``reviews`` or ``reviews.bookinfo``, of ``app``, or its own name."""
    short, _, space = name.partition(".")
    meta = {
        "name": short,
        "namespace": space or "default",
        "labels": {"app": app or short, **({TLS_MODE: "istio"} if sidecar else {}), **(labels or {})},
        "deletionTimestamp": deleted,
    }
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]}
    return msgspec.convert({"metadata": meta, "spec": {"serviceAccountName": account}, "status": status}, Pod)


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


Object = MeshFederation | RemoteMesh | Namespace | Service | FederatedService | Pod


class World:
    """A cluster in memory with a planner that follows it: change it, ``settle``, and look at what there is."""

    def __init__(self, *objects: Object) -> None:
        self.planner = Planner(Settings())
        self.outputs: dict[Key, Outputs] = {}
        self.put(*objects)

    def put(self, *objects: Object) -> World:
        """Create or replace objects."""
        for given in objects:
            self._change(given, given)
        return self

    def remove(self, *objects: Object) -> World:
        """Delete objects."""
        for given in objects:
            self._change(given, None)
        return self

    def _change(self, given: Object, now: Any) -> None:
        name = given.metadata.name
        match given:
            case MeshFederation():
                self.planner.federation_changed(name, now)
            case RemoteMesh():
                self.planner.remote_changed(name, now)
            case Namespace():
                self.planner.namespace_changed(name, now)
            case Service():
                self.planner.service_changed(given.metadata.namespace, name, now)
            case Pod():
                workload = None if now is None else of_pod(now)
                self.planner.workload_changed("Pod", given.metadata.namespace, name, workload)
            case FederatedService():
                self.planner.offer_changed(name, now)

    def settle(self) -> list[Key]:
        """Work until nothing is left to do; returns every key as often as it was worked out."""
        worked: list[Key] = []
        while turn := self.planner.take_dirty():
            for key in turn.keys:
                outputs = self.planner.reconcile(key)
                assert outputs is not None, f"{key} is unknown"
                self.outputs[key] = outputs
                worked.append(key)
        return worked

    @property
    def manifests(self) -> dict[str, dict[str, Any]]:
        """What should exist, as ``Kind namespace/name`` and spec."""
        self.settle()
        return {
            f"{m['kind']} {m['metadata']['namespace']}/{m['metadata']['name']}": m["spec"]
            for outputs in self.outputs.values()
            for m in outputs.objects
        }

    @property
    def carriers(self) -> list[str]:
        """What should exist for the sake of imports."""
        self.settle()
        return sorted(
            f"{m['kind']} {m['metadata']['namespace']}/{m['metadata']['name']}"
            for key, outputs in self.outputs.items()
            if isinstance(key, ImportKey)
            for m in outputs.objects
        )

    @property
    def gateways(self) -> list[list[str]]:
        """The hosts of every Gateway, but for the discovery service's."""
        return [
            [host for host in spec["servers"][0]["hosts"] if not host.startswith("federation-discovery-service-")]
            for name, spec in sorted(self.manifests.items())
            if name.startswith("Gateway ")
        ]

    @property
    def published(self) -> dict[str, frozenset[str] | None]:
        """What is offered to remotes, and to which."""
        self.settle()
        return {
            outputs.export.offer.host: outputs.export.audience
            for outputs in self.outputs.values()
            if outputs.export is not None
        }

    @property
    def statuses(self) -> dict[str, StatusUpdate]:
        """The statuses, by ``Kind name``."""
        self.settle()
        return {f"{s.kind} {s.name}": s for outputs in self.outputs.values() for s in outputs.statuses}

    def conditions(self, kind: str, name: str) -> dict[str, str]:
        """The conditions of an object as ``type``: ``status reason``."""
        return {str(c.type): f"{c.status} {c.reason}" for c in self.statuses[f"{kind} {name}"].conditions}

    def accepted(self) -> dict[str, str]:
        """Why each offer is accepted or not, by its FederatedService."""
        return {
            status.name: str(status.conditions[0].reason)
            for status in self.statuses.values()
            if status.kind == "FederatedService"
        }
