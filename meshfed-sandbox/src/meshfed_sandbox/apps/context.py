"""What an application knows of the Pod it runs in, and what all applications of the sandbox do alike.

The applications use asyncio as any program would, and listen on every interface. Whether that is this machine's
interface or a Pod's is the business of whoever runs them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ssl import SSLContext
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp import web

JSONObject = dict[str, Any]

FORWARDED: Final = (
    "x-request-id",
    "traceparent",
    "tracestate",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "b3",
    "end-user",
)
"""The headers that an application passes on with the calls it makes on behalf of a request, so that they are seen
to belong together.
"""

_CALLER: Final = re.compile(r'URI="?([^;,"]+)')
_MAX_REASON: Final = 200
_MAX_ANSWER: Final = 1 << 20


class ContainerPort(msgspec.Struct, frozen=True):
    """A port of the container, as its Pod declares it. The name may say the protocol, as in Istio: ``grpc-api``."""

    number: int
    name: str = ""

    @property
    def protocol(self) -> str:
        """What the name says before its first dash; ``http`` where there is no name."""
        return self.name.partition("-")[0].lower() or "http"


class PodContext(msgspec.Struct, frozen=True, kw_only=True):
    """Where an application runs: its Pod, and the environment variables and ports of its container."""

    mesh: str
    namespace: str
    pod: str
    labels: Mapping[str, str] = {}
    env: Mapping[str, str] = {}
    ports: tuple[ContainerPort, ...] = ()
    host: str = "0.0.0.0"  # noqa: S104 - every interface of the Pod

    @property
    def whoami(self) -> JSONObject:
        """What every answer says of who gave it: ``mesh``, ``pod`` and ``version``, the Pod's label."""
        return {"mesh": self.mesh, "pod": self.pod, "version": self.labels.get("version", "")}

    def numbers(self, default: int) -> tuple[int, ...]:
        """The ports to listen on; ``default`` where the Pod declares none."""
        return tuple(port.number for port in self.ports) or (default,)


Application = Callable[[PodContext], AbstractAsyncContextManager[None]]
"""A program: it listens when the context is entered, and has closed its ports and connections when it is left."""


def caller(headers: Mapping[str, str]) -> JSONObject:
    """``{"caller": ...}``, the identity that the sidecar has seen at the other end; empty where it saw none."""
    identities = _CALLER.findall(headers.get("x-forwarded-client-cert", ""))
    return {"caller": identities[-1]} if identities else {}


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of a request's headers that go on with the calls made for it."""
    return {name: headers[name] for name in FORWARDED if name in headers}


@asynccontextmanager
async def serving(
    app: web.Application, context: PodContext, *ports: int, tls: SSLContext | None = None
) -> AsyncIterator[None]:
    """``app`` listening on ``ports``, and answering ``/health`` besides."""

    async def healthy(_request: web.Request) -> web.Response:
        return web.json_response({"status": "healthy", **context.whoami})

    app.router.add_get("/health", healthy)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        for port in ports:
            await web.TCPSite(runner, context.host, port, ssl_context=tls).start()
        yield
    finally:
        await runner.cleanup()


class Refused(Exception):
    """A call brought no answer, or not a good one. ``status`` is the HTTP status, 0 where none arrived."""

    def __init__(self, url: str, status: int, reason: str) -> None:
        what = f"{url} answered {status}: {reason}" if status else f"{url} did not answer: {reason}"
        super().__init__(what)
        self.status = status


def why(error: BaseException) -> str:
    """Why a call brought nothing: in the words of the operating system, where there was no connection."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.os_error.strerror or error.os_error}"
    return str(error) or type(error).__name__


async def ask(url: str, headers: Mapping[str, str], *, seconds: float, tries: int = 1) -> JSONObject:
    """GET a JSON object; the last of ``tries`` decides.

    Every call is a connection of its own: a sandbox's question is who answers now, not who did a while ago.

    Raises:
        Refused: no answer came within ``seconds``, or another one than a JSON object with status 200.
    """
    for left in reversed(range(tries)):
        try:
            return await _ask(url, headers, seconds)
        except Refused:
            if not left:
                raise
    raise AssertionError("tries is at least one")


async def _ask(url: str, headers: Mapping[str, str], seconds: float) -> JSONObject:
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, headers=headers) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _MAX_ANSWER:
                    raise Refused(url, response.status, f"more than {_MAX_ANSWER} bytes")
            text, status = body.decode(errors="replace"), response.status
    except TimeoutError:
        raise Refused(url, 0, f"nothing came within {seconds:g} s") from None
    except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError, ValueError) as error:
        raise Refused(url, 0, why(error)) from None
    if status != 200:
        raise Refused(url, status, text.strip()[:_MAX_REASON] or "nothing said why")
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise Refused(url, status, f"not a JSON object: {error}") from None
