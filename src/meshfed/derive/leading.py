"""Whether a key is among the first of its group. `meshfed.derive` says what collections are for."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, TypeVar

from meshfed.derive.collections import Collection, Derived
from meshfed.derive.graph import Graph, Node, Unknown
from meshfed.derive.index import Index

K = TypeVar("K", bound=Hashable)
G = TypeVar("G", bound=Hashable)


class Leading(Collection[K, bool]):
    """True for the keys of an index that are among the first of their group, as many as ``numbers`` says; else absent.

    No key is in two groups. One key more or less changes that of one other at most, and that is all that is marked.
    Where a number becomes unknown, it stays as it was; where it was never known, nobody can say who leads.
    """

    def __init__(self, graph: Graph, name: str, index: Index[G, K], numbers: Derived[G, int]) -> None:
        super().__init__(graph, name)
        self._index: Index[Any, K] = index
        self._numbers: dict[Any, int] = {}
        self._unknown: dict[Any, Unknown] = {}
        self._first: set[K] = set()
        index.lead(self)
        numbers.index(self)

    def _new(self, key: K) -> Node:
        return Node(self, key, self._value_of(key))

    def _value_of(self, key: K) -> bool | Unknown | None:
        if key in self._first:
            return True
        return next((self._unknown[group] for group in self._index.groups(key) if group in self._unknown), None)

    def _look_again(self, keys: Iterable[K]) -> None:
        for key in keys:
            node = self.nodes.get(key)
            value = self._value_of(key) if node is not None else None
            if node is not None and node.value != value:
                self.graph.put(node, value)
                self.drop_unless_needed(node)

    def joined(self, group: Hashable, key: K, position: int) -> None:
        """A group has one key more, at a position."""
        number, members = self._numbers.get(group, 0), self._index.members(group)
        displaced = members[number : number + 1] if position < number else ()
        if position < number:
            self._first.add(key)
            self._first.difference_update(displaced)
        self._look_again((key, *displaced))

    def left(self, group: Hashable, key: K) -> None:
        """A group has one key less."""
        number, members = self._numbers.get(group, 0), self._index.members(group)
        following = members[number - 1 : number] if key in self._first else ()
        self._first.discard(key)
        self._first.update(following)
        self._look_again((key, *following))

    # --- as what goes by each number

    def place_of(self, _group: Hashable, number: int | None) -> int:
        """Return how many of a group may lead."""
        return number or 0

    def move(self, group: Hashable, number: int) -> None:
        """As many of a group may lead now."""
        before, members = self._numbers.pop(group, 0), self._index.members(group)
        was_unknown = self._unknown.pop(group, None) is not None
        if number:
            self._numbers[group] = number
        self._first.update(members[before:number])
        self._first.difference_update(members[number:before])
        self._look_again(members if was_unknown else members[min(before, number) : max(before, number)])

    def lose(self, group: Hashable, reason: Unknown) -> None:
        """Nobody knows how many may lead."""
        if group not in self._numbers:
            self._unknown[group] = reason
            self._look_again(self._index.members(group))

    def _is_needed(self, node: Node) -> bool:
        return False
