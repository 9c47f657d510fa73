"""Requests to a Kubernetes API: one method per verb, with the types that come back. ``connection`` sends them."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, TypeVar, Unpack, overload

import msgspec

from meshfed.kube.config import ClusterConfig
from meshfed.kube.connection import WRITES, Answer, HTTPConnection, Request
from meshfed.kube.errors import KubeError, MalformedAnswer, Silent, api_error
from meshfed.kube.lines import LineSplitter
from meshfed.kube.queue import WriteLimit
from meshfed.kube.resources import Manifest, Resource
from meshfed.model.installation import WRITER

if TYPE_CHECKING:
    from meshfed.telemetry.metrics import Metrics

_T = TypeVar("_T")

PAGE_SIZE: Final = 500
"""Objects asked for in one page of a list; client-go's number."""
_WATCH_GRACE: Final = 10.0
"""Seconds that a watch may outlast the time its server was asked to end it."""


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


class Client:
    """A connection to one cluster, as an async context manager.

    Every method raises ``TransportError``, ``APIError`` by kind, or ``ConfigError`` where credentials cannot be had.
    ``timeout`` is in seconds and for one request; ``concurrency`` bounds requests in flight, watches apart. Without
    ``metrics`` requests are not counted.
    """

    def __init__(
        self,
        config: ClusterConfig,
        *,
        metrics: Metrics | None = None,
        timeout: float = 30.0,
        concurrency: int = 32,
        field_manager: str = WRITER,
    ) -> None:
        self.config = config
        self._metrics = metrics
        self.write_limit = WriteLimit()
        """For who has much to write. It learns from every write."""
        self._connection = HTTPConnection(config, metrics=metrics, timeout=timeout, concurrency=concurrency)
        self._manager = {"fieldManager": field_manager}

    @property
    def metrics(self) -> Metrics:
        """Where those who watch and write by this client count what they do."""
        if self._metrics is None:
            from meshfed.telemetry.metrics import Metrics  # noqa: PLC0415 - who only asks counts nothing

            self._metrics = Metrics()
        return self._metrics

    def fenced(self, may_write: Callable[[], bool]) -> Self:
        """The same connection for who may not write always: ``may_write`` is asked as the last thing before each write.

        Every method that writes then also raises ``NotLeading``.
        """
        fenced = copy.copy(self)
        fenced._connection = self._connection.fenced(may_write)  # noqa: SLF001 - a copy of ourselves
        return fenced

    async def __aenter__(self) -> Self:
        await self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    @overload
    async def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> Manifest: ...
    @overload
    async def get(self, resource: Resource, name: str, *, namespace: str | None = None, into: type[_T]) -> _T: ...
    async def get(self, resource: Resource, name: str, *, namespace: str | None = None, into: Any = Manifest) -> Any:
        """One object, decoded ``into`` that type; ``NotFound`` where there is none."""
        return _decode(await self._send(Request("get", resource, resource.path(namespace, name))), into)

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
        found = _decode(await self._send(Request("list", resource, path, params)), _List)
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
        call = Request("create", resource, resource.path(namespace), self._manager, _encode(manifest))
        return await self._written(call)

    async def replace(self, resource: Resource, manifest: Mapping[str, Any]) -> Manifest:
        """Put ``manifest`` in place of the object it names, and return it as stored.

        ``Conflict`` where the resourceVersion it carries is not the object's any more.
        """
        metadata = manifest["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        return await self._written(Request("update", resource, path, self._manager, _encode(manifest)))

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
        dry_run: bool = False,
    ) -> Manifest:
        """Change parts of an object and return it as stored; ``force`` takes fields over, in an apply.

        With ``dry_run`` the server does all but store it, and the answer is what would be stored.
        """
        params = self._manager | ({"force": "true"} if force else {}) | ({"dryRun": "All"} if dry_run else {})
        path = resource.path(namespace, name, subresource)
        return await self._written(Request("patch", resource, path, params, _encode(patch), patch_type))

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
        await self._send(Request("delete", resource, resource.path(namespace, name), body=_encode(options)))

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
        timeout = timeout_seconds + _WATCH_GRACE
        call = Request("watch", resource, path, params)
        splitter = LineSplitter()
        async with self._connection.stream(call, timeout=timeout) as response:
            try:
                async for chunk in response.content.iter_any():
                    for line in splitter.feed(chunk):
                        event = _decode(line, WatchEvent)
                        if event.type == "ERROR":
                            raise api_error(0, event.object)
                        yield event
            except TimeoutError as error:
                raise Silent(
                    f"watch {self._connection.server}{path}: the connection stands, but the end of the watch, asked "
                    f"for after {timeout_seconds} s, did not come through; look at what is between: a proxy, a load "
                    "balancer"
                ) from error

    async def fetch(
        self, path: str, *, accept: str = "application/json", params: Mapping[str, str] | None = None
    ) -> Answer:
        """GET a path that has no object for an answer, such as ``/version``."""
        call = Request("get", path.strip("/").partition("/")[0], path, params or {}, accept=accept)
        return await self._connection.send(call)

    def messages(self, path: str, protocol: str) -> AsyncIterator[bytes]:
        """The messages of a WebSocket of a subprotocol, until it ends."""
        return self._connection.messages(path, protocol)

    async def _send(self, call: Request) -> bytes:
        if call.verb not in WRITES:
            return (await self._connection.send(call)).body
        begun = asyncio.get_running_loop().time()
        try:
            body = (await self._connection.send(call)).body
        except KubeError as error:
            self.write_limit.answered(begun, error)
            raise
        self.write_limit.answered(begun, None)
        return body

    async def _written(self, call: Request) -> Manifest:
        stored: Manifest = _decode(await self._send(call), Manifest)
        return stored


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
