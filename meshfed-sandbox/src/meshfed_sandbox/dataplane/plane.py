"""The data plane of a sandbox: in each mesh a node that runs Pods, and a control plane that tells their proxies."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import msgspec

from meshfed.kube import Client, PatchType, discover, load_kubeconfig
from meshfed_sandbox.dataplane import workloads
from meshfed_sandbox.dataplane.addresses import Addresses
from meshfed_sandbox.dataplane.controllers import Controllers
from meshfed_sandbox.dataplane.dns import Resolver
from meshfed_sandbox.dataplane.installation import installation
from meshfed_sandbox.dataplane.istiod import ControlPlane, Problem
from meshfed_sandbox.dataplane.network import PodLoop
from meshfed_sandbox.dataplane.node import Node
from meshfed_sandbox.dataplane.pods import Pod, Surroundings
from meshfed_sandbox.dataplane.router import Router, https_port
from meshfed_sandbox.dataplane.routing import Routing
from meshfed_sandbox.dataplane.trust import Mode, Trust
from meshfed_sandbox.dataplane.values import MeshSettings
from meshfed_sandbox.dataplane.watch import NODE, Watch

JSONObject = dict[str, Any]

_log = logging.getLogger(__name__)
_DNS_PORT: Final = 53053
_NAMED: Final = ("Service", "EndpointSlice")
_LONGEST_ROOT: Final = 40
"""What the path of a Unix socket, at most 107 bytes, leaves: a folder, the longest mesh's name and a number follow."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the meshes of a data plane are installed with.

    ``meshes`` are the settings of those that are to differ from ``default_settings``. ``lifetime`` is how long
    workloads' certificates are valid; they are renewed at half of it. ``routers`` are the meshes that have an OpenShift
    router, which takes an HAProxy on this machine. ``drain`` is how long a Pod that ends goes on serving once no proxy
    sends it anything new: Istio's ``terminationDrainDuration``, which is 5 s there.
    """

    trust: Mode = "shared"
    lifetime: timedelta = timedelta(hours=1)
    meshes: Mapping[str, MeshSettings] = {}
    routers: frozenset[str] = frozenset()
    drain: timedelta = timedelta(seconds=0.5)


def _socket_root() -> str:
    """The folder for temporary files, or where its path is too long for sockets, ``/tmp``."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) <= _LONGEST_ROOT else "/tmp"  # noqa: S108 - a folder of its own is made there


def default_settings(mesh: str, trust: Mode = "shared") -> MeshSettings:
    """A mesh's settings where nothing is said: a network of its own, and under a root of its own a trust domain too.

    Meshes under one root share Istio's usual trust domain, as their guides have it. Where trust domains differ,
    sidecars leave it to the certificates whom they believe.
    """
    if trust == "shared":
        return MeshSettings(name=mesh, network=f"{mesh}-network")
    return MeshSettings(
        name=mesh, network=f"{mesh}-network", trust_domain=f"{mesh}.local", skip_validate_trust_domain=True
    )


class Mesh:
    """One mesh of the data plane, while it runs."""

    def __init__(
        self,
        settings: MeshSettings,
        *,
        node: Node,
        control_plane: ControlPlane,
        watch: Watch,
        client: Client,
        router: Router | None,
    ) -> None:
        self.router = router
        self.settings = settings
        self._client = client
        self.node = node
        self.control_plane = control_plane
        self.watch = watch

    @property
    def name(self) -> str:
        """The mesh's name."""
        return self.settings.name

    def pod(self, namespace: str, of: str) -> Pod:
        """A Pod by its name, or by that of its workload; ``LookupError`` where there is none."""
        return self.node.pod(namespace, of)

    async def install(self) -> None:
        """Install what a mesh has that is ready to federate; see ``installation``."""
        served = await discover(self._client)
        for manifest in installation(self.settings):
            resource = served.find(manifest["apiVersion"].rpartition("/")[0], manifest["kind"])
            if resource is None:
                raise LookupError(f"mesh {self.name} serves no {manifest['kind']}")
            name, namespace = manifest["metadata"]["name"], manifest["metadata"].get("namespace")
            await self._client.patch(
                resource, name, manifest, namespace=namespace, patch_type=PatchType.APPLY, force=True
            )

    async def settled(self) -> None:
        """Wait until every Deployment has the Pods it asks for, all are ready, and every proxy is up to date.

        That is, with all that the API server held when this was called.
        """
        while True:
            await self.watch.caught_up()
            await self.control_plane.settled()
            if all(self._complete(one) for one in self.watch.all("Deployment")):
                await self.control_plane.settled()
                return
            await asyncio.sleep(0.05)

    def _complete(self, deployment: JSONObject) -> bool:
        status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
        observed = status.get("observedGeneration") == deployment["metadata"].get("generation")
        counts = {status.get(key) for key in ("replicas", "updatedReplicas", "readyReplicas")}
        return observed and counts == {wanted}

    def unsettled(self) -> list[str]:
        """What ``settled`` would wait for, for people: a line for each Pod that is not ready, and why."""
        return [
            f"{self.name}: Pod {pod.namespace}/{pod.name}: {pod.complaint}"
            for pod in self.node.pods.values()
            if not pod.ready
        ]


class DataPlane:
    """Runs the Pods of the meshes behind ``kubeconfigs``; an async context manager, on a ``PodLoop``.

    What runs writes into ``directory``: one folder for each mesh, in it one for each Pod with its logs and its proxy's
    configuration. ``problems`` has what befell proxies, and what they could not be told.

    Raises:
        RuntimeError: the event loop is not a ``PodLoop``.
        AddressesExhausted: this machine has no loopback left for another mesh.
        RouterUnavailable: a mesh is to have a router, and there is no HAProxy.
    """

    def __init__(
        self,
        kubeconfigs: Mapping[str, Path],
        *,
        directory: Path,
        options: Options | None = None,
    ) -> None:
        options = options or Options()
        self._settings = {
            mesh: options.meshes.get(mesh) or default_settings(mesh, options.trust) for mesh in kubeconfigs
        }
        self._routers = options.routers
        self._drain_seconds = options.drain.total_seconds()
        self._kubeconfigs = kubeconfigs
        self._directory = directory
        self.heard: Callable[[Problem], None] = lambda found: _log.warning("%s", found)
        """What is called with each problem as it arises."""
        self.trust = Trust(
            {mesh: settings.trust_domain for mesh, settings in self._settings.items()},
            mode=options.trust,
            lifetime=options.lifetime,
        )
        self.problems: list[Problem] = []
        self.names: dict[str, tuple[str, ...]] = {}
        """DNS names outside of all meshes, lower case without a trailing dot, and their addresses."""
        self.meshes: dict[str, Mesh] = {}
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if not isinstance(asyncio.get_running_loop(), PodLoop):
            raise RuntimeError("the data plane runs on a PodLoop alone: asyncio.Runner(loop_factory=PodLoop)")  # noqa: TRY004
        async with AsyncExitStack() as stack:
            sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="meshfed-", dir=_socket_root())))
            for mesh in self._settings:
                await self._start(mesh, sockets, stack)
            self._exit = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._exit.aclose()

    async def _start(self, mesh: str, sockets: Path, stack: AsyncExitStack) -> None:
        settings = self._settings[mesh]
        config = load_kubeconfig(str(self._kubeconfigs[mesh]), None, {})
        client = await stack.enter_async_context(Client(config, field_manager="sandbox"))
        addresses = stack.enter_context(Addresses())
        await client.create(NODE, workloads.node())
        watch = Watch(client)

        def outside() -> Mapping[str, tuple[str, ...]]:
            return {**workloads.cluster_names(watch.objects(_NAMED), settings.cluster_domain), **self.names}

        resolver = Resolver(outside, cluster_domain=settings.cluster_domain)
        name_server = (addresses.name_server, _DNS_PORT)
        await stack.enter_async_context(resolver.serving(*name_server))
        control_plane = ControlPlane(
            settings,
            client=client,
            watch=watch,
            trust=self.trust,
            sockets=sockets,
            outside=outside,
            problem=self._note,
        )
        # The containers' own: people change the current context of theirs.
        kubeconfig = sockets / f"{mesh}.kubeconfig"
        shutil.copy(self._kubeconfigs[mesh], kubeconfig)
        server = urlsplit(config.server)
        around = Surroundings(
            mesh=mesh,
            cluster_domain=settings.cluster_domain,
            client=client,
            control_plane=control_plane,
            addresses=addresses,
            resolver=name_server,
            api_server=(server.hostname or "", server.port or 80),
            kubeconfig=kubeconfig,
            directory=(self._directory / mesh).absolute(),
            drain_seconds=self._drain_seconds,
        )
        node = Node(watch, around)
        router = None
        parts = []
        if mesh in self._routers:
            name = f"router-default.apps.{mesh}.example.com"
            self.names[name] = (addresses.router,)
            router = Router(addresses.router, https_port(addresses.router), canonical=name)
            await stack.enter_async_context(router)
            complain = partial(control_plane.complain, "openshift-ingress", "router")
            parts.append(Routing(client, watch, router, complain).run())
        controllers = Controllers(client, watch, settings, roots="".join(self.trust.bundles(mesh).values()))
        parts += [watch.run(), control_plane.run(), controllers.run(), node.run()]
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        for part in parts:
            stack.callback(tasks.create_task(part).cancel)
        self.meshes[mesh] = Mesh(
            settings, node=node, control_plane=control_plane, watch=watch, client=client, router=router
        )

    def _note(self, found: Problem) -> None:
        self.problems.append(found)
        self.heard(found)

    async def settled(self) -> None:
        """Wait until all meshes are: every Deployment has its Pods, all ready, and every proxy is up to date."""
        for mesh in self.meshes.values():
            await mesh.settled()
