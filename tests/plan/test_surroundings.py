"""What is beside an offer here: who else takes its endpoints, whose DestinationRule counts, who has no sidecar."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed.plan import ImportKey
from meshfed.plan.foreign_service_entries import ForeignServiceEntry, of_service_entry
from meshfed.plan.values import THIS
from tests.builders import federated_service, mesh_federation, namespace, pod, remote_mesh, service, workload_entry
from tests.world import World, rule_of_others

RATINGS = "ratings.default.svc.cluster.local"
RECORD = f"{RATINGS}.west"
ROUTER: dict[str, Any] = {"ingressType": "openshift-router"}
MERGE: dict[str, Any] = {"import_": {"merge": True}}
IMPORTED = ["DestinationRule istio-system/mtls-sni.ratings.default.svc.cluster.local"]


SERVED_BY = ["spiffe://cluster.local/ns/default/sa/ratings"]


def reason(world: World) -> str:
    return world.accepted()[RECORD]


def message(world: World) -> str:
    return world.statuses[f"FederatedService {RECORD}"].conditions[0].message


def test_a_rule_of_the_control_plane_takes_the_place_of_ours() -> None:
    world = World(mesh_federation(), remote_mesh(**ROUTER), federated_service("west", "ratings"))
    assert world.carriers == [*IMPORTED, "ServiceEntry istio-system/import.ratings.default.svc.cluster.local"]
    world.planner.inputs.rules.put(("istio-system", "theirs"), rule_of_others(RATINGS, trafficPolicy={}))
    assert reason(world) == "SNIOverridden"
    assert message(world).startswith("DestinationRule istio-system/theirs takes the place")
    assert world.carriers == []
    world.planner.inputs.rules.put(("istio-system", "theirs"), None)
    assert reason(world) == "Accepted"
    assert len(world.carriers) == 2


@pytest.mark.parametrize(
    ("where", "host"),
    [
        ("default", "ratings"),
        ("default", "ratings.default.svc.cluster.local"),
        ("default", "*.default.svc.cluster.local"),
        ("default", "*.local"),
        ("default", "*"),
        ("istio-system", "ratings.default.svc.cluster.local"),
    ],
)
def test_a_rule_beside_a_local_service_takes_the_place_of_ours(where: str, host: str) -> None:
    world = World(
        mesh_federation(), remote_mesh(**ROUTER, **MERGE), federated_service("west", "ratings"), service("ratings")
    )
    assert world.carriers == [*IMPORTED, "WorkloadEntry default/ratings.default.svc.cluster.local.west.192.0.2.10"]
    world.planner.inputs.rules.put((where, "theirs"), rule_of_others(host, trafficPolicy={}))
    assert (reason(world), world.carriers) == ("SNIOverridden", [])
    world.planner.inputs.rules.put((where, "theirs"), None)
    assert (reason(world), len(world.carriers)) == ("Accepted", 2)


@pytest.mark.parametrize(
    ("where", "host"),
    [
        ("istio-system", "*.local"),
        ("istio-system", "*"),
        ("default", "reviews"),
        ("default", "ratings.shop"),
        ("shop", "ratings"),
        ("shop", "*.shop.svc.cluster.local"),
    ],
)
def test_other_rules_change_nothing(where: str, host: str) -> None:
    world = World(mesh_federation(), remote_mesh(**ROUTER), federated_service("west", "ratings"))
    before = (world.carriers, message(world))
    world.planner.inputs.rules.put((where, "theirs"), rule_of_others(host))
    assert (world.carriers, message(world)) == before


def test_a_rule_for_clients_of_one_namespace_is_named_and_harms_nobody_else() -> None:
    world = World(mesh_federation(), remote_mesh(**ROUTER), federated_service("west", "ratings"))
    world.planner.inputs.rules.put(("shop", "theirs"), rule_of_others("*.default.svc.cluster.local"))
    assert len(world.carriers) == 2
    assert message(world) == (
        "imported as ratings.default.svc.cluster.local; not for clients in shop, whose DestinationRule shop/theirs "
        "takes the place of the one that states the SNI under which the ingress of RemoteMesh west "
        "knows ratings.default.svc.cluster.local"
    )


def test_where_no_sni_has_to_be_stated_no_rule_is_in_the_way() -> None:
    policy: dict[str, Any] = {"trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 3}}}
    world = World(
        mesh_federation(),
        remote_mesh(**policy, **MERGE),
        federated_service("west", "ratings", identities=SERVED_BY),
        service("ratings"),
    )
    world.put(pod("ratings-1", app="ratings", sidecar=False))
    world.planner.inputs.rules.put(("default", "theirs"), rule_of_others("ratings"))
    assert (reason(world), len(world.carriers)) == ("TrafficPolicyOverridden", 2)


def test_short_hosts_follow_the_cluster_domain() -> None:
    world = World(mesh_federation(), remote_mesh(clusterDomain="east.example", **ROUTER, **MERGE), namespace("default"))
    world.put(federated_service("west", "ratings.default.svc.east.example"), service("ratings"))
    world.planner.inputs.rules.put(("default", "theirs"), rule_of_others("ratings"))
    assert world.accepted() == {"ratings.default.svc.east.example.west": "Accepted"}
    world.put(mesh_federation(clusterDomain="east.example"))
    assert world.accepted() == {"ratings.default.svc.east.example.west": "SNIOverridden"}


def test_local_pods_without_a_sidecar_are_not_made_to_speak_mtls() -> None:
    bare = pod("ratings-1", app="ratings", sidecar=False)
    world = World(
        mesh_federation(),
        remote_mesh(**ROUTER, **MERGE),
        federated_service("west", "ratings", identities=SERVED_BY),
        service("ratings"),
    )
    world.put(pod("ratings-2", app="ratings"), bare)
    assert (reason(world), world.carriers) == ("PlaintextEndpoints", [])
    assert message(world).startswith("Service default/ratings has pods without a sidecar")
    world.remove(bare)
    assert (reason(world), len(world.carriers)) == ("Accepted", 2)
    world.put(bare)
    assert world.carriers == []
    world.put(remote_mesh(**MERGE))
    assert (reason(world), len(world.carriers)) == ("Accepted", 1)


def test_a_local_virtual_machine_with_an_account_speaks_mtls() -> None:
    world = World(
        mesh_federation(),
        remote_mesh(**ROUTER, **MERGE),
        federated_service("west", "ratings", identities=SERVED_BY),
        service("ratings"),
    )
    world.put(workload_entry("vm", "ratings", account="vm"))
    assert (reason(world), len(world.carriers)) == ("Accepted", 2)
    world.put(workload_entry("vm", "ratings"))
    assert (reason(world), world.carriers) == ("PlaintextEndpoints", [])
    world.planner.inputs.pods_listed.put(THIS, value=False)
    assert reason(world) == "PlaintextEndpoints"


def test_what_nobody_says_who_serves_it_does_not_join_those_whose_accounts_are_known() -> None:
    """Callers accept these accounts alone. Where there are none, whoever has a certificate is accepted."""
    world = World(mesh_federation(), remote_mesh(**MERGE), federated_service("west", "ratings"), service("ratings"))
    assert (reason(world), len(world.carriers)) == ("Accepted", 1)
    world.put(pod("ratings-1", app="ratings", sidecar=False))
    assert (reason(world), world.carriers) == ("IdentityUnknown", [])
    assert message(world) == (
        f"RemoteMesh west does not say who serves {RATINGS}, and callers here accept none but the accounts of its "
        "other endpoints: let the remote's controller announce identities, or state who it is there in "
        "`subjectAltNames` of an import rule"
    )
    stated = {"action": "Import", "hosts": ["ratings.*"], "subjectAltNames": SERVED_BY}
    world.put(remote_mesh(import_={"merge": True, "rules": [stated]}))
    assert reason(world) == "Accepted"
    assert world.carriers == [f"WorkloadEntry default/{RATINGS}.west.192.0.2.10.ratings"]
    world.put(remote_mesh(**MERGE), federated_service("west", "ratings", identities=SERVED_BY))
    assert (reason(world), len(world.carriers)) == ("Accepted", 1)
    world.put(federated_service("west", "ratings"))
    assert reason(world) == "IdentityUnknown"
    world.remove(pod("ratings-1"))
    assert (reason(world), len(world.carriers)) == ("Accepted", 1)
    world.planner.inputs.pods_listed.put(THIS, value=False)
    assert reason(world) == "IdentityUnknown"


def test_what_nobody_says_who_serves_it_does_not_join_a_remote_that_says_so() -> None:
    """Whoever offered first. Without a local Service both are behind one ServiceEntry."""
    world = World(mesh_federation(), remote_mesh(**MERGE), remote_mesh("north", **MERGE))
    world.put(federated_service("west", "ratings"), federated_service("north", "ratings", identities=SERVED_BY))
    assert set(world.accepted().values()) == {"Accepted"}
    world.put(service("ratings"))
    assert world.accepted() == {RECORD: "IdentityUnknown", f"{RATINGS}.north": "Accepted"}
    assert [one.rpartition(".")[2] for one in world.carriers] == ["ratings"]


def test_who_is_stated_to_serve_a_host_counts_instead_of_who_is_announced() -> None:
    """Also without a local Service: by the ServiceEntry's subjectAltNames."""
    announced = federated_service("west", "ratings", identities=["spiffe://cluster.local/ns/default/sa/other"])
    rules = [{"action": "Import", "hosts": ["ratings.*"], "subjectAltNames": SERVED_BY}, {"action": "Import"}]
    world = World(mesh_federation(), remote_mesh(import_={"rules": rules}), announced, federated_service("west", "x"))
    entries = {key: one for key, one in world.manifests.items() if key.startswith("ServiceEntry istio-system/import.")}
    names = {key.partition("import.")[2]: one.get("subjectAltNames") for key, one in entries.items()}
    assert names == {RATINGS: SERVED_BY, "x.default.svc.cluster.local": None}


def test_a_service_entry_that_would_take_the_endpoints_too_is_in_the_way() -> None:
    world = World(mesh_federation(), remote_mesh(**MERGE), federated_service("west", "ratings"), service("ratings"))
    world.planner.inputs.entries.put(("default", "vms"), ForeignServiceEntry(selector={"app": "ratings", "v": "1"}))
    world.planner.inputs.entries.put(("shop", "vms"), ForeignServiceEntry(selector={"app": "ratings"}))
    assert reason(world) == "Accepted"
    world.planner.inputs.entries.put(("default", "vms"), ForeignServiceEntry(selector={"app": "ratings"}))
    assert (reason(world), world.carriers) == ("SelectorShared", [])
    assert message(world).startswith("the selector of ServiceEntry vms matches")
    world.put(service("ratings", selector={"app": "other"}))
    assert reason(world) == "Accepted"
    world.planner.inputs.entries.put(("default", "vms"), ForeignServiceEntry(selector={"app": "other"}))
    assert reason(world) == "SelectorShared"
    world.planner.inputs.entries.put(("default", "vms"), None)
    assert reason(world) == "Accepted"


def entry_of_others(*hosts: str, namespace: str = "shop", **spec: Any) -> ForeignServiceEntry:
    """A ServiceEntry of somebody else's, as the controller sees it."""
    return of_service_entry({"metadata": {"namespace": namespace}, "spec": {"hosts": list(hosts), **spec}})


def test_a_service_entry_of_others_for_the_host_is_named_and_nothing_goes() -> None:
    world = World(
        mesh_federation(), remote_mesh(), federated_service("west", "ratings"), federated_service("west", "reviews")
    )
    before = world.carriers
    world.planner.inputs.entries.put(("shop", "theirs"), entry_of_others(RATINGS, "other.example.com"))
    assert (reason(world), world.carriers) == ("HostShared", before)
    assert message(world) == (
        f"imported as {RATINGS}; ServiceEntry shop/theirs has this host too, and a client is served by one of them "
        "alone: by one whose `exportTo` names the client's namespace, else by the oldest; delete the other, or import "
        "under another host with a rule's `as`"
    )
    assert world.accepted()["reviews.default.svc.cluster.local.west"] == "Accepted"
    world.planner.inputs.entries.put(("istio-system", "more"), entry_of_others(RATINGS, namespace="istio-system"))
    assert "ServiceEntry istio-system/more, shop/theirs have this host too" in message(world)
    assert "those in one namespace have their endpoints mixed" in message(world)
    world.planner.inputs.entries.put(("istio-system", "more"), None)
    world.planner.inputs.entries.put(("shop", "theirs"), entry_of_others("other.example.com"))
    assert (reason(world), message(world)) == ("Accepted", f"imported as {RATINGS}")


@pytest.mark.parametrize(
    "theirs",
    [
        entry_of_others("ratings.default.svc.cluster.local.", "ratings", "*.default.svc.cluster.local", "*"),
        entry_of_others(RATINGS, exportTo=["~"]),
        of_service_entry({"spec": {"hosts": RATINGS, "exportTo": 7, "workloadSelector": []}}),
        of_service_entry({"metadata": None, "spec": None}),
        of_service_entry({"spec": {"hosts": [7, None, ["x"]], "workloadSelector": {"labels": {"a": 7}}}}),
    ],
)
def test_service_entries_that_are_no_rivals(theirs: ForeignServiceEntry) -> None:
    world = World(mesh_federation(), remote_mesh(), federated_service("west", "ratings"))
    world.planner.inputs.entries.put(("shop", "theirs"), theirs)
    assert (reason(world), message(world)) == ("Accepted", f"imported as {RATINGS}")


def test_what_joins_a_local_service_follows_it_and_nothing_else_about_it() -> None:
    world = World(mesh_federation(), remote_mesh(**MERGE), federated_service("west", "ratings"), service("ratings"))
    (joined,) = world.carriers
    assert world.manifests[joined]["labels"]["app"] == "ratings"
    world.put(service("ratings", selector={"app": "other"}))
    assert world.settle() == [ImportKey(RATINGS)]
    assert world.manifests[joined]["labels"]["app"] == "other"
    world.put(service("ratings", selector={"app": "other"}, labels={"x": "y"}, clusterIP="10.0.0.2"))
    assert world.settle() == []


def test_a_local_service_comes_before_any_service_entry() -> None:
    world = World(mesh_federation(), remote_mesh(**MERGE), federated_service("west", "ratings"))
    world.planner.inputs.entries.put(("shop", "theirs"), entry_of_others(RATINGS, exportTo=["."]))
    assert reason(world) == "HostShared"
    world.put(service("ratings"))
    assert reason(world) == "Accepted"
    world.remove(service("ratings"))
    assert reason(world) == "HostShared"
    world.planner.inputs.entries.put(("shop", "theirs"), entry_of_others(RATINGS, exportTo=["~"]))
    assert reason(world) == "Accepted"


@pytest.mark.parametrize("size", [10, 500])
def test_a_service_entry_costs_the_same_in_a_small_world_and_in_a_large_one(size: int) -> None:
    world = World(mesh_federation(), remote_mesh(import_={"limit": 1000}))
    world.put(
        *(federated_service("west", f"s{number}") for number in range(size)), federated_service("west", "ratings")
    )
    world.settle()
    world.planner.inputs.entries.put(("shop", "theirs"), entry_of_others(RATINGS, "*.default.svc.cluster.local"))
    assert len(world.settle()) <= 4


@pytest.mark.parametrize("size", [10, 500])
def test_a_rule_costs_the_same_in_a_small_world_and_in_a_large_one(size: int) -> None:
    world = World(mesh_federation(), remote_mesh(import_={"limit": 1000}, **ROUTER))
    world.put(
        *(federated_service("west", f"s{number}") for number in range(size)), federated_service("west", "ratings")
    )
    world.settle()
    world.planner.inputs.rules.put(("istio-system", "theirs"), rule_of_others(RATINGS, trafficPolicy={}))
    assert len(world.settle()) <= 4
