"""What is left open fails the test that left it open; `tests/conftest.py` sees to that."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest


async def test_a_connection_that_is_accepted_as_its_server_closes_is_closed() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as late:
        for _ in range(2):  # so that the loop has taken the connection, and not yet made anything of it
            await asyncio.sleep(0)
        server.close()
        await asyncio.sleep(0)
        late.settimeout(10)
        assert late.recv(1) == b""


def test_every_test_is_looked_after_and_that_is_cheap(request: pytest.FixtureRequest) -> None:
    assert {"_module_leaves_nothing_open", "_test_leaves_nothing_open"} <= set(request.fixturenames)
    assert gc.get_freeze_count() > 10_000
