"""Two meshes that federate, end to end: controllers, gateways and sidecars as in production, but for the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.sandbox.dataplane.world import Answer, World
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATINGS = "http://ratings.bookinfo:9080/ratings/0"
DETAILS = "http://details.bookinfo:9080/details/0"
GATEWAY = ("istio-system", "federation-ingress-gateway")
MEMORY_MB = 2000
"""What two meshes with all of bookinfo may take, all processes together."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """East with productpage and details; west with productpage, details and ratings."""
    async with World.up("east", "west", directory=tmp_path_factory.mktemp("world")) as world:
        await world.east.bookinfo("productpage", "details")
        await world.west.bookinfo("productpage", "details", "ratings")
        await world.federate()
        await world.settled()
        await world.connected()
        yield world


async def test_the_controllers_hear_from_each_other_through_the_gateways(world: World) -> None:
    """Each is told who the other is by its own sidecar: nobody is let in without an identity."""
    for mesh in world.meshes.values():
        pod = mesh.plane.pod("istio-system", "federation-controller")
        assert "--allow-unauthenticated-peers" not in pod.manifest["spec"]["containers"][0]["args"]
        discovery = f"15080_._.federation-discovery-service-{mesh.name}.*upstream_cx_total"
        gateway = mesh.plane.pod(*GATEWAY).proxy
        assert gateway is not None
        assert [int(value) > 0 for value in (await gateway.stats(discovery)).values()] == [True]


async def test_before_export_nothing_answers_and_after_it_the_other_mesh_does(world: World) -> None:
    before = await world.east.request(RATINGS)
    assert before.status == 0
    assert "resolution" in before.error or "not known" in before.error

    await world.west.export("ratings.bookinfo")
    answer = await world.east.until(RATINGS)
    assert answer.mesh == "west"
    assert answer.caller == "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage"
    path = await world.path(answer, hops=2)
    assert [str(hop) for hop in path] == ["east productpage-v1 outbound", "west ratings-v1 inbound"]
    gateway = await world.west.gateway_address()
    assert path[0].line["upstream_host"] == f"{gateway}:15443"

    await world.west.unexport("ratings.bookinfo")
    await world.east.until(RATINGS, status=0)


async def test_a_service_on_both_sides_is_answered_by_both(world: World) -> None:
    assert set(await world.east.sample(DETAILS, 10)) == {"east"}
    await world.west.export("details.bookinfo")
    await world.east.until(DETAILS, mesh="west")
    counts = await world.east.sample(DETAILS, 60)
    assert set(counts) == {"east", "west"}
    assert min(counts.values()) > 10
    assert set(await world.west.sample(DETAILS, 10)) == {"west"}
    await world.west.unexport("details.bookinfo")
    await eventually(lambda: _all_from(world, "east"))


async def _all_from(world: World, mesh: str) -> bool:
    return set(await world.east.sample(DETAILS, 10)) == {mesh}


async def test_certificates_are_renewed_under_load_without_a_failed_request(world: World) -> None:
    await world.west.export("ratings.bookinfo")
    await world.east.until(RATINGS)
    sidecar = world.east.plane.pod("bookinfo", "productpage").proxy
    assert sidecar is not None

    async def serials() -> set[str]:
        lines = (await sidecar.ask("/certs")).splitlines()
        return {line.strip() for line in lines if "serial_number" in line}

    answers: list[Answer] = []
    before = await serials()
    for _ in range(3):
        known = await serials()
        for mesh in world.meshes.values():
            mesh.plane.control_plane.rotate()
        while not (await serials()) - known:
            answers.append(await world.east.request(RATINGS))
        answers += [await world.east.request(RATINGS) for _ in range(10)]
    assert {(one.status, one.error) for one in answers} == {(200, "")}
    assert len((await serials()) - before) > 0


async def test_a_gateway_that_is_killed_is_back_at_its_address(world: World) -> None:
    await world.west.export("ratings.bookinfo")
    await world.east.until(RATINGS)
    address = await world.west.gateway_address()
    pod = world.west.plane.pod(*GATEWAY)
    killed = pod.proxy.pid if pod.proxy is not None else None
    world.expected("its proxy ended with exit code -9")
    pod.crash()
    await eventually(lambda: pod.proxy is not None and pod.proxy.pid not in {None, killed} and pod.ready)
    answer = await world.east.until(RATINGS)
    assert answer.mesh == "west"
    assert await world.west.gateway_address() == address

    async def restarts() -> int:
        found = await world.west.get("Pod", pod.name, "istio-system") or {}
        return int(found["status"]["containerStatuses"][0]["restartCount"])

    assert await eventually(restarts) == 1
    said = [problem for problem in world.problems if problem.proxy == f"istio-system/{pod.name}"]
    assert [str(problem) for problem in said] == [f"west: istio-system/{pod.name}: its proxy ended with exit code -9"]


async def test_a_pod_that_is_replaced_costs_no_request(world: World) -> None:
    """A rollout: the new Pod serves before the old one goes, and that has whoever is connected connect elsewhere."""
    await world.west.export("ratings.bookinfo")
    first = await world.east.until(RATINGS)
    template = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}
    await world.west.patch("Deployment", "ratings-v1", {"spec": {"template": template}})
    pods: set[str] = set()
    async with asyncio.timeout(60):
        while first.pod in pods or len(pods) < 1:
            answer = await world.east.request(RATINGS)
            assert answer.status == 200, answer
            pods = {answer.pod}


async def test_a_controller_with_another_identity_is_refused(world: World) -> None:
    """East expects somebody else of west: it neither believes who answers there, nor lets who calls from there in."""
    await world.west.export("ratings.bookinfo")
    await world.east.until(RATINGS)
    other = "spiffe://cluster.local/ns/istio-system/sa/somebody-else"
    await world.east.remote(world.west, identity=other)

    async def expected() -> bool:
        entries = await world.east.list("ServiceEntry", "istio-system")
        return any(entry["spec"].get("subjectAltNames") == [other] for entry in entries)

    await eventually(expected, what="the discovery ServiceEntry names who is to answer")
    await world.settled()
    world.east.plane.pod("istio-system", "federation-controller").crash()  # a stream that is open stays so

    async def refused() -> bool:
        here = await world.east.condition("RemoteMesh", "west", "Connected")
        there = await world.west.condition("RemoteMesh", "east", "Connected")
        return here.startswith("False") and there.startswith("False")

    await eventually(refused, what="neither hears the other")
    assert (await world.east.request(RATINGS)).mesh == "west"  # what was imported stays
    await world.east.remote(world.west)
    await world.connected()


async def test_the_memory_of_two_meshes(world: World) -> None:
    processes = [proxy.pid for mesh in world.meshes.values() for proxy in mesh.plane.control_plane.proxies.values()]
    sizes = [_resident_mb(pid) for pid in processes if pid is not None]
    assert len(sizes) == len(processes)
    # All of bookinfo is 8 proxies and a controller's process in each mesh; the sandbox's own process is this one.
    pods = [mesh.plane.pod("istio-system", "federation-controller") for mesh in world.meshes.values()]
    controllers = [_resident_mb(pod.pids["controller"]) for pod in pods]
    assert 16 * max(sizes) + sum(controllers) + _resident_mb("self") < MEMORY_MB


def _resident_mb(pid: int | str) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20
