"""Who calls, and who answers, is proved from workload to workload, across meshes under one root."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from meshfed_sandbox.dataplane.network import inside
from tests.builders import endpoint_slice, workload_entry
from tests.e2e.mutated import metrics, plaintext, stranger
from tests.e2e.probes import fronting, only, run
from tests.e2e.test_reachability import becomes, check_finds
from tests.sandbox.dataplane.world import Answer, MeshWorld, World
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORTS = {"http": 8080, "tcp": 9000}
HTTP, TCP = "http://echo.bookinfo:8080/", "tcp://echo.bookinfo:9000/x"
BOTH = "http://both.bookinfo:8080/"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Two callers in east; west has an echo, and both meshes have ``both``, under accounts of their own."""
    async with World.up("east", "west", directory=tmp_path_factory.mktemp("world")) as world:
        ports = [{"name": name, "port": number} for name, number in PORTS.items()]
        await run(world.east, "caller", image="sleep", account="caller")
        await run(world.east, "other", image="sleep", account="other")
        await run(world.west, "echo", image="echo", account="echo", ports=PORTS)
        await world.west.apply(fronting("echo", *ports, pods="echo"))
        for mesh in (world.east, world.west):
            await run(mesh, "both", image="echo", account=f"both-{mesh.name}", ports=PORTS)
            await mesh.apply(fronting("both", *ports, pods="both"))
        await world.federate(**{"import": {"merge": True, "allowTCP": True}})
        await world.settled()
        await world.connected()
        await world.west.export("echo.bookinfo", "both.bookinfo")
        await world.east.until(HTTP, from_="caller", mesh="west")
        yield world


async def test_a_policy_sees_the_caller_itself_behind_both_gateways(world: World) -> None:
    await world.west.apply(only("cluster.local/ns/bookinfo/sa/other"))
    refused = await world.east.until(HTTP, from_="caller", status=403)
    assert refused.body == "RBAC: access denied"
    admitted = await world.east.until(HTTP, from_="other", mesh="west")
    assert admitted.caller == "spiffe://cluster.local/ns/bookinfo/sa/other"
    assert _by_tcp(await world.east.request(TCP, from_="other")) == "west"
    closed = await world.east.request(TCP, from_="caller")
    assert closed.error
    assert not closed.body
    await world.west.delete("AuthorizationPolicy", "echo")
    await world.east.until(HTTP, from_="caller", mesh="west")


def _by_tcp(answer: Answer) -> str:
    """The mesh that answered a line."""
    return "" if answer.error else str(answer.body).partition(" ")[0]


async def test_the_certificate_of_the_caller_arrives_as_it_left(world: World) -> None:
    """Neither gateway appears in it: x-forwarded-client-cert has one element, and that is the caller's."""
    answer = await world.east.until(HTTP, from_="caller", mesh="west")
    certificate = answer.body["headers"]["x-forwarded-client-cert"]
    assert certificate.count("URI=") == 1
    assert "URI=spiffe://cluster.local/ns/bookinfo/sa/caller" in certificate
    assert "By=spiffe://cluster.local/ns/bookinfo/sa/echo" in certificate


async def test_who_answers_under_another_account_is_refused_until_it_is_announced(world: World) -> None:
    """By the ServiceEntry's subjectAltNames. The controller of west is away while the account changes there."""
    await _without_controller(world)
    await _move(world.west, "echo", "usurper")
    await world.east.until(HTTP, from_="caller", status=503)
    await eventually(lambda: _refused_certificates(world, "echo"), what="it is the identity that is refused")
    assert (await world.east.request(TCP, from_="caller")).error
    said = await becomes(world.east, "FederatedService", "echo.bookinfo.svc.cluster.local.west", "False")
    assert said.startswith("False UnexpectedIdentity: ")
    assert "spiffe://cluster.local/ns/bookinfo/sa/usurper answers" in said
    await check_finds(world.east, "remotes/imports")

    await _scale_controller(world.west, 1)
    await world.connected()
    await world.east.until(HTTP, from_="caller", mesh="west")
    entry = await world.east.get("ServiceEntry", "import.echo.bookinfo.svc.cluster.local", "istio-system")
    assert entry is not None
    assert entry["spec"]["subjectAltNames"] == ["spiffe://cluster.local/ns/bookinfo/sa/usurper"]
    await _move(world.west, "echo", "echo")
    await world.east.until(HTTP, from_="caller", mesh="west")


async def test_a_virtual_machine_answers_under_its_own_account(world: World) -> None:
    """Here a Pod that the Service does not select stands for it, with a WorkloadEntry that states no tlsMode."""
    ports = [{"name": name, "port": number} for name, number in PORTS.items()]
    await run(world.west, "machine", image="echo", account="machine", ports=PORTS)
    await world.west.apply(fronting("machine", *ports, pods="machine"))
    await world.west.plane.settled()
    place = world.west.plane.pod("bookinfo", "machine").place
    assert place is not None
    await world.west.apply(workload_entry("vm.bookinfo", "echo", account="machine", address=place.address))

    async def by_both() -> bool:
        # By TCP: a connection that is kept leads to one of them.
        answers = [await world.east.request(TCP, from_="caller") for _ in range(20)]
        return {str(one.body).partition(" ")[2].partition("-")[0] for one in answers} == {"echo", "machine"}

    await eventually(by_both, what="the Pods and the machine answer, and nobody else")
    said = await world.west.condition("MeshFederation", "west", "ExportsReady")
    assert said.startswith("True"), said
    await world.west.delete("WorkloadEntry", "vm")


async def test_a_service_without_a_selector_is_reached_where_its_slice_names_a_pod(world: World) -> None:
    """As one whose leader is elected; one outside the mesh is not reached, and that is said."""
    west, url = world.west, "tcp://leader.bookinfo:9001/x"
    leader = fronting("leader", {"name": "tcp", "port": 9001, "targetPort": 9000})
    del leader["spec"]["selector"]
    (pod,) = [one["metadata"]["name"] for one in await west.list("Pod", "bookinfo") if _app(one) == "echo"]
    place = west.plane.pod("bookinfo", "echo").place
    assert place is not None
    await west.apply(
        leader, endpoint_slice("leader-1.bookinfo", "leader", f"{place.address}={pod}", ports={"tcp": 9000})
    )
    await west.export("leader.bookinfo")

    async def answered() -> bool:
        return _by_tcp(await world.east.request(url, from_="caller")) == "west"

    await eventually(answered, what="the Pod is reached")
    entry = await world.east.get("ServiceEntry", "import.leader.bookinfo.svc.cluster.local", "istio-system")
    assert entry is not None
    assert entry["spec"]["subjectAltNames"] == ["spiffe://cluster.local/ns/bookinfo/sa/echo"]

    await west.apply(endpoint_slice("leader-1.bookinfo", "leader", "127.0.0.1", ports={"tcp": 9000}))

    async def refused() -> bool:
        return not await answered()

    await eventually(refused, what="an address outside the mesh is not reached")

    async def said() -> bool:
        exports = await west.condition("MeshFederation", "west", "ExportsReady")
        return exports.startswith("False NoMeshEndpoints: no endpoint of bookinfo/leader has a sidecar")

    await eventually(said, what="that nobody answers is said")
    await west.unexport("leader.bookinfo")
    await west.delete("Service", "leader")
    await west.delete("EndpointSlice", "leader-1")


def _app(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["labels"].get("app", ""))


async def _refused_certificates(world: World, host: str) -> int:
    """How often the caller's sidecar found nobody whom it expects in the certificate of who answers for a host."""
    sidecar = world.east.plane.pod("bookinfo", "caller").proxy
    assert sidecar is not None
    await world.east.request(f"http://{host}.bookinfo:8080/", from_="caller")
    found = await sidecar.stats(rf"{host}\.bookinfo.*fail_verify_san")
    return sum(map(int, found.values()))


async def test_the_same_beside_a_local_service(world: World) -> None:
    """By the WorkloadEntry's serviceAccount: the local Pods and the announced ones pass, nobody else."""
    await world.east.until(BOTH, from_="caller", mesh="west")
    await _without_controller(world)
    await _move(world.west, "both", "usurper")

    async def refused() -> bool:
        counts = await world.east.sample(BOTH, 20, from_="caller")
        return "west" not in counts and counts["east"] > 0

    await eventually(refused, what="west's new Pod is not believed")
    await _scale_controller(world.west, 1)
    await world.connected()
    await world.east.until(BOTH, from_="caller", mesh="west")
    await _move(world.west, "both", "both-west")
    await world.east.until(BOTH, from_="caller", mesh="west")


async def _without_controller(world: World) -> None:
    """End west's controller; it may announce a last change while it goes."""
    await _scale_controller(world.west, 0)

    async def gone() -> bool:
        return (await world.east.condition("RemoteMesh", "west", "Connected")).startswith("False")

    await eventually(gone, what="east hears nothing of west")


async def _scale_controller(mesh: MeshWorld, replicas: int) -> None:
    await mesh.patch("Deployment", "federation-controller", {"spec": {"replicas": replicas}}, "istio-system")
    await mesh.plane.settled()


async def _move(mesh: MeshWorld, name: str, account: str) -> None:
    """Have a workload run under another account, and none of its old Pods."""
    pod = {"spec": {"serviceAccountName": account}}
    await mesh.patch("Deployment", name, {"spec": {"template": pod}})

    async def moved() -> bool:
        pods = [one for one in await mesh.list("Pod", "bookinfo") if one["metadata"]["labels"].get("app") == name]
        return [one["spec"]["serviceAccountName"] for one in pods] == [account]

    await eventually(moved, what=f"{name} runs as {account}")
    await mesh.plane.settled()


async def test_certificates_are_renewed_under_load_and_no_request_fails(world: World) -> None:
    """Connections that are open stay so, as with Istio; new ones are made with the new certificates."""
    place = world.east.plane.pod("bookinfo", "caller").place
    assert place is not None
    answers: list[Answer] = []
    stop = asyncio.Event()

    async def load(url: str) -> None:
        while not stop.is_set():
            answers.append(await world.east.request(url, from_="caller"))

    with inside(place):
        opening = asyncio.create_task(asyncio.open_connection("echo.bookinfo", 9000))
    reader, writer = await opening
    loads = [asyncio.create_task(load(url)) for url in (HTTP, TCP, BOTH)]
    try:
        for turn in range(3):
            before = await _serials(world)
            for mesh in world.meshes.values():
                mesh.plane.control_plane.rotate()

            async def renewed(before: set[str] = before) -> bool:
                return not await _serials(world) & before

            await eventually(renewed, what="every proxy has a new certificate")
            writer.write(f"{turn}\n".encode())
            async with asyncio.timeout(10):
                assert (await reader.readline()).endswith(f": {turn}\n".encode())
            count = len(answers)
            await eventually(lambda count=count: len(answers) > count + 10)  # type: ignore[misc]
    finally:
        stop.set()
        await asyncio.gather(*loads)
        writer.close()
    assert len(answers) > 30
    assert {one.error or str(one.status) for one in answers} <= {"200", "0"}
    assert not [one for one in answers if one.status == 0 and _by_tcp(one) != "west"]
    await world.connected()


async def _serials(world: World) -> set[str]:
    """The serial numbers of the certificates that proxies present: the first of each chain."""
    proxies = [proxy for mesh in world.meshes.values() for proxy in mesh.plane.control_plane.proxies.values()]
    found = set()
    for proxy in proxies:
        try:
            lines = (await proxy.ask("/certs")).splitlines()
        except OSError:
            continue  # its Pod is going
        chain = lines[next((i for i, line in enumerate(lines) if "cert_chain" in line), len(lines)) :]
        found |= {line.strip() for line in chain[:12] if "serial_number" in line}
    return found


async def test_strangers_do_not_reach_discovery(world: World) -> None:
    """Neither from its own mesh, nor from the other through the gateway, nor in plaintext; metrics stay open."""
    for mesh in (world.east, world.west):
        assert await plaintext(mesh) == ""
        assert await metrics(mesh) == ""
        assert await stranger(world.east, mesh.name) == ""
    await world.connected()
