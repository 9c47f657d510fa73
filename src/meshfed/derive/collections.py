"""Inputs, and what is derived from them: `meshfed.derive` says what they are for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from meshfed.derive.graph import Graph, Known, Node, NotKnown, Reader, State, Unknown

if TYPE_CHECKING:
    from meshfed.derive.index import Index

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
G = TypeVar("G", bound=Hashable)


class Collection(Generic[K, V]):
    """Values by key; ``name`` says what one of them is about, for people."""

    is_output = False

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph = graph
        self.name = name
        self.rank = graph.next_rank()
        self.waiting: dict[Node, None] | None = None
        self._nodes: dict[K, Node] = {}
        self._followers: list[Derived[K, Any]] = []

    def node(self, key: K) -> Node:
        """Return the node of ``key``, for whoever reads it."""
        found = self._nodes.get(key)
        if found is None:
            found = self._nodes[key] = self._new(key)
        return found

    def _new(self, key: K) -> Node:
        raise NotImplementedError

    def get(self, key: K) -> Known[V]:
        """Return what is known of ``key`` now."""
        node = self.node(key)
        self.graph.refresh(node)
        value: Known[V] = node.value
        self.drop_unless_needed(node)
        return value

    def has(self, key: K) -> bool:
        """Whether there is a value of ``key``, or it is unknown whether there is."""
        node = self._nodes.get(key)
        return node is not None and node.value is not None

    def known_keys(self) -> list[K]:
        """Return the keys of which there is a value, or it is unknown whether there is."""
        return [key for key in self._nodes if self.has(key)]

    @property
    def size(self) -> int:
        """How many keys take up memory here."""
        return len(self._nodes)

    def follow(self, follower: Derived[K, Any]) -> None:
        """Have ``follower`` look at each key of this collection."""
        self._followers.append(follower)
        for key in self._nodes:
            follower.look(key)

    def _tell_followers(self, key: K) -> None:
        for follower in self._followers:
            follower.look(key)

    def work_out(self, node: Node, reader: Reader) -> tuple[Any, Any]:
        """Return the value of a key, and where it stands in indexes."""
        raise NotImplementedError

    def settled(self, node: Node, before: Any, places: Any) -> None:
        """Take note that a value was worked out."""

    def drop_unless_needed(self, node: Node) -> None:
        """Forget a key that there is nothing of, and that nobody asks for."""
        if not node.dependents and not self._is_needed(node) and self._nodes.get(node.key) is node:
            del self._nodes[node.key]
            self.graph.forget(node)

    def _is_needed(self, node: Node) -> bool:
        return node.value is not None


class Input(Collection[K, V]):
    """What is known from outside. As long as it is ``incomplete``, keys that it does not have are unknown for that."""

    def __init__(self, graph: Graph, name: str, *, incomplete: str = "") -> None:
        super().__init__(graph, name)
        self._incomplete = Unknown(incomplete) if incomplete else None
        self._all = Node(self, "(all)", None, State.FRESH)

    def _new(self, key: K) -> Node:
        return Node(self, key, self._incomplete, State.FRESH)

    def put(self, key: K, value: V, flow: Hashable = "") -> None:
        """``key`` has this value now."""
        self._set(key, value, flow)

    def remove(self, key: K, flow: Hashable = "") -> None:
        """There is no ``key``."""
        self._set(key, None, flow)

    def unknown(self, key: K, reason: str, flow: Hashable = "") -> None:
        """Nobody can say what there is of ``key``."""
        self._set(key, Unknown(reason), flow)

    def complete(self, flow: Hashable = "") -> None:
        """Whatever was not put by now is absent."""
        before, self._incomplete = self._incomplete, None
        if before is not None:
            for key in [key for key, node in self._nodes.items() if node.value is before]:
                self._set(key, None, flow)
            self.graph.flow = flow
            self.graph.changed(self._all)

    def all_keys(self, reader: Reader) -> list[K]:
        """Return the keys there are, as read by ``reader``; raises `NotKnown` where these may not be all."""
        reader.look(self._all)
        if self._incomplete is not None:
            raise NotKnown(self._incomplete)
        return self.known_keys()

    def has(self, key: K) -> bool:
        """Whether there is a value of ``key``, or it is unknown whether there is."""
        node = self._nodes.get(key)
        return node is not None and self._is_needed(node)

    def _is_needed(self, node: Node) -> bool:
        return node.value is not None and node.value is not self._incomplete

    def _set(self, key: K, value: Any, flow: Hashable) -> None:
        self.graph.flow = flow
        node = self.node(key)
        before = node.value
        if before == value and before is not self._incomplete:
            self.drop_unless_needed(node)
            return
        had = self._is_needed(node)
        self.graph.put(node, value)
        if had != (value is not None):
            self.graph.changed(self._all)
            self._tell_followers(key)
        self.drop_unless_needed(node)


class Context:
    """What a function reads other collections through."""

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def get(self, collection: Collection[K, V], key: K) -> V | None:
        """Return a value, ``None`` where there is none; where it is unknown, so is what is being worked out."""
        value = self.known(collection, key)
        if isinstance(value, Unknown):
            raise NotKnown(value)
        return value

    def known(self, collection: Collection[K, V], key: K) -> Known[V]:
        """Return a value, also where it is unknown: for who can decide without."""
        value: Known[V] = self._reader.look(collection.node(key))
        return value

    def members(self, index: Index[G, K], group: G) -> Sequence[K]:
        """Return the keys of a group, sorted, not to be kept; where these may not be all, it is unknown."""
        index.freshen(group)
        self._reader.look(index.node(group))
        doubt = index.doubt(group)
        if doubt is not None:
            raise NotKnown(doubt)
        return index.members(group)

    def keys(self, collection: Input[K, V]) -> list[K]:
        """Return all keys of an input; where these may not be all, it is unknown."""
        return collection.all_keys(self._reader)


class Derived(Collection[K, V]):
    """What a function makes of each key of the collections that it is ``over``, and of any that others ask for.

    ``keys`` are always there. The values of an ``output`` are worked out without anybody asking, and `Graph.outputs`
    tells of those that change.
    """

    def __init__(
        self,
        graph: Graph,
        name: str,
        function: Callable[[Context, K], V | None],
        *,
        over: Iterable[Collection[K, Any]] = (),
        keys: Iterable[K] = (),
        output: bool = False,
    ) -> None:
        super().__init__(graph, name)
        self._function = function
        self._over = tuple(over)
        self._keys = frozenset(keys)
        self._indexes: list[Index[Any, K]] = []
        self.is_output = output
        if output:
            self._work_ahead()
        for collection in self._over:
            collection.follow(self)

    def _work_ahead(self) -> None:
        """Have values worked out without anybody asking."""
        if self.waiting is None:
            self.waiting = {}
            for key in (*self._keys, *(key for collection in self._over for key in collection.known_keys())):
                self.look(key)

    def index(self, index: Index[Any, K]) -> None:
        """Keep ``index`` up to date from now on."""
        self._indexes.append(index)
        self._work_ahead()
        for node in self._nodes.values():
            self.graph.mark(node, stale=True)

    def _new(self, key: K) -> Node:
        return Node(self, key, None, State.STALE)

    def look(self, key: K) -> None:
        """In what this is over there is a key now, or none any more."""
        node = self._nodes.get(key)
        if node is not None:
            self.graph.mark(node, stale=True)
        elif self.waiting is not None:
            self.graph.enqueue(self.node(key))

    def work_out(self, node: Node, reader: Reader) -> tuple[Any, Any]:
        """Return the value of a key, and where it stands in indexes."""
        value = self._function(Context(reader), node.key)
        return value, [() if value is None else index.groups_of(node.key, value) for index in self._indexes]

    def settled(self, node: Node, before: Any, places: Any) -> None:
        """Take note that a value was worked out."""
        for position, index in enumerate(self._indexes):
            if places is None:
                index.lose(node.key, node.value)
            else:
                index.move(node.key, places[position])
        if (before is None) != (node.value is None):
            self._tell_followers(node.key)
        self.drop_unless_needed(node)

    def _is_needed(self, node: Node) -> bool:
        if self.waiting is None:
            return False
        return node.value is not None or node.key in self._keys or any(one.has(node.key) for one in self._over)
