"""The container image: its file tree, made by the program that makes it there, and a controller that runs from it."""

from __future__ import annotations

import asyncio
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dist
import image
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from meshfed import __version__
from meshfed.api.crds import all_crds
from meshfed_sandbox import Sandbox
from meshfed_sandbox.ports import Ports

ROOT = Path(__file__).resolve().parent.parent
CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text()
USER = "65532"
OTHER_USER = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if os.getuid() == 0 else []
# Everything that is mounted becomes read-only, but for the kernel's own file systems.
READ_ONLY = """
mount --make-rprivate / || exit 125
while read -r _ place type _; do
    case $type in proc|sysfs|cgroup*|devtmpfs|devpts|mqueue) continue;; esac
    mount -o remount,bind,ro "$place" || exit 125
done </proc/self/mounts
exec "$@"
"""


def sealed(*command: str | Path) -> list[str]:
    """``command`` as a container would run it: on a file system that is read-only, and not as root."""
    namespace = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    return [*namespace, "sh", "-c", READ_ONLY, "sh", *OTHER_USER, *map(str, command)]


def python_for_everyone() -> str:
    """A Python that an ordinary user may run: one below root's home is not."""
    program = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
    for python in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3", "/usr/local/bin/python3"):
        if Path(python).exists() and subprocess.run([*OTHER_USER, python, "-c", program], check=False).returncode == 0:
            return str(python)
    pytest.skip("there is no Python 3.11 here that a user other than root may run")


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    """What the image has in /opt/meshfed."""
    python = python_for_everyone()
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        folder = Path(name)
        folder.chmod(0o755)
        dist.build(ROOT, folder / "source", "0")
        shutil.copy(ROOT / image.LOCK, folder / "source")
        made = subprocess.run(
            [sys.executable, ROOT / "tools" / "image.py", "install", folder / "meshfed", python],
            cwd=folder / "source",
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode and "NewConnectionError" in made.stderr and not os.environ.get("CI"):
            pytest.skip("the packages of the image cannot be fetched: there is no network")
        assert made.returncode == 0, made.stderr
        assert made.stdout.splitlines()[-1].startswith(f"meshfed {__version__} ")
        yield folder / "meshfed"


def run(tree: Path, *arguments: str) -> str:
    command = [str(tree / "bin" / "meshfed"), *arguments]
    return subprocess.run(command, env={}, capture_output=True, text=True, check=True).stdout


def test_its_commands_work(tree: Path) -> None:
    assert run(tree, "version").startswith(f"meshfed {__version__} ")
    assert "--kubeconfig" in run(tree, "controller", "--help")
    assert run(tree, "crds").count("kind: CustomResourceDefinition") == 3


def test_it_holds_what_runs_and_nothing_that_installs_or_builds(tree: Path) -> None:
    lines = re.findall(r"^([\w.-]+==[^\\\n]+)", (ROOT / image.LOCK).read_text(), re.MULTILINE)
    wanted = [requirement for requirement in map(Requirement, lines) if not requirement.marker]
    wanted += [requirement for requirement in map(Requirement, lines) if (m := requirement.marker) and applies(tree, m)]
    assert distributions(tree) == {canonicalize_name(requirement.name) for requirement in wanted} | {"meshfed"}
    programs = {path.name for path in (tree / "bin").iterdir()}
    assert {name for name in programs if not name.startswith("python")} == {"meshfed"}
    assert list(tree.rglob("*.whl")) == []
    assert list(tree.rglob("direct_url.json")) == [], "it says where it was built"


def test_it_carries_nothing_of_the_sandbox_and_says_how_to_get_it(tree: Path) -> None:
    assert [str(path) for path in tree.rglob("*") if "sandbox" in path.name] == []
    for command in ("demo", "sandbox"):
        asked = subprocess.run([tree / "bin" / "meshfed", command], env={}, capture_output=True, text=True, check=False)
        assert asked.returncode == 2
        assert asked.stderr.endswith("which is not installed here: pip install meshfed-sandbox\n")
    assert not re.search(r"^│ (demo|sandbox) ", run(tree, "--help"), re.MULTILINE)


def distributions(tree: Path) -> set[str]:
    return {canonicalize_name(path.name.split("-")[0]) for path in tree.glob("lib/*/site-packages/*.dist-info")}


def applies(tree: Path, marker: object) -> bool:
    """Whether a condition of the lock holds for the tree's Python."""
    code = "import platform; print(platform.python_version())"
    python = subprocess.run([tree / "bin" / "python3", "-c", code], capture_output=True, text=True, check=True)
    version = python.stdout.strip()
    return Requirement(
        f"x; {marker}"
    ).marker.evaluate(  # type: ignore[union-attr] # it has one
        {"python_full_version": version, "python_version": ".".join(version.split(".")[:2])}
    )


def test_every_module_is_compiled_and_stays_valid_whatever_its_time(tree: Path) -> None:
    modules = list(tree.glob("lib/*/site-packages/**/*.py"))
    assert len(modules) > 500
    for module in modules:
        (compiled,) = (module.parent / "__pycache__").glob(f"{module.stem}.cpython-*.pyc")
        assert compiled.read_bytes()[4:8] == b"\x01\0\0\0", f"{compiled} is checked against its source's time"


def test_a_file_that_is_not_the_locked_one_is_refused(tree: Path, tmp_path: Path) -> None:
    lock = (ROOT / image.LOCK).read_text()
    (tmp_path / image.LOCK).write_text(re.sub(r"sha256:\w{8}", "sha256:00000000", lock))
    places = [str(tmp_path / "made"), str(tree / "bin" / "python3")]
    command = [sys.executable, str(ROOT / "tools" / "image.py"), "install", *places]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert "Traceback" not in refused.stderr


async def test_a_controller_runs_from_it_where_nothing_can_be_written(tree: Path, tmp_path: Path, ports: Ports) -> None:
    async with Sandbox(("east",), directory=tmp_path, crds=all_crds()) as box:
        await asyncio.to_thread(run_a_controller, tree, box.kubeconfigs["east"], ports.take())


def run_a_controller(tree: Path, kubeconfig: Path, port: int) -> None:
    """Start a controller in a sealed file system, wait until it is ready, and stop it."""
    if subprocess.run(sealed("true"), capture_output=True, check=False).returncode == 125:
        pytest.skip("file systems cannot be made read-only here: that takes root, or user namespaces")
    refused = subprocess.run(sealed("touch", tree / "file"), capture_output=True, text=True, check=False)
    assert "Read-only file system" in refused.stderr
    before = sorted(tree.rglob("*"))
    readable = tree.parent / "kubeconfig"
    readable.write_bytes(kubeconfig.read_bytes())
    readable.chmod(0o644)
    addresses = ["--discovery-bind-address=127.0.0.1:0", "--metrics-bind-address=0"]
    command = sealed(tree / "bin" / "meshfed", "controller", f"--kubeconfig={readable}", *addresses)
    command.append(f"--health-probe-bind-address=127.0.0.1:{port}")
    with subprocess.Popen(command, env={"PATH": os.environ["PATH"]}, stderr=subprocess.PIPE, text=True) as controller:
        deadline = time.monotonic() + 60
        while controller.poll() is None and time.monotonic() < deadline and not ready(port):
            time.sleep(0.1)
        was_ready, user = ready(port), Path(f"/proc/{controller.pid}").stat().st_uid
        controller.terminate()
        _, said = controller.communicate(timeout=30)
    assert was_ready, said
    assert user == (int(USER) if os.getuid() == 0 else os.getuid())
    assert controller.returncode == 0, said
    assert "Traceback" not in said
    assert "Read-only" not in said
    assert sorted(tree.rglob("*")) == before


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


# --- the recipe -----------------------------------------------------------------------------------


def test_trim_takes_out_what_installs_and_compiles_the_rest(tmp_path: Path) -> None:
    library, packages, scripts = tmp_path / "lib", tmp_path / "lib" / "site-packages", tmp_path / "bin"
    kept = [library / "json" / "__init__.py", packages / "pipeline" / "__init__.py", scripts / "python3"]
    gone = [
        library / "ensurepip" / "x.whl",
        packages / "pip" / "__init__.py",
        packages / "pip-26.0.dist-info" / "RECORD",
    ]
    gone += [packages / "setuptools" / "x.py", packages / "distutils-precedence.pth", scripts / "pip", scripts / "pip3"]
    for path in (*kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    unfit = library / "test" / "badsyntax.py"
    unfit.parent.mkdir()
    unfit.write_text("if")
    image.trim(library, [packages, tmp_path / "absent"], [scripts])
    files = {path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert files == {*kept, unfit}
    assert len(list(library.glob("json/__pycache__/*.pyc"))) == 1


def test_a_base_that_can_still_install_is_found() -> None:
    assert "pip" in image.leftovers()


def test_a_wrong_command_line_is_answered_with_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert image.main(["instal"]) == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_the_recipe_names_no_registry_and_ends_as_a_number_that_is_not_root() -> None:
    bases = re.findall(r"^(?:ARG BASE=|FROM )(\S+)", CONTAINERFILE, re.MULTILINE)
    assert bases == [f"python:{dist.image_python()}-slim", "${BASE}", "${BASE}"]
    assert re.findall(r"^USER (.*)$", CONTAINERFILE, re.MULTILINE) == [f"{USER}:{USER}"]
    assert re.findall(r"^ENTRYPOINT (.*)$", CONTAINERFILE, re.MULTILINE) == ['["meshfed"]']


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source for line in re.findall(r"^COPY (?!--)(.*) \S+$", CONTAINERFILE, re.MULTILINE) for source in line.split()
    }
    assert allowed == copied
    for other in ("meshfed-1.2.3.tar.gz", "meshfed_sandbox-1.2.3-py3-none-any.whl"):
        assert not any(fnmatch.fnmatch(f"dist/{other}", pattern) for pattern in allowed)
