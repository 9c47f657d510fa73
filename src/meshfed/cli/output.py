"""How commands show what they found: tables for people, documents for machines, and what changes as it changes."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec
from cyclopts import Parameter

T = TypeVar("T")

Format = Literal["table", "wide", "json", "yaml", "name"]
LOOK_SECONDS: Final = 2.0
"""Between two looks of ``--watch``."""
_NARROWEST, _WIDEST = 60, 120
"""Columns: what is narrower cannot be read, and neither can longer lines."""


@Parameter(name="*")
@dataclass(frozen=True)
class How:
    """How to show it."""

    output: Annotated[Format, Parameter(name=["--output", "-o"])] = "table"
    """A table, with more columns if wide; a document; or the names alone."""
    watch: Annotated[bool, Parameter(name=["--watch", "-w"], show_default=False)] = False
    """Stay, and show what changes."""


class TableColumn(NamedTuple, Generic[T]):
    """A column of a table: its title, and what stands in it.

    Where a table is too wide, ``short`` stands in it, and then columns are left out, that with the highest ``spare``
    first; of 0 none is.
    """

    title: str
    value: Callable[[T], str]
    wide: bool = False
    short: Callable[[T], str] | None = None
    spare: int = 0


def table(
    columns: Sequence[TableColumn[T]], rows: Sequence[T], *, wide: bool = False, grows: bool = False
) -> list[str]:
    """Return a heading and a line for each row, as kubectl sets them.

    One that is not ``wide`` is made to fit into the terminal, or into 80 columns, as far as it can be; no cell is cut
    off, since what is left of a name leads nowhere. One that ``grows`` has one heading, and so the same columns always.
    """
    if wide:
        return _set(columns, rows)
    shown = [column for column in columns if not column.wide]
    room, lines = width(), _set(shown, rows)
    if _fits(lines, room):
        return lines
    shown = [column._replace(value=column.short or column.value) for column in shown]
    while not _fits(lines := _set(shown, rows, gap=2), room):
        spare = max(shown, key=lambda column: column.spare)
        if not spare.spare or grows:
            break
        shown.remove(spare)
    return lines


def _set(columns: Sequence[TableColumn[T]], rows: Sequence[T], *, gap: int = 3) -> list[str]:
    cells = [
        [column.title for column in columns],
        *([one_line(column.value(row)) for column in columns] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    between = " " * gap
    return [
        between.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    ]


def _fits(lines: Sequence[str], room: int) -> bool:
    return max(map(len, lines)) <= room


def width() -> int:
    """Return how many columns text for people takes: those of the terminal, within reason; 80 where there is none."""
    return min(max(shutil.get_terminal_size((80, 24)).columns, _NARROWEST), _WIDEST)


def folded(text: str, first: str = "", rest: str = "", *, room: int | None = None) -> list[str]:
    """Return ``text`` in as many lines as it takes, the first of which begins with ``first``, the others with ``rest``.

    No word is cut: an address that is broken in two is none.
    """
    return textwrap.wrap(
        one_line(text),
        room or width(),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def one_line(text: str) -> str:
    """Return ``text`` without what would break a line or speak to a terminal; much of it comes from strangers."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def document(kind: str, fields: dict[str, Any], format_: Literal["json", "yaml"]) -> str:
    """Return a document of ``kind``; the values may be structs."""
    from meshfed.views import API_VERSION

    plain: dict[str, Any] = {"apiVersion": API_VERSION, "kind": kind, **msgspec.to_builtins(fields, str_keys=True)}
    if format_ == "json":
        return as_json(plain)
    from meshfed.api.documents import encode_document

    return encode_document(plain).rstrip("\n")


def as_json(value: Any) -> str:
    """Return a value as JSON for people."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


class Listing(NamedTuple, Generic[T]):
    """A list to show: what a document is called, the columns, the rows, and a name for each."""

    kind: str
    columns: Sequence[TableColumn[T]]
    rows: Sequence[T]
    name: Callable[[T], str]
    beside: Mapping[str, Any] = MappingProxyType({})
    """What else a document has."""
    nothing: str = ""
    """What is said where there are no rows."""
    below: Sequence[str] = ()
    """Lines under a table."""


def show(listing: Listing[T], how: How, before: Sequence[T] | None = None) -> None:
    """Print a list; of one that was shown ``before``, what is new in it."""
    match how.output:
        case "json" | "yaml":
            if before is None or before != listing.rows:
                separator = "---\n" if how.output == "yaml" and how.watch else ""
                fields = {**listing.beside, "items": listing.rows}
                print(separator + document(listing.kind, fields, how.output), flush=True)
        case "name":
            for row in _new(listing.rows, before):
                print(one_line(listing.name(row)), flush=True)
        case _:
            lines = table(listing.columns, listing.rows, wide=how.output == "wide", grows=how.watch)
            if not listing.rows and before is None:
                say(listing.nothing)
                return
            fresh = set(map(id, _new(listing.rows, before)))
            if fresh and not before:
                print(lines[0])
            for row, line in zip(listing.rows, lines[1:], strict=True):
                if id(row) in fresh:
                    print(line, flush=True)
            if fresh and listing.below:
                print("", *map(one_line, listing.below), sep="\n", flush=True)


def _new(rows: Sequence[T], before: Sequence[T] | None) -> list[T]:
    if before is None:
        return list(rows)
    # They are in no dictionary: the labels of some are in one themselves.
    known = set(map(msgspec.json.encode, before))
    return [row for row in rows if msgspec.json.encode(row) not in known]


def follow(listing: Callable[[], Listing[T]], how: How) -> None:
    """Show a list, and where that is asked for go on until interrupted."""
    found = listing()
    show(found, how)
    while how.watch:
        before = found.rows
        time.sleep(LOOK_SECONDS)
        found = listing()
        show(found, how, before)


def say(text: str) -> None:
    """Print what is beside the output, for a person."""
    if text:
        print(one_line(text), file=sys.stderr, flush=True)


class Paint:
    """Colours, where a terminal shows them and nobody objects (NO_COLOR), or what is printed goes to a ``file``."""

    def __init__(self, *, file: bool = False) -> None:
        shown = sys.stdout.isatty() and not file
        self._on = shown and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def __call__(self, text: str, *, good: bool | None) -> str:
        """Return ``text`` in green where it is good, in red where it is not, in yellow where nobody knows."""
        if not self._on:
            return text
        code = {True: "32", False: "31", None: "33"}[good]
        return f"\x1b[{code}m{text}\x1b[0m"

    def faint(self, text: str) -> str:
        """Return ``text`` in grey."""
        return f"\x1b[2m{text}\x1b[0m" if self._on else text


def holds(status: str) -> bool | None:
    """Return whether the status of a condition is good; ``None`` where that is not known."""
    return {"True": True, "False": False}.get(status)


def several(rows: Iterable[Any]) -> bool:
    """Whether rows are of several meshes, so that each has to say of which."""
    return len({row.mesh for row in rows}) > 1
