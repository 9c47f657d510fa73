"""What runs in a Pod besides its proxy: the sandbox's applications, in this process, and the controller as its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from meshfed.sandbox.dataplane import processes
from meshfed.sandbox.dataplane.inside import command
from meshfed.sandbox.dataplane.network import Place, inside
from meshfed.sandbox.dataplane.values import Instance

JSONObject = dict[str, Any]
App = Callable[[Instance], Coroutine[Any, Any, None]]

CONTROLLER_IMAGE: Final = "meshfed"
"""The name of the controller's image, wherever it is kept and whatever its tag."""
_REFERENCE: Final = re.compile(r"\$\(([A-Za-z_][\w.-]*)\)")


class CannotStart(Exception):
    """A container cannot be started as its Pod says; ``reason`` is the kubelet's word for it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def image_name(image: str) -> str:
    """An image's name without the registry, the path in it, and the tag or digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def instance_of(pod: Mapping[str, Any], container: Mapping[str, Any], mesh: str, address: str) -> Instance:
    """What a container of ``pod`` is started with.

    Raises:
        CannotStart: it asks for an environment that the sandbox cannot give it.
    """
    environ = _environment(pod, container, address)

    def expanded(words: list[str]) -> tuple[str, ...]:
        return tuple(_REFERENCE.sub(lambda found: environ.get(found[1], found[0]), word) for word in words)

    return Instance(
        mesh=mesh,
        namespace=pod["metadata"]["namespace"],
        pod=pod["metadata"]["name"],
        address=address,
        image=container["image"],
        environ=environ,
        command=expanded(container.get("command") or []),
        args=expanded(container.get("args") or []),
        ports=tuple(port["containerPort"] for port in container.get("ports") or ()),
    )


def _environment(pod: Mapping[str, Any], container: Mapping[str, Any], address: str) -> dict[str, str]:
    environ: dict[str, str] = {"HOSTNAME": pod["metadata"]["name"]}
    for variable in container.get("env") or ():
        source = variable.get("valueFrom")
        if source is None:
            environ[variable["name"]] = variable.get("value") or ""
            continue
        path = (source.get("fieldRef") or {}).get("fieldPath")
        value = _field(pod, path, address) if path else None
        if value is None:
            asked = path or ", ".join(source)
            raise CannotStart(
                "CreateContainerConfigError",
                f"container {container['name']}: env {variable['name']}: the sandbox gives no value from {asked}; "
                "write the value itself, or a fieldRef to metadata, spec.serviceAccountName or status.podIP",
            )
        environ[variable["name"]] = value
    return environ


def _field(pod: Mapping[str, Any], path: str, address: str) -> str | None:
    if path in {"status.podIP", "status.podIPs", "status.hostIP"}:
        return address
    if path == "spec.serviceAccountName":
        return str(pod["spec"].get("serviceAccountName", "default"))
    if path in {"metadata.name", "metadata.namespace", "metadata.uid"}:
        return str(pod["metadata"][path.partition(".")[2]])
    mapped = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path)
    return str((pod["metadata"].get(mapped[1]) or {}).get(mapped[2], "")) if mapped else None


class Container:
    """One run of a container, from its start to its end."""

    def __init__(self, instance: Instance, place: Place, log: Path) -> None:
        self._instance = instance
        self._place = place
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, apps: Mapping[str, App], kubeconfig: Path) -> None:
        """Start it.

        Raises:
            CannotStart: nobody knows its image.
        """
        name = image_name(self._instance.image)
        if name == CONTROLLER_IMAGE:
            await self._start_controller(kubeconfig)
            return
        app = apps.get(name)
        if app is None:
            known = ", ".join(sorted({*apps, CONTROLLER_IMAGE}))
            raise CannotStart(
                "ImagePullBackOff",
                f'image "{self._instance.image}": the sandbox pulls no images, and has no application {name!r} of '
                f"its own; it has: {known}",
            )
        with inside(self._place):
            self._task = asyncio.create_task(self._run(app), name=f"{self._instance.pod}: {name}")

    async def _start_controller(self, kubeconfig: Path) -> None:
        instance = self._instance
        words = [*instance.command[1:], *instance.args]
        own = {"KUBECONFIG": str(kubeconfig), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        environ = {**os.environ, **own, **instance.environ}
        self._process = await processes.spawn(command(self._place, *words), self._log, environ)

    async def _run(self, app: App) -> None:
        try:
            await app(self._instance)
        except Exception:  # noqa: BLE001 - as a process would, it ends, and says why in its log
            with self._log.open("a") as log:  # noqa: ASYNC230 - a few lines, on the way out
                traceback.print_exc(file=log)

    async def ended(self) -> str:
        """Wait until it ends by itself; the end of its log."""
        if self._process is not None:
            await self._process.wait()
        elif self._task is not None:
            await asyncio.wait([self._task])
        return processes.tail(self._log)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        if self._process is not None:
            await processes.end(self._process, how)
        elif self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def pid(self) -> int | None:
        """The process, where it has its own and that runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and running else None


class ContainerStatus(msgspec.Struct):
    """What the kubelet knows of a container; ``reason`` is empty while it runs."""

    name: str
    image: str
    reason: str = "ContainerCreating"
    message: str = ""
    restarts: int = 0
    ready: bool = False
    since: str = ""

    def manifest(self) -> JSONObject:
        """As an element of ``status.containerStatuses``."""
        if self.reason:
            waiting = {"reason": self.reason} | ({"message": self.message} if self.message else {})
            state: JSONObject = {"waiting": waiting}
        else:
            state = {"running": {"startedAt": self.since}}
        return {
            "name": self.name,
            "image": self.image,
            "imageID": self.image,
            "ready": self.ready,
            "started": not self.reason,
            "restartCount": self.restarts,
            "state": state,
        }
