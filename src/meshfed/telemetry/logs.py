"""Logs: one line an event, as text for people or JSON for machines, with fields beside the message.

Fields are passed as ``extra={"remote": "west"}``, the standard library's way, so any handler can use them.
Text from a remote is escaped before it is written, so that nobody forges a log line.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, Literal

LogFormat = Literal["text", "json"]

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _stamp(record: logging.LogRecord) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{moment}.{int(record.msecs):03d}Z"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class TextFormatter(logging.Formatter):
    """``time LEVEL logger: message key=value ...``, with a traceback below where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        fields = "".join(f" {key}={_one_line(str(value))}" for key, value in _fields(record).items())
        name = record.name.removeprefix("meshfed.")
        line = f"{_stamp(record)} {record.levelname:<7} {name}: {_one_line(record.getMessage())}{fields}"
        if record.exc_info:
            # Indented, since an error's text may hold what a remote sent, line breaks and all.
            trace = self.formatException(record.exc_info).split("\n")
            line += "".join(f"\n    {_one_line(part)}" for part in trace)
        return line


class JSONFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, fields, ``error`` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        entry: dict[str, object] = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= _fields(record)
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def configure(*, level: str = "info", log_format: LogFormat = "text", levels: Mapping[str, int] | None = None) -> None:
    """Send this process's logs to standard error, at ``level`` (debug, info, warning, error) and above.

    ``levels`` are those of single loggers, by name, where they differ.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("meshfed").setLevel(level.upper())
    for name, number in (levels or {}).items():
        logging.getLogger(name).setLevel(number)


class LogThrottle:
    """Lets one line through per key and period, so that a caller at the door cannot fill the disk with logs.

    Remembers at most ``keys`` keys; the one unused for longest is forgotten first.
    """

    def __init__(self, *, period: float = 60.0, keys: int = 1024, clock: Callable[[], float] = time.monotonic) -> None:
        self._period = period
        self._keys = keys
        self._clock = clock
        self._last: OrderedDict[object, float] = OrderedDict()

    def ready(self, key: object) -> bool:
        """Whether a line about ``key`` is due; says yes at most once per period."""
        now = self._clock()
        last = self._last.get(key)
        if last is not None and now - last < self._period:
            return False
        self._last[key] = now
        self._last.move_to_end(key)
        while len(self._last) > self._keys:
            self._last.popitem(last=False)
        return True
