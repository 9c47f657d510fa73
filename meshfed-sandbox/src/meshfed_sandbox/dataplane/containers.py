"""What runs in a Pod besides its proxy: the sandbox's applications, in this process, and the controller as its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import msgspec

from meshfed_sandbox.apps import ContainerPort, PodContext, UnknownImage, image_name, serve
from meshfed_sandbox.dataplane import processes
from meshfed_sandbox.dataplane.inside import command
from meshfed_sandbox.dataplane.network import Place, inside

JSONObject = dict[str, Any]

CONTROLLER_IMAGE: Final = "meshfed"
"""The name of the controller's image, wherever it is kept and whatever its tag."""
_REFERENCE: Final = re.compile(r"\$\(([A-Za-z_][\w.-]*)\)")


class CannotStart(Exception):
    """A container cannot be started as its Pod says; ``reason`` is the kubelet's word for it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def context_of(pod: Mapping[str, Any], container: Mapping[str, Any], mesh: str, address: str) -> PodContext:
    """What an application in a container of ``pod`` is started with.

    Raises:
        CannotStart: it asks for an environment that the sandbox cannot give it.
    """
    return PodContext(
        mesh=mesh,
        namespace=pod["metadata"]["namespace"],
        pod=pod["metadata"]["name"],
        labels=pod["metadata"].get("labels") or {},
        env=environment(pod, container, address),
        ports=tuple(
            ContainerPort(port["containerPort"], port.get("name", "")) for port in container.get("ports") or ()
        ),
    )


def expanded(words: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Words of a command line, with ``$(NAME)`` replaced by the variable's value where there is one."""
    return [_REFERENCE.sub(lambda found: environ.get(found[1], found[0]), word) for word in words]


def environment(pod: Mapping[str, Any], container: Mapping[str, Any], address: str) -> dict[str, str]:
    """A container's environment variables; ``CannotStart`` where one comes from what the sandbox does not have."""
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

    def __init__(self, place: Place, log: Path) -> None:
        self._place = place
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    def start_application(self, context: PodContext, image: str) -> None:
        """Start an application of the sandbox.

        Raises:
            CannotStart: there is none for the image.
        """
        try:
            application = serve(image, context)
        except UnknownImage as error:
            raise CannotStart("ImagePullBackOff", f"{error}, {CONTROLLER_IMAGE}") from error
        with inside(self._place):
            self._task = asyncio.create_task(self._run(application), name=f"{context.namespace}/{context.pod}")

    async def start_controller(self, arguments: Sequence[str], environ: Mapping[str, str], kubeconfig: Path) -> None:
        """Start ``meshfed`` in a process of its own; ``arguments`` may begin with the name of the program."""
        words = arguments[1:] if arguments and image_name(arguments[0]) == "meshfed" else arguments
        own = {"KUBECONFIG": str(kubeconfig), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = await processes.spawn(command(self._place, *words), self._log, {**os.environ, **own, **environ})

    async def _run(self, application: AbstractAsyncContextManager[None]) -> None:
        try:
            async with application:
                await asyncio.Event().wait()
        except Exception:  # noqa: BLE001 - as a process would, it ends, and says why in its log
            with self._log.open("a") as log:
                traceback.print_exc(file=log)

    async def ended(self) -> str:
        """Wait until it ends by itself; the end of its log."""
        if self._process is not None:
            await self._process.wait()
        elif self._task is not None:
            await asyncio.wait([self._task])
        return processes.tail(self._log)

    def kill(self) -> None:
        """End it at once, as a fault would."""
        if self._process is not None:
            processes.send(self._process, signal.SIGKILL)
        elif self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        """End it."""
        if self._process is not None:
            await processes.end(self._process)
        elif self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def code(self) -> int:
        """The exit code of one that has ended; an application of this process ends by a fault alone."""
        return 1 if self._process is None or self._process.returncode is None else self._process.returncode

    @property
    def pid(self) -> int | None:
        """The process, where it has its own and that runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and running else None


class ContainerStatus(msgspec.Struct):
    """What the kubelet knows of a container; ``reason`` is empty while it runs, ``code`` is there once it has ended."""

    name: str
    image: str
    reason: str = "ContainerCreating"
    message: str = ""
    restarts: int = 0
    ready: bool = False
    since: str = ""
    code: int | None = None

    def manifest(self) -> JSONObject:
        """As an element of ``status.containerStatuses``."""
        if self.code is not None:
            ended = {"exitCode": self.code, "reason": self.reason, "startedAt": self.since}
            state: JSONObject = {"terminated": ended | ({"message": self.message} if self.code else {})}
        elif self.reason:
            waiting = {"reason": self.reason} | ({"message": self.message} if self.message else {})
            state = {"waiting": waiting}
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
