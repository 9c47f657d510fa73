"""What this mesh tells its subscribers, and who may be one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from meshfed.controller.options import Options
from meshfed.controller.remotes.importing import Importing
from meshfed.fds import Dialect, DiscoveryServer, ExportSet, Subscriber, TrustedProxies
from meshfed.model.identity import SpiffeID
from meshfed.plan import ExportKey, Planner, Published
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

_ANONYMOUS: Final = Subscriber("anonymous", frozenset())


class Publisher:
    """The exports of this mesh as its discovery service offers them."""

    def __init__(self, options: Options, metrics: Metrics) -> None:
        self._planner: Planner | None = None
        self._options = options
        self._metrics = metrics
        self._exports = ExportSet()
        self._hosts: dict[ExportKey, str] = {}
        self._owners: dict[str, ExportKey] = {}
        self._stale: set[ExportKey] = set()
        self._kept_back: dict[ExportKey, Published] = {}
        """What is exported under hosts of others of which it is not known yet whether they still are."""
        self.subscribers_changed = asyncio.Event()
        """Set whenever another remote subscribes, or something was withdrawn from one that has it in place.

        Whoever has looked clears it.
        """
        self._server = DiscoveryServer(
            self._exports,
            self._authorize,
            metrics,
            trusted_proxies=TrustedProxies(options.trusted_proxies),
            subscribers_changed=self.subscribers_changed.set,
        )
        self.importing = Importing(self._server, self._exports, metrics, self.subscribers_changed.set)
        """Who says that they import what of this."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Serve while the context lasts; subscribers wait until ``ready``.

        Raises:
            OSError: the address cannot be bound.
        """
        address = self._options.discovery
        async with self._server.listen(address.host or None, address.port) as port:
            _log.info("serving discovery on port %d", port)
            yield

    def begin(self, planner: Planner) -> None:
        """``planner`` begins to work everything out; until it is ``ready`` subscribers hear what held before."""
        self._stale = set(self._hosts)
        if not self._exports.ready:
            self._planner = planner

    def publish(self, key: ExportKey, published: Published | None, *, since: float | None = None) -> None:
        """Offer what ``key`` exports now, and no more what it exported before.

        ``since``: when the change began that this follows from, by the loop's clock.
        """
        self._stale.discard(key)
        self._kept_back.pop(key, None)
        before = self._hosts.pop(key, None)
        if published is not None:
            host = published.offer.host
            if self._owners.get(host, key) != key and self._owners[host] in self._stale:
                self._kept_back[key] = published
            else:
                if published.audience is not None:
                    self.importing.withdraw(key, host, published.audience)
                self._exports.set(published.offer, published.audience, since=since)
                self._hosts[key] = host
                self._owners[host] = key
        if before is not None and self._owners.get(before) == key and before != self._hosts.get(key):
            del self._owners[before]
            waiting = [one for one, other in self._kept_back.items() if other.offer.host == before]
            if waiting:
                self.publish(waiting[0], self._kept_back[waiting[0]])
            else:
                self.importing.withdraw(key, before)
                self._exports.remove(before, since=since)
        self._metrics.exported_services.set(len(self._hosts))

    def ready(self, planner: Planner) -> None:
        """Everything that ``planner`` exports was published: subscribers may be told, and told what is no more."""
        self._planner = planner
        for key in tuple(self._stale):
            self.publish(key, None)
        self._exports.mark_ready()
        self.reevaluate()

    def reevaluate(self) -> None:
        """Remotes or their identities changed: look again at who subscribes."""
        self._server.reevaluate()

    def subscribers(self) -> dict[str, Dialect]:
        """Return, by the name of its RemoteMesh, each remote whose controller subscribes here, and in which dialect.

        Several that share an identity cannot be told apart: each of them counts.
        """
        found: dict[str, Dialect] = {}
        for subscriber, dialect in self._server.subscriptions():
            for remote in subscriber.remotes:
                if found.get(remote) is not Dialect.DELTA:
                    found[remote] = dialect
        return found

    def _authorize(self, identity: SpiffeID | None) -> Subscriber | None:
        planner = self._planner
        remotes = planner.remotes_with_identity(identity) if planner is not None and identity is not None else ()
        if remotes:
            return Subscriber("+".join(remotes), frozenset(remotes))
        return _ANONYMOUS if self._options.allow_unauthenticated_peers else None
