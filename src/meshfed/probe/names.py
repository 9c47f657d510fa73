"""DNS for handshakes: a name is asked for once for all its ways, and never by so many that others wait for an answer.

The system's resolver takes a thread until it gives up, whoever still waits, and the controller's threads are few.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final

SECONDS: Final = 4.0
"""For an answer."""
KEPT: Final = 30.0
"""Seconds for which an answer is used again."""
AT_ONCE: Final = 2
"""The most threads that are taken."""
MOST: Final = 4
"""The most IPs of one name that count."""


class Names:
    """The IPs of gateways that are given by host name."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)
        self._asking: dict[str, asyncio.Task[tuple[str, ...]]] = {}
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}

    async def ips(self, name: str) -> tuple[str, ...]:
        """Return the first few IPs of ``name``, sorted, or itself where it is one.

        Raises:
            OSError: it has none, or nobody answered in time; the message says which.
        """
        if _is_ip(name):
            return (name,)
        now = asyncio.get_running_loop().time()
        asked, known = self._known.get(name, (-KEPT, ()))
        if now - asked < KEPT:
            return known
        if name not in self._asking:
            self._asking[name] = asyncio.create_task(self._ask(name))
        try:
            async with asyncio.timeout(SECONDS):
                # Whoever gives up leaves the thread to end by itself, and the others to wait for it.
                return await asyncio.shield(self._asking[name])
        except TimeoutError as error:
            raise OSError(f"no answer within {SECONDS:g} s") from error

    async def _ask(self, name: str) -> tuple[str, ...]:
        loop = asyncio.get_running_loop()
        try:
            async with self._free:
                answers = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise OSError("it cannot be a host name") from error
        except socket.gaierror as error:
            raise OSError(error.strerror or str(error)) from error
        else:
            ips = tuple(sorted({str(answer[4][0]) for answer in answers}))[:MOST]
            self._known[name] = (loop.time(), ips)
            return ips
        finally:
            del self._asking[name]


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
