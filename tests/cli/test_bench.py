"""``meshfed bench``: what it measures, what it leaves behind, which is nothing, and where it does not begin."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree import ElementTree

import jsonschema_rs
import pytest
import yaml

from meshfed.cli.app import run
from tests.builders import namespace
from tests.cli.test_lists import SCHEMA
from tests.controller.meshes import Mesh, federated
from tests.waiting import eventually

Capture = pytest.CaptureFixture[str]


@asynccontextmanager
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Mesh, Mesh, list[str]]]:
    """West, which exports, and east, which imports, and the flags that name them."""
    async with federated("west", "east", services={}) as (west, east):
        flags = []
        for mesh in (west, east):
            (tmp_path / mesh.name).write_text(yaml.safe_dump(mesh.server.kubeconfig()))
            flags += ["--kubeconfig", str(tmp_path / mesh.name)]
        yield west, east, flags


def left(*meshes: Mesh) -> list[str]:
    """What of a bench is left in the meshes."""
    found = []
    for mesh in meshes:
        found += [name for name in mesh.all("Namespace") if name == "meshfed-bench"]
        for kind in ("Service", "FederatedService", "ServiceEntry", "Gateway"):
            found += [name for name, one in mesh.all(kind).items() if "meshfed-bench" in json.dumps(one)]
    return found


async def test_changes_are_measured_beside_their_floor_and_nothing_stays(tmp_path: Path, capsys: Capture) -> None:
    async with pair(tmp_path) as (west, east, flags):
        plot = tmp_path / "plot.svg"
        arguments = ["bench", *flags, "--services", "30", "--changes", "6", "-o", "json", "--plot", str(plot)]
        assert await asyncio.to_thread(run, arguments) == 0, capsys.readouterr().err
        assert left(west, east) == []
    found = json.loads(capsys.readouterr().out)
    jsonschema_rs.validate(json.loads(SCHEMA.read_text()), found)
    assert [(one["what"], one["services"], one["unit"]) for one in found["items"]] == [
        ("changes at once", 30, "s"),
        ("one change", 30, "ms"),
    ]
    one = found["items"][1]
    assert (one["measured"]["samples"], one["floor"]["samples"]) == (6, 6)
    assert one["measured"]["p99"] is None
    assert 0 < one["measured"]["least"] <= one["measured"]["p50"] <= one["measured"]["most"]
    assert one["ratio"]["low"] <= one["ratio"]["high"]
    assert "one change, 30 services" in "".join(ElementTree.parse(plot).getroot().itertext())


async def test_interrupted_it_cleans_up_too(tmp_path: Path) -> None:
    async with pair(tmp_path) as (west, east, flags):
        many = ["--services=30", "--changes=900"]  # it is not done before it is interrupted
        command = [sys.executable, "-m", "meshfed", "bench", *flags, *many]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        said = b""
        while b"one by one" not in said:
            line = await process.stderr.readline()
            said += line
            assert line, f"it ended by itself: {said.decode()}"
        await eventually(lambda: len(east.imported()) > 35)
        process.send_signal(signal.SIGINT)
        rest = await process.stderr.read()
        assert (await process.wait(), b"Traceback" in rest) == (130, False), rest.decode()
        assert left(west, east) == []


async def test_a_second_bench_does_not_begin(tmp_path: Path, capsys: Capture) -> None:
    async with pair(tmp_path) as (west, east, flags):
        await east.apply(namespace("meshfed-bench"))
        assert await asyncio.to_thread(run, ["bench", *flags]) == 1
        assert "kubectl delete namespace meshfed-bench" in capsys.readouterr().err
        assert left(west, east) == ["meshfed-bench"]
        assert "meshfed-bench" not in west.all("Namespace")


async def test_more_hosts_than_the_importer_takes(tmp_path: Path, capsys: Capture) -> None:
    async with pair(tmp_path) as (west, east, flags):
        assert await asyncio.to_thread(run, ["bench", *flags, "--services", "1000"]) == 1
        assert "east takes 1000 more hosts from west, fewer than are measured with" in capsys.readouterr().err
        assert left(west, east) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name two clusters"),
        (["--context", "a"], "name two clusters"),
        (["--kubeconfig", "/a", "--kubeconfig", "/b", "--kubeconfig", "/c"], "name two clusters"),
        (["--services", "0"], "--services 0 --changes 100: each is from 1 to 2000"),
        (["--label", "exported"], "--label exported: write it as KEY=VALUE"),
    ],
    ids=" ".join,
)
def test_bad_usage(arguments: list[str], words: str, capsys: Capture) -> None:
    assert run(["bench", *arguments]) == 2
    assert words in capsys.readouterr().err
