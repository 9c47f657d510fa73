"""Whether `Reachable` says that certificates are not believed: meshes without a common root, and a router in front."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshfed_sandbox.dataplane.plane import Options
from tests.e2e.probes import run
from tests.e2e.support import needs_haproxy
from tests.e2e.test_reachability import RECORD, Diagnosis, becomes, named
from tests.sandbox.dataplane.world import World

pytestmark = pytest.mark.timeout(300)


async def test_a_root_that_is_not_trusted_is_named(tmp_path: Path) -> None:
    async with World.up("east", "west", directory=tmp_path, options=Options(trust="none")) as world:
        await world.west.run("echo", image="echo", port=8080, account="echo")
        await world.federate()
        await world.west.export("echo.bookinfo")
        found = await becomes(world.east, "RemoteMesh", "west", "False RootNotTrusted")
        assert "both meshes need a common root, or each other's trust bundles" in found
        checks = {"remotes/gateway", "remotes/connected"}
        broken = "connected either RootNotTrusted"
        said = Diagnosis(broken, "", broken, checks, checks)  # west knows of nobody who wants to hear it
        await named(world, said)


async def test_bundles_that_are_exchanged_are_trusted(tmp_path: Path) -> None:
    async with World.up("east", "west", directory=tmp_path, options=Options(trust="federated")) as world:
        await world.federate()
        found = await becomes(world.east, "RemoteMesh", "west", "True Answered")
        assert found.endswith("as spiffe://west.local/ns/istio-system/sa/federation-controller-west")


@needs_haproxy
async def test_behind_a_router_a_route_that_is_missing_is_named(tmp_path: Path) -> None:
    async with World.up("east", "west", directory=tmp_path, options=Options(routers=frozenset({"west"}))) as world:
        await run(world.east, "caller", image="sleep", account="caller")
        await world.west.run("echo", image="echo", port=8080, account="echo")
        await world.federate()
        await world.west.export("echo.bookinfo")
        await becomes(world.east, "FederatedService", RECORD, "True Answered")
        paused = {"annotations": {"federation.openshift-service-mesh.io/paused": "true"}}
        for route in await world.west.list("Route", "istio-system"):
            if "echo" in route["spec"]["host"]:
                another = {"metadata": paused, "spec": {"host": "another.bookinfo.svc.cluster.local"}}
                await world.west.patch("Route", route["metadata"]["name"], another, "istio-system")
        await becomes(world.east, "FederatedService", RECORD, "False NotPassedOn")
