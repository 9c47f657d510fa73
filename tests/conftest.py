"""What every test relies on."""

from __future__ import annotations

import asyncio
import gc
import logging
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.ports import Ports


def pytest_configure() -> None:
    """Say that there is no event loop yet.

    looptime asks for the current one before every test, also before those that have none; Python would make one then,
    which nobody closes, and the warning about that fails whichever test the garbage collector happens to run in.
    """
    asyncio.set_event_loop(None)
    _close_what_comes_too_late()


def _close_what_comes_too_late() -> None:
    """Have an event loop close what it accepted for a server that was closed in the same moment.

    Python leaves such a connection open (python/cpython gh-109564, mended in 3.13): a client that tries just then, as a
    probe or a watch does, would fail whichever test the garbage collector runs in.
    """
    accepted: Any = BaseSelectorEventLoop._accept_connection2  # type: ignore[attr-defined] # there is no other place

    async def accept(self: Any, factory: Any, conn: Any, *more: Any) -> None:
        _, _, server, *_ = more
        if server is not None and not server.sockets:
            conn.close()
        else:
            await accepted(self, factory, conn, *more)

    BaseSelectorEventLoop._accept_connection2 = accept  # type: ignore[attr-defined] # as above


def pytest_collection_finish() -> None:
    """Take what was imported and collected out of the garbage collector's sight.

    It is half a million objects, which stay to the end. A look at all that a test made costs next to nothing then.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _module_leaves_nothing_open() -> Iterator[None]:
    """Have what a module's fixtures did not close fail here; of the module's, it is the first set up, and ends last.

    What is left then stays to the end too: imports, and what hypothesis keeps.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _test_leaves_nothing_open(_module_leaves_nothing_open: None) -> Iterator[None]:
    """Have what a test did not close fail that test, and not the one in which the garbage collector comes upon it."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def _loggers_stay_as_they_are() -> Iterator[None]:
    """Have no test silence another's log: a command that shows all by itself sets levels for its whole process."""
    loggers = [logging.getLogger(name) for name in ("", "meshfed", "meshfed.fds")]
    levels = [one.level for one in loggers]
    yield
    for one, level in zip(loggers, levels, strict=True):
        one.setLevel(level)


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
