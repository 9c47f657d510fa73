"""What the watches show, passed on to those who decide, until something of it cannot be taken in.

Then what they know is half changed, and everything that follows from it is in doubt: from that moment on nothing more
is passed on, nothing may be deleted, and the term ends. The next one begins with nothing in memory, and without the
object (`meshfed.controller.faults`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from meshfed.controller.faults import A_TERM, Faults, named
from meshfed.controller.watches import Watches
from meshfed.kube import Key, Store
from meshfed.plan import Ref

T = TypeVar("T")

LOOK_SECONDS: Final = 1.0
"""Between two looks at whether an object that is set aside is due, or gone; only while there is any."""


class TermEnded(Exception):
    """A term cannot go on, since an object could not be taken in; the message names it."""


class Feed:
    """Passes the changes of one term on."""

    def __init__(self, faults: Faults, inputs: Watches) -> None:
        self._faults = faults
        self._inputs = inputs
        self.is_over = False
        """Whether something could not be taken in, so that nothing that follows from the inputs is to be relied on."""
        self._failed: TermEnded | None = None
        self._ends = asyncio.Event()

    def follow(self, kind: str, store: Store[T], take: Callable[[Key, T | None, T | None], None]) -> None:
        """Call ``take`` with each change in ``store``: key, old and new object."""
        store.subscribe(lambda key, old, new: self.take((kind, *key), new, partial(take, key, old, new)))

    def take(self, ref: Ref, record: object, action: Callable[[], None]) -> None:
        """Take an object in as it is now, by ``action``; without a ``record`` it is gone, or never to be left out."""
        if self.is_over:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whatever it is: see above
            if record is not None:
                self._faults.set_aside(ref, record, error)
            else:
                self._faults.caught(A_TERM, error)
            self._failed = TermEnded(f"taking in {named(ref)}")
            self._failed.__cause__ = error
            self.is_over = True
            self._ends.set()
        else:
            self._faults.taken_in(ref)

    async def run(self) -> None:
        """Try what is set aside once more when that is due; raises as soon as something cannot be taken in.

        Raises:
            TermEnded: something could not be taken in.
        """
        while self._failed is None:
            for ref in self._faults.aside():
                if self._failed is None:
                    self._try_again(ref)
            pause = LOOK_SECONDS if self._faults.aside() else None
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
            try:
                async with asyncio.timeout(pause):
                    await self._ends.wait()
            except TimeoutError:
                continue
        raise self._failed

    def _try_again(self, ref: Ref) -> None:
        kind, *key = ref
        store: Store[Any] = self._inputs.store(kind)
        if not store.synced:
            return
        place = Key(*key)
        if place not in store.undecodable:
            self._faults.taken_in(ref)
            return
        record = self._faults.on_trial(ref, asyncio.get_running_loop().time())
        if record is not None:
            store.put(place, record)
