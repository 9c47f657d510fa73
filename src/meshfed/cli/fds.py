"""``meshfed fds``: look at what any discovery server offers, and offer the services of a file.

Both are for people at a terminal: to see what a remote would be told, and to stand in for a mesh that is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

if TYPE_CHECKING:
    from meshfed.fds import Dialect, DiscoveryError, ExportSet, Update
    from meshfed.model.offers import Offer

OK, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3
_POLL_SECONDS = 0.3
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?")
"""A host's name or an address; above all no URL."""

app = cyclopts.App(name="fds", help="Speak to discovery services, or be one.")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _address(text: str) -> tuple[str, int] | None:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not _HOST.fullmatch(host) or not port.isascii() or not port.isdigit():
        return None
    if not 0 < int(port) < 65536:
        return None
    return host, int(port)


@contextlib.asynccontextmanager
async def _until_told() -> AsyncIterator[asyncio.Event]:
    """Give an event that SIGINT and SIGTERM set."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    try:
        yield told
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@app.command
def get(
    address: str,
    /,
    *,
    dialect: Literal["auto", "sotw", "delta"] = "auto",
    watch: Annotated[bool, Parameter(show_default=False)] = False,
    output: Annotated[Literal["json", "table"], Parameter(name=["--output", "-o"])] = "table",
    authority: Annotated[str, Parameter(show_default=False)] = "",
    timeout: float = 30.0,
) -> int:
    """Show what the discovery server at HOST:PORT offers (plaintext HTTP/2).

    Exit codes: 0 shown, 1 refused or partly unreadable, 2 bad usage, 3 not reached.

    Parameters
    ----------
    address
        HOST:PORT; an IPv6 address in brackets.
    dialect
        auto: incremental, or the reference's state of the world where the server speaks only that.
    watch
        Stay, and show changes as they come.
    output
        json is a list in the shape that `meshfed fds serve -f` reads; with --watch, one object a line.
    authority
        What the server is asked for as, where that is not HOST:PORT.
    timeout
        Seconds to wait for the whole list, without --watch.
    """
    target = _address(address)
    if target is None:
        _say(f"{address!r} is not HOST:PORT, without a scheme or path and with a port between 1 and 65535")
        return USAGE
    if not 0 < timeout < float("inf"):
        _say(f"--timeout {timeout:g}: it has to be a number of seconds above 0; --watch waits without end")
        return USAGE
    return asyncio.run(_get(target, authority, dialect, watch=watch, output=output, timeout=timeout))


async def _get(
    target: tuple[str, int],
    authority: str,
    dialect: Literal["auto", "sotw", "delta"],
    *,
    watch: bool,
    output: Literal["json", "table"],
    timeout: float,
) -> int:
    from meshfed.fds import DiscoveryClient, Patience, Target
    from meshfed.telemetry.metrics import Metrics

    logging.getLogger("meshfed.fds").setLevel(logging.CRITICAL)  # the viewer says it all
    viewer = _Viewer(watch=watch, output=output)
    client = DiscoveryClient(
        "server",
        Target(host=target[0], port=target[1], authority=authority),
        viewer,
        metrics=Metrics(),
        dialect=dialect,
        node="meshfed-fds-get",
        patience=Patience(confirm=1.0),
    )
    async with _until_told() as told, asyncio.TaskGroup() as tasks:
        running = tasks.create_task(client.run())
        stopped = tasks.create_task(told.wait())
        waited: set[asyncio.Future[Any]] = {viewer.result, stopped}
        done, _ = await asyncio.wait(waited, timeout=None if watch else timeout, return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        stopped.cancel()
    if not done:
        _say(f"the whole list did not arrive within {timeout:g} seconds")
        return UNREACHABLE
    return viewer.result.result() if viewer.result in done else OK


class _Viewer:
    """Shows updates; ``result`` is the exit code, once there is one."""

    def __init__(self, *, watch: bool, output: Literal["json", "table"]) -> None:
        self.result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._watch = watch
        self._output = output
        self._offers: dict[str, Offer] = {}
        self._shown = False
        self._dialect = ""

    async def connected(self, dialect: Dialect) -> None:
        self._dialect = dialect.value

    async def disconnected(self, error: DiscoveryError) -> None:
        from meshfed.fds import NotReady, Unreachable

        _say(str(error))
        if not self._watch and not self.result.done():
            self.result.set_result(UNREACHABLE if isinstance(error, Unreachable | NotReady) else FAILED)

    async def update(self, update: Update) -> None:
        before = self._offers
        self._offers = {} if update.complete else dict(before)
        for host in update.removals:
            self._offers.pop(host, None)
        self._offers |= {offer.host: offer for offer in update.upserts}
        for item in update.rejected:
            _say(f"rejected: {item.host or '(unnamed)'}: {item.why}")
            if item.host in before:
                self._offers.setdefault(item.host, before[item.host])
        if not update.synced or self.result.done():
            return
        if self._watch:
            self._show_changes(before)
        else:
            self._show_all()
            self.result.set_result(FAILED if update.rejected else OK)

    def _sorted(self) -> list[Offer]:
        return [self._offers[host] for host in sorted(self._offers)]

    def _show_all(self) -> None:
        import msgspec

        if self._output == "json":
            print(msgspec.json.format(msgspec.json.encode(self._sorted()), indent=2).decode(), flush=True)
        else:
            _print_table(self._sorted(), self._dialect)

    def _show_changes(self, before: dict[str, Offer]) -> None:
        import msgspec

        if self._output == "table" and not self._shown:
            self._show_all()
        else:
            for offer in self._sorted():
                if before.get(offer.host) != offer:
                    line = {"event": "offered", "offer": offer}
                    table = f"~ {offer.host}" if offer.host in before else f"+ {offer.host}"
                    print(msgspec.json.encode(line).decode() if self._output == "json" else table, flush=True)
            for host in sorted(before.keys() - self._offers.keys()):
                gone = {"event": "withdrawn", "host": host}
                print(msgspec.json.encode(gone).decode() if self._output == "json" else f"- {host}", flush=True)
        self._shown = True


def _print_table(offers: list[Offer], dialect: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("HOST", "PORTS", "LABELS"):
        table.add_column(heading, overflow="fold")
    for offer in offers:
        ports = ", ".join(
            f"{port.name or '-'} {port.number}"
            + (f"->{port.target_port}" if port.target_port else "")
            + f" {port.protocol}"
            for port in offer.ports
        )
        labels = ",".join(f"{key}={value}" for key, value in sorted(offer.labels.items()))
        # What a remote says is shown as text: neither markup nor control characters take effect.
        table.add_row(*(Text(_printable(cell)) for cell in (offer.host, ports, labels)))
    # A pipe is not 80 columns wide: a line there is a service, whatever its length.
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print(table)
    _say(f"{len(offers)} services, in the {dialect} dialect")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


@app.command
def serve(
    *,
    file: Annotated[Path, Parameter(name=["--file", "-f"])],
    port: int,
    host: str = "127.0.0.1",
) -> int:
    """Offer the services of a file, to anyone on this machine, in both dialects (plaintext HTTP/2).

    The file's changes are followed; one that cannot be used is reported, and what was offered before stays.
    Exit codes: 0 told to stop, 2 bad usage or a bad file at the start, 3 the port cannot be bound.

    Parameters
    ----------
    file
        YAML or JSON: a list of {host, ports: [{name, number, protocol, targetPort}], labels}.
    port
        The port to listen on; 0 for any free one, which is printed.
    host
        The loopback address to listen on.
    """
    import ipaddress

    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        _say(f"--host {host}: callers are not authenticated here, so it must be a loopback address")
        return USAGE
    if not 0 <= port < 65536:
        _say(f"--port {port} is not between 0 and 65535")
        return USAGE
    try:
        offers = read_offers(file)
    except ValueError as error:
        _say(str(error))
        return USAGE
    return asyncio.run(_serve(file, offers, host, port))


def read_offers(path: Path) -> list[Offer]:
    """Read a YAML or JSON list of offers; raises ``ValueError`` with the file, the field and the reason."""
    import msgspec
    import yaml

    from meshfed.api.documents import not_yaml
    from meshfed.fds import messages
    from meshfed.model.offers import Offer, Refusal, checked

    try:
        document = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
        offers = msgspec.convert(document, list[Offer])
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem, line = not_yaml(error)
        raise ValueError(f"{path}: {f'line {line}: ' if line else ''}{problem}") from error
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: {error}") from error
    seen: set[str] = set()
    for offer in offers:
        judged = checked(offer, "")
        problem = f"{judged.field}: {judged.message}" if isinstance(judged, Refusal) else ""
        if problem or offer.host in seen:
            raise ValueError(f"{path}: {problem or f'host: {offer.host} appears twice'}")
        seen.add(offer.host)
        try:
            messages.encode(offer, messages.Dialect.DELTA)
        except ValueError as error:
            raise ValueError(f"{path}: {offer.host} cannot be sent: {error}") from error
    return offers


async def _serve(file: Path, offers: list[Offer], host: str, port: int) -> int:
    from meshfed.fds import DiscoveryServer, ExportSet, Subscriber
    from meshfed.telemetry.metrics import Metrics

    exports = ExportSet()
    for offer in offers:
        exports.set(offer, None)
    exports.mark_ready()
    server = DiscoveryServer(exports, lambda _: Subscriber(name="anyone", remotes=frozenset()), Metrics())
    problem = ""
    try:
        async with _until_told() as told, server.listen(host, port) as bound, asyncio.TaskGroup() as tasks:
            following = tasks.create_task(_follow(file, exports, {offer.host for offer in offers}))
            shown = f"[{host}]" if ":" in host else host
            print(f"offering {len(offers)} services of {file} on {shown}:{bound}", flush=True)
            await told.wait()
            following.cancel()
    except* OSError as errors:
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        problem = str(error)
    if problem:
        _say(f"cannot listen on {host}:{port}: {problem}")
        return UNREACHABLE
    return OK


async def _follow(file: Path, exports: ExportSet, hosts: set[str]) -> None:
    """Read the file again whenever it has changed and is at rest: half a file can be valid too."""
    read = latest = _signature(file)
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        before, latest = latest, _signature(file)
        if latest == read or latest != before:
            continue
        read = latest
        try:
            offers = await asyncio.to_thread(read_offers, file)
        except ValueError as error:
            _say(f"still offering what was there before: {error}")
            continue
        for offer in offers:
            exports.set(offer, None)
        kept = {offer.host for offer in offers}
        for host in hosts - kept:
            exports.remove(host)
        hosts = kept
        _say(f"offering {len(offers)} services of {file}")


def _signature(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
