"""Selectors and what they select, both ways round: as one would find them by comparing all with all."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshfed.derive import ByGroup, Context, Derived, Distinct, Graph, Input, Known, SubsetIndex, SupersetIndex, Unknown

KEYS = range(5)
Items = frozenset[Any]
items = st.frozensets(st.sampled_from("wxyz"), max_size=3)
reasons = st.sampled_from(["it cannot be read", "nobody says"]).map(Unknown)
steps = st.lists(
    st.tuples(
        st.sampled_from(["things", "selectors"]),
        st.sampled_from(KEYS),
        items | items | items | st.none() | reasons,
        st.booleans(),
    ),
    max_size=40,
)
Step = tuple[str, int, Known[Items], bool]
"""What changes, and whether it is worked out at once."""


def where(asked: Items) -> bool | None:
    """Where a set is asked for: where even keys are, where odd ones are, or anywhere."""
    return {"x": True, "y": False}.get("".join(sorted(asked))[:1])


def is_even(key: int) -> bool:
    return key % 2 == 0


def may(key: int, asked: Items) -> bool:
    """Whether a key of which nothing is known may match."""
    return where(asked) in {None, is_even(key)}


def of_thing(value: Items, _there: bool) -> Items | None:
    return None if "z" in value else value


def of_selector(_key: Hashable, value: Items) -> Items | None:
    return None if "z" in value else value


class World:
    """Things that carry items, selectors of such, and for each selector: what it selects, and who selects the same."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.truth: dict[str, dict[int, Known[Items]]] = {"things": {}, "selectors": {}}
        graph = self.graph = Graph()
        self.things = Distinct[int, Items, Items](graph, lambda _, value: value)
        self.selectors = Input[int, Items](graph, "selector")
        self.read = Derived[int, Items](graph, "read", self._read, over=[self.selectors])
        self.carrying = SupersetIndex[Items](graph, "carrying", self.things, of_thing, perhaps=is_even, where=where)
        self.selecting = SubsetIndex[int](graph, "selecting", self.read, of_selector, perhaps=is_even, where=where)
        self.grouped = ByGroup[bool, int, Items](graph, "grouped", self.things, is_even)
        self.beside = Derived[int, Any](graph, "beside", self._beside, over=[self.selectors])
        self.selected = Derived[int, Items](graph, "selected", self._selected, over=[self.selectors])
        self.shared = Derived[int, Items](graph, "shared", self._shared, over=[self.selectors])

    def _read(self, context: Context, key: int) -> Items | None:
        return context.get(self.selectors, key)

    def _selected(self, context: Context, key: int) -> Items | None:
        self.calls.append(("selected", key))
        selector: Items | None = context.get(self.read, key)
        return None if selector is None else context.members(self.carrying, selector)

    def _shared(self, context: Context, key: int) -> Items | None:
        self.calls.append(("shared", key))
        selector: Items | None = context.get(self.read, key)
        return None if selector is None else context.members(self.selecting, selector)

    def _beside(self, context: Context, key: int) -> Any:
        """All things of the group that a selector's own key would be in."""
        return context.get(self.grouped, is_even(key)) if context.get(self.read, key) is not None else None

    def things_beside(self, key: int) -> Any:
        """What `_beside` should be."""
        selector = self.truth["selectors"].get(key)
        if selector is None or isinstance(selector, Unknown):
            return selector
        found = {one: value for one, value in self.truth["things"].items() if is_even(one) == is_even(key)}
        return next((value for value in found.values() if isinstance(value, Unknown)), found)

    def change(self, where: str, key: int, value: Known[Items]) -> None:
        if value is None:
            self.truth[where].pop(key, None)
        else:
            self.truth[where][key] = value
        given_to = self.things if where == "things" else self.selectors
        if isinstance(value, Unknown):
            given_to.unknown(key, value.reason)
        else:
            given_to.put(key, value)

    def expected(self, key: int, where: str) -> Known[Items]:
        selector = self.truth["selectors"].get(key)
        if selector is None or isinstance(selector, Unknown):
            return selector
        found = self.truth[where].items()
        doubts = [value for other, value in found if isinstance(value, Unknown) and may(other, selector)]
        if doubts:
            return doubts[0]
        known = [(one, value) for one, value in found if not isinstance(value, Unknown) and value is not None]
        if where == "things":
            return frozenset(value for _, value in known if selector <= value and "z" not in value)
        return frozenset(one for one, value in known if value <= selector and "z" not in value)


def same(found: Known[Items], expected: Known[Items]) -> bool:
    """Whether they are equal; which of several reasons is said does not matter."""
    return isinstance(found, Unknown) if isinstance(expected, Unknown) else found == expected


@given(steps)
@settings(max_examples=400, deadline=None)
def test_what_matches_is_what_comparing_all_with_all_finds(changes: list[Step]) -> None:
    world = World()
    for where, key, value, works in changes:
        world.change(where, key, value)
        if works:
            agree(world)
    agree(world)


def agree(world: World) -> None:
    world.graph.work(100_000)
    for one in KEYS:
        assert same(world.selected.get(one), world.expected(one, "things"))
        assert same(world.shared.get(one), world.expected(one, "selectors"))
        assert same(world.beside.get(one), world.things_beside(one))
    for one, asked in world.truth["selectors"].items():
        assert not isinstance(asked, frozenset) or same(
            world.selecting.get(asked) or frozenset(), world.shared.get(one)
        )


@given(steps)
@settings(max_examples=100, deadline=None)
def test_nothing_is_remembered_of_what_is_gone(changes: list[Step]) -> None:
    world = World()
    for where, key, value, works in changes:
        world.change(where, key, value)
        if works:
            world.graph.work(100_000)
    for key in KEYS:
        world.change("things", key, None)
        world.change("selectors", key, None)
    world.graph.work(100_000)
    assert (world.carrying.size, world.selecting.size, world.selected.size, world.grouped.size) == (0, 0, 0, 0)
    for index in (world.carrying, world.selecting):
        assert not index.lost
        for sets in (index._known, index._asked):
            assert not sets._sets
            assert not sets._under
    assert not world.things._values
    assert not world.things._numbers


def test_of_many_that_are_alike_one_more_or_less_works_nothing_out() -> None:
    world = World()
    world.change("selectors", 0, frozenset("w"))
    for key in range(1000):
        world.change("things", key, frozenset("wy"))
    world.graph.work(100_000)
    assert world.selected.get(0) == frozenset([frozenset("wy")])
    for value in (None, frozenset("wy")):
        world.change("things", 7, value)
        assert world.graph.is_fresh
    world.change("things", 7, frozenset("wx"))
    world.graph.work(100_000)
    assert world.selected.get(0) == frozenset([frozenset("wy"), frozenset("wx")])


def test_only_who_asks_for_what_changed_is_worked_out() -> None:
    world = World()
    world.change("selectors", 0, frozenset("y"))
    world.change("selectors", 1, frozenset("x"))
    world.graph.work(100_000)
    world.calls.clear()
    world.change("things", 4, frozenset("x"))
    world.change("things", 4, Unknown("it cannot be read"))
    world.graph.work(100_000)
    assert world.calls == [("selected", 1)]
    assert (world.selected.get(0), world.selected.get(1)) == (frozenset(), Unknown("it cannot be read"))


def test_of_many_that_are_unknown_in_one_place_the_first_is_enough() -> None:
    world = World()
    world.change("selectors", 1, frozenset("x"))
    world.change("things", 2, Unknown("it cannot be read"))
    world.graph.work(100_000)
    world.change("things", 4, Unknown("it cannot be read"))
    world.change("things", 2, None)
    assert world.selected.get(1) == Unknown("it cannot be read")
    world.graph.work(100_000)
    world.calls.clear()
    for key in (6, 8):
        world.change("things", key, Unknown("it cannot be read"))
    assert world.graph.is_fresh
    for key in (4, 6, 8):
        world.change("things", key, None)
    world.graph.work(100_000)
    assert world.selected.get(1) == frozenset()


def test_who_selects_the_same_before_and_after_is_no_news() -> None:
    world = World()
    world.change("selectors", 0, frozenset("wx"))
    world.change("selectors", 4, frozenset("w"))
    world.graph.work(100_000)
    assert world.shared.get(0) == frozenset({0, 4})
    world.calls.clear()
    world.change("selectors", 4, frozenset("x"))
    world.graph.work(100_000)
    assert ("shared", 0) not in world.calls


def test_who_is_unknown_is_found_nowhere_any_more() -> None:
    world = World()
    for key in (1, 3):
        world.change("selectors", key, frozenset("x"))
    world.graph.work(100_000)
    assert world.shared.get(1) == frozenset({1, 3})
    world.change("selectors", 3, Unknown("it cannot be read"))
    world.graph.work(100_000)
    assert world.shared.get(1) == frozenset({1}), "where it cannot be, nobody is in doubt"


@given(st.lists(items, min_size=100, max_size=100))
@settings(max_examples=5, deadline=None)
def test_many_under_one_item_are_found_as_few_are(many: list[Items]) -> None:
    world = World()
    for key, value in enumerate(many):
        world.change("selectors", key, value)
        world.change("things", key, value)
    world.graph.work(100_000)
    assert all(world.shared.get(key) == world.expected(key, "selectors") for key in range(len(many)))
    assert all(world.selected.get(key) == world.expected(key, "things") for key in range(len(many)))


class Failing:
    """A function that raises while it is ``armed``."""

    armed = True

    def __call__(self, _key: object) -> str:
        if self.armed:
            raise ValueError
        return "here"


@pytest.mark.parametrize("failing", ["perhaps", "where"])
def test_where_something_may_be_can_fail_too_and_stops_nothing(failing: str) -> None:
    heard: list[str] = []
    graph = Graph(lambda node, error: heard.append(f"{node} {error is None}"))
    function = Failing()
    given = {"perhaps": lambda _: "here", "where": lambda _: "here"} | {failing: function}
    selectors = Input[str, Items](graph, "selector")
    read = Derived[str, Items](graph, "read", lambda context, key: context.get(selectors, key), over=[selectors])
    index = SubsetIndex[str](graph, "selecting", read, lambda _, value: value, **given)
    asking = Derived[str, Items](graph, "asking", lambda c, _: c.members(index, frozenset("x")) or None, keys=["any"])
    selectors.put("a", frozenset("x"))
    assert graph.work(100)
    assert asking.get("any") == frozenset("a")
    selectors.unknown("b", "nobody says")
    assert graph.work(100)
    assert isinstance(asking.get("any"), Unknown)
    assert heard == ([] if failing == "perhaps" else ["asking any False"])
    function.armed = False
    selectors.put("b", frozenset("y"))
    assert graph.work(100)
    assert asking.get("any") == frozenset("a")
