from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfed.api.times import EARLIEST, LATEST, parse_time
from meshfed_sandbox.apiserver.schema_formats import FORMATS
from tests.admitted import TIMES, times


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T09:30:00Z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        ("2026-01-31t09:30:00.25z", datetime(2026, 1, 31, 9, 30, 0, 250000, tzinfo=UTC)),
        ("2026-01-31T09:30:00.1234567891+02:00", datetime(2026, 1, 31, 7, 30, 0, 123456, tzinfo=UTC)),
        ("2026-01-31T09:30:00-99:99", datetime(2026, 2, 4, 14, 9, tzinfo=UTC)),
        ("2026-01-31T09:30:00Ztrailing\u0000", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        ("0000-02-29T00:00:00Z", EARLIEST),
        ("0001-01-01T00:00:00+01:00", EARLIEST),
        ("9999-12-31T23:59:59-01:00", LATEST),
    ],
)
def test_times_are_read_and_those_out_of_range_are_the_first_or_the_last(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31",
        "2026-01-31T09:30Z",
        "2026-01-31T09:30:00",
        "2026-02-30T00:00:00Z",
        "2026-01-01T23:59:60Z",
        "0000-13-01T00:00:00Z",
        "\u0662026-01-31T09:30:00Z",
        "20260131T093000Z",
        "2026-W05-6T09:30:00Z",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are of whoever finds what is wrong
        parse_time(text)
    assert not FORMATS["datetime"](text)


@pytest.mark.parametrize("text", TIMES)
def test_the_extremes_are_times_for_an_api_server_too(text: str) -> None:
    assert FORMATS["datetime"](text)
    assert EARLIEST <= parse_time(text) <= LATEST


@given(times() | st.from_regex(r"[0-9tTzZ:.+-]{0,30}", fullmatch=True) | st.text())
def test_it_is_a_time_exactly_where_an_api_server_says_so(text: str) -> None:
    try:
        parse_time(text)
    except ValueError:
        assert not FORMATS["datetime"](text)
    else:
        assert FORMATS["datetime"](text)
