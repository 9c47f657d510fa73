"""DNS answers for remotes given by host name: asked again and again, the last good answer kept.

WorkloadEntries hold IPs, so their remotes' names are resolved here. An error or an empty answer changes nothing,
and neither does the order of the answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from meshfed.telemetry.logs import LogThrottle

_log = logging.getLogger(__name__)

PERIOD: Final = 30.0
"""Seconds between two questions about one name."""

Lookup = Callable[[str], Awaitable[tuple[str, ...]]]


async def system_lookup(name: str) -> tuple[str, ...]:
    """The addresses of ``name`` as the system's resolver sees them, sorted.

    Raises:
        OSError: the name has no address, or the resolver failed.
    """
    answers = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(sorted({str(answer[4][0]) for answer in answers}))


class Resolver:
    """Asks for every wanted name and reports what changed."""

    def __init__(
        self,
        wanted: Callable[[], frozenset[str]],
        changed: Callable[[str, tuple[str, ...]], None],
        *,
        lookup: Lookup = system_lookup,
    ) -> None:
        self._wanted = wanted
        self._changed = changed
        self._lookup = lookup
        self._answers: dict[str, tuple[str, ...]] = {}
        self._due: dict[str, float] = {}
        self._poke = asyncio.Event()
        self._log_throttle = LogThrottle(period=600)

    def poke(self) -> None:
        """The set of wanted names may have changed: look at once instead of at the next turn."""
        self._poke.set()

    async def run(self) -> None:
        """Resolve until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._poke.clear()
            names = self._wanted()
            for name in set(self._answers) - names:
                del self._answers[name]
            self._due = {name: self._due.get(name, 0.0) for name in names}
            now = loop.time()
            due = [name for name in sorted(names) if self._due[name] <= now]
            # Side by side, so that a name server that never answers for one name delays no other.
            await asyncio.gather(*(self._resolve(name) for name in due))
            for name in due:
                self._due[name] = loop.time() + PERIOD
            pause = min(self._due.values(), default=loop.time() + PERIOD) - loop.time()
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(pause, 0.05)):
                    await self._poke.wait()

    async def _resolve(self, name: str) -> None:
        try:
            async with asyncio.timeout(10):
                answer = await self._lookup(name)
        except (OSError, UnicodeError) as error:  # TimeoutError is one too; UnicodeError: not even a name
            if self._log_throttle.ready(name):
                kept = ", ".join(self._answers.get(name, ())) or "none yet"
                _log.warning(
                    "cannot resolve %s: %s; keeping the last addresses: %s", name, str(error) or "time-out", kept
                )
            return
        if answer and answer != self._answers.get(name):
            self._answers[name] = answer
            _log.info("%s resolves to %s", name, ", ".join(answer))
            self._changed(name, answer)
