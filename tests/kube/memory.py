"""A cluster in memory behind the client's interface, for tests in virtual time: no sockets, so no real time.

It keeps the API's rules that list, watch and writes rely on: one resourceVersion counter, history that can be
compacted (410), selectors that turn changes into deletions, uid and resourceVersion preconditions, finalizers. And it
fails on command.
"""

from __future__ import annotations

import asyncio
import copy
import json
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeVar, Unpack

import msgspec

from meshfed.kube import client as client_module
from meshfed.kube.client import PAGE_SIZE, Client, Page, Selection, WatchEvent
from meshfed.kube.config import ClusterConfig
from meshfed.kube.connection import WRITES, Answer
from meshfed.kube.errors import AlreadyExists, APIError, Conflict, Gone, KubeError, NotFound, Silent, TransportError
from meshfed.kube.resources import Manifest, Resource

Place = tuple[Resource, str, str]
_T = TypeVar("_T")


def clone(manifest: _T) -> _T:
    """A copy of JSON data."""
    copied: _T = msgspec.json.decode(msgspec.json.encode(manifest))
    return copied


@dataclass
class Change:
    version: int
    place: Place
    old: Manifest | None
    new: Manifest | None
    """Where it is a deletion, none."""


@dataclass
class Cluster:
    """The state, and the switches that break it."""

    served: set[Resource] = field(default_factory=set)
    version: int = 10
    objects: dict[Place, Manifest] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    compacted: int = 0
    down: bool = False
    refuse: Callable[[str, str], KubeError | None] = lambda _verb, _name: None
    mutate: Callable[[Manifest], None] = lambda _: None
    """Admission: changes what is written, as defaulting does."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    uids: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    streams: int = 0
    """Goes up when every open watch is to break off."""
    open_watches: int = 0
    latency: float = 0.001
    silent: bool = False
    """Watches say nothing, not even their end."""
    opened: int = 0
    muted: int = 0
    """So many of the first watches say nothing any more, while those that are opened later do."""
    bookmarks: bool = True

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [call for call in self.calls if call[0] in {"create", "update", "delete"}]

    def record(self, place: Place, new: Manifest | None) -> Manifest:
        self.version += 1
        old = self.objects.get(place)
        if new is None:
            assert old is not None
            del self.objects[place]
        else:
            new["metadata"]["resourceVersion"] = str(self.version)
            self.objects[place] = new
        self.history.append(Change(self.version, place, clone(old), clone(new)))
        self.wake()
        return new or old or {}

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    # what others do to it

    def put(self, resource: Resource, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        place = (resource, metadata.get("namespace", ""), metadata["name"])
        new = clone(manifest)
        old = self.objects.get(place)
        if old is None:
            self.uids += 1
        new["metadata"]["uid"] = old["metadata"]["uid"] if old else f"uid-{self.uids}"
        self.record(place, new)

    def edit(self, resource: Resource, namespace: str, name: str, change: Callable[[Manifest], object]) -> None:
        new = clone(self.objects[resource, namespace, name])
        change(new)
        place = (resource, namespace, name)
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            self.record(place, None)
        else:
            self.record(place, new)

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        place = (resource, namespace, name)
        if self.objects[place]["metadata"].get("finalizers"):
            self.edit(resource, namespace, name, lambda o: o["metadata"].update(deletionTimestamp="now"))
        else:
            self.record(place, None)

    def compact(self) -> None:
        self.compacted = self.version
        self.history.clear()

    def cut(self) -> None:
        self.streams += 1
        self.wake()

    def mute(self) -> None:
        """As a proxy that holds on to connections whose other half it lost."""
        self.muted = self.opened

    def snapshot(self) -> tuple[int, dict[Place, Manifest]]:
        return self.version, copy.deepcopy(self.objects)

    def restore(self, snapshot: tuple[int, dict[Place, Manifest]]) -> None:
        """As an etcd restored from a backup: the past again, resourceVersion and all."""
        self.version, objects = snapshot
        self.objects = copy.deepcopy(objects)
        self.history = [change for change in self.history if change.version <= self.version]
        self.cut()


def _matches(manifest: Manifest | None, selection: Selection) -> bool:
    if manifest is None:
        return False
    metadata = manifest["metadata"]
    namespace = selection.get("namespace")
    labels = metadata.get("labels") or {}
    wanted = [part for part in (selection.get("label_selector") or "").split(",") if part]
    return (not namespace or metadata.get("namespace") == namespace) and all(_selects(part, labels) for part in wanted)


def _selects(requirement: str, labels: Mapping[str, str]) -> bool:
    """Whether labels meet ``key=value``, ``key!=value``, ``key`` or ``!key``."""
    key, unequal, value = requirement.partition("!=")
    if unequal:
        return labels.get(key) != value
    key, equal, value = requirement.partition("=")
    if equal:
        return labels.get(key) == value
    return (key.removeprefix("!") in labels) is not key.startswith("!")


class MemoryClient(Client):
    """A client of such a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(ClusterConfig(server="http://memory"))
        self.cluster = cluster

    async def _enter(self, verb: str, resource: Resource, name: str = "") -> None:
        if verb not in WRITES:
            await self._answer(verb, resource, name)
            return
        begun = asyncio.get_running_loop().time()
        try:
            await self._answer(verb, resource, name)
        except KubeError as error:
            self.write_limit.answered(begun, error)
            raise
        self.write_limit.answered(begun, None)

    async def _answer(self, verb: str, resource: Resource, name: str) -> None:
        cluster = self.cluster
        await asyncio.sleep(cluster.latency)
        cluster.calls.append((verb, name))
        if cluster.down:
            raise TransportError("connection refused")
        if error := cluster.refuse(verb, name):
            raise error
        if resource not in cluster.served:
            raise NotFound(404, "NotFound", "the server could not find the requested resource")

    async def page(
        self, resource: Resource, *, limit: int = PAGE_SIZE, token: str = "", **selection: Unpack[Selection]
    ) -> Page:
        await self._enter("list", resource)
        cluster = self.cluster
        version, start = (int(part) for part in token.split("/")) if token else (cluster.version, 0)
        if version < cluster.compacted:
            raise Gone(410, "Expired", "the provided continue parameter is too old")
        found = {place: manifest for place, manifest in cluster.objects.items() if place[0] == resource}
        for change in reversed(cluster.history):  # undo what came after the list's moment
            if change.version > version and change.place[0] == resource:
                if change.old is None:
                    found.pop(change.place)
                else:
                    found[change.place] = change.old
        items = [found[place] for place in sorted(found, key=lambda place: place[1:])]
        items = [item for item in items if _matches(item, selection)]
        end = start + limit if limit else len(items)
        raw = tuple(msgspec.Raw(json.dumps(item).encode()) for item in items[start:end])
        return Page(raw, str(version), f"{version}/{end}" if end < len(items) else "")

    async def watch(
        self, resource: Resource, *, resource_version: str, timeout_seconds: int, **selection: Unpack[Selection]
    ) -> AsyncGenerator[WatchEvent]:
        await self._enter("watch", resource)
        cluster = self.cluster
        seen, stream = int(resource_version), cluster.streams
        if seen < cluster.compacted:
            raise Gone(410, "Expired", "too old resource version")
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_seconds
        cluster.open_watches += 1
        cluster.opened += 1
        number, start = cluster.opened, seen
        try:
            while True:
                changed = cluster.changed
                if cluster.streams != stream:
                    raise TransportError("the connection was reset")
                if seen < cluster.compacted:
                    raise Gone(410, "Expired", "the history that this watch had not seen was compacted")
                silent = cluster.silent or number <= cluster.muted
                now = seen if silent else cluster.version
                begin = bisect_right(cluster.history, seen, key=attrgetter("version"))
                for change in [] if silent else cluster.history[begin:]:
                    if change.place[0] == resource:
                        if event := _event(change, selection):
                            yield event
                        seen = change.version
                seen = max(seen, now)
                try:
                    async with asyncio.timeout_at(end + client_module._WATCH_GRACE if silent else end):
                        await changed.wait()
                except TimeoutError:
                    if cluster.silent or number <= cluster.muted:
                        if loop.time() < end + client_module._WATCH_GRACE - 0.001:  # timers may fire a little early
                            continue
                        raise Silent("it did not end") from None
                    if cluster.bookmarks and seen > start:
                        yield _bookmark(seen)
                    return
        finally:
            cluster.open_watches -= 1

    async def get(self, resource: Resource, name: str, *, namespace: str | None = None, into: Any = Manifest) -> Any:
        await self._enter("get", resource, name)
        return clone(self._find(resource, namespace or "", name))

    async def create(
        self, resource: Resource, manifest: Mapping[str, Any] | bytes, *, namespace: str | None = None
    ) -> Manifest:
        assert not isinstance(manifest, bytes)
        metadata = manifest["metadata"]
        await self._enter("create", resource, metadata["name"])
        cluster = self.cluster
        place = (resource, metadata.get("namespace", ""), metadata["name"])
        if place in cluster.objects:
            raise AlreadyExists(409, "AlreadyExists", "it exists")
        new = clone(dict(manifest))
        cluster.mutate(new)
        cluster.uids += 1
        new["metadata"]["uid"] = f"uid-{cluster.uids}"
        return clone(cluster.record(place, new))

    async def replace(self, resource: Resource, manifest: Mapping[str, Any]) -> Manifest:
        metadata = manifest["metadata"]
        await self._enter("update", resource, metadata["name"])
        old = self._find(resource, metadata.get("namespace", ""), metadata["name"])
        self._require(old, metadata.get("uid"), metadata.get("resourceVersion"))
        new = clone(dict(manifest))
        self.cluster.mutate(new)
        new["metadata"]["uid"] = old["metadata"]["uid"]
        if _without_version(new) == _without_version(old):
            return clone(old)
        return clone(self.cluster.record((resource, metadata.get("namespace", ""), metadata["name"]), new))

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str | None = None,
    ) -> None:
        await self._enter("delete", resource, name)
        self._require(self._find(resource, namespace or "", name), uid, resource_version)
        self.cluster.remove(resource, namespace or "", name)

    async def fetch(
        self, path: str, *, accept: str = "application/json", params: Mapping[str, str] | None = None
    ) -> Answer:
        await asyncio.sleep(self.cluster.latency)
        if self.cluster.down:
            raise TransportError("connection refused")
        core = path == "/api"
        groups: dict[str, dict[str, list[Any]]] = {}
        for resource in sorted(self.cluster.served):
            if core == (resource.group == ""):
                groups.setdefault(resource.group, {}).setdefault(resource.version, []).append(
                    {
                        "resource": resource.plural,
                        "scope": "Namespaced" if resource.namespaced else "Cluster",
                        "responseKind": {"kind": resource.kind},
                    }
                )
        items = [
            {
                "metadata": {"name": group},
                "versions": [{"version": version, "resources": found} for version, found in versions.items()],
            }
            for group, versions in groups.items()
        ]
        return Answer("application/json;v=v2;as=APIGroupDiscoveryList", json.dumps({"items": items}).encode())

    def _find(self, resource: Resource, namespace: str, name: str) -> Manifest:
        found = self.cluster.objects.get((resource, namespace, name))
        if found is None:
            raise NotFound(404, "NotFound", f"{resource} {name} not found")
        return found

    def _require(self, live: Manifest, uid: str | None, version: str | None) -> None:
        metadata = live["metadata"]
        if (uid and uid != metadata["uid"]) or (version and version != metadata["resourceVersion"]):
            raise Conflict(409, "Conflict", "the object has been modified")


def _event(change: Change, selection: Selection) -> WatchEvent | None:
    before, after = _matches(change.old, selection), _matches(change.new, selection)
    if not before and not after:
        return None
    kind = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
    shown = clone(change.new if after else change.old)
    assert shown is not None
    shown["metadata"]["resourceVersion"] = str(change.version)
    return WatchEvent(kind, msgspec.Raw(json.dumps(shown).encode()))


def _bookmark(version: int) -> WatchEvent:
    return WatchEvent("BOOKMARK", msgspec.Raw(json.dumps({"metadata": {"resourceVersion": str(version)}}).encode()))


def _without_version(manifest: Manifest) -> Manifest:
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "resourceVersion"}
    return {**manifest, "metadata": metadata}


def failure(status: int) -> APIError:
    """A server's failure."""
    from meshfed.kube.errors import api_error

    return api_error(status, b'{"kind":"Status","message":"broken on purpose"}')
