"""Turns: each key once, what is small and new before what is large and old, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from meshfed.model.turns import Turns

KEYS = st.integers(0, 9)
FLOWS = st.sampled_from(["east", "west", "south"])
STEPS = st.lists(st.one_of(st.tuples(KEYS, FLOWS, st.integers(0, 2)), st.integers(1, 4)), max_size=80)
"""A key, its flow and its rank are added; by a number, as many are taken."""


def taken(turns: Turns[str], most: int = 1) -> Iterator[list[str]]:
    """Every turn until nothing waits."""
    while turn := turns.take(most)[1]:
        yield turn


@given(STEPS)
def test_each_key_that_waits_is_taken_once_in_the_turn_of_a_flow_that_waits_for_it(
    steps: list[tuple[int, str, int] | int],
) -> None:
    turns: Turns[int] = Turns()
    waiting: dict[int, set[str]] = {}
    for step in [*steps, *[4] * 40]:
        if isinstance(step, tuple):
            key, flow, rank = step
            turns.add(key, flow, rank=rank)
            waiting.setdefault(key, set()).add(flow)
        else:
            chosen, keys = turns.take(step)
            assert len(keys) <= step
            assert bool(keys) == bool(waiting), "as long as a key waits, one is taken"
            assert all(chosen in waiting.pop(key) for key in keys)
        assert len(turns) == len(waiting)
        assert [key for key in range(10) if key in turns] == sorted(waiting)
    assert not waiting


@given(st.lists(st.tuples(FLOWS, st.integers(1, 8)), min_size=1, max_size=6), st.integers(1, 5))
def test_a_flow_waits_for_one_turn_of_each_other_at_most(arrivals: list[tuple[str, int]], most: int) -> None:
    """Whatever waits already, and whatever more comes for the others while it waits."""
    turns: Turns[str] = Turns()
    for number, (flow, count) in enumerate(arrivals):
        for each in range(count):
            turns.add(f"{flow} {number}.{each}", flow)
    turns.add("mine", "north")
    others = []
    while (turn := turns.take(most))[1] != ["mine"]:
        others.append(turn[0])
        turns.add(f"more {len(others)}", turn[0])
    assert len(others) == len(set(others))


def test_flows_take_turns_and_one_that_is_new_comes_first() -> None:
    turns: Turns[str] = Turns()
    for number in range(1000):
        turns.add(f"west-{number}", "west")
    assert [turns.take()[1] for _ in range(2)] == [["west-0"], ["west-1"]]
    turns.add("east-0", "east")
    turns.add("east-1", "east")
    assert [turns.take()[1] for _ in range(5)] == [["east-0"], ["west-2"], ["east-1"], ["west-3"], ["west-4"]]


def test_a_flow_that_comes_back_again_and_again_is_not_new_each_time() -> None:
    turns: Turns[str] = Turns()
    turns.add("west-0", "west")
    turns.add("south-0", "south")
    order = []
    for number in range(1, 20):
        (key,) = turns.take()[1]
        order.append(key.partition("-")[0])
        turns.add(f"west-{number}", "west")
        turns.add(f"south-{number}", "south")
    assert order == ["west", "south"] * 9 + ["west"]


def test_in_a_flow_the_lowest_rank_comes_first_and_a_turn_is_of_one_rank() -> None:
    turns: Turns[str] = Turns()
    for key, rank in (("report-1", 5), ("decide-1", 0), ("decide-2", 0), ("report-2", 5), ("decide-3", 0)):
        turns.add(key, "west", rank=rank)
    assert list(taken(turns, 2)) == [["decide-1", "decide-2"], ["decide-3"], ["report-1", "report-2"]]


def test_a_key_that_two_wait_for_does_not_wait_behind_what_only_one_does() -> None:
    turns: Turns[str] = Turns()
    for number in range(100):
        turns.add(f"west-{number}", "west")
    turns.add("shared", "west")
    turns.add("shared", "east")
    assert [turns.take()[1] for _ in range(2)] == [["west-0"], ["shared"]]
    assert len(turns) == 99
    assert "shared" not in {key for turn in taken(turns) for key in turn}
