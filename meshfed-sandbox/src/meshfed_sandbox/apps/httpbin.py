"""An httpbin: answers that say how a request arrived, for looking at what proxies add and take away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web

from meshfed_sandbox.apps.context import Application, PodContext, caller, serving

PORT: Final = 8080
_LONGEST_DELAY: Final = 10.0


def _headers(request: web.Request) -> dict[str, str]:
    """The headers, as one line each: repeated ones joined by commas, as RFC 9110 reads them."""
    joined: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.title()
        joined[key] = f"{joined[key]},{value}" if key in joined else value
    return joined


@asynccontextmanager
async def httpbin(context: PodContext) -> AsyncIterator[None]:
    """GET /headers, /ip, /get, /status/CODE and /delay/SECONDS, as of httpbin."""

    def answer(request: web.Request, content: dict[str, Any], status: int = 200) -> web.Response:
        return web.json_response({**content, **context.whoami, **caller(request.headers)}, status=status)

    async def headers(request: web.Request) -> web.Response:
        return answer(request, {"headers": _headers(request)})

    async def ip(request: web.Request) -> web.Response:
        return answer(request, {"origin": request.headers.get("x-forwarded-for", request.remote)})

    async def get(request: web.Request) -> web.Response:
        content = {"args": dict(request.query), "headers": _headers(request), "url": str(request.url)}
        return answer(request, content)

    async def status(request: web.Request) -> web.Response:
        code = int(request.match_info["code"])
        return answer(request, {"status": code}, code)

    async def delay(request: web.Request) -> web.Response:
        await asyncio.sleep(min(float(request.match_info["seconds"]), _LONGEST_DELAY))
        return await get(request)

    app = web.Application()
    app.router.add_get("/headers", headers)
    app.router.add_get("/ip", ip)
    app.router.add_get("/get", get)
    app.router.add_route("*", r"/status/{code:[2-5]\d\d}", status)
    app.router.add_route("*", r"/delay/{seconds:\d{1,4}(?:\.\d{1,4})?}", delay)
    async with serving(app, context, *context.numbers(PORT)):
        yield


IMAGES: Final[Mapping[str, Application]] = {"httpbin": httpbin, "go-httpbin": httpbin}
