"""Requests to a Kubernetes API: one method per verb, errors by type, every request bounded in time and counted.

Nothing is retried here but what a fresh token settles; waiting and trying again is for callers, who know what may
have changed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import platform
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self, TypedDict, TypeVar, Unpack, overload
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

import meshfed
from meshfed.kube.config import ClusterConfig
from meshfed.kube.errors import MalformedAnswer, NotLeading, Silent, TransportError, api_error
from meshfed.kube.lines import LineSplitter
from meshfed.kube.resources import Manifest, Resource
from meshfed.kube.tls import ContextSource
from meshfed.telemetry.logs import Seldom
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

PAGE_SIZE: Final = 500
"""Objects asked for in one page of a list; client-go's number."""
_CONNECT_TIMEOUT: Final = 10.0
_WATCH_GRACE: Final = 10.0
"""Seconds that a watch may outlast the time its server was asked to end it."""
_ERROR_BODY: Final = 65536


class PatchType(StrEnum):
    """How a patch's body is to be read."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


class Page(msgspec.Struct, frozen=True):
    """One page of a list: its objects as they came, the token of the next one (empty: none), and the state it shows."""

    items: tuple[msgspec.Raw, ...]
    resource_version: str
    next: str


class WatchEvent(msgspec.Struct, frozen=True):
    """One line of a watch: ADDED, MODIFIED, DELETED or BOOKMARK, and the object's bytes."""

    type: str
    object: msgspec.Raw


class Selection(TypedDict, total=False):
    """Which objects of a resource: those of one namespace or of all, narrowed by selectors in the API's syntax."""

    namespace: str | None
    label_selector: str | None
    field_selector: str | None


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    next: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    items: tuple[msgspec.Raw, ...] | None = None


class _Call(msgspec.Struct, frozen=True):
    """One request; ``verb`` is the API's word, which decides the method."""

    verb: str
    resource: Resource | str
    path: str
    params: Mapping[str, str] = {}
    body: bytes | None = None
    content_type: str = "application/json"
    accept: str = "application/json"


class Client:
    """A connection to one cluster, as an async context manager.

    Every method raises ``TransportError``, ``APIError`` by kind, or ``ConfigError`` where credentials cannot be had.
    ``timeout`` is in seconds and for one request; ``concurrency`` bounds requests in flight, watches apart.
    """

    def __init__(
        self,
        config: ClusterConfig,
        *,
        metrics: Metrics | None = None,
        timeout: float = 30.0,
        concurrency: int = 32,
        field_manager: str = "meshfed",
    ) -> None:
        self.config = config
        self.metrics = metrics or Metrics()
        self._base = config.server.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT_TIMEOUT)
        self._slots = asyncio.Semaphore(concurrency)
        self._manager = {"fieldManager": field_manager}
        self._tls = ContextSource(config.tls) if self._base.startswith("https:") else None
        self._warned = Seldom(period=3600.0)
        self._session: aiohttp.ClientSession | None = None
        self._may_write: Callable[[], bool] = lambda: True

    def fenced(self, may_write: Callable[[], bool]) -> Self:
        """The same connection for who may not write always: ``may_write`` is asked as the last thing before each write.

        Every method that writes then also raises ``NotLeading``.
        """
        fenced = copy.copy(self)
        fenced._may_write = may_write  # noqa: SLF001 - a copy of ourselves
        return fenced

    async def __aenter__(self) -> Self:
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
                *self.config.impersonate,
            ],
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- objects

    @overload
    async def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> Manifest: ...
    @overload
    async def get(self, resource: Resource, name: str, *, namespace: str | None = None, into: type[_T]) -> _T: ...
    async def get(self, resource: Resource, name: str, *, namespace: str | None = None, into: Any = Manifest) -> Any:
        """One object, decoded ``into`` that type; ``NotFound`` where there is none."""
        return _decode(await self._send(_Call("get", resource, resource.path(namespace, name))), into)

    @overload
    async def list(self, resource: Resource, **selection: Unpack[Selection]) -> Sequence[Manifest]: ...
    @overload
    async def list(self, resource: Resource, *, into: type[_T], **selection: Unpack[Selection]) -> Sequence[_T]: ...
    async def list(self, resource: Resource, *, into: Any = Manifest, **selection: Unpack[Selection]) -> Sequence[Any]:
        """Every object of the selection, decoded ``into`` that type."""
        items = [_decode(item, into) async for page in self.pages(resource, **selection) for item in page.items]
        if into is Manifest:
            for item in items:  # built-in kinds come without these inside a list
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
        return items

    async def page(
        self, resource: Resource, *, limit: int = PAGE_SIZE, token: str = "", **selection: Unpack[Selection]
    ) -> Page:
        """One page of a list as of now, of at most ``limit`` objects (0: all), or the page that ``token`` goes on with.

        All pages show the moment of the first; where its history is compacted meanwhile, ``Gone``.
        """
        path, params = _select(resource, selection)
        if limit:
            params["limit"] = str(limit)
        if token:
            params["continue"] = token
        found = _decode(await self._send(_Call("list", resource, path, params)), _List)
        return Page(found.items or (), found.metadata.resource_version, found.metadata.next)

    async def pages(
        self, resource: Resource, *, limit: int = PAGE_SIZE, **selection: Unpack[Selection]
    ) -> AsyncIterator[Page]:
        """A whole list, page by page; where it breaks off with ``Gone``, what came before is to be thrown away."""
        token = ""
        while True:
            page = await self.page(resource, limit=limit, token=token, **selection)
            yield page
            token = page.next
            if not token:
                return

    async def create(
        self, resource: Resource, manifest: Mapping[str, Any] | bytes, *, namespace: str | None = None
    ) -> Manifest:
        """Create an object and return it as stored; ``AlreadyExists`` where one has its name.

        ``manifest`` may be JSON already; ``namespace`` must then be given.
        """
        if namespace is None and not isinstance(manifest, bytes):
            namespace = manifest["metadata"].get("namespace")
        if resource.namespaced and not namespace:
            raise ValueError(f"a new one of {resource} needs a namespace")
        call = _Call("create", resource, resource.path(namespace), self._manager, _encode(manifest))
        return await self._written(call)

    async def replace(self, resource: Resource, manifest: Mapping[str, Any]) -> Manifest:
        """Put ``manifest`` in place of the object it names, and return it as stored.

        ``Conflict`` where the resourceVersion it carries is not the object's any more.
        """
        metadata = manifest["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        return await self._written(_Call("update", resource, path, self._manager, _encode(manifest)))

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any] | Sequence[Any],
        *,
        namespace: str | None = None,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str | None = None,
        force: bool = False,
    ) -> Manifest:
        """Change parts of an object and return it as stored; ``force`` takes fields over, in an apply."""
        params = self._manager | ({"force": "true"} if force else {})
        path = resource.path(namespace, name, subresource)
        return await self._written(_Call("patch", resource, path, params, _encode(patch), patch_type))

    async def patch_status(
        self, resource: Resource, name: str, status: Mapping[str, Any], *, namespace: str | None = None
    ) -> Manifest:
        """Merge ``status`` into the object's status and return the object as stored."""
        return await self.patch(resource, name, {"status": status}, namespace=namespace, subresource="status")

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str | None = None,
    ) -> None:
        """Delete an object; ``Conflict`` where it is not the one of that uid and resourceVersion any more."""
        options: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions"}
        conditions = {"uid": uid, "resourceVersion": resource_version}
        if preconditions := {key: value for key, value in conditions.items() if value}:
            options["preconditions"] = preconditions
        if propagation:
            options["propagationPolicy"] = propagation
        await self._send(_Call("delete", resource, resource.path(namespace, name), body=_encode(options)))

    async def watch(
        self, resource: Resource, *, resource_version: str, timeout_seconds: int, **selection: Unpack[Selection]
    ) -> AsyncGenerator[WatchEvent]:
        """The changes since ``resource_version``, bookmarks among them, until the server ends the stream.

        An ERROR event is raised as its ``APIError`` (``Gone`` among them); ``Silent`` where the server has not ended
        the stream some seconds after ``timeout_seconds``. A stream that ends in the middle of a line just ends: the
        line comes again on the next watch. Close the iterator (``contextlib.aclosing``), or the
        connection stays open until it is collected.
        """
        path, params = _select(resource, selection)
        params |= {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        # A peer that died without a word is found by TCP keepalive; one whose kernel lives but that will never speak
        # again (a hung server, a load balancer that lost its backend) only by having a time when it should be over.
        timeout = aiohttp.ClientTimeout(total=timeout_seconds + _WATCH_GRACE, sock_connect=_CONNECT_TIMEOUT)
        call = _Call("watch", resource, path, params)
        splitter = LineSplitter()
        async with self._open(call, timeout) as response:
            try:
                async for chunk in response.content.iter_any():
                    for line in splitter.feed(chunk):
                        event = _decode(line, WatchEvent)
                        if event.type == "ERROR":
                            raise api_error(0, event.object)
                        yield event
            except TimeoutError as error:
                raise Silent(
                    f"watch {self._base}{path}: the connection stands, but the end of the watch, asked for after "
                    f"{timeout_seconds} s, did not come through; look at what is between: a proxy, a load balancer"
                ) from error

    async def fetch(self, path: str, *, accept: str = "application/json") -> tuple[str, bytes]:
        """GET a path that belongs to no resource, such as ``/version``: its Content-Type and its body."""
        call = _Call("get", path.strip("/").partition("/")[0], path, accept=accept)
        async with self._slots, self._open(call, self._timeout) as response:
            return response.headers.get("Content-Type", ""), await response.read()

    # --- the wire

    async def _send(self, call: _Call) -> bytes:
        async with self._slots, self._open(call, self._timeout) as response:
            return await response.read()

    async def _written(self, call: _Call) -> Manifest:
        stored: Manifest = _decode(await self._send(call), Manifest)
        return stored

    @contextlib.asynccontextmanager
    async def _open(self, call: _Call, timeout: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to ``call``, if it is a good one; errors while its body is read become ours as well."""
        try:
            response = await self._authorized(call, timeout)
            async with response:
                if response.status >= 300:
                    body = await response.content.read(_ERROR_BODY)
                    raise api_error(response.status, body, response.headers)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransportError(f"{call.verb} {self._base}{call.path}: {_describe(error)}") from error

    async def _authorized(self, call: _Call, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        header = await self.config.credentials.authorization()
        response = await self._request(call, header, timeout)
        if response.status == HTTPStatus.UNAUTHORIZED and await self.config.credentials.rejected(header):
            response.close()
            header = await self.config.credentials.authorization()
            response = await self._request(call, header, timeout)
        return response

    async def _request(
        self, call: _Call, authorization: str | None, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("the client is used outside of its `async with` block")
        headers = {"Accept": call.accept}
        if authorization:
            headers["Authorization"] = authorization
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        tls = await self._tls.get(await self.config.credentials.certificate()) if self._tls else True
        if call.verb in _WRITES and not self._may_write():
            raise NotLeading(f"not sent, since this process does not lead: {call.verb} {call.path}")
        try:
            response = await self._session.request(
                _METHODS[call.verb],
                URL(self._base + call.path + ("?" + urlencode(call.params) if call.params else ""), encoded=True),
                data=call.body,
                headers=headers,
                timeout=timeout,
                ssl=tls,
                server_hostname=self.config.tls.server_name,
                proxy=self.config.proxy,
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

    def _count(self, call: _Call, status: int) -> None:
        self.metrics.api_requests.labels(call.verb, str(call.resource), str(status)).inc()
        if status and call.verb in _WRITES:
            self.metrics.api_writes.labels(call.verb, str(call.resource)).inc()


_METHODS: Final = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}
_WRITES: Final = frozenset({"create", "update", "patch", "delete"})


def _decode(data: msgspec.Raw | bytes, into: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=into)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedAnswer(f"the server's answer is not what the API promises: {error}") from error


def _encode(body: Any) -> bytes:
    return body if isinstance(body, bytes) else msgspec.json.encode(body)


def _select(resource: Resource, selection: Selection) -> tuple[str, dict[str, str]]:
    chosen = {"labelSelector": selection.get("label_selector"), "fieldSelector": selection.get("field_selector")}
    return resource.path(selection.get("namespace")), {key: value for key, value in chosen.items() if value}


def _describe(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
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
