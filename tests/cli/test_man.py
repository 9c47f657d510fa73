"""The manual pages say what ``--help`` says, in what man takes."""

from __future__ import annotations

import shutil
import subprocess

import generate_man
import pytest

from meshfed.cli.app import COMMANDS


def test_every_command_has_a_page() -> None:
    pages = generate_man.pages()
    for name in COMMANDS:
        assert any(page == f"meshfed-{name}.1" or page.startswith(f"meshfed-{name}-") for page in pages), name
    page = pages["meshfed-imports.1"]
    assert "meshfed\\-imports \\- List what remote meshes offer" in page
    assert "\\fB\\-\\-context\\fR \\fITEXT ...\\fR\nThe kubeconfig's context to use" in page


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_man_takes_every_page() -> None:
    for name, text in generate_man.pages().items():
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z"], input=text, capture_output=True, text=True, check=True
        )
        assert done.stderr == "", name


def test_nothing_is_taken_for_a_request() -> None:
    assert generate_man._text(".TH is `a-b` \\n") == "\\&.TH is \\fBa\\-b\\fR \\en"
