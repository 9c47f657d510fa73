"""How `meshfed bench` sees what comes and goes: one list, then one watch, of the same client as the controllers have.

The measured rounds and their floor end by the same watch, so what a server takes to tell of a change is in both.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from meshfed.cli.exits import NotHeld
from meshfed.kube import Client, KubeError, Resource

_WATCH_SECONDS: Final = 1800


class _Labelled(msgspec.Struct, rename="camel"):
    # Nothing is required, since a bookmark's object has a resourceVersion alone.
    name: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}


class _Some(msgspec.Struct):
    metadata: _Labelled


_decode: Final = msgspec.json.Decoder(_Some).decode


class Presence:
    """The names of the objects of one kind in one namespace, kept up by a watch while ``run`` runs.

    ``counts`` says by the labels of an object whether it is one of those that count. ``came`` is called at once with
    the name of each that comes.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str,
        *,
        counts: Callable[[dict[str, str]], bool] = lambda _labels: True,
        came: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self.names: set[str] = set()
        """Those that are there."""
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._counts = counts
        self._came = came
        self._version = ""
        self._awaited: set[str] = set()
        self._there = True
        self._all: asyncio.Future[None] | None = None

    async def begin(self) -> None:
        """See what is there; raises ``KubeError``."""
        async for page in self._client.pages(self._resource, namespace=self._namespace):
            for item in page.items:
                found = _decode(item).metadata
                if self._counts(found.labels):
                    self.names.add(found.name)
            self._version = page.resource_version

    async def run(self) -> None:
        """Follow what comes and goes; raises ``NotHeld`` where the watch breaks off, since a round is spoilt then."""
        try:
            while True:
                watching = self._client.watch(
                    self._resource,
                    resource_version=self._version,
                    timeout_seconds=_WATCH_SECONDS,
                    namespace=self._namespace,
                )
                async with contextlib.aclosing(watching) as events:
                    async for event in events:
                        self._take(event.type, _decode(event.object).metadata)
        except KubeError as error:
            raise NotHeld(f"the watch that the times are taken by broke off: {error}") from error

    def _take(self, type_: str, found: _Labelled) -> None:
        self._version = found.resource_version
        if type_ == "BOOKMARK":
            return
        name, there = found.name, type_ != "DELETED" and self._counts(found.labels)
        if there == (name in self.names):
            return
        if there:
            self.names.add(name)
            self._came(name)
        else:
            self.names.discard(name)
        if there == self._there and self._all is not None:
            self._awaited.discard(name)
            if not self._awaited and not self._all.done():
                self._all.set_result(None)

    @asynccontextmanager
    async def until(self, names: Iterable[str], *, there: bool, within: float, what: str) -> AsyncIterator[None]:
        """Do what the context does, then wait until all of ``names`` are there, or none of them.

        One at a time. Raises ``NotHeld``, which says what was waited for, where that takes longer than ``within``
        seconds.
        """
        wanted = set(names)
        self._there = there
        self._awaited = wanted - self.names if there else wanted & self.names
        self._all = asyncio.get_running_loop().create_future()
        if not self._awaited:
            self._all.set_result(None)
        try:
            yield
            async with asyncio.timeout(within):
                await self._all
        except TimeoutError as error:
            left = (
                f"; {len(self._awaited)} of {len(wanted)} left, such as {min(self._awaited)}" if self._awaited else ""
            )
            raise NotHeld(f"{what}: not within {within:g} s{left}") from error
        finally:
            self._all = None
