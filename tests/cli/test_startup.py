"""What is imported before a command does its work: what it uses, and nothing that takes long besides.

Counted are modules, not milliseconds: those depend on the machine, these on us alone.
"""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(importlib.import_module("meshfed").__file__ or "").parent

KUBECONFIG = {
    "current-context": "nowhere",
    "contexts": [{"name": "nowhere", "context": {"cluster": "nowhere", "user": "nobody"}}],
    "clusters": [{"name": "nowhere", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "nobody", "user": {}}],
}
"""Of a cluster that does not answer: what comes before the first request is what is looked at."""

DISCOVERY = {"grpclib", "h2", "google.protobuf", "meshfed.fds.messages", "meshfed.fds.server"}
DECISIONS = {"meshfed.plan.planner", "meshfed.derive", "meshfed.federation.imports", "meshfed.istio"}
WRITING = {"meshfed.kube.engine", "meshfed.kube.reflector", "meshfed.kube.lease"}
OBJECTS = {"meshfed.api.v1alpha1", "meshfed.views.snapshot", "meshfed.views.imports", "meshfed.views.meshes"}
SERVING = {"prometheus_client", "aiohttp.web", "http.server"}
SHOWING = {"rich", "markdown_it", "docstring_parser", "importlib.metadata"}


AT_THE_END = """
import json, sys
from meshfed.cli.app import run
run(sys.argv[2:])
with open(sys.argv[1], "w") as file: json.dump(sorted(sys.modules), file)
"""
AT_THE_FIRST_CONNECTION = """
import json, os, sys
def heard(event, _):
    if event == "socket.connect" and not os.path.exists(sys.argv[1]):
        with open(sys.argv[1], "w") as file: json.dump(sorted(sys.modules), file)
sys.addaudithook(heard)
from meshfed.cli.app import run
run(sys.argv[2:])
"""


def imported(arguments: list[str], tmp_path: Path, program: str = AT_THE_END) -> set[str]:
    """The modules that there are when a command has ended, or begins to ask a cluster."""
    (tmp_path / "kubeconfig").write_text(json.dumps(KUBECONFIG))
    found = tmp_path / "modules.json"
    subprocess.run([sys.executable, "-c", program, str(found), *arguments], capture_output=True, check=True, timeout=60)
    return set(json.loads(found.read_text()))


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] in {"meshfed", "meshfed_sandbox"}}


def test_help_imports_what_lists_the_commands(tmp_path: Path) -> None:
    modules = imported(["--help"], tmp_path)
    assert ours(modules) == {"meshfed", "meshfed.cli", "meshfed.cli.app", "meshfed.cli.exits"}
    assert not modules & {"asyncio", "msgspec", "yaml", "aiohttp", "markdown_it", "rich.markdown", "importlib.metadata"}
    assert len(modules) < 330


@pytest.mark.parametrize("words", ["status", "imports", "remotes", "report", "test ratings --from default/curl"])
def test_a_command_that_shows_what_is_written_imports_nothing_that_decides(words: str, tmp_path: Path) -> None:
    modules = imported([*words.split(), "--kubeconfig", str(tmp_path / "kubeconfig")], tmp_path)
    assert "meshfed.kube.client" in modules
    assert not modules & (DISCOVERY | DECISIONS | WRITING | SERVING | SHOWING)
    assert len(modules) < 460


@pytest.mark.parametrize("words", ["exports", "check", "explain ratings", "plan --live"])
def test_a_command_that_decides_anew_imports_what_decides_and_nothing_that_serves(words: str, tmp_path: Path) -> None:
    modules = imported([*words.split(), "--kubeconfig", str(tmp_path / "kubeconfig")], tmp_path)
    assert "meshfed.kube.client" in modules
    assert not modules & (DISCOVERY | WRITING | SERVING | SHOWING)
    assert len(modules) < 560


@pytest.mark.parametrize(
    "words",
    [
        *("status", "imports", "remotes", "exports", "check", "check --pre", "check west --probe"),
        *("explain ratings", "link card", "test"),
    ],
)
def test_a_cluster_is_asked_before_what_shows_or_decides_is_imported(words: str, tmp_path: Path) -> None:
    arguments = [*words.split(), "--kubeconfig", str(tmp_path / "kubeconfig")]
    modules = imported(arguments, tmp_path, AT_THE_FIRST_CONNECTION)
    assert "meshfed.kube.client" in modules
    assert not modules & (DISCOVERY | DECISIONS | WRITING | SERVING | SHOWING | OBJECTS)
    assert len(ours(modules)) < 45
    assert len(modules) < 410


def test_the_controller_imports_none_of_the_other_commands(tmp_path: Path) -> None:
    arguments = ["controller", "--kubeconfig", str(tmp_path / "kubeconfig"), "--context", "another"]
    modules = imported(arguments, tmp_path)
    assert {"meshfed.controller.controller", "meshfed.fds.server", "meshfed.kube.engine"} <= modules
    assert not modules & (SHOWING | {"meshfed.plan.offline", "meshfed.kube.exec"})
    assert {
        name for name in ours(modules) if name.startswith(("meshfed.cli.", "meshfed.views", "meshfed_sandbox"))
    } == {
        "meshfed.cli.app",
        "meshfed.cli.arguments",
        "meshfed.cli.controller",
        "meshfed.cli.exits",
        "meshfed.cli.istio_logging",
    }
    assert len(modules) < 740


def test_the_roots_of_the_system_are_read_for_nobody_and_can_be_read_afterwards() -> None:
    program = (
        "import os, ssl, sys\n"
        "before = dict(os.environ)\n"
        "import meshfed.kube.connection, aiohttp.connector\n"
        "assert dict(os.environ) == before\n"
        "assert aiohttp.connector._SSL_CONTEXT_VERIFIED.cert_store_stats()['x509'] == 0\n"
        "assert aiohttp.connector._SSL_CONTEXT_VERIFIED.verify_mode is ssl.CERT_REQUIRED\n"
        "context = ssl.create_default_context()\n"
        "print(context.cert_store_stats()['x509'])"
    )
    plain = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509'])"
    found = [
        subprocess.run([sys.executable, "-c", one], capture_output=True, check=True, timeout=60).stdout
        for one in (program, plain)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("room", ["fds", "kube", "plan"])
def test_the_face_of_a_room_has_what_it_says(room: str) -> None:
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    said = {
        str(node.module): [alias.name for alias in node.names]
        for node in imports
        if str(node.module).startswith(f"meshfed.{room}.")
    }
    homes = next(
        ast.literal_eval(node.args[1])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "face"
    )
    assert {f"meshfed.{room}.{module}": list(names) for module, names in homes.items()} == said
    package = importlib.import_module(f"meshfed.{room}")
    assert sorted(name for names in homes.values() for name in names) == sorted(package.__all__)
    for module, names in said.items():
        for name in names:
            # A name that a module of the room has too would become that module, once somebody imports it.
            assert not (PACKAGE / room / f"{name}.py").exists()
            assert getattr(package, name) is getattr(importlib.import_module(module), name)


def test_a_face_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match=r"module 'meshfed\.kube' has no attribute 'Clinet'"):
        importlib.import_module("meshfed.kube").Clinet  # noqa: B018 - to ask is the test
    with pytest.raises(ImportError, match="cannot import name 'Clinet'"):
        exec("from meshfed.kube import Clinet")


def test_who_interrupts_while_modules_are_imported_sees_no_trace() -> None:
    program = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'cyclopts': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from meshfed.cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program, "status"], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
