"""What requests between two meshes feel of a controller that is away, of a restart, and of a gateway that moves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from meshfed_sandbox.apps import call
from meshfed_sandbox.dataplane.network import inside
from tests.e2e.load import load
from tests.e2e.probes import EXPORTS, PROBES, Probe, bring, hold
from tests.sandbox.dataplane.world import JSONObject, MeshWorld, World
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

CONTROLLER = ("istio-system", "federation-controller")
URL = "http://echo.bookinfo:8080/"
IMPORT = {"merge": True, "allowTCP": True}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def meshes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """East calls; west has what is called, and exports it."""
    async with World.up("east", "west", directory=tmp_path_factory.mktemp("world")) as world:
        await bring(world.east, world.west)
        await world.federate(**{"import": IMPORT})
        await world.west.export(*EXPORTS)
        await world.settled()
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def world(meshes: World) -> World:
    """The meshes, when everything that is exported has arrived."""
    await meshes.connected()
    await hold(meshes, PROBES)
    return meshes


def probe(name: str) -> Probe:
    return next(one for one in PROBES if one.name == name)


async def restarted(mesh: MeshWorld) -> None:
    """Kill the mesh's controller as a fault would, and wait until another process has taken up its work."""
    pod = mesh.plane.pod(*CONTROLLER)
    before = pod.pids["controller"]
    pod.crash()
    await eventually(lambda: pod.pids.get("controller", before) != before, what="the controller is started again")
    await eventually(lambda: at_work(mesh), what="the controller is at work again")


async def at_work(mesh: MeshWorld) -> bool:
    """Whether the mesh's controller is ready: it has worked out everything once."""
    place = mesh.plane.pod(*CONTROLLER).place
    assert place is not None
    with inside(place):
        return (await call("http://127.0.0.1:8081/readyz")).status == 200


async def written(mesh: MeshWorld) -> dict[tuple[str, str], str]:
    """The versions of all that the controller has written for requests, by kind and name."""
    kinds = ("Gateway", "ServiceEntry", "WorkloadEntry", "DestinationRule", "FederatedService")
    objects: list[JSONObject] = [one for kind in kinds for one in await mesh.list(kind)]
    return {(one["kind"], one["metadata"]["name"]): one["metadata"]["generation"] for one in objects}


async def test_the_exporters_controller_is_killed(world: World) -> None:
    """No request fails; and it is at work again: what is unexported then goes, and what is exported comes."""
    before = await written(world.east)
    async with load(world.east, URL) as requests:
        await restarted(world.west)
        await world.connected()
        await requests.more()
        assert await written(world.east) == before
        await world.west.unexport("shifted")
        await eventually(lambda: probe("numeric targetPort").complaint(world))
        await world.west.export("shifted")
        await probe("numeric targetPort").holds(world)
    assert requests.failed == []


async def test_the_importers_controller_is_killed_while_its_remote_is_away(world: World) -> None:
    """It begins without its remote, and everything stays as it was, for requests and in the cluster."""
    before = await written(world.east)
    async with load(world.east, URL) as requests:
        await world.west.patch("Deployment", CONTROLLER[1], {"spec": {"replicas": 0}}, CONTROLLER[0])

        async def away() -> bool:
            return (await world.east.condition("RemoteMesh", "west", "Connected")).startswith("False")

        await eventually(away, what="east's controller says that west is away")
        await restarted(world.east)
        await hold(world, PROBES)
        assert await written(world.east) == before
        await world.west.patch("Deployment", CONTROLLER[1], {"spec": {"replicas": 1}}, CONTROLLER[0])
        await world.settled()
        await world.connected()
        await requests.more()
        assert await written(world.east) == before
    assert requests.failed == []


async def test_a_gateway_is_named_by_a_host_name(world: World) -> None:
    """From an address to its name, and back: no request fails. ServiceEntries have the name, WorkloadEntries cannot."""
    address, name = await world.west.gateway_address(), "gateway.west.example"
    world.sandbox.data_plane.names[name] = (address,)
    async with load(world.east, URL) as requests, load(world.east, "http://both.bookinfo:80/") as joined:
        await world.east.remote(world.west, addresses=[name], **{"import": IMPORT})
        await eventually(lambda: leads_to(world.east, {name, address}), what="what is imported leads to the name")
        await world.settled()
        await hold(world, PROBES)
        await world.east.remote(world.west, **{"import": IMPORT})
        await eventually(lambda: leads_to(world.east, {address}), what="what is imported leads to the address")
        await world.settled()
        await hold(world, PROBES)
    assert (requests.failed, joined.failed) == ([], [])


async def test_a_gateway_moves_to_another_address(world: World) -> None:
    """A second one is brought up, the RemoteMesh names that, and the first one goes: no request fails."""
    old = await world.west.gateway_address()
    leaving = world.west.plane.pod("istio-system", "federation-ingress-gateway").proxy
    assert leaving is not None
    first = await world.west.get("Deployment", "federation-ingress-gateway", "istio-system")
    assert first is not None
    second: JSONObject = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "second-gateway", "namespace": "istio-system"},
        "spec": {**first["spec"], "selector": {"matchLabels": {"app": "federation-ingress-gateway", "number": "2"}}},
    }
    second["spec"]["template"]["metadata"]["labels"]["number"] = "2"
    async with load(world.east, URL) as requests, load(world.east, "http://both.bookinfo:80/") as joined:
        await world.west.apply(second)
        await world.settled()
        place = world.west.plane.pod("istio-system", "second-gateway").place
        assert place is not None
        new = place.address
        assert new != old
        await world.east.remote(world.west, addresses=[new], **{"import": IMPORT})
        await eventually(lambda: leads_to(world.east, {new}), what="all that is imported leads to the new address")
        await world.settled()
        await world.west.delete("Deployment", "federation-ingress-gateway", "istio-system")
        await eventually(lambda: leaving.pid is None, what="the first gateway's Envoy has ended")
        await requests.more()
        await joined.more()
    assert (requests.failed, joined.failed) == ([], [])
    assert joined.by_mesh.keys() == {"east", "west"}


async def leads_to(mesh: MeshWorld, addresses: set[str]) -> bool:
    """Whether everything that is imported has these addresses and no other."""
    entries = await mesh.list("ServiceEntry")
    found = {one["address"] for entry in entries for one in entry["spec"]["endpoints"]}
    return found | {entry["spec"]["address"] for entry in await mesh.list("WorkloadEntry")} == addresses
