"""``meshfed link``: the card of this mesh, and the RemoteMesh that follows from another's."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import cyclopts
from cyclopts import Parameter

from meshfed.cli.clusters import CONTROLLERS, OURS, One, Wanted, clusters, look_at_one, settled
from meshfed.cli.exits import BadInput, Exit, NotHeld, OutOfReach
from meshfed.cli.output import How, Listing, TableColumn, document, one_line, say, show

if TYPE_CHECKING:
    from meshfed.api.v1alpha1 import RemoteMesh
    from meshfed.plan.values import Place
    from meshfed.views.cards import CardRoot, MeshCard
    from meshfed.views.snapshot import Document, Snapshot

FIELD_MANAGER: Final = "meshfed-link"
"""Who has set what a card states, to the API server."""
_LOOK_SECONDS: Final = 1.0
_FEDERATIONS, _REMOTES, _ = OURS
_WAYS_IN: Final = (
    Wanted("", "Service", everywhere=True),
    Wanted("route.openshift.io", "Route", everywhere=True, optional=True),
)


@Parameter(name="*")
@dataclass(frozen=True)
class AsRun:
    """How the controller of this mesh is run."""

    service_account: str | None = None
    """The ServiceAccount that it runs as. Without it: that of its Deployment."""
    mesh_config: str = "istio"
    """As the controller's: the ConfigMap, in the control plane namespace, with Istio's configuration of this mesh."""
    trust_bundle: str = "istio-ca-root-cert"
    """As the controller's: the ConfigMap, beside it, with the root certificates that this mesh trusts."""


app = cyclopts.App(name="link")


@app.command
def card(
    *,
    address: Annotated[list[str] | None, Parameter(name="--address", negative="")] = None,
    output: Annotated[Literal["yaml", "json"], Parameter(name=["--output", "-o"])] = "yaml",
    run: AsRun = AsRun(),
    one: One = One(),  # noqa: B008 - immutable
) -> int:
    """Print what the owner of another mesh needs of this one to federate with it. No secret is in it.

    Who can change it on its way can put themselves in this mesh's place: hand it over in a way that you both trust.

    Exit codes: 0 printed, 1 something that it needs is not seen, 2 bad usage, 3 the cluster cannot be reached.

    Parameters
    ----------
    address
        Where this mesh's gateway, or its router, is reached, as HOST or HOST:PORT; may be given several times. Without
        it: what the status and `externalIPs` of the gateway's Service say, or the routers that admitted Routes.
    output
        A document in YAML or JSON.
    """
    from meshfed.api.errors import InvalidInput
    from meshfed.model.reasons import Reason
    from meshfed.views.cards import KIND, CardIncomplete, gateway_addresses, mesh_card
    from meshfed.views.exports import planned

    wanted = (_FEDERATIONS, *(() if address else _WAYS_IN), *(() if run.service_account else (CONTROLLERS,)))
    snapshot = look_at_one(one, wanted, mesh_config_map=run.mesh_config, trust_bundle=run.trust_bundle)
    account = _account(snapshot, run)
    if account is None:
        raise NotHeld(
            f"as which account the controller runs is not seen in namespace {snapshot.namespace}: say it by "
            "--service-account"
        )
    plan, _ = planned(snapshot, mesh_config_map=run.mesh_config, account=account)
    if plan.mesh is None:
        raise NotHeld(f"there is no MeshFederation in namespace {snapshot.namespace}: name another with --namespace")
    for status in plan.statuses:
        for condition in status.conditions:
            if condition.reason is Reason.TRUST_DOMAIN_MISMATCH:
                say(f"warning: {condition.message}")
    roots = _roots(snapshot, run)
    if not roots:
        say(f"warning: the card has no root: there is none in ConfigMap {snapshot.namespace}/{run.trust_bundle}")
    try:
        found = mesh_card(plan.mesh, address or gateway_addresses(snapshot, plan.mesh), roots or ())
    except CardIncomplete as error:
        raise NotHeld(str(error)) from error
    except InvalidInput as error:
        raise BadInput("; ".join(str(error).splitlines())) from error
    print(document(KIND, _plain(found), output))
    return Exit.OK


@app.default
def link(
    *,
    file: Annotated[str, Parameter(name=["--file", "-f"], allow_leading_hyphen=True)],
    import_: Annotated[bool | None, Parameter(name="--import", negative="--publish-only", show_default=False)] = None,
    merge: Annotated[bool, Parameter(show_default=False)] = False,
    diff: Annotated[bool, Parameter(show_default=False)] = False,
    apply: Annotated[bool, Parameter(show_default=False)] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], show_default=False)] = False,
    wait: Annotated[bool, Parameter(show_default=False)] = False,
    timeout: str = "2m",
    output: Annotated[Literal["table", "yaml", "json"] | None, Parameter(name=["--output", "-o"])] = None,
    run: AsRun = AsRun(),
    one: One = One(),  # noqa: B008 - immutable
) -> int:
    """Print, or apply, the RemoteMesh that follows from another mesh's card.

    What stands in the way is refused at once: its name, network or identity is this mesh's or another RemoteMesh's.
    What may keep calls from being accepted, such as roots that have nothing in common, is a warning.

    Exit codes: 0 printed, applied, or no drift, 1 something stands in the way or there is drift, 2 bad usage or no
    card, 3 the cluster cannot be reached.

    Parameters
    ----------
    file
        The card; `-` for standard input.
    import_
        Import what it offers, or only let it hear what this mesh exports. Without either: as the RemoteMesh has it, and
        a new one imports.
    merge
        The remote may also serve hosts that this mesh has.
    diff
        Show in which fields the RemoteMesh is not as the card says.
    apply
        Apply it; what is not in the card, such as import rules, stays as it is.
    yes
        Ask nothing. Needed to change a RemoteMesh where nobody is there to answer.
    wait
        With `--apply`: wait until it is ready and reached, and say what is waited for.
    timeout
        How long to wait, such as 90s or 10m.
    output
        A document, or, of `--diff`, a table. Without it: YAML, and a table.
    """
    import asyncio

    from meshfed.cli.arguments import duration
    from meshfed.views.links import commented, drift, imported, remote_mesh, to_apply

    seconds = duration("--timeout", timeout)
    _refuse_together(import_=import_, merge=merge, diff=diff, apply=apply, wait=wait, output=output)
    card = _read_card(file)
    if diff:
        snapshot = look_at_one(one, (_FEDERATIONS, _REMOTES))
        return _diff(snapshot, card, _before(snapshot, card.name), output or "table")
    wanted = (_FEDERATIONS, _REMOTES, *(() if run.service_account else (CONTROLLERS,)))
    snapshot = look_at_one(one, wanted, mesh_config_map=run.mesh_config, trust_bundle=run.trust_bundle)
    before = _before(snapshot, card.name)
    if before is not None and before.metadata.deletion_timestamp:
        raise NotHeld(f"RemoteMesh {card.name} is being deleted: wait until it is gone")
    manifest = remote_mesh(card, snapshot.namespace, before, imported(before, wanted=import_, merge=merge))
    account = _account(snapshot, run)
    if account is None:
        say("not compared: the remote's identity with this mesh's own, which is not seen: say it by --service-account")
    _judge(snapshot, card, manifest, account, run)
    changes = drift(card, before, snapshot.mesh) if before is not None else ()
    for change in changes:
        say(f"it changes RemoteMesh {card.name}: {change.field} from {change.here} to {change.card}")
    if not apply:
        print(commented(manifest, card) if output != "json" else _as_json(manifest))
        return Exit.OK
    if changes and not yes and not _confirmed(card.name):
        raise NotHeld("nothing was applied")
    return asyncio.run(_apply(settled(one, snapshot), to_apply(manifest, card), seconds if wait else None))


def _refuse_together(
    *, import_: bool | None, merge: bool, diff: bool, apply: bool, wait: bool, output: str | None
) -> None:
    if merge and import_ is False:
        raise BadInput("--merge is of what is imported: leave out --publish-only, or --merge")
    if diff and (apply or merge or import_ is not None):
        raise BadInput("--diff only compares: leave out what says what to apply")
    if wait and not apply:
        raise BadInput("--wait waits for what --apply applied: give both")
    if output is not None and (apply or (output == "table" and not diff)):
        raise BadInput(f"--output {output} has no meaning here: a table is of --diff, and --apply prints no document")


def _read_card(file: str) -> MeshCard:
    from meshfed.api.errors import InvalidInput
    from meshfed.views.cards import LARGEST, read_card

    source = "standard input" if file == "-" else file
    try:
        if file == "-":
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(LARGEST + 1)
        card, unknown = read_card(data.decode(), source)
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{source}: it is not text in UTF-8") from error
    except InvalidInput as error:
        raise BadInput("; ".join(str(error).splitlines())) from error
    if unknown:
        names = ", ".join(sorted(unknown)[:5])
        say(f"{source}: not known to this version, and not looked at: {names}{' and more' if len(unknown) > 5 else ''}")
    return card


def _account(snapshot: Snapshot, run: AsRun) -> Place | None:
    """Return namespace and name of the controller's account; ``None`` where it is not seen."""
    from meshfed.cli.arguments import account
    from meshfed.views.cards import accounts

    if run.service_account is not None:
        return snapshot.namespace, account(run.service_account)
    found = accounts(snapshot)
    return (snapshot.namespace, found[0]) if len(found) == 1 else None


def _roots(snapshot: Snapshot, run: AsRun) -> tuple[CardRoot, ...] | None:
    """Return the roots that this mesh trusts; ``None`` where they cannot be read."""
    from meshfed.probe import Roots
    from meshfed.views.cards import card_root

    for one in snapshot.of_kind("ConfigMap"):
        if (one["metadata"]["namespace"], one["metadata"]["name"]) == (snapshot.namespace, run.trust_bundle):
            try:
                found = Roots("\n".join(map(str, (one.get("data") or {}).values()))).authorities()
                return tuple(card_root(root.sha256, root.not_after) for root in found)
            except ValueError as error:
                say(f"ConfigMap {snapshot.namespace}/{run.trust_bundle}: {error}")
    return None


def _before(snapshot: Snapshot, name: str) -> RemoteMesh | None:
    """Return the RemoteMesh that there is; raises ``NotHeld`` where nobody can say whether, or what is in it."""
    from meshfed.views.links import find_remote

    if "RemoteMesh" in snapshot.unread or "MeshFederation" in snapshot.unread:
        raise NotHeld("nothing is compared: what this mesh and its remotes are cannot be seen")
    found = next((one for one in snapshot.remotes if one.metadata.name == name), None)
    if found is None and find_remote(snapshot, name) is not None:
        raise NotHeld(f"there is a RemoteMesh {name} that this version does not understand: it is left alone")
    return found


def _judge(snapshot: Snapshot, card: MeshCard, manifest: Document, account: Place | None, run: AsRun) -> None:
    """Say what to think about; raises ``NotHeld`` where something stands in the way."""
    from meshfed.api.errors import InvalidInput
    from meshfed.api.objects import decode_object
    from meshfed.api.v1alpha1 import RemoteMesh
    from meshfed.views.exports import planned
    from meshfed.views.links import concerns, obstacles

    try:
        decode_object(manifest, RemoteMesh)
    except InvalidInput as error:
        raise BadInput("; ".join(str(error).splitlines())) from error
    plan, problems = planned(snapshot, mesh_config_map=run.mesh_config, account=account)
    for problem in problems:
        say(f"left out: {problem}")
    found = obstacles(snapshot, manifest, account=account, mesh_config_map=run.mesh_config)
    if found:
        raise NotHeld(f"in the way of RemoteMesh {card.name}: {'; '.join(found)}")
    if plan.mesh is None:
        return
    roots = _roots(snapshot, run)
    trusted = [one.sha256 for one in roots] if roots is not None else None
    merges = bool((manifest["spec"].get("import") or {}).get("merge"))
    for concern in concerns(card, plan.mesh, trusted, snapshot.taken, merge=merges):
        say(f"warning: {concern}")


def _diff(
    snapshot: Snapshot, card: MeshCard, remote: RemoteMesh | None, output: Literal["table", "yaml", "json"]
) -> int:
    from meshfed.views.links import drift

    if remote is None:
        raise NotHeld(f"there is no RemoteMesh {card.name} in namespace {snapshot.namespace} to compare the card with")
    rows = drift(card, remote, snapshot.mesh)
    columns = [
        TableColumn[Any]("FIELD", lambda one: one.field),
        TableColumn[Any]("CARD", lambda one: one.card),
        TableColumn[Any]("REMOTEMESH", lambda one: one.here),
    ]
    nothing = f"RemoteMesh {card.name} is as the card says"
    show(Listing("DriftList", columns, rows, lambda one: one.field, nothing=nothing), How(output=output))
    return Exit.NOT_HELD if rows else Exit.OK


def _confirmed(name: str) -> bool:
    if not sys.stdin.isatty():
        raise BadInput(f"nobody is there to confirm that RemoteMesh {name} changes: give --yes")
    print(f"Change RemoteMesh {name}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def _apply(one: One, manifest: Document, seconds: float | None) -> int:
    """Apply a RemoteMesh and, where ``seconds`` are given, wait for that long until it is ready and reached."""
    from meshfed.kube import Client, Conflict, Forbidden, Invalid, KubeError, PatchType, Resource

    resource = Resource("federation.openshift-service-mesh.io", "v1alpha1", "remotemeshes", "RemoteMesh")
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    (_, config), *_ = clusters(one.where)
    try:
        async with Client(config, field_manager=FIELD_MANAGER) as client:
            stored = await client.patch(resource, name, manifest, namespace=namespace, patch_type=PatchType.APPLY)
            print(f"remotemesh.federation.openshift-service-mesh.io/{name} applied", flush=True)
            _refuse_what_others_keep(manifest, stored)
            if seconds is not None:
                await _until_reached(client, resource, name, namespace, seconds)
    except Conflict as error:
        raise NotHeld(f"{error}; change it there: without --apply, the RemoteMesh is printed") from error
    except (Forbidden, Invalid) as error:
        raise NotHeld(str(error)) from error
    except KubeError as error:
        raise OutOfReach(str(error)) from error
    return Exit.OK


def _refuse_what_others_keep(manifest: Document, stored: Document) -> None:
    """Raise ``NotHeld`` where what was applied is not what there is: others' entries in a list stay."""
    wanted, found = manifest["spec"], stored["spec"]
    kept = ["import"] if "import" in found and "import" not in wanted else []
    if more := sorted(set(found["addresses"]) - set(wanted["addresses"])):
        kept.append(f"addresses {', '.join(more)}")
    if kept:
        name = manifest["metadata"]["name"]
        raise NotHeld(f"RemoteMesh {name} still has {' and '.join(kept)}, which somebody else has set: remove it there")


async def _until_reached(client: Any, resource: Any, name: str, namespace: str, seconds: float) -> None:
    """Wait until a RemoteMesh is ready and reached, and say what is waited for."""
    import asyncio

    from meshfed.api.v1alpha1 import RemoteMesh
    from meshfed.kube import NotFound
    from meshfed.views.links import standing

    said = ""
    try:
        async with asyncio.timeout(seconds):
            while True:
                now = standing(await client.get(resource, name, namespace=namespace, into=RemoteMesh))
                if now.done:
                    print(one_line(now.said))
                    return
                if now.said != said:
                    said = now.said
                    say(f"waiting: {said}")
                await asyncio.sleep(_LOOK_SECONDS)
    except NotFound as error:
        raise NotHeld(f"RemoteMesh {name} was deleted") from error
    except TimeoutError as error:
        raise NotHeld(f"after {seconds:g} s RemoteMesh {name} is not reached: {said}") from error


def _plain(found: MeshCard) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain


def _as_json(manifest: Document) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(manifest), indent=2).decode()
