"""The chain of a host in meshes with controllers: what these write and say is what `meshfed explain` goes by."""

from __future__ import annotations

from meshfed.cli.clusters import read
from meshfed.cli.kinds import LEASES, OURS, SURROUNDINGS
from meshfed.views.checks import OF_REMOTE, CheckOutcome, Facts, run
from meshfed.views.explain.asked import explained
from meshfed.views.explain.chains import Chain
from meshfed.views.explain.links import LinkName, State
from meshfed.views.explain.seen import seen
from meshfed.views.snapshot import Snapshot
from tests.builders import RESOURCES, SYSTEM, host, pod, port, service
from tests.controller.meshes import Mesh, federated
from tests.waiting import eventually

WANTED = (*OURS, LEASES, *SURROUNDINGS)


async def looked_at(mesh: Mesh) -> Snapshot:
    return await read(mesh.client, mesh.name, SYSTEM, WANTED, mesh_config_map="istio")


async def chain(*meshes: Mesh) -> Chain:
    snapshots = [await looked_at(one) for one in meshes]
    (found,) = [one for one in explained("ratings", [seen(one) for one in snapshots]) if one.exporter == "west"]
    return found


async def broken(*meshes: Mesh) -> LinkName | None:
    found = (await chain(*meshes)).broken
    return found.name if found is not None else None


async def test_the_links_up_to_the_way_hold_and_are_broken_one_by_one() -> None:
    ratings = [service("ratings", exported=True), pod("ratings-1", "ratings", account="ratings")]
    async with federated("east", "west", services={"west": ratings}) as (east, west):
        record = f"{host('ratings')}.west"
        await eventually(lambda: east.condition("FederatedService", record, "Applied")[0] == "True")
        states = {link.name: link.state for link in (await chain(east, west)).links}
        # There is neither a gateway nor an istiod, and no handshake.
        held = {LinkName.SERVICE, LinkName.SELECTED, LinkName.EXPORTED, LinkName.OFFERED, LinkName.DESCRIBED}
        held |= {LinkName.CONNECTED, LinkName.RECEIVED, LinkName.ACCEPTED, LinkName.WRITTEN, LinkName.IDENTITY}
        assert {name for name in held if states[name] is not State.OK} == set()

        await east.patch("RemoteMesh", "west", {"spec": {"import": {"rules": [{"action": "Deny"}]}}})
        await eventually(lambda: east.condition("FederatedService", record, "Accepted")[1] == "DeniedByRule")
        assert await broken(east) is LinkName.ACCEPTED

        await west.label("ratings", export_service=None)
        await eventually(lambda: record not in east.all("FederatedService"))
        assert await broken(east, west) is LinkName.SELECTED
        assert await broken(west) is LinkName.SELECTED


async def test_ports_that_do_not_agree_are_named_by_either_command() -> None:
    """It is what the controller decided: there is no traffic. Of two remotes the second one is refused."""
    offered = {
        mesh: [service("ratings", exported=True, ports=[port(number)]), pod("ratings-1", "ratings", account="ratings")]
        for mesh, number in (("north", 9080), ("west", 9081))
    }
    async with federated("east", "north", "west", services=offered) as (east, north, west):
        await east.apply(pod(f"controller-1.{SYSTEM}", labels={"app.kubernetes.io/name": "federation-controller"}))
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        await east.client.patch_status(RESOURCES["Pod"], "controller-1", ready, namespace=SYSTEM)

        async def conflicts(*meshes: Mesh) -> list[str]:
            found = explained("ratings", [seen(await looked_at(one)) for one in meshes])
            links = [
                link for one in found if one.importer == "east" for link in one.links if link.state is State.BROKEN
            ]
            return [f"{one.whose} {one.reason}" for one in links if one.name is LinkName.ACCEPTED]

        async def are_named() -> bool:
            return await conflicts(east) == await conflicts(east, north, west) == ["either PortConflict"]

        await eventually(are_named)
        said = [one for one in run(Facts(snapshot=await looked_at(east)), OF_REMOTE) if one.check == "imports"]
        assert (CheckOutcome.WARNING, "PortConflict") in {(one.outcome, one.reason) for one in said}

        # Mended at the exporter that the message names the ports of.
        for mesh in (north, west):
            await mesh.patch("Service", "ratings", {"spec": {"ports": [port(9080)]}}, namespace="default")

        async def is_silent() -> bool:
            return not await conflicts(east) and not await conflicts(east, north, west)

        await eventually(is_silent)
