"""From Pods to the identities that remotes are told, and to what is said of exports that nobody can reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from meshfed.derive import Context
from meshfed.kube import Manifest
from meshfed.model.offers import MAX_IDENTITIES, TLS_MODE
from meshfed.model.reasons import Reason
from meshfed.plan import Applied, ExportKey, MeshStatusKey
from meshfed.plan.endpoint_slices import ByHand, EndpointSlices
from meshfed.plan.values import THIS
from meshfed.plan.workloads import of_entry
from tests.builders import (
    EXPORTED,
    endpoint_slice,
    host,
    mesh_federation,
    pod,
    service,
    service_entry,
    workload_entry,
)
from tests.world import World

ACCOUNT = "spiffe://cluster.local/ns/default/sa/"


def told(world: World, name: str = "a") -> tuple[str, ...]:
    """The identities that are announced for an export."""
    world.settle()
    offers = [outputs.export.offer for outputs in world.outputs.values() if outputs.export is not None]
    return next(offer.identities for offer in offers if offer.host == host(name))


def test_the_accounts_of_the_pods_behind_a_service_are_announced() -> None:
    one, other = pod("a-1", app="a", account="one"), pod("a-2", app="a", account="two")
    world = World(
        mesh_federation(),
        service("a", exported=True),
        one,
        other,
        pod("b-1", app="b"),
        pod("a-1.elsewhere", app="a", account="x"),
    )
    assert told(world) == (ACCOUNT + "one", ACCOUNT + "two")
    assert told(world.remove(one)) == (ACCOUNT + "two",)
    assert told(world.put(pod("a-2", app="b", account="two"))) == ()
    assert told(world.put(service("a", labels=EXPORTED, selector={"app": "b"}))) == (
        ACCOUNT + "default",
        ACCOUNT + "two",
    )
    assert told(world.put(mesh_federation(trustDomain="east.local")))[0] == "spiffe://east.local/ns/default/sa/default"


def test_a_pod_counts_from_when_it_exists_until_it_is_gone() -> None:
    world = World(
        mesh_federation(), service("a", exported=True), pod("a-1", app="a", account="one", phase="Pending", ready=False)
    )
    assert told(world) == (ACCOUNT + "one",)
    world.put(pod("a-1", app="a", account="one", deleted="2026-01-01T00:00:00Z"))
    assert told(world) == (ACCOUNT + "one",)
    assert told(world.put(pod("a-1", app="a", account="one", phase="Succeeded"))) == ()


def test_nobody_is_announced_where_not_everybody_can_be() -> None:
    crowd = [pod(f"a-{number}", app="a", account=f"s{number:02}") for number in range(MAX_IDENTITIES + 1)]
    world = World(mesh_federation(), service("a", exported=True), *crowd)
    assert told(world) == ()
    assert len(told(world.remove(crowd[0]))) == MAX_IDENTITIES
    # A virtual machine: it serves too, and nobody knows as whom.
    in_mesh = {TLS_MODE: "istio"}
    world.put(workload_entry("vm", "a", labels=in_mesh))
    assert told(world) == ()
    world.put(workload_entry("vm", "a", account="s01", labels=in_mesh))
    assert len(told(world)) == MAX_IDENTITIES


@pytest.mark.parametrize(
    ("labels", "spec", "announced"),
    [
        ({}, {"account": "vm"}, True),
        ({TLS_MODE: "istio"}, {"account": "vm"}, True),
        ({TLS_MODE: "disabled"}, {"account": "vm"}, False),
        ({TLS_MODE: ""}, {"account": "vm"}, False),
        ({}, {"account": "vm", "labels_": {"app": "a", TLS_MODE: "disabled"}}, False),
        ({TLS_MODE: "istio"}, {"account": "vm", "labels_": {"app": "a", TLS_MODE: "disabled"}}, True),
        ({"app": "a"}, {"account": "vm", "labels_": {"app": "elsewhere"}}, True),
        ({}, {"account": "vm", "address": ""}, True),
        ({}, {"account": "vm", "address": "2001:db8::7"}, True),
        ({}, {}, False),
    ],
)
def test_a_virtual_machine_with_an_account_is_in_the_mesh(
    labels: dict[str, str], spec: dict[str, Any], announced: bool
) -> None:
    """Unless a label says otherwise, as istiod's ``getTLSModeFromWorkloadEntry`` has it: one of its metadata first."""
    fields = {key.rstrip("_"): value for key, value in spec.items() if key != "labels_"}
    entry = workload_entry("vm", "a", labels=labels, **fields)
    entry["spec"]["labels"] = spec.get("labels_", {"app": "a"})
    world = World(mesh_federation(), service("a", exported=True), entry)
    assert told(world) == ((ACCOUNT + "vm",) if announced else ())
    exports = "True Exporting" if announced else "False NoMeshEndpoints"
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == exports
    world.put(pod("a-1", app="a", account="one"))
    assert told(world) == (ACCOUNT + "one", *((ACCOUNT + "vm",) if announced else ()))


HEALTH_CHECKED = "proxy.istio.io/health-checks-enabled"
HEALTHY: dict[str, Any] = {"conditions": [{"type": "Healthy", "status": "True"}]}
SICK: dict[str, Any] = {"conditions": [{"type": "Healthy", "status": "False"}]}


@pytest.mark.parametrize(
    ("annotation", "status", "ready"),
    [
        ("true", HEALTHY, True),
        ("1", SICK, False),
        ("true", {}, False),
        ("true", {"conditions": "nonsense"}, False),
        ("false", SICK, True),
        ("", SICK, True),
        ("nonsense", SICK, True),
    ],
)
def test_a_virtual_machine_whose_health_is_checked_is_ready_once_that_is_said(
    annotation: str, status: dict[str, Any], ready: bool
) -> None:
    """As istiod's ``isHealthy`` has it. As a pod that is not ready, it is announced, so that it may come back."""
    vm = workload_entry("vm", "a", account="vm")
    vm["metadata"]["annotations"], vm["status"] = {HEALTH_CHECKED: annotation}, status
    world = World(mesh_federation(), service("a", exported=True), vm)
    assert told(world) == (ACCOUNT + "vm",)
    assert of_entry(vm).workload.ready is ready


@pytest.mark.parametrize("address", ["vm.example.com", "unix:///run/app.sock"])
def test_a_virtual_machine_without_an_ip_is_behind_no_service(address: str) -> None:
    world = World(mesh_federation(), service("a", exported=True), workload_entry("vm", "a", address=address))
    assert told(world) == ()
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == "True Exporting"


def test_a_virtual_machine_is_behind_no_headless_service() -> None:
    world = World(mesh_federation(), service("a", exported=True, clusterIP="None"))
    world.put(pod("a-1", app="a", account="one"), workload_entry("vm", "a", account="vm"))
    assert told(world) == (ACCOUNT + "one",)
    assert told(world.put(service("a", exported=True))) == (ACCOUNT + "one", ACCOUNT + "vm")


def test_where_pods_may_not_be_read_virtual_machines_are_not_all_there_may_be() -> None:
    """Their accounts alone would have importers refuse the Pods beside them."""
    machine, bare = workload_entry("vm", "a", account="vm"), workload_entry("other", "b")
    world = World(mesh_federation(), service("a", exported=True), service("b", exported=True), machine, bare)
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == "False NoMeshEndpoints"
    world.planner.inputs.pods_listed.put(THIS, value=False)
    assert (told(world, "a"), told(world, "b")) == ((), ())
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == "True Exporting"
    world.planner.inputs.pods_listed.put(THIS, value=True)
    assert told(world) == (ACCOUNT + "vm",)


@pytest.mark.parametrize("where", ["endpoints", "workloadSelector"])
def test_what_a_service_entry_adds_to_a_service_serves_it_too(where: str) -> None:
    """Where it has the Service's host and is in its namespace."""
    machine = workload_entry("vm", "machine", account="vm")
    spec: dict[str, Any] = {"workloadSelector": {"labels": {"app": "machine"}}}
    if where == "endpoints":
        spec = {"endpoints": [machine["spec"], {"address": "vm.example.com", "serviceAccount": "other"}]}
    elsewhere = service_entry("elsewhere", host("a"), namespace="other", endpoints=[machine["spec"]])
    other = service_entry("another", host("c"), namespace="default", **spec)
    world = World(mesh_federation(), service("a", exported=True), service("b", exported=True), machine)
    world.put(elsewhere, other, pod("a-1", app="a", account="one"))
    assert told(world) == (ACCOUNT + "one",)
    added = service_entry("added", host("a"), namespace="default", **spec)
    assert told(world.put(added)) == (ACCOUNT + "one", ACCOUNT + "vm")
    assert told(world.remove(added)) == (ACCOUNT + "one",)


BY_HAND: dict[str, Any] = {"exported": True, "selector": None}


def test_a_service_without_a_selector_is_served_by_whom_its_endpoint_slices_name() -> None:
    """As who elects a leader does it, which only then is behind the Service."""
    world = World(mesh_federation(), service("db", **BY_HAND), service("other", **BY_HAND))
    world.put(*(pod(f"db-{one}", "db", account=f"db-{one}", address=f"10.0.0.{one}") for one in (1, 2)))
    assert (told(world, "db"), exports_ready(world)[:4]) == ((), "True")
    world.put(endpoint_slice("db-x", "db", "10.0.0.1=db-1"))
    assert told(world, "db") == (ACCOUNT + "db-1",)
    world.put(endpoint_slice("db-x", "db", "10.0.0.2=db-2"))
    assert told(world, "db") == (ACCOUNT + "db-2",)
    world.put(endpoint_slice("db-y", "db", "10.0.0.1=db-1"))
    assert told(world, "db") == (ACCOUNT + "db-1", ACCOUNT + "db-2")
    assert told(world, "other") == ()
    world.remove(pod("db-2"))
    assert told(world, "db") == (ACCOUNT + "db-1",)
    world.remove(endpoint_slice("db-y", "db"))
    assert told(world, "db") == ()


@pytest.mark.parametrize(
    ("slice_", "accounts", "flawed"),
    [
        (endpoint_slice("db-x", "db", "192.0.2.7"), (), True),
        (endpoint_slice("db-x", "db", "192.0.2.7", "10.0.0.1=db-1"), ("db",), False),
        (endpoint_slice("db-x", "db", "10.0.0.1"), ("db",), False),
        (endpoint_slice("db-x", "db", "10.0.0.3"), (), True),
        (endpoint_slice("db-x", "db", "10.0.0.2=bare"), (), True),
        (endpoint_slice("db-x", "db", "10.0.0.9=gone"), (), False),
        (endpoint_slice("db-x", "db", "10.0.0.4=done"), (), False),
        (endpoint_slice("db-x", "db", "10.0.0.1=db-1", pods_in=""), (), False),
        (endpoint_slice("db-x", "db", "10.0.0.3=there", pods_in="elsewhere"), (), False),
        (endpoint_slice("db-x", "db", "db.example.com", address_type="FQDN"), (), False),
        (endpoint_slice("db-x.elsewhere", "db", "192.0.2.7"), (), False),
        (endpoint_slice("db-x", "db", "192.0.2.7", ports={"other": 9080}), (), False),
        (endpoint_slice("db-x", "db", "192.0.2.7") | {"ports": []}, (), False),
        (endpoint_slice("db-x", "db", "192.0.2.7") | {"ports": None}, (), False),
        (endpoint_slice("db-x", "db", "192.0.2.7") | {"ports": [{"name": "http"}]}, (), False),
        (endpoint_slice("db-x", "db", "10.0.0.1=db-1", ports={"other": 1, "http": 9080}), ("db",), False),
        (endpoint_slice("db-x", "db", "192.0.2.7", managed_by="endpointslice-controller.k8s.io"), (), False),
        (endpoint_slice("db-x", "db", "192.0.2.7", managed_by="endpointslicemirroring-controller.k8s.io"), (), True),
        (
            endpoint_slice("db-x", "db", "192.0.2.7", labels={"multicluster.kubernetes.io/service-name": "db"}),
            (),
            False,
        ),
    ],
)
def test_who_is_behind_an_address_istiod_says_in_this_way(
    slice_: Manifest, accounts: tuple[str, ...], flawed: bool
) -> None:
    """A Pod by its name, else by its IP in the slice's namespace; whoever else is there is outside the mesh."""
    world = World(mesh_federation(), service("db", **BY_HAND), slice_)
    world.put(
        pod("db-1", account="db", address="10.0.0.1"),
        pod("bare", sidecar=False, address="10.0.0.2"),
        pod("there.elsewhere", account="there", address="10.0.0.3"),
        pod("done", account="done", address="10.0.0.4", phase="Succeeded"),
    )
    assert told(world, "db") == tuple(ACCOUNT + account for account in accounts)
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == (
        "False NoMeshEndpoints" if flawed else "True Exporting"
    )
    world.planner.inputs.pods_listed.put(THIS, value=False)
    assert told(world, "db") == ()
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == "True Exporting"


@pytest.mark.parametrize("ports", [{"other": 9080}, None])
def test_a_slice_for_no_port_of_the_service_hides_nothing_of_what_another_says(ports: dict[str, int] | None) -> None:
    """istiod finds the endpoints of a port by its name: of this slice there are none."""
    pods = pod("db-1", account="db", address="10.0.0.1")
    elsewhere = endpoint_slice("db-y", "db", "10.0.0.1=db-1") | (
        {"ports": [{"name": name, "port": number} for name, number in (ports or {}).items()]}
    )
    world = World(mesh_federation(), service("db", **BY_HAND), endpoint_slice("db-x", "db", "192.0.2.7"), pods)
    assert (told(world.put(elsewhere), "db"), exports_ready(world)[:5]) == ((), "False")


def test_a_port_without_a_name_is_found_by_that() -> None:
    unnamed = {"ports": [{"port": 9080}]}
    world = World(mesh_federation(), service("db", ports=[{"port": 80}], **BY_HAND))
    world.put(endpoint_slice("db-x", "db", "10.0.0.1=db-1") | unnamed, pod("db-1", account="db"))
    assert told(world, "db") == (ACCOUNT + "db",)


def test_of_other_pods_a_service_without_a_selector_hears_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are many of both, each Pod would have all Services worked out again."""
    world = World(
        mesh_federation(), service("db", **BY_HAND), endpoint_slice("db-x", "db", "10.0.0.1=db-1", "10.0.0.2")
    )
    world.put(pod("db-1", account="db"), *(pod(f"a-{number}", app="a") for number in range(50)))
    world.settle()
    asked: list[tuple[str, str]] = []
    behind = EndpointSlices.behind

    def noted(self: EndpointSlices, context: Context, service: tuple[str, str], ports: set[str]) -> Iterator[ByHand]:
        asked.append(service)
        return behind(self, context, service, ports)

    monkeypatch.setattr(EndpointSlices, "behind", noted)
    world.put(pod("a-1", app="a", address="10.0.0.7"), pod("new", account="new", address="10.0.0.8"))
    world.settle()
    assert asked == []
    world.put(pod("a-1", app="a", address="10.0.0.2"))
    world.settle()
    assert asked == [("default", "db")]


def test_a_service_that_selects_is_served_by_whom_it_selects() -> None:
    world = World(mesh_federation(), service("a", exported=True), pod("a-1", app="a", account="one"))
    assert told(world.put(endpoint_slice("a-x", "a", "192.0.2.7"))) == (ACCOUNT + "one",)
    slice_ = endpoint_slice("a-x", "a", "10.0.0.1=b-1")
    world.put(slice_, pod("b-1", account="b"), service("a", **BY_HAND))
    assert told(world) == (ACCOUNT + "b",)
    assert told(world.put(service("a", exported=True))) == (ACCOUNT + "one",)


def test_of_pods_whose_namespace_has_no_slices_by_hand_nobody_asks_one_by_one() -> None:
    world = World(mesh_federation(), service("db", **BY_HAND), endpoint_slice("db-x", "db", "10.0.0.1=db-1"))
    world.put(*(pod(f"a-{number}.elsewhere", app="a") for number in range(50)), pod("db-1"))
    world.settle()
    assert world.planner.inputs.workloads_in.known_keys() == ["default"]
    world.put(pod("a-1.elsewhere", app="a", address="10.0.0.7"))
    assert world.planner._graph.is_fresh
    world.remove(endpoint_slice("db-x", "db"))
    world.settle()
    assert world.planner.inputs.workloads_in.size == 0


def test_an_export_that_no_sidecar_serves_is_pointed_out_and_stays() -> None:
    bare = pod("a-1", app="a", sidecar=False)
    world = World(mesh_federation(), service("a", exported=True), service("b", exported=True), bare)
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == "False NoMeshEndpoints"
    (said,) = (c.message for c in world.statuses["MeshFederation east"].conditions if c.type == "ExportsReady")
    assert said.startswith("no endpoint of default/a has a sidecar")
    assert world.gateways == [[host("a"), host("b")]]
    assert told(world) == ()
    world.put(pod("a-2", app="a"))
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == "True Exporting"
    world.remove(pod("a-2", app="a"), bare)
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == "True Exporting"


EXPORT_TO = "networking.istio.io/exportTo"


def exports_ready(world: World) -> str:
    (found,) = (c for c in world.statuses["MeshFederation east"].conditions if c.type == "ExportsReady")
    return f"{found.status} {found.reason}: {found.message}"


@pytest.mark.parametrize(
    ("export_to", "hidden"),
    [
        ("", False),
        ("*", False),
        ("istio-system", False),
        ("shop, istio-system", False),
        (".", True),
        ("default,shop", True),
        ("~", True),
        ("istio-system,~", True),
    ],
)
def test_an_export_that_the_gateway_does_not_see_is_pointed_out_and_stays(export_to: str, hidden: bool) -> None:
    world = World(
        mesh_federation(), service("a", exported=True, annotations={EXPORT_TO: export_to}), service("b", exported=True)
    )
    assert world.gateways == [[host("a"), host("b")]]
    assert exports_ready(world) == (
        f"False HiddenFromGateway: annotation {EXPORT_TO} hides default/a from the gateway in namespace istio-system, "
        "which passes no calls on to what it does not see: name that namespace there too, or do not export them"
        if hidden
        else "True Exporting: 2 services exported: default/a, default/b"
    )
    decision = world.outputs[ExportKey("default", "a")].export_decision
    assert decision is not None
    assert (f"annotation {EXPORT_TO} of Service default/a hides it from the gateway" in decision.message) is hidden
    world.put(service("a", exported=True))
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == "True Exporting"


def test_all_that_keeps_exports_from_being_reached_is_said_at_once() -> None:
    world = World(
        mesh_federation(ingress={"type": "openshift-router", "gateway": {"selector": {"app": "gateway"}}}),
        service("a", exported=True, annotations={EXPORT_TO: "."}),
        service("b", exported=True),
        service("c", exported=True, type="ExternalName"),
        service("n" * 60, exported=True),
        pod("b-1", app="b", sidecar=False),
    )
    said = exports_ready(world)
    assert said.startswith("False NameTooLong: the OpenShift router cannot serve")
    router, bare, hidden = (
        "the OpenShift router cannot",
        "no endpoint of default/b has a sidecar",
        f"annotation {EXPORT_TO} hides default/a",
    )
    places = [said.index(part) for part in (router, bare, hidden, "1 left out as ExternalName: default/c")]
    assert places == sorted(places)
    assert "left out as NoMeshEndpoints" not in said
    failed = Applied("failed", reason=Reason.WRITE_FAILED, message="it is down")
    world.planner.applied_changed(ExportKey("default", "b"), failed)
    said = exports_ready(world)
    assert said.startswith(f"False WriteFailed: objects of default/b are not in place: it is down; {router}")
    assert bare in said
    assert hidden in said
    world.put(service("n" * 60), service("a"), service("b"))
    world.planner.applied_changed(ExportKey("default", "b"), None)
    assert exports_ready(world).startswith(
        "True NothingExported: nothing is exported: no Service matches `export`; 1 left"
    )


def test_where_the_gateway_is_its_pods_say_then_its_services() -> None:
    labels = {"app": "federation-ingress-gateway"}
    world = World(
        mesh_federation(), service("a", exported=True, annotations={EXPORT_TO: "ingress"}), service("b", exported=True)
    )
    here, there = (pod(f"gateway.{space}", labels=labels) for space in ("ingress", "elsewhere"))
    front = service("gateway.ingress", selector=labels)

    def hidden() -> bool:
        return "HiddenFromGateway" in exports_ready(world)

    assert hidden()
    world.put(there)
    assert "from the gateway in namespace elsewhere," in exports_ready(world)
    world.put(here)
    assert not hidden()
    world.remove(here, there)
    assert hidden()
    world.put(front)
    assert not hidden()
    world.put(there)
    assert hidden()
    world.put(mesh_federation(ingress={"gateway": {"selector": {"app": "other"}}}, controlPlaneNamespace="ingress"))
    assert not hidden()


@pytest.mark.parametrize("size", [10, 1000])
def test_a_moved_gateway_asks_only_about_services_that_not_everybody_sees(size: int) -> None:
    world = World(mesh_federation(), service("a", exported=True, annotations={EXPORT_TO: "ingress"}))
    world.put(*(service(f"s{number}", exported=True) for number in range(size)))
    world.settle()
    world.put(pod("gateway.ingress", app="federation-ingress-gateway"))
    assert world.settle() == [ExportKey("default", "a"), MeshStatusKey()]


@pytest.mark.parametrize("size", [10, 1000])
def test_a_pod_costs_the_same_in_a_small_world_and_in_a_large_one(size: int) -> None:
    world = World(mesh_federation(), *(service(f"s{number}", exported=True) for number in range(size)))
    world.put(*(pod(f"p{number}", app=f"s{number}", account="x") for number in range(size)))
    world.settle()
    for alike in (pod("new", app="s1", account="x"), pod("new", app="s1", account="x", ready=False)):
        world.put(alike)
        assert world.settle() == []
    world.put(pod("new", app="s1", account="y"))
    assert Counter(type(key).__name__ for key in world.settle()) == {"ExportKey": 1}


def test_of_a_thousand_pods_that_are_alike_one_more_or_less_works_nothing_out() -> None:
    world = World(mesh_federation(), service("a", exported=True))
    world.put(*(pod(f"a-{number}", app="a") for number in range(1000)))
    world.settle()
    for changed in (world.remove(pod("a-1")), world.put(pod("a-1", app="a"), pod("a-1000", app="a"))):
        assert changed.planner._graph.is_fresh
    world.remove(*(pod(f"a-{number}") for number in range(1000)))
    assert told(world) == (ACCOUNT + "default",)
    assert told(world.remove(pod("a-1000"))) == ()
