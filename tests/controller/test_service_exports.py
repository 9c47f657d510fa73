"""ServiceExports of the multi-cluster services API, where the MeshFederation says to look at them."""

from __future__ import annotations

from typing import Any

from meshfed.controller.watches import SERVICE_EXPORTS
from tests.builders import host, service, service_export, service_exports_crd
from tests.controller.meshes import Mesh, federated
from tests.controller.test_federation import BOOKINFO
from tests.waiting import eventually


def conditions(mesh: Mesh, name: str) -> list[dict[str, Any]]:
    found = mesh.server.snapshot("serviceexports.multicluster.x-k8s.io")
    return [
        condition
        for one in found
        if one["metadata"]["name"] == name
        for condition in one.get("status", {}).get("conditions", [])
    ]


def valid(mesh: Mesh, name: str) -> tuple[str, str]:
    found = [(one["status"], one["reason"]) for one in conditions(mesh, name) if one["type"] == "Valid"]
    return found[0] if found else ("", "")


async def test_a_service_export_exports_its_service_and_says_so() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await west.stop()
        crd = service_exports_crd()
        served = {one["metadata"]["name"] for one in west.server.snapshot("customresourcedefinitions")}
        assert crd["metadata"]["name"] not in served, "the other tests run without that API"
        west.server.install_crd(crd)
        await west.patch("MeshFederation", "west", {"spec": {"export": {"serviceExports": True}}})
        await west.start()
        await west.ready()
        for name in ("ratings", "missing"):
            await west.apply(service_export(name))
        await eventually(lambda: east.imported() == [host("ratings")])
        await eventually(lambda: valid(west, "ratings")[0] == "True")
        await eventually(lambda: valid(west, "missing") == ("False", "NoService"))
        # Another implementation's, without the reason that ours have.
        theirs = {"type": "Conflict", "status": "False", "message": ""}
        both = {"conditions": [*conditions(west, "ratings"), theirs]}
        await west.client.patch_status(SERVICE_EXPORTS, "ratings", both, namespace="default")
        await west.stop()
        await west.start()
        await west.ready()
        await west.delete("Service", "ratings", namespace="default")
        await eventually(lambda: valid(west, "ratings") == ("False", "NoService"))
        assert theirs in conditions(west, "ratings")
        await west.apply(service("ratings"))
        await eventually(lambda: east.imported() == [host("ratings")])
        await west.client.delete(SERVICE_EXPORTS, "ratings", namespace="default")
        await eventually(lambda: east.imported() == [])
