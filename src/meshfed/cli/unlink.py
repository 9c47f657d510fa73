"""``meshfed unlink``: a RemoteMesh removed, once it was said what goes with it."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter

from meshfed.cli.clusters import One, clusters, look_at_one, settled
from meshfed.cli.exits import BadInput, Exit, NotHeld, OutOfReach
from meshfed.cli.kinds import OURS, SURROUNDINGS
from meshfed.cli.output import How, Listing, TableColumn, say, show
from meshfed.model.installation import API_GROUP, MESH_CONFIG

if TYPE_CHECKING:
    from meshfed.kube import Client
    from meshfed.views.unlinking import Unlinking

_DECIDING: Final = tuple(one for one in SURROUNDINGS if one.kind not in {"EnvoyFilter", "AuthorizationPolicy", "Route"})
"""What decides who serves a host."""
_LOOK_SECONDS: Final = 1.0


def unlink(
    name: str,
    /,
    *,
    dry_run: Annotated[bool, Parameter(show_default=False)] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], show_default=False)] = False,
    wait: Annotated[bool, Parameter(negative="--no-wait")] = True,
    timeout: str = "5m",
    mesh_config: str = MESH_CONFIG,
    output: Annotated[Literal["table", "json", "yaml"], Parameter(name=["--output", "-o"])] = "table",
    one: One = One(),  # noqa: B008 - immutable
) -> int:
    """Delete a RemoteMesh, after saying which hosts go with it, and what else serves the others.

    AFTER says what is left of a host: `Gone`, nothing here has it any more; `Empty`, the local Service loses its last
    endpoint; `Served`, by whom SERVED BY names. It is decided by what the controller decides it by, from what the
    cluster holds. The controller removes what the RemoteMesh caused, and nothing else.

    Exit codes: 0 gone, or shown, 1 there is none of that name, or something remains, 2 bad usage, 3 the cluster cannot
    be reached.

    Parameters
    ----------
    name
        The name of the RemoteMesh.
    dry_run
        Say what would go, and delete nothing.
    yes
        Ask nothing. Needed where nobody is there to answer.
    wait
        Wait until the controller has removed what the RemoteMesh caused.
    timeout
        How long to wait, such as 90s or 10m.
    mesh_config
        As the controller's: the ConfigMap, in the control plane namespace, with Istio's configuration of this mesh.
    output
        The hosts as a table, or as a document.
    """
    import asyncio

    from meshfed.cli.arguments import duration
    from meshfed.views.links import find_remote
    from meshfed.views.unlinking import unlinking

    seconds = duration("--timeout", timeout)
    if not (yes or dry_run or sys.stdin.isatty()):
        raise BadInput("nobody is there to confirm: give --yes to delete it, or --dry-run to see what would go")
    snapshot = look_at_one(one, (*OURS, *_DECIDING), mesh_config_map=mesh_config)
    if unread := [one.kind for one in OURS if one.kind in snapshot.unread]:
        raise NotHeld(f"nothing is deleted: what goes with it is not known, as {unread[0]}s cannot be seen")
    remote = find_remote(snapshot, name)
    if remote is None:
        raise NotHeld(f"there is no RemoteMesh {name} in namespace {snapshot.namespace}")
    _tell(name, unlinking(snapshot, name, mesh_config_map=mesh_config), output)
    if dry_run:
        return Exit.OK
    if not yes and not _confirmed(name):
        raise NotHeld("nothing was deleted")
    uid = str(remote["metadata"].get("uid", ""))
    return asyncio.run(_delete(settled(one, snapshot), name, snapshot.namespace, uid, seconds if wait else None))


_SAID: Final = {
    "Gone": ("host goes", "hosts go"),
    "Empty": ("host loses its last endpoint", "hosts lose their last endpoint"),
    "Served": ("host is served by others", "hosts are served by others"),
}


def _tell(name: str, found: Unlinking, output: Literal["table", "json", "yaml"]) -> None:
    from meshfed.model.names import counted
    from meshfed.views.unlinking import HostAfter

    columns = [
        TableColumn[Any]("HOST", lambda one: one.host),
        TableColumn[Any]("AFTER", lambda one: one.after),
        TableColumn[Any]("SERVED BY", lambda one: ", ".join(one.served_by) or "-"),
    ]
    nothing = f"RemoteMesh {name} serves no host in this mesh"
    listing = Listing("UnlinkedHostList", columns, found.hosts, lambda one: one.host, nothing=nothing)
    show(listing, How(output=output))
    for problem in found.problems:
        say(f"left out: {problem}")
    counts = Counter(one.after for one in found.hosts)
    parts = [counted(counts[after], *_SAID[after]) for after in HostAfter if counts[after]]
    say(f"{', '.join(parts) or 'no host is touched'}; {counted(found.objects, 'object is', 'objects are')} deleted")
    if found.exports:
        say(
            f"{name} is no longer told of {counted(found.exports, 'host')} that this mesh exports. What it imports of "
            "that stays until its owner unlinks this mesh too"
        )


def _confirmed(name: str) -> bool:
    print(f"Delete RemoteMesh {name}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def _delete(one: One, name: str, namespace: str, uid: str, seconds: float | None) -> int:
    """Delete a RemoteMesh and, where ``seconds`` are given, wait for that long until what it caused is gone."""
    from meshfed.kube import Client, Conflict, Forbidden, KubeError, NotFound

    (_, config), *_ = clusters(one.where)
    try:
        async with Client(config) as client:
            await client.delete(_ours("remotemeshes", "RemoteMesh"), name, namespace=namespace, uid=uid)
            if seconds is None:
                say(f"RemoteMesh {name} is told to go")
                return Exit.OK
            await _until_gone(client, name, namespace, uid, seconds)
    except NotFound:
        pass  # somebody was faster
    except Conflict as error:
        raise NotHeld(f"RemoteMesh {name} was made anew meanwhile: look again") from error
    except Forbidden as error:
        raise NotHeld(str(error)) from error
    except KubeError as error:
        raise OutOfReach(f"{error}; what is not removed yet goes all the same while a controller runs") from error
    say(f"RemoteMesh {name} is gone, and what it caused")
    return Exit.OK


async def _until_gone(client: Client, name: str, namespace: str, uid: str, seconds: float) -> None:
    import asyncio

    said = ""
    try:
        async with asyncio.timeout(seconds):
            while left := await _left(client, name, namespace, uid):
                if left != said:
                    said = left
                    say(f"waiting: {said}")
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError as error:
        raise NotHeld(
            f"after {seconds:g} s something remains: {said}. The controller removes it: see by `meshfed status` that "
            "one runs"
        ) from error


async def _left(client: Client, name: str, namespace: str, uid: str) -> str:
    """Return what is left of a RemoteMesh and of its offers, in words; empty where nothing is."""
    from meshfed.kube import NotFound

    records = await client.list(
        _ours("federatedservices", "FederatedService"),
        namespace=namespace,
        label_selector=f"{API_GROUP}/remote={name}",
    )
    try:
        found = await client.get(_ours("remotemeshes", "RemoteMesh"), name, namespace=namespace)
    except NotFound:
        found = {"metadata": {}}
    finalizers = found["metadata"].get("finalizers") or ()
    there = found["metadata"].get("uid") == uid
    held = f"RemoteMesh {name} (finalizer {', '.join(finalizers)})" if there else ""
    return ", ".join(part for part in (f"{len(records)} FederatedServices" if records else "", held) if part)


def _ours(plural: str, kind: str) -> Any:
    from meshfed.kube import Resource

    return Resource(API_GROUP, "v1alpha1", plural, kind)
