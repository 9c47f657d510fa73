"""Virtual time for code that opens no socket and starts no thread."""

from __future__ import annotations

import asyncio

import looptime


def virtual_loop() -> asyncio.AbstractEventLoop:
    """An event loop that jumps to its next timer as soon as nothing else is to do; it starts at 0."""
    # By default its clock moves in whole microseconds, where asyncio tells a thousandth of that apart: a timer that is
    # due in less than half a microsecond would never fire.
    return looptime.new_event_loop(start=0, noop_cycles=1, resolution=1e-9)
