"""DestinationRules of others: whose place they take, whose place ours takes, and who is in their subsets."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshfed.derive import Unknown
from meshfed.federation.exports import decide
from meshfed.federation.imports import judge
from meshfed.model.meshes import MeshConfig
from meshfed.plan import Applied, ExportKey, GatewayKey, ImportKey, MeshKey
from meshfed.plan.foreign_destination_rules import of_destination_rule
from meshfed_sandbox.dataplane.translate import read_mesh
from meshfed_sandbox.dataplane.translate.destination_rules import policy as policy_of
from meshfed_sandbox.dataplane.translate.registry import Service
from tests.builders import GATEWAY, SYSTEM, federated_service, manifest, mesh_federation, port, remote_mesh, service
from tests.sandbox.dataplane.cluster_objects import SETTINGS
from tests.world import World, rooted, rule_of_others

RATINGS = "ratings.default.svc.cluster.local"
RECORD = f"{RATINGS}.west"
OURS = f"DestinationRule istio-system/mtls-sni.{RATINGS}"
OUTLIERS: dict[str, Any] = {"outlierDetection": {"consecutive5xxErrors": 3}}
ROUND_ROBIN: dict[str, Any] = {"loadBalancer": {"simple": "ROUND_ROBIN"}}
ROUTER: dict[str, Any] = {"ingressType": "openshift-router"}
V1 = {"name": "v1", "labels": {"version": "v1"}}
LOST = (
    "takes the place of the one with `trafficPolicy` of RemoteMesh west, and nothing of its outlierDetection counts: "
    "state it there too, or delete that rule"
)


def imported(*, beside: bool = False, **remote: Any) -> World:
    """Ratings, imported from west, which asks for outlier detection; ``beside`` a local Service."""
    spec = {"trafficPolicy": OUTLIERS, "import_": {"merge": True}} | remote
    world = World(
        mesh_federation(), remote_mesh(**spec), federated_service("west", "ratings", labels={"app": "ratings"})
    )
    return world.put(service("ratings")) if beside else world


def put(world: World, where: str, host: str, *, name: str = "theirs", **spec: Any) -> World:
    world.planner.inputs.rules.put((where, name), rule_of_others(host, **spec))
    return world


def said(world: World) -> tuple[str, str]:
    """The reason, and what is said beyond that it is imported."""
    accepted = world.statuses[f"FederatedService {RECORD}"].conditions[0]
    return str(accepted.reason), accepted.message.removeprefix(f"imported as {RATINGS}").removeprefix("; ")


def policy(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.manifests[OURS]["trafficPolicy"]
    return found


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    ("where", "host", "spec", "whom"),
    [
        ("istio-system", RATINGS, {"trafficPolicy": ROUND_ROBIN}, ""),
        ("istio-system", RATINGS, {"trafficPolicy": {}}, ""),
        ("istio-system", RATINGS, {"exportTo": ["*"]}, ""),
        ("istio-system", RATINGS, {"trafficPolicy": {}, "exportTo": ["web"]}, "for clients in web "),
        ("istio-system", "*.local", {"exportTo": ["."]}, "for clients in istio-system "),
        ("istio-system", "*.local", {"workloadSelector": {}}, "for clients in istio-system "),
        ("web", RATINGS, {"trafficPolicy": ROUND_ROBIN}, "for clients in web "),
        ("web", "*.default.svc.cluster.local", {}, "for clients in web "),
        ("web", "*", {"exportTo": ["web", "shop"]}, "for clients in web "),
        ("web", RATINGS, {"exportTo": ["."]}, "for clients in web "),
        (
            "web",
            RATINGS,
            {"workloadSelector": {"matchLabels": {"a": "b"}}, "trafficPolicy": OUTLIERS},
            "for clients in web ",
        ),
        (
            "web",
            RATINGS,
            {"trafficPolicy": OUTLIERS | {"portLevelSettings": [{"port": {"number": 9080}} | ROUND_ROBIN]}},
            "for clients in web ",
        ),
    ],
)
def test_outlier_detection_that_another_rule_displaces(
    beside: bool, where: str, host: str, spec: dict[str, Any], whom: str
) -> None:
    world = imported(beside=beside)
    before = (world.carriers, world.manifests)
    put(world, where, host, **spec)
    assert said(world) == ("TrafficPolicyOverridden", f"{whom}DestinationRule {where}/theirs {LOST}")
    assert (world.carriers, world.manifests) == before, "it stays as it is"
    world.planner.inputs.rules.put((where, "theirs"), None)
    assert said(world) == ("Accepted", "")


@pytest.mark.parametrize(
    ("host", "spec", "whom"),
    [
        ("ratings", {"trafficPolicy": ROUND_ROBIN}, ""),
        ("ratings", {"subsets": []}, ""),
        ("*.default.svc.cluster.local", {}, ""),
        (RATINGS, {"exportTo": ["."]}, "for clients in default "),
        (RATINGS, {"exportTo": ["web", "default"]}, "for clients in default, web "),
        (RATINGS, {"exportTo": ["web"]}, "for clients in web "),
        (RATINGS, {"workloadSelector": {}}, "for clients in default "),
    ],
)
def test_a_rule_beside_a_local_service_counts_for_whom_it_is_exported_to(
    host: str, spec: dict[str, Any], whom: str
) -> None:
    world = put(imported(beside=True), "default", host, **spec)
    reason, message = said(world)
    assert (reason, message.removesuffix(LOST)) == ("TrafficPolicyOverridden", f"{whom}DestinationRule default/theirs ")


@pytest.mark.parametrize(
    ("where", "host", "spec"),
    [
        ("web", RATINGS, {"trafficPolicy": {"outlierDetection": {}}}),
        ("web", RATINGS, {"trafficPolicy": OUTLIERS | {"portLevelSettings": [{"port": {"number": 1}} | ROUND_ROBIN]}}),
        ("istio-system", RATINGS, {}),
        ("web", RATINGS, {"exportTo": ["shop"]}),
        ("web", "ratings", {}),
        ("web", "*.web.svc.cluster.local", {}),
        ("istio-system", "*.default.svc.cluster.local", {}),
    ],
)
def test_a_rule_that_takes_nothing_away_is_not_spoken_of(where: str, host: str, spec: dict[str, Any]) -> None:
    assert said(put(imported(), where, host, **spec)) == ("Accepted", "")


def test_a_rule_is_spoken_of_only_where_somebody_sees_the_import() -> None:
    world = put(imported(import_={"exportTo": ["shop"]}), "web", RATINGS)
    assert said(world) == ("Accepted", "")
    assert said(put(world, "shop", RATINGS))[0] == "TrafficPolicyOverridden"
    local = imported(beside=True).put(service("ratings", annotations={"networking.istio.io/exportTo": "shop"}))
    assert said(put(local, "web", RATINGS))[0] == "Accepted"
    assert said(put(local, "shop", RATINGS))[0] == "TrafficPolicyOverridden"


def test_of_those_for_a_host_in_one_namespace_the_oldest_policy_counts() -> None:
    world = put(imported(), "web", RATINGS, name="a", created="2026-01-02T00:00:00Z", trafficPolicy=OUTLIERS)
    assert said(put(world, "web", RATINGS, name="b", created="2026-01-01T00:00:00Z")) == ("Accepted", "")
    put(world, "web", RATINGS, name="c", created="2026-01-01T00:00:00Z", trafficPolicy=ROUND_ROBIN)
    assert said(world) == ("TrafficPolicyOverridden", f"for clients in web DestinationRule web/c {LOST}")
    put(world, "web", RATINGS, name="c", created="2026-01-03T00:00:00Z", trafficPolicy=ROUND_ROBIN)
    assert said(world) == ("Accepted", "")


def test_the_more_specific_host_counts_whoever_sees_it() -> None:
    world = put(imported(beside=True), "default", "*.local", name="wide")
    assert said(world)[0] == "TrafficPolicyOverridden"
    put(world, "default", "*.svc.cluster.local", name="narrow", exportTo=["web"])
    assert said(world)[1].startswith("for clients in default, web DestinationRule default/narrow, default/wide")
    put(world, "default", RATINGS, name="exact", trafficPolicy=OUTLIERS)
    assert said(world) == ("Accepted", "")


def test_who_has_a_rule_of_ours_for_the_sni_alone_loses_no_policy() -> None:
    world = imported(trafficPolicy=None, **ROUTER)
    assert said(put(world, "web", RATINGS, trafficPolicy=ROUND_ROBIN))[0] == "SNIOverridden"
    assert said(world)[1].startswith("not for clients in web, whose DestinationRule web/theirs")


def test_who_does_not_get_through_to_one_port_loses_the_policy_of_the_others_alone() -> None:
    ports = [{"number": number, "name": f"p{number}", "protocol": "HTTP"} for number in (9080, 9081)]
    world = imported().put(federated_service("west", "ratings", ports=ports))
    off = {"portLevelSettings": [{"port": {"number": 9080}} | OFF]}
    put(world, "web", RATINGS, trafficPolicy=off)
    barred = f"port 9080 not for clients in web, whose DestinationRule web/theirs {STATES_OFF}"
    lost = f"; for clients in web DestinationRule web/theirs {LOST}"
    assert said(world) == ("MTLSDisabled", barred + lost)
    put(world, "web", RATINGS, trafficPolicy=OUTLIERS | off)
    assert said(world) == ("MTLSDisabled", barred)
    put(world, "web", RATINGS, trafficPolicy=OFF)
    assert said(world) == ("MTLSDisabled", barred.removeprefix("port 9080 "))


def test_who_states_the_sni_of_the_remote_too_takes_nothing_away() -> None:
    world = imported(trafficPolicy=None, **ROUTER)
    tls = {"mode": "ISTIO_MUTUAL", "sni": "ratings-9080.default.svc.cluster.local"}
    for stating in ({"tls": tls}, {"portLevelSettings": [{"port": {"number": 9080}, "tls": tls}]}):
        for where in ("web", "istio-system"):
            put(world, where, RATINGS, trafficPolicy=stating)
            assert said(world) == ("Accepted", "")
    put(world, "istio-system", RATINGS, trafficPolicy={"tls": tls | {"mode": "SIMPLE"}})
    assert said(world)[0] == "SNIOverridden"
    put(
        world, "istio-system", RATINGS, trafficPolicy={"tls": tls} | {"portLevelSettings": [{"port": {"number": 9080}}]}
    )
    assert said(world)[0] == "SNIOverridden"
    world.planner.inputs.rules.put(("istio-system", "theirs"), None)
    put(world, "web", RATINGS, trafficPolicy={"tls": tls}, workloadSelector={})
    assert said(world)[1].startswith("not for clients in web"), "whom it does not select has no SNI at all"


def test_a_rule_in_the_control_plane_that_adds_only_subsets_to_ours_keeps_the_sni() -> None:
    world = put(imported(trafficPolicy=None, **ROUTER), "istio-system", RATINGS, subsets=[V1])
    assert (world.accepted()[RECORD], len(world.carriers)) == ("Accepted", 2)
    put(world, "istio-system", RATINGS, subsets=[V1], exportTo=["*"])
    assert (world.accepted()[RECORD], len(world.carriers)) == ("SNIOverridden", 0)


# --- which one counts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["*tings.default.svc.cluster.local", "*ault.svc.cluster.local", "*uster.local"])
def test_a_wildcard_may_have_the_end_of_a_label(host: str) -> None:
    assert said(put(imported(), "web", host)) == (
        "TrafficPolicyOverridden",
        f"for clients in web DestinationRule web/theirs {LOST}",
    )
    assert said(put(imported(), "web", host.replace("*", "*x")))[0] == "Accepted"


def test_a_wildcard_without_a_dot_is_for_services_of_its_namespace() -> None:
    assert said(put(imported(beside=True), "default", "*s"))[0] == "TrafficPolicyOverridden"
    assert said(put(imported(beside=True), "default", "*x"))[0] == "Accepted"
    assert said(put(imported(), "web", "*s"))[0] == "Accepted"


def test_the_longer_wildcard_is_the_more_specific_one() -> None:
    world = put(imported(), "web", "*.default.svc.cluster.local", name="shorter")
    assert said(world)[0] == "TrafficPolicyOverridden"
    put(world, "web", "*s.default.svc.cluster.local", name="longer", trafficPolicy=OUTLIERS)
    assert said(world) == ("Accepted", "")


def test_of_those_that_stand_side_by_side_the_youngest_counts() -> None:
    world = put(imported(), "web", RATINGS, name="a", created="2026-01-01T00:00:00Z", exportTo=["*"])
    assert said(world)[0] == "TrafficPolicyOverridden"
    put(world, "web", RATINGS, name="b", created="2026-01-02T00:00:00Z", exportTo=["."], trafficPolicy=OUTLIERS)
    assert said(world) == ("Accepted", "")
    put(world, "web", RATINGS, name="c", created="2026-01-03T00:00:00Z")
    assert said(world)[1] == f"for clients in web DestinationRule web/c {LOST}"


def test_one_that_is_exported_to_more_than_an_older_one_is_part_of_that() -> None:
    """And whom the older one leaves out hears of neither (``PushContext.mergeDestinationRule``)."""
    world = put(imported(beside=True), "default", RATINGS, name="a", exportTo=["web"], trafficPolicy=OUTLIERS)
    put(world, "default", RATINGS, name="b", exportTo=["web", "shop"])
    assert said(world) == ("Accepted", "")
    put(world, "default", RATINGS, name="a", exportTo=["web"])
    assert said(world)[1].startswith("for clients in web DestinationRule default/a takes")
    put(world, "default", RATINGS, name="b", exportTo=["shop"])
    assert said(world)[1].startswith("for clients in shop, web DestinationRule default/a, default/b takes")


@pytest.mark.parametrize(
    ("stated", "whom"), [((), ""), (("*",), ""), (("shop",), ""), ((".",), "for clients in default ")]
)
def test_for_whom_a_rule_is_that_says_nothing_the_mesh_says(stated: tuple[str, ...], whom: str) -> None:
    world = put(imported(beside=True), "default", RATINGS)
    config = MeshConfig(source="ConfigMap istio-system/istio", default_destination_rule_export_to=stated)
    world.planner.mesh_config_changed(config)
    assert said(world)[1] == f"{whom}DestinationRule default/theirs {LOST}"


def test_ours_is_merged_with_those_that_are_exported_as_ours_is() -> None:
    world = put(imported(trafficPolicy=None, **ROUTER), "istio-system", RATINGS, subsets=[V1], exportTo=["*"])
    assert said(world)[0] == "SNIOverridden"
    config = MeshConfig(source="ConfigMap istio-system/istio", default_destination_rule_export_to=(".",))
    world.planner.mesh_config_changed(config)
    assert said(world)[0] == "Accepted", "and ours then says that it is for everyone too"
    put(world, "istio-system", RATINGS, subsets=[V1])
    assert said(world)[1].startswith("not for clients in istio-system, whose DestinationRule istio-system/theirs takes")


def test_whom_one_does_not_select_another_of_the_namespace_serves() -> None:
    world = put(imported(), "web", RATINGS, name="some", workloadSelector={}, trafficPolicy=OUTLIERS)
    assert said(world)[0] == "TrafficPolicyOverridden"
    put(world, "web", RATINGS, name="others", trafficPolicy=OUTLIERS)
    assert said(world) == ("Accepted", "")
    put(world, "web", RATINGS, name="others", trafficPolicy=ROUND_ROBIN)
    assert said(world)[1].startswith("for clients in web DestinationRule web/others takes")


@pytest.mark.parametrize(
    ("export_to", "whom"),
    [(["*", "."], ""), (["*", "web"], ""), (["~"], None), ([""], None), (["web", "~"], "for clients in web ")],
)
def test_whom_a_rule_is_exported_to(export_to: list[str], whom: str | None) -> None:
    world = put(imported(beside=True), "default", RATINGS, exportTo=export_to)
    expected = (
        ("Accepted", "")
        if whom is None
        else ("TrafficPolicyOverridden", f"{whom}DestinationRule default/theirs {LOST}")
    )
    assert said(world) == expected


def test_what_is_said_of_many_rules_is_short() -> None:
    world = imported(trafficPolicy=OUTLIERS)
    router = imported(trafficPolicy=None, **ROUTER)
    for number in range(300):
        put(world, f"n{number:03}", "*.local")
        put(router, f"n{number:03}", "*.local")
    assert said(world)[1].startswith("for clients in n000, n001, n002 and 297 more DestinationRule n000/theirs, n001/")
    assert said(router)[1].startswith("not for clients in n000, n001, n002 and 297 more, whose DestinationRule n000/")
    assert max(len(said(one)[1]) for one in (world, router)) < 500


# --- what keeps calls from the remote's gateway --------------------------------------------------------

OFF = {"tls": {"mode": "DISABLE"}}
STATES_OFF = "states `tls.mode: DISABLE`, and the ingress of RemoteMesh west takes Istio's mTLS alone"
MUTUAL = {"tls": {"mode": "ISTIO_MUTUAL"}}


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    ("where", "host"), [("istio-system", "*.local"), ("istio-system", RATINGS), ("default", "ratings")]
)
@pytest.mark.parametrize("mode", ["DISABLE", "SIMPLE", "MUTUAL", None])
def test_a_rule_that_has_everybody_speak_no_mtls_with_the_remote(
    where: str, host: str, mode: str | None, beside: bool
) -> None:
    if where == "default":
        beside = True
    tls = {} if mode is None else {"mode": mode}
    world = put(imported(beside=beside, trafficPolicy=None), where, host, trafficPolicy={"tls": tls})
    assert (said(world)[0], world.carriers) == ("MTLSDisabled", [])
    assert said(world)[1] == (
        f"DestinationRule {where}/theirs states `tls.mode: {mode or 'DISABLE'}`, and the ingress of RemoteMesh west "
        "takes Istio's mTLS alone; set ISTIO_MUTUAL there, or leave `tls` out"
    )
    put(world, where, host, trafficPolicy=MUTUAL)
    assert said(world) == ("Accepted", "")


def test_what_cannot_join_a_local_service_at_all_is_told_that() -> None:
    world = put(imported(beside=True, trafficPolicy=None, import_={}), "default", "ratings", trafficPolicy=OFF)
    assert said(world)[0] == "LocalServiceExists"


def test_a_port_that_is_left_out_may_keep_the_others_from_joining_a_local_service() -> None:
    local = service("ratings", ports=[port(9080, "http", "web"), port(9000, "admin", 7000)])
    ports = [
        {"number": 9080, "name": "http", "protocol": "HTTP"},
        {"number": 9000, "name": "admin", "protocol": "HTTP"},
    ]
    offered = federated_service("west", "ratings", ports=ports)
    world = World(mesh_federation(), remote_mesh(import_={"merge": True}), offered, local)
    assert said(world)[0] == "Accepted"
    put(world, "default", "ratings", trafficPolicy={"portLevelSettings": [{"port": {"number": 9000}} | OFF]})
    assert (said(world)[0], world.carriers) == ("LocalServiceUnusable", []), "istiod would dial 7000 at the gateway"
    world.put(service("ratings", ports=[port(9080, "http", "web"), port(9000, "admin", "admin")]))
    assert said(world)[0] == "PortsLeftOut"


def test_a_rule_of_some_clients_that_has_them_speak_no_mtls_is_named() -> None:
    world = imported(trafficPolicy=None)
    assert said(put(world, "web", "*.local", trafficPolicy=OFF)) == (
        "MTLSDisabled",
        f"not for clients in web, whose DestinationRule web/theirs {STATES_OFF}",
    )
    put(world, "shop", "*.local", trafficPolicy=OFF)
    assert said(world)[1] == (
        f"not for clients in shop, web, whose DestinationRule shop/theirs, web/theirs {STATES_OFF}"
    )
    assert said(put(imported(import_={"exportTo": ["shop"]}), "web", RATINGS, trafficPolicy=OFF)) == ("Accepted", "")


def test_a_rule_of_ours_that_counts_has_them_speak_mtls_all_the_same() -> None:
    world = put(imported(), "istio-system", "*.local", trafficPolicy=OFF)
    assert said(world)[0] == "Accepted"
    assert said(put(world, "istio-system", RATINGS, trafficPolicy=OFF))[0] == "MTLSDisabled"


def test_another_sni_is_one_that_the_remote_does_not_know() -> None:
    world = imported(trafficPolicy=None)
    put(world, "istio-system", "*.local", trafficPolicy={"tls": {"mode": "ISTIO_MUTUAL", "sni": "x.example"}})
    assert said(world)[0] == "SNIOverridden"
    assert said(world)[1] == (
        "DestinationRule istio-system/theirs states `tls.sni: x.example`, by which the ingress of RemoteMesh west does "
        f"not know {RATINGS}; leave `sni` out there"
    )
    own = {"tls": {"mode": "ISTIO_MUTUAL", "sni": f"outbound_.9080_._.{RATINGS}"}}
    assert said(put(world, "istio-system", "*.local", trafficPolicy=own)) == ("Accepted", "")
    endless = {"tls": {"mode": "ISTIO_MUTUAL", "sni": "x" * 100_000}}
    assert len(said(put(world, "istio-system", "*.local", trafficPolicy=endless))[1]) < 600


def test_a_port_that_is_called_without_mtls_is_left_out_by_itself() -> None:
    ports = [{"number": 9080, "name": "http"}, {"number": 9000, "name": "admin", "protocol": "HTTP"}]
    offered = federated_service("west", "ratings", ports=[{"protocol": "HTTP"} | one for one in ports])
    world = World(mesh_federation(), remote_mesh(), offered)
    of_port = {"portLevelSettings": [{"port": {"number": 9000}} | OFF, {"port": {"number": 9000}} | MUTUAL]}
    put(world, "istio-system", RATINGS, trafficPolicy=of_port)
    assert said(world)[0] == "PortsLeftOut"
    assert "left out: port 9000 admin (DestinationRule istio-system/theirs states `tls.mode: DISABLE`" in said(world)[1]
    # What a port leaves out is looked for above, where it comes to its endpoints.
    bare = {"portLevelSettings": [{"port": {"number": 9000}}]}
    assert said(put(world, "istio-system", RATINGS, trafficPolicy=OFF | bare))[0] == "MTLSDisabled"
    assert said(put(world, "istio-system", RATINGS, trafficPolicy=MUTUAL | bare))[0] == "Accepted"
    put(world, "istio-system", RATINGS)
    put(world, "web", RATINGS, trafficPolicy=of_port)
    assert said(world)[1].startswith("port 9000 not for clients in web, whose DestinationRule web/theirs states")


# --- what keeps the gateway from what is exported ------------------------------------------------------


def exporting(**mesh: Any) -> World:
    return World(mesh_federation(**mesh), service("ratings", exported=True, ports=[port(80), port(81, "other")]))


def exported(world: World) -> list[int]:
    """The ports that remotes are told of."""
    world.settle()
    exports = [outputs.export for outputs in world.outputs.values() if outputs.export is not None]
    return [one.number for export in exports for one in export.offer.ports]


@pytest.mark.parametrize(
    ("where", "host", "spec", "offered"),
    [
        ("default", "ratings", {"trafficPolicy": OFF}, []),
        ("default", "ratings", {"trafficPolicy": {"tls": {}}}, []),
        ("default", "*.svc.cluster.local", {"trafficPolicy": {"tls": {"mode": "SIMPLE"}}}, []),
        ("istio-system", "*.local", {"trafficPolicy": OFF}, []),
        ("istio-system", "*.local", {"trafficPolicy": OFF, "exportTo": ["."]}, []),
        ("default", "ratings", {"trafficPolicy": {"portLevelSettings": [{"port": {"number": 81}} | OFF]}}, [80]),
        ("default", "ratings", {"trafficPolicy": MUTUAL}, [80, 81]),
        ("default", "ratings", {"trafficPolicy": OFF, "exportTo": ["web"]}, [80, 81]),
        ("default", "ratings", {"trafficPolicy": OFF, "workloadSelector": {}}, [80, 81]),
        ("web", RATINGS, {"trafficPolicy": OFF}, [80, 81]),
        ("default", "details", {"trafficPolicy": OFF}, [80, 81]),
    ],
)
def test_what_the_gateway_is_not_to_speak_mtls_with_is_not_offered(
    where: str, host: str, spec: dict[str, Any], offered: list[int]
) -> None:
    world = put(exporting(), where, host, **spec)
    assert exported(world) == offered
    world.planner.inputs.rules.put((where, "theirs"), None)
    assert exported(world) == [80, 81]


def test_why_it_is_not_offered_is_said() -> None:
    world = put(exporting(), "default", "ratings", trafficPolicy=OFF)
    (ready,) = (one for one in world.statuses["MeshFederation east"].conditions if one.type == "ExportsReady")
    assert ready.message == (
        "ports of default/ratings are served without mTLS, so the gateway cannot reach them, and they are not offered: "
        "turn mTLS on for them, or do not export them (Service default/ratings: ports 80, 81 take no mTLS because of "
        "DestinationRule default/theirs (`tls.mode: DISABLE`), and the gateway passes on nothing else; set PERMISSIVE "
        "in a PeerAuthentication, ISTIO_MUTUAL in a DestinationRule, or do not export it)"
    )
    put(world, "istio-system", "*.local", trafficPolicy=MUTUAL)
    assert exported(world) == [], "that of the Service's namespace comes first"
    put(world, "istio-system", "ratings.default.svc.cluster.local", name="own", exportTo=["."], trafficPolicy=MUTUAL)
    assert exported(world) == [80, 81], "and before it what is for the gateway's namespace alone"


def test_it_counts_where_the_gateway_is() -> None:
    front = service("gateway.edge", selector=GATEWAY, ports=[port(15443)])
    world = exporting().put(front)
    put(world, "edge", "*.local", trafficPolicy=OFF)
    assert exported(world) == []
    put(world, "edge", "*.local", trafficPolicy=MUTUAL)
    put(world, "default", "ratings", trafficPolicy=OFF)
    assert exported(world) == [80, 81]


def test_a_rule_that_turns_mtls_off_for_discovery_is_named_on_either_side() -> None:
    world = put(World(mesh_federation(), remote_mesh()), "istio-system", "*.local", trafficPolicy=OFF)
    (ready,) = (one for one in world.statuses["RemoteMesh west"].conditions if one.type == "Ready")
    assert f"{ready.status} {ready.reason} {ready.message}" == (
        "False MTLSDisabled DestinationRule istio-system/theirs (`tls.mode: DISABLE`) counts for its discovery "
        "service, so this mesh would not speak Istio's mTLS with the ingress of the remote, which takes nothing else; "
        "turn mTLS on there"
    )
    front = service(f"gateway.{SYSTEM}", selector=GATEWAY, ports=[port(15443)], externalIPs=["192.0.2.1"])
    world.put(front).settle()
    for key in (MeshKey(), GatewayKey(0)):
        world.planner.applied_changed(key, Applied("applied"))
    (ready,) = (one for one in world.statuses["MeshFederation east"].conditions if one.type == "GatewayReady")
    assert f"{ready.status} {ready.reason} {ready.message}" == (
        "False MTLSDisabled DestinationRule istio-system/theirs (`tls.mode: DISABLE`) counts for it, so the gateway "
        "does not reach this mesh's discovery service, and other meshes hear nothing; turn mTLS on there"
    )
    put(world, "istio-system", "*.local", trafficPolicy=MUTUAL)
    assert world.conditions("RemoteMesh", "west")["Ready"] != "False MTLSDisabled"
    assert world.conditions("MeshFederation", "east")["GatewayReady"] == "True Applied"


# --- as the proxies of the sandbox are told ------------------------------------------------------------

TLS = st.sampled_from([{}, {}, OFF, OFF, MUTUAL, {"outlierDetection": {}}])
rules_of_others = st.lists(
    st.builds(
        lambda where, name, host, export_to, created, policy, of_port: manifest(
            "DestinationRule",
            name,
            {
                "host": host,
                "exportTo": export_to,
                "trafficPolicy": policy
                | ({"portLevelSettings": [{"port": {"number": 9080}} | of_port]} if of_port else {}),
            },
            namespace=where,
            creationTimestamp=created,
        ),
        st.sampled_from(["default", "default", SYSTEM, SYSTEM, "web", "shop"]),
        st.sampled_from("abc"),
        st.sampled_from(
            [RATINGS, RATINGS, "ratings", "*.local", "*.default.svc.cluster.local", "*s.default.svc.cluster.local"]
        ),
        st.sampled_from([[], [], ["*"], ["."], ["web"], ["shop", "web"], ["default"], [SYSTEM]]),
        st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]),
        TLS,
        TLS,
    ),
    max_size=6,
    unique_by=lambda one: (one["metadata"]["namespace"], one["metadata"]["name"]),
)
CLIENTS = ("other", "default", "shop", "web", SYSTEM)
ROOTS = st.sampled_from([SYSTEM, "web"])


def told(found: list[dict[str, Any]], namespace: str, clients: str, root: str) -> str:
    """The mode in which the sandbox's proxies of a namespace call endpoints of ratings; empty: their own choice."""
    settings = msgspec.structs.replace(SETTINGS, root_namespace=root)
    of_host = Service(
        host=RATINGS, namespace=namespace, kubernetes=True, resolution="endpoints", addresses=(), ports=(), endpoints={}
    )
    return policy_of(read_mesh(settings, {"DestinationRule": found}), of_host, 9080, clients).endpoint_mode


def among(world: World, found: list[dict[str, Any]]) -> World:
    for one in found:
        place = (one["metadata"]["namespace"], one["metadata"]["name"])
        world.planner.inputs.rules.put(place, of_destination_rule(one))
    return world


@settings(max_examples=300, deadline=None)
@given(rules_of_others, st.booleans(), ROOTS)
def test_what_is_said_of_clients_is_what_those_of_the_sandbox_are_told(
    found: list[dict[str, Any]], beside: bool, root: str
) -> None:
    world = rooted(root, among(imported(beside=beside, trafficPolicy=None), found))
    barred = [one for one in CLIENTS if told(found, "default" if beside else SYSTEM, one, root) == "DISABLE"]
    reason, message = said(world)
    if "other" in barred:
        assert (reason, world.carriers) == ("MTLSDisabled", [])
        return
    assert reason == ("MTLSDisabled" if barred else "Accepted")
    _, _, words = message.partition("not for clients in ")
    named = words.partition(", whose")[0]
    # Of more than three the first are named.
    assert named.partition(" and ")[0].split(", ") == (sorted(barred)[:3] if barred else [""])


@settings(max_examples=300, deadline=None)
@given(rules_of_others, ROOTS)
def test_what_is_offered_is_what_the_gateway_of_the_sandbox_reaches(found: list[dict[str, Any]], root: str) -> None:
    world = World(mesh_federation(), service("ratings", exported=True, ports=[port(9080)]))
    assert exported(rooted(root, among(world, found))) == (
        [] if told(found, "default", SYSTEM, root) == "DISABLE" else [9080]
    )


# --- what a change costs, and what nobody knows --------------------------------------------------------


def looked_at(world: World, where: str, host: str, monkeypatch: pytest.MonkeyPatch, **spec: Any) -> list[str]:
    """The hosts that are looked at because of a rule: of offers, and of Services."""
    found: list[str] = []

    def judged(mesh: Any, remote: Any, rules: Any, offer: Any) -> Any:
        found.append(offer.host.partition(".svc.")[0])
        return judge(mesh, remote, rules, offer)

    def decided(mesh: Any, export: Any, one: Any, *more: Any, **parts: Any) -> Any:
        found.append(f"{one.metadata.name}.{one.metadata.namespace}")
        return decide(mesh, export, one, *more, **parts)

    world.settle()
    with monkeypatch.context() as patched:
        patched.setattr("meshfed.plan.imports.judge", judged)
        patched.setattr("meshfed.plan.exports.decide", decided)
        put(world, where, host, name=f"for-{host}", **spec).settle()
    return sorted(found)


@pytest.mark.parametrize("size", [10, 100])
def test_a_rule_asks_only_about_hosts_that_it_can_be_for(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(mesh_federation(), remote_mesh())
    world.put(*(federated_service("west", f"in-{number}.shop") for number in range(size)))
    world.put(*(service(f"out-{number}.web", exported=True) for number in range(size)))
    world.put(service("out-1.other", exported=True))
    assert looked_at(world, "shop", "in-1", monkeypatch, trafficPolicy=OFF) == ["in-1.shop"]
    assert looked_at(world, "web", "out-1", monkeypatch, trafficPolicy=OFF) == ["out-1.web"]
    assert looked_at(world, "shop", "nothing", monkeypatch, trafficPolicy=OFF) == []
    assert looked_at(world, "other", "*.other.svc.cluster.local", monkeypatch) == ["out-1.other"]
    assert looked_at(world, "other", "*-1.other.svc.cluster.local", monkeypatch) == ["out-1.other"]
    assert len(looked_at(world, "istio-system", "*.local", monkeypatch)) == 2 * size + 1


def test_a_host_reads_no_more_where_there_are_many_rules_for_any() -> None:
    world = exporting().put(remote_mesh(), federated_service("west", "ratings.shop"))
    nodes = [
        world.planner._exports._claims.nodes["default", "ratings"],
        world.planner._imports._judged.nodes["ratings.shop.svc.cluster.local.west"],
    ]

    def read(rules: int) -> list[int]:
        for number in range(rules):
            put(world, "web", "*" if number % 2 else "*.local", name=f"r{number}")
        world.settle()
        return [len(node.reads) for node in nodes]

    assert read(2) == read(200)


def test_one_that_nobody_can_read_makes_unknown_what_it_may_be_for_and_removes_nothing() -> None:
    world = exporting().put(remote_mesh(), federated_service("west", "details"))
    before = (exported(world), world.carriers)
    world.planner.unknown(("DestinationRule", "web", "theirs"), "it cannot be decoded")
    worked: list[Any] = []
    while turn := world.planner.take_dirty():
        worked += [world.planner.reconcile(key) for key in turn.keys if isinstance(key, ExportKey | ImportKey)]
    assert worked == [None, None], "and so nothing is changed"
    lost = Unknown("it cannot be decoded")
    assert world.planner._exports._claims.get(("default", "ratings")) == lost
    assert world.planner._imports._judged.get(f"{RATINGS.replace('ratings', 'details')}.west") == lost
    put(world, "web", RATINGS)
    assert (exported(world), world.carriers) == before


# --- ours takes the place of one for a wildcard ------------------------------------------------------

POOL = {"connectionPool": {"tcp": {"maxConnections": 10, "connectTimeout": "3s"}, "http": {"maxRetries": 1}}}
WHOLE_MESH: dict[str, Any] = {"tls": {"mode": "ISTIO_MUTUAL"}} | ROUND_ROBIN | POOL


@pytest.mark.parametrize(("beside", "root"), [(False, SYSTEM), (True, SYSTEM), (False, "istio-config")])
def test_what_a_rule_for_the_whole_mesh_says_is_taken_over(beside: bool, root: str) -> None:
    world = put(rooted(root, imported(beside=beside)), root, "*.local", trafficPolicy=WHOLE_MESH)
    assert policy(world) == WHOLE_MESH | OUTLIERS
    assert said(world) == (
        "Accepted",
        f"what DestinationRule {root}/theirs has as `trafficPolicy` is taken over for this host",
    )
    put(world, root, "*.local", trafficPolicy={"outlierDetection": {"interval": "1s"}})
    assert policy(world) == OUTLIERS, "what the RemoteMesh says comes first"
    world.planner.inputs.rules.put((root, "theirs"), None)
    assert (policy(world), said(world)) == (OUTLIERS, ("Accepted", ""))


def test_ours_is_nobodys_beside_a_local_service_where_the_root_namespace_is_another() -> None:
    """Only that of the root namespace counts for whoever has none of its own."""
    world = put(rooted("istio-config", imported(beside=True)), "istio-config", "*.local", trafficPolicy=ROUND_ROBIN)
    assert said(world) == ("TrafficPolicyOverridden", f"DestinationRule istio-config/theirs {LOST}")


def test_a_connect_timeout_is_asked_for_beside_what_is_taken_over() -> None:
    fast = {"connectionPool": {"tcp": {"connectTimeout": "1s"}}}
    world = put(imported(trafficPolicy=fast), "istio-system", "*.local", trafficPolicy=POOL)
    assert policy(world) == {
        "connectionPool": {"tcp": {"maxConnections": 10, "connectTimeout": "1s"}, "http": {"maxRetries": 1}}
    }
    lost: list[dict[str, Any]] = [
        {},
        {"connectionPool": {}},
        {"connectionPool": {"tcp": {"maxConnections": 1}}},
        OUTLIERS,
    ]
    for theirs in lost:
        put(world, "web", RATINGS, trafficPolicy=theirs)
        assert said(world)[0] == "TrafficPolicyOverridden"
        assert "and nothing of its connectTimeout counts: state it there too" in said(world)[1]
    put(world, "web", RATINGS, trafficPolicy=POOL)
    assert said(world)[0] == "Accepted"
    put(world.put(remote_mesh(trafficPolicy=fast | OUTLIERS)), "web", RATINGS)
    assert "and nothing of its outlierDetection and connectTimeout counts" in said(world)[1]


def test_what_a_rule_says_of_a_port_is_taken_over_for_that_port() -> None:
    of_ports = {"portLevelSettings": [{"port": {"number": 9080}} | ROUND_ROBIN, {"port": {"number": 1}} | POOL]}
    world = put(imported(), "istio-system", "*.local", trafficPolicy=POOL | of_ports)
    assert policy(world) == POOL | OUTLIERS | {
        "portLevelSettings": [{"port": {"number": 9080}} | ROUND_ROBIN | OUTLIERS]
    }
    put(world, "istio-system", "*.local", trafficPolicy=POOL).put(remote_mesh(**ROUTER))
    tls = {"tls": {"mode": "ISTIO_MUTUAL", "sni": "ratings-9080.default.svc.cluster.local"}}
    assert policy(world) == POOL | {"portLevelSettings": [{"port": {"number": 9080}} | POOL | tls]}


@pytest.mark.parametrize(
    "tls",
    [
        {"mode": "DISABLE"},
        {"mode": "SIMPLE"},
        {"mode": "ISTIO_MUTUAL", "sni": "x"},
        {"mode": "ISTIO_MUTUAL", "subjectAltNames": ["x"]},
    ],
)
def test_tls_settings_that_would_keep_requests_from_a_remote_are_not_taken_over(tls: dict[str, Any]) -> None:
    world = put(imported(), "istio-system", "*.local", trafficPolicy=ROUND_ROBIN | {"tls": tls}, subsets=[V1])
    assert policy(world) == ROUND_ROBIN | OUTLIERS
    assert said(world)[1].endswith("is taken over for this host, but not its subsets and tls")
    of_port = {"portLevelSettings": [{"port": {"number": 9080}, "tls": tls}]}
    put(world, "istio-system", "*.local", trafficPolicy=of_port)
    assert policy(world) == OUTLIERS | {"portLevelSettings": [{"port": {"number": 9080}} | OUTLIERS]}
    assert said(world)[1].endswith("is taken over for this host, but not its tls")


def test_what_is_taken_over_is_so_whoever_has_another_rule() -> None:
    world = put(imported(**ROUTER), "istio-system", "*.local", name="all", trafficPolicy=POOL)
    before = policy(world)
    assert before["connectionPool"] == POOL["connectionPool"]
    put(world, "web", RATINGS)
    assert (policy(world), said(world)[0]) == (before, "SNIOverridden")
    assert said(world)[1] == (
        "not for clients in web, whose DestinationRule web/theirs takes the place of the one that states the SNI under "
        f"which the ingress of RemoteMesh west knows {RATINGS}; what DestinationRule istio-system/all has as "
        "`trafficPolicy` is taken over for this host"
    )
    without = put(imported(), "istio-system", "*.local", name="all", trafficPolicy=POOL)
    put(without, "istio-system", RATINGS, trafficPolicy=ROUND_ROBIN)
    assert policy(without) == OUTLIERS, "which displaces that of the whole mesh, ours or not"
    assert said(without) == ("TrafficPolicyOverridden", f"DestinationRule istio-system/theirs {LOST}")


def test_a_rule_for_the_whole_mesh_with_subsets_alone_is_named() -> None:
    world = put(imported(), "istio-system", "*.local", subsets=[V1])
    assert policy(world) == OUTLIERS
    assert said(world)[1].startswith("DestinationRule istio-system/theirs does not count for this host")


def test_what_counts_for_some_clients_alone_is_named_and_not_taken_over() -> None:
    world = put(imported(), "istio-system", "*.local", trafficPolicy=ROUND_ROBIN, exportTo=["web"])
    assert policy(world) == OUTLIERS
    assert said(world) == (
        "Accepted",
        "DestinationRule istio-system/theirs does not count for this host, since there is one for this host alone",
    )
    put(world, "istio-system", "*.local", trafficPolicy=ROUND_ROBIN, exportTo=["*"])
    assert policy(world) == ROUND_ROBIN | OUTLIERS
    put(world, "istio-system", "*.svc.cluster.local", name="narrower", trafficPolicy=POOL)
    assert policy(world) == POOL | OUTLIERS


def test_where_there_is_no_rule_of_ours_nothing_is_displaced() -> None:
    world = put(imported(trafficPolicy=None), "istio-system", "*.local", trafficPolicy=WHOLE_MESH)
    assert said(world) == ("Accepted", "")
    assert [one for one in world.carriers if one.startswith("DestinationRule")] == []


@pytest.mark.parametrize(
    "odd",
    [
        {"portLevelSettings": [None, 7, {}, {"port": 7}, {"port": {"number": "x"}}]},
        {"portLevelSettings": {}, "connectionPool": 7, "outlierDetection": None},
        {"tls": None},
        {"connectionPool": {"tcp": 7}},
    ],
)
def test_a_policy_of_whatever_form_is_no_reason_to_fail(odd: dict[str, Any]) -> None:
    slow = OUTLIERS | {"connectionPool": {"tcp": {"connectTimeout": "1s"}}}
    world = imported()
    world.planner.remote_changed("west", None)
    put(world.put(remote_mesh(trafficPolicy=OUTLIERS)), "istio-system", "*.local", trafficPolicy=odd)
    assert policy(world)["outlierDetection"] == slow["outlierDetection"]


# --- subsets -------------------------------------------------------------------------------------------


def test_who_is_in_no_subset_beside_a_local_service_is_said() -> None:
    world = put(
        imported(beside=True, trafficPolicy=None),
        "default",
        "ratings",
        subsets=[V1, {"name": "v2", "labels": {"version": "v2"}}],
    )
    assert said(world) == (
        "Accepted",
        (
            "it is not in subset v1, v2 of DestinationRule default/theirs, whose labels its endpoints lack: a call to "
            "that reaches local pods alone"
        ),
    )


def test_who_is_in_no_subset_of_an_import_is_said() -> None:
    world = put(imported(trafficPolicy=None), "web", RATINGS, subsets=[V1])
    assert said(world)[1] == (
        "it is not in subset v1 of DestinationRule web/theirs, whose labels its endpoints lack: a call to that reaches "
        "nobody"
    )


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    "labels",
    [
        None,
        {},
        {"app": "ratings"},
        {"security.istio.io/tlsMode": "istio"},
        {"topology.istio.io/network": "west-network"},
        {"topology.istio.io/cluster": "this-one"},
        {"topology.kubernetes.io/region": "r1", "topology.kubernetes.io/zone": "z1"},
    ],
)
def test_a_subset_that_a_remote_is_in_is_known_to_its_gateway_by_name_alone(
    labels: dict[str, str] | None, beside: bool
) -> None:
    subset = {"name": "near"} | ({} if labels is None else {"labels": labels})
    world = imported(beside=beside, trafficPolicy=None, locality="r1/z1")
    assert said(put(world, "default", RATINGS, subsets=[subset])) == (
        "Accepted",
        (
            "of subset near of DestinationRule default/theirs its gateway knows only what a DestinationRule there has "
            "by that name"
        ),
    )


def test_a_subset_that_states_the_sni_itself_is_known() -> None:
    tls = {"tls": {"mode": "ISTIO_MUTUAL", "sni": f"outbound_.9080_._.{RATINGS}"}}
    near = {"name": "near", "labels": {"topology.istio.io/network": "west-network"}}
    world = imported(trafficPolicy=None)
    of_port = {"portLevelSettings": [{"port": {"number": 9080}} | tls]}
    for stating in (tls, of_port):
        put(world, "web", RATINGS, subsets=[near | {"trafficPolicy": stating}])
        assert said(world) == ("Accepted", "")
    put(world, "web", RATINGS, subsets=[near | {"trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}])
    assert said(world)[1].startswith("of subset near")


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"metadata": None, "spec": None},
        {"spec": {"host": 7, "exportTo": 7, "subsets": 7, "trafficPolicy": 7, "workloadSelector": 7}},
        {"spec": {"host": "*", "exportTo": [7], "subsets": [7, {}, {"name": 7}, {"name": "a", "labels": 7}]}},
        {"spec": {"host": "*", "trafficPolicy": {"portLevelSettings": [7], "connectionPool": []}}},
    ],
)
def test_a_rule_of_whatever_form_can_be_read(rule: dict[str, Any]) -> None:
    world = imported(beside=True)
    world.planner.inputs.rules.put(("default", "theirs"), of_destination_rule(rule))
    world.settle()
    assert world.accepted()[RECORD] in {"Accepted", "TrafficPolicyOverridden"}
