"""A stored object that cannot be understood holds what depends on it, and nothing else."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from meshfed.controller import not_understood
from meshfed.kube import Manifest
from meshfed_sandbox.apiserver.store import Key
from tests.builders import GROUP, SYSTEM, host, mesh_federation, namespace, offer, service
from tests.controller.meshes import WRITTEN, Mesh, federated, meshes
from tests.controller.remotes import remotes
from tests.waiting import eventually

MANY = 150
REMOTE_MESHES = (GROUP, "remotemeshes")
MESH_FEDERATIONS = (GROUP, "meshfederations")


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(not_understood, "LOOK_SECONDS", 0.1)


def store_as(mesh: Mesh, resource: tuple[str, str], name: tuple[str, str], spec: Any) -> Manifest:
    """Have an object stored with ``spec``, which no API server would take; returns it as it was."""
    collection = mesh.server._store.collection(*resource)
    stored = collection.get(Key(*name))
    assert stored is not None
    before = stored.copy()
    collection.put(Key(*name), before | {"spec": spec})
    return before


def store_labels(mesh: Mesh, namespace: str, labels: dict[str, Any]) -> Any:
    """Have a Namespace stored with ``labels``, which no API server would take; returns those that it had."""
    return store_metadata(mesh, ("", "namespaces"), ("", namespace), labels=labels)["labels"]


def store_metadata(mesh: Mesh, resource: tuple[str, str], name: tuple[str, str], **metadata: Any) -> dict[str, Any]:
    """Have an object stored with other metadata; returns what it had."""
    collection = mesh.server._store.collection(*resource)
    stored = collection.get(Key(*name))
    assert stored is not None
    before: dict[str, Any] = stored.copy()["metadata"]
    collection.put(Key(*name), stored.copy() | {"metadata": before | metadata})
    return before


def in_namespace(manifest: Manifest, name: str) -> Manifest:
    """An object in another namespace."""
    return manifest | {"metadata": manifest["metadata"] | {"namespace": name}}


def complaint(mesh: Mesh) -> str:
    """Why the controller is not ready."""
    assert mesh.controller is not None
    return mesh.controller.not_ready_reason or ""


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


def specs(mesh: Mesh) -> dict[tuple[str, str, str], Any]:
    """What is written, without what is said of it."""
    return {key: spec for key, (spec, _) in everything(mesh).items()}


async def test_a_mesh_federation_holds_everything(caplog: pytest.LogCaptureFixture) -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(offer("ratings"), offer("reviews"))
        await east.apply(mesh_federation("east"), service("reviews"), service("a", exported=True), west.remote_mesh())
        await east.start()
        await eventually(lambda: settled(east, 2) and east.exported() == [host("a")])
        await east.stop()
        spec = east.all("MeshFederation")["east"]["spec"]
        was = store_as(east, MESH_FEDERATIONS, (SYSTEM, "east"), spec | {"fromTheFuture": {}})
        before, writes = everything(east), east.writes
        west.withdraw(host("ratings"))
        await east.apply(service("b", exported=True))
        with caplog.at_level(logging.ERROR):
            await east.start()
            await eventually(lambda: east.condition("MeshFederation", "east", "Ready") == ("Unknown", "NotUnderstood"))
        assert any(f"MeshFederation {SYSTEM}/east cannot be understood" in one.getMessage() for one in caplog.records)
        await asyncio.sleep(0.5)
        assert f"MeshFederation {SYSTEM}/east cannot be understood" in complaint(east)
        assert everything(east) == before
        assert east.writes == writes + 2, "the Service, and the condition"
        assert b'store_undecodable{resource="meshfederations' in east.metrics.exposition()

        store_as(east, MESH_FEDERATIONS, (SYSTEM, "east"), was["spec"])
        await east.ready()
        await eventually(lambda: east.exported() == [host("a"), host("b")] and east.imported() == [])
        await eventually(lambda: east.condition("MeshFederation", "east", "Ready")[1] != "NotUnderstood")
        assert len(east.merged()) == 1


async def test_a_mesh_federation_that_another_is_older_than_holds_nothing() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(offer("ratings"))
        await east.apply(mesh_federation("east"), west.remote_mesh())
        await east.apply(mesh_federation("other"))
        for name, created in (("east", "2026-01-01T00:00:00Z"), ("other", "2026-01-02T00:00:00Z")):
            store_metadata(east, MESH_FEDERATIONS, (SYSTEM, name), creationTimestamp=created)
        store_as(east, MESH_FEDERATIONS, (SYSTEM, "other"), {"network": 7})
        await east.start()
        await east.ready()
        await eventually(lambda: east.imported() == [host("ratings")])
        await east.stop()
        store_as(east, MESH_FEDERATIONS, (SYSTEM, "other"), mesh_federation("other")["spec"])
        store_as(east, MESH_FEDERATIONS, (SYSTEM, "east"), {"network": 7})
        before = everything(east)
        await east.start()
        await eventually(lambda: "cannot be understood" in complaint(east))
        assert everything(east) == before


async def test_a_namespace_holds_the_exports_of_its_services() -> None:
    async with meshes("east") as (east,):
        exports = {"namespaceSelectors": {"matchLabels": {"team": "books"}}}
        router = {"type": "openshift-router", "gateway": {"selector": {"app": "federation-ingress-gateway"}}}
        await east.apply(mesh_federation("east", export=exports, ingress=router))
        for name in ("books", "others"):
            await east.apply(namespace(name) | {"metadata": {"name": name, "labels": {"team": "books"}}})
            await east.apply(in_namespace(service("a"), name))
        await east.start()
        await eventually(lambda: east.exported() == ["a.books.svc.cluster.local", "a.others.svc.cluster.local"])
        await eventually(lambda: len(east.all("Route")) == 3)
        await east.stop()
        was = store_labels(east, "books", {"team": 7})
        before = everything(east)
        await east.apply(in_namespace(service("b"), "books"))
        await east.start()
        await east.ready()
        await east.apply(in_namespace(service("b"), "others"))
        await eventually(lambda: "b.others.svc.cluster.local" in east.exported())
        await east.delete("Service", "a", namespace="others")
        await eventually(lambda: east.exported() == ["a.books.svc.cluster.local", "b.others.svc.cluster.local"])
        kept = {key: one for key, one in before.items() if key[0] in {"Route", "EnvoyFilter"} and "a.books" in key[2]}
        assert len(kept) == 2
        assert kept.items() <= everything(east).items()
        store_labels(east, "books", was)
        await eventually(lambda: "b.books.svc.cluster.local" in east.exported())
        assert kept.items() <= everything(east).items()


async def test_what_is_held_is_never_absent_when_its_object_is_repaired() -> None:
    services = [service(f"s{number}") for number in range(MANY)]
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(*(offer(f"s{number}") for number in range(MANY)))
        await east.apply(mesh_federation("east"), *services, west.remote_mesh())
        await east.start()
        await eventually(lambda: len(east.merged()) == MANY)
        await east.stop()
        spoilt = {"clusterIP": "10.0.0.1", "ports": "none"}
        was = [store_as(east, ("", "services"), ("default", f"s{number}"), spoilt) for number in range(MANY)]
        made = east.identities("WorkloadEntry", "FederatedService")
        assert len(made) == 2 * MANY
        await east.start()
        await east.ready()
        for number, service_was in enumerate(was):
            store_as(east, ("", "services"), ("default", f"s{number}"), service_was["spec"])
        west.offer(offer("last"))
        await eventually(lambda: east.imported() == [host("last")])
        await asyncio.sleep(0.5)
        assert made <= east.identities("WorkloadEntry", "FederatedService")


async def test_a_remote_mesh_holds_its_imports_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async with meshes("east") as (east,), remotes("west", "north") as (west, north):
        west.offer(offer("ratings"), offer("reviews"))
        north.offer(offer("details"))
        await east.apply(mesh_federation("east"), service("reviews"), west.remote_mesh(), north.remote_mesh())
        await east.start()
        await eventually(lambda: east.imported() == [host("details"), host("ratings")] and len(east.merged()) == 1)
        await eventually(lambda: settled(east, 3))
        await east.stop()
        before = specs(east)
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
        held = {key: one for key, one in specs(east).items() if key[0] != "Gateway" and key in before}
        assert held == {key: one for key, one in before.items() if key[0] != "Gateway" and "details" not in key[2]}
        record = east.all("FederatedService")[f"{host('ratings')}.west"]
        assert record["status"]["importedAs"] == host("ratings")
        said = next(one for one in record["status"]["conditions"] if one["type"] == "Accepted")
        assert (said["status"], said["reason"]) == ("Unknown", "NotUnderstood")
        assert said["message"].startswith(f"RemoteMesh {SYSTEM}/west cannot be understood: ")

        west.withdraw(host("reviews"))
        store_as(east, REMOTE_MESHES, (SYSTEM, "west"), was["spec"])
        await eventually(lambda: east.merged() == [] and east.imported() == [host("ratings")])


async def test_one_that_comes_while_the_controller_runs_is_unknown_too() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        await east.apply(mesh_federation("east"), west.remote_mesh())
        await east.start()
        await east.ready()
        spoilt = service("ratings") | {"spec": {"ports": "none"}}
        spoilt["metadata"] |= {"uid": "of-the-future", "generation": 1}
        east.server._store.collection("", "services").put(Key("default", "ratings"), spoilt)
        await eventually(lambda: b'store_undecodable{resource="services"} 1.0' in east.metrics.exposition())
        await asyncio.sleep(0.3)  # until somebody has looked
        west.offer(offer("ratings"), offer("details"))
        await eventually(lambda: east.imported() == [host("details")])
        record = f"{host('ratings')}.west"
        await eventually(lambda: east.condition("FederatedService", record, "Accepted") == ("Unknown", "NotUnderstood"))
        await east.delete("Service", "ratings", namespace="default")
        await eventually(lambda: east.imported() == [host("details"), host("ratings")])


async def test_what_a_remote_mesh_held_goes_with_it() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(offer("ratings"))
        await east.apply(mesh_federation("east"), west.remote_mesh())
        await east.start()
        await eventually(lambda: east.imported() == [host("ratings")])
        await east.stop()
        store_as(east, REMOTE_MESHES, (SYSTEM, "west"), {})
        await east.start()
        await east.ready()
        assert east.condition("RemoteMesh", "west", "Ready") == ("Unknown", "NotUnderstood")
        assert east.imported() == [host("ratings")]
        east.server._store.collection(*REMOTE_MESHES).remove(Key(SYSTEM, "west"))
        await eventually(lambda: east.imported() == [] and not east.all("FederatedService"))


async def test_a_federated_service_holds_its_host_until_its_remote_offers_it_again() -> None:
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(offer("ratings"), offer("details"))
        await east.apply(mesh_federation("east"), west.remote_mesh())
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
        kept = "FederatedService", SYSTEM, record
        assert everything(east)[kept][0] == before[kept][0]
        assert east.condition("FederatedService", record, "Accepted") == ("Unknown", "NotUnderstood")
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
