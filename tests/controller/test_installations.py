"""Two installations in one cluster, each in a namespace of its own: neither touches what the other wrote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from meshfed.controller.writing.statuses import REST_SECONDS
from meshfed.kube import Manifest
from meshfed_sandbox.ports import Ports
from tests.builders import SYSTEM, host, mesh_federation, namespace, offer, service
from tests.controller.meshes import WRITTEN, Mesh, istio_config, meshes, with_gateway
from tests.controller.plans import as_planned, contents
from tests.controller.remotes import Remote, remotes
from tests.waiting import eventually

SECOND = "mesh-two"
GATEWAY = "federation-ingress-gateway"


@asynccontextmanager
async def installations() -> AsyncIterator[tuple[Mesh, Mesh]]:
    """One cluster as two controllers see it, neither of which is started."""
    with Ports() as ports:
        async with meshes("east") as (east,):
            orient = Mesh("orient", east.server, east.client, ports.take(), namespace=SECOND)
            await east.apply(namespace(SECOND), istio_config(SECOND))
            try:
                yield east, orient
            finally:
                await orient.stop()


def second(**spec: Any) -> Manifest:
    """The MeshFederation of the second installation."""
    manifest = mesh_federation("orient", **{"controlPlaneNamespace": SECOND} | spec)
    return manifest | {"metadata": {"name": "orient", "namespace": SECOND}}


async def both_as_planned(east: Mesh, orient: Mesh, west: Remote, north: Remote) -> None:
    await as_planned(east, west)
    await as_planned(orient, north)


async def test_neither_touches_what_the_other_wrote() -> None:
    async with installations() as (east, orient), remotes("west", "north") as (west, north):
        west.offer(offer("ratings"), offer("reviews"))
        north.offer(offer("ratings"), offer("reviews"))
        await east.apply(service("reviews"), service("a", exported=True), mesh_federation("east"), west.remote_mesh())
        await east.apply(second(), north.remote_mesh(namespace=SECOND, addresses=["192.0.2.30"]))
        await east.start()
        await orient.start()
        await both_as_planned(east, orient, west, north)
        ours, theirs = contents(east), contents(orient)
        everything = {(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]) for one in written(east)}
        assert ours.keys() | theirs.keys() == everything
        assert ours.keys() & theirs.keys() == set()
        for space in (SYSTEM, SECOND):
            assert ("ServiceEntry", space, f"import.{host('ratings')}") in everything
            assert ("Gateway", space, GATEWAY) in everything
        joined = [name for kind, _, name in everything if kind == "WorkloadEntry"]
        assert sorted(joined) == [
            f"{host('reviews')}.north.192.0.2.30",
            f"{host('reviews')}.west.192.0.2.10",
        ]

        await east.delete("MeshFederation", "east")
        await eventually(lambda: "east" not in east.all("MeshFederation"))
        assert contents(east) == {}
        await as_planned(orient, north)
        assert contents(orient) == theirs
        await east.stop()
        await east.apply(mesh_federation("east"))
        await east.start()
        await both_as_planned(east, orient, west, north)
        assert contents(east).keys() == ours.keys()
        assert contents(orient) == theirs


async def test_what_both_would_write_belongs_to_the_first_and_the_second_says_so() -> None:
    async with installations() as (east, orient), remotes("west", "north") as (west, north):
        west.offer(offer("ratings"))
        north.offer(offer("ratings"), offer("details"))
        await with_gateway(east)
        await east.apply(service("a", exported=True), mesh_federation("east"), west.remote_mesh())
        await east.start()
        await as_planned(east, west)
        before = versions(east)
        shared = second(controlPlaneNamespace=SYSTEM)
        await east.apply(shared, north.remote_mesh(namespace=SECOND, addresses=["192.0.2.30"]))
        await orient.start()
        not_owned = ("False", "NotOwned")
        await eventually(lambda: orient.condition("MeshFederation", "orient", "GatewayReady") == not_owned)
        await eventually(lambda: orient.condition("MeshFederation", "orient", "Ready") == not_owned)
        ratings, details = (f"{host(name)}.north" for name in ("ratings", "details"))
        await eventually(lambda: orient.condition("FederatedService", ratings, "Applied") == not_owned)
        await eventually(lambda: orient.condition("FederatedService", details, "Applied") == ("True", "Applied"))
        await eventually(lambda: orient.condition("RemoteMesh", "north", "Ready") == not_owned)
        assert before.items() <= versions(east).items()
        await as_planned(east, west)
        assert east.condition("MeshFederation", "east", "Ready") == ("True", "Ready")

        await asyncio.sleep(2 * REST_SECONDS)  # until all is counted
        settled = east.writes
        await asyncio.sleep(2 * REST_SECONDS)
        assert east.writes == settled


def written(mesh: Mesh) -> list[Manifest]:
    """Everything that any controller wrote."""
    return mesh.server.snapshot(*WRITTEN)


def versions(mesh: Mesh) -> dict[tuple[str, str, str], str]:
    """The version of everything that any controller wrote but FederatedServices, whose statuses follow."""
    return {
        (one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]): one["metadata"]["resourceVersion"]
        for one in written(mesh)
        if one["kind"] != "FederatedService"
    }
