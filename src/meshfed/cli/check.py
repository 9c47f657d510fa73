"""``meshfed check``: named checks before an installation, after it, and of one remote."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

from cyclopts import Parameter

from meshfed.cli.clusters import Where
from meshfed.cli.exits import BadInput, Exit, NotHeld
from meshfed.cli.facts import Asked, find_out
from meshfed.cli.output import LOOK_SECONDS, Paint, document, folded, one_line, say, width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from meshfed.views.checks import CheckView, Facts
    from meshfed.views.snapshot import Unreached

_DOCS: Final = "docs/"
_FAILING: Final = {
    "failed": {"failed"},
    "warning": {"failed", "warning"},
    "unknown": {"failed", "warning", "unknown"},
}
"""What makes the command fail, by --fail-on."""
_INDENT: Final = 11
"""Columns that the outcome takes."""


@Parameter(name="*")
@dataclass(frozen=True)
class CheckHow:
    """How to show it."""

    output: Annotated[Literal["table", "short", "json", "yaml"], Parameter(name=["--output", "-o"])] = "table"
    """For people; a line for whatever is not ok, nothing else; or a document."""


class _Found(NamedTuple):
    """What one round of checks found: of each mesh the facts, and what checks say of them."""

    facts: Sequence[Facts]
    checks: Sequence[Sequence[CheckView]]
    unreached: Sequence[Unreached]

    def all(self) -> list[CheckView]:
        """Everything that was said."""
        return [one for of_mesh in self.checks for one in of_mesh]

    def failing(self, fail_on: str) -> list[CheckView]:
        """What makes the command fail."""
        return [one for one in self.all() if one.outcome in _FAILING[fail_on]]


def check(
    remote: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    pre: Annotated[bool, Parameter(show_default=False)] = False,
    probe: Annotated[bool, Parameter(show_default=False)] = False,
    wait: str | None = None,
    fail_on: Literal["failed", "warning", "unknown"] = "failed",
    where: Where = Where(),  # noqa: B008 - immutable
    how: CheckHow = CheckHow(),
) -> int:
    """Check what a federation needs, one named check after the other, and stop at none that fails.

    Each is `ok` with its evidence and since when that says so, `warning`, `failed` with what to do and where to read
    on, `unknown` with why, or `skipped` with why. Nothing is ok that was not seen: what a controller wrote counts
    while it lives. What policies of applications say to a request is not seen.

    Exit codes: 0 nothing failed, 1 something did, 2 bad usage, 3 a cluster cannot be reached.

    Parameters
    ----------
    remote
        Only what is to be said of this RemoteMesh.
    pre
        Check what an installation needs, before there is one.
    probe
        Have the controller try the ways to remotes now, which takes `patch` on RemoteMeshes, and shake hands with their
        gateways also from where this runs, which may be elsewhere than the mesh.
    wait
        Check again until nothing fails, for at most that long, such as 90s or 10m.
    fail_on
        What makes the command fail: what failed alone, warnings too, or also what could not be found out.
    """
    from meshfed.cli.arguments import duration

    if pre and (remote or probe):
        raise BadInput(f"--pre is before there are remotes: leave {'--probe' if probe else remote} out")
    if where.file and (pre or probe or wait is not None):
        raise BadInput("--file looks at a report, which does not change: leave --pre, --probe and --wait out")
    until = time.monotonic() + (duration("--wait", wait) if wait is not None else 0.0)
    told = ""
    while True:
        found = _look(where, Asked(before=pre, remote=remote, probe=probe))
        failing = found.failing(fail_on)
        if not (failing or found.unreached) or time.monotonic() >= until:
            break
        waits = ", ".join(
            [*(" ".join(filter(None, (one.check, one.about))) for one in failing), *(u.source for u in found.unreached)]
        )
        if waits != told:
            say(f"waiting for {waits}")
            told = waits
        time.sleep(min(LOOK_SECONDS, max(until - time.monotonic(), 0.0)))
    known = not remote or any(one.remotes or one.unread("RemoteMesh") for one in found.facts)
    if not known and not found.unreached:
        raise NotHeld(f"{remote}: there is no RemoteMesh of that name here; `meshfed remotes` lists those there are")
    _show(found, how)
    if found.unreached:
        return Exit.OUT_OF_REACH
    return Exit.NOT_HELD if failing else Exit.OK


def _look(where: Where, asked: Asked) -> _Found:
    facts, unreached = asyncio.run(find_out(where, asked))

    from meshfed.views.checks import BEFORE, CHECKS, OF_REMOTE, OF_REPORT, run

    of_all = BEFORE if asked.before else OF_REPORT if where.file else CHECKS
    checks = OF_REMOTE if asked.remote else of_all
    # A remote is of the meshes that have it.
    facts = tuple(one for one in facts if not asked.remote or one.remotes or one.unread("RemoteMesh")) or facts[:1]
    return _Found(facts, [tuple(run(one, checks)) for one in facts], unreached)


# --- shown


def _show(found: _Found, how: CheckHow) -> None:
    match how.output:
        case "json" | "yaml":
            fields: dict[str, Any] = {"items": found.all()}
            if found.unreached:
                fields["unreached"] = found.unreached
            print(document("CheckList", fields, how.output), flush=True)
        case "short":
            for one in found.all():
                if one.outcome not in {"ok", "skipped"}:
                    print(_line(one, mesh=len(found.facts) > 1), flush=True)
            for away in found.unreached:
                print(one_line(f"{away.source}: not reached: {away.why}"), flush=True)
        case _:
            pages = ["\n".join(_page(*pair)) for pair in zip(found.facts, found.checks, strict=True)]
            pages += [one_line(f"{away.source}: not reached: {away.why}") for away in found.unreached]
            print("\n\n".join(pages), flush=True)


def _line(one: CheckView, *, mesh: bool) -> str:
    where = " ".join(filter(None, (one.mesh if mesh else "", f"{one.group}/{one.check}", one.about)))
    what = "; ".join(filter(None, (f"{_why(one)}{one.message}", one.remedy)))
    see = f" (see {_DOCS}{one.docs})" if one.outcome != "unknown" else ""
    return one_line(f"{one.outcome:<7} {where}: {what}{see}")


def _why(one: CheckView) -> str:
    return f"{one.reason}: " if one.reason and one.outcome in {"failed", "warning"} else ""


def _page(facts: Facts, checks: Sequence[CheckView]) -> Iterator[str]:
    snapshot = facts.snapshot
    yield one_line(f"Mesh {snapshot.mesh} (namespace {snapshot.namespace}, {snapshot.source})")
    for group, members in groupby(checks, key=lambda one: one.group):
        yield ""
        yield group
        for one in members:
            yield from _entry(one, snapshot.taken)
    counts: dict[str, int] = {}
    for one in checks:
        counts[one.outcome] = counts.get(one.outcome, 0) + 1
    yield ""
    yield ", ".join(
        f"{counts[word]} {word}" for word in ("ok", "warning", "failed", "unknown", "skipped") if word in counts
    )


def _entry(one: CheckView, now: datetime) -> Iterator[str]:
    paint, room = Paint(), width() - _INDENT
    name = " ".join(filter(None, (one.check, one.about)))
    evidence = f" ({_evidence(one, now)})" if one.evidence else ""
    lines = folded(f"{name}: {_why(one)}{one.message}{evidence}", room=room)
    outcome = f"  {one.outcome:<{_INDENT - 2}}"
    if one.outcome == "skipped":
        yield from (paint.faint(line) for line in (outcome + lines[0], *(" " * _INDENT + line for line in lines[1:])))
        return
    yield paint(outcome, good={"ok": True, "failed": False}.get(one.outcome)) + lines[0]
    if one.outcome in {"failed", "warning"}:
        lines += folded(f"Remedy: {one.remedy}", room=room) if one.remedy else []
        lines += [f"See: {_DOCS}{one.docs}"]
    yield from (" " * _INDENT + line for line in lines[1:])


def _evidence(one: CheckView, now: datetime) -> str:
    from meshfed.views.ages import age

    return f"{one.evidence}, {age(one.since, now)} old" if one.since else one.evidence
