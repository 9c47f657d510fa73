"""Where a PeerAuthentication turns mTLS off: what is not offered, what is not imported, and who says so."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshfed.derive import Unknown
from meshfed.federation.exports import decide
from meshfed.kube import Manifest
from meshfed.plan import Applied, ExportKey, GatewayKey, MeshKey, MeshStatusKey
from meshfed.plan.claims import Claim
from meshfed.plan.workloads import of_entry
from meshfed_sandbox.dataplane.translate import read_mesh
from meshfed_sandbox.dataplane.translate.peer_authentication import namespace_mode, port_mode
from tests.builders import (
    GATEWAY,
    SYSTEM,
    endpoint_slice,
    federated_service,
    host,
    mesh_federation,
    peer_authentication,
    pod,
    port,
    remote_mesh,
    service,
)
from tests.sandbox.dataplane.cluster_objects import SETTINGS
from tests.world import World, rooted

PORTS = [port(80, "http", 8080), port(81, "grpc", "grpc"), port(82, "plain")]
"""A number, a name, and the same number: 8080, 7070 and 82 of the pods."""
PODS = {"grpc": 7070}
MERGE: dict[str, Any] = {"import_": {"merge": True}}
ROUTER: dict[str, Any] = {"ingressType": "openshift-router"}
RECORD = f"{host('ratings')}.west"


def exporting(*objects: Manifest) -> World:
    """A mesh that exports ``ratings`` on three ports, of one pod with a sidecar."""
    one = pod("ratings-1", "ratings", ports=PODS)
    return World(mesh_federation(), service("ratings", exported=True, ports=PORTS), one, *objects)


def importing(*objects: Manifest, local: bool = True, **remote: Any) -> World:
    """A mesh that imports ``ratings``, beside a Service of its own if ``local``."""
    return World(
        mesh_federation(),
        remote_mesh(**(MERGE | remote)),
        federated_service("west", "ratings"),
        *([service("ratings")] if local else []),
        *objects,
    )


def offered(world: World) -> list[int]:
    """The ports of ``ratings`` that remotes are told of."""
    world.settle()
    exports = [outputs.export for outputs in world.outputs.values() if outputs.export is not None]
    return [port.number for export in exports for port in export.offer.ports]


def exports_ready(world: World) -> str:
    (found,) = (c for c in world.statuses["MeshFederation east"].conditions if c.type == "ExportsReady")
    return f"{found.status} {found.reason}: {found.message}"


def decided(world: World) -> str:
    """Why ``ratings`` is exported or not."""
    world.settle()
    decision = world.outputs[ExportKey("default", "ratings")].export_decision
    assert decision is not None
    return f"{decision.accepted} {decision.reason}: {decision.message}"


def accepted(world: World) -> str:
    """Whether the offer of ``ratings`` is imported."""
    found = world.statuses[f"FederatedService {RECORD}"].conditions[0]
    return f"{found.reason}: {found.message}"


# --- what is exported


@pytest.mark.parametrize("mode", ["PERMISSIVE", "STRICT", "UNSET", ""])
@pytest.mark.parametrize("where", [{"namespace": SYSTEM}, {}, {"app": "ratings"}])
def test_a_port_with_mtls_is_offered_whether_plaintext_is_let_in_or_not(mode: str, where: dict[str, Any]) -> None:
    world = exporting(peer_authentication("theirs", mode, **where))
    assert offered(world) == [80, 81, 82]
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == "True Exporting"


@pytest.mark.parametrize("number", [8080, 7070, 82])
def test_a_port_of_the_pods_without_mtls_is_not_offered_and_said(number: int) -> None:
    left_out = {8080: 80, 7070: 81, 82: 82}[number]
    off = peer_authentication("theirs", app="ratings", ports={number: "DISABLE"})
    world = exporting(off)
    others = [one for one in (80, 81, 82) if one != left_out]
    assert offered(world) == others
    why = (
        f"port {left_out} takes no mTLS because of PeerAuthentication default/theirs "
        f"(`portLevelMtls.{number}.mode: DISABLE`)"
    )
    assert decided(world) == (
        f"True MTLSDisabled: offered to every remote mesh as {host('ratings')}; {why}, so the gateway cannot reach it, "
        "and it is not offered"
    )
    assert exports_ready(world) == (
        "False MTLSDisabled: ports of default/ratings are served without mTLS, so the gateway cannot reach them, and "
        f"they are not offered: turn mTLS on for them, or do not export them ({why})"
    )
    assert world.gateways == [[host("ratings")]]
    world.remove(off)
    assert offered(world) == [80, 81, 82]
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == "True Exporting"


@pytest.mark.parametrize("number", [80, 81])
def test_the_number_of_a_service_port_says_nothing_of_the_pods(number: int) -> None:
    assert offered(exporting(peer_authentication("theirs", app="ratings", ports={number: "DISABLE"}))) == [80, 81, 82]


@pytest.mark.parametrize("where", [{"namespace": SYSTEM}, {"namespace": "default"}, {"app": "ratings"}])
def test_a_service_none_of_whose_ports_has_mtls_is_not_exported(where: dict[str, Any]) -> None:
    off = peer_authentication("theirs", "DISABLE", **where)
    world = exporting(off)
    assert (offered(world), world.gateways) == ([], [[]])
    place = f"{where.get('namespace', 'default')}/theirs"
    assert decided(world) == (
        "False MTLSDisabled: Service default/ratings: ports 80, 81, 82 take no mTLS because of PeerAuthentication "
        f"{place} (`mtls.mode: DISABLE`), and the gateway passes on nothing else; set PERMISSIVE in a "
        "PeerAuthentication, ISTIO_MUTUAL in a DestinationRule, or do not export it"
    )
    assert exports_ready(world).startswith("False MTLSDisabled: ports of default/ratings are served without mTLS")
    world.put(peer_authentication("theirs", "STRICT", **where))
    assert offered(world) == [80, 81, 82]


def test_of_a_port_that_no_rule_exports_nobody_says_that_it_has_no_mtls() -> None:
    export = {"rules": [{"action": "Deny", "ports": ["plain"]}, {"action": "Export"}]}
    world = exporting(
        peer_authentication("plain", app="ratings", ports={82: "DISABLE"}), mesh_federation(export=export)
    )
    assert offered(world) == [80, 81]
    assert world.conditions("MeshFederation", "east")["ExportsReady"] == "True Exporting"
    decision = world.outputs[ExportKey("default", "ratings")].export_decision
    assert decision is not None
    assert "mTLS" not in decision.message


def test_what_is_closest_to_a_workload_counts() -> None:
    world = exporting(peer_authentication("all", "DISABLE", namespace=SYSTEM))
    assert offered(world) == []
    world.put(peer_authentication("here", "PERMISSIVE"))
    assert offered(world) == [80, 81, 82]
    world.put(peer_authentication("ours", "DISABLE", app="ratings", ports={8080: "STRICT"}))
    assert offered(world) == [80]
    # A younger one for the same workload counts for nothing.
    world.put(peer_authentication("late", "STRICT", app="ratings", created="2026-03-01T00:00:00Z"))
    assert offered(world) == [80]
    world.put(peer_authentication("ours", "DISABLE", app="ratings", created="2026-04-01T00:00:00Z"))
    assert offered(world) == [80, 81, 82]


def test_one_pod_with_mtls_is_enough() -> None:
    world = exporting(peer_authentication("theirs", "DISABLE", app="ratings", created="2026-01-01T00:00:00Z"))
    second = pod("ratings-2", "ratings", ports=PODS, labels={"version": "v2"})
    world.put(service("ratings", exported=True, ports=PORTS, selector={"app": "ratings"}), second)
    assert offered(world) == []
    spared = peer_authentication("spared", "STRICT", created="2025-01-01T00:00:00Z")
    spared["spec"]["selector"] = {"matchLabels": {"version": "v2"}}
    world.put(spared)
    assert offered(world) == [80, 81, 82]
    world.remove(second)
    assert offered(world) == []


def test_without_pods_the_labels_that_they_will_have_decide() -> None:
    world = exporting(peer_authentication("theirs", app="ratings", ports={8080: "DISABLE", 7070: "DISABLE"}))
    assert offered(world) == [82]
    world.remove(pod("ratings-1"))
    assert offered(world) == [81, 82], "what number a name stands for is not known"
    world.put(pod("ratings-1", "ratings", sidecar=False))
    assert offered(world) == [81, 82]
    world.put(peer_authentication("theirs", "DISABLE", app="ratings"))
    assert offered(world) == []


def test_a_pod_without_a_port_of_that_name_decides_nothing_of_it() -> None:
    world = exporting(peer_authentication("theirs", app="ratings", ports={7070: "DISABLE"}))
    assert offered(world) == [80, 82]
    world.put(pod("ratings-1", "ratings", ports={"other": 7070}))
    assert offered(world) == [80, 81, 82]


@pytest.mark.parametrize(
    ("ports", "number", "expected"),
    [
        ({}, 8080, [81, 82]),
        ({"http": 18080}, 18080, [81, 82]),
        ({"http": 18080}, 8080, [80, 81, 82]),
        ({"grpc": 17070}, 17070, [80, 82]),
        ({}, 82, [80, 81]),
    ],
)
def test_the_ports_of_a_virtual_machine_are_looked_up_by_name(
    ports: dict[str, int], number: int, expected: list[int]
) -> None:
    world = exporting(peer_authentication("theirs", app="ratings", ports={number: "DISABLE"}))
    world.remove(pod("ratings-1"))
    labels = {"app": "ratings", "security.istio.io/tlsMode": "istio"}
    entry = of_entry({"spec": {"labels": labels, "serviceAccount": "vm", "ports": ports}})
    world.planner.inputs.workloads.put(("WorkloadEntry", "default", "vm"), entry)
    assert offered(world) == expected


def test_in_the_root_namespace_one_with_a_selector_counts_for_nobody() -> None:
    exported = service(f"ratings.{SYSTEM}", exported=True)
    world = World(mesh_federation(), exported, pod(f"ratings-1.{SYSTEM}", "ratings"))
    world.put(peer_authentication("theirs", "DISABLE", app="ratings", namespace=SYSTEM))
    assert offered(world) == [9080]
    world.put(peer_authentication("theirs", "DISABLE", namespace=SYSTEM))
    assert offered(world) == []


def test_a_service_that_selects_nothing_is_nobodys_to_speak_of() -> None:
    world = exporting(peer_authentication("theirs", "DISABLE"))
    world.put(service("ratings", exported=True, selector={}))
    assert offered(world) == [9080]


# --- beside what offers are not imported


def test_beside_a_local_service_nothing_is_written_that_would_be_called_in_plaintext() -> None:
    off = peer_authentication("theirs", "DISABLE", app="ratings")
    world = importing(off)
    assert accepted(world) == (
        "MTLSDisabled: PeerAuthentication default/theirs (`mtls.mode: DISABLE`) holds for all that Service "
        "default/ratings selects, so for endpoints of the remote too, and clients would speak plaintext to the ingress "
        "of RemoteMesh west, which takes mTLS alone; set PERMISSIVE there, or import under another host with a rule's "
        "`as`"
    )
    assert world.carriers == []
    world.put(peer_authentication("theirs", "PERMISSIVE", app="ratings"))
    assert accepted(world).startswith("Accepted:")
    assert len(world.carriers) == 1
    world.put(off)
    assert world.carriers == []


@pytest.mark.parametrize(
    ("beside", "imported"),
    [
        (peer_authentication("theirs", "DISABLE"), False),
        (peer_authentication("theirs", "DISABLE", app="other"), True),
        (peer_authentication("theirs", "DISABLE", namespace="other"), True),
        # The endpoint is dialled at the remote's gateway, whatever the pods' ports are.
        (peer_authentication("theirs", app="ratings", ports={9080: "DISABLE"}), True),
        (peer_authentication("theirs", app="ratings", ports={15443: "DISABLE"}), False),
        (peer_authentication("theirs", "DISABLE", namespace=SYSTEM), False),
    ],
)
def test_which_of_them_hold_for_endpoints_of_a_remote(beside: Manifest, imported: bool) -> None:
    world = importing(beside)
    assert accepted(world).startswith("Accepted" if imported else "MTLSDisabled")


def test_of_a_whole_namespace_clients_ask_whatever_is_said_of_its_workloads() -> None:
    world = importing(peer_authentication("theirs", "DISABLE"), peer_authentication("ours", "STRICT", app="ratings"))
    assert accepted(world).startswith("MTLSDisabled: PeerAuthentication default/theirs")
    world.put(peer_authentication("theirs", "STRICT"))
    assert accepted(world).startswith("Accepted")


def test_where_the_whole_mesh_is_without_mtls_nothing_is_imported() -> None:
    off = peer_authentication("default", "DISABLE", namespace=SYSTEM)
    said = (
        "MTLSDisabled: PeerAuthentication istio-system/default (`mtls.mode: DISABLE`) holds for the whole mesh, and "
        "clients would speak plaintext to the ingress of RemoteMesh west, which takes mTLS alone; set PERMISSIVE there"
    )
    for local in (True, False):
        world = importing(off, local=local)
        assert (accepted(world), world.carriers) == (said, [])
        (ready,) = (c for c in world.statuses["RemoteMesh west"].conditions if c.type == "Ready")
        assert f"{ready.status} {ready.reason}" == "False MTLSDisabled"
        assert ready.message.startswith("PeerAuthentication istio-system/default (`mtls.mode: DISABLE`) holds for the")
    # Its own namespace may have it all the same.
    world = importing(off, peer_authentication("theirs", "PERMISSIVE"))
    assert accepted(world).startswith("Accepted")


def test_a_namespace_without_mtls_is_nothing_to_a_host_that_no_local_service_has() -> None:
    world = importing(peer_authentication("theirs", "DISABLE"), local=False)
    assert accepted(world).startswith("Accepted")
    assert world.conditions("RemoteMesh", "west")["Ready"] != "False MTLSDisabled"


def test_where_a_rule_of_ours_states_mtls_nobody_asks_further() -> None:
    world = importing(peer_authentication("default", "DISABLE", namespace=SYSTEM), local=False, **ROUTER)
    assert accepted(world).startswith("Accepted")
    assert world.conditions("RemoteMesh", "west")["Ready"] != "False MTLSDisabled"


def test_a_rule_of_ours_that_states_mtls_does_not_cut_local_pods_off() -> None:
    off = peer_authentication("theirs", "DISABLE", app="ratings")
    offered_by = federated_service("west", "ratings", identities=["spiffe://cluster.local/ns/default/sa/default"])
    world = importing(off, pod("ratings-1", "ratings"), offered_by, **ROUTER)
    assert accepted(world) == (
        "MTLSDisabled: PeerAuthentication default/theirs (`mtls.mode: DISABLE`) has pods of Service default/ratings "
        "take plaintext alone, and stating the SNI that RemoteMesh west needs would have everybody speak mTLS with "
        "them; set PERMISSIVE there, or import under another host with a rule's `as`"
    )
    world.put(peer_authentication("theirs", app="ratings", ports={9080: "DISABLE"}))
    assert accepted(world).startswith("MTLSDisabled")
    world.put(peer_authentication("theirs", app="ratings", ports={15443: "DISABLE"}))
    assert accepted(world).startswith("Accepted")


@pytest.mark.parametrize(("root", "ready"), [(SYSTEM, "False MTLSDisabled"), ("istiod", "True Applied")])
def test_the_discovery_service_is_not_reached_where_our_own_peer_authentication_counts_for_nobody(
    root: str, ready: str
) -> None:
    front = service(f"gateway.{SYSTEM}", selector=GATEWAY, ports=[port(15443)], externalIPs=["192.0.2.1"])
    world = World(mesh_federation(controlPlaneNamespace=root), front)
    world.settle()
    for key in (MeshKey(), GatewayKey(0)):
        world.planner.applied_changed(key, Applied("applied"))
    assert world.conditions("MeshFederation", "east")["GatewayReady"] == "True Applied"
    world.put(peer_authentication("default", "DISABLE", namespace=root))
    assert world.conditions("MeshFederation", "east")["GatewayReady"] == ready


# --- endpoints by hand, and several ports of an ingress


def test_endpoints_without_a_selector_have_the_modes_of_their_pods() -> None:
    leader = service("ratings", exported=True, ports=[port(80), port(81, "named", "grpc")], selector={})
    slices = endpoint_slice("ratings-1", "ratings", "10.0.0.1=leader", ports={"http": 8080, "named": 7070})
    world = World(mesh_federation(), leader, slices, pod("leader", "other", address="10.0.0.1"))
    assert offered(world) == [80, 81]
    for off in (
        peer_authentication("theirs", "DISABLE"),
        peer_authentication("theirs", "DISABLE", app="other"),
        peer_authentication("theirs", "DISABLE", namespace=SYSTEM),
    ):
        world.put(off)
        assert offered(world) == []
        world.put(peer_authentication("theirs", "UNSET"))
        world.put(peer_authentication("theirs", "UNSET", namespace=SYSTEM))
    world.put(peer_authentication("theirs"))
    world.put(peer_authentication("theirs", "DISABLE", app="ratings"))
    assert offered(world) == [80, 81]
    world.put(slices | {"endpoints": []}, peer_authentication("theirs", "DISABLE"))
    assert offered(world) == [80, 81], "of nobody nothing is known"


@pytest.mark.parametrize(
    ("off", "left"), [({80: "DISABLE", 81: "DISABLE"}, [80, 81]), ({8080: "DISABLE"}, [81]), ({7070: "DISABLE"}, [80])]
)
def test_on_which_ports_endpoints_without_a_selector_listen_their_slices_say(
    off: dict[int, str], left: list[int]
) -> None:
    leader = service("ratings", exported=True, ports=[port(80), port(81, "named", "grpc")], selector={})
    slices = endpoint_slice("ratings-1", "ratings", "10.0.0.1=leader", ports={"http": 8080, "named": 7070, "none": 81})
    there = pod("leader", "other", address="10.0.0.1", ports={"grpc": 81})
    world = World(mesh_federation(), leader, slices, there, peer_authentication("theirs", app="other", ports=off))
    assert offered(world) == left


def test_every_port_at_which_a_remotes_ingress_is_dialled_counts() -> None:
    off = peer_authentication("theirs", app="ratings", ports={8443: "DISABLE"})
    world = importing(off, addresses=["192.0.2.1", "192.0.2.2:8443"])
    assert accepted(world).startswith("MTLSDisabled: PeerAuthentication default/theirs (`portLevelMtls.8443.mode: ")
    world.put(peer_authentication("theirs", app="ratings", ports={8444: "DISABLE"}))
    assert accepted(world).startswith("Accepted")


# --- as the proxies of the sandbox are told

ROOTS = st.sampled_from([SYSTEM, "other"])
LABELS: list[dict[str, str]] = [{"app": "ratings"}, {"app": "ratings", "version": "v2"}, {"app": "other"}]
MODES = st.sampled_from(["", "DISABLE", "PERMISSIVE", "STRICT", "UNSET"])
peer_authentications = st.lists(
    st.builds(
        lambda where, name, mode, selector, ports, created: _selecting(
            selector, peer_authentication(name, mode, namespace=where, ports=ports, created=created)
        ),
        st.sampled_from(["default", "default", SYSTEM, "other"]),
        st.sampled_from("abc"),
        MODES,
        st.sampled_from([{}, {}, *LABELS, {"version": "v2"}]),
        st.dictionaries(st.sampled_from([8080, 7070, 82, 15443]), MODES.filter(bool), max_size=2),
        st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]),
    ),
    max_size=5,
    unique_by=lambda one: (one["metadata"]["namespace"], one["metadata"]["name"]),
)


def _selecting(selector: dict[str, str], made: Manifest) -> Manifest:
    if selector:
        made["spec"]["selector"] = {"matchLabels": selector}
    return made


@settings(max_examples=200, deadline=None)
@given(peer_authentications, st.lists(st.sampled_from(LABELS[:2]), min_size=1, max_size=2, unique_by=str), ROOTS)
def test_the_ports_that_the_gateway_reaches_are_those_of_the_sandboxs_gateway(
    found: list[Manifest], behind: list[dict[str, str]], root: str
) -> None:
    world = rooted(root, World(mesh_federation(), service("ratings", exported=True, ports=PORTS), *found))
    world.put(*(pod(f"p{at}", "ratings", ports=PODS, labels=labels) for at, labels in enumerate(behind)))
    mesh = read_mesh(msgspec.structs.replace(SETTINGS, root_namespace=root), {"PeerAuthentication": found})
    numbers = {80: 8080, 81: 7070, 82: 82}
    assert offered(world) == [
        number
        for number, own in numbers.items()
        if any(port_mode(mesh, "default", labels, own) != "DISABLE" for labels in behind)
    ]


@settings(max_examples=200, deadline=None)
@given(peer_authentications, st.booleans(), ROOTS)
def test_what_is_imported_is_what_clients_of_the_sandbox_speak_mtls_with(
    found: list[Manifest], local: bool, root: str
) -> None:
    world = rooted(root, importing(*found, local=local))
    mesh = read_mesh(msgspec.structs.replace(SETTINGS, root_namespace=root), {"PeerAuthentication": found})
    where = "default" if local else SYSTEM
    modes = {namespace_mode(mesh, where), port_mode(mesh, where, {"app": "ratings"}, 15443)}
    assert bool(world.carriers) is ("DISABLE" not in modes)


# --- what a change costs, and what nobody knows


def asked(world: World, change: Manifest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The Services that are looked at because of a change."""
    found: list[str] = []

    def counted(mesh: Any, export: Any, one: Any, *more: Any, **parts: Any) -> Any:
        found.append(one.metadata.name)
        return decide(mesh, export, one, *more, **parts)

    world.settle()
    with monkeypatch.context() as patched:
        patched.setattr("meshfed.plan.exports.decide", counted)
        world.put(change)
        world.settle()
    return sorted(found)


@pytest.mark.parametrize("size", [10, 300])
def test_a_peer_authentication_asks_only_about_what_it_can_concern(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"s{number}" for number in range(size)]
    world = World(mesh_federation(), *(service(name, exported=True) for name in names))
    world.put(*(pod(f"p-{name}", name) for name in names), service("there.other", exported=True), service("bare"))
    assert asked(world, peer_authentication("one", "DISABLE", app="s1"), monkeypatch) == ["s1"]
    assert asked(world, peer_authentication("two", "STRICT", app="nobody"), monkeypatch) == []
    assert asked(world, peer_authentication("three", "DISABLE", namespace="other"), monkeypatch) == ["there"]
    assert asked(world, peer_authentication("all", "STRICT", namespace=SYSTEM), monkeypatch) == []
    assert asked(world, peer_authentication("off", "DISABLE", namespace=SYSTEM), monkeypatch) == []


def test_a_peer_authentication_that_changes_nothing_is_told_to_nobody() -> None:
    world = exporting()
    world.settle()
    world.put(peer_authentication("theirs", "STRICT", app="ratings"))
    assert world.settle() == []
    world.put(peer_authentication("theirs", "DISABLE", app="ratings", ports={8080: "STRICT"}))
    assert set(world.settle()) == {ExportKey("default", "ratings"), MeshStatusKey()}


@pytest.mark.parametrize("where", ["default", SYSTEM, "other"])
def test_one_that_nobody_can_read_makes_unknown_what_it_may_hold_for(where: str) -> None:
    world = exporting()
    world.put(remote_mesh(**MERGE), federated_service("west", "details"), federated_service("west", "reviews"))
    world.put(service("details"))
    world.settle()
    world.planner.unknown(("PeerAuthentication", where, "theirs"), "it cannot be decoded")
    while turn := world.planner.take_dirty():
        for key in turn.keys:
            world.planner.reconcile(key)
    claim = world.planner._exports._claims.get(("default", "ratings"))
    judged = [world.planner._imports._judged.get(f"{host(name)}.west") for name in ("details", "reviews")]
    lost = Unknown("it cannot be decoded")
    if where == "other":
        assert isinstance(claim, Claim)
        assert lost not in judged
    else:
        assert (claim, judged[0]) == (lost, lost)
        assert (judged[1] == lost) is (where == SYSTEM)
    world.put(peer_authentication("theirs", "STRICT", namespace=where))
    assert offered(world) == [80, 81, 82]
