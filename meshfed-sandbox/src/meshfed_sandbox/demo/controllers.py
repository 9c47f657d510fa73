"""The controllers of the demo, each a real ``meshfed controller``: as a process beside its mesh, or in its Pod."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp

from meshfed.kube import Client, Resource
from meshfed_sandbox.demo.cast import SYSTEM_NAMESPACE
from meshfed_sandbox.ports import Ports

if TYPE_CHECKING:
    from meshfed_sandbox.dataplane.plane import Mesh
    from meshfed_sandbox.dataplane.pods import Pod

PATIENCE: Final = 60.0
"""Seconds after which a step has failed; what takes longer than a second on an idle machine is a fault already."""
_DEPLOYMENT: Final = Resource("apps", "v1", "deployments", "Deployment")
_NAME: Final = "federation-controller"
_CONTAINER: Final = "controller"
_PORTS: Final = {"metrics": 8080, "health": 8081}


class StepFailed(Exception):
    """A step of the demo did not hold; the message says which and what was seen instead."""


class Controller(abc.ABC):
    """The controller of one mesh."""

    mesh: str

    @property
    @abc.abstractmethod
    def command(self) -> list[str]:
        """The command line, but for the interpreter."""

    @abc.abstractmethod
    def url(self, port: str) -> str | None:
        """Where its ``health`` or ``metrics`` are; ``None`` where it does not run."""

    @abc.abstractmethod
    async def start(self) -> None:
        """Have it run; ``ready`` waits for it."""

    @abc.abstractmethod
    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it: in order, or with SIGKILL."""

    @abc.abstractmethod
    def last_words(self) -> str:
        """The end of its log."""

    @property
    @abc.abstractmethod
    def ended(self) -> bool:
        """Whether it ended by itself, and nobody starts it again."""

    async def ready(self) -> None:
        """Wait until ``/readyz`` says ok.

        Raises:
            StepFailed: it ended, or is not ready in time; the message has its last words.
        """
        complaint = "no answer"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            for _ in range(int(PATIENCE * 20)):
                if self.ended:
                    raise StepFailed(f"the controller of {self.mesh} ended:\n{self.last_words()}")
                url = self.url("health")
                if url is not None:
                    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                        async with session.get(f"{url}/readyz") as answer:
                            complaint = (await answer.text()).strip()
                            if answer.status == 200:
                                return
                await asyncio.sleep(0.05)
        raise StepFailed(f"the controller of {self.mesh} is not ready ({complaint}):\n{self.last_words()}")

    async def metric(self, name: str) -> float:
        """The sum of a metric over all its labels."""
        url = self.url("metrics")
        if url is None:
            raise StepFailed(f"the controller of {self.mesh} does not run:\n{self.last_words()}")
        async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + "{", name + " ")))


class ControllerProcess(Controller):
    """A process, against one mesh's kubeconfig, that meets others on loopback and believes whoever calls."""

    def __init__(self, mesh: str, kubeconfig: Path, log: Path, ports: Ports, *, flags: Sequence[str] = ()) -> None:
        """``flags`` come after those that every controller of the stage has."""
        self.mesh = mesh
        self.log = log
        self.discovery_port, self.metrics_port, self.health_port = ports.take(), ports.take(), ports.take()
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

    def url(self, port: str) -> str | None:
        """Where its ``health`` or ``metrics`` are."""
        return f"http://127.0.0.1:{self.health_port if port == 'health' else self.metrics_port}"

    @property
    def pid(self) -> int:
        """The number of the process that was started last; 0 where there is none."""
        return 0 if self._process is None else self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process is None or self._process.returncode is not None

    async def start(self) -> None:
        """Start the process; ``ready`` waits for it."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "meshfed", *self.command, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL
            )

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
        return _tail(self.log)


class ControllerPod(Controller):
    """A Pod with a sidecar, which meets others through the gateways; its Deployment says whether there is one."""

    ended = False  # who ends is started again by the kubelet

    def __init__(self, mesh: Mesh, client: Client, directory: Path) -> None:
        """``directory`` is where the mesh's Pods write."""
        self.mesh = mesh.name
        self._plane = mesh
        self._client = client
        self._directory = directory

    @property
    def command(self) -> list[str]:
        """The container's arguments."""
        pod = self._pod()
        return [] if pod is None else list(pod.manifest["spec"]["containers"][0]["args"])

    def _pod(self) -> Pod | None:
        try:
            return self._plane.pod(SYSTEM_NAMESPACE, _NAME)
        except LookupError:
            return None

    def url(self, port: str) -> str | None:
        """Where its ``health`` or ``metrics`` are: at the application itself, as the kubelet asks it."""
        pod = self._pod()
        return None if pod is None or pod.place is None else f"http://{pod.place.application}:{_PORTS[port]}"

    async def start(self) -> None:
        """Have the Deployment want its Pod."""
        await self._scale(1)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Have the Deployment want none, and wait for the Pod's end; or kill the process, which is started again."""
        pod = self._pod()
        if pod is None:
            return
        running = pod.pids.get(_CONTAINER)
        if how == signal.SIGKILL:
            pod.crash(_CONTAINER)
        else:
            await self._scale(0)
        while True:
            if pod.pids.get(_CONTAINER) != running:
                return
            await asyncio.sleep(0.02)

    async def _scale(self, replicas: int) -> None:
        patch = {"spec": {"replicas": replicas}}
        await self._client.patch(_DEPLOYMENT, _NAME, patch, namespace=SYSTEM_NAMESPACE)

    def last_words(self) -> str:
        """The end of the newest log."""
        logs = self._directory.glob(f"{SYSTEM_NAMESPACE}_{_NAME}-*/{_CONTAINER}.log")
        newest = max(logs, key=lambda log: log.stat().st_mtime, default=None)
        return "" if newest is None else _tail(newest)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-15:])
