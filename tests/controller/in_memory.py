"""A mesh whose API server and remotes are in memory: a controller's whole term in virtual time, without a socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Never

import pytest
import trustme

from meshfed.controller.config_maps import CONFIG_MAPS
from meshfed.controller.controller import Controller
from meshfed.controller.options import Address, Options
from meshfed.controller.remotes import session as sessions
from meshfed.controller.remotes.publisher import Publisher
from meshfed.controller.watches import (
    API_KINDS,
    CRDS,
    ENDPOINT_SLICES,
    ISTIO_KINDS,
    NAMESPACES,
    PODS,
    ROUTE,
    SERVICE_EXPORTS,
    SERVICES,
    Served,
)
from meshfed.fds import Confirming, Dialect, DiscoveryError, Update
from meshfed.fds.messages import version_of
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.kube import LEASES, Conflict, Manifest, Resource
from meshfed.kube.events import EVENTS
from meshfed.model.offers import Offer
from meshfed.model.probes import Broken, Finding, Link, Way
from meshfed.probe import Roots
from meshfed.telemetry.metrics import Metrics
from tests.builders import GROUP, RESOURCES, SYSTEM
from tests.controller.meshes import WRITTEN
from tests.kube.memory import Cluster, MemoryClient, Place, clone
from tests.waiting import meanwhile

OURS = {kind: RESOURCES[kind] for kind in API_KINDS}
ISTIO = tuple(RESOURCES[kind] for _, kind in ISTIO_KINDS)
OFF = Address("", 0)


class Objects(Cluster):
    """A cluster that counts generations, as an API server does."""

    def record(self, place: Place, new: Manifest | None) -> Manifest:
        old = self.objects.get(place)
        if new is not None:
            before = old["metadata"].get("generation", 0) if old is not None else 0
            same = old is not None and old.get("spec") == new.get("spec")
            new["metadata"]["generation"] = before if same else before + 1
            new["metadata"].setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        return super().record(place, new)


class PatchingClient(MemoryClient):
    """A client of such a cluster that also patches, by merging."""

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any] | Sequence[Any],
        *,
        namespace: str | None = None,
        subresource: str | None = None,
        **_: Any,
    ) -> Manifest:
        assert isinstance(patch, Mapping)
        await self._enter("patch", resource, name)
        live = self._find(resource, namespace or "", name)
        version = patch.get("metadata", {}).get("resourceVersion")
        if version and version != live["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "the object has been modified")
        if subresource is not None:
            patch = {subresource: patch[subresource]}
        merged = merge(live, patch)

        def put(one: Manifest) -> None:
            one.clear()
            one.update(merged)

        if merged != live:
            self.cluster.edit(resource, namespace or "", name, put)
        return clone(merged)


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


class Remote:
    """What a remote mesh offers; while it is away nobody is told."""

    def __init__(self) -> None:
        self.offers: dict[str, Offer] = {}
        self.away = False
        self.changed = asyncio.Event()
        self.imported: dict[str, str] = {}
        """What it was told that is in place of what it offers, and under which version."""
        self.told_all = False
        self.requests = 0
        """By how many requests."""
        self.signs = 0
        """How often whoever listens to it was told that it is there."""

    def offer(self, *offers: Offer) -> None:
        self.offers |= {one.host: one for one in offers}
        self.tell()

    def withdraw(self, host: str) -> None:
        del self.offers[host]
        self.tell()

    async def hear(self, data: bytes) -> None:
        """Hear what is in place of what it offers."""
        request = pb.DeltaDiscoveryRequest.FromString(data)
        self.requests += 1
        self.imported |= request.initial_resource_versions
        for host in request.resource_names_unsubscribe:
            self.imported.pop(host, None)
        if "*" in request.resource_names_unsubscribe:
            self.forget()
        self.told_all = self.told_all or "*" in request.resource_names_subscribe

    def forget(self) -> None:
        """With a stream goes what was said on it."""
        self.imported, self.told_all = {}, False

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Listening:
    """In the place of a ``DiscoveryClient``."""

    def __init__(self, remotes: Mapping[str, Remote], name: str, sink: sessions.Session) -> None:
        self._remote = remotes[name]
        self._sink = sink
        self.confirming = Confirming()

    def forget(self) -> None:
        pass

    def try_now(self) -> None:
        self._remote.signs += 1

    async def run(self) -> Never:
        remote, told = self._remote, dict[str, Offer]()
        connected = False
        remote.forget()
        async with contextlib.AsyncExitStack() as saying:
            while True:
                changed = remote.changed
                if remote.away:
                    connected = False
                    await saying.aclose()
                    remote.forget()
                    await self._sink.disconnected(DiscoveryError("nobody answers"))
                else:
                    if not connected:
                        await saying.enter_async_context(meanwhile(self.confirming.run(remote.hear)))
                        await self._sink.connected(Dialect.DELTA)
                    now, now_is = dict(remote.offers), asyncio.get_running_loop().time()
                    upserts = tuple(one for host, one in now.items() if told.get(host) != one or not connected)
                    removals = tuple(told.keys() - now.keys())
                    update = Update(
                        upserts,
                        () if not connected else removals,
                        complete=not connected,
                        synced=True,
                        received=now_is,
                        versions={one.host: version_of(one) for one in upserts},
                    )
                    self.confirming.offered(update.versions)
                    connected, told = True, now
                    await self._sink.update(update)
                await changed.wait()
        raise AssertionError("unreachable")


class World:
    """One mesh, its remotes, and its controller while that runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **remotes: Remote) -> None:
        served = {
            *OURS.values(),
            *ISTIO,
            ROUTE,
            SERVICES,
            NAMESPACES,
            PODS,
            ENDPOINT_SLICES,
            SERVICE_EXPORTS,
            EVENTS,
            CRDS,
            CONFIG_MAPS,
            LEASES,
        }
        self.cluster = Objects(served=served)
        self.remotes = remotes
        self.metrics = Metrics()
        self.controller: Controller | None = None
        self.ways: dict[Way, Finding] = {}
        """What a handshake by a way finds; by any other nobody answers. Without `trust` none is tried."""
        self.publisher: Publisher | None = None
        self._task: asyncio.Task[None] | None = None
        self.cluster.put(CRDS, {"metadata": {"name": f"federatedservices.{GROUP}"}})
        monkeypatch.setattr(sessions, "DiscoveryClient", self._listening)

    def _listening(self, name: str, _target: object, sink: sessions.Session, **_: object) -> Listening:
        return Listening(self.remotes, name, sink)

    def trust(self) -> None:
        """Have istiod's ConfigMap, with a root, so that ways are proven."""
        data = {"root-cert.pem": trustme.CA().cert_pem.bytes().decode()}
        self.cluster.put(CONFIG_MAPS, {"metadata": {"name": "istio-ca-root-cert", "namespace": SYSTEM}, "data": data})

    async def _shake(self, way: Way, _ip: str, _roots: Roots) -> Finding:
        return self.ways.get(way, Broken(Link.ADDRESS))

    def put(self, *manifests: Manifest) -> None:
        for manifest in manifests:
            self.cluster.put(RESOURCES[manifest["kind"]], manifest)

    def edit(self, kind: str, name: str, change: Callable[[Manifest], object], *, namespace: str = "default") -> None:
        self.cluster.edit(RESOURCES[kind], namespace, name, change)

    async def start(self) -> None:
        self.metrics = Metrics()
        client = PatchingClient(self.cluster)
        client._metrics = self.metrics
        options = Options(namespace=SYSTEM, discovery=OFF, metrics=OFF, health=OFF)
        self.controller = Controller(
            client, options, self.metrics, stamp=virtual_time, lookup=_lookup, shake=self._shake
        )
        self.publisher = Publisher(options, self.metrics)
        found = Served(ours=OURS, written=(*ISTIO, ROUTE))
        term = self.controller._term(client, found, self.publisher, leading=True)
        self._task = asyncio.create_task(term)

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            assert not task.done(), task
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def written(self) -> dict[tuple[str, str], Any]:
        """What the controller wrote: the specs, by kind and name."""
        plurals = {name.partition(".")[0] for name in WRITTEN}
        return {
            (resource.kind, name): clone(manifest["spec"])
            for (resource, _, name), manifest in self.cluster.objects.items()
            if resource.plural in plurals
        }

    def imported(self) -> set[str]:
        """The objects that carry imports."""
        kinds = {"ServiceEntry", "WorkloadEntry"}
        return {name for kind, name in self.written() if kind in kinds and not name.startswith("federation-discovery")}

    def offered(self) -> set[str]:
        """What subscribers are told."""
        assert self.publisher is not None
        return set(self.publisher._hosts.values())

    def said(self) -> dict[str, list[tuple[str, str, str]]]:
        """Type, status and reason of each condition of our objects."""
        return {
            f"{resource.kind} {name}": [
                (one["type"], one["status"], one["reason"]) for one in manifest.get("status", {}).get("conditions", [])
            ]
            for (resource, _, name), manifest in self.cluster.objects.items()
            if resource.group == GROUP
        }


def virtual_time() -> str:
    """What a clock shows that keeps step with the event loop's."""
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=asyncio.get_running_loop().time())
    return f"{now:%Y-%m-%dT%H:%M:%SZ}"


async def _lookup(_name: str) -> tuple[str, ...]:
    return ("192.0.2.77",)


@contextlib.contextmanager
def errors() -> Any:
    """What is logged as an error meanwhile, traces and all."""
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(self.format(record))

    handler = Handler(logging.ERROR)
    logger = logging.getLogger("meshfed")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
