"""``meshfed report``: what a mesh holds and says, in one file for a colleague or an issue."""

from __future__ import annotations

import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter, validators

from meshfed.cli.clusters import InClusters, clusters, look_at
from meshfed.cli.exits import BadInput, Exit
from meshfed.cli.kinds import CONTROLLERS, EVENTS, LEASES, OURS, SURROUNDINGS
from meshfed.cli.output import Paint, say
from meshfed.model.installation import MESH_CONFIG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfed.kube import Client, ClusterConfig
    from meshfed.model.last_hour import ChangesSeen
    from meshfed.views.importers import ImportersSeen
    from meshfed.views.pseudonyms import Pseudonyms
    from meshfed.views.snapshot import Snapshot, Unreached

_MOST_BYTES: Final = 4 * 1024 * 1024
"""Of each log, the last."""


def report(
    *,
    to: Annotated[str | None, Parameter(name=["--to"], allow_leading_hyphen=True)] = None,
    tail: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 10000,
    pseudonyms: Annotated[bool, Parameter(show_default=False)] = False,
    dry_run: Annotated[bool, Parameter(show_default=False)] = False,
    mesh_config: str = MESH_CONFIG,
    where: InClusters = InClusters(),  # noqa: B008 - immutable
) -> int:
    """Put what a mesh holds and says into one file for a colleague: objects, Events, metrics and logs.

    No Secret is in it, and of Pods nothing but what decides something here. `dashboard.html` in it shows
    all that in a browser, without a network. `meshfed status`, `exports`, `imports`, `remotes` and `dashboard` take it
    with `-f` in place of a cluster, and so does `meshfed plan -f`, which works it out again.

    Exit codes: 0 written, 2 bad usage, 3 a cluster cannot be reached; what could be is written all the same.

    Parameters
    ----------
    to
        The file to write; by default `meshfed-report-<mesh>-<time>.tgz` here. `-` is standard output.
    tail
        How many lines of each log, the last.
    pseudonyms
        Give meshes, namespaces, Services, accounts, pods, hosts and addresses other names, the same thing the same one.
    dry_run
        List what would be in it, with sizes, and write nothing.
    mesh_config
        The name of the ConfigMap with Istio's configuration of the mesh, as for the controller.
    """
    import asyncio

    from meshfed.views.bundles import packed

    found = clusters(where)
    snapshots, unreached, files = asyncio.run(_gather(found, where, tail, mesh_config))
    if pseudonyms:
        snapshots, files = _renamed(snapshots, files)
    members = _members(snapshots, files) | _page(snapshots, mesh_config)
    for one in unreached:
        say(f"{one.source}: not reached: {one.why}")
    if not members:
        return Exit.OUT_OF_REACH
    if dry_run:
        for name, content in members.items():
            print(f"{len(content):>10}  {name}")
        return Exit.OUT_OF_REACH if unreached else Exit.OK
    now = time.time()
    _write(packed(members, moment=now), to or _name(snapshots, now))
    return Exit.OUT_OF_REACH if unreached else Exit.OK


Files = dict[str, dict[str, str]]
"""By the source of a snapshot, texts beside its objects, by path."""


async def _gather(
    found: Sequence[tuple[str, ClusterConfig]], where: InClusters, tail: int, mesh_config: str
) -> tuple[tuple[Snapshot, ...], tuple[Unreached, ...], Files]:
    import msgspec

    from meshfed.cli.importers import of_cluster
    from meshfed.kube import Client

    wanted = (*OURS, LEASES, EVENTS, CONTROLLERS, *SURROUNDINGS)
    say(f"reading {', '.join(source for source, _ in found)}")
    snapshots, unreached = await look_at(found, where, wanted, mesh_config_map=mesh_config)
    configs = dict(found)
    files: Files = {}
    whole: list[Snapshot] = []
    for snapshot in snapshots:
        say(f"{snapshot.source}: {len(snapshot.objects)} objects; reading logs and metrics of the controller")
        async with Client(configs[snapshot.source]) as client:
            whole.append(msgspec.structs.replace(snapshot, importers=await of_cluster(client, snapshot, None)))
            files[snapshot.source] = await _of_pods(client, snapshot, tail)
    return tuple(whole), unreached, files


async def _of_pods(client: Client, snapshot: Snapshot, tail: int) -> dict[str, str]:
    """Return logs and metrics of the controller's pods; what cannot be had says so in its place."""
    from meshfed.cli.importers import metrics_port
    from meshfed.kube import Resource
    from meshfed.views.checks.facts import controllers, place

    pods, port = Resource("", "v1", "pods", "Pod"), metrics_port(snapshot)
    names = [place(one)[1] for one in controllers(snapshot)]
    files: dict[str, str] = {}
    for name in names:
        log = pods.path(snapshot.namespace, name, "log")
        asked = {"tailLines": str(tail), "container": "controller"}
        files[f"logs/{name}.log"] = await _text(client, log, asked)
        if port is not None:
            metrics = f"{pods.path(snapshot.namespace, f'{name}:{port}', 'proxy')}/metrics"
            files[f"metrics/{name}.txt"] = await _text(client, metrics, {})
    return files


async def _text(client: Client, path: str, params: dict[str, str]) -> str:
    from meshfed.kube import KubeError

    try:
        body = (await client.fetch(path, accept="*/*", params=params)).body
    except KubeError as error:
        return f"not read: {error}\n"
    return body[-_MOST_BYTES:].decode(errors="replace")


def _renamed(snapshots: tuple[Snapshot, ...], files: Files) -> tuple[tuple[Snapshot, ...], Files]:
    import msgspec

    from meshfed.views.bundles import cleaned
    from meshfed.views.pseudonyms import Pseudonyms

    other = Pseudonyms(snapshots, secrets.token_bytes(16))
    renamed = tuple(
        msgspec.structs.replace(
            one,
            source=other.text(one.source),
            namespace=other.text(one.namespace),
            objects=tuple(other.value(cleaned(document)) for document in one.objects),
            unread={kind: other.text(why) for kind, why in one.unread.items()},
            importers=_others(one.importers, other),
        )
        for one in snapshots
    )
    texts = {
        new.source: {other.text(path): other.text(text) for path, text in files[old.source].items()}
        for old, new in zip(snapshots, renamed, strict=True)
    }
    return renamed, texts


def _others(importers: ImportersSeen | None, other: Pseudonyms) -> ImportersSeen | None:
    """Return who imports with other names: names are keys here, which `Pseudonyms.value` keeps."""
    from msgspec.structs import replace

    if importers is None:
        return None
    return replace(
        importers,
        remotes={
            other.text(name): replace(one, last=replace(one.last, host=other.text(one.last.host)) if one.last else None)
            for name, one in importers.remotes.items()
        },
        hosts={
            other.text(host): {other.text(name): current for name, current in by.items()}
            for host, by in importers.hosts.items()
        },
        why=other.text(importers.why),
        imports_took=_changes(importers.imports_took, other),
        exports_took=_changes(importers.exports_took, other),
    )


def _changes(seen: ChangesSeen, other: Pseudonyms) -> ChangesSeen:
    from msgspec.structs import replace

    return replace(seen, remotes={other.text(name): hour for name, hour in seen.remotes.items()})


def _members(snapshots: tuple[Snapshot, ...], files: Files) -> dict[str, bytes]:
    from meshfed.cli.status import page
    from meshfed.views.bundles import files as objects_of
    from meshfed.views.bundles import folders
    from meshfed.views.meshes import mesh

    members: dict[str, bytes] = {}
    for snapshot, place in zip(snapshots, folders(snapshots), strict=True):
        shown = "\n".join(page(mesh(snapshot), snapshot.taken, Paint(file=True)))
        texts = {"status.txt": f"{shown}\n", **files[snapshot.source]}
        members |= objects_of(snapshot, place)
        members |= {f"{place}/{path}": text.encode() for path, text in texts.items()}
    return members


def _page(snapshots: Sequence[Snapshot], mesh_config: str) -> dict[str, bytes]:
    """Return the dashboard's page as one file; none where that fails: a report is wanted where something is wrong."""
    if not snapshots:
        return {}
    from meshfed.dashboard.still import still

    say("working out dashboard.html")
    try:
        return {"dashboard.html": still(snapshots, mesh_config)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the rest is the report
        say(f"dashboard.html is left out, which is a fault of Meshfed: {type(error).__name__}: {error}")
        return {}


def _name(snapshots: tuple[Snapshot, ...], now: float) -> str:
    from meshfed.views.bundles import folders

    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    return f"meshfed-report-{'-'.join(folders(snapshots))}-{moment}.tgz"


def _write(archive: bytes, to: str) -> None:
    if to == "-":
        sys.stdout.buffer.write(archive)
        sys.stdout.buffer.flush()
        return
    try:
        path = Path(to)
        with path.open("xb") as file:
            path.chmod(0o600)
            file.write(archive)
    except FileExistsError as error:
        raise BadInput(f"--to {to}: it is there already; name another file") from error
    except OSError as error:
        raise BadInput(f"--to {to}: {error.strerror}") from error
    print(f"{to}: {len(archive)} bytes. Read it before you pass it on: `tar -tzf {to}`")
