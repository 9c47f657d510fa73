"""Meshes with roots and trust domains of their own, whose bundles are exchanged."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
import yaml

from meshfed_sandbox.dataplane.plane import Options, default_settings
from tests.e2e.probes import fronting, only, run
from tests.e2e.test_reachability import check_finds
from tests.sandbox.dataplane.world import MeshWorld, World
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORT = {"name": "http", "port": 8080}
ECHO, BOTH = "http://echo.bookinfo:8080/", "http://both.bookinfo:8080/"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """West takes clients of its own trust domain and of its alias, east's; east takes whoever has a certificate."""
    west = msgspec.structs.replace(
        default_settings("west", "federated"), skip_validate_trust_domain=False, trust_domain_aliases=("east.local",)
    )
    options = Options(trust="federated", meshes={"west": west})
    async with World.up("east", "west", directory=tmp_path_factory.mktemp("world"), options=options) as world:
        for mesh in world.meshes.values():
            await run(mesh, "caller", image="sleep", account="caller")
            for name in ("echo", "both") if mesh is world.west else ("both",):
                await run(mesh, name, image="echo", account=name, ports={"http": 8080})
                await mesh.apply(fronting(name, PORT, pods=name))
        await world.federate()
        await world.settled()
        await world.connected()
        await world.west.export("echo.bookinfo", "both.bookinfo")
        await world.east.until(ECHO, from_="caller", mesh="west")
        yield world


async def test_the_announced_identity_is_of_the_other_trust_domain(world: World) -> None:
    entry = await world.east.get("ServiceEntry", "import.echo.bookinfo.svc.cluster.local", "istio-system")
    assert entry is not None
    assert entry["spec"]["subjectAltNames"] == ["spiffe://west.local/ns/bookinfo/sa/echo"]
    answer = await world.east.until(ECHO, from_="caller", mesh="west")
    assert answer.caller == "spiffe://east.local/ns/bookinfo/sa/caller"


async def test_a_local_service_is_not_joined_across_trust_domains(world: World) -> None:
    """A WorkloadEntry can state identities of this trust domain alone, so none is written, and the offer says why."""
    name = "both.bookinfo.svc.cluster.local.west"

    async def said() -> str:
        return await world.east.condition("FederatedService", name, "Accepted")

    async def refused() -> bool:
        return (await said()).startswith("False IdentityMismatch")

    await eventually(refused)
    assert "spiffe://west.local/ns/bookinfo/sa/both" in await said()
    assert await world.east.list("WorkloadEntry", "bookinfo") == []
    assert set(await world.east.sample(BOTH, 20, from_="caller")) == {"east"}


async def test_with_an_alias_of_the_trust_domain_a_local_service_is_joined(world: World) -> None:
    """Istio then takes an identity of west's for the same account of this mesh's, and has clients accept both."""

    async def joined() -> list[str]:
        entries = await world.east.list("WorkloadEntry", "bookinfo")
        return [entry["spec"]["serviceAccount"] for entry in entries]

    async def by_both() -> bool:
        return await joined() == ["both"] and {*await world.east.sample(BOTH, 20, from_="caller")} == {"east", "west"}

    async def by_one() -> bool:
        return await joined() == [] and {*await world.east.sample(BOTH, 20, from_="caller")} == {"east"}

    await _configure(world.east, "west.local")
    await eventually(by_both, what="both meshes answer, and nobody is refused")
    await _configure(world.east)
    await eventually(by_one, what="without the alias nothing is joined")


async def test_under_an_alias_of_the_host_it_is_reached_all_the_same(world: World) -> None:
    """What the refusal of a local Service leaves: import it under another name."""
    alias = {
        "action": "Import",
        "hosts": ["both.bookinfo.svc.cluster.local"],
        "as": {"host": "{name}.{namespace}.svc.west.mesh"},
    }
    await world.east.remote(world.west, **{"import": {"merge": True, "rules": [alias, {"action": "Import"}]}})
    await world.east.until("http://both.bookinfo.svc.west.mesh:8080/", from_="caller", mesh="west")
    await world.east.remote(world.west)


async def test_an_alias_of_the_trust_domain_makes_policies_hold_for_both(world: World) -> None:
    """A principal of west's own trust domain stands for the same workload of east's, its alias."""
    await world.west.apply(only("west.local/ns/bookinfo/sa/nobody"))
    await world.east.until(ECHO, from_="caller", status=403)
    await world.west.apply(only("west.local/ns/bookinfo/sa/caller"))
    await world.east.until(ECHO, from_="caller", mesh="west")
    await world.west.delete("AuthorizationPolicy", "echo")


async def test_without_the_alias_sidecars_refuse_the_other_trust_domain(world: World) -> None:
    """As istiod has it, whatever bundles were exchanged. Discovery is refused with everything else, and says so."""
    plane = world.west.plane.control_plane
    before = plane.settings
    plane.settings = msgspec.structs.replace(before, trust_domain_aliases=())
    await _touch(world.west)
    await world.east.until(ECHO, from_="caller", status=503)
    world.east.plane.pod("istio-system", "federation-controller").crash()  # streams that are open stay so

    async def said() -> bool:
        return (await world.east.condition("RemoteMesh", "west", "Connected")).startswith("False Unreachable")

    await eventually(said, what="east says that west is not reached")
    await check_finds(world.east, "remotes/connected")
    plane.settings = before
    await _touch(world.west)
    await world.east.until(ECHO, from_="caller", mesh="west")
    await world.connected()


async def _configure(mesh: MeshWorld, *aliases: str) -> None:
    """Give a mesh these aliases of its trust domain; its controller reads that as it starts."""
    plane = mesh.plane.control_plane
    plane.settings = msgspec.structs.replace(plane.settings, trust_domain_aliases=aliases)
    data = {"mesh": yaml.safe_dump(plane.settings.mesh_config)}
    await mesh.patch("ConfigMap", "istio", {"data": data}, "istio-system")
    mesh.plane.pod("istio-system", "federation-controller").crash()
    await _touch(mesh)


async def _touch(mesh: MeshWorld) -> None:
    """Have the control plane look at everything again."""
    await mesh.patch("Service", "both", {"metadata": {"labels": {"looked": "again"}}})
    await mesh.patch("Service", "both", {"metadata": {"labels": {"looked": None}}})
    await mesh.plane.settled()
