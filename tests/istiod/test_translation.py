"""What the sandbox's control plane tells proxies is what istiod tells them.

Two meshes that federate, with all that their controllers write; beside each runs a real istiod, which watches the same
API server. Skipped where ``ISTIOD`` names none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from meshfed.sandbox.dataplane.plane import Options, default_settings
from meshfed.sandbox.dataplane.translate import configuration, names, read_mesh
from meshfed.sandbox.dataplane.translate.reading import KINDS
from tests.e2e.probes import EXPORTS, PORTS, bring, run, service
from tests.e2e.support import needs_haproxy
from tests.istiod.facts import differences, facts, resolved
from tests.istiod.istiod import Istiod, binary, crds, istiod
from tests.sandbox.dataplane.world import MeshWorld, World, eventually

JSONObject = dict[str, Any]

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(binary() is None, reason="ISTIOD names no pilot-discovery"),
]


class Compared:
    """A world, and an istiod for each of its meshes."""

    def __init__(self, world: World, istiods: dict[str, Istiod]) -> None:
        self.world = world
        self.istiods = istiods

    async def hold(self, state: str) -> None:
        """Wait until every proxy is told the same by both; ``state`` is what the meshes are in."""

        async def equal() -> bool:
            nonlocal found
            found = [line for mesh in self.world.meshes.values() for line in await self._differences(mesh)]
            return not found

        found: list[str] = []
        try:
            await eventually(equal)
        except AssertionError:
            raise AssertionError("\n".join([f"{state}:", *found])) from None

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
            ours = facts(
                config.clusters, list(config.endpoints.values()), config.listeners, list(config.routes.values())
            )
            theirs = facts(told["clusters"], told["endpoints"], told["listeners"], told["routes"])
            if proxy.identity.dns_port:
                ours["names"] = resolved(names(read, proxy.identity))
                theirs["names"] = resolved({name: each["ips"] for name, each in told["names"][0]["table"].items()})
            lines += [f"{mesh.name} {pod.name}: {line}" for line in differences(ours, theirs)]
        return lines


@asynccontextmanager
async def compared(directory: Path, *meshes: str, options: Options | None = None) -> AsyncIterator[Compared]:
    """Meshes with an istiod each."""
    async with World.up(*meshes, directory=directory, options=options) as world, AsyncExitStack() as stack:
        found = {}
        for mesh in world.meshes.values():
            await mesh.apply(*crds())
            found[mesh.name] = await stack.enter_async_context(
                istiod(mesh.plane.settings, mesh.kubeconfig, directory / f"istiod-{mesh.name}")
            )
        yield Compared(world, found)


IMPORT = {"merge": True, "allowTCP": True}


async def test_two_meshes(tmp_path: Path) -> None:
    """Each state is compared in each proxy of both: gateways, controllers, callers, and those who answer."""
    async with compared(tmp_path, "east", "west") as both:
        world = both.world
        east, west = world.east, world.west
        await bring(east, west)
        await world.federate(**{"import": IMPORT})
        await world.settled()
        await world.connected()
        await both.hold("nothing is exported")

        await west.export(*EXPORTS)
        await both.hold("imports beside local Services and without")

        await west.unexport("both.bookinfo")
        await both.hold("an export less")


