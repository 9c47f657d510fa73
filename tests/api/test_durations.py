from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfed.api.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h30m", 5400), ("10m", 600), ("500ms", 0.5), ("0s", 0), ("1m1ms", 60.001), ("1.5h", 5400), ("90s", 90)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "10 m", "-1s", "1d", "m", "1h ", "1s\n", "\u0661s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write it as 10m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (5400, "1h30m"), (0.5, "500ms"), (61.25, "1m1s250ms"), (86400, "24h")]
)
def test_durations_are_written(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_there_is_no_duration_below_zero() -> None:
    with pytest.raises(ValueError, match="below zero"):
        format_duration(-1)


@given(st.integers(0, 10**12))
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000
