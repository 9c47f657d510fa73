"""Meshes in memory that federate with one another: with several replicas, in both dialects, over ways that fail.

All in virtual time: a controller's API server is `tests.kube.memory`, and the calls between controllers never touch a
socket. Each mesh knows at any moment which imports nothing has happened to that may take them away: its ``firm`` ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from meshfed.api.v1alpha1 import ORIGIN_ANNOTATION
from meshfed.controller.remotes import session as sessions
from meshfed.controller.watches import NAMESPACES, SERVICES
from meshfed.fds import Target
from meshfed.fds.client import DiscoveryClient
from meshfed.fds.identity import XFCC
from meshfed.fds.messages import DELTA_TYPE, SOTW_TYPE
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.fds.transport import Bounds, StreamClosed
from meshfed.kube import KubeError, Manifest
from meshfed.plan import ImportKey
from meshfed.plan.keys import origin
from tests.builders import EXPORTED, RESOURCES, SYSTEM, host, mesh_federation, namespace, remote_mesh, service
from tests.controller.in_memory import Objects
from tests.controller.replicas import NOWHERE, Replica, new_cluster
from tests.controller.traps import RUNNING
from tests.fds.support import MemoryChannel
from tests.kube.memory import Place, failure

IMPORTS = (RESOURCES["ServiceEntry"], RESOURCES["WorkloadEntry"])
Spurious = Literal["nothing", "an empty list", "nonsense", "a wrong digest", "another type"]


def identity(name: str) -> str:
    """Who the controller of a mesh is."""
    return f"spiffe://cluster.local/ns/{SYSTEM}/sa/controller-{name}"


class Way:
    """The way from the controllers of one mesh to the discovery service of another."""

    def __init__(self, importer: MemoryMesh, exporter: MemoryMesh, dialect: Literal["delta", "sotw"]) -> None:
        self.down = False
        self.dialect = dialect
        self._importer = importer
        self._exporter = exporter
        self._channel: MemoryChannel | None = None

    @asynccontextmanager
    async def dial(self, target: Target, *, bounds: Bounds, timeout: float) -> AsyncIterator[Any]:
        """In the place of ``connect``."""
        del target, bounds, timeout
        if self.down or not self._exporter.replicas:
            raise ConnectionRefusedError(111, "refused")
        server = self._exporter.replicas[-1].publisher._server
        self._channel = MemoryChannel(server, {XFCC: f"URI={identity(self._importer.name)}"})
        yield self._channel

    def cut(self) -> None:
        """End the stream that there is."""
        if self._channel is not None and self._channel.calls:
            for side in (self._channel.calls[-1], self._channel.calls[-1].other):
                side.inbox.put_nowait(StreamClosed("cut"))

    def receive(self, what: Spurious) -> None:
        """Have the importer receive what the exporter did not mean to send."""
        if self._channel is None or not self._channel.calls or self._channel.calls[-1].ended.is_set():
            return
        delta = self.dialect == "delta"
        message = {
            "nothing": pb.DeltaDiscoveryResponse(type_url=DELTA_TYPE) if delta else pb.DiscoveryResponse(),
            # In our dialect nobody who failed sends that.
            "an empty list": pb.DeltaDiscoveryResponse() if delta else pb.DiscoveryResponse(type_url=SOTW_TYPE),
            "nonsense": None,
            "a wrong digest": pb.DeltaDiscoveryResponse(type_url=DELTA_TYPE, system_version_info="0" * 64)
            if delta
            else pb.DiscoveryResponse(),
            "another type": pb.DiscoveryResponse(type_url="other", version_info="1", nonce="1"),
        }[what]
        self._channel.calls[-1].other.inbox.put_nowait(b"\xff" if message is None else message.SerializeToString())


class Watched(Objects):
    """A cluster that tells of each change to the objects of imports, in the moment in which it is made."""

    changed_import: Callable[[], None] = staticmethod(lambda: None)

    def record(self, place: Place, new: Manifest | None) -> Manifest:
        stored = super().record(place, new)
        if place[0] in IMPORTS:
            self.changed_import()
        return stored


class MemoryMesh:
    """One mesh: its cluster, its replicas, and what of its imports is firm."""

    def __init__(self, name: str) -> None:
        self.name = name
        plain = new_cluster()
        self.cluster = Watched(served=plain.served, latency=0)
        for (resource, _, _), one in plain.objects.items():
            self.cluster.put(resource, one)
        self.cluster.changed_import = self._look
        self.replicas: list[Replica] = []
        self.lost: list[str] = []
        """What was gone at a moment at which it had no reason to be."""
        self.serves: dict[str, set[str]] = {}
        """By host, the meshes that serve it here, as it was when all was settled, and whom nothing has happened to."""
        self.cluster.put(NAMESPACES, namespace("default"))
        self.put(mesh_federation(name))

    def _look(self) -> None:
        gone = {one for one, by in self.serves.items() if by} - self.imported()
        if gone:
            self.lost.append(f"{self.name}: {sorted(gone)} at {asyncio.get_running_loop().time():g} s")

    def put(self, manifest: Manifest) -> None:
        self.cluster.put(RESOURCES[manifest["kind"]], manifest)

    def drop(self, kind: str, name: str, in_namespace: str) -> None:
        place = (RESOURCES[kind], in_namespace, name)
        if place in self.cluster.objects:
            self.cluster.remove(*place)

    # --- what its owner does

    def service(self, name: str, *, exported: bool) -> None:
        """Have a Service, exported or not."""
        one = service(name, exported=exported)
        one["metadata"].setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        self.put(one)

    def remote(self, other: MemoryMesh) -> None:
        """Have a RemoteMesh for another mesh, from which everything is imported."""
        if (RESOURCES["RemoteMesh"], SYSTEM, other.name) not in self.cluster.objects:
            place: dict[str, Any] = {"discovery": {"address": NOWHERE}, "identity": identity(other.name)}
            self.put(remote_mesh(other.name, import_={"merge": True}, **place))

    async def restart(self) -> None:
        """Kill all replicas, and start one."""
        await self.end()
        self.replicas = [Replica(self.cluster)]

    async def join(self) -> None:
        """Start one more."""
        self.replicas.append(Replica(self.cluster))

    async def kill(self, number: int) -> None:
        """Kill one; it does not let go of the lease."""
        await self.replicas.pop(number).kill()

    async def end(self) -> None:
        while self.replicas:
            await self.kill(0)

    def meddle(self, number: int) -> None:
        """Have somebody delete the object of an import: the ``number``-th, counted around."""
        places = sorted(place for place in self.cluster.objects if place[0] in IMPORTS)
        if places:
            one = places[number % len(places)]
            for key in [key for key in self.serves if origin(ImportKey(key)) == self._origin(one)]:
                del self.serves[key]
            self.cluster.remove(*one)

    def refuse(self, error: int) -> None:
        """Have the API refuse every second request so; none where it is 0."""
        count = iter(range(10**9))

        def refuses(_verb: str, _name: str) -> KubeError | None:
            return failure(error) if next(count) % 2 else None

        self.cluster.refuse = refuses if error else lambda _verb, _name: None

    # --- what it holds

    def exported(self) -> set[str]:
        """The hosts of the Services that its owner exports."""
        return {
            host(name)
            for (resource, _, name), one in self.cluster.objects.items()
            if resource == SERVICES and EXPORTED.items() <= (one["metadata"].get("labels") or {}).items()
        }

    def imported(self) -> set[str]:
        """The hosts that objects are there for."""
        found = {self._origin(place) for place in self.cluster.objects if place[0] in IMPORTS}
        return {host(name) for name in NAMES if origin(ImportKey(host(name))) in found}

    def recorded(self) -> set[tuple[str, str]]:
        """Host and remote of each FederatedService."""
        records = (one for (resource, _, _), one in self.cluster.objects.items() if resource.kind == "FederatedService")
        return {(one["spec"]["host"], one["spec"]["remote"]) for one in records}

    def _origin(self, place: Place) -> str:
        return str((self.cluster.objects[place]["metadata"].get("annotations") or {}).get(ORIGIN_ANNOTATION, ""))


NAMES = ("a", "b", "c")


class Federation:
    """Meshes, each of which imports from each other, by a way of its own."""

    def __init__(self, patch: pytest.MonkeyPatch, **dialects: Literal["delta", "sotw"]) -> None:
        """``dialects``: by the name of a mesh, how it is listened to."""
        self.meshes = {name: MemoryMesh(name) for name in dialects}
        self.ways = {
            (one.name, other.name): Way(one, other, dialects[other.name])
            for one in self.meshes.values()
            for other in self.meshes.values()
            if one is not other
        }
        patch.setattr(sessions, "DiscoveryClient", self._client)

    def _client(self, name: str, target: Target, sink: Any, **options: Any) -> DiscoveryClient:
        (importer,) = (mesh for mesh in self.meshes.values() if RUNNING.get() in mesh.replicas)
        way = self.ways[importer.name, name]
        return DiscoveryClient(name, target, sink, dialect=way.dialect, dial=way.dial, **options)

    async def begin(self) -> None:
        """Have a RemoteMesh for every way, and start a controller in each mesh."""
        for one, other in self.ways:
            self.meshes[one].remote(self.meshes[other])
        for mesh in self.meshes.values():
            await mesh.restart()

    def withdrawn(self, by: MemoryMesh, name: str) -> None:
        """Note that what this mesh exports by that name it may not any more."""
        for mesh in self.meshes.values():
            mesh.serves.get(host(name), set()).discard(by.name)

    async def kill(self, mesh: MemoryMesh, number: int) -> None:
        """Kill a replica, and with it the streams of its mesh."""
        for (_, exporter), way in self.ways.items():
            if exporter == mesh.name:
                way.cut()
        await mesh.kill(number)

    def settled(self) -> None:
        """Note who serves what now that all is settled."""
        for name, mesh in self.meshes.items():
            others = [other for other in self.meshes.values() if other is not mesh]
            hosts = set().union(*(other.exported() for other in others))
            mesh.serves = {one: {other.name for other in others if one in other.exported()} for one in hosts}
            assert mesh.imported() == hosts, f"{name} imports something else than what is exported to it"
            assert mesh.recorded() == {(one, other) for one, by in mesh.serves.items() for other in by}, name
