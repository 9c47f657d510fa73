"""What goes over the wire, and what comes of everything that may come back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import pytest
from aiohttp import web

from meshfed.api.meta import ObjectMeta
from meshfed.kube import (
    AlreadyExists,
    APIError,
    BadRequest,
    Client,
    ClusterConfig,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    MalformedAnswer,
    NotFound,
    PatchType,
    Resource,
    ServedAPIs,
    ServerFailure,
    TooManyRequests,
    TransportError,
    Unauthorized,
    discover,
)
from meshfed.kube.errors import Cause
from meshfed.kube.resources import version_number
from meshfed.telemetry.metrics import Metrics
from tests.kube.scripted import client_of, json_answer, line, scripted, status, stream

SERVICES = Resource("", "v1", "services", "Service")
PATH = "/api/v1/namespaces/shop/services"


class Named(msgspec.Struct):
    metadata: ObjectMeta


async def test_each_verb_as_the_api_wants_it() -> None:
    manifest = {"metadata": {"name": "a", "namespace": "shop"}}
    bodies: list[tuple[str, str, str, Any]] = []

    async def echo(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        content_type = request.headers.get("Content-Type", "")
        bodies.append((request.method, request.path_qs, content_type, body and msgspec.json.decode(body)))
        return web.json_response(manifest)

    async with scripted() as server, client_of(server, metrics=Metrics()) as client:
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            server.on(f"{method} {PATH}/a", echo)
        server.on(f"PATCH {PATH}/a/status", echo)
        server.on(f"POST {PATH}", echo)
        assert (await client.get(SERVICES, "a", namespace="shop", into=Named)).metadata.name == "a"
        assert await client.create(SERVICES, manifest) == manifest
        await client.replace(SERVICES, manifest)
        await client.patch(SERVICES, "a", [{"op": "remove"}], namespace="shop", patch_type=PatchType.JSON)
        await client.patch(SERVICES, "a", manifest, namespace="shop", patch_type=PatchType.APPLY, force=True)
        await client.patch_status(SERVICES, "a", {"ok": True}, namespace="shop")
        await client.delete(SERVICES, "a", namespace="shop", uid="u", resource_version="7", propagation="Background")
        exposition = client.metrics.exposition().decode()
    manager = "fieldManager=meshfed"
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u", "resourceVersion": "7"},
        "propagationPolicy": "Background",
    }
    assert bodies == [
        ("GET", f"{PATH}/a", "", b""),
        ("POST", f"{PATH}?{manager}", "application/json", manifest),
        ("PUT", f"{PATH}/a?{manager}", "application/json", manifest),
        ("PATCH", f"{PATH}/a?{manager}", "application/json-patch+json", [{"op": "remove"}]),
        ("PATCH", f"{PATH}/a?{manager}&force=true", "application/apply-patch+yaml", manifest),
        ("PATCH", f"{PATH}/a/status?{manager}", "application/merge-patch+json", {"status": {"ok": True}}),
        ("DELETE", f"{PATH}/a", "application/json", options),
    ]
    assert 'meshfed_kube_writes_total{resource="services",verb="patch"} 3.0' in exposition
    assert 'meshfed_kube_requests_total{resource="services",status="200",verb="get"} 1.0' in exposition


async def test_headers() -> None:
    jane = (("Impersonate-User", "jane"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"))
    async with scripted() as server:
        server.on(f"GET {PATH}/a", {})
        async with Client(ClusterConfig(server=server.url, impersonate=jane)) as client:
            await client.get(SERVICES, "a", namespace="shop")
        headers = server.requests[0].headers
        assert headers["User-Agent"].startswith("meshfed/")
        assert headers["Accept"] == "application/json"
        assert (headers["Impersonate-User"], headers.getall("Impersonate-Group")) == ("jane", ["a", "b"])


async def test_a_server_under_a_path() -> None:
    async with scripted() as server:
        server.on(f"GET /k8s/clusters/c-1{PATH}/a", {"ok": True})
        async with Client(ClusterConfig(server=f"{server.url}/k8s/clusters/c-1/")) as client:
            assert await client.get(SERVICES, "a", namespace="shop") == {"ok": True}


async def test_lists_go_on_to_the_next_page() -> None:
    async with scripted() as server, client_of(server) as client:
        server.on(
            f"GET {PATH}",
            {"metadata": {"resourceVersion": "5", "continue": "more/+"}, "items": [{"metadata": {"name": "a"}}]},
            {"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "b"}}]},
        )
        found = await client.list(SERVICES, namespace="shop", label_selector="a in (b,c)")
        kind = {"apiVersion": "v1", "kind": "Service"}
        assert found == [{**kind, "metadata": {"name": "a"}}, {**kind, "metadata": {"name": "b"}}]
        assert [dict(request.query) for request in server.requests] == [
            {"labelSelector": "a in (b,c)", "limit": "500"},
            {"labelSelector": "a in (b,c)", "limit": "500", "continue": "more/+"},
        ]


@pytest.mark.parametrize(
    ("code", "reason", "kind", "retryable"),
    [
        (400, "BadRequest", BadRequest, False),
        (401, "Unauthorized", Unauthorized, True),
        (403, "Forbidden", Forbidden, False),
        (404, "NotFound", NotFound, False),
        (409, "AlreadyExists", AlreadyExists, False),
        (409, "Conflict", Conflict, True),
        (410, "Expired", Gone, True),
        (413, "RequestEntityTooLarge", APIError, False),
        (422, "Invalid", Invalid, False),
        (429, "TooManyRequests", TooManyRequests, True),
        (500, "InternalError", ServerFailure, True),
        (503, "ServiceUnavailable", ServerFailure, True),
    ],
)
async def test_refusals(code: int, reason: str, kind: type[APIError], retryable: bool) -> None:
    causes = [{"reason": "FieldValueInvalid", "message": "no", "field": "spec.port"}]
    async with scripted() as server, client_of(server) as client:
        server.on(f"POST {PATH}", status(code, reason, details={"causes": causes, "retryAfterSeconds": 3}))
        with pytest.raises(APIError) as caught:
            await client.create(SERVICES, {"metadata": {"name": "a", "namespace": "shop"}})
    error = caught.value
    assert (type(error), error.status, error.reason, error.message) == (kind, code, reason, "told to")
    assert (error.causes, error.retry_after) == ((Cause("FieldValueInvalid", "no", "spec.port"),), 3.0)
    assert error.retryable is retryable


async def test_a_refusal_that_is_no_status() -> None:
    async def proxy(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<h1>Bad Gateway</h1>", status=502, headers={"Retry-After": "7"})

    async with scripted() as server, client_of(server) as client:
        server.on(f"GET {PATH}/a", proxy)
        with pytest.raises(ServerFailure, match="Bad Gateway") as caught:
            await client.get(SERVICES, "a", namespace="shop")
        assert caught.value.retry_after == 7.0


async def test_a_redirect_is_not_followed() -> None:
    async def away(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://192.0.2.1/steal")

    async with scripted() as server, client_of(server) as client:
        server.on(f"GET {PATH}/a", away)
        with pytest.raises(APIError) as caught:
            await client.get(SERVICES, "a", namespace="shop")
        assert caught.value.status == 302


@pytest.mark.parametrize(
    "answer", [stream(b'{"metadata": {"na', end="reset"), stream(b'{"metadata": {"na', end="hang"), stream(b"{")]
)
async def test_answers_that_break_off(answer: Any) -> None:
    async with scripted() as server, client_of(server, timeout=0.3) as client:
        server.on(f"GET {PATH}/a", answer)
        with pytest.raises(TransportError):
            await client.get(SERVICES, "a", namespace="shop")


async def test_nobody_listens() -> None:
    async with Client(ClusterConfig(server="http://127.0.0.1:1"), metrics=Metrics()) as client:
        path = "http://127.0.0.1:1/api/v1/namespaces/shop/services/a"
        with pytest.raises(TransportError, match=rf"^get {path}: cannot connect: Connection refused$"):
            await client.get(SERVICES, "a", namespace="shop")
        assert 'status="0"' in client.metrics.exposition().decode()


async def test_warnings_of_the_server_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with scripted() as server, client_of(server) as client:
        server.on(f"GET {PATH}/a", json_answer({}, Warning='299 - "unknown field \\"spec.x\\""'))
        for _ in range(3):
            await client.get(SERVICES, "a", namespace="shop")
    assert len([record for record in caplog.records if "warns" in record.getMessage()]) == 1


async def test_requests_in_flight_are_bounded() -> None:
    now = most = 0

    async def slow(_: web.Request) -> web.StreamResponse:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        return web.json_response({})

    async with scripted() as server, client_of(server, concurrency=3) as client:
        server.on(f"GET {PATH}/a", slow)
        await asyncio.gather(*(client.get(SERVICES, "a", namespace="shop") for _ in range(12)))
    assert most == 3


async def watched(client: Client) -> list[tuple[str, Any]]:
    stream = client.watch(SERVICES, namespace="shop", resource_version="7", timeout_seconds=300)
    async with contextlib.aclosing(stream):
        return [(event.type, msgspec.json.decode(event.object)) async for event in stream]


async def test_a_watch_in_odd_pieces_and_with_odd_bytes() -> None:
    """U+0085, U+2028 and a form feed end a line of text, but no line of a stream."""
    odd = {"metadata": {"name": "a", "annotations": {"note": "one\u0085two\u2028three\u000cfour\U0001f600"}}}
    big = {"metadata": {"name": "b", "annotations": {"note": "x" * 3_000_000}}}
    data = line("ADDED", **odd) + b"\n" + line("MODIFIED", **big) + line("BOOKMARK", metadata={"resourceVersion": "9"})
    pieces = [data[start : start + 100_003] for start in range(0, len(data), 100_003)]
    async with scripted() as server, client_of(server) as client:
        server.on(f"WATCH {PATH}", stream(*pieces), stream(*(data[n : n + 1] for n in range(300))))
        assert await watched(client) == [
            ("ADDED", odd),
            ("MODIFIED", big),
            ("BOOKMARK", {"metadata": {"resourceVersion": "9"}}),
        ]
        assert await watched(client) == [("ADDED", odd)]
        query = dict(server.requests[0].query)
        assert query == {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": "7",
            "timeoutSeconds": "300",
        }


async def test_a_watch_that_ends_in_the_middle_of_a_line() -> None:
    whole = line("ADDED", metadata={"name": "a"})
    async with scripted() as server, client_of(server) as client:
        server.on(f"WATCH {PATH}", stream(whole, whole[:20]))
        assert await watched(client) == [("ADDED", {"metadata": {"name": "a"}})]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (stream(line("ADDED", metadata={"name": "a"}), end="reset"), TransportError),
        (stream(b"this is not JSON\n"), MalformedAnswer),
        (stream(b'{"type": "ADDED"}\n'), MalformedAnswer),
        (stream(*[b"x" * 1_000_000] * 18), MalformedAnswer),
        (stream(line("ERROR", kind="Status", code=410, reason="Expired", message="too old")), Gone),
        (stream(line("ERROR", kind="Status", code=500, message="etcd")), ServerFailure),
        (stream(b'{"type": "ERROR", "object": "no healthy upstream"}\n'), ServerFailure),
        (status(410, "Expired"), Gone),
        (status(404), NotFound),
    ],
)
async def test_watches_that_fail(answer: Any, error: type[Exception]) -> None:
    async with scripted() as server, client_of(server) as client:
        server.on(f"WATCH {PATH}", answer)
        with pytest.raises(error) as caught:
            await watched(client)
        assert type(caught.value) is error


async def test_a_watch_that_is_given_up_leaves_no_connection() -> None:
    gone = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(line("ADDED", metadata={"name": "a"}))
                await asyncio.sleep(0.01)
        finally:
            gone.set()

    async with scripted() as server, client_of(server) as client:
        server.on(f"WATCH {PATH}", endless)
        stream = client.watch(SERVICES, namespace="shop", resource_version="7", timeout_seconds=300)
        async with contextlib.aclosing(stream):
            async for _ in stream:
                break
        async with asyncio.timeout(10):
            await gone.wait()


async def test_aggregated_discovery() -> None:
    def group(name: str, *versions: Any) -> Any:
        return {"metadata": {"name": name}, "versions": list(versions)}

    def served(version: str, plural: str, kind: str, scope: str = "Namespaced", **more: Any) -> Any:
        found = {"resource": plural, "responseKind": {"kind": kind}, "scope": scope}
        return {"version": version, "resources": [found], **more}

    kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

    def answer(*groups: Any) -> Any:
        async def reply(_: web.Request) -> web.StreamResponse:
            return web.Response(body=msgspec.json.encode({"items": groups}), headers={"Content-Type": kind})

        return reply

    async with scripted() as server, client_of(server) as client:
        server.on("GET /api", answer(group("", served("v1", "nodes", "Node", "Cluster"))))
        stale = served("v1", "pods", "PodMetrics", freshness="Stale")
        entries = [served(version, "serviceentries", "ServiceEntry") for version in ("v1", "v1beta1")]
        server.on("GET /apis", answer(group("networking.istio.io", *entries), group("metrics.k8s.io", stale)))
        found = await discover(client)
    new, old = (Resource("networking.istio.io", v, "serviceentries", "ServiceEntry") for v in ("v1", "v1beta1"))
    metrics = Resource("metrics.k8s.io", "v1", "pods", "PodMetrics")
    assert found == ServedAPIs(
        (Resource("", "v1", "nodes", "Node", namespaced=False), new, old, metrics), ("metrics.k8s.io/v1",)
    )
    assert (found.find("networking.istio.io", "ServiceEntry"), found.find("", "Pod")) == (new, None)
    assert (found.serves(old), found.serves(SERVICES)) == (True, False)


async def test_discovery_of_an_old_server() -> None:
    async with scripted() as server, client_of(server) as client:
        server.on("GET /api", {"versions": ["v1"]})
        server.on("GET /apis", {"groups": [_old_group("apps", "v1beta1", "v1"), _old_group("broken.example", "v1")]})
        pods = [
            {"name": "pods", "kind": "Pod", "namespaced": True},
            {"name": "pods/log", "kind": "Pod", "namespaced": True},
        ]
        server.on("GET /api/v1", {"resources": pods})
        for version in ("v1", "v1beta1"):
            found = [{"name": "deployments", "kind": "Deployment", "namespaced": True}]
            server.on(f"GET /apis/apps/{version}", {"resources": found})
        server.on("GET /apis/broken.example/v1", status(503))
        assert await discover(client) == ServedAPIs(
            (
                Resource("", "v1", "pods", "Pod"),
                Resource("apps", "v1", "deployments", "Deployment"),
                Resource("apps", "v1beta1", "deployments", "Deployment"),
            ),
            ("broken.example/v1",),
        )


def _old_group(name: str, *versions: str) -> Any:
    found = [{"groupVersion": f"{name}/{version}"} for version in versions]
    return {"name": name, "versions": found, "preferredVersion": found[-1]}


async def test_discovery_that_fails_is_one_error() -> None:
    async with Client(ClusterConfig(server="http://127.0.0.1:1")) as client:
        with pytest.raises(TransportError):
            await discover(client)


@pytest.mark.parametrize(
    ("version", "number"),
    [("7", 7), (str(2**64), 2**64), ("", 0), ("v7", 0), ("\u0663", 0), ("\u00b2", 0), ("1" * 5000, 0)],
)
def test_a_resource_version_is_a_number_or_orders_nothing(version: str, number: int) -> None:
    assert version_number(version) == number
