"""The discovery service: tells remote meshes what this one exports, in both dialects.

A stream is a reader, which takes what the subscriber says, and a writer, which sends what changed since the stream's
position in the export set. The writer sends one chunk at a time and makes each when the last is on its way, so a slow
subscriber gets the latest state, late, and holds up nobody.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from meshfed.fds import identity
from meshfed.fds._listener import Listener, ServerCall
from meshfed.fds._streams import DeltaStream, SotwStream, StreamContext, StreamTiming
from meshfed.fds.exports import ExportSet, Subscriber
from meshfed.fds.importers import Importers
from meshfed.fds.messages import DELTA_METHOD, SOTW_METHOD, Dialect
from meshfed.fds.transport import Bounds, Call, Status, StatusError, StreamClosed, run_until_first_error
from meshfed.model.identity import SpiffeID
from meshfed.telemetry.logs import LogThrottle
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
_STREAMS_EACH: Final = 32  # of one remote, so that none takes the places of the others

Authorize = Callable[[SpiffeID | None], Subscriber | None]
"""Says whom an identity (``None``: the caller has none) subscribes as; ``None``: it is refused."""


class _Open(msgspec.Struct, eq=False):
    """A stream that is being served, and what `reevaluate` compares."""

    identity: SpiffeID | None
    subscriber: Subscriber
    stream: SotwStream | DeltaStream
    ended: asyncio.Future[StatusError]


class DiscoveryServer:
    """Serves an ``ExportSet`` to whom ``authorize`` admits.

    ``trusted_proxies``: CIDRs whose ``x-forwarded-client-cert`` is believed. ``bundles``: with TLS terminated here, the
    roots of each trust domain. Nothing is sent before the export set is ready: subscribers get UNAVAILABLE.
    ``subscribers_changed`` is called whenever what ``subscriptions`` returns may be another.
    """

    def __init__(
        self,
        exports: ExportSet,
        authorize: Authorize,
        metrics: Metrics,
        *,
        trusted_proxies: identity.TrustedProxies | None = None,
        bundles: identity.Bundles | None = None,
        bounds: Bounds | None = None,
        timing: StreamTiming | None = None,
        connections: int = 256,
        streams: int = 1000,
        rng: random.Random | None = None,
        subscribers_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._exports = exports
        self._authorize = authorize
        self._proxies = trusted_proxies or identity.TrustedProxies()
        self._bundles = bundles or {}
        self.importers = Importers(exports, metrics)
        """What subscribers say that they have in place."""
        self._service = StreamContext(
            exports=exports,
            importers=self.importers,
            metrics=metrics,
            timing=timing or StreamTiming(),
            rng=rng or random.Random(),  # noqa: S311 - jitter
            log_throttle=LogThrottle(),
            subscribers_changed=subscribers_changed,
        )
        self._open: set[_Open] = set()
        self._listener = Listener(
            {SOTW_METHOD: self._sotw, DELTA_METHOD: self._delta},
            bounds=bounds or Bounds(message=4 * 1024 * 1024),
            connections=connections,
            calls=streams,
            refused=lambda why: metrics.fds_refused.labels(reason=why).inc(),
        )

    @asynccontextmanager
    async def listen(self, host: str | None, port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
        """Serve while the context is open, which is given the port (of use where ``port`` is 0).

        ``host`` ``None``: every interface. ``tls``: a context that requires client certificates; needs ``bundles``.
        Raises ``OSError`` where the address cannot be bound.
        """
        async with self._listener.listen(host, port, tls=tls) as bound:
            yield bound

    def statistics(self) -> dict[str, int]:
        """Say how full what is bounded is, and how many streams of each dialect there are."""
        counts = {dialect.value: 0 for dialect in Dialect}
        for one in self._open:
            counts[one.stream.dialect] += 1
        return self._listener.statistics() | counts | {"exports": len(self._exports)}

    def subscriptions(self) -> Iterator[tuple[Subscriber, Dialect]]:
        """Yield who subscribes by each stream, and in which dialect; a stream by which nobody has asked is none."""
        for one in self._open:
            if one.stream.subscribes:
                yield one.subscriber, one.stream.dialect

    def reevaluate(self) -> None:
        """Ask again whom each stream's identity subscribes as, and end the streams for which that has changed.

        To be called when a remote, an identity or what a remote may see has changed, other than by
        ``ExportSet.set``. A client whose stream ends so subscribes anew.
        """
        for stream in self._open:
            if stream.ended.done():
                continue
            subscriber = self._authorize(stream.identity)
            if subscriber is None:
                stream.ended.set_result(self._refusal(stream.identity))
            elif subscriber != stream.subscriber:
                stream.ended.set_result(StatusError(Status.UNAVAILABLE, "what you may see has changed: subscribe anew"))

    async def _sotw(self, call: ServerCall) -> None:
        await self._serve(call, SotwStream)

    async def _delta(self, call: ServerCall) -> None:
        await self._serve(call, DeltaStream)

    def _identity(self, call: Call) -> SpiffeID | None:
        if call.tls is not None:
            return identity.from_tls(call.tls, self._bundles)
        header = call.headers.get(identity.XFCC)
        if header is None or call.peer_address not in self._proxies:
            return None
        return identity.from_header(header)

    def _admit(self, call: Call) -> tuple[SpiffeID | None, Subscriber]:
        caller = self._identity(call)
        subscriber = self._authorize(caller)
        if subscriber is None:
            refusal = self._refusal(caller)
            self._service.metrics.fds_refused.labels(reason="identity").inc()
            if self._service.log_throttle.ready(caller or call.peer_address):
                _log.warning("refused a discovery subscriber: %s", refusal.message, extra={"peer": call.peer_address})
            raise refusal
        streams = sum(1 for stream in self._open if stream.subscriber == subscriber)
        if subscriber.remotes and streams >= _STREAMS_EACH:
            self._service.metrics.fds_refused.labels(reason="streams").inc()
            raise StatusError(Status.RESOURCE_EXHAUSTED, f"{subscriber.name} has {streams} streams, which is the limit")
        if not self._exports.ready:
            self._service.metrics.fds_refused.labels(reason="not-ready").inc()
            raise StatusError(Status.UNAVAILABLE, "the list of exported services is not complete yet: try again soon")
        return caller, subscriber

    @staticmethod
    def _refusal(caller: SpiffeID | None) -> StatusError:
        if caller is None:
            return StatusError(
                Status.PERMISSION_DENIED,
                "the connection proves no SPIFFE identity: call through a sidecar of your mesh, or with a certificate",
            )
        return StatusError(Status.PERMISSION_DENIED, f"no RemoteMesh here has the identity {caller}")

    async def _serve(self, call: ServerCall, make: type[SotwStream] | type[DeltaStream]) -> None:
        caller, subscriber = self._admit(call)
        call.admit()
        ended: asyncio.Future[StatusError] = asyncio.get_running_loop().create_future()
        stream = make(call, subscriber, self._service)
        record = _Open(identity=caller, subscriber=subscriber, stream=stream, ended=ended)
        gauge = self._service.metrics.fds_subscribers.labels(dialect=stream.dialect.value)
        level = logging.INFO if self._service.log_throttle.ready((subscriber.name, stream.dialect)) else logging.DEBUG
        fields = {"subscriber": subscriber.name, "dialect": stream.dialect.value, "peer": call.peer_address}
        self._open.add(record)
        gauge.inc()
        _log.log(level, "a discovery subscriber came", extra=fields)
        try:
            await run_until_first_error(stream.read(), stream.write(), _raise_when(ended))
        except (StreamClosed, StatusError) as error:
            _log.log(level, "a discovery subscriber left: %s", error, extra=fields)
            raise
        finally:
            stream.close()
            self._open.discard(record)
            if stream.subscribes:
                self._service.subscribers_changed()
            gauge.dec()


async def _raise_when(ended: asyncio.Future[StatusError]) -> None:
    raise await ended
