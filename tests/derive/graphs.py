"""Random graphs of collections, and the same worked out anew without any graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any, TypeVar

import msgspec

from meshfed.derive import Collection, Context, Derived, Graph, Index, Input, Known, Leading, Node, Tally, Unknown

KEYS = range(4)
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Boom(Exception):
    """What a function raises."""


class Shape(msgspec.Struct, frozen=True):
    """What the functions of a graph do; each number is small."""

    step: int = 1
    drop: int = 3
    """Values that are worth nothing where they are divisible by this."""
    by: int = 2
    perhaps: bool = False
    """Whether it is known of a key that is lost where it may be."""


class World:
    """Two inputs, and what is worked out from them and from each other: some of it indexed, or only where asked for.

    ``failing`` are the collections and keys whose functions raise; ``calls`` counts those that were run.
    """

    def __init__(self, shape: Shape, *, incomplete: bool = False) -> None:
        self.shape = shape
        self.failing: set[tuple[str, Any]] = set()
        self.faults: set[str] = set()
        self.calls: list[tuple[str, Any]] = []
        reason = "it was not listed" if incomplete else ""
        graph = self.graph = Graph(self._failed)
        self.a: Input[int, int] = Input(graph, "a", incomplete=reason)
        self.b: Input[int, int] = Input(graph, "b", incomplete=reason)
        self.sums: Derived[int, int] = Derived(graph, "sum", self._sum, over=[self.a])
        self.by_sum: Index[int, int] = Index(
            graph, "by sum", self.sums, lambda _, value: [value % shape.by], perhaps=self._perhaps
        )
        self.totals: Derived[int, int] = Derived(graph, "total", self._total, over=[self.by_sum], output=True)
        self.pairs: Derived[int, int] = Derived(graph, "pair", self._pair, over=[self.a, self.b])
        self.by_pair: Index[int, int] = Index(
            graph, "by pair", self.pairs, lambda key, value: {value % 2, key % 2}, perhaps=self._perhaps
        )
        self.queue: Index[int, int] = Index(
            graph, "queue", self.sums, lambda _, value: [value % shape.by], perhaps=lambda _: (), order=_order
        )
        self.numbers: Derived[int, int] = Derived(graph, "number", self._number, over=[self.b])
        self.leads: Leading[int] = Leading(graph, "among the first", self.queue, self.numbers)
        self.leaders: Derived[int, bool] = Derived(graph, "leader", self._leader, over=[self.a], output=True)
        self.tally: Tally[int, int] = Tally(graph, "tally", self.sums, lambda _, value: (value % 2, value % 3))
        self.counts: Derived[str, tuple[Any, ...]] = Derived(graph, "count", self._count, keys=["all"], output=True)
        self.halves: Derived[int, int] = Derived(graph, "half", self._half, over=[self.a])
        self.last: Derived[int, int] = Derived(graph, "last", self._last, over=[self.b], output=True)
        self.outputs: dict[tuple[str, Any], Any] = {}

    @property
    def derived(self) -> list[Derived[Any, Any]]:
        """All that is worked out."""
        return [self.sums, self.totals, self.pairs, self.numbers, self.leaders, self.counts, self.halves, self.last]

    @property
    def collections(self) -> list[Collection[Any, Any]]:
        """All there is."""
        return [self.a, self.b, self.by_sum, self.by_pair, self.queue, self.leads, self.tally, *self.derived]

    def _failed(self, node: Node, error: Exception | None) -> None:
        (self.faults.add if error is not None else self.faults.discard)(str(node))

    def _perhaps(self, _key: int) -> Iterable[int] | None:
        return range(3) if self.shape.perhaps else None

    def _called(self, name: str, key: Any) -> None:
        self.calls.append((name, key))
        if (name, key) in self.failing:
            raise Boom(name)

    def _sum(self, context: Context, key: int) -> int | None:
        self._called("sum", key)
        mine = context.get(self.a, key)
        if mine is None:
            return None
        total = mine + (context.get(self.b, (key + self.shape.step) % len(KEYS)) or 0)
        return None if total % self.shape.drop == 0 else total

    def _total(self, context: Context, group: int) -> int | None:
        self._called("total", group)
        members = context.members(self.by_sum, group)
        found = [context.get(self.sums, member) or 0 for member in members]
        return sum(found) if found else None

    def _pair(self, context: Context, key: int) -> int | None:
        self._called("pair", key)
        one, other = context.known(self.a, key), context.known(self.b, key)
        if one is None and other is None:
            return None
        if isinstance(one, int):
            return one  # it can be said without the other
        return context.get(self.b, key)

    def _count(self, context: Context, _key: str) -> tuple[Any, ...]:
        self._called("count", "all")
        counted = context.get(self.tally, 0) or {}
        return (*(len(context.members(self.by_pair, group)) for group in (0, 1)), *sorted(counted.items()))

    def _number(self, context: Context, group: int) -> int | None:
        self._called("number", group)
        return context.get(self.b, group)

    def _leader(self, context: Context, key: int) -> bool | None:
        self._called("leader", key)
        return (context.get(self.leads, key) and context.get(self.a, key) is not None) or None

    def _half(self, context: Context, key: int) -> int | None:
        self._called("half", key)
        return (context.get(self.a, key) or 0) // 2 or None

    def _last(self, context: Context, key: int) -> int | None:
        self._called("last", key)
        mine = context.get(self.b, key)
        if mine is None:
            return None
        return mine + sum(context.get(self.halves, other) or 0 for other in sorted(context.keys(self.a)))

    # --- what happens

    def drain(self) -> None:
        """Work out everything that waits, and take the outputs."""
        while not self.graph.is_fresh:
            self.graph.work(3)
        self.take()

    def take(self) -> None:
        """Take the outputs."""
        for change in self.graph.outputs():
            if change.value is None:
                self.outputs.pop((change.collection, change.key), None)
            else:
                self.outputs[change.collection, change.key] = change.value

    def values(self) -> dict[tuple[str, Any], Any]:
        """All that is worked out and not absent."""
        found = {
            (collection.name, key): collection.get(key)
            for collection in self.derived
            for key in (["all"] if collection is self.counts else range(6))
        }
        return {where: value for where, value in found.items() if value is not None}


def _order(key: int, value: int) -> tuple[int, int]:
    return -value, key


class Anew:
    """A world worked out anew from its inputs, by nothing but recursion."""

    def __init__(self, world: World, truth: dict[str, dict[int, int]] | None = None) -> None:
        self._world = world
        self._truth = truth

    def values(self) -> dict[tuple[str, Any], Any]:
        """All that is worked out and not absent."""
        world = self._world
        found = {
            (collection.name, key): self.known(collection, key)
            for collection in world.derived
            for key in (["all"] if collection is world.counts else range(6))
        }
        return {where: value for where, value in found.items() if value is not None}

    def get(self, collection: Collection[K, V], key: K) -> V | None:
        value = self.known(collection, key)
        if isinstance(value, Unknown):
            raise Lost(value)
        return value

    def known(self, collection: Collection[K, V], key: K) -> Known[V]:
        if isinstance(collection, Input):
            return self._truth[collection.name].get(key) if self._truth is not None else collection.get(key)  # type: ignore[call-overload] # keys of inputs are numbers
        if isinstance(collection, Leading):
            return self._leads(key)  # type: ignore[arg-type, return-value] # there is one, of numbers
        if isinstance(collection, Tally):
            found: list[int | None] = [self.get(self._world.sums, one) for one in KEYS]
            counts = Counter(value % 3 for value in found if value is not None and value % 2 == key)
            return dict(counts) or None  # type: ignore[return-value] # as above
        assert isinstance(collection, Derived)
        try:
            return collection._function(self, key)  # type: ignore[arg-type] # it reads as a context does
        except Lost as lost:
            return lost.unknown
        except Boom as boom:
            return Unknown(f"a fault of Meshfed's own: Boom: {boom}")

    def _leads(self, key: int) -> bool | None:
        world = self._world
        total: int | None = self.get(world.sums, key)
        groups = world.queue.place_of(key, total)[0]
        leads = [key in self.members(world.queue, group)[: self.get(world.numbers, group) or 0] for group in groups]
        return any(leads) or None

    def members(self, index: Index[Any, int], group: Any) -> list[int]:
        source: Derived[int, Any] = self._world.pairs if index is self._world.by_pair else self._world.sums
        places = {key: index.place_of(key, self.get(source, key)) for key in KEYS}
        members = [key for key, (groups, _) in places.items() if group in groups]
        return members if index._order is None else sorted(members, key=lambda key: places[key][1])

    def keys(self, collection: Input[int, V]) -> list[int]:
        if self._truth is not None:
            return list(self._truth[collection.name])
        if collection._incomplete is not None:
            raise Lost(collection._incomplete)
        return collection.known_keys()


class Lost(Exception):
    """Something unknown was read."""

    def __init__(self, unknown: Unknown) -> None:
        super().__init__(unknown.reason)
        self.unknown = unknown
