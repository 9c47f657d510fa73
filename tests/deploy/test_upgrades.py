"""Values that are changed while controllers run: there is one that writes, and no import is missing at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import helm
import pytest

from meshfed.kube import Manifest
from tests.builders import RESOURCES, SYSTEM, service
from tests.controller.meshes import Mesh
from tests.controller.test_adoption import never_without
from tests.deploy.cluster import Cluster, cluster, until
from tests.deploy.rollouts import rollouts
from tests.deploy.test_chart import example
from tests.deploy.test_release import offering, written
from tests.waiting import PATIENCE, eventually, meanwhile


@contextlib.asynccontextmanager
async def restless(found: Cluster) -> AsyncIterator[None]:
    """Meanwhile, a Service is exported and not, so that there is always something to write."""

    async def change() -> None:
        for number in itertools.count():
            labels = {"export-service": "true" if number % 2 else None}
            await found.client.patch(
                RESOURCES["Service"], "details", {"metadata": {"labels": labels}}, namespace="default"
            )
            await asyncio.sleep(0.1)

    async with meanwhile(change()):
        yield


async def test_more_and_fewer_replicas_and_never_two_that_write(helm_process: helm.Helm, tmp_path: Path) -> None:
    values = example("objects") | {"networkPolicy": {"enabled": False}, "gateway": {"enabled": False}}
    often = {"extraArgs": ["--leader-elect-retry-period=500ms"]}
    async with cluster(tmp_path) as found, rollouts(found) as pods:
        await found.apply(service("reviews", exported=True), service("details"))
        await found.helm(helm_process, "install", "east", values | {"controller": {"replicas": 1, **often}})
        await pods.settle()
        async with restless(found):
            for step in ({"replicas": 2}, {"replicas": 3}, {"replicas": 1}, {"replicas": 1, "logLevel": "debug"}):
                await found.helm(helm_process, "upgrade", "east", values | {"controller": step | often})
                await pods.settle()
                assert len(pods.replicas) == step["replicas"]
                before = pods.writes
                await eventually(lambda: pods.writes > before, within=PATIENCE)  # noqa: B023 - awaited here
        assert set(written(found, SYSTEM)) >= {"Gateway", "AuthorizationPolicy"}
        assert pods.faults == []
        assert pods.longest < PATIENCE
        assert [one.asked for one in found.uses("federation-controller") if not one.allowed] == []


IMPORTS = ("details.default.svc.cluster.local", "ratings.default.svc.cluster.local")


def by_flags(address: str) -> dict[str, Any]:
    """Mesh east and its remote west, by flags."""
    values = example("kind")
    values["federation"]["meshPeers"]["remotes"][0]["addresses"] = [address]
    return values | {"controller": {"replicas": 1}}


def by_objects(address: str) -> dict[str, Any]:
    """The same by objects."""
    mesh, west = example("objects")["mesh"], example("objects")["remotes"][0]
    west["spec"] |= {"addresses": [address], "import": {"merge": True, "allowTCP": True}}
    return {"mesh": mesh, "remotes": [west], "controller": {"replicas": 1}}


async def test_from_flags_to_objects_and_back_and_no_import_is_ever_missing(
    helm_process: helm.Helm, tmp_path: Path
) -> None:
    async with cluster(tmp_path) as found, offering(tmp_path) as address, rollouts(found) as pods:
        await found.apply(service("reviews", exported=True), service("details"))
        await found.helm(helm_process, "install", "east", by_flags(address))
        await pods.settle()
        await until(lambda: len(imported(found)) == 2, "what west offers is not imported", pods.replicas[0].pod)
        mesh = Mesh("east", found.server, found.client, found.ports.take())
        before = imported(found)

        async with never_without(mesh, *IMPORTS):
            await found.helm(helm_process, "upgrade", "east", by_objects(address))
            await pods.settle()
            await eventually(lambda: mesh.condition("RemoteMesh", "west", "Synced")[0] == "True", within=PATIENCE)
            assert imported(found) == before

            # Back: Helm would delete the objects under the controller that goes by them.
            with pytest.raises(helm.HelmError, match=r"annotate meshfederations,remotemeshes --all helm\.sh/resource"):
                await found.helm(helm_process, "upgrade", "east", by_flags(address))
            objects = [("MeshFederation", "east"), ("RemoteMesh", "west")]
            for kind, name in objects:
                await mesh.patch(kind, name, {"metadata": {"annotations": {"helm.sh/resource-policy": "keep"}}})
            # They may also be applied apart from now on,
            await found.helm(helm_process, "upgrade", "east", {"mesh": {"name": "east"}, "controller": {"replicas": 1}})
            await pods.settle()
            assert {(one["kind"], one["metadata"]["name"]) for one in kept(found)} == set(objects)
            # or have no say any more.
            await found.helm(helm_process, "upgrade", "east", by_flags(address))
            assert {(one["kind"], one["metadata"]["name"]) for one in kept(found)} == set(objects)
            await pods.settle()
            for kind, name in objects:
                await mesh.patch(kind, name, {"metadata": {"finalizers": None}})
                await mesh.delete(kind, name)
            assert kept(found) == []
            await until(lambda: "Gateway" in written(found, SYSTEM), "nothing is exported", pods.replicas[0].pod)
            assert imported(found) == before
        assert pods.faults == []


def imported(found: Cluster) -> set[tuple[str, str, str]]:
    """What serves the hosts of remotes, and which objects these are."""
    return {
        (one["kind"], one["metadata"]["name"], one["metadata"]["uid"])
        for kind in ("ServiceEntry", "WorkloadEntry")
        for one in found.all(kind)
        if "federation-discovery-service" not in str(one["spec"])
    }


def kept(found: Cluster) -> list[Manifest]:
    """What describes the mesh."""
    return found.all("MeshFederation") + found.all("RemoteMesh")
