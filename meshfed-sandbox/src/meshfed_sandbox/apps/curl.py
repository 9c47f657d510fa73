"""curl, as far as it is used to look whether a service answers: what ``kubectl exec`` runs in a Pod that has it."""

from __future__ import annotations

import argparse
import asyncio
import socket
import time
from collections.abc import Sequence
from typing import Final, NoReturn

import aiohttp
import msgspec

_SECONDS: Final = 30.0
_FAILED: Final = 22
_NO_ADDRESS, _NO_CONNECTION, _TOO_LATE, _NO_ANSWER, _USAGE, _NO_URL = 6, 7, 28, 52, 2, 3


class Ran(msgspec.Struct, frozen=True):
    """What a program said, and its exit code."""

    out: bytes = b""
    err: bytes = b""
    code: int = 0


class _Usage(Exception):
    """The command line cannot be understood."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Usage(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="curl", add_help=False, allow_abbrev=False)
    parser.add_argument("url")
    parser.add_argument("-s", "--silent", action="store_true")
    parser.add_argument("-S", "--show-error", action="store_true")
    parser.add_argument("-f", "--fail", action="store_true")
    parser.add_argument("-g", "--globoff", action="store_true")
    parser.add_argument("-i", "--include", action="store_true")
    parser.add_argument("-I", "--head", action="store_true")
    parser.add_argument("-k", "--insecure", action="store_true")
    parser.add_argument("-X", "--request", default="")
    parser.add_argument("-d", "--data", default="")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-o", "--output", choices=["/dev/null", "-"], default="-")
    parser.add_argument("-w", "--write-out", default="")
    parser.add_argument("-m", "--max-time", type=float, default=_SECONDS)
    parser.add_argument("--connect-timeout", type=float)
    return parser


async def curl(words: Sequence[str]) -> Ran:
    """Do what ``curl WORDS`` does, from where this is called; what it does not know is an error, as a usage of curl."""
    try:
        asked = _parser().parse_args(words)
    except _Usage as error:
        known = " ".join(option for action in _parser()._actions for option in action.option_strings[:1])  # noqa: SLF001
        text = f"curl: {error}; the sandbox's curl takes a URL and {known}\n"
        return Ran(err=text.encode(), code=_USAGE)
    began, status, out, problem, code = time.monotonic(), 0, b"", "", 0
    try:
        async with asyncio.timeout(asked.max_time):
            status, out = await _asked(asked)
    except TimeoutError:
        code, problem = _TOO_LATE, f"Operation timed out after {asked.max_time:g} seconds"
    except (aiohttp.InvalidURL, ValueError):
        code, problem = _NO_URL, f"URL rejected: {asked.url}"
    except aiohttp.ClientConnectorError as error:
        named = isinstance(error.os_error, socket.gaierror)
        code = _NO_ADDRESS if named else _NO_CONNECTION
        problem = f"Could not resolve host: {error.host}" if named else f"Failed to connect to {error.host}: {error}"
    except (aiohttp.ClientError, OSError) as error:
        code, problem = _NO_ANSWER, f"Empty reply from server: {error}"
    if asked.fail and status >= 400:
        out, code, problem = b"", _FAILED, f"The requested URL returned error: {status}"
    written = asked.write_out.replace("\\n", "\n").replace("%{time_total}", f"{time.monotonic() - began:.6f}")
    for name in ("%{http_code}", "%{response_code}"):
        written = written.replace(name, f"{status:03}")
    quiet = asked.silent and not asked.show_error
    return Ran(
        out=(out if asked.output == "-" else b"") + written.encode(),
        err=f"curl: ({code}) {problem}\n".encode() if problem and not quiet else b"",
        code=code,
    )


async def _asked(asked: argparse.Namespace) -> tuple[int, bytes]:
    """The status and what is printed of the answer."""
    url = asked.url if "://" in asked.url else f"http://{asked.url}"
    method = asked.request or ("HEAD" if asked.head else "POST" if asked.data else "GET")
    headers = dict(one.partition(":")[::2] for one in asked.header)
    headers = {name.strip(): value.strip() for name, value in headers.items()}
    if asked.data:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    timeout = aiohttp.ClientTimeout(total=None, connect=asked.connect_timeout)
    async with (
        aiohttp.ClientSession(
            timeout=timeout,
            headers={"User-Agent": "curl/8", "Accept": "*/*"},
            skip_auto_headers=["Accept-Encoding"],
        ) as session,
        session.request(
            method,
            url,
            headers=headers,
            data=asked.data.encode() or None,
            allow_redirects=False,
            ssl=not asked.insecure,
        ) as answer,
    ):
        body = await answer.read()
        if asked.include or asked.head:
            lines = [
                f"HTTP/1.1 {answer.status} {answer.reason}",
                *(f"{k.lower()}: {v}" for k, v in answer.headers.items()),
            ]
            body = "\r\n".join([*lines, "", ""]).encode() + body
        return answer.status, body
