"""Dashboards that tests look at: over meshes of which what they hold is given, or over API servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import aiohttp
import msgspec
from aiohttp import web

from meshfed.dashboard import meshes
from meshfed.dashboard.board import Board
from meshfed.dashboard.meshes import Topic
from meshfed.dashboard.server import DashboardServer
from meshfed.views.importers import ImportersSeen
from meshfed.views.snapshot import Document, Snapshot

TOKEN = "secret-of-this-test"


class HeldMesh(meshes.HeldMesh):
    """A mesh that holds what is given; `hold` and `silence` change that."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        unreached: str = "",
        known: bool = True,
        time: datetime | None = None,
        importing: ImportersSeen | None = None,
    ) -> None:
        super().__init__(snapshot, unreached=unreached)
        self.importing = importing
        """What its controller answers of remotes, instead of what the snapshot has."""
        self.asked = 0
        """How often that was asked for."""
        self._known = known
        self._time = time

    @property
    def is_known(self) -> bool:
        return self._known

    @property
    def time(self) -> datetime:
        return self._time or super().time

    async def importers(self) -> ImportersSeen:
        self.asked += 1
        await asyncio.sleep(0)
        return self.importing or await super().importers()

    def hold(self, snapshot: Snapshot) -> None:
        """Hold that from now on."""
        self._held = snapshot
        self._tell(*Topic)

    def silence(self, why: str) -> None:
        """Do not answer any more; an empty ``why``: answer again."""
        self.unreached = why
        self._tell(Topic.STATUS)


def shifted(snapshot: Snapshot, now: datetime | None = None) -> Snapshot:
    """What a snapshot of fixed times holds, as if it were taken now: for pages, which know what time it is."""
    now = now or datetime.now(UTC)
    by = now - snapshot.taken

    def moved(value: object) -> object:
        if isinstance(value, dict):
            return {key: moved(one) for key, one in value.items()}
        if isinstance(value, list):
            return [moved(one) for one in value]
        if isinstance(value, str) and value.startswith("2026-") and value.endswith("Z"):
            digits = 6 if "." in value else 0
            at = datetime.fromisoformat(value) + by
            return at.isoformat(timespec="microseconds" if digits else "seconds").replace("+00:00", "Z")
        return value

    objects = tuple(moved(one) for one in snapshot.objects)
    return msgspec.structs.replace(snapshot, taken=now + timedelta(0), objects=objects)


class Served(NamedTuple):
    """A dashboard that answers, and how to ask it."""

    board: Board
    server: DashboardServer
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        """Where it is, without the secret."""
        return f"http://127.0.0.1:{self.server.port}"

    async def get(self, path: str, **more: object) -> aiohttp.ClientResponse:
        """Ask for a path as its own page does; the body is read."""
        answer = await self.session.get(self.url + path, **more)  # type: ignore[arg-type] # as aiohttp's
        await answer.read()
        return answer

    async def document(self, path: str) -> Document:
        """Return a document."""
        answer = await self.get(path)
        assert answer.status == 200, await answer.text()
        found: Document = await answer.json()
        return found


@asynccontextmanager
async def served(
    given: Sequence[meshes.ShownMesh], *, alive: float = 15.0, pulse: float = 5.0, **how: Any
) -> AsyncIterator[Served]:
    """Serve a dashboard of meshes."""
    board = Board(given, pulse=pulse)
    server = DashboardServer(board, token=TOKEN, alive=alive, **how)
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.port = runner.addresses[0][1]
        jar = aiohttp.CookieJar(unsafe=True)
        async with board.running(), aiohttp.ClientSession(cookie_jar=jar) as session:
            found = Served(board, server, session)
            await found.get(f"/?token={TOKEN}")
            yield found
    finally:
        await runner.cleanup()
