"""Inputs, and what is derived from them: `meshfed.derive` says what they are for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from meshfed.derive.graph import Graph, Known, Node, NotKnown, Unknown

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
G = TypeVar("G", bound=Hashable)
K_contra = TypeVar("K_contra", bound=Hashable, contravariant=True)
G_contra = TypeVar("G_contra", bound=Hashable, contravariant=True)
M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)


class Collection(Generic[K, V]):
    """Values by key; ``name`` says what one of them is about, for people."""

    is_output = False

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph = graph
        self.name = name
        self.rank = graph.next_rank()
        self.nodes: dict[K, Node] = {}
        self._followers: list[Derived[K, Any]] = []

    def node(self, key: K) -> Node:
        """Return the node of ``key``, for whoever reads it."""
        found = self.nodes.get(key)
        if found is None:
            found = self.nodes[key] = self._new(key)
        return found

    def _new(self, key: K) -> Node:
        return Node(self, key)

    def get(self, key: K) -> Known[V]:
        """Return what is known of ``key``, as of when it was worked out last."""
        node = self.nodes.get(key)
        value: Known[V] = node.value if node is not None else None
        return value

    def why_unknown(self, key: K) -> str:
        """Return why ``key`` is unknown; empty where it is known, or absent."""
        known = self.get(key)
        return known.reason if isinstance(known, Unknown) else ""

    def has(self, key: K) -> bool:
        """Whether there is a value of ``key``, or it is unknown whether there is."""
        node = self.nodes.get(key)
        return node is not None and node.value is not None

    def known_keys(self) -> list[K]:
        """Return the keys of which there is a value, or it is unknown whether there is."""
        return [key for key in self.nodes if self.has(key)]

    @property
    def size(self) -> int:
        """How many keys take up memory here."""
        return len(self.nodes)

    def follow(self, follower: Derived[K, Any]) -> None:
        """Have ``follower`` look at each key of this collection."""
        self._followers.append(follower)
        for key in self.nodes:
            follower.look(key)

    def _tell_followers(self, key: K) -> None:
        for follower in self._followers:
            follower.look(key)

    @property
    def lost_anywhere(self) -> bool:
        """Whether there may be any key here, also one that nobody names."""
        return False

    def _doubt_followers(self) -> None:
        """Have followers look again at whatever they were asked for: there may be, or may not be any more, any key."""
        for follower in self._followers:
            follower.look_again()

    def work_out(self, node: Node, reads: dict[Node, None]) -> tuple[Any, Any]:
        """Return the value of a key, and where it stands in indexes."""
        raise NotImplementedError

    def settled(self, node: Node, before: Any, places: Any) -> None:
        """Take note that a value was worked out."""

    def drop_unless_needed(self, node: Node) -> None:
        """Forget a key that there is nothing of, and that nobody asks for."""
        if not node.readers and not self._is_needed(node) and self.nodes.get(node.key) is node:
            del self.nodes[node.key]
            self.graph.forget(node)

    def _is_needed(self, node: Node) -> bool:
        return node.value is not None


class Input(Collection[K, V]):
    """What is known from outside. As long as it is ``incomplete``, keys that it does not have are unknown for that.

    Of the values of an ``output`` that change `Graph.outputs` tells, as of derived ones.
    """

    def __init__(self, graph: Graph, name: str, *, incomplete: str = "", output: bool = False) -> None:
        super().__init__(graph, name)
        self.is_output = output
        self._incomplete = Unknown(incomplete) if incomplete else None
        self._all = Node(self, "(all)")

    def _new(self, key: K) -> Node:
        return Node(self, key, self._incomplete)

    def get(self, key: K) -> Known[V]:
        """Return what is known of ``key`` now."""
        node = self.nodes.get(key)
        value: Known[V] = node.value if node is not None else self._incomplete
        return value

    def put(self, key: K, value: Known[V], flow: Hashable = "") -> None:
        """``key`` has this value now; ``None``: there is none."""
        self.graph.for_(flow)
        node = self.nodes.get(key) or self.node(key)
        before = node.value
        had = self._was_put(node)
        if before != value or before is self._incomplete:
            self.graph.put(node, value)
            if had != (value is not None):
                self.graph.changed(self._all)
                self._tell_followers(key)
        if value is None:
            self.drop_unless_needed(node)

    def unknown(self, key: K, reason: str, flow: Hashable = "") -> None:
        """Nobody can say what there is of ``key``."""
        self.put(key, Unknown(reason), flow)

    def clear(self, key: K, flow: Hashable = "") -> None:
        """``key`` is unknown no more: unless something was put since, there is none."""
        if isinstance(self.get(key), Unknown):
            self.put(key, None, flow)

    def complete(self, flow: Hashable = "") -> None:
        """Whatever was not put by now is absent."""
        before, self._incomplete = self._incomplete, None
        if before is not None:
            for node in list(self.nodes.values()):
                if node.value is before:
                    self.put(node.key, None, flow)
                else:
                    self.drop_unless_needed(node)
            self.graph.for_(flow)
            self.graph.changed(self._all)

    @property
    def all(self) -> Node:
        """The node that changes whenever a key comes or goes."""
        return self._all

    @property
    def incomplete(self) -> Unknown | None:
        """Why there may be keys that nobody knows; ``None`` where there are none."""
        return self._incomplete

    def has(self, key: K) -> bool:
        """Whether there is a value of ``key``, or it is unknown whether there is."""
        node = self.nodes.get(key)
        return node is not None and self._was_put(node)

    def _was_put(self, node: Node) -> bool:
        return node.value is not None and node.value is not self._incomplete

    def _is_needed(self, node: Node) -> bool:
        # As long as this is incomplete, that there is none is worth to be remembered.
        return self._was_put(node) or (node.value is None and self._incomplete is not None)


class Grouped(Protocol[G_contra, M_co]):
    """What has keys by group, as an index does."""

    @property
    def nodes(self) -> Mapping[Any, Node]:
        """The groups that somebody reads."""

    @property
    def lost(self) -> Mapping[Any, Any]:
        """The keys of which nobody knows where they belong."""

    def node(self, group: G_contra, /) -> Node:
        """Return the node of a group, for whoever reads it."""

    def members(self, group: G_contra, /) -> M_co:
        """Return the keys of a group, as far as they are known."""

    def doubt(self, group: G_contra, /) -> Unknown | None:
        """Return why there may be members that nobody knows; ``None`` where there are none."""


class Context:
    """What a function reads other collections through."""

    __slots__ = ("_before", "_node", "_reads")

    def __init__(self, node: Node, reads: dict[Node, None]) -> None:
        self._node = node
        self._reads = reads
        self._before = frozenset(node.reads)
        """What was read the last time, and knows of it: most of it is read again."""

    def get(self, collection: Collection[K, V], key: K) -> V | None:
        """Return a value, ``None`` where there is none; where it is unknown, so is what is being worked out."""
        node = collection.nodes.get(key) or collection.node(key)
        if node not in self._before:
            self._read(node)
        self._reads[node] = None
        value: Known[V] = node.value
        if isinstance(value, Unknown):
            raise NotKnown(value)
        return value

    def known(self, collection: Collection[K, V], key: K) -> Known[V]:
        """Return a value, also where it is unknown: for who can decide without."""
        node = collection.nodes.get(key) or collection.node(key)
        if node not in self._before:
            self._read(node)
        self._reads[node] = None
        value: Known[V] = node.value
        return value

    def unknown(self, reason: str) -> NoReturn:
        """What is being worked out is unknown, though all that was read is known."""
        raise NotKnown(Unknown(reason))

    def _read(self, node: Node) -> None:
        if node.collection.rank >= self._node.collection.rank:
            raise RecursionError(f"{self._node} reads {node}, which is worked out after it")
        node.read_by(self._node)

    def members(self, index: Grouped[G, M], group: G) -> M:
        """Return the keys of a group, not to be kept; where these may not be all, it is unknown."""
        node = index.nodes.get(group) or index.node(group)
        if node not in self._before:
            self._read(node)
        self._reads[node] = None
        doubt = index.doubt(group) if index.lost else None
        if doubt is not None:
            raise NotKnown(doubt)
        members: M = index.members(group) if node.value is None else node.value
        return members

    def keys(self, collection: Input[K, V]) -> list[K]:
        """Return all keys of an input; where these may not be all, it is unknown."""
        if collection.all not in self._before:
            self._read(collection.all)
        self._reads[collection.all] = None
        if collection.incomplete is not None:
            raise NotKnown(collection.incomplete)
        return collection.known_keys()


class Placed(Protocol[K_contra]):
    """What goes by each value of a collection, as an index does."""

    def place_of(self, key: K_contra, value: Any, /) -> Any:
        """Return what follows from a value, ``None`` where there is none. Where it raises, the value is at fault."""

    def move(self, key: K_contra, place: Any, /) -> None:
        """A value was worked out, from which this follows."""

    def lose(self, key: K_contra, reason: Unknown, /) -> None:
        """A value is unknown."""


class Derived(Collection[K, V]):
    """What a function makes of each key of the collections that it is ``over``, and of ``keys``, which are always.

    Of the values of an ``output`` that change `Graph.outputs` tells.
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
        self._indexes: list[Placed[K]] = []
        self.is_output = output
        for key in self._keys:
            self.look(key)
        for collection in self._over:
            collection.follow(self)

    def index(self, index: Placed[K]) -> None:
        """Keep ``index`` up to date from now on."""
        self._indexes.append(index)
        for node in self.nodes.values():
            self.graph.mark(node)

    def _new(self, key: K) -> Node:
        node = super()._new(key)
        if self.lost_anywhere:
            self.graph.mark(node)  # nobody looked at it, and yet it is not to be absent for who reads it
        return node

    @property
    def lost_anywhere(self) -> bool:
        """Whether in what this is over there may be any key."""
        return any(one.lost_anywhere for one in self._over)

    def look(self, key: K) -> None:
        """In what this is over there is a key now, or none any more."""
        self.graph.mark(self.node(key))

    def look_again(self) -> None:
        """In what this is over there may be any key, or not any more."""
        for key in list(self.nodes):
            self.look(key)
        self._doubt_followers()

    def work_out(self, node: Node, reads: dict[Node, None]) -> tuple[Any, Any]:
        """Return the value of a key, and where it stands in indexes."""
        value = self._function(Context(node, reads), node.key)
        return value, [index.place_of(node.key, value) for index in self._indexes] if self._indexes else ()

    def settled(self, node: Node, before: Any, places: Any) -> None:
        """Take note that a value was worked out."""
        for position, index in enumerate(self._indexes):
            if places is None:
                index.lose(node.key, node.value)
            else:
                index.move(node.key, places[position])
        if (before is None) != (node.value is None):
            self._tell_followers(node.key)
        if node.value is None:
            self.drop_unless_needed(node)

    def _is_needed(self, node: Node) -> bool:
        return node.value is not None or node.key in self._keys or any(one.has(node.key) for one in self._over)
