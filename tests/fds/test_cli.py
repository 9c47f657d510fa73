"""``meshfed fds get`` and ``serve``, as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.builders import host
from tests.forked import forked

OFFERS = """
- host: b.default.svc.cluster.local
  ports: [{name: tcp, number: 90}]
- host: a.default.svc.cluster.local
  ports: [{name: http, number: 80, protocol: HTTP, targetPort: 8080}]
  labels: {app: a}
"""
A = {
    "host": host("a"),
    "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080}],
    "labels": {"app": "a"},
}
B = {"host": host("b"), "ports": [{"number": 90, "name": "tcp"}]}
COMMAND = [sys.executable, "-m", "meshfed", "fds"]
ENVIRONMENT = os.environ | {"NO_COLOR": "1"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    with forked():
        return subprocess.run(
            [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, env=ENVIRONMENT, check=False
        )


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with forked():
        process = subprocess.Popen(
            [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(stream: object) -> str:
    return stream.readline().strip()  # type: ignore[attr-defined,no-any-return]  # a pipe, as opened above


def test_what_is_served_is_got_and_followed(tmp_path: Path) -> None:
    file = tmp_path / "offers.yaml"
    file.write_text(OFFERS)
    with running("serve", "-f", str(file), "--port", "0") as server:
        said = line(server.stdout)
        address = said.rpartition(" ")[2]
        assert said == f"offering 2 services of {file} on {address}"

        got = run("get", address, "-o", "json")
        assert (got.returncode, json.loads(got.stdout), got.stderr) == (0, [A, B], "")
        got = run("get", address, "-o", "json", "--dialect", "sotw")
        in_sotw = B | {"ports": [{"number": 90, "name": "tcp", "protocol": "TCP"}]}
        assert (got.returncode, json.loads(got.stdout)) == (0, [A, in_sotw])
        table = run("get", address)
        assert [text.split() for text in table.stdout.splitlines()] == [
            ["HOST", "PORTS", "LABELS"],
            [host("a"), "http", "80->8080", "HTTP", "app=a"],
            [host("b"), "tcp", "90"],
        ]
        assert table.stderr == "2 services, in the delta dialect\n"
        assert "\x1b" not in table.stdout

        with running("get", address, "--watch", "-o", "json") as watcher:
            assert [json.loads(line(watcher.stdout)) for _ in range(2)] == [
                {"event": "offered", "offer": A},
                {"event": "offered", "offer": B},
            ]
            file.write_text(json.dumps([A | {"labels": {"app": "new"}}]))
            assert line(server.stderr) == f"offering 1 services of {file}"
            changes = [json.loads(line(watcher.stdout)) for _ in range(2)]
            assert changes == [
                {"event": "offered", "offer": A | {"labels": {"app": "new"}}},
                {"event": "withdrawn", "host": host("b")},
            ]
            file.write_text("- host: [")
            assert line(server.stderr).startswith(f"still offering what was there before: {file}: line 2: not YAML")
            watcher.send_signal(signal.SIGINT)
            assert watcher.wait(20) == 0
        got = run("get", address, "-o", "json")
        assert [one["host"] for one in json.loads(got.stdout)] == [host("a")]
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {host: a.b, ports: [{number: 80, name: x}], extra: 1}", "unknown field `extra` - at `$[0]`"),
        ("- {host: A.b, ports: [{number: 80, name: x}]}", "host: host 'A.b' is not a lower-case DNS name"),
        ("- {host: a.b, ports: [{number: 0, name: x}]}", "ports: port number 0 of 'a.b' is not between 1 and 65535"),
        ("- {host: a.b, ports: [{number: 80, name: x}]}\n" * 2, "host: a.b appears twice"),
        ("- {host: a.b, ports: [{number: 80, name: x}], exportedAt: now}", "a.b cannot be sent"),
        ("a: b: c", "line 1: not YAML: mapping values are not allowed in this context\n"),
        ("", "Expected `array`, got `null`"),
    ],
)
def test_a_bad_file_is_bad_input(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "offers.yaml"
    file.write_text(text)
    ended = run("serve", "-f", str(file), "--port", "0")
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{file}: ")
    assert words in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["get", "nowhere"], 2, "'nowhere' is not HOST:PORT"),
        (["get", "http://127.0.0.1:15080"], 2, "'http://127.0.0.1:15080' is not HOST:PORT, without a scheme"),
        (["get", "127.0.0.1:15080/path:1"], 2, "is not HOST:PORT, without a scheme or path"),
        (["get", "127.0.0.1:1", "--timeout", "-3"], 2, "--timeout -3: it has to be a number of seconds above 0"),
        (["get", "127.0.0.1:1", "--timeout", "nan"], 2, "--timeout nan: it has to be"),
        (["get", "127.0.0.1:1"], 3, "cannot connect to 127.0.0.1:1"),
        (["get", "127.0.0.1:99999"], 2, "with a port between 1 and 65535"),
        (["serve", "-f", "/nonexistent", "--port", "0"], 2, "/nonexistent: No such file or directory"),
        (["serve", "-f", "x", "--port", "0", "--host", "0.0.0.0"], 2, "must be a loopback address"),
        (["serve", "-f", "x", "--port", "70000"], 2, "is not between 0 and 65535"),
    ],
)
def test_what_went_wrong_is_said(arguments: list[str], code: int, words: str) -> None:
    ended = run(*arguments)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
