"""Several remotes: one host from many of them, what agrees and what does not, and who cannot be told apart."""

from __future__ import annotations

from collections import Counter
from typing import Any

from meshfed.kube import Manifest
from meshfed.model.offers import Port
from meshfed.model.reasons import Reason
from tests.builders import host, manifest, mesh_federation, offer, service, service_entry
from tests.controller.meshes import Mesh, meshes, synced
from tests.controller.plans import as_planned
from tests.controller.remotes import remotes
from tests.waiting import eventually

RATINGS = host("ratings")
ENTRY = f"import.{RATINGS}"
GRPC = Port(number=7000, name="grpc", protocol="GRPC")


def accepted(mesh: Mesh) -> dict[str, str]:
    """The reason on every FederatedService."""
    return {name: mesh.condition("FederatedService", name, "Accepted")[1] for name in mesh.all("FederatedService")}


def record(remote: str, of: str = RATINGS) -> str:
    return f"{of}.{remote}"


def endpoints(mesh: Mesh, entry: str = ENTRY) -> list[str]:
    """The addresses of a ServiceEntry; none where it is not there."""
    found = mesh.all("ServiceEntry").get(entry, {"spec": {"endpoints": []}})
    return [one["address"] for one in found["spec"]["endpoints"]]


def versions(mesh: Mesh, kind: str) -> dict[str, tuple[str, str]]:
    """What would differ had anybody written to an object of the kind, or made it anew."""
    return {
        name: (found["metadata"]["uid"], found["metadata"]["resourceVersion"]) for name, found in mesh.all(kind).items()
    }


async def test_a_host_of_three_remotes_has_one_entry_with_the_endpoints_of_all() -> None:
    async with meshes("east") as (east,), remotes("west", "north", "south") as found:
        await east.apply(mesh_federation("east"))
        await east.start()
        for number, remote in enumerate(found, start=1):
            remote.offer(offer("ratings"))
            await east.apply(remote.remote_mesh(addresses=[f"192.0.2.{number}"]))
            await eventually(lambda number=number: len(endpoints(east)) == number)  # type: ignore[misc]
        (uid,) = (one["metadata"]["uid"] for one in east.all_of("ServiceEntry"))
        await as_planned(east, *found)
        assert accepted(east) == {record(remote.name): "Accepted" for remote in found}
        west, north, south = found
        await east.delete("RemoteMesh", "west")
        await eventually(lambda: endpoints(east) == ["192.0.2.2", "192.0.2.3"])
        north.withdraw(RATINGS)
        await eventually(lambda: endpoints(east) == ["192.0.2.3"])
        await east.apply(south.remote_mesh(addresses=["192.0.2.33"]))
        await eventually(lambda: endpoints(east) == ["192.0.2.33"])
        assert [one["metadata"]["uid"] for one in east.all_of("ServiceEntry")] == [uid]
        south.withdraw(RATINGS)
        await as_planned(east, north, south)
        assert not east.all_of("ServiceEntry")
        assert west.offers


async def test_ports_that_disagree_are_refused_and_disturb_nothing() -> None:
    async with meshes("east") as (east,), remotes("west", "north") as (west, north):
        west.offer(offer("ratings"))
        await east.apply(mesh_federation("east"), west.remote_mesh())
        await east.start()
        await as_planned(east, west)
        before = versions(east, "ServiceEntry")
        north.offer(offer("ratings", ports=(GRPC,)))
        await east.apply(north.remote_mesh(addresses=["192.0.2.30"]))
        await eventually(lambda: accepted(east).get(record("north")) == Reason.PORT_CONFLICT)
        await as_planned(east, west, north)
        assert accepted(east) == {record("west"): "Accepted", record("north"): "PortConflict"}
        assert versions(east, "ServiceEntry") == before
        (message,) = (
            condition["message"]
            for condition in east.all("FederatedService")[record("north")]["status"]["conditions"]
            if condition["type"] == "Accepted"
        )
        assert message == (
            f"{RATINGS} is imported from RemoteMesh west, which comes first, with ports 9080/HTTP; RemoteMesh north "
            "would serve 7000/GRPC, and Istio would send it calls on port 9080 all the same: make them agree, or have "
            "rules of both RemoteMeshes import only `ports` that agree"
        )

        north.offer(offer("ratings", ports=(Port(number=9080, name="web", protocol="HTTP"),)))
        await eventually(lambda: endpoints(east) == ["192.0.2.30", "192.0.2.10"])
        north.offer(offer("ratings", ports=(GRPC,)))
        await eventually(lambda: endpoints(east) == ["192.0.2.10"])

        await east.apply(north.remote_mesh(addresses=["192.0.2.30"], priority=1))
        await eventually(lambda: endpoints(east) == ["192.0.2.30"])
        await eventually(lambda: accepted(east)[record("west")] == "PortConflict")
        await east.delete("RemoteMesh", "north")
        await eventually(lambda: endpoints(east) == ["192.0.2.10"])
        await as_planned(east, west)
        assert accepted(east) == {record("west"): "Accepted"}


async def test_without_merge_who_comes_second_is_refused_until_the_first_leaves() -> None:
    async with meshes("east") as (east,), remotes("west", "north") as (west, north):
        west.offer(offer("ratings"))
        await east.apply(mesh_federation("east"), west.remote_mesh(import_={}))
        await east.start()
        await as_planned(east, west)
        north.offer(offer("ratings"))
        await east.apply(north.remote_mesh(addresses=["192.0.2.30"], import_={}))
        await as_planned(east, west, north)
        assert accepted(east) == {record("west"): "Accepted", record("north"): "AlreadyImported"}
        rule = {"action": "Import", "hosts": ["ratings.*"], "merge": True}
        await east.apply(north.remote_mesh(addresses=["192.0.2.30"], import_={"rules": [rule]}))
        await eventually(lambda: endpoints(east) == ["192.0.2.30", "192.0.2.10"])
        await east.apply(north.remote_mesh(addresses=["192.0.2.30"], import_={}))
        await eventually(lambda: endpoints(east) == ["192.0.2.10"])
        west.withdraw(RATINGS)
        await as_planned(east, west, north)
        assert accepted(east) == {record("north"): "Accepted"}
        assert endpoints(east) == ["192.0.2.30"]


async def test_within_a_second_too_who_was_first_stays_first_over_restarts() -> None:
    async with meshes("east") as (east,), remotes("zulu", "alpha") as (zulu, alpha):
        expected = {record("zulu"): "Accepted", record("alpha"): "AlreadyImported"}
        await east.apply(mesh_federation("east"), zulu.remote_mesh(import_={}), alpha.remote_mesh(import_={}))
        await east.start()
        await synced(east, zulu, alpha)
        zulu.offer(offer("ratings"))
        await eventually(lambda: record("zulu") in east.all("FederatedService"))
        alpha.offer(offer("ratings"))
        await as_planned(east, zulu, alpha)
        assert accepted(east) == expected
        before = versions(east, "FederatedService") | versions(east, "ServiceEntry")
        for remote in (zulu, alpha):
            await east.stop()
            await remote.stop()
            await east.start()
            await as_planned(east, zulu, alpha)
            assert accepted(east) == expected
        assert versions(east, "ServiceEntry").items() <= before.items()
        assert len({one["spec"]["firstOffered"] for one in east.all_of("FederatedService")}) == 2


async def test_what_an_earlier_version_recorded_in_whole_seconds_stays_and_comes_first() -> None:
    async with meshes("east") as (east,), remotes("zulu", "alpha") as (zulu, alpha):
        zulu.offer(offer("ratings"))
        alpha.offer(offer("ratings"))
        await east.apply(mesh_federation("east"), zulu.remote_mesh(import_={}), alpha.remote_mesh(import_={}))
        await east.start()
        await eventually(lambda: len(accepted(east)) == 2)
        await east.stop()
        moments = {"zulu": "2026-01-01T00:00:00Z", "alpha": "2026-01-01T00:00:00.000001Z"}
        for name, moment in moments.items():
            await east.patch("FederatedService", record(name), {"spec": {"firstOffered": moment}})
        await east.start()
        await eventually(lambda: accepted(east) == {record("zulu"): "Accepted", record("alpha"): "AlreadyImported"})
        await synced(east, zulu, alpha)
        assert {
            one["spec"]["remote"]: one["spec"]["firstOffered"] for one in east.all_of("FederatedService")
        } == moments


async def test_somebody_elses_service_entry_for_the_host_is_told_and_takes_nothing_away() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(offer("ratings"))
        await east.apply(mesh_federation("east"), west.remote_mesh())
        await east.start()
        await as_planned(east, west)
        before = versions(east, "ServiceEntry")
        theirs = service_entry("theirs", RATINGS, namespace="default", resolution="NONE")
        await east.apply(theirs)
        await eventually(lambda: accepted(east) == {record("west"): "HostShared"})
        await eventually(lambda: "HostShared" in {event["reason"] for event in east.server.snapshot("events")})
        await east.stop()
        await east.start()
        await east.ready()
        await as_planned(east, west)
        assert accepted(east) == {record("west"): "HostShared"}
        await east.delete("ServiceEntry", "theirs", namespace="default")
        await eventually(lambda: accepted(east) == {record("west"): "Accepted"})
        assert versions(east, "ServiceEntry") == before


async def test_rules_of_somebody_else_are_taken_over_or_told_of_as_they_come_and_go() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(offer("ratings"))
        await east.apply(mesh_federation("east"), west.remote_mesh(trafficPolicy={"outlierDetection": {}}))
        await east.start()
        await as_planned(east, west)

        def policy() -> Any:
            (ours,) = [r for r in east.all_of("DestinationRule") if r["metadata"]["name"] == f"mtls-sni.{RATINGS}"]
            return ours["spec"]["trafficPolicy"]

        assert policy() == {"outlierDetection": {}}
        pool = {"connectionPool": {"tcp": {"maxConnections": 7}}}
        await east.apply(manifest("DestinationRule", "all", {"host": "*.local", "trafficPolicy": pool}))
        await eventually(lambda: policy() == {"outlierDetection": {}, **pool})
        owners = {"host": RATINGS, "trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}}
        await east.apply(manifest("DestinationRule", "theirs", owners, namespace="default"))
        await eventually(lambda: accepted(east) == {record("west"): "TrafficPolicyOverridden"})
        reason = "TrafficPolicyOverridden"
        await eventually(lambda: reason in {event["reason"] for event in east.server.snapshot("events")})
        await as_planned(east, west)
        await east.delete("DestinationRule", "theirs", namespace="default")
        await east.delete("DestinationRule", "all", namespace="istio-system")
        await eventually(lambda: accepted(east) == {record("west"): "Accepted"})
        await eventually(lambda: policy() == {"outlierDetection": {}})


async def test_one_remote_by_ip_and_one_by_name() -> None:
    async with meshes("east") as (east,), remotes("west", "north") as (west, north):
        for remote in (west, north):
            remote.offer(offer("ratings"))
        await east.apply(mesh_federation("east"), west.remote_mesh(), north.remote_mesh(addresses=["gw.north.example"]))
        await east.start()
        await as_planned(east, west, north)
        assert endpoints(east) == ["gw.north.example", "192.0.2.10"]
        assert east.all("ServiceEntry")[ENTRY]["spec"]["resolution"] == "DNS"

        def joined() -> dict[str, tuple[str, str]]:
            return {
                name.removeprefix(f"{RATINGS}."): (one["spec"]["address"], one["spec"]["network"])
                for name, one in east.all("WorkloadEntry").items()
            }

        by_west = {"west.192.0.2.10": ("192.0.2.10", "west-network")}
        await east.apply(service("ratings"))
        await as_planned(east, west, north)
        assert joined() == by_west
        unresolved = ("False", "Unresolved")
        await eventually(lambda: east.condition("FederatedService", record("north"), "Applied") == unresolved)
        assert east.condition("FederatedService", record("west"), "Applied")[0] == "True"

        # A name that is asked for anew is asked for at once.
        east.dns = {"gw2.north.example": ("192.0.2.30", "192.0.2.31")}
        await east.apply(north.remote_mesh(addresses=["gw2.north.example"]))
        await as_planned(east, west, north)
        assert joined() == by_west | {
            f"north.{address}": (address, "north-network") for address in ("192.0.2.30", "192.0.2.31")
        }
        await east.delete("Service", "ratings", namespace="default")
        await as_planned(east, west, north)
        assert (joined(), endpoints(east)) == ({}, ["gw2.north.example", "192.0.2.10"])


async def test_one_remote_behind_a_router_and_one_not() -> None:
    async with meshes("east") as (east,), remotes("west", "north") as (west, north):
        west.offer(offer("ratings"), offer("reviews"))
        await east.apply(mesh_federation("east"), west.remote_mesh())
        await east.start()
        await as_planned(east, west)
        before = versions(east, "ServiceEntry")
        north.offer(offer("ratings"), offer("details"))
        await east.apply(north.remote_mesh(addresses=["192.0.2.30"], ingressType="openshift-router"))
        await as_planned(east, west, north)
        assert accepted(east) == {
            record("west"): "Accepted",
            record("west", host("reviews")): "Accepted",
            record("north"): "SNIConflict",
            record("north", host("details")): "Accepted",
        }
        assert before.items() <= versions(east, "ServiceEntry").items()
        assert list(east.all("DestinationRule")) == [f"mtls-sni.{host('details')}"]

        west.withdraw(RATINGS)
        await as_planned(east, west, north)
        assert endpoints(east) == ["192.0.2.30"]
        assert sorted(east.all("DestinationRule")) == [f"mtls-sni.{host('details')}", f"mtls-sni.{RATINGS}"]
        west.offer(offer("ratings"))
        await as_planned(east, west, north)
        assert accepted(east)[record("west")] == "SNIConflict"
        await east.apply(north.remote_mesh(addresses=["192.0.2.30"]))
        await as_planned(east, west, north)
        assert (endpoints(east), east.all("DestinationRule")) == (["192.0.2.30", "192.0.2.10"], {})


async def test_remotes_of_one_network_are_imported_from_and_the_younger_says_so() -> None:
    async with meshes("east") as (east,), remotes("north", "west") as (north, west):
        for remote in (west, north):
            remote.offer(offer("ratings"), offer(f"of-{remote.name}"))
        await east.apply(
            mesh_federation("east"), north.remote_mesh(network="shared"), west.remote_mesh(network="shared")
        )
        await east.start()
        await as_planned(east, west, north)
        assert east.imported() == [host("of-north"), host("of-west"), RATINGS]
        await eventually(lambda: east.condition("RemoteMesh", "north", "Ready") == ("True", "Ready"))
        await eventually(lambda: east.condition("RemoteMesh", "west", "Ready") == ("False", "NameConflict"))
        await east.apply(north.remote_mesh(network="other"))
        await eventually(lambda: east.condition("RemoteMesh", "west", "Ready") == ("True", "Ready"))


async def test_remotes_of_one_identity_are_imported_from_and_both_say_so() -> None:
    async with meshes("east") as (east,), remotes("north", "west") as (north, west):
        shared = "spiffe://cluster.local/ns/istio-system/sa/shared"
        west.offer(offer("ratings"))
        await east.apply(mesh_federation("east"), north.remote_mesh(identity=shared), west.remote_mesh(identity=shared))
        await east.start()
        await as_planned(east, west, north)
        ambiguous = ("False", "IdentityAmbiguous")
        for name in ("north", "west"):
            await eventually(lambda name=name: east.condition("RemoteMesh", name, "IdentityUnique") == ambiguous)  # type: ignore[misc]
        assert east.imported() == [RATINGS]
        await east.delete("RemoteMesh", "north")
        unique = ("True", "IdentityUnique")
        await eventually(lambda: east.condition("RemoteMesh", "west", "IdentityUnique") == unique)


async def test_a_remote_that_is_somebody_else_now_is_called_anew() -> None:
    # The sidecar checks who answers when a connection is made: one that is open would go on with whoever it was.
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(offer("ratings"))
        await east.apply(mesh_federation("east"), west.remote_mesh())
        await east.start()
        await eventually(lambda: east.imported() == [RATINGS])
        assert west.calls == 1
        await east.apply(west.remote_mesh(identity="spiffe://cluster.local/ns/x/sa/another"))
        await eventually(lambda: west.calls == 2 and west_is_up(east))
        assert east.imported() == [RATINGS]
        await east.apply(west.remote_mesh(identity="spiffe://cluster.local/ns/x/sa/another", priority=1))
        await as_planned(east, west)
        assert west.calls == 2


def west_is_up(east: Mesh) -> bool:
    return east.condition("RemoteMesh", "west", "Connected") == ("True", "Connected")


async def test_nothing_is_made_of_a_remote_that_is_this_mesh() -> None:
    async with meshes("east") as (east,), remotes("east", "west") as (itself, west):
        for remote in (itself, west):
            remote.offer(offer("ratings"))
        plain: dict[str, Any] = {"discovery": {"namespace": "x"}}
        await east.apply(
            mesh_federation("east"), itself.remote_mesh(network="x"), west.remote_mesh(network="east-network")
        )
        await east.start()
        await as_planned(east, itself, west)
        assert accepted(east) == {record("east"): "NameConflict", record("west"): "NameConflict"}
        for name in ("east", "west"):
            await eventually(lambda name=name: east.condition("RemoteMesh", name, "Ready") == ("False", "NameConflict"))  # type: ignore[misc]
        assert not east.all_of("ServiceEntry")
        await east.apply(itself.remote_mesh(network="x", **plain), west.remote_mesh(network="east-network", **plain))
        await as_planned(east)
        assert not east.all_of("ServiceEntry")
        await east.apply(west.remote_mesh())
        await as_planned(east, west)
        assert east.imported() == [RATINGS]


async def test_whatever_is_refused_says_why_and_holds_up_nothing() -> None:
    https = Port(number=443, name="https", protocol="HTTPS")
    rules = [
        {"action": "Deny", "labels": {"matchLabels": {"app": "secret"}}},
        {"action": "Deny", "hosts": ["*.forbidden.*"]},
        {"action": "Import", "hosts": ["old.*"], "as": {"host": "{name}x.{namespace}.svc.west.mesh"}},
        {"action": "Import", "hosts": [host("onto")], "as": {"host": host("here")}, "merge": True},
        {"action": "Import", "namespaces": ["default", "kube-system", "shop"], "merge": True},
        {"action": "Import", "namespaces": ["istio-*"]},
        {"action": "Import", "hosts": ["x.example.com"]},
    ]
    local: list[Manifest] = [
        service("here"),
        service("headless", clusterIP="None"),
        service("bare", ports=[{"port": 9080}]),
        service("two", ports=[{"name": "http", "port": 9080}, {"name": "grpc", "port": 7000}]),
        service("shared", selector={"app": "both", "v": "1"}),
        service("sharing", selector={"app": "both"}),
        service("alone"),
    ]
    stranger = "spiffe://cluster.local/ns/elsewhere/sa/x"
    offers = [
        (offer("fine"), Reason.ACCEPTED),
        (offer("named.kube-system"), Reason.ACCEPTED),
        (offer("old.shop"), Reason.ACCEPTED),
        (offer("secret"), Reason.DENIED_BY_RULE),
        (offer("a.forbidden"), Reason.DENIED_BY_RULE),
        (offer("matches.nothing"), Reason.DENIED_BY_RULE),
        (offer("a.istio-system"), Reason.PROTECTED_NAMESPACE),
        (offer("kubernetes", ports=(https,)), Reason.PROTECTED_NAMESPACE),
        (offer("federation-discovery-service-west"), Reason.PROTECTED_NAMESPACE),
        (offer("x.example.com"), Reason.INVALID_HOST),
        (offer("db", ports=(Port(number=5432, name="tcp", protocol="TCP"),)), Reason.TCP_NOT_ALLOWED),
        (offer("any", ports=(Port(number=5432, name="any"),)), Reason.TCP_NOT_ALLOWED),
        (offer("bad", ports=(Port(number=9080, name="x" * 63, protocol="HTTP"),)), Reason.INVALID_PORTS),
        (offer("none", ports=()), Reason.INVALID_PORTS),
        (offer("onto"), Reason.SNI_CONFLICT),
        (offer("here"), Reason.ACCEPTED),
        (offer("headless"), Reason.LOCAL_SERVICE_UNUSABLE),
        (offer("bare"), Reason.LOCAL_SERVICE_UNUSABLE),
        (offer("two"), Reason.LOCAL_SERVICE_UNUSABLE),
        (offer("shared"), Reason.SELECTOR_SHARED),
        (offer("alone", identities=(stranger,)), Reason.IDENTITY_MISMATCH),
    ]
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(*(one for one, _ in offers))
        await east.apply(*local, mesh_federation("east"), west.remote_mesh(import_={"rules": rules}))
        await east.start()
        await as_planned(east, west)
        assert accepted(east) == {record("west", one.host): str(reason) for one, reason in offers}
        assert east.imported() == [host("fine"), host("named.kube-system"), host("oldx.shop", "west.mesh")]
        assert east.merged() == [("default", "here")]
        found = Counter(str(reason) for _, reason in offers)
        wanted = [len(offers), found.pop("Accepted"), found.pop("DeniedByRule")]

        def counts() -> list[int]:
            status = east.all("RemoteMesh")["west"]["status"]
            return [status[key] for key in ("offeredServices", "importedServices", "deniedServices")]

        await eventually(lambda: counts() == wanted)
        refused = [{"reason": reason, "count": number} for reason, number in sorted(found.items())]
        assert east.all("RemoteMesh")["west"]["status"]["refused"] == refused

        def measured() -> dict[str, float]:
            samples = [one for family in east.metrics.registry.collect() for one in family.samples]
            return {one.labels["reason"]: one.value for one in samples if one.name == "meshfed_refused_services"}

        assert measured() == found
        await east.patch("RemoteMesh", "west", {"spec": {"import": {"rules": [{"action": "Deny"}]}}})
        unusable = found["InvalidPorts"]
        await eventually(lambda: counts() == [len(offers), 0, len(offers) - unusable])
        assert measured() == {"InvalidPorts": unusable}


async def test_over_the_limit_the_longest_standing_stay() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(offer("b"), offer("c"))
        await east.apply(mesh_federation("east"), west.remote_mesh(import_={"limit": 2}))
        await east.start()
        await as_planned(east, west)
        before = versions(east, "ServiceEntry")
        west.offer(offer("a"))
        await as_planned(east, west)
        assert accepted(east)[record("west", host("a"))] == "LimitExceeded"
        assert versions(east, "ServiceEntry") == before
        west.withdraw(host("b"))
        await as_planned(east, west)
        assert east.imported() == [host("a"), host("c")]
        await east.apply(west.remote_mesh(import_={"limit": 0}))
        await as_planned(east, west)
        assert set(accepted(east).values()) == {"LimitExceeded"}
        assert east.imported() == []
