"""What is gone is forgotten: no name of an object outlives it, in whatever the objects of a cluster leave behind."""

from __future__ import annotations

import gc
from typing import Any

from meshfed.istio.peer_authentications import PeerAuthentication
from meshfed.plan import Applied, GatewayKey, RemoteConnection
from meshfed.plan.foreign_service_entries import ForeignServiceEntry
from meshfed.plan.workloads import of_entry
from tests.builders import (
    endpoint_slice,
    federated_service,
    mesh_federation,
    namespace,
    pod,
    port,
    remote_mesh,
    service,
)
from tests.remembered import known
from tests.world import World, rule_of_others

GONE = "goneness"
IN_CYCLES = 1


def cluster_of(name: str, version: str) -> list[Any]:
    """One object of each kind, all of them about ``name``; ``version`` makes a change of each."""
    labels = {"app": name, "version": f"{name}-{version}"}
    return [
        namespace(name, team=f"{name}-{version}"),
        service(f"{name}.{name}", exported=True, labels=labels, selector=labels),
        service(name, labels=labels, ports=[port(9080), port(1, f"x{version}")]),
        pod(f"{name}.{name}", labels=labels, account=f"{name}-{version}", address=f"{name}-{version}"),
        service(f"{name}-db.{name}", exported=True, selector=None),
        endpoint_slice(f"{name}-db.{name}", f"{name}-db", f"{name}-{version}={name}", f"{name}-other"),
        pod(f"{name}-gateway", app="federation-ingress-gateway", labels=labels),
        remote_mesh(name, addresses=[f"{name}-{version}.example"], network=name, trustDomain=f"{name}-{version}"),
        federated_service(name, f"{name}.{name}", labels=labels),
        federated_service("west", f"{name}-{version}.elsewhere", labels=labels),
    ]


def others(world: World, name: str, labels: dict[str, str] | None) -> None:
    """What there is no object for in a `World`; None: it is gone."""
    planner = world.planner
    entry = {"spec": {"labels": labels, "serviceAccount": f"{name}-entry"}} if labels else None
    planner.inputs.workloads.put(("WorkloadEntry", name, name), of_entry(entry) if entry else None)
    rule = rule_of_others(f"{name}.{name}.svc.cluster.local", created=name, subsets=[{"name": name, "labels": labels}])
    planner.inputs.rules.put((name, name), rule if labels else None)
    selecting = PeerAuthentication(selector=labels, mode="DISABLE", ports={1: "STRICT"}) if labels else None
    planner.inputs.peer_authentications.put((name, name), selecting)
    planner.inputs.peer_authentications.put((f"{name}-whole", name), PeerAuthentication() if labels else None)
    rival = ForeignServiceEntry(hosts=(f"{name}.{name}.svc.cluster.local",), selector=labels) if labels else None
    planner.inputs.entries.put((name, name), rival)
    planner.service_export_changed(name, name, 1 if labels else None)
    planner.connection_changed(name, RemoteConnection(message=f"{name} is away") if labels else None)


def live_and_die(world: World, name: str) -> None:
    first, second = cluster_of(name, "one"), cluster_of(name, "two")
    for version, objects in (("one", first), ("two", second)):
        world.put(*objects)
        others(world, name, {"app": name, "version": version})
        for key in world.settle():
            if name in str(key):
                world.planner.applied_changed(key, Applied("failed", message=f"{name} is refused"))
        world.planner.record_changed(name, f"{name}.{name}", Applied("failed", message=f"{name} is refused"))
        world.settle()
    others(world, name, None)
    world.planner.record_changed(name, f"{name}.{name}", Applied("applied"))
    world.remove(*first, *second)
    keys = set(world.settle())
    while keys:
        for key in keys:
            world.planner.applied_changed(key, None)
            if isinstance(key, GatewayKey):
                world.planner.applied_changed(key, Applied("applied"))
        keys = set(world.settle())
    world.outputs.clear()


def test_a_planner_knows_nothing_of_what_is_gone() -> None:
    world = World(mesh_federation(), remote_mesh("west"))
    alive = cluster_of(f"{GONE}0", "one")
    world.put(*alive)
    del alive
    assert {f"{GONE}0", f"{GONE}0-one", f"{GONE}0-one.example"} <= set(known(GONE)), "else what follows says nothing"
    for number in range(30):
        live_and_die(world, f"{GONE}{number}")
    assert known(GONE) == []


def test_what_goes_leaves_no_cycle_behind() -> None:
    """Else it would stay: the collector does not look at what it has looked at for long (`controller.garbage`)."""
    world = World(mesh_federation(), remote_mesh("west"))
    live_and_die(world, f"{GONE}0")  # what is made once
    gc.collect()
    gc.disable()
    try:
        for number in range(1, 11):
            live_and_die(world, f"{GONE}{number}")
        left = gc.collect()
    finally:
        gc.enable()
    assert left < 10 * IN_CYCLES
