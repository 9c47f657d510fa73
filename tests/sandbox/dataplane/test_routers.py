"""Meshes that reach each other through OpenShift's routers, one before each ingress gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshfed_sandbox.dataplane.plane import Options
from meshfed_sandbox.dataplane.router import RouterUnavailable, haproxy_path
from tests.sandbox.dataplane.world import MeshWorld, World
from tests.waiting import eventually

RATINGS = "http://ratings.bookinfo:9080/ratings/0"


async def test_requests_pass_the_other_meshs_router(tmp_path: Path) -> None:
    try:
        haproxy_path()
    except RouterUnavailable as error:
        pytest.skip(str(error))
    options = Options(routers=frozenset({"east", "west"}))
    async with World.up("east", "west", directory=tmp_path, options=options) as world:
        await world.east.bookinfo("productpage")
        await world.west.bookinfo("ratings")
        for mesh, other in ((world.east, world.west), (world.west, world.east)):
            router = other.plane.router
            assert router is not None
            ingress = {"type": "openshift-router", "gateway": {"selector": {"app": "federation-ingress-gateway"}}}
            await mesh.federation(ingress=ingress)
            await mesh.remote(other, addresses=[router.address], port=router.port, ingressType="openshift-router")
        await world.settled()
        await world.connected()
        await world.west.export("ratings.bookinfo")
        answer = await world.east.until(RATINGS, mesh="west")
        path = await world.path(answer, hops=2)
        router = world.west.plane.router
        assert router is not None
        assert path[0].line["upstream_host"] == f"{router.address}:{router.port}"
        await eventually(lambda: all_admitted(world.west), what="every Route says that it was admitted")


async def all_admitted(mesh: MeshWorld) -> bool:
    routes = await mesh.list("Route", "istio-system")
    said = [one.get("status", {}).get("ingress", []) for one in routes]
    return bool(said) and all(ingress and ingress[0]["conditions"][0]["status"] == "True" for ingress in said)
