"""The demo, as a person runs it: real processes, real kubectl, exit 0 only if every step held."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def environment() -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.mark.timeout(180)
def test_the_demo_holds(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "meshfed", "demo", f"--dir={tmp_path}"],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "demo: ok"
    assert "\x1b[" not in done.stdout
    assert "✗" not in done.stdout
    assert done.stdout.count("✓") >= 20
    assert not list(tmp_path.glob("*.kubeconfig")), "kubeconfigs of meshes that are gone are no use to anybody"
    for log in tmp_path.glob("*.log"):
        assert "Traceback" not in log.read_text()
        assert " ERROR " not in log.read_text()


@pytest.mark.timeout(180)
def test_a_demo_that_is_kept_leaves_meshes_that_kubectl_reaches_until_it_is_told_to_end(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "meshfed", "demo", "--keep", f"--dir={tmp_path}"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as demo:
        assert demo.stdout is not None
        lines = []
        for line in demo.stdout:
            lines.append(line.rstrip())
            if line.startswith("demo:"):
                break
        assert lines[-1] == "demo: ok", "\n".join(lines)
        kubeconfig = tmp_path / "east.kubeconfig"
        assert any(f"kubectl --kubeconfig {kubeconfig}" in line for line in lines)
        shown = subprocess.run(
            ["kubectl", f"--kubeconfig={kubeconfig}", "get", "federation,serviceentries", "-A"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env=environment(),
        )
        assert "ratings.default.svc.cluster.local" in shown.stdout
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=60) == 0
    assert not kubeconfig.exists()
