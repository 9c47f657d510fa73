"""Running the parts of a call together: one error ends all, and a cancellation is never taken for an error."""

from __future__ import annotations

import asyncio

import pytest

from meshfed.fds.transport import StreamClosed, together


async def fails_when(event: asyncio.Event) -> None:
    await event.wait()
    raise StreamClosed("the peer went away")


async def waits() -> None:
    await asyncio.Event().wait()


async def test_the_first_error_is_raised_alone() -> None:
    gone = asyncio.Event()
    gone.set()
    with pytest.raises(StreamClosed, match="the peer went away"):
        await together(fails_when(gone), waits())


async def test_cancelled_in_the_moment_a_part_fails_it_is_cancelled() -> None:
    gone = asyncio.Event()
    task = asyncio.create_task(together(fails_when(gone), waits()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gone.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
