"""Applications of the tests: a client that dials as if redirected, and servers behind a sidecar."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import AsyncIterator, Iterator

from meshfed_sandbox.dataplane.values import OUTBOUND_PORT
from tests.waiting import PATIENCE


@contextlib.contextmanager
def network() -> Iterator[str]:
    """The start of addresses that no other test has meanwhile, such as ``127.77``: its guard is an address there."""
    for second in range(254, 100, -1):
        guard = socket.socket()
        try:
            guard.bind((f"127.{second}.255.254", 15999))
        except OSError:
            guard.close()
            continue
        with guard:
            yield f"127.{second}"
            return
    raise AssertionError("no loopback network is free")


def redirected(source: str, dialled: str, port: int) -> bytes:
    """The header (PROXY protocol, version 2) that says what an application dialled."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(dialled).packed
    body = addresses + struct.pack("!HH", 40000, port)
    return b"\r\n\r\n\x00\r\nQUIT\n" + bytes([0x21, 0x11]) + struct.pack("!H", len(body)) + body


async def dial(sidecar: str, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """What an application's connect() becomes."""
    reader, writer = await asyncio.open_connection(sidecar, OUTBOUND_PORT)
    writer.write(redirected(sidecar, address, port))
    return reader, writer


async def get(sidecar: str, address: str, port: int, host: str, path: str = "/") -> tuple[int, str]:
    """One HTTP request through a sidecar: status and body."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await dial(sidecar, address, port)
        return await ask(reader, writer, host, path)


async def answered(sidecar: str, address: str, port: int, host: str, status: int = 200) -> None:
    """Wait until requests are answered with a status."""
    async with asyncio.timeout(PATIENCE):
        while True:
            got, _ = await get(sidecar, address, port, host)
            if got == status:
                return
            await asyncio.sleep(0.05)


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str = "/", method: str = "GET"
) -> tuple[int, str]:
    """One HTTP request on a connection, which ends with it."""
    with contextlib.closing(writer):
        writer.write(f"{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        answer = (await reader.read()).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


async def exchange(sidecar: str, address: str, port: int, data: bytes) -> bytes:
    """Send something that is not HTTP through a sidecar, and read what comes back until the end."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await dial(sidecar, address, port)
        with contextlib.closing(writer):
            writer.write(data)
            try:
                return await reader.read(4096)
            except ConnectionResetError:
                return b""


@contextlib.asynccontextmanager
async def serving(address: str, port: int) -> AsyncIterator[None]:
    """An application: answers HTTP with the request's head, and anything else with itself in capitals."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            data = await reader.read(65536)
            if b" HTTP/1.1\r\n" in data:
                data = f"from {writer.get_extra_info('peername')[0]}\n".encode() + data
                head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n"
                writer.write(head.encode() + data)
            else:
                writer.write(data.upper())
            await writer.drain()

    server = await asyncio.start_server(serve, address, port)
    async with server:
        yield
