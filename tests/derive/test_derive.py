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
from tests.derive.graphs import KEYS, Anew, Boom, Shape, World

shapes = st.builds(Shape, step=st.integers(0, 3), drop=st.integers(2, 4), by=st.integers(1, 3), perhaps=st.booleans())
keys, values = st.sampled_from(KEYS), st.integers(0, 7)
flows = st.sampled_from(["", "west"])
changes = st.one_of(
    st.tuples(st.just("put"), st.sampled_from("ab"), keys, values, flows),
    st.tuples(st.just("put"), st.sampled_from("ab"), keys, values, flows),
    st.tuples(st.just("remove"), st.sampled_from("ab"), keys, st.just(0), flows),
    st.tuples(st.sampled_from(["turn", "drain"]), st.just(""), keys, values, flows),
    st.tuples(st.just("take"), st.just(""), keys, values, flows),
)
doubts = st.one_of(
    st.tuples(st.just("unknown"), st.sampled_from("ab"), keys, st.just(0), flows),
    st.tuples(st.just("fail"), st.sampled_from(["sum", "total", "pair", "half", "last"]), keys, values, flows),
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
            world.graph.work(2)
        case "drain":
            world.drain()
        case "take":
            world.take()
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
        if what == "unknown":
            world.drain()  # what becomes unknown counts as it was when it was worked out last, so that has to be now
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
    assert not world.by_sum.lost
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
        graph = self.graph = Graph(lambda *_: None)
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
        while not self.graph.is_fresh:
            self.graph.work(1)
        return {change.key: change.value for change in self.graph.outputs()}


def test_what_comes_out_as_it_was_goes_no_further() -> None:
    world = Hosts()
    world.hosts.put("one", "a")
    assert world.drain() == {"a": ["one a"]}
    world.hosts.put("one", "A")
    assert world.drain() == {}
    assert world.calls == {"a": 1}


def test_no_function_sees_a_mixture_of_before_and_after() -> None:
    """However little is worked out at a time: a host moves from one record to another, and is never without one."""
    world = Hosts()
    world.hosts.put("one", "a")
    world.hosts.put("two", "b")
    world.drain()
    seen: list[Any] = []
    world.hosts.put("one", "b")
    world.hosts.put("two", "a")
    while not world.graph.is_fresh:
        world.graph.work(1)
        seen += [change.value for change in world.graph.outputs() if change.key == "a"]
    assert seen == [["two a"]]


def test_all_keys_are_unknown_until_they_are_listed() -> None:
    graph = Graph()
    held = Input[int, int](graph, "held", incomplete="it was not listed")
    every = Derived[str, int](graph, "every", lambda context, _: len(context.keys(held)), keys=["all"])
    held.put(1, 1)
    graph.work(100)
    assert every.get("all") == held.get(2) == Unknown("it was not listed")
    assert held.get(1) == 1
    held.complete()
    graph.work(100)
    assert (every.get("all"), held.get(2)) == (1, None)


def test_what_fails_on_what_is_gone_goes_on_failing() -> None:
    heard: list[tuple[str, bool]] = []

    def function(context: Context, key: int) -> int:
        raise Boom(str(key))

    graph = Graph(lambda node, error: heard.append((str(node), error is not None)))
    held = Input[int, int](graph, "held")
    derived = Derived[int, int](graph, "it", function, over=[held], output=True)
    held.put(1, 1)
    graph.work(100)
    assert isinstance(derived.get(1), Unknown)
    held.put(1, None)
    graph.work(100)
    assert heard == [("it 1", True), ("it 1", True)], "it fails on that, too"
    assert derived.size == 1


def test_nothing_fails_any_more_of_what_is_gone() -> None:
    heard: list[bool] = []

    def function(context: Context, key: int) -> int | None:
        known: int | None = context.get(held, key)
        if known is not None:
            raise Boom(str(key))
        return None

    graph = Graph(lambda _, error: heard.append(error is not None))
    held = Input[int, int](graph, "held")
    derived = Derived[int, int](graph, "it", function, over=[held], output=True)
    held.put(1, 1)
    graph.work(100)
    held.put(1, None)
    graph.work(100)
    assert heard == [True, False]
    assert derived.size == 0


def test_where_a_key_may_be_anywhere_nobody_can_say_what_there_is_of_a_group() -> None:
    """Neither of one that was asked for before, nor of one that is asked for since; nor what follows from it."""
    world = Hosts()
    above = Derived[str, list[str]](
        world.graph, "above", lambda context, host: context.get(world.served, host), over=[world.served]
    )
    wanted = Input[str, bool](world.graph, "wanted")

    def is_absent(context: Context, host: str) -> bool | None:
        return context.get(above, host) is None if context.get(wanted, host) else None

    asked = Derived[str, bool](world.graph, "asked", is_absent, over=[wanted], output=True)
    lost = Unknown("it cannot be decoded")
    wanted.put("before", True)
    assert world.drain() == {"before": True}
    world.hosts.unknown("one", lost.reason)
    assert world.drain() == {"before": lost}
    wanted.put("since", True)
    assert world.drain() == {"since": lost}
    world.hosts.put("one", "elsewhere")
    assert world.drain() == {"before": True, "since": True, "elsewhere": ["one elsewhere"]}
    assert (above.size, world.served.size) == (3, 3), "what there is nothing of is there for who asks"
    wanted.put("before", None)
    wanted.put("since", None)
    world.drain()
    assert (asked.size, above.size, world.served.size) == (0, 1, 1)


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
    assert world.drain() == {"b": lost, "two": lost}, "it may be elsewhere by now"
    assert list(world.by_host.members("b")) == ["two"], "it is where it was"
    world.hosts.put("c", "b")
    assert world.drain() == {"c": None}
    world.hosts.put("two", "b")
    world.hosts.put("a", None)
    assert world.drain() == {"a": ["one a"], "b": ["c b", "two b"], "two": None}


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
    graph = Graph(failed)
    return graph, Derived(graph, "it", function, keys=[1], output=True)


def test_without_anybody_to_hear_of_it_an_exception_goes_to_whoever_has_it_worked_out() -> None:
    def function(context: Context, key: int) -> int:
        raise Boom(str(key))

    graph, _ = single(function)
    for _ in range(2):
        with pytest.raises(Boom):
            graph.work(100)


def test_what_is_worked_out_from_itself_is_a_fault_of_it() -> None:
    heard: list[tuple[str, Any]] = []

    def function(context: Context, key: int) -> Any:
        return context.get(collection, key)

    graph, collection = single(function, lambda node, error: heard.append((str(node), error)))
    graph.work(100)
    assert "it 1 reads it 1, which is worked out after it" in str(collection.get(1))
    assert [where for where, _ in heard] == ["it 1"]


def test_a_fault_is_told_once_it_comes_and_once_it_is_over() -> None:
    heard: list[bool] = []
    failing = True

    def function(context: Context, key: int) -> int:
        if failing:
            raise Boom("with\na break")
        return key

    graph, collection = single(function, lambda _, error: heard.append(error is not None))
    graph.work(100)
    assert collection.get(1) == Unknown("a fault of Meshfed's own: Boom: with a break")
    failing = False
    assert isinstance(collection.get(1), Unknown), "nothing that it reads changed"
    graph.again(collection.node(1))
    graph.work(100)
    assert collection.get(1) == 1
    assert heard == [True, False]


def test_who_can_decide_without_asks_so() -> None:
    graph = Graph()
    held = Input[int, int](graph, "held")

    def function(context: Context, key: int) -> int:
        known: Known[int] = context.known(held, key)
        return 0 if isinstance(known, Unknown) else 1

    derived = Derived[int, int](graph, "derived", function, over=[held])
    held.unknown(1, "nobody says")
    graph.work(100)
    assert derived.get(1) == 0


def test_whoever_gave_reason_to_a_change_is_named() -> None:
    world = Hosts()
    world.hosts.put("one", "a", "west")
    world.hosts.put("two", "a", "south")
    world.hosts.put("two", "a b", "south")
    world.graph.work(100)
    assert {change.key: change.flows for change in world.graph.outputs()} == {"a": ("west", "south"), "b": ("south",)}


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
    graph = Graph()
    held = Input[int, int](graph, "held")
    calls = Counter[str]()

    def double(context: Context, key: int) -> int | None:
        calls["double"] += 1
        value = context.get(held, key)
        return None if value is None else value * 2

    doubled = Derived[int, int](graph, "doubled", double, over=[held])
    by_tens = Index[int, int](graph, "by tens", doubled, lambda _, value: [value % 10])

    def count(context: Context, group: int) -> int:
        calls["count"] += 1
        return len(context.members(by_tens, group))

    counts = Derived[int, int](graph, "count", count, over=[by_tens], output=True)
    for key in range(number):
        held.put(key, key)
    graph.work(100_000)
    calls.clear()
    held.put(7, 8)
    graph.work(100_000)
    assert calls == {"double": 1, "count": 2}
    assert counts.get(6) == number // 5 + 1


def test_a_function_may_say_itself_that_nobody_knows() -> None:
    graph = Graph()
    stated = Input[str, int](graph, "stated")

    def even(context: Context, key: str) -> int | None:
        value = context.get(stated, key)
        if value is not None and value % 2:
            context.unknown(f"{value} is odd")
        return value

    evens = Derived[str, int](graph, "even", even, over=[stated])
    following = Derived[str, int](graph, "following", lambda context, key: context.get(evens, key), over=[evens])
    for value, expected in ((2, 2), (3, Unknown("3 is odd")), (4, 4)):
        stated.put("a", value)
        while not graph.work(10):
            pass
        assert (evens.get("a"), following.get("a")) == (expected, expected)
