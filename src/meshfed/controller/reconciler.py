"""The keys that wait, worked out one after the other: turn by turn, and again after a fault."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from meshfed.controller.faults import Faults, described
from meshfed.controller.feed import Feed
from meshfed.plan import Key, Outputs, Planner
from meshfed.telemetry.metrics import Metrics


class Reconciler:
    """Works out what ``planner`` marks, and passes the outputs to ``send``, with whose turn it was.

    ``dirty`` is set whenever a key is marked. Once ``feed`` is over nothing is worked out any more. In
    ``failing`` stands which keys could not be worked out, which is a fault of ours, and why.
    """

    def __init__(
        self,
        planner: Planner,
        send: Callable[[Key, Outputs, str], None],
        *,
        failing: dict[Key, str],
        feed: Feed,
        dirty: asyncio.Event,
        faults: Faults,
        metrics: Metrics,
    ) -> None:
        self._planner = planner
        self._send = send
        self._feed = feed
        self._dirty = dirty
        self._faults = faults
        self._metrics = metrics
        self._under_way = False
        self._recovered = False
        self._failing = failing

    @property
    def is_done(self) -> bool:
        """Whether nothing waits to be worked out."""
        return not (self._dirty.is_set() or self._under_way)

    def recovered(self) -> bool:
        """Return whether a key, since the last call, could be worked out that could not before."""
        recovered, self._recovered = self._recovered, False
        return recovered

    async def all(self) -> None:
        """Work out everything that waits."""
        self._under_way = True
        try:
            while not self._feed.is_over and (turn := self._planner.take_dirty()):
                for key in turn.keys:
                    self._one(key, turn.flow)
                self._metrics.queue_depth.set(self._planner.waiting)
                await asyncio.sleep(0)  # for everything else the process has to do
        finally:
            self._under_way = False

    async def keep_up(self, done: Callable[[], None]) -> None:
        """Work out whatever comes, until cancelled; ``done`` is called each time that nothing waits."""
        while True:
            done()
            await self._dirty.wait()
            self._dirty.clear()
            await self.all()

    def _one(self, key: Key, flow: str) -> None:
        started = time.perf_counter()
        try:
            outputs = self._planner.reconcile(key)
            if outputs is not None:  # else it is unknown, and all that it led to stays
                self._send(key, outputs, flow)
        except Exception as error:  # noqa: BLE001 - one key's fault, which is ours, must not stop the work on all others
            self._faults.caught(str(key), error, partial(self._planner.look_again, key, flow))
            self._failing[key] = f"a fault of Meshfed's own: {described(error)}"
        else:
            if self._failing.pop(key, None) is not None:
                self._recovered = True
                self._faults.over(str(key))
        self._metrics.reconcile_seconds.labels(kind=type(key).__name__).observe(time.perf_counter() - started)
