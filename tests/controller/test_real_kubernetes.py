"""A real kube-apiserver and its etcd are killed, restored and emptied under a controller that imports: nothing goes.

They run where ``KUBEBUILDER_ASSETS`` names a folder with both.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from meshfed.api.crds import all_crds
from meshfed.kube import Client, KubeError
from meshfed_sandbox.istio_crds import istio_crds
from tests.builders import RESOURCES, SYSTEM, host, mesh_federation, namespace, offer
from tests.controller.meshes import Mesh, istio_config
from tests.controller.remotes import Remote, remotes
from tests.real_server import RealServer, assets, real_server
from tests.waiting import eventually, meanwhile

FOUND = assets()
pytestmark = [
    pytest.mark.skipif(FOUND is None, reason="KUBEBUILDER_ASSETS names no folder with kube-apiserver and etcd"),
    pytest.mark.timeout(600),
]
WITHIN = 180.0
RECORDS = "{0.plural}.{0.group}".format(RESOURCES["FederatedService"])


class Importing:
    """A mesh on a real API server, with a controller that imports from a remote."""

    def __init__(self, server: RealServer, mesh: Mesh, west: Remote) -> None:
        self.server = server
        self.mesh = mesh
        self.west = west

    async def imported(self) -> dict[str, str]:
        """The hosts that are imported, each with the uid of its ServiceEntry."""
        found = await self.mesh.client.list(RESOURCES["ServiceEntry"], namespace=SYSTEM)
        named = {one["metadata"]["name"]: one["metadata"]["uid"] for one in found}
        return {name.removeprefix("import."): uid for name, uid in named.items() if name.startswith("import.")}

    async def holds(self, least: int = 0) -> bool:
        """Whether it is known what is imported, and that is what is offered, or at least so much."""
        try:
            found = await self.imported()
        except (KubeError, TimeoutError):
            return False
        return len(found) >= least if least else found.keys() == self.west.offers.keys()

    async def all_is_imported(self) -> None:
        await eventually(self.holds, within=WITHIN)

    @asynccontextmanager
    async def kept(self, hosts: set[str]) -> AsyncIterator[None]:
        """Fails where one of these imports is seen to be gone, or at the end to have been made anew."""
        before, lost = await self.imported(), set[str]()

        async def look() -> None:
            while True:
                with contextlib.suppress(KubeError, TimeoutError):
                    lost.update(hosts - (await self.imported()).keys())
                await asyncio.sleep(0.1)

        async with meanwhile(look()):
            yield
        after = await self.imported()
        assert lost == set()
        assert {one: after.get(one) for one in hosts} == {one: before[one] for one in hosts}

    async def do(self, *steps: Any) -> None:
        """Do things that block, one after the other."""
        for step in steps:
            await asyncio.to_thread(step)


@asynccontextmanager
async def importing(directory: Path, services: int) -> AsyncIterator[Importing]:
    """One that has been offered so many services, and has just begun to import them."""
    assert FOUND is not None
    async with contextlib.AsyncExitStack() as stack:
        server = stack.enter_context(real_server(FOUND, directory))
        (west,) = await stack.enter_async_context(remotes("west"))
        client = await stack.enter_async_context(Client(server.config()))
        mesh = Mesh("east", server, client, 0)  # type: ignore[arg-type] # only what it applies and runs is used
        for crd in [*all_crds(), *istio_crds()]:
            await client.create(RESOURCES["CustomResourceDefinition"], crd)
        west.offer(*(offer(f"s{number}") for number in range(services)))

        async def applied() -> bool:
            try:
                await mesh.apply(
                    namespace(SYSTEM), istio_config(SYSTEM), mesh_federation("east"), west.remote_mesh(import_={})
                )
            except KubeError:  # kinds are served a moment after they are defined
                return False
            return True

        await eventually(applied)
        stack.push_async_callback(mesh.stop)
        await mesh.start()
        yield Importing(server, mesh, west)


def compacted(server: RealServer) -> None:
    """Have etcd forget all but its last revision."""

    def ask(path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(f"{server.etcd_url}/v3/kv/{path}", data=json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    revision = ask("range", {"key": "AA==", "range_end": "AA==", "limit": 1})["header"]["revision"]
    ask("compaction", {"revision": revision, "physical": True})


async def test_both_are_killed_in_the_middle_of_an_import_and_the_history_is_compacted(tmp_path: Path) -> None:
    async with importing(tmp_path, 300) as east:
        await eventually(lambda: east.holds(40), within=WITHIN)
        begun = {*await east.imported()}
        async with east.kept(begun):
            await east.do(east.server.stop_server, east.server.start_server)
            await eventually(lambda: east.holds(len(begun) + 1), within=WITHIN)
            await east.do(east.server.stop_etcd)
            await asyncio.sleep(2)
            await east.do(east.server.start_etcd)
            await east.all_is_imported()
            await east.do(east.server.stop_server)
            east.west.offer(offer("later"))
            await east.do(lambda: compacted(east.server), east.server.start_server)
            await east.all_is_imported()
        assert len(await east.imported()) == 301


async def test_etcd_is_restored_from_a_backup_and_versions_go_back(tmp_path: Path) -> None:
    async with importing(tmp_path, 80) as east:
        await east.all_is_imported()
        await east.do(
            east.server.stop, lambda: shutil.copytree(east.server.data, tmp_path / "backup"), east.server.start
        )
        east.west.withdraw(*(host(f"s{number}") for number in range(10)))
        east.west.offer(*(offer(f"late{number}") for number in range(50)))
        await east.all_is_imported()
        async with east.kept({host(f"s{number}") for number in range(10, 80)}):
            await east.do(
                east.server.stop,
                lambda: shutil.rmtree(east.server.data),
                lambda: shutil.copytree(tmp_path / "backup", east.server.data),
                east.server.start,
            )
            await east.all_is_imported()
            await asyncio.sleep(10)  # and so it stays
            assert await east.holds()


async def test_the_definition_of_its_records_is_deleted_and_comes_back(tmp_path: Path) -> None:
    """With a definition go all of its objects: here, what the controller remembers of remotes."""
    async with importing(tmp_path, 60) as east:
        await east.all_is_imported()
        definitions, client = RESOURCES["CustomResourceDefinition"], east.mesh.client
        (crd,) = [one for one in all_crds() if one["metadata"]["name"] == RECORDS]

        async def defined() -> bool:
            try:
                await client.create(definitions, crd)
            except KubeError:  # the old one is on its way out
                return False
            return True

        async def recorded() -> bool:
            try:
                found = await client.list(RESOURCES["FederatedService"], namespace=SYSTEM)
            except KubeError:
                return False
            return {one["spec"]["host"] for one in found} == east.west.offers.keys()

        async with east.kept({*east.west.offers}):
            await client.delete(definitions, RECORDS)
            await asyncio.sleep(5)
            await eventually(defined, within=WITHIN)
            await eventually(recorded, within=WITHIN)
            await east.all_is_imported()
