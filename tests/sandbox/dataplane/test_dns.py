"""The mesh's name server: what it says of names that are there, that are not, and to those who do not ask properly."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest
from dnslib import CLASS, EDNS0, OPCODE, QTYPE, RCODE, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from meshfed_sandbox.dataplane.dns import Resolver
from meshfed_sandbox.ports import Ports

MANY = tuple(f"127.1.0.{number}" for number in range(1, 101))
HOSTS: dict[str, tuple[str, ...]] = {
    "reviews.bookinfo.svc.cluster.local": ("10.0.0.1",),
    "both.bookinfo.svc.cluster.local": ("10.0.0.2", "fd00::2"),
    "many.bookinfo.svc.cluster.local": MANY,
    "none.bookinfo.svc.cluster.local": (),
    "api.example.com": ("240.240.0.1",),
    "*.wild.example.com": ("240.240.0.2",),
}


def ask(resolver: Resolver, name: str, kind: str = "A", *, datagram: bool = True) -> tuple[str, list[str]]:
    """The word for what was answered, and the addresses."""
    packet = resolver.answer(DNSRecord.question(name, kind).pack(), datagram=datagram)
    assert packet is not None
    answer = DNSRecord.parse(packet)
    assert [str(question.qname) for question in answer.questions] == [f"{name}."]
    assert all(record.ttl == 5 for record in answer.rr)
    return RCODE[answer.header.rcode], [str(record.rdata) for record in answer.rr]


@pytest.mark.parametrize(
    ("name", "kind", "answer"),
    [
        ("reviews.bookinfo.svc.cluster.local", "A", ("NOERROR", ["10.0.0.1"])),
        ("Reviews.BookInfo.svc.cluster.local", "A", ("NOERROR", ["10.0.0.1"])),
        ("reviews.bookinfo.svc.cluster.local", "AAAA", ("NOERROR", [])),
        ("reviews.bookinfo.svc.cluster.local", "TXT", ("NOERROR", [])),
        ("both.bookinfo.svc.cluster.local", "A", ("NOERROR", ["10.0.0.2"])),
        ("both.bookinfo.svc.cluster.local", "AAAA", ("NOERROR", ["fd00::2"])),
        ("both.bookinfo.svc.cluster.local", "ANY", ("NOERROR", ["10.0.0.2", "fd00::2"])),
        ("none.bookinfo.svc.cluster.local", "A", ("NOERROR", [])),
        ("bookinfo.svc.cluster.local", "A", ("NOERROR", [])),
        ("api.example.com", "A", ("NOERROR", ["240.240.0.1"])),
        ("a.wild.example.com", "A", ("NOERROR", ["240.240.0.2"])),
        ("a.b.wild.example.com", "A", ("NOERROR", ["240.240.0.2"])),
        ("wild.example.com", "A", ("NOERROR", [])),
        ("ratings.bookinfo.svc.cluster.local", "A", ("NXDOMAIN", [])),
        ("ratings.bookinfo.svc.cluster.local", "AAAA", ("NXDOMAIN", [])),
        ("api.example.com.bookinfo.svc.cluster.local", "A", ("NXDOMAIN", [])),
        ("reviews", "A", ("NXDOMAIN", [])),
        ("other.example.com", "A", ("REFUSED", [])),
        ("www.example.org", "AAAA", ("REFUSED", [])),
    ],
)
def test_what_is_known_of_a_name(name: str, kind: str, answer: tuple[str, list[str]]) -> None:
    assert ask(Resolver(lambda: HOSTS), name, kind) == answer


def test_the_hosts_are_those_of_just_now() -> None:
    hosts: dict[str, tuple[str, ...]] = {}
    resolver = Resolver(lambda: hosts, cluster_domain="mesh.local")
    assert ask(resolver, "a.mesh.local") == ("NXDOMAIN", [])
    hosts["a.mesh.local"] = ("10.0.0.9",)
    assert ask(resolver, "a.mesh.local") == ("NOERROR", ["10.0.0.9"])
    assert ask(resolver, "a.cluster.local") == ("REFUSED", [])


def test_what_does_not_fit_a_datagram_is_cut_and_says_so() -> None:
    resolver = Resolver(lambda: HOSTS)
    question = DNSRecord.question("many.bookinfo.svc.cluster.local")
    packet = resolver.answer(question.pack(), datagram=True)
    assert packet is not None
    assert len(packet) <= 512
    assert DNSRecord.parse(packet).header.tc
    assert ask(resolver, "many.bookinfo.svc.cluster.local", datagram=False) == ("NOERROR", list(MANY))


@pytest.mark.parametrize(("room", "count", "fits"), [(4096, 60, True), (1232, 100, False), (100, 20, True)])
def test_whoever_has_more_room_gets_more(room: int, count: int, fits: bool) -> None:
    resolver = Resolver(lambda: {"many.cluster.local": MANY[:count]})
    question = DNSRecord.question("many.cluster.local")
    question.add_ar(EDNS0(udp_len=room))
    packet = resolver.answer(question.pack(), datagram=True)
    assert packet is not None
    answer = DNSRecord.parse(packet)
    assert bool(answer.header.tc) != fits
    assert len(answer.rr) == (count if fits else 0)


def refused(record: DNSRecord) -> str | None:
    packet = Resolver(lambda: HOSTS).answer(record.pack(), datagram=True)
    return None if packet is None else str(RCODE[DNSRecord.parse(packet).header.rcode])


def test_what_is_no_question() -> None:
    resolver = Resolver(lambda: HOSTS)
    question = DNSRecord.question("reviews.bookinfo.svc.cluster.local")
    assert refused(question.reply()) is None
    assert refused(DNSRecord(DNSHeader(id=1, qr=0, opcode=OPCODE.UPDATE))) == "NOTIMP"
    assert refused(DNSRecord(DNSHeader(id=1, qr=0))) == "FORMERR"
    assert refused(DNSRecord(q=DNSQuestion("reviews.bookinfo.svc.cluster.local", QTYPE.A, CLASS.CH))) == "REFUSED"
    assert resolver.answer(b"", datagram=True) is None
    assert resolver.answer(b"\0" * 11, datagram=True) is None
    cut = resolver.answer(question.pack()[:-3], datagram=True)
    assert cut is not None
    assert DNSRecord.parse(cut).header.rcode == RCODE.FORMERR
    assert DNSRecord.parse(cut).header.id == question.header.id


QUESTION = DNSRecord.question("reviews.bookinfo.svc.cluster.local").pack()
PACKETS = st.one_of(
    st.binary(max_size=600),
    st.binary(max_size=64).map(lambda rest: struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 1) + rest),
    st.builds(
        lambda at, byte, kept: bytes(byte if index == at else value for index, value in enumerate(QUESTION[:kept])),
        st.integers(0, 60),
        st.integers(0, 255),
        st.integers(0, 60),
    ),
)


@given(PACKETS)
def test_no_packet_ends_it(packet: bytes) -> None:
    resolver = Resolver(lambda: HOSTS)
    for datagram in (True, False):
        answer = resolver.answer(packet, datagram=datagram)
        assert answer is None or answer[:2] == packet[:2]


# --- on the wire


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with Resolver(lambda: HOSTS).serving("127.0.0.1", 0) as port:
        yield port


async def exchange(port: int, packet: bytes, *, tcp: bool) -> DNSRecord:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30):
        if tcp:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(struct.pack("!H", len(packet)) + packet)
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            answer = await reader.readexactly(length)
            writer.close()
            return DNSRecord.parse(answer)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port))
            await loop.sock_sendall(sock, packet)
            return DNSRecord.parse(await loop.sock_recv(sock, 65535))


@pytest.mark.parametrize("tcp", [False, True])
async def test_udp_and_tcp(port: int, tcp: bool) -> None:
    answer = await exchange(port, DNSRecord.question("api.example.com").pack(), tcp=tcp)
    assert [str(record.rdata) for record in answer.rr] == ["240.240.0.1"]


@pytest.mark.parametrize("tcp", [False, True])
async def test_noise_does_not_end_it(port: int, tcp: bool) -> None:
    for noise in (b"\xff" * 40, b"\0" * 12, b"\xc0\x0c" * 200):
        if tcp:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(noise)
            writer.close()
        else:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(noise, ("127.0.0.1", port))
    answer = await exchange(port, DNSRecord.question("api.example.com").pack(), tcp=tcp)
    assert len(answer.rr) == 1


async def test_silent_connections_are_counted(port: int) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(64)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    assert len((await exchange(port, DNSRecord.question("api.example.com").pack(), tcp=False)).rr) == 1
    for _, other in [*idle, (reader, writer)]:
        other.close()


async def test_a_taken_port_is_an_error(ports: Ports) -> None:
    taken = ports.take()
    async with Resolver(lambda: HOSTS).serving("127.0.0.1", taken):
        with pytest.raises(OSError, match="address already in use"):
            async with Resolver(lambda: HOSTS).serving("127.0.0.1", taken):
                pass
    async with Resolver(lambda: HOSTS).serving("127.0.0.1", taken) as port:
        assert port == taken
