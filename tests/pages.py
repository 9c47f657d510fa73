"""Pages of documentation as tests see them: commands that a reader types, a shell to type them in, and what comes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec


class Step(msgspec.Struct, frozen=True):
    """A command of a page, the line it stands in, and what the page shows it to print."""

    line: int
    command: str
    shown: tuple[str, ...]


def steps(text: str) -> Iterator[Step]:
    """The commands of all ``console`` blocks, in order; a command goes on where its line ends in a backslash."""
    inside = False
    command, shown, began = "", list[str](), 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not inside:
            inside = line == "```console"
            continue
        ends = line == "```"
        if command.endswith("\\"):
            command = command[:-1].rstrip() + " " + line.strip()
            continue
        if command and (ends or line.startswith("$ ")):
            yield Step(began, command, tuple(shown))
            command, shown = "", []
        if line.startswith("$ "):
            command, began = line.removeprefix("$ "), number
        elif not ends:
            shown.append(line)
        inside = not ends


class Shell:
    """One bash for a whole page, as a reader has it: variables and background processes stay.

    ``programs`` is a folder whose programs take the place of others; ``variables`` are set besides.
    """

    def __init__(
        self, directory: Path, *, programs: Path | None = None, variables: Mapping[str, str] | None = None
    ) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
        folders = [*([str(programs)] if programs else []), str(Path(sys.executable).parent), os.environ["PATH"]]
        environment |= {"PATH": ":".join(folders), "HOME": str(directory), **(variables or {})}
        self.process = subprocess.Popen(
            ["bash"],
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> list[str]:
        """What ``command`` prints."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\necho\necho end-of-command\n")
        self.process.stdin.flush()
        printed: list[str] = []
        for line in self.process.stdout:
            if line == "end-of-command\n":
                break
            printed.append(line.rstrip("\n"))
        while printed and not printed[-1]:
            printed.pop()
        return printed


@contextmanager
def shell(
    directory: Path, *, programs: Path | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[Shell]:
    """A shell whose processes all end with the context."""
    made = Shell(directory, programs=programs, variables=variables)
    try:
        yield made
    finally:
        os.killpg(made.process.pid, signal.SIGKILL)
        made.process.wait()
        for pipe in (made.process.stdin, made.process.stdout):
            assert pipe is not None
            pipe.close()


def alike(shown: str, printed: str) -> bool:
    """Whether a line is what a page shows; ages and widths of columns differ, and ``...`` stands for anything."""
    pattern = "".join(
        ".*" if part == "..." else r"\s+" if part.isspace() else r"\d+\w+" if part == "<age>" else re.escape(part)
        for part in re.split(r"(\.\.\.|\s+|<age>)", re.sub(r"(?<=\s)\d+s$", "<age>", shown.rstrip()))
    )
    return re.fullmatch(pattern, printed.rstrip()) is not None


def matches(shown: tuple[str, ...], printed: list[str]) -> bool:
    """Whether what was printed is what is shown; a line of ``...`` alone at the end stands for any number of lines."""
    if shown and shown[-1] == "...":
        shown, printed = shown[:-1], printed[: len(shown) - 1]
    return len(shown) == len(printed) and all(map(alike, shown, printed))


def page_text(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> Iterator[tuple[int, str, str]]:
    """The code blocks of a page: the line of the first line within, what kind of block it is, and its text."""
    text = page.read_text()
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, found.start(2)) + 1, found[1], found[2]
