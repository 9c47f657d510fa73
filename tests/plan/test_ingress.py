"""Whether the ingress gateway is there: its Service, its port, its address, its pods, each with a reason of its own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from meshfed.istio.names import INGRESS_GATEWAY
from meshfed.kube import Manifest
from meshfed.model.meshes import IngressType, MeshConfig
from meshfed.plan import ingress
from meshfed.plan.keys import GatewayKey, MeshKey
from meshfed.plan.values import THIS, Applied
from tests.builders import host, mesh_federation, pod, port, service
from tests.world import World

PORT = port(15443, "tls-passthrough")
OTHERS = [port(9080)]
LABELS = {"app": INGRESS_GATEWAY}


def world(*objects: Manifest, pods: bool = True, **spec: Any) -> World:
    """A mesh whose own objects are in place, with what else there is."""
    found = World(mesh_federation(**spec), service("a", exported=True), *objects)
    for key in (MeshKey(), GatewayKey(0)):
        found.planner.applied_changed(key, Applied("applied"))
    if pods:
        found.planner.inputs.pods_listed.put(THIS, value=True)
    return found


def front(name: str = "gateway.ingress", selector: dict[str, str] | None = None, **spec: Any) -> Manifest:
    """A Service in front of the gateway."""
    plain: dict[str, Any] = {"ports": [PORT], "externalIPs": ["192.0.2.1"]}
    return service(name, selector=selector or LABELS, **(plain | spec))


def behind(*, ready: bool = True, **labels: str) -> Manifest:
    return pod("gateway-1.ingress", app=INGRESS_GATEWAY, ready=ready, labels=labels)


def gateway_ready(found: World) -> str:
    return found.conditions("MeshFederation", "east")["GatewayReady"]


def said(found: World) -> str:
    return next(c.message for c in found.statuses["MeshFederation east"].conditions if c.type == "GatewayReady")


BALANCED = {"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}}


def balanced() -> Manifest:
    """A Service that has been given a load balancer."""
    return front(type="LoadBalancer", externalIPs=[]) | {"status": BALANCED}


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        pytest.param([front(), behind()], "True Applied", id="an external IP"),
        pytest.param([balanced(), behind()], "True Applied", id="a load balancer"),
        pytest.param([front(type="NodePort", externalIPs=[]), behind()], "True Applied", id="a node port"),
        pytest.param([front(selector={"x": "y"}), behind(x="y")], "True Applied", id="a Service by another label"),
        pytest.param([front(selector=LABELS | {"x": "y"}), behind()], "True Applied", id="a Service of some pods"),
        pytest.param([front()], "False GatewayPodsMissing", id="no pods"),
        pytest.param([front(), behind(ready=False)], "False GatewayPodsNotReady", id="no pod that is ready"),
        pytest.param([behind()], "False GatewayServiceMissing", id="no Service"),
        pytest.param([front("x.other", {"x": "y"}), behind(x="y")], "False GatewayServiceMissing", id="elsewhere"),
        pytest.param([front(ports=OTHERS), behind()], "False GatewayPortMissing", id="another port"),
        pytest.param(
            [front(type="LoadBalancer", externalIPs=[]), behind()], "False GatewayAddressMissing", id="no address yet"
        ),
        pytest.param([front(externalIPs=[]), behind()], "Unknown GatewayAddressMissing", id="no address at all"),
        pytest.param([front("x.ingress", ports=OTHERS), front(), behind()], "True Applied", id="one of two Services"),
    ],
)
def test_what_is_wrong_with_the_gateway_is_said(objects: list[Manifest], expected: str) -> None:
    found = world(*objects)
    assert gateway_ready(found) == expected
    assert found.gateways == [[host("a")]]
    ready = found.conditions("MeshFederation", "east")["Ready"]
    assert ready == (expected if expected.startswith("False") else "True Ready")
    backwards = world(*reversed(objects))
    assert gateway_ready(backwards) == expected
    for one in objects:
        backwards.remove(one).settle()
    assert gateway_ready(backwards) == "False GatewayPodsMissing"


def test_where_pods_are_not_read_nobody_misses_them() -> None:
    assert gateway_ready(world(front(), pods=False)) == "True Applied"
    assert gateway_ready(world(front(selector={"x": "y"}), pods=False)) == "False GatewayServiceMissing"


def test_routes_lead_to_a_service_and_a_port_by_name() -> None:
    router: dict[str, Any] = {"type": "openshift-router", "gateway": {"selector": LABELS}}
    found = world(front(), behind(), ingress=router)
    assert gateway_ready(found) == "False GatewayServiceMissing"
    named = f"{INGRESS_GATEWAY}.istio-system"
    found.put(front(named, ports=OTHERS, externalIPs=[]))
    assert gateway_ready(found) == "False GatewayPortMissing"
    found.put(front(named, externalIPs=[]))
    assert gateway_ready(found) == "True Applied"


def test_the_gateway_is_looked_for_where_the_mesh_says_it_is() -> None:
    found = world(front(), behind())
    found.put(mesh_federation(ingress={"gateway": {"selector": {"istio": "gw"}}}))
    assert gateway_ready(found) == "False GatewayPodsMissing"
    wanted = "no pod has the labels istio=gw that `ingress.gateway.selector` asks for"
    assert said(found) == f"{wanted}: install the gateway, scale it up, or correct the selector"
    found.put(behind(istio="gw"), front(selector={"istio": "gw"}))
    assert gateway_ready(found) == "True Applied"


def test_a_root_namespace_that_is_not_the_control_planes_is_pointed_out() -> None:
    found = world(front(), behind())

    def ready(root: str) -> str:
        found.planner.mesh_config_changed(MeshConfig(source="ConfigMap istio-system/istio", root_namespace=root))
        condition = next(one for one in found.statuses["MeshFederation east"].conditions if one.type == "Ready")
        return f"{condition.status} {condition.reason}: {condition.message}"

    before = ready("")
    assert before.startswith("True Ready: ")
    assert ready("istio-system") == before
    assert ready("istio-config").startswith(
        before.replace("Ready", "RootNamespaceElsewhere", 1)
        + "; `rootNamespace` in ConfigMap istio-system/istio is istio-config, and `spec.controlPlaneNamespace` is "
        "istio-system: "
    )
    assert ready("") == before


def test_a_gateway_with_too_many_ports_says_so_and_stays_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ingress.PORTS, IngressType.ISTIO, 2)
    found = world(front(), behind())
    found.put(service("b", exported=True))
    assert gateway_ready(found) == "True Applied"
    found.put(service("c", exported=True, ports=[port(9080), port(7000, "grpc")]))
    assert gateway_ready(found) == "True GatewayCrowded"
    assert said(found).startswith("4 ports are exported, and beyond 2 ")
    assert found.conditions("MeshFederation", "east")["Ready"] == "True GatewayCrowded"
    found.remove(service("c", exported=True))
    assert gateway_ready(found) == "True Applied"


@pytest.mark.parametrize("size", [10, 1000])
def test_pods_of_others_are_none_of_its_business(size: int) -> None:
    found = world(front(), behind(), *(service(f"s{number}") for number in range(size)))
    found.settle()
    found.put(pod("x", app="s1"), service("s1", ports=OTHERS))
    assert found.settle() == []
    found.put(behind(ready=False))
    assert Counter(type(key).__name__ for key in found.settle()) == {"MeshStatusKey": 1}
