"""What the statuses of our three kinds say, and when they are worked out again."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import msgspec
import pytest

from meshfed.api.meta import RefusedCount
from meshfed.kube import Manifest
from meshfed.model.identity import SpiffeID
from meshfed.model.reasons import REASONS, Condition, ConditionType, Reason
from meshfed.plan import (
    Applied,
    ExportKey,
    GatewayKey,
    ImportKey,
    MeshKey,
    MeshStatusKey,
    OfferKey,
    RemoteConnection,
    RemoteKey,
    RemoteStatusKey,
    Settings,
)
from tests.builders import federated_service, host, mesh_federation, remote_mesh, service
from tests.world import World

SEE = "see `kubectl get federatedservices`"
IN_PLACE = Applied(state="applied")
REFUSED = Applied(state="failed", reason=Reason.WRITE_FAILED, message="admission webhook said no")
UP = RemoteConnection(
    connected=True,
    synced=True,
    reason=Reason.CONNECTED,
    message="connected",
    sync_reason=Reason.SYNCED,
    sync_message="all received",
    dialect="delta",
    last_connected="2026-01-01T00:00:00Z",
)
OWN_IDENTITY = "spiffe://west.local/ns/istio-system/sa/federation-controller"
RATINGS = ImportKey(host("ratings"))


def running() -> World:
    """East, which exports one Service and imports one of the two that west offers, all in place."""
    world = World(
        mesh_federation(),
        remote_mesh(trustDomain="west.local"),
        service("reviews", exported=True),
        federated_service("west", "ratings"),
        federated_service("west", "reviews"),
    )
    world.settle()
    ports = [{"name": "tls-passthrough", "port": 15443}]
    world.put(service("federation-ingress-gateway.istio-system", ports=ports, type="NodePort"))
    for key in (MeshKey(), GatewayKey(0), RemoteKey("west"), RATINGS):
        world.planner.applied_changed(key, IN_PLACE)
    world.planner.connection_changed("west", UP)
    world.settle()
    return world


def told(world: World, kind: str, name: str) -> list[str]:
    return [f"{c.type} {c.status} {c.reason}: {c.message}" for c in world.statuses[f"{kind} {name}"].conditions]


def test_all_is_well() -> None:
    world = running()
    assert told(world, "MeshFederation", "east") == [
        "Ready True Ready: exports 1 service, imports 1 host from 1 remote mesh",
        "GatewayReady True Applied: the gateway's objects are in place",
        "ExportsReady True Exporting: 1 service exported: default/reviews",
    ]
    assert world.statuses["MeshFederation east"].fields == {
        "exportedServices": 1,
        "importedServices": 1,
        "remoteMeshes": 1,
    }
    assert told(world, "RemoteMesh", "west") == [
        f"Ready True Ready: 1 of 2 offered services imported, 1 not (1 LocalServiceExists): {SEE}",
        "Connected True Connected: connected",
        "Synced True Synced: all received",
        f"IdentityUnique True IdentityUnique: callers with the identity {OWN_IDENTITY} are this remote",
    ]
    assert world.statuses["RemoteMesh west"].fields == {
        "offeredServices": 2,
        "importedServices": 1,
        "deniedServices": 0,
        "refusedServices": 1,
        "refused": (RefusedCount(reason="LocalServiceExists", count=1),),
        "heldServices": 0,
        "heldSince": "",
        "lastConnected": "2026-01-01T00:00:00Z",
        "lastSync": "",
        "dialect": "delta",
        "identity": "",
    }
    assert told(world, "FederatedService", f"{host('ratings')}.west") == [
        f"Accepted True Accepted: imported as {host('ratings')}",
        f"Applied True Applied: ServiceEntry istio-system/import.{host('ratings')}",
    ]
    assert told(world, "FederatedService", f"{host('reviews')}.west")[0].startswith(
        "Accepted False LocalServiceExists: Service default/reviews exists in this mesh; set `merge`"
    )
    assert all(status.observed_generation == 1 for status in world.statuses.values())


def test_what_is_left_out_of_an_export_is_named() -> None:
    world = World(mesh_federation(export={}), service("a"), *(service(f"s{n}.kube-system") for n in range(5)))
    assert told(world, "MeshFederation", "east")[-1] == (
        "ExportsReady True Exporting: 1 service exported: default/a; 5 left out as ProtectedNamespace: "
        "kube-system/s0, kube-system/s1, kube-system/s2 and 2 more"
    )
    world.remove(service("a"))
    assert told(world, "MeshFederation", "east")[-1].startswith(
        "ExportsReady True NothingExported: nothing is exported: no Service matches `export`; 5 left out"
    )


def test_what_is_exported_is_named_with_the_alias_and_the_audience() -> None:
    rules = [
        {"action": "Export", "names": ["pay"], "as": {"name": "billing"}, "remotes": ["west", "north"]},
        {"action": "Export", "names": ["bill*"], "as": {"namespace": "default", "name": "billing"}},
        {"action": "Export"},
    ]
    world = World(
        mesh_federation(export={"rules": rules}), service("pay", created="2020-01-01T00:00:00Z"), service("bills")
    )
    assert told(world, "MeshFederation", "east")[-1] == (
        "ExportsReady True Exporting: 1 service exported: "
        f"default/pay (as {host('billing')}, to north, west only); 1 left out as HostTaken: default/bills"
    )
    world.remove(service("pay"))
    assert told(world, "MeshFederation", "east")[-1] == (
        f"ExportsReady True Exporting: 1 service exported: default/bills (as {host('billing')})"
    )


def test_what_is_wrong_with_an_export_is_said() -> None:
    ports = [{"name": f"p{number}", "port": number} for number in range(1, 102)]
    world = World(mesh_federation(export={}), service("a"), service("many", ports=ports))
    assert told(world, "MeshFederation", "east")[-1] == (
        "ExportsReady True Exporting: 1 service exported: default/a; 1 left out as Invalid: default/many "
        f"('{host('many')}' is offered with 101 ports; at most 100 are taken)"
    )


def test_a_status_stays_small_however_many_objects_a_remote_causes() -> None:
    identities = [f"spiffe://cluster.local/ns/default/sa/a{number:02}" for number in range(64)]
    world = World(
        mesh_federation(),
        remote_mesh("west", addresses=[f"192.0.2.{number}" for number in range(1, 4)], import_={"merge": True}),
        service("ratings"),
        federated_service("west", "ratings", identities=identities),
    )
    assert len(world.manifests) > 66
    world.planner.applied_changed(RATINGS, IN_PLACE)
    world.settle()
    record = f"{host('ratings')}.west"
    objects = world.statuses[f"FederatedService {record}"].fields["objects"]
    assert isinstance(objects, tuple)
    assert len(objects) == 64
    assert told(world, "FederatedService", record)[1].endswith(f"{objects[9]} and 56 more")


def test_an_offer_that_cannot_be_recorded_is_said_on_its_remote() -> None:
    world = running()
    world.planner.record_changed("west", host("details"), REFUSED)
    assert world.settle() == [RemoteStatusKey("west")]
    assert told(world, "RemoteMesh", "west")[0] == (
        f"Ready False WriteFailed: FederatedServices for {host('details')} are not in place: admission webhook said no"
    )
    world.planner.record_changed("west", host("details"), IN_PLACE)
    world.settle()
    assert world.conditions("RemoteMesh", "west")["Ready"] == "True Ready"


def test_a_failed_write_shows_where_it_matters_until_it_succeeds() -> None:
    world = running()
    world.planner.applied_changed(RATINGS, REFUSED)
    assert world.settle() == [OfferKey(f"{host('ratings')}.west"), RemoteStatusKey("west")]
    assert world.conditions("RemoteMesh", "west")["Ready"] == "False WriteFailed"
    assert world.conditions("FederatedService", f"{host('ratings')}.west")["Applied"] == "False WriteFailed"
    world.planner.applied_changed(RATINGS, IN_PLACE)
    assert world.conditions("RemoteMesh", "west")["Ready"] == "True Ready"

    world.planner.applied_changed(GatewayKey(0), REFUSED)
    assert world.settle() == [MeshStatusKey()]
    assert told(world, "MeshFederation", "east")[0] == (
        "Ready False WriteFailed: GatewayReady: admission webhook said no"
    )
    world.planner.applied_changed(GatewayKey(0), IN_PLACE)
    world.planner.applied_changed(ExportKey("default", "reviews"), REFUSED)
    assert world.conditions("MeshFederation", "east") == {
        "Ready": "False WriteFailed",
        "GatewayReady": "True Applied",
        "ExportsReady": "False WriteFailed",
    }
    world.planner.applied_changed(ExportKey("default", "reviews"), None)
    assert world.conditions("MeshFederation", "east")["Ready"] == "True Ready"


def test_what_failed_is_said_of_the_remotes_that_serve_it_now() -> None:
    world = running()
    world.put(*(remote_mesh(name, trustDomain=f"{name}.local", import_={"merge": True}) for name in ("west", "north")))
    world.put(federated_service("north", "ratings"), federated_service("north", "details"))
    world.planner.connection_changed("north", UP)
    world.planner.applied_changed(ImportKey(host("details")), IN_PLACE)
    world.planner.applied_changed(RATINGS, REFUSED)
    failing = f"Ready False WriteFailed: objects of {host('ratings')} are not in place: admission webhook said no"
    assert told(world, "RemoteMesh", "west")[0] == told(world, "RemoteMesh", "north")[0] == failing

    world.remove(federated_service("west", "ratings"))
    assert world.conditions("RemoteMesh", "west")["Ready"] == "True Ready"
    assert told(world, "RemoteMesh", "north")[0] == failing
    world.put(federated_service("west", "ratings"))
    world.remove(federated_service("north", "ratings"))
    assert told(world, "RemoteMesh", "west")[0] == failing
    assert world.conditions("RemoteMesh", "north")["Ready"] == "True Ready"
    world.planner.applied_changed(RATINGS, None)
    assert world.conditions("RemoteMesh", "west")["Ready"] == "True Ready"


def test_the_first_of_many_failures_are_named_in_order() -> None:
    world = running()
    hosts = [host(f"s{number}") for number in range(6)]
    world.put(*(federated_service("west", f"s{number}") for number in range(6)))
    world.settle()
    for number in (5, 3, 4, 1, 2, 0):
        why = msgspec.structs.replace(REFUSED, message=f"said no to {number}")
        world.planner.applied_changed(ImportKey(hosts[number]), why)
    said = [told(world, "RemoteMesh", "west")[0]]
    for done in (hosts[0], hosts[4]):
        world.planner.applied_changed(ImportKey(done), IN_PLACE)
        said.append(told(world, "RemoteMesh", "west")[0])
    assert said == [
        f"Ready False WriteFailed: objects of {named} are not in place: said no to {first}"
        for named, first in (
            (f"{', '.join(hosts[:3])} and 3 more", 0),
            (f"{', '.join(hosts[1:4])} and 2 more", 1),
            (f"{', '.join(hosts[1:4])} and 1 more", 1),
        )
    ]


class Compared(str):
    """A name that is compared by a function of Python, so that sorting it is seen as work."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__lt__(self, other)


def lines(change: Callable[[], object]) -> int:
    """Make a change; returns how many lines of code ran for it."""
    ran = 0

    def line(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal ran
        ran += event == "line"
        return line

    before = sys.gettrace()
    gc.disable()  # of whose runs hypothesis hears
    sys.settrace(line)
    try:
        change()
    finally:
        sys.settrace(before)
        gc.enable()
    return ran


def steps(world: World, key: ImportKey | ExportKey | None, name: str, applied: Applied) -> int:
    """Take in a verdict, on a FederatedService where there is no ``key``; returns how many lines of code ran for it."""

    def verdict() -> None:
        if key is None:
            world.planner.record_changed("west", name, applied)
        else:
            world.planner.applied_changed(key, applied)
        world.settle()

    return lines(verdict)


def test_an_offer_that_is_not_imported_costs_the_same_beside_few_others_and_beside_many() -> None:
    rules = {"rules": [{"action": "Deny", "hosts": ["no*"]}, {"action": "Import"}], "limit": 2}

    def cost(size: int) -> list[int]:
        world = World(mesh_federation(), remote_mesh("west", import_=rules))
        world.put(*(federated_service("west", f"{what}{number}") for what in ("no", "over") for number in range(size)))
        world.settle()
        denied, beyond = federated_service("west", "no-more"), federated_service("west", "over-more")
        return [
            lines(lambda: world.put(denied).settle()),
            lines(lambda: world.put(beyond).settle()),
            lines(lambda: world.remove(denied).settle()),
            lines(lambda: world.remove(beyond).settle()),
        ]

    assert cost(8) == cost(512)


@pytest.mark.parametrize("what", ["imports", "exports", "records"])
def test_a_verdict_costs_the_same_beside_few_failures_and_beside_many(what: str) -> None:
    def cost(size: int) -> list[int]:
        names = [Compared(f"s{number}") for number in range(size)]
        hosts = [Compared(host(name)) for name in names]
        world = running()
        world.put(
            *(service(name, exported=True) for name in names)
            if what == "exports"
            else (federated_service("west", name) for name in names)
        )
        world.settle()
        keys: dict[str, list[ImportKey | ExportKey | None]] = {
            "imports": [ImportKey(each) for each in hosts],
            "exports": [ExportKey(Compared("default"), name) for name in names],
            "records": [None for _ in names],
        }
        for key, name in zip(keys[what], hosts, strict=True):
            steps(world, key, name, REFUSED)
        middle = size // 2
        return [steps(world, keys[what][middle], hosts[middle], applied) for applied in (IN_PLACE, REFUSED)]

    for few, many in zip(cost(8), cost(512), strict=True):
        assert few <= many <= few + 30, "beyond the few comparisons that it takes to find a place among many"


@pytest.mark.parametrize(
    ("change", "ready", "connected", "synced"),
    [
        ({}, "True Ready", "True Connected", "True Synced"),
        (
            {"connected": False, "reason": Reason.UNREACHABLE},
            "False Unreachable",
            "False Unreachable",
            "True Synced",
        ),
        (
            {"synced": False, "sync_reason": Reason.WITHDRAWAL_HELD},
            "False WithdrawalHeld",
            "True Connected",
            "False WithdrawalHeld",
        ),
    ],
)
def test_how_the_connection_stands(change: dict[str, object], ready: str, connected: str, synced: str) -> None:
    world = running()
    world.planner.connection_changed("west", msgspec.structs.replace(UP, **change))
    assert world.conditions("RemoteMesh", "west") == {
        "Ready": ready,
        "Connected": connected,
        "Synced": synced,
        "IdentityUnique": "True IdentityUnique",
    }
    world.planner.connection_changed("west", msgspec.structs.replace(UP, **change))
    assert world.settle() == []


def test_offers_that_were_not_recorded_are_counted_too() -> None:
    world = running()
    unrecorded = {Reason.DENIED_BY_RULE: 40, Reason.LIMIT_EXCEEDED: 7}
    world.planner.connection_changed("west", msgspec.structs.replace(UP, unrecorded=unrecorded))
    fields = world.statuses["RemoteMesh west"].fields
    counts = [fields[f"{what}Services"] for what in ("offered", "imported", "denied", "refused")]
    assert counts == [49, 1, 40, 8]
    assert fields["refused"] == (
        RefusedCount(reason="LimitExceeded", count=7),
        RefusedCount(reason="LocalServiceExists", count=1),
    )
    assert told(world, "RemoteMesh", "west")[0] == (
        "Ready True Ready: 1 of 49 offered services imported, 48 not (40 DeniedByRule, 7 LimitExceeded, "
        f"1 LocalServiceExists): {SEE}"
    )


def test_whoever_is_not_imported_is_counted_under_its_own_reason_whatever_turns() -> None:
    rules = {"rules": [{"action": "Deny", "hosts": ["no.*"]}, {"action": "Import", "merge": False}], "limit": 2}
    names = ("no", "reviews", "first", "second", "third")
    offers = [
        federated_service("west", name, first_offered=f"2026-01-0{day}T00:00:00Z") for day, name in enumerate(names, 1)
    ]
    world = World(mesh_federation(), remote_mesh("west", import_=rules), service("reviews"), *offers)

    def counts() -> dict[str, int]:
        fields: dict[str, Any] = dict(world.statuses["RemoteMesh west"].fields)
        given = {what: fields[f"{what}Services"] for what in ("imported", "denied") if fields[f"{what}Services"]}
        return given | {one.reason: one.count for one in fields["refused"]}

    assert counts() == {"imported": 2, "denied": 1, "LocalServiceExists": 1, "LimitExceeded": 1}
    world.remove(service("reviews"))
    assert counts() == {"imported": 2, "denied": 1, "LimitExceeded": 2}
    world.remove(offers[2])
    assert counts() == {"imported": 2, "denied": 1, "LimitExceeded": 1}
    north = federated_service(
        "north", "third", first_offered="2025-01-01T00:00:00Z", ports=[{"number": 1, "name": "a", "protocol": "HTTP"}]
    )
    world.put(remote_mesh("north"), north, remote_mesh("west", import_=rules | {"limit": 9, "merge": True}))
    assert counts() == {"imported": 2, "denied": 1, "AlreadyImported": 1}
    world.put(remote_mesh("west", import_={"limit": 9, "merge": True}))
    assert counts() == {"imported": 3, "PortConflict": 1}
    world.put(remote_mesh("west", import_=None))
    assert counts() == {"denied": 4}


def test_with_everything_on_defaults_identities_are_ambiguous_and_imports_work_all_the_same() -> None:
    world = World(mesh_federation(), remote_mesh("west"), remote_mesh("north"), federated_service("west", "ratings"))
    world.settle()
    ours = SpiffeID.of_workload("cluster.local", "istio-system", "federation-controller")
    assert world.planner.remotes_with_identity(ours) == ("north", "west")
    (unique,) = (c for c in world.statuses["RemoteMesh west"].conditions if c.type == "IdentityUnique")
    assert (unique.status, unique.reason) == ("False", Reason.IDENTITY_AMBIGUOUS)
    assert "this mesh, RemoteMesh north" in unique.message
    assert world.accepted() == {f"{host('ratings')}.west": "Accepted"}

    world.put(
        remote_mesh("north", identity="spiffe://north.local/ns/x/sa/y"), mesh_federation(trustDomain="east.local")
    )
    assert world.conditions("RemoteMesh", "west")["IdentityUnique"] == "False IdentityShadowed"
    assert world.planner.remotes_with_identity(ours) == ("west",)
    assert world.planner.remotes_with_identity(SpiffeID.of_workload("x", "y", "z")) == ()


def test_this_mesh_is_known_by_the_account_that_its_controller_has() -> None:
    """And not by the default, which a remote may have; where that is ours is told of the remote that has ours."""
    named = remote_mesh("north", identity="spiffe://cluster.local/ns/meshfed/sa/controller-of-east")
    world = World(
        mesh_federation(), remote_mesh("west"), named, settings=Settings(account=("meshfed", "controller-of-east"))
    )
    assert world.conditions("RemoteMesh", "west")["IdentityUnique"] == "True IdentityUnique"
    assert world.conditions("RemoteMesh", "north")["IdentityUnique"] == "False IdentityAmbiguous"
    world.put(mesh_federation(trustDomain="east.local"))
    assert world.conditions("RemoteMesh", "north")["IdentityUnique"] == "False IdentityShadowed"
    world = World(mesh_federation(), remote_mesh("west"), named)
    assert world.conditions("RemoteMesh", "west")["IdentityUnique"] == "False IdentityAmbiguous"


@pytest.mark.parametrize("ourselves", [remote_mesh("east"), remote_mesh("west", network="east-network")])
def test_a_remote_that_is_ourselves_is_given_nothing(ourselves: Manifest) -> None:
    name = ourselves["metadata"]["name"]
    world = World(mesh_federation(), ourselves, federated_service(name, "ratings"))
    assert world.conditions("RemoteMesh", name)["Ready"] == "False NameConflict"
    assert world.accepted() == {f"{host('ratings')}.{name}": "NameConflict"}
    assert [key for key in world.manifests if key.startswith("ServiceEntry")] == []
    world.put(mesh_federation("other"))
    world.remove(mesh_federation())
    assert world.accepted() == {f"{host('ratings')}.{name}": "Accepted"}


def test_of_two_remotes_with_one_network_the_younger_is_told_and_keeps_its_imports() -> None:
    world = World(
        mesh_federation(),
        remote_mesh("west", network="shared", created="2026-01-01T00:00:00Z"),
        remote_mesh("north", network="shared", created="2026-02-01T00:00:00Z"),
        federated_service("north", "ratings"),
    )
    assert world.conditions("RemoteMesh", "north")["Ready"] == "False NameConflict"
    assert world.conditions("RemoteMesh", "west")["Ready"] == "False Connecting"
    assert world.accepted() == {f"{host('ratings')}.north": "Accepted"}
    world.put(remote_mesh("west"))
    assert world.conditions("RemoteMesh", "north")["Ready"] == "False Connecting"


def test_a_remote_without_an_address_cannot_be_reached() -> None:
    world = World(mesh_federation(), remote_mesh(addresses=[]))
    assert world.conditions("RemoteMesh", "west")["Ready"] == "False Invalid"
    world.put(remote_mesh(addresses=[], discovery={"address": "fds.west.example:15080"}))
    assert world.conditions("RemoteMesh", "west")["Ready"] == "False Connecting"


def test_publish_only_is_ready_too() -> None:
    world = World(mesh_federation(), remote_mesh(import_=None), federated_service("west", "ratings"))
    assert world.conditions("RemoteMesh", "west") == {
        "Ready": "True PublishOnly",
        "Connected": "False PublishOnly",
        "Synced": "False PublishOnly",
        "IdentityUnique": "False IdentityAmbiguous",
    }


def test_a_remote_waits_for_a_mesh_federation() -> None:
    assert World(remote_mesh()).conditions("RemoteMesh", "west") == dict.fromkeys(
        ("Ready", "Connected", "Synced"), "False NoMeshFederation"
    )


def test_an_announcement_that_makes_no_sense_is_shown_beside_what_still_holds() -> None:
    world = World(
        mesh_federation(),
        remote_mesh(),
        federated_service("west", "ratings", problem="port number 0 is not between 1 and 65535"),
    )
    assert told(world, "FederatedService", f"{host('ratings')}.west")[0].endswith(
        "as it was before the last announcement, which cannot be used: port number 0 is not between 1 and 65535"
    )
    world.put(federated_service("west", "ratings", ports=[], problem="no sense at all"))
    assert told(world, "FederatedService", f"{host('ratings')}.west")[0] == (
        "Accepted False InvalidPorts: no sense at all"
    )


def test_our_own_writes_of_a_status_mark_nothing() -> None:
    world = running()
    world.settle()
    given = federated_service("west", "ratings")
    world.put(given | {"status": {"importedAs": "x", "observedGeneration": 7}})
    world.put(mesh_federation() | {"status": {"remoteMeshes": 9}})
    world.put(remote_mesh(trustDomain="west.local") | {"status": {"dialect": "x"}})
    assert world.settle() == []


def test_every_reason_is_documented_and_every_condition_speaks_to_a_person() -> None:
    assert set(REASONS) == set(Reason)
    for status in running().statuses.values():
        for condition in status.conditions:
            assert isinstance(condition, Condition)
            assert isinstance(condition.type, ConditionType)
            assert condition.message


def test_a_remote_of_the_default_trust_domain_is_not_let_into_a_mesh_of_another() -> None:
    world = World(mesh_federation(trustDomain="east.local"), remote_mesh())
    assert world.conditions("RemoteMesh", "west")["IdentityUnique"] == "False IdentityShadowed"
    world.put(remote_mesh(trustDomain="west.local"))
    assert world.conditions("RemoteMesh", "west")["IdentityUnique"] == "True IdentityUnique"
    world.put(remote_mesh(trustDomain="west.local", identity="spiffe://cluster.local/ns/a/sa/b"))
    assert world.conditions("RemoteMesh", "west")["IdentityUnique"] == "False IdentityShadowed"
    world.put(mesh_federation(), remote_mesh(identity="spiffe://cluster.local/ns/a/sa/b"))
    assert world.conditions("RemoteMesh", "west")["IdentityUnique"] == "True IdentityUnique"


def test_of_two_remotes_of_one_network_the_younger_conflicts_also_when_the_older_was_made_anew_unseen() -> None:
    west, north = (remote_mesh(name, network="shared", created="2026-01-01T00:00:00Z") for name in ("west", "north"))
    world = World(mesh_federation(), west, north)
    assert world.conditions("RemoteMesh", "west")["Ready"] == "False NameConflict"
    world.put(remote_mesh("north", network="shared", created="2026-02-01T00:00:00Z"))
    assert world.conditions("RemoteMesh", "west")["Ready"] != "False NameConflict"
    assert world.conditions("RemoteMesh", "north")["Ready"] == "False NameConflict"
