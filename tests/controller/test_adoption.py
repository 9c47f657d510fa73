"""``--adopt-reference``: what the reference left is taken over, and no import is without an object at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from meshfed.kube import Client, ClusterConfig, Manifest, Resource
from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.istio_crds import istio_crds
from meshfed_sandbox.ports import Ports
from tests import reference_objects as reference
from tests.builders import (
    GATEWAY,
    GROUP,
    RESOURCES,
    SYSTEM,
    crd,
    host,
    mesh_federation,
    namespace,
    offer,
    service,
    service_entry,
)
from tests.controller.meshes import Mesh, meshes
from tests.controller.plans import as_planned
from tests.controller.remotes import Remote, remotes
from tests.reference_objects import PEER, RECORD, ROUTER, Peer, ReferenceMesh
from tests.waiting import eventually

LAST_ENTRY = {"address": "192.0.2.99", "labels": {"app": "last"}}
LAST = service_entry("last", "last.example")
"""What a watch shows once it has shown everything before."""
IMPORTING = ("serviceentries.networking.istio.io", "workloadentries.networking.istio.io")


def theirs(mesh: Mesh) -> list[str]:
    """What is the reference's still."""
    kinds = ("gateways.networking.istio.io", "destinationrules", "envoyfilters", "routes", "peerauthentications")
    found = mesh.server.snapshot(*IMPORTING, *kinds)
    return sorted(
        f"{one['kind']} {one['metadata']['name']}"
        for one in found
        if one["metadata"].get("labels", {}).get("federation.openshift-service-mesh.io/peer") == "todo"
    )


def served(entry: Manifest) -> str:
    """The host that a ServiceEntry or WorkloadEntry serves."""
    if entry["kind"] == "ServiceEntry":
        return str(entry["spec"]["hosts"][0])
    return f"{entry['spec']['labels']['app']}.{entry['metadata']['namespace']}.svc.cluster.local"


@asynccontextmanager
async def never_without(mesh: Mesh, *hosts: str) -> AsyncIterator[None]:
    """Fails where, at any event of the context, one of ``hosts`` had no ServiceEntry and no WorkloadEntry."""
    standing: dict[str, str] = {}
    events: list[tuple[int, str, Manifest]] = []

    async def follow(resource: Resource, version: str) -> None:
        stream = mesh.client.watch(resource, resource_version=version, timeout_seconds=600)
        async with contextlib.aclosing(stream):
            async for event in stream:
                if event.type != "BOOKMARK":
                    entry = msgspec.json.decode(event.object)
                    events.append((int(entry["metadata"]["resourceVersion"]), event.type, entry))

    async with asyncio.TaskGroup() as tasks:
        watches = []
        for kind in ("ServiceEntry", "WorkloadEntry"):
            page = await mesh.client.page(RESOURCES[kind])
            for raw in page.items:
                entry = msgspec.json.decode(raw)
                standing[entry["metadata"]["uid"]] = served({**entry, "kind": kind})
            watches.append(tasks.create_task(follow(RESOURCES[kind], page.resource_version)))
        assert set(hosts) <= set(standing.values())
        yield
        await mesh.client.create(RESOURCES["ServiceEntry"], LAST)
        await mesh.client.create(RESOURCES["WorkloadEntry"], {**LAST, "kind": "WorkloadEntry", "spec": LAST_ENTRY})
        await eventually(lambda: sum(entry["metadata"]["name"] == "last" for _, _, entry in events) == 2)
        for kind, watch in zip(("ServiceEntry", "WorkloadEntry"), watches, strict=True):
            watch.cancel()
            await mesh.delete(kind, "last")
    for version, happened, entry in sorted(events, key=lambda event: event[0]):
        if happened == "DELETED":
            del standing[entry["metadata"]["uid"]]
        else:
            standing[entry["metadata"]["uid"]] = served(entry)
        missing = set(hosts) - set(standing.values())
        assert not missing, f"at {version}, when {entry['metadata']['name']} was {happened}, {missing} had nothing"
    assert len(events) > 2


def left_by_reference(west: Remote, **fields: Any) -> ReferenceMesh:
    """East as the reference federated it with west: ratings and details imported, reviews beside its own pods."""
    offers = tuple(reference.Service(name, labels={"app": name}) for name in ("details", "ratings", "reviews"))
    peer = Peer("west", ("192.0.2.10",), f"{west.name}-network", offers=offers)
    plain: dict[str, Any] = {
        "name": "east",
        "peers": (peer,),
        "exports": (reference.Service("mine"),),
        "locals": (reference.Service("reviews"),),
    }
    return ReferenceMesh(**plain | fields)


HOSTS = (host("details"), host("ratings"), host("reviews"))


@asynccontextmanager
async def left(west: Remote, **fields: Any) -> AsyncIterator[tuple[Mesh, ReferenceMesh]]:
    """A mesh in which the reference's controller was at work, and is not any more."""
    old = left_by_reference(west, **fields)
    async with meshes("east") as (east,):
        await east.apply(service("reviews"), service("mine", exported=True))
        for manifest in old.objects():
            group, version = manifest["apiVersion"].split("/")
            resource = Resource(group, version, plural(manifest["kind"]), manifest["kind"])
            await east.client.create(resource, manifest)
        yield east, old


def plural(kind: str) -> str:
    return {"ServiceEntry": "serviceentries", "WorkloadEntry": "workloadentries"}.get(
        kind, "peerauthentications" if kind == "PeerAuthentication" else f"{kind.lower()}s"
    )


def offered(west: Remote) -> None:
    """West offers what the reference had imported from it."""
    west.offer(offer("details"), offer("ratings"), offer("reviews"))


async def test_everything_is_taken_over_and_no_host_is_ever_without() -> None:
    async with remotes("west") as (west,), left(west) as (east, _):
        offered(west)
        kept = {("Gateway", "federation-ingress-gateway"), ("PeerAuthentication", "fds-strict-mtls")}
        before = {one for one in east.identities("Gateway", "PeerAuthentication") if one[:2] in kept}
        assert len(before) == 2
        async with never_without(east, *HOSTS):
            await east.apply(mesh_federation("east"), west.remote_mesh())
            await east.start(adopt_reference=True)
            await eventually(lambda: theirs(east) == [])
            await as_planned(east, west)
        assert before <= east.identities("Gateway", "PeerAuthentication")  # replaced where they stand
        assert east.imported() == [host("details"), host("ratings")]
        assert east.merged() == [("default", "reviews")]


async def test_without_the_flag_nothing_of_it_is_touched() -> None:
    async with remotes("west") as (west,), left(west) as (east, old):
        offered(west)
        before = {(one["kind"], one["metadata"]["name"]): one["metadata"]["resourceVersion"] for one in old_ones(east)}
        await east.apply(mesh_federation("east"), west.remote_mesh())
        await east.start()
        await eventually(lambda: east.condition("MeshFederation", "east", "GatewayReady") == ("False", "NotOwned"))
        await asyncio.sleep(0.5)
        after = {(one["kind"], one["metadata"]["name"]): one["metadata"]["resourceVersion"] for one in old_ones(east)}
        assert after == before
        assert len(theirs(east)) == len(old.objects())


def old_ones(mesh: Mesh) -> list[Manifest]:
    found = mesh.server.snapshot(*IMPORTING, "gateways.networking.istio.io", "peerauthentications")
    return [one for one in found if PEER.items() <= one["metadata"].get("labels", {}).items()]


async def test_what_a_remote_serves_stands_until_that_remote_is_heard() -> None:
    async with remotes("west") as (west,), left(west) as (east, _):
        offered(west)
        west.withdraw(host("details"))
        await west.stop()
        async with never_without(east, host("ratings"), host("reviews")):
            await east.apply(mesh_federation("east"), west.remote_mesh())
            await east.start(adopt_reference=True)
            await eventually(lambda: east.condition("RemoteMesh", "west", "Connected") == ("False", "Unreachable"))
            await asyncio.sleep(1.0)
            assert [name for name in theirs(east) if "import" in name] == [
                "ServiceEntry import-details-default-svc-cluster-local-west",
                "ServiceEntry import-ratings-default-svc-cluster-local-west",
                "WorkloadEntry import-west-reviews-0",
            ]
            await west.start()
            await eventually(lambda: theirs(east) == [], within=40)
        assert east.imported() == [host("ratings")]  # details, it does not offer any more
        await as_planned(east, west)


async def test_a_remote_that_offers_nothing_at_all_may_have_failed() -> None:
    async with remotes("west") as (west,), left(west) as (east, _), never_without(east, *HOSTS):
        await east.apply(mesh_federation("east"), west.remote_mesh())
        await east.start(adopt_reference=True)
        await synced_with(east, west)
        await asyncio.sleep(1.0)
        assert len([name for name in theirs(east) if "import" in name]) == 3
        offered(west)
        await eventually(lambda: theirs(east) == [], within=40)


async def synced_with(mesh: Mesh, remote: Remote) -> None:
    await eventually(lambda: mesh.condition("RemoteMesh", remote.name, "Synced")[0] == "True")


async def test_what_is_refused_stands_and_what_a_rule_denies_goes() -> None:
    async with remotes("west") as (west,), left(west) as (east, _):
        offered(west)
        rules = [{"action": "Deny", "hosts": [host("details")]}, {"action": "Import", "hosts": ["*"]}]
        await east.apply(mesh_federation("east"), west.remote_mesh(import_={"rules": rules}))  # without merge
        await east.start(adopt_reference=True)
        await eventually(lambda: theirs(east) == ["WorkloadEntry import-west-reviews-0"])
        assert east.imported() == [host("ratings")]
        await east.patch("RemoteMesh", "west", {"spec": {"import": {"merge": True}}})
        await eventually(lambda: theirs(east) == [], within=40)


async def test_a_remote_that_nobody_configured_yet_keeps_what_it_serves() -> None:
    async with remotes("west") as (west,), left(west) as (east, _):
        offered(west)
        async with never_without(east, *HOSTS):
            await east.apply(mesh_federation("east"))
            await east.start(adopt_reference=True)
            await east.ready()
            await eventually(lambda: "Gateway federation-ingress-gateway" not in theirs(east))
            await asyncio.sleep(0.5)
            assert len([name for name in theirs(east) if "import" in name]) == 3
            await east.apply(west.remote_mesh())
            await eventually(lambda: theirs(east) == [], within=40)


async def test_behind_routers_what_serves_is_replaced_by_what_serves() -> None:
    routed = {"type": ROUTER, "gateway": {"selector": GATEWAY}}
    async with remotes("west") as (west,):
        offers = (reference.Service("ratings", labels={"app": "ratings"}),)
        peer = Peer("west", ("192.0.2.10",), "west-network", port=443, ingress=ROUTER, offers=offers)
        async with left(west, peers=(peer,), ingress=ROUTER) as (east, _):
            west.offer(offer("ratings"))
            assert {name.split()[0] for name in theirs(east)} >= {"Route", "EnvoyFilter", "DestinationRule"}
            gaps: list[str] = []

            def look() -> None:
                snis = [
                    one["spec"]["configPatches"][0]["match"]["listener"]["filterChain"]["sni"]
                    for one in east.server.snapshot("envoyfilters")
                ]
                hosts = [one["spec"]["host"] for one in east.server.snapshot("routes")]
                rules = [one["spec"]["host"] for one in east.server.snapshot("destinationrules")]
                if len(set(snis)) != 2 or len(set(hosts)) != 2 or host("ratings") not in rules:
                    gaps.append(f"{snis} {hosts} {rules}")

            with east.server.told(look):
                changed = west.remote_mesh(port=443, ingressType=ROUTER)
                await east.apply(mesh_federation("east", ingress=routed), changed)
                await east.start(adopt_reference=True)
                await eventually(lambda: theirs(east) == [], within=40)
            assert gaps == []
            await as_planned(east, west)


async def test_killed_at_any_moment_it_comes_to_the_same_end() -> None:
    rng = random.Random(5)
    async with remotes("west") as (west,), left(west) as (east, _):
        offered(west)
        await east.apply(mesh_federation("east"), west.remote_mesh())
        async with never_without(east, *HOSTS):
            for _ in range(8):
                await east.start(adopt_reference=True)
                await asyncio.sleep(rng.random() * 0.4)
                await east.stop()
            await east.start(adopt_reference=True)
            await eventually(lambda: theirs(east) == [])
            await as_planned(east, west)
        await east.stop()
        settled = east.writes
        await east.start(adopt_reference=True)
        await east.ready()
        await as_planned(east, west)
        await asyncio.sleep(0.5)
        statuses = 4  # of the MeshFederation and the RemoteMesh, which was away meanwhile
        assert east.writes - settled <= statuses


async def test_a_large_gateway_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshfed.federation.gateway_shards.HOSTS_PER_GATEWAY", 2)
    async with remotes("west") as (west,):
        exports = tuple(reference.Service(name) for name in ("a", "b", "c", "mine"))
        async with left(west, exports=exports) as (east, _):
            await east.apply(*(service(one.name, exported=True) for one in exports))
            await east.apply(mesh_federation("east"))
            gateways = set()
            await east.start(adopt_reference=True)
            await eventually(lambda: "Gateway federation-ingress-gateway" not in theirs(east))
            await east.ready()
            gateways |= set(east.all("Gateway"))
            assert gateways == {"federation-ingress-gateway"}
            assert east.exported() == sorted(one.host for one in exports)


# --- definitions


def foreign_crds() -> list[Manifest]:
    """The two CRDs that the reference installs, as far as matters: same names and version, other schemas."""
    return [
        _crd("MeshFederation", {"spec": {"type": "object", "properties": {"network": {"type": "string"}}}}),
        _crd("FederatedService", {"spec": {"type": "object", "properties": {"host": {"type": "string"}}}}),
    ]


def _crd(kind: str, properties: dict[str, Any]) -> Manifest:
    schema = {"type": "object", "properties": properties}
    return crd(kind, f"{kind.lower()}s", GROUP, version="v1alpha1", schema=schema)


async def test_its_definitions_are_replaced_and_its_records_removed(ports: Ports) -> None:
    async with (
        APIServer(crds=[*foreign_crds(), *istio_crds()]) as server,
        Client(ClusterConfig(server=server.url)) as client,
    ):
        east = Mesh("east", server, client, ports.take())
        await east.apply(namespace(SYSTEM))
        await client.create(Resource(GROUP, "v1alpha1", "federatedservices", "FederatedService"), RECORD)
        try:
            await east.start()
            await eventually(lambda: "RemoteMesh" in str(east.controller and east.controller.not_ready_reason))
            await east.stop()
            await east.start(adopt_reference=True)
            await east.ready()
            assert east.all("FederatedService") == {}
            await east.apply(mesh_federation("east"))
            await eventually(lambda: east.condition("MeshFederation", "east", "ExportsReady")[0] == "True")
        finally:
            await east.stop()
