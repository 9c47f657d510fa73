"""Whether the federation ingress gateway is there, and other meshes can reach it: its Services and its pods.

What is found wrong is only said. Nothing is withheld because of it: the gateway may be on its way, or be reached in a
way that cannot be seen from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from meshfed.api.core import Service
from meshfed.derive import Context, Derived, Graph, Index, Unknown
from meshfed.istio.names import INGRESS_GATEWAY
from meshfed.model.meshes import IngressType, LocalMesh
from meshfed.model.reasons import Condition, ConditionStatus, ConditionType, Reason
from meshfed.model.workloads import Workload
from meshfed.plan.inputs import ClusterInputs, Sort
from meshfed.plan.local_services import Local, LocalServices
from meshfed.plan.values import THIS, Place
from meshfed.plan.workloads import labelled, port_of

PORTS: Final = {IngressType.ISTIO: 2000, IngressType.OPENSHIFT_ROUTER: 1000}
"""Exported ports beyond which a gateway needs hundreds of MB, and seconds for each change; EnvoyFilters cost as much
again.
"""


class Ingress:
    """The gateway of this mesh."""

    def __init__(self, graph: Graph, inputs: ClusterInputs, locals_: LocalServices) -> None:
        self._inputs = inputs
        self._locals = locals_
        self._fronts = Index(graph, "Services in front of", locals_.services, _front, perhaps=lambda _: ())
        self.namespaces = Derived[str, frozenset[str]](graph, "where the gateway is", self._namespaces, keys=[THIS])
        self.listening = Derived[str, tuple[int, ...]](
            graph, "the ports that the gateway may listen on", self._listening, keys=[THIS]
        )
        self._trouble = Derived[str, Condition](graph, "what is wrong with the gateway", self._look, keys=[THIS])

    def _pods(self, context: Context, mesh: LocalMesh) -> frozenset[Sort]:
        """Return what the gateway's selector selects, in any namespace; pods that are alike count as one."""
        return context.members(self._locals.workloads, frozenset(mesh.gateway_selector.items()))

    def _namespaces(self, context: Context, _this: str) -> frozenset[str] | None:
        """Return where the gateway's pods are, or its Services where no pod is known; ``None`` where neither is."""
        mesh = context.get(self._inputs.meshes, THIS)
        if mesh is None:
            return None
        pods = frozenset(namespace for namespace, _ in self._pods(context, mesh))
        return pods or frozenset(namespace for namespace, _ in context.members(self._fronts, THIS)) or None

    def _listening(self, context: Context, _this: str) -> tuple[int, ...] | None:
        """Return the ports on which pods of the gateway may listen, sorted.

        A pod listens where a Service leads the gateway's port, and on that port itself where none does (istiod's
        ``resolvePorts``). Of several Services istiod takes one in no order (``GetProxyServiceTargets``).
        """
        mesh = context.get(self._inputs.meshes, THIS)
        if mesh is None:
            return None
        selecting: list[tuple[Workload, Iterable[Place]]] = [
            (pod, context.members(self._locals.selecting, labelled(namespace, pod.labels)))
            for namespace, pod in self._pods(context, mesh)
        ]
        if not selecting:
            selecting = [(Workload(), context.members(self._fronts, THIS))]
        found = {number for pod, places in selecting for number in self._led_to(context, mesh, pod, places)}
        return tuple(sorted(found))

    def _led_to(self, context: Context, mesh: LocalMesh, pod: Workload, places: Iterable[Place]) -> set[int]:
        """Return the ports of a pod to which Services lead the gateway's port."""
        services = [context.get(self._locals.services, place) for place in places]
        numbers = {
            port_of(pod, port)
            for local in services
            for port in (local.service.ports if local is not None else ())
            if port.number == mesh.gateway_port
        }
        return {number for number in numbers if number} or {mesh.gateway_port}

    def _in_front(self, context: Context, pods: frozenset[Sort]) -> dict[Place, Service]:
        """Return the Services in front of the gateway."""
        places = {*context.members(self._fronts, THIS)}
        for namespace, pod in pods:
            places |= context.members(self._locals.selecting, labelled(namespace, pod.labels))
        found = [(place, context.get(self._inputs.services, place)) for place in sorted(places)]
        return {place: service for place, service in found if service is not None}

    def trouble(self, context: Context, ports: int) -> Condition | None:
        """Return what is wrong with the gateway, or may be; ``ports`` are those that are exported through it."""
        mesh, found = context.get(self._inputs.meshes, THIS), context.known(self._trouble, THIS)
        if isinstance(found, Unknown):
            return _said(Reason.NOT_UNDERSTOOD, found.reason, status="Unknown")
        if mesh is None or found is not None or ports <= PORTS[mesh.ingress_type]:
            return found
        return _said(
            Reason.GATEWAY_CROWDED,
            f"{ports} ports are exported, and beyond {PORTS[mesh.ingress_type]} a gateway needs much memory, and "
            "seconds for each change: export fewer services",
            status="True",
        )

    def _look(self, context: Context, _this: str) -> Condition | None:
        """Return what is wrong with the gateway by itself."""
        mesh = context.get(self._inputs.meshes, THIS)
        if mesh is None:
            return None
        pods = self._pods(context, mesh)
        if context.get(self._inputs.pods_listed, THIS):
            without = _without_pods(mesh, pods)
            if without is not None:
                return without
        if mesh.ingress_type is IngressType.OPENSHIFT_ROUTER:
            place = (mesh.control_plane_namespace, INGRESS_GATEWAY)
            return _unnamed(mesh, place, context.get(self._inputs.services, place))
        return _unreachable(mesh, self._in_front(context, pods))


def _front(_place: Place, local: Local) -> tuple[str, ...]:
    return (THIS,) if local.is_front else ()


def _without_pods(mesh: LocalMesh, pods: frozenset[Sort]) -> Condition | None:
    """Return why nothing of the gateway answers."""
    if not pods:
        return _said(
            Reason.GATEWAY_PODS_MISSING,
            f"no pod has the labels {_labels(mesh)} that `ingress.gateway.selector` asks for: "
            "install the gateway, scale it up, or correct the selector",
        )
    if not any(pod.ready for _, pod in pods):
        return _said(Reason.GATEWAY_PODS_NOT_READY, f"no pod with the labels {_labels(mesh)} is ready")
    return None


def _unnamed(mesh: LocalMesh, place: Place, service: Service | None) -> Condition | None:
    """Return why Routes lead nowhere: they name the gateway's Service, and its port."""
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


def _unreachable(mesh: LocalMesh, services: Mapping[Place, Service]) -> Condition | None:
    """Return why other meshes cannot reach the gateway through any of its Services."""
    if not services:
        return _said(
            Reason.GATEWAY_SERVICE_MISSING,
            f"no Service selects the pods with the labels {_labels(mesh)}, so other meshes cannot reach them",
        )
    fitting = {place: service for place, service in services.items() if mesh.gateway_port in _ports(service)}
    names = ", ".join("/".join(place) for place in fitting or services)
    if not fitting:
        return _said(
            Reason.GATEWAY_PORT_MISSING,
            f"Service {names} has no port {mesh.gateway_port} (`ingress.gateway.portConfig.number`)",
        )
    if any(_has_address(service) for service in fitting.values()):
        return None
    if any(service.spec.type == "LoadBalancer" for service in fitting.values()):
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
