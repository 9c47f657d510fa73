"""Indexes: the keys of a collection by what their values say. `meshfed.derive` says what they are for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from meshfed.derive.collections import Collection, Derived
from meshfed.derive.graph import Graph, Known, Unknown

if TYPE_CHECKING:
    from meshfed.derive.leading import Leading

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
G = TypeVar("G", bound=Hashable)
Place: TypeAlias = tuple[tuple[G, ...], Any]
"""The groups that a key is in, and what it is sorted by there."""


class Index(Collection[G, Sequence[K]]):
    """The keys of ``source``, sorted, by the groups that ``groups`` names for each key and its value.

    ``order`` says what they are sorted by instead; no two of a group may be equal in it. A key is where it was when it
    was worked out last. So one that becomes unknown stays, and may be in others by now: ``perhaps`` names the groups
    that it may be in, and what reads those is unknown too. Of one that was in none nobody else can say where it
    belongs, and ``None`` are all groups that there may be.
    """

    def __init__(
        self,
        graph: Graph,
        name: str,
        source: Derived[K, V],
        groups: Callable[[K, V], Iterable[G]],
        *,
        perhaps: Callable[[K], Iterable[G] | None] = lambda _: None,
        order: Callable[[K, V], Any] | None = None,
    ) -> None:
        super().__init__(graph, name)
        self._order: Callable[[K, Any], Any] | None = order
        self._order_of: dict[K, Any] = {}
        self._groups: Callable[[K, Any], Iterable[G]] = groups
        self._perhaps = perhaps
        self._of: dict[K, tuple[G, ...]] = {}
        self.lost: dict[K, tuple[Unknown, tuple[G, ...] | None]] = {}
        self._lost_in: dict[G, dict[K, None]] = {}
        self._lost_anywhere: dict[K, None] = {}
        self._leading: list[Leading[K]] = []
        source.index(self)

    def lead(self, leading: Leading[K]) -> None:
        """Tell ``leading`` of every key that joins or leaves a group."""
        self._leading.append(leading)

    # --- for who reads

    def members(self, group: G) -> Sequence[K]:
        """Return the keys of ``group``, as far as they are known, not to be kept."""
        node = self.nodes.get(group)
        members: Sequence[K] | None = node.value if node is not None else None
        return () if members is None else members

    def groups(self, key: K) -> tuple[G, ...]:
        """Return the groups that a key is in, as far as that is known."""
        return self._of.get(key, ())

    def doubt(self, group: G) -> Unknown | None:
        """Return why there may be members of ``group`` that nobody knows; ``None`` where there are none."""
        if self.lost:
            for lost in (self._lost_in.get(group, ()), self._lost_anywhere):
                for key in lost:
                    return self.lost[key][0]
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

    def place_of(self, key: K, value: object) -> Place[G]:
        """Return the groups that a key is in, and what it is sorted by."""
        if value is None:
            return (), None
        order = None if self._order is None else self._order(key, value)
        return tuple(dict.fromkeys(self._groups(key, value))), order

    def move(self, key: K, place: Place[G]) -> None:
        """A key is in these groups now, and in no other."""
        groups, order = place
        if key in self.lost:
            self._find(key)
        before = self._of.get(key, ())
        if before == groups and order == self._order_of.get(key):
            return
        self._of.pop(key, None)
        stays = set(before) & set(groups) if order == self._order_of.get(key) else set[G]()
        for group in before:
            if group not in stays:
                self._leave(group, key)
        if groups:
            self._of[key] = groups
        if order is not None and groups:
            self._order_of[key] = order
        else:
            self._order_of.pop(key, None)
        for group in groups:
            if group not in stays:
                self._join(group, key)

    def lose(self, key: K, reason: Unknown) -> None:
        """Nobody knows where a key belongs."""
        before = self._of.get(key)
        try:
            perhaps = self._perhaps(key)
        except Exception:  # noqa: BLE001 - it is lost already; where that too fails, it may be anywhere
            perhaps = None
        groups = None if perhaps is None else tuple(dict.fromkeys(perhaps))
        if before is not None:
            groups = tuple(group for group in groups or () if group not in before)
        if key in self.lost:
            if self.lost[key] == (reason, groups):
                return
            self._find(key)
        if groups == () and before is not None:
            return  # it is where it was
        self.lost[key] = (reason, groups)
        if groups is None:
            self._lost_anywhere[key] = None
        for group in groups or ():
            self._lost_in.setdefault(group, {})[key] = None
        self._look_again(groups)

    def _find(self, key: K) -> None:
        _, groups = self.lost.pop(key)
        if groups is None:
            del self._lost_anywhere[key]
        for group in groups or ():
            del self._lost_in[group][key]
            if not self._lost_in[group]:
                del self._lost_in[group]
        self._look_again(groups)

    def _look_again(self, groups: tuple[G, ...] | None) -> None:
        for group in list(self.nodes) if groups is None else groups:
            self._changed(group)
        if groups is None:
            self._doubt_followers()

    @property
    def lost_anywhere(self) -> bool:
        """Whether there is a key that may be in any group."""
        return bool(self._lost_anywhere)

    def _join(self, group: G, key: K) -> None:
        node, position = self.node(group), 0
        if node.value is None:
            node.value = [key]
        else:
            position = self._position(node.value, key)
            node.value.insert(position, key)
        for leading in self._leading:
            leading.joined(group, key, position)
        self._changed(group)

    def _leave(self, group: G, key: K) -> None:
        node = self.nodes[group]
        del node.value[self._position(node.value, key)]
        if not node.value:
            node.value = None
        for leading in self._leading:
            leading.left(group, key)
        self._changed(group)

    def _position(self, members: list[Any], key: K) -> int:
        if self._order is None:
            return bisect_left(members, key)
        return bisect_left(members, self._order_of[key], key=self._order_of.__getitem__)

    def _changed(self, group: G) -> None:
        node = self.nodes.get(group)
        if node is not None:
            self.graph.changed(node)
            self.drop_unless_needed(node)
        self._tell_followers(group)
