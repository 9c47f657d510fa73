"""Whether the federation ingress gateway is there, and other meshes can reach it: its Services and its pods.

What is found wrong is only said. Nothing is withheld because of it: the gateway may be on its way, or be reached in a
way that cannot be seen from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from meshfed.api.core import Service
from meshfed.istio.names import INGRESS_GATEWAY
from meshfed.model.meshes import IngressType, LocalMesh
from meshfed.model.reasons import Condition, ConditionStatus, ConditionType, Reason
from meshfed.model.workloads import Workload
from meshfed.plan.selecting import Selectors

Place = tuple[str, str]

PORTS: Final = {IngressType.ISTIO: 2000, IngressType.OPENSHIFT_ROUTER: 1000}
"""Exported ports beyond which a gateway needs hundreds of MB, and seconds for each change; EnvoyFilters cost as much
again.
"""


class Ingress:
    """The gateway of this mesh. ``changed`` is called when anything about it is another."""

    def __init__(self, services: Mapping[Place, Service], selectors: Selectors, changed: Callable[[], None]) -> None:
        self._services = services
        self._selectors = selectors
        self._changed = changed
        self._mesh: LocalMesh | None = None
        self._pods_known = False
        self._pods: set[tuple[str, Workload]] = set()
        """What the gateway's selector selects, by namespace; pods that are alike count as one."""
        self._fronts: set[Place] = set()
        """Services whose selector alone says that they are in front of it."""

    def configure(self, mesh: LocalMesh | None, workloads: Iterator[tuple[str, Workload]]) -> None:
        """Take in this mesh; a change of the gateway's selector asks about every Service and ``workloads``, once."""
        before, self._mesh = self._mesh, mesh
        if mesh is None or (before is not None and before.gateway_selector == mesh.gateway_selector):
            return
        self._pods = {(namespace, one) for namespace, one in workloads if one.has(mesh.gateway_selector)}
        self._fronts = {place for place in self._services if self._is_front(place)}

    def pods_listed(self) -> None:
        """Take note that all Pods are known, so that none means none."""
        if not self._pods_known:
            self._pods_known = True
            self._changed()

    def workload_changed(self, namespace: str, workload: Workload, *, there: bool) -> None:
        """Take note that the first workload of its like came, or the last one went."""
        if self._mesh is not None and workload.has(self._mesh.gateway_selector):
            (self._pods.add if there else self._pods.discard)((namespace, workload))
            self._changed()

    def service_changed(self, place: Place) -> None:
        """Take note of a change to a Service, which `services` and `selectors` hold already."""
        known = place in self._fronts
        if self._is_front(place):
            self._fronts.add(place)
        else:
            self._fronts.discard(place)
        if known or place in self._fronts or place == self._named_by_routes() or self._selects_pods(place):
            self._changed()

    def _is_front(self, place: Place) -> bool:
        selector = self._selectors.of(*place).items()
        if not selector or self._mesh is None:
            return False
        wanted = self._mesh.gateway_selector.items()
        return selector <= wanted or wanted <= selector

    def _selects_pods(self, place: Place) -> bool:
        selector = self._selectors.of(*place)
        return bool(selector) and any(space == place[0] and pod.has(selector) for space, pod in self._pods)

    def _named_by_routes(self) -> Place | None:
        return (self._mesh.control_plane_namespace, INGRESS_GATEWAY) if self._mesh is not None else None

    @property
    def namespaces(self) -> frozenset[str]:
        """Where the gateway's pods are, or its Services where no pod is known; empty where neither is."""
        return frozenset(namespace for namespace, _ in self._pods or self._fronts)

    # --- for the status ---------------------------------------------------------------------------

    def trouble(self, ports: int) -> Condition | None:
        """Return what is wrong with the gateway, or may be; ``ports`` are those that are exported through it."""
        mesh = self._mesh
        if mesh is None:
            return None
        found = self._without_pods(mesh)
        if found is None:
            by_router = mesh.ingress_type is IngressType.OPENSHIFT_ROUTER
            found = self._unnamed(mesh) if by_router else self._unreachable(mesh)
        if found is None and ports > PORTS[mesh.ingress_type]:
            found = _said(
                Reason.GATEWAY_CROWDED,
                f"{ports} ports are exported, and beyond {PORTS[mesh.ingress_type]} a gateway needs much memory, and "
                "seconds for each change: export fewer services",
                status="True",
            )
        return found

    def _without_pods(self, mesh: LocalMesh) -> Condition | None:
        if not self._pods_known:
            return None
        if not self._pods:
            return _said(
                Reason.GATEWAY_PODS_MISSING,
                f"no pod has the labels {_labels(mesh)} that `ingress.gateway.selector` asks for: "
                "install the gateway, or correct the selector",
            )
        if not any(pod.ready for _, pod in self._pods):
            return _said(Reason.GATEWAY_PODS_NOT_READY, f"no pod with the labels {_labels(mesh)} is ready")
        return None

    def _unnamed(self, mesh: LocalMesh) -> Condition | None:
        """Return why Routes lead nowhere: they name the gateway's Service, and its port."""
        place = (mesh.control_plane_namespace, INGRESS_GATEWAY)
        service = self._services.get(place)
        if service is None:
            return _said(
                Reason.GATEWAY_SERVICE_MISSING,
                f"there is no Service {'/'.join(place)}, to which the Routes lead: call the gateway's Service so",
            )
        if not any(port.name == mesh.gateway_port_name for port in service.spec.ports):
            return _said(
                Reason.GATEWAY_PORT_MISSING,
                f"Service {'/'.join(place)} has no port called {mesh.gateway_port_name} "
                "(`ingress.gateway.portConfig.name`), to which the Routes lead",
            )
        return None

    def _unreachable(self, mesh: LocalMesh) -> Condition | None:
        """Return why other meshes cannot reach the gateway through any of its Services."""
        behind = {
            (space, name) for space, pod in self._pods for name in self._selectors.selecting(space, dict(pod.labels))
        }
        places = sorted(self._fronts | behind)
        if not places:
            return _said(
                Reason.GATEWAY_SERVICE_MISSING,
                f"no Service selects the pods with the labels {_labels(mesh)}, so other meshes cannot reach them",
            )
        fitting = [place for place in places if mesh.gateway_port in _ports(self._services[place])]
        names = ", ".join("/".join(place) for place in fitting or places)
        if not fitting:
            return _said(
                Reason.GATEWAY_PORT_MISSING,
                f"Service {names} has no port {mesh.gateway_port} (`ingress.gateway.portConfig.number`)",
            )
        services = [self._services[place] for place in fitting]
        if any(_has_address(service) for service in services):
            return None
        if any(service.spec.type == "LoadBalancer" for service in services):
            return _said(Reason.GATEWAY_ADDRESS_MISSING, f"Service {names} waits for the address of its load balancer")
        return _said(
            Reason.GATEWAY_ADDRESS_MISSING,
            f"Service {names} has no address outside the cluster: it is neither a LoadBalancer nor a NodePort and has "
            "no externalIPs. Something else may lead there, which cannot be seen from here",
            status="Unknown",
        )


def _said(reason: Reason, message: str, *, status: ConditionStatus = "False") -> Condition:
    return Condition(type=ConditionType.GATEWAY_READY, status=status, reason=reason, message=message)


def _ports(service: Service) -> set[int]:
    return {port.port for port in service.spec.ports if port.protocol == "TCP"}


def _has_address(service: Service) -> bool:
    return bool(service.spec.external_ips or service.status.load_balancer.ingress) or service.spec.type == "NodePort"


def _labels(mesh: LocalMesh) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(mesh.gateway_selector.items()))
