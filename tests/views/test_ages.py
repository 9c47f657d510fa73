"""How long ago something was, as kubectl says it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from meshfed.views.ages import age, duration


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (12000, "3h20m"),
        (28800, "8h"),
        (172799, "47h"),
        (172800, "2d"),
        (180000, "2d2h"),
        (864000, "10d"),
        (63072000, "2y"),
    ],
)
def test_durations(seconds: int, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("since", "shown"),
    [("2026-01-01T00:00:00Z", "90s"), ("2026-01-01T00:01:31Z", "0s"), ("", "unknown"), ("soon", "unknown")],
)
def test_ages(since: str, shown: str) -> None:
    assert age(since, datetime(2026, 1, 1, 0, 1, 30, tzinfo=UTC)) == shown
