"""A cluster in memory with a planner that follows it: what should exist, given these objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshfed.api.core import EndpointSlice, Namespace, Pod, Service
from meshfed.api.v1alpha1 import FederatedService, MeshFederation, RemoteMesh
from meshfed.istio.peer_authentications import of_peer_authentication
from meshfed.kube import Manifest
from meshfed.model.meshes import LocalMesh, MeshConfig
from meshfed.plan import ImportKey, Key, Outputs, Planner, Settings, StatusUpdate, meshes
from meshfed.plan.endpoint_slices import is_by_hand, of_slice
from meshfed.plan.foreign_destination_rules import ForeignDestinationRule, of_destination_rule
from meshfed.plan.foreign_service_entries import of_service_entry
from meshfed.plan.workloads import of_entry, of_pod
from tests.builders import mesh_federation, typed

READ: dict[str, Callable[[Manifest], Any]] = {
    "PeerAuthentication": of_peer_authentication,
    "ServiceEntry": of_service_entry,
    "WorkloadEntry": of_entry,
}
"""Kinds that are read as they are, whatever they say."""
TYPES = {
    kind.__name__: kind
    for kind in (EndpointSlice, FederatedService, MeshFederation, Namespace, Pod, RemoteMesh, Service)
}
STAMPED = {"creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1}
"""What an API server adds to the metadata of an object."""


def stored(manifest: Manifest) -> Any:
    """Return a manifest as a watch of the controller shows it: stamped, and decoded to its kind."""
    if manifest["kind"] in READ:
        return READ[manifest["kind"]](manifest)
    return typed(TYPES[manifest["kind"]], manifest | {"metadata": STAMPED | manifest["metadata"]})


def local_mesh(federation: Manifest | None = None) -> LocalMesh:
    """Return this mesh as decisions see it."""
    return meshes.local_mesh(stored(federation or mesh_federation()), Settings(), MeshConfig())


def rule_of_others(host: str, *, created: str = "", **spec: Any) -> ForeignDestinationRule:
    """A DestinationRule of somebody else's, as the controller sees it."""
    return of_destination_rule({"metadata": {"creationTimestamp": created}, "spec": {"host": host, **spec}})


def rooted(root: str, world: World) -> World:
    """A world in which Istio's configuration says which namespace is the root."""
    world.planner.mesh_config_changed(MeshConfig(source="ConfigMap istio-system/istio", root_namespace=root))
    return world


class World:
    """Change it, ``settle``, and look at what there is."""

    def __init__(self, *objects: Manifest, settings: Settings | None = None) -> None:
        self.planner = Planner(settings or Settings())
        self.outputs: dict[Key, Outputs] = {}
        self.put(*objects)

    def put(self, *objects: Manifest) -> World:
        """Create or replace objects."""
        for given in objects:
            self._change(given, stored(given))
        return self

    def remove(self, *objects: Manifest) -> World:
        """Delete objects."""
        for given in objects:
            self._change(given, None)
        return self

    def _change(self, given: Manifest, now: Any) -> None:
        name, namespace = given["metadata"]["name"], given["metadata"].get("namespace", "")
        match given["kind"]:
            case "MeshFederation":
                self.planner.federation_changed(name, now)
            case "RemoteMesh":
                self.planner.remote_changed(name, now)
            case "Namespace":
                self.planner.inputs.namespaces.put(name, now)
            case "Service":
                self.planner.inputs.services.put((namespace, name), now)
            case "Pod":
                self.planner.inputs.workloads.put(("Pod", namespace, name), None if now is None else of_pod(now))
            case "PeerAuthentication":
                self.planner.inputs.peer_authentications.put((namespace, name), now)
            case "EndpointSlice":
                seen = now is not None and is_by_hand(now.metadata.labels)
                self.planner.inputs.slices.put((namespace, name), of_slice(now) if seen else None)
            case "WorkloadEntry":
                self.planner.inputs.workloads.put(("WorkloadEntry", namespace, name), now)
            case "ServiceEntry":
                self.planner.inputs.entries.put((namespace, name), now)
            case "FederatedService":
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
