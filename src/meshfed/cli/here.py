"""A request from where this runs, such as the Pod of a Job, told in the words of curl, which other Pods have."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from meshfed.kube import Ran

STARTING_SECONDS: Final = 10.0
"""For which a sidecar may just be starting: so long a name or a connection that is missing is tried again."""
_PAUSE: Final = 0.25
_MOST_BYTES: Final = 4096
_QUIT: Final = "http://127.0.0.1:15020/quitquitquit"
"""By which istio-agent ends the sidecar: a POST from the Pod itself."""
BAD_URL, NO_NAME, REFUSED, TOO_LATE, NO_TLS, NO_ANSWER = 3, 6, 7, 28, 35, 52
"""Exit codes of curl."""


async def send(url: str, seconds: float, *, starting: float = 0.0) -> Ran:
    """Send a GET, and return what curl would have ended with, and written to its output and to standard error.

    For ``starting`` seconds, what a sidecar that is not up yet would spoil is tried again.
    """
    until = time.monotonic() + starting
    while True:
        ran = await _once(url, seconds)
        if ran.code not in {NO_NAME, REFUSED} or time.monotonic() >= until:
            return ran
        await asyncio.sleep(_PAUSE)


async def _once(url: str, seconds: float) -> Ran:
    import ssl

    import aiohttp

    try:
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"User-Agent": "meshfed"},
                skip_auto_headers=["Accept-Encoding"],
                auto_decompress=False,
            ) as session,
            session.get(url, allow_redirects=False, ssl=ssl.create_default_context()) as answer,
        ):
            lines = [
                f"HTTP/1.1 {answer.status} {answer.reason}",
                *(f"{name}: {value}" for name, value in answer.headers.items()),
            ]
            body = await answer.content.read(_MOST_BYTES)
            return Ran(0, "\r\n".join([*lines, "", ""]).encode() + body, b"")
    except TimeoutError:
        return _failed(TOO_LATE, f"no answer after {seconds:g} s")
    except (aiohttp.InvalidURL, ValueError):
        return _failed(BAD_URL, f"{url} is no URL")
    except aiohttp.ClientConnectorDNSError as error:
        return _failed(NO_NAME, str(error.os_error))
    except aiohttp.ClientSSLError as error:
        return _failed(NO_TLS, str(error))
    except aiohttp.ClientConnectorError as error:
        return _failed(REFUSED, str(error.os_error))
    except (aiohttp.ClientError, OSError) as error:
        return _failed(NO_ANSWER, str(error) or type(error).__name__)


def _failed(code: int, why: str) -> Ran:
    return Ran(code, b"", why.encode())


async def quit_sidecar() -> None:
    """End the sidecar of the Pod that this runs in, if it has one that would go on; a Job would wait for it for ever.

    A native sidecar ends by itself, and may be asked as well.
    """
    import aiohttp

    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with (
            asyncio.timeout(2.0),
            aiohttp.ClientSession() as session,
            session.post(_QUIT, ssl=False),
        ):
            pass
