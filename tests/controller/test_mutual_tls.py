"""What PeerAuthentications of others say, from the API server of each mesh to what is shared with the other."""

from __future__ import annotations

from meshfed.api.v1alpha1 import OWNER_NAMESPACE_LABEL
from tests.builders import SYSTEM, host, manifest, peer_authentication, port, service
from tests.controller.meshes import Mesh, federated
from tests.waiting import eventually

PORTS = [port(80, "http", 8080), port(81, "grpc", 7070)]
EXPORTING = {"west": [service("ratings", exported=True, ports=PORTS)]}
ENTRY = f"import.{host('ratings')}"


def imported(mesh: Mesh) -> list[int]:
    """The ports of ``ratings`` that are imported."""
    entry = mesh.all("ServiceEntry").get(ENTRY, {"spec": {}})
    return [port["number"] for port in entry["spec"].get("ports", [])]


async def test_a_port_that_is_served_without_mtls_is_not_shared_for_as_long_as_that_is_so() -> None:
    async with federated("east", "west", services=EXPORTING) as (east, west):
        await eventually(lambda: imported(east) == [80, 81])
        await west.apply(peer_authentication("theirs", app="ratings", ports={8080: "DISABLE"}))
        await eventually(lambda: imported(east) == [81])
        ready = ("False", "MTLSDisabled")
        await eventually(lambda: west.condition("MeshFederation", "west", "ExportsReady") == ready)
        await west.stop()
        await west.start()
        await west.ready()
        assert imported(east) == [81]
        await west.delete("PeerAuthentication", "theirs", namespace="default")
        await eventually(lambda: imported(east) == [80, 81])
        await eventually(lambda: west.condition("MeshFederation", "west", "ExportsReady") == ("True", "Exporting"))


async def test_a_port_that_a_rule_takes_from_the_gateway_is_not_shared_for_as_long_as_that_is_so() -> None:
    async with federated("east", "west", services=EXPORTING) as (east, west):
        await eventually(lambda: imported(east) == [80, 81])
        off = {"portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "DISABLE"}}]}
        rule = manifest("DestinationRule", "theirs", {"host": "ratings", "trafficPolicy": off}, namespace="default")
        await west.apply(rule)
        await eventually(lambda: imported(east) == [81])
        ready = ("False", "MTLSDisabled")
        await eventually(lambda: west.condition("MeshFederation", "west", "ExportsReady") == ready)
        await west.delete("DestinationRule", "theirs", namespace="default")
        await eventually(lambda: imported(east) == [80, 81])
        await eventually(lambda: west.condition("MeshFederation", "west", "ExportsReady") == ("True", "Exporting"))


async def test_what_an_installation_of_ours_wrote_is_for_its_own_pods() -> None:
    async with federated("east", "west", services=EXPORTING) as (east, west):
        await eventually(lambda: imported(east) == [80, 81])
        off = peer_authentication("default", "DISABLE", namespace=SYSTEM)
        off["metadata"]["labels"] = {OWNER_NAMESPACE_LABEL: "another"}
        await west.apply(off, service("marker", exported=True))
        await eventually(lambda: host("marker") in east.imported())
        assert imported(east) == [80, 81]
