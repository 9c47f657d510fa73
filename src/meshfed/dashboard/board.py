"""The documents that the page shows, of all clusters that are watched.

Each is made by `meshfed.views` from what the watches hold, when it is asked for, and kept until that changes. What
takes long, the plan for a mesh, is worked out beside; until it is there, what follows from statuses is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from meshfed.api.times import timestamp
from meshfed.cli.exits import BadInput
from meshfed.cli.plan import planned_change
from meshfed.cli.plan_inputs import read_text
from meshfed.dashboard.meshes import ShownMesh, Topic
from meshfed.dashboard.threads import prepare
from meshfed.dashboard.watching import PULSE
from meshfed.views import hosts as hosts_of
from meshfed.views import timeline as timeline_of
from meshfed.views.checks import CheckView, run
from meshfed.views.checks.remotes import CHECKS, FROM_HERE
from meshfed.views.controllers import controller
from meshfed.views.explain.answers import answer
from meshfed.views.explain.explanation import Explanation
from meshfed.views.explain.seen import Seen, seen
from meshfed.views.federation_map import FederationView, federation
from meshfed.views.importers import ImportersSeen
from meshfed.views.imports import ImportView, imports
from meshfed.views.meshes import MeshView, mesh
from meshfed.views.plan_diffs import PlanDiffView
from meshfed.views.propagation import PropagationListing, PropagationView, listing, propagation
from meshfed.views.snapshot import Unreached

PAGE_SIZE: Final = 100
"""Rows of a list that are sent at once."""
_TOGETHER: Final = 0.1
"""Seconds in which changes are told of together."""
_PATIENCE: Final = 1.0
"""Seconds for which a request waits for a plan that is being worked out."""
_KEPT: Final = 5.0
"""Seconds for which several pages are told what the replicas of a controller answered once."""
_log = logging.getLogger(__name__)
_STATUS: Final = frozenset({Topic.STATUS})


class _Shown:
    """What was made of one cluster, and from which state of it."""

    def __init__(self, watched: ShownMesh, mesh_config: str, tell: Callable[[], None]) -> None:
        self.watched = watched
        self._mesh_config = mesh_config
        self._tell = tell
        self._lock = asyncio.Lock()
        self._of = -1
        self._offers: tuple[ImportView, ...] = ()
        self._view: MeshView | None = None
        self._happened_of: tuple[int, int] = (-1, -1)
        self._happened: tuple[timeline_of.HappeningView, ...] = ()
        self._seen: Seen | None = None
        self._seen_of: tuple[int, int] = (-1, -1)
        self._asking = asyncio.Lock()
        self._importers = ImportersSeen()
        self._importers_until = float("-inf")
        self._working: asyncio.Task[None] | None = None
        self._rests_until = 0.0
        self.fault = ""
        """What of our own went wrong when the plan was worked out; empty where nothing did."""
        self.alive: bool | None = None

    async def statuses(self) -> tuple[MeshView, tuple[ImportView, ...]]:
        """Return how the mesh stands, and what became of what others offer it."""
        async with self._lock:
            version = self.watched.versions[Topic.STATUS]
            snapshot = self.watched.snapshot(_STATUS)
            if self._view is None or self._of != version:
                self._offers = await asyncio.to_thread(imports, snapshot)
                self._view = await asyncio.to_thread(mesh, snapshot, self._offers)
                self._of = version
            # Whether somebody lives depends on the time, and nothing else of it does.
            living = controller(snapshot)
            self.alive = living.alive
            return msgspec.structs.replace(self._view, controller=living, taken=timestamp(snapshot.taken)), self._offers

    async def happened(self) -> tuple[timeline_of.HappeningView, ...]:
        """Return what happened in the mesh."""
        async with self._lock:
            versions = self.watched.versions
            current = versions[Topic.STATUS], versions[Topic.EVENTS]
            if self._happened_of != current:
                snapshot = self.watched.snapshot(frozenset({Topic.STATUS, Topic.EVENTS}))
                self._happened = await asyncio.to_thread(timeline_of.happenings, snapshot)
                self._happened_of = current
            return self._happened

    async def importers(self) -> ImportersSeen:
        """Return what the replicas of the controller know of remotes, or knew a moment ago."""
        async with self._asking:
            clock = asyncio.get_running_loop().time
            if clock() >= self._importers_until:
                self._importers = await self.watched.importers()
                self._importers_until = clock() + _KEPT
            return self._importers

    async def planned(self) -> Seen | None:
        """Return the mesh with the plan for it; an older one, or none, while that is being worked out."""
        if self.is_behind and (self._working is None or self._working.done()):
            self._working = asyncio.create_task(self._plan())
        if self._working is not None:
            await asyncio.wait({self._working}, timeout=_PATIENCE)
        return self._seen

    @property
    def _current(self) -> tuple[int, int]:
        return self.watched.versions[Topic.STATUS], self.watched.versions[Topic.OBJECTS]

    @property
    def is_behind(self) -> bool:
        """Whether what there is of a plan is of an older state."""
        return self._seen_of != self._current

    async def _plan(self) -> None:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        if self._seen is not None:  # half of the time is for everything else
            await asyncio.sleep(self._rests_until - asked)
        began, of = loop.time(), self._current
        objects, unread = await self.watched.named(self._mesh_config)
        snapshot = self.watched.snapshot(beside=objects)
        snapshot = msgspec.structs.replace(snapshot, unread={**snapshot.unread, **unread})
        try:
            self._seen = await asyncio.to_thread(seen, snapshot, mesh_config_map=self._mesh_config)
            self.fault = ""
        except Exception as error:  # noqa: BLE001 - one mesh that we fail on must not take the others from the page
            _log.exception("the plan for %s failed", self.watched.source)
            self.fault = f"{type(error).__name__}: {error}"
        self._seen_of = of
        self._rests_until = 2 * loop.time() - began
        if loop.time() - asked > _PATIENCE:
            self._tell()

    async def close(self) -> None:
        """End what is being worked out."""
        if self._working is not None:
            self._working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._working


class Board:
    """Makes documents of what clusters hold. ``pulse``: seconds between two looks at what time alone changes."""

    def __init__(self, watched: Iterable[ShownMesh], *, mesh_config: str = "istio", pulse: float = PULSE) -> None:
        self._pulse = pulse
        self._mesh_config = mesh_config
        self._working_out = asyncio.Lock()
        self._listeners: set[asyncio.Queue[frozenset[Topic]]] = set()
        self._changed: set[Topic] = set()
        self._some = asyncio.Event()
        self._meshes = tuple(_Shown(one, mesh_config, lambda: self._on_change(Topic.OBJECTS)) for one in watched)
        for one in self._meshes:
            one.watched.changed = self._on_change
        self._hosts: tuple[hosts_of.HostView, ...] = ()
        self._hosts_of: tuple[object, ...] = ()
        self._hosts_from: object = None
        """From what they were made, so that nothing else has its identity."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch while the context lasts."""
        prepare()
        tasks = [asyncio.create_task(one.watched.run()) for one in self._meshes]
        tasks += [asyncio.create_task(self._tell()), asyncio.create_task(self._beat())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(one.close() for one in self._meshes))

    # --- changes

    def _on_change(self, topic: Topic) -> None:
        self._changed.add(topic)
        self._some.set()

    async def _tell(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(_TOGETHER)
            changed, self._changed = frozenset(self._changed), set()
            self._some.clear()
            for queue in self._listeners:
                # Of what somebody has not heard yet, one word is enough.
                queue.put_nowait(changed if queue.empty() else changed | queue.get_nowait())

    async def _beat(self) -> None:
        """See whether a controller ceased to show itself, which is no change of any object."""
        while True:
            await asyncio.sleep(self._pulse)
            for one in self._meshes:
                if one.watched.is_known and controller(one.watched.snapshot(_STATUS)).alive is not one.alive:
                    self._on_change(Topic.STATUS)

    @contextlib.contextmanager
    def changes(self) -> Iterator[asyncio.Queue[frozenset[Topic]]]:
        """Give a queue of what changes from now on."""
        queue: asyncio.Queue[frozenset[Topic]] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)

    # --- documents

    @property
    def unreached(self) -> tuple[Unreached, ...]:
        """The clusters that do not answer, and why."""
        found = (one.watched for one in self._meshes)
        return tuple(Unreached(one.source, one.unreached) for one in found if one.unreached)

    async def federation(self) -> FederationView:
        """Return the meshes and the picture of them."""
        views = [(await one.statuses())[0] for one in self._known]
        times = await self._times()
        clocks = {name: timestamp(at, "milliseconds") for name, at in times.items()}
        return federation(views, {one.source: one.why for one in self.unreached}, clocks)

    async def _times(self) -> dict[str, datetime]:
        """What time it is in each mesh."""
        return {(await one.statuses())[0].mesh: one.watched.time for one in self._known}

    @property
    def _known(self) -> Sequence[_Shown]:
        return [one for one in self._meshes if one.watched.is_known]

    async def hosts(self, query: hosts_of.HostQuery, start: int) -> hosts_of.HostPage:
        """Return some of the hosts."""
        offers = [(await one.statuses())[1] for one in self._known]
        sides = await self._sides()
        used = (*map(id, offers), *map(id, sides))
        if used != self._hosts_of:
            every = [one for found in offers for one in found]
            exported = [one for side in sides for one in side.services]
            self._hosts = await asyncio.to_thread(hosts_of.hosts, every, exported)
            self._hosts_of, self._hosts_from = used, (offers, sides)
        return await asyncio.to_thread(
            hosts_of.page, self._hosts, query, start=start, size=PAGE_SIZE, notes=tuple(self._notes(sides))
        )

    async def timeline(self, query: timeline_of.HappeningQuery, start: int) -> timeline_of.TimelinePage:
        """Return some of what happened."""
        found = [event for one in self._known for event in await one.happened()]
        found.sort(key=lambda one: one.at, reverse=True)
        notes = [
            f"{one.watched.source}: {why}"
            for one in self._known
            for why in one.watched.snapshot(frozenset({Topic.EVENTS})).unread.values()
        ]
        now = await self._times()
        return timeline_of.page(found, query, now=now, start=start, size=PAGE_SIZE, notes=tuple(notes))

    async def explanation(self, words: tuple[str, ...]) -> Explanation:
        """Return what there is to say of a host, or of an object."""
        sides = await self._sides()
        found = await asyncio.to_thread(answer, words, sides, unreached=self.unreached)
        more = tuple(note for note in self._notes(sides) if note not in found.notes)
        return msgspec.structs.replace(found, notes=(*found.notes, *more))

    async def change(self, source: str, text: str) -> PlanDiffView:
        """Return what the objects of a text would change in a cluster; nothing is written.

        Raises ``CommandError``: of what is wrong with them, or may not be read.
        """
        shown = next((one for one in self._known if one.watched.source == source), None)
        if shown is None:
            raise BadInput(f"{source}: it is not among the meshes that were read")
        documents = read_text(text, "what was given")
        if not documents:
            raise BadInput("what was given has no object: paste one or several, as YAML or JSON")
        objects, unread = await shown.watched.named(self._mesh_config)
        snapshot = shown.watched.snapshot(frozenset({Topic.STATUS, Topic.OBJECTS}), beside=objects)
        snapshot = msgspec.structs.replace(snapshot, unread={**snapshot.unread, **unread})
        async with self._working_out:
            return await asyncio.to_thread(planned_change, snapshot, documents, self._mesh_config)

    async def handshake(self, source: str, remote: str) -> tuple[CheckView, ...]:
        """Return what a handshake with a remote's gateway, made from here, shows.

        Raises ``CommandError`` and ``KubeError``.
        """
        facts = await (await self._that_has(source, remote)).watched.tried(remote)
        return tuple(run(facts, tuple(one for one in CHECKS if one.name in FROM_HERE)))

    async def propagation(self, source: str, remote: str) -> PropagationView:
        """Return how long changes took over the last hour, from a remote and to it.

        Raises ``CommandError``.
        """
        shown = await self._that_has(source, remote)
        return propagation(await shown.importers(), source, remote)

    async def propagations(self) -> PropagationListing:
        """Return the same of all remotes, without the minutes."""
        found = await asyncio.gather(*(self._propagations(one) for one in self._known))
        return listing(view for of_mesh in found for view in of_mesh)

    async def _propagations(self, shown: _Shown) -> list[PropagationView]:
        view, _ = await shown.statuses()
        seen = await shown.importers() if view.remotes else ImportersSeen()
        return [propagation(seen, shown.watched.source, one.name) for one in view.remotes]

    async def _that_has(self, source: str, remote: str) -> _Shown:
        """Return the mesh of a cluster that has a RemoteMesh of that name; raises ``CommandError`` if none does."""
        shown = next((one for one in self._known if one.watched.source == source), None)
        if shown is None or not any(one.name == remote for one in (await shown.statuses())[0].remotes):
            raise BadInput(f"{source} {remote}: there is no such RemoteMesh among the meshes that were read")
        return shown

    async def _sides(self) -> list[Seen]:
        found = await asyncio.gather(*(one.planned() for one in self._known))
        return [one for one in found if one is not None]

    def _notes(self, sides: Sequence[Seen]) -> Iterable[str]:
        """Yield what limits what can be said."""
        for one in self.unreached:
            yield f"{one.source}: not reached: {one.why}"
        read = {side.snapshot.source: side for side in sides}
        for shown in self._known:
            source = shown.watched.source
            if shown.fault:
                yield f"{source}: what it exports could not be worked out, which is a fault of Meshfed: {shown.fault}"
            if shown.is_behind or shown.watched.is_being_read:
                older = "what is shown of that is from a moment ago" if source in read else "until then it is left out"
                yield f"{source}: what it exports is being worked out; {older}"
        for source, side in read.items():
            for why in dict.fromkeys((*side.snapshot.unread.values(), *side.problems)):
                yield f"{source}: {why}"
