"""Indexes by sets, as selectors and labels are. `meshfed.derive` says what collections are for."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, ClassVar, Final, Generic, Protocol, TypeAlias, TypeVar

from meshfed.derive.collections import Collection, Placed
from meshfed.derive.graph import Graph, Known, Node, Unknown

K = TypeVar("K", bound=Hashable)
Items: TypeAlias = frozenset[Any]
_FEW: Final = 4
_NOTHING: Final[frozenset[Any]] = frozenset()
"""The one empty set that most share."""
_NONE: Final = object()
"""What a set without items is found under."""


class _Sets(Generic[K]):
    """Sets by key, each under some of its items, so that those that match another are found among few."""

    def __init__(self) -> None:
        self._sets: dict[K, Items] = {}
        self._under: dict[Any, tuple[K, ...] | dict[K, None]] = {}
        """Keys by item: most items have few, and a dictionary is large."""

    def of(self, key: K) -> Items | None:
        return self._sets.get(key)

    def _join(self, item: Any, key: K) -> None:
        known = self._under.get(item, ())
        if isinstance(known, dict):
            known[key] = None
        else:
            self._under[item] = (*known, key) if len(known) < _FEW else dict.fromkeys((*known, key))

    def _leave(self, item: Any, key: K) -> None:
        known = self._under[item]
        if isinstance(known, dict):
            del known[key]
        else:
            known = self._under[item] = tuple(one for one in known if one != key)
        if not known:
            del self._under[item]


class _Subsets(_Sets[K]):
    """Finds those that are subsets: each is under the item that the fewest were under, which the other must have."""

    def add(self, key: K, items: Items) -> None:
        self._sets[key] = items
        self._join(min(items, key=self._number_under, default=_NONE), key)

    def _number_under(self, item: Any) -> int:
        return len(self._under.get(item, ()))

    def discard(self, key: K) -> None:
        items = self._sets.pop(key, None)
        if items is not None:
            self._leave(next((item for item in items if key in self._under.get(item, ())), _NONE), key)

    def find(self, items: Items) -> list[K]:
        return [key for item in (_NONE, *items) for key in self._under.get(item, ()) if self._sets[key] <= items]


class _Supersets(_Sets[K]):
    """Finds those that are supersets: each is under all its items, and it is looked for under the rarest."""

    def add(self, key: K, items: Items) -> None:
        self._sets[key] = items
        for item in items:
            self._join(item, key)

    def discard(self, key: K) -> None:
        for item in self._sets.pop(key, ()):
            self._leave(item, key)

    def find(self, items: Items) -> list[K]:
        if not items:
            return list(self._sets)
        rarest = min((self._under.get(item, ()) for item in items), key=len)
        return [key for key in rarest if items <= self._sets[key]]


class MatchSource(Protocol):
    """What has keys and values that an index goes by."""

    def index(self, index: Placed[Any], /) -> None:
        """Keep ``index`` up to date from now on."""


class _Matching(Collection[Items, frozenset[K]]):
    """The keys of ``source`` whose items match others, for each set of these that is asked for.

    ``items`` says of a key and its value which it has; ``None``: it matches none. Of a key that is unknown nobody can
    say what it matches. ``perhaps`` says where it may, as in a namespace, ``where`` so of a set; ``None``: anywhere.
    Who asks where there is such a key knows nothing.
    """

    _kept: ClassVar[type[_Subsets[Any] | _Supersets[Any]]]
    _asked_for: ClassVar[type[_Subsets[Any] | _Supersets[Any]]]

    def __init__(
        self,
        graph: Graph,
        name: str,
        source: MatchSource,
        items: Callable[[Any, Any], Items | None],
        *,
        perhaps: Callable[[Any], Hashable],
        where: Callable[[Items], Hashable | None],
    ) -> None:
        super().__init__(graph, name)
        self._items = items
        self._perhaps = perhaps
        self._where = where
        self._known: _Subsets[K] | _Supersets[K] = self._kept()
        self._asked: _Subsets[Items] | _Supersets[Items] = self._asked_for()
        self.lost: dict[Hashable, dict[Any, Unknown]] = {}
        """By where they may match, ``None`` for anywhere, the keys that are unknown."""
        self._lost_in: dict[Any, Hashable] = {}
        source.index(self)

    # --- for who reads

    def members(self, items: Items) -> frozenset[K]:
        """Return the keys that match, as far as they are known."""
        node = self.nodes.get(items)
        found: frozenset[K] = node.value if node is not None else frozenset(self._known.find(items))
        return found

    def items_of(self, key: Any) -> Items | None:
        """Return the items of a key, to ask another index by; ``None`` where it matches none, or is unknown."""
        return self._known.of(key)

    def doubt(self, items: Items) -> Unknown | None:
        """Return why there may be more that match; ``None`` where there are none."""
        where = self._where(items)
        places = self.lost if where is None else (where, None)
        return next((found for one in places if (found := self._first(one))), None)

    def _first(self, where: Hashable) -> Unknown | None:
        return next(iter(self.lost.get(where, {}).values()), None)

    def get(self, items: Items) -> Known[frozenset[K]]:
        """Return what is known of a set now."""
        return self.doubt(items) or self.members(items) or None

    def _new(self, items: Items) -> Node:
        self._asked.add(items, items)
        return Node(self, items, frozenset(self._known.find(items)) or _NOTHING)

    def drop_unless_needed(self, node: Node) -> None:
        """Forget a set that nobody asks for."""
        super().drop_unless_needed(node)
        if node.key not in self.nodes:
            self._asked.discard(node.key)

    def _is_needed(self, node: Node) -> bool:
        return False

    # --- what changes

    def place_of(self, key: Any, value: object) -> Items | None:
        """Return the items of a key."""
        return None if value is None else self._items(key, value)

    def move(self, key: Any, items: Items | None) -> None:
        """A key has these items now."""
        if key in self._lost_in:
            self._find(key)
        before = self._known.of(key)
        if before == items:
            return
        self._known.discard(key)
        if items is not None:
            self._known.add(key, items)
        left = set(self._asked.find(before)) if before is not None else set[Items]()
        joined = set(self._asked.find(items)) if items is not None else set[Items]()
        for asked in left ^ joined:
            node = self.nodes[asked]
            self.graph.put(node, node.value | {key} if asked in joined else node.value - {key} or _NOTHING)

    def lose(self, key: Any, reason: Unknown) -> None:
        """Nobody knows the items of a key."""
        self.move(key, None)
        try:
            where = self._perhaps(key)
        except Exception:  # noqa: BLE001 - it is lost already; where that too fails, it may be anywhere
            where = None
        self._lost_in[key] = where
        before = self._first(where)
        self.lost.setdefault(where, {})[key] = reason
        self._look_again(where, before)

    def _find(self, key: Any) -> None:
        where = self._lost_in.pop(key)
        before = self._first(where)
        del self.lost[where][key]
        if not self.lost[where]:
            del self.lost[where]
        self._look_again(where, before)

    def _look_again(self, where: Hashable, before: Unknown | None) -> None:
        """Tell who asks there, if it is another reason now: of many that are unknown the first is enough."""
        if before != self._first(where):
            for asked, node in self.nodes.items():
                if self._may_be_in(asked, where):
                    self.graph.changed(node)

    def _may_be_in(self, asked: Items, where: Hashable | None) -> bool:
        """Whether what is asked for may be there; whoever asks hears himself of what is raised."""
        try:
            return where is None or self._where(asked) in (None, where)
        except Exception:  # noqa: BLE001 - who asks is worked out again, and fails himself
            return True


class SubsetIndex(_Matching[K]):
    """The keys all of whose items are among those asked for, as selectors are that select what has some labels."""

    _kept, _asked_for = _Subsets[Any], _Supersets[Any]


class SupersetIndex(_Matching[K]):
    """The keys that have all the items asked for, as what a selector selects has all its labels."""

    _kept, _asked_for = _Supersets[Any], _Subsets[Any]
