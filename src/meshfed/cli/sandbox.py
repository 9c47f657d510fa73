"""``meshfed sandbox``: meshes on this machine, for trying things out with kubectl."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from meshfed.cli.exits import BadInput, Exit, OutOfReach
from meshfed.model.names import MAX_MESH_NAME, is_dns_label


def sandbox(
    *,
    meshes: str = "east,west",
    directory: Annotated[Path | None, Parameter(name="--dir")] = None,
    crds: Annotated[tuple[Path, ...], Parameter(name="--crds")] = (),
) -> int:
    """Bring up meshes on this machine, each with a Kubernetes API of its own, until SIGINT or SIGTERM.

    Meshfed's CRDs and Istio's, reduced to what Meshfed uses, are installed in each.

    Parameters
    ----------
    meshes
        The meshes' names, separated by commas.
    directory
        Where `<mesh>.kubeconfig` is written; a temporary folder where none is named.
    crds
        A file with other CustomResourceDefinitions to install, such as Istio's own; may be repeated.
    """
    names = mesh_names(meshes)
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="meshfed-sandbox-")))
        return asyncio.run(_run(names, directory, crds))


def mesh_names(text: str) -> list[str]:
    """The names in a comma-separated list.

    Raises:
        BadInput: one of them cannot be a mesh's name, or stands there twice.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if not is_dns_label(name) or len(name) > MAX_MESH_NAME:
            raise BadInput(f"--meshes: {name!r} is not a DNS label of at most {MAX_MESH_NAME} characters")
    if len(set(names)) < len(names):
        raise BadInput(f"--meshes: {text!r} names a mesh twice")
    return names


async def _run(names: list[str], directory: Path, crd_files: tuple[Path, ...]) -> int:
    from meshfed.api.crds import all_crds
    from meshfed.sandbox import Sandbox, SandboxError

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with Sandbox(names, directory=directory, crds=all_crds(), crd_files=crd_files) as box:
            for mesh in box.meshes:
                print(f"mesh {mesh.name}: {mesh.url}")
                print(f"  kubectl --kubeconfig {mesh.kubeconfig} get federation -A")
                print(f"  meshfed controller --kubeconfig {mesh.kubeconfig} --help")
            print("ready", flush=True)
            await stop.wait()
    except SandboxError as error:
        raise BadInput(str(error)) from error
    except OSError as error:
        raise OutOfReach(str(error)) from error
    return Exit.OK
