"""The chain of a host in meshes with controllers: what these write and say is what `meshfed explain` goes by."""

from __future__ import annotations

from meshfed.cli.clusters import LEASES, OURS, SURROUNDINGS, read
from meshfed.views.explain.asked import explained
from meshfed.views.explain.chains import Chain
from meshfed.views.explain.links import LinkName, State
from meshfed.views.explain.seen import seen
from tests.builders import SYSTEM, host, pod, service
from tests.controller.meshes import Mesh, federated
from tests.waiting import eventually

WANTED = (*OURS, LEASES, *SURROUNDINGS)


async def chain(*meshes: Mesh) -> Chain:
    snapshots = [await read(one.client, one.name, SYSTEM, WANTED, mesh_config_map="istio") for one in meshes]
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
