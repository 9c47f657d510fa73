"""``meshfed uninstall``: an installation and all that it wrote, removed."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from meshfed.cli.exits import BadInput, Exit, NotHeld, OutOfReach

if TYPE_CHECKING:
    from meshfed.controller.migration.removal import Holdings, Left
    from meshfed.kube import ClusterConfig

_SHOWN = 20
"""Objects that are named where there are more."""


def uninstall(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None,
    dry_run: Annotated[bool, Parameter(show_default=False)] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], show_default=False)] = False,
    wait: Annotated[bool, Parameter(negative="--no-wait")] = True,
    timeout: str = "5m",
) -> int:
    """Remove all that Meshfed wrote for one installation, and what it was configured by.

    That is: the RemoteMeshes and MeshFederation of one namespace, the FederatedServices, and every object of Istio and
    OpenShift that carries the installation's owner label. What anybody else wrote, other installations included, is not
    touched; neither are the CRDs. Where a controller runs it does the work, in the order that disturbs traffic least;
    where none does, it is done from here. It can be interrupted, and started again, at any moment.

    Exit codes: 0 nothing is left, 1 something remains, which is named, 2 bad usage, 3 the API cannot be reached.

    Parameters
    ----------
    kubeconfig
        The kubeconfig file. Without it: $KUBECONFIG, then the pod's service account, then ~/.kube/config.
    context
        The kubeconfig's context to use.
    namespace
        Where the MeshFederation and RemoteMeshes are. Without it: $POD_NAMESPACE, then the service account's
        namespace, then istio-system.
    dry_run
        Name everything that would be removed, and remove nothing.
    yes
        Ask nothing. Needed where nobody is there to answer.
    wait
        Wait until everything is gone; without, exit 0 says that everything was told to go. Finalizers are then
        left to the controller.
    timeout
        How long to wait, such as 90s or 10m.
    """
    from meshfed.cli.arguments import duration, pod_namespace
    from meshfed.kube import ConfigError, KubeError, detect

    seconds = duration("--timeout", timeout)
    if not (yes or dry_run or sys.stdin.isatty()):
        raise BadInput("nobody is there to confirm: give --yes to remove everything, or --dry-run to see what there is")
    place = namespace or pod_namespace()
    try:
        config = detect(environ=os.environ, path=kubeconfig, context=context)
        if dry_run:
            return asyncio.run(_show(config, place))
        return asyncio.run(_uninstall(config, place, ask=not yes, wait=wait, seconds=seconds))
    except ConfigError as error:
        raise BadInput(str(error)) from error
    except KubeError as error:
        raise OutOfReach(f"{error}; what is not removed yet stays, and this can be run again") from error


async def _show(config: ClusterConfig, namespace: str) -> int:
    from meshfed.controller.migration.removal import holdings
    from meshfed.kube import Client

    async with Client(config) as client:
        found = await holdings(client, namespace)
    for one in found.all:
        print(one)
    for unseen in found.unseen:
        _say(f"not seen: {unseen}")
    _say(f"{len(found.all)} objects of the installation in {namespace} would be removed")
    return Exit.NOT_HELD if found.unseen else Exit.OK


async def _uninstall(config: ClusterConfig, namespace: str, *, ask: bool, wait: bool, seconds: float) -> int:
    from meshfed.controller.migration.removal import Removal, holdings
    from meshfed.kube import Client

    async with Client(config) as client:
        found = await holdings(client, namespace)
        if found.is_gone:
            print(f"there is nothing of Meshfed in namespace {namespace}")
            return Exit.OK
        _print_plan(found, namespace)
        if ask and not _confirmed():
            raise NotHeld("nothing was removed")
        removal = Removal(client, namespace, say=_say)
        if not wait:
            left = await removal.request()
            if left.obstacles:
                raise NotHeld(_remaining(left))
            print(f"told to go: {len(left.holdings.all)} objects")
            return Exit.OK
        timed_out = False
        try:
            async with asyncio.timeout(seconds):
                await removal.run()
        except TimeoutError:
            timed_out = True
        left = removal.left
    if timed_out and removal.trouble:
        raise OutOfReach(f"the API failed until the time was up ({removal.trouble}); run this again to go on")
    if not left.holdings.is_gone:
        late = f"after {seconds:g} s " if timed_out else ""
        raise NotHeld(late + _remaining(left))
    print(f"removed: {removal.total} objects; nothing is left of the installation in {namespace}")
    _print_crds()
    return Exit.OK


def _print_plan(found: Holdings, namespace: str) -> None:
    print(f"to be removed, of the installation in namespace {namespace}:")
    for resource, count in found.counts().items():
        print(f"  {count:>6} {resource}")
    if not found.configured:
        print("There is no MeshFederation: where a controller runs that is configured by flags, stop it first.")
    sys.stdout.flush()


def _confirmed() -> bool:
    print("Imports stop working in this mesh, and its exports in others. Remove all of it? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _remaining(left: Left) -> str:
    named = [str(one) for one in left.holdings.all]
    held = [
        f"{one} is held by the finalizer {', '.join(one.meta.finalizers)}"
        for one in left.holdings.all
        if one.terminating and one.meta.finalizers
    ]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    what = f"{len(named)} objects remain: {', '.join(named[:_SHOWN])}{more}" if named else "what remains is not known"
    return "\n  ".join([what, *left.obstacles, *held[:_SHOWN]])


def _print_crds() -> None:
    from meshfed.api.crds import all_crds

    names = " ".join(crd["metadata"]["name"] for crd in all_crds())
    print(f"The CRDs stay, for other installations; to remove them: kubectl delete crd {names}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
