"""The demo's steps, watched in the dashboard while they are played."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from meshfed.api.crds import all_crds
from meshfed.dashboard.watching import WatchedMesh
from meshfed.kube import load_kubeconfig
from meshfed_sandbox import Sandbox
from meshfed_sandbox.demo.play import Play
from meshfed_sandbox.demo.screen import Screen
from meshfed_sandbox.demo.stage import staged
from tests.dashboard.boards import Served, served
from tests.waiting import eventually, meanwhile

DETAILS, RATINGS, REVIEWS = (f"{name}.default.svc.cluster.local" for name in ("details", "ratings", "reviews"))


@asynccontextmanager
async def watched(directory: Path) -> AsyncIterator[tuple[Play, Served]]:
    """The demo without requests, and the dashboard that it names."""
    screen = Screen(Console(file=io.StringIO()))
    async with (
        Sandbox(("east", "west"), directory=directory, crds=all_crds()) as box,
        staged(directory, box.kubeconfigs, None) as stage,
        served(
            [WatchedMesh(n, load_kubeconfig(str(actor.kubeconfig), n, {})) for n, actor in stage.actors.items()]
        ) as found,
    ):
        yield Play(stage, screen), found


async def hosts(found: Served) -> dict[tuple[str, str], tuple[str, ...]]:
    """Of each host and who exports it, the meshes that have it."""
    items = (await found.document("/api/hosts"))["items"]
    return {
        (one["host"], one["exporter"]): tuple(use["mesh"] for use in one["usedBy"] if use["state"] == "Imported")
        for one in items
    }


async def links(found: Served) -> dict[tuple[str, str], str]:
    """Of who imports from whom, the evidence."""
    document = await found.document("/api/federation")
    return {(one["importer"], one["exporter"]): one["evidence"] for one in document["links"]}


@pytest.mark.timeout(300)
async def test_each_step_shows_in_the_dashboard(tmp_path: Path) -> None:
    async with watched(tmp_path) as (play, found):
        both = {("east", "west"): "heard", ("west", "east"): "heard"}

        async def stand(expected: Any, ask: Any) -> bool:
            return bool(await ask(found) == expected)

        await play.services()
        await eventually(lambda: stand({}, links))
        await play.federate()
        await eventually(lambda: stand(both, links))
        assert await hosts(found) == {}
        await play.export()
        shared = {
            (DETAILS, "east"): ("west",),
            (REVIEWS, "east"): ("west",),
            (RATINGS, "west"): ("east",),
            (REVIEWS, "west"): ("east",),
        }
        await eventually(lambda: stand(shared, hosts))
        await play.unexport()
        await eventually(lambda: stand({one: by for one, by in shared.items() if one != (REVIEWS, "west")}, hosts))

        seen: set[str] = set()

        async def look() -> None:
            while True:
                seen.add((await links(found))["east", "west"])
                await asyncio.sleep(0.05)

        async with meanwhile(look()):
            await play.outage()
        assert seen & {"broken", "unknown"}, "west was away for a while"
        await eventually(lambda: stand(both, links))
        happened = {one["what"] for one in (await found.document("/api/timeline"))["items"]}
        assert {"Exported", "Unexported", "RemoteLost"} <= happened
