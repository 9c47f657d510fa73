"""The Services of this mesh as imports see them: which host each has, and who else would take its endpoints.

A WorkloadEntry carries the labels of the Service that it joins, so whatever selects those takes it too: another Service
of the namespace, or a ServiceEntry with a ``workloadSelector``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshfed.api.core import Service
from meshfed.model.imports import LocalService
from meshfed.model.meshes import LocalMesh
from meshfed.model.names import ServiceHost
from meshfed.plan import meshes
from meshfed.plan.selecting import WORKLOAD, Selectors

Place = tuple[str, str]


class LocalServices:
    """The Services of this mesh.

    ``changed`` is called with a Service when something that decides how remote endpoints join it is another.
    """

    def __init__(self, services: Mapping[Place, Service], changed: Callable[[Place], None]) -> None:
        self._services = services
        self._changed = changed
        self._mesh: LocalMesh | None = None
        self._locals: dict[Place, LocalService] = {}
        self.selectors = Selectors()
        """What Services select."""
        self._entries = Selectors()
        """What ServiceEntries select."""

    def configure(self, mesh: LocalMesh | None) -> None:
        """Take in this mesh; whoever does that asks about every Service anyway."""
        self._mesh = mesh
        self._locals.clear()
        if mesh is not None:
            for place, service in self._services.items():
                self._locals[place] = meshes.local_service(service, mesh.cluster_domain)

    def service_changed(self, place: Place) -> None:
        """Take note of a change to a Service: its own host, and those whose endpoints it would take too."""
        namespace, name = place
        service = self._services.get(place)
        before = self._locals.pop(place, None)
        after = None
        if service is not None and self._mesh is not None:
            after = self._locals[place] = meshes.local_service(service, self._mesh.cluster_domain)
        affected = self._select(self.selectors, namespace, name, _selector(service))
        if before != after:
            affected.add(name)
        for changed in affected:
            self._changed((namespace, changed))

    def service_entry_changed(self, namespace: str, name: str, selector: Mapping[str, str]) -> None:
        """Take in what a ServiceEntry selects; nothing where it is gone, or has endpoints of its own."""
        for changed in self._select(self._entries, namespace, name, selector):
            self._changed((namespace, changed))

    def _select(self, among: Selectors, namespace: str, name: str, selector: Mapping[str, str]) -> set[str]:
        """Take in a selector, and return the Services whose endpoints it selected or now selects."""
        before = among.of(namespace, name)
        if selector == before:
            return set()
        affected = set(self.selectors.selected_by(namespace, before))
        among.change(namespace, name, selector)
        return affected | set(self.selectors.selected_by(namespace, selector))

    def of_host(self, host: str) -> LocalService | None:
        """Return the Service that has ``host``."""
        service = ServiceHost.parse(host, self._mesh.cluster_domain) if self._mesh is not None else None
        return self._locals.get((service.namespace, service.name)) if service is not None else None

    def host(self, place: Place) -> str:
        """Return the host that a Service has or would have; empty where there is no mesh."""
        if self._mesh is None:
            return ""
        return ServiceHost(name=place[1], namespace=place[0], domain=self._mesh.cluster_domain).fqdn

    def shared_with(self, place: Place) -> str:
        """Return who else would take the endpoints that join a Service, in words; empty where nobody would."""
        namespace, name = place
        labels = {**self.selectors.of(namespace, name), **WORKLOAD}
        services = [f"Service {other}" for other in self.selectors.selecting(namespace, labels) if other != name]
        entries = [f"ServiceEntry {other}" for other in self._entries.selecting(namespace, labels)]
        return min(services, default="") or min(entries, default="")


def _selector(service: Service | None) -> Mapping[str, str]:
    if service is None or service.spec.type == "ExternalName":
        return {}
    return service.spec.selector or {}
