"""What remotes say of our exports, as it is asked for and as it is told on: a page of it, counts, who loses what."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from meshfed.fds import DiscoveryServer, ExportSet, Importer
from meshfed.kube import micro_time_now
from meshfed.model.importers import PAGE, Echo, ImportersPage, LastInPlace, RemoteImports
from meshfed.plan import ExportKey
from meshfed.plan.replicas import Withdrawn
from meshfed.telemetry.logs import LogThrottle
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

TOLD_SECONDS: Final = 60.0
"""For how long a withdrawal is told to who leads."""
_MOST: Final = 64
"""Withdrawals that are told at a time."""


class Importing:
    """What the remotes that subscribe here say that they import of ``exports``.

    ``changed`` is called where ``withdrawn`` returns more than before.
    """

    def __init__(
        self, server: DiscoveryServer, exports: ExportSet, metrics: Metrics, changed: Callable[[], None]
    ) -> None:
        self._server = server
        self._exports = exports
        self._metrics = metrics
        self._changed = changed
        self._withdrawn: dict[Withdrawn, float] = {}
        """By withdrawal, when it came."""
        self._requests: dict[str, str] = {}
        """By remote, upon which request it was asked last."""
        self._throttle = LogThrottle()

    # --- as it is asked for

    def page(self, *, host: str = "", after: str = "", whole: bool = False) -> ImportersPage:
        """Return what remotes say, and of one ``host``, or of the ``whole`` list from ``after`` on, who imports it."""
        said = self._server.importers.all()
        subscribing = {remote for subscriber, _ in self._server.subscriptions() for remote in subscriber.remotes}
        remotes = {name: self._of(said.get(name)) for name in sorted({*subscribing, *said})}
        hosts = [host] if host and not whole else []
        if whole:
            hosts = heapq.nsmallest(PAGE + 1, (one for one in self._exports.hosts() if one > after))
        page = ImportersPage(remotes, self._hosts(hosts[:PAGE], said), hosts[PAGE - 1] if len(hosts) > PAGE else "")
        if after or host:
            return page  # who asks for more has had it, or asks for one host alone
        return msgspec.structs.replace(
            page,
            imports_took=self._metrics.imports_took.seen(_now()),
            exports_took=self._metrics.exports_took.seen(_now()),
        )

    def _hosts(self, hosts: Iterable[str], said: Mapping[str, Importer]) -> dict[str, dict[str, bool]]:
        found = {}
        for host in hosts:
            entry = self._exports.get(host)
            found[host] = {
                remote: entry is not None and importer.version(host) == entry.version
                for remote, importer in sorted(said.items())
                if importer.version(host) is not None
            }
        return found

    def _of(self, importer: Importer | None) -> RemoteImports:
        if importer is None:
            return RemoteImports()
        now, imports, outdated, since = _now(), 0, 0, list[float]()
        for host, version in importer.imported():
            imports += 1
            entry = self._exports.get(host)
            if entry is not None and entry.version != version and entry.visible(frozenset((importer.remote,))):
                outdated += 1
                since += [entry.since] if entry.since is not None else []
        last, echoed = importer.last, importer.echoed
        return RemoteImports(
            says=True,
            whole=importer.whole,
            imports=imports,
            outdated=outdated,
            waiting=now - min(since) if since else None,
            last=LastInPlace(last.host, last.seconds, now - last.at) if last is not None else None,
            echo=Echo(echoed.seconds, now - echoed.at) if echoed is not None else None,
        )

    def ask(self, remote: str, request: str) -> None:
        """Ask a remote to say when it has worked out all that it was sent, upon another request than before."""
        if self._requests.get(remote, "") == request:
            return
        self._requests.pop(remote, None)
        importer = self._server.importers.all().get(remote)
        if request:
            self._requests[remote] = request
            if importer is not None:
                importer.ask()

    # --- as it is told on

    def counts(self) -> dict[str, int]:
        """Return, by remote, how many of our hosts it says that it has in place; none of those that say nothing."""
        said = self._server.importers.all().items()
        return {remote: sum(1 for _ in importer.imported()) for remote, importer in said if importer.whole}

    def withdraw(self, key: ExportKey, host: str, audience: frozenset[str] = frozenset()) -> None:
        """A host is about to be offered to ``audience`` alone, and no more to others, who may have it in place."""
        entry = self._exports.get(host)
        if entry is None:
            return
        remotes = tuple(
            remote
            for remote in self._server.importers.of(host)
            if remote not in audience and entry.visible(frozenset((remote,)))
        )
        if not remotes:
            return
        if len(self.withdrawn()) >= _MOST:
            if self._throttle.ready("withdrawn"):
                _log.warning(
                    "more than %d exports were withdrawn within a minute that remotes have in place: there is no Event "
                    "on all of them, such as %s/%s, which %s imports",
                    _MOST,
                    key.namespace,
                    key.name,
                    ", ".join(remotes),
                )
            return
        self._withdrawn[Withdrawn(key.namespace, key.name, host, remotes, micro_time_now())] = _now()
        self._changed()

    def withdrawn(self) -> tuple[Withdrawn, ...]:
        """Return what was withdrawn lately from remotes that have it in place."""
        while self._withdrawn and next(iter(self._withdrawn.values())) + TOLD_SECONDS <= _now():
            del self._withdrawn[next(iter(self._withdrawn))]
        return tuple(self._withdrawn)


def _now() -> float:
    return asyncio.get_running_loop().time()
