"""The keys that wait, worked out one after the other: turn by turn, held where that is due, and again after a fault."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from meshfed.controller.faults import Faults
from meshfed.plan import Key, Outputs, Planner
from meshfed.telemetry.metrics import Metrics


class Work:
    """Works out what ``planner`` marks, and passes the outputs to ``send``, with whose turn it was.

    ``dirty`` is set whenever a key is marked; ``holds`` says of a key whether it is not to be worked out for now.
    """

    def __init__(
        self,
        planner: Planner,
        send: Callable[[Key, Outputs, str], None],
        *,
        holds: Callable[[Key], bool],
        dirty: asyncio.Event,
        faults: Faults,
        metrics: Metrics,
    ) -> None:
        self._planner = planner
        self._send = send
        self._holds = holds
        self._dirty = dirty
        self._faults = faults
        self._metrics = metrics
        self._under_way = False
        self._failing: dict[Key, None] = {}
        self._skipped: dict[Key, str] = {}

    @property
    def is_done(self) -> bool:
        """Whether nothing waits to be worked out."""
        return not (self._dirty.is_set() or self._under_way)

    @property
    def failing(self) -> list[Key]:
        """The keys that could not be worked out, which is a fault of ours."""
        return list(self._failing)

    async def all(self) -> None:
        """Work out everything that waits."""
        self._under_way = True
        try:
            while turn := self._planner.take_dirty():
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

    def release(self) -> None:
        """Less is held than was: have what was skipped worked out."""
        skipped, self._skipped = self._skipped, {}
        for key, flow in skipped.items():
            self._planner.look_again(key, flow)
        self._dirty.set()

    def _one(self, key: Key, flow: str) -> None:
        if self._holds(key):
            self._skipped[key] = flow
            if key in self._failing:
                del self._failing[key]
                self._faults.over(str(key))
            return
        started = time.perf_counter()
        try:
            outputs = self._planner.reconcile(key)
            if outputs is None:
                self._failing[key] = None  # and who knows why has said so
                return
            self._send(key, outputs, flow)
        except Exception as error:  # noqa: BLE001 - one key's fault, which is ours, must not stop the work on all others
            self._faults.caught(str(key), error, partial(self._planner.look_again, key, flow))
            self._failing[key] = None
        else:
            if key in self._failing:
                del self._failing[key]
                self._faults.over(str(key))
        self._metrics.reconcile_seconds.labels(kind=type(key).__name__).observe(time.perf_counter() - started)
