"""When ways are proven: a trickle in the long run, and soon what is new or does not answer."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from meshfed.model.meshes import GatewayAddress
from meshfed.model.probes import Way
from meshfed.probe import Line, Pace, Schedule

PACE = Pace()


def way(number: int) -> Way:
    return Way(GatewayAddress("192.0.2.20", 15443), f"outbound_.80_._.host-{number}")


def proven(
    schedule: Schedule, *, since: float, until: float, broken: frozenset[Way] = frozenset()
) -> list[tuple[float, Way]]:
    """Everything that is proven in a time, when the handshakes take none."""
    found, now = [], since
    while now < until:
        taken = schedule.take(now)
        if taken is None:
            now = max(schedule.next(), now)
            continue
        found.append((now, taken))
        schedule.found(taken, now, Line.BROKEN if taken in broken else Line.ANSWERING)
    return found


def schedule(number: int) -> Schedule:
    made = Schedule(jitter=random.Random(1))
    for one in range(number):
        made.soon(way(one), 0.0)
    return made


@pytest.mark.parametrize("number", [1, 5, 200])
def test_in_the_long_run_a_gateway_sees_one_handshake_a_second_at_most(number: int) -> None:
    made = schedule(number)
    first = proven(made, since=0.0, until=2 * number * PACE.burst + 1)
    assert {one for _, one in first} == {way(one) for one in range(number)}, "all are proven soon, within the limit"
    later = proven(made, since=1000.0, until=2000.0)
    assert len(later) <= 1000 / PACE.gap * 1.15
    assert set(Counter(one for _, one in later)) == {way(one) for one in range(number)}, "each has its turn"


def test_what_is_new_does_not_wait_for_a_round_of_the_others() -> None:
    made = schedule(300)
    proven(made, since=0.0, until=400.0)
    made.soon(way(1000), 400.0)
    assert way(1000) in [one for _, one in proven(made, since=400.0, until=400.0 + 3 * PACE.burst)]


def test_what_is_not_believed_is_tried_again_soon() -> None:
    made = schedule(100)
    proven(made, since=0.0, until=200.0)
    made.soon(way(7), 200.0)
    now = made.next()
    assert made.take(max(now, 200.0)) == way(7)
    made.found(way(7), now, Line.DOUBTED)
    times = [when for when, one in proven(made, since=now, until=now + 10) if one == way(7)]
    assert times[0] - now <= 1.1 * PACE.again + 2 * PACE.burst


@pytest.mark.parametrize("number", [1, 6, 12, 300])
def test_what_does_not_answer_delays_nothing_that_does(number: int) -> None:
    broken = frozenset(way(1000 + one) for one in range(number))
    made = schedule(5)
    for one in sorted(broken):
        made.soon(one, 0.0)
    proven(made, since=0.0, until=400.0, broken=broken)
    found = Counter(one in broken for _, one in proven(made, since=400.0, until=1000.0, broken=broken))
    assert found[False] >= 600 / PACE.gap * 0.7
    assert found[True] >= min(600 / PACE.rest * number * 0.7, 600 / PACE.burst * 0.4)


def test_what_is_asked_for_again_and_again_keeps_its_place() -> None:
    made = schedule(50)
    taken = []
    for step in range(100):
        made.soon(way(49), float(step))
        found = made.take(float(step))
        if found is not None:
            taken.append(found)
            made.found(found, float(step), Line.ANSWERING)
    assert way(49) in taken


def test_never_two_within_the_limit() -> None:
    made = schedule(50)
    times = [now for now, _ in proven(made, since=0.0, until=500.0, broken=frozenset(map(way, range(0, 50, 2))))]
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= PACE.burst * 0.999


def test_what_is_dropped_is_proven_no_more() -> None:
    made = schedule(2)
    made.drop(way(0))
    taken = made.take(0.0)
    assert taken == way(1)
    made.drop(way(1))
    made.found(way(1), 1.0, Line.ANSWERING)
    assert made.next() == float("inf")
    assert not len(made)
