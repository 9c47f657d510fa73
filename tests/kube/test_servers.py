"""The same, against servers that answer for themselves: the embedded API server, and a real kube-apiserver.

The latter runs where ``KUBEBUILDER_ASSETS`` names a folder with kube-apiserver and etcd.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from meshfed.api.meta import ObjectMeta
from meshfed.kube import (
    AlreadyExists,
    Client,
    ClusterConfig,
    Conflict,
    Invalid,
    Manifest,
    NotFound,
    ObjectKey,
    Outcome,
    PatchType,
    Reflector,
    Resource,
    Store,
    discover,
)
from meshfed.telemetry.metrics import Metrics
from meshfed_sandbox.apiserver import APIServer
from tests.builders import config_map, crd
from tests.kube.owned import OwnedEngine
from tests.real_server import RealServer
from tests.waiting import eventually, meanwhile

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SERVICES = Resource("", "v1", "services", "Service")
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
WIDGETS = Resource("example.org", "v1", "widgets", "Widget")

WIDGET_CRD = crd(
    "Widget",
    "widgets",
    "example.org",
    status=True,
    schema={
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {"port": {"type": "integer"}, "weight": {"type": "integer", "default": 1}},
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    },
)


@dataclass
class Place:
    """A server, a client of it, and a namespace that is this test's own."""

    server: Any
    client: Client
    namespace: str

    @property
    def owner(self) -> dict[str, str]:
        return {"example.org/owner": self.namespace}

    async def restart(self) -> None:
        if isinstance(self.server, RealServer):
            await asyncio.to_thread(self.server.stop_server)
            await asyncio.to_thread(self.server.start_server)
        else:
            await self.server.stop()
            await self.server.start()

    def config_map(self, name: str, **data: str) -> Manifest:
        return config_map(name, namespace=self.namespace, **data)

    def widget(self, name: str, **spec: Any) -> Manifest:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": metadata, "spec": spec}

    async def data(self) -> dict[str, Any]:
        found = await self.client.list(CONFIG_MAPS, namespace=self.namespace)
        return {item["metadata"]["name"]: item.get("data", {}) for item in found if "kube-root" not in str(item)}


@pytest.fixture(params=["embedded", "real"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with contextlib.AsyncExitStack() as stack:
        server: Any
        if request.param == "real":
            server = request.getfixturevalue("kubernetes")
            config = server.config()
        else:
            server = await stack.enter_async_context(APIServer())
            config = ClusterConfig(server=server.url)
        client = await stack.enter_async_context(Client(config, metrics=Metrics()))
        made = await client.create(NAMESPACES, {"metadata": {"name": f"t{abs(hash(request.node.name))}"}})
        yield Place(server, client, made["metadata"]["name"])


class ConfigMap(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    data: dict[str, str] = {}


async def test_verbs_and_refusals(place: Place) -> None:
    client, ns = place.client, place.namespace
    made = await client.create(CONFIG_MAPS, place.config_map("a", x="1"))
    assert made["data"] == {"x": "1"}
    with pytest.raises(AlreadyExists):
        await client.create(CONFIG_MAPS, place.config_map("a"))
    with pytest.raises(Invalid):
        await client.create(CONFIG_MAPS, place.config_map("A_"))
    changed = await client.replace(CONFIG_MAPS, {**made, "data": {"x": "2"}})
    with pytest.raises(Conflict):
        await client.replace(CONFIG_MAPS, {**made, "data": {"x": "3"}})
    merged = await client.patch(CONFIG_MAPS, "a", {"data": {"y": "\u0085"}}, namespace=ns)
    assert merged["data"] == {"x": "2", "y": "\u0085"}
    operations = [{"op": "remove", "path": "/data/x"}]
    assert (await client.patch(CONFIG_MAPS, "a", operations, namespace=ns, patch_type=PatchType.JSON))["data"] == {
        "y": "\u0085"
    }
    with pytest.raises(Conflict):
        await client.delete(CONFIG_MAPS, "a", namespace=ns, uid="00000000-0000-0000-0000-000000000000")
    await client.delete(CONFIG_MAPS, "a", namespace=ns, uid=changed["metadata"]["uid"])
    with pytest.raises(NotFound):
        await client.get(CONFIG_MAPS, "a", namespace=ns)


async def test_discovery(place: Place) -> None:
    served = await discover(place.client)
    assert {SERVICES, NAMESPACES, CRDS} <= set(served.resources)
    assert (served.find("", "Service"), served.find("example.org", "Nothing")) == (SERVICES, None)


async def test_a_long_list(place: Place) -> None:
    slots = asyncio.Semaphore(16)

    async def create(number: int) -> None:
        async with slots:
            await place.client.create(CONFIG_MAPS, place.config_map(f"n{number}", n=str(number)))

    await asyncio.gather(*(create(number) for number in range(40)))
    page = await place.client.page(CONFIG_MAPS, namespace=place.namespace, limit=7)
    assert (len(page.items), bool(page.next)) == (7, True)
    assert await place.data() == {f"n{number}": {"n": str(number)} for number in range(40)}


async def test_a_store_follows_through_a_restart(place: Place) -> None:
    store: Store[ConfigMap] = Store()
    reflector = Reflector(place.client, CONFIG_MAPS, ConfigMap, store, namespace=place.namespace)
    await place.client.create(CONFIG_MAPS, place.config_map("a", x="1"))
    await place.client.create(CONFIG_MAPS, place.config_map("b", x="1"))
    async with meanwhile(reflector.run()):
        await store.wait_synced()
        await place.client.create(CONFIG_MAPS, place.config_map("c", x="\u0085\u2028"))
        await eventually(lambda: (place.namespace, "c") in store)
        await place.client.delete(CONFIG_MAPS, "a", namespace=place.namespace)
        await eventually(lambda: (place.namespace, "a") not in store)
        await place.restart()
        await place.client.delete(CONFIG_MAPS, "b", namespace=place.namespace)
        await eventually(lambda: (place.namespace, "b") not in store)
        found = {key.name: record.data for key, record in store.items() if key.name != "kube-root-ca.crt"}
        assert found == {"c": {"x": "\u0085\u2028"}}


async def test_the_engine(place: Place) -> None:
    engine = OwnedEngine(place.client, [CONFIG_MAPS], owner=place.owner)
    await place.client.create(CONFIG_MAPS, place.config_map("theirs", x="0"))
    async with meanwhile(engine.run()):
        engine.allow_deletes()
        wanted = [place.config_map(f"n{number}", x="1") for number in range(20)]
        engine.want("all", [*wanted, place.config_map("theirs", x="1")])
        await engine.idle()
        assert await place.data() == {f"n{n}": {"x": "1"} for n in range(20)} | {"theirs": {"x": "0"}}
        theirs = ObjectKey("", "ConfigMap", place.namespace, "theirs")
        assert engine.state(theirs).outcome is Outcome.NOT_OWNED

        edit = {"data": {"x": "9", "z": "9"}, "metadata": {"labels": {"team": "blue"}, "finalizers": ["example.org/x"]}}
        await place.client.patch(CONFIG_MAPS, "n0", edit, namespace=place.namespace)
        await place.client.delete(CONFIG_MAPS, "n1", namespace=place.namespace)
        async with asyncio.timeout(60):
            while (data := await place.data()).get("n0") != {"x": "1"} or "n1" not in data:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        live = await place.client.get(CONFIG_MAPS, "n0", namespace=place.namespace)
        assert live["metadata"]["labels"] == {**place.owner, "team": "blue"}
        assert live["metadata"]["finalizers"] == ["example.org/x"]
        await place.client.patch(CONFIG_MAPS, "n0", {"metadata": {"finalizers": None}}, namespace=place.namespace)

        await place.restart()
        engine.want("all", [place.config_map("new", x="1")])
        await eventually(lambda: not engine.source_state("all").deleting)
        assert await place.data() == {"new": {"x": "1"}, "theirs": {"x": "0"}}


async def test_a_custom_resource_with_defaults_that_comes_late(place: Place) -> None:
    client, ns = place.client, place.namespace
    engine = OwnedEngine(client, [WIDGETS], owner=place.owner, rng=lambda: 0.1)
    key = ObjectKey("example.org", "Widget", ns, "w")
    async with meanwhile(engine.run()):
        engine.want("w", [place.widget("w", port=1)])
        await engine.idle()
        assert engine.state(key).outcome is Outcome.FAILED
        await client.create(CRDS, WIDGET_CRD)
        try:
            await eventually(lambda: engine.state(key).outcome is Outcome.APPLIED)
            live = await client.get(WIDGETS, "w", namespace=ns)
            assert live["spec"] == {"port": 1, "weight": 1}
            await client.patch_status(WIDGETS, "w", {"ok": True}, namespace=ns)
            engine.want("w", [place.widget("w", port=2)])
            await engine.idle()
            live = await client.get(WIDGETS, "w", namespace=ns)
            assert (live["spec"], live["status"]) == ({"port": 2, "weight": 1}, {"ok": True})
            engine.want("w", [place.widget("w", port="x")])
            await engine.idle()
            assert engine.state(key).outcome is Outcome.INVALID
            assert "spec.port" in engine.state(key).message
        finally:
            await client.delete(CRDS, "widgets.example.org")


async def test_the_steady_state_writes_nothing(place: Place) -> None:
    def writes() -> float:
        samples = [sample for metric in place.client.metrics.api_writes.collect() for sample in metric.samples]
        return sum(sample.value for sample in samples if sample.name.endswith("_total"))

    wanted = [place.config_map(f"n{number}", x="1") for number in range(10)]
    first = OwnedEngine(place.client, [CONFIG_MAPS], owner=place.owner)
    async with meanwhile(first.run()):
        first.want("all", wanted)
        await first.idle()
    before = writes()
    second = OwnedEngine(place.client, [CONFIG_MAPS], owner=place.owner)
    async with meanwhile(second.run()):
        second.want("all", wanted)
        second.allow_deletes()
        await second.idle()
        await asyncio.sleep(0.5)
        assert second.statistics().outcomes == {Outcome.APPLIED: 10}
    assert writes() == before
