"""How ``meshfed plan`` prints: objects, a report, and what a change would do, for people, machines and comments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TextIO

from meshfed.cli.output import Paint, document, one_line

if TYPE_CHECKING:
    from meshfed.plan import Plan
    from meshfed.views.differences import ObjectChange
    from meshfed.views.plan_diffs import PlanDiffView
    from meshfed.views.traffic import TrafficChange

LIMIT: Final = 60_000
"""The most characters of a comment: those who host code take some 65,000."""
_SHOWN: Final = 10
"""The most hosts that are named of one change."""


def print_objects(result: Plan, output: str, stream: TextIO) -> None:
    """Print every object."""
    if output == "json":
        _print_json({"apiVersion": "v1", "kind": "List", "items": list(result.objects)}, stream)
        return
    from meshfed.api.documents import encode_documents

    stream.write(encode_documents(result.objects))


def print_report(result: Plan, output: str, stream: TextIO) -> None:
    """Print what a plan says beside its objects."""
    from meshfed.api.documents import encode_document
    from meshfed.plan.report import report

    found = report(result)
    if output == "json":
        _print_json(found, stream)
    else:
        stream.write(encode_document(found))


def _print_json(found: object, stream: TextIO) -> None:
    json.dump(found, stream, indent=2, ensure_ascii=False)
    stream.write("\n")


def print_diff(view: PlanDiffView, output: str, stream: TextIO, *, summary: bool) -> None:
    """Print what a change would do."""
    import msgspec

    if summary:
        bare = tuple(msgspec.structs.replace(one, diff="") for one in view.objects)
        view = msgspec.structs.replace(view, objects=bare)
    match output:
        case "json" | "yaml":
            fields = {field: getattr(view, field) for field in view.__struct_fields__}
            stream.write(document("PlanDiff", fields, "json" if output == "json" else "yaml") + "\n")
        case "markdown":
            stream.write(markdown(view))
        case _:
            stream.writelines(line + "\n" for line in _text(view))


def _counts(view: PlanDiffView) -> str:
    if not view.differs:
        return "no difference"
    if not view.objects:
        return "no object differs"
    first = "object" if view.creates == 1 else "objects"
    return f"{view.creates} {first} to create, {view.changes} to change, {view.deletes} to delete"


# --- text -----------------------------------------------------------------------------------------


def _text(view: PlanDiffView) -> Iterator[str]:
    paint = Paint()
    yield one_line(f"Mesh {view.mesh or '-'} against {view.against}: {_counts(view)}")
    if view.traffic:
        yield from ("", "Traffic")
    for change in view.traffic:
        yield f"  {one_line(change.says)}"
        yield from (f"    {one_line(line)}" for line in _hosts(change))
    for action in dict.fromkeys(sorted(one.action for one in view.objects)):
        yield from ("", f"To {action.lower()}")
        yield from (f"  {one_line(_named(one))}" for one in view.objects if one.action == action)
    if view.left:
        yield from ("", "Left alone")
    for left in view.left:
        yield f"  {one_line(f'{left.kind} {left.namespace}/{left.name}')}"
        yield f"    {one_line(left.why)}"
    for one in view.objects:
        if one.diff:
            yield from ("", one_line(f"{one.action} {_named(one)}"))
            yield from (_painted(line, paint) for line in one.diff.splitlines())


def _painted(line: str, paint: Paint) -> str:
    line = one_line(line)
    return paint(line, good=line.startswith("+")) if line.startswith(("+", "-")) else line


def _hosts(change: TrafficChange) -> Iterator[str]:
    yield from _first(change.hosts)
    if change.now:
        yield "now:"
        yield from (f"  {one}" for one in _first(change.now))


def _first(names: Sequence[str]) -> Iterator[str]:
    yield from names[:_SHOWN]
    if len(names) > _SHOWN:
        yield f"and {len(names) - _SHOWN} more"


def _named(one: ObjectChange) -> str:
    return f"{one.kind} {one.namespace}/{one.name}" if one.namespace else f"{one.kind} {one.name}"


# --- Markdown -------------------------------------------------------------------------------------


def markdown(view: PlanDiffView, limit: int = LIMIT) -> str:
    """Return it as Markdown of at most ``limit`` characters; what does not fit is counted."""
    title = f"### Meshfed: mesh {_code(view.mesh or '-')} against {_code(view.against)}\n\n"
    page = title + f"**{_counts(view).capitalize()}**\n"
    sections: list[tuple[str, list[tuple[str, str]]]] = [
        ("Warnings", [(f"- {_code(one)}\n", "") for one in view.warnings]),
        ("Traffic", [(_item(change), "") for change in view.traffic]),
        (
            "Left alone",
            [(f"- {_code(f'{one.kind} {one.namespace}/{one.name}')}: {one.why}\n", "") for one in view.left],
        ),
        ("Objects", [(_details(one), f"- {one.action} {_code(_named(one))}\n") for one in view.objects]),
    ]
    for number, (heading, parts) in enumerate(sections, start=1):
        if parts:
            # Each section may take half of what is left, the last one all of it.
            room = limit - len(page) if number == len(sections) else (limit - len(page)) // 2
            page += _section(f"\n**{heading}**\n\n", parts, room)
    return page


def _section(heading: str, parts: Sequence[tuple[str, str]], room: int) -> str:
    """Return a heading and what fits below it: of each part the whole, else what stands for it, else its number."""
    rest = "- and {} more: `-o json` has them all\n"
    room -= len(heading) + len(rest) + 10
    kept = [heading]
    for number, part in enumerate(parts):
        fitting = next((one for one in part if one and len(one) <= room), None)
        if fitting is None:
            return "".join([*kept, rest.format(len(parts) - number)])
        room -= len(fitting)
        kept.append(fitting)
    return "".join(kept)


def _item(change: TrafficChange) -> str:
    hosts = ", ".join(_codes(change.hosts))
    now = f" (now {', '.join(_codes(change.now))})" if change.now else ""
    return f"- {one_line(change.says)}: {hosts}{now}\n"


def _codes(names: Iterable[str]) -> list[str]:
    return [_code(one) if not one.startswith("and ") else one for one in _first(tuple(names))]


def _details(one: ObjectChange) -> str:
    if not one.diff:
        return f"- {one.action} {_code(_named(one))}\n"
    diff = "\n".join(map(one_line, one.diff.splitlines()))
    fence = _fence(diff, 3)
    summary = f"<summary>{one.action} <code>{_named(one)}</code></summary>"
    return f"<details>{summary}\n\n{fence}diff\n{diff}\n{fence}\n\n</details>\n"


def _code(text: str) -> str:
    """Return a text that says nothing to Markdown; much of it comes from strangers."""
    text = one_line(text)
    fence = _fence(text, 1)
    pad = " " if fence != "`" else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _fence(text: str, shortest: int) -> str:
    """Return more backticks than ``text`` has in a row."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(shortest, longest + 1)
