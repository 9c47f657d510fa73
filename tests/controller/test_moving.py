"""The move from the reference as docs/moving.md has it: one mesh at a time, and no host is ever without an object."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from meshfed.kube import Manifest, Resource
from tests import reference_objects as reference
from tests.builders import GROUP, service
from tests.controller.meshes import Mesh, meshes, synced
from tests.controller.test_adoption import never_without, plural, theirs
from tests.fds.reference import FederatedService, ReferenceClient, ReferenceServer, ServicePort, reference_client
from tests.reference_objects import Peer, ReferenceMesh
from tests.waiting import eventually

MOVING = Path(__file__).resolve().parents[2] / "docs" / "moving.md"
SHARED = "reviews"
"""Is in both meshes, and so becomes a WorkloadEntry in either."""
ONLY = {"east": "details", "west": "ratings"}
"""Is in that mesh alone, and so becomes a ServiceEntry in the other."""


def documented(own: Mesh, other: Mesh) -> Iterator[Manifest]:
    """The objects of the page's example as ``own`` needs them; where ``other`` answers is known to the test alone."""
    (block,) = [part.partition("```")[0] for part in MOVING.read_text().split("```yaml\n")[1:]]
    names = {"east": own.name, "west": other.name, "east-network": own.name, "west-network": other.name}
    for manifest in yaml.safe_load_all(block):
        manifest["metadata"]["name"] = names[manifest["metadata"]["name"]]
        manifest["spec"]["network"] = names[manifest["spec"]["network"]] + "-network"
        if manifest["kind"] == "RemoteMesh":
            manifest["spec"]["discovery"] = {"address": f"127.0.0.1:{other.discovery_port}"}
            manifest["spec"]["identity"] = f"spiffe://cluster.local/ns/istio-system/sa/controller-{other.name}"
        yield manifest


def offers(mesh: str) -> tuple[reference.Service, ...]:
    """What a mesh exports."""
    return tuple(reference.Service(name, labels={"app": name}) for name in (ONLY[mesh], SHARED))


def imports(mesh: str) -> tuple[str, ...]:
    """The hosts that the other mesh serves in this one."""
    other = "west" if mesh == "east" else "east"
    return tuple(one.host for one in offers(other))


async def federated_by_reference(mesh: Mesh, other: str) -> None:
    """``mesh`` as the reference's controller left it: its own Services, and what was written for both directions."""
    await mesh.apply(*(service(one.name, exported=True) for one in offers(mesh.name)))
    peer = Peer(other, ("192.0.2.20",), f"{other}-network", offers=offers(other))
    for manifest in ReferenceMesh(mesh.name, (peer,), exports=offers(mesh.name)).objects():
        group, version = manifest["apiVersion"].split("/")
        await mesh.client.create(Resource(group, version, plural(manifest["kind"]), manifest["kind"]), manifest)


def as_reference_announces(one: reference.Service) -> Any:
    """A service on the reference's wire."""
    ports = [
        ServicePort(number=port.number, name=port.name, protocol=port.protocol, targetPort=port.target)
        for port in one.ports
    ]
    return FederatedService(hostname=one.host, ports=ports, labels=one.labels)


async def heard(client: ReferenceClient) -> list[str]:
    """What a reference that asks is told."""
    await client.ask()
    return sorted(await client.hosts())


async def move(mesh: Mesh, other: Mesh) -> None:
    """Steps 4 to 6 of the page, in a mesh whose reference was stopped."""
    await mesh.apply(*documented(mesh, other))
    await mesh.start(adopt_reference=True)
    await eventually(lambda: theirs(mesh) == [], within=60)
    await synced(mesh, other)
    await eventually(lambda: mesh.condition("RemoteMesh", other.name, "Ready")[0] == "True")


async def test_one_mesh_moves_after_the_other_and_neither_is_ever_without_an_import() -> None:
    async with meshes("east", "west") as (east, west):
        await federated_by_reference(east, "west")
        await federated_by_reference(west, "east")
        theirs_of_west = ReferenceServer(*(as_reference_announces(one) for one in offers("west")))
        async with never_without(east, *imports("east")), never_without(west, *imports("west")):
            # East moves; west still runs the reference.
            async with theirs_of_west.listen(west.discovery_port):
                theirs_of_west.failing = 2  # it is slow to answer, as after a restart
                await move(east, west)
                assert east.all("RemoteMesh")["west"]["status"]["dialect"] == "sotw"
                assert theirs(west)
                async with reference_client(east.discovery_port) as asking:
                    assert await heard(asking) == sorted(one.host for one in offers("east"))
                before = east.identities("ServiceEntry", "WorkloadEntry")

            # West's reference is stopped: east keeps what it has.
            await eventually(lambda: east.condition("RemoteMesh", "west", "Connected")[0] == "False")
            assert east.identities("ServiceEntry", "WorkloadEntry") == before

            # West moves as well, to where east looks for it.
            await move(west, east)
            await synced(east, west)
            assert east.identities("ServiceEntry", "WorkloadEntry") == before
            assert east.all("RemoteMesh")["west"]["status"]["dialect"] == "delta"
        for mesh in (east, west):
            assert theirs(mesh) == []
            assert mesh.imported() == [host for host in imports(mesh.name) if not host.startswith(SHARED)]
            assert mesh.merged() == [("default", SHARED)]
            assert mesh.all("RemoteMesh").keys() == ({"east", "west"} - {mesh.name})
            assert all(one["apiVersion"].startswith(GROUP) for one in mesh.all_of("FederatedService"))


async def test_a_reference_that_still_runs_is_said_to(caplog: Any) -> None:
    async with meshes("east", "west") as (east, west):
        await federated_by_reference(east, "west")
        mine = ReferenceServer(*(as_reference_announces(one) for one in offers("west")))
        async with mine.listen(west.discovery_port):
            entry = next(one for one in east.all_of("ServiceEntry") if one["metadata"]["name"].startswith("import-"))
            again = {**entry, "metadata": {key: entry["metadata"][key] for key in ("name", "namespace", "labels")}}

            async def keep() -> None:
                while True:
                    if again["metadata"]["name"] not in east.all("ServiceEntry"):
                        await east.client.create(
                            Resource("networking.istio.io", "v1", "serviceentries", "ServiceEntry"), again
                        )
                    await asyncio.sleep(0.01)

            keeping = asyncio.create_task(keep())
            await east.apply(*documented(east, west))
            await east.start(adopt_reference=True)
            await eventually(lambda: "stop the reference's controller" in caplog.text, within=60)
            keeping.cancel()
            assert east.imported() == [again["spec"]["hosts"][0]] * 2
