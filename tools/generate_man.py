"""Write the manual pages, ``meshfed.1`` and one for each command, from the commands themselves.

Usage: ``python tools/generate_man.py OUTPUT_DIRECTORY``; ``make generate`` runs it.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import cyclopts
from cyclopts.argument import Argument
from generate_cli import EXITS, commands, positional, value

from meshfed.cli.app import COMMANDS, SUMMARIES, build

_FIRST = "Istio mesh federation: share chosen services between independent meshes over end-to-end mTLS."


def main() -> int:
    """Write them all; returns the exit code."""
    if len(sys.argv) != 2:
        print("usage: python tools/generate_man.py OUTPUT_DIRECTORY", file=sys.stderr)
        return 2
    for name, text in pages().items():
        Path(sys.argv[1], name).write_text(text, encoding="utf-8")
    return 0


def pages() -> dict[str, str]:
    """The pages, by the names of their files; those of commands that other distributions add are not among them."""
    found = {"meshfed.1": _page("meshfed", _FIRST, "\\fBmeshfed\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]", _overview())}
    for names, command in commands(build(COMMANDS, whole=True), ()):
        title = "-".join(("meshfed", *names))
        text = inspect.cleandoc(command.default_command.__doc__ or "") if command.default_command else ""
        summary, _, rest = text.partition("\nParameters\n---")[0].strip().partition("\n\n")
        found[f"{title}.1"] = _page(
            title, " ".join(summary.split()), _synopsis(names, command), _command(rest, command)
        )
    return found


def _overview() -> Iterator[str]:
    yield ".SH COMMANDS"
    for name, summary in SUMMARIES.items():
        yield from (".TP", f"\\fBmeshfed {name}\\fR", _text(summary))
    yield ".SH EXIT STATUS"
    for code, meaning in EXITS.items():
        yield from (".TP", f"\\fB{code.value}\\fR", _text(meaning))


def _command(rest: str, command: cyclopts.App) -> Iterator[str]:
    if rest.strip():
        yield ".SH DESCRIPTION"
        for number, paragraph in enumerate(re.split(r"\n{2,}", rest.strip())):
            yield from ([".PP"] if number else [])
            yield _text(" ".join(paragraph.split()))
    arguments = _arguments(command)
    if arguments:
        yield ".SH OPTIONS"
    for argument in arguments:
        yield from _option(argument)


def _option(argument: Argument) -> Iterator[str]:
    names = [name for name in argument.names if not name.startswith(("--no-", "--empty-"))] or list(argument.names)
    takes = (
        "" if positional(argument) or not value(argument) else f" \\fI{_escaped(value(argument).replace('`', ''))}\\fR"
    )
    yield from (".TP", ", ".join(f"\\fB{_escaped(name)}\\fR" for name in names) + takes)
    yield _text(" ".join((argument.parameter.help or "").split()))


def _arguments(command: cyclopts.App) -> list[Argument]:
    return [
        argument
        for argument in command.assemble_argument_collection(parse_docstring=True)
        if argument.parameter.show is not False and argument.names != ("*",)
    ]


def _synopsis(names: Iterable[str], command: cyclopts.App) -> str:
    places = [argument for argument in _arguments(command) if positional(argument)]
    shown = " ".join(f"\\fI{one.names[0]}\\fR" if one.required else f"[\\fI{one.names[0]}\\fR]" for one in places)
    options = "[\\fIOPTIONS\\fR]" if len(_arguments(command)) > len(places) else ""
    return " ".join(part for part in (f"\\fBmeshfed {' '.join(names)}\\fR", shown, options) if part)


def _page(title: str, summary: str, synopsis: str, body: Iterable[str]) -> str:
    lines = [
        f'.TH {title.upper()} 1 "" "Meshfed" "Meshfed Manual"',
        ".SH NAME",
        f"{_escaped(title)} \\- {_text(summary.rstrip('.'))}",
        ".SH SYNOPSIS",
        synopsis,
        *body,
        ".SH SEE ALSO",
        "\\fBmeshfed\\fR(1), \\fBkubectl\\fR(1)",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _text(text: str) -> str:
    """One line of running text: code in bold, and nothing that roff would take for a request."""
    return re.sub(r"`([^`]*)`", r"\\fB\1\\fR", _escaped(text))


def _escaped(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    sys.exit(main())
