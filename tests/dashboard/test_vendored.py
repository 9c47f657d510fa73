"""What the page brings along is what its authors published, with their licences; and its own modules are short."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from pathlib import Path

import pytest

from meshfed.views.explain.links import State
from meshfed.views.federation_map import LinkEvidence
from meshfed.views.hosts import STATES

PAGE = Path(str(resources.files("meshfed.dashboard"))) / "page"
VENDOR = PAGE / "vendor"
ROW = re.compile(
    r"^\| `(?P<file>\S+)` \| (?P<package>\S+) \| (?P<version>\S+) \| `\S+` \| `(?P<sum>[0-9a-f]{64})` "
    r"\| (?P<licence>\S+), `(?P<text>\S+)` \|$",
    re.MULTILINE,
)
ROWS = {row["file"]: row for row in ROW.finditer((VENDOR / "README.md").read_text())}
LIMIT = 300


def test_nothing_else_is_there() -> None:
    expected = {"README.md", *ROWS, *(row["text"] for row in ROWS.values())}
    assert {path.name for path in VENDOR.iterdir()} == expected
    assert {*ROWS} == {"preact.mjs", "htm.mjs"}


@pytest.mark.parametrize("file", sorted(ROWS))
def test_it_is_unchanged_and_has_its_licence(file: str) -> None:
    row = ROWS[file]
    assert hashlib.sha256((VENDOR / file).read_bytes()).hexdigest() == row["sum"]
    words = {"MIT": "The MIT License", "Apache-2.0": "Apache License"}[row["licence"]]
    assert words in (VENDOR / row["text"]).read_text()


@pytest.mark.parametrize("path", sorted(path.name for path in PAGE.glob("*.js")))
def test_a_module_is_short_and_loads_nothing_from_elsewhere(path: str) -> None:
    text = (PAGE / path).read_text()
    assert len(text.splitlines()) <= LIMIT
    assert text.startswith("// "), "it says what it is for"
    assert all(one.startswith("./") for one in re.findall(r"from '([^']+)'", text))
    assert not re.search(r"https?://|\beval\(|new Function|innerHTML|insertAdjacentHTML|document\.write", text)


def test_the_page_has_a_mark_for_every_state() -> None:
    marks = (PAGE / "base.js").read_text()
    words = [*STATES, *LinkEvidence, *State]
    assert [word for word in words if not re.search(rf"\b{word}: '", marks)] == []


def test_the_page_says_of_evidence_what_the_documents_say() -> None:
    text = (PAGE / "federation.js").read_text()
    assert {*re.findall(r"^  (\w+): '", text, re.MULTILINE)} == {*map(str, LinkEvidence)}
