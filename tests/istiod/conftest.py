"""Tests beside istiod run on the data plane's event loop, and those of what others write in one scene."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio

from meshfed_sandbox.dataplane.network import PodLoop
from meshfed_sandbox.dataplane.values import MeshSettings
from tests.istiod.cluster import Cluster, cluster
from tests.istiod.scene import SCENE


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"pods": PodLoop}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def beside(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    settings = MeshSettings(name="east", network="east-network")
    async with cluster(settings, tmp_path_factory.mktemp("cluster")) as found:
        await found.create(*SCENE)
        yield found
