"""``meshfed sandbox``: meshes on this machine, for trying things out with kubectl."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from meshfed.cli.exits import BadInput, Exit, OutOfReach


def sandbox(
    *,
    meshes: str = "east,west",
    directory: Annotated[Path | None, Parameter(name="--dir")] = None,
    crds: Annotated[tuple[Path, ...], Parameter(name="--crds", show_default=False)] = (),
    rbac: Annotated[bool, Parameter(show_default=False)] = False,
    data_plane: Annotated[bool, Parameter(show_default=False)] = False,
    install: Annotated[bool, Parameter(negative="--no-install")] = True,
    trust: Literal["shared", "federated", "none"] = "shared",
    routers: Annotated[str, Parameter(show_default=False)] = "",
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
    rbac
        Serve HTTPS and let roles and bindings decide, as in a real cluster; the kubeconfigs are an administrator's.
    data_plane
        Run Pods, each with an Envoy as sidecar, and install in each mesh an ingress gateway and a controller. Logs are
        in `<dir>/<mesh>`.
    install
        With --data-plane, whether that gateway and that controller are installed. Without, a mesh is as Istio alone
        leaves it, for the guides to go on from.
    trust
        With --data-plane, whom workloads believe: one root for all meshes, a root for each with exchanged bundles, or
        a root for each that no other mesh trusts.
    routers
        With --data-plane, the meshes that have an OpenShift router, separated by commas: a HAProxy, which has to be
        installed.
    """
    from meshfed.api.crds import all_crds
    from meshfed_sandbox import SandboxError, run_sandbox

    names = [name.strip() for name in meshes.split(",")]
    routed = frozenset(name.strip() for name in routers.split(",") if name.strip())
    if routed and not data_plane:
        raise BadInput(f"--routers {routers}: a router carries requests, which are there with --data-plane alone")
    if not install and not data_plane:
        raise BadInput("--no-install: nothing is installed without --data-plane")
    if strangers := sorted(routed - set(names)):
        raise BadInput(f"--routers: {', '.join(strangers)} is not among the meshes: {', '.join(names)}")
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="meshfed-sandbox-")))
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"--dir {directory}: {error.strerror}") from error
        say = functools.partial(print, flush=True)
        try:
            if not data_plane:
                asyncio.run(
                    run_sandbox(names, directory=directory, crds=all_crds(), crd_files=crds, rbac=rbac, say=say)
                )
            else:
                from meshfed_sandbox.dataplane.network import PodLoop
                from meshfed_sandbox.dataplane.plane import Options
                from meshfed_sandbox.dataplane.router import RouterError

                running = run_sandbox(
                    names,
                    directory=directory,
                    crds=all_crds(),
                    crd_files=crds,
                    rbac=rbac,
                    install=install,
                    data_plane=Options(trust=trust, routers=routed),
                    say=say,
                )
                try:
                    with asyncio.Runner(loop_factory=PodLoop) as runner:
                        runner.run(running)
                except* RouterError as errors:
                    raise OutOfReach(str(errors.exceptions[0])) from errors
        except SandboxError as error:
            raise BadInput(str(error)) from error
        except OSError as error:
            raise OutOfReach(str(error)) from error
    return Exit.OK
