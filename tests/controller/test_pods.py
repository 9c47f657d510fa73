"""What Pods say about exports, from the API server of the mesh that exports to the objects of the one that imports."""

from __future__ import annotations

import logging

import pytest

from meshfed.kube import reflector
from tests.builders import endpoint_slice, host, mesh_federation, pod, service, workload_entry
from tests.controller.meshes import Mesh, federated, meshes, with_gateway
from tests.waiting import eventually

EXPORTING = {"west": [service("ratings", exported=True)]}
ACCOUNT = "spiffe://cluster.local/ns/default/sa/"


async def accepts(mesh: Mesh, *accounts: str) -> None:
    """Wait until ``mesh`` accepts exactly these accounts as ``ratings``."""

    def found() -> list[str]:
        entry = mesh.all("ServiceEntry").get(f"import.{host('ratings')}", {"spec": {}})
        return list(entry["spec"].get("subjectAltNames", []))

    await eventually(lambda: found() == [ACCOUNT + account for account in accounts], f"{accounts} are not accepted")


async def test_who_serves_an_export_is_who_answers_for_the_import() -> None:
    async with federated("east", "west", services=EXPORTING) as (east, west):
        await eventually(lambda: east.imported() == [host("ratings")])
        await accepts(east)
        await west.apply(pod("ratings-1", "ratings", account="one"))
        await accepts(east, "one")
        await west.apply(pod("ratings-2", "ratings", account="two"))
        await accepts(east, "one", "two")
        await west.delete("Pod", "ratings-1", namespace="default")
        await accepts(east, "two")


async def test_a_virtual_machine_answers_for_an_export_too() -> None:
    async with federated("east", "west", services=EXPORTING) as (east, west):
        await west.apply(workload_entry("vm", "ratings", account="vm"))
        await accepts(east, "vm")
        assert west.condition("MeshFederation", "west", "ExportsReady") == ("True", "Exporting")
        await west.apply(pod("ratings-1", "ratings", account="one"))
        await accepts(east, "one", "vm")
        await west.delete("WorkloadEntry", "vm", namespace="default")
        await accepts(east, "one")


async def test_who_a_slice_names_answers_for_a_service_without_a_selector() -> None:
    by_hand = {"west": [service("ratings", exported=True, selector=None)]}
    async with federated("east", "west", services=by_hand) as (east, west):

        def exports() -> tuple[str, str]:
            return west.condition("MeshFederation", "west", "ExportsReady")

        await west.apply(pod("ratings-1", "ratings", account="one"), pod("ratings-2", "ratings", account="two"))
        await west.apply(endpoint_slice("ratings-x", "ratings", "192.0.2.7"))
        await eventually(lambda: exports() == ("False", "NoMeshEndpoints"))
        await west.apply(endpoint_slice("ratings-x", "ratings", "10.0.0.1=ratings-1"))
        await accepts(east, "one")
        assert exports() == ("True", "Exporting")
        await west.apply(endpoint_slice("ratings-x", "ratings", "10.0.0.2=ratings-2"))
        await accepts(east, "two")
        own = "endpointslice-controller.k8s.io"
        await west.apply(endpoint_slice("ratings-y", "ratings", "10.0.0.1=ratings-1", managed_by=own))
        await west.apply(service("marker", exported=True))
        await eventually(lambda: host("marker") in east.imported())
        await accepts(east, "two")


async def test_nobody_joins_local_pods_before_it_is_said_who_it_is() -> None:
    async with federated("east", "west", services={"west": [service("reviews", exported=True)]}) as (east, west):

        def accepted() -> tuple[str, str]:
            return east.condition("FederatedService", f"{host('reviews')}.west", "Accepted")

        await east.apply(service("reviews"), pod("reviews-1", "reviews"))
        await eventually(lambda: accepted() == ("False", "IdentityUnknown"))
        # It was joined while the Service had no Pod yet, and a status may be written before an object goes.
        await eventually(lambda: east.merged() == [])
        await west.apply(pod("reviews-1", "reviews", account="reviews"))
        await eventually(lambda: east.merged() == [("default", "reviews")])
        await eventually(lambda: accepted() == ("True", "Accepted"))
        (entry,) = east.all("WorkloadEntry").values()
        assert entry["spec"]["serviceAccount"] == "reviews"


async def test_where_slices_may_not_be_read_all_else_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with meshes("east") as (east,):
        east.server.fail(verb="list", resource="endpointslices.discovery.k8s.io", status=403, times=1000)
        await east.apply(mesh_federation("east"), service("a", exported=True), pod("a-1", "a", sidecar=False))
        with caplog.at_level(logging.WARNING):
            await east.start()
            await east.ready()
        assert any("grant list and watch on endpointslices" in record.getMessage() for record in caplog.records)
        await eventually(
            lambda: east.condition("MeshFederation", "east", "ExportsReady") == ("False", "NoMeshEndpoints")
        )


async def test_a_service_that_is_scaled_to_zero_is_not_opened_to_everybody() -> None:
    async with federated("east", "west", services=EXPORTING) as (east, west):
        await west.apply(pod("ratings-1", "ratings", account="one"))
        await accepts(east, "one")
        await west.delete("Pod", "ratings-1", namespace="default")
        await west.apply(service("marker", exported=True))
        await eventually(lambda: host("marker") in east.imported())
        await accepts(east, "one")
        for mesh in (west, east):
            await mesh.stop()
            await mesh.start()
            await mesh.ready()
        await west.apply(service("other", exported=True))
        await eventually(lambda: host("other") in east.imported())
        await accepts(east, "one")
        await west.apply(pod("ratings-2", "ratings", account="two"))
        await accepts(east, "two")


async def test_where_pods_may_not_be_read_all_else_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reflector, "_ABSENT_PERIOD", 0.5)
    async with meshes("east") as (east,):
        forbidden = east.server.fail(verb="list", resource="pods", status=403, times=1000)
        await east.apply(mesh_federation("east"), service("a", exported=True), pod("a-1", "a", sidecar=False))
        await east.apply(workload_entry("vm", "a"))
        with caplog.at_level(logging.WARNING):
            await east.start()
            await east.ready()
        assert any("--no-read-pods" in record.getMessage() for record in caplog.records)
        await eventually(lambda: east.exported() == [host("a")])
        assert east.condition("MeshFederation", "east", "ExportsReady") != ("False", "NoMeshEndpoints")
        forbidden.times = 0
        await eventually(
            lambda: east.condition("MeshFederation", "east", "ExportsReady") == ("False", "NoMeshEndpoints")
        )


async def test_pods_are_not_asked_for_where_they_are_not_to_be_read() -> None:
    async with meshes("east") as (east,):
        east.server.fail("hang", resource="pods", times=1000)
        await east.apply(mesh_federation("east"), service("a", exported=True))
        await east.start(read_pods=False)
        await east.ready()
        await eventually(lambda: east.exported() == [host("a")])


async def test_the_ingress_gateway_is_watched_and_stops_nothing() -> None:
    async with meshes("east") as (east,):

        def ready() -> tuple[str, str]:
            return east.condition("MeshFederation", "east", "GatewayReady")

        await east.apply(mesh_federation("east"), service("a", exported=True))
        await east.start()
        await eventually(lambda: ready() == ("False", "GatewayPodsMissing"))
        assert east.exported() == [host("a")]
        await with_gateway(east)
        await eventually(lambda: ready() == ("True", "Applied"))
        await east.delete("Service", "gateway")
        await eventually(lambda: ready() == ("False", "GatewayServiceMissing"))
        await with_gateway(east)
        await eventually(lambda: ready() == ("True", "Applied"))
        await east.delete("Pod", "gateway-1")
        await eventually(lambda: ready() == ("False", "GatewayPodsMissing"))
        assert east.exported() == [host("a")]
