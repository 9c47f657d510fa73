"""Turns: what waits is taken flow by flow, so that a flow in which much waits delays no other by more than its turn.

A flow is whatever may make any number of keys wait by itself: a remote mesh, or all that this mesh does of its own.
It is the scheduling of `fq_codel` (RFC 8290): flows take turns, and one in which nothing waited until now comes before
those that had their turn already, once. So what is small and new never waits behind what is large and old.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Turns(Generic[K]):
    """Keys that wait, each once. Adding and taking are O(1), however many keys and flows there are.

    Within a flow the lowest rank comes first, and within a rank what came first. A key that several flows wait for
    stands in each of them, and is taken in the turn that comes first: no flow can make another's key wait longer by
    touching it too.
    """

    def __init__(self) -> None:
        # Ordered dictionaries, since taking the first key of a plain one again and again is quadratic.
        self._flows: dict[Hashable, dict[int, tuple[OrderedDict[K, None]]]] = {}
        self._waiting: dict[K, tuple[OrderedDict[K, None], ...]] = {}
        """In which of the queues each key stands."""
        self._new: OrderedDict[Hashable, None] = OrderedDict()
        self._old: OrderedDict[Hashable, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: object) -> bool:
        return key in self._waiting

    def add(self, key: K, flow: Hashable, *, rank: int = 0) -> bool:
        """Let ``key`` wait in ``flow``, where it keeps its place if it does already; whether it waited in none yet."""
        is_new = key not in self._waiting
        if flow not in self._flows:
            self._flows[flow] = {}
            self._new[flow] = None
        place = self._flows[flow].setdefault(rank, (OrderedDict(),))
        if key not in place[0]:
            place[0][key] = None
            self._waiting[key] = self._waiting.get(key, ()) + place
        return is_new

    def take(self, most: int = 1) -> tuple[Hashable, list[K]]:
        """The flow whose turn it is, and up to ``most`` keys of its lowest rank; no keys where none waits."""
        while self._new or self._old:
            flow, _ = (self._new or self._old).popitem(last=False)
            ranks = self._flows[flow]
            while ranks and not (queue := ranks[rank := min(ranks)][0]):
                del ranks[rank]
            if ranks:
                # Also where nothing will be left: who comes back before its next turn is not new.
                self._old[flow] = None
                keys = list(itertools.islice(queue, most))
                for key in keys:
                    for each in self._waiting.pop(key):
                        del each[key]
                if not queue:
                    del ranks[rank]
                if not self._waiting:
                    self._waiting.clear()  # else it keeps the memory that it needed at most
                return flow, keys
            del self._flows[flow]
        return None, []
