"""Several replicas of one controller: all serve, one writes, and a change of leaders shows nowhere but on the Lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from meshfed.kube import LeaseTiming
from meshfed.plan.replicas import PREFIX, replica_of
from meshfed_sandbox.ports import Ports
from tests.builders import host
from tests.controller.meshes import Mesh, federated, synced
from tests.controller.test_federation import BOOKINFO, export_all
from tests.controller.test_static import nothing_lost
from tests.controller.test_steady import lease_writes, total
from tests.waiting import eventually

TIMING = LeaseTiming(lease=3, renew=2, retry=0.3)


@asynccontextmanager
async def replicated() -> AsyncIterator[tuple[Mesh, Mesh, Mesh]]:
    """Mesh east with two replicas, the first of which leads, federated with west and in sync, with imports."""
    with Ports() as ports:
        async with federated("east", "west", services=BOOKINFO) as (east, west):
            await export_all(east, west)
            await east.stop()
            await east.start(election=TIMING)
            await eventually(lambda: leads(east))
            await synced(east, west)
            await synced(west, east)
            beside = Mesh("east", east.server, east.client, ports.take())
            await beside.start(election=TIMING)
            try:
                await beside.ready()
                yield east, beside, west
            finally:
                await beside.stop()


def leads(mesh: Mesh) -> bool:
    lease = mesh.all("Lease").get("meshfed-controller", {})
    return bool(mesh.identity) and lease.get("spec", {}).get("holderIdentity") == mesh.identity


def writes(mesh: Mesh) -> float:
    """What a replica has written but for Leases."""
    return total(mesh.metrics, "meshfed_kube_writes_total") - lease_writes(mesh.metrics)


def measured_by_discovery(mesh: Mesh) -> set[str]:
    return {
        sample.name
        for family in mesh.metrics.registry.collect()
        for sample in family.samples
        if "remote" in sample.labels and not sample.name.endswith("_services")
    }


def connected_since(mesh: Mesh, remote: str) -> str:
    conditions = mesh.all("RemoteMesh")[remote]["status"]["conditions"]
    (since,) = [one["lastTransitionTime"] for one in conditions if one["type"] == "Connected"]
    return str(since)


async def test_only_the_leader_writes_and_in_the_steady_state_only_leases() -> None:
    async with replicated() as (east, beside, west):
        assert (total(east.metrics, "meshfed_leader"), total(beside.metrics, "meshfed_leader")) == (1, 0)
        await west.label("productpage", export_service="true")
        await eventually(lambda: ("default", "productpage") in east.merged())
        await asyncio.sleep(4)
        before = writes(east), lease_writes(east.metrics), lease_writes(beside.metrics)
        await asyncio.sleep(3)
        assert writes(east) == before[0]
        assert lease_writes(east.metrics) - before[1] >= 3
        assert writes(beside) == 0
        assert lease_writes(beside.metrics) - before[2] <= 1


async def test_each_replica_has_a_lease_of_its_own_by_which_it_is_known_who_leads() -> None:
    async with replicated() as (east, beside, _):
        await eventually(lambda: holders(east) == {east.identity, beside.identity}, within=20)
        await beside.stop()
        assert holders(east) == {east.identity}


def holders(mesh: Mesh) -> set[str]:
    """The holders of the Leases of replicas."""
    replicas = (replica_of(one) for one in mesh.all_of("Lease"))
    return {one.holder for one in replicas if one.name.startswith(PREFIX)}


async def test_every_replica_tells_subscribers_the_same_and_follows_changes() -> None:
    async with replicated() as (east, beside, west):
        there = {"spec": {"discovery": {"address": f"127.0.0.1:{beside.discovery_port}"}}}
        await west.patch("RemoteMesh", "east", there)
        await eventually(lambda: total(beside.metrics, "meshfed_fds_subscribers") == 1)
        await synced(west, east)
        assert (west.imported(), west.merged()) == ([host("details")], [("default", "reviews")])
        await east.label("productpage", export_service="true")
        await eventually(lambda: ("default", "productpage") in west.merged())
        await east.label("details", export_service=None)
        await eventually(lambda: not west.imported())


async def test_a_leader_that_stops_hands_over_and_nothing_moves() -> None:
    async with replicated() as (east, beside, west):
        objects = east.written()
        async with nothing_lost(east, west):
            await east.stop()
            await eventually(lambda: leads(beside), within=2)
            await eventually(lambda: total(beside.metrics, "meshfed_fds_connected") == 1)
            await asyncio.sleep(4)  # longer than any status waits
            assert east.written() == objects
            # That it connected itself, and when, is on the RemoteMesh; nothing else is worth a write.
            assert writes(beside) <= 3
        await west.label("ratings", export_service=None)
        await eventually(lambda: not east.imported())


async def test_a_leader_that_loses_its_lease_steps_back_and_goes_on_serving() -> None:
    async with replicated() as (east, beside, west):
        objects, since = east.written(), connected_since(west, "east")
        async with nothing_lost(east, west):
            lease = {"spec": {"holderIdentity": beside.identity}}
            await east.patch("Lease", "meshfed-controller", lease)
            await eventually(lambda: total(east.metrics, "meshfed_leader") == 0)
            await eventually(lambda: total(beside.metrics, "meshfed_leader") == 1)
            assert not measured_by_discovery(east), "its successor is who follows the remotes now"
            done = writes(east)
            await west.label("productpage", export_service="true")
            await eventually(lambda: ("default", "productpage") in east.merged())
            assert writes(east) == done
            assert objects.items() <= east.written().items()
            # West hears from east's first replica, which leads no more.
            await east.label("productpage", export_service="true")
            await eventually(lambda: ("default", "productpage") in west.merged())
            assert connected_since(west, "east") == since


async def test_while_the_api_is_away_both_serve_and_then_one_leads_again() -> None:
    async with replicated() as (east, beside, west):
        objects, since = east.written(), connected_since(west, "east")
        async with nothing_lost(east, west):
            await east.server.stop()
            await eventually(lambda: total(east.metrics, "meshfed_leader") == 0)
            assert (total(beside.metrics, "meshfed_leader"), connected_since(west, "east")) == (0, since)
            assert all(
                mesh.controller is not None and mesh.controller.not_ready_reason is None for mesh in (east, beside)
            )
            await east.server.start()
            await eventually(lambda: leads(east) or leads(beside))
            await synced(east, west)
            assert east.written() == objects
            assert connected_since(west, "east") == since


async def test_what_was_withdrawn_or_edited_while_nobody_led_is_seen_to_by_who_leads_next() -> None:
    async with replicated() as (east, beside, west):
        await beside.stop()
        await east.stop()
        await west.label("reviews", export_service=None)
        (entry,) = east.all("ServiceEntry")
        await east.delete("ServiceEntry", entry)
        await beside.start(election=TIMING)
        await eventually(lambda: not east.merged() and entry in east.all("ServiceEntry"))
        await synced(east, west)
