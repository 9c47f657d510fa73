"""A remote mesh that is nothing but its discovery service, so that a test says what is offered and when."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from meshfed.fds import DiscoveryServer, ExportSet, Subscriber
from meshfed.kube import Manifest
from meshfed.model.offers import Offer
from meshfed.telemetry.metrics import Metrics
from meshfed_sandbox.ports import Ports
from tests.builders import SYSTEM
from tests.controller.meshes import remote_mesh_at


class Remote:
    """One remote: what it offers, and its discovery service while that is up."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self.offers: dict[str, Offer] = {}
        self._exports = ExportSet()
        self._exports.mark_ready()
        self.calls = 0
        """How many streams were begun."""
        self._up = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Come up."""
        server = DiscoveryServer(self._exports, self._admit, Metrics())
        await self._up.enter_async_context(server.listen("127.0.0.1", self.port))

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """Be there while the context lasts."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    def _admit(self, _caller: object) -> Subscriber:
        self.calls += 1
        return Subscriber("anyone", frozenset())

    async def stop(self) -> None:
        """Go away, as in an outage."""
        await self._up.aclose()

    def offer(self, *offers: Offer) -> None:
        """Offer these too, or in place of what was offered under their hosts."""
        for one in offers:
            self.offers[one.host] = one
            self._exports.set(one, None)

    def withdraw(self, *hosts: str) -> None:
        """Offer these no more."""
        for host in hosts:
            del self.offers[host]
            self._exports.remove(host)

    def remote_mesh(self, *, namespace: str = SYSTEM, **spec: Any) -> Manifest:
        """The RemoteMesh that speaks of it."""
        return remote_mesh_at(self.name, self.port, namespace=namespace, **spec)


@asynccontextmanager
async def remotes(*names: str) -> AsyncIterator[list[Remote]]:
    """Remotes that are up, and offer nothing yet."""
    async with contextlib.AsyncExitStack() as stack:
        ports = stack.enter_context(Ports())
        found = [Remote(name, ports.take()) for name in names]
        for remote in found:
            stack.push_async_callback(remote.stop)
            await remote.start()
        yield found
