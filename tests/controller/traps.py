"""Traps: any function that is given to `meshfed.derive`, and any decoder, can be made to raise for a key.

They are found by looking at the collections of each planner that is built, and at each reflector: so a new one is, too.
And `Reach` says what may follow from a value that a trap spoils, by what a planner without traps has read.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import msgspec
import pytest

from meshfed.controller.faults import Faults
from meshfed.derive import Collection, Context, Derived, Distinct, Index, Leading, SubsetIndex, SupersetIndex, Tally
from meshfed.derive.graph import Node
from meshfed.kube import Reflector
from meshfed.plan import Planner

RUNNING: ContextVar[Any] = ContextVar("RUNNING", default=None)
"""Whose code runs: what is called for nobody raises nothing."""
DECODER = "decoder of "
PARSER = "parser of "
"""What comes before the kind in the name of a decoder of ours, and in that of msgspec's."""
_KEPT = 12
"""The most keys of a function that are remembered."""
_HANDED_ON = (SubsetIndex, SupersetIndex)


class Boom(Exception):
    """What is raised."""


def text(key: Any) -> str:
    """A key as text, the same in every process."""
    if isinstance(key, frozenset):
        return f"{{{', '.join(sorted(map(text, key)))}}}"
    return repr(key)


class Fault:
    """A function that raises for each key in whose text there is ``word``."""

    def __init__(self, function: str, word: str) -> None:
        self.function = function
        self.word = word
        self.hits: dict[tuple[Any, Any], float] = {}
        """When it raised last, by who ran and for which key."""
        self.would: dict[Any, None] = {}
        """The keys for which it would have raised, had anybody run."""

    def __str__(self) -> str:
        return f"{self.function} for {self.word}"

    def hit(self, key: Any) -> bool:
        """Whether it is to raise; notes that it did, or would have."""
        if self.word not in text(key):
            return False
        if RUNNING.get() is None:
            self.would[key] = None
            return False
        self.hits[RUNNING.get(), key] = asyncio.get_running_loop().time()
        return True

    def recent(self, runner: Any, seconds: float) -> list[Any]:
        """The keys for which it raised within so many seconds for ``runner``."""
        since = asyncio.get_running_loop().time() - seconds
        return [key for (who, key), when in self.hits.items() if who is runner and when >= since]


class Traps:
    """The traps of all planners and reflectors that are built from now on; ``armed`` by the names of functions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.armed: dict[str, Fault] = {}
        self.called: dict[str, dict[Any, None]] = {}
        """Each function that was called, and for which keys lately."""
        self.parts: dict[str, Any] = {}
        """The collections of the planner that was built last, by name."""
        self._functions: dict[str, list[str]] = {}
        build, reflect, decoding = Planner.__init__, Reflector.__init__, Faults.decoding
        making: list[Any] = []

        def built(planner: Planner, *args: Any, **kwargs: Any) -> None:
            making.clear()
            build(planner, *args, **kwargs)
            self.parts = {name_of(one): one for one in making}
            assert len(self.parts) == len(making), "two collections have one name"
            for name, part in self.parts.items():
                if name not in self._functions:
                    self._functions[name] = list(functions_of(part))
                for attribute in self._functions[name]:
                    setattr(part, attribute, self._guarded(f"{name}: {attribute}", getattr(part, attribute)))

        def made(kind: Any) -> Any:
            make = kind.__init__

            def init(one: Any, *args: Any, **kwargs: Any) -> None:
                make(one, *args, **kwargs)
                making.append(one)

            return init

        def reflecting(reflector: Any, *args: Any, decode: Any = None, **kwargs: Any) -> None:
            reflect(reflector, *args, decode=decode, **kwargs)
            if decode is None:
                name = PARSER + reflector.resource.kind
                reflector._decode = self._reading(name, reflector._decode, msgspec.ValidationError)

        def ours(faults: Faults, kind: str, store: Any, decode: Any) -> Any:
            return decoding(faults, kind, store, self._reading(DECODER + kind, decode, Boom))

        for kind in (Collection, Distinct):
            monkeypatch.setattr(kind, "__init__", made(kind))
        monkeypatch.setattr(Planner, "__init__", built)
        monkeypatch.setattr(Reflector, "__init__", reflecting)
        monkeypatch.setattr(Faults, "decoding", ours)

    def _guarded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        called = self.called.setdefault(name, {})

        def call(*args: Any) -> Any:
            key = args[1] if isinstance(args[0], Context) else args[0]
            self._note(called, key)
            fault = self.armed.get(name)
            if fault is not None and fault.hit(key):
                raise Boom(str(fault))
            return function(*args)

        return call

    def _reading(self, name: str, decode: Callable[[Any], Any], error: type[Exception]) -> Callable[[Any], Any]:
        called = self.called.setdefault(name, {})

        def read(data: msgspec.Raw) -> Any:
            metadata = msgspec.json.decode(data, type=dict[str, Any])["metadata"]
            key = (metadata.get("namespace", ""), metadata["name"])
            self._note(called, key)
            fault = self.armed.get(name)
            if fault is not None and fault.hit(key):
                raise error(str(fault))
            return decode(data)

        return read

    def _note(self, called: dict[Any, None], key: Any) -> None:
        if RUNNING.get() is not None:
            called.pop(key, None)
            called[key] = None
            if len(called) > _KEPT:
                del called[next(iter(called))]


# --- what there is of functions


def name_of(part: Any) -> str:
    """What a part of a graph is called."""
    return str(part.name) if isinstance(part, Collection) else type(part).__name__


def functions_of(part: Any) -> Iterator[str]:
    """The attributes of a collection that are functions which it was given."""
    for attribute, value in vars(part).items():
        ours = type(getattr(value, "__self__", None)).__module__.startswith("meshfed.derive")
        if inspect.isroutine(value) and not inspect.isbuiltin(value) and not ours:
            yield attribute


# --- what may follow from what


class Reach:
    """What may be unknown where something is, by the graph of a planner that knows everything.

    Where a key becomes unknown, it stays in the groups of an index where it was, also if it should be gone since:
    ``doubted`` keeps those, by the name of the index, for as long as anything is spoilt.
    """

    def __init__(self, parts: dict[str, Any], doubted: set[tuple[str, Any]]) -> None:
        self._parts = parts
        self._doubted = doubted
        self._source: dict[str, Any] = {
            name_of(index): part for part in parts.values() for index in getattr(part, "_indexes", ())
        }
        self.nodes: dict[Node, None] = {}
        self._nothing: dict[str, set[Any]] = {}
        """By collection, keys of which there may be nothing, and yet nobody would know."""
        for name, group in list(doubted):
            self._doubt(parts[name], [group])

    def spoilt(self, fault: Fault, keys: list[Any]) -> None:
        """A function raised, or would, for these keys."""
        name, _, _attribute = fault.function.rpartition(": ")
        part = self._parts[name]
        source = self._source.get(name, part)
        if keys and fault.function.endswith("_perhaps"):
            self._add(part.nodes.values())  # then it may be anywhere
        if isinstance(part, _HANDED_ON) and (isinstance(source, Distinct) or fault.function.endswith("_where")):
            self._add(part.nodes.values())
        else:
            for key in keys:
                self.unknown(source, key)

    def unknown(self, source: Any, key: Any) -> None:
        """A value of a collection is unknown."""
        if isinstance(source, Distinct):
            self._lost(source._indexes, key)
            for groups in source._groups:
                self._add(node for group, node in groups.nodes.items() if group == groups._group(key))
        else:
            self._add([source.node(key)])

    def surely(self, collection: str, fault: Fault, keys: list[Any]) -> set[Any]:
        """The keys of a collection that go by values for which a function raised, and not by groups of such alone.

        Nor by values that are only come upon in groups: from a start on, nobody looks for them there.
        """
        name, _, _attribute = fault.function.rpartition(": ")
        source = self._source.get(name, self._parts[name])
        waiting = [source.nodes[key] for key in keys if key in source.nodes] if isinstance(source, Derived) else []
        found = dict.fromkeys(waiting)
        while waiting:
            node = waiting.pop()
            for reader in node.dependents:
                if reader not in found and not self._comes_upon(reader, node):
                    found[reader] = None
                    waiting.append(reader)
        return {node.key for node in found if node.collection.name == collection}

    def _comes_upon(self, reader: Node, node: Node) -> bool:
        """Whether who reads a value only knows of its key from a group, where it may not be if it was never known."""
        earlier = reader.reads[: reader.reads.index(node)]
        groups, told = set[Node](), set[Node]()
        for index in getattr(node.collection, "_indexes", ()):
            if isinstance(index, Index):
                perhaps = index._perhaps(node.key)
                silent = [] if perhaps is None else [one for one in index.groups(node.key) if one not in perhaps]
                groups.update(index.nodes[group] for group in silent if group in index.nodes)
            elif isinstance(index, _HANDED_ON):
                told.update(self._told(index, node.key))
        return told.isdisjoint(earlier) and any(one in groups or groups.intersection(one.reads) for one in earlier)

    def keys(self, collection: str) -> set[Any]:
        """The keys of a collection that may be unknown."""
        return {node.key for node in self.nodes if node.collection.name == collection} | self._nothing.get(
            collection, set()
        )

    def _add(self, nodes: Any) -> None:
        for node in list(nodes):
            if node not in self.nodes:
                self.nodes[node] = None
                self._add(node.dependents)
                if isinstance(node.collection, Derived):
                    self._lost(node.collection._indexes, node.key)

    def _lost(self, indexes: Any, key: Any) -> None:
        """Wherever a key is, or may be, there may be others than are known."""
        for index in indexes:
            if isinstance(index, Index):
                perhaps = index._perhaps(key)
                self._doubt(index, self._asked_for(index) if perhaps is None else {*perhaps, *index.groups(key)})
            elif isinstance(index, Leading):
                self._lead(index, [key])
            elif isinstance(index, Tally):
                self._add(index.nodes.values())
            elif isinstance(index, _HANDED_ON):
                self._add(self._told(index, key))

    @staticmethod
    def _asked_for(index: Any) -> set[Any]:
        """The groups in which there may be a key that may be anywhere: also those that were never worked out."""
        return {*index.nodes, *(group for follower in index._followers for group in follower.nodes)}

    @staticmethod
    def _told(index: Any, key: Any) -> list[Node]:
        """The sets asked for that a key may match of which nothing is known."""
        where = index._perhaps(key)
        return [node for items, node in index.nodes.items() if index._where(items) in {None, where}]

    def _doubt(self, index: Any, groups: Any) -> None:
        """There may be others in these groups than are known."""
        groups = list(groups)
        self._doubted.update((index.name, group) for group in groups)
        self._add(index.nodes[group] for group in groups if group in index.nodes)
        for leading in index._leading:
            self._lead(leading, groups)
        for follower in index._followers:
            self._add(follower.nodes[group] for group in groups if group in follower.nodes)
            self._nothing.setdefault(follower.name, set()).update(groups)

    def _lead(self, leading: Any, groups: Any) -> None:
        for group in groups:
            self._add(leading.nodes[key] for key in leading._index.members(group) if key in leading.nodes)
