"""The graph under all collections: which value was worked out from which, what is marked, and whose turn it is."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from enum import Enum, auto
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import msgspec

V = TypeVar("V")

TURN: Final = 8
"""The most values that are worked out in one turn, so that others wait for milliseconds."""


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


class Queue(Protocol):
    """What waits to be worked out, in turns: see `meshfed.model.turns.Turns`."""

    def add(self, key: Any, flow: Hashable, *, rank: int = 0) -> None:
        """Let ``key`` wait, if it does not already."""

    def take(self, most: int = 1) -> tuple[Hashable, list[Any]]:
        """The flow whose turn it is, and up to ``most`` keys of its lowest rank; no keys where none waits."""

    def __len__(self) -> int:
        """How many keys wait."""


class State(Enum):
    """Whether a value is what its function would say now."""

    FRESH = auto()
    DOUBTFUL = auto()
    """Something that it was worked out from has to be looked at first, and may come out as it was."""
    STALE = auto()
    AT_WORK = auto()


class Node:
    """The value of one key of one collection."""

    __slots__ = ("collection", "dependents", "failed", "key", "reads", "state", "touched", "value")

    def __init__(self, collection: Owner, key: Any, value: Any, state: State) -> None:
        self.collection = collection
        self.key = key
        self.value = value
        self.state = state
        self.reads: tuple[Node, ...] = ()
        """What it was worked out from, in the order in which that was read."""
        self.dependents: dict[Node, None] = {}
        """What was worked out from it."""
        self.failed = False
        self.touched = False
        """Whether something that it reads changed while it was at work."""

    def __str__(self) -> str:
        shown = "/".join(map(str, self.key)) if isinstance(self.key, tuple) else str(self.key)
        return f"{self.collection.name} {shown}".rstrip()


class Owner(Protocol):
    """A collection, as the graph needs it."""

    name: str
    rank: int
    is_output: bool
    waiting: dict[Node, None] | None
    """Nodes that have to be worked out without anybody asking, of those that are; ``None`` where there are no such."""

    def work_out(self, node: Node, reads: dict[Node, None]) -> tuple[Any, Any]:
        """Return the value of a key, and where it stands in indexes, and put what it was made from into ``reads``.

        Whatever this raises is a fault of that value.
        """

    def settled(self, node: Node, before: Any, places: Any) -> None:
        """Take note that a value was worked out; ``places`` is ``None`` where it is unknown."""

    def drop_unless_needed(self, node: Node) -> None:
        """Forget a key that there is nothing of, and that nobody asks for."""


class Change(msgspec.Struct, frozen=True):
    """An output that is another: of which collection, under which key, and in the turn of which flow."""

    collection: str
    key: Any
    value: Any
    flow: Hashable


Failed: TypeAlias = Callable[[Node, Exception | None], None]
"""Called with a value whose function raised, and the error; without one, once it does no longer."""


class Graph:
    """All collections of one plan. Not for several threads; nothing here waits."""

    def __init__(self, queue: Queue, failed: Failed | None = None) -> None:
        self._queue = queue
        self.failed = failed
        """Hears of functions that raise. Without it the exception goes to whoever asked."""
        self._changed: dict[tuple[Owner, Hashable], tuple[Node, Hashable]] = {}
        self._collections = 0
        self.flow: Hashable = ""
        """Who gives reason to what is marked now: values are worked out in turns of flows."""

    def next_rank(self) -> int:
        """Return the rank of one more collection: whatever reads others is made after them, and comes after them."""
        self._collections += 1
        return self._collections

    # --- what changes

    def put(self, node: Node, value: Any) -> None:
        """Give ``node`` another value."""
        node.value = value
        if node.collection.is_output:
            self._changed[node.collection, node.key] = (node, self.flow)
        self.changed(node)

    def changed(self, node: Node) -> None:
        """Mark whatever has read ``node``."""
        for dependent in node.dependents:
            self.mark(dependent, stale=True)

    def mark(self, node: Node, *, stale: bool) -> None:
        """Have ``node`` worked out again before anybody reads it: it is ``stale``, or at least doubtful."""
        if node.state is State.AT_WORK:
            node.touched = True
            return
        was_fresh = node.state is State.FRESH
        if stale:
            node.state = State.STALE
        elif was_fresh:
            node.state = State.DOUBTFUL
        if was_fresh and not self.enqueue(node):
            for dependent in node.dependents:
                self.mark(dependent, stale=False)

    def enqueue(self, node: Node) -> bool:
        """Let a value wait for its turn, where it is worked out without anybody asking; says whether it is.

        What has read it need not be looked at before it is known to be another: one limit may stand behind thousands.
        """
        if node.collection.waiting is None:
            return False
        node.collection.waiting[node] = None
        self._queue.add(node, self.flow, rank=node.collection.rank)
        return True

    def again(self, node: Node, flow: Hashable = "") -> None:
        """Have a value worked out once more, in the turn of ``flow``, though nothing that it reads is another."""
        self.flow = flow
        self.mark(node, stale=True)

    # --- what is worked out

    def turn(self) -> bool:
        """Work out a few values of the flow whose turn it is; says whether any waited."""
        flow, nodes = self._queue.take(TURN)
        self.work(flow, nodes)
        return bool(nodes)

    def work(self, flow: Hashable, nodes: Iterable[Node]) -> None:
        """Work out values that waited, in the turn of ``flow``."""
        self.flow = flow
        for node in nodes:
            self.refresh(node)

    def outputs(self) -> list[Change]:
        """Return the outputs that changed since the last call, each once, what decides before what reports."""
        changed, self._changed = self._changed, {}
        return [
            Change(node.collection.name, node.key, node.value, flow)
            for node, flow in sorted(changed.values(), key=lambda one: one[0].collection.rank)
        ]

    def refresh(self, node: Node) -> None:
        """Bring the value of ``node`` up to date."""
        if node.state is State.FRESH:
            return
        for one in node.reads if node.state is State.DOUBTFUL else ():
            if one.state is not State.FRESH:
                self.refresh(one)
                if node.state is State.STALE:
                    break
        if node.state is State.DOUBTFUL:
            self._is_fresh(node)
        else:
            self._work_out(node)

    def _work_out(self, node: Node) -> None:
        reads: dict[Node, None] = {}
        before = node.value
        error: Exception | None = None
        node.state, node.touched = State.AT_WORK, False
        try:
            value, places = node.collection.work_out(node, reads)
            same = bool(before == value)
        except NotKnown as found:
            value, places, same = found.unknown, None, before == found.unknown
        except Exception as found:
            if self.failed is None:
                raise
            error, value, places = found, Unknown(f"a fault of Meshfed's own: {described(found)}"), None
            same = before == value
        finally:
            node.state = State.STALE
            self._note_reads(node, reads)
        self._is_fresh(node)
        if not same:
            self.put(node, value)
        if error is not None or node.failed:
            self._tell(node, error)
        node.collection.settled(node, before, places)
        if node.touched:
            self.mark(node, stale=True)

    def _tell(self, node: Node, error: Exception | None) -> None:
        if self.failed is not None and (error is not None or node.failed):
            node.failed = error is not None
            self.failed(node, error)

    @staticmethod
    def _is_fresh(node: Node) -> None:
        node.state = State.FRESH
        if node.collection.waiting is not None:
            node.collection.waiting.pop(node, None)

    @staticmethod
    def _note_reads(node: Node, reads: dict[Node, None]) -> None:
        before, node.reads = node.reads, tuple(reads)
        if before != node.reads:
            for one in before:
                if one not in reads:
                    del one.dependents[node]
                    one.collection.drop_unless_needed(one)

    def forget(self, node: Node) -> None:
        """Take note that a key is gone, and reads nothing any more."""
        self._is_fresh(node)
        node.touched = False
        self._tell(node, None)
        self._note_reads(node, {})


def described(error: BaseException) -> str:
    """An exception as a short text of one line; it may hold what a stranger sent."""
    text = "".join(char if char.isprintable() else " " for char in f"{type(error).__name__}: {error}")
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:199]}…"
