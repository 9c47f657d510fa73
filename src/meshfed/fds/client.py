"""Follows what one remote mesh exports: connects, reports to a sink, and comes back whatever happens.

The incremental dialect is tried first, on every connection; a service that does not speak it is followed in the
reference's. An outage of any kind is reported and retried, and withdraws nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import ssl
import time
from contextlib import AbstractAsyncContextManager
from typing import Literal, Never, Protocol

import msgspec
from google.protobuf.message import DecodeError

from meshfed.fds._channel import Channel, Target, connect
from meshfed.fds._known import Count, DeltaKnowledge, Diverged, Limits, SotwKnowledge
from meshfed.fds.errors import DiscoveryError, NotReady, ProtocolError, Refused, Unreachable, Unsupported
from meshfed.fds.importers import ALL, Confirming
from meshfed.fds.messages import DELTA_METHOD, DELTA_TYPE, IMPORTED_TYPE, SOTW_METHOD, SOTW_TYPE, Dialect
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.fds.transport import (
    Bounds,
    Call,
    Status,
    StatusError,
    StreamClosed,
    run_until_first_error,
)
from meshfed.fds.updates import Mailbox, Sink, Update
from meshfed.telemetry.logs import LogThrottle
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

_ERRORS: dict[Status, type[DiscoveryError]] = {
    Status.UNIMPLEMENTED: Unsupported,
    Status.PERMISSION_DENIED: Refused,
    Status.UNAUTHENTICATED: Refused,
    Status.UNAVAILABLE: NotReady,
    Status.OK: Unreachable,
    Status.CANCELLED: Unreachable,
    Status.UNKNOWN: Unreachable,
    Status.DEADLINE_EXCEEDED: Unreachable,
}


def _plainly(error: OSError) -> str:
    """What the system calls it, without the addresses and numbers that Python adds."""
    if isinstance(error, ssl.SSLError) or not error.errno or error.errno < 0:
        return error.strerror or str(error)
    return os.strerror(error.errno)


class Dial(Protocol):
    """Opens connections, as ``connect`` does."""

    def __call__(self, target: Target, *, bounds: Bounds, timeout: float) -> AbstractAsyncContextManager[Channel]:
        """Connect to ``target`` while the context is open."""


class Patience(msgspec.Struct, frozen=True):
    """How long a client waits, in seconds.

    ``connect``: for a connection. ``silence``: for the next message, three heartbeats. ``poll``: between requests for
    the whole list in the reference's dialect. ``confirm``: before an empty list is asked for again. ``first`` and
    ``most``: the bounds of the random delay before the next attempt, which doubles from one to the other.
    ``steady``: how long a stream must hold for the next attempt to count as the first again.
    """

    connect: float = 10.0
    silence: float = 90.0
    poll: float = 30.0
    confirm: float = 5.0
    first: float = 1.0
    most: float = 60.0
    steady: float = 30.0


class DiscoveryClient:
    """Follows the remote ``name`` at ``target``, reporting to ``sink``. ``node`` is how we name ourselves, for logs."""

    def __init__(
        self,
        name: str,
        target: Target,
        sink: Sink,
        *,
        metrics: Metrics,
        dialect: Literal["auto", "sotw", "delta"] = "auto",
        node: str = "",
        limits: Limits | None = None,
        bounds: Bounds | None = None,
        patience: Patience | None = None,
        rng: random.Random | None = None,
        dial: Dial = connect,
    ) -> None:
        self._name = name
        self._target = target
        self._sink = sink
        self._metrics = metrics
        self._dialect = dialect
        self._node = node
        self._bounds = bounds or Bounds()
        self._patience = patience or Patience()
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._dial = dial
        self._mailbox = Mailbox()
        count: Count = lambda outcome: metrics.fds_received.labels(remote=name, outcome=outcome).inc()  # noqa: E731
        self._delta = DeltaKnowledge(limits or Limits(), count)
        self._sotw = SotwKnowledge(limits or Limits(), count)
        self.confirming = Confirming()
        """What to tell the remote of what it offers, once it was told to begin; only in the incremental dialect."""
        self._log_throttle = LogThrottle()
        self._heard = 0.0
        self._synced_at: float | None = None
        self._asked_to_confirm = False
        self._hung_up_on_delta = False
        self._sign = asyncio.Event()
        """That the remote is there, since the last attempt began."""

    def statistics(self) -> dict[str, int]:
        """Say how much is known of the remote, and how much waits for the sink."""
        return {"known": len(self._delta) + len(self._sotw)} | self._mailbox.statistics()

    def forget(self) -> None:
        """Rely no more on what was known of the remote: the next stream begins with its whole list."""
        self._delta.forget()

    def try_now(self) -> None:
        """There is a sign of the remote, such as that it came to subscribe here: it is not left to the delay."""
        self._sign.set()

    async def run(self) -> Never:
        """Follow the remote until cancelled. Raises only what the sink raises."""
        await run_until_first_error(self._mailbox.deliver(self._sink), self._attempts())
        raise AssertionError("unreachable: both run for ever")

    async def _attempts(self) -> None:
        failures = 0
        while True:
            self._synced_at = None
            self._sign.clear()
            try:
                await self._attempt()
            except DiscoveryError as error:
                self._lost(error)
            if self._held_steady():
                failures = 0
            ceiling = min(self._patience.most, self._patience.first * 2.0 ** min(failures, 16))
            failures += 1
            await self._rest(self._rng.uniform(0, ceiling))

    async def _rest(self, delay: float) -> None:
        """Wait for the next attempt: for ``first`` in any case, so that signs without end cost no more than that."""
        await asyncio.sleep(min(delay, self._patience.first))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, delay - self._patience.first)):
                await self._sign.wait()

    def _held_steady(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._synced_at is not None and now - self._synced_at >= self._patience.steady

    def _lost(self, error: DiscoveryError) -> None:
        outcome = "disconnected" if self._synced_at is not None else type(error).__name__.lower()
        self._metrics.fds_connects.labels(remote=self._name, outcome=outcome).inc()
        self._metrics.fds_connected.labels(remote=self._name).set(0)
        if isinstance(error, Diverged):
            self._metrics.fds_divergences.labels(remote=self._name).inc()
        # A proxy may end any stream, and Istio's does with all of them when a policy for the service changes.
        if self._held_steady() and isinstance(error, (Unreachable, NotReady)):
            _log.info("the discovery stream ended, and is made anew: %s", error, extra={"remote": self._name})
        else:
            level = logging.WARNING if self._log_throttle.ready(type(error)) else logging.DEBUG
            _log.log(level, "discovery failed: %s", error, extra={"remote": self._name})
        self._mailbox.disconnected(error)

    async def _attempt(self) -> None:
        """Connect and follow until that fails; raises why, a ``DiscoveryError``."""
        where = f"{self._target.host}:{self._target.port}"
        try:
            async with self._dial(self._target, bounds=self._bounds, timeout=self._patience.connect) as channel:
                await self._follow(channel)
        except ssl.SSLCertVerificationError as error:
            raise Refused(f"the certificate of {where} was not accepted: {error}") from error
        except TimeoutError as error:
            raise Unreachable(f"{where} did not answer within {self._patience.connect:g} seconds") from error
        except OSError as error:
            raise Unreachable(f"cannot connect to {where}: {_plainly(error)}") from error
        except StreamClosed as error:
            raise Unreachable(f"the stream from {where} ended: {error}") from error
        except StatusError as error:
            kind = _ERRORS.get(error.status, ProtocolError)
            raise kind(f"{where}: {error}") from error

    async def _follow(self, channel: Channel) -> None:
        hung_up, self._hung_up_on_delta = self._hung_up_on_delta, False
        if self._dialect == "sotw" or hung_up:
            return await self._follow_sotw(channel)
        try:
            await self._follow_delta(channel)
        except StatusError as error:
            if error.status is not Status.UNIMPLEMENTED or self._dialect == "delta":
                raise
            self._delta.forget()
        self._hung_up_on_delta = True  # until we are answered: some services close the connection with their refusal
        return await self._follow_sotw(channel)

    # The incremental dialect.

    async def _follow_delta(self, channel: Channel) -> None:
        async with channel.call(DELTA_METHOD) as call:
            await call.send(self._delta.begin(self._node).SerializeToString())
            self._hear()
            await run_until_first_error(
                self._read_delta(call), self._listen_for_silence(), self.confirming.run(call.send)
            )

    async def _read_delta(self, call: Call) -> None:
        answered = False
        while (data := await call.receive()) is not None:
            if not answered:
                answered = True
                self._mailbox.connected(Dialect.DELTA)
            nonce = ""
            try:
                response = pb.DeltaDiscoveryResponse.FromString(data)
                nonce = response.nonce
                update = await self._delta.receive(response)
                if response.type_url == IMPORTED_TYPE:
                    update = self._asked(response)
            except (DecodeError, ProtocolError) as error:
                why = error if isinstance(error, ProtocolError) else ProtocolError("a response could not be parsed")
                refusal = pb.Status(code=Status.INVALID_ARGUMENT.value, message=str(why))
                with contextlib.suppress(StreamClosed, StatusError):  # the remote need not be there to hear it
                    await self._answer(call, nonce, refusal)
                raise why from error
            self._hear()
            if update is not None:
                self.confirming.offered(update.versions)
                self._mailbox.put(msgspec.structs.replace(update, received=self._heard))
            if self._delta.synced:
                self._note_synced()
            await self._answer(call, nonce)
            del data, response, update  # as long as nothing comes, all that was offered need not be kept here

    def _asked(self, response: pb.DeltaDiscoveryResponse) -> Update | None:
        """Pass on that it was asked what is in place, behind all that came before."""
        if response.system_version_info == ALL:
            return Update(asked=response.nonce, synced=self._delta.synced)
        self.confirming.end()  # with an empty list answers who does not know of it
        return None

    @staticmethod
    async def _answer(call: Call, nonce: str, refusal: pb.Status | None = None) -> None:
        request = pb.DeltaDiscoveryRequest(type_url=DELTA_TYPE, response_nonce=nonce, error_detail=refusal)
        await call.send(request.SerializeToString())

    # The reference's dialect.

    async def _follow_sotw(self, channel: Channel) -> None:
        async with channel.call(SOTW_METHOD) as call:
            self._sotw.begin()
            self._asked_to_confirm = False
            self._hear()
            await self._ask(call)
            doubted = asyncio.Event()
            await run_until_first_error(
                self._read_sotw(call, doubted), self._poll(call, doubted), self._listen_for_silence()
            )

    async def _read_sotw(self, call: Call, doubted: asyncio.Event) -> None:
        answered = False
        while (data := await call.receive()) is not None:
            if not answered:
                answered = True
                self._hung_up_on_delta = False
                self._mailbox.connected(Dialect.SOTW)
            try:
                response = pb.DiscoveryResponse.FromString(data)
            except DecodeError:
                raise ProtocolError("a response could not be parsed") from None
            self._hear()
            update = await self._sotw.receive(response, confirms=self._asked_to_confirm)
            if self._sotw.doubted:
                doubted.set()
            elif response.type_url == SOTW_TYPE:
                doubted.clear()
                self._asked_to_confirm = False
            if update is not None:
                self._mailbox.put(msgspec.structs.replace(update, received=self._heard))
            if self._sotw.synced:
                self._note_synced()
            del data, response, update

    async def _poll(self, call: Call, doubted: asyncio.Event) -> None:
        """Ask for the list now and then, since proxies cut quiet streams, and soon where it came empty."""
        while True:
            try:
                async with asyncio.timeout(self._rng.uniform(0.8, 1.2) * self._patience.poll):
                    await doubted.wait()
            except TimeoutError:
                await self._ask(call)
                continue
            await asyncio.sleep(self._patience.confirm)
            if doubted.is_set():
                doubted.clear()
                self._asked_to_confirm = True
                await self._ask(call)

    @staticmethod
    async def _ask(call: Call) -> None:
        # What the reference's own client sends: no node, no version, and the time for a nonce.
        await call.send(pb.DiscoveryRequest(type_url=SOTW_TYPE, response_nonce=time.ctime()).SerializeToString())

    # Both.

    def _hear(self) -> None:
        self._heard = asyncio.get_running_loop().time()
        self._metrics.fds_last_message.labels(remote=self._name).set_to_current_time()

    def _note_synced(self) -> None:
        if self._synced_at is None:
            self._synced_at = asyncio.get_running_loop().time()
            self._metrics.fds_connected.labels(remote=self._name).set(1)
            self._metrics.fds_connects.labels(remote=self._name, outcome="synced").inc()

    async def _listen_for_silence(self) -> None:
        loop = asyncio.get_running_loop()
        while (left := self._heard + self._patience.silence - loop.time()) > 0:  # noqa: ASYNC110 - for time to pass
            await asyncio.sleep(max(left, 0.01))  # what is left may be less than the clock can tell apart
        raise Unreachable(f"nothing was heard from {self._name} for {self._patience.silence:g} seconds")
