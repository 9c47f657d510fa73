"""Derived collections: what is worked out is what would be worked out anew, and what is unknown is never absent."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshfed.derive import Context, Derived, Graph, Index, Input, Known, Node, Unknown
from meshfed.model.turns import Turns
from tests.derive.graphs import KEYS, Anew, Boom, Shape, World

shapes = st.builds(Shape, step=st.integers(0, 3), drop=st.integers(2, 4), by=st.integers(1, 3), perhaps=st.booleans())
keys, values = st.sampled_from(KEYS), st.integers(0, 7)
flows = st.sampled_from(["", "west"])
changes = st.one_of(
    st.tuples(st.just("put"), st.sampled_from("ab"), keys, values, flows),
    st.tuples(st.just("put"), st.sampled_from("ab"), keys, values, flows),
    st.tuples(st.just("remove"), st.sampled_from("ab"), keys, st.just(0), flows),
    st.tuples(st.sampled_from(["turn", "drain"]), st.just(""), keys, values, flows),
    st.tuples(st.just("read"), st.sampled_from(["sum", "total", "pair", "lazy", "last"]), keys, values, flows),
    st.tuples(st.just("take"), st.just(""), keys, values, flows),
)
doubts = st.one_of(
    st.tuples(st.just("unknown"), st.sampled_from("ab"), keys, st.just(0), flows),
    st.tuples(st.just("fail"), st.sampled_from(["sum", "total", "pair", "lazy", "last"]), keys, values, flows),
    st.tuples(st.just("mend"), st.just(""), keys, values, flows),
)
Step = tuple[str, str, int, int, str]


def apply(world: World, step: Step) -> None:
    what, where, key, value, flow = step
    inputs = {"a": world.a, "b": world.b}
    match what:
        case "put":
            inputs[where].put(key, value, flow)
        case "remove":
            inputs[where].put(key, None, flow)
        case "unknown":
            inputs[where].unknown(key, "it cannot be read", flow)
        case "turn":
            world.graph.turn()
        case "drain":
            world.drain()
        case "take":
            world.take()
        case "read":
            found = next(one for one in world.derived if one.name == where).get(key)
            # What an index has is as of when it was worked out; all else is as of now.
            assert where == "total" or found == Anew(world).values().get((where, key))
        case "fail":
            world.failing.add((where, key))
            again(world, where, key)
        case "mend":
            mend(world)


def again(world: World, name: str, key: Any) -> None:
    """Have what is there of a key worked out again."""
    found = next(one for one in world.derived if one.name == name).nodes.get(key)
    if found is not None:
        world.graph.again(found)


def mend(world: World) -> None:
    failing, world.failing = world.failing, set()
    for name, key in failing:
        again(world, name, key)


def agree(world: World) -> None:
    """Hold a world against what is worked out anew, and its outputs against what it is."""
    world.drain()
    anew = Anew(world).values()
    assert world.values() == anew
    outputs = {where: value for where, value in anew.items() if where[0] in {"total", "leader", "count", "last"}}
    assert world.outputs == outputs


@given(shapes, st.lists(changes, max_size=40))
@settings(max_examples=200, deadline=None)
def test_what_is_worked_out_is_what_would_be_anew(shape: Shape, steps: list[Step]) -> None:
    world = World(shape)
    for step in steps:
        apply(world, step)
    agree(world)


@given(shapes, st.lists(st.one_of(changes, doubts), max_size=40), st.booleans())
@settings(max_examples=300, deadline=None)
def test_once_everything_is_known_again_it_is_as_if_it_had_never_been_unknown(
    shape: Shape, steps: list[Step], incomplete: bool
) -> None:
    world = World(shape, incomplete=incomplete)
    for step in steps:
        apply(world, step)
    for one in (world.a, world.b):
        one.complete()
        for key in KEYS:
            if isinstance(one.get(key), Unknown):
                one.put(key, key + 1)
    mend(world)
    agree(world)
    assert not world.faults


@given(shapes, st.lists(st.one_of(changes, doubts), max_size=40), st.booleans())
@settings(max_examples=300, deadline=None)
def test_what_is_unknown_is_never_taken_for_absent(shape: Shape, steps: list[Step], incomplete: bool) -> None:
    """Beside a world with doubts goes the truth, which nobody sees: what there is by it is there, or unknown."""
    world, truth = World(shape, incomplete=incomplete), dict[str, dict[int, int]](a={}, b={})
    for step in steps:
        what, where, key, value, _ = step
        if what == "put":
            truth[where][key] = value
        elif what == "remove" or (what == "unknown" and incomplete is False and key not in truth[where]):
            truth[where].pop(key, None)
        apply(world, step)
    world.drain()
    failing, world.failing = world.failing, set()
    true = Anew(world, truth).values()
    world.failing = failing
    for (name, key), value in true.items():
        # Of a key that nobody has heard of there is no output, which does not say that it is absent: who asks is told.
        if name == "total":
            found = world.outputs.get((name, key)) or world.by_sum.get(key)
            assert found == value or isinstance(found, Unknown)
        if name == "last":
            found = world.outputs.get((name, key)) or world.b.get(key)
            assert found == value or isinstance(found, Unknown)


@given(shapes, st.lists(changes, max_size=30))
@settings(max_examples=150, deadline=None)
def test_nothing_is_worked_out_in_vain(shape: Shape, steps: list[Step]) -> None:
    world = World(shape)
    for step in steps:
        apply(world, step)
    world.drain()
    world.calls.clear()
    for one in (world.a, world.b):
        for key in KEYS:
            known = one.get(key)
            if isinstance(known, int):
                one.put(key, known)
    world.drain()
    assert world.calls == []


@given(shapes, st.lists(st.one_of(changes, doubts), max_size=40))
@settings(max_examples=150, deadline=None)
def test_nothing_is_remembered_of_what_is_gone(shape: Shape, steps: list[Step]) -> None:
    world = World(shape)
    for step in steps:
        apply(world, step)
    mend(world)
    for one in (world.a, world.b):
        for key in KEYS:
            one.put(key, None)
    world.drain()
    assert {one.name: one.size for one in world.collections if one.size} == {
        "count": 1,  # it is always there, and reads three groups
        "by pair": 2,
        "tally": 1,
    }
    assert not world.by_sum._of
    assert not world.by_pair._of
    assert not world.by_sum._lost
    world.graph.outputs()
    gc.collect()
    nodes = [one for one in gc.get_objects() if isinstance(one, Node) and one.collection in world.collections]
    assert len(nodes) == 4 + 2  # and an input's own, for all of its keys
    assert not world.leads._first
    assert not world.leads._numbers
    assert not world.leads._unknown
    assert not world.queue._order_of
    assert not world.tally._places


class Hosts:
    """What is offered by record, by host, and what is served under each host: the hosts of all its offers."""

    def __init__(self, perhaps: Callable[[str], Any] = lambda _: None) -> None:
        self.calls = Counter[str]()
        graph = self.graph = Graph(Turns[Any](), lambda *_: None)
        self.hosts = Input[str, str](graph, "host")
        self.offers = Derived[str, str](graph, "offer", self._offer, over=[self.hosts])
        self.by_host = Index[str, str](graph, "by host", self.offers, lambda _, host: host.split(), perhaps=perhaps)
        self.served = Derived[str, list[str]](graph, "served", self._served, over=[self.by_host], output=True)

    def _offer(self, context: Context, record: str) -> str | None:
        host = context.get(self.hosts, record)
        return None if host is None else host.lower()

    def _served(self, context: Context, host: str) -> list[str] | None:
        self.calls[host] += 1
        found: dict[str, str | None] = {
            record: context.get(self.offers, record) for record in context.members(self.by_host, host)
        }
        return [f"{record} {offered}" for record, offered in found.items()] or None

    def drain(self) -> dict[str, Any]:
        """Work out everything that waits, and return the outputs that changed."""
        while self.graph.turn():
            pass
        return {change.key: change.value for change in self.graph.outputs()}


def test_what_comes_out_as_it_was_goes_no_further() -> None:
    world = Hosts()
    world.hosts.put("one", "a")
    assert world.drain() == {"a": ["one a"]}
    world.hosts.put("one", "A")
    assert world.drain() == {}
    assert world.calls == {"a": 1}


def test_nothing_is_made_of_a_member_that_belongs_elsewhere_by_now() -> None:
    world = Hosts()
    world.hosts.put("one", "a")
    world.hosts.put("two", "a")
    world.drain()
    world.hosts.put("one", "b")
    world.graph.again(world.served.node("a"))
    assert world.served.get("a") == ["two a"]
    assert world.drain() == {"a": ["two a"], "b": ["one b"]}


def test_what_changes_while_it_is_worked_out_has_it_worked_out_again() -> None:
    world = Hosts()

    def asked(context: Context, _: str) -> tuple[int, str | None]:
        before = len(context.members(world.by_host, "b"))
        moved: str | None = context.get(world.offers, "one")
        return before, moved

    counts = Derived[str, tuple[int, str | None]](world.graph, "asked", asked, keys=["all"], output=True)
    world.hosts.put("one", "a")
    world.drain()
    world.hosts.put("one", "b")
    world.graph.again(counts.node("all"))
    assert counts.get("all") == (0, "b"), "it has counted before it finds out who is there"
    assert counts.get("all") == (1, "b")


def test_all_keys_are_unknown_until_they_are_listed() -> None:
    graph = Graph(Turns[Any]())
    given = Input[int, int](graph, "given", incomplete="it was not listed")
    every = Derived[str, int](graph, "every", lambda context, _: len(context.keys(given)), keys=["all"])
    given.put(1, 1)
    assert every.get("all") == given.get(2) == Unknown("it was not listed")
    assert given.get(1) == 1
    given.complete()
    assert (every.get("all"), given.get(2)) == (1, None)


def test_a_fault_is_over_once_nobody_asks_any_more() -> None:
    heard: list[tuple[str, bool]] = []

    def function(context: Context, key: int) -> int:
        raise Boom(str(key))

    graph = Graph(Turns[Any](), lambda node, error: heard.append((str(node), error is not None)))
    assert isinstance(Derived[int, int](graph, "it", function).get(1), Unknown)
    assert heard == [("it 1", True), ("it 1", False)]


def test_a_key_that_is_lost_leaves_the_groups_alone_in_which_it_cannot_be() -> None:
    world = Hosts(perhaps=lambda record: [record])
    lost = Unknown("it cannot be decoded")
    world.hosts.put("one", "a")
    world.hosts.put("two", "b")
    assert world.drain() == {"a": ["one a"], "b": ["two b"]}
    world.hosts.unknown("c", lost.reason)
    assert world.drain() == {"c": lost}
    world.hosts.unknown("a", lost.reason)
    assert world.drain() == {"a": lost}, "it may be in there, unheard of"
    world.hosts.unknown("two", lost.reason)
    assert world.drain() == {"b": lost}
    assert list(world.by_host.members("b")) == ["two"], "it is where it was"
    world.hosts.put("c", "b")
    assert world.drain() == {"c": None}
    world.hosts.put("two", "b")
    world.hosts.put("a", None)
    assert world.drain() == {"a": ["one a"], "b": ["c b", "two b"]}


def test_a_key_of_which_nobody_can_say_where_it_is_leaves_nothing_certain() -> None:
    world = Hosts()
    world.hosts.put("one", "a")
    world.drain()
    world.hosts.unknown("two", "it cannot be decoded")
    assert world.drain() == {"a": Unknown("it cannot be decoded")}
    assert world.by_host.get("b") == Unknown("it cannot be decoded")
    world.hosts.put("two", None)
    assert world.drain() == {"a": ["one a"]}
    assert world.by_host.get("b") is None


def single(function: Callable[[Context, int], Any], failed: Any = None) -> tuple[Graph, Derived[int, Any]]:
    graph = Graph(Turns[Any](), failed)
    return graph, Derived(graph, "it", function, keys=[1], output=True)


def test_without_anybody_to_hear_of_it_an_exception_goes_to_whoever_asked() -> None:
    def function(context: Context, key: int) -> int:
        raise Boom(str(key))

    graph, collection = single(function)
    for _ in range(2):
        with pytest.raises(Boom):
            collection.get(1)
    with pytest.raises(Boom):
        graph.turn()


def test_what_is_worked_out_from_itself_is_a_fault_of_it() -> None:
    heard: list[tuple[str, Any]] = []

    def function(context: Context, key: int) -> Any:
        return context.get(collection, key)

    graph, collection = single(function, lambda node, error: heard.append((str(node), error)))
    graph.turn()
    assert "is worked out from itself" in str(collection.get(1))
    assert [where for where, _ in heard] == ["it 1"]


def test_a_fault_is_told_once_it_comes_and_once_it_is_over() -> None:
    heard: list[bool] = []
    failing = True

    def function(context: Context, key: int) -> int:
        if failing:
            raise Boom("with\na break")
        return key

    graph, collection = single(function, lambda _, error: heard.append(error is not None))
    graph.turn()
    assert collection.get(1) == Unknown("a fault of Meshfed's own: Boom: with a break")
    failing = False
    assert isinstance(collection.get(1), Unknown), "nothing that it reads changed"
    graph.again(collection.node(1))
    graph.turn()
    assert collection.get(1) == 1
    assert heard == [True, False]


def test_who_can_decide_without_asks_so() -> None:
    graph = Graph(Turns[Any]())
    given = Input[int, int](graph, "given")

    def function(context: Context, key: int) -> int:
        known: Known[int] = context.known(given, key)
        return 0 if isinstance(known, Unknown) else 1

    derived = Derived[int, int](graph, "derived", function, over=[given])
    given.unknown(1, "nobody says")
    assert derived.get(1) == 0


def test_an_explanation_is_what_was_read() -> None:
    world = World(Shape(step=1, drop=7))
    world.a.put(1, 2)
    world.b.put(2, 3)
    world.drain()
    found = world.totals.node(1)
    assert [str(one) for one in found.reads] == ["by sum 1", "sum 1"]
    assert [str(one) for one in found.reads[1].reads] == ["a 1", "b 2"]


def test_who_leads_is_unknown_where_nobody_ever_said_how_many_may() -> None:
    world = World(Shape(by=1, drop=7))
    world.a.put(1, 2)
    world.b.unknown(0, "it cannot be read")
    world.drain()
    assert world.leaders.get(1) == Unknown("it cannot be read")
    world.b.put(0, 3)
    world.drain()
    assert world.leaders.get(1) is True
    world.b.unknown(0, "it cannot be read")
    world.drain()
    assert world.leaders.get(1) is True, "as many as before"


def test_one_key_more_changes_who_leads_for_one_other_alone() -> None:
    world = World(Shape(step=0, by=1, drop=100))
    world.b.put(0, 2)
    for key, value in ((1, 4), (2, 3), (3, 2)):
        world.a.put(key, value)
    world.drain()
    assert [key for key in KEYS if world.leaders.get(key)] == [1, 2]
    world.calls.clear()
    world.a.put(0, 5)
    world.drain()
    assert [key for key in KEYS if world.leaders.get(key)] == [0, 1]
    assert sorted(key for name, key in world.calls if name == "leader") == [0, 2]


@pytest.mark.parametrize("number", [100, 3000])
def test_a_change_costs_the_same_however_much_there_is(number: int) -> None:
    graph = Graph(Turns[Any]())
    given = Input[int, int](graph, "given")
    calls = Counter[str]()

    def double(context: Context, key: int) -> int | None:
        calls["double"] += 1
        value = context.get(given, key)
        return None if value is None else value * 2

    doubled = Derived[int, int](graph, "doubled", double, over=[given])
    by_tens = Index[int, int](graph, "by tens", doubled, lambda _, value: [value % 10])

    def count(context: Context, group: int) -> int:
        calls["count"] += 1
        return len(context.members(by_tens, group))

    counts = Derived[int, int](graph, "count", count, over=[by_tens], output=True)
    for key in range(number):
        given.put(key, key)
    while graph.turn():
        pass
    calls.clear()
    given.put(7, 8)
    while graph.turn():
        pass
    assert calls == {"double": 1, "count": 2}
    assert counts.get(6) == number // 5 + 1
