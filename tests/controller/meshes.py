"""Meshes for integration tests: each with an embedded API server, and a controller that can be killed and started.

Everything is real but the network between the meshes, which is the loopback: the controllers speak gRPC to each
other, and HTTP to their API servers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from meshfed.api.crds import all_crds
from meshfed.controller.controller import Controller
from meshfed.controller.options import Address, Fixed, Options
from meshfed.kube import (
    Client,
    ClusterConfig,
    Elector,
    LeaseTiming,
    Manifest,
    NotFound,
    PatchType,
    process_identity,
)
from meshfed.telemetry.metrics import Metrics
from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.istio_crds import istio_crds
from meshfed_sandbox.ports import Ports
from tests.builders import (
    GATEWAY,
    RESOURCES,
    SYSTEM,
    config_map,
    mesh_federation,
    namespace,
    pod,
    port,
    remote_mesh,
    service,
)
from tests.waiting import eventually

WRITTEN = (
    "gateways.networking.istio.io",
    "serviceentries",
    "workloadentries",
    "destinationrules",
    "envoyfilters",
    "routes",
    "peerauthentications",
    "authorizationpolicies",
    "federatedservices",
)
"""What controllers write."""


class Mesh:
    """One mesh: its API server, and its controller while that runs."""

    def __init__(self, name: str, server: APIServer, client: Client, port: int, *, namespace: str = SYSTEM) -> None:
        self.name = name
        self.namespace = namespace
        self.server = server
        self.client = client
        self.metrics = Metrics()
        self.discovery_port = port
        self.controller: Controller | None = None
        self.dns: dict[str, tuple[str, ...]] = {}
        """What its resolver answers."""
        self.identity = ""
        """Its name in the election, where there is one."""
        self.way = client.config
        """How its controller reaches the API server."""
        self._task: asyncio.Task[None] | None = None
        self._clients: contextlib.AsyncExitStack | None = None

    async def start(
        self,
        *,
        fixed: Fixed | None = None,
        metrics_port: int = 0,
        read_pods: bool = True,
        adopt_reference: bool = False,
        election: LeaseTiming | None = None,
    ) -> None:
        """Start the controller, as a new process would: with nothing in memory."""
        self.metrics = Metrics()
        self._clients = contextlib.AsyncExitStack()
        client = await self._clients.enter_async_context(Client(self.way, metrics=self.metrics))
        options = Options(
            namespace=self.namespace,
            discovery=Address("127.0.0.1", self.discovery_port),
            metrics=Address("127.0.0.1", metrics_port),
            health=Address("", 0),
            allow_unauthenticated_peers=True,
            read_pods=read_pods,
            adopt_reference=adopt_reference,
            fixed=fixed,
        )
        elector = None
        if election is not None:
            apart = await self._clients.enter_async_context(Client(self.way, metrics=self.metrics))
            self.identity = process_identity()
            elector = Elector(
                apart, namespace=self.namespace, name="meshfed-controller", identity=self.identity, timing=election
            )
        self.controller = Controller(client, options, self.metrics, lookup=self._lookup, elector=elector)
        self._task = asyncio.create_task(self.controller.run(), name=f"controller {self.name}")

    async def ready(self) -> None:
        """Wait until the controller is ready."""
        await eventually(lambda: self.controller is not None and self.controller.not_ready_reason is None)

    async def stop(self) -> None:
        """End the controller at once; it cleans nothing up, as a killed process would not."""
        task, self._task, self.controller = self._task, None, None
        if task is not None:
            if task.done() and not task.cancelled():
                task.result()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._clients is not None:
            await self._clients.aclose()
            self._clients = None

    async def _lookup(self, name: str) -> tuple[str, ...]:
        if name not in self.dns:
            raise OSError(f"no such host: {name}")
        return self.dns[name]

    def remote_mesh(self, **spec: Any) -> Manifest:
        """The RemoteMesh that others have of it."""
        address = f"192.0.2.{10 + sum(map(ord, self.name)) % 200}"
        return remote_mesh_at(self.name, self.discovery_port, **{"addresses": [address], **spec})

    # --- what its owner does

    async def apply(self, *manifests: Manifest) -> None:
        """Create the objects, or replace what of them is there."""
        for manifest in manifests:
            resource = RESOURCES[manifest["kind"]]
            await self.client.patch(
                resource,
                manifest["metadata"]["name"],
                manifest,
                namespace=manifest["metadata"].get("namespace"),
                patch_type=PatchType.APPLY,
                force=True,
            )

    async def label(self, service: str, **labels: str | None) -> None:
        """Set labels of a Service in ``default``; ``None`` takes one off."""
        named = {key.replace("_", "-"): value for key, value in labels.items()}
        await self.patch("Service", service, {"metadata": {"labels": named}}, namespace="default")

    async def patch(self, kind: str, name: str, patch: Mapping[str, Any], *, namespace: str = SYSTEM) -> None:
        """Merge-patch an object."""
        await self.client.patch(RESOURCES[kind], name, patch, namespace=namespace)

    async def delete(self, kind: str, name: str, *, namespace: str = SYSTEM) -> None:
        """Delete an object that may be gone already."""
        with contextlib.suppress(NotFound):
            await self.client.delete(RESOURCES[kind], name, namespace=namespace)

    # --- what it holds

    def all_of(self, kind: str) -> list[Manifest]:
        """Every object of a kind."""
        resource = RESOURCES[kind]
        return self.server.snapshot(f"{resource.plural}.{resource.group}" if resource.group else resource.plural)

    def all(self, kind: str) -> dict[str, Manifest]:
        """Every object of a kind, by name."""
        return {found["metadata"]["name"]: found for found in self.all_of(kind)}

    def written(self) -> dict[tuple[str, str], Any]:
        """The content of everything controllers write, by kind and name."""
        return {(found["kind"], found["metadata"]["name"]): found["spec"] for found in self.server.snapshot(*WRITTEN)}

    def identities(self, *kinds: str) -> set[tuple[str, str, str]]:
        """Kind, name and uid of everything of some kinds: equal only where nothing was made anew."""
        return {(kind, name, found["metadata"]["uid"]) for kind in kinds for name, found in self.all(kind).items()}

    def exported(self) -> list[str]:
        """The hosts on its gateways, without the discovery service's."""
        hosts = [
            host
            for gateway in self.all("Gateway").values()
            for server in gateway["spec"]["servers"]
            for host in server["hosts"]
        ]
        return sorted(host for host in hosts if not host.startswith("federation-discovery-service-"))

    def imported(self) -> list[str]:
        """The hosts that have a ServiceEntry, without the discovery services'."""
        hosts = [host for entry in self.all("ServiceEntry").values() for host in entry["spec"]["hosts"]]
        return sorted(host for host in hosts if not host.startswith("federation-discovery-service-"))

    def merged(self) -> list[tuple[str, str]]:
        """Namespace of each WorkloadEntry and the ``app`` it joins."""
        return sorted(
            (entry["metadata"]["namespace"], entry["spec"]["labels"]["app"])
            for entry in self.all("WorkloadEntry").values()
        )

    def condition(self, kind: str, name: str, condition: str) -> tuple[str, str]:
        """Status and reason of a condition; empty where there is none."""
        found = self.all(kind).get(name, {})
        for one in found.get("status", {}).get("conditions", []):
            if one["type"] == condition:
                return one["status"], one["reason"]
        return "", ""

    @property
    def writes(self) -> int:
        """How many changes its API server has stored, but for Leases, which are always renewed."""
        counters = self.server.counters
        leases = (counters.requests[verb, "leases.coordination.k8s.io"] for verb in ("create", "update", "delete"))
        return counters.writes - sum(leases)


def remote_mesh_at(name: str, port: int, /, *, namespace: str = SYSTEM, **spec: Any) -> Manifest:
    """The RemoteMesh of a remote whose discovery is on ``port`` of the loopback, all of whose offers are merged."""
    plain = {
        "identity": f"spiffe://cluster.local/ns/{SYSTEM}/sa/controller-{name}",
        "discovery": {"address": f"127.0.0.1:{port}"},
        "import_": {"merge": True},
    }
    return remote_mesh(name, namespace=namespace, **(plain | spec))


async def with_gateway(mesh: Mesh) -> None:
    """Put up an ingress gateway for `mesh_federation`: its Service, which has an address, and a pod that is ready."""
    ports = [port(15443, "tls-passthrough")]
    await mesh.apply(
        service(f"gateway.{SYSTEM}", selector=GATEWAY, ports=ports, externalIPs=["192.0.2.1"]),
        pod(f"gateway-1.{SYSTEM}", labels=GATEWAY),
    )
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    await mesh.client.patch_status(RESOURCES["Pod"], "gateway-1", ready, namespace=SYSTEM)


def istio_config(namespace: str) -> Manifest:
    """The ConfigMap with Istio's configuration of a mesh, beside its control plane, as its chart makes it."""
    return config_map("istio", namespace=namespace, mesh=f"rootNamespace: {namespace}\n")


@asynccontextmanager
async def meshes(*names: str) -> AsyncIterator[list[Mesh]]:
    """Meshes without controllers yet, each with the namespace of its control plane and Istio's configuration there."""
    async with contextlib.AsyncExitStack() as stack:
        ports = stack.enter_context(Ports())
        found: list[Mesh] = []
        for name in names:
            server = await stack.enter_async_context(APIServer(crds=[*all_crds(), *istio_crds()]))
            client = await stack.enter_async_context(Client(ClusterConfig(server=server.url)))
            mesh = Mesh(name, server, client, ports.take())
            stack.push_async_callback(mesh.stop)
            await mesh.apply(namespace(SYSTEM), istio_config(SYSTEM))
            found.append(mesh)
        yield found


@asynccontextmanager
async def federated(*names: str, services: Mapping[str, Sequence[Manifest]]) -> AsyncIterator[list[Mesh]]:
    """Meshes that are all federated with one another, with ``services`` in them, connected and in sync."""
    async with meshes(*names) as found:
        for mesh in found:
            await mesh.apply(*services.get(mesh.name, ()), mesh_federation(mesh.name))
            await mesh.apply(*(other.remote_mesh() for other in found if other is not mesh))
            await mesh.start()
        for mesh in found:
            await synced(mesh, *(other for other in found if other is not mesh))
        yield found


class Named(Protocol):
    """A remote, whatever it is made of."""

    name: str


async def synced(mesh: Mesh, *others: Named) -> None:
    """Wait until ``mesh`` has heard all that ``others`` offer."""
    for other in others:
        await eventually(
            lambda other=other: mesh.condition("RemoteMesh", other.name, "Synced")[0] == "True",  # type: ignore[misc]
            f"{mesh.name} is not in sync with {other.name}",
        )
