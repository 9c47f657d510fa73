"""Eyes on a mesh: what its API server holds, as it changes, and when each change was seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from meshfed.api.meta import ObjectMeta
from meshfed.kube import Client, Reflector, Resource, Store

RESOURCES: Final = {
    resource.kind: resource
    for resource in (
        Resource("", "v1", "services", "Service"),
        Resource("networking.istio.io", "v1", "gateways", "Gateway"),
        Resource("networking.istio.io", "v1", "serviceentries", "ServiceEntry"),
        Resource("networking.istio.io", "v1", "workloadentries", "WorkloadEntry"),
        Resource("federation.openshift-service-mesh.io", "v1alpha1", "remotemeshes", "RemoteMesh"),
        Resource("federation.openshift-service-mesh.io", "v1alpha1", "federatedservices", "FederatedService"),
    )
}


class Seen(msgspec.Struct, frozen=True):
    """Any object, as it was last seen."""

    metadata: ObjectMeta
    spec: dict[str, Any] = {}
    status: dict[str, Any] = {}


class Change(msgspec.Struct, frozen=True):
    """One change: when (the event loop's seconds), of what, and whether it was a deletion."""

    at: float
    kind: str
    name: str
    uid: str
    deleted: bool


class Observer:
    """Watches one mesh's API server. ``changed`` is called after every change, in any mesh."""

    def __init__(self, client: Client, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._stores: dict[str, Store[Seen]] = {kind: Store() for kind in RESOURCES}
        self._reflectors = [
            Reflector(client, resource, Seen, self._stores[kind]) for kind, resource in RESOURCES.items()
        ]
        self.history: list[Change] = []

    async def run(self) -> None:
        """Watch until cancelled."""
        for kind, store in self._stores.items():
            store.subscribe(lambda key, old, new, kind=kind: self._note(kind, old, new))  # type: ignore[misc]
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())

    async def synced(self) -> None:
        """Wait until everything was seen once."""
        for store in self._stores.values():
            await store.wait_synced()

    def _note(self, kind: str, old: Seen | None, new: Seen | None) -> None:
        seen = new or old
        if seen is not None:
            now = asyncio.get_running_loop().time()
            self.history.append(Change(now, kind, seen.metadata.name, seen.metadata.uid, deleted=new is None))
            self._changed()

    def last_change(self, kind: str, name: str) -> float:
        """When an object was last seen to change; 0 where it never was."""
        return max((one.at for one in self.history if one.kind == kind and one.name == name), default=0.0)

    def all(self, kind: str) -> list[Seen]:
        """Every object of a kind, by name."""
        return sorted((seen for _, seen in self._stores[kind].items()), key=lambda seen: seen.metadata.name)

    # --- what the demo asks of a mesh

    def exported(self) -> set[str]:
        """The hosts on the federation ingress gateway, without the discovery service's own."""
        hosts = {
            host
            for gateway in self.all("Gateway")
            for server in gateway.spec.get("servers", [])
            for host in server.get("hosts", [])
        }
        return {host for host in hosts if not host.startswith("federation-discovery-service-")}

    def service_entry(self, host: str) -> Seen | None:
        """The ServiceEntry of a host."""
        return next((seen for seen in self.all("ServiceEntry") if host in seen.spec.get("hosts", [])), None)

    def imported_hosts(self) -> set[str]:
        """The hosts that have a ServiceEntry, without the discovery services'."""
        hosts = {host for seen in self.all("ServiceEntry") for host in seen.spec.get("hosts", [])}
        return {host for host in hosts if not host.startswith("federation-discovery-service-")}

    def workload_entries(self, **labels: str) -> list[Seen]:
        """The WorkloadEntries whose endpoints carry ``labels``."""
        return [
            seen for seen in self.all("WorkloadEntry") if labels.items() <= dict(seen.spec.get("labels") or {}).items()
        ]

    def condition(self, kind: str, name: str, condition: str) -> str:
        """The status of a condition, or ``Unknown``."""
        for seen in self.all(kind):
            if seen.metadata.name == name:
                for one in seen.status.get("conditions", []):
                    if one.get("type") == condition:
                        return str(one.get("status"))
        return "Unknown"

    def summary(self) -> str:
        """What it exports, what it imports and how it stands with its remotes, in one line."""
        conditions = [
            f"{seen.metadata.name} {one.get('type')}={one.get('status')} ({one.get('reason')})"
            for seen in self.all("RemoteMesh")
            for one in seen.status.get("conditions", [])
            if one.get("type") in {"Connected", "Synced"}
        ]
        entries = [seen.metadata.name for seen in self.all("WorkloadEntry")]
        parts = {
            "exports": sorted(self.exported()),
            "has ServiceEntries for": sorted(self.imported_hosts()),
            "WorkloadEntries": entries,
            "RemoteMesh": conditions,
        }
        return ", ".join(f"{what} {' and '.join(found) or 'nothing'}" for what, found in parts.items())
