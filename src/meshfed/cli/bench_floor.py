"""The floor of `meshfed bench`: a bare loop that makes the requests of a change, and decides and remembers nothing.

It has the client of the controllers, its own connections of the same kind, and writes copies of the very objects that
the controllers wrote, into the bench's namespaces, where no controller takes them for its own. What a change needs is
in it and nothing else, one waiting for the other as in a federation:

    label of a Service -> its watch -> FederatedService -> its watch -> ServiceEntry -> its watch -> status
                          Gateway

What is between the meshes is a call of a function here. The time ends at the last watch; the status is written after
that, and counts only where the processor's time is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any, Final, NamedTuple

from meshfed.api.v1alpha1 import OWNER_LABEL, OWNER_NAMESPACE_LABEL
from meshfed.cli.bench_watch import Presence
from meshfed.kube import Client, Manifest, NotFound, Resource

FLOOR_LABEL: Final = "bench.meshfed/floor"
"""What a Service is labelled with in place of the label that exports it."""
_SERVER_SET: Final = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "ownerReferences")


class FloorKinds(NamedTuple):
    """The kinds, each in the version that is spoken: two with the exporter, two with the importer."""

    services: Resource
    gateways: Resource
    records: Resource
    entries: Resource


class BareLoop:
    """The loop. ``begin`` and ``run`` bring its watches up; then ``labelled`` and ``created`` are what is timed.

    ``templates`` are a FederatedService, its ServiceEntry and, where the exporter has one, its Gateway, as the
    controllers wrote them. What it makes is in ``namespace``, and goes with that.
    """

    def __init__(
        self,
        exporter: Client,
        importer: Client,
        kinds: FloorKinds,
        namespace: str,
        *,
        templates: tuple[Manifest, Manifest, Manifest | None],
    ) -> None:
        self._exporter = exporter
        self._importer = importer
        self._kinds = kinds
        self._namespace = namespace
        record, entry, gateway = templates
        self._status = record.get("status") or {}
        self._record, self._entry = self._copied(record), self._copied(entry)
        self._gateway = None if gateway is None else self._copied(gateway)
        self._through: set[str] = set()
        """What is under way."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self._gateway_dirty = self._gateway_writing = False
        self._services = Presence(
            exporter, kinds.services, namespace, counts=lambda labels: FLOOR_LABEL in labels, came=self._label_seen
        )
        self._records = Presence(importer, kinds.records, namespace, came=self._record_seen)
        self.entries = Presence(importer, kinds.entries, namespace)

    async def begin(self) -> None:
        """Put the Gateway in place, and see what else is there; raises ``KubeError``."""
        if self._gateway is not None:
            self._gateway["metadata"]["name"] = "floor"
            # No proxy takes it: it selects none.
            self._gateway["spec"]["selector"] = {FLOOR_LABEL: "none"}
            self._gateway = await self._exporter.create(self._kinds.gateways, self._gateway)
        for presence in (self._services, self._records, self.entries):
            await presence.begin()

    async def run(self) -> None:
        """Follow the watches until cancelled; raises what a request failed with."""
        async with asyncio.TaskGroup() as self._group:
            for presence in (self._services, self._records, self.entries):
                self._group.create_task(presence.run())

    async def labelled(self, names: Sequence[str], *, within: float) -> float:
        """Label Services at once; returns the seconds until the ServiceEntry of each is seen."""
        loop = asyncio.get_running_loop()
        self._through = set(names)
        patch = {"metadata": {"labels": {FLOOR_LABEL: "true"}}}
        began = loop.time()
        async with self.entries.until(names, there=True, within=within, what="the floor"), asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(self._patched(name, patch))
        took = loop.time() - began
        await self._settled()
        async with asyncio.TaskGroup() as tasks:  # what says how it went comes after what carries traffic
            for name in names:
                tasks.create_task(self._said(name))
        return took

    async def created(self, names: Sequence[str], *, within: float) -> float:
        """Write a FederatedService for each name; returns the seconds until the ServiceEntry of each is seen."""
        loop = asyncio.get_running_loop()
        self._through = set(names)
        began = loop.time()
        async with self.entries.until(names, there=True, within=within, what="the floor"), asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(self._create(self._kinds.records, self._record, name))
        took = loop.time() - began
        await self._settled()
        return took

    async def removed(self, names: Sequence[str]) -> None:
        """Delete what the loop made under these names; what is gone is fine."""
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                for resource in (self._kinds.records, self._kinds.entries):
                    tasks.create_task(self._delete(resource, name))

    def _label_seen(self, name: str) -> None:
        if name in self._through:
            self._spawn(self._create(self._kinds.records, self._record, name))
            self._gateway_dirty = True
            if self._gateway is not None and not self._gateway_writing:
                self._gateway_writing = True
                self._spawn(self._write_gateway(self._gateway))

    def _record_seen(self, name: str) -> None:
        if name in self._through:
            self._spawn(self._create(self._kinds.entries, self._entry, name))

    async def _said(self, name: str) -> None:
        await self._importer.patch_status(self._kinds.records, name, self._status, namespace=self._namespace)

    async def _write_gateway(self, gateway: Manifest) -> None:
        """Write the Gateway, once for all that was labelled while it was written before: it has the hosts of all."""
        while self._gateway_dirty:
            self._gateway_dirty = False
            annotations = gateway["metadata"].setdefault("annotations", {})
            annotations[FLOOR_LABEL] = "b" if annotations.get(FLOOR_LABEL) == "a" else "a"
            gateway = self._gateway = await self._exporter.replace(self._kinds.gateways, gateway)
        self._gateway_writing = False

    async def _patched(self, name: str, patch: Manifest) -> None:
        await self._exporter.patch(self._kinds.services, name, patch, namespace=self._namespace)

    async def _create(self, resource: Resource, template: Manifest, name: str) -> None:
        metadata = {**template["metadata"], "name": name}
        await self._importer.create(resource, {**template, "metadata": metadata, "spec": self._named(template, name)})

    async def _delete(self, resource: Resource, name: str) -> None:
        with contextlib.suppress(NotFound):
            await self._importer.delete(resource, name, namespace=self._namespace)

    def _named(self, template: Manifest, name: str) -> Any:
        """The content of a copy, of a host of its own: no two objects of a kind may speak of one."""
        spec = dict(template["spec"])
        host = f"{name}.{self._namespace}.floor.invalid"
        if "hosts" in spec:
            spec["hosts"] = [host]
        if "host" in spec:
            spec["host"] = host
        return spec

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            raise RuntimeError("the bare loop is used while it does not run")
        task = self._group.create_task(coroutine)  # what it fails with ends `run`
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settled(self) -> None:
        """Wait for what no clock waits for."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._through = set()

    def _copied(self, stored: Manifest) -> Manifest:
        """A copy for the bench's namespace, of the same size, that belongs to no installation."""
        metadata = {key: value for key, value in stored["metadata"].items() if key not in _SERVER_SET}
        labels = {
            key: _other(value) if key in {OWNER_LABEL, OWNER_NAMESPACE_LABEL} else value
            for key, value in (metadata.get("labels") or {}).items()
        }
        copied = {key: value for key, value in stored.items() if key != "status"}
        return copied | {"metadata": {**metadata, "namespace": self._namespace, "labels": labels}}


def _other(value: str) -> str:
    """Another value of the same length."""
    return "x" * len(value) if value != "x" * len(value) else "y" * len(value)
