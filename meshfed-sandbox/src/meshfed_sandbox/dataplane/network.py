"""The network as a Pod sees it, for code that runs on this machine's own: which Pod it is, is in a context variable.

An event loop of this kind does for the code of a Pod what a cluster does with a network namespace and iptables. What
it dials by name is asked of the Pod's name server, with Kubernetes' search path; what it dials at all goes to its
sidecar, headed by where it wanted to go; where it listens on every interface, it listens on the Pod's address. Code
that is in no Pod notices nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import random
import socket
import struct
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Final

import dnslib
import msgspec

from meshfed_sandbox.dataplane.values import OUTBOUND_PORT

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_PROXIED_TCP4: Final = bytes((0x21, 0x11))
_DNS_SECONDS: Final = 2.0
_DNS_TRIES: Final = 3
_NDOTS: Final = 5
"""A name with fewer dots than this is looked for along the search path first, as Kubernetes configures its Pods."""
_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - recognized, not bound
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where in a mesh code runs: its Pod's address, and what stands between it and the rest.

    ``application`` is where it listens, which is ``address`` itself where there is no sidecar. ``resolver`` is its name
    server, ``direct`` are the (address, port) that it reaches without its sidecar, the Kubernetes API among them.
    """

    namespace: str
    address: str
    application: str
    sidecar: bool
    resolver: tuple[str, int]
    cluster_domain: str = "cluster.local"
    direct: tuple[tuple[str, int], ...] = ()
    direct_ports: frozenset[int] = frozenset()
    """The ports that it reaches without its sidecar, wherever they are."""

    def search(self, name: str) -> Iterator[str]:
        """The absolute names that ``name`` may mean, in the order in which they are tried."""
        if name.endswith("."):
            yield name.rstrip(".")
            return
        few = name.count(".") < _NDOTS
        if not few:
            yield name
        for suffix in (
            f"{self.namespace}.svc.{self.cluster_domain}",
            f"svc.{self.cluster_domain}",
            self.cluster_domain,
        ):
            yield f"{name}.{suffix}"
        if few:
            yield name


PLACE: ContextVar[Place | None] = ContextVar("place", default=None)
"""The Pod in which the running code is; ``None``: in none, but on this machine itself."""


@contextlib.contextmanager
def inside(place: Place) -> Iterator[None]:
    """Run what is in the block, and the tasks it starts, in a Pod."""
    token = PLACE.set(place)
    try:
        yield
    finally:
        PLACE.reset(token)


def proxy_header(source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """What begins a connection to a sidecar: a PROXY protocol header, version 2, for TCP over IPv4."""
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
    return (
        _SIGNATURE + _PROXIED_TCP4 + struct.pack("!H", 12) + addresses + struct.pack("!HH", source[1], destination[1])
    )


class PodLoop(asyncio.SelectorEventLoop):
    """An event loop on which ``PLACE`` decides what names mean, where connections go and where servers listen."""

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the name it has in asyncio
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Resolve ``host`` as the Pod's libc would."""
        place = PLACE.get()
        if place is None or host is None:
            return await super().getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
        name = host.decode("ascii") if isinstance(host, bytes) else str(host)
        found: list[Any] = []
        for address in [name] if _is_address(name) else await self._lookup(place, name):
            found += socket.getaddrinfo(address, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        return found

    async def _lookup(self, place: Place, name: str) -> Iterable[str]:
        if name.lower() in _LOOPBACK:
            return ["127.0.0.1"]
        for full in place.search(name):
            if answers := await self._ask(place.resolver, full):
                return answers
        raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {name}")

    async def _ask(self, server: tuple[str, int], name: str) -> list[str]:
        """The A records of ``name``; none where there is no such name."""
        try:
            question = dnslib.DNSRecord.question(name, "A")
            question.header.id = random.getrandbits(16)
            packed = question.pack()
        except (dnslib.DNSError, dnslib.DNSLabelError, UnicodeError):
            return []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(server)
            for _ in range(_DNS_TRIES):
                with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                    async with asyncio.timeout(_DNS_SECONDS):
                        await self.sock_sendall(sock, packed)
                        while True:
                            answer = dnslib.DNSRecord.parse(await self.sock_recv(sock, 65535))
                            if answer.header.id == question.header.id:
                                break
                    if answer.header.rcode in (dnslib.RCODE.NOERROR, dnslib.RCODE.NXDOMAIN):
                        return [str(record.rdata) for record in answer.rr if record.rtype == dnslib.QTYPE.A]
                    break
        raise socket.gaierror(socket.EAI_AGAIN, f"Temporary failure in name resolution: {name}")

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """Connect as a Pod does: through its sidecar, if it has one."""
        place = PLACE.get()
        if place is None or sock.family == socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
            return await super().sock_connect(sock, address)
        if sock.family != socket.AF_INET:
            raise OSError(errno.ENETUNREACH, f"the sandbox's Pods have IPv4 alone, so they cannot reach {address[0]}")
        dialled = (str(address[0]), int(address[1]))
        if dialled in place.direct or (dialled[1] in place.direct_ports and not dialled[0].startswith("127.0.0.")):
            return await super().sock_connect(sock, dialled)
        if dialled[0] in {"127.0.0.1", place.address}:
            return await super().sock_connect(sock, (place.application, dialled[1]))
        if not place.sidecar:
            if sock.getsockname()[0] in _EVERYWHERE:
                sock.bind((place.address, 0))
            return await super().sock_connect(sock, dialled)
        await super().sock_connect(sock, (place.address, OUTBOUND_PORT))
        # Nobody else writes yet, and an empty socket's buffer has room for 28 bytes.
        await self.sock_sendall(sock, proxy_header((place.address, sock.getsockname()[1]), dialled))
        return None

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """Listen as a Pod does: on its own address where it says every one."""
        place = PLACE.get()
        if place is not None and options.get("sock") is None:
            host = _bound(place, host)
        return await super().create_server(protocol_factory, host, port, **options)


def _bound(place: Place, host: Any) -> Any:
    if host is None or isinstance(host, str):
        own = {*_EVERYWHERE, *_LOOPBACK, place.address}
        return place.application if (host or "") in own else host
    return list(dict.fromkeys(_bound(place, one) for one in host))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
