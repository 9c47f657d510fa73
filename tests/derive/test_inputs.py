"""What is known from outside, and who hears of it."""

from __future__ import annotations

from meshfed.derive import Context, Derived, Graph, Input, Unknown


def test_of_an_input_that_is_an_output_every_change_is_told_with_whoever_gave_reason_to_it() -> None:
    graph = Graph()
    told = Input[str, int](graph, "told", output=True)
    untold = Input[str, int](graph, "untold")
    for given in (told, untold):
        given.put("a", 1, "west")
        given.put("b", 1)
    assert [(one.collection, one.key, one.value, one.flows) for one in graph.outputs()] == [
        ("told", "a", 1, ("west",)),
        ("told", "b", 1, ("",)),
    ]
    told.put("b", 1)
    assert graph.outputs() == []
    told.unknown("b", "why")
    told.put("a", None)
    assert {one.key: one.value for one in graph.outputs()} == {"a": None, "b": Unknown("why")}


def test_a_function_hears_of_what_it_read_the_last_time_and_of_nothing_that_it_read_before() -> None:
    graph = Graph()
    which, values = Input[str, str](graph, "which"), Input[str, int](graph, "values")
    runs: list[int] = []

    def read(context: Context, key: str) -> int:
        runs.append(1)
        return context.get(values, context.get(which, key) or "") or 0

    derived = Derived[str, int](graph, "it", read, keys=["k"])
    for target, a, b in (("a", 1, 2), ("b", 1, 2), ("a", 3, 4), ("a", 5, 6)):
        which.put("k", target)
        values.put("a", a)
        values.put("b", b)
        graph.work(10)
        assert derived.get("k") == {"a": a, "b": b}[target]
    runs.clear()
    values.put("b", 7)
    assert graph.is_fresh
    values.put("a", 7)
    graph.work(10)
    assert (derived.get("k"), len(runs)) == (7, 1)
