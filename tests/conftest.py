"""Fixtures every room's tests may use."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from meshfed.sandbox.apiserver import APIServer


@pytest.fixture
async def api_server() -> AsyncIterator[APIServer]:
    """An embedded API server, empty but for its own Namespaces."""
    async with APIServer() as server:
        yield server
