"""What follows from an object of which nobody knows what it says is unknown, and never what it would be without it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshfed.derive import Known, Unknown
from meshfed.kube import Manifest
from meshfed.model.reasons import Decision, Reason
from meshfed.model.workloads import Located, Workload
from meshfed.plan import Applied, ExportKey, GatewayKey, ImportKey, MeshKey, Ref
from meshfed.plan.claims import Claim
from meshfed.plan.foreign_service_entries import ForeignServiceEntry
from meshfed.plan.imports import Judged
from tests.builders import federated_service, host, mesh_federation, namespace, remote_mesh, service
from tests.plan.histories import (
    beginnings,
    change_beside,
    changes,
    entries,
    meshes,
    namespaces,
    peer_authentications,
    pods,
    ref_of,
    remotes,
    rules,
    services,
    slices,
    virtual_machines,
)
from tests.world import World, rule_of_others

UNREADABLE = "it cannot be decoded"
MERGE: dict[str, Any] = {"import_": {"merge": True}}
ROUTER: dict[str, Any] = {"ingressType": "openshift-router"}
BESIDE = {
    "slice": "EndpointSlice",
    "rule": "DestinationRule",
    "entry": "ServiceEntry",
    "vm": "WorkloadEntry",
    "mtls": "PeerAuthentication",
}
hidden = st.one_of(
    st.tuples(st.just("put"), services | pods | namespaces),
    st.tuples(st.just("rule"), rules),
    st.tuples(st.just("entry"), entries),
    st.tuples(st.just("vm"), virtual_machines),
    st.tuples(st.just("mtls"), peer_authentications),
    st.tuples(st.just("slice"), slices),
).map(lambda found: ("unknown", found))
histories = st.lists(st.one_of(changes.map(lambda one: one[0]), hidden), min_size=1, max_size=20)


def unknown(world: World, ref: Ref) -> None:
    """Nobody can say any more what an object says."""
    world.planner.unknown(ref, UNREADABLE)


def work(world: World) -> None:
    """Work until nothing is left to do, whatever may be unknown."""
    while turn := world.planner.take_dirty():
        for key in turn.keys:
            outputs = world.planner.reconcile(key)
            if outputs is not None:
                world.outputs[key] = outputs


def apply(world: World, action: str, what: Any) -> None:
    if action == "resolve":
        world.planner.resolution_changed(*what)
    elif action in {*BESIDE, "listed"}:
        change_beside(world, action, *what)
    else:
        (world.put if action == "put" else world.remove)(what)


def changed(action: str, what: Any) -> Ref:
    """Which object a change is of."""
    return (BESIDE[action], *what[0]) if action in BESIDE else ref_of(what)


def found(world: World) -> dict[tuple[str, Any], Known[Any]]:
    """What is known of each offer and each Service by itself, without mere remarks."""
    imports, exports = world.planner._imports, world.planner._exports
    offers = {("offer", one): bare(imports._judged.get(one)) for one in imports.offers.nodes}
    claims = {("export", one): bare(exports._claims.get(one)) for one in exports._services.nodes}
    return offers | claims


def bare(value: Known[Any]) -> Known[Any]:
    if isinstance(value, Claim):
        return msgspec.structs.replace(value, hidden=False)
    if isinstance(value, Judged) and value.candidate is not None:
        candidate = msgspec.structs.replace(value.candidate, reason=Reason.ACCEPTED, note="")
        return msgspec.structs.replace(value, candidate=candidate)
    return value


@settings(max_examples=250, deadline=None)
@given(meshes, st.lists(remotes, min_size=1, max_size=3), beginnings, histories)
def test_whatever_nobody_knows_says_it_is_as_if_it_were_known_or_unknown(
    east: Manifest, others: list[Manifest], crowd: list[Manifest], steps: list[tuple[str, Any]]
) -> None:
    """Beside a world with doubts goes the truth; and once all is known the two are the same."""
    world, truth = World(east, *others, *crowd), World(east, *others, *crowd)
    doubts: dict[Ref, tuple[str, Any]] = {}
    for action, what in steps:
        if action == "unknown":
            doubts[changed(*what)] = what
            apply(truth, *what)
            unknown(world, changed(*what))
        else:
            if action not in {"resolve", "listed"}:
                doubts.pop(changed(action, what), None)
            apply(world, action, what)
            apply(truth, action, what)
        work(world)
        work(truth)
        true = found(truth)
        for where, value in found(world).items():
            assert value == true.get(where) or isinstance(value, Unknown), where
    for what in doubts.values():
        apply(world, *what)
    work(world)
    assert world.planner._ingress._trouble.get("this") == truth.planner._ingress._trouble.get("this")
    assert found(world) == found(truth)
    assert world.carriers == truth.carriers


@settings(max_examples=150, deadline=None)
@given(meshes, st.lists(remotes, min_size=1, max_size=3), beginnings, histories)
def test_what_is_unknown_is_what_would_be_so_anew(
    east: Manifest, others: list[Manifest], crowd: list[Manifest], steps: list[tuple[str, Any]]
) -> None:
    """An object of which nothing is known any more is first taken away, so that there is no last good state of it."""
    world = World(east, *others, *crowd)
    present: dict[Ref, tuple[str, Any]] = {ref_of(one): ("put", one) for one in (east, *others, *crowd)}
    for action, what in steps:
        work(world)
        if action == "resolve":
            continue
        if action == "listed":
            apply(world, action, what)
            present["", "", ""] = (action, what)
        elif action == "unknown":
            ref = changed(*what)
            if what[0] == "put":
                world.remove(what[1])
            else:
                change_beside(world, what[0], what[1][0], None)
            work(world)
            unknown(world, ref)
            present[ref] = ("unknown", what)
        else:
            present[changed(action, what)] = (action, what)
            apply(world, action, what)
    work(world)
    fresh = World()
    for ref, (action, what) in present.items():
        if action == "unknown":
            unknown(fresh, ref)
        elif action != "remove":
            apply(fresh, action, what)
    work(fresh)

    def there(of: World) -> dict[tuple[str, Any], Any]:
        return {where: value for where, value in found(of).items() if value is not None}

    assert there(world) == there(fresh)


def judged(world: World, name: str, by: str = "west") -> Any:
    work(world)
    return world.planner._imports._judged.get(f"{host(name)}.{by}")


def claimed(world: World, name: str) -> Any:
    work(world)
    return world.planner._exports._claims.get(("default", name))


IMPORT = ImportKey(host("ratings"))


@pytest.mark.parametrize("was_known", [True, False])
def test_a_service_makes_unknown_what_is_imported_beside_it_and_its_export(was_known: bool) -> None:
    world = World(
        mesh_federation(),
        remote_mesh(**MERGE),
        federated_service("west", "ratings"),
        federated_service("west", "reviews"),
    )
    if was_known:
        world.put(service("ratings", exported=True))
        work(world)
    unknown(world, ("Service", "default", "ratings"))
    assert judged(world, "ratings") == claimed(world, "ratings") == Unknown(UNREADABLE)
    assert isinstance(judged(world, "reviews"), Judged)
    assert world.planner.reconcile(IMPORT) is None
    assert world.planner.reconcile(ExportKey("default", "ratings")) is None
    world.remove(service("ratings"))
    work(world)
    assert world.carriers == [f"ServiceEntry istio-system/import.{host(name)}" for name in ("ratings", "reviews")]


@pytest.mark.parametrize("was_known", [True, False])
def test_a_service_that_nobody_can_read_is_unknown_under_the_host_of_another_cluster_domain_too(
    was_known: bool,
) -> None:
    world = World(
        mesh_federation(),
        remote_mesh(clusterDomain="east.example"),
        federated_service("west", "ratings.default.svc.east.example"),
    )
    if was_known:
        world.put(service("ratings"))
        work(world)
    unknown(world, ("Service", "default", "ratings"))
    assert isinstance(judged(world, "ratings.default.svc.east.example"), Judged)
    world.put(mesh_federation(clusterDomain="east.example"))
    assert judged(world, "ratings.default.svc.east.example") == Unknown(UNREADABLE)


def test_a_service_makes_unknown_who_shares_the_selector_of_another_in_its_namespace() -> None:
    world = World(
        mesh_federation(),
        remote_mesh(**MERGE),
        federated_service("west", "ratings"),
        federated_service("west", "reviews"),
        service("ratings"),
    )
    unknown(world, ("Service", "other", "theirs"))
    assert isinstance(judged(world, "ratings"), Judged)
    unknown(world, ("Service", "default", "theirs"))
    assert judged(world, "ratings") == Unknown(UNREADABLE)
    assert isinstance(judged(world, "reviews"), Judged), "it joins no Service"
    world.put(service("theirs", selector={"app": "ratings"}))
    assert judged(world, "ratings").refusal.reason == Reason.SELECTOR_SHARED


@pytest.mark.parametrize("kind", ["Pod", "WorkloadEntry"])
@pytest.mark.parametrize("was_known", [True, False])
def test_a_workload_makes_unknown_what_serves_the_services_of_its_namespace(kind: str, was_known: bool) -> None:
    world = World(
        mesh_federation(),
        remote_mesh(**MERGE, **ROUTER),
        federated_service("west", "ratings"),
        service("ratings", exported=True),
    )
    world.put(
        federated_service("west", "plain"),
        service("there.other", exported=True),
        service("nobody", exported=True, selector={}),
    )
    if was_known:
        world.planner.inputs.workloads.put((kind, "default", "one"), Located(Workload()))
        work(world)
    unknown(world, (kind, "default", "one"))
    assert judged(world, "ratings") == claimed(world, "ratings") == Unknown(UNREADABLE)
    assert isinstance(judged(world, "plain"), Judged)
    assert isinstance(claimed(world, "nobody"), Claim), "it selects nothing"
    assert isinstance(world.planner._exports._claims.get(("other", "there")), Claim)
    world.planner.inputs.workloads.put((kind, "default", "one"), None)
    assert isinstance(claimed(world, "ratings"), Claim)


def test_a_rule_that_was_for_some_hosts_makes_those_unknown() -> None:
    world = World(
        mesh_federation(), remote_mesh(), federated_service("west", "ratings"), federated_service("west", "a.b")
    )
    world.planner.inputs.rules.put(("shop", "theirs"), rule_of_others("*.b.svc.cluster.local"))
    work(world)
    unknown(world, ("DestinationRule", "shop", "theirs"))
    assert isinstance(judged(world, "ratings"), Judged)
    assert world.planner._imports._judged.get("a.b.svc.cluster.local.west") == Unknown(UNREADABLE)


@pytest.mark.parametrize("known_for", ["", "x.example.com", "*"])
def test_a_rule_makes_unknown_every_offer_and_every_export(known_for: str) -> None:
    world = World(mesh_federation(), remote_mesh(**ROUTER), remote_mesh("north", trustDomain="n.local"))
    world.put(federated_service("west", "ratings"), federated_service("north", "reviews"))
    world.put(service("details", exported=True), service("plain"))
    world.planner.inputs.rules.put(("shop", "theirs"), rule_of_others(known_for))
    work(world)
    unknown(world, ("DestinationRule", "shop", "theirs"))
    assert judged(world, "ratings") == judged(world, "reviews", "north") == Unknown(UNREADABLE)
    assert claimed(world, "details") == Unknown(UNREADABLE)
    assert isinstance(claimed(world, "plain"), Decision), "nobody asks for its rules"
    world.planner.inputs.rules.put(("shop", "theirs"), rule_of_others("x.example.com"))
    assert isinstance(judged(world, "ratings"), Judged)
    assert isinstance(claimed(world, "details"), Claim)


def test_a_service_entry_makes_unknown_who_takes_the_endpoints_of_a_service_and_is_no_rival() -> None:
    world = World(
        mesh_federation(),
        remote_mesh(**MERGE),
        federated_service("west", "ratings"),
        federated_service("west", "reviews"),
        service("ratings"),
    )
    unknown(world, ("ServiceEntry", "other", "theirs"))
    assert isinstance(judged(world, "ratings"), Judged)
    unknown(world, ("ServiceEntry", "default", "theirs"))
    assert judged(world, "ratings") == Unknown(UNREADABLE)
    assert judged(world, "reviews").candidate.reason == Reason.ACCEPTED
    world.planner.inputs.entries.put(("default", "theirs"), ForeignServiceEntry(hosts=(host("reviews"),)))
    assert judged(world, "reviews").candidate.reason == Reason.HOST_SHARED
    assert isinstance(judged(world, "ratings"), Judged)


def test_a_namespace_makes_unknown_the_exports_that_go_by_its_labels() -> None:
    by_label = {"namespaceSelectors": {"matchLabels": {"env": "prod"}}}
    world = World(mesh_federation(export=by_label), namespace("default", env="prod"), service("ratings"))
    assert isinstance(claimed(world, "ratings"), Claim)
    unknown(world, ("Namespace", "", "default"))
    assert claimed(world, "ratings") == Unknown(UNREADABLE)


def test_of_a_gateway_nobody_knows_its_status_says_so() -> None:
    world = World(
        mesh_federation(), service("ratings", exported=True, annotations={"networking.istio.io/exportTo": "shop"})
    )
    for key in (MeshKey(), GatewayKey(0)):
        world.planner.applied_changed(key, Applied("applied"))
    unknown(world, ("Pod", "other", "one"))
    work(world)
    assert world.conditions("MeshFederation", "east")["GatewayReady"] == "Unknown NotUnderstood"
    assert world.gateways == [[host("ratings")]], "where the gateway is only makes a remark"
