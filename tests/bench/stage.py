"""Where `make bench` measures: two API servers, each a process, and a controller beside each.

Nothing runs in the meshes, so controllers do not probe (`--no-probe`); they meet on the loopback, without sidecars.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import yaml

from meshfed.api.crds import all_crds
from meshfed.cli.exits import NotHeld
from meshfed.kube import AlreadyExists, Client, Manifest, NotFound, load_kubeconfig
from meshfed_sandbox.demo.controllers import ControllerProcess, StepFailed
from meshfed_sandbox.istio_crds import istio_crds
from meshfed_sandbox.ports import Ports
from tests.builders import RESOURCES, SYSTEM, config_map, mesh_federation, namespace, remote_mesh
from tests.real_server import TOKEN, real_server

Servers = Literal["sandbox", "kube-apiserver"]
MESHES = ("west", "east")
"""The one that exports, and the one that imports."""


class Stage:
    """Both meshes, with a MeshFederation in each and a controller that runs; west publishes to east."""

    def __init__(
        self, kubeconfigs: Mapping[str, Path], controllers: Mapping[str, ControllerProcess], client: Client
    ) -> None:
        self.kubeconfigs = kubeconfigs
        self.exporter, self.importer = (controllers[mesh] for mesh in MESHES)
        self._client = client

    @property
    def pids(self) -> tuple[int, int]:
        """The two processes."""
        return self.exporter.pid, self.importer.pid

    async def link(self) -> None:
        """Have east import from west."""
        address = f"127.0.0.1:{self.exporter.discovery_port}"
        policy = {"merge": True, "limit": 100_000}
        made = remote_mesh("west", discovery={"address": address}, import_=policy)
        await self._client.create(RESOURCES["RemoteMesh"], made)

    async def unlink(self) -> None:
        """Have it do so no more, and wait until all that it had caused is gone."""
        resource = RESOURCES["RemoteMesh"]
        with contextlib.suppress(NotFound):
            await self._client.delete(resource, "west", namespace=SYSTEM)
            while True:
                await self._client.get(resource, "west", namespace=SYSTEM)
                await asyncio.sleep(0.1)

    async def synced(self) -> None:
        """Wait until east has heard all that west offers."""
        async with asyncio.timeout(60):
            while True:
                found = await self._client.get(RESOURCES["RemoteMesh"], "west", namespace=SYSTEM)
                conditions = (found.get("status") or {}).get("conditions") or ()
                if any(one["type"] == "Synced" and one["status"] == "True" for one in conditions):
                    return
                await asyncio.sleep(0.1)

    async def ready(self) -> None:
        """Wait until the importer is ready, and look often."""
        with contextlib.suppress(StepFailed):
            await self.importer.ready()

    async def listed(self) -> list[str]:
        """The resources that the importer listed since it started, as `tests.bench.lists` takes them."""
        found = []
        for verb, resource in await self._requests():
            kinds = [one for one in RESOURCES.values() if str(one) == resource]
            found += [f"{one.group}/{one.version}/{one.plural}/{one.kind}" for one in kinds if verb == "list"]
        return found

    async def writes(self) -> int:
        """The objects that the importer created, replaced or deleted since it started; not Leases, Events, statuses."""
        counted = await self._requests()
        return sum(
            number
            for (verb, resource), number in counted.items()
            if verb in {"create", "update", "delete"} and not resource.startswith(("leases", "events"))
        )

    async def _requests(self) -> dict[tuple[str, str], int]:
        import aiohttp

        async with aiohttp.ClientSession() as session, session.get(f"{self.importer.url('metrics')}/metrics") as answer:
            text = await answer.text()
        found: dict[tuple[str, str], int] = {}
        pattern = r'^meshfed_kube_requests_total\{resource="([^"]+)",status="20[01]",verb="([^"]+)"\} (\S+)$'
        for resource, verb, number in re.findall(pattern, text, re.MULTILINE):
            found[verb, resource] = int(float(number))
        return found

    async def bare_lists(self) -> float:
        """The seconds that a bare process takes to start and to list what the importer lists."""
        loop = asyncio.get_running_loop()
        listed = await self.listed()
        began = loop.time()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.bench.lists",
            str(self.kubeconfigs["east"]),
            *listed,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            if process.stdout is None or await process.stdout.readline() != b"listed\n":
                raise NotHeld("the bare lists, which are the floor of a restart, failed")
            return loop.time() - began
        finally:
            await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    await process.wait()


@asynccontextmanager
async def _sandbox(mesh: str, directory: Path) -> AsyncIterator[Path]:
    """A sandbox of one mesh, in a process of its own as the API server of a cluster is."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "meshfed",
        "sandbox",
        f"--meshes={mesh}",
        f"--dir={directory / mesh}",
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        while process.stdout is not None and (line := await process.stdout.readline()) != b"ready\n":
            if not line:
                raise NotHeld(f"the sandbox of {mesh} ended")
        yield directory / mesh / f"{mesh}.kubeconfig"
    finally:
        await _ended(process)


@asynccontextmanager
async def _real(mesh: str, directory: Path, binaries: Path) -> AsyncIterator[Path]:
    """A kube-apiserver with an etcd of its own."""
    place = directory / mesh
    place.mkdir()
    with contextlib.ExitStack() as stack:
        server = await asyncio.to_thread(stack.enter_context, real_server(binaries, place))
        path = place / f"{mesh}.kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": mesh, "cluster": {"server": server.url, "certificate-authority": str(server.ca)}}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": mesh, "context": {"cluster": mesh, "user": "admin"}}],
            "current-context": mesh,
        }
        path.write_text(yaml.safe_dump(config))
        async with Client(load_kubeconfig(str(path), None, {})) as client:
            await _defined(client)
        yield path


async def _defined(client: Client) -> None:
    """Put the CRDs in place, and wait until they are served."""
    crds = [*istio_crds(), *all_crds()]
    for crd in crds:
        with contextlib.suppress(AlreadyExists):
            await client.create(RESOURCES["CustomResourceDefinition"], crd)
    async with asyncio.timeout(60):
        while True:
            found = await client.list(RESOURCES["CustomResourceDefinition"])
            if sum(_established(one) for one in found) >= len({crd["metadata"]["name"] for crd in crds}):
                return
            await asyncio.sleep(0.1)


def _established(crd: Manifest) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


@asynccontextmanager
async def staged(servers: Servers, directory: Path, binaries: Path | None) -> AsyncIterator[Stage]:
    """Bring everything up; all of it ends with the context."""
    async with contextlib.AsyncExitStack() as stack:
        ports = stack.enter_context(Ports())
        kubeconfigs: dict[str, Path] = {}
        controllers: dict[str, ControllerProcess] = {}
        for mesh in MESHES:
            server = _sandbox(mesh, directory) if binaries is None else _real(mesh, directory, binaries)
            kubeconfigs[mesh] = await stack.enter_async_context(server)
        clients = {
            mesh: await stack.enter_async_context(Client(load_kubeconfig(str(path), None, {})))
            for mesh, path in kubeconfigs.items()
        }
        for mesh, client in clients.items():
            for one in (namespace(SYSTEM), config_map("istio", namespace=SYSTEM, mesh=""), mesh_federation(mesh)):
                await client.create(RESOURCES[one["kind"]], one)
            log = directory / f"{mesh}-controller.log"
            controllers[mesh] = ControllerProcess(mesh, kubeconfigs[mesh], log, ports, flags=["--no-probe"])
            stack.push_async_callback(controllers[mesh].stop)
        await clients["west"].create(RESOURCES["RemoteMesh"], remote_mesh("east", import_=None))
        for controller in controllers.values():
            await controller.start()
        for controller in controllers.values():
            await controller.ready()
        yield Stage(kubeconfigs, controllers, clients["east"])
