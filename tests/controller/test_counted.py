"""What one change costs, counted: requests to the API, messages to subscribers, bytes of both, and keys worked out.

It has to be the same however many services and remotes there are. These fail once something is listed, pushed or
worked out as a whole again because one thing changed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import msgspec
import pytest

from meshfed.fds import Target
from meshfed.fds.client import DiscoveryClient
from meshfed.fds.identity import XFCC
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.kube import Manifest, Resource
from meshfed.telemetry.metrics import Metrics
from tests.builders import SYSTEM, host, mesh_federation, namespace, offer, remote_mesh, service
from tests.controller import in_memory
from tests.controller.in_memory import Remote, World
from tests.fds.support import Memory, MemoryCall, Recorder

pytestmark = pytest.mark.looptime

SIZES = [(10, 1), (100, 1), (1000, 1), (10, 10), (100, 10), (1000, 10)]
"""Services, and remotes."""
MOST_GATEWAY = 32 * 1024
"""The bytes of one write of a Gateway, which has at most 500 hosts."""
MOST_MESSAGE = 700
"""The bytes that a subscriber is sent of one Service."""
QUIET = 5.0
"""Seconds, of virtual time, in which all that follows from a change is done."""

Written = tuple[str, str, str]
"""The verb, the kind, and the subresource."""
COUNTED: dict[Written, int] = {("patch", "MeshFederation", "status"): 1}
"""The numbers of services in the status of the mesh. An Event, of which there may be too many, is one at most."""


class CountingClient(in_memory.PatchingClient):
    """A client of a cluster in memory that notes what is asked of it."""

    lists: ClassVar[Counter[str]] = Counter()
    writes: ClassVar[list[tuple[Written, int]]] = []

    @classmethod
    def clear(cls) -> None:
        cls.lists, cls.writes = Counter(), []

    async def _enter(self, verb: str, resource: Resource, name: str = "") -> None:
        if verb == "list":
            type(self).lists[resource.kind] += 1
        await super()._enter(verb, resource, name)

    def _note(self, verb: str, resource: Resource, body: object, subresource: str = "") -> None:
        if resource.kind != "Lease":  # which are renewed whatever happens
            type(self).writes.append(((verb, resource.kind, subresource), len(msgspec.json.encode(body))))

    async def create(self, resource: Resource, manifest: Any, *, namespace: str | None = None) -> Manifest:
        if resource.kind != "Event" or manifest["involvedObject"]["name"].partition(".")[0] in {"new", "only"}:
            self._note("create", resource, manifest)  # Events of what came before wait for their turn
        return await super().create(resource, manifest, namespace=namespace)

    async def replace(self, resource: Resource, manifest: Mapping[str, Any]) -> Manifest:
        self._note("update", resource, manifest)
        return await super().replace(resource, manifest)

    async def patch(
        self, resource: Resource, name: str, patch: Mapping[str, Any] | Sequence[Any], **more: Any
    ) -> Manifest:
        self._note("patch", resource, patch, more.get("subresource") or "")
        return await super().patch(resource, name, patch, **more)

    async def delete(self, resource: Resource, name: str, **more: Any) -> None:
        self._note("delete", resource, {})
        await super().delete(resource, name, **more)


class Cost(msgspec.Struct, frozen=True):
    """What was asked of the API, how many bytes the largest write of each kind had, and which keys were worked out."""

    writes: dict[Written, int]
    bytes: dict[str, int]
    lists: dict[str, int]
    keys: dict[str, int]


def keys(metrics: Metrics) -> Counter[str]:
    """How many keys of each kind were worked out so far."""
    return Counter(
        {
            sample.labels["kind"]: int(sample.value)
            for family in metrics.registry.collect()
            for sample in family.samples
            if sample.name == "meshfed_reconcile_seconds_count"
        }
    )


async def cost(world: World, change: Any) -> Cost:
    """What ``change`` costs, once everything is quiet."""
    CountingClient.clear()
    before = keys(world.metrics)
    change()
    await asyncio.sleep(QUIET)
    largest: dict[str, int] = {}
    for (_, kind, _), size in CountingClient.writes:
        largest[kind] = max(size, largest.get(kind, 0))
    writes = Counter(written for written, _ in CountingClient.writes)
    assert writes.pop(("create", "Event", ""), 0) <= 1
    return Cost(
        writes=dict(writes),
        bytes=largest,
        lists=dict(CountingClient.lists),
        keys=dict(keys(world.metrics) - before),
    )


@asynccontextmanager
async def running(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Run its controller until all there is was worked out, and the first minute is over."""
    monkeypatch.setattr(in_memory, "PatchingClient", CountingClient)
    world.cluster.latency = 0.0001
    world.put(namespace(SYSTEM), namespace("default"))
    await world.start()
    await asyncio.sleep(120)
    try:
        yield
    finally:
        await world.stop()


# --- the mesh that exports


@asynccontextmanager
async def subscribed(world: World, names: Sequence[str]) -> AsyncIterator[dict[str, tuple[Memory, Recorder]]]:
    """Have the remotes of these names follow what the mesh exports."""
    assert world.publisher is not None
    found, tasks = {}, []
    for name in names:
        caller = f"URI=spiffe://{name}.local/ns/{SYSTEM}/sa/federation-controller"
        dial, sink = Memory(world.publisher._server, {XFCC: caller}), Recorder()
        client = DiscoveryClient(name, Target(host="memory", port=1), sink, metrics=Metrics(), dial=dial)
        tasks.append(asyncio.create_task(client.run()))
        found[name] = dial, sink
    try:
        await asyncio.sleep(QUIET)
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def sent(dial: Memory) -> list[bytes]:
    """What the exporter has sent a subscriber, and forget it; heartbeats, which have nothing in them, are left out."""
    found: list[bytes] = []
    calls: list[MemoryCall] = [call for channel in dial.channels for call in channel.calls]
    for call in calls:
        for _, message in call.sent:
            response = pb.DeltaDiscoveryResponse.FromString(message)
            if response.resources or response.removed_resources:
                found.append(message)
        call.sent.clear()
    return found


EXPORT_RULES = [
    {"action": "Export", "labels": {"matchLabels": {"for": "some"}}, "remotes": ["r0"]},
    {"action": "Export"},
]


@pytest.mark.parametrize(("services", "remotes"), SIZES)
async def test_an_export_is_one_write_and_one_message_for_each_who_may_see_it(
    services: int, remotes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"r{number}" for number in range(remotes)]
    world = World(monkeypatch)
    export = {"serviceSelectors": {"matchLabels": {"export-service": "true"}}, "rules": EXPORT_RULES}
    world.put(
        mesh_federation("east", export=export),
        *(remote_mesh(name, trustDomain=f"{name}.local", network=name, import_=None) for name in names),
        *(service(f"s{number}", exported=True) for number in range(services)),
        service("new"),
        service("only", labels={"for": "some"}),
    )
    async with running(world, monkeypatch), subscribed(world, names) as following:
        for dial, sink in following.values():
            assert len(sink.offers) == services
            sent(dial)
        for name, seeing in (("new", names), ("only", ["r0"])):
            found = await cost(world, lambda name=name: world.edit("Service", name, _label))
            assert found.lists == {}
            assert found.writes == {("update", "Gateway", ""): 1, **COUNTED}
            assert found.bytes["Gateway"] <= MOST_GATEWAY
            assert found.keys["ExportKey"] == 1
            assert Counter(found.keys) <= Counter(ExportKey=1, GatewayKey=1, MeshStatusKey=2)
            for remote, (dial, sink) in following.items():
                messages = sent(dial)
                assert len(messages) == (remote in seeing)
                assert all(len(message) <= MOST_MESSAGE for message in messages)
                assert (host(name) in sink.offers) is (remote in seeing)


def _label(one: Manifest) -> None:
    one["metadata"]["labels"]["export-service"] = "true"


# --- the mesh that imports


@pytest.mark.parametrize(("services", "remotes"), SIZES)
async def test_an_import_is_a_record_an_entry_and_a_status(
    services: int, remotes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"r{number}" for number in range(remotes)]
    offering = {name: Remote() for name in names}
    for number in range(services):
        offering[names[number % remotes]].offer(offer(f"s{number}"))
    world = World(monkeypatch, **offering)
    world.put(
        mesh_federation("east"),
        *(remote_mesh(name, trustDomain=f"{name}.local", network=name, import_={"limit": 2000}) for name in names),
    )
    async with running(world, monkeypatch):
        assert len(world.imported()) == services
        found = await cost(world, lambda: offering["r0"].offer(offer("new")))
        assert len(world.imported()) == services + 1
        assert found.lists == {}
        assert found.writes == {
            ("create", "FederatedService", ""): 1,
            ("create", "ServiceEntry", ""): 1,
            ("patch", "FederatedService", "status"): 1,
            ("patch", "RemoteMesh", "status"): 1,
            **COUNTED,
        }
        assert max(found.bytes.values()) <= 2048
        assert found.keys["ImportKey"] == 1
        assert Counter(found.keys) <= Counter(ImportKey=1, OfferKey=3, RemoteStatusKey=2, MeshStatusKey=2)

        found = await cost(world, lambda: offering["r0"].withdraw(host("new")))
        assert len(world.imported()) == services
        assert found.lists == {}
        assert found.writes == {
            ("delete", "FederatedService", ""): 1,
            ("delete", "ServiceEntry", ""): 1,
            ("patch", "RemoteMesh", "status"): 1,
            **COUNTED,
        }
