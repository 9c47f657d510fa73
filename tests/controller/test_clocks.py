"""A clock that jumps: by it things are dated, and nothing of what is imported hangs on it but what a policy counts."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.builders import mesh_federation, offer, remote_mesh
from tests.controller import in_memory
from tests.controller.in_memory import Remote, World

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime(start=0, noop_cycles=1, resolution=1e-9)]

MANY = 24
MINUTE = 60.0
DAY = 24 * 60 * MINUTE
FAR = [-400 * DAY, -2 * DAY, 2 * DAY, 400 * DAY]
"""Seconds by which a clock jumps."""


class Clock:
    """What the controller is told the time is; it goes as the event loop's does, and jumps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0.0
        monkeypatch.setattr(in_memory, "virtual_time", self.stamp)

    def stamp(self) -> str:
        seconds = asyncio.get_running_loop().time() + self._ahead
        return f"{datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"

    def jump(self, seconds: float) -> None:
        self._ahead += seconds


async def importing(monkeypatch: pytest.MonkeyPatch, **spec: Any) -> tuple[World, Remote, Clock]:
    """A mesh that imports `MANY` hosts of west, by the clock."""
    clock, west = Clock(monkeypatch), Remote()
    world = World(monkeypatch, west=west)
    west.offer(*(offer(f"s{number}") for number in range(MANY)))
    world.put(mesh_federation("east"), remote_mesh("west", **spec))
    await world.start()
    await asyncio.sleep(MINUTE)
    assert len(world.imported()) == MANY
    return world, west, clock


def go(remote: Remote, *, away: bool) -> None:
    remote.away = away
    remote.tell()


@pytest.mark.parametrize("jump", FAR)
async def test_while_a_process_runs_no_clock_makes_anything_stale(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    world, west, clock = await importing(monkeypatch, staleness={"after": "10m", "action": "Remove"})
    clock.jump(jump)
    await asyncio.sleep(60 * MINUTE)
    assert len(world.imported()) == MANY
    go(west, away=True)
    await asyncio.sleep(5 * MINUTE)
    clock.jump(-2 * jump)
    await asyncio.sleep(4 * MINUTE)
    assert len(world.imported()) == MANY, "ten minutes are not over"
    await asyncio.sleep(2 * MINUTE)
    assert not world.imported(), "they are, whatever the clock says"
    go(west, away=False)
    await asyncio.sleep(MINUTE)
    assert len(world.imported()) == MANY
    await world.stop()


@pytest.mark.parametrize("jump", FAR)
async def test_over_restarts_what_is_kept_stays_whatever_the_clock_says(
    jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, west, clock = await importing(monkeypatch, staleness={"after": "10m", "action": "Keep"})
    before = world.written()
    go(west, away=True)
    for _ in range(3):
        await world.stop()
        clock.jump(jump)
        await world.start()
        await asyncio.sleep(30 * MINUTE)
        assert world.written() == before
    go(west, away=False)
    await asyncio.sleep(MINUTE)
    assert world.written() == before
    assert "RemoteMesh west" in world.said()
    assert ("Connected", "True", "Connected") in world.said()["RemoteMesh west"]
    await world.stop()


async def test_a_clock_that_was_set_back_gives_an_absence_all_of_its_time_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, west, clock = await importing(monkeypatch, staleness={"after": "10m", "action": "Remove"})
    go(west, away=True)
    await asyncio.sleep(5 * MINUTE)
    await world.stop()
    clock.jump(-2 * DAY)
    await world.start()
    await asyncio.sleep(9 * MINUTE)
    assert len(world.imported()) == MANY
    await asyncio.sleep(2 * MINUTE)
    assert not world.imported()
    await world.stop()


@pytest.mark.parametrize("jump", FAR)
async def test_a_withdrawal_is_held_for_its_time_whatever_the_clock_says(
    jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, west, clock = await importing(monkeypatch)
    for host in [*west.offers]:
        west.withdraw(host)
    await asyncio.sleep(MINUTE)
    clock.jump(jump)
    await asyncio.sleep(3 * MINUTE)
    assert len(world.imported()) == MANY
    await asyncio.sleep(2 * MINUTE)
    assert not world.imported()
    await world.stop()
