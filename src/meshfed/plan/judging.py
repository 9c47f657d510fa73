"""How one object is judged by itself, so that where our code fails on it, no other is judged less.

What was known of an object stays where it cannot be judged: that is a fault of ours, and says nothing about it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from meshfed.derive import Node
from meshfed.plan.values import Ref

T = TypeVar("T")

Judged = Callable[[Ref, Exception | None], None]
"""Called with an object that could not be judged, and the error; again, without one, once it can be."""


class Unjudged(msgspec.Struct, frozen=True):
    """Our code failed on an object."""


UNJUDGED = Unjudged()


class Judging:
    """Runs what judges one object. ``told`` hears of what fails; without one, the exception goes on."""

    def __init__(self, told: Judged | None = None) -> None:
        self._told = told
        self._failing: set[Ref] = set()
        self._nodes: dict[Ref, set[str]] = {}

    def judge(self, ref: Ref, work: Callable[[], T]) -> T | Unjudged:
        """Return what ``work``, which changes nothing, makes of an object."""
        try:
            result = work()
        except Exception as error:
            if self._told is None:
                raise
            self._failing.add(ref)
            self._told(ref, error)
            return UNJUDGED
        if self._told is not None and ref in self._failing:
            self._failing.discard(ref)
            self._told(ref, None)
        return result

    def failed(self, node: Node, error: Exception | None) -> None:
        """Take note that what is derived of a Service could not be worked out, or can be again."""
        if self._told is None:
            return
        ref = ("Service", *node.key)
        failing = self._nodes.setdefault(ref, set())
        (failing.discard if error is None else failing.add)(node.collection.name)
        if not failing:
            del self._nodes[ref]
        if error is not None or not failing:
            self._told(ref, error)
