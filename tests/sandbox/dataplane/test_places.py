"""Where a data plane puts its sockets: where they fit."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest

from meshfed_sandbox import Sandbox
from meshfed_sandbox.dataplane.network import PodLoop
from meshfed_sandbox.dataplane.plane import Options


def test_a_long_path_for_temporary_files_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("a folder with spaces " * 6)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    name = "a" * 34

    async def up() -> None:
        async with Sandbox((name,), directory=tmp_path / "box", data_plane=Options()) as sandbox:
            await sandbox.data_plane.settled()

    with asyncio.Runner(loop_factory=PodLoop) as runner:
        runner.run(up())
    assert list(long.iterdir()) == []
