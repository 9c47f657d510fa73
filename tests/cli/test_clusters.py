"""What commands read from real API servers, and what they make of one that answers badly, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from meshfed.cli.clusters import Where, look_at, read
from meshfed.cli.exits import BadInput
from meshfed.cli.kinds import LEASES, OURS, SURROUNDINGS
from meshfed.kube import ClusterConfig, Forbidden
from meshfed.views.exports import exports, planned
from meshfed.views.imports import ImportState, imports
from meshfed.views.meshes import mesh as mesh_view
from meshfed.views.snapshot import Unreached
from tests.builders import SYSTEM, mesh_federation, namespace, pod, service
from tests.controller.meshes import Mesh, federated, meshes
from tests.waiting import eventually

ALL = (*OURS, LEASES, *SURROUNDINGS)
SERVICES = [namespace("default"), service("ratings", exported=True), pod("ratings-1", "ratings")]


@pytest_asyncio.fixture
async def east() -> AsyncIterator[Mesh]:
    async with meshes("east") as (mesh,):
        yield mesh


async def test_two_meshes_side_by_side_and_one_that_is_away() -> None:
    async with federated("east", "west", services={"west": SERVICES}) as (east, west):
        # A RemoteMesh's status follows a moment later, so that many hosts are counted once.
        await eventually(lambda: east.all("RemoteMesh")["west"].get("status", {}).get("offeredServices") == 1)
        away = ClusterConfig(server="http://127.0.0.1:1")
        found = [("east", east.client.config), ("west", west.client.config), ("away", away)]
        seen, unreached = await look_at(found, Where(), ALL, mesh_config_map="istio")
        assert [one.source for one in seen] == ["east", "west"]
        assert [(one.source, "127.0.0.1:1" in one.why) for one in unreached] == [("away", True)]
        assert [(one.mesh, one.unread) for one in seen] == [("east", {}), ("west", {})]
        offered = imports(seen[0])
        assert [(one.host, one.remote, one.state) for one in offered] == [
            ("ratings.default.svc.cluster.local", "west", ImportState.IMPORTED)
        ]
        plan, problems = planned(seen[1])
        assert problems == ()
        decided = {(one.namespace, one.name): one.exported for one in exports(seen[1], plan)}
        assert decided == {("default", "ratings"): True}
        assert mesh_view(seen[0]).remotes[0].offered == 1


async def test_the_namespace_is_the_one_that_has_a_mesh_federation(east: Mesh) -> None:
    await east.apply(namespace("mesh"), mesh_federation("east", namespace="mesh"))
    found = await read(east.client, "here", None, OURS)
    assert (found.namespace, found.mesh) == ("mesh", "east")
    await east.apply(mesh_federation("other"))
    with pytest.raises(BadInput, match=r"namespaces istio-system, mesh: choose one with --namespace"):
        await read(east.client, "here", None, OURS)
    assert (await read(east.client, "here", SYSTEM, OURS)).mesh == "other"


async def test_a_cluster_without_our_definitions_says_so(east: Mesh) -> None:
    for kind in ("meshfederations", "remotemeshes", "federatedservices"):
        await east.delete("CustomResourceDefinition", f"{kind}.federation.openshift-service-mesh.io", namespace="")
    found = await read(east.client, "here", None, OURS)
    assert found.namespace == SYSTEM
    assert found.unread["RemoteMesh"] == ("the cluster does not serve RemoteMesh.federation.openshift-service-mesh.io")


async def test_what_may_not_be_read_is_named_and_the_rest_is_read(east: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    await east.apply(mesh_federation("east"), *SERVICES)
    list_ = type(east.client).list

    async def forbidding(self, resource, **selection):  # type: ignore[no-untyped-def] # in the place of an overload
        if resource.plural == "pods":
            raise Forbidden(403, "Forbidden", "no")
        return await list_(self, resource, **selection)

    monkeypatch.setattr(type(east.client), "list", forbidding)
    found = await read(east.client, "here", None, ALL)
    assert found.unread == {"Pod": "you may not list pods in all namespaces"}
    assert [one.name for one in exports(found, planned(found)[0]) if one.exported] == ["ratings"]


async def test_a_cluster_that_never_answers_is_given_up() -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        _, unreached = await look_at([("east", ClusterConfig(server=url))], Where(request_timeout="1s"), OURS)
    finally:
        server.close()
    assert unreached == (Unreached("east", f"{url} did not answer in 1 s"),)


async def test_credentials_that_are_not_accepted_are_for_a_person_to_renew() -> None:
    async def refused(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"kind": "Status", "message": "Unauthorized", "reason": "Unauthorized"}, status=401)

    async with RawTestServer(refused) as server:
        url = str(server.make_url("/")).rstrip("/")
        _, unreached = await look_at([("east", ClusterConfig(server=url))], Where(), OURS)
    remedy = "the credentials of this context are not accepted: log in again, or renew its token"
    assert unreached == (Unreached("east", f"{url}: Unauthorized (401 Unauthorized): {remedy}"),)
