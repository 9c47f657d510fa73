"""The embedded server is fast enough to measure others on: held against a bare HTTP server in the same minute."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from meshfed_sandbox.apiserver import APIServer
from tests.builders import port, service

REQUESTS = 1500
CONNECTIONS = 8


@asynccontextmanager
async def bare_server() -> AsyncIterator[str]:
    """A server that sends back what it gets."""

    async def echo(request: web.BaseRequest) -> web.Response:
        return web.Response(body=await request.read(), content_type="application/json")

    runner = web.ServerRunner(web.Server(echo, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def body(number: int) -> bytes:
    return json.dumps(service(f"s{number}", ports=[port(80), port(9090, "grpc")])).encode()


async def rate(session: aiohttp.ClientSession, url: str) -> float:
    """Requests a second of ``REQUESTS`` POSTs over ``CONNECTIONS`` connections."""
    numbers = iter(range(REQUESTS))

    async def work() -> None:
        for number in numbers:
            async with session.post(url, data=body(number), headers={"Content-Type": "application/json"}) as answer:
                assert answer.status in {200, 201}, await answer.read()
                await answer.read()

    begin = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return REQUESTS / (time.perf_counter() - begin)


async def test_creating_services_costs_little_more_than_answering(api_server: APIServer) -> None:
    async with bare_server() as url, aiohttp.ClientSession() as session:
        bare = await rate(session, url)
        created = await rate(session, f"{api_server.url}/api/v1/namespaces/default/services")
    print(f"\nbare server: {bare:.0f} requests/s; Services created: {created:.0f}/s; ratio {created / bare:.2f}")
    assert api_server.counters.writes >= REQUESTS
    assert created / bare > 0.1
