"""The graph under all collections: which value was worked out from which, and what is to be worked out again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Hashable
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import msgspec

V = TypeVar("V")
_FEW: Final = 4


class Unknown(msgspec.Struct, frozen=True):
    """Nobody can say just now, and why: words for a person."""

    reason: str


Known: TypeAlias = V | Unknown | None
"""A value; or ``None``, where it is known that there is none; or that it is unknown."""


class NotKnown(Exception):
    """A function has read what is unknown. Only the graph catches it."""

    def __init__(self, unknown: Unknown) -> None:
        super().__init__(unknown.reason)
        self.unknown = unknown


class Node:
    """The value of one key of one collection."""

    __slots__ = ("collection", "failed", "key", "readers", "reads", "value")

    def __init__(self, collection: Owner, key: Any, value: Any = None) -> None:
        self.collection = collection
        self.key = key
        self.value = value
        self.reads: tuple[Node, ...] = ()
        """What it was worked out from, in the order in which that was read."""
        self.readers: Node | tuple[Node, ...] | dict[Node, None] = ()
        """Its ``dependents`` as they are kept: most have one, and a dictionary is larger than all else of a node."""
        self.failed = False

    @property
    def dependents(self) -> Collection[Node]:
        """What was worked out from it."""
        return (self.readers,) if isinstance(self.readers, Node) else self.readers

    def read_by(self, reader: Node) -> None:
        """``reader`` is worked out from this."""
        known = self.dependents
        if isinstance(known, dict):
            known[reader] = None
        elif not known:
            self.readers = reader
        elif reader not in known:
            self.readers = (*known, reader) if len(known) < _FEW else dict.fromkeys((*known, reader))

    def unread_by(self, reader: Node) -> None:
        """``reader`` is worked out from this no more."""
        if isinstance(self.readers, dict):
            del self.readers[reader]
        else:
            left = tuple(one for one in self.dependents if one is not reader)
            self.readers = left[0] if len(left) == 1 else left

    def __str__(self) -> str:
        shown = "/".join(map(str, self.key)) if isinstance(self.key, tuple) else str(self.key)
        return f"{self.collection.name} {shown}".rstrip()


class Owner(Protocol):
    """A collection, as the graph needs it."""

    name: str
    rank: int
    is_output: bool

    def work_out(self, node: Node, reads: dict[Node, None]) -> tuple[Any, Any]:
        """Return the value of a key, and where it stands in indexes, and put what it was made from into ``reads``.

        Whatever this raises is a fault of that value.
        """

    def settled(self, node: Node, before: Any, places: Any) -> None:
        """Take note that a value was worked out; ``places`` is ``None`` where it is unknown."""

    def drop_unless_needed(self, node: Node) -> None:
        """Forget a key that there is nothing of, and that nobody asks for."""


Flows: TypeAlias = tuple[Hashable, ...]


class Change(msgspec.Struct, frozen=True):
    """An output that is another: of which collection, under which key, and all who gave reason to that."""

    collection: str
    key: Any
    value: Any
    flows: Flows


Failed: TypeAlias = Callable[[Node, Exception | None], None]
"""Called with a value whose function raised, and the error; without one, once it does no longer."""


class Graph:
    """All collections of one plan. Not for several threads; nothing here waits.

    ``marked`` is called whenever something comes to be worked out.
    """

    def __init__(self, failed: Failed | None = None, *, marked: Callable[[], None] = lambda: None) -> None:
        self._marked = marked
        self.failed = failed
        """Hears of functions that raise. Without it the exception goes to whoever has values worked out."""
        self._stale: list[dict[Node, Flows]] = []
        """By rank, what is to be worked out, and who gave reason to that."""
        self._changed: dict[tuple[Owner, Hashable], tuple[Node, Flows]] = {}
        self._flows: Flows = ()
        """Who gives reason to what is marked now."""
        self.unknown: dict[Node, None] = {}
        """The values that are unknown."""
        self._learned = False

    def next_rank(self) -> int:
        """Return the rank of one more collection. A function reads what was made before it, and nothing else."""
        self._stale.append({})
        return len(self._stale) - 1

    # --- what changes

    def for_(self, flow: Hashable) -> None:
        """``flow`` gives reason to what is marked from now on."""
        self._flows = (flow,)

    def put(self, node: Node, value: Any) -> None:
        """Give ``node`` another value."""
        before, node.value = node.value, value
        if isinstance(value, Unknown):
            self.unknown[node] = None
        elif isinstance(before, Unknown):
            self.unknown.pop(node, None)
            self._learned = True
        if node.collection.is_output:
            place = (node.collection, node.key)
            known = self._changed.get(place)
            self._changed[place] = (node, self._flows if known is None else _joined(known[1], self._flows))
        if node.readers:
            self.changed(node)

    def changed(self, node: Node) -> None:
        """Have whatever has read ``node`` worked out again."""
        for dependent in node.dependents:
            self.mark(dependent)

    def mark(self, node: Node) -> None:
        """Have ``node`` worked out again."""
        stale = self._stale[node.collection.rank]
        known = stale.get(node)
        stale[node] = self._flows if known is None else _joined(known, self._flows)
        self._marked()

    def again(self, node: Node, flow: Hashable = "") -> None:
        """Have a value worked out once more for ``flow``, though nothing that it reads is another."""
        self.for_(flow)
        self.mark(node)

    # --- what is worked out

    @property
    def is_fresh(self) -> bool:
        """Whether nothing is to be worked out, so that every value is what would be worked out anew."""
        return not any(self._stale)

    def work(self, most: int) -> bool:
        """Work out up to ``most`` values, those first that others read; return whether that was all."""
        for stale in self._stale:
            while stale:
                if not most:
                    return False
                most -= 1
                node = next(iter(stale))
                self._flows = stale.pop(node)
                self._work_out(node)
            stale.clear()  # else it keeps the memory that it needed at most
        return self.is_fresh

    def is_to_be_told(self, collection: Owner, key: Hashable) -> bool:
        """Whether an output changed since the last call of `outputs`."""
        return (collection, key) in self._changed

    def learned(self) -> bool:
        """Return whether something came to be known, since the last call, that was unknown."""
        learned, self._learned = self._learned, False
        return learned

    def outputs(self) -> list[Change]:
        """Return the outputs that changed since the last call, each once, what decides before what reports."""
        changed, self._changed = self._changed, {}
        return [
            Change(node.collection.name, node.key, node.value, flows)
            for node, flows in sorted(changed.values(), key=lambda one: one[0].collection.rank)
        ]

    def _work_out(self, node: Node) -> None:
        reads: dict[Node, None] = {}
        before = node.value
        error: Exception | None = None
        try:
            value, places = node.collection.work_out(node, reads)
            same = bool(before == value)
        except NotKnown as found:
            value, places, same = found.unknown, None, before == found.unknown
        except Exception as found:
            if self.failed is None:
                self.mark(node)
                raise
            error, value, places = found, Unknown(f"a fault of Meshfed's own: {described(found)}"), None
            same = before == value
        finally:
            read = tuple(reads)
            if read != node.reads:
                self._note_reads(node, read, reads)
        if not same:
            self.put(node, value)
        if error is not None or node.failed:
            self._tell(node, error)
        node.collection.settled(node, before, places)

    def _tell(self, node: Node, error: Exception | None) -> None:
        if self.failed is not None and (error is not None or node.failed):
            node.failed = error is not None
            self.failed(node, error)

    @staticmethod
    def _note_reads(node: Node, read: tuple[Node, ...], reads: Container[Node]) -> None:
        before, node.reads = node.reads, read
        for one in before:
            if one not in reads:
                one.unread_by(node)
                one.collection.drop_unless_needed(one)

    def forget(self, node: Node) -> None:
        """Take note that a key is gone, and reads nothing any more."""
        self._stale[node.collection.rank].pop(node, None)
        self.unknown.pop(node, None)
        self._tell(node, None)
        self._note_reads(node, (), ())


def _joined(some: Flows, more: Flows) -> Flows:
    return some if some == more or not more else tuple(dict.fromkeys((*some, *more)))


def described(error: BaseException) -> str:
    """An exception as a short text of one line; it may hold what a stranger sent."""
    text = "".join(char if char.isprintable() else " " for char in f"{type(error).__name__}: {error}")
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:199]}…"
