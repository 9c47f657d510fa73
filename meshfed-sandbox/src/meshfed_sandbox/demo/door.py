"""The way in: an address on this machine that leads to a Service of a mesh, as an ingress would."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Self

import aiohttp
from aiohttp import web

from meshfed_sandbox.dataplane.network import Place, inside

_SECONDS: Final = 20.0
_MAX_BODY: Final = 1 << 20
_OWN: Final = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length", "forwarded"}
    | {"proxy-authorization", "accept-encoding", "content-encoding", "expect"}
)
"""Headers that are of one connection, or of this machine's side of it, and so are not passed on."""


class Door:
    """Listens on 127.0.0.1, and sends each request on from inside a Pod; an async context manager.

    ``place`` tells where that Pod is, ``service`` is the ``host:port`` that it asks.
    """

    def __init__(self, place: Callable[[], Place], service: str) -> None:
        self._place = place
        self._service = service
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
        self._socket = socket.socket()

    @property
    def url(self) -> str:
        """The address, ``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._socket.bind(("127.0.0.1", 0))
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._runner.cleanup()
        self._socket.close()

    async def _pass(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            with inside(self._place()):
                return await asyncio.create_task(self._ask(request, body))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return web.Response(status=502, text=f"{self._service} does not answer: {str(error) or 'in time'}\n")

    async def _ask(self, request: web.Request, body: bytes) -> web.Response:
        headers = [(name, value) for name, value in request.headers.items() if _passes(name)]
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as session,
            session.request(
                request.method,
                f"http://{self._service}{request.rel_url}",
                headers=headers,
                data=body or None,
                allow_redirects=False,
            ) as answer,
        ):
            made = web.Response(status=answer.status, body=await answer.read())
            made.headers.clear()
            made.headers.extend((name, value) for name, value in answer.headers.items() if _passes(name))
            return made


def _passes(name: str) -> bool:
    return name.lower() not in _OWN and not name.lower().startswith("x-forwarded-")
