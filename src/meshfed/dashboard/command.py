"""``meshfed dashboard``: the page, for as long as the command runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
import webbrowser
from collections.abc import Sequence
from typing import Annotated

from aiohttp import web
from cyclopts import Parameter, validators

from meshfed.api.times import timestamp
from meshfed.cli.clusters import Where, clusters, reported
from meshfed.cli.exits import BadInput, Exit, OutOfReach
from meshfed.cli.output import say
from meshfed.dashboard.board import Board
from meshfed.dashboard.meshes import HeldMesh, ShownMesh
from meshfed.dashboard.server import QUESTIONS, DashboardServer
from meshfed.dashboard.watching import WatchedMesh

_LOOPBACK = "127.0.0.1"


def dashboard(
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    browser: Annotated[bool, Parameter(negative="--no-browser")] = True,
    mesh_config: str = "istio",
    where: Where = Where(),  # noqa: B008 - immutable
) -> int:
    """Show meshes as a web page, live and on this machine alone, without changing anything.

    It prints the page's address, with a secret in it, and opens it in the browser. The page follows what happens;
    a mesh that does not answer is shown as it was last, and blocks nothing. What your permissions do not show is named.
    With `-f` it shows what a report holds, which does not change.

    Exit codes: 0 it was told to stop, 2 bad usage, 3 the port cannot be had.

    Parameters
    ----------
    port
        The port to listen on; 0 for any free one.
    browser
        Open the page in the browser.
    mesh_config
        The name of the ConfigMap with Istio's configuration of the mesh, as for the controller.
    """
    still = ""
    meshes: list[ShownMesh]
    if where.file:
        meshes = [HeldMesh(one) for one in reported(where)]
        still = timestamp(min(one.time for one in meshes))
    else:
        meshes = [WatchedMesh(source, config, namespace=where.namespace) for source, config in clusters(where)]
    twice = [one.source for one in meshes if [other.source for other in meshes].count(one.source) > 1]
    if twice:
        raise BadInput(f"{twice[0]} is given twice: each mesh has to be another")
    return asyncio.run(_serve(meshes, still, mesh_config, port, browser=browser))


async def _serve(meshes: Sequence[ShownMesh], still: str, mesh_config: str, port: int, *, browser: bool) -> int:
    # Of a cluster that does not answer the page says so, and a terminal would fill with it.
    logging.getLogger("meshfed").setLevel(logging.ERROR)
    board = Board(meshes, mesh_config=mesh_config)
    asks = QUESTIONS if not still else [one for one in QUESTIONS if one != "handshake"]
    server = DashboardServer(board, token=secrets.token_urlsafe(32), asks=asks, still=still)
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, _LOOPBACK, port)
        try:
            await site.start()
        except OSError as error:
            raise OutOfReach(f"--port {port}: {error.strerror}: name another, or 0 for any free one") from error
        server.port = runner.addresses[0][1]
        address = f"http://{_LOOPBACK}:{server.port}/"
        async with board.running():
            print(f"{address}?token={server.token}", flush=True)
            if browser and not _opened(f"{address}?token={server.token}"):
                say("there is no browser here: open the address above")
            await _told()
    finally:
        await runner.cleanup()
    return Exit.OK


def _opened(address: str) -> bool:
    """Open an address in a browser with a window of its own; one in this terminal would take it over."""
    has_windows = sys.platform in {"darwin", "win32"} or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(has_windows) and webbrowser.open(address)


async def _told() -> None:
    """Wait until SIGINT or SIGTERM."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    try:
        await told.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)
