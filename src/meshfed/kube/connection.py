"""How one request goes to a Kubernetes API: credentials, TLS, times, the fence before writes, errors by type, counts.

Nothing is retried here but what a fresh token settles; waiting and trying again is for callers, who know what may
have changed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import os
import platform
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import urlencode

import msgspec
from yarl import URL

import meshfed
from meshfed.kube._http import aiohttp
from meshfed.kube.config import ClusterConfig
from meshfed.kube.errors import NotLeading, TransportError, api_error
from meshfed.kube.resources import Resource
from meshfed.kube.tls import ContextSource
from meshfed.telemetry.logs import LogThrottle

if TYPE_CHECKING:
    from prometheus_client import Counter

    from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

_METHODS: Final = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}
WRITES: Final = frozenset({"create", "update", "patch", "delete"})
_CONNECT_TIMEOUT: Final = 10.0
_ERROR_BODY: Final = 65536


class Request(msgspec.Struct, frozen=True):
    """One request; ``verb`` is the API's word, which decides the method."""

    verb: str
    resource: Resource | str
    path: str
    params: Mapping[str, str] = {}
    body: bytes | None = None
    content_type: str = "application/json"
    accept: str = "application/json"


class Answer(NamedTuple):
    """What came back, whole; ``date`` is when the server says that it sent it, as HTTP writes it, and may be empty."""

    content_type: str
    body: bytes
    date: str = ""


class HTTPConnection:
    """A connection to one API server, between ``open`` and ``close``.

    ``send`` and ``stream`` raise ``TransportError``, ``APIError`` by kind, ``ConfigError`` where credentials cannot be
    had, and behind a fence ``NotLeading``. ``timeout`` is in seconds and for one request; ``concurrency`` bounds
    requests in flight, streams apart. Without ``metrics`` nothing is counted.
    """

    def __init__(self, config: ClusterConfig, *, metrics: Metrics | None, timeout: float, concurrency: int) -> None:
        self.server = config.server.rstrip("/")
        self._config = config
        self._metrics = metrics
        self._timeout = timeout
        self._slots = asyncio.Semaphore(concurrency)
        secure = self.server.startswith("https:") or (config.proxy or "").startswith("https:")
        self._tls = ContextSource(config.tls) if secure else None
        self._warned = LogThrottle(period=3600.0)
        self._session: aiohttp.ClientSession | None = None
        self._counts: dict[tuple[str, str, int], tuple[Counter, ...]] = {}
        self._may_write: Callable[[], bool] = lambda: True

    def fenced(self, may_write: Callable[[], bool]) -> Self:
        """The same connection, on which ``may_write`` is asked as the last thing before each write."""
        fenced = copy.copy(self)
        fenced._may_write = may_write  # noqa: SLF001 - a copy of ourselves
        return fenced

    async def open(self) -> None:
        """Get ready to send; nothing is sent yet."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60.0, socket_factory=_socket)
        agent = (
            f"meshfed/{meshfed.__version__} ({sys.platform}/{platform.machine()}) python/{platform.python_version()}"
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=[
                ("User-Agent", agent),
                # Compressing costs an API server more time than a cluster's network takes for the plain bytes.
                ("Accept-Encoding", "identity"),
                *self._config.impersonate,
            ],
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """End whatever is in flight."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, call: Request) -> Answer:
        """The whole answer to ``call``, if it is a good one."""
        async with self._slots, self.stream(call, timeout=self._timeout) as response:
            headers = response.headers
            return Answer(headers.get("Content-Type", ""), await response.read(), headers.get("Date", ""))

    @contextlib.asynccontextmanager
    async def stream(self, call: Request, *, timeout: float) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to ``call``, if it is a good one; it may take ``timeout`` seconds until its end.

        Errors while its body is read become ours as well.
        """
        try:
            response = await self._authorized(call, timeout)
            async with response:
                if response.status >= 300:
                    body = await response.content.read(_ERROR_BODY)
                    raise api_error(response.status, body, response.headers)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransportError(f"{call.verb} {self.server}{call.path}: {_describe(error)}") from error

    async def messages(self, path: str, protocol: str) -> AsyncIterator[bytes]:
        """The messages of a WebSocket of the subprotocol ``protocol``, until it ends; ``path`` may have a query."""
        if self._session is None:
            raise RuntimeError("the client is used outside of its `async with` block")
        header = await self._config.credentials.authorization()
        tls = await self._tls.get(await self._config.credentials.certificate()) if self._tls else True
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._session.ws_connect(
                    URL(self.server + path, encoded=True),
                    protocols=(protocol,),
                    headers={"Authorization": header} if header else {},
                    ssl=tls,
                    proxy=self._config.proxy,
                    max_msg_size=1 << 22,
                ) as stream,
            ):
                async for message in stream:
                    if message.type is aiohttp.WSMsgType.BINARY:
                        yield message.data
        except aiohttp.WSServerHandshakeError as error:
            # aiohttp keeps the status of the refusal and no more.
            raise api_error(error.status, error.message.encode()) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransportError(f"exec {self.server}{path.partition('?')[0]}: {_describe(error)}") from error

    async def _authorized(self, call: Request, timeout: float) -> aiohttp.ClientResponse:
        header = await self._config.credentials.authorization()
        response = await self._request(call, header, timeout)
        if response.status == HTTPStatus.UNAUTHORIZED and await self._config.credentials.rejected(header):
            response.close()
            header = await self._config.credentials.authorization()
            response = await self._request(call, header, timeout)
        return response

    async def _request(self, call: Request, authorization: str | None, timeout: float) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("the client is used outside of its `async with` block")
        headers = {"Accept": call.accept}
        if authorization:
            headers["Authorization"] = authorization
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        tls = await self._tls.get(await self._config.credentials.certificate()) if self._tls else True
        if call.verb in WRITES and not self._may_write():
            raise NotLeading(f"not sent, since this process does not lead: {call.verb} {call.path}")
        try:
            response = await self._session.request(
                _METHODS[call.verb],
                URL(self.server + call.path + _query(tuple(call.params.items())), encoded=True),
                data=call.body,
                headers=headers,
                timeout=_timeout(timeout),
                ssl=tls,
                server_hostname=self._config.tls.server_name,
                proxy=self._config.proxy,
                # A redirect would carry the token to wherever it points.
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError):
            self._count(call, 0)
            raise
        self._count(call, response.status)
        for warning in response.headers.getall("Warning", ()):
            if self._warned.ready(warning):
                _log.warning("the Kubernetes API warns: %s", warning, extra={"resource": str(call.resource)})
        return response

    def _count(self, call: Request, status: int) -> None:
        if self._metrics is None:
            return
        resource = str(call.resource)
        counts = self._counts.get((call.verb, resource, status))
        if counts is None:
            counts = (self._metrics.api_requests.labels(call.verb, resource, str(status)),)
            if status and call.verb in WRITES:
                counts += (self._metrics.api_writes.labels(call.verb, resource),)
            self._counts[call.verb, resource, status] = counts
        for count in counts:
            count.inc()


@lru_cache(maxsize=64)
def _query(params: tuple[tuple[str, str], ...]) -> str:
    return "?" + urlencode(params) if params else ""


@lru_cache(maxsize=64)
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_TIMEOUT)


def _describe(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not accepted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):  # whose own words name an object in memory
        cause = error.os_error
        refused = isinstance(cause, ConnectionError) and cause.errno
        return f"cannot connect: {os.strerror(refused) if refused else cause.strerror or cause}"
    return str(error) or type(error).__name__


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that notices within a minute that the other side's machine is gone."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Probes after 30 s of silence, each 10 s, three of them; unanswered writes are given up after as long. A platform
    # that lacks one of the options uses its own times.
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 60000)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made
