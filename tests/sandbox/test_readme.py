"""The program that the sandbox's README shows does what it is shown for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.pages import blocks

README = Path(__file__).resolve().parents[2] / "meshfed-sandbox" / "README.md"


def test_the_program_of_the_readme_runs(tmp_path: Path) -> None:
    (program,) = [text for _, kind, text in blocks(README) if kind == "python"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == ["NAME", "default", "kube-node-lease", "kube-public", "kube-system"]
