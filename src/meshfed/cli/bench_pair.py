"""Two meshes under measurement: the bench's namespaces in both, its Services, and what is timed of them.

Whatever way a bench ends, `bench_pair` takes out what it put in.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from meshfed.cli.bench_floor import BareLoop, FloorKinds
from meshfed.cli.bench_watch import Presence
from meshfed.cli.exits import NotHeld
from meshfed.cli.output import say
from meshfed.kube import AlreadyExists, Client, Manifest, NotFound, Resource, discover
from meshfed.views.measurable import SAMPLE, BenchCourse

NAMESPACE: Final = "meshfed-bench"
_MANAGED_BY: Final = {"app.kubernetes.io/managed-by": "meshfed-bench"}
_GROUP: Final = "federation.openshift-service-mesh.io"
_NETWORKING: Final = "networking.istio.io"
_SERVICES: Final = Resource("", "v1", "services", "Service")
_NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
_LEAVING: Final = 60.0
"""Seconds that cleaning up waits for imports to go."""
_LOOK_SECONDS: Final = 0.5
_ACCEPT: Final = f"{_GROUP}/accept-withdrawal"


def namespace() -> Manifest:
    """The bench's namespace, as it is made."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": dict(_MANAGED_BY)}}


def service(name: str, labels: Mapping[str, str]) -> Manifest:
    """A Service of the bench, of no pods, with ``labels`` beside its own."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name, **labels}},
        "spec": {
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 9080, "protocol": "TCP", "targetPort": 8080}],
        },
    }


class BenchPair:
    """What is measured. ``patience``: the seconds after which what is waited for will not come."""

    def __init__(
        self,
        exporter: Client,
        importer: Client,
        kinds: FloorKinds,
        course: BenchCourse,
        *,
        label: tuple[str, str],
        patience: float,
    ) -> None:
        self.course = course
        self._exporter, self._importer = exporter, importer
        self._kinds = kinds
        self._label = label
        self._patience = patience
        self._made = 0
        self.names: list[str] = []
        """The Services that are there, of which none is labelled yet."""
        self.labelled: list[str] = []
        """Those that are."""
        self.entries = Presence(importer, kinds.entries, course.entries)
        self.floor: BareLoop | None = None

    @property
    def _bare(self) -> BareLoop:
        if self.floor is None:
            raise RuntimeError("the floor has no templates yet: warm up first")
        return self.floor

    # --- the measured

    async def make(self, count: int) -> None:
        """Make Services, and as many for the floor, that nobody exports yet."""
        numbers = range(self._made, self._made + count)
        self._made += count
        async with asyncio.TaskGroup() as tasks:
            for number in numbers:
                for name in (f"bench-{number:05}", f"floor-{number:05}"):
                    tasks.create_task(self._exporter.create(_SERVICES, service(name, {})))
        self.names += [f"bench-{number:05}" for number in numbers]

    async def label(self, names: Sequence[str], *, what: str) -> float:
        """Label Services at once; returns the seconds until the ServiceEntry of each is seen."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with self.imported(names, there=True, what=what):
            await self.load(names)
        return loop.time() - began

    async def load(self, names: Sequence[str]) -> None:
        """Label Services at once, and wait for nothing."""
        taken = set(names)
        self.names = [name for name in self.names if name not in taken]
        self.labelled += names
        patch = {"metadata": {"labels": dict([self._label])}}
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(self._exporter.patch(_SERVICES, name, patch, namespace=NAMESPACE))

    def imported(self, names: Iterable[str], *, there: bool, what: str) -> contextlib.AbstractAsyncContextManager[None]:
        """Do what the context does, then wait until the ServiceEntries of all these Services are there, or are not."""
        entries = [self.course.entry(name) for name in names]
        return self.entries.until(entries, there=there, within=self._patience, what=what)

    async def change(self) -> float:
        """Label one more Service; returns the seconds until its ServiceEntry is seen."""
        return await self.label([self.names[0]], what="one change")

    async def floor_of_change(self, number: int) -> float:
        """Let the bare loop do the same, with a Service of its own."""
        return await self._bare.labelled([f"floor-{number:05}"], within=self._patience)

    async def floor_of_changes(self, numbers: range) -> float:
        """Let the bare loop do many changes at once."""
        return await self._bare.labelled([f"floor-{number:05}" for number in numbers], within=self._patience)

    async def floor_of_import(self, count: int) -> float:
        """Let the bare loop write what ``count`` imports are, and then remove it."""
        names = [f"cold-{number:05}" for number in range(count)]
        took = await self._bare.created(names, within=self._patience)
        await self._bare.removed(names)
        return took

    async def templates(self, name: str) -> tuple[Manifest, Manifest, Manifest | None]:
        """What the controllers wrote for a Service: its FederatedService, its ServiceEntry, and its Gateway if any."""
        course = self.course
        record = await self._importer.get(self._kinds.records, course.record(name), namespace=course.records)
        entry = await self._importer.get(self._kinds.entries, course.entry(name), namespace=course.entries)
        host = course.host.replace(SAMPLE, name, 1)
        gateways = await self._exporter.list(self._kinds.gateways, namespace=course.gateways)
        listing = [
            one for one in gateways if any(host in server.get("hosts", ()) for server in one["spec"].get("servers", ()))
        ]
        return record, entry, listing[0] if listing else None

    @asynccontextmanager
    async def beside_floor(self) -> AsyncIterator[None]:
        """Warm up with a few changes, and have the bare loop run while the context lasts."""
        for _ in range(3):
            await self.change()
        await asyncio.sleep(_LOOK_SECONDS)  # for the status, which comes last
        found = await self.templates(self.labelled[0])
        self.floor = BareLoop(self._exporter, self._importer, self._kinds, NAMESPACE, templates=found)
        await self.floor.begin()
        async with meanwhile(self.floor.run()):
            yield

    # --- setting up, and cleaning up

    async def begin(self) -> None:
        """Make the namespaces; raises ``NotHeld`` where there is one already."""
        made: list[Client] = []
        for client, mesh in ((self._exporter, self.course.exporter), (self._importer, self.course.importer)):
            try:
                await client.create(_NAMESPACES, namespace())
            except AlreadyExists as error:
                for one in made:
                    await one.delete(_NAMESPACES, NAMESPACE)
                raise NotHeld(
                    f"{mesh} has a namespace {NAMESPACE}: another bench runs, or one was killed. Where none runs: "
                    f"kubectl delete namespace {NAMESPACE}"
                ) from error
            made.append(client)
        await self.entries.begin()

    async def clean_up(self) -> None:
        """Take out all that was put in, and wait until what was imported is gone, which the withdrawal guard may hold.

        A hold that is of the bench's own Services alone is let through.
        """
        for client in (self._exporter, self._importer):
            with contextlib.suppress(NotFound):
                await client.delete(_NAMESPACES, NAMESPACE)
        async with asyncio.TaskGroup() as tasks:  # a cluster takes its time to empty a namespace
            for number in range(self._made):
                for name in (f"bench-{number:05}", f"floor-{number:05}"):
                    tasks.create_task(self._delete(name))
        leaving = [self.course.entry(name) for name in self.labelled]
        with contextlib.suppress(NotHeld):
            async with (
                meanwhile(self._let_through(set(leaving))),
                self.entries.until(leaving, there=False, within=_LEAVING, what=""),
            ):
                pass
        left = self.entries.names & set(leaving)
        if left:
            say(
                f"{len(left)} imports of the bench are still in {self.course.importer}: see by `meshfed remotes` "
                "whether their withdrawal is held"
            )

    async def _delete(self, name: str) -> None:
        with contextlib.suppress(NotFound):
            await self._exporter.delete(_SERVICES, name, namespace=NAMESPACE)

    async def _let_through(self, mine: set[str]) -> None:
        """Let the hold of a withdrawal through, where it is of the bench's Services alone."""
        remotes = Resource(_GROUP, self._kinds.records.version, "remotemeshes", "RemoteMesh")
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            found: Any = await self._importer.get(remotes, self.course.exporter, namespace=self.course.records)
            status = found.get("status") or {}
            held = status.get("heldServices", 0)
            if held and held == len(self.entries.names & mine):
                say(f"the withdrawal of the bench's {held} Services is held: it is let through")
                patch = {"metadata": {"annotations": {_ACCEPT: status["heldSince"]}}}
                await self._importer.patch(remotes, self.course.exporter, patch, namespace=self.course.records)
                return


@asynccontextmanager
async def meanwhile(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these while the context lasts; what one of them fails with ends it, in an ``ExceptionGroup``."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one) for one in coroutines]
        yield
        for task in running:
            task.cancel()


async def find_kinds(exporter: Client, importer: Client) -> FloorKinds:
    """Return each kind as the clusters serve it; raises ``NotHeld`` where one does not, and ``KubeError``."""
    here, there = await asyncio.gather(discover(exporter), discover(importer))
    found = (
        here.find(_NETWORKING, "Gateway"),
        there.find(_GROUP, "FederatedService"),
        there.find(_NETWORKING, "ServiceEntry"),
    )
    if None in found:
        raise NotHeld("a cluster does not serve Gateway, FederatedService and ServiceEntry: `meshfed check` says more")
    gateways, records, entries = found
    return FloorKinds(_SERVICES, gateways, records, entries)  # type: ignore[arg-type] # none is None
