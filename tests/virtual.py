"""Virtual time for code that opens no socket and starts no thread."""

from __future__ import annotations

import asyncio

import looptime


def virtual_loop() -> asyncio.AbstractEventLoop:
    """An event loop that jumps to its next timer as soon as nothing else is to do; it starts at 0."""
    loop = looptime.new_event_loop(start=0, noop_cycles=1)
    # The virtual clock moves in whole microseconds, so that a timer due in less than half of one would never fire.
    loop._clock_resolution = 2e-6  # type: ignore[attr-defined]
    return loop
