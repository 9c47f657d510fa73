"""The commands as a user meets them: help, version, exit codes, sentences on standard error."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from meshfed import __version__
from meshfed.cli.app import commands
from tests.forked import forked


def meshfed(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    with forked():
        return subprocess.run(
            [sys.executable, "-m", "meshfed", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environment},
        )


def test_version() -> None:
    done = meshfed("version")
    assert (done.returncode, done.stdout) == (0, f"meshfed {__version__} (Python {platform.python_version()})\n")


def test_version_for_machines() -> None:
    done = meshfed("version", "--output", "json")
    assert (done.returncode, json.loads(done.stdout)) == (
        0,
        {"meshfed": __version__, "python": platform.python_version()},
    )


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_explains_itself(command: str) -> None:
    done = meshfed(command, "--help")
    assert done.returncode == 0
    assert f"meshfed {command}" in done.stdout
    assert len(done.stdout.splitlines()) > 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "nonsense"),
        (["controller", "--nonsense"], "--nonsense"),
        (["controller", "--log-level", "loud"], "loud"),
        (["controller", "--discovery-bind-address", "15080"], "write HOST:PORT or :PORT"),
        (["controller", "--trusted-proxy-cidrs", "10.0.0.1/8"], "--trusted-proxy-cidrs"),
        (["controller", "--kubeconfig", "/nonexistent/config"], "/nonexistent/config"),
        (["controller"], "kubeconfig"),
        (["controller", "--service-account", "East"], "--service-account: 'East' is no name of a service account"),
        (["controller", "--meshPeers", "{}"], "--exportedServiceSet"),
        (["controller", "--meshPeers", '{"local": {"nome": "east"}}', "--exportedServiceSet", "null"], "nome"),
        (["controller", "--meshPeers", "null", "--exportedServiceSet", "null"], "local"),
        (["sandbox", "--meshes", "east,east"], "twice"),
        (["sandbox", "--meshes", "East"], "East"),
        (["sandbox", "--crds", "/nonexistent.yaml"], "/nonexistent.yaml"),
        (["sandbox", "--routers", "west"], "--data-plane"),
        (["sandbox", "--no-install"], "--no-install: nothing is installed without --data-plane"),
        (["sandbox", "--data-plane", "--routers", "west,north"], "north is not among"),
        (["plan"], "--file"),
        (["plan", "-f", "/nonexistent.yaml"], "/nonexistent.yaml"),
        (["fds", "get"], "meshfed fds get --help"),
        (["version", "--output", "xml"], "xml"),
        (["fds", "get", "127.0.0.1:²"], "HOST:PORT"),
        (["plan", "-f", "one\ntwo.yaml"], "one\\ntwo.yaml: No such file"),
        (["plan", "-f", "/proc/self/mem"], "/proc/self/mem"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_exits_2_and_says_what_was_wrong(arguments: list[str], words: str) -> None:
    done = meshfed(*arguments)
    assert done.returncode == 2, done.stderr
    assert words.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_discovery_service_that_is_not_there_exits_3() -> None:
    done = meshfed("fds", "get", "127.0.0.1:1")
    assert done.returncode == 3, done.stderr
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("what", ["discovery", "dashboard"])
def test_an_address_in_use_exits_3(what: str, tmp_path: Path) -> None:
    import socket

    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        addresses = {"discovery": "0", "metrics": "0", "health-probe": "0", what: f"127.0.0.1:{port}"}
        flags = [f"--{one}-bind-address={address}" for one, address in addresses.items()]
        done = meshfed("controller", f"--kubeconfig={kubeconfig}", *flags)
    assert done.returncode == 3, done.stderr
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_offers_on_an_address_in_use_exit_3(tmp_path: Path) -> None:
    import socket

    offers = tmp_path / "offers.yaml"
    offers.write_text("- host: a.shop.svc.cluster.local\n  ports: [{number: 80, name: http}]\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = meshfed("fds", "serve", "-f", str(offers), "--port", str(port))
    assert done.returncode == 3, done.stderr
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_output_that_nobody_reads_to_its_end_is_no_error() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m meshfed crds | head -1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("---") or done.stdout.startswith("#")
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["version", "version -o json", "crds", "--help", "plan --help", "--version"])
class TestOutput:
    """What becomes of output that goes nowhere, or not all the way."""

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "meshfed": f"{sys.executable} -m meshfed"}
        return subprocess.run(
            ["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def test_a_full_device_is_said_in_one_line(self, command: str) -> None:
        done = self.shell(f"$meshfed {command} >/dev/full")
        assert (done.returncode, done.stderr) == (
            1,
            "meshfed: standard output: No space left on device; what was printed is not complete\n",
        )

    def test_closed_output_is_missed(self, command: str) -> None:
        done = self.shell(f"$meshfed {command} >&-")
        assert (done.returncode, done.stderr) == (
            1,
            "meshfed: standard output: Bad file descriptor; what was printed is not complete\n",
        )

    def test_a_reader_that_leaves_at_once_is_no_error(self, command: str) -> None:
        done = self.shell(f"$meshfed {command} | true; exit ${{PIPESTATUS[0]}}")
        assert (done.returncode, done.stderr) == (0, "")

    def test_nothing_else_is_needed(self, command: str) -> None:
        bare = self.shell(f"env -i PYTHONIOENCODING=ascii:strict LC_ALL=C $meshfed {command} <&- 2>&-")
        assert (bare.returncode, bare.stderr) == (0, "")
        assert "help" in command or bare.stdout == meshfed(*command.split()).stdout


def test_an_error_without_a_place_to_say_it_does_not_get_into_the_output() -> None:
    line = f"{sys.executable} -m meshfed plan -f /nonexistent.yaml 2>&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")


def test_standard_input_that_is_closed_is_empty() -> None:
    line = f"{sys.executable} -m meshfed plan -f - <&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_printed_is_utf_8_whatever_the_locale_says() -> None:
    done = meshfed(
        "explain", "--log", '{"authority": "\u00e9", "response_code": 503}', "-o", "json", PYTHONIOENCODING="ascii"
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["log"]["host"] == "\u00e9"
