"""When a remote has been away for too long: counted from its loss, and never before somebody has looked."""

from __future__ import annotations

from meshfed.controller.remotes.absence import STARTING_SECONDS, Absence

LIMIT = 600.0


def test_it_counts_from_the_first_of_many_failures() -> None:
    absence = Absence()
    assert absence.too_long_at(LIMIT) is None
    absence.found_away(100.0, starting=False)
    absence.found_away(250.0, starting=False)
    assert absence.too_long_at(LIMIT) == 100.0 + LIMIT


def test_one_that_an_earlier_process_saw_begin_counts_once_it_is_confirmed() -> None:
    absence = Absence()
    absence.recall(-5000.0)
    assert absence.too_long_at(LIMIT) is None
    absence.found_away(3.0, starting=False)
    assert absence.too_long_at(LIMIT) == 3.0


def test_a_remote_that_is_only_starting_is_given_the_time_for_it() -> None:
    absence = Absence()
    absence.recall(-5000.0)
    absence.found_away(3.0, starting=True)
    absence.found_away(30.0, starting=True)
    assert absence.too_long_at(LIMIT) == 3.0 + STARTING_SECONDS
    absence.found_away(40.0, starting=False)
    assert absence.too_long_at(LIMIT) == 40.0


def test_it_is_acted_on_once_until_the_remote_was_here_or_the_policy_changes() -> None:
    absence = Absence()
    absence.found_away(0.0, starting=False)
    absence.acted_on()
    assert absence.too_long_at(LIMIT) is None
    absence.reconsider()
    assert absence.too_long_at(LIMIT) == LIMIT
    absence.acted_on()
    absence.end()
    assert absence.too_long_at(LIMIT) is None
    absence.found_away(1000.0, starting=True)
    assert absence.too_long_at(LIMIT) == 1000.0 + LIMIT
