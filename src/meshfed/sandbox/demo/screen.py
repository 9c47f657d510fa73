"""What the demo prints: acts, commands, and what held, with the time it took. Honours NO_COLOR through rich."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table


class Screen:
    """The demo's output."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def act(self, number: int, title: str) -> None:
        """Begin an act."""
        self._console.print(f"\n[bold]{number}. {title}[/]")

    def line(self, text: str) -> None:
        """Tell something."""
        self._console.print(f"   {text}", soft_wrap=True, highlight=False)

    def command(self, mesh: str, command: str) -> None:
        """Show a command that is run against a mesh."""
        self._console.print(f"   [cyan]{mesh}$[/] {command}", soft_wrap=True, highlight=False)

    def held(self, what: str, seconds: float | None = None) -> None:
        """Show something that was checked and holds; ``seconds`` is how long after its cause."""
        took = "" if seconds is None else f"  [dim]{seconds * 1000:.0f} ms[/]"
        self._console.print(f"   [green]✓[/] {what}{took}", soft_wrap=True, highlight=False)

    def failed(self, why: str) -> None:
        """Show what did not hold."""
        self._console.print(f"   [red]✗[/] {why}", soft_wrap=True, highlight=False)

    def logs(self, logs: Mapping[str, str]) -> None:
        """Show the ends of the controllers' logs, where something did not hold."""
        for name, text in logs.items():
            self._console.print(f"\n   the end of {name}'s controller's log:")
            self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    def explore(self, kubeconfigs: Mapping[str, object]) -> None:
        """Say how to go on from here, with everything left up."""
        self._console.print("\n[bold]Everything is left up. Try, in another terminal:[/]")
        for name, kubeconfig in kubeconfigs.items():
            self._console.print(
                f"   kubectl --kubeconfig {kubeconfig} get federation,gateways,serviceentries,workloadentries -A"
                f"   # {name}",
                soft_wrap=True,
                highlight=False,
            )
        self._console.print("   Ctrl-C ends it all.", highlight=False)

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
