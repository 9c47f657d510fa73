"""The examples in the documentation are what the code renders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_shows_what_is_rendered(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(ROOT / "tools" / "generate_resource_examples.py"), str(tmp_path)], check=True)

    assert (ROOT / "docs" / "resources.md").read_text() == (tmp_path / "resources.md").read_text(), (
        "docs/resources.md is not what its generator writes: run python tools/generate_resource_examples.py docs"
    )
