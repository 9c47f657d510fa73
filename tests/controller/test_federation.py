"""Two meshes federate: what an owner does in one, and what the other then holds."""

from __future__ import annotations

from meshfed_sandbox.ports import Ports
from tests.builders import host, mesh_federation, service
from tests.controller.meshes import Mesh, federated, meshes, synced
from tests.waiting import eventually

BOOKINFO = {
    "east": (service("productpage"), service("reviews"), service("details")),
    "west": (service("productpage"), service("reviews"), service("ratings")),
}


async def export_all(east: Mesh, west: Mesh) -> None:
    """Label details and reviews in east, ratings and reviews in west, and wait for all that follows."""
    for mesh, names in ((east, ("details", "reviews")), (west, ("ratings", "reviews"))):
        for name in names:
            await mesh.label(name, export_service="true")
    await eventually(lambda: east.imported() == [host("ratings")] and east.merged() == [("default", "reviews")])
    await eventually(lambda: west.imported() == [host("details")] and west.merged() == [("default", "reviews")])


async def test_nothing_is_shared_before_it_is_labelled() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        for mesh in (east, west):
            assert (mesh.exported(), mesh.imported(), mesh.merged()) == ([], [], [])
            assert [kind for kind, _ in sorted(mesh.written())] == [
                "AuthorizationPolicy",
                "Gateway",
                "PeerAuthentication",
            ]


async def test_labelled_services_become_entries_and_unlabelled_ones_go() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        assert east.exported() == [host("details"), host("reviews")]
        assert west.exported() == [host("ratings"), host("reviews")]
        west_gateway = west.remote_mesh()["spec"]["addresses"]
        entry = next(iter(east.all("ServiceEntry").values()))
        assert entry["spec"] == {
            "hosts": [host("ratings")],
            "ports": [{"number": 9080, "name": "http", "protocol": "HTTP", "targetPort": 9080}],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "endpoints": [
                {
                    "address": west_gateway[0],
                    "labels": {"app": "ratings", "export-service": "true", "security.istio.io/tlsMode": "istio"},
                    "network": "west-network",
                    "ports": {"http": 15443},
                }
            ],
        }
        (workload,) = east.all("WorkloadEntry").values()
        assert workload["spec"] == {
            "address": west_gateway[0],
            "labels": {"app": "reviews", "security.istio.io/tlsMode": "istio"},
            "network": "west-network",
            "ports": {"http": 15443},
        }
        await west.label("reviews", export_service=None)
        await west.label("ratings", export_service=None)
        await eventually(lambda: not east.imported() and not east.merged() and not east.all("FederatedService"))
        assert west.exported() == []
        assert west.merged() == [("default", "reviews")]


async def test_ports_and_labels_follow() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        await west.apply(service("ratings", exported=True, ports=[{"name": "grpc", "port": 7000, "targetPort": 7001}]))
        await west.label("ratings", tier="gold")

        def follows() -> bool:
            (entry,) = east.all("ServiceEntry").values()
            ports, endpoint = entry["spec"]["ports"], entry["spec"]["endpoints"][0]
            return bool(
                ports == [{"number": 7000, "name": "grpc", "protocol": "GRPC", "targetPort": 7001}]
                and endpoint["labels"].get("tier") == "gold"
                and endpoint["ports"] == {"grpc": 15443}
            )

        await eventually(follows)


async def test_an_import_swaps_its_entries_when_a_local_service_comes_and_goes_and_is_never_without() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        gaps: list[str] = []

        def look() -> None:
            if not east.imported() and ("default", "ratings") not in east.merged():
                gaps.append("ratings had neither a ServiceEntry nor a WorkloadEntry")

        with east.server.told(look):
            await east.apply(service("ratings"))
            await eventually(lambda: ("default", "ratings") in east.merged() and not east.imported())
            await east.delete("Service", "ratings", namespace="default")
            await eventually(
                lambda: ("default", "ratings") not in east.merged() and east.imported() == [host("ratings")]
            )
        assert gaps == []


async def test_removing_a_remote_removes_what_it_caused_and_nothing_else() -> None:
    services = {**BOOKINFO, "north": (service("ledger"),)}
    async with federated("east", "west", "north", services=services) as (east, west, north):
        await export_all(east, west)
        await north.label("ledger", export_service="true")
        await eventually(lambda: host("ledger") in east.imported())
        kept = [key for key in east.identities("ServiceEntry", "FederatedService") if "ledger" in key[1]]
        await east.delete("RemoteMesh", "west")
        await eventually(lambda: east.imported() == [host("ledger")] and not east.merged())
        await eventually(lambda: len(east.all("FederatedService")) == 1)
        assert sorted(east.identities("ServiceEntry", "FederatedService")) == sorted(kept)
        assert east.exported() == [host("details"), host("reviews")]
        await eventually(lambda: "controller-west" not in str(east.all("AuthorizationPolicy")))
        assert len(east.all("AuthorizationPolicy")) == 1


async def test_removing_the_mesh_federation_removes_everything_and_bringing_it_back_brings_it_back() -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        before = east.written()
        await east.delete("MeshFederation", "east")
        await eventually(lambda: not east.all("MeshFederation"))
        assert east.written() == {}
        await eventually(lambda: not west.imported() and not west.merged())
        await east.apply(mesh_federation("east"))
        await eventually(lambda: east.written().keys() == before.keys())
        await eventually(lambda: west.imported() == [host("details")])


async def test_publish_only_imports_nothing_until_it_is_asked_to() -> None:
    async with meshes("east", "west") as (east, west):
        for mesh, other in ((east, west), (west, east)):
            await mesh.apply(*BOOKINFO[mesh.name], mesh_federation(mesh.name), other.remote_mesh())
        await east.patch("RemoteMesh", "west", {"spec": {"import": None}})
        await west.label("ratings", export_service="true")
        await east.label("details", export_service="true")
        await east.start()
        await west.start()
        await eventually(lambda: west.imported() == [host("details")])
        assert east.imported() == []
        await east.patch("RemoteMesh", "west", {"spec": {"import": {}}})
        await eventually(lambda: east.imported() == [host("ratings")])
        await east.patch("RemoteMesh", "west", {"spec": {"import": None}})
        await eventually(lambda: not east.imported() and not east.all("FederatedService"))


async def test_a_remote_whose_discovery_moves_is_followed_without_losing_an_import(ports: Ports) -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        before = east.identities("ServiceEntry", "WorkloadEntry", "FederatedService")
        await west.stop()
        west.discovery_port = ports.take()
        await west.start()
        await west.ready()
        await east.apply(west.remote_mesh())
        await synced(east, west)
        await west.label("productpage", export_service="true")
        await eventually(lambda: ("default", "productpage") in east.merged())
        assert before <= east.identities("ServiceEntry", "WorkloadEntry", "FederatedService")


async def test_how_long_changes_take_is_measured_at_both_ends() -> None:
    def measured(mesh: Mesh, name: str, **by: str) -> float:
        return mesh.metrics.registry.get_sample_value(f"meshfed_{name}_propagation_seconds_count", by) or 0.0

    async with federated("east", "west", services=BOOKINFO) as (east, west):
        assert not measured(west, "export", subscriber="anonymous"), "nothing is exported yet"
        await west.label("ratings", export_service="true")
        await eventually(lambda: measured(west, "export", subscriber="anonymous") == 1)
        await eventually(lambda: measured(east, "import", remote="west") == 1)
        await west.label("ratings", export_service=None)
        await eventually(lambda: measured(west, "export", subscriber="anonymous") == 2)
        await eventually(lambda: measured(east, "import", remote="west") == 2)
        await east.stop()
        assert not measured(east, "import", remote="west"), "whoever leads next begins anew"
