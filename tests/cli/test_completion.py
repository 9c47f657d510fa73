"""What a shell is told when somebody presses tab."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from meshfed.cli.app import COMMANDS, run
from meshfed.cli.completion import SCRIPTS
from meshfed.views.snapshot import Unreached
from tests.builders import remote_mesh
from tests.cli.fakes import holding, imported, snapshot, trouble


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("contexts: [{name: west, context: {}}, {name: east, context: {}}]\nclusters: []\nusers: []\n")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert run(["__complete", *words]) == 0
    return [line.partition("\t")[0] for line in capsys.readouterr().out.splitlines()]


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert {*COMMANDS, ":4"} <= set(told(capsys, ""))
    assert told(capsys, "im") == ["imports", ":4"]
    assert told(capsys, "fds", "") == ["get", "serve", ":4"]
    assert told(capsys, "nonsense", "") == [":4"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["imports", "-o", ""], ["table", "wide", "json", "yaml", "name", ":4"]),
        (["imports", "--out"], ["--output", ":4"]),
        (["imports", "--no"], [":4"]),
        (["controller", "--no-"], ["--no-read-pods", "--no-probe", ":4"]),
        (["imports", "--context", ""], ["east", "west", ":4"]),
        (["imports", "--context", "w"], ["west", ":4"]),
        (["plan", "-f", ""], [":0"]),
        (["plan", "--remote", ""], [":0"]),
        (["link", ""], ["card", ":4"]),
        (["link", "-f", ""], [":0"]),
        (["link", "--pub"], ["--publish-only", ":4"]),
        (["link", "card", "--context", ""], ["east", "west", ":4"]),
        (["completion", ""], ["bash", "zsh", "fish", ":4"]),
    ],
    ids=" ".join,
)
def test_flags_and_values(words: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, *words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["imports", "rat"], ["ratings.default.svc.cluster.local", ":4"]),
        (["imports", "--remote", ""], ["north", "west", ":4"]),
        (["explain", "rat"], ["ratings.default.svc.cluster.local", ":4"]),
        (["explain", "--remote", ""], ["north", "west", ":4"]),
        (["exports", "--to", "w"], ["west", ":4"]),
        (["remotes", ""], ["north", "west", ":4"]),
        (["unlink", ""], ["north", "west", ":4"]),
    ],
    ids=" ".join,
)
def test_names_out_of_the_cluster(
    words: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, trouble())
    assert told(capsys, *words) == expected


def test_an_answer_is_good_for_the_next_key_and_no_answer_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, trouble())
    assert told(capsys, "remotes", "") == ["north", "west", ":4"]
    holding(monkeypatch, Unreached("east", "gone"))
    assert told(capsys, "remotes", "") == ["north", "west", ":4"]
    assert told(capsys, "remotes", "--context", "other", "") == [":4"]
    holding(monkeypatch, trouble())
    assert told(capsys, "remotes", "--context=third", "") == ["north", "west", ":4"]


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_scripts_are_what_the_shell_takes(shell: str, apart: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "meshfed __complete" in script
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    path = apart / "script"
    path.write_text(script)
    subprocess.run([shell, "-n", str(path)], check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(apart: Path) -> None:
    command = apart / "meshfed"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m meshfed "$@"\n')
    command.chmod(0o755)
    script = f"""
        PATH={apart}:$PATH
        source <({sys.executable} -m meshfed completion bash)
        COMP_WORDS=(meshfed imports -o j) COMP_CWORD=3
        _meshfed
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["json"]


def test_a_name_of_several_lines_is_one_candidate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, snapshot(remote_mesh("west"), imported("west", "a\nb\x1b.c")))
    assert told(capsys, "imports", "a") == ["a\\nb\\x1b.c.svc.cluster.local", ":4"]


@pytest.mark.parametrize("text", ["5", "[5]", '{"a": 1}', "[[1, 2, 3]]"])
def test_a_cache_that_somebody_else_wrote_is_looked_past(
    text: str, apart: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holding(monkeypatch, trouble())
    before = told(capsys, "check", "")
    (cache,) = (apart / "cache").rglob("*.json")
    cache.write_text(text)
    assert told(capsys, "check", "") == before


def test_whoever_presses_another_key_sees_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("meshfed.cli.completion.complete", interrupted)
    assert run(["__complete", "check", ""]) == 130
