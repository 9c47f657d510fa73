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
from typing import Any, Final

from meshfed.controller.environment import Environment
from meshfed.controller.faults import A_TERM, Faults
from meshfed.controller.feed import TermEnded
from meshfed.controller.garbage import thaw
from meshfed.controller.migration.adoption import drop_records
from meshfed.controller.options import Options
from meshfed.controller.remotes.publisher import Publisher
from meshfed.controller.remotes.resolver import Lookup, system_lookup
from meshfed.controller.replicas.own_lease import OwnLease
from meshfed.controller.serving import health_app, metrics_app, served
from meshfed.controller.startup.definitions import CRDRefused, bring_up
from meshfed.controller.term import Term
from meshfed.controller.watches import Lacking, Served, wait_until_served
from meshfed.kube import Backoff, Client, Elector, process_identity, retry_on_error, time_now
from meshfed.probe import Shake, handshake
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

TERM_PAUSE: Final = (0.5, 30.0)
"""Bounds, in seconds, of the pause after a term that a fault of ours ended; it grows until one holds for longer."""


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
        shake: Shake = handshake,
        elector: Elector | None = None,
    ) -> None:
        """``elector`` where several of these run for one mesh; it should have a client of its own."""
        self._client = client
        self._options = options
        self._metrics = metrics
        self._stamp = stamp
        self._lookup = lookup
        self._shake = shake
        self._elector = elector
        self._identity = elector.identity if elector is not None else process_identity()
        self._faults = Faults(metrics)
        self._ready = False
        self._reason: str | None = "starting"

    @property
    def not_ready_reason(self) -> str | None:
        """Why the controller is not ready; ``None`` where it is, as it stays from then on: see `readiness`."""
        return None if self._ready else self.trouble

    @property
    def trouble(self) -> str | None:
        """What is waited for or in disorder just now, in words; ``None`` where all is well."""
        return "; ".join(filter(None, (self._reason, self._faults.said))) or None

    def readiness(self) -> tuple[bool, str]:
        """Whether subscribers can be served, and what is to be said of it.

        A controller that was ready once stays so, also where a later term has yet to find its feet or something is in
        disorder: subscribers hear what was worked out before, and without it they would hear nothing.
        """
        if not self._ready:
            return False, self.trouble or "starting"
        return True, "ok" if self.trouble is None else f"ok, but: {self.trouble}"

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
        self._metrics.exports_took.begin(asyncio.get_running_loop().time())
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(served(metrics_app(self._metrics, publisher.importing), options.metrics))
            await stack.enter_async_context(served(health_app(self.readiness), options.health))
            await stack.enter_async_context(publisher.listening())
            await stack.enter_async_context(self._own_lease(publisher).kept())
            adopts = options.adopt_reference
            found = await wait_until_served(self._client, self._not_ready, define=_define if adopts else None)
            if adopts:
                await retry_on_error(
                    lambda: drop_records(self._client, found, options.namespace),
                    problem="cannot remove the reference's FederatedServices",
                    not_ready=self._not_ready,
                )
            if self._elector is None:
                self._metrics.leader.set(1)
                await self._term(self._client, found, publisher, leading=True)
            else:
                await self._terms(self._elector, found, publisher)

    def _own_lease(self, publisher: Publisher) -> OwnLease:
        return OwnLease(
            self._client,
            namespace=self._options.namespace,
            identity=self._identity,
            subscribers=publisher.subscribers,
            changed=publisher.subscribers_changed,
            imports=publisher.importing.counts,
            withdrawn=publisher.importing.withdrawn,
            faults=self._faults,
            stamp=self._stamp,
        )

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
        finally:
            await elector.release()

    async def _term(self, client: Client, found: Served, publisher: Publisher, *, leading: bool) -> None:
        """Federate until cancelled, one term after the other: a fault of ours may end one, and nothing goes for it."""
        backoff = Backoff(base=TERM_PAUSE[0], cap=TERM_PAUSE[1])
        loop = asyncio.get_running_loop()
        while True:
            began, aside = loop.time(), len(self._faults.aside())
            try:
                await self._federate(client, found, publisher, leading=leading)
            except Exception as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError from error
                rest = error.split(TermEnded)[1] if isinstance(error, ExceptionGroup) else error
                if rest is not None:
                    self._faults.caught(A_TERM, rest)
                _log.warning("everything is listed and worked out anew, and until then nothing is written")
                self._not_ready("beginning anew")
            if loop.time() - began >= TERM_PAUSE[1] or len(self._faults.aside()) > aside:
                backoff.reset()  # it held, or the next one begins without what was at fault in this one
            await asyncio.sleep(backoff.next())

    async def _federate(self, client: Client, found: Served, publisher: Publisher, *, leading: bool) -> None:
        environment = Environment(
            identity=self._identity,
            options=self._options,
            metrics=self._metrics,
            faults=self._faults,
            publisher=publisher,
            stamp=self._stamp,
            lookup=self._lookup,
            shake=self._shake,
            not_ready=self._not_ready,
        )
        self._faults.begin()
        try:
            await Term(environment, client, found, leading=leading).run()
        finally:
            # The next term does not hear of a RemoteMesh that goes between the two.
            self._metrics.forget_remotes()
            thaw()  # all that this one remembered

    def _not_ready(self, reason: str | None) -> None:
        self._reason = reason
        if reason is None:
            self._faults.over(A_TERM)
        if reason is None and not self._ready:
            self._ready = True
            _log.info("ready")


async def _define(client: Client) -> None:
    """Put our CRDs in place of those that lack what our objects need. ``Lacking`` where they must not be."""
    try:
        for name, said in await bring_up(client, adopt=True):
            _log.info("the CRD %s: %s", name, said)
    except CRDRefused as error:
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
