"""ServiceExports of the multi-cluster services API, where the MeshFederation says to look at them."""

from __future__ import annotations

from typing import Any

from meshfed.controller.cluster import SERVICE_EXPORTS
from meshfed.kube import Manifest
from tests.builders import RESOURCES, host, service
from tests.controller.meshes import Mesh, federated
from tests.controller.test_federation import BOOKINFO
from tests.waiting import eventually

ANYTHING: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
CRD: Manifest = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "serviceexports.multicluster.x-k8s.io"},
    "spec": {
        "group": "multicluster.x-k8s.io",
        "scope": "Namespaced",
        "names": {"plural": "serviceexports", "singular": "serviceexport", "kind": "ServiceExport"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": ANYTHING, "status": ANYTHING}}},
            }
        ],
    },
}


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
        west.server.install_crd(CRD)
        await west.patch("MeshFederation", "west", {"spec": {"export": {"serviceExports": True}}})
        await west.start()
        await west.ready()
        for name in ("ratings", "missing"):
            export = {
                "apiVersion": SERVICE_EXPORTS.api_version,
                "kind": "ServiceExport",
                "metadata": {"name": name, "namespace": "default"},
            }
            await west.client.create(SERVICE_EXPORTS, export, namespace="default")
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
    assert "ServiceExport" not in RESOURCES, "the other tests run without that API"
