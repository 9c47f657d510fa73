"""What leaves takes with it what it caused, and only that; what is paused is left alone."""

from __future__ import annotations

import asyncio

from meshfed.api.v1alpha1 import FINALIZER
from meshfed.istio.metadata import PAUSED
from tests.builders import host, mesh_federation
from tests.controller.meshes import federated, with_gateway
from tests.controller.test_federation import BOOKINFO, export_all
from tests.waiting import eventually


async def test_both_kinds_are_finalized_while_a_controller_is_in_charge() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, _west):
        await eventually(
            lambda: all(
                found["metadata"].get("finalizers") == [FINALIZER]
                for kind in ("MeshFederation", "RemoteMesh")
                for found in east.all(kind).values()
            )
        )


async def test_a_remote_is_gone_only_after_everything_it_caused() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        early: list[str] = []

        def look() -> None:
            if not east.all("RemoteMesh") and (east.imported() or east.merged() or east.all("FederatedService")):
                early.append("the RemoteMesh went before what it caused")

        with east.server.told(look):
            await east.delete("RemoteMesh", "west")
            await eventually(lambda: not east.all("RemoteMesh"))
        assert early == []
        assert east.exported() == [host("details"), host("reviews")]


async def test_a_mesh_federation_is_gone_only_after_everything_it_caused() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        await east.delete("MeshFederation", "east")
        await eventually(lambda: not east.all("MeshFederation"))
        assert east.written() == {}


async def test_deleted_while_no_controller_runs_it_waits_for_the_next_one() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        await east.stop()
        await east.delete("RemoteMesh", "west")
        assert east.all("RemoteMesh")["west"]["metadata"]["deletionTimestamp"]
        await east.start()
        await eventually(lambda: not east.all("RemoteMesh"))
        assert (east.imported(), east.merged(), east.all("FederatedService")) == ([], [], {})


async def test_a_second_mesh_federation_takes_over_when_the_first_leaves() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        await with_gateway(east)
        await asyncio.sleep(1.1)  # creation times have whole seconds
        await east.apply(mesh_federation("orient"))
        await eventually(lambda: east.condition("MeshFederation", "orient", "Ready") == ("False", "Duplicate"))
        await east.delete("MeshFederation", "east")
        await eventually(lambda: list(east.all("MeshFederation")) == ["orient"])
        await eventually(lambda: east.condition("MeshFederation", "orient", "Ready")[0] == "True")
        assert east.imported() == [host("ratings")]
        owners = {
            found["metadata"]["labels"]["federation.openshift-service-mesh.io/owner"]
            for found in east.server.snapshot("serviceentries", "gateways.networking.istio.io")
        }
        assert owners == {"orient"}


async def test_a_paused_object_is_left_as_it_is_until_it_is_not() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        (name,) = east.all("ServiceEntry")
        wanted = east.all("ServiceEntry")[name]["spec"]
        await east.patch("ServiceEntry", name, {"metadata": {"annotations": {PAUSED: "true"}}})
        await east.patch("ServiceEntry", name, {"spec": {"location": "MESH_EXTERNAL"}})
        record = f"{host('ratings')}.west"
        await eventually(lambda: east.condition("FederatedService", record, "Applied") == ("False", "Paused"))
        assert east.all("ServiceEntry")[name]["spec"]["location"] == "MESH_EXTERNAL"
        await east.patch("ServiceEntry", name, {"metadata": {"annotations": {PAUSED: None}}})
        await eventually(lambda: east.all("ServiceEntry")[name]["spec"] == wanted)
        await eventually(lambda: east.condition("FederatedService", record, "Applied") == ("True", "Applied"))
