"""``meshfed status``: one mesh on one screen, what is wrong first."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from meshfed.cli.clusters import LEASES, OURS, Where, look
from meshfed.cli.exits import Exit
from meshfed.cli.output import LOOK_SECONDS, Paint, document, holds, one_line, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from meshfed.views.controllers import ControllerView
    from meshfed.views.documents import Unreached
    from meshfed.views.meshes import MeshView
    from meshfed.views.problems import ProblemView


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
    from meshfed.views.meshes import is_well, mesh

    shown: Any = None
    paint = Paint()
    while True:
        snapshots, unreached = look(where, (*OURS, LEASES))
        views = [mesh(snapshot) for snapshot in snapshots]
        if how.output == "text":
            text = "\n\n".join(
                [
                    *("\n".join(page(view, one.taken, paint)) for view, one in zip(views, snapshots, strict=True)),
                    *(f"{one_line(one.source)}: not reached: {one_line(one.why)}" for one in unreached),
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

    kept = view.controller.alive is True or "Lease" in view.unread
    state = {"True": "is ready", "False": "is not ready"}.get(view.ready, "is not known to be ready")
    state = state if kept or view.ready != "True" else "was ready when a controller last said so"
    since = f" for {age(view.since, now)}" if view.since and kept else ""
    shown = paint(state, good=holds(view.ready) if kept else None)
    place = one_line(f"(namespace {view.namespace}, {view.source})")
    yield f"Mesh {one_line(view.mesh)} {shown}{since} {place}"
    if not view.found:
        yield one_line(f"  {view.message}")
    heading = "Controller"
    for line in _controller(view.controller, now, paint, read="Lease" not in view.unread):
        yield f"  {heading:<12}{line}"
        heading = ""
    if view.found:
        yield f"  Exports     {view.exported} Services"
        counts = ", ".join(f"{number} {state}" for state, number in sorted(view.imports.items()))
        yield f"  Imports     {view.imported} hosts" + (f" (offers: {counts})" if counts else "")
    for why in view.unread.values():
        yield paint(f"  Not seen: {one_line(why)}", good=None)
    if view.problems:
        yield ""
        yield paint("What is wrong", good=False)
        for problem in view.problems:
            yield from _problem(problem, now)
    if view.remotes:
        yield ""
        yield from table([*remote_columns()], view.remotes)


def _controller(found: ControllerView, now: datetime, paint: Paint, *, read: bool) -> Iterator[str]:
    from meshfed.views.ages import age

    def heard(renewed: str) -> str:
        return f"heard {age(renewed, now)} ago"

    leader = found.leader
    if not read:
        yield "not known"
    elif leader is None:
        if not found.replicas:
            yield paint("there is no Lease of one", good=None)
    elif leader.alive:
        yield one_line(f"{leader.name} leads for {age(leader.since, now)}, {heard(leader.renewed)}")
    else:
        last = f"{leader.name} led, and was last {heard(leader.renewed)}: " if leader.name else ""
        yield paint(one_line(f"{last}nobody leads"), good=False)
    for one in found.replicas:
        serves = f", serves {', '.join(one.subscribers)}" if one.subscribers else ""
        leads = " (leads)" if one.leads else ""
        line = one_line(f"{one.name}{leads}: version {one.version}, {heard(one.renewed)}{serves}")
        yield line if one.alive else paint.faint(f"{line}: it is gone")


def _problem(problem: ProblemView, now: datetime) -> Iterator[str]:
    from meshfed.views.ages import age

    names = ", ".join(problem.objects) + (
        f" and {problem.count - len(problem.objects)} more" if problem.count > len(problem.objects) else ""
    )
    what = " ".join(part for part in (problem.condition, problem.status, problem.reason) if part)
    since = f", for {age(problem.since, now)}" if problem.since else ""
    yield one_line(f"  {problem.kind} {names}: {what}{since}")
    yield one_line(f"    {problem.message}")
