"""Exports by port: how a Service moves between a Gateway and EnvoyFilters, and what a restart makes of it."""

from __future__ import annotations

import pytest

from meshfed.controller import not_understood
from tests.builders import host, mesh_federation, port, service
from tests.controller.meshes import Mesh, federated, meshes
from tests.controller.test_not_understood import store_as
from tests.waiting import eventually

BY_PORT = {"rules": [{"action": "Export", "ports": ["http"]}]}
WHOLE = {"rules": [{"action": "Export"}]}
PORTS = [port(9080), port(9464, "metrics")]


def filters(mesh: Mesh) -> list[str]:
    return sorted(mesh.all("EnvoyFilter"))


FILTER = f"sni.{host('a')}.9080"


async def test_a_service_moves_between_its_gateway_and_filters_and_holds_up_no_other() -> None:
    """A filter chain that is not gone yet may stand beside the Gateway's, so nobody waits until it is."""
    async with meshes("east") as (east,):
        await east.apply(mesh_federation("east", export=WHOLE), service("a", ports=PORTS))
        await east.start()
        await eventually(lambda: east.exported() == [host("a")])

        await east.apply(mesh_federation("east", export=BY_PORT))
        await eventually(lambda: filters(east) == [FILTER] and east.exported() == [])

        paused = "federation.openshift-service-mesh.io/paused"
        await east.patch("EnvoyFilter", FILTER, {"metadata": {"annotations": {paused: "true"}}})
        await east.apply(mesh_federation("east", export=WHOLE), service("b"))
        await eventually(lambda: east.exported() == [host("a"), host("b")])
        assert filters(east) == [FILTER]
        await east.patch("EnvoyFilter", FILTER, {"metadata": {"annotations": {paused: None}}})
        await eventually(lambda: filters(east) == [])


async def test_what_cannot_be_understood_after_a_restart_goes_on_being_exported_by_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(not_understood, "LOOK_SECONDS", 0.1)
    async with federated("east", "west", services={"west": [service("ratings", ports=PORTS)]}) as (east, west):
        await west.apply(mesh_federation("west", export=BY_PORT))
        await eventually(lambda: east.imported() == [host("ratings")] and len(filters(west)) == 1)
        await west.stop()
        before = west.all("EnvoyFilter")
        was = store_as(west, ("", "services"), ("default", "ratings"), {"ports": "none"})
        await west.start()
        await west.ready()
        await west.apply(service("other"))
        await eventually(lambda: len(filters(west)) == 2)
        assert west.all("EnvoyFilter").items() >= before.items()
        assert east.imported() == [host("ratings")]
        store_as(west, ("", "services"), ("default", "ratings"), was["spec"])
        await eventually(lambda: east.imported() == [host("other"), host("ratings")])
        assert east.all("ServiceEntry")[f"import.{host('ratings')}"]["spec"]["ports"] == [
            {"number": 9080, "name": "http", "protocol": "HTTP", "targetPort": 9080}
        ]
