"""The parts of a call: the first failure ends them all, and no failure hides a cancellation."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from meshfed.fds.transport import StreamClosed, run_until_first_error


async def forever() -> None:
    await asyncio.Event().wait()


async def fails_when_cancelled() -> None:
    try:
        await forever()
    except asyncio.CancelledError:
        raise StreamClosed("the stream is gone") from None


async def test_the_first_failure_is_raised_alone() -> None:
    async def fails() -> None:
        raise StreamClosed("the first")

    with pytest.raises(StreamClosed, match="the first"):
        await run_until_first_error(forever(), fails(), fails_when_cancelled())


async def test_a_part_that_fails_as_it_is_cancelled_does_not_hide_that() -> None:
    task = asyncio.create_task(run_until_first_error(forever(), fails_when_cancelled()))
    await asyncio.sleep(0.01)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, StreamClosed):
        await task
    assert task.cancelled()


@pytest.mark.parametrize("turns", range(3))
async def test_a_part_that_fails_in_the_moment_of_the_cancellation_does_not_hide_it(turns: int) -> None:
    fail = asyncio.Event()

    async def fails() -> None:
        await fail.wait()
        raise StreamClosed("the stream is gone")

    task = asyncio.create_task(run_until_first_error(forever(), fails()))
    await asyncio.sleep(0.01)
    fail.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, StreamClosed):
        await task
    assert task.cancelled()
