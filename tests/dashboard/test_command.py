"""``meshfed dashboard``: where it is, who opens it, and how it ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshfed.cli.app import run
from meshfed.dashboard import command
from meshfed.views.bundles import files, packed
from tests.cli.fakes import trouble

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "away", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "nobody", "user": {}}],
    "contexts": [{"name": name, "context": {"cluster": "away", "user": "nobody"}} for name in ("east", "west")],
    "current-context": "east",
}
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(KUBECONFIG))
    return str(path)


def ended(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command, and end it as Ctrl-C does once it has printed where it is."""
    told = command._told

    async def soon() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        await told()

    monkeypatch.setattr(command, "_told", soon)
    assert threading.current_thread() is threading.main_thread()
    return run(["dashboard", *arguments])


def test_it_prints_where_it_is_and_ends_when_told(
    kubeconfig: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    arguments = ["--kubeconfig", kubeconfig, "--context", "east", "--context", "west", "--no-browser"]
    assert ended(arguments, monkeypatch) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}\n", out)
    assert err == ""


def test_the_secret_is_another_each_time(kubeconfig: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    for _ in range(2):
        with monkeypatch.context() as patch:
            assert ended(["--kubeconfig", kubeconfig, "--no-browser"], patch) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.partition("=")[2] != second.partition("=")[2]


@pytest.mark.parametrize("has_windows", [True, False])
def test_it_is_opened_where_there_is_a_browser(
    has_windows: bool, kubeconfig: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    opened: list[str] = []

    def open_(address: str) -> bool:
        opened.append(address)
        return True

    monkeypatch.setattr("webbrowser.open", open_)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if has_windows:
        monkeypatch.setenv("DISPLAY", ":0")
    assert ended(["--kubeconfig", kubeconfig], monkeypatch) == 0
    out, err = capsys.readouterr()
    assert opened == ([out.strip()] if has_windows else [])
    assert err == ("" if has_windows else "there is no browser here: open the address above\n")


def test_a_port_that_is_taken_is_said(kubeconfig: str, capsys: Capture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(["dashboard", "--kubeconfig", kubeconfig, "--port", port, "--no-browser"]) == 3
    assert capsys.readouterr().err.startswith(f"meshfed: --port {port}: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--context", "east", "--context", "east"], "--context east is given twice"),
        (["--context", "north"], "north"),
        (["--port", "70000"], "port"),
    ],
    ids=["twice", "unknown", "no-port"],
)
def test_what_is_wrong_is_said(arguments: list[str], said: str, kubeconfig: str, capsys: Capture) -> None:
    assert run(["dashboard", "--kubeconfig", kubeconfig, "--no-browser", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_report_stands_in_for_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    file = tmp_path / "report.tgz"
    file.write_bytes(packed(files(trouble()), moment=0.0))
    assert ended(["-f", str(file), "--no-browser"], monkeypatch) == 0
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")
    assert run(["dashboard", "-f", str(file), "-f", str(file), "--no-browser"]) == 2
    assert "east is given twice" in capsys.readouterr().err
    assert run(["dashboard", "-f", str(file), "--context", "east", "--no-browser"]) == 2


def test_nothing_of_it_is_imported_by_anything_else() -> None:
    """A controller has none of it in memory."""
    import subprocess
    import sys

    asked = "print('meshfed.dashboard' in sys.modules)"
    program = f"import sys, meshfed.cli.controller, meshfed.controller.controller; {asked}"
    done: Any = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
