"""The command line as people meet it: what ``--help`` lists, and how a wrong command line is answered."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import meshfed.cli.app
from meshfed.cli.app import COMMANDS, ELSEWHERE, GROUP, SUMMARIES, SUMMARIES_ELSEWHERE, build, commands, run

SOME = ", ".join([*list(commands())[:8], "..."])


def test_help_says_what_every_command_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    listed = dict(re.findall(r"^│ (\w+) +(\S.*\S) +│$", capsys.readouterr().out, re.MULTILINE))
    assert set(listed) == set(commands()) == {*COMMANDS, *ELSEWHERE}


def test_the_list_says_of_each_command_what_it_says_of_itself() -> None:
    app, known = build(whole=True), {*COMMANDS, *ELSEWHERE}
    said = {name: " ".join((app[name].help or "").partition("\n\n")[0].split()) for name in known}
    assert said == SUMMARIES | SUMMARIES_ELSEWHERE


def test_help_imports_none_of_the_commands() -> None:
    program = (
        "import sys; from meshfed.cli.app import COMMANDS, run; run(['--help']);"
        "sys.exit([target for target in COMMANDS.values() if target.partition(':')[0] in sys.modules] != [])"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No distribution adds a command, as where meshfed alone is installed."""
    monkeypatch.setattr(meshfed.cli.app, "_added", dict)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("arguments", [["demo"], ["demo", "--keep"], ["sandbox", "--help"]])
def test_a_command_of_a_distribution_that_is_not_installed_says_how_to_get_it(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err == (
        f"meshfed: {arguments[0]} comes with meshfed-sandbox, which is not installed here: "
        "pip install meshfed-sandbox\n"
    )


@pytest.mark.usefixtures("alone")
def test_help_lists_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    listed = re.findall(r"^│ (\w+) +\S.*\S +│$", capsys.readouterr().out, re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)


def test_what_others_add_is_found_as_python_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written = {
        "first/one-1.0.dist-info": f"[{GROUP}]\none = first.one:app\n\n[console_scripts]\nno = no:no\n",
        "second/one-2.0.dist-info": f"[{GROUP}]\none = second.one:app\n",
        "second/two-1.0.dist-info": f"[console_scripts]\nno=no:no\n[{GROUP}]\n# three = three:app\ntwo=second.two:app",
        "second/none-1.0.dist-info": "[other]\nno = no:no\n",
    }
    for folder, text in written.items():
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "entry_points.txt").write_text(text)
        name, _, version = Path(folder).name.removesuffix(".dist-info").partition("-")
        (tmp_path / folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    path = [str(tmp_path / "first"), str(tmp_path / "absent"), str(tmp_path / "second"), *sys.path]
    monkeypatch.setattr(sys, "path", path)
    found = {name: target for name, target in commands().items() if name not in COMMANDS}
    assert found == {point.name: point.value for point in importlib.metadata.entry_points(group=GROUP)}
    assert {"one": "first.one:app", "two": "second.two:app"}.items() <= found.items()


def test_nobody_takes_the_name_of_a_command_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meshfed.cli.app, "_added", lambda: dict.fromkeys(("version", "other"), "other:main"))
    assert commands() == COMMANDS | {"other": "other:main"}


@pytest.mark.parametrize("arguments", [["version"], ["crds"], ["manifests", "--help"]])
def test_a_command_imports_nothing_of_the_others(arguments: list[str]) -> None:
    program = (
        "import sys; from meshfed.cli.app import run; run(sys.argv[1:]);"
        "sys.exit([name for name in sys.modules if name.startswith('meshfed_sandbox')] != [])"
    )
    subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, check=True)


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
        (
            ["fds", "serve", "--port", "1"],
            'meshfed: Command "fds serve" parameter --file requires an argument. See `meshfed fds serve --help`.',
        ),
        (
            ["--context", "east", "status"],
            "meshfed: --context: flags go after the command, as in `meshfed status --context`. See `meshfed --help`.",
        ),
        (["plan"], "meshfed: there is nothing to plan for: give --file FILE, or --live for what the cluster holds"),
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
