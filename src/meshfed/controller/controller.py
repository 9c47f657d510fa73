"""The controller: one mesh's part in the federation, from its watches to its writes.

A change comes in through a watch and goes to the planner, which says which keys it touches. Each key is worked out
from current state, and its outputs go three ways: objects to the engine, which makes the cluster equal to them; the
export, if any, to the discovery server; statuses to the status writer. What remotes say comes in through their
sessions, which want FederatedServices and nothing else. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from meshfed.controller.adoption import drop_records, replace_definitions
from meshfed.controller.cluster import Served, wait_until_served
from meshfed.controller.federating import Federating
from meshfed.controller.options import Options
from meshfed.controller.publisher import Publisher
from meshfed.controller.resolver import Lookup, system_lookup
from meshfed.controller.serving import health_app, metrics_app, served
from meshfed.kube import Client, KubeError
from meshfed.plan import Planner, Settings
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)


def utc_now() -> str:
    """The time as Kubernetes writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Controller:
    """One mesh's controller: ``run`` does everything, and leaves nothing running behind when it is cancelled."""

    def __init__(
        self,
        client: Client,
        options: Options,
        metrics: Metrics,
        *,
        stamp: Callable[[], str] = utc_now,
        lookup: Lookup = system_lookup,
    ) -> None:
        self._client = client
        self._options = options
        self._metrics = metrics
        self._stamp = stamp
        self._lookup = lookup
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
        dirty = asyncio.Event()
        settings = Settings(
            namespace=options.namespace, metrics_port=options.metrics.port, health_port=options.health.port
        )
        planner = Planner(settings, on_dirty=lambda _key: dirty.set())
        publisher = Publisher(planner, options, self._metrics)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(served(metrics_app(self._metrics), options.metrics))
            await stack.enter_async_context(served(health_app(lambda: self._complaint), options.health))
            await stack.enter_async_context(publisher.listening())
            adopts = options.adopt_reference
            found = await wait_until_served(
                self._client, self._complain, define=replace_definitions if adopts else None
            )
            if adopts:
                await self._drop_records(found)
            await Federating(
                client=self._client,
                options=options,
                metrics=self._metrics,
                planner=planner,
                publisher=publisher,
                found=found,
                dirty=dirty,
                stamp=self._stamp,
                lookup=self._lookup,
                complain=self._complain,
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
        if complaint is None and self._complaint is not None:
            _log.info("ready")
        self._complaint = complaint
