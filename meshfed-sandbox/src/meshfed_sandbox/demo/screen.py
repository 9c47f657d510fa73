"""What the demo prints: acts, commands, and what held, with the time it took. Honours NO_COLOR through rich."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from meshfed_sandbox import picture

_ASCII: Final = str.maketrans({"✓": "+", "✗": "x", "→": "->"})
_WIDTH_OF_A_FILE: Final = 100
"""Characters in a line where what is printed goes to no terminal."""


class Screen:
    """The demo's output."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._ascii = console.options.ascii_only

    def _print(self, text: str) -> None:
        text = text.translate(_ASCII) if self._ascii else text
        self._console.print(text, soft_wrap=True, highlight=False)

    def act(self, number: int, title: str) -> None:
        """Begin an act."""
        self._print(f"\n[bold]{number}. {escape(title)}[/]")

    def line(self, text: str) -> None:
        """Tell something."""
        self._print(f"   {escape(text)}")

    def detail(self, text: str) -> None:
        """Tell more of what was just shown."""
        self._print(f"     [dim]{escape(text)}[/]")

    def command(self, mesh: str, command: str) -> None:
        """Show a command that is run against a mesh."""
        self._print(f"   [cyan]{mesh}$[/] {escape(command)}")

    def held(self, what: str, seconds: float | None = None) -> None:
        """Show something that was checked and holds; ``seconds`` is how long after its cause."""
        took = "" if seconds is None else f"  [dim]{_duration(seconds)}[/]"
        self._print(f"   [green]✓[/] {escape(what)}{took}")

    def failed(self, why: str) -> None:
        """Show what did not hold."""
        self._print(f"   [red]✗[/] {escape(why)}")

    def logs(self, logs: Mapping[str, str]) -> None:
        """Show the ends of the controllers' logs, where something did not hold."""
        for name, text in logs.items():
            self._print(f"\n   the end of {name}'s controller's log:\n{escape(text)}")

    def explore(self, hints: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Say how to go on from here, with everything left up: what there is to see, and the commands for it."""
        self._print("\n[bold]Everything is left up. In another terminal:[/]")
        for what, commands in hints:
            self._print(f"   {escape(what)}")
            for command in commands:
                self._print(f"     [cyan]{escape(command)}[/]")
        self._print("   Ctrl-C ends it all.")

    def picture(self, shown: picture.Picture) -> None:
        """Show a picture, as wide as the terminal lets it be."""
        width = self._console.width if self._console.is_terminal else _WIDTH_OF_A_FILE
        self._console.out("\n" + picture.text(shown, width=width, ascii_only=self._ascii), highlight=False)

    def mesh(
        self,
        name: str,
        *,
        exported: Sequence[str],
        service_entries: Mapping[str, Sequence[str]],
        workload_entries: Mapping[str, Sequence[str]],
    ) -> None:
        """Show what a mesh exports, and what it imports as which object, with the endpoints' addresses."""
        table = Table(title=f"mesh {name}", title_justify="left", show_edge=False, pad_edge=True)
        table.add_column("object")
        table.add_column("host or name", overflow="fold")
        table.add_column("endpoints")
        for host in exported:
            table.add_row("Gateway", host, "")
        for host, addresses in service_entries.items():
            table.add_row("ServiceEntry", host, ", ".join(addresses))
        for entry, addresses in workload_entries.items():
            table.add_row("WorkloadEntry", entry, ", ".join(addresses))
        self._console.print(table)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
