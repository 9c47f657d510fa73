"""That a test which waits in vain fails, and says for what."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.waiting import eventually, eventually_sync, meanwhile


@pytest.mark.looptime
async def test_what_comes_to_hold_is_returned() -> None:
    counted = itertools.count()
    assert await eventually(lambda: next(counted) > 3 and "here") == "here"

    async def later() -> str:
        await asyncio.sleep(1)
        return "there"

    assert await eventually(later) == "there"
    assert eventually_sync(lambda: "at once") == "at once"


@pytest.mark.looptime
async def test_what_never_holds_fails_in_time_and_is_named() -> None:
    with pytest.raises(AssertionError, match=r"not within 5 s: the sky falls; last: 0"):
        await eventually(lambda: 0, "the sky falls", within=5)
    assert asyncio.get_running_loop().time() == pytest.approx(5, abs=0.1)
    arrived = ""
    with pytest.raises(AssertionError, match=r"lambda: arrived"):
        await eventually(lambda: arrived, within=1)
    with pytest.raises(AssertionError, match=r"not within 0 s: it; last: None"):
        eventually_sync(lambda: None, "it", within=0)


@pytest.mark.looptime
async def test_a_time_out_of_its_own_is_not_taken_for_the_wait() -> None:
    async def times_out() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(2)

    with pytest.raises(TimeoutError):
        await eventually(times_out)


@pytest.mark.looptime
async def test_what_runs_meanwhile_ends_with_it_and_fails_it() -> None:
    ran: list[str] = []

    async def run() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ran.append("ended")

    async with meanwhile(run(), run()):
        await asyncio.sleep(1)
        assert ran == []
    assert ran == ["ended", "ended"]

    async def breaks() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        async with meanwhile(breaks()):
            await asyncio.sleep(1)
