"""What was fuzzed before, and every input that once broke something, is tried again: see `tests.fuzz.targets`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).resolve().parent / "corpus"
INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_tried_before_is_taken_or_refused(path: Path) -> None:
    TARGETS[path.parent.name].feed(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_takes_nothing_and_what_is_cut_off(name: str) -> None:
    """Each seed, cut at some places, is something that no encoder makes."""
    seeds = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    assert seeds
    for data in (b"", b"\0", *(seed[: len(seed) * part // 7] for seed in seeds for part in range(7))):
        TARGETS[name].feed(data)
