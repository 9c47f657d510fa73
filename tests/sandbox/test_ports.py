"""A port that is taken stays with whoever took it, before anybody listens on it and after."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct

import pytest

from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.ports import Ports

IP_LOCAL_PORT_RANGE = 51
"""The option of a socket (Linux 6.3) that says from which ports the kernel may choose: here, from one."""


def choosing_from(port: int) -> socket.socket:
    """A socket for which the kernel can choose ``port`` only."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, struct.pack("HH", port, port))
    except OSError:
        made.close()
        pytest.skip("this kernel chooses ports for all sockets alike: that takes Linux 6.3")
    return made


async def answered(port: int) -> None:
    """Listen on ``port``, and reach it."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
    async with server:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_who_was_told_the_port_listens_and_may_do_so_again(ports: Ports) -> None:
    port = ports.take()
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await answered(port)


def test_nobody_else_is_given_the_port(ports: Ports) -> None:
    port = ports.take()
    with choosing_from(port) as listener, pytest.raises(OSError, match="in use") as refused:
        listener.bind(("127.0.0.1", 0))
    assert refused.value.errno == errno.EADDRINUSE
    with socket.create_server(("127.0.0.1", 0)) as server, choosing_from(port) as connection:
        with pytest.raises(OSError, match="assign requested address") as refused:
            connection.connect(server.getsockname())
        assert refused.value.errno == errno.EADDRNOTAVAIL


def test_the_end_gives_the_port_back() -> None:
    with Ports() as ports:
        port = ports.take()
    with choosing_from(port) as other:
        other.bind(("127.0.0.1", 0))
        assert other.getsockname()[1] == port


def test_a_port_that_is_listened_on_is_not_taken(ports: Ports) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(OSError, match="in use"):
        ports.take("127.0.0.1", server.getsockname()[1])


async def test_an_api_server_that_is_down_keeps_its_port() -> None:
    async with APIServer() as server:
        port = int(server.url.rpartition(":")[2])
        await server.stop()
        with choosing_from(port) as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", 0))
        await server.start()
