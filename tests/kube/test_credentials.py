"""Credentials that change under a running process, over real connections."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from aiohttp import web

from meshfed.kube import Client, ClusterConfig, ConfigError, Resource, TransportError, Unauthorized, load_kubeconfig
from meshfed.kube.credentials import ClientCertificate, Credentials, ExecPlugin, ExecSpec, Static, TokenFile
from meshfed.kube.tls import ContextSource, TLSConfig
from tests.kube.scripted import Scripted, scripted

NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
PATH = "/api/v1/nodes/a"
V1 = "client.authentication.k8s.io/v1"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def guarded(server: Scripted, *tokens: str) -> list[str | None]:
    """Let ``tokens`` in, one after the other; what was presented."""
    presented: list[str | None] = []

    async def guard(request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization")
        presented.append(token)
        good = token in {f"Bearer {accepted}" for accepted in tokens}
        return web.json_response({"ok": True}, status=200 if good else 401)

    server.on(f"GET {PATH}", guard)
    return presented


async def get(server: Scripted, credentials: Credentials) -> Any:
    async with Client(ClusterConfig(server=server.url, credentials=credentials)) as client:
        return await client.get(NODES, "a")


# --- files


async def test_a_token_file_is_read_again_every_minute(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "token"
    file.write_text("one\n")
    credentials = TokenFile(file, clock=clock)
    assert await credentials.authorization() == "Bearer one"
    file.write_text("two\n")
    clock.now += 59
    assert await credentials.authorization() == "Bearer one"
    clock.now += 1
    assert await credentials.authorization() == "Bearer two"


async def test_a_token_file_that_vanishes_for_a_while(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock, file = Clock(), tmp_path / "token"
    file.write_text("one")
    credentials = TokenFile(file, clock=clock)
    await credentials.authorization()
    file.unlink()
    clock.now += 100
    assert await credentials.authorization() == "Bearer one"
    assert "the last token stays in use" in caplog.text
    with pytest.raises(ConfigError, match="the file must hold a bearer token"):
        await TokenFile(file).authorization()


async def test_a_token_that_was_rotated_early(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    credentials = TokenFile(file)
    await credentials.authorization()
    file.write_text("new")
    async with scripted() as server:
        presented = guarded(server, "new")
        assert await get(server, credentials) == {"ok": True}
        assert presented == ["Bearer old", "Bearer new"]


async def test_a_token_that_is_refused_is_not_tried_again_and_again() -> None:
    async with scripted() as server:
        presented = guarded(server)
        with pytest.raises(Unauthorized):
            await get(server, Static.token("bad"))
        assert presented == ["Bearer bad"]


# --- programs

PLUGIN = """
import json, os, pathlib, sys
here = pathlib.Path(__file__).parent
count = here / "count"
n = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(n))
(here / "seen").write_text(json.dumps({"args": sys.argv[1:], "info": json.loads(os.environ["KUBERNETES_EXEC_INFO"]),
                                       "extra": os.environ.get("EXTRA"), "home": os.environ.get("HOME")}))
status = json.loads((here / "status").read_text().replace("%n", str(n)))
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
"""


class Plugin:
    def __init__(self, directory: Path, status: dict[str, Any]) -> None:
        self.directory = directory
        (directory / "plugin.py").write_text(PLUGIN)
        (directory / "status").write_text(json.dumps(status))
        self.clock = Clock()

    def credentials(self, **more: Any) -> ExecPlugin:
        spec = ExecSpec(V1, sys.executable, (str(self.directory / "plugin.py"), "--x"), **more)
        return ExecPlugin(
            spec, where="file: users[east]", directory=self.directory, environ={"HOME": "/h"}, clock=self.clock
        )

    @property
    def runs(self) -> int:
        return int((self.directory / "count").read_text())

    @property
    def seen(self) -> Any:
        return json.loads((self.directory / "seen").read_text())


async def test_a_program_runs_once_until_its_token_expires(tmp_path: Path) -> None:
    expires = "2027-01-15T08:01:00Z"  # a minute after the clock's start
    plugin = Plugin(tmp_path, {"token": "t%n", "expirationTimestamp": expires})
    credentials = plugin.credentials(env=({"name": "EXTRA", "value": "e"},))
    tokens = await asyncio.gather(*(credentials.authorization() for _ in range(5)))
    assert set(tokens) == {"Bearer t1"}
    assert plugin.seen == {
        "args": ["--x"],
        "info": {"apiVersion": V1, "kind": "ExecCredential", "spec": {"interactive": False}},
        "extra": "e",
        "home": "/h",
    }
    plugin.clock.now += 29
    assert await credentials.authorization() == "Bearer t1"
    plugin.clock.now += 1
    assert await credentials.authorization() == "Bearer t2"


async def test_a_401_has_the_program_run_again_once(tmp_path: Path) -> None:
    plugin = Plugin(tmp_path, {"token": "t%n"})
    credentials = plugin.credentials()
    async with scripted() as server:
        presented = guarded(server, "t2")
        assert await get(server, credentials) == {"ok": True}
        assert presented == ["Bearer t1", "Bearer t2"]
        guarded(server)
        with pytest.raises(Unauthorized):
            await get(server, credentials)
        assert plugin.runs == 3


async def test_a_program_beside_its_kubeconfig_is_told_of_the_cluster(tmp_path: Path) -> None:
    Plugin(tmp_path, {"token": "t"})
    program = tmp_path / "bin"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$(dirname "$0")/plugin.py"\n')
    program.chmod(0o755)
    (tmp_path / "ca.crt").write_text("PEM")
    extension = [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}]
    cluster = {"server": "https://api.example", "certificate-authority": "ca.crt", "extensions": extension}
    plugin = {"apiVersion": V1, "command": "./bin", "interactiveMode": "IfAvailable", "provideClusterInfo": True}
    config = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"exec": plugin}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    found = load_kubeconfig(str(tmp_path / "config"), None, {"PATH": "/usr/bin:/bin"})
    assert await found.credentials.authorization() == "Bearer t"
    told = json.loads((tmp_path / "seen").read_text())["info"]["spec"]["cluster"]
    assert told == {
        "server": "https://api.example",
        "certificate-authority-data": base64.b64encode(b"PEM").decode(),
        "config": {"audience": "x"},
    }


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("no-such-program", (), "cannot be run: No such file or directory; get it from example.org"),
        ("false", (), "ended with code 1"),
        ("echo", ("hello",), "printed no ExecCredential"),
        ("echo", ('{"apiVersion": "x", "kind": "ExecCredential"}',), "answered ExecCredential of x"),
        ("echo", (json.dumps({"apiVersion": V1, "kind": "ExecCredential"}),), "neither a token nor a certificate"),
        (
            "echo",
            (json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": {"clientCertificateData": "x"}}),),
            "neither a token nor a certificate",
        ),
    ],
)
async def test_programs_that_fail(tmp_path: Path, command: str, arguments: tuple[str, ...], message: str) -> None:
    spec = ExecSpec(V1, command, arguments, install_hint="get it from example.org")
    credentials = ExecPlugin(spec, where="file: users[east]", directory=tmp_path, environ={"PATH": "/usr/bin:/bin"})
    with pytest.raises(ConfigError, match=r"^file: users\[east\]: exec: the credential program") as caught:
        await credentials.authorization()
    assert message in str(caught.value)


async def test_a_program_that_needs_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    spec = ExecSpec(V1, "true", interactive_mode="Always")
    with pytest.raises(ConfigError, match="run this from a terminal"):
        await ExecPlugin(spec, where="x", directory=tmp_path, environ={}).authorization()


# --- TLS


class Authority:
    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.file = directory / "ca.crt"
        self.file.write_bytes(self.pem)

    @property
    def pem(self) -> bytes:
        return self.ca.cert_pem.bytes()

    def server(self, *names: str, clients: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
        if clients:
            self.ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self) -> ClientCertificate:
        issued = self.ca.issue_cert("jane@example.org")
        return ClientCertificate(issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    (tmp_path / "other").mkdir()
    return Authority(tmp_path / "other")


async def reach(server: Scripted, tls: TLSConfig, credentials: Credentials | None = None) -> Any:
    server.on(f"GET {PATH}", {"ok": True})
    config = ClusterConfig(server=server.url, tls=tls, credentials=credentials or Credentials())
    async with Client(config) as client:
        return await client.get(NODES, "a")


async def test_a_cluster_is_trusted_by_its_own_authority_alone(authority: Authority, other: Authority) -> None:
    async with scripted(authority.server()) as server:
        assert await reach(server, TLSConfig(ca=authority.pem)) == {"ok": True}
        assert await reach(server, TLSConfig(ca=authority.file)) == {"ok": True}
        assert await reach(server, TLSConfig(insecure=True)) == {"ok": True}
        for tls in (TLSConfig(ca=other.pem), TLSConfig()):
            with pytest.raises(TransportError, match="certificate verify failed"):
                await reach(server, tls)


async def test_the_name_that_is_verified(authority: Authority) -> None:
    async with scripted(authority.server("api.internal")) as server:
        assert await reach(server, TLSConfig(ca=authority.pem, server_name="api.internal")) == {"ok": True}
        with pytest.raises(TransportError, match="certificate verify failed"):
            await reach(server, TLSConfig(ca=authority.pem))


async def test_an_intermediate_as_the_authority(authority: Authority) -> None:
    """Some clusters hand out the issuing CA alone, which Go trusts as a root."""
    intermediate = authority.ca.create_child_ca()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    intermediate.issue_cert("127.0.0.1").configure_cert(context)
    async with scripted(context) as server:
        assert await reach(server, TLSConfig(ca=intermediate.cert_pem.bytes())) == {"ok": True}


async def test_client_certificates(authority: Authority, tmp_path: Path) -> None:
    async with scripted(authority.server(clients=True)) as server:
        tls = TLSConfig(ca=authority.pem)
        assert await reach(server, tls, Credentials(certificate=authority.client())) == {"ok": True}
        with pytest.raises(TransportError):
            await reach(server, tls)
        certificate = authority.client()
        assert isinstance(certificate.certificate, bytes)
        assert isinstance(certificate.key, bytes)
        issued = {
            "clientCertificateData": certificate.certificate.decode(),
            "clientKeyData": certificate.key.decode(),
        }
        assert await reach(server, tls, Plugin(tmp_path, issued).credentials()) == {"ok": True}


async def test_files_that_are_rotated(authority: Authority, tmp_path: Path) -> None:
    clock = Clock()
    paths = [tmp_path / "tls.crt", tmp_path / "tls.key"]
    certificate = ClientCertificate(*paths)

    def rotate() -> None:
        for path, part in zip(paths, [authority.client()] * 2, strict=True):
            content = part.certificate if path.suffix == ".crt" else part.key
            assert isinstance(content, bytes)
            path.write_bytes(content)

    rotate()
    source = ContextSource(TLSConfig(ca=authority.file), clock=clock)
    first = await source.get(certificate)
    rotate()
    clock.now += 59
    assert await source.get(certificate) is first
    clock.now += 1
    second = await source.get(certificate)
    assert second is not first
    clock.now += 60
    assert await source.get(certificate) is second


def _keys_on_disk() -> list[Path]:
    return sorted(Path(tempfile.gettempdir()).glob("meshfed-*.pem"))


async def test_certificates_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    before = _keys_on_disk()
    missing = tmp_path / "missing"
    with pytest.raises(ConfigError, match="missing: cannot be read: No such file or directory; check the path"):
        await ContextSource(TLSConfig(ca=missing)).get(None)
    with pytest.raises(ConfigError, match="holds no CA certificates"):
        await ContextSource(TLSConfig(ca=b"nonsense")).get(None)
    pair = ClientCertificate(authority.client().certificate, authority.client().key)
    with pytest.raises(ConfigError, match="certificate and key cannot be used together"):
        await ContextSource(TLSConfig()).get(pair)
    assert _keys_on_disk() == before
