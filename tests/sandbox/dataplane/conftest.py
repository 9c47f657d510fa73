"""Tests of the data plane run on its event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

import pytest

from meshfed_sandbox.dataplane.addresses import Addresses
from meshfed_sandbox.dataplane.network import PodLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"pods": PodLoop}


@pytest.fixture(scope="session")
def addresses() -> Iterator[Addresses]:
    """A share of the loopback, which nobody else's tests have."""
    with Addresses() as share:
        yield share
