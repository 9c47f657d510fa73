"""Indexes: the keys of a collection by what their values say. `meshfed.derive` says what they are for."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from meshfed.derive.collections import Collection, Derived
from meshfed.derive.graph import Graph, Known, Node, State, Unknown

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
G = TypeVar("G", bound=Hashable)


class Members(Sequence[K]):
    """The keys of one group, sorted: what is there now, not to be kept."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: list[Any] = []

    def __getitem__(self, position: Any) -> Any:
        return self._keys[position]

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[K]:
        return iter(self._keys)

    def add(self, key: K) -> None:
        """Let ``key`` be one of them."""
        insort(self._keys, key)

    def discard(self, key: K) -> None:
        """Let ``key``, which is one of them, be none any more."""
        del self._keys[bisect_left(self._keys, key)]


class Index(Collection[G, Sequence[K]]):
    """The keys of ``source``, sorted, by the groups that ``groups`` names for each key and its value.

    A key is where it was when it was worked out last. So one that becomes unknown stays. Of one that was never known
    nobody can say where it belongs: ``perhaps`` names the groups that it may be in, ``None`` are all there may be, and
    what reads those is unknown too.
    """

    def __init__(
        self,
        graph: Graph,
        name: str,
        source: Derived[K, V],
        groups: Callable[[K, V], Iterable[G]],
        *,
        perhaps: Callable[[K], Iterable[G] | None] = lambda _: None,
    ) -> None:
        super().__init__(graph, name)
        self._source: Derived[K, Any] = source
        self._groups: Callable[[K, Any], Iterable[G]] = groups
        self._perhaps = perhaps
        self._of: dict[K, tuple[G, ...]] = {}
        self._lost: dict[K, tuple[Unknown, tuple[G, ...] | None]] = {}
        self._lost_in: dict[G, dict[K, None]] = {}
        self._lost_anywhere: dict[K, None] = {}
        source.index(self)

    def _new(self, key: G) -> Node:
        return Node(self, key, None, State.FRESH)

    # --- for who reads

    def members(self, group: G) -> Sequence[K]:
        """Return the keys of ``group``, as far as they are known, not to be kept."""
        node = self._nodes.get(group)
        members: Sequence[K] | None = node.value if node is not None else None
        return () if members is None else members

    def freshen(self, group: G) -> None:
        """Bring every member up to date, which may take it elsewhere."""
        waiting = self._source.waiting
        members = self.members(group)
        if not waiting or not members:
            return
        if len(waiting) < len(members):
            stale = [node for node in waiting if group in self._of.get(node.key, ())]
        else:
            stale = [node for node in map(self._source.node, members) if node in waiting]
        for node in stale:
            self.graph.refresh(node)

    def doubt(self, group: G) -> Unknown | None:
        """Return why there may be members of ``group`` that nobody knows; ``None`` where there are none."""
        for lost in (self._lost_in.get(group, ()), self._lost_anywhere):
            for key in lost:
                return self._lost[key][0]
        return None

    def has(self, group: G) -> bool:
        """Whether there are members of ``group``, or there may be some that name it."""
        return super().has(group) or group in self._lost_in

    def known_keys(self) -> list[G]:
        """Return the groups of which there are members, or there may be some that name them."""
        return list(dict.fromkeys((*super().known_keys(), *self._lost_in)))

    def get(self, group: G) -> Known[Sequence[K]]:
        """Return what is known of a group now."""
        return self.doubt(group) or self.members(group) or None

    # --- what changes

    def groups_of(self, key: K, value: object) -> tuple[G, ...]:
        """Return the groups that a key is in."""
        return tuple(dict.fromkeys(self._groups(key, value)))

    def move(self, key: K, groups: tuple[G, ...]) -> None:
        """A key is in these groups now, and in no other."""
        self._find(key)
        before = self._of.pop(key, ())
        if groups:
            self._of[key] = groups
        for group in before:
            if group not in groups:
                self._change(group, lambda members: members.discard(key))
        for group in groups:
            if group not in before:
                self._change(group, lambda members: members.add(key))

    def lose(self, key: K, reason: Unknown) -> None:
        """Nobody knows where a key belongs."""
        if key in self._of or (key in self._lost and self._lost[key][0] == reason):
            return
        self._find(key)
        try:
            perhaps = self._perhaps(key)
        except Exception:  # noqa: BLE001 - it is lost already; where that too fails, it may be anywhere
            perhaps = None
        groups = None if perhaps is None else tuple(dict.fromkeys(perhaps))
        self._lost[key] = (reason, groups)
        if groups is None:
            self._lost_anywhere[key] = None
        for group in groups or ():
            self._lost_in.setdefault(group, {})[key] = None
        self._look_again(groups)

    def _find(self, key: K) -> None:
        _, groups = self._lost.pop(key, (None, ()))
        if groups is None:
            del self._lost_anywhere[key]
        for group in groups or ():
            del self._lost_in[group][key]
            if not self._lost_in[group]:
                del self._lost_in[group]
        self._look_again(groups)

    def _look_again(self, groups: tuple[G, ...] | None) -> None:
        for group in list(self._nodes) if groups is None else groups:
            self._changed(group)

    def _change(self, group: G, change: Callable[[Members[K]], None]) -> None:
        node = self.node(group)
        members = Members[K]() if node.value is None else node.value
        change(members)
        node.value = members if len(members) else None
        self._changed(group)

    def _changed(self, group: G) -> None:
        node = self._nodes.get(group)
        if node is not None:
            self.graph.changed(node)
            self.drop_unless_needed(node)
        self._tell_followers(group)
