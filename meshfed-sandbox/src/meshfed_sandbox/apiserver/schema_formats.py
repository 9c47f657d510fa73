"""String formats and patterns, as Go's validators judge them.

The API server checks formats with Go functions and patterns with RE2; both differ from Python's in corners that CRDs
in the wild do touch (`$` before a newline, POSIX classes, ports in IPv6 zones), so the differences live here.
"""

from __future__ import annotations

import base64
import functools
import ipaddress
import re
from collections.abc import Callable
from datetime import date
from typing import Final
from urllib.parse import urlsplit

__all__ = ["FORMATS", "compile_pattern"]

_POSIX: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "digit": "0-9",
    "lower": "a-z",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": r"0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_DOLLAR: Final = re.compile(r"(\\.)|(\[(?:\\.|\[:\w+:\]|[^\]\\])+\])|(\$)", re.DOTALL)


@functools.lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """`pattern`, written for RE2, as a Python pattern to `search` with.

    Raises:
        re.error: it is no regular expression.
    """

    def translate(match: re.Match[str]) -> str:
        escape, group, dollar = match.groups()
        if dollar:
            return r"\Z"
        if escape:
            return r"\Z" if escape == r"\z" else escape
        return re.sub(r"\[:(\w+):\]", lambda m: _POSIX.get(m.group(1), m.group(0)), group)

    return re.compile(_DOLLAR.sub(translate, pattern), re.ASCII)


def _matches(pattern: str, flags: re.RegexFlag = re.ASCII) -> Callable[[str], bool]:
    compiled = re.compile(pattern, flags)
    return lambda text: compiled.fullmatch(text) is not None


def _accepts(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def accepted(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return accepted


_HOSTNAME: Final = re.compile(
    r"[a-zA-Z0-9](?:-?[a-zA-Z0-9]{0,62})?|(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)+[a-zA-Z]{2,63}|"
    r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
)


def _is_hostname(text: str) -> bool:
    return len(text) <= 255 and _HOSTNAME.fullmatch(text) is not None and all(len(p) <= 63 for p in text.split("."))


def _is_ipv6(text: str) -> bool:
    return "%" not in text and _accepts(ipaddress.IPv6Address)(text)


def _is_cidr(text: str) -> bool:
    return "/" in text and "%" not in text and _accepts(ipaddress.ip_interface)(text)


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) or text.startswith("/")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:  # not base64, or not even ASCII
        return False
    return text != ""


_DATE: Final = re.compile("([0-9]{4})(-[0-9]{2}-[0-9]{2})")
_CLOCK: Final = re.compile("([01][0-9]|2[0-3])(:[0-5][0-9]){2}(.[0-9]+)?(z|[+-][0-9]{2}:[0-9]{2})")


def _is_date(text: str) -> bool:
    found = _DATE.fullmatch(text)
    # Go knows a year 0, which is a leap year.
    return found is not None and _accepts(date.fromisoformat)((found[1] if found[1] != "0000" else "0004") + found[2])


def _is_datetime(text: str) -> bool:
    # Either case, any mark before the fraction, any offset; and what follows a second t is not looked at.
    day, *rest = text.lower().split("t")
    return bool(rest) and _is_date(day) and _CLOCK.fullmatch(rest[0]) is not None


def _is_isbn(text: str, digits: int) -> bool:
    plain = text.replace("-", "").replace(" ", "")
    if len(plain) != digits or not re.fullmatch(r"\d+[\dX]" if digits == 10 else r"\d+", plain, re.ASCII):
        return False
    values = [10 if c == "X" else int(c) for c in plain]
    if digits == 10:
        return sum((i + 1) * v for i, v in enumerate(values)) % 11 == 0
    return sum(v * (3 if i % 2 else 1) for i, v in enumerate(values)) % 10 == 0


def _uuid(third: str = "[0-9a-f]{4}", fourth: str = "[0-9a-f]{4}") -> Callable[[str], bool]:
    return _matches(f"[0-9a-f]{{8}}-?[0-9a-f]{{4}}-?{third}-?{fourth}-?[0-9a-f]{{12}}", re.IGNORECASE)


_SHORT_NAME: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

FORMATS: Final[dict[str, Callable[[str], bool]]] = {
    "bsonobjectid": _matches("[0-9a-fA-F]{24}"),
    "byte": _is_base64,
    "cidr": _is_cidr,
    "creditcard": _matches(r"[\d -]{12,23}"),
    "date": _is_date,
    "datetime": _is_datetime,
    "duration": _matches(
        r"[+-]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)"
        r"|(\d+\s*(nanoseconds?|nanos?|ns|microseconds?|micros?|us|µs|milliseconds?|millis?|ms|seconds?|secs?|s|"
        r"minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|wks?|w)\s*)+"
    ),
    "email": _matches(r'(.*<)?[^@<>\s"]+@[^@<>\s"]+>?'),
    "hexcolor": _matches("#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "hostname": _is_hostname,
    "ipv4": _accepts(ipaddress.IPv4Address),
    "ipv6": _is_ipv6,
    "isbn": lambda text: _is_isbn(text, 10) or _is_isbn(text, 13),
    "isbn10": lambda text: _is_isbn(text, 10),
    "isbn13": lambda text: _is_isbn(text, 13),
    "k8slongname": _matches(rf"(?=.{{1,253}}\Z){_SHORT_NAME}(\.{_SHORT_NAME})*"),
    "k8sshortname": _matches(rf"(?=.{{1,63}}\Z){_SHORT_NAME}"),
    "mac": _matches("([0-9a-fA-F]{2}[:-]){5,7}[0-9a-fA-F]{2}|([0-9a-fA-F]{4}[.]){2,3}[0-9a-fA-F]{4}"),
    "password": lambda _: True,
    "rgbcolor": _matches(r"rgb\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)"),
    "ssn": _matches(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "uri": _is_uri,
    "uuid": _uuid(),
    "uuid3": _uuid("3[0-9a-f]{3}"),
    "uuid4": _uuid("4[0-9a-f]{3}", "[89ab][0-9a-f]{3}"),
    "uuid5": _uuid("5[0-9a-f]{3}", "[89ab][0-9a-f]{3}"),
}
"""The formats the API server checks, by their name without dashes; any other format is ignored, as it does."""
