"""Several meshes on one machine: a Kubernetes API server each, and a kubeconfig for each.

All servers share one process and one event loop, since a mesh mostly waits; their ports, stores and
versions are their own.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import yaml

from meshfed.api.documents import not_yaml
from meshfed.model.names import MAX_MESH_NAME, is_dns_label
from meshfed_sandbox.apiserver import APIServer, Authorization
from meshfed_sandbox.istio_crds import istio_crds

if TYPE_CHECKING:
    from meshfed_sandbox.dataplane.plane import DataPlane, Options

JSONObject = dict[str, Any]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class SandboxError(Exception):
    """The sandbox cannot be set up as asked; the message names what, and what to do about it."""


def load_crds(path: Path) -> list[JSONObject]:
    """The CustomResourceDefinitions of a YAML file of one or more documents.

    Raises:
        SandboxError: the file cannot be read, is not YAML, or holds something else.
    """
    try:
        documents = [document for document in yaml.load_all(path.read_bytes(), _LOADER) if document is not None]
    except OSError as error:
        raise SandboxError(f"--crds {path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        problem, line = not_yaml(error)
        raise SandboxError(f"--crds {path}: {f'line {line}: ' if line else ''}{problem}") from error
    found: list[JSONObject] = []
    for document in documents:
        kind = document.get("kind") if isinstance(document, dict) else type(document).__name__
        if kind != "CustomResourceDefinition" or document.get("apiVersion") != "apiextensions.k8s.io/v1":
            raise SandboxError(
                f"--crds {path}: holds a {kind} where only CustomResourceDefinitions of apiextensions.k8s.io/v1 "
                "belong; apply other objects with kubectl once the sandbox is up"
            )
        found.append(document)
    return found


class Sandbox:
    """Named meshes, each an API server with CRDs and a kubeconfig; an async context manager.

    ``directory`` receives ``<mesh>.kubeconfig`` (mode 0600), which the end removes again. Istio's CRDs, reduced to what
    Meshfed uses, are installed, then ``crds``, then those in ``crd_files``; a later one replaces an earlier one of its
    name. With ``rbac`` the servers speak HTTPS, roles and bindings decide, and the kubeconfigs are an administrator's.
    With ``data_plane`` Pods run; what they write is in ``<directory>/<mesh>``, and the event loop has to be a
    ``PodLoop``.

    Raises:
        SandboxError: a mesh's name is unusable or appears twice, or a CRD file is; when it is entered, another sandbox
            has the directory.
        StatusError: a CRD is refused by the API server.
    """

    def __init__(
        self,
        meshes: Sequence[str] = ("east", "west"),
        *,
        directory: Path,
        crds: Iterable[JSONObject] = (),
        crd_files: Sequence[Path] = (),
        rbac: bool = False,
        data_plane: Options | None = None,
    ) -> None:
        for mesh in meshes:
            if not is_dns_label(mesh) or len(mesh) > MAX_MESH_NAME:
                raise SandboxError(
                    f"--meshes: {mesh!r} cannot name a mesh: use lower-case letters, digits and '-', "
                    f"at most {MAX_MESH_NAME} characters"
                )
        if len(set(meshes)) < len(meshes):
            raise SandboxError(f"--meshes: {','.join(meshes)} names a mesh twice")
        definitions = [*istio_crds(), *crds, *(crd for path in crd_files for crd in load_crds(path))]
        by_name = {crd["metadata"]["name"]: crd for crd in definitions}
        self._directory = directory
        authorization: Authorization = "RBAC" if rbac else "AlwaysAllow"
        self._servers = {mesh: APIServer(crds=by_name.values(), authorization=authorization) for mesh in meshes}
        self._options = data_plane
        self._data_plane: DataPlane | None = None
        self._exit = AsyncExitStack()

    @property
    def data_plane(self) -> DataPlane:
        """What runs, where the sandbox was made with a data plane; ``RuntimeError`` where it was not, or is not up."""
        if self._data_plane is None:
            raise RuntimeError("this sandbox runs no data plane: make it with data_plane=Options()")
        return self._data_plane

    @property
    def servers(self) -> Mapping[str, APIServer]:
        """The API server of each mesh."""
        return self._servers

    @property
    def kubeconfigs(self) -> Mapping[str, Path]:
        """Where each mesh's kubeconfig is, while the sandbox runs."""
        return {mesh: self._directory / f"{mesh}.kubeconfig" for mesh in self._servers}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._directory.mkdir(parents=True, exist_ok=True)
            stack.callback(os.close, _locked(self._directory))
            for mesh, server in self._servers.items():
                await stack.enter_async_context(server)
                path = self.kubeconfigs[mesh]
                stack.callback(path.unlink, missing_ok=True)
                path.unlink(missing_ok=True)
                path.touch(mode=0o600)
                path.write_text(yaml.safe_dump(server.kubeconfig(mesh), sort_keys=False))
            if self._options is not None:
                from meshfed_sandbox.dataplane.plane import DataPlane  # noqa: PLC0415 - much that only this needs

                plane = DataPlane(self.kubeconfigs, directory=self._directory, options=self._options)
                self._data_plane = await stack.enter_async_context(plane)
                for name, running in plane.meshes.items():
                    self._servers[name].run_by(running.node)
            self._exit = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._exit.aclose()


def _locked(directory: Path) -> int:
    """A descriptor that holds the lock of the folder; the kernel lets go of it when the process ends, however it ends.

    Raises:
        SandboxError: another sandbox has it, whose kubeconfigs would be overwritten.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SandboxError(f"--dir {directory}: another sandbox is up there: end it, or name another folder") from None
    return descriptor


@asynccontextmanager
async def _signalled() -> AsyncIterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set, instead of ending the process."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, event.set)
    try:
        yield event
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def run_sandbox(
    meshes: Sequence[str] = ("east", "west"),
    *,
    directory: Path,
    crds: Iterable[JSONObject] = (),
    crd_files: Sequence[Path] = (),
    rbac: bool = False,
    data_plane: Options | None = None,
    install: bool = True,
    say: Callable[[str], None],
) -> None:
    """Bring up a sandbox, ``say`` how to use it and then ``ready``, and keep it up until SIGINT or SIGTERM.

    With ``data_plane`` each mesh has an ingress gateway and a controller from the start, unless ``install`` is false,
    and what befalls a proxy is said as well.

    Raises:
        SandboxError, StatusError: as ``Sandbox`` does.
    """
    made = Sandbox(meshes, directory=directory, crds=crds, crd_files=crd_files, rbac=rbac, data_plane=data_plane)
    async with _signalled() as stop, made as sandbox:
        for mesh, path in sandbox.kubeconfigs.items():
            say(f"{mesh}: {sandbox.servers[mesh].url}  kubectl --kubeconfig {path} get namespaces")
        if data_plane is not None:
            sandbox.data_plane.heard = lambda problem: say(f"problem: {problem}")
            if install:
                await _install(sandbox.data_plane, stop, say)
        say("ready")
        await stop.wait()


async def _install(plane: DataPlane, stop: asyncio.Event, say: Callable[[str], None]) -> None:
    """Install a gateway and a controller in each mesh, and ``say`` how it goes until they are at work."""
    for mesh in plane.meshes.values():
        await mesh.install()
    told: set[str] = set()
    settling, stopping = asyncio.create_task(plane.settled()), asyncio.create_task(stop.wait())
    try:
        while not settling.done() and not stopping.done():
            for line in [line for mesh in plane.meshes.values() for line in mesh.unsettled()]:
                if line not in told:
                    told.add(line)
                    say(f"waiting: {line}")
            await asyncio.wait({settling, stopping}, timeout=1, return_when=asyncio.FIRST_COMPLETED)
    finally:
        settling.cancel()
        stopping.cancel()
