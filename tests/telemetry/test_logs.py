"""Logs: one line an event, whatever text it carries."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from meshfed.telemetry.logs import JSONFormatter, LogThrottle, TextFormatter

FORGED = "x\n2026-01-01T00:00:00.000Z INFO    cli: all is well\r\x1b[2J\u2028\x85"


def _fail(text: str) -> None:
    raise ValueError(text)


def record(message: str, *args: object, failed: str = "", **fields: object) -> logging.LogRecord:
    """A warning of ``meshfed.fds``, with the traceback of an error that says ``failed``."""
    exc_info = None
    if failed:
        try:
            _fail(failed)
        except ValueError:
            exc_info = sys.exc_info()
    made = logging.LogRecord("meshfed.fds", logging.WARNING, __file__, 1, message, args, exc_info)
    made.created, made.msecs = 0.0, 7.0
    vars(made).update(fields)
    return made


def test_text_is_one_line_with_fields() -> None:
    assert TextFormatter().format(record("lost %s", "it", remote="west")) == (
        "1970-01-01T00:00:00.007Z WARNING fds: lost it remote=west"
    )


@pytest.mark.parametrize("place", ["message", "field"])
def test_nobody_forges_a_line_of_text(place: str) -> None:
    made = record("%s", FORGED) if place == "message" else record("said", host=FORGED)
    line = TextFormatter().format(made)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


def test_nobody_forges_a_line_below_a_traceback() -> None:
    first, *others = TextFormatter().format(record("failed", failed=FORGED)).splitlines()
    assert first.endswith("fds: failed")
    assert others
    assert all(line.startswith("    ") for line in others)


def test_json_is_one_object_with_fields_and_the_error() -> None:
    text = JSONFormatter().format(record("lost %s", FORGED, failed="oh", remote="west"))
    assert len(text.splitlines()) == 1
    entry = json.loads(text)
    assert entry.pop("error").endswith("ValueError: oh")
    assert entry == {
        "time": "1970-01-01T00:00:00.007Z",
        "level": "warning",
        "logger": "meshfed.fds",
        "message": f"lost {FORGED}",
        "remote": "west",
    }


def test_seldom_says_yes_once_a_period_and_forgets_the_oldest_keys() -> None:
    now = 0.0
    log_throttle = LogThrottle(period=60, keys=2, clock=lambda: now)
    assert [log_throttle.ready("a"), log_throttle.ready("a")] == [True, False]
    now = 60.0
    assert log_throttle.ready("a")
    assert [log_throttle.ready("b"), log_throttle.ready("c"), log_throttle.ready("a")] == [True, True, True], (
        "a was forgotten"
    )
