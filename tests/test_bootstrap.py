"""Set-up on a bare machine: which way it takes, when it does nothing, and what it says when it cannot go on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bootstrap
import pytest

ROOT = Path(__file__).resolve().parent.parent
OLD_VERSION = (3, 9, 2)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout, with nothing in it that was set up."""
    places: dict[str, object] = {
        "ROOT": tmp_path,
        "VENV": tmp_path / ".venv",
        "VENV_PYTHON": tmp_path / ".venv" / "bin" / "python",
        "STAMP": tmp_path / ".venv" / "complete",
        "TOOLS": tmp_path / ".tools",
        "DISTRIBUTION": tmp_path / ".tools" / "distribution",
        "LOCK": tmp_path / "requirements-dev.lock",
        "PROJECTS": [tmp_path, tmp_path / "sandbox"],
        "SYSTEM_WHEELS": Path("/nowhere/wheels"),
        "SYSTEM_CERTIFICATES": tmp_path / "system.crt",
        "LOCAL_CERTIFICATES": tmp_path / "local-certificates",
    }
    for name, path in places.items():
        monkeypatch.setattr(bootstrap, name, path)
    monkeypatch.setenv("PIP_USER", os.environ.get("PIP_USER", "0"))
    (tmp_path / "sandbox").mkdir()
    for folder in (tmp_path, tmp_path / "sandbox"):
        (folder / "pyproject.toml").write_text('[project]\nname = "some"\n[tool.ruff]\nline-length = 120\n')
    (tmp_path / "requirements-dev.lock").write_text("one==1\ntwo==2\n")
    return tmp_path


def only(monkeypatch: pytest.MonkeyPatch, works: Callable[[list[str]], bool]) -> list[list[str]]:
    """Let only those commands succeed for which ``works`` holds; returns all that are tried."""
    tried: list[list[str]] = []

    def succeeds(command: list[str], quiet: bool = True, cwd: Path = ROOT) -> bool:
        tried.append(command)
        return works(command)

    monkeypatch.setattr(bootstrap, "succeeds", succeeds)
    return tried


def test_an_old_python_is_told_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", OLD_VERSION)
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    monkeypatch.setenv("PATH", "/nowhere")
    assert bootstrap.main() == 1
    assert capsys.readouterr().err == (
        "setup: failed: Python 3.11 or newer is needed, found 3.9.2: /usr/bin/python3. "
        "Install one, or name it with PYTHON=/path/to/python3\n"
    )


def test_an_old_python_hands_over_to_a_newer_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = tmp_path / "python3.12"
    newer.write_text("#!/bin/sh\n")
    newer.chmod(0o755)
    ran: list[list[str]] = []

    def take_over(path: str, arguments: list[str]) -> None:
        ran.append([path, *arguments])
        raise SystemExit

    monkeypatch.setattr(sys, "version_info", OLD_VERSION)
    monkeypatch.setattr(sys, "argv", ["tools/bootstrap.py"])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "execv", take_over)
    with pytest.raises(SystemExit):
        bootstrap.require_python()
    assert ran == [[str(newer), str(newer), "tools/bootstrap.py"]]


@pytest.mark.parametrize(
    ("file", "before", "after", "complete"),
    [
        ("requirements-dev.lock", "two==2", "two==2", True),
        ("requirements-dev.lock", "two==2", "two==3", False),
        ("pyproject.toml", "line-length = 120", "line-length = 100", True),
        ("pyproject.toml", 'name = "some"', 'name = "some"\nscripts = {}', False),
        ("sandbox/pyproject.toml", 'name = "some"', 'name = "some"\nscripts = {}', False),
    ],
)
def test_set_up_is_complete_until_what_it_was_made_from_changes(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, *, file: str, before: str, after: str, complete: bool
) -> None:
    only(monkeypatch, lambda command: command[0] == str(bootstrap.VENV_PYTHON))
    (checkout / ".venv").mkdir()
    bootstrap.STAMP.write_text(bootstrap.stamp())
    changed = checkout / file
    changed.write_text(changed.read_text().replace(before, after))
    assert bootstrap.is_complete() is complete


def test_an_environment_that_no_longer_runs_is_not_complete(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, lambda command: False)
    (checkout / ".venv").mkdir()
    bootstrap.STAMP.write_text(bootstrap.stamp())
    assert not bootstrap.is_complete()


def test_an_interrupted_set_up_starts_over(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, lambda command: True)
    (checkout / ".venv" / "bin").mkdir(parents=True)
    half = checkout / ".venv" / "bin" / "half-written"
    half.write_text("")

    def make_venv(command: list[str], advice: str, cwd: Path = ROOT) -> None:
        assert not half.exists()
        (checkout / ".venv").mkdir(exist_ok=True)

    monkeypatch.setattr(bootstrap, "run", make_venv)
    assert not bootstrap.is_complete()
    assert bootstrap.main() == 0
    assert bootstrap.is_complete()


WAYS: dict[str, tuple[Callable[[str], bool], str]] = {
    "ensurepip": (lambda line: line.endswith("-m ensurepip"), "VENV -m pip"),
    "the Python's own pip": (lambda line: line.startswith("BASE -m pip --python"), "BASE -m pip --python VENV"),
    "a pip on PATH": (lambda line: line.startswith("pip3 --python"), "pip3 --python VENV"),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_first_pip_that_works_is_taken(checkout: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    works, found = WAYS[way]
    monkeypatch.setattr(shutil, "which", lambda name: name)

    def line(command: list[str]) -> str:
        return " ".join(command).replace(str(bootstrap.VENV_PYTHON), "VENV")

    only(monkeypatch, lambda command: works(line(command)))
    assert line(bootstrap.find_pip("BASE")) == found


def test_without_any_pip_the_distributions_own_is_fetched_without_root(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lists of packages are this checkout's own, and pip gets the certificates that the system lacks."""
    monkeypatch.setattr(shutil, "which", lambda name: name if name in {"apt-get", "dpkg-deb"} else None)
    downloads = 0

    def works(command: list[str]) -> bool:
        nonlocal downloads
        if command[0] == "dpkg-deb":
            unpacked = Path(command[-1])
            for file in ("nowhere/wheels/pip-25.whl", "usr/share/ca-certificates/mozilla/A.crt"):
                (unpacked / file).parent.mkdir(parents=True, exist_ok=True)
                (unpacked / file).write_text("public\n")
        elif "download" in command:
            downloads += 1
            (bootstrap.TOOLS / "apt" / "packages" / "some.deb").touch()
            return downloads == 2
        return "ensurepip" not in command

    (checkout / "local-certificates").mkdir()
    (checkout / "local-certificates" / "B.crt").write_text("local\n")
    tried = only(monkeypatch, works)
    pip = bootstrap.find_pip("BASE")

    wheel = checkout / ".tools" / "distribution" / "nowhere" / "wheels" / "pip-25.whl"
    modules = (
        checkout / ".tools" / "distribution" / "usr" / "lib" / "python{}.{}".format(*sys.version_info) / "distutils"
    )
    bundle = checkout / ".tools" / "ca-certificates.crt"
    assert pip[0] == str(bootstrap.VENV_PYTHON)
    assert pip[-4:] == [bootstrap.PIP_FROM_DISTRIBUTION, str(wheel), str(modules), str(bundle)]
    assert bundle.read_text() == "public\n\nlocal\n"
    apt = [
        [word for word in command if "=" not in word and word != "-o"] for command in tried if command[0] == "apt-get"
    ]
    assert apt == [
        ["apt-get", "-qq", "download", "python3-pip-whl", "ca-certificates"],
        ["apt-get", "-qq", "update"],
        ["apt-get", "-qq", "download", "python3-pip-whl", "ca-certificates"],
    ]
    assert not (checkout / ".tools" / "apt").exists()


def test_a_machine_with_no_way_to_install_is_told_of_one(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(monkeypatch, lambda command: "venv" in command or command[-1] == "import venv")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert bootstrap.main() == 1
    assert capsys.readouterr().err == f"setup: failed: {bootstrap.NO_INSTALLER}\n"
    assert not bootstrap.STAMP.exists()


def test_a_folder_that_cannot_be_written_is_named(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(monkeypatch, lambda command: True)
    (checkout / ".tools").write_text("a file where a folder should be")
    assert bootstrap.main() == 1
    assert f"{checkout} has to belong to the user who runs this" in capsys.readouterr().err


def test_its_syntax_is_old_enough_to_say_so() -> None:
    """Compiled as Python 3.8 would read it; annotations are text there, and are never looked at."""
    source = (ROOT / "tools" / "bootstrap.py").read_text()
    command = "import ast, sys; ast.parse(sys.stdin.read(), feature_version=(3, 8))"
    subprocess.run([sys.executable, "-c", command], input=source, text=True, check=True)


def test_two_at_once_wait_for_each_other(checkout: Path) -> None:
    """The second set-up finds the first at work, says so, and begins when it has ended."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import bootstrap, pathlib;"
        "bootstrap.TOOLS = pathlib.Path(sys.argv[2]);"
        "lock = bootstrap.one_at_a_time(); lock.__enter__(); print('second at work', flush=True)"
    )
    command = [sys.executable, "-c", program, str(ROOT / "tools"), str(bootstrap.TOOLS)]
    with bootstrap.one_at_a_time():
        second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None
        assert second.stdout.readline() == "setup: another set-up is at work here, waiting for it\n"
        assert second.poll() is None
    assert second.communicate(timeout=30)[0] == "second at work\n"
