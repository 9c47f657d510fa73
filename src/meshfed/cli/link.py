"""``meshfed link``: the card of this mesh, and the RemoteMesh that follows from another's."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import cyclopts
from cyclopts import Parameter

from meshfed.cli.clusters import One, look_at_one, settled
from meshfed.cli.exits import BadInput, Exit, NotHeld
from meshfed.cli.kinds import CONTROLLERS, OURS, Wanted
from meshfed.cli.output import How, Listing, TableColumn, as_json, document, say, show
from meshfed.model.installation import MESH_CONFIG, TRUST_BUNDLE

if TYPE_CHECKING:
    from meshfed.api.v1alpha1 import RemoteMesh
    from meshfed.plan.values import Place
    from meshfed.views.cards import CardRoot, MeshCard
    from meshfed.views.snapshot import Document, Snapshot

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
    mesh_config: str = MESH_CONFIG
    """As the controller's: the ConfigMap, in the control plane namespace, with Istio's configuration of this mesh."""
    trust_bundle: str = TRUST_BUNDLE
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
    wanted = (_FEDERATIONS, *(() if address else _WAYS_IN), *(() if run.service_account else (CONTROLLERS,)))
    snapshot = look_at_one(one, wanted, mesh_config_map=run.mesh_config, trust_bundle=run.trust_bundle)

    from meshfed.api.errors import InvalidInput
    from meshfed.model.reasons import Reason
    from meshfed.views.cards import KIND, CardIncomplete, gateway_addresses, mesh_card
    from meshfed.views.exports import planned

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
    card: Annotated[str, Parameter(allow_leading_hyphen=True, show_default=False)] = "",
    /,
    *,
    file: Annotated[str, Parameter(name=["--file", "-f"], allow_leading_hyphen=True, show_default=False)] = "",
    import_: Annotated[bool | None, Parameter(name="--import", negative="--publish-only", show_default=False)] = None,
    merge: Annotated[bool, Parameter(show_default=False)] = False,
    diff: Annotated[bool, Parameter(show_default=False)] = False,
    apply: Annotated[bool, Parameter(show_default=False)] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], show_default=False)] = False,
    dry_run: Literal["none", "client", "server"] = "none",
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
    card
        The other mesh's card, a file; `-` for standard input.
    file
        The same.
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
    dry_run
        Apply nothing, and say what would be applied: `client` compares it with what is there, `server` has the API
        server do all but store it, so that its checks and whoever manages a field have their say.
    wait
        With `--apply`: wait until it is ready and reached, and say what is waited for.
    timeout
        How long to wait, such as 90s or 10m.
    output
        A document, or, of `--diff`, a table. Without it: YAML, and a table; of `--dry-run`, the name alone.
    """
    import asyncio

    from meshfed.cli.applying import applied, apply_remote
    from meshfed.cli.arguments import duration
    from meshfed.views.links import commented, drift, effects, imported, remote_mesh, to_apply

    seconds, dry = duration("--timeout", timeout), dry_run != "none"
    if bool(card) is bool(file):
        raise BadInput("name one card, as `meshfed link CARD` or with -f: a file, or - for standard input")
    _refuse_together(import_=import_, merge=merge, diff=diff, apply=apply, dry=dry, wait=wait, output=output)
    given = _read_card(card or file)
    if diff:
        snapshot = look_at_one(one, (_FEDERATIONS, _REMOTES))
        return _diff(snapshot, given, _before(snapshot, given.name), output or "table")
    wanted = (_FEDERATIONS, _REMOTES, *(() if run.service_account else (CONTROLLERS,)))
    snapshot = look_at_one(one, wanted, mesh_config_map=run.mesh_config, trust_bundle=run.trust_bundle)
    before = _before(snapshot, given.name)
    if before is not None and before.metadata.deletion_timestamp:
        raise NotHeld(f"RemoteMesh {given.name} is being deleted: wait until it is gone")
    manifest = remote_mesh(given, snapshot.namespace, before, imported(before, wanted=import_, merge=merge))
    account = _account(snapshot, run)
    if account is None:
        say("not compared: the remote's identity with this mesh's own, which is not seen: say it by --service-account")
    _judge(snapshot, given, manifest, account, run)
    if dry:
        for effect in effects(manifest, before):
            say(f"it would {'change' if before is not None else 'make'} RemoteMesh {given.name}: {effect}")
        part = to_apply(manifest, given)
        if dry_run == "client":
            return applied(part, output, " (dry run)")
        return asyncio.run(apply_remote(settled(one, snapshot), part, None, output=output, dry=True))
    changes = drift(given, before, snapshot.mesh) if before is not None else ()
    for change in changes:
        say(f"it changes RemoteMesh {given.name}: {change.field} from {change.here} to {change.card}")
    if not apply:
        print(commented(manifest, given) if output != "json" else as_json(manifest))
        return Exit.OK
    if changes and not yes and not _confirmed(given.name):
        raise NotHeld("nothing was applied")
    return asyncio.run(apply_remote(settled(one, snapshot), to_apply(manifest, given), seconds if wait else None))


def _refuse_together(
    *, import_: bool | None, merge: bool, diff: bool, apply: bool, dry: bool, wait: bool, output: str | None
) -> None:
    if merge and import_ is False:
        raise BadInput("--merge is of what is imported: leave out --publish-only, or --merge")
    if diff and (apply or dry or merge or import_ is not None):
        raise BadInput("--diff only compares: leave out what says what to apply")
    if wait and not apply:
        raise BadInput("--wait waits for what --apply applied: give both")
    if wait and dry:
        raise BadInput("--wait waits for what was applied, and --dry-run applies nothing: leave either out")
    if output is not None and ((apply and not dry) or (output == "table" and not diff)):
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


def _plain(found: MeshCard) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain
