"""Ports on the loopback that are kept for whoever will listen on them."""

from __future__ import annotations

import socket
from typing import Self


class Ports:
    """Keeps TCP ports, from the moment they are taken until the context ends; a context manager.

    A port that is found free and let go may be somebody else's before it is listened on. These are bound all the time,
    by sockets that do not listen: nobody else is given them, neither for a listener nor for a connection, and
    connections to them are refused, until somebody who was told the number listens. That has to be with SO_REUSEADDR,
    which asyncio, Envoy, HAProxy and Go's servers set; they may stop and listen again.
    """

    def __init__(self) -> None:
        self._kept: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        while self._kept:
            self._kept.pop().close()

    def take(self, address: str = "127.0.0.1", port: int = 0) -> int:
        """A port that nobody has on ``address``: any, or ``port``.

        Raises:
            OSError: ``port`` is taken, or every port is.
        """
        keeper = socket.socket()
        try:
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            keeper.bind((address, port))
        except OSError:
            keeper.close()
            raise
        self._kept.append(keeper)
        return int(keeper.getsockname()[1])
