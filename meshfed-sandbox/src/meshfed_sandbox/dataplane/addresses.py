"""A mesh's share of the loopback, 127.B.0.0/16: an address for each Pod, and a few for what a cluster has besides."""

from __future__ import annotations

import random
import socket
from typing import Final, Self

_GUARD_PORT: Final = 15999
_HALF: Final = 128
_FIRST: Final = 10
_NUMBERS: Final = range(1, 255)


class AddressesExhausted(Exception):
    """There is no address left, or no mesh's share of the loopback; the message says of what."""


class Addresses:
    """The addresses of one mesh; a context manager, since the share is held by a socket that nobody else can bind.

    Processes that run side by side thus take different shares. A Pod's address is ``127.B.x.y`` with x below 128; its
    application, where a sidecar stands before it, is at ``127.B.(x + 128).y``.

    Raises:
        AddressesExhausted: every share is taken.
    """

    def __init__(self) -> None:
        self._guard, self.number = _claim()
        self._next = _FIRST
        self._used: dict[str, str] = {}
        self._last: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._guard.close()

    @property
    def name_server(self) -> str:
        """The address of the mesh's cluster DNS."""
        return f"127.{self.number}.254.10"

    @property
    def router(self) -> str:
        """The address of the mesh's OpenShift router, where it has one."""
        return f"127.{self.number}.254.20"

    def take(self, owner: str) -> str:
        """An address for a Pod of ``owner``: one that an earlier Pod left, as a gateway's clients would like, or new.

        Raises:
            AddressesExhausted: all 32,000 are taken.
        """
        left = self._last.get(owner, [])
        while left:
            address = left.pop(0)
            if address not in self._used:
                self._used[address] = owner
                return address
        if self._next >> 8 >= _HALF:
            raise AddressesExhausted(f"127.{self.number}.0.0/17 has no address left for another Pod of {owner}")
        address = f"127.{self.number}.{self._next >> 8}.{self._next & 255}"
        self._next += 1
        self._used[address] = owner
        return address

    def give_back(self, address: str) -> None:
        """The Pod of ``address`` is gone."""
        owner = self._used.pop(address)
        self._last.setdefault(owner, []).append(address)


def application_address(address: str) -> str:
    """Where the application of the Pod at ``address`` listens, if it has a sidecar."""
    first, mesh, high, low = address.split(".")
    return f"{first}.{mesh}.{int(high) + _HALF}.{low}"


def _claim() -> tuple[socket.socket, int]:
    """A share that nobody has; random, so that processes started together rarely ask for the same."""
    numbers = list(_NUMBERS)
    random.shuffle(numbers)
    for number in numbers:
        guard = socket.socket()
        try:
            guard.bind((f"127.{number}.255.254", _GUARD_PORT))
        except OSError:
            guard.close()
            continue
        return guard, number
    raise AddressesExhausted("every 127.B.0.0/16 is held by a sandbox that runs: end one of them")
