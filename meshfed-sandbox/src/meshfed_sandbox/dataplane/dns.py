"""DNS for a mesh: what its Pods take for the cluster's name server, or for their sidecar's answer to captured DNS.

It answers for the hosts that it is told of, and knows nothing of any other. Search paths are the business of whoever
asks, as everywhere.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final, cast

from dnslib import AAAA, CLASS, EDNS0, OPCODE, QTYPE, RCODE, RR, A, DNSError, DNSHeader, DNSRecord

TTL: Final = 5
"""Seconds for which an answer may be remembered: a sandbox is for looking at changes."""

Hosts = Callable[[], Mapping[str, tuple[str, ...]]]
"""The hosts of just now: names in lower case without a trailing dot, or ``*.`` and a suffix, and their addresses."""

_HEADER: Final = 12
_RESPONSE: Final = 0x8000
_UDP_SIZE: Final = 512  # RFC 1035, 4.2.1: unless the question says that more is welcome
_UDP_SIZE_AT_MOST: Final = 1232  # what fits every path without fragments, as name servers agreed on in 2020
_TCP_IDLE: Final = 10.0
_TCP_CONNECTIONS: Final = 64


class Resolver:
    """Answers A and AAAA, by UDP and TCP.

    A name in the ``cluster_domain``, or of one label, that is not among the hosts does not exist (NXDOMAIN). About any
    other name nothing is known, and there is nobody to ask: REFUSED. A host without an address of the kind that is
    asked for exists without it (no error and no answer).
    """

    def __init__(self, hosts: Hosts, *, cluster_domain: str = "cluster.local") -> None:
        self._hosts = hosts
        self._domain = cluster_domain.lower()
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self, address: str, port: int) -> AsyncIterator[int]:
        """Answer on ``address`` and ``port`` (0: one that is free), which is what the context yields.

        Raises:
            OSError: it cannot be listened on.
        """
        server = await asyncio.start_server(self._connected, address, port)
        async with server:
            port = server.sockets[0].getsockname()[1]
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(address, port))
            try:
                yield port
            finally:
                transport.close()
                server.close()
                for task in self._connections:
                    task.cancel()
                await asyncio.gather(*self._connections, return_exceptions=True)

    def answer(self, packet: bytes, *, datagram: bool) -> bytes | None:
        """The answer to ``packet``; ``None`` for what is no question, which nobody waits for an answer to.

        As a ``datagram`` it is cut to what the one who asks has room for, and says so.
        """
        if len(packet) < _HEADER:
            return None
        identifier, flags = struct.unpack_from("!HH", packet)
        if flags & _RESPONSE:
            return None  # two name servers that answer each other's answers would never end
        try:
            query = DNSRecord.parse(packet)
        except (DNSError, ValueError, IndexError, KeyError, struct.error):
            return bytes(DNSRecord(DNSHeader(id=identifier, qr=1, ra=0, rcode=RCODE.FORMERR)).pack())
        reply, size = self._reply(query)
        packed = bytes(reply.pack())
        if datagram and len(packed) > size:
            packed = bytes(reply.truncate().pack())
        return packed

    def _reply(self, query: DNSRecord) -> tuple[DNSRecord, int]:
        """The answer, and how many bytes it may have as a datagram."""
        header = DNSHeader(id=query.header.id, qr=1, aa=1, ra=0, rd=query.header.rd, opcode=query.header.opcode)
        reply = DNSRecord(header)
        size = _UDP_SIZE
        for record in query.ar:
            if record.rtype == QTYPE.OPT:
                size = max(_UDP_SIZE, min(int(record.edns_len), _UDP_SIZE_AT_MOST))
                reply.add_ar(EDNS0(udp_len=_UDP_SIZE_AT_MOST))
                break
        if query.header.opcode != OPCODE.QUERY:
            header.rcode = RCODE.NOTIMP
        elif len(query.questions) != 1:
            header.rcode = RCODE.FORMERR
        else:
            question = query.questions[0]
            reply.add_question(question)
            if question.qclass != CLASS.IN:
                header.rcode = RCODE.REFUSED
            else:
                self._look_up(str(question.qname), question.qtype, reply)
        return reply, size

    def _look_up(self, asked: str, kind: int, reply: DNSRecord) -> None:
        name = asked.rstrip(".").lower()
        addresses = self._find(name)
        if addresses is None:
            inside = "." not in name or name == self._domain or name.endswith(f".{self._domain}")
            reply.header.rcode = RCODE.NXDOMAIN if inside else RCODE.REFUSED
            return
        for address in addresses:
            found, data = (QTYPE.AAAA, AAAA) if ":" in address else (QTYPE.A, A)
            if kind in (found, QTYPE.ANY):
                reply.add_answer(RR(asked, found, rdata=data(address), ttl=TTL))

    def _find(self, name: str) -> tuple[str, ...] | None:
        """The addresses of ``name``; ``()`` where only names below it exist, ``None`` where it does not."""
        hosts = self._hosts()
        if name in hosts:
            return hosts[name]
        suffix = name
        while "." in suffix:
            suffix = suffix.partition(".")[2]
            if (wildcard := f"*.{suffix}") in hosts:
                return hosts[wildcard]
        return () if any(host.endswith(f".{name}") for host in hosts) else None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= _TCP_CONNECTIONS:
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                while True:
                    async with asyncio.timeout(_TCP_IDLE):
                        (length,) = struct.unpack("!H", await reader.readexactly(2))
                        answer = self.answer(await reader.readexactly(length), datagram=False)
                        if answer is None:
                            return
                        writer.write(struct.pack("!H", len(answer)) + answer)
                        await writer.drain()
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._resolver.answer(data, datagram=True)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)
