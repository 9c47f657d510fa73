"""What churn changes in a mesh, and what it knows of it: each change leaves well what clients call.

Who takes a pod away first waits until those before are as they are to be; so no change meets another half done.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

import msgspec

from meshfed_sandbox.dataplane import installation
from tests.builders import EXPORTED
from tests.e2e.probes import PORTS, fronting, run
from tests.sandbox.dataplane.world import NAMESPACE, JSONObject, MeshWorld, World
from tests.waiting import eventually

MESHES: Final = ("east", "west", "north")
_ENDED: Final = ("west", "north")
"""The meshes whose controllers are ended; that of the other has time to grow by what it keeps."""
SYSTEM: Final = "istio-system"
IMPORT: Final = {"merge": True, "allowTCP": True}
SETTLING: Final = 40.0
"""Seconds for which a condition may speak of what was changed."""
_PODS: Final = ("echo-pods", "shared-pods")
"""Deployments. What joins with other meshes has pods that no other Service selects, or it would not join."""
_EXTRAS: Final = 3
"""The Services of each mesh that come and go."""
_SPARE_PORT: Final = {"name": "http-spare", "port": 8090, "targetPort": 8080}


def tcp_port(mesh: str) -> int:
    """The TCP port of what a mesh alone has: without an address, TCP is told apart by its port."""
    return 9001 + MESHES.index(mesh)


class Extra(msgspec.Struct):
    """A Service that comes and goes."""

    mesh: str
    name: str
    port: int = 8080
    exported: bool = False
    changed: float = -SETTLING
    """When it last was, on the loop's clock."""

    @property
    def url(self) -> str:
        """By which it is called."""
        return f"http://{self.name}.{NAMESPACE}:{self.port}/"

    @property
    def manifest(self) -> JSONObject:
        """The Service, as it is to be."""
        made = fronting(self.name, {"name": "http", "port": self.port, "targetPort": 8080})
        made["metadata"]["labels"] = dict(EXPORTED) if self.exported else {}
        return made


class Changes:
    """Meshes, as they are to be, and what is changed in them."""

    def __init__(self, world: World, seed: int, patience: float) -> None:
        self._world = world
        self._patience = patience
        self.rng = random.Random(seed)
        self.extras = [Extra(mesh, f"extra-{mesh}-{number}") for mesh in world.meshes for number in range(_EXTRAS)]
        self.away = dict.fromkeys(world.meshes, -SETTLING)
        """When others had to connect anew with a mesh's controller, since it was ended or its gateway moved."""
        self.ports_changed = dict.fromkeys(world.meshes, -SETTLING)
        """When the Service that a mesh alone has last got a port, or lost one."""
        self._gateways = dict.fromkeys(world.meshes, installation.GATEWAY)
        self._moves = 0
        self._spare = dict.fromkeys(world.meshes, False)
        self._replicas: dict[tuple[str, str], int] = {}

    async def bring(self) -> None:
        """Run what is called, and who calls, and federate each with each."""
        for mesh in self._world.meshes.values():
            await run(mesh, "caller", image="sleep", account="caller")
            for pods in _PODS:
                await run(mesh, pods, image="echo", account="echo", ports=PORTS)
                await self._scale(mesh, pods, 2)
            await mesh.apply(fronting("shared", {"name": "http", "port": 8080}, pods="shared-pods"), self._only(mesh))
            await mesh.apply(*(one.manifest for one in self._of(mesh)))
            await mesh.export("shared", f"only-{mesh.name}")
        await self._world.federate(**{"import": IMPORT})
        await self._world.settled()
        await self._world.connected()
        for mesh in self._world.meshes.values():  # whom each admits has changed, which ends the streams there were
            self._disturb(mesh)

    def next(self) -> tuple[str, MeshWorld]:
        """The name of the next change, and where it is to be made, as chance has it."""
        (name,) = self.rng.choices(list(CHANGES), [one.weight for one in CHANGES.values()])
        return name, self._world.meshes[self.rng.choice(CHANGES[name].meshes)]

    def _of(self, mesh: MeshWorld) -> list[Extra]:
        return [one for one in self.extras if one.mesh == mesh.name]

    def _only(self, mesh: MeshWorld) -> JSONObject:
        """The Service that this mesh alone has, as it is to be; its labels are not looked at."""
        ports = [
            {"name": "http", "port": 8080},
            {"name": "tcp", "port": tcp_port(mesh.name), "targetPort": PORTS["tcp"]},
        ]
        return fronting(f"only-{mesh.name}", *ports, *([_SPARE_PORT] if self._spare[mesh.name] else []))

    # --- the changes

    async def _settled(self, mesh: MeshWorld) -> None:
        """Wait until the mesh's pods are as they are to be: who takes one away must know that another serves."""
        try:
            async with asyncio.timeout(self._patience):
                await mesh.plane.settled()
        except TimeoutError:
            raise AssertionError(f"not settled: {'; '.join(mesh.plane.unsettled())}") from None

    def _disturb(self, mesh: MeshWorld) -> None:
        self.away[mesh.name] = asyncio.get_running_loop().time()

    def _changing(self, one: Extra) -> None:
        one.changed = asyncio.get_running_loop().time()

    async def toggle_export(self, mesh: MeshWorld) -> None:
        """Export a Service that is not, or withdraw one that is."""
        one = self.rng.choice(self._of(mesh))
        one.exported = not one.exported
        self._changing(one)
        await mesh.patch(
            "Service", one.name, {"metadata": {"labels": dict.fromkeys(EXPORTED) | (EXPORTED if one.exported else {})}}
        )

    async def change_port(self, mesh: MeshWorld) -> None:
        """Give a Service another port."""
        one = self.rng.choice(self._of(mesh))
        one.port = self.rng.choice([port for port in range(8080, 8086) if port != one.port])
        self._changing(one)
        await mesh.respecify(one.manifest)

    async def recreate(self, mesh: MeshWorld) -> None:
        """Delete a Service that comes and goes, and create it anew."""
        one = self.rng.choice(self._of(mesh))
        self._changing(one)
        await mesh.delete("Service", one.name)
        await asyncio.sleep(self.rng.uniform(0, 1))
        await mesh.apply(one.manifest)

    async def toggle_port(self, mesh: MeshWorld) -> None:
        """Add a port to a Service that is called at another, or take it away."""
        self._spare[mesh.name] = not self._spare[mesh.name]
        self.ports_changed[mesh.name] = asyncio.get_running_loop().time()
        await mesh.respecify(self._only(mesh))

    async def relabel(self, mesh: MeshWorld) -> None:
        """Change a label of a Service that is called."""
        labels = {"metadata": {"labels": {"churn": str(self.rng.randrange(1000))}}}
        await mesh.patch("Service", f"only-{mesh.name}", labels)

    async def scale(self, mesh: MeshWorld) -> None:
        """Have another number of pods."""
        pods = self.rng.choice(_PODS)
        counts = [count for count in (1, 2, 3) if count != self._replicas[mesh.name, pods]]
        await self._settled(mesh)
        await self._scale(mesh, pods, self.rng.choice(counts))

    async def _scale(self, mesh: MeshWorld, pods: str, replicas: int) -> None:
        self._replicas[mesh.name, pods] = replicas
        await mesh.patch("Deployment", pods, {"spec": {"replicas": replicas}})

    async def roll(self, mesh: MeshWorld) -> None:
        """Replace all pods by the Deployment's own strategy."""
        await self._settled(mesh)
        await self._annotate(mesh, self.rng.choice(_PODS), NAMESPACE)

    async def replace_pod(self, mesh: MeshWorld) -> None:
        """Delete a pod that is not the only one."""
        await self._settled(mesh)
        of = self.rng.choice(_PODS)
        names = sorted(one["metadata"]["name"] for one in await mesh.list("Pod", NAMESPACE))
        pods = [name for name in names if name.startswith(of)]
        if len(pods) > 1:
            await mesh.delete("Pod", self.rng.choice(pods))

    async def kill_controller(self, mesh: MeshWorld) -> None:
        """End a controller as a fault would."""
        await self._settled(mesh)
        self._disturb(mesh)
        mesh.plane.pod(SYSTEM, installation.CONTROLLER).crash()

    async def roll_controller(self, mesh: MeshWorld) -> None:
        """Replace the pod of a controller."""
        await self._settled(mesh)
        self._disturb(mesh)
        await self._annotate(mesh, installation.CONTROLLER, SYSTEM)

    async def _annotate(self, mesh: MeshWorld, deployment: str, namespace: str) -> None:
        annotations = {"metadata": {"annotations": {"churn": str(self.rng.randrange(1 << 30))}}}
        await mesh.patch("Deployment", deployment, {"spec": {"template": annotations}}, namespace)

    async def move_gateway(self, mesh: MeshWorld) -> None:
        """Bring up a second gateway, have all others use it, and end the first once nobody does."""
        self._moves += 1
        old, number = self._gateways[mesh.name], str(self._moves)
        new = f"gateway-{number}"
        before = mesh.plane.pod(SYSTEM, old).place
        made = await mesh.get("Deployment", old, SYSTEM)
        assert made is not None, f"there is no gateway {old}"
        assert before is not None, f"{old} has no address"
        spec = {**made["spec"], "selector": {"matchLabels": {"app": installation.GATEWAY, "number": number}}}
        spec["template"]["metadata"]["labels"]["number"] = number
        metadata = {"name": new, "namespace": SYSTEM}
        await mesh.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
        await self._settled(mesh)
        place = mesh.plane.pod(SYSTEM, new).place
        assert place is not None, f"{new} has no address"
        others = [one for one in self._world.meshes.values() if one is not mesh]
        self._disturb(mesh)
        for other in others:
            await other.remote(mesh, addresses=[place.address], **{"import": IMPORT})
        for other in others:
            unused = f"nothing in {other.name} leads to {before.address}"
            await eventually(partial(_leads_elsewhere, other, before.address), unused, within=self._patience)
            await self._settled(other)
        await mesh.delete("Deployment", old, SYSTEM)
        self._gateways[mesh.name] = new


async def _leads_elsewhere(mesh: MeshWorld, address: str) -> bool:
    """Whether nothing that is imported leads to an address."""
    entries = await mesh.list("ServiceEntry")
    found = {one["address"] for entry in entries for one in entry["spec"].get("endpoints", ())}
    return address not in found | {entry["spec"]["address"] for entry in await mesh.list("WorkloadEntry")}


class Change(NamedTuple):
    """A change, how often it is made beside the others, and in which meshes."""

    make: Callable[[Changes, MeshWorld], Awaitable[None]]
    weight: int
    meshes: tuple[str, ...] = MESHES


CHANGES: Final[Mapping[str, Change]] = {
    "export or withdraw": Change(Changes.toggle_export, 8),
    "change a port": Change(Changes.change_port, 4),
    "delete and create": Change(Changes.recreate, 2),
    "add or drop a port": Change(Changes.toggle_port, 3),
    "change a label": Change(Changes.relabel, 2),
    "scale": Change(Changes.scale, 3),
    "roll pods": Change(Changes.roll, 2),
    "replace a pod": Change(Changes.replace_pod, 4),
    "kill the controller": Change(Changes.kill_controller, 2, _ENDED),
    "roll the controller": Change(Changes.roll_controller, 1, _ENDED),
    "move the gateway": Change(Changes.move_gateway, 2),
}
