"""The controller: one mesh's part in the federation, from its watches to its writes.

A change comes in through a watch and goes to the planner, which says which keys it touches. Each key is worked out
from current state, and its outputs go three ways: objects to the engine, which makes the cluster equal to them; the
export, if any, to the discovery server; statuses to the status writer. What remotes say comes in through their
sessions, which want FederatedServices and nothing else. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from meshfed.controller.adoption import drop_records
from meshfed.controller.cluster import Lacking, Served, wait_until_served
from meshfed.controller.definitions import Refused, bring_up
from meshfed.controller.federating import Federating
from meshfed.controller.options import Options
from meshfed.controller.publisher import Publisher
from meshfed.controller.resolver import Lookup, system_lookup
from meshfed.controller.serving import health_app, metrics_app, served
from meshfed.kube import Client, Elector, KubeError, time_now
from meshfed.plan import Planner, Settings
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)


class Controller:
    """One mesh's controller: ``run`` does everything, and leaves nothing running behind when it is cancelled."""

    def __init__(
        self,
        client: Client,
        options: Options,
        metrics: Metrics,
        *,
        stamp: Callable[[], str] = time_now,
        lookup: Lookup = system_lookup,
        elector: Elector | None = None,
    ) -> None:
        """``elector`` where several of these run for one mesh; it should have a client of its own."""
        self._client = client
        self._options = options
        self._metrics = metrics
        self._stamp = stamp
        self._lookup = lookup
        self._elector = elector
        self._complaint: str | None = "starting"

    @property
    def complaint(self) -> str | None:
        """Why the controller is not ready; ``None`` where it is."""
        return self._complaint

    async def run(self) -> None:
        """Federate until cancelled.

        Raises:
            OSError: an address to listen on cannot be bound.
        """
        options = self._options
        if options.allow_unauthenticated_peers:
            _log.warning(
                "--allow-unauthenticated-peers: whoever reaches %s is told every export that has no audience; "
                "this is for trials on loopback only",
                options.discovery,
            )
        publisher = Publisher(options, self._metrics)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(served(metrics_app(self._metrics), options.metrics))
            await stack.enter_async_context(served(health_app(lambda: self._complaint), options.health))
            await stack.enter_async_context(publisher.listening())
            adopts = options.adopt_reference
            found = await wait_until_served(self._client, self._complain, define=_define if adopts else None)
            if adopts:
                await self._drop_records(found)
            if self._elector is None:
                self._metrics.leader.set(1)
                await self._term(self._client, found, publisher, leading=True)
            else:
                await self._terms(self._elector, found, publisher)

    async def _terms(self, elector: Elector, found: Served, publisher: Publisher) -> None:
        """Follow until elected, lead until that is lost, and so on; lets go of the lease in the end."""
        following, leading = self._client.fenced(lambda: False), self._client.fenced(lambda: elector.leading)
        try:
            while True:
                async with _meanwhile(self._term(following, found, publisher, leading=False)):
                    await elector.acquire()
                self._metrics.leader.set(1)
                try:
                    async with _meanwhile(self._term(leading, found, publisher, leading=True)):
                        await elector.hold()
                finally:
                    self._metrics.leader.set(0)
                    self._metrics.forget_remotes()
        finally:
            await elector.release()

    async def _term(self, client: Client, found: Served, publisher: Publisher, *, leading: bool) -> None:
        options, dirty = self._options, asyncio.Event()
        settings = Settings(
            namespace=options.namespace, metrics_port=options.metrics.port, health_port=options.health.port
        )
        await Federating(
            client=client,
            options=options,
            metrics=self._metrics,
            planner=Planner(settings, on_dirty=lambda _key: dirty.set()),
            publisher=publisher,
            found=found,
            dirty=dirty,
            stamp=self._stamp,
            lookup=self._lookup,
            complain=self._complain,
            leading=leading,
        ).run()

    async def _drop_records(self, found: Served) -> None:
        while True:
            try:
                await drop_records(self._client, found, self._options.namespace)
            except KubeError as error:
                _log.warning("cannot remove the reference's FederatedServices, again in 2 s: %s", error)
                self._complain(f"cannot remove the reference's FederatedServices: {error}")
                await asyncio.sleep(2.0)
            else:
                return

    def _complain(self, complaint: str | None) -> None:
        if self._complaint is None:
            return  # a later term has yet to find its feet, while subscribers hear what the earlier ones worked out
        if complaint is None:
            _log.info("ready")
        self._complaint = complaint


async def _define(client: Client) -> None:
    """Put our CRDs in place of those that lack what our objects need. ``Lacking`` where they must not be."""
    try:
        for name, said in await bring_up(client, adopt=True):
            _log.info("the CRD %s: %s", name, said)
    except Refused as error:
        raise Lacking(str(error)) from error


@asynccontextmanager
async def _meanwhile(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have ``work`` done while the context lasts, and not a moment longer; its failure ends the context."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work)
        try:
            yield
        finally:
            task.cancel()
