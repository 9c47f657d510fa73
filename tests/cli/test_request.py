"""``meshfed test``: where a request ended, by what curl says of it; and commands in containers, over a WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import pytest_asyncio
import yaml

from meshfed.cli import request as command
from meshfed.cli.app import run
from meshfed.cli.clusters import InClusters, Seen
from meshfed.kube import Client, ClusterConfig, KubeError, Ran, ServerFailure, execute
from meshfed.views.checks import Proof
from meshfed.views.documents import schemas
from meshfed.views.requests import RequestPlace, verdict
from meshfed.views.snapshot import Snapshot, Unreached
from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.apps.curl import Ran as Said
from tests.builders import RESOURCES, mesh_federation, namespace, pod, remote_mesh
from tests.cli.fakes import condition, imported, lease, snapshot, with_status

ANSWER = b"HTTP/1.1 200 OK\r\nserver: envoy\r\nx-envoy-upstream-service-time: 4\r\n\r\n{}"


@pytest.mark.parametrize(
    ("exit_code", "said", "expected", "words"),
    [
        (0, ANSWER, (200, True, True, None), "the application answered 200"),
        (0, ANSWER.replace(b"200 OK", b"503 no"), (503, True, True, None), "the application answered 503"),
        (0, ANSWER.replace(b"200 OK", b"404 no"), (404, True, True, None), "the application answered 404"),
        (
            0,
            b"HTTP/1.1 403 Forbidden\r\nserver: envoy\r\n\r\nRBAC: access denied",
            (403, True, False, RequestPlace.WORKLOAD),
            "AuthorizationPolicy",
        ),
        (  # as the client's sidecar passes it on, from that of the workload
            0,
            b"HTTP/1.1 403 F\r\nserver: envoy\r\nx-envoy-upstream-service-time: 2\r\n\r\nRBAC: access denied",
            (403, True, False, RequestPlace.WORKLOAD),
            "AuthorizationPolicy",
        ),
        (
            0,
            b"HTTP/1.1 503 S\r\nx-envoy-upstream-service-time: 2\r\n\r\nupstream connect error, reset: 111",
            (503, False, False, RequestPlace.WORKLOAD),
            "that does not listen at the port which its Service names",
        ),
        (
            0,
            b"HTTP/1.1 503 S\r\nx-envoy-upstream-service-time: 2\r\n\r\nI cannot",
            (503, True, True, None),
            "the application answered 503",
        ),
        (
            0,
            b"HTTP/1.1 503 S\r\nserver: envoy\r\n\r\nno healthy upstream",
            (503, False, False, RequestPlace.SIDECAR),
            "no endpoint is left",
        ),
        (
            0,
            b"HTTP/1.1 503 S\r\nserver: envoy\r\n\r\nupstream connect error, reset reason: connection termination",
            (503, False, False, RequestPlace.GATEWAY),
            "it does not pass it on (upstream connect error",
        ),
        (
            0,
            b"HTTP/1.1 503 S\r\n\r\nupstream connect error, TLS_error:|26:SSL:CERTIFICATE_VERIFY_FAILED:verify SAN",
            (503, False, False, RequestPlace.GATEWAY),
            "docs/troubleshooting.md#a-certificate-is-not-accepted",
        ),
        (
            0,
            b"HTTP/1.1 503 S\r\n\r\nupstream connect error, reset reason: connection timeout",
            (503, False, False, RequestPlace.GATEWAY),
            "docs/troubleshooting.md#the-gateway-is-not-reached",
        ),
        (
            0,
            b"HTTP/1.1 504 G\r\n\r\nupstream request timeout",
            (504, False, False, RequestPlace.GATEWAY),
            "docs/troubleshooting.md#what-comes-back",
        ),
        (0, b"HTTP/1.1 404 N\r\nserver: envoy\r\n\r\n", (404, False, False, RequestPlace.NAME), "no route"),
        (6, b"", (0, False, False, RequestPlace.NAME), "no address in the client's mesh (it says so)"),
        (7, b"", (0, False, False, RequestPlace.NAME), "no sidecar"),
        (28, b"", (0, False, False, RequestPlace.GATEWAY), "swallows packets"),
        (52, b"", (0, False, False, RequestPlace.GATEWAY), "ended without an answer (it says so)"),
        (47, b"", (0, False, False, RequestPlace.GATEWAY), "exit code 47 (it says so)"),
    ],
)
def test_where_a_request_ended(
    exit_code: int, said: bytes, expected: tuple[int, bool, bool, RequestPlace | None], words: str
) -> None:
    found = verdict(exit_code, said, b"it says so\n")
    assert (found.code, found.reached, found.allowed, found.ended_at) == expected
    assert words in found.message


@pytest.mark.parametrize("said", [b"", b"\xff\xfe", b"HTTP/1.1", b"HTTP/1.1 abc\r\n\r\n", b"hello"])
def test_what_is_no_http_is_no_answer(said: bytes) -> None:
    found = verdict(0, said, b"")
    assert (found.code, found.reached, found.ended_at) == (0, False, RequestPlace.GATEWAY)


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
        (f"https://{HOST}/a?b=c", f"https://{HOST}:443/a?b=c"),
        ("Ratings.Default.", f"http://{HOST}:9080/"),
        ("[2001:db8::1]:80/a:b", "http://[2001:db8::1]:80/a:b"),
        ("192.0.2.1:80?a", "http://192.0.2.1:80/?a"),
    ],
)
def test_what_is_asked_for(
    host: str, url: str, sent: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["test", host, "--from", "shop/client", "-c", "curl", "--times", "2", "-o", "wide"]) == 0
    assert sent == [("shop", "client", "curl", "curl", "-sS", "-i", "-m", "10", "-g", url)] * 2
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([HOST, "--from", "a/b/c"], "--from a/b/c: write it as NAMESPACE/POD, or as NAMESPACE for a Job there"),
        ([HOST, "--from", "a/"], "--from a/: write it as NAMESPACE/POD, or as NAMESPACE for a Job there"),
        ([HOST, "--from", "../a"], "--from ../a: write it as NAMESPACE/POD, or as NAMESPACE for a Job there"),
        (["--from", "a"], "--from a: name the HOST to ask"),
        ([HOST, "--remote", "west"], "--remote west is for paths between controllers: leave HOST or --remote out"),
        ([HOST, "--from", "a", "-c", "x"], "--container x is for --from NAMESPACE/POD"),
        ([HOST, "--from", "a/b", "--service-account", "x"], "--service-account x is for --from NAMESPACE"),
        ([HOST, "--from", "a", "--service-account", "A"], "--service-account: 'A' is no name of a service account"),
        ([HOST, "--here", "--from", "a"], "--here takes HOST:PORT, and neither --from nor --remote"),
        ([HOST, "--from", "a", "--quit-sidecar"], "--quit-sidecar is for --here"),
        ([HOST, "--here"], "say which port"),
        (["a b:80", "--here"], "'a b:80': 'a b' is no host"),
        (["--", "--output=x:80"], "'--output=x:80': '--output=x' is no host"),
        (["[::1:80", "--here"], "is no host"),
        (["::1", "--here"], "is no host"),
        (["user@a:80", "--here"], "is no host"),
        ([f"{HOST}:99999", "--here"], "'99999' is no port"),
        ([f"{HOST}:80/\n", "--here"], "the path has what no URL may have"),
        ([HOST, "--from", "a/b", "--times", "0"], "--times 0: send at least one"),
        ([HOST, "--from", "a/b", "--max-time", "0s"], "--max-time 0s: nothing is done in no time"),
        (
            ["nobody.example", "--from", "a/b"],
            "nobody.example: no offer of it is seen here: say which port, as nobody.example:PORT",
        ),
        ([f"{HOST}:http", "--from", "a/b"], f"{HOST}:http: 'http' is no port; write HOST:PORT/PATH"),
        ([HOST, "--from", "a/b", "--context", "x", "--context", "y"], "give at most one --context"),
    ],
)
def test_bad_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", *arguments]) == 2
    assert said in capsys.readouterr().err


NO_ROUTE = b"HTTP/1.1 404 N\r\nserver: envoy\r\n\r\n"


@pytest.mark.parametrize(
    ("accepted", "said"),
    [
        (
            condition("Accepted", False, "DeniedByRule", "it is denied by import rule 1 of RemoteMesh west"),
            "(`import.exportTo`, a Sidecar); west's offer is Denied, DeniedByRule: it is denied by import rule 1",
        ),
        (
            condition("Accepted", True, "MTLSDisabled", "not for clients in shop"),
            "(`import.exportTo`, a Sidecar); west's offer is Imported, MTLSDisabled: not for clients in shop",
        ),
        (condition("Accepted", True, "Accepted"), "(`import.exportTo`, a Sidecar)\n"),
    ],
)
def test_what_reached_nobody_is_told_with_what_this_mesh_says_of_the_offer(
    accepted: dict[str, Any],
    said: str,
    sent: list[tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    offer = imported("west", "ratings", accepted)
    if accepted["status"] == "False":
        del offer["status"]["importedAs"]

    async def look_at(*_: Any) -> Seen:
        return (snapshot(mesh_federation("east"), offer),), ()

    async def execute_(_: Client, namespace: str, pod: str, container: str, words: Sequence[str]) -> Ran:
        sent.append((namespace, pod, container, *words))
        return Ran(0, NO_ROUTE, b"")

    monkeypatch.setattr(command, "look_at", look_at)
    monkeypatch.setattr("meshfed.kube.execute", execute_)
    assert run(["test", "ratings", "--from", "shop/client", "-c", "curl"]) == 1
    assert sent[0][-1] == f"http://{HOST}:9080/"
    out = capsys.readouterr().out
    assert said in " ".join(out.split()) + "\n"
    assert max(map(len, out.splitlines())) <= 80


def test_a_cluster_that_is_away(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def look_at(*_: Any) -> Seen:
        return (), (Unreached("east", "connection refused"),)

    monkeypatch.setattr(command, "clusters", lambda _: (("east", ClusterConfig("http://127.0.0.1:1")),))
    monkeypatch.setattr(command, "look_at", look_at)
    assert run(["test", HOST, "--from", "a/b"]) == 3
    assert capsys.readouterr().err == "meshfed: east: not reached: connection refused\n"


# --- by proofs


@pytest.fixture
def proving(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Meshes whose controllers prove what they are asked for; `asked` says of each what that was."""
    found: dict[str, Any] = {"asked": {}}
    reached = condition("Reachable", True, "Answered", "answered through 192.0.2.20:15443 as W")
    stands = (
        condition("Connected", True, "Connected", "connected since 12:00"),
        condition("Subscribed", True, "Subscribed", "subscribes at replica a"),
    )
    broken = condition("Reachable", False, "NotPassedOn", "192.0.2.20:15443: closed at the SNI")
    west = with_status(remote_mesh("west", import_={}), reached, *stands)
    north = with_status(remote_mesh("north", import_={}), broken, *stands)
    east = with_status(remote_mesh("east", import_={}), broken, *stands)
    record = imported("west", "ratings", reached)
    found["east"] = snapshot(mesh_federation("east"), lease("a"), west, north, record)
    found["west"] = snapshot(mesh_federation("west"), lease("a"), east, source="west")
    found["lone"] = snapshot(mesh_federation("lone"), lease("a"), source="lone")

    def configs(where: InClusters) -> Any:
        return tuple((name, ClusterConfig("http://127.0.0.1:1")) for name in where.context or ("east",))

    async def look_at(chosen: Any, *_: Any) -> Seen:
        seen = [found.get(name) or Unreached(name, "connection refused") for name, _ in chosen]
        return (
            tuple(one for one in seen if isinstance(one, Snapshot)),
            tuple(one for one in seen if isinstance(one, Unreached)),
        )

    async def proofs(_: Client, source: str, __: str | None, remotes: set[str], **how: Any) -> dict[str, Proof]:
        found["asked"][source] = (sorted(remotes), how)
        return dict.fromkeys(remotes, Proof(handled=True))

    monkeypatch.setattr(command, "clusters", configs)
    monkeypatch.setattr(command, "look_at", look_at)
    monkeypatch.setattr(command, "proofs", proofs)
    return found


STANDS = "and discovery, a request by the same way from the controller's sidecar, is connected since 12:00"


def test_each_direction_of_one_mesh(proving: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "--remote", "west", "--timeout", "5s"]) == 0
    said = capsys.readouterr()
    assert said.out == (
        "FROM   TO     OUTCOME   ENDED AT\n"
        "east   west   ok        -\n"
        "west   east   ok        -\n"
        "\n"
        "east to west: answered through 192.0.2.20:15443 as W; and discovery, a request\n"
        "  by the same way from the controller's sidecar, is connected since 12:00\n"
        "west to east: subscribes at replica a\n"
    )
    assert run(["test", "--remote", "west", "--timeout", "5s", "-o", "wide"]) == 0
    assert capsys.readouterr().out == (
        "FROM   TO     OUTCOME   ENDED AT   MESSAGE\n"
        f"east   west   ok        -          answered through 192.0.2.20:15443 as W; {STANDS}\n"
        "west   east   ok        -          subscribes at replica a\n"
    )
    assert said.err == "asking the controller of east to prove the ways to west\n"
    assert proving["asked"] == {"east": (["west"], {"imports": False, "seconds": 5.0})}


def test_each_direction_of_two_meshes(proving: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "--context", "east", "--context", "west"]) == 1
    assert [" ".join(line.split()[:4]) for line in capsys.readouterr().out.splitlines()[1:5]] == [
        "east north failed gateway",
        "north east ok -",
        "east west ok -",
        "west east failed gateway",
    ]
    assert {source: remotes for source, (remotes, _) in proving["asked"].items()} == {
        "east": ["north", "west"],
        "west": ["east"],
    }


def test_an_import_is_proven_and_that_it_is_no_request_is_said(
    proving: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["test", "ratings"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[1:] == [
        "east   west   ok        -",
        "",
        "east to west: answered through 192.0.2.20:15443 as W",
    ]
    assert said.err.splitlines()[1] == (
        "that is a TLS handshake by the controller, and no request: what policies say to one, `meshfed test ratings "
        "--from NAMESPACE` shows"
    )
    assert proving["asked"] == {"east": (["west"], {"imports": True, "seconds": 60.0})}


@pytest.mark.parametrize("format_", ["json", "yaml"])
@pytest.mark.usefixtures("proving")
def test_paths_as_a_document(format_: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["test", "ratings", "--context", "east", "--context", "away", "-o", format_]) == 3
    found = yaml.safe_load(capsys.readouterr().out)
    schema = jsonschema_rs.validator_for(schemas())
    schema.validate(found)
    assert (found["kind"], found["unreached"]) == ("PathList", [{"source": "away", "why": "connection refused"}])
    assert found["items"] == [
        {
            "client": "east",
            "server": "west",
            "host": HOST,
            "outcome": "ok",
            "endedAt": "",
            "reason": "Answered",
            "message": "answered through 192.0.2.20:15443 as W",
            "evidence": "handshake just now",
        }
    ]


@pytest.mark.usefixtures("proving")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nobody"], 1, "nobody: nothing of that name is offered to this mesh"),
        (["--remote", "south"], 1, "south: there is no RemoteMesh of that name here"),
        (["--context", "lone"], 1, "there are no RemoteMeshes"),
        (["--context", "away"], 3, "away: not reached: connection refused"),
    ],
)
def test_what_there_is_nothing_to_try_of(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["test", *words]) == code
    assert said in capsys.readouterr().err


def test_an_offer_that_is_not_imported_is_told_why(proving: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    offer = imported("west", "ratings", condition("Accepted", False, "DeniedByRule", "denied by import rule 1"))
    del offer["status"]["importedAs"]
    proving["east"] = snapshot(mesh_federation("east"), lease("a"), remote_mesh("west", import_={}), offer)
    assert run(["test", "ratings"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1:] == ["east   west   failed    name", "", "east to west: denied by import rule 1"]
    assert "TLS handshake" not in err


@pytest.mark.parametrize("words", [[], ["ratings"]])
def test_what_may_not_be_seen_is_not_taken_for_absent(
    words: list[str], proving: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    proving["east"] = snapshot(mesh_federation("east"), unread={"RemoteMesh": "you may not list remotemeshes"})
    assert run(["test", *words]) == 1
    assert capsys.readouterr().err == (
        "east: you may not list remotemeshes\nmeshfed: nothing is tried: what there is cannot be seen\n"
    )


# --- commands in containers


class Node:
    """Runs what it is told to, in a container that has curl."""

    def logs(self, *_: str) -> Sequence[Path]:
        return []

    async def execute(self, _namespace: str, _pod: str, container: str, words: Sequence[str]) -> Said:
        if words[0] != "curl":
            raise LookupError(f"exec: {words[0]!r} is not in container {container}")
        return Said(out=b"o" * 200_000, err=b"e", code=len(words) - 1)

    async def fetch(self, *_: Any) -> tuple[int, str, bytes]:
        raise LookupError("nothing answers here")


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
