"""A mesh behind an OpenShift router, a real HAProxy: discovery and requests go through it, both ways, on any port.

North is behind a router; east and west are not. East federates with both, so that it has remotes of either kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from meshfed_sandbox.dataplane.plane import Options
from tests.e2e.support import PORTS, needs_haproxy
from tests.sandbox.dataplane.world import MeshWorld, World
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), needs_haproxy]

DETAILS = "http://details.bookinfo:9080/details/0"
CALLER = "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """East has details and an echo of its own, north details and two echoes, west details and ratings."""
    options = Options(routers=frozenset({"north"}))
    async with World.up("east", "west", "north", directory=tmp_path_factory.mktemp("world"), options=options) as world:
        await world.east.bookinfo("productpage", "details")
        await world.east.run("echo-east", image="echo", port=PORTS, account="echo")
        await world.west.bookinfo("details", "ratings")
        await world.north.bookinfo("productpage", "details", "ratings")
        await world.north.run("echo-north", image="echo", port=PORTS, account="echo")
        for mesh in world.meshes.values():
            await mesh.federation()
        for other in (world.north, world.west):
            rules = {"import": {"merge": True, "allowTCP": True}}
            await world.east.remote(other, **rules)
            await other.remote(world.east, **rules)
        await world.settled()
        await world.connected()
        yield world


async def test_discovery_goes_through_the_router(world: World) -> None:
    """Each controller hears from the other, and east's SNI for north's is one that a router can read."""
    rule = await world.east.get("DestinationRule", "mtls-sni.federation-discovery-service-north", "istio-system")
    assert rule is not None
    sni = rule["spec"]["trafficPolicy"]["tls"]["sni"]
    assert sni == "federation-discovery-service-north-15080.istio-system.svc.cluster.local"
    seen = [hop.line for hop in world.north.hops() if hop.line["direction"] == "gateway"]
    assert sni in {line["requested_server_name"] for line in seen}
    route = await world.north.get(
        "Route",
        "federation-ingress-gateway.federation-discovery-service-north.istio-system.svc.cluster.local.15080",
        "istio-system",
    )
    assert route is not None
    assert route["status"]["ingress"][0]["conditions"][0]["status"] == "True"


async def test_all_ports_cross_the_router_and_come_back_without_one(world: World) -> None:
    """Both directions, by each protocol: the caller is known by its own identity wherever the application can say."""
    await world.north.export("echo-north.bookinfo")
    await world.east.export("echo-east.bookinfo")
    for mesh, host, other in ((world.east, "echo-north", "north"), (world.north, "echo-east", "east")):
        for url in (f"http://{host}.bookinfo:8080/", f"http://{host}.bookinfo:8081/"):
            answer = await mesh.until(url, mesh=other)
            assert answer.caller == CALLER
        await _until_answer(mesh, f"grpc://{host}.bookinfo:7070/x", f"'mesh': '{other}'")
        await _until_answer(mesh, f"tcp://{host}.bookinfo:9000/x", f"{other} echo-")


async def _until_answer(mesh: MeshWorld, url: str, text: str) -> None:
    async def holds() -> bool:
        answer = await mesh.request(url)
        return not answer.error and text in str(answer.body)

    await eventually(holds, what=f"{mesh.name}: {url}: {text}")


async def test_a_service_on_both_sides_of_the_router_is_answered_by_both(world: World) -> None:
    """Merged into a local Service, the router's SNI goes out for local endpoints too, and does no harm there."""
    await world.north.export("details.bookinfo")
    await world.east.until(DETAILS, mesh="north")
    counts = await world.east.sample(DETAILS, 40)
    assert set(counts) == {"east", "north"}
    await world.north.unexport("details.bookinfo")
    await eventually(lambda: _all_from_east(world))


async def _all_from_east(world: World) -> bool:
    return set(await world.east.sample(DETAILS, 10)) == {"east"}


async def test_an_export_whose_host_another_route_has_says_so(world: World) -> None:
    """The router serves the older of two Routes, so calls would go wherever that leads."""
    theirs = {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": {"name": "theirs", "namespace": "bookinfo"},
        "spec": {
            "host": "details-9080.bookinfo.svc.cluster.local",
            "to": {"kind": "Service", "name": "details"},
            "tls": {"termination": "passthrough"},
        },
    }

    async def says(wanted: str) -> None:
        async def holds() -> bool:
            return (await world.north.condition("MeshFederation", "north", "ExportsReady")).startswith(wanted)

        await eventually(holds, what=wanted)

    await world.north.apply(theirs)
    await asyncio.sleep(1.1)  # who came first is told by the second
    await world.north.export("details.bookinfo")
    await says("False RouteNotAdmitted: objects of bookinfo/details are not in place: ")
    await world.north.delete("Route", "theirs", "bookinfo")
    await says("True Exporting")
    await world.east.until(DETAILS, mesh="north")
    await world.north.unexport("details.bookinfo")
    await eventually(lambda: _all_from_east(world))


async def test_a_host_that_both_kinds_of_remote_offer_comes_from_one(world: World) -> None:
    """One host can go out under one SNI: the second offer says so, and takes over when the first is withdrawn."""
    url = "http://ratings.bookinfo:9080/ratings/0"
    await world.west.export("ratings.bookinfo")
    await world.east.until(url, mesh="west")
    await asyncio.sleep(1.1)  # who came first is told by the second
    await world.north.export("ratings.bookinfo")
    await _refused(world.east, "ratings.bookinfo", "north")
    assert set(await world.east.sample(url, 10)) == {"west"}

    await world.west.unexport("ratings.bookinfo")
    await world.east.until(url, mesh="north")
    await asyncio.sleep(1.1)
    await world.west.export("ratings.bookinfo")
    await _refused(world.east, "ratings.bookinfo", "west")
    assert set(await world.east.sample(url, 10)) == {"north"}
    await world.north.unexport("ratings.bookinfo")
    await world.east.until(url, mesh="west")
    await world.west.unexport("ratings.bookinfo")


async def _refused(mesh: MeshWorld, service: str, remote: str) -> None:
    """Until the offer of ``remote`` is refused for its SNI."""

    said = ""

    async def holds() -> bool:
        nonlocal said
        said = await mesh.condition("FederatedService", f"{service}.svc.cluster.local.{remote}", "Accepted")
        return said.startswith("False SNIConflict")

    try:
        await eventually(holds)
    except AssertionError:
        raise AssertionError(f"{remote}'s offer of {service} is not refused for its SNI: {said}") from None


async def test_one_kind_of_remote_does_not_spoil_the_other(world: World) -> None:
    """A merged Service may be shared with west, by Istio's own SNI, while north's offer of it waits its turn."""
    await world.north.export("echo-north.bookinfo")
    await world.west.export("details.bookinfo")
    await world.east.until(DETAILS, mesh="west")
    await asyncio.sleep(1.1)  # who came first is told by the second
    await world.north.export("details.bookinfo")
    await _refused(world.east, "details.bookinfo", "north")
    assert set(await world.east.sample(DETAILS, 40)) == {"east", "west"}
    answer = await world.east.until("http://echo-north.bookinfo:8080/", mesh="north")
    assert answer.caller == CALLER
    await world.north.unexport("details.bookinfo")
    await world.west.unexport("details.bookinfo")


async def test_a_port_that_is_unexported_is_closed_at_the_router(world: World) -> None:
    """The Routes go with the export, and the gateway answers to no SNI of theirs."""
    await world.north.export("echo-north.bookinfo")
    await world.east.until("http://echo-north.bookinfo:8080/", mesh="north")
    await world.north.unexport("echo-north.bookinfo")

    async def routes() -> bool:
        hosts = {route["spec"]["host"] for route in await world.north.list("Route")}
        assert "federation-discovery-service-north-15080.istio-system.svc.cluster.local" in hosts
        return not any(host.startswith("echo-north") for host in hosts)

    await eventually(routes, what="the Routes of echo-north are gone")
    await world.east.until("http://echo-north.bookinfo:8080/", status=0)


async def test_ports_that_are_exported_one_by_one_cross_the_router(world: World) -> None:
    """The gateway answers to the router's SNI of each of them, by a filter chain of its own, and to no other."""
    rule = {"action": "Export", "names": ["echo-north"], "ports": [8080, "grpc"]}
    await world.north.federation(export={"rules": [rule]})
    answer = await world.east.until("http://echo-north.bookinfo:8080/", mesh="north")
    assert answer.caller == CALLER
    await _until_answer(world.east, "grpc://echo-north.bookinfo:7070/x", "'mesh': 'north'")
    routes = {route["spec"]["host"] for route in await world.north.list("Route")}
    assert {name for name in routes if name.startswith("echo-north")} == {
        f"echo-north-{port}.bookinfo.svc.cluster.local" for port in (7070, 8080)
    }
    gateway = await world.north.get("Gateway", "federation-ingress-gateway", "istio-system")
    assert gateway is not None
    assert "echo-north.bookinfo.svc.cluster.local" not in gateway["spec"]["servers"][0]["hosts"]
    assert (await world.east.request("http://echo-north.bookinfo:8081/")).status != 200
    await world.north.federation()
