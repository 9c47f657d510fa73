"""How long to wait before trying again: exponential, with full jitter, so that many who failed together do not
come back together. And trying again until the API server answers.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from meshfed.kube.errors import KubeError
from meshfed.telemetry.logs import LogThrottle

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


def jittered(attempt: int, *, base: float, cap: float, rng: Callable[[], float] = random.random) -> float:
    """Seconds before try ``attempt`` + 1: anywhere up to ``base`` doubled ``attempt`` times, at most ``cap``."""
    # 2.0**1024 overflows, and 64 doublings are beyond any cap.
    return rng() * min(cap, base * 2.0 ** min(attempt, 64))


class Backoff:
    """Successive delays of one caller, in seconds, until ``reset``."""

    def __init__(self, *, base: float, cap: float, rng: Callable[[], float] = random.random) -> None:
        self._base = base
        self._cap = cap
        self._rng = rng
        self.attempts = 0

    def next(self, *, at_least: float | None = None) -> float:
        """The next delay; not below ``at_least``, such as what the server asked for."""
        delay = jittered(self.attempts, base=self._base, cap=self._cap, rng=self._rng)
        self.attempts += 1
        return max(delay, at_least or 0.0)

    def reset(self) -> None:
        """Begin again from the shortest delay."""
        self.attempts = 0


async def retry_on_error(
    ask: Callable[[], Awaitable[_T]],
    *,
    problem: str = "",
    not_ready: Callable[[str], None] | None = None,
    backoff: Backoff | None = None,
) -> _T:
    """What ``ask`` returns, as soon as it raises no ``KubeError``. Any other exception passes.

    It is asked again after errors that are not ``retryable`` as well: those need a person, who may act at any time.
    ``not_ready`` hears after each try why there is no answer yet: ``problem``, such as ``cannot list pods``, and the
    error. The log says it too, each reason once a minute. Without a ``backoff``, no wait is longer than 5 s, unless
    the server asked for that.
    """
    backoff = backoff or Backoff(base=1.0, cap=5.0)
    log_throttle = LogThrottle(clock=asyncio.get_running_loop().time)
    while True:
        try:
            return await ask()
        except KubeError as error:
            reason = f"{problem}: {error}" if problem else str(error)
            delay = backoff.next(at_least=error.retry_after)
            level = logging.WARNING if error.retryable else logging.ERROR
        if not_ready is not None:
            not_ready(reason)
        if log_throttle.ready(reason):
            _log.log(level, "waiting: %s", reason)
        await asyncio.sleep(delay)
