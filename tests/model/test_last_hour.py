"""What is kept of how long changes took: minutes of an hour, however many changes there are and whenever they come."""

from __future__ import annotations

import tracemalloc

import pytest

from meshfed.model.last_hour import (
    MINUTES,
    ChangesSeen,
    HourOfChanges,
    LastChange,
    LastHour,
    LastHours,
    MinuteOfChanges,
    together,
)


def hour_of(*changes: tuple[float, float]) -> LastHour:
    """Changes that took so many seconds, each with when it was in place."""
    hour = LastHour()
    for seconds, now in changes:
        hour.add(seconds, now)
    return hour


def test_changes_of_a_minute_are_counted_with_their_mean_and_the_slowest() -> None:
    hour = hour_of((0.1, 600), (0.3, 610), (0.2, 659.9), (5.0, 660))
    assert hour.seen(665) == HourOfChanges(
        (MinuteOfChanges(0, 1, 5.0, 5.0), MinuteOfChanges(1, 3, 0.2, 0.3)), LastChange(5.0, 5.0)
    )


def test_a_minute_without_a_change_is_missing_and_no_zero() -> None:
    hour = hour_of((0.1, 30), (0.2, 30 + 3 * 60), (0.4, 30 + 10 * 60))
    assert [(one.ago, one.mean) for one in hour.seen(30 + 12 * 60).minutes] == [(2, 0.4), (9, 0.2), (12, 0.1)]


@pytest.mark.parametrize("first", [0.0, 59.9, 3599.0, 3600.0, 86399.5, 1e9])
def test_a_minute_is_there_for_an_hour_and_then_gone(first: float) -> None:
    hour = hour_of((1.0, first))
    start = first // 60 * 60
    assert [one.ago for one in hour.seen(start + MINUTES * 60 - 0.1).minutes] == [MINUTES - 1]
    late = hour.seen(start + MINUTES * 60)
    assert late == HourOfChanges((), LastChange(1.0, round(start + MINUTES * 60 - first, 4)))


def test_a_minute_takes_the_place_of_the_one_an_hour_before() -> None:
    hour = hour_of(*((float(number), number * 60.0) for number in range(150)))
    found = hour.seen(149 * 60.0)
    assert [(one.ago, one.changes, one.mean) for one in found.minutes] == [
        (ago, 1, 149.0 - ago) for ago in range(MINUTES)
    ]


def test_where_time_stands_still_all_is_one_minute() -> None:
    hour = hour_of(*[(0.5, 7.0)] * 1000)
    assert hour.seen(7.0) == HourOfChanges((MinuteOfChanges(0, 1000, 0.5, 0.5),), LastChange(0.5, 0.0))


def test_it_takes_the_same_room_however_many_changes_there_are() -> None:
    hour = hour_of(*((0.001, number) for number in range(3600)))
    tracemalloc.start()
    try:
        for number in range(3600, 20 * 3600):
            hour.add(0.001, float(number))
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 60 * 200
    assert len(hour.seen(20 * 3600 - 1).minutes) == MINUTES


def test_nothing_is_said_until_it_is_measured_and_of_who_was_forgotten() -> None:
    hours = LastHours()
    hours.add("west", 1.0, 10)
    assert hours.seen(20) == ChangesSeen()
    hours.begin(20)
    hours.add("north", 2.0, 30)
    assert (hours.seen(50).measured, list(hours.seen(50).remotes)) == (30, ["north", "west"])
    hours.forget("west")
    hours.forget("nobody")
    assert list(hours.seen(50).remotes) == ["north"]
    hours.end()
    assert hours.seen(60) == ChangesSeen()
    hours.begin(70)
    assert hours.seen(80) == ChangesSeen(10)


def seen(measured: float | None, **remotes: HourOfChanges) -> ChangesSeen:
    return ChangesSeen(measured, remotes)


def test_what_replicas_measured_is_added_minute_by_minute() -> None:
    one = HourOfChanges((MinuteOfChanges(0, 1, 4.0, 4.0), MinuteOfChanges(5, 2, 1.0, 1.5)), LastChange(4.0, 20.0))
    other = HourOfChanges((MinuteOfChanges(3, 1, 9.0, 9.0), MinuteOfChanges(5, 6, 0.2, 0.5)), LastChange(9.0, 200.0))
    found = together([seen(500, west=one), ChangesSeen(), seen(3000, west=other, north=other)])
    assert found.measured == 500, "what was at the first before it began nobody knows"
    assert found.remotes["north"] == other
    assert found.remotes["west"] == HourOfChanges(
        (MinuteOfChanges(0, 1, 4.0, 4.0), MinuteOfChanges(3, 1, 9.0, 9.0), MinuteOfChanges(5, 8, 0.4, 1.5)),
        LastChange(4.0, 20.0),
    )
    assert together([seen(500, west=one)]) == seen(500, west=one)
    assert together([ChangesSeen(), ChangesSeen()]) == ChangesSeen()
