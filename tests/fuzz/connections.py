"""Connections of which a fuzz target plays the other side, in virtual time and without a socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import h2.connection
import h2.settings

from meshfed.fds import Bounds, DiscoveryServer, ExportSet, StreamTiming, Target
from meshfed.fds._budget import Meter
from meshfed.fds._channel import Channel, _Caller
from meshfed.fds._h2 import Protocol
from meshfed.fds._listener import _Acceptor
from meshfed.fds.messages import DELTA_METHOD
from meshfed.fds.transport import StatusError, StreamClosed
from meshfed.telemetry.metrics import Metrics
from tests.builders import offer
from tests.fds.support import everyone
from tests.virtual import virtual_loop

_LONGEST: Final = 1000.0
"""Seconds after which nothing of a connection may be left."""
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


class _Transport(asyncio.Transport):
    """A connection to nobody: what is written is taken, and forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = asyncio.Event()
        self.reading.set()
        self.gone = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.6", 1) if name == "peername" else default

    def pause_reading(self) -> None:
        self.reading.clear()

    def resume_reading(self) -> None:
        self.reading.set()

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.gone.is_set()

    def close(self) -> None:
        self.gone.set()

    abort = close


class _Faults(logging.Handler):
    """Keeps what is logged as an error: our code says so of itself."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


@contextlib.asynccontextmanager
async def _faultless() -> AsyncIterator[None]:
    """Fails where anything was logged as an error meanwhile, or went to the loop, or is left to do."""
    faults = _Faults()
    logger = logging.getLogger("meshfed")
    logger.addHandler(faults)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.found.append(str(context)))
    before = asyncio.all_tasks()
    try:
        yield
    finally:
        logger.removeHandler(faults)
    assert faults.found == []
    assert asyncio.all_tasks() == before


async def _talk(protocol: Protocol, transport: _Transport, data: bytes) -> None:
    """Have a connection receive these bytes, and be lost; the first of them says how long each piece is."""
    size, left = 1 + (data[0] if data else 0) * 4, data[1:]
    while left and not transport.gone.is_set():
        async with asyncio.timeout(_LONGEST):
            await transport.reading.wait()
        protocol.data_received(left[:size])
        left = left[size:]
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)


def _in_virtual_time(play: Callable[[bytes], Any]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        with asyncio.Runner(loop_factory=virtual_loop) as runner:
            runner.run(play(data))

    return run


async def _serve(data: bytes) -> None:
    exports = ExportSet()
    exports.set(offer("a"), None)
    exports.mark_ready()
    server = DiscoveryServer(exports, everyone, Metrics(), timing=StreamTiming(gather=(0.001, 0.001), answer=0.01))
    listener, transport = server._listener, _Transport()
    async with _faultless():
        async with asyncio.TaskGroup() as tasks:
            handler = _Acceptor(listener, tasks, lambda: True)
            protocol = Protocol(handler, Bounds(), client=False, admit=handler.admit, on_lost=handler.lost)
            handler.protocol = protocol
            protocol.connection_made(transport)
            whole = data[:1] + (_PREFACE if data[1:2] == b"\x00" else b"") + data[2:]
            await _talk(protocol, transport, whole)
            transport.close()
            protocol.connection_lost(None)
            await asyncio.sleep(_LONGEST)  # in which whatever waits for something gives up
            assert server.statistics()["calls"] == 0
        assert server.statistics()["connections"] == 0
        assert server.statistics()["delta"] == server.statistics()["sotw"] == 0


def _settings() -> bytes:
    connection = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    return bytes(connection.data_to_send())


_SETTINGS: Final = _settings()


async def _call(data: bytes) -> None:
    transport, loop = _Transport(), asyncio.get_running_loop()
    async with _faultless():
        protocol = Protocol(_Caller(), Bounds(), client=True, admit=lambda *_: Meter(loop.time))
        protocol.connection_made(transport)

        async def listen() -> None:
            async with Channel(Target("east", 1), protocol, Bounds()).call(DELTA_METHOD) as call:
                await call.send(b"ask")
                while await call.receive() is not None:
                    pass

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0)
        await _talk(protocol, transport, data[:1] + (_SETTINGS if data[1:2] == b"\x00" else b"") + data[2:])
        transport.close()
        protocol.connection_lost(None)
        async with asyncio.timeout(_LONGEST):
            with contextlib.suppress(StatusError, StreamClosed):
                await listening


server_side = _in_virtual_time(_serve)
client_side = _in_virtual_time(_call)
