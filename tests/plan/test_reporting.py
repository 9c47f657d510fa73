"""What the statuses of meshes go by, and nothing else: they are derived, and end where they come out as before."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from meshfed.kube import Manifest
from meshfed.model.identity import SpiffeID
from meshfed.model.reasons import Reason
from meshfed.plan import (
    Applied,
    GatewayKey,
    ImportKey,
    MeshKey,
    MeshStatusKey,
    OfferKey,
    RemoteConnection,
    RemoteKey,
    RemoteStatusKey,
    reporting,
)
from tests.builders import federated_service, host, mesh_federation, remote_mesh, service
from tests.world import World

REFUSED = Applied(state="failed", reason=Reason.WRITE_FAILED, message="no")
UP = RemoteConnection(connected=True, synced=True, reason=Reason.CONNECTED, sync_reason=Reason.SYNCED)
UNREADABLE = "it cannot be decoded"


def kinds(world: World) -> Counter[str]:
    return Counter(type(key).__name__ for key in world.settle())


def work(world: World) -> None:
    """Work until nothing is left to do, whatever may be unknown."""
    while turn := world.planner.take_dirty():
        for key in turn.keys:
            outputs = world.planner.reconcile(key)
            if outputs is not None:
                world.outputs[key] = outputs


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            [service("a", exported=True, ports=[{"name": "http", "port": 81}])], id="another port of an export"
        ),
        pytest.param([federated_service("west", "x", labels={"v": "2"})], id="other labels of an offer"),
    ],
)
def test_a_status_that_says_the_same_is_not_worked_out(change: list[Manifest]) -> None:
    world = World(mesh_federation(), remote_mesh(), service("a", exported=True), federated_service("west", "x"))
    world.settle()
    world.put(*change)
    worked = kinds(world)
    assert worked
    assert worked.keys().isdisjoint({"MeshStatusKey", "RemoteStatusKey"})


def test_verdicts_of_one_turn_make_one_status_of_each_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(mesh_federation(), remote_mesh(), *(federated_service("west", f"s{number}") for number in range(50)))
    world.planner.connection_changed("west", UP)
    world.settle()
    made: list[str] = []
    original = reporting.Reporting._remote

    def counted(self: Any, context: Any, name: str) -> Any:
        made.append(name)
        return original(self, context, name)

    monkeypatch.setattr(
        world.planner._reporting._remote_statuses, "_function", counted.__get__(world.planner._reporting)
    )
    for number in range(50):
        world.planner.applied_changed(ImportKey(host(f"s{number}")), REFUSED)
        world.planner.record_changed("west", host(f"t{number}"), REFUSED)
    worked = Counter(world.settle())
    assert (made, worked[RemoteStatusKey("west")], worked[MeshStatusKey()]) == (["west"], 1, 0)


def test_what_is_said_of_a_remote_does_not_wait_until_it_stops_changing_its_offers() -> None:
    world = World(mesh_federation(), remote_mesh(), *(federated_service("west", f"s{number}") for number in range(100)))
    world.settle()
    world.put(federated_service("west", "new"))
    waits = {RemoteStatusKey("west"), MeshStatusKey()}
    for number in range(10):
        world.put(*(federated_service("west", f"s{each}", labels={"v": str(number)}) for each in range(20)))
        turn = world.planner.take_dirty()
        waits.difference_update(turn.keys if turn is not None else ())
        for key in turn.keys if turn is not None else ():
            world.planner.reconcile(key)
    assert not waits


def test_a_verdict_renders_nothing() -> None:
    world = World(mesh_federation(), remote_mesh(), *(federated_service("west", f"s{number}") for number in range(20)))
    world.settle()
    world.planner.applied_changed(ImportKey(host("s1")), Applied("applied"))
    assert world.settle() == [OfferKey(f"{host('s1')}.west")]


def test_another_mesh_works_out_all_that_speaks_of_it() -> None:
    world = World(mesh_federation(), remote_mesh(), service("a", exported=True), federated_service("west", "x"))
    world.settle()
    world.put(mesh_federation(controlPlaneNamespace="other"))
    worked = world.settle()
    assert {ImportKey(host("x")), RemoteKey("west"), GatewayKey(0), MeshKey()} <= set(worked)
    assert all(name.split()[1].startswith("other/") for name in world.carriers)
    (objects,) = (world.statuses[f"FederatedService {host('x')}.west"].fields["objects"],)
    assert objects == (f"ServiceEntry other/import.{host('x')}",)


def test_a_remote_that_cannot_be_read_leaves_the_statuses_of_others_and_what_is_known_of_it() -> None:
    theirs = SpiffeID.of_workload("north.local", "istio-system", "federation-controller")
    west, north = (remote_mesh(name, trustDomain=f"{name}.local") for name in ("west", "north"))
    world = World(mesh_federation(), west, federated_service("west", "x"), federated_service("north", "y"))
    world.planner.unknown(("RemoteMesh", "istio-system", "north"), UNREADABLE)
    work(world)
    assert "RemoteMesh north" not in world.statuses
    assert world.conditions("RemoteMesh", "west")["Ready"] == "False Connecting"
    assert world.conditions("FederatedService", f"{host('y')}.north")["Accepted"] == "Unknown NotUnderstood"
    assert world.planner.reconcile(RemoteKey("north")) is None
    assert world.planner.reconcile(MeshKey()) is None, "who may call, nobody can say"
    assert world.planner.why_unknown(RemoteKey("north")) == world.planner.why_unknown(MeshKey()) == UNREADABLE
    world.put(north)
    assert {MeshKey(), RemoteKey("north"), RemoteStatusKey("north"), MeshStatusKey()} <= set(world.settle())
    assert world.planner.remotes_with_identity(theirs) == ("north",)
    assert world.statuses["MeshFederation east"].fields["remoteMeshes"] == 2


def test_a_mesh_that_comes_has_it_said_of_an_offer_that_nobody_can_judge() -> None:
    world = World(federated_service("west", "x"))
    world.planner.unknown(("RemoteMesh", "istio-system", "west"), UNREADABLE)
    work(world)
    world.put(mesh_federation())
    work(world)
    assert world.conditions("FederatedService", f"{host('x')}.west") == {"Accepted": "Unknown NotUnderstood"}


def test_every_gateway_that_lists_something_has_to_be_in_place() -> None:
    world = World(mesh_federation(), service("a", exported=True))
    in_place = Applied(state="applied")
    world.planner.gateway_observed(1, [host("a")])
    world.settle()
    for key in (MeshKey(), GatewayKey(0)):
        world.planner.applied_changed(key, in_place)
    assert world.conditions("MeshFederation", "east")["GatewayReady"] == "False Pending"
    world.planner.applied_changed(GatewayKey(1), in_place)
    assert world.conditions("MeshFederation", "east")["GatewayReady"] == "False GatewayServiceMissing"
    world.planner.applied_changed(GatewayKey(1), REFUSED)
    world.remove(service("a", exported=True))
    assert world.conditions("MeshFederation", "east")["GatewayReady"] == "False GatewayServiceMissing", "it is empty"


def test_a_connection_is_said_of_its_remote_alone_and_forgotten_with_it() -> None:
    world = World(mesh_federation(), remote_mesh("west"), remote_mesh("north"))
    world.settle()
    away = RemoteConnection(reason=Reason.UNREACHABLE, message="away")
    world.planner.connection_changed("west", away)
    assert world.settle() == [RemoteStatusKey("west")]
    world.planner.connection_changed("west", msgspec.structs.replace(away))
    assert world.settle() == []
    world.planner.connection_changed("west", None)
    world.settle()
    assert world.conditions("RemoteMesh", "west")["Connected"] == "False Connecting"
