"""``meshfed test``: where a request ended, by what curl says of it; and commands in containers, over a WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from meshfed.cli import request as command
from meshfed.cli.app import run
from meshfed.cli.clusters import Seen
from meshfed.kube import Client, ClusterConfig, KubeError, Ran, ServerFailure, execute
from meshfed.views.documents import Unreached
from meshfed.views.requests import RequestPlace, verdict
from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.apps.curl import Ran as Said
from tests.builders import RESOURCES, mesh_federation, namespace, pod
from tests.cli.fakes import imported, snapshot

ANSWER = b"HTTP/1.1 200 OK\r\nserver: envoy\r\nx-envoy-upstream-service-time: 4\r\n\r\n{}"


@pytest.mark.parametrize(
    ("exit_code", "said", "expected", "words"),
    [
        (0, ANSWER, (200, True, True, ""), "the application answered 200"),
        (0, ANSWER.replace(b"200 OK", b"503 no"), (503, True, True, ""), "the application answered 503"),
        (0, ANSWER.replace(b"200 OK", b"404 no"), (404, True, True, ""), "the application answered 404"),
        (
            0,
            b"HTTP/1.1 403 Forbidden\r\nserver: envoy\r\n\r\nRBAC: access denied",
            (403, True, False, RequestPlace.WORKLOAD),
            "AuthorizationPolicy",
        ),
        (
            0,
            b"HTTP/1.1 503 S\r\nserver: envoy\r\n\r\nno healthy upstream",
            (503, False, False, RequestPlace.SIDECAR),
            "no endpoint is healthy",
        ),
        (
            0,
            b"HTTP/1.1 503 S\r\nserver: envoy\r\n\r\nupstream connect error, reset reason: connection termination",
            (503, False, False, RequestPlace.GATEWAY),
            "passes the SNI on to nobody",
        ),
        (
            0,
            b"HTTP/1.1 503 S\r\n\r\nupstream connect error, transport failure reason: TLS_error: verify failed",
            (503, False, False, RequestPlace.GATEWAY),
            "another root or another identity",
        ),
        (0, b"HTTP/1.1 404 N\r\nserver: envoy\r\n\r\n", (404, False, False, RequestPlace.NAME), "no route"),
        (6, b"", (0, False, False, RequestPlace.NAME), "no address in the client's mesh (it says so)"),
        (7, b"", (0, False, False, RequestPlace.NAME), "no sidecar"),
        (28, b"", (0, False, False, RequestPlace.GATEWAY), "swallows packets"),
        (52, b"", (0, False, False, RequestPlace.GATEWAY), "exit code 52 (it says so)"),
    ],
)
def test_where_a_request_ended(exit_code: int, said: bytes, expected: tuple[int, bool, bool, str], words: str) -> None:
    *found, message = verdict(exit_code, said, b"it says so\n")
    assert tuple(found) == expected
    assert words in message


@pytest.mark.parametrize("said", [b"", b"\xff\xfe", b"HTTP/1.1", b"HTTP/1.1 abc\r\n\r\n", b"hello"])
def test_what_is_no_http_is_no_answer(said: bytes) -> None:
    code, reached, _, ended_at, _ = verdict(0, said, b"")
    assert (code, reached, ended_at) == (0, False, RequestPlace.GATEWAY)


# --- the command

HOST = "ratings.default.svc.cluster.local"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What is run in pods of a mesh that imports ratings; `answers` says what comes of it."""
    found: list[tuple[str, ...]] = []

    async def look_at(*_: Any) -> Seen:
        return (snapshot(mesh_federation("east"), imported("west", "ratings")),), ()

    async def execute_(_: Client, namespace: str, pod: str, container: str, words: Sequence[str]) -> Ran:
        found.append((namespace, pod, container, *words))
        return Ran(0, ANSWER, b"")

    monkeypatch.setattr(command, "clusters", lambda _: (("east", ClusterConfig("http://127.0.0.1:1")),))
    monkeypatch.setattr(command, "look_at", look_at)
    monkeypatch.setattr("meshfed.kube.execute", execute_)
    return found


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (HOST, f"http://{HOST}:9080/"),
        (f"{HOST}/ratings/0", f"http://{HOST}:9080/ratings/0"),
        (f"{HOST}:81/a/b", f"http://{HOST}:81/a/b"),
        ("ratings", f"http://{HOST}:9080/"),
        ("ratings.default:81/a", f"http://{HOST}:81/a"),
        ("other.example:80", "http://other.example:80/"),
    ],
)
def test_what_is_asked_for(
    host: str, url: str, sent: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["test", host, "--from", "shop/client", "-c", "curl", "--times", "2", "-o", "wide"]) == 0
    assert sent == [("shop", "client", "curl", "curl", "-sS", "-i", "-m", "10", url)] * 2
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([HOST, "--from", "client"], "--from client: write it as NAMESPACE/POD"),
        ([HOST, "--from", "a/b/c"], "--from a/b/c: write it as NAMESPACE/POD"),
        ([HOST, "--from", "a/b", "--times", "0"], "--times 0: send at least one"),
        (
            ["nobody.example", "--from", "a/b"],
            "nobody.example: nobody offers it: say which port, as nobody.example:PORT",
        ),
        ([f"{HOST}:http", "--from", "a/b"], f"{HOST}:http: 'http' is no port; write HOST:PORT/PATH"),
        ([HOST, "--from", "a/b", "--context", "x", "--context", "y"], "give at most one --context"),
    ],
)
def test_bad_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_cluster_that_is_away(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def look_at(*_: Any) -> Seen:
        return (), (Unreached("east", "connection refused"),)

    monkeypatch.setattr(command, "clusters", lambda _: (("east", ClusterConfig("http://127.0.0.1:1")),))
    monkeypatch.setattr(command, "look_at", look_at)
    assert run(["test", HOST, "--from", "a/b"]) == 3
    assert capsys.readouterr().err == "meshfed: east: not reached: connection refused\n"


# --- commands in containers


class Node:
    """Runs what it is told to, in a container that has curl."""

    def logs(self, *_: str) -> Sequence[Path]:
        return []

    async def execute(self, _namespace: str, _pod: str, container: str, words: Sequence[str]) -> Said:
        if words[0] != "curl":
            raise LookupError(f"exec: {words[0]!r} is not in container {container}")
        return Said(out=b"o" * 200_000, err=b"e", code=len(words) - 1)


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    async with APIServer(crds=[]) as server, Client(ClusterConfig(server=server.url)) as client:
        server.run_by(Node())
        await client.create(RESOURCES["Namespace"], namespace("shop"))
        made = pod("client.shop", "client")
        made["spec"]["containers"] = [{"name": "app", "image": "client"}]
        await client.create(RESOURCES["Pod"], made)
        yield client


async def test_a_command_in_a_container(client: Client) -> None:
    assert await execute(client, "shop", "client", "app", ["curl"]) == Ran(0, b"o" * 200_000, b"e")
    assert (await execute(client, "shop", "client", "app", ["curl", "a b", "ü&"])).code == 2


async def test_a_command_that_is_not_there(client: Client) -> None:
    with pytest.raises(ServerFailure, match="'sh' is not in container app"):
        await execute(client, "shop", "client", "app", ["sh"])


@pytest.mark.parametrize(("pod_", "container"), [("nobody", "app"), ("client", "other")])
async def test_a_container_that_is_not_there(pod_: str, container: str, client: Client) -> None:
    with pytest.raises(KubeError, match=r"404|400"):
        await execute(client, "shop", pod_, container, ["curl"])


@pytest.mark.parametrize(
    "said",
    [b"[", b"[]", b'{"details": []}', b'{"details": {"causes": [5]}}', b'{"code": "x"}', b"[" * 100_000, b"\xff"],
)
async def test_an_end_that_the_api_does_not_promise(
    said: bytes, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def messages(*_: object) -> AsyncIterator[bytes]:
        yield b""
        yield b"\x03" + said

    monkeypatch.setattr(client, "messages", messages)
    with pytest.raises(KubeError, match="not what the API promises"):
        await execute(client, "shop", "client", "app", ["curl"])
