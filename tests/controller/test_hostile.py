"""Hostile circumstances: whatever remotes, servers and people do, nothing is lost, leaked or brought down by it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from meshfed.controller.remotes import resolver
from meshfed.federation.recorded import room
from meshfed.kube import Invalid
from meshfed_sandbox.istio_crds import istio_crds
from meshfed_sandbox.ports import Ports
from tests.builders import RESOURCES, SYSTEM, host, mesh_federation, offer, service
from tests.controller.meshes import Mesh, federated, meshes, synced
from tests.controller.remotes import Remote
from tests.controller.test_federation import BOOKINFO, export_all
from tests.controller.test_static import nothing_lost
from tests.waiting import eventually

RECORDS = "federatedservices.federation.openshift-service-mesh.io"


@asynccontextmanager
async def one_mesh(*services: dict[str, Any], **spec: Any) -> AsyncIterator[Mesh]:
    """A mesh with its controller, and no remotes."""
    async with meshes("east") as (east,):
        await east.apply(*services, mesh_federation("east", **spec))
        await east.start()
        await east.ready()
        yield east


def hosts(names: Iterable[str]) -> list[str]:
    return sorted(map(host, names))


async def test_the_api_failing_at_any_request_of_the_start_does_not_end_the_controller() -> None:
    async with meshes("east") as (east,):
        await east.apply(*BOOKINFO["east"], mesh_federation("east"))
        for verb in ("list", "get", "watch", "create"):
            east.server.fail(verb=verb, status=500, times=3)
        fault = east.server.fail(verb="list", resource="gateways.networking.istio.io", status=500, times=2)
        await east.start()
        await east.ready()
        assert fault.times == 0
        await east.label("details", export_service="true")
        await eventually(lambda: east.exported() == [host("details")])


async def test_a_restart_keeps_the_endpoints_of_a_remote_whose_name_cannot_be_resolved(ports: Ports) -> None:
    west = Remote("west", ports.take())
    west.offer(offer("reviews"))
    async with west.up(), one_mesh(service("reviews")) as east:
        east.dns = {"west.example": ("192.0.2.77",)}
        await east.apply(west.remote_mesh(addresses=["west.example"]))
        await eventually(lambda: east.merged() == [("default", "reviews")])
        east.dns = {}
        async with nothing_lost(east):
            await east.stop()
            await east.start()
            await east.ready()
            await asyncio.sleep(1)


async def test_what_staleness_removed_comes_back_with_the_remote(ports: Ports) -> None:
    west = Remote("west", ports.take())
    west.offer(offer("ratings"))
    async with one_mesh() as east:
        async with west.up():
            await east.apply(west.remote_mesh(staleness={"after": "1s", "action": "Remove"}))
            await eventually(lambda: east.imported() == [host("ratings")])
        await eventually(lambda: east.imported() == [])
        await eventually(lambda: east.condition("RemoteMesh", "west", "Synced") == ("False", "Stale"))
        async with west.up():
            await eventually(lambda: east.imported() == [host("ratings")])


async def test_a_staleness_policy_that_changes_while_the_remote_is_away_is_followed(ports: Ports) -> None:
    west = Remote("west", ports.take())
    west.offer(offer("ratings"))
    async with one_mesh() as east:
        async with west.up():
            await east.apply(west.remote_mesh(staleness={"after": "1s", "action": "Keep"}))
            await eventually(lambda: east.imported() == [host("ratings")])
        await eventually(lambda: east.condition("RemoteMesh", "west", "Synced") == ("False", "Stale"))
        assert east.imported() == [host("ratings")]
        await east.patch("RemoteMesh", "west", {"spec": {"staleness": {"action": "Remove"}}})
        await eventually(lambda: east.imported() == [])


async def test_a_remote_that_moves_while_its_offers_are_being_recorded_leaves_nothing_behind(ports: Ports) -> None:
    before, after = Remote("west", ports.take()), Remote("west", ports.take())
    before.offer(*(offer(f"old-{number}") for number in range(10)), offer("kept"))
    after.offer(offer("kept"), offer("new"))
    async with before.up(), after.up(), one_mesh() as east:
        slow = east.server.fail(
            verb="create", resource="federatedservices.federation.openshift-service-mesh.io", times=10**6
        )
        await east.apply(before.remote_mesh())
        await eventually(lambda: slow.times < 10**6)
        await asyncio.sleep(0.5)
        await east.apply(after.remote_mesh())
        await asyncio.sleep(0.5)
        slow.times = 0
        await eventually(lambda: host("new") in east.imported())
        await eventually(lambda: east.imported() == hosts(["kept", "new"]))
        await asyncio.sleep(2)
        assert east.imported() == hosts(["kept", "new"])


async def test_a_mesh_that_is_renamed_renames_the_owner_of_all_it_wrote(ports: Ports) -> None:
    west = Remote("west", ports.take())
    west.offer(offer("ratings"))
    async with west.up(), one_mesh() as east:
        await east.apply(west.remote_mesh())
        await eventually(lambda: east.imported() == [host("ratings")])
        async with nothing_lost(east):
            await asyncio.sleep(1.1)  # creation timestamps are whole seconds
            await east.apply(mesh_federation("orient", network="east-network"))
            await eventually(lambda: east.condition("MeshFederation", "orient", "Ready")[0] == "False")
            await east.delete("MeshFederation", "east")
            label = "federation.openshift-service-mesh.io/owner"
            await eventually(
                lambda: (
                    {
                        found["metadata"]["labels"][label]
                        for kind in ("ServiceEntry", "FederatedService", "Gateway")
                        for found in east.all(kind).values()
                    }
                    == {"orient"}
                )
            )


async def test_where_routes_are_not_served_a_mesh_behind_a_router_still_tells_what_it_exports() -> None:
    ingress = {"type": "openshift-router", "gateway": {"selector": {"app": "federation-ingress-gateway"}}}
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        await west.client.delete(RESOURCES["CustomResourceDefinition"], "routes.route.openshift.io")
        async with nothing_lost(east):
            await west.stop()
            await west.patch("MeshFederation", "west", {"spec": {"ingress": ingress}})
            await west.start()
            await west.ready()
            await synced(east, west)
            await eventually(lambda: west.condition("MeshFederation", "west", "Ready") == ("False", "WriteFailed"))
            await west.label("productpage", export_service="true")
            await eventually(lambda: ("default", "productpage") in east.merged())
        west.server.install_crd(next(crd for crd in istio_crds() if crd["metadata"]["name"].startswith("routes.")))
        await eventually(lambda: len(west.server.snapshot("routes")) == 4, within=90)


async def test_offers_beyond_the_limit_are_counted_and_not_all_recorded(ports: Ports) -> None:
    west = Remote("west", ports.take())
    west.offer(*(offer(f"shop-{number:04}") for number in range(300)))
    async with west.up(), one_mesh() as east:
        await east.apply(west.remote_mesh(import_={"limit": 10}))
        await eventually(lambda: len(east.imported()) == 10)
        await eventually(lambda: len(east.all("FederatedService")) == room(10))
        await eventually(lambda: east.all("RemoteMesh")["west"].get("status", {}).get("offeredServices") == 300)
        status = east.all("RemoteMesh")["west"]["status"]
        assert (status["deniedServices"], status["refusedServices"]) == (0, 290)
        assert status["refused"] == [{"reason": "LimitExceeded", "count": 290}]
        gone = east.imported()[:4]
        west.withdraw(*gone)
        await eventually(lambda: len(east.imported()) == 10 and not set(gone) & set(east.imported()))
        await asyncio.sleep(0.5)
        assert len(east.all("FederatedService")) == room(10)


async def test_a_status_that_somebody_wiped_is_written_again(ports: Ports) -> None:
    west = Remote("west", ports.take())
    west.offer(offer("ratings"))
    async with west.up(), one_mesh() as east:
        await east.apply(west.remote_mesh())
        for kind, name in (
            ("MeshFederation", "east"),
            ("RemoteMesh", "west"),
            ("FederatedService", f"{host('ratings')}.west"),
        ):
            await eventually(lambda kind=kind, name=name: "status" in east.all(kind).get(name, {}))  # type: ignore[misc]
        await asyncio.sleep(0.5)
        before = {
            kind: found["status"]
            for kind in ("MeshFederation", "RemoteMesh", "FederatedService")
            for found in east.all(kind).values()
        }
        for kind, name in (
            ("MeshFederation", "east"),
            ("RemoteMesh", "west"),
            ("FederatedService", f"{host('ratings')}.west"),
        ):
            await east.client.patch_status(RESOURCES[kind], name, {"conditions": None}, namespace=SYSTEM)
        await eventually(
            lambda: all("conditions" in found["status"] for kind in before for found in east.all(kind).values())
        )


async def test_a_restart_turns_no_condition_of_what_is_in_place(ports: Ports) -> None:
    west = Remote("west", ports.take())
    names = [f"shop-{number}" for number in range(20)]
    west.offer(*map(offer, names))
    async with west.up(), one_mesh() as east:
        await east.apply(west.remote_mesh())
        await eventually(lambda: len(east.imported()) == 20)

        def in_place() -> bool:
            return all(
                east.condition("FederatedService", name, "Applied") == ("True", "Applied")
                for name in east.all("FederatedService")
            )

        await eventually(in_place)
        await asyncio.sleep(0.5)
        versions = {name: found["metadata"]["resourceVersion"] for name, found in east.all("FederatedService").items()}
        assert len(versions) == 20
        await east.stop()
        await east.start()
        await east.ready()
        await asyncio.sleep(1)
        assert versions == {
            name: found["metadata"]["resourceVersion"] for name, found in east.all("FederatedService").items()
        }


async def test_a_remote_whose_host_name_cannot_be_one_harms_nobody(ports: Ports) -> None:
    impossible = "a" * 64 + ".example"
    west = Remote("west", ports.take())
    west.offer(offer("ratings"), offer("reviews"))
    async with west.up(), one_mesh(service("reviews")) as east:
        await east.apply(west.remote_mesh(addresses=["192.0.2.1"]))
        await eventually(lambda: east.imported() == [host("ratings")])
        controller = east.controller
        with contextlib.suppress(Invalid):
            await east.apply(west.remote_mesh(addresses=[impossible]))
        with contextlib.suppress(Invalid):
            await east.patch("RemoteMesh", "west", {"spec": {"discovery": {"address": f"{impossible}:15080"}}})
        await asyncio.sleep(1)
        west.offer(offer("details"))
        await eventually(lambda: host("details") in east.imported())
        await east.stop()
        assert controller is not None


async def test_a_name_that_the_resolver_cannot_even_ask_for_is_no_reason_to_stop() -> None:
    heard: list[str] = []

    async def lookup(name: str) -> tuple[str, ...]:
        if name == "bad.example":
            raise UnicodeError("label too long")
        return ("192.0.2.1",)

    asking = resolver.Resolver(
        lambda: frozenset({"bad.example", "good.example"}), lambda name, _ips: heard.append(name), lookup=lookup
    )
    task = asyncio.create_task(asking.run())
    await eventually(lambda: heard == ["good.example"])
    assert not task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_remote_that_is_published_to_only_is_ready_and_not_said_to_be_lost(ports: Ports) -> None:
    west = Remote("west", ports.take())
    async with one_mesh() as east:
        manifest = west.remote_mesh()
        del manifest["spec"]["import"]
        await east.apply(manifest)
        await eventually(lambda: east.condition("RemoteMesh", "west", "Ready") == ("True", "PublishOnly"))


async def test_without_a_mesh_federation_no_remote_is_said_to_be_connected(ports: Ports) -> None:
    west = Remote("west", ports.take())
    west.offer(offer("ratings"))
    async with west.up(), one_mesh() as east:
        await east.apply(west.remote_mesh())
        await eventually(lambda: east.condition("RemoteMesh", "west", "Synced")[0] == "True")
        await east.delete("MeshFederation", "east")
        await eventually(lambda: east.condition("RemoteMesh", "west", "Ready") == ("False", "NoMeshFederation"))
        await eventually(lambda: east.condition("RemoteMesh", "west", "Connected")[0] == "False")
        await eventually(lambda: east.condition("RemoteMesh", "west", "Synced")[0] == "False")


async def test_offers_that_cannot_be_recorded_are_told_of_on_their_remote_until_they_are_or_go() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        fault = east.server.fail(verb="create", resource=RECORDS, status=403, message="quota", times=10**6)
        for name in ("ratings", "productpage"):
            await west.label(name, export_service="true")
        await eventually(lambda: east.condition("RemoteMesh", "west", "Ready") == ("False", "WriteFailed"))
        (ready,) = [one for one in east.all("RemoteMesh")["west"]["status"]["conditions"] if one["type"] == "Ready"]
        assert "quota" in ready["message"]
        await west.label("ratings", export_service=None)
        await west.label("productpage", export_service=None)
        await eventually(lambda: east.condition("RemoteMesh", "west", "Ready") == ("True", "Ready"))
        await west.label("ratings", export_service="true")
        await eventually(lambda: east.condition("RemoteMesh", "west", "Ready") == ("False", "WriteFailed"))
        fault.times = 0
        await eventually(lambda: east.condition("RemoteMesh", "west", "Ready") == ("True", "Ready"))
