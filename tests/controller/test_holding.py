"""A stored object that cannot be understood holds what depends on it, and nothing else."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from meshfed.controller import holding
from meshfed.kube import Manifest
from meshfed.sandbox.apiserver.store import Key
from tests.controller.meshes import GROUP, SYSTEM, WRITTEN, Mesh, eventually, federated, federation, meshes, service
from tests.controller.remotes import host, offer, remotes

REMOTE_MESHES = (GROUP, "remotemeshes")


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "LOOK_SECONDS", 0.1)


def store_as(mesh: Mesh, resource: tuple[str, str], name: tuple[str, str], spec: Any) -> Manifest:
    """Have an object stored with ``spec``, which no API server would take; returns it as it was."""
    collection = mesh.server._store.collection(*resource)
    stored = collection.get(Key(*name))
    assert stored is not None
    before = stored.copy()
    collection.put(Key(*name), before | {"spec": spec})
    return before


def settled(mesh: Mesh, number: int) -> bool:
    """Whether so many offers are imported, and that is said of each."""
    applied = [mesh.condition("FederatedService", name, "Applied") for name in mesh.all("FederatedService")]
    return applied == [("True", "Applied")] * number


def everything(mesh: Mesh) -> dict[tuple[str, str, str], Any]:
    """What is written, spec and status."""
    return {
        (one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]): (one["spec"], one.get("status"))
        for one in mesh.server.snapshot(*WRITTEN)
    }


async def test_a_remote_mesh_holds_its_imports_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async with meshes("east") as (east,), remotes("west", "north") as (west, north):
        west.offer(offer("ratings"), offer("reviews"))
        north.offer(offer("details"))
        await east.apply(federation("east"), service("reviews"), west.object(), north.object())
        await east.start()
        await eventually(lambda: east.imported() == [host("details"), host("ratings")] and len(east.merged()) == 1)
        await eventually(lambda: settled(east, 3))
        await east.stop()
        before = everything(east)
        was = store_as(east, REMOTE_MESHES, (SYSTEM, "west"), {"network": 7})
        with caplog.at_level(logging.ERROR):
            await east.start()
            await east.ready()
        assert any(f"RemoteMesh {SYSTEM}/west cannot be understood" in one.getMessage() for one in caplog.records)

        north.offer(offer("details-v2"))
        await east.apply(service("a", exported=True))
        await eventually(lambda: host("details-v2") in east.imported() and east.exported() == [host("a")])
        north.withdraw(host("details"), host("details-v2"))
        await eventually(lambda: east.imported() == [host("ratings")])
        held = {key: one for key, one in everything(east).items() if key[0] != "Gateway" and key in before}
        assert held == {key: one for key, one in before.items() if key[0] != "Gateway" and "details" not in key[2]}

        west.withdraw(host("reviews"))
        store_as(east, REMOTE_MESHES, (SYSTEM, "west"), was["spec"])
        await eventually(lambda: east.merged() == [] and east.imported() == [host("ratings")])


async def test_what_a_remote_mesh_held_goes_with_it() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(offer("ratings"))
        await east.apply(federation("east"), west.object())
        await east.start()
        await eventually(lambda: east.imported() == [host("ratings")])
        await east.stop()
        store_as(east, REMOTE_MESHES, (SYSTEM, "west"), {})
        await east.start()
        await east.ready()
        assert east.imported() == [host("ratings")]
        east.server._store.collection(*REMOTE_MESHES).remove(Key(SYSTEM, "west"))
        await eventually(lambda: east.imported() == [] and not east.all("FederatedService"))


async def test_a_federated_service_holds_its_host_until_its_remote_offers_it_again() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(offer("ratings"), offer("details"))
        await east.apply(federation("east"), west.object())
        await east.start()
        await eventually(lambda: settled(east, 2))
        await east.stop()
        await west.stop()
        record = f"{host('ratings')}.west"
        spoilt = {"remote": "west", "host": host("ratings"), "ports": 1}
        store_as(east, (GROUP, "federatedservices"), (SYSTEM, record), spoilt)
        before = everything(east)
        await east.start()
        await east.ready()
        await east.apply(service("a", exported=True))
        await eventually(lambda: east.exported() == [host("a")])
        assert everything(east)["ServiceEntry", SYSTEM, f"import.{host('ratings')}"]
        assert everything(east)["FederatedService", SYSTEM, record] == before["FederatedService", SYSTEM, record]
        await west.start()
        await eventually(lambda: isinstance(east.all("FederatedService")[record]["spec"]["ports"], list))
        west.withdraw(host("ratings"))
        await eventually(lambda: east.imported() == [host("details")])


async def test_a_service_holds_its_export_and_the_import_beside_it() -> None:
    services = {"west": [service("ratings", exported=True), service("reviews", exported=True)]}
    async with federated("east", "west", services=services | {"east": [service("reviews")]}) as (east, west):
        await eventually(lambda: east.imported() == [host("ratings")] and len(east.merged()) == 1)
        await eventually(lambda: settled(east, 2))
        for mesh, name in ((east, "reviews"), (west, "ratings")):
            await mesh.stop()
            spoilt = mesh.all("Service")[name]["spec"] | {"ports": "none"}
            store_as(mesh, ("", "services"), ("default", name), spoilt)
        before = {mesh: everything(mesh) for mesh in (east, west)}
        for mesh in (east, west):
            await mesh.start()
            await mesh.ready()
        await east.apply(service("marker", exported=True))
        await eventually(lambda: east.exported() == [host("marker")])
        await west.apply(service("other", exported=True))
        await eventually(lambda: host("other") in west.exported())
        assert host("ratings") in west.exported()
        now = everything(east)
        carried = {key: one for key, one in before[east].items() if key[0] in {"ServiceEntry", "WorkloadEntry"}}
        assert carried.items() <= now.items()
        assert [host("ratings")] == east.imported()
        await west.delete("Service", "ratings", namespace="default")
        await eventually(lambda: east.imported() == [host("other")])
        await east.delete("Service", "reviews", namespace="default")
        await eventually(lambda: east.imported() == [host("other"), host("reviews")])
