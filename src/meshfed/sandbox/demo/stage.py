"""The stage: the sandbox's meshes, a controller process in each, kubectl for the user's part, and eyes on it all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp

from meshfed.kube import Client, load_kubeconfig
from meshfed.sandbox.demo.cast import SYSTEM_NAMESPACE, Place
from meshfed.sandbox.demo.observer import Observer
from meshfed.sandbox.kubectl import kubectl_path
from meshfed.sandbox.ports import free_port

PATIENCE: Final = 30.0
"""Seconds after which a step has failed; what takes longer than a second on an idle machine is a fault already."""


class StepFailed(Exception):
    """A step of the demo did not hold; the message says which and what was seen instead."""


class ControllerProcess:
    """A real ``meshfed controller``, as it runs in a cluster, against one mesh's kubeconfig."""

    def __init__(self, mesh: str, kubeconfig: Path, log: Path, *, flags: Sequence[str] = ()) -> None:
        """``flags`` come after those that every controller of the stage has."""
        self.mesh = mesh
        self.log = log
        self.discovery_port, self.metrics_port, self.health_port = free_port(), free_port(), free_port()
        self._kubeconfig = kubeconfig
        self._flags = flags
        self._process: asyncio.subprocess.Process | None = None

    @property
    def command(self) -> list[str]:
        """The command line, but for the interpreter."""
        return [
            "controller",
            f"--kubeconfig={self._kubeconfig}",
            f"--namespace={SYSTEM_NAMESPACE}",
            f"--discovery-bind-address=127.0.0.1:{self.discovery_port}",
            f"--metrics-bind-address=127.0.0.1:{self.metrics_port}",
            f"--health-probe-bind-address=127.0.0.1:{self.health_port}",
            "--allow-unauthenticated-peers",
            *self._flags,
        ]

    async def start(self) -> None:
        """Start the process; ``ready`` waits for it."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "meshfed", *self.command, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL
            )

    async def ready(self) -> None:
        """Wait until ``/readyz`` says ok.

        Raises:
            StepFailed: the process ended, or is not ready in time; the message has its last words.
        """
        url = f"http://127.0.0.1:{self.health_port}/readyz"
        complaint = "no answer"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            for _ in range(int(PATIENCE * 20)):
                if self._process is None or self._process.returncode is not None:
                    raise StepFailed(f"the controller of {self.mesh} ended:\n{self.last_words()}")
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(url) as answer:
                        complaint = (await answer.text()).strip()
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)
        raise StepFailed(f"the controller of {self.mesh} is not ready ({complaint}):\n{self.last_words()}")

    async def metric(self, name: str) -> float:
        """The sum of a metric over all its labels."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer,
        ):
            lines = (await answer.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + "{", name + " ")))

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the process; one that does not end by itself is killed."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(how)
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def last_words(self) -> str:
        """The end of the log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-15:])


class Actor:
    """One mesh on the stage."""

    def __init__(self, place: Place, kubeconfig: Path, controller: ControllerProcess, observer: Observer) -> None:
        self.place = place
        self.kubeconfig = kubeconfig
        self.controller = controller
        self.see = observer

    @property
    def name(self) -> str:
        """The mesh's name."""
        return self.place.name


class Stage:
    """Both meshes, and the clock by which changes are timed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.actors: dict[str, Actor] = {}
        self._changed = asyncio.Event()

    def notice(self) -> None:
        """Something changed in some mesh: whoever waits looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, what: str, holds: Callable[[], bool]) -> float:
        """Wait until ``holds``, looked at after every change in any mesh; returns when that was (the loop's time).

        Raises:
            StepFailed: it does not hold within ``PATIENCE`` seconds.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while not holds():
            changed = self._changed
            try:
                async with asyncio.timeout_at(deadline):
                    await changed.wait()
            except TimeoutError:
                raise StepFailed(f"not within {PATIENCE:.0f} s: {what}") from None
        return loop.time()

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
async def staged(directory: Path, kubeconfigs: Mapping[str, Path]) -> AsyncIterator[Stage]:
    """Put an actor into every mesh that the sandbox has up; ends every process and watch when the context ends."""
    stage = Stage(directory)
    async with contextlib.AsyncExitStack() as stack:
        watching = await stack.enter_async_context(asyncio.TaskGroup())
        tasks: list[asyncio.Task[None]] = []
        for number, (name, kubeconfig) in enumerate(kubeconfigs.items(), start=1):
            client = await stack.enter_async_context(Client(load_kubeconfig(str(kubeconfig), None, os.environ)))
            observer = Observer(client, stage.notice)
            tasks.append(watching.create_task(observer.run()))
            controller = ControllerProcess(name, kubeconfig, directory / f"{name}-controller.log")
            # 192.0.2.0/24 is set aside for documentation: nobody is there, and nothing is sent there.
            place = Place(name, f"192.0.2.{number}0", controller.discovery_port)
            stage.actors[name] = Actor(place, kubeconfig, controller, observer)
        try:
            for actor in stage.actors.values():
                await actor.see.synced()
            yield stage
        finally:
            for actor in stage.actors.values():
                await actor.controller.stop()
            for task in tasks:
                task.cancel()
