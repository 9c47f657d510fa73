"""The front door passes on what a browser asks, as an ingress does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from meshfed_sandbox.dataplane.network import Place
from meshfed_sandbox.demo.door import Door
from meshfed_sandbox.ports import Ports

PLACE = Place(
    namespace="default", address="127.0.0.1", application="127.0.0.1", sidecar=False, resolver=("127.0.0.1", 1)
)


@asynccontextmanager
async def app(port: int) -> AsyncIterator[None]:
    async def echo(request: web.Request) -> web.Response:
        seen = {name.lower(): value for name, value in request.headers.items()}
        body = (await request.read()).decode()
        said = {"method": request.method, "path": request.path_qs, "headers": seen, "body": body}
        return web.json_response(said, status=418, headers={"x-said": "yes"})

    async def away(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/productpage")

    made = web.Application()
    made.router.add_get("/", away)
    made.router.add_route("*", "/{path:.+}", echo)
    runner = web.AppRunner(made)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield
    await runner.cleanup()


async def test_a_request_arrives_as_it_was_but_for_what_is_of_the_connection(ports: Ports) -> None:
    port = ports.take()
    async with app(port), Door(lambda: PLACE, f"127.0.0.1:{port}") as door, aiohttp.ClientSession() as session:
        headers = {"x-request-id": "7", "x-forwarded-for": "192.0.2.7", "cookie": "a=b"}
        async with session.post(f"{door.url}/a%2Fb?c=d%20e", data=b"body", headers=headers) as answer:
            said = await answer.json()
            assert (answer.status, answer.headers["x-said"]) == (418, "yes")
        assert (said["method"], said["path"], said["body"]) == ("POST", "/a%2Fb?c=d%20e", "body")
        assert (said["headers"]["host"], said["headers"]["x-request-id"]) == (f"127.0.0.1:{port}", "7")
        assert said["headers"]["cookie"] == "a=b"
        assert "x-forwarded-for" not in said["headers"]
        async with session.get(door.url, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["location"]) == (302, "/productpage")


async def test_a_service_that_is_not_there_is_a_bad_gateway(ports: Ports) -> None:
    port = ports.take()
    async with (
        Door(lambda: PLACE, f"127.0.0.1:{port}") as door,
        aiohttp.ClientSession() as session,
        session.get(f"{door.url}/productpage") as answer,
    ):
        assert answer.status == 502
        assert f"127.0.0.1:{port} does not answer" in await answer.text()
