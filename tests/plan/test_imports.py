"""From what remotes offer to ServiceEntries, WorkloadEntries and DestinationRules."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed.kube import Manifest
from meshfed.model.reasons import Reason
from meshfed.plan import ImportKey, MeshStatusKey, OfferKey, RemoteStatusKey
from meshfed.plan.keys import TURN
from tests.builders import federated_service, host, mesh_federation, port, remote_mesh, service
from tests.world import World

RATINGS = host("ratings")
ENTRY = f"ServiceEntry istio-system/import.{RATINGS}"
JOINED = f"WorkloadEntry default/{RATINGS}.west.192.0.2.10"
MERGE: dict[str, Any] = {"import": {"merge": True}}
TCP = {"number": 9080, "name": "tcp", "protocol": "TCP"}


def record(name: str, by: str = "west") -> str:
    return f"{host(name)}.{by}"


def importing(**rules: Any) -> dict[str, Any]:
    return {"import": rules}


def test_what_exists_only_remotely_becomes_a_service_entry() -> None:
    world = World(mesh_federation(), remote_mesh(), federated_service("west", "ratings"))
    assert world.carriers == [ENTRY]
    assert world.manifests[ENTRY] == {
        "hosts": [RATINGS],
        "ports": [{"number": 9080, "name": "http", "protocol": "HTTP"}],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "endpoints": [
            {
                "address": "192.0.2.10",
                "ports": {"http": 15443},
                "labels": {"app": "ratings", "security.istio.io/tlsMode": "istio"},
                "network": "west-network",
            }
        ],
    }


def test_what_exists_in_both_becomes_a_workload_entry_of_the_local_service() -> None:
    world = World(
        mesh_federation(),
        remote_mesh(**MERGE),
        service("ratings", selector={"app": "r", "tier": "x"}),
        federated_service("west", "ratings"),
    )
    assert world.carriers == [JOINED]
    assert world.manifests[JOINED] == {
        "address": "192.0.2.10",
        "ports": {"http": 15443},
        "labels": {"app": "r", "tier": "x", "security.istio.io/tlsMode": "istio"},
        "network": "west-network",
    }


def test_an_import_moves_with_the_local_service_that_comes_and_goes() -> None:
    world = World(mesh_federation(), remote_mesh(**MERGE), federated_service("west", "ratings"))
    assert world.carriers == [ENTRY]
    world.put(service("ratings"))
    assert world.carriers == [JOINED]
    world.remove(service("ratings"))
    assert world.carriers == [ENTRY]


def test_without_merge_the_local_service_stays_alone() -> None:
    world = World(mesh_federation(), remote_mesh(), federated_service("west", "ratings"), service("ratings"))
    assert (world.carriers, world.accepted()) == ([], {record("ratings"): "LocalServiceExists"})
    world.remove(service("ratings"))
    assert (world.carriers, world.accepted()) == ([ENTRY], {record("ratings"): "Accepted"})


def test_an_import_goes_with_its_offer_its_remote_or_the_mesh() -> None:
    given = mesh_federation(), remote_mesh(), federated_service("west", "ratings")
    for part in given:
        world = World(*given)
        assert world.carriers == [ENTRY]
        world.remove(part)
        assert world.carriers == []
        world.put(part)
        assert world.carriers == [ENTRY]
    world = World(*given).put(remote_mesh(deleted="2026-02-01T00:00:00Z"))
    assert world.accepted() == {record("ratings"): "RemoteMissing"}
    assert not [name for name in world.manifests if "west" in name]


def test_a_changed_offer_changes_its_import() -> None:
    world = World(mesh_federation(), remote_mesh(), federated_service("west", "ratings"))
    world.put(
        federated_service(
            "west", "ratings", ports=[{"number": 80, "name": "web", "protocol": "HTTP"}], labels={"v": "2"}
        )
    )
    spec = world.manifests[ENTRY]
    assert spec["ports"] == [{"number": 80, "name": "web", "protocol": "HTTP"}]
    assert spec["endpoints"][0]["labels"] == {"v": "2", "security.istio.io/tlsMode": "istio"}


def test_a_changed_remote_changes_its_imports_and_how_it_is_reached() -> None:
    world = World(mesh_federation(), remote_mesh(), federated_service("west", "ratings"))
    world.put(remote_mesh(addresses=["192.0.2.20", "gw.west.example"], port=443, network="moved", locality="r1/z1"))
    discovery = world.manifests["ServiceEntry istio-system/federation-discovery-service-west"]
    for spec in (world.manifests[ENTRY], discovery):
        assert spec["resolution"] == "DNS"
        assert [(e["address"], *e["ports"].values(), e["network"]) for e in spec["endpoints"]] == [
            ("192.0.2.20", 443, "moved"),
            ("gw.west.example", 443, "moved"),
        ]
    assert world.manifests[ENTRY]["endpoints"][0]["locality"] == "r1/z1"


def test_a_port_of_the_remote_is_that_of_the_addresses_that_state_none() -> None:
    world = World(mesh_federation(), federated_service("west", "ratings"))
    for number, expected in ((443, [443, 31443]), (8443, [8443, 31443])):
        world.put(remote_mesh(addresses=["192.0.2.20", "192.0.2.21:31443"], port=number))
        endpoints = world.manifests[ENTRY]["endpoints"]
        assert [each for endpoint in endpoints for each in endpoint["ports"].values()] == expected


def test_visibility_and_outlier_detection_reach_what_is_written() -> None:
    policy = {"outlierDetection": {"consecutive5xxErrors": 3, "interval": "5s"}}
    world = World(
        mesh_federation(),
        remote_mesh(**importing(exportTo=["shop"]), trafficPolicy=policy),
        federated_service("west", "ratings"),
    )
    assert world.manifests[ENTRY]["exportTo"] == ["shop"]
    rule = world.manifests[f"DestinationRule istio-system/mtls-sni.{RATINGS}"]
    assert rule["trafficPolicy"]["outlierDetection"] == {"consecutive5xxErrors": 3, "interval": "5s"}


def test_how_long_a_connection_may_take_reaches_what_is_written() -> None:
    pool = {"connectionPool": {"tcp": {"connectTimeout": "1s"}}}
    world = World(
        mesh_federation(),
        remote_mesh(trafficPolicy=pool, ingressType="openshift-router"),
        federated_service("west", "ratings"),
    )
    policy = world.manifests[f"DestinationRule istio-system/mtls-sni.{RATINGS}"]["trafficPolicy"]
    (of_port,) = policy["portLevelSettings"]
    assert policy["connectionPool"] == of_port["connectionPool"] == pool["connectionPool"]
    world.put(remote_mesh(trafficPolicy=pool))
    assert world.manifests[f"DestinationRule istio-system/mtls-sni.{RATINGS}"]["trafficPolicy"] == pool
    world.put(remote_mesh())
    assert f"DestinationRule istio-system/mtls-sni.{RATINGS}" not in world.carriers


def test_an_alias_is_asked_for_by_the_exporters_own_name() -> None:
    alias = {"action": "Import", "as": {"host": "{name}.{namespace}.svc.west.mesh"}}
    world = World(mesh_federation(), remote_mesh(**importing(rules=[alias])), federated_service("west", "ratings"))
    assert world.carriers == [
        "DestinationRule istio-system/mtls-sni.ratings.default.svc.west.mesh",
        "ServiceEntry istio-system/import.ratings.default.svc.west.mesh",
    ]
    settings = world.manifests[world.carriers[0]]["trafficPolicy"]["portLevelSettings"]
    assert [setting["tls"]["sni"] for setting in settings] == [f"outbound_.9080_._.{RATINGS}"]
    assert (
        world.statuses[f"FederatedService {record('ratings')}"].fields["importedAs"] == "ratings.default.svc.west.mesh"
    )


def test_an_alias_onto_a_local_service_is_refused_since_one_host_is_asked_for_by_one_name() -> None:
    alias = {"action": "Import", "hosts": [host("old")], "as": {"host": RATINGS}}
    world = World(
        mesh_federation(),
        remote_mesh(**importing(rules=[alias], merge=True)),
        federated_service("west", "old"),
        service("ratings"),
    )
    assert (world.carriers, world.accepted()) == ([], {record("old"): "SNIConflict"})


def test_behind_a_router_the_rule_states_the_routers_name() -> None:
    world = World(mesh_federation(), remote_mesh(ingressType="openshift-router"), federated_service("west", "ratings"))
    assert world.carriers == [f"DestinationRule istio-system/mtls-sni.{RATINGS}", ENTRY]
    assert "DestinationRule istio-system/mtls-sni.federation-discovery-service-west" in world.manifests


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param(federated_service("west", "a.b.c.example"), Reason.INVALID_HOST, id="not of its cluster domain"),
        pytest.param(federated_service("west", "UPPER.ns.svc.cluster.local"), Reason.INVALID_HOST, id="not a DNS name"),
        pytest.param(federated_service("west", "ratings", ports=[]), Reason.INVALID_PORTS, id="no ports"),
        pytest.param(federated_service("west", "a.kube-system"), Reason.PROTECTED_NAMESPACE, id="protected"),
        pytest.param(federated_service("west", "ratings", ports=[TCP]), Reason.TCP_NOT_ALLOWED, id="TCP"),
        pytest.param(federated_service("north", "ratings"), Reason.REMOTE_MISSING, id="of a remote that is not there"),
    ],
)
def test_a_refused_offer_says_why_and_carries_nothing(given: Manifest, reason: Reason) -> None:
    world = World(mesh_federation(), remote_mesh(), given)
    assert (world.carriers, list(world.accepted().values())) == ([], [str(reason)])
    assert world.conditions("FederatedService", given["metadata"]["name"])["Applied"] == f"False {reason}"


HTTP = {"number": 9080, "name": "http", "protocol": "HTTP"}
MIXED = [
    {"number": 8080, "name": "public", "protocol": "HTTP"},
    {"number": 9000, "name": "internal", "protocol": "GRPC"},
    {"number": 9464, "name": "metrics"},
]


def said(world: World, name: str = "") -> str:
    [status] = [one for one in world.statuses.values() if one.name == (name or record("ratings"))]
    return status.conditions[0].message


def test_a_port_that_may_not_be_imported_leaves_the_others_alone() -> None:
    world = World(mesh_federation(), remote_mesh(), federated_service("west", "ratings", ports=MIXED))
    assert world.accepted() == {record("ratings"): "PortsLeftOut"}
    assert [one["number"] for one in world.manifests[ENTRY]["ports"]] == [8080, 9000]
    assert said(world) == (
        f"imported as {RATINGS}; left out: port 9464 metrics (no protocol stated: it would take all traffic on that "
        f"number without DNS capture; set `allowTCP` in `import` of RemoteMesh west or in a rule for {RATINGS}, or "
        "have the exporter state the protocol with `appProtocol`)"
    )
    world.put(remote_mesh(**importing(rules=[{"action": "Import", "allowTCP": True}])))
    assert world.accepted() == {record("ratings"): "Accepted"}
    assert [one["number"] for one in world.manifests[ENTRY]["ports"]] == [8080, 9000, 9464]


def test_what_is_left_out_is_not_what_the_offer_brings() -> None:
    """Nothing is to be proven of it."""
    world = west_and_north()
    world.put(federated_service("north", "ratings", first_offered="2026-01-02T00:00:00Z", ports=[*MIXED[:2], HTTP]))
    world.settle()
    fate = world.planner._imports.fate(record("ratings", "north"))
    assert fate is not None
    assert fate.probe is not None
    assert fate.probe.names == (f"outbound_.9080_._.{RATINGS}",)
    assert world.accepted() == {record("ratings"): "Accepted", record("ratings", "north"): "PortsLeftOut"}


def test_beside_a_local_service_a_tcp_port_needs_no_leave_and_what_it_lacks_is_left_out() -> None:
    ports = [port(9464, "metrics"), port(8080, "public")]
    world = World(
        mesh_federation(),
        remote_mesh(**importing(merge=True)),
        federated_service("west", "ratings", ports=MIXED),
        service("ratings", ports=ports),
    )
    [joined] = world.carriers
    assert world.manifests[joined]["ports"] == {"metrics": 15443, "public": 15443}
    assert (
        said(world) == f"imported as {RATINGS}; left out: port 9000 internal (Service default/ratings has no such port)"
    )
    world.remove(service("ratings"))
    assert [one["number"] for one in world.manifests[ENTRY]["ports"]] == [8080, 9000]


def test_beside_a_local_service_a_port_is_left_out_only_where_istio_can_do_without() -> None:
    rules = importing(merge=True, rules=[{"action": "Import", "ports": ["public"]}])
    world = World(mesh_federation(), remote_mesh(**rules), federated_service("west", "ratings", ports=MIXED))
    numbered = [port(8080, "public"), port(9464, "metrics")]
    world.put(service("ratings", ports=numbered))
    assert (world.carriers, world.accepted()) == ([], {record("ratings"): "LocalServiceUnusable"})
    assert "has port 9464, which is not imported (8080 are)" in said(world)
    world.put(service("ratings", ports=[numbered[0], port(9464, "metrics", "metrics")]))
    [joined] = world.carriers
    assert world.manifests[joined]["ports"] == {"public": 15443}


def test_several_remotes_beside_a_local_service_need_not_agree_on_ports() -> None:
    world = west_and_north()
    local = service("ratings", ports=[port(8080, "public", "public"), port(9000, "internal", "internal")])
    north = federated_service("north", "ratings", first_offered="2026-01-02T00:00:00Z", ports=MIXED[1:2])
    world.put(remote_mesh(**importing(merge=True)), local, north, federated_service("west", "ratings", ports=MIXED[:2]))
    ports = {world.manifests[one]["network"]: set(world.manifests[one]["ports"]) for one in world.carriers}
    assert ports == {"west-network": {"public", "internal"}, "north-network": {"internal"}}
    assert set(world.accepted().values()) == {"Accepted"}


def test_a_remote_without_import_is_only_published_to() -> None:
    world = World(mesh_federation(), remote_mesh(import_=None), federated_service("west", "ratings"))
    assert (world.carriers, world.accepted()) == ([], {record("ratings"): "NotImported"})


def test_rules_that_change_let_offers_in_and_out() -> None:
    world = World(
        mesh_federation(), remote_mesh(), federated_service("west", "ratings"), federated_service("west", "details")
    )
    world.put(remote_mesh(**importing(rules=[{"action": "Import", "hosts": ["details.*"]}])))
    assert world.accepted() == {record("ratings"): "DeniedByRule", record("details"): "Accepted"}
    world.put(remote_mesh(**importing(rules=[{"action": "Deny", "hosts": ["details.*"]}, {"action": "Import"}])))
    assert world.accepted() == {record("ratings"): "Accepted", record("details"): "DeniedByRule"}


@pytest.mark.parametrize(
    ("export_to", "only"),
    [("*", ""), (".,*", ""), ("", ""), (".", "default"), (" . , shop,", "default, shop"), ("default", "default")],
)
def test_a_local_service_has_its_host_whoever_sees_it_and_remotes_join_it_for_those(export_to: str, only: str) -> None:
    hidden = service("ratings", annotations={"networking.istio.io/exportTo": export_to})
    world = World(mesh_federation(), remote_mesh(), federated_service("west", "ratings"), hidden)
    assert (world.carriers, world.accepted()) == ([], {record("ratings"): "LocalServiceExists"})
    world.put(remote_mesh(**MERGE))
    assert world.carriers == [JOINED]
    message = world.statuses[f"FederatedService {record('ratings')}"].conditions[0].message
    said = f", for clients in {only} alone, as annotation networking.istio.io/exportTo of Service default/ratings says"
    assert message == f"imported as {host('ratings')}" + (said if only else "")


def test_a_local_service_that_nobody_sees_takes_no_endpoints() -> None:
    hidden = service("ratings", annotations={"networking.istio.io/exportTo": "shop, ~"})
    world = World(mesh_federation(), remote_mesh(**MERGE), federated_service("west", "ratings"), hidden)
    assert (world.carriers, world.accepted()) == ([], {record("ratings"): "LocalServiceUnusable"})
    world.put(service("ratings"))
    assert world.carriers == [JOINED]
    world.put(hidden)
    assert world.carriers == []


def test_a_local_service_that_takes_no_workload_entries_says_so() -> None:
    world = World(
        mesh_federation(),
        remote_mesh(**MERGE),
        federated_service("west", "ratings"),
        service("ratings", clusterIP="None"),
    )
    assert (world.carriers, world.accepted()) == ([], {record("ratings"): "LocalServiceUnusable"})
    world.put(service("ratings"))
    assert world.carriers == [JOINED]


def test_identities_that_a_workload_entry_cannot_state_are_a_mismatch() -> None:
    elsewhere = "spiffe://cluster.local/ns/elsewhere/sa/ratings"
    world = World(
        mesh_federation(),
        remote_mesh(**MERGE),
        federated_service("west", "ratings", identities=[elsewhere]),
        service("ratings"),
    )
    assert (world.carriers, world.accepted()) == ([], {record("ratings"): "IdentityMismatch"})
    here = "spiffe://cluster.local/ns/default/sa/ratings"
    world.put(federated_service("west", "ratings", identities=[here]))
    assert world.carriers == [f"{JOINED}.ratings"]
    assert world.manifests[f"{JOINED}.ratings"]["serviceAccount"] == "ratings"


def test_a_service_that_selects_the_same_pods_stops_the_join_until_it_is_gone() -> None:
    world = World(
        mesh_federation(),
        remote_mesh(**MERGE),
        federated_service("west", "ratings"),
        service("ratings", selector={"app": "r", "v": "1"}),
    )
    assert world.carriers == [JOINED]
    for wider in ({"app": "r"}, {"app": "r", "v": "1"}, {"security.istio.io/tlsMode": "istio"}):
        world.put(service("wide", selector=wider))
        assert (world.carriers, world.accepted()) == ([], {record("ratings"): "SelectorShared"}), wider
        world.put(service("wide", selector={"app": "other"}))
        assert world.carriers == [JOINED]
    for harmless in ({"app": "r", "v": "1", "w": "2"}, {}, {"app": "x"}):
        world.put(service("wide", selector=harmless), service("ratings.other", selector={"app": "r"}))
        assert world.carriers == [JOINED], harmless


def test_the_limit_keeps_the_longest_standing_and_lets_others_in_as_they_go() -> None:
    first, second, third = (
        federated_service("west", name, first_offered=f"2026-01-0{day}T00:00:00Z")
        for name, day in (("c", 1), ("b", 2), ("a", 3))
    )
    world = World(mesh_federation(), remote_mesh(**importing(limit=2)), third, second)
    assert world.accepted() == {record("b"): "Accepted", record("a"): "Accepted"}
    world.put(first)
    assert world.accepted() == {record("c"): "Accepted", record("b"): "Accepted", record("a"): "LimitExceeded"}
    assert world.carriers == [f"ServiceEntry istio-system/import.{host(name)}" for name in ("b", "c")]
    world.remove(first)
    assert world.accepted() == {record("b"): "Accepted", record("a"): "Accepted"}
    assert world.carriers == [f"ServiceEntry istio-system/import.{host(name)}" for name in ("a", "b")]
    world.put(remote_mesh(**importing(limit=1)), first)
    assert world.accepted() == {record("c"): "Accepted", record("b"): "LimitExceeded", record("a"): "LimitExceeded"}
    assert world.carriers == [f"ServiceEntry istio-system/import.{host('c')}"]
    world.put(remote_mesh(**importing(limit=3)))
    assert len(world.carriers) == 3
    assert set(world.accepted().values()) == {"Accepted"}


def test_what_cannot_join_a_local_service_takes_no_place_in_the_limit() -> None:
    world = World(
        mesh_federation(),
        remote_mesh(**importing(limit=1)),
        federated_service("west", "a"),
        federated_service("west", "b"),
        service("a"),
    )
    assert world.accepted() == {record("a"): "LocalServiceExists", record("b"): "Accepted"}


# --- several remotes ------------------------------------------------------------------------------


def west_and_north(**north: Any) -> World:
    return World(
        mesh_federation(),
        remote_mesh("west"),
        remote_mesh("north", **({"addresses": ["192.0.2.30"]} | MERGE | north)),
        federated_service("west", "ratings", first_offered="2026-01-01T00:00:00Z"),
        federated_service("north", "ratings", first_offered="2026-01-02T00:00:00Z"),
    )


def endpoints(world: World) -> list[tuple[str, str]]:
    return [(entry["address"], entry["network"]) for entry in world.manifests[ENTRY]["endpoints"]]


def test_several_remotes_behind_one_host_are_one_service_entry() -> None:
    world = west_and_north()
    assert world.carriers == [ENTRY]
    assert endpoints(world) == [("192.0.2.30", "north-network"), ("192.0.2.10", "west-network")]


def test_one_by_ip_and_one_by_name() -> None:
    world = west_and_north(addresses=["gw.north.example"])
    assert world.manifests[ENTRY]["resolution"] == "DNS"
    assert endpoints(world) == [("gw.north.example", "north-network"), ("192.0.2.10", "west-network")]


def test_when_the_first_goes_the_other_takes_over() -> None:
    world = west_and_north(**{"import": {}})
    assert world.accepted() == {record("ratings"): "Accepted", record("ratings", "north"): "AlreadyImported"}
    world.remove(federated_service("west", "ratings"))
    assert endpoints(world) == [("192.0.2.30", "north-network")]


def test_ports_that_disagree_leave_running_traffic_alone() -> None:
    world = west_and_north()
    world.put(
        federated_service(
            "north",
            "ratings",
            first_offered="2026-01-02T00:00:00Z",
            ports=[{"number": 80, "name": "http", "protocol": "HTTP"}],
        )
    )
    assert endpoints(world) == [("192.0.2.10", "west-network")]
    assert world.accepted() == {record("ratings"): "Accepted", record("ratings", "north"): "PortConflict"}


def test_remotes_behind_different_ingresses_do_not_break_each_other() -> None:
    world = west_and_north(ingressType="openshift-router")
    assert world.carriers == [ENTRY]
    assert world.accepted() == {record("ratings"): "Accepted", record("ratings", "north"): "SNIConflict"}


def test_priority_decides_before_age() -> None:
    world = west_and_north(priority=1, **{"import": {}})
    assert world.accepted() == {record("ratings"): "AlreadyImported", record("ratings", "north"): "Accepted"}


def test_remotes_join_one_local_service_each_by_itself() -> None:
    world = west_and_north().put(remote_mesh("west", **MERGE), service("ratings"))
    assert world.carriers == [f"WorkloadEntry default/{RATINGS}.north.192.0.2.30", JOINED]
    world.put(remote_mesh("north", addresses=["192.0.2.30"], trustDomain="north.local", **MERGE))
    assert world.carriers == [JOINED]
    assert world.accepted() == {record("ratings"): "Accepted", record("ratings", "north"): "IdentityMismatch"}


# --- names ----------------------------------------------------------------------------------------


def test_a_name_with_a_port_is_resolved_without_it() -> None:
    addresses = ["gw.west.example:31443", "gw.west.example:31444"]
    world = World(mesh_federation(), remote_mesh(addresses=addresses, **MERGE), federated_service("west", "ratings"))
    world.put(service("ratings"))
    world.settle()
    assert world.planner.names_to_resolve() == {"gw.west.example"}
    world.planner.resolution_changed("gw.west.example", ("192.0.2.7",))
    assert world.carriers == [f"WorkloadEntry default/{RATINGS}.west.192.0.2.7-{port}" for port in (31443, 31444)]


def test_names_are_resolved_only_where_workload_entries_need_them() -> None:
    world = World(
        mesh_federation(), remote_mesh(addresses=["gw.west.example"], **MERGE), federated_service("west", "ratings")
    )
    world.settle()
    assert world.planner.names_to_resolve() == frozenset()

    world.put(service("ratings"))
    assert world.carriers == []
    assert world.planner.names_to_resolve() == {"gw.west.example"}
    assert world.conditions("FederatedService", record("ratings")) == {
        "Accepted": "True Accepted",
        "Applied": "False Unresolved",
    }

    world.planner.resolution_changed("gw.west.example", ("192.0.2.7", "192.0.2.8"))
    entries = [f"WorkloadEntry default/{RATINGS}.west.192.0.2.{end}" for end in (7, 8)]
    assert world.carriers == entries
    for unchanged in (("192.0.2.8", "192.0.2.7"), ()):
        world.planner.resolution_changed("gw.west.example", unchanged)
        assert world.settle() == []
    world.planner.resolution_changed("gw.west.example", ("192.0.2.8",))
    assert world.carriers == entries[1:]

    world.remove(service("ratings"))
    world.settle()
    assert world.planner.names_to_resolve() == frozenset()


# --- what a change touches ------------------------------------------------------------------------


def test_a_new_offer_touches_its_host_and_who_reports_it() -> None:
    world = World(mesh_federation(), remote_mesh(), *(federated_service("west", f"s{number}") for number in range(20)))
    world.settle()
    world.put(federated_service("west", "new"))
    worked = world.settle()
    assert [key for key in worked if key != RemoteStatusKey("west")] == [
        ImportKey(host("new")),
        OfferKey(record("new")),
        MeshStatusKey(),
    ]
    assert worked.count(RemoteStatusKey("west")) == 1
    world.put(federated_service("west", "new"))
    assert world.settle() == []


def test_working_a_key_out_again_gives_the_same() -> None:
    world = west_and_north().put(service("ratings"), service("a"))
    world.settle()
    for key, outputs in list(world.outputs.items()):
        assert world.planner.reconcile(key) == outputs
    assert world.settle() == []


def test_of_a_name_with_very_many_addresses_the_first_are_taken() -> None:
    world = World(
        mesh_federation(),
        remote_mesh(addresses=["gw.west.example"], **MERGE),
        service("ratings"),
        federated_service("west", "ratings"),
    )
    world.settle()
    addresses = tuple(f"192.0.2.{number}" for number in range(1, 255))
    world.planner.resolution_changed("gw.west.example", addresses[::-1])
    assert len(world.carriers) == 64
    world.planner.resolution_changed("gw.west.example", addresses)
    assert world.settle() == []


def test_what_one_remote_offers_is_worked_out_before_the_thousands_of_another() -> None:
    world = World(
        mesh_federation(),
        remote_mesh("west"),
        remote_mesh("south"),
        federated_service("west", "shared"),
        federated_service("south", "shared"),
    )
    world.settle()
    for number in range(3):
        world.put(
            *(federated_service("west", f"s{number}-{each}") for each in range(1000)),
            federated_service("west", "shared", labels={"version": str(number)}),
        )
        world.put(
            federated_service("south", f"mine-{number}"),
            federated_service("south", "shared", labels={"version": str(number)}),
        )
        waits = {
            *(ImportKey(host(name)) for name in (f"mine-{number}", "shared")),
            *(OfferKey(record(name, "south")) for name in (f"mine-{number}", "shared")),
        }
        worked = 0
        while waits and (turn := world.planner.take_dirty()):
            for key in turn.keys:
                world.planner.reconcile(key)
            waits.difference_update(turn.keys)
            worked += len(turn.keys)
        assert worked <= 8 * TURN, "two turns of each of three: the remotes, and this mesh"
    assert world.planner.waiting > 2000
