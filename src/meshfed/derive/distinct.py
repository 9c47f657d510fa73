"""An input of which many keys are alike. `meshfed.derive` says what collections are for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from meshfed.derive.collections import Collection, Placed
from meshfed.derive.graph import Graph, Known, Node, Unknown

G = TypeVar("G", bound=Hashable)
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
        self._groups: list[ByGroup[Any, K, V]] = []

    def index(self, index: Placed[S | K]) -> None:
        """Keep ``index`` up to date from now on; this is to be empty yet."""
        self._indexes.append(index)

    def group(self, groups: ByGroup[Any, K, V]) -> None:
        """Tell ``groups`` of every key that changes."""
        self._groups.append(groups)

    def items(self) -> Iterable[tuple[K, V | Unknown]]:
        """Return each key with its value."""
        return self._values.items()

    def put(self, key: K, value: Known[V], flow: Hashable = "") -> None:
        """``key`` has this value now; ``None``: there is none."""
        before = self._values.get(key)
        if before == value:
            return
        if value is None:
            del self._values[key]
        else:
            self._values[key] = value
        for groups in self._groups:
            groups.change(key, value, flow)
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


class ByGroup(Collection[G, Mapping[K, V]]):
    """The keys of a `Distinct` with their values, by the group that ``group`` names for each key, which never raises.

    Only of the groups that somebody asks for there is anything. Where a key is unknown, so is its group.
    """

    def __init__(self, graph: Graph, name: str, source: Distinct[K, V, Any], group: Callable[[K], G]) -> None:
        super().__init__(graph, name)
        self._source = source
        self._group = group
        source.group(self)

    def _new(self, group: G) -> Node:
        return Node(self, group, self._found(group))

    def _found(self, group: G) -> Mapping[K, V] | Unknown:
        """Return what is in a group, by looking at all there is."""
        found: dict[K, V] = {}
        for key, value in self._source.items():
            if self._group(key) == group:
                if isinstance(value, Unknown):
                    return value
                found[key] = value
        return found

    def change(self, key: K, value: Known[V], flow: Hashable) -> None:
        """A key of the source has this value now."""
        node = self.nodes.get(self._group(key)) if self.nodes else None
        if node is None:
            return
        before: Mapping[K, V] | Unknown = node.value
        now: Mapping[K, V] | Unknown
        if isinstance(before, Unknown) or isinstance(value, Unknown):
            now = self._found(node.key)
        elif value is None:
            now = {one: known for one, known in before.items() if one != key}
        else:
            now = {**before, key: value}
        self.graph.for_(flow)
        self.graph.put(node, now)

    def _is_needed(self, node: Node) -> bool:
        return False
