"""Istio's bookinfo, written anew: a product's page, made of what details, reviews and ratings say.

It takes the environment variables of the original and answers on its paths, so that manifests made for that one run
unchanged. Every answer says besides which mesh, Pod and version gave it, and whom the sidecar saw calling.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import msgspec
from aiohttp import web

from meshfed_sandbox.apps.context import Application, PodContext, Refused, ask, caller, forwarded, serving
from meshfed_sandbox.apps.page import Part, page

JSONObject = dict[str, Any]

PORT: Final = 9080
_PATIENCE: Final = 3.0
_PRODUCT: Final = {
    "id": 0,
    "title": "The Comedy of Errors",
    "description": "Two pairs of twins, each with the other's name, and a day in Ephesus on which nobody is taken for "
    "who they are. Shakespeare's shortest play.",
}
_DETAILS: Final = {
    "author": "William Shakespeare",
    "year": 1595,
    "type": "paperback",
    "pages": 200,
    "publisher": "PublisherA",
    "language": "English",
    "ISBN-10": "1234567890",
    "ISBN-13": "123-1234567890",
}
_REVIEWS: Final = {
    "Reviewer1": "Mistaken identity all the way through, and not one mistake too many.",
    "Reviewer2": "Great fun. Do not look for a deeper meaning; the author did not either.",
}


def _url(env: Mapping[str, str], service: str, product: int) -> str:
    """Where ``service`` is: <SERVICE>_HOSTNAME, <SERVICE>_SERVICE_PORT and SERVICES_DOMAIN say so."""
    host = env.get(f"{service.upper()}_HOSTNAME") or service
    port = env.get(f"{service.upper()}_SERVICE_PORT") or str(PORT)
    domain = env.get("SERVICES_DOMAIN", "")
    return f"http://{host}{'.' if domain else ''}{domain}:{port}/{service}/{product}"


def _product(request: web.Request) -> int:
    text = request.match_info["product"]
    if not text.isdecimal() or len(text) > 9:
        raise web.HTTPBadRequest(
            text=msgspec.json.encode({"error": f"the product {text!r} is not a number"}).decode(),
            content_type="application/json",
        )
    return int(text)


def _answer(context: PodContext, request: web.Request, content: JSONObject) -> web.Response:
    said = msgspec.json.encode({**content, **context.whoami, **caller(request.headers)})
    return web.Response(body=said, content_type="application/json")


@asynccontextmanager
async def details(context: PodContext) -> AsyncIterator[None]:
    """GET /details/N: what is printed in a book's front matter."""

    async def show(request: web.Request) -> web.Response:
        return _answer(context, request, {"id": _product(request), **_DETAILS})

    app = web.Application()
    app.router.add_get("/details/{product}", show)
    async with serving(app, context, *context.numbers(PORT)):
        yield


@asynccontextmanager
async def ratings(context: PodContext) -> AsyncIterator[None]:
    """GET /ratings/N: how many stars each reviewer gives. POST there replaces them, until the Pod ends."""
    given: dict[int, JSONObject] = {}

    async def show(request: web.Request) -> web.Response:
        product = _product(request)
        stars = given.get(product, {"Reviewer1": 5, "Reviewer2": 4})
        return _answer(context, request, {"id": product, "ratings": stars})

    async def change(request: web.Request) -> web.Response:
        product = _product(request)
        try:
            stars = msgspec.json.decode(await request.read(), type=dict[str, int])
        except msgspec.MsgspecError as error:
            return web.json_response({"error": f"ratings are an object of reviewers' stars: {error}"}, status=400)
        given.clear()  # one product is all there is, and whoever posts shall not fill the memory
        given[product] = stars
        return await show(request)

    app = web.Application(client_max_size=4096)
    app.router.add_get("/ratings/{product}", show)
    app.router.add_post("/ratings/{product}", change)
    async with serving(app, context, *context.numbers(PORT)):
        yield


@asynccontextmanager
async def reviews(context: PodContext, *, rated: bool, color: str) -> AsyncIterator[None]:
    """GET /reviews/N: what reviewers say, with the stars that the ratings service has for them if it is asked.

    ``rated`` and ``color`` are the image's; ENABLE_RATINGS and STAR_COLOR overrule them.
    """
    rated = context.env.get("ENABLE_RATINGS", str(rated)).lower() == "true"
    color = context.env.get("STAR_COLOR", color)
    seconds = 10.0 if color == "black" else 2.5  # as the original: v3 is the impatient one

    async def show(request: web.Request) -> web.Response:
        product = _product(request)
        found: list[JSONObject] = [{"reviewer": reviewer, "text": text} for reviewer, text in _REVIEWS.items()]
        content: JSONObject = {
            "id": str(product),
            "podname": context.pod,
            "clustername": context.mesh,
            "reviews": found,
        }
        if rated:
            stars, content["ratings"] = await _stars(context, request, product, seconds)
            for review in found:
                review["rating"] = (
                    {"stars": stars[review["reviewer"]], "color": color}
                    if review["reviewer"] in stars
                    else {"error": "Ratings service is currently unavailable"}
                )
        return _answer(context, request, content)

    app = web.Application()
    app.router.add_get("/reviews/{product}", show)
    async with serving(app, context, *context.numbers(PORT)):
        yield


async def _stars(
    context: PodContext, request: web.Request, product: int, seconds: float
) -> tuple[Mapping[str, int], JSONObject]:
    """The stars of each reviewer, and who gave them; or none, and why."""
    try:
        answer = await ask(_url(context.env, "ratings", product), forwarded(request.headers), seconds=seconds)
        stars = msgspec.convert(answer.get("ratings"), dict[str, int])
    except Refused as error:
        return {}, {"error": str(error)}
    except msgspec.ValidationError as error:
        return {}, {"error": f"ratings: not an object of reviewers' stars: {error}"}
    return stars, {key: value for key, value in answer.items() if key not in {"id", "ratings"}}


@asynccontextmanager
async def productpage(context: PodContext) -> AsyncIterator[None]:
    """GET /productpage: the page, or all that is on it where JSON is asked for. GET /api/v1/products/...: its parts."""

    async def part(request: web.Request, service: str, product: int) -> Part:
        tries = 2 if service == "reviews" else 1  # as the original, whose timeouts are what people try out
        url = _url(context.env, service, product)
        try:
            answer = await ask(url, forwarded(request.headers), seconds=_PATIENCE, tries=tries)
        except Refused as error:
            return Part(service=service, status=error.status or 503, error=str(error))
        return Part(service=service, status=200, answer=answer)

    async def front(request: web.Request) -> web.Response:
        found = await asyncio.gather(part(request, "details", 0), part(request, "reviews", 0))
        own = {**context.whoami, **caller(request.headers)}
        if "application/json" in request.headers.get("accept", ""):
            parts = {one.service: one.answer if not one.error else {"error": one.error} for one in found}
            return web.json_response({"product": _PRODUCT, **parts, **own})
        return web.Response(text=page(_PRODUCT, own, *found), content_type="text/html")

    async def products(_request: web.Request) -> web.Response:
        return web.json_response([_PRODUCT])

    async def api(request: web.Request, *, service: str) -> web.Response:
        found = await part(request, service, _product(request))
        return web.json_response({"error": found.error} if found.error else found.answer, status=found.status)

    async def home(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/productpage")

    app = web.Application()
    app.router.add_get("/", home)
    app.router.add_get("/productpage", front)
    app.router.add_get("/api/v1/products", products)
    for suffix, service in (("", "details"), ("/reviews", "reviews"), ("/ratings", "ratings")):
        app.router.add_get(f"/api/v1/products/{{product}}{suffix}", partial(api, service=service))
    async with serving(app, context, *context.numbers(PORT)):
        yield


IMAGES: Final[Mapping[str, Application]] = {
    "examples-bookinfo-productpage-v1": productpage,
    "examples-bookinfo-details-v1": details,
    "examples-bookinfo-ratings-v1": ratings,
    "examples-bookinfo-reviews-v1": partial(reviews, rated=False, color="black"),
    "examples-bookinfo-reviews-v2": partial(reviews, rated=True, color="black"),
    "examples-bookinfo-reviews-v3": partial(reviews, rated=True, color="red"),
}
