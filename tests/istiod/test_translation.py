"""What the sandbox's control plane tells proxies is what istiod tells them.

Two meshes that federate, with all that their controllers write; beside each runs a real istiod, which watches the same
API server. Skipped where ``ISTIOD`` names none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from meshfed.sandbox.dataplane.translate import configuration, names, read_mesh
from meshfed.sandbox.dataplane.translate.reading import KINDS
from tests.istiod.facts import Facts, differences, facts
from tests.istiod.istiod import Istiod, binary, crds, istiod
from tests.sandbox.dataplane.world import MeshWorld, World, eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(binary() is None, reason="ISTIOD names no pilot-discovery"),
]


class Compared:
    """A world, and an istiod for each of its meshes."""

    def __init__(self, world: World, istiods: dict[str, Istiod]) -> None:
        self.world = world
        self.istiods = istiods

    async def hold(self) -> None:
        """Wait until every proxy is told the same by both."""

        async def equal() -> bool:
            nonlocal found
            found = [line for mesh in self.world.meshes.values() for line in await self._differences(mesh)]
            return not found

        found: list[str] = []
        try:
            await eventually(equal)
        except AssertionError:
            raise AssertionError("\n".join(found)) from None

    async def _differences(self, mesh: MeshWorld) -> list[str]:
        plane = mesh.plane
        read = read_mesh(plane.settings, plane.watch.objects(KINDS))
        lines = []
        for pod in plane.node.pods.values():
            proxy = pod.proxy
            if proxy is None:
                continue
            told = await self.istiods[mesh.name].tells(proxy.identity)
            config = configuration(read, proxy.identity, proxy.files)
            ours = facts(config.clusters, list(config.endpoints.values()), config.listeners, list(config.routes.values()))
            theirs = facts(told["clusters"], told["endpoints"], told["listeners"], told["routes"])
            lines += [f"{mesh.name} {pod.name}: {line}" for line in differences(ours, theirs)]
        return lines


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def compared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Compared]:
    directory = tmp_path_factory.mktemp("world")
    async with World.up("east", "west", directory=directory) as world, AsyncExitStack() as stack:
        found = {}
        for mesh in world.meshes.values():
            await mesh.apply(*crds())
            found[mesh.name] = await stack.enter_async_context(
                istiod(mesh.plane.settings, mesh.kubeconfig, directory / f"istiod-{mesh.name}")
            )
        await world.east.bookinfo("productpage", "reviews", "details")
        await world.west.bookinfo("reviews", "ratings", "details")
        await world.federate()
        await world.settled()
        await world.connected()
        yield Compared(world, found)


async def test_before_anything_is_exported(compared: Compared) -> None:
    await compared.hold()


async def test_an_import_beside_a_local_service_and_one_without(compared: Compared) -> None:
    await compared.world.west.export("reviews.bookinfo", "ratings.bookinfo")
    await compared.hold()
