"""What the controller answers over plain HTTP: metrics for Prometheus, health for the kubelet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from meshfed.controller.options import Address
from meshfed.controller.remotes.importing import Importing
from meshfed.model.importers import PATH
from meshfed.telemetry.metrics import Metrics


def metrics_app(metrics: Metrics, importing: Importing) -> web.Application:
    """``/metrics`` in the Prometheus text format, and ``/importers``: who says that they import what, as JSON.

    The latter is of one ``host``, or where ``after`` is given, be it empty, of the hosts that come after that one.
    """

    async def expose(_request: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def importers(request: web.Request) -> web.Response:
        query = request.query
        page = importing.page(host=query.get("host", ""), after=query.get("after", ""), whole="after" in query)
        return web.Response(body=msgspec.json.encode(page), content_type="application/json")

    app = web.Application()
    app.router.add_get("/metrics", expose)
    app.router.add_get(PATH, importers)
    return app


def health_app(readiness: Callable[[], tuple[bool, str]]) -> web.Application:
    """``/healthz`` says that the process answers; ``/readyz`` what ``readiness`` says: whether it is, and how it is."""

    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_request: web.Request) -> web.Response:
        is_ready, text = readiness()
        return web.Response(text=f"{text}\n", status=200 if is_ready else 503)

    app = web.Application()
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    return app


@asynccontextmanager
async def served(app: web.Application, address: Address) -> AsyncIterator[None]:
    """Serve ``app`` at ``address`` while the context lasts; port 0 serves nothing, as in other controllers.

    Raises:
        OSError: the address cannot be bound.
    """
    if address.port == 0:
        yield
        return
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, address.host or None, address.port, reuse_address=True).start()
        yield
    finally:
        await runner.cleanup()
