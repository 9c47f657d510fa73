"""``meshfed status``: one mesh on one screen, what is wrong first."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from meshfed.cli.clusters import Where, look
from meshfed.cli.exits import Exit
from meshfed.cli.kinds import LEASES, OURS
from meshfed.cli.output import LOOK_SECONDS, Paint, document, folded, holds, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from meshfed.views.controllers import ControllerView
    from meshfed.views.meshes import MeshView
    from meshfed.views.problems import ProblemView
    from meshfed.views.snapshot import Unreached


@Parameter(name="*")
@dataclass(frozen=True)
class PageHow:
    """How to show it."""

    output: Annotated[Literal["text", "json", "yaml"], Parameter(name=["--output", "-o"])] = "text"
    """For people, or a document."""
    watch: Annotated[bool, Parameter(name=["--watch", "-w"], show_default=False)] = False
    """Stay, and show it again whenever it changes."""


def status(*, where: Where = Where(), how: PageHow = PageHow()) -> int:  # noqa: B008 - immutable
    """Show how a mesh stands: its controller, its exports and imports, its remotes, and what is wrong.

    Exit codes: 0 nothing is wrong, 1 something is, 2 bad usage, 3 a cluster cannot be reached.
    """
    shown: Any = None
    paint = Paint()
    while True:
        snapshots, unreached = look(where, (*OURS, LEASES))
        from meshfed.views.meshes import is_well, mesh  # once a cluster was asked

        views = [mesh(snapshot) for snapshot in snapshots]
        if how.output == "text":
            text = "\n\n".join(
                [
                    *("\n".join(page(view, one.taken, paint)) for view, one in zip(views, snapshots, strict=True)),
                    *("\n".join(folded(f"{one.source}: not reached: {one.why}", rest="  ")) for one in unreached),
                ]
            )
            current: Any = text
        else:
            text = document("MeshList", _fields(views, unreached), how.output)
            current = ([_lasting(view) for view in views], unreached)
        if current != shown:
            clear = "\x1b[H\x1b[2J" if how.watch and how.output == "text" and sys.stdout.isatty() else ""
            separator = "---\n" if how.watch and how.output == "yaml" else ""
            print(clear + separator + text, flush=True)
            shown = current
        if not how.watch:
            break
        time.sleep(LOOK_SECONDS)
    if unreached:
        return Exit.OUT_OF_REACH
    return Exit.OK if all(map(is_well, views)) else Exit.NOT_HELD


def _lasting(view: MeshView) -> Any:
    """Return what was seen, apart from when, so that a leader who renews its Lease is no news."""
    leader = view.controller.leader
    leads = (leader.name, leader.alive) if leader is not None else None
    replicas = [(one.name, one.version, one.alive, one.leads, one.subscribers) for one in view.controller.replicas]
    said = (view.mesh, view.namespace, view.conditions, view.exported, view.imported, view.imports, view.unread)
    return said, view.problems, view.remotes, leads, replicas


def _fields(views: Sequence[MeshView], unreached: Sequence[Unreached]) -> dict[str, Any]:
    fields: dict[str, Any] = {"items": views}
    return fields | ({"unreached": unreached} if unreached else {})


def page(view: MeshView, now: datetime, paint: Paint) -> Iterator[str]:
    """Yield the lines that show a mesh to a person."""
    from meshfed.cli.lists import remote_columns
    from meshfed.views.ages import age
    from meshfed.views.remotes import LINK, NOBODY_YET

    kept = view.controller.alive is True or "Lease" in view.unread
    state = {"True": "is ready", "False": "is not ready"}.get(view.ready, "is not known to be ready")
    state = state if kept or view.ready != "True" else "was ready when a controller last said so"
    since = f" for {age(view.since, now)}" if view.since and kept else ""
    shown = paint(state, good=holds(view.ready) if kept else None)
    place = f"(namespace {view.namespace}, {view.source})"
    # What is coloured goes in last, so that what nobody sees takes no room.
    first, *more = folded(f"Mesh {view.mesh} {state}{since} {place}", rest="  ")
    yield first.replace(state, shown, 1)
    yield from more
    if not view.found:
        yield from folded(view.message, "  ", "  ")
    heading = "Controller"
    for line, is_good in _controller(view.controller, now, read="Lease" not in view.unread):
        for part in folded(line, f"  {heading:<12}", " " * 14):
            yield part if is_good else paint(part, good=is_good) if heading else paint.faint(part)
        heading = ""
    if view.found:
        exported = f"{view.exported} {'Service' if view.exported == 1 else 'Services'}"
        yield f"  {'Exports':<12}{exported}"
        counts = ", ".join(f"{number} {state}" for state, number in sorted(view.imports.items()))
        imported = f"{view.imported} {'host' if view.imported == 1 else 'hosts'}"
        yield from folded(imported + (f" (offers: {counts})" if counts else ""), f"  {'Imports':<12}", " " * 14)
        if not view.remotes and "RemoteMesh" not in view.unread:
            yield from folded(f"{NOBODY_YET}; {LINK}", f"  {'Remotes':<12}", " " * 14)
    for why in view.unread.values():
        yield from (paint(line, good=None) for line in folded(f"Not seen: {why}", "  ", "    "))
    if view.problems:
        yield ""
        yield paint("What is wrong", good=False)
        for problem in view.problems:
            yield from _problem(problem, now)
    if view.remotes:
        yield ""
        if not kept:
            yield paint("As it was when a controller was last at work:", good=None)
        yield from table([*remote_columns()], view.remotes)


def _controller(found: ControllerView, now: datetime, *, read: bool) -> Iterator[tuple[str, bool | None]]:
    """Yield lines on who controls the mesh, and whether each is good; ``None`` where nobody knows."""
    from meshfed.views.ages import age

    def heard(renewed: str) -> str:
        return f"heard {age(renewed, now)} ago"

    leader = found.leader
    if not read:
        yield "not known", True
    elif leader is None:
        if not found.replicas:
            yield "there is no Lease of one", None
    elif leader.alive:
        yield f"{leader.name} leads for {age(leader.since, now)}, {heard(leader.renewed)}", True
    else:
        last = f"{leader.name} led, and was last {heard(leader.renewed)}: " if leader.name else ""
        yield f"{last}nobody leads", False
    for one in found.replicas:
        serves = f", serves {', '.join(one.subscribers)}" if one.subscribers else ""
        leads = " (leads)" if one.leads else ""
        line = f"{one.name}{leads}: version {one.version}, {heard(one.renewed)}{serves}"
        yield (line, True) if one.alive else (f"{line}: it is gone", None)


def _problem(problem: ProblemView, now: datetime) -> Iterator[str]:
    from meshfed.views.ages import age

    names = ", ".join(problem.objects) + (
        f" and {problem.count - len(problem.objects)} more" if problem.count > len(problem.objects) else ""
    )
    what = " ".join(part for part in (problem.condition, problem.status, problem.reason) if part)
    since = f", for {age(problem.since, now)}" if problem.since else ""
    yield from folded(f"{problem.kind} {names}{f': {what}' if what else ''}{since}", "  ", "      ")
    yield from folded(problem.message, "    ", "    ")
    if problem.consequences:
        yield from folded(f"With it: {', '.join(problem.consequences)}", "    ", "    ")
