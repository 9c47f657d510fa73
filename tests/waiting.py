"""How a test waits for what nothing announces, and what it has run meanwhile.

Where something does announce it, wait for that instead.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

PATIENCE = 60.0
"""Seconds to wait for anything; far more than it takes, so that a busy machine fails no test."""
PAUSE = 0.02
"""Seconds between two looks, where a look itself takes next to nothing.

Else it is done a quarter of the time at most: what is waited for needs the processor too.
"""


async def eventually(holds: Callable[[], Any], what: str = "", *, within: float = PATIENCE) -> Any:
    """Wait until ``holds`` returns something true, and return that; it may be a coroutine function.

    Fails after ``within`` seconds, and says what was waited for: ``what``, or else the text of ``holds``.
    """
    loop = asyncio.get_running_loop()
    last: Any = None
    limit = asyncio.timeout(within)
    try:
        async with limit:
            while True:
                began = loop.time()
                last = holds()
                if inspect.isawaitable(last):
                    last = await last
                if last:
                    return last
                await asyncio.sleep(max(PAUSE, 3 * (loop.time() - began)))
    except TimeoutError:
        if not limit.expired():
            raise  # it is of ``holds``
        raise AssertionError(_in_vain(holds, what, within, last)) from None


def eventually_sync(holds: Callable[[], Any], what: str = "", *, within: float = PATIENCE) -> Any:
    """Do the same in a test that has no event loop."""
    deadline = time.monotonic() + within
    while True:
        began = time.monotonic()
        last = holds()
        if last:
            return last
        assert time.monotonic() < deadline, _in_vain(holds, what, within, last)
        time.sleep(max(PAUSE, time.monotonic() - began))


@asynccontextmanager
async def meanwhile(*coroutines: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Run these while the context lasts; it fails with what one of them failed with."""
    tasks = [asyncio.create_task(one) for one in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for one in ended:
        if isinstance(one, Exception):
            raise one


def _in_vain(holds: Callable[[], Any], what: str, within: float, last: Any) -> str:
    if not what:
        what = inspect.getsource(holds).strip() if inspect.isfunction(holds) else repr(holds)
    return f"not within {within:g} s: {what}; last: {last!r}"
