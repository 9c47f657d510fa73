"""From Services to Gateways, to what the router needs, and to what remotes are told."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed.federation.exports import decide
from meshfed.federation.gateway_shards import HOSTS_PER_GATEWAY
from meshfed.model.reasons import Reason
from meshfed.plan import ExportKey, GatewayKey, Key, MeshKey, MeshStatusKey, Outputs, Planner, Settings
from tests.builders import GATEWAY, host, mesh_federation, namespace, pod, port, service
from tests.world import World, stored

ROUTER: dict[str, Any] = {
    "ingress": {
        "type": "openshift-router",
        "gateway": {"selector": {"app": "federation-ingress-gateway"}, "portConfig": {"number": 443, "name": "tls"}},
    }
}


def rules(*given: dict[str, Any]) -> dict[str, Any]:
    return {"rules": list(given)}


def test_a_mesh_that_exports_nothing_has_its_discovery_service_guarded_and_reachable() -> None:
    world = World(mesh_federation(), service("reviews"))
    assert world.manifests == {
        "Gateway istio-system/federation-ingress-gateway": {
            "selector": {"app": "federation-ingress-gateway"},
            "servers": [
                {
                    "port": {"number": 15443, "name": "tls-passthrough", "protocol": "TLS"},
                    "hosts": ["federation-discovery-service-east.istio-system.svc.cluster.local"],
                    "tls": {"mode": "AUTO_PASSTHROUGH"},
                }
            ],
        },
        "PeerAuthentication istio-system/fds-strict-mtls": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": "federation-controller"}},
            "mtls": {"mode": "STRICT"},
            "portLevelMtls": {"8080": {"mode": "PERMISSIVE"}},
        },
        "AuthorizationPolicy istio-system/fds-known-remotes": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": "federation-controller"}},
            "action": "ALLOW",
            "rules": [{"to": [{"operation": {"notPorts": ["15080"]}}]}],
        },
    }
    assert world.published == {}


def test_a_labelled_service_is_offered_and_listed_and_unlabelled_it_is_neither() -> None:
    world = World(mesh_federation(), service("reviews", exported=True), service("details"))
    assert (world.gateways, world.published) == ([[host("reviews")]], {host("reviews"): None})

    world.put(service("reviews"), service("details", exported=True))
    assert (world.gateways, world.published) == ([[host("details")]], {host("details"): None})

    world.remove(service("details", exported=True))
    assert (world.gateways, world.published) == ([[]], {})


def test_a_change_to_the_labels_of_a_namespace_reaches_its_services() -> None:
    prod = {"namespaceSelectors": {"matchLabels": {"env": "prod"}}}
    world = World(mesh_federation(export=prod), service("a.one"), service("b.two"), namespace("one", env="prod"))
    assert world.gateways == [[host("a.one")]]
    world.put(namespace("one"), namespace("two", env="prod"))
    assert world.gateways == [[host("b.two")]]
    world.remove(namespace("two"))
    assert world.gateways == [[]]


def test_a_namespace_is_known_by_its_name_even_before_it_is_seen() -> None:
    named = {"namespaceSelectors": {"matchLabels": {"kubernetes.io/metadata.name": "one"}}}
    assert World(mesh_federation(export=named), service("a.one"), service("b.two")).gateways == [[host("a.one")]]


def test_changed_rules_reach_every_service() -> None:
    world = World(mesh_federation(), service("a", exported=True), service("b"))
    assert world.gateways == [[host("a")]]
    world.put(mesh_federation(export=rules({"action": "Export", "names": ["b"], "remotes": ["west"]})))
    assert (world.gateways, world.published) == ([[host("b")]], {host("b"): frozenset({"west"})})
    world.put(mesh_federation(export=None))
    assert (world.gateways, world.published) == ([[]], {})


def test_an_alias_is_offered_and_the_gateway_lists_the_services_own_host() -> None:
    world = World(mesh_federation(export=rules({"action": "Export", "as": {"name": "pay"}})), service("a"))
    assert (world.gateways, list(world.published)) == ([[host("a")]], [host("pay")])


def test_two_services_under_one_host_the_older_has_it_and_the_other_takes_over() -> None:
    alias = {"action": "Export", "names": ["a", "b"], "as": {"name": "pay"}}
    world = World(
        mesh_federation(export=rules(alias, {"action": "Export"})),
        service("a", created="2026-02-01T00:00:00Z"),
        service("b", created="2026-01-01T00:00:00Z"),
    )
    assert world.gateways == [[host("b")]]
    refused = world.outputs[ExportKey("default", "a")].export_decision
    assert refused is not None
    assert refused.reason is Reason.HOST_TAKEN

    world.put(service("pay", created="2026-03-01T00:00:00Z"))
    assert world.gateways == [[host("pay")]]
    world.remove(service("pay"), service("b"))
    assert world.gateways == [[host("a")]]


def test_behind_a_router_each_port_has_a_filter_and_a_route_and_so_has_discovery() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "grpc", "port": 81}]
    world = World(mesh_federation(**ROUTER), service("a", exported=True, ports=ports))
    fds = "federation-discovery-service-east.istio-system.svc.cluster.local.15080"
    a = host("a")
    assert sorted(name for name in world.manifests if name.startswith(("EnvoyFilter", "Route"))) == sorted(
        [f"EnvoyFilter istio-system/sni.{end}" for end in (fds, f"{a}.80", f"{a}.81")]
        + [f"Route istio-system/federation-ingress-gateway.{end}" for end in (fds, f"{a}.80", f"{a}.81")]
    )
    world.put(mesh_federation())
    assert not [name for name in world.manifests if name.startswith(("EnvoyFilter", "Route"))]


def test_a_name_that_the_router_cannot_serve_is_said_and_harms_nothing_else() -> None:
    long = "a" * 60
    world = World(mesh_federation(**ROUTER), service(long, exported=True), service("b", exported=True))
    assert world.gateways == [sorted([host(long), host("b")])]
    assert not [name for name in world.manifests if long in name]
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == "False NameTooLong"
    world.put(mesh_federation())
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == "True Exporting"


def test_a_service_export_exports_and_is_told_so() -> None:
    world = World(
        mesh_federation(export={"serviceExports": True, "serviceSelectors": {"matchLabels": {"x": "y"}}}), service("a")
    )
    assert world.gateways == [[]]
    world.planner.service_export_changed("default", "a", 3)
    world.planner.service_export_changed("default", "nobody", 1)
    assert world.gateways == [[host("a")]]
    assert world.statuses["ServiceExport a"].observed_generation == 3
    assert world.conditions("ServiceExport", "a") == {"Valid": "True Exported"}
    assert world.conditions("ServiceExport", "nobody") == {"Valid": "False NoService"}
    world.planner.service_export_changed("default", "a", None)
    assert world.gateways == [[]]
    assert "ServiceExport a" not in world.statuses


def test_long_lists_are_spread_over_gateways_that_keep_their_hosts() -> None:
    names = [f"s{number:04}" for number in range(HOSTS_PER_GATEWAY + 10)]
    world = World(mesh_federation(), *(service(name, exported=True) for name in names))
    assert [len(hosts) for hosts in world.gateways] == [HOSTS_PER_GATEWAY - 1, 11]
    world.remove(*map(service, names[:20]))
    assert [len(hosts) for hosts in world.gateways] == [HOSTS_PER_GATEWAY - 21, 11]
    world.remove(*map(service, names[-11:]))
    assert [len(hosts) for hosts in world.gateways] == [HOSTS_PER_GATEWAY - 21]


def test_the_homes_of_a_previous_life_are_kept_and_what_is_gone_leaves() -> None:
    world = World(mesh_federation(), service("a", exported=True), service("b", exported=True))
    world.planner.gateway_observed(1, [host("a"), host("gone")])
    world.planner.gateway_observed(0, ["federation-discovery-service-east.istio-system.svc.cluster.local"])
    assert world.gateways == [[host("b")], [host("a")]]


def test_a_change_that_decides_nothing_marks_nothing() -> None:
    world = World(mesh_federation(), service("a", exported=True), service("b"))
    world.settle()
    world.put(
        service("a", exported=True),
        service("b", labels={"irrelevant": "label"}),
        namespace("default", any="label"),
        mesh_federation(),
    )
    assert world.settle() == []


def test_a_new_export_touches_its_own_key_its_gateway_and_the_counts() -> None:
    world = World(mesh_federation(), *(service(f"s{number}", exported=True) for number in range(20)))
    world.settle()
    world.put(service("new", exported=True))
    assert world.settle() == [ExportKey("default", "new"), GatewayKey(0), MeshStatusKey()]
    world.put(service("new", exported=True, ports=[{"name": "http", "port": 81}]))
    assert world.settle() == [ExportKey("default", "new")]


def test_without_a_mesh_federation_there_is_nothing_and_a_deleted_one_leaves_nothing() -> None:
    world = World(service("a", exported=True))
    assert (world.manifests, world.published, world.statuses) == ({}, {}, {})
    world.put(mesh_federation())
    assert len(world.manifests) == 3
    world.put(mesh_federation(deleted="2026-01-02T00:00:00Z"))
    assert (world.manifests, world.published, world.statuses) == ({}, {}, {})
    assert MeshKey() in world.outputs


def test_the_oldest_mesh_federation_is_in_force_and_the_next_takes_over() -> None:
    world = World(
        mesh_federation("younger", created="2026-02-01T00:00:00Z"),
        mesh_federation("older", created="2026-01-01T00:00:00Z"),
    )
    assert world.conditions("MeshFederation", "younger") == dict.fromkeys(
        ("Ready", "GatewayReady", "ExportsReady"), "False Duplicate"
    )
    assert "federation-discovery-service-older.istio-system.svc.cluster.local" in str(world.manifests)
    world.remove(mesh_federation("older"))
    assert world.conditions("MeshFederation", "younger")["ExportsReady"] == "True NothingExported"
    assert "federation-discovery-service-younger.istio-system.svc.cluster.local" in str(world.manifests)


def test_whoever_asked_for_an_export_without_a_service_hears_once_that_is_listened_to() -> None:
    world = World(mesh_federation(export={}))
    world.planner.service_export_changed("x", "a", 1)
    world.put(mesh_federation(export={"serviceExports": True}))
    world.settle()
    (status,) = world.outputs[ExportKey("x", "a")].statuses
    assert status.conditions[0].reason == Reason.NO_SERVICE


def test_a_service_that_our_code_fails_on_from_the_start_holds_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(mesh: Any, export: Any, given: Any, *more: Any, **parts: Any) -> Any:
        if given.metadata.name == "a":
            raise ValueError(given.metadata.name)
        return decide(mesh, export, given, *more, **parts)

    monkeypatch.setattr("meshfed.plan.exports.decide", failing)
    failed: list[Any] = []
    planner = Planner(Settings(), on_failed=lambda subject, _: failed.append(subject))
    alias = {"action": "Export", "names": ["b"], "as": {"name": "a"}}
    planner.federation_changed("east", stored(mesh_federation(export={"rules": [alias]})))
    for name in "ab":
        planner.inputs.services.put(("default", name), stored(service(name)))
    outputs: dict[Key, Outputs | None] = {}
    while turn := planner.take_dirty():
        outputs |= {key: planner.reconcile(key) for key in turn.keys}
    assert failed == [("Service", "default", "a")]
    assert outputs[ExportKey("default", "a")] is None
    found = outputs[ExportKey("default", "b")]
    assert found is not None
    assert found.export is not None
    assert found.export.offer.host == host("a")


PORTS = [port(80), port(9464, "metrics")]
HTTP_ALONE = rules({"action": "Export", "ports": ["http"]})
FILTER = f"EnvoyFilter istio-system/sni.{host('a')}.80"


def filters(world: World) -> list[str]:
    return [name for name in world.manifests if name.startswith("EnvoyFilter")]


def test_a_host_of_which_ports_are_left_out_is_in_no_gateway_and_each_of_the_others_has_a_filter_chain() -> None:
    world = World(mesh_federation(export=HTTP_ALONE), service("a", ports=PORTS), service("b"))
    assert (world.gateways, filters(world)) == ([[]], [FILTER, f"EnvoyFilter istio-system/sni.{host('b')}.9080"])
    assert list(world.published) == [host("a"), host("b")]
    decision = world.outputs[ExportKey("default", "a")].export_decision
    assert decision is not None
    assert decision.message == (
        f"offered to every remote mesh as {host('a')}, by export rule 1; left out: port 9464 metrics (export rule 1 is "
        "for other ports)"
    )
    [exporting] = [one for one in world.statuses["MeshFederation east"].conditions if one.type == "ExportsReady"]
    assert exporting.message == "2 services exported: default/a (without port 9464), default/b"


def test_a_port_that_comes_up_later_was_never_open() -> None:
    world = World(mesh_federation(export=HTTP_ALONE), service("a", ports=PORTS[:1]))
    before = world.manifests
    world.put(service("a", ports=PORTS))
    assert world.manifests == before


def test_what_comes_to_be_exported_by_port_waits_for_nothing_and_nothing_waits_for_it() -> None:
    """One EnvoyFilter that cannot be written or deleted would else hold up what others export."""
    world = World(mesh_federation(export=rules({"action": "Export"})), service("a", ports=PORTS))
    assert (world.gateways, filters(world)) == ([[host("a")]], [])
    for export, found in ((HTTP_ALONE, ([[]], [FILTER])), (rules({"action": "Export"}), ([[host("a")]], []))):
        world.put(mesh_federation(export=export))
        assert (world.gateways, filters(world)) == found
        assert list(world.published) == [host("a")]
        assert world.outputs[GatewayKey(0)].after == frozenset()


TLS = [port(15443, "tls", "tls"), port(1, "x", 2)]
GATEWAYS = {
    "no Service": ([], [15443]),
    "a Service that leads elsewhere": ([service("gw.x", selector=GATEWAY, ports=[port(15443, "tls", 8443)])], [8443]),
    "a name of which no pod is known": ([service("gw.x", selector=GATEWAY, ports=TLS)], [15443]),
    "another port": ([service("gw.x", selector=GATEWAY, ports=[port(443, "tls", 8443)])], [15443]),
    "a name": (
        [
            service("gw.x", selector=GATEWAY, ports=TLS),
            pod("gw-1.x", labels=GATEWAY, ports={"tls": 8443}, sidecar=False),
            pod("gw-2.x", labels=GATEWAY, ports={"tls": 9443}, sidecar=False),
        ],
        [8443, 9443],
    ),
    "two Services, of which istiod takes either": (
        [
            service("gw.x", selector=GATEWAY, ports=[port(15443, "tls", 8443)]),
            service("old.x", selector=GATEWAY, ports=[port(15443, "tls")]),
        ],
        [8443, 15443],
    ),
    "a Service of another namespace than the pods": (
        [service("gw.y", selector=GATEWAY, ports=[port(15443, "tls", 8443)]), pod("gw-1.x", labels=GATEWAY)],
        [15443],
    ),
    "a Service of some pods alone": (
        [
            service("gw.x", selector=GATEWAY | {"v": "2"}, ports=[port(15443, "tls", 8443)]),
            pod("gw-1.x", labels=GATEWAY | {"v": "1"}),
            pod("gw-2.x", labels=GATEWAY | {"v": "2"}),
        ],
        [8443, 15443],
    ),
}


@pytest.mark.parametrize("case", GATEWAYS)
def test_a_filter_chain_is_wherever_pods_of_the_gateway_may_listen(case: str) -> None:
    given, expected = GATEWAYS[case]
    world = World(mesh_federation(export=HTTP_ALONE), service("a", ports=PORTS), *given)
    patches = world.manifests[FILTER]["configPatches"]
    assert [patch["match"]["listener"]["portNumber"] for patch in patches] == expected
    assert len({str(patch["patch"]) for patch in patches}) == 1


def test_thousands_of_ports_are_counted_and_only_some_are_named() -> None:
    """An API server takes no condition of more than 32 KB."""
    many = [port(number, f"p-{number}") for number in range(10000, 13000)]
    world = World(mesh_federation(export=HTTP_ALONE), service("a", ports=[*PORTS, *many]))
    world.settle()
    decision = world.outputs[ExportKey("default", "a")].export_decision
    assert decision is not None
    assert len(decision.message) < 1000
    assert decision.message.endswith("10018 p-10018 (export rule 1 is for other ports) and 2981 more")


def test_an_export_by_port_that_was_there_counts_as_listed() -> None:
    world = World()
    world.planner.filter_observed(("default", "a"))
    assert world.planner.is_listed(("default", "a"))
    world.put(mesh_federation(export=HTTP_ALONE), service("a", ports=PORTS)).settle()
    assert world.planner.is_listed(("default", "a"))
    world.remove(service("a")).settle()
    assert not world.planner.is_listed(("default", "a"))
