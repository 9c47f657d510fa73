"""What every test relies on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from meshfed.sandbox.apiserver import APIServer


def pytest_configure() -> None:
    """Say that there is no event loop yet.

    looptime asks for the current one before every test, also before those that have none; Python would make one then,
    which nobody closes, and the warning about that fails whichever test the garbage collector happens to run in.
    """
    asyncio.set_event_loop(None)


@pytest.fixture
async def api_server() -> AsyncIterator[APIServer]:
    """An embedded API server, empty but for its own Namespaces."""
    async with APIServer() as server:
        yield server
