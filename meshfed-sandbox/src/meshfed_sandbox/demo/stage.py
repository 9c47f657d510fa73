"""The stage: the sandbox's meshes, a controller in each, kubectl for the user's part, and eyes on it all."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from meshfed.kube import Client, load_kubeconfig
from meshfed_sandbox.demo.cast import Place
from meshfed_sandbox.demo.controllers import PATIENCE, Controller, ControllerPod, ControllerProcess, StepFailed
from meshfed_sandbox.demo.observer import Observer
from meshfed_sandbox.kubectl import kubectl_path
from meshfed_sandbox.ports import Ports

if TYPE_CHECKING:
    from meshfed_sandbox.dataplane.plane import DataPlane

Found = TypeVar("Found")

_GATEWAY: Final = "federation-ingress-gateway"
_PAUSE: Final = 0.05


class Actor:
    """One mesh on the stage."""

    def __init__(self, place: Place, kubeconfig: Path, controller: Controller, observer: Observer) -> None:
        self.place = place
        self.kubeconfig = kubeconfig
        self.controller = controller
        self.see = observer

    @property
    def name(self) -> str:
        """The mesh's name."""
        return self.place.name


class Stage:
    """Both meshes, and the clock by which changes are timed; ``plane`` is what runs in them, if anything does."""

    def __init__(self, directory: Path, plane: DataPlane | None = None) -> None:
        self.directory = directory
        self.plane = plane
        self.actors: dict[str, Actor] = {}
        self._changed = asyncio.Event()

    async def install(self) -> None:
        """Install gateway and controller in each mesh of the data plane, and see where its gateway is.

        Raises:
            StepFailed: a gateway has no address in time.
        """
        for name, mesh in self.plane.meshes.items() if self.plane is not None else ():
            actor = self.actors[name]
            await mesh.install()
            await self.until(f"the gateway of {name} has an address", lambda see=actor.see: bool(_address(see)))  # type: ignore[misc] # bound now
            actor.place = msgspec.structs.replace(actor.place, gateway_address=_address(actor.see))

    def notice(self) -> None:
        """Something changed in some mesh: whoever waits looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, what: str, holds: Callable[[], bool]) -> float:
        """Wait until ``holds``, looked at after every change in any mesh; returns when that was (the loop's time).

        Raises:
            StepFailed: it does not hold within ``PATIENCE`` seconds; the message says how things stand instead.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while not holds():
            changed = self._changed
            try:
                async with asyncio.timeout_at(deadline):
                    await changed.wait()
            except TimeoutError:
                raise StepFailed(f"{what}: not within {PATIENCE:.0f} s; {self.summary()}") from None
        return loop.time()

    async def attempt(
        self, what: str, ask: Callable[[], Awaitable[Found]], holds: Callable[[Found], bool]
    ) -> tuple[Found, float]:
        """Repeat ``ask`` until what it brings ``holds``; returns that, and when it was (the loop's time).

        Raises:
            StepFailed: it does not hold within ``PATIENCE`` seconds; the message says what came last.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while not holds(found := await ask()):
            if loop.time() > deadline:
                raise StepFailed(f"{what}: not within {PATIENCE:.0f} s; the last was {found}")
            await asyncio.sleep(_PAUSE)
        return found, loop.time()

    def summary(self) -> str:
        """How things stand in the meshes, in one line."""
        return "; ".join(f"{name} {actor.see.summary()}" for name, actor in self.actors.items())

    async def kubectl(self, mesh: str, *arguments: str) -> str:
        """Run a real kubectl against a mesh, as a user would; returns what it prints.

        Raises:
            StepFailed: kubectl failed; the message has its words.
        """
        process = await asyncio.create_subprocess_exec(
            kubectl_path(),
            f"--kubeconfig={self.actors[mesh].kubeconfig}",
            f"--cache-dir={self.directory / 'kubectl-cache'}",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.DEVNULL,
            env={key: value for key, value in os.environ.items() if key != "KUBECONFIG"},
        )
        out, err = await process.communicate()
        if process.returncode:
            raise StepFailed(f"kubectl {' '.join(arguments)} failed in {mesh}: {err.decode(errors='replace').strip()}")
        return out.decode(errors="replace")


@asynccontextmanager
async def staged(
    directory: Path, kubeconfigs: Mapping[str, Path], plane: DataPlane | None = None
) -> AsyncIterator[Stage]:
    """Put an actor into every mesh that the sandbox has up; ends every process and watch when the context ends.

    With a data plane the controllers are Pods, which ``Stage.install`` brings.
    """
    stage = Stage(directory, plane)
    async with contextlib.AsyncExitStack() as stack:
        ports = stack.enter_context(Ports())
        watching = await stack.enter_async_context(asyncio.TaskGroup())
        tasks: list[asyncio.Task[None]] = []
        for number, (name, kubeconfig) in enumerate(kubeconfigs.items(), start=1):
            client = await stack.enter_async_context(Client(load_kubeconfig(str(kubeconfig), None, os.environ)))
            see = Observer(client, stage.notice)
            tasks.append(watching.create_task(see.run()))
            controller: Controller
            if plane is None:
                controller = ControllerProcess(name, kubeconfig, directory / f"{name}-controller.log", ports)
                # 192.0.2.0/24 is set aside for documentation: nobody is there, and nothing is sent there.
                address, port = f"192.0.2.{number}0", controller.discovery_port
                place = Place(name=name, gateway_address=address, discovery_port=port)
            else:
                mesh = plane.meshes[name]
                controller = ControllerPod(mesh, client, directory / name)
                place = Place(name=name, gateway_address="", trust_domain=mesh.settings.trust_domain)
            stage.actors[name] = Actor(place, kubeconfig, controller, see)
        try:
            for actor in stage.actors.values():
                await actor.see.synced()
            yield stage
        finally:
            if plane is None:
                for actor in stage.actors.values():
                    await actor.controller.stop()
            for task in tasks:
                task.cancel()


def _address(see: Observer) -> str:
    """Where a mesh's ingress gateway is reached from outside; empty as long as it is nowhere."""
    service = next((one for one in see.all("Service") if one.metadata.name == _GATEWAY), None)
    balanced = [] if service is None else service.status.get("loadBalancer", {}).get("ingress") or []
    return str(balanced[0].get("ip", "")) if balanced else ""
