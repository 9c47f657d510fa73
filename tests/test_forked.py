"""What is forked is what would have been started: the same is said, it has the same around it, and it ends the same."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from meshfed import __version__
from meshfed_sandbox.dataplane import processes
from meshfed_sandbox.dataplane.inside import command
from meshfed_sandbox.dataplane.network import Place
from tests.forked import forked
from tests.waiting import eventually, eventually_sync

MESHFED = [sys.executable, "-m", "meshfed"]
PLACE = Place(namespace="a", address="127.0.0.1", application="127.0.0.1", sidecar=False, resolver=("127.0.0.1", 53))
WAYS: tuple[Callable[[], AbstractContextManager[None]], ...] = (contextlib.nullcontext, forked)
OFFERS = "- {host: a.shop.svc.cluster.local, ports: [{number: 80, name: http}]}\n"


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [(["version"], "", 0), (["controller"], "", 2), (["fds", "get", "é"], "", 2), (["plan", "-f", "-"], "a: [", 2)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_says_the_same_and_ends_the_same(arguments: list[str], stdin: str, code: int) -> None:
    environment = {"KUBECONFIG": "/nonexistent/config", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    said = []
    for way in WAYS:
        with way():
            done = subprocess.run(
                [*MESHFED, *arguments], input=stdin, capture_output=True, text=True, check=False, env=environment
            )
        said.append((done.returncode, done.stdout, done.stderr))
    assert said[0] == said[1]
    assert said[0][0] == code


def test_it_has_the_same_around_it(tmp_path: Path) -> None:
    """Folder, session, parent, open files, and what it does about signals."""
    (tmp_path / "offers.yaml").write_text(OFFERS)
    seen = []
    for way in WAYS:
        with (
            way(),
            subprocess.Popen(
                [*MESHFED, "fds", "serve", "-f", "offers.yaml", "--port=0"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=tmp_path,
                start_new_session=True,
            ) as process,
        ):
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"offering 1 services of offers.yaml on ")
            about = Path(f"/proc/{process.pid}")
            status = dict(line.split(":\t", 1) for line in (about / "status").read_text().splitlines())
            files = sorted(str(file.readlink()).partition(":")[0] for file in (about / "fd").iterdir())
            signals = {name: status[name] for name in ("SigBlk", "SigIgn", "SigCgt")}
            own_session = os.getsid(process.pid) == process.pid
            folder = (about / "cwd").readlink()
            process.send_signal(signal.SIGINT)
            ended = process.wait(timeout=30)
            seen.append((files, folder, own_session, int(status["PPid"]), signals, ended))
    assert seen[0] == seen[1]
    assert seen[0][2:4] == (True, os.getpid())


@pytest.mark.parametrize("program", [MESHFED, command(PLACE)], ids=["meshfed", "meshfed of a Pod"])
def test_a_constant_has_another_value_there_alone(program: list[str]) -> None:
    """And so it is forked: a process that begins anew would not know of it."""

    def version(constants: dict[str, object]) -> str:
        with forked(constants):
            return subprocess.run([*program, "version"], capture_output=True, text=True, check=True).stdout

    before = version({})
    assert version({"meshfed.cli.version.__version__": "0.0.9"}) == before.replace(__version__, "0.0.9") != before
    assert version({}) == before


async def test_it_is_a_child_and_can_be_killed(tmp_path: Path) -> None:
    (tmp_path / "offers.yaml").write_text(OFFERS)
    log = tmp_path / "log"
    with forked():
        process = await processes.spawn(
            [*MESHFED, "fds", "serve", "-f", str(tmp_path / "offers.yaml"), "--port=0"], log
        )
    await eventually(log.read_text)
    await processes.end(process, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """However that ends: what is to be done between fork and exec is done."""
    (tmp_path / "offers.yaml").write_text(OFFERS)
    program = f"""
import asyncio, os, sys
from pathlib import Path
from meshfed import __version__
from meshfed_sandbox.dataplane import processes
from meshfed_sandbox.dataplane.inside import command
from meshfed_sandbox.dataplane.network import Place
from tests.forked import forked

async def main():
    with forked():
        process = await processes.spawn({[*MESHFED, "fds", "serve", "-f", "offers.yaml", "--port=0"]!r}, Path("log"))
    while not Path("log").read_text():
        await asyncio.sleep(0.05)
    print(process.pid, flush=True)
    os._exit(0)

asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    eventually_sync(lambda: not runs(int(done.stdout)))


def runs(pid: int) -> bool:
    """Whether a process is there, and not only its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False
