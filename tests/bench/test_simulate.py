"""What a simulated mesh has to do, counted: as much as a real one, and no more."""

from __future__ import annotations

from tests.bench.simulate import simulate

MESHES, SERVICES = 5, 3


def test_one_mesh_among_others() -> None:
    found = simulate("mesh", MESHES, SERVICES)
    start, quiet, own, other, churn, back, restart = found
    others = MESHES - 1
    assert start.writes > 3 * others * SERVICES
    assert quiet.writes == 0
    # A heartbeat each 20 to 30 s on each stream, with its answer.
    assert 2 * others * 20 <= quiet.messages_in <= 2 * others * 30
    assert own.messages_out >= others
    assert max(own.took) < 1
    assert other.writes <= 6
    assert churn.writes <= 6 * others
    assert max(back.took) <= 60
    assert back.writes <= 2 * others + 2
    assert restart.writes <= 3 * others + 6


def test_a_spoke_has_no_more_to_do_the_more_there_are() -> None:
    found = {one.what: one for one in simulate("spoke", 300, SERVICES)}
    assert found["start"].writes < 12 * SERVICES
    assert found["a change of another"].messages_in <= 2
    assert found["a change of another"].writes <= 6
