"""Tests beside istiod run on the data plane's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from meshfed_sandbox.dataplane.network import PodLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"pods": PodLoop}
