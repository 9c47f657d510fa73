"""How many keys there are of each sort. `meshfed.derive` says what collections are for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

from meshfed.derive.collections import Collection, Derived
from meshfed.derive.graph import Graph, Unknown

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
G = TypeVar("G", bound=Hashable)
S = TypeVar("S", bound=Hashable)


class Tally(Collection[G, Mapping[S, int]]):
    """How many keys of ``source`` there are in each group, by sort: ``of`` says of a value which group and sort it is.

    A key that becomes unknown counts as it did, and one that was never known does not count. An ``output`` is told of.
    """

    def __init__(
        self, graph: Graph, name: str, source: Derived[K, V], of: Callable[[K, V], tuple[G, S]], *, output: bool = False
    ) -> None:
        super().__init__(graph, name)
        self.is_output = output
        self._of: Callable[[Any, Any], tuple[G, S]] = of
        self._places: dict[Any, tuple[G, S]] = {}
        self._same: dict[tuple[G, S], tuple[G, S]] = {}  # of equal places one is kept
        source.index(self)

    def place_of(self, key: Hashable, value: object) -> tuple[G, S] | None:
        """Return the group and sort of a key."""
        return None if value is None else self._of(key, value)

    def move(self, key: Hashable, place: tuple[G, S] | None) -> None:
        """A key counts as this now."""
        before = self._places.get(key)
        if before == place:
            return
        if before is not None:
            del self._places[key]
            self._count(*before, -1)
        if place is not None:
            self._places[key] = self._same.setdefault(place, place)
            self._count(*place, 1)

    def lose(self, key: Hashable, reason: Unknown) -> None:
        """Nobody knows what a key counts as: as before."""

    def _count(self, group: G, sort: S, by: int) -> None:
        node = self.node(group)
        counts: dict[S, int] = dict(node.value or {})
        counts[sort] = counts.get(sort, 0) + by
        if not counts[sort]:
            del counts[sort], self._same[group, sort]
        self.graph.put(node, counts or None)
        self.drop_unless_needed(node)
