"""The page and its documents over HTTP: for one person on this machine, or for whoever is let through to it.

Whoever is answered sees with the rights of who reads the clusters. So three things are asked of each request:

- that it names a host by which the page is known, so that no name that a stranger's DNS gives this address leads here;
- for one person, the secret that was in the address which the command printed: another user of this machine has the
  port, not that. The browser keeps it in a cookie, so that it is in no address that is looked at, shared or remembered;
- of what is posted, that this page posts it: another site would need no answer to do harm, if there were any to do.

The page may load nothing and talk to nobody but this server, and no other page may have it in a frame.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from meshfed.api.durations import parse_duration
from meshfed.cli.exits import CommandError
from meshfed.dashboard.board import Board
from meshfed.dashboard.files import files, index
from meshfed.kube import KubeError
from meshfed.views import API_VERSION
from meshfed.views.checks import CheckView
from meshfed.views.hosts import STATES, HostQuery
from meshfed.views.timeline import HappeningQuery

_log = logging.getLogger(__name__)
T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SECURITY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""On every answer."""
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
MOST_BYTES: Final = 1 << 20
"""Of what is posted."""
_MOST_STREAMS: Final = 32
_ALIVE: Final = 15.0
"""Seconds after which a stream that has nothing to say says that it is there."""
_MOST_WORDS: Final = 20
_LONGEST: Final = 2048
"""Characters of one parameter."""


QUESTIONS: Final = ("plan", "handshake")
"""What may be posted."""


class PlanQuestion(msgspec.Struct, frozen=True):
    """What the objects of ``text``, YAML or JSON, would change in the cluster ``source``."""

    source: str
    text: str


class HandshakeQuestion(msgspec.Struct, frozen=True):
    """What a handshake with the gateway of a ``remote``, as the cluster ``source`` names it, shows from here."""

    source: str
    remote: str


class CheckListing(msgspec.Struct, frozen=True):
    """What checks say, as `meshfed check -o json` prints it."""

    items: tuple[CheckView, ...]


class DashboardServer:
    """Answers with what a board shows, on the loopback at ``port``, once that is known, to who has ``token``.

    Without one it answers whoever comes, at whichever port: something before it says who may. ``names`` are then those
    that it has beside the loopback's. ``asks`` are the questions that may be posted, and ``still`` of when all is, if
    it stays as it is.
    """

    def __init__(
        self,
        board: Board,
        *,
        token: str = "",
        names: Collection[str] = (),
        port: int = 0,
        asks: Sequence[str] = QUESTIONS,
        still: str = "",
        alive: float = _ALIVE,
    ) -> None:
        self._board = board
        self.token = token
        self.port = port
        self._names = {*_LOOPBACK, *names}
        self._alive = alive
        self._asks = asks
        self._files = files()
        self._index = index(asks, still)
        self._streams: set[asyncio.Task[Any] | None] = set()
        self._over = asyncio.Event()

    def app(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(middlewares=[self._guard], client_max_size=MOST_BYTES)
        app.router.add_get("/", self._page)
        app.router.add_get("/page/{path:.+}", self._file)
        app.router.add_get("/api/federation", self._federation)
        app.router.add_get("/api/hosts", self._hosts)
        app.router.add_get("/api/explanation", self._explanation)
        app.router.add_get("/api/timeline", self._timeline)
        app.router.add_get("/api/propagation", self._propagation)
        app.router.add_get("/api/propagations", self._propagations)
        app.router.add_get("/api/changes", self._changes)
        for question, handler in (("plan", self._plan), ("handshake", self._handshake)):
            if question in self._asks:
                app.router.add_post(f"/api/{question}", handler)
        app.on_shutdown.append(self._shut)
        return app

    async def _shut(self, _app: web.Application) -> None:
        self._over.set()

    # --- who may ask

    @property
    def _cookie(self) -> str:
        # Cookies are of a host, whatever the port: two dashboards must not take each other's away.
        return f"meshfed-{self.port}"

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            answer = self._refusal(request) or await handler(request)
        except web.HTTPException as error:
            answer = _text(error.status, error.text or error.reason)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered as everything else
            _log.exception("%s %s failed", request.method, request.path)
            answer = _text(500, f"a fault of Meshfed: {type(error).__name__}: {error}")
        if not answer.prepared:
            answer.headers.update(SECURITY)
        return answer

    def _refusal(self, request: web.Request) -> web.Response | None:
        """Return what to say to who may not ask; ``None`` where they may."""
        host = request.headers.get("Host", "")
        if not self._leads_here(host):
            if self.token:
                return _text(421, f"this page is at http://127.0.0.1:{self.port}/ and under no other name")
            return _text(421, f"this page has another name than {host!r}: --dashboard-hosts names those that it has")
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "same-origin")
        if request.method == "POST" and (origin not in {None, f"http://{host}"} or site != "same-origin"):
            return _text(403, "another page may not post here")
        if request.method == "POST" and request.content_type != "application/json":
            return _text(415, "post application/json")
        if not self.token:
            return None
        given = request.query.get("token")
        if given is not None and request.path == "/" and self._is_token(given):
            answer = web.Response(status=303, headers={"Location": "/"})
            answer.set_cookie(self._cookie, self.token, httponly=True, samesite="Lax", path="/")
            return answer
        if not self._is_token(request.cookies.get(self._cookie, "")):
            return _text(401, "open the address that `meshfed dashboard` printed: it has the secret that is asked for")
        return None

    def _leads_here(self, host: str) -> bool:
        if self.token:
            return host in {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}
        try:
            return urlsplit(f"//{host}").hostname in self._names
        except ValueError:
            return False

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="surrogateescape"), self.token.encode())

    # --- the page

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._index, content_type="text/html", charset="utf-8")

    async def _file(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if path not in self._files:
            raise web.HTTPNotFound(text=f"there is no {path} here")
        return self._answer_file(path)

    def _answer_file(self, path: str) -> web.Response:
        type_, content = self._files[path]
        return web.Response(body=content, content_type=type_, charset="utf-8")

    # --- documents

    async def _federation(self, _request: web.Request) -> web.Response:
        return await self._document("Federation", await self._board.federation())

    async def _hosts(self, request: web.Request) -> web.Response:
        state = _given(request, "state")
        if state and state not in STATES:
            raise web.HTTPBadRequest(text=f"state={state}: it has to be one of {', '.join(STATES)}")
        query = HostQuery(
            words=_words(request), state=state, mesh=_given(request, "mesh"), namespace=_given(request, "namespace")
        )
        return await self._document("HostPage", await self._board.hosts(query, _start(request)))

    async def _explanation(self, request: web.Request) -> web.Response:
        words = tuple(_given(request, "name").split())
        if not words or len(words) > 2:
            raise web.HTTPBadRequest(text="name: say which host, or object as Kind NAMESPACE/NAME, to explain")
        return await self._document("Explanation", await self._board.explanation(words))

    async def _timeline(self, request: web.Request) -> web.Response:
        query = HappeningQuery(
            words=_words(request),
            mesh=_given(request, "mesh"),
            remote=_given(request, "remote"),
            bad=_given(request, "bad") == "true",
            within=_span(request),
        )
        return await self._document("TimelinePage", await self._board.timeline(query, _start(request)))

    async def _propagations(self, _request: web.Request) -> web.Response:
        return await self._document("PropagationList", await self._board.propagations())

    async def _propagation(self, request: web.Request) -> web.Response:
        source, remote = _given(request, "source"), _given(request, "remote")
        if not source or not remote:
            raise web.HTTPBadRequest(text="say the cluster by source= and the RemoteMesh by remote=")
        try:
            found = await self._board.propagation(source, remote)
        except CommandError as error:
            raise web.HTTPUnprocessableEntity(text=str(error)) from error
        return await self._document("Propagation", found)

    async def _plan(self, request: web.Request) -> web.Response:
        """Say what a change would do. It is posted for its size; nothing is written."""
        asked = await _question(request, PlanQuestion)
        try:
            return await self._document("PlanDiff", await self._board.change(asked.source, asked.text))
        except CommandError as error:
            raise web.HTTPUnprocessableEntity(text=str(error)) from error

    async def _handshake(self, request: web.Request) -> web.Response:
        """Shake hands with a remote's gateway. It is posted since it is done anew each time; nothing is written."""
        asked = await _question(request, HandshakeQuestion)
        try:
            found = await self._board.handshake(asked.source, asked.remote)
        except (CommandError, KubeError) as error:
            raise web.HTTPUnprocessableEntity(text=str(error)) from error
        return await self._document("CheckList", CheckListing(found))

    async def _document(self, kind: str, found: msgspec.Struct) -> web.Response:
        unreached = self._board.unreached

        def encoded() -> bytes:
            fields: Mapping[str, Any] = msgspec.to_builtins(found, str_keys=True)
            beside = {"unreached": unreached} if unreached else {}
            return msgspec.json.encode({"apiVersion": API_VERSION, "kind": kind, **fields, **beside})

        return web.Response(body=await asyncio.to_thread(encoded), content_type="application/json")

    # --- changes

    async def _changes(self, request: web.Request) -> web.StreamResponse:
        """Tell of changes as they come: which topics, so that the page asks anew for what it shows of them."""
        if len(self._streams) >= _MOST_STREAMS:
            raise web.HTTPServiceUnavailable(text=f"{_MOST_STREAMS} pages are open already: close some")
        stream = web.StreamResponse(headers={**SECURITY, "Content-Type": "text/event-stream"})
        self._streams.add(asyncio.current_task())
        try:
            await stream.prepare(request)
            await stream.write(b"retry: 1000\n\nevent: hello\ndata: {}\n\n")
            with self._board.changes() as queue:
                await self._follow(queue, stream)
        except ConnectionError:
            pass  # the page was closed
        finally:
            self._streams.discard(asyncio.current_task())
        return stream

    async def _follow(self, queue: asyncio.Queue[Any], stream: web.StreamResponse) -> None:
        over = asyncio.create_task(self._over.wait())
        try:
            while not over.done():
                change = asyncio.create_task(queue.get())
                await asyncio.wait({change, over}, timeout=self._alive, return_when=asyncio.FIRST_COMPLETED)
                if not change.done():
                    change.cancel()
                    await stream.write(b": here\n\n")
                    continue
                topics = msgspec.json.encode(sorted(change.result()))
                await stream.write(b"event: change\ndata: " + topics + b"\n\n")
        finally:
            over.cancel()


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")


async def _question(request: web.Request, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.read(), type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise web.HTTPBadRequest(text=f"what was posted is no question: {error}") from error


def _given(request: web.Request, name: str) -> str:
    given = request.query.get(name, "")
    if len(given) > _LONGEST:
        raise web.HTTPBadRequest(text=f"{name}: it has more than {_LONGEST} characters")
    return given


def _words(request: web.Request) -> tuple[str, ...]:
    return tuple(_given(request, "q").split()[:_MOST_WORDS])


def _start(request: web.Request) -> int:
    given = _given(request, "start") or "0"
    if not given.isdecimal() or len(given) > 9:
        raise web.HTTPBadRequest(text=f"start={given}: it has to be a number of rows")
    return int(given)


def _span(request: web.Request) -> timedelta | None:
    given = _given(request, "since")
    if not given:
        return None
    try:
        return timedelta(seconds=parse_duration(given))
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"since={given}: {error}") from error
    except OverflowError as error:
        raise web.HTTPBadRequest(text=f"since={given}: it is longer than anything was recorded") from error
