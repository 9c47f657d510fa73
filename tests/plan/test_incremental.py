"""The planner arrives where a fresh one would start, whatever happened on the way, and looks no further than needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshfed.kube import Manifest
from meshfed.model.reasons import DENIALS, Reason
from meshfed.plan import GatewayKey, ImportKey, MeshStatusKey, Outputs
from tests.builders import federated_service, host, mesh_federation, remote_mesh, service
from tests.plan.histories import beginnings, change_beside, changes, meshes, ref_of, remotes
from tests.world import World

DENIED = Reason.DENIED_BY_RULE


def end_state(world: World) -> dict[str, Outputs]:
    world.settle()
    return {repr(key): outputs for key, outputs in world.outputs.items() if outputs != Outputs()}


def counted(world: World, records: list[Manifest]) -> dict[str, tuple[int, Counter[str]]]:
    """By remote, how many offers are imported, and how many are not for which reason, from what is said of each."""
    found: dict[str, tuple[int, Counter[str]]] = {}
    for record in records:
        accepted = world.statuses[f"FederatedService {record['metadata']['name']}"].conditions[0]
        remote = record["spec"]["remote"]
        imported, refused = found.get(remote, (0, Counter()))
        holds = accepted.status == "True"
        found[remote] = (imported + holds, refused + Counter([] if holds else [accepted.reason]))
    return found


def said(fields: Mapping[str, Any]) -> tuple[int, Counter[str]]:
    """The same, from the status of the RemoteMesh; what is denied under one reason."""
    refused = Counter({one.reason: one.count for one in fields["refused"]})
    assert refused.total() == fields["refusedServices"]
    assert fields["offeredServices"] == fields["importedServices"] + fields["deniedServices"] + refused.total()
    return fields["importedServices"], refused + Counter({DENIED: fields["deniedServices"]})


@settings(max_examples=150, deadline=None)
@given(meshes, st.lists(remotes, min_size=1, max_size=3), beginnings, changes)
def test_what_happened_on_the_way_does_not_matter(
    east: Manifest, others: list[Manifest], crowd: list[Manifest], steps: list[tuple[str, Any]]
) -> None:
    world = World(east, *others, *crowd)
    present: dict[Any, Manifest] = {ref_of(given): given for given in (east, *others, *crowd)}
    resolved: dict[str, tuple[str, ...]] = {}
    beside: dict[Any, Any] = {}
    for action, what in steps:
        if action == "resolve":
            name, addresses = what
            world.planner.resolution_changed(name, addresses)
            resolved[name] = addresses or resolved.get(name, ())
        elif action in {"rule", "entry", "vm", "slice", "mtls", "listed"}:
            beside[action, what[0]] = what[1]
            change_beside(world, action, *what)
        elif action == "put":
            world.put(what)
            present[ref_of(what)] = what
        else:
            present.pop(ref_of(what), None)
            world.remove(what)
        arrived = end_state(world)
        if world.planner.mesh is not None:
            told = counted(world, [given for given in present.values() if given["kind"] == "FederatedService"])
            for name in world.planner.remotes:
                imported, refused = told.get(name, (0, Counter()))
                one = Counter({DENIED: sum(refused.pop(reason, 0) for reason in DENIALS)})
                assert said(world.statuses[f"RemoteMesh {name}"].fields) == (imported, refused + one)

        fresh = World(*present.values())
        for name, addresses in resolved.items():
            fresh.planner.resolution_changed(name, addresses)
        for (of, place), value in beside.items():
            change_beside(fresh, of, place, value)
        assert end_state(fresh) == arrived
        assert fresh.planner.names_to_resolve() == world.planner.names_to_resolve()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1100)), min_size=600, max_size=900))
def test_with_its_gateways_given_a_fresh_planner_keeps_every_home(steps: list[tuple[bool, int]]) -> None:
    world = World(mesh_federation())
    present: dict[str, Manifest] = {}
    for exports, number in steps:
        given = service(f"s{number}", exported=True)
        (world.put if exports else world.remove)(given)
        if exports:
            present[given["metadata"]["name"]] = given
        else:
            present.pop(given["metadata"]["name"], None)
    gateways = {
        key.index: outputs.objects[0]["spec"]["servers"][0]["hosts"]
        for key, outputs in (world.settle(), world.outputs)[1].items()
        if isinstance(key, GatewayKey) and outputs.objects
    }
    fresh = World(mesh_federation(), *present.values())
    for index, hosts in gateways.items():
        fresh.planner.gateway_observed(index, hosts)
    assert end_state(fresh) == end_state(world)


def crowd(services: int, remotes: int) -> World:
    """A settled mesh of many Services and many remotes, each of which offers one host of its own and one shared."""
    names = [f"r{number}" for number in range(remotes)]
    world = World(
        mesh_federation(),
        *(remote_mesh(name, trustDomain=f"{name}.local") for name in names),
        *(service(f"s{number}", exported=True) for number in range(services)),
        *(federated_service(name, f"of-{name}") for name in names),
    )
    world.settle()
    return world


CHANGES: dict[str, list[Manifest]] = {
    "a Service is exported": [service("new", exported=True)],
    "a Service changes": [service("s1", exported=True, ports=[{"name": "http", "port": 81}])],
    "a Service is no longer exported": [service("s1")],
    "a host is offered": [federated_service("r1", "new")],
    "an offer changes": [federated_service("r1", "of-r1", labels={"v": "2"})],
    "a local Service appears under an imported host": [service("of-r1")],
    "a remote appears": [remote_mesh("new", trustDomain="new.local")],
    "a remote changes": [remote_mesh("r1", trustDomain="r1.local", port=443)],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_costs_the_same_in_a_small_world_and_in_a_large_one(change: str) -> None:
    def cost(world: World) -> Counter[str]:
        world.put(*CHANGES[change])
        return Counter(type(key).__name__ for key in world.settle())

    small, large = cost(crowd(10, 10)), cost(crowd(490, 490))
    assert small == large
    assert sum(small.values()) <= 6


def test_a_burst_is_reported_once() -> None:
    world = World(mesh_federation(), remote_mesh())
    world.settle()
    world.put(*(federated_service("west", f"s{number}") for number in range(100)))
    assert world.settle().count(MeshStatusKey()) == 1
    assert len(world.carriers) == 100
    assert f"ServiceEntry istio-system/import.{host('s99')}" in world.carriers


def test_at_the_start_nothing_is_worked_out_before_all_that_remotes_offer_is_known() -> None:
    """Else a host that several serve would lose the endpoints of those whose turn has not come."""
    world = World(mesh_federation())
    for name, address, others in (("a", "192.0.2.1", 0), ("b", "192.0.2.2", 200), ("c", "192.0.2.3", 400)):
        world.put(remote_mesh(name, addresses=[address], import_={"merge": True}))
        world.put(
            *(federated_service(name, f"only-{name}-{number}") for number in range(others)),
            federated_service(name, "shared"),
        )
    for turn in iter(world.planner.take_dirty, None):
        for key in turn.keys:
            outputs = world.planner.reconcile(key)
            if key == ImportKey(host("shared")) and outputs is not None:
                (entry,) = outputs.objects
                assert len(entry["spec"]["endpoints"]) == 3


def carried(world: World) -> dict[str, set[str]]:
    """By host that is imported, the kinds of its objects."""
    found = {key.host: outputs for key, outputs in world.outputs.items() if isinstance(key, ImportKey)}
    return {host: {one["kind"] for one in outputs.objects} for host, outputs in found.items() if outputs.objects}


@settings(max_examples=150, deadline=None)
@given(meshes, st.lists(remotes, min_size=1, max_size=3), beginnings, changes)
def test_nothing_that_is_there_before_and_after_is_away_in_between(
    east: Manifest, others: list[Manifest], crowd: list[Manifest], steps: list[tuple[str, Any]]
) -> None:
    """Changes come all at once, and every host is asked for by somebody else, too."""
    world = World(east, *others, *crowd)
    world.settle()
    before = carried(world)
    seen: dict[str, list[set[str]]] = {}

    def turns(most: int) -> None:
        for _ in range(most):
            turn = world.planner.take_dirty()
            if turn is None:
                return
            for key in turn.keys:
                outputs = world.planner.reconcile(key)
                assert outputs is not None
                world.outputs[key] = outputs
                if isinstance(key, ImportKey):
                    seen.setdefault(key.host, []).append({one["kind"] for one in outputs.objects})

    for action, what in steps:
        if action == "resolve":
            world.planner.resolution_changed(*what)
        elif action in {"rule", "entry", "vm", "slice", "mtls", "listed"}:
            change_beside(world, action, *what)
        else:
            (world.put if action == "put" else world.remove)(what)
        for host_name in before:
            world.planner._mark(ImportKey(host_name), "somebody else")
    turns(100_000)
    after = carried(world)
    for host_name in before.keys() & after.keys():
        assert all(kinds in (before[host_name], after[host_name]) for kinds in seen.get(host_name, ())), host_name


def test_a_limit_that_moves_with_the_rules_takes_nothing_away_for_a_moment() -> None:
    """However many offers there are to judge again, and whoever else asks for the host meanwhile."""

    def west(*denied: str, limit: int) -> Manifest:
        deny = [{"action": "Deny", "hosts": [host(name)]} for name in denied]
        return remote_mesh("west", import_={"limit": limit, "rules": [*deny, {"action": "Import"}]})

    names = [f"s{number:03}.a" for number in range(400)]
    last = ImportKey(host(names[-1]))
    for changed in (west(limit=400), west(names[0], names[-2], limit=398), west(names[1], limit=399)):
        world = World(mesh_federation(), west(names[0], limit=399))
        world.put(
            *(
                federated_service("west", name, first_offered=f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z")
                for number, name in enumerate(names)
            )
        )
        world.settle()
        assert world.outputs[last].objects
        world.put(mesh_federation(network="other"))
        world.put(changed)
        while turn := world.planner.take_dirty():
            if world.planner.waiting > 200:
                world.planner._mark(last, "gw.example")
            for key in turn.keys:
                outputs = world.planner.reconcile(key)
                assert key != last or (outputs is not None and outputs.objects)


def test_remote_endpoints_never_join_a_service_that_they_may_not() -> None:
    world = World(mesh_federation(), remote_mesh("west"), federated_service("west", "x"))
    world.settle()
    world.planner._mark(ImportKey(host("x")), "west")
    world.put(service("x"))
    while turn := world.planner.take_dirty():
        for key in turn.keys:
            outputs = world.planner.reconcile(key)
            assert key != ImportKey(host("x")) or outputs == Outputs()


@pytest.mark.parametrize("rate", [1, 4])
def test_what_one_remote_withdraws_goes_while_another_never_stops_changing(rate: int) -> None:
    world = World(
        mesh_federation(),
        remote_mesh("flood", import_={"merge": True}),
        remote_mesh("west", import_={"merge": True}, network="w"),
    )
    world.put(*(federated_service("flood", f"f{number}") for number in range(200)), federated_service("west", "f0"))
    world.settle()
    for number in range(300):
        world.put(
            *(
                federated_service("flood", f"f{(number * rate + n) % 200}", labels={"v": str(number)})
                for n in range(rate)
            )
        )
        if number == 40:
            world.remove(federated_service("west", "f0"))
        turn = world.planner.take_dirty()
        for key in turn.keys if turn is not None else ():
            outputs = world.planner.reconcile(key)
            if key == ImportKey(host("f0")) and outputs is not None:
                (entry,) = outputs.objects
                if len(entry["spec"]["endpoints"]) == 1:
                    return
    raise AssertionError("its endpoint never goes")
