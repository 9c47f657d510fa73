"""No value that an API server takes, or a remote sends, makes anything raise that decides, reports or remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshfed.api.core import Namespace, Pod, Service
from meshfed.api.v1alpha1 import FederatedService, MeshFederation, RemoteMesh
from meshfed.controller.faults import Faults
from meshfed.controller.propagation import Propagation
from meshfed.controller.remotes import session as sessions
from meshfed.controller.remotes.confirming import Placement
from meshfed.controller.remotes.remote_sessions import RemoteSessions
from meshfed.controller.remotes.session import Session
from meshfed.controller.startup import history as recollection
from meshfed.controller.writing.outcomes import refusal
from meshfed.controller.writing.statuses import StatusWriter
from meshfed.fds import Dialect, NotReady, Refused, Unreachable, Update
from meshfed.fds.updates import Rejected
from meshfed.istio import last_answers, reference
from meshfed.istio.metadata import is_paused
from meshfed.istio.peer_authentications import of_peer_authentication
from meshfed.kube import Resource, Store
from meshfed.kube.desired import observe
from meshfed.kube.queue import WriteLimit
from meshfed.kube.store import Key as ObjectName
from meshfed.model.offers import Offer, Port
from meshfed.model.reasons import Reason
from meshfed.plan import Applied, Planner, Settings, StatusUpdate, meshes
from meshfed.plan.foreign_destination_rules import of_destination_rule
from meshfed.plan.foreign_service_entries import of_service_entry
from meshfed.plan.values import Ref
from meshfed.plan.workloads import of_entry, of_pod
from meshfed.telemetry.metrics import Metrics
from tests.admitted import SCHEMAS, TEXTS, TIMES, drawn, times
from tests.builders import remote_mesh, typed
from tests.kube.memory import Cluster, MemoryClient
from tests.kube.owned import OwnedEngine
from tests.virtual import virtual_loop
from tests.world import local_mesh

NOW = "2026-01-01T12:00:00Z"
TYPES: dict[str, type[msgspec.Struct]] = {
    "MeshFederation": MeshFederation,
    "RemoteMesh": RemoteMesh,
    "FederatedService": FederatedService,
    "Service": Service,
    "Namespace": Namespace,
    "Pod": Pod,
}
OURS = ("MeshFederation", "RemoteMesh", "FederatedService")
BESIDE = ("WorkloadEntry", "DestinationRule", "ServiceEntry", "PeerAuthentication")
WRITTEN = ("Gateway", "ServiceEntry", "WorkloadEntry", "DestinationRule", "EnvoyFilter", "Route")
RESOURCES = [
    Resource(group, version, kind.lower(), kind)
    for kind, (api_version, _) in SCHEMAS.items()
    for group, slash, version in [api_version.partition("/")]
    if slash
]
POOL: Final = 15
"""Objects that are drawn of each kind."""
EXAMPLES: Final = settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def decoded(obj: dict[str, Any], kind: type[Any] | None = None) -> Any:
    """An object as a watch brings it; one that an API server takes must not be one that cannot be understood."""
    return msgspec.json.decode(msgspec.json.encode(obj), type=kind or TYPES[obj["kind"]])


def in_virtual_time(story: Callable[[], Awaitable[None]]) -> None:
    async def told() -> None:
        await story()

    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(told())


texts = st.sampled_from(TEXTS) | st.text(max_size=20)
uint32 = st.sampled_from([0, 1, 80, 65535, 65536, 2**32 - 1])
hosts = st.sampled_from(["a.default.svc.cluster.local", "b.default.svc.cluster.local", "x.example.com"]) | texts
ports = st.builds(
    Port,
    number=uint32,
    name=st.just("http") | texts,
    protocol=st.sampled_from(["HTTP", "TCP", ""]) | texts,
    target_port=uint32,
)
announced = st.builds(
    Offer,
    host=hosts,
    ports=st.lists(ports, max_size=2).map(tuple),
    labels=st.dictionaries(texts, texts, max_size=2),
    sni_host=st.just("") | hosts,
    identities=st.lists(st.just("spiffe://cluster.local/ns/default/sa/a") | texts, max_size=2).map(tuple),
    locality=texts,
    ready=st.none() | st.booleans(),
    exported_at=times(),
)
updates = st.builds(
    Update,
    upserts=st.lists(announced, max_size=4, unique_by=lambda offer: offer.host).map(tuple),
    removals=st.lists(hosts, max_size=3, unique=True).map(tuple),
    complete=st.booleans(),
    synced=st.booleans(),
    rejected=st.lists(st.builds(Rejected, host=st.just("") | hosts, why=texts), max_size=2).map(tuple),
)
errors = st.builds(lambda kind, text: kind(text), st.sampled_from([Unreachable, NotReady, Refused]), texts)
heard = st.one_of(
    st.tuples(st.just("connected"), st.sampled_from(Dialect)),
    st.tuples(st.just("update"), updates),
    st.tuples(st.just("update"), updates),
    st.tuples(st.just("disconnected"), errors),
    st.tuples(st.just("sleep"), st.sampled_from([0.0, 1.0, 600.0])),
)


class _Silent:
    """A client that hears nothing by itself."""

    def __init__(self, *_args: Any, **_options: Any) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()

    def forget(self) -> None:
        pass

    def try_now(self) -> None:
        pass


class World:
    """What decides and remembers, in one process and without a network: watches in, and remotes."""

    def __init__(self) -> None:
        self.planner = Planner(Settings())
        self.offers: Store[FederatedService] = Store()
        self.offers.add_index("remote", lambda offer: (offer.spec.remote,))
        self.statuses: dict[Ref, StatusUpdate] = {}
        self.stored: dict[Ref, Any] = {}
        self.engine = OwnedEngine(MemoryClient(Cluster()), RESOURCES, owner={"o": "o"})
        self.faults = Faults(Metrics())
        self.listener = RemoteSessions(
            faults=self.faults,
            standing=Placement(self.planner, self.engine, failing=(), is_done=lambda: False),
            planner=self.planner,
            engine=self.engine,
            offers=self.offers,
            metrics=Metrics(),
            propagation=Propagation(Metrics(), self.planner.imports),
            stamp=lambda: NOW,
        )

    def put(self, obj: dict[str, Any], *, gone: bool = False) -> None:
        metadata = obj["metadata"]
        key = ObjectName(metadata["namespace"], metadata["name"])
        if obj["kind"] in BESIDE:
            self._beside(obj, key, gone=gone)
            return
        known = decoded(obj)
        now = None if gone else known
        if obj["kind"] in OURS:
            self.stored[obj["kind"], *key] = known
        match known:
            case MeshFederation():
                self.planner.federation_changed(key.name, now)
                self.listener.federation_changed()
            case RemoteMesh():
                self.planner.remote_changed(key.name, now)
                self.listener.remote_changed(key.name, now)
            case FederatedService():
                (self.offers.delete(key) if gone else self.offers.put(key, known))
                if gone:
                    self.listener.record_removed(known.spec.remote, known.spec.host)
                self.planner.offer_changed(key.name, now)
            case Service():
                self.planner.inputs.services.put(key, now)
                self.planner.service_export_changed(*key, None if gone else known.metadata.generation)
            case Namespace():
                self.planner.inputs.namespaces.put(key.name, now)
            case Pod():
                self.planner.inputs.workloads.put(("Pod", *key), None if gone else of_pod(known))

    def _beside(self, obj: dict[str, Any], key: ObjectName, *, gone: bool) -> None:
        match obj["kind"]:
            case "WorkloadEntry":
                self.planner.inputs.workloads.put(("WorkloadEntry", *key), None if gone else of_entry(obj))
            case "DestinationRule":
                self.planner.inputs.rules.put(key, None if gone else of_destination_rule(obj))
            case "ServiceEntry":
                self.planner.inputs.entries.put(key, None if gone else of_service_entry(obj))
            case "PeerAuthentication":
                self.planner.inputs.peer_authentications.put(key, None if gone else of_peer_authentication(obj))

    def settle(self) -> None:
        while turn := self.planner.take_dirty():
            for key in turn.keys:
                outputs = self.planner.reconcile(key)
                assert outputs is not None
                self.engine.want(key, outputs.objects, after=outputs.after)
                self.planner.applied_changed(key, Applied("failed", Reason.WRITE_FAILED, "m"))
                for status in outputs.statuses:
                    self.statuses[status.kind, status.namespace, status.name] = status

    async def hear(self, name: str, what: str, said: Any) -> None:
        session = self.listener._sessions.get(name)
        if what == "sleep":
            await asyncio.sleep(said)
        elif session is not None:
            await getattr(session, what)(said)


@cache
def of_kind(kind: str) -> list[dict[str, Any]]:
    """Objects of a kind, drawn once; a fixture would be shown with every example."""
    return drawn(kind, POOL)


def eased(obj: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """An object with what would keep most others from mattering as it is as a rule."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "deletionTimestamp"}
    return obj | {"metadata": metadata, "spec": obj["spec"] | spec}


@cache
def pool() -> list[dict[str, Any]]:
    """What may be there: as drawn, and eased so that it is exported, imported and recorded."""
    found = [obj for kind in (*TYPES, *BESIDE) for obj in of_kind(kind)]
    for number, obj in enumerate(of_kind("FederatedService")):
        place = {"remote": ("west", "north")[number % 2], "host": f"{'ab'[number % 3 > 0]}.default.svc.cluster.local"}
        first = TIMES[number % len(TIMES)]
        found.append(eased(obj, **place, firstOffered=first, sniHost="", ports=[HTTP]))
    return found


HTTP: Final = {"number": 80, "name": "http", "protocol": "HTTP"}
numbers = st.integers(0, 10**6)
remote_names = st.sampled_from(["west", "west", "north", "east"])
steps = st.lists(
    st.tuples(st.just("put"), numbers)
    | st.tuples(st.just("remove"), numbers)
    | st.tuples(remote_names, st.lists(heard, max_size=3).map(lambda more: [("connected", Dialect.DELTA), *more])),
    max_size=8,
)


@EXAMPLES
@given(numbers, numbers, st.lists(numbers, max_size=20), steps)
def test_what_is_watched_and_what_remotes_say(
    mesh: int, remote: int, others: list[int], told: list[tuple[str, Any]]
) -> None:
    meshes, remotes = of_kind("MeshFederation"), of_kind("RemoteMesh")
    west = remotes[remote % len(remotes)]
    west = eased(west | {"metadata": west["metadata"] | {"name": "west"}}, network="west", **{"import": IMPORT})
    there = [eased(meshes[mesh % len(meshes)], network="here", export={}), west]
    present = [*there, *(pool()[one % len(pool())] for one in others)]
    in_virtual_time(lambda: _followed(present, told))


IMPORT: Final = {"merge": True, "allowTCP": True, "limit": 2}


async def _followed(present: list[dict[str, Any]], steps: list[tuple[str, Any]]) -> None:
    world = World()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "DiscoveryClient", _Silent)
        for obj in present:
            world.put(obj)
        world.planner.gateway_observed(10**200, ["a.default.svc.cluster.local", "\0"])
        world.planner.resolution_changed("gw.example", ("192.0.2.1", "fe80::1%eth0"))
        world.listener.recall()
        world.settle()
        async with asyncio.TaskGroup() as tasks:
            running: dict[Session, asyncio.Task[None]] = {}
            for what, with_what in steps:
                for session in world.listener._sessions.values():
                    if session not in running:
                        running[session] = tasks.create_task(session.run())
                if what == "put":
                    present.append(pool()[with_what % len(pool())])
                    world.put(present[-1])
                elif what == "remove":
                    world.put(present[with_what % len(present)], gone=True)
                else:
                    for said in with_what:
                        await world.hear(what, *said)
                        await asyncio.sleep(0)
                        world.settle()
                await asyncio.sleep(0)
                world.settle()
            await asyncio.sleep(3600)
            world.settle()
            for task in running.values():
                task.cancel()
        await _said(world)
    assert not world.faults.came.is_set()


async def _said(world: World) -> None:
    """Write every status into whatever is stored there."""

    class Api:
        write_limit = WriteLimit()

        async def patch_status(self, _resource: Resource, _name: str, status: Any, *, namespace: str) -> None:
            del namespace
            msgspec.json.encode(status)

    resources = {kind: Resource("g", "v1", kind.lower(), kind) for kind in OURS}
    writer = StatusWriter(Api(), resources, world.stored.get, stamp=lambda: NOW)  # type: ignore[arg-type] # a fake
    for ref, status in world.statuses.items():
        writer.want(status)
        writer._passing_since.clear()
        await writer._write(ref)


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_is_written_and_what_others_wrote(kind: str) -> None:
    history: dict[str, Any] = {"Gateway": recollection._Gateway, "WorkloadEntry": recollection._WorkloadEntry}
    remotes = {name: meshes.remote(typed(RemoteMesh, remote_mesh(name))) for name in ("west", "north")}
    for drawn_one in of_kind(kind):
        obj = msgspec.json.decode(msgspec.json.encode(drawn_one))
        observe(obj, is_paused, refusal)
        reference.is_reference(obj)
        reference.without_owner(obj)
        reference.remnant(obj, local_mesh(), remotes)
        for read in (of_entry, of_destination_rule, of_service_entry):
            read(obj)
        if kind in history:
            entry = decoded(obj, history[kind])
            last_answers([(entry.spec.address, entry.metadata.annotations)] if kind == "WorkloadEntry" else [])
