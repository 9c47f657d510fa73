"""A network that fails: what passes bytes between clients and a server, and gets that wrong as a test says.

It knows nothing of what the bytes mean, so it serves HTTP and gRPC alike. What it garbles is never mistaken for
something else that is valid, since in a mesh TLS sees to that.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

_PIECE = 64 * 1024


class Fault(msgspec.Struct, frozen=True):
    """What becomes of each piece that passes; nothing, unless it is said.

    ``delay``: it waits for up to so many seconds, so that what comes on one connection overtakes what comes on
    another. ``rate``: so many bytes a second pass on each connection. ``truncate``: the connection ends in the middle
    of an answer, after up to so many bytes. ``garble``: with this probability a piece of an answer is nonsense.
    """

    delay: float = 0.0
    rate: float = 0.0
    truncate: int = 0
    garble: float = 0.0


class _Connection:
    """One client's connection, and that to the server for it."""

    def __init__(self, network: FaultyNetwork, *, held: bool) -> None:
        self._network = network
        self.held = held
        self._left = 0
        self._sides: list[asyncio.StreamWriter] = []

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        """Pass bytes both ways until either side ends."""
        self._sides.append(writer)
        with contextlib.suppress(OSError):
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
            self._sides.append(there_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, there_writer, answers=False))
                both.create_task(self._pass(there_reader, writer, answers=True))
        self.cut()

    def cut(self) -> None:
        """End it at once, as a reset does."""
        for side in self._sides:
            side.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_PIECE):
                if not self.held:
                    await self._hand_over(data, target, answers=answers)
            if not self.held:
                target.write_eof()

    async def _hand_over(self, data: bytes, target: asyncio.StreamWriter, *, answers: bool) -> None:
        fault, rng = self._network.fault, self._network.rng
        if fault.delay:
            await asyncio.sleep(rng.uniform(0, fault.delay))
        if answers and fault.garble and rng.random() < fault.garble:
            data = b"\xff" * len(data)
        if answers and fault.truncate:
            self._left = self._left or rng.randint(1, fault.truncate)
            if self._left <= len(data):
                target.write(data[: self._left])
                await target.drain()
                self.cut()
                return
            self._left -= len(data)
        for start in range(0, len(data), size := max(1, int(fault.rate / 20)) if fault.rate else len(data)):
            if self.held:
                return
            target.write(data[start : start + size])
            await target.drain()
            if fault.rate:
                await asyncio.sleep(0.05)


class FaultyNetwork:
    """What is between clients and the server on ``server_port`` of this machine; it listens on ``port``."""

    def __init__(self, server_port: int) -> None:
        self.fault = Fault()
        """What becomes of everything from now on."""
        self.rng = random.Random(7)
        self.port = 0
        self.connections = 0
        """How many there were."""
        self._server_port = server_port
        self._hold_new = False
        self._open: dict[asyncio.Task[None], _Connection] = {}

    @property
    def url(self) -> str:
        """Where HTTP clients find it."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End every connection at once."""
        for connection in self._open.values():
            connection.cut()

    def hold(self, *, new: bool = False) -> None:
        """Keep every connection open, and pass nothing on it ever again; also on ``new`` ones, until `release`."""
        self._hold_new = new
        for connection in self._open.values():
            connection.held = True

    def release(self) -> None:
        """Be without fault again; connections that are held stay so."""
        self._hold_new = False
        self.fault = Fault()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = _Connection(self, held=self._hold_new)
        task = asyncio.create_task(connection.carry(reader, writer, self._server_port))
        self._open[task] = connection
        task.add_done_callback(lambda done: self._open.pop(done, None))

    @classmethod
    @asynccontextmanager
    async def before(cls, server_port: int) -> AsyncIterator[FaultyNetwork]:
        """Be there while the context lasts, without fault at first."""
        network = cls(server_port)
        server = await asyncio.start_server(network._accept, "127.0.0.1", 0)
        network.port = server.sockets[0].getsockname()[1]
        try:
            yield network
        finally:
            server.close()
            tasks = list(network._open)
            network.cut()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()
