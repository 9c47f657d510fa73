"""What one handshake shows, by real sockets: who answers, or the link that is broken."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from meshfed.model.meshes import GatewayAddress
from meshfed.model.probes import Answered, Broken, Link, Way
from meshfed.probe import Names, Roots, handshake
from meshfed.probe.handshake import _answered
from meshfed_sandbox.dataplane.trust import Trust

SNI = "outbound_.9080_._.ratings.default.svc.cluster.local"
WHO = "spiffe://cluster.local/ns/default/sa/ratings"
Served = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Mesh:
    """A mesh with a root of its own, or of another time."""

    def __init__(self) -> None:
        self.late = timedelta(0)
        self._trust = Trust({"west": "cluster.local"}, clock=lambda: datetime.now(UTC) + self.late)

    @property
    def pem(self) -> str:
        return "".join(self._trust.bundles("west").values())

    @property
    def roots(self) -> Roots:
        return Roots(self.pem)

    def workload(self, directory: Path) -> ssl.SSLContext:
        """A sidecar: it shows its certificate, and takes nobody without one."""
        credential = self._trust.issue("west", "default", "ratings")
        file = directory / "workload.pem"
        file.write_text(credential.private_key + credential.chain)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(file)
        made.load_verify_locations(cadata=self.pem)
        made.verify_mode = ssl.CERT_REQUIRED
        made.set_alpn_protocols(["istio"])
        return made


@pytest.fixture
def mesh() -> Mesh:
    return Mesh()


@asynccontextmanager
async def at(served: Served, context: ssl.SSLContext | None = None) -> AsyncIterator[Way]:
    server = await asyncio.start_server(served, "127.0.0.1", 0, ssl=context)
    async with server:
        yield Way(GatewayAddress("127.0.0.1", server.sockets[0].getsockname()[1]), SNI)


async def reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(16)
    writer.close()


async def aborts(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def speaks_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(16)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def test_a_workload_is_seen_without_a_credential(mesh: Mesh, tmp_path: Path) -> None:
    asked: list[str] = []
    context = mesh.workload(tmp_path)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with at(reads, context) as way:
        found = await handshake(way, "127.0.0.1", mesh.roots)
    assert isinstance(found, Answered)
    assert found.identity == WHO
    assert found.expires > datetime.now(UTC).timestamp()
    assert asked == [SNI]


async def test_another_root(mesh: Mesh, tmp_path: Path) -> None:
    async with at(reads, Mesh().workload(tmp_path)) as way:
        found = await handshake(way, "127.0.0.1", mesh.roots)
    assert isinstance(found, Broken)
    assert found.link is Link.ROOT


@pytest.mark.parametrize("shift", [-timedelta(days=2), timedelta(days=2)])
async def test_a_certificate_that_is_not_valid_now(mesh: Mesh, tmp_path: Path, shift: timedelta) -> None:
    mesh.late = shift
    async with at(reads, mesh.workload(tmp_path)) as way:
        found = await handshake(way, "127.0.0.1", mesh.roots)
    assert isinstance(found, Broken)
    assert found.link is Link.VALIDITY


@pytest.mark.parametrize("closes", [reads, aborts])
async def test_a_gateway_that_does_not_know_the_name(mesh: Mesh, closes: Served) -> None:
    async with at(closes) as way:
        assert await handshake(way, "127.0.0.1", mesh.roots) == Broken(Link.SNI)


async def test_somebody_who_speaks_no_tls(mesh: Mesh) -> None:
    async with at(speaks_http) as way:
        found = await handshake(way, "127.0.0.1", mesh.roots)
    assert isinstance(found, Broken)
    assert found.link is Link.TLS


async def test_a_workload_that_takes_tls_1_2_alone_as_with_fips_does_not_show_itself(
    mesh: Mesh, tmp_path: Path
) -> None:
    context = mesh.workload(tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send the alert too, as Envoy does; asyncio's own server keeps it."""
        taken, given = ssl.MemoryBIO(), ssl.MemoryBIO()
        taken.write(await reader.read(4096))
        with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
            context.wrap_bio(taken, given, server_side=True).do_handshake()
        writer.write(given.read())
        writer.close()

    async with at(refuses) as way:
        assert await handshake(way, "127.0.0.1", mesh.roots) == Broken(Link.VERSION)


async def test_nobody_behind_the_gateway(mesh: Mesh) -> None:
    ends = asyncio.Event()

    async def swallows(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ends.wait()
        writer.close()

    async with at(swallows) as way:
        found = await handshake(way, "127.0.0.1", mesh.roots, seconds=0.05)
        ends.set()
    assert isinstance(found, Broken)
    assert found.link is Link.WORKLOAD


async def test_nobody_at_the_address(mesh: Mesh) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and listens not
        way = Way(GatewayAddress("127.0.0.1", bound.getsockname()[1]), SNI)
        found = await handshake(way, "127.0.0.1", mesh.roots)
    assert found == Broken(Link.ADDRESS, "connection refused")


async def test_what_cannot_be_a_server_name(mesh: Mesh) -> None:
    async with at(aborts) as way:
        found = await handshake(Way(way.gateway, "x" * 70 + ".example"), "127.0.0.1", mesh.roots)
    assert found == Broken(Link.SNI, "it cannot be a server name")


@pytest.mark.parametrize("name", ["nobody.invalid", "a..b", "x" * 70 + ".example"])
async def test_a_name_without_an_address(name: str) -> None:
    with pytest.raises(OSError, match=r"not known|cannot be a host name|No address"):
        await Names().ips(name)


async def test_a_name_is_asked_for_once_and_not_by_many(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    most, now = 0, 0
    ends = asyncio.Event()

    async def getaddrinfo(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        nonlocal most, now
        asked.append(name)
        now += 1
        most = max(most, now)
        await ends.wait()
        now -= 1
        return [(0, 0, 0, "", ("192.0.2.2", 0)), (0, 0, 0, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    names = Names()
    asking = [asyncio.create_task(names.ips(f"gateway-{number % 10}.example")) for number in range(100)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ends.set()
    assert {await one for one in asking} == {("192.0.2.1", "192.0.2.2")}
    assert len(asked) == 10
    assert most <= 2
    assert await names.ips("192.0.2.3") == ("192.0.2.3",)


@pytest.mark.parametrize("pem", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_roots_that_are_none(pem: str) -> None:
    with pytest.raises(ValueError, match=r"no certificate as PEM|cannot be read"):
        Roots(pem)


def test_what_else_stands_beside_roots(mesh: Mesh) -> None:
    text = f"# Autoridade Raíz\n{mesh.pem}\0-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n{Mesh().pem}"
    assert len(Roots(text).context.get_ca_certs()) == 2


async def test_an_intermediate_authority_that_is_trusted_is_enough(mesh: Mesh, tmp_path: Path) -> None:
    context = mesh.workload(tmp_path)
    intermediate = (tmp_path / "workload.pem").read_text().rpartition("-----BEGIN CERTIFICATE-----")
    async with at(reads, context) as way:
        found = await handshake(way, "127.0.0.1", Roots("".join(intermediate[1:])))
    assert isinstance(found, Answered)


@pytest.mark.parametrize(
    "uri", ["spiffe://a/b\x1b[2J", "https://example.com/", "spiffe://a/" + "b" * 3000, "spiffe://a/b\nc"]
)
def test_an_identity_that_is_no_spiffe_id_is_none(uri: str) -> None:
    found = _answered({"subjectAltName": (("URI", uri),), "notAfter": "Jan  1 00:00:00 2030 GMT"})
    assert found.identity == ""


def test_an_authority_is_known_by_its_fingerprint(mesh: Mesh) -> None:
    (found,) = mesh.roots.authorities()
    der = ssl.PEM_cert_to_DER_cert(mesh.pem)
    assert found.sha256 == hashlib.sha256(der).hexdigest()
    assert found.not_after > datetime.now(UTC).timestamp()
    assert Roots(mesh.pem + mesh.pem).authorities() == (found,)
    assert len(Roots(mesh.pem + Mesh().pem).authorities()) == 2
