"""``meshfed crds``: what a cluster needs to know of Meshfed's kinds, printed, or brought into one."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated, Final

import cyclopts
from cyclopts import Parameter

from meshfed.cli.exits import BadInput, Exit, NotHeld, OutOfReach

if TYPE_CHECKING:
    from meshfed.kube import ClusterConfig

app: Final = cyclopts.App(name="crds", help_format="markdown")


@app.default
def crds() -> None:
    """Print the CustomResourceDefinitions as YAML, for `kubectl apply --server-side -f -`."""
    from meshfed.api.crds import crds_yaml

    print(crds_yaml(), end="")


@app.command
def apply(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    adopt_reference: Annotated[bool, Parameter(show_default=False)] = False,
    dry_run: Annotated[bool, Parameter(show_default=False)] = False,
    timeout: str = "1m",
) -> int:
    """Bring the CustomResourceDefinitions of a cluster to this version's, and wait until they are in force.

    Objects stay, and so does all that they may have in them: the definitions of a newer version are left as they are,
    and nothing is replaced where somebody else's are among them. It prints a line for each. Running it again does no
    harm. The chart does it by itself when a release is upgraded.

    Exit codes: 0 every one is as it should be, 1 one must not be replaced, which is said with the remedy, and none was,
    or it is not in force in time, 2 bad usage, 3 the API cannot be reached, or refuses.

    Parameters
    ----------
    kubeconfig
        The kubeconfig file. Without it: $KUBECONFIG, then the pod's service account, then ~/.kube/config.
    context
        The kubeconfig's context to use.
    adopt_reference
        Replace those of the reference's controller, which must not run any more.
    dry_run
        Say what would be done, and do nothing.
    timeout
        How long to wait, such as 90s or 10m.
    """
    from meshfed.cli.arguments import duration
    from meshfed.controller.startup.definitions import CRDRefused
    from meshfed.kube import ConfigError, KubeError, detect

    seconds = duration("--timeout", timeout)
    try:
        config = detect(environ=os.environ, path=kubeconfig, context=context)
        asyncio.run(_apply(config, adopt=adopt_reference, dry_run=dry_run, seconds=seconds))
    except ConfigError as error:
        raise BadInput(str(error)) from error
    except CRDRefused as error:
        raise NotHeld(f"nothing was changed: {error}") from error
    except TimeoutError as error:
        raise NotHeld(f"after {seconds:g} s not every CRD is in force: `kubectl get crd -o yaml` says why") from error
    except KubeError as error:
        raise OutOfReach(f"{error}; this can be run again") from error
    return Exit.OK


async def _apply(config: ClusterConfig, *, adopt: bool, dry_run: bool, seconds: float) -> None:
    from meshfed.controller.startup.definitions import bring_up
    from meshfed.kube import Client

    async with Client(config) as client, asyncio.timeout(seconds):
        done = await bring_up(client, adopt=adopt, dry_run=dry_run)
    if dry_run:
        print("nothing is changed; without --dry-run:", file=sys.stderr)
    for name, said in done:
        print(f"{name}: {said}")
