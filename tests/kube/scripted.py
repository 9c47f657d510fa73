"""An HTTP server that answers what a test tells it to, byte by byte, for what no well-behaved server does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from meshfed.kube import Client, ClusterConfig

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Scripted:
    """Answers requests by ``METHOD path`` in the order told; the last answer of a path is repeated."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[web.Request] = []
        self._answers: dict[str, list[Answer]] = {}

    def on(self, route: str, *answers: Answer | dict[str, Any]) -> None:
        self._answers[route] = [answer if callable(answer) else json_answer(answer) for answer in answers]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        kind = "WATCH" if "watch" in request.query else request.method
        answers = self._answers.get(f"{kind} {request.path}")
        if not answers:
            return web.json_response({"kind": "Status", "reason": "NotFound", "message": "no such path"}, status=404)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return await answer(request)

    @property
    def seen(self) -> list[str]:
        return [f"{'WATCH' if 'watch' in r.query else r.method} {r.path}" for r in self.requests]


def json_answer(body: Any, status: int = 200, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(
            body=json.dumps(body).encode(), status=status, content_type="application/json", headers=headers
        )

    return answer


def status(code: int, reason: str = "", **more: Any) -> Answer:
    return json_answer({"kind": "Status", "code": code, "reason": reason, "message": "told to", **more}, code)


def stream(*parts: bytes | float, end: str = "close") -> Answer:
    """Sends the parts, sleeping where one is a number of seconds; then ends well, resets, or hangs."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for part in parts:
            if isinstance(part, bytes):
                await response.write(part)
            else:
                await asyncio.sleep(part)
        if end == "reset":
            assert request.transport is not None
            request.transport.abort()
        elif end == "hang":
            await asyncio.sleep(3600)
        return response

    return answer


def line(event: str, /, **manifest: Any) -> bytes:
    return json.dumps({"type": event, "object": manifest}, ensure_ascii=False).encode() + b"\n"


@contextlib.asynccontextmanager
async def scripted(context: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    server = Scripted()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"{'https' if context else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def client_of(server: Scripted, **arguments: Any) -> AsyncIterator[Client]:
    async with Client(ClusterConfig(server=server.url), **arguments) as client:
        yield client
