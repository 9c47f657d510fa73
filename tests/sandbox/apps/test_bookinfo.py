"""bookinfo on this machine's loopback, with no data plane: what each service answers, and what the page makes of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from meshfed_sandbox.apps import IMAGES, ContainerPort, PodContext, UnknownImage, image_name, serve
from meshfed_sandbox.apps.page import Part, page
from meshfed_sandbox.ports import Ports
from tests.published import BOOKINFO

ROOT = Path(__file__).resolve().parents[3]
XFCC = "By=spiffe://west.local/ns/a/sa/b;Hash=00;URI=spiffe://east.local/ns/bookinfo/sa/bookinfo-productpage"


class Bookinfo:
    """Its services, each on a port of the loopback; reviews of v2 unless another version is asked for."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        ports = stack.enter_context(Ports())
        self.ports = {name: ports.take() for name in ("productpage", "details", "reviews", "ratings")}

    async def start(self, app: str, version: str = "v1", mesh: str = "east", **env: str) -> None:
        env |= {f"{name.upper()}_HOSTNAME": "127.0.0.1" for name in self.ports}
        env |= {f"{name.upper()}_SERVICE_PORT": str(port) for name, port in self.ports.items()}
        context = PodContext(
            mesh=mesh,
            namespace="bookinfo",
            pod=f"{app}-{version}-abc",
            labels={"app": app, "version": version},
            env=env,
            ports=(ContainerPort(self.ports[app]),),
            host="127.0.0.1",
        )
        image = f"registry.example.com/release/examples-bookinfo-{app}-{version}:1.20.3"
        await self._stack.enter_async_context(serve(image, context))

    async def get(self, app: str, path: str, **headers: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.ports[app]}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with aiohttp.ClientSession() as session, session.get(url, headers=named) as response:
            return response.status, await response.text()

    async def json(self, app: str, path: str, **headers: str) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{self.ports[app]}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with aiohttp.ClientSession() as session, session.get(url, headers=named) as response:
            return response.status, await response.json()


@pytest.fixture
async def bookinfo() -> AsyncIterator[Bookinfo]:
    async with AsyncExitStack() as stack:
        yield Bookinfo(stack)


async def test_each_service_says_what_it_knows_and_who_it_is(bookinfo: Bookinfo) -> None:
    await bookinfo.start("details", mesh="east")
    await bookinfo.start("ratings", mesh="west")
    await bookinfo.start("reviews", "v3", mesh="west")

    status, details = await bookinfo.json("details", "/details/0", x_forwarded_client_cert=XFCC)
    assert status == 200
    assert details == {
        "id": 0,
        "author": "William Shakespeare",
        "year": 1595,
        "type": "paperback",
        "pages": 200,
        "publisher": "PublisherA",
        "language": "English",
        "ISBN-10": "1234567890",
        "ISBN-13": "123-1234567890",
        "mesh": "east",
        "pod": "details-v1-abc",
        "version": "v1",
        "caller": "spiffe://east.local/ns/bookinfo/sa/bookinfo-productpage",
    }
    assert await bookinfo.json("ratings", "/ratings/0") == (
        200,
        {
            "id": 0,
            "ratings": {"Reviewer1": 5, "Reviewer2": 4},
            "mesh": "west",
            "pod": "ratings-v1-abc",
            "version": "v1",
        },
    )
    status, reviews = await bookinfo.json("reviews", "/reviews/0")
    assert [review.pop("text") != "" for review in reviews["reviews"]] == [True, True]
    assert (status, reviews) == (
        200,
        {
            "id": "0",
            "podname": "reviews-v3-abc",
            "clustername": "west",
            "reviews": [
                {"reviewer": "Reviewer1", "rating": {"stars": 5, "color": "red"}},
                {"reviewer": "Reviewer2", "rating": {"stars": 4, "color": "red"}},
            ],
            "ratings": {"mesh": "west", "pod": "ratings-v1-abc", "version": "v1"},
            "mesh": "west",
            "pod": "reviews-v3-abc",
            "version": "v3",
        },
    )


@pytest.mark.parametrize(
    ("version", "env", "rating"),
    [
        ("v1", {}, None),
        ("v2", {}, {"stars": 5, "color": "black"}),
        ("v3", {}, {"stars": 5, "color": "red"}),
        ("v1", {"ENABLE_RATINGS": "true", "STAR_COLOR": "red"}, {"stars": 5, "color": "red"}),
        ("v3", {"ENABLE_RATINGS": "false"}, None),
    ],
)
async def test_versions_of_reviews(bookinfo: Bookinfo, version: str, env: dict[str, str], rating: Any) -> None:
    await bookinfo.start("ratings")
    await bookinfo.start("reviews", version, **env)
    _, answer = await bookinfo.json("reviews", "/reviews/0")
    assert answer["reviews"][0].get("rating") == rating
    assert ("ratings" in answer) == (rating is not None)


async def test_the_page_says_who_answered_each_part(bookinfo: Bookinfo) -> None:
    await bookinfo.start("productpage", mesh="east")
    await bookinfo.start("details", mesh="east")
    await bookinfo.start("reviews", "v2", mesh="west")
    await bookinfo.start("ratings", mesh="north")
    status, text = await bookinfo.get("productpage", "/productpage")
    assert status == 200
    for shown in ("The Comedy of Errors", "details-v1-abc", "reviews-v2-abc", "ratings-v1-abc", "★★★★☆"):
        assert shown in text
    assert re.findall(r'class="mesh"[^>]*>(\w+)<', text) == ["east", "west", "north", "east"]

    _, answer = await bookinfo.json("productpage", "/productpage", accept="application/json")
    assert {part: answer[part]["mesh"] for part in ("details", "reviews")} == {"details": "east", "reviews": "west"}
    assert (answer["mesh"], answer["pod"]) == ("east", "productpage-v1-abc")
    assert answer["reviews"]["ratings"]["mesh"] == "north"


async def test_the_parts_are_there_as_json(bookinfo: Bookinfo) -> None:
    for app in ("productpage", "details", "ratings", "reviews"):
        await bookinfo.start(app)
    found = {}
    for path in ("", "/0", "/0/reviews", "/0/ratings"):
        status, found[path] = await bookinfo.json("productpage", f"/api/v1/products{path}")
        assert status == 200
    assert [product["title"] for product in found[""]] == ["The Comedy of Errors"]
    assert [found[path]["pod"] for path in ("/0", "/0/reviews", "/0/ratings")] == [
        "details-v1-abc",
        "reviews-v1-abc",
        "ratings-v1-abc",
    ]
    status, answer = await bookinfo.json("productpage", "/api/v1/products/none")
    assert (status, answer) == (400, {"error": "the product 'none' is not a number"})


@pytest.fixture
async def recorder(bookinfo: Bookinfo) -> AsyncIterator[Callable[[str, int, str], Any]]:
    """Puts a server in a service's place that answers as told, and keeps the headers it is asked with."""
    async with AsyncExitStack() as stack:

        async def start(app: str, status: int, text: str) -> list[Mapping[str, str]]:
            seen: list[Mapping[str, str]] = []

            async def answer(request: web.Request) -> web.Response:
                seen.append({name.lower(): value for name, value in request.headers.items()})
                return web.Response(status=status, text=text)

            application = web.Application()
            application.router.add_get("/{path:.*}", answer)
            runner = web.AppRunner(application)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", bookinfo.ports[app]).start()
            return seen

        yield start


async def test_a_request_keeps_its_id_and_nothing_private_goes_on(bookinfo: Bookinfo, recorder: Any) -> None:
    await bookinfo.start("reviews", "v2")
    seen = await recorder("ratings", 200, '{"ratings": {}}')
    await bookinfo.get("reviews", "/reviews/0", x_request_id="abc", x_b3_traceid="def", x_forwarded_client_cert=XFCC)
    (headers,) = seen
    assert (headers["x-request-id"], headers["x-b3-traceid"]) == ("abc", "def")
    assert "x-forwarded-client-cert" not in headers


@pytest.mark.parametrize(
    ("status", "text", "says"),
    [
        (403, "RBAC: access denied", "answered 403: RBAC: access denied"),
        (503, "no healthy upstream", "answered 503: no healthy upstream"),
        (503, "", "answered 503: nothing said why"),
        (200, "[]", "answered 200: not a JSON object"),
        (200, '{"ratings": {"Reviewer1": "all"}}', "not an object of reviewers"),
        (200, '{"ratings": [1]}', "not an object of reviewers"),
        (200, "x" * (1 << 21), "more than 1048576 bytes"),
    ],
)
async def test_a_bad_answer_is_told_not_hidden(
    bookinfo: Bookinfo, recorder: Any, status: int, text: str, says: str
) -> None:
    await bookinfo.start("reviews", "v2")
    await bookinfo.start("productpage")
    await bookinfo.start("details")
    await recorder("ratings", status, text)
    answered, answer = await bookinfo.json("reviews", "/reviews/0")
    assert answered == 200
    assert says in answer["ratings"]["error"]
    assert answer["reviews"][1]["rating"] == {"error": "Ratings service is currently unavailable"}
    _, html = await bookinfo.get("productpage", "/productpage")
    assert "There are no ratings just now" in html
    assert says in html


async def test_a_service_that_is_not_there(bookinfo: Bookinfo) -> None:
    await bookinfo.start("productpage")
    status, html = await bookinfo.get("productpage", "/productpage")
    assert status == 200
    assert "There are no details just now" in html
    assert "There are no reviews just now" in html
    status, answer = await bookinfo.json("productpage", "/api/v1/products/0")
    assert status == 503
    assert f"http://127.0.0.1:{bookinfo.ports['details']}/details/0 did not answer: cannot connect: " in answer["error"]


async def test_ratings_change(bookinfo: Bookinfo) -> None:
    await bookinfo.start("ratings")
    url = f"http://127.0.0.1:{bookinfo.ports['ratings']}/ratings/0"
    async with aiohttp.ClientSession() as session:
        async with session.post(url, json={"Reviewer1": 1}) as response:
            assert (response.status, (await response.json())["ratings"]) == (200, {"Reviewer1": 1})
        async with session.post(url, data="nonsense") as response:
            assert response.status == 400
            assert "ratings are an object of reviewers' stars" in (await response.json())["error"]
    _, answer = await bookinfo.json("ratings", "/ratings/0")
    assert answer["ratings"] == {"Reviewer1": 1}


async def test_nothing_listens_any_more_when_it_ends() -> None:
    async with AsyncExitStack() as stack:
        short = Bookinfo(stack)
        await short.start("details")
        assert (await short.get("details", "/health"))[0] == 200
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", short.ports["details"])


def test_what_a_service_says_is_never_markup() -> None:
    evil = "<script>alert(1)</script>"
    answer = {
        "mesh": evil,
        "pod": evil,
        "version": evil,
        "author": evil,
        "reviews": [{"reviewer": evil, "text": evil, "rating": {"stars": 99, "color": evil}}, evil],
        "ratings": {"error": evil},
    }
    own = {"mesh": evil, "pod": evil, "version": evil, "caller": evil}
    parts = [
        Part(service="details", status=200, answer=answer),
        Part(service="reviews", status=500, error=evil),
        Part(service="reviews", status=200, answer={**answer, "ratings": {"mesh": evil}}),
        Part(service="reviews", status=200, answer={"reviews": evil, "ratings": evil}),
        Part(service="reviews", status=200, answer=answer),
    ]
    for part in parts:
        text = page({"title": evil, "description": evil}, own, part, part)
        assert "<script" not in text
        assert "&lt;script&gt;" in text


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("reviews", "reviews"),
        ("reviews:1.2", "reviews"),
        ("example.com:5000/team/reviews:1.2@sha256:00ff", "reviews"),
        ("example.com:5000/reviews", "reviews"),
    ],
)
def test_the_name_of_an_image(image: str, name: str) -> None:
    assert image_name(image) == name


def test_the_documentation_names_every_image() -> None:
    text = (ROOT / "docs" / "sandbox-apps.md").read_text()
    named = {
        name
        for line in text.splitlines()
        if line.startswith("| `")
        for name in re.findall("`([^`]+)`", line.split("|")[1])
    }
    assert named == set(IMAGES)


def test_an_image_that_is_not_known() -> None:
    context = PodContext(mesh="east", namespace="a", pod="b")
    with pytest.raises(UnknownImage, match="runs no image 'nginx:1'; those it knows: client, curl, echo"):
        serve("nginx:1", context)


@pytest.mark.skipif(not BOOKINFO.exists(), reason="Istio's own manifest is not here")
async def test_istios_own_manifest(ports: Ports) -> None:
    images = {}
    for document in yaml.safe_load_all(BOOKINFO.read_text()):
        if document is not None and document["kind"] == "Deployment":
            (container,) = document["spec"]["template"]["spec"]["containers"]
            images[document["metadata"]["name"]] = container
    assert len(images) == 6
    for name, container in images.items():
        context = PodContext(
            mesh="east",
            namespace="default",
            pod=name,
            env={entry["name"]: entry["value"] for entry in container.get("env", ())},
            ports=(ContainerPort(ports.take()),),
            host="127.0.0.1",
        )
        url = f"http://127.0.0.1:{context.ports[0].number}/health"
        async with serve(container["image"], context), aiohttp.ClientSession() as session, session.get(url) as response:
            assert response.status == 200, name
