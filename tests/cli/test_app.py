"""The command line as people meet it: what ``--help`` lists, and how a wrong command line is answered."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from meshfed.cli.app import COMMANDS, run

SOME = ", ".join([*list(COMMANDS)[:8], "..."])


def test_help_says_what_every_command_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    listed = dict(re.findall(r"^│ (\w+) +(\S.*\S) +│$", capsys.readouterr().out, re.MULTILINE))
    assert set(listed) == set(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["bogus"],
            f'meshfed: Unknown command "bogus". Available commands: {SOME} See `meshfed --help`.',
        ),
        (
            ["fds", "bogus"],
            'meshfed: Unknown command "bogus". Available commands: get, serve. See `meshfed fds --help`.',
        ),
        (["plan"], 'meshfed: Command "plan" parameter --file requires an argument. See `meshfed plan --help`.'),
        (["demo", "--kep"], "meshfed: Unknown option: --kep. Did you mean --keep? See `meshfed demo --help`."),
        (["demo", "--no-keep"], "meshfed: Unknown option: --no-keep. Did you mean --keep? See `meshfed demo --help`."),
    ],
)
def test_a_wrong_command_line_is_answered_in_one_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err == complaint + "\n"


@pytest.mark.parametrize("command", ["demo", "sandbox"])
def test_a_folder_that_cannot_be_made_is_bad_input(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "folder"
    assert run([command, "--dir", str(folder)]) == 2
    assert capsys.readouterr().err == f"meshfed: --dir {folder}: Not a directory\n"


def test_a_discovery_server_that_is_not_there_is_said_plainly() -> None:
    # Port 1 is reserved (tcpmux): nobody listens there.
    command = [sys.executable, "-m", "meshfed", "fds", "get", "127.0.0.1:1"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (3, "cannot connect to 127.0.0.1:1: Connection refused\n")
