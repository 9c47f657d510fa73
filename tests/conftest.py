"""What every test relies on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from meshfed.sandbox.apiserver import APIServer
from meshfed.sandbox.ports import Ports


def pytest_configure() -> None:
    """Say that there is no event loop yet.

    looptime asks for the current one before every test, also before those that have none; Python would make one then,
    which nobody closes, and the warning about that fails whichever test the garbage collector happens to run in.
    """
    asyncio.set_event_loop(None)


LONGEST = "tests/e2e/test_mutations.py"
"""Tests that take several minutes by themselves."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several processes, have one begin with the longest tests, so that not all others wait for it in the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.fixture
def ports() -> Iterator[Ports]:
    """Ports for what is told where to listen."""
    with Ports() as kept:
        yield kept


@pytest.fixture
async def api_server() -> AsyncIterator[APIServer]:
    """An embedded API server, empty but for its own Namespaces."""
    async with APIServer() as server:
        yield server
