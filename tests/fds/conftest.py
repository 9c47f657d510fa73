"""Fixtures of the discovery tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _main_loop() -> Iterator[None]:
    """Give the main thread an event loop and close it: looptime asks for one even around synchronous tests."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
