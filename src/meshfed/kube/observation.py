"""What exists of ours: every watched kind, in the newest version that is served, as digests in memory.

A kind that the server does not know (its CRD is not installed) is looked for again and again, and holds up no other.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from meshfed.kube.backoff import Backoff, retry_on_error
from meshfed.kube.client import Client
from meshfed.kube.desired import Observed
from meshfed.kube.discovery import ServedAPIs, discover
from meshfed.kube.reflector import Reflector, ReflectorStatistics
from meshfed.kube.resources import ObjectKey, Resource, version_number, version_rank
from meshfed.kube.store import Store

_log = logging.getLogger(__name__)

_DISCOVERY_PERIOD: Final = 10.0


class WatchedKind:
    """One kind of object: its ``versions``, newest first, and what exists of it."""

    def __init__(self, group: str, name: str) -> None:
        self.group = group
        self.name = name
        self.versions: tuple[Resource, ...] = ()
        self.store: Store[Observed] = Store()
        self.reflector: Reflector[Observed] | None = None
        self.absent = False
        """The server was asked and does not know it."""

    @property
    def resource(self) -> Resource:
        """The version that is spoken: the one that is watched, once one is."""
        return self.reflector.resource if self.reflector else self.versions[0]

    def get(self, key: ObjectKey) -> Observed | None:
        """The object of that key as the watch saw it last."""
        return self.store.get((key.namespace, key.name))

    @property
    def resource_version(self) -> int:
        """The state of the server that the store shows; 0 where that is not known."""
        version = self.reflector.resource_version if self.reflector else ""
        return version_number(version)


class Observation:
    """Every watched kind. ``seen`` is called with each object that changed, ``known`` with a kind whose objects are
    all in, or that turned out not to be served.
    """

    def __init__(
        self,
        client: Client,
        resources: Iterable[Resource],
        *,
        label_selector: str,
        decode: Callable[[msgspec.Raw], Observed],
        seen: Callable[[ObjectKey], None],
        known: Callable[[WatchedKind], None],
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._label_selector = label_selector
        self._decode = decode
        self._seen = seen
        self._known = known
        self._rng = rng
        self._kinds: dict[tuple[str, str], WatchedKind] = {}
        for resource in sorted(resources, key=lambda found: version_rank(found.version), reverse=True):
            name = (resource.group, resource.kind)
            if name not in self._kinds:
                self._kinds[name] = self._watched(*name)
            self._kinds[name].versions += (resource,)

    def _watched(self, group: str, name: str) -> WatchedKind:
        kind = WatchedKind(group, name)
        kind.store.subscribe(lambda key, _old, _new: self._seen(ObjectKey(group, name, *key)))
        return kind

    def kind_of(self, key: ObjectKey) -> WatchedKind | None:
        """The kind of that object, if it is watched."""
        return self._kinds.get((key.group, key.kind))

    @property
    def kinds(self) -> tuple[WatchedKind, ...]:
        """Every kind."""
        return tuple(self._kinds.values())

    def __iter__(self) -> Iterator[ObjectKey]:
        for kind in self._kinds.values():
            for key in kind.store:
                yield ObjectKey(kind.group, kind.name, *key)

    def statistics(self) -> dict[str, ReflectorStatistics]:
        """How each kind's list and watch are doing."""
        return {str(kind.resource): kind.reflector.statistics() for kind in self.kinds if kind.reflector is not None}

    async def run(self) -> None:
        """Follow every kind, each as soon as a version of it is served, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while missing := [kind for kind in self.kinds if kind.reflector is None]:
                served = await retry_on_error(
                    lambda: discover(self._client),
                    problem="the API's discovery failed",
                    backoff=Backoff(base=0.2, cap=_DISCOVERY_PERIOD, rng=self._rng),
                )
                for kind in missing:
                    self._resolve(kind, served, tasks)
                await asyncio.sleep(_DISCOVERY_PERIOD * (0.5 + self._rng()))

    def _resolve(self, kind: WatchedKind, served: ServedAPIs, tasks: asyncio.TaskGroup) -> None:
        resource = next((version for version in kind.versions if served.serves(version)), None)
        if resource is not None:
            kind.absent = False
            kind.reflector = Reflector(
                self._client,
                resource,
                Observed,
                kind.store,
                label_selector=self._label_selector,
                decode=self._decode,
                rng=self._rng,
            )
            tasks.create_task(kind.reflector.run())
            tasks.create_task(self._announce(kind))
        elif not kind.absent and not any(failed.startswith(f"{kind.group}/") for failed in served.failed):
            versions = ", ".join(version.version for version in kind.versions)
            # Whether that matters, those say who want such an object.
            _log.info("the API serves no %s.%s (%s); looking again later", kind.name, kind.group, versions)
            kind.absent = True
            self._known(kind)

    async def _announce(self, kind: WatchedKind) -> None:
        await kind.store.wait_synced()
        self._known(kind)
