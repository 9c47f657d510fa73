"""The garbage collector in a process that holds millions of objects: short pauses, whatever it holds.

CPython's collector looks through all it knows now and then, and nothing else is done meanwhile: with 100,000 imports,
for seconds. Hardly any of that is ever garbage in a cycle, and what is in none needs no collector. So what a look
through everything has left is not looked at again (``gc.freeze``), if it was much: a pause is as long as what came
since is large. Where all of it may be garbage in cycles, as after a term, everything is looked at once more (`thaw`).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

THRESHOLDS: Final = (2_000, 10, 3)
"""New objects after which the youngest are looked at, and so many such looks after which older ones are, and all."""
LONG: Final = 0.002
"""Seconds after which a look through everything was one through much."""


class _Collector:
    """What is known of the one collector there is."""

    def __init__(self) -> None:
        self._began = 0.0
        self._has_frozen = False

    def heard(self, phase: str, info: Mapping[str, Any]) -> None:
        """Take note that the collector began, or came to an end."""
        if info["generation"] != len(THRESHOLDS) - 1:
            return
        if phase == "start":
            self._began = time.perf_counter()
        elif time.perf_counter() - self._began > LONG:
            gc.freeze()
            self._has_frozen = True

    def thaw(self) -> None:
        """Have everything looked at again, if anything is not."""
        if self._has_frozen:
            self._has_frozen = False
            gc.unfreeze()


_COLLECTOR: Final = _Collector()


@contextmanager
def short_pauses() -> Iterator[None]:
    """Keep the collector's pauses short while the context lasts: for a process that does nothing else."""
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    gc.callbacks.append(_COLLECTOR.heard)
    try:
        yield
    finally:
        gc.callbacks.remove(_COLLECTOR.heard)
        gc.set_threshold(*before)
        _COLLECTOR.thaw()


def thaw() -> None:
    """What was held for long may be garbage now."""
    _COLLECTOR.thaw()
