"""An input of which many keys are alike. `meshfed.derive` says what collections are for."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from meshfed.derive.collections import Placed
from meshfed.derive.graph import Graph, Known, Unknown

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)
S = TypeVar("S", bound=Hashable)


class Distinct(Generic[K, V, S]):
    """What is known from outside, where it matters only which sorts of values there are: ``of`` says which one is.

    Most changes end at a number that goes up or down. Whatever goes by the sorts hears of the first and the last of
    each alone, and of the keys that are unknown. A key takes up no more than its value.
    """

    def __init__(self, graph: Graph, of: Callable[[K, V], S]) -> None:
        self._graph = graph
        self._of = of
        self._values: dict[K, V | Unknown] = {}
        self._numbers: dict[S, int] = {}
        self._indexes: list[Placed[S | K]] = []

    def index(self, index: Placed[S | K]) -> None:
        """Keep ``index`` up to date from now on; this is to be empty yet."""
        self._indexes.append(index)

    def put(self, key: K, value: Known[V], flow: Hashable = "") -> None:
        """``key`` has this value now; ``None``: there is none."""
        before = self._values.get(key)
        if before == value:
            return
        if value is None:
            del self._values[key]
        else:
            self._values[key] = value
        if isinstance(value, Unknown):
            self._graph.for_(flow)
            for index in self._indexes:
                index.lose(key, value)
        elif value is not None:
            self._count(self._of(key, value), 1, flow)
        if isinstance(before, Unknown):
            self._find(key, flow)
        elif before is not None:
            self._count(self._of(key, before), -1, flow)

    def unknown(self, key: K, reason: str, flow: Hashable = "") -> None:
        """Nobody can say what there is of ``key``; it counts as nothing any more."""
        self.put(key, Unknown(reason), flow)

    def clear(self, key: K, flow: Hashable = "") -> None:
        """``key`` is unknown no more: unless something was put since, there is none."""
        if isinstance(self._values.get(key), Unknown):
            self.put(key, None, flow)

    def _find(self, key: K, flow: Hashable) -> None:
        """A key that was unknown is no more, unless for another reason."""
        if not isinstance(self._values.get(key), Unknown):
            self._graph.for_(flow)
            for index in self._indexes:
                index.move(key, None)

    def _count(self, sort: S, by: int, flow: Hashable) -> None:
        before = self._numbers.get(sort, 0)
        after = before + by
        if after:
            self._numbers[sort] = after
        else:
            del self._numbers[sort]
        if not before or not after:
            self._graph.for_(flow)
            for index in self._indexes:
                index.move(sort, index.place_of(sort, True if after else None))
