"""The reference's JSON flags instead of objects in the cluster: the same objects come of them."""

from __future__ import annotations

import json

from meshfed.api.reference_config import reference_config
from meshfed.controller.options import Fixed
from tests.builders import SYSTEM, host, mesh_federation, service
from tests.controller.meshes import Mesh, meshes
from tests.waiting import eventually

EXPORTED = {"rules": [{"type": "LabelSelector", "labelSelectors": [{"matchLabels": {"export-service": "true"}}]}]}


def flags(mesh: Mesh, other: Mesh) -> Fixed:
    """What ``--meshPeers`` and ``--exportedServiceSet`` say of two meshes."""
    peers = {
        "local": {
            "name": mesh.name,
            "controlPlane": {"namespace": SYSTEM},
            "gateways": {
                "ingress": {
                    "selector": {"app": "federation-ingress-gateway"},
                    "port": {"name": "tls-passthrough", "number": 15443},
                }
            },
        },
        "remotes": [
            {"name": other.name, "addresses": ["127.0.0.1"], "network": f"{other.name}-network", "port": 15443}
        ],
    }
    config = reference_config(mesh_peers=json.dumps(peers), exported_service_set=json.dumps(EXPORTED), namespace=SYSTEM)
    assert config.mesh is not None
    return Fixed(config.mesh, config.remotes)


async def test_the_flags_export_and_write_what_the_objects_would() -> None:
    async with meshes("east", "west") as (east, west):
        # Discovery through the ingress needs proxies, which are not here: only the other direction is connected.
        await east.apply(service("details", exported=True), service("reviews"))
        await west.apply(mesh_federation("west"), east.remote_mesh())
        await east.start(fixed=flags(east, west))
        await west.start()
        await eventually(lambda: west.imported() == [host("details")])
        assert east.exported() == [host("details")]
        assert not east.all("MeshFederation")
        entry = east.all("ServiceEntry")["federation-discovery-service-west"]
        assert entry["spec"] == {
            "hosts": ["federation-discovery-service-west.istio-system.svc.cluster.local"],
            "ports": [{"number": 15080, "name": "grpc", "protocol": "GRPC"}],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "endpoints": [
                {
                    "address": "127.0.0.1",
                    "labels": {"security.istio.io/tlsMode": "istio"},
                    "network": "west-network",
                    "ports": {"grpc": 15443},
                }
            ],
        }
        await east.label("reviews", export_service="true")
        await eventually(lambda: west.imported() == [host("details"), host("reviews")])
