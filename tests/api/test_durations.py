from __future__ import annotations

import pytest

from meshfed.api.durations import parse_duration


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
