"""A client: calls what it is told to call, from its Pod and with its Pod's identity, and reports what came of it.

It is what ``kubectl exec`` into a Pod with curl is in a cluster. ``GET /call?url=URL`` calls once, as often as
``count`` says. With URL in its environment it calls that one by itself, every INTERVAL seconds.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp import web
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from h2.exceptions import H2Error
from yarl import URL

from meshfed_sandbox.apps import http2
from meshfed_sandbox.apps.context import Application, PodContext, caller, forwarded, serving, why
from meshfed_sandbox.apps.echo import GRPC_METHOD

JSONObject = dict[str, Any]

PORT: Final = 8080
_SECONDS: Final = 5.0
_MAX_COUNT: Final = 1000
_MAX_BODY: Final = 1 << 16


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a call.

    ``status`` is the HTTP or gRPC status, for gRPC 0 where it went well; ``None``, with an ``error``, where no answer
    arrived, and for a protocol that has no status. ``answer`` is what came: decoded where it was JSON, else text.
    """

    url: str
    status: int | None = None
    headers: dict[str, str] = {}
    answer: Any = None
    error: str = ""
    seconds: float = 0.0

    @property
    def word(self) -> str:
        """The outcome in one word, for counting."""
        return "error" if self.error and self.status is None else str(self.status) if self.status is not None else "ok"


async def call(url: str, headers: Mapping[str, str] | None = None, *, seconds: float = _SECONDS) -> Outcome:
    """Call ``url``: http, https (any certificate will do), http2 (without TLS, by prior knowledge), grpc (an echo's
    method) or tcp (one line, one answer).

    A call that fails is an outcome, not an exception.

    Raises:
        ValueError: ``url`` is none of these.
    """
    target = _target(url)
    began = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            found = await _CALLS[target.scheme](target, dict(headers or {}))
    except TimeoutError:
        found = Outcome(url=url, error=f"nothing came within {seconds:g} s")
    except (aiohttp.ClientError, ProtocolError, StreamTerminatedError, H2Error, OSError, EOFError, ValueError) as error:
        found = Outcome(url=url, error=why(error))
    return msgspec.structs.replace(found, url=url, seconds=round(time.monotonic() - began, 6))


def _target(url: str) -> URL:
    try:
        target = URL(url)
        complete = bool(target.host and target.port)
    except ValueError as error:
        raise ValueError(f"url {url!r} is not a URL: {error}") from None
    if target.scheme not in _CALLS or not complete:
        raise ValueError(f"url {url!r} is not one to call: use SCHEME://HOST:PORT/PATH with {', '.join(_CALLS)}")
    return target


@cache
def _any_certificate() -> ssl.SSLContext:
    """Settings that take any certificate: one for all calls, and without this machine's authorities, whom nobody asks.

    To read those takes longer than a call.
    """
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    settings.check_hostname = False
    settings.verify_mode = ssl.CERT_NONE
    return settings


async def _http(url: URL, headers: dict[str, str]) -> Outcome:
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=headers, ssl=_any_certificate()) as response,
    ):
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) >= _MAX_BODY:
                break
        seen = {name.lower(): value for name, value in response.headers.items()}
        return Outcome(url="", status=response.status, headers=seen, answer=_decoded(bytes(body[:_MAX_BODY])))


async def _http2(url: URL, headers: dict[str, str]) -> Outcome:
    status, seen, body = await http2.get(str(url.host), int(url.port or 0), url.raw_path_qs, headers)
    return Outcome(url="", status=status, headers=seen, answer=_decoded(body[:_MAX_BODY]))


async def _grpc(url: URL, headers: dict[str, str]) -> Outcome:
    channel = Channel(url.host, url.port)
    try:
        method = UnaryUnaryMethod(channel, GRPC_METHOD, StringValue, Struct)
        answer = await method(StringValue(value=url.path.lstrip("/")), metadata=headers)
    except GRPCError as error:
        return Outcome(url="", status=error.status.value, error=f"{error.status.name}: {error.message or ''}")
    finally:
        channel.close()
    return Outcome(url="", status=0, answer=json_format.MessageToDict(answer))


async def _tcp(url: URL, _headers: dict[str, str]) -> Outcome:
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        writer.write(url.path.lstrip("/").encode() + b"\n")
        line = await reader.readline()
    finally:
        writer.close()
    if not line:
        raise EOFError("the connection was closed without an answer")
    return Outcome(url="", answer=line.decode(errors="replace").rstrip("\n"))


_CALLS: Final = {"http": _http, "https": _http, "http2": _http2, "grpc": _grpc, "tcp": _tcp}


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return body.decode(errors="replace")


@asynccontextmanager
async def client(context: PodContext) -> AsyncIterator[None]:
    """GET /call?url=URL[&count=N] calls and reports; GET / tells what became of the calls so far.

    Raises:
        ValueError: URL or INTERVAL of the environment cannot be used.
    """
    counts: Counter[str] = Counter()
    last: list[Outcome] = []

    async def do(url: str, headers: Mapping[str, str]) -> Outcome:
        outcome = await call(url, headers)
        counts[outcome.word] += 1
        last[:] = [outcome]
        return outcome

    def said(request: web.Request, content: JSONObject, status: int = 200) -> web.Response:
        content = {**content, **context.whoami, **caller(request.headers)}
        text = msgspec.json.encode(content).decode()
        return web.Response(text=text, content_type="application/json", status=status)

    async def on_request(request: web.Request) -> web.Response:
        count = request.query.get("count", "1")
        if not count.isdecimal() or not 1 <= int(count[:9]) <= _MAX_COUNT:
            return said(request, {"error": f"count {count!r} is not a number from 1 to {_MAX_COUNT}"}, 400)
        try:
            outcomes = [await do(request.query.get("url", ""), forwarded(request.headers)) for _ in range(int(count))]
        except ValueError as error:
            return said(request, {"error": str(error)}, 400)
        return said(request, {"calls": outcomes})

    async def state(request: web.Request) -> web.Response:
        return said(request, {"counts": dict(counts), "last": last[0] if last else None})

    app = web.Application()
    app.router.add_get("/", state)
    app.router.add_get("/call", on_request)
    async with serving(app, context, *context.numbers(PORT)), _calling(context, do):
        yield


@asynccontextmanager
async def _calling(
    context: PodContext, do: Callable[[str, Mapping[str, str]], Awaitable[Outcome]]
) -> AsyncIterator[None]:
    url, interval = context.env.get("URL", ""), context.env.get("INTERVAL", "1")
    if not url:
        yield
        return
    try:
        pause = float(interval)
    except ValueError:
        pause = 0.0
    if not 0.01 <= pause <= 3600:
        raise ValueError(f"INTERVAL {interval!r} is not a number of seconds from 0.01 to 3600")

    _target(url)

    async def again() -> None:
        while True:
            await do(url, {})
            await asyncio.sleep(pause)

    task = asyncio.get_running_loop().create_task(again())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def sleep(context: PodContext) -> AsyncIterator[None]:
    """Something that does nothing, as a Pod with curl in it; where its Pod declares ports it is a ``client``."""
    if not context.ports:
        yield
        return
    async with client(context):
        yield


IMAGES: Final[Mapping[str, Application]] = {"client": client, "curl": sleep, "sleep": sleep}
