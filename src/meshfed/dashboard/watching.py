"""What one cluster holds, kept current by watches; and whether it still answers.

A cluster that does not answer is tried again for as long as the page is open. What it held last stays meanwhile, with
how old that is, and no other waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from meshfed.cli.clusters import config_map, control_planes, forbidden, installed_in
from meshfed.cli.exits import CommandError, OutOfReach
from meshfed.cli.facts import tried_from_here
from meshfed.cli.importers import of_cluster
from meshfed.cli.kinds import LEASES, OURS, SURROUNDINGS, Wanted
from meshfed.dashboard.meshes import ALL, ShownMesh, Topic, topic_of
from meshfed.kube import (
    APIError,
    Backoff,
    Client,
    ClusterConfig,
    Forbidden,
    Key,
    KubeError,
    Reflector,
    Resource,
    ServedAPIs,
    Store,
    Unauthorized,
    discover,
)
from meshfed.model.installation import WRITER
from meshfed.views.bundles import cleaned
from meshfed.views.checks import Facts
from meshfed.views.importers import ImportersSeen
from meshfed.views.snapshot import Clock, Document, Server, Snapshot

EVENTS: Final = Wanted("", "Event", everywhere=True)
"""What says what happened. Only the controller's own are asked for."""
REPLICAS: Final = "pods/proxy"
"""By way of what replicas of the controller are asked; among what is ``left`` where that may not be."""
PULSE: Final = 5.0
"""Seconds between two looks at whether a cluster still answers."""
_PATIENCE: Final = 5.0
"""Seconds for which it has time to answer."""
_LOOK_AGAIN: Final = 30.0
"""Seconds between two looks at what it serves and where the installation is, as long as something is missing."""
_BACKOFF: Final = (1.0, 15.0)
_BEING_READ: Final = "it is still being read"


_TOPICS: Final = tuple((one, topic_of(one.kind)) for one in (*OURS, LEASES, *SURROUNDINGS, EVENTS))


class _Followed(NamedTuple):
    """One kind that is followed; ``namespace`` is where, ``None`` for the whole cluster."""

    wanted: Wanted
    topic: Topic
    resource: Resource
    namespace: str | None
    store: Store[Document]
    reflector: Reflector[Any]


class WatchedMesh(ShownMesh):
    """One cluster, under the name that a person knows it by. ``now`` tells the time here, ``pulse`` is in seconds.

    ``left`` are the kinds that are not read, and why; of ``REPLICAS``, why the controller is not asked.
    """

    def __init__(
        self,
        source: str,
        config: ClusterConfig,
        *,
        namespace: str | None = None,
        pulse: float = PULSE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        left: Mapping[str, str] = {},
    ) -> None:
        super().__init__(source, unreached="it has not answered yet")
        self._config = config
        self._given = namespace
        self._pulse_seconds = pulse
        self._now = now
        self._left = left
        self._clock: Clock | None = None
        self._answered: datetime | None = None
        self._namespace = ""
        self._followed: tuple[_Followed, ...] = ()
        self._absent: dict[str, str] = {}
        self._client: Client | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is something to show."""
        asked = [one for one in self._followed if one.topic is Topic.STATUS]
        return bool(self._followed) and all(one.store.synced or one.reflector.failure is not None for one in asked)

    async def run(self) -> None:
        """Keep it current until cancelled."""
        backoff = Backoff(base=_BACKOFF[0], cap=_BACKOFF[1])
        while True:
            try:
                async with Client(self._config) as self._client:
                    await self._follow(self._client, backoff)
            except (KubeError, CommandError, TimeoutError) as error:
                self._silent(_said(error, self._config))
            finally:
                self._client = None
            await asyncio.sleep(backoff.next())

    async def _follow(self, client: Client, backoff: Backoff) -> None:
        await self._ask(client)
        async with asyncio.timeout(2 * _PATIENCE):
            served = await discover(client)
            place = self._given or await installed_in(client, served)
        self._answers()
        backoff.reset()
        known = {one.resource: one.store for one in self._followed} if place == self._namespace else {}
        self._namespace = place
        self._followed = tuple(self._all(client, served, place, known))
        self._absent = dict(_absent(served))
        self._tell(*Topic)
        tasks = [asyncio.create_task(one.reflector.run()) for one in self._followed]
        tasks += [asyncio.create_task(self._tell_when_answered(one)) for one in self._followed]
        try:
            await self._pulse(client, served, place)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _all(
        self, client: Client, served: ServedAPIs, place: str, known: Mapping[Resource, Store[Document]]
    ) -> Iterable[_Followed]:
        for wanted, topic in _TOPICS:
            resource = served.find(wanted.group, wanted.kind)
            if resource is None or wanted.kind in self._left:
                continue
            namespace = None if wanted.everywhere else place
            store = known.get(resource)
            if store is None:
                store = Store()
                store.subscribe(partial(self._on_change, wanted.kind, topic))
            reflector: Reflector[Any] = Reflector(
                client,
                resource,
                dict,
                store,
                advisory=True,
                optional=True,
                decode=partial(_decoded, resource),
                namespace=namespace,
                label_selector=wanted.selector,
                field_selector=f"reportingComponent={WRITER}" if wanted is EVENTS else None,
            )
            yield _Followed(wanted, topic, resource, namespace, store, reflector)

    async def _tell_when_answered(self, one: _Followed) -> None:
        await one.reflector.answered()
        self._tell(one.topic)

    async def _pulse(self, client: Client, served: ServedAPIs, place: str) -> None:
        """See again and again whether it still answers; until it has what was missing, and is to be read anew."""
        looked = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(self._pulse_seconds)
            try:
                await self._ask(client)
            except (KubeError, TimeoutError) as error:
                self._silent(_said(error, self._config))
                continue
            self._answers()
            if asyncio.get_running_loop().time() - looked >= _LOOK_AGAIN:
                looked = asyncio.get_running_loop().time()
                if await self._is_another(client, served, place):
                    return

    async def _ask(self, client: Client) -> None:
        """See that it answers, and by which clock; raises ``KubeError`` and ``TimeoutError``."""
        asked = self._now()
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await client.fetch("/version")
        except Unauthorized:
            raise
        except APIError:
            return  # it answers, if only that we may not
        clock = Clock.read(answer.date, asked, self._now())
        if clock is not None and clock.is_better(self._clock):
            self._clock = clock

    async def _is_another(self, client: Client, served: ServedAPIs, place: str) -> bool:
        """Whether it serves other kinds than before, or the installation is elsewhere."""
        is_installed = any(one.wanted.kind == "MeshFederation" and len(one.store) for one in self._followed)
        if is_installed and not self._absent:
            return False
        try:
            found = await discover(client)
            moved = self._given is None and not is_installed and await installed_in(client, found) != place
        except (KubeError, CommandError):
            return False  # the pulse says so, if it lasts
        kinds = [(wanted.group, wanted.kind) for wanted, _ in _TOPICS]
        return moved or [found.find(*one) for one in kinds] != [served.find(*one) for one in kinds]

    def _answers(self) -> None:
        self._answered = self.time
        if self.unreached:
            self.unreached = ""
            self._tell(Topic.STATUS)

    def _silent(self, why: str) -> None:
        if self.unreached != why:
            self.unreached = why
            self._tell(Topic.STATUS)

    def _on_change(self, kind: str, topic: Topic, _key: Key, old: Document | None, new: Document | None) -> None:
        if kind == "Lease" and old is not None and new is not None and _lasting(old) == _lasting(new):
            return  # whoever lives renews it every other second
        self._tell(topic)

    # --- what there is

    def snapshot(self, topics: frozenset[Topic] = ALL, *, beside: Iterable[Document] = ()) -> Snapshot:
        """Return what the cluster holds of some topics, and ``beside``."""
        chosen = [one for one in self._followed if one.topic in topics]
        objects = (document for one in chosen for _, document in one.store.items())
        unread = {
            wanted.kind: why for wanted, topic in _TOPICS if topic in topics and (why := self._why_unread(wanted))
        }
        taken = self.time if not self.unreached or self._answered is None else self._answered
        return Snapshot(self.source, self._namespace, taken, (*objects, *beside), unread, Server(clock=self._clock))

    @property
    def time(self) -> datetime:
        """The time there."""
        return self._now() + timedelta(seconds=self._clock.ahead if self._clock is not None else 0.0)

    def _why_unread(self, wanted: Wanted) -> str:
        if wanted.kind in self._left:
            return self._left[wanted.kind]
        if wanted.kind in self._absent:
            return self._absent[wanted.kind]
        for one in self._followed:
            if one.wanted is not wanted or one.store.synced:
                continue
            if isinstance(one.reflector.failure, Forbidden):
                return forbidden(one.resource, one.namespace)
            return f"{one.resource}: {one.reflector.failure or _BEING_READ}"
        return ""

    @property
    def is_being_read(self) -> bool:
        """Whether something is still on its way."""
        return any(not one.store.synced and one.reflector.failure is None for one in self._followed)

    async def tried(self, remote: str) -> Facts:
        """Shake hands with a remote's gateway from here, as far as that is possible."""
        if self._client is None:
            raise OutOfReach(f"{self.source}: not reached: {self.unreached}")
        return await tried_from_here(self._client, self.snapshot(), remote)

    async def importers(self) -> ImportersSeen:
        """Return what each replica of the controller knows of remotes; of none that could not be asked, why."""
        if REPLICAS in self._left:
            return ImportersSeen(why=self._left[REPLICAS])
        if self._client is None:
            return ImportersSeen(why=f"{self.source} is not reached: {self.unreached}")
        return await of_cluster(self._client, self.snapshot(frozenset({Topic.OBJECTS})), ())

    async def named(self, mesh_config: str) -> tuple[list[Document], dict[str, str]]:
        """Return what is read by its name."""
        if self._client is None:
            return [], {}
        found: list[Document] = []
        unread: dict[str, str] = {}
        for place in sorted(control_planes(self.snapshot(frozenset({Topic.STATUS})).objects)):
            try:
                found += await config_map(self._client, place, mesh_config, unread)
            except KubeError as error:
                unread[f"ConfigMap {place}/{mesh_config}"] = str(error)
        return found, unread


def _absent(served: ServedAPIs) -> Iterable[tuple[str, str]]:
    for wanted, _ in _TOPICS:
        if served.find(wanted.group, wanted.kind) is None and not wanted.optional:
            group = f".{wanted.group}" if wanted.group else ""
            yield wanted.kind, f"the cluster does not serve {wanted.kind}{group}"


def _said(error: Exception, config: ClusterConfig) -> str:
    return f"{config.server} does not answer" if isinstance(error, TimeoutError) else str(error)


def _decoded(resource: Resource, data: msgspec.Raw) -> Document:
    """Return an object without what nobody looks at: then it does not change because that does."""
    document = cleaned({"apiVersion": resource.api_version, "kind": resource.kind} | msgspec.json.decode(data))
    document["metadata"].pop("resourceVersion", None)
    return document


def _lasting(lease: Document) -> Any:
    spec = lease.get("spec")
    return lease["metadata"].get("annotations"), {**spec, "renewTime": ""} if isinstance(spec, dict) else spec
