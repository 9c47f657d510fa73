"""The committed message code is what the generator makes of ``proto/``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_regeneration_is_clean(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "tools" / "generate_protos.py", tmp_path], check=True, timeout=60)
    committed = ROOT / "src" / "meshfed" / "fds" / "pb"
    generated = tmp_path / "meshfed" / "fds" / "pb"
    names = {path.name for path in generated.iterdir()}
    assert names == {"discovery_pb2.py", "discovery_pb2.pyi"}
    assert {name: (committed / name).read_text() for name in names} == {
        name: (generated / name).read_text() for name in names
    }
