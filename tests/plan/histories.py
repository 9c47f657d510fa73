"""What may happen to a cluster: objects of every kind that the plan goes by, and what befalls them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from meshfed.istio.peer_authentications import PeerAuthentication
from meshfed.kube import Manifest
from meshfed.model.offers import TLS_MODE
from meshfed.plan import Ref
from meshfed.plan.endpoint_slices import Backing
from meshfed.plan.foreign_service_entries import ForeignServiceEntry
from meshfed.plan.values import THIS
from meshfed.plan.workloads import of_endpoints, of_entry
from tests.builders import EXPORTED, federated_service, mesh_federation, namespace, pod, remote_mesh, service
from tests.world import World, rule_of_others

WEST, NORTH = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
HTTP = [{"number": 80, "name": "http", "protocol": "HTTP"}]
TCP = [{"number": 80, "name": "tcp", "protocol": "TCP"}]
LABELLED = {"serviceSelectors": {"matchLabels": EXPORTED}}
ALIASED = {"action": "Export", "names": ["a", "b"], "as": {"name": "pay"}}
EXPORTS: list[Any] = [
    {"rules": [ALIASED, {"action": "Export", "remotes": ["west"]}]},
    {"namespaceSelectors": {"matchLabels": {"env": "prod"}}},
    LABELLED,
    {},
    None,
]
IMPORTS: list[Any] = [
    {"merge": True},
    {"merge": True, "limit": 1},
    {"merge": True, "limit": 2, "allowTCP": True},
    {"limit": 1},
    {"rules": [{"action": "Deny", "hosts": ["b.*"]}, {"action": "Import", "merge": True}]},
    {"merge": True, "rules": [{"action": "Import", "subjectAltNames": ["spiffe://cluster.local/ns/default/sa/one"]}]},
    {"rules": [{"action": "Import", "as": {"host": "{name}.{namespace}.svc.west.mesh"}}]},
    None,
]


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """``usual`` most of the time, so that the others do not drown everything else."""
    return st.sampled_from([usual] * 6 + list(others))


meshes = st.builds(
    mesh_federation,
    mostly("east", "other"),
    export=st.sampled_from(EXPORTS),
    network=mostly("east-network", "west-network"),
    trustDomain=mostly("cluster.local", "remote.local"),
    ingress=st.sampled_from(["istio", "openshift-router"]).map(
        lambda kind: {"type": kind, "gateway": {"selector": {"app": "gateway"}}}
    ),
    created=st.sampled_from([WEST, NORTH]),
    deleted=mostly("", NORTH),
)
remotes = st.builds(
    remote_mesh,
    mostly("west", "north", "north", "north", "north", "east"),
    import_=st.sampled_from(IMPORTS),
    trafficPolicy=st.sampled_from([None, None, {"outlierDetection": {}}]),
    addresses=st.sampled_from([["192.0.2.10"], ["gw.example"], ["192.0.2.11", "gw.example:443"], []]),
    ingressType=mostly("istio", "openshift-router"),
    trustDomain=mostly("cluster.local", "remote.local"),
    network=st.sampled_from(["west-network", "north-network"]),
    priority=st.integers(0, 1),
    created=st.sampled_from([WEST, NORTH]),
    deleted=mostly("", NORTH),
)
services = st.builds(
    service,
    mostly("a", "b", "b", "b", "pay", "pay", "c", "a.kube-system"),
    labels=st.sampled_from([{}, EXPORTED]),
    selector=mostly({"app": "a"}, {"app": "a", "v": "1"}, {"app": "b"}, {"app": "b"}, {}, {"app": "gateway"}),
    ports=mostly([{"name": "http", "port": 80}], [{"port": 80}], [{"name": "tls", "port": 15443}], []),
    type=mostly("ClusterIP", "NodePort", "ExternalName"),
    created=st.sampled_from([WEST, NORTH]),
    annotations=mostly({}, {"networking.istio.io/exportTo": "."}, {"networking.istio.io/exportTo": "istio-system"}),
)
namespaces = st.builds(namespace, st.just("default"), env=st.sampled_from(["prod", "test"]))
offers = st.builds(
    federated_service,
    st.sampled_from(["west", "west", "north", "north", "east"]),
    mostly("a", "b", "b", "b", "pay", "pay", "c", "a.kube-system", "x.example.com"),
    ports=mostly(HTTP, TCP),
    first_offered=st.sampled_from(["", WEST, NORTH]),
    identities=st.sampled_from([[], ["spiffe://cluster.local/ns/default/sa/two"]]),
)
pods = st.builds(
    pod,
    st.sampled_from(["p1", "p2", "p3", "p1.istio-system"]),
    app=st.sampled_from(["a", "b", "gateway"]),
    account=st.sampled_from(["one", "two"]),
    sidecar=mostly(True, False, False),
    address=st.sampled_from(["", "10.0.0.1", "10.0.0.2"]),
    labels=st.sampled_from([{}, {"v": "1"}]),
    ready=st.booleans(),
    phase=mostly("Running", "Succeeded"),
)
hosts = st.sampled_from(["a", "b.default.svc.cluster.local", "*.default.svc.cluster.local", "*.local", "pay", ""])
policies: list[dict[str, Any]] = [{}, {"outlierDetection": {}}, {"loadBalancer": {"simple": "RANDOM"}}]
rules = st.tuples(
    st.sampled_from([("default", "r"), ("istio-system", "r"), ("istio-system", "s"), ("shop", "r")]),
    st.none()
    | st.builds(
        rule_of_others,
        hosts,
        trafficPolicy=st.none() | st.sampled_from(policies),
        exportTo=st.sampled_from([[], ["."], ["*"], ["shop"]]),
        subsets=st.sampled_from([[], [{"name": "v1", "labels": {"v": "1"}}]]),
    ),
)
entries = st.tuples(
    st.sampled_from([("default", "e"), ("istio-system", "e")]),
    st.none()
    | st.builds(
        ForeignServiceEntry,
        selector=st.sampled_from([{}, {"app": "a"}, {"app": "b"}, {"v": "1"}]),
        hosts=st.sampled_from([(), ("a.default.svc.cluster.local",), ("*.local", "b.default.svc.cluster.local")]),
        visible_in=st.sampled_from([None, (), ("default",)]),
        endpoints=st.sampled_from([(), of_endpoints([{"address": "192.0.2.9", "serviceAccount": "three"}])]),
    ),
)
virtual_machines = st.tuples(
    st.sampled_from([("default", "vm"), ("istio-system", "vm")]),
    st.none()
    | st.builds(
        lambda labels, account: of_entry({"spec": {"labels": labels, "serviceAccount": account}}),
        st.sampled_from([{"app": "a"}, {"app": "b", "v": "1"}, {"app": "gateway"}, {"app": "a", TLS_MODE: "istio"}]),
        st.sampled_from(["one", "two", ""]),
    ),
)
peer_authentications = st.tuples(
    st.sampled_from([("default", "p"), ("default", "q"), ("istio-system", "p")]),
    st.none()
    | st.builds(
        PeerAuthentication,
        created=st.sampled_from([WEST, NORTH]),
        selector=st.sampled_from([{}, {"app": "a"}, {"app": "b"}, {"v": "1"}]),
        mode=st.sampled_from([None, "DISABLE", "STRICT"]),
        ports=st.sampled_from([{}, {80: "DISABLE"}, {15443: "DISABLE"}]),
    ),
)
slices = st.tuples(
    st.sampled_from([("default", "x"), ("default", "y")]),
    st.none()
    | st.builds(
        Backing,
        st.sampled_from([("default", "a"), ("default", "b")]),
        pods=st.sampled_from([(), (("default", "p1"),), (("default", "p2"), ("istio-system", "p1"))]),
        addresses=st.sampled_from([(), ("10.0.0.1",), ("10.0.0.1", "192.0.2.7")]),
        ports=st.sampled_from([(("http", 80),), (("http", 8080),), (("other", 80),), ()]),
    ),
)
resolutions = st.tuples(st.just("gw.example"), st.sampled_from([(), ("192.0.2.7",), ("192.0.2.8", "192.0.2.7")]))
objects = st.one_of(services, offers, services, offers, services, offers, remotes, meshes, namespaces, pods)
changes = st.lists(
    st.tuples(st.sampled_from(["put", "put", "remove"]), objects)
    | st.tuples(st.just("resolve"), resolutions)
    | st.tuples(st.just("rule"), rules)
    | st.tuples(st.just("entry"), entries)
    | st.tuples(st.just("vm"), virtual_machines)
    | st.tuples(st.just("mtls"), peer_authentications)
    | st.tuples(st.just("slice"), slices)
    | st.tuples(st.just("listed"), st.tuples(st.just(("", "pods")), st.booleans())),
    min_size=1,
    max_size=30,
)
beginnings = st.lists(services | offers, min_size=4, max_size=12)


def change_beside(world: World, action: str, place: tuple[str, str], value: Any) -> None:
    """Change what there is no object for in a `World`."""
    match action:
        case "rule":
            world.planner.inputs.rules.put(place, value)
        case "entry":
            world.planner.inputs.entries.put(place, value)
        case "slice":
            world.planner.inputs.slices.put(place, value)
        case "vm":
            world.planner.inputs.workloads.put(("WorkloadEntry", *place), value)
        case "mtls":
            world.planner.inputs.peer_authentications.put(place, value)
        case _:
            world.planner.inputs.pods_listed.put(THIS, value)


def ref_of(given: Manifest) -> Ref:
    """Which object it is, whatever it says."""
    return given["kind"], given["metadata"].get("namespace", ""), given["metadata"]["name"]
