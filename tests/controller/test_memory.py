"""What is gone is forgotten by those who write and report it, too."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from meshfed.api.v1alpha1 import OWNER_NAMESPACE_LABEL
from meshfed.controller.propagation import Propagation
from meshfed.controller.writing.delivery import Delivery
from meshfed.controller.writing.statuses import StatusWriter
from meshfed.kube import NotFound, Recorder, Resource, Store, TransportError, WorkQueue
from meshfed.kube.queue import WriteLimit
from meshfed.plan import Planner, Settings, StatusUpdate
from meshfed.telemetry.metrics import Metrics
from tests.builders import federated_service, mesh_federation, remote_mesh, service
from tests.kube.memory import Cluster, MemoryClient
from tests.kube.owned import OwnedEngine
from tests.remembered import known
from tests.waiting import meanwhile
from tests.world import stored

pytestmark = pytest.mark.looptime

ISTIO = {
    kind: Resource(f"{group}.istio.io", "v1", plural, kind)
    for group, plural, kind in (
        ("networking", "gateways", "Gateway"),
        ("networking", "serviceentries", "ServiceEntry"),
        ("networking", "workloadentries", "WorkloadEntry"),
        ("networking", "destinationrules", "DestinationRule"),
        ("networking", "envoyfilters", "EnvoyFilter"),
        ("security", "peerauthentications", "PeerAuthentication"),
        ("security", "authorizationpolicies", "AuthorizationPolicy"),
    )
}


IN_HAND = 12
"""So many names, out of twenty-five, may be those that a worker or this test had last."""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What is logged is kept for a test to look at."""
    caplog.set_level(logging.CRITICAL, logger="meshfed")


@pytest.fixture
def gone() -> str:
    """What is in the name of all that goes; another in each test, since a failure's words live on."""
    return f"g{uuid4().hex}"


@pytest.mark.parametrize("leading", [True, False])
async def test_what_was_written_and_is_gone(leading: bool, gone: str) -> None:
    cluster = Cluster(served=set(ISTIO.values()))
    client = MemoryClient(cluster)
    planner, statuses = Planner(Settings()), SimpleNamespace(want=lambda _: None)
    publisher = SimpleNamespace(publish=lambda _key, _export, **_: None, reevaluate=lambda: None)
    engine = OwnedEngine(client, tuple(ISTIO.values()), owner={OWNER_NAMESPACE_LABEL: Settings().namespace})
    delivery = Delivery(
        planner,
        engine=engine,
        publisher=publisher,  # type: ignore[arg-type] # what it is told is not asked about
        statuses=statuses,  # type: ignore[arg-type]
        recorder=Recorder(client, component="c", instance="i", stamp=str),
        find=lambda _: None,
        services=Store(),
        metrics=Metrics(),
        propagation=Propagation(Metrics(), planner.imports),
        leading=leading,
        prove=lambda _key, _probe: None,
    )
    delivery.begin()
    engine.subscribe(delivery.written)
    engine.allow_deletes()

    async def settle() -> None:
        for _ in range(3):
            while turn := planner.take_dirty():
                for key in turn.keys:
                    outputs = planner.reconcile(key)
                    assert outputs is not None
                    delivery.send(key, outputs, turn.flow)
            await asyncio.sleep(5)

    planner.federation_changed("east", stored(mesh_federation()))
    planner.remote_changed("west", stored(remote_mesh("west")))
    async with meanwhile(engine.run()):
        for name in (f"{gone}{number}" for number in range(25)):
            imported = stored(federated_service("west", f"{name}.{name}"))
            planner.inputs.services.put(("default", name), stored(service(name, exported=True)))
            planner.remote_changed(name, stored(remote_mesh(name)))
            planner.offer_changed(imported.metadata.name, imported)
            await settle()
            assert (cluster.objects.keys() != set()) is leading
            planner.inputs.services.put(("default", name), None)
            planner.remote_changed(name, None)
            planner.offer_changed(imported.metadata.name, None)
            del imported
            await settle()
        cluster.compact()
        cluster.calls.clear()
        assert not [place for place in cluster.objects if gone in str(place)]
        assert len(known(gone)) <= IN_HAND


@pytest.mark.parametrize("end", ["written", "not found", "refused"])
async def test_an_object_that_goes_while_its_status_is_written(end: str, gone: str) -> None:
    """The watch says that it is gone before the server has answered the write; or after some that failed."""
    resources = {"RemoteMesh": Resource("example.com", "v1", "remotemeshes", "RemoteMesh")}
    asked, answered = asyncio.Semaphore(0), asyncio.Semaphore(0)
    store: dict[tuple[str, str, str], Any] = {}

    async def patch_status(*_: Any, **__: Any) -> None:
        asked.release()
        await answered.acquire()
        if end == "not found":
            raise NotFound(404, "NotFound", "it is gone")
        if end == "refused":
            raise TransportError("timed out")

    client: Any = SimpleNamespace(patch_status=patch_status, write_limit=WriteLimit())
    writer = StatusWriter(client, resources, store.get, stamp=lambda: "2026-01-01T00:00:00Z")
    async with meanwhile(writer.run()):
        for name in (f"{gone}{number}" for number in range(25)):
            ref = ("RemoteMesh", "default", name)
            store[ref] = stored(remote_mesh(name))
            writer.want(StatusUpdate(kind="RemoteMesh", namespace="default", name=name, fields={"heldSince": name}))
            await asked.acquire()
            del store[ref]
            writer.forget(ref)
            answered.release()
            await asyncio.sleep(60)
        assert len(known(gone)) <= IN_HAND


async def test_a_key_that_failed_and_is_nothing_any_more(gone: str) -> None:
    queue: WorkQueue[str] = WorkQueue()
    tried: set[str] = set()

    async def work(key: str) -> None:
        if key not in tried:
            tried.add(key)
            queue.retry(key)

    async with meanwhile(queue.run(work)):
        for number in range(25):
            queue.add(f"{gone}{number}")
        await asyncio.sleep(60)
        tried.clear()
        assert len(known(gone)) <= IN_HAND


def test_a_remote_that_nothing_is_imported_from(gone: str) -> None:
    metrics = Metrics()
    for remote_name in ("west", f"{gone}1"):
        for metric in vars(metrics).values():
            labels = getattr(metric, "_labelnames", ())
            if "remote" in labels:
                metric.labels(**dict.fromkeys(labels, "any") | {"remote": remote_name})
    before = metrics.exposition().decode()
    metrics.forget_remote(f"{gone}1")
    after = metrics.exposition().decode()
    assert gone not in after
    assert after.count('remote="west"') == before.count('remote="west"') > 0
