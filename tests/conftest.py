"""What every test relies on."""

from __future__ import annotations

import asyncio


def pytest_configure() -> None:
    """Say that there is no event loop yet.

    looptime asks for the current one before every test, also before those that have none; Python would make one then,
    which nobody closes, and the warning about that fails whichever test the garbage collector happens to run in.
    """
    asyncio.set_event_loop(None)
