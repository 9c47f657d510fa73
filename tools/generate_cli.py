"""Write ``docs/cli.md``, the reference of every command, from the commands themselves.

Usage: ``python tools/generate_cli.py OUTPUT_DIRECTORY``; ``make generate`` runs it.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import get_args

import cyclopts
from cyclopts.argument import Argument

from meshfed.cli.app import COMMANDS, ELSEWHERE, build
from meshfed.cli.exits import Exit

HEAD = """# Commands

<!-- Generated from the commands in src/meshfed/cli and meshfed-sandbox/src/meshfed_sandbox/cli by
tools/generate_cli.py. -->

`meshfed COMMAND --help` says the same at a terminal. `--flag VALUE` and `--flag=VALUE` are alike. Errors are one line
on standard error that names the flag, file or field, and what to do. Output has no colour where `NO_COLOR` is set or
where it does not go to a terminal. `KUBECONFIG` may list several files, as for kubectl.

## Exit codes

| Code | Meaning |
|---|---|"""

EXITS = {
    Exit.OK: "it worked, or what runs until it is told to stop was told so",
    Exit.NOT_HELD: "something that should hold does not",
    Exit.BAD_INPUT: "bad input or usage",
    Exit.OUT_OF_REACH: "something it needs cannot be reached",
    Exit.INTERRUPTED: "it was interrupted, as Ctrl-C does, and has cleaned up what it made",
}


class Heading(StrEnum):
    """The columns of a table of flags."""

    FLAG = "Flag"
    VALUE = "Value"
    DEFAULT = "Default"
    DESCRIPTION = "Description"


def reference() -> str:
    """All of the page."""
    lines = [HEAD, *(f"| {code.value} | {meaning} |" for code, meaning in EXITS.items()), ""]
    for names, command in commands(build(whole=True), ()):
        lines += section(names, command)
    return "\n".join(lines)


def commands(app: cyclopts.App, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], cyclopts.App]]:
    """Every command that does something, below ``app``, sorted."""
    for name in sorted(name for name in app if not name.startswith("-")):
        command = app[name]
        if command.default_command is not None:
            yield (*names, name), command
        yield from commands(command, (*names, name))


def section(names: tuple[str, ...], command: cyclopts.App) -> Iterator[str]:
    """One command: what it does, its synopsis, its flags."""
    arguments = [
        argument
        for argument in command.assemble_argument_collection(parse_docstring=True)
        if argument.parameter.show is not False and argument.names != ("*",)
    ]
    places = " ".join(
        argument.names[0] if argument.required else f"[{argument.names[0]}]"
        for argument in arguments
        if positional(argument)
    )
    required = " ".join(
        f"{argument.names[0]} {value(argument)}"
        for argument in arguments
        if argument.required and not positional(argument)
    )
    optional = "[OPTIONS]" if any(not argument.required and not positional(argument) for argument in arguments) else ""
    synopsis = " ".join(part for part in ("meshfed", *names, places, required, optional) if part)
    text = inspect.cleandoc(command.default_command.__doc__ or "") if command.default_command else ""
    yield from (f"## `meshfed {' '.join(names)}`", "", text.partition("\nParameters\n---")[0].strip(), "")
    if names[0] not in COMMANDS:
        yield from (f"It comes with `{ELSEWHERE[names[0]]}`, a distribution of its own.", "")
    yield from ("```", synopsis, "```", "")
    if arguments:
        yield f"| {' | '.join(Heading)} |"
        yield "|---" * len(Heading) + "|"
        yield from map(row, arguments)
        yield ""


def row(argument: Argument) -> str:
    """One line of a table of flags."""
    # What is off unless it is asked for need not be turned off.
    is_on = argument.field_info.default is True
    hidden = ("--empty-",) if is_on else ("--no-", "--empty-")
    names = ", ".join(f"`{name}`" for name in argument.names if not name.startswith(hidden))
    shown = argument.field_info.default
    default = "*required*" if argument.required else ""
    if not argument.required and shown not in (None, False, "", ()):
        default = f"`{shown:g}`" if isinstance(shown, float) else f"`{shown}`"
    description = " ".join((argument.parameter.help or "").split())
    return f"| {names} | {value(argument)} | {default} | {cell(description)} |"


def positional(argument: Argument) -> bool:
    """Whether it is given by its place."""
    return argument.field_info.kind is inspect.Parameter.POSITIONAL_ONLY


def value(argument: Argument) -> str:
    """What an argument takes."""
    choices = argument.get_choices()
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    if argument.hint is bool:
        return ""
    words = {str: "TEXT", int: "NUMBER", float: "NUMBER", Path: "PATH"}
    found = next((words[kind] for kind in (argument.hint, *get_args(argument.hint)) if kind in words), "TEXT")
    several = re.search(r"\b(list|tuple)\b", str(argument.hint))
    return f"{found} ..." if several else found


def cell(text: str) -> str:
    """``text`` as it may stand in a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/generate_cli.py OUTPUT_DIRECTORY")
    Path(sys.argv[1], "cli.md").write_text(reference(), encoding="utf-8")
