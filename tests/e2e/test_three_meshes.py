"""One service in several remote meshes: who answers, which ports count, and what happens when one of them is away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from meshfed.views.checks import CheckOutcome
from meshfed.views.explain.asked import explained
from tests.builders import manifest
from tests.e2e.load import load
from tests.e2e.probes import BOTH_SIDES, PROTOCOLS, Probe, answered_by, bring, echo, hold
from tests.e2e.test_reachability import check_finds, not_ok, sees
from tests.sandbox.dataplane.world import MeshWorld, World
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

URL = "http://echo.bookinfo:8080/"
HOST = "echo.bookinfo.svc.cluster.local"
GATEWAY = ("Deployment", "federation-ingress-gateway")
IMPORT = {"merge": True, "allowTCP": True}
OUTLIERS = {
    "consecutiveGatewayErrors": 1,
    "consecutive5xxErrors": 1,
    "interval": "200ms",
    "baseEjectionTime": "10m",  # or each time that it ends, a request fails
    "maxEjectionPercent": 100,
}


def answered(probes: tuple[Probe, ...], *meshes: str) -> tuple[Probe, ...]:
    """The probes, with other meshes that answer."""
    return tuple(msgspec.structs.replace(probe, answered_by=frozenset(meshes)) for probe in probes)


SHARED = answered(PROTOCOLS, "west", "north")
EVERYWHERE = answered(BOTH_SIDES, "east", "west", "north")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def meshes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """East calls; west and north have what is called."""
    async with World.up("east", "west", "north", directory=tmp_path_factory.mktemp("world")) as world:
        await bring(world.east, world.west, world.north)
        labels = {"topology.kubernetes.io/region": "here", "topology.kubernetes.io/zone": "1"}
        await world.east.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "sandbox", "labels": labels}})
        for mesh in world.meshes.values():
            await mesh.federation()
        for remote in (world.west, world.north):
            await remote.remote(world.east)
        await remotes(world)
        # West offers its services first.
        await world.west.export("echo", "both")
        await eventually(lambda: world.east.get("FederatedService", f"{HOST}.west", "istio-system"))
        await world.north.export("echo", "both")
        await world.settled()
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def world(meshes: World) -> World:
    """The meshes, when the services of west and north have arrived in east."""
    await hold(meshes, SHARED + EVERYWHERE)
    return meshes


async def remotes(world: World, west: dict[str, Any] | None = None, north: dict[str, Any] | None = None) -> None:
    """East's RemoteMeshes; ``west`` and ``north`` are what they say besides."""
    await world.east.remote(world.west, **{"import": IMPORT}, **(west or {}))
    await world.east.remote(world.north, **{"import": IMPORT}, **(north or {}))


async def is_gone(mesh: MeshWorld, remote: str) -> bool:
    return await mesh.get("RemoteMesh", remote, "istio-system") is None


async def all_from(world: World, mesh: str, url: str = URL, count: int = 20) -> bool:
    return set(map(answered_by, [await world.east.request(url, from_="caller") for _ in range(count)])) == {mesh}


async def test_each_mesh_has_its_share(world: World) -> None:
    """Of 100 requests with two who answer alike, fewer than 20 go to one of them once in 10**9 times."""
    samples = [world.east.sample(URL, 25, from_="caller") for _ in range(4)]
    counts = sum(await asyncio.gather(*samples), Counter())
    assert counts.keys() == {"west", "north"}
    assert min(counts.values()) >= 20


async def test_one_mesh_withdraws_and_no_request_fails(world: World) -> None:
    """Neither in the host that is imported alone, nor in the one that joins the local Service."""
    async with load(world.east, URL) as imported, load(world.east, "http://both.bookinfo:80/") as joined:
        await world.west.unexport("echo", "both")
        await hold(world, answered(PROTOCOLS, "north") + answered(BOTH_SIDES, "east", "north"))
        await world.west.export("echo", "both")
        await hold(world, SHARED + EVERYWHERE)
        await world.east.delete("RemoteMesh", "north", "istio-system")
        await hold(world, answered(PROTOCOLS, "west") + answered(BOTH_SIDES, "east", "west"))
        # Until its finalizer let it go it cannot be made anew: that would be of the one that goes.
        await eventually(lambda: is_gone(world.east, "north"), what="RemoteMesh north is gone")
        await remotes(world)
        await hold(world, SHARED + EVERYWHERE)
    assert (imported.failed, joined.failed) == ([], [])


async def conflict_is_named(world: World) -> bool:
    """Whether both commands say of the offers that disagree what it is, and whose."""
    found = explained("echo.bookinfo", [await sees(mesh) for mesh in world.meshes.values()])
    broken = {f"{one.name} {one.whose} {one.reason}" for chain in found if (one := chain.broken) is not None}
    failing = await not_ok(world.east, CheckOutcome.FAILED, CheckOutcome.WARNING)
    return broken == {"accepted either PortConflict"} and "remotes/imports" in failing


async def test_ports_that_disagree_disturb_nobody(world: World) -> None:
    """Who offered first has its ports; with a priority, the other has; and whoever calls is answered throughout."""
    await world.north.unexport("echo")
    await hold(world, answered(PROTOCOLS, "west"))
    await world.north.export("echo")
    await hold(world, SHARED)
    async with load(world.east, "tcp://echo.bookinfo:9000/hello") as requests:
        await world.north.apply(echo(http=8088))

        async def says(remote: str) -> bool:
            reason = await world.east.condition("FederatedService", f"{HOST}.{remote}", "Accepted")
            return reason.startswith("False PortConflict")

        await eventually(lambda: says("north"), what="north's ports are not those that count")
        await eventually(lambda: conflict_is_named(world), what="explain and check name it")
        await eventually(lambda: all_from(world, "west"))
        await remotes(world, north={"priority": 10})
        await eventually(lambda: says("west"), what="with its priority they are")
        await eventually(lambda: all_from(world, "north", "http://echo.bookinfo:8088/"))
        assert not await all_from(world, "west", URL, 1)
        await remotes(world)
        await world.north.apply(echo())
        await hold(world, SHARED)
        await eventually(lambda: nothing_is_named(world), what="neither command finds anything wrong")
    assert requests.failed == []


async def nothing_is_named(world: World) -> bool:
    """Whether neither command finds anything wrong with the host."""
    found = explained("echo.bookinfo", [await sees(mesh) for mesh in world.meshes.values()])
    return not any(chain.broken for chain in found) and "remotes/imports" not in await not_ok(
        world.east, CheckOutcome.FAILED, CheckOutcome.WARNING
    )


async def test_a_gateway_that_is_gone_is_passed_over(world: World) -> None:
    """Without any outlier detection: a connection that cannot be made is tried elsewhere."""
    await world.west.patch(*GATEWAY, {"spec": {"replicas": 0}}, "istio-system")
    await eventually(lambda: all_from(world, "north"))
    counts = await world.east.sample(URL, 40, from_="caller")
    assert counts.keys() == {"north"}
    await world.west.patch(*GATEWAY, {"spec": {"replicas": 1}}, "istio-system")
    await hold(world, SHARED + EVERYWHERE)


async def test_requests_stay_near_until_that_fails(world: World) -> None:
    """With localities and outlier detection: the near mesh answers while it can, then the far one."""
    policy = {"trafficPolicy": {"outlierDetection": OUTLIERS}}
    await remotes(world, {"locality": "here/1", **policy}, {"locality": "there/1", **policy})
    await eventually(lambda: all_from(world, "west"))
    owners = {"host": HOST, "trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}}
    await world.east.apply(manifest("DestinationRule", "owners", owners, namespace="bookinfo"))

    async def is_told() -> bool:
        told = await world.east.condition("FederatedService", f"{HOST}.west", "Accepted")
        return told.startswith("True TrafficPolicyOverridden")

    await eventually(is_told, what="the owner's rule takes the place of what makes requests stay near")
    await hold(world, SHARED)
    await world.east.delete("DestinationRule", "owners", namespace="bookinfo")
    await eventually(lambda: all_from(world, "west"))
    await world.west.patch(*GATEWAY, {"spec": {"replicas": 0}}, "istio-system")
    await eventually(lambda: all_from(world, "north"))
    await world.west.patch(*GATEWAY, {"spec": {"replicas": 1}}, "istio-system")
    await remotes(world)
    await hold(world, SHARED)


async def test_the_nearest_first_and_nobody_left_out(world: World) -> None:
    """With an outlier detection that counts nothing: the near mesh is called while it is an endpoint, well or not."""
    policy = {"trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 0}}}
    await remotes(world, {"locality": "here/1", **policy}, {"locality": "there/1", **policy})
    await eventually(lambda: all_from(world, "west"))
    await world.west.patch(*GATEWAY, {"spec": {"replicas": 0}}, "istio-system")
    await world.east.until(URL, from_="caller", status=503)
    counts = await world.east.sample(URL, 20, from_="caller")
    assert "north" not in counts
    await check_finds(world.east, "remotes/gateway")
    await world.west.patch(*GATEWAY, {"spec": {"replicas": 1}}, "istio-system")
    await eventually(lambda: all_from(world, "west"))
    await world.west.unexport("echo")
    await eventually(lambda: all_from(world, "north"))
    await world.west.export("echo")
    await eventually(lambda: all_from(world, "west"))
    await remotes(world)
    await hold(world, SHARED)
