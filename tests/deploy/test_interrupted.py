"""Releases whose hooks fail: what is said, what Helm keeps, and that the work can be finished."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import helm
import pytest

from tests.builders import SYSTEM, service
from tests.deploy.cluster import Cluster, cluster, until
from tests.deploy.jobs import helm_with_jobs
from tests.deploy.test_chart import example
from tests.deploy.test_release import written

SOON = {"uninstall": {"timeout": "20s"}}
"""So long that the Job which may do all gets through, with a controller that it has to give up on."""
OBJECTS = {key: example("objects")[key] for key in ("mesh", "remotes")} | SOON
FLAGS = example("kind") | SOON


@asynccontextmanager
async def without_its_controller(asked: helm.Helm, directory: Path, values: dict[str, Any]) -> AsyncIterator[Cluster]:
    """A cluster with a release that has written something, and whose controller died."""
    async with cluster(directory) as found:
        await found.apply(service("reviews", exported=True))
        await found.helm(asked, "install", "east", values)
        pod = await found.run_controller()
        await until(lambda: "Gateway" in written(found, SYSTEM), "nothing is written", pod)
        await pod.kill()
        yield found


async def refused_uninstall(asked: helm.Helm, found: Cluster) -> helm.HelmError:
    """What Helm says of an uninstallation in which no Gateway can be deleted, with the Job's log as a note."""
    fault = found.server.fail(verb="delete", resource="gateways.networking.istio.io", status=403, times=10**6)
    try:
        with pytest.raises(helm.HelmError) as caught:
            await helm_with_jobs(asked, found, "uninstall", "east", {})
    finally:
        fault.times = 0
    return caught.value


async def test_where_objects_describe_the_mesh_the_release_stays_and_goes_the_next_time(
    helm_process: helm.Helm, tmp_path: Path
) -> None:
    async with without_its_controller(helm_process, tmp_path, OBJECTS) as found:
        error = await refused_uninstall(helm_process, found)
        assert "Gateway istio-system/federation-ingress-gateway" in error.__notes__[0]
        assert "Gateway" in written(found, SYSTEM)
        assert found.all("Deployment"), "the controller is still there"
        await helm_with_jobs(helm_process, found, "uninstall", "east", {})
        assert written(found, SYSTEM) == {}
        assert found.all("MeshFederation") == found.all("RemoteMesh") == found.all("Deployment") == []


async def test_where_flags_describe_the_mesh_the_release_is_gone_and_the_rest_goes_by_hand(
    helm_process: helm.Helm, tmp_path: Path
) -> None:
    async with without_its_controller(helm_process, tmp_path, FLAGS) as found:
        error = await refused_uninstall(helm_process, found)
        assert "Gateway istio-system/federation-ingress-gateway" in error.__notes__[0]
        assert "Gateway" in written(found, SYSTEM)
        assert found.all("Deployment") == []
        with pytest.raises(helm.HelmError, match="not found"):
            await found.helm(helm_process, "uninstall", "east", {})
        command = ["-m", "meshfed", "uninstall", f"--namespace={SYSTEM}", "--yes", f"--kubeconfig={found.kubeconfig}"]
        by_hand = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=asyncio.subprocess.DEVNULL)
        assert await by_hand.wait() == 0
        assert written(found, SYSTEM) == {}
