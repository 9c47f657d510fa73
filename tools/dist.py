"""Make ``dist``: the wheels, sdists, chart, documentation and bill of materials of a release, once they are checked.

There are two distributions, ``meshfed`` and ``meshfed-sandbox``, of one version. What is checked, in this order:

1. Built from the checkout, and again from their sdists, the archives are the same bytes.
2. Each wheel holds its package, all of it, and nothing else; each sdist what its wheel is built from.
3. Installed with what ``requirements.lock`` names and nothing else, the commands of a cluster work, and the others say
   that they come with ``meshfed-sandbox``.
4. Every locked package has a wheel for the architectures of the container image, with a hash in the lock.
5. Every link of the documentation site leads somewhere.
6. Installed with the extra ``sandbox``, and no development dependency, the demo holds.

Usage: ``python tools/dist.py``; ``make dist`` runs it. ``SOURCE_DATE_EPOCH`` is the time that the archives carry, in
seconds; without it, that of the last commit.
"""

from __future__ import annotations

import email
import gzip
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import docs_site

import meshfed

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy" / "chart"
CHART_NAME = "federation-controller"
LOCK = ROOT / "requirements.lock"
DEVELOPMENT_LOCK = ROOT / "requirements-dev.lock"
BASE_IMAGE = re.compile(r"^ARG BASE=python:(\d+\.\d+)-slim$", re.MULTILINE)
# As uv names them, with the machine that the header of an ELF file gives.
ARCHITECTURES = {"x86_64-unknown-linux-gnu": 62, "aarch64-unknown-linux-gnu": 183}


@dataclass(frozen=True)
class Distribution:
    """One of those that the repository holds: what its archives and its package are called, and where it is."""

    name: str
    folder: Path
    beside: frozenset[str] = frozenset()
    """What its sdist holds besides what every sdist does."""
    manual: Path | None = None
    """Where its manual pages are, relative to ``folder``."""

    def pages(self) -> list[str]:
        """The names of its manual pages."""
        return sorted(path.name for path in (self.folder / self.manual).glob("*.1")) if self.manual else []

    def files(self) -> set[str]:
        """Every file of the package in the checkout, relative to the folder that is on Python's path."""
        source = self.folder / "src"
        return {
            path.relative_to(source).as_posix()
            for path in (source / self.name).rglob("*")
            if path.is_file() and path.parent.name != "__pycache__"
        }

    def archives(self, folder: Path) -> tuple[Path, Path]:
        """Its wheel and its sdist in ``folder``."""
        name = f"{self.name}-{meshfed.__version__}"
        return folder / f"{name}-py3-none-any.whl", folder / f"{name}.tar.gz"


MESHFED = Distribution("meshfed", ROOT, frozenset({"CHANGELOG.md"}), Path("docs", "man"))
SANDBOX = Distribution("meshfed_sandbox", ROOT / "meshfed-sandbox")


class DistError(Exception):
    """Something about the release does not hold; the message says what."""


def main() -> int:
    """Make and check everything; returns the exit code, 1 where something does not hold."""
    with tempfile.TemporaryDirectory(prefix="meshfed-dist-") as scratch:
        try:
            make(Path(scratch))
        except (DistError, docs_site.DocsError, docs_site.GeneratorUnavailable, subprocess.CalledProcessError) as error:
            print(f"dist: failed: {error}", file=sys.stderr)
            return 1
    return 0


def make(scratch: Path) -> None:
    """Make the release below ``scratch``, check it, and only then put it into ``dist``."""
    release = scratch / "release"
    for one in (MESHFED, SANDBOX):
        build_twice(one, release, scratch / one.name, epoch(ROOT))
        check_wheel(one, release)
        check_sdist(one, release)
        say(" and ".join(path.name for path in one.archives(release)) + ": built twice, the same bytes, and complete")
    wheel, _ = MESHFED.archives(release)
    pack_chart(release, int(epoch(ROOT)))
    bill = release / f"meshfed-{meshfed.__version__}.cdx.json"
    check_cluster(wheel, scratch / "cluster", bill)
    say("installed with the locked dependencies alone, it works")
    for architecture in ARCHITECTURES:
        count = check_architecture(architecture, scratch / architecture)
        say(f"{architecture}: every package is there for it, with {count} binary modules")
    pack_docs(release, int(epoch(ROOT)), scratch / "docs")
    say("every link of the documentation site leads somewhere")
    check_demo(release, scratch / "demo")
    made = sorted(release.iterdir())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made]
    (release / "SHA256SUMS").write_text("".join(sums))
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    shutil.copytree(release, ROOT / "dist")
    say("dist holds " + ", ".join(sorted(path.name for path in release.iterdir())))


def say(text: str) -> None:
    """Tell the person who waits what holds."""
    print(f"dist: {text}", flush=True)


def epoch(checkout: Path) -> str:
    """The time that the archives carry; raises ``DistError`` where nothing tells it."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return given
    git = shutil.which("git")
    command = [git or "git", "-C", str(checkout), "log", "-1", "--format=%ct"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False) if git else None
    if asked is None or asked.returncode:
        raise DistError("there is no git history here to take a date from: set SOURCE_DATE_EPOCH to seconds since 1970")
    return asked.stdout.strip()


# --- building -------------------------------------------------------------------------------------


def build(source: Path, output: Path, seconds: str) -> None:
    """Build the wheel and the sdist of ``source`` into ``output``."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": seconds}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(output)]
    subprocess.run(command, cwd=source, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def build_twice(distribution: Distribution, release: Path, scratch: Path, seconds: str) -> None:
    """Build a distribution into ``release``, and again from its sdist; raises ``DistError`` where that differs."""
    build(distribution.folder, release, seconds)
    _, sdist = distribution.archives(release)
    with tarfile.open(sdist) as archive:
        archive.extractall(scratch / "unpacked", filter="data")
    (unpacked,) = (scratch / "unpacked").iterdir()
    build(unpacked, scratch / "again", seconds)
    for path in distribution.archives(release):
        if (scratch / "again" / path.name).read_bytes() != path.read_bytes():
            raise DistError(f"{path.name} comes out different when it is built from the sdist")


def pack_chart(output: Path, seconds: int, chart: Path = CHART) -> Path:
    """Pack the Helm chart into ``output``, as ``helm package`` does but for the time, so that it is the same each time.

    What its ``.helmignore`` excludes stays out. Returns the archive.
    """
    ignored = [".helmignore", *(chart / ".helmignore").read_text().split()]
    files = [path for path in chart.rglob("*") if not any(path.match(pattern) for pattern in ignored)]
    archive = output / f"{CHART_NAME}-{meshfed.__version__}.tgz"
    pack(archive, {f"{CHART_NAME}/{path.relative_to(chart).as_posix()}": path for path in files}, seconds)
    return archive


def pack_docs(output: Path, seconds: int, scratch: Path) -> Path:
    """Make the documentation site, and pack it into ``output`` with its version as the folder. Returns the archive."""
    site = scratch / meshfed.__version__
    docs_site.build(site)
    archive = output / f"meshfed-docs-{meshfed.__version__}.tar.gz"
    pack(archive, {path.relative_to(scratch).as_posix(): path for path in site.rglob("*")}, seconds)
    return archive


def pack(archive: Path, members: dict[str, Path], seconds: int) -> None:
    """Pack files, by their names in the archive, so that it is the same bytes each time; folders are left out."""
    with (
        archive.open("wb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=seconds) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, path in sorted(members.items()):
            if not path.is_file():
                continue
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = path.stat().st_size, seconds, 0o644
            with path.open("rb") as content:
                tar.addfile(member, content)


# --- what the archives hold -----------------------------------------------------------------------


def check_wheel(distribution: Distribution, release: Path) -> None:
    """Raise ``DistError`` unless the wheel holds the package, all of it, and nothing but it and what describes it."""
    wheel, _ = distribution.archives(release)
    described = f"{distribution.name}-{meshfed.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = email.message_from_bytes(archive.read(f"{described}/METADATA"))
    compare(
        wheel.name,
        names,
        distribution.files()
        | {f"{described.removesuffix('.dist-info')}.data/data/share/man/man1/{page}" for page in distribution.pages()}
        | {f"{described}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")},
    )
    if metadata["Version"] != meshfed.__version__:
        raise DistError(f"{wheel.name} says it is {metadata['Version']}")


def check_sdist(distribution: Distribution, release: Path) -> None:
    """Raise ``DistError`` unless the sdist holds what the wheel is built from, and what a reader wants first."""
    _, sdist = distribution.archives(release)
    top = sdist.name.removesuffix(".tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.removeprefix(f"{top}/") for member in archive if member.isfile()}
    beside = {".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"} | distribution.beside
    pages = {f"{distribution.manual}/{page}" for page in distribution.pages()}
    compare(sdist.name, names, {f"src/{name}" for name in distribution.files()} | pages | beside)


def compare(what: str, found: set[str], wanted: set[str]) -> None:
    """Raise ``DistError`` unless an archive holds exactly the files it should."""
    if missing := sorted(wanted - found):
        raise DistError(f"{what} lacks {', '.join(missing)}")
    if strange := sorted(found - wanted):
        raise DistError(f"{what} holds {', '.join(strange)}, which nobody needs to run it")


# --- installed ------------------------------------------------------------------------------------


def environment(folder: Path) -> Path:
    """Make an empty environment; returns its folder of programs."""
    venv.create(folder)
    return folder / "bin"


def install(programs: Path, *arguments: str) -> None:
    """Have uv install into an environment; prints what it says where it fails."""
    uv("install", "--python", str(programs / "python"), *arguments)


def uv(verb: str, *arguments: str) -> None:
    """Run ``uv pip``, quietly."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", verb, "--quiet", "--no-progress", *arguments]
    subprocess.run(command, check=True)


def check_cluster(wheel: Path, folder: Path, bill: Path) -> None:
    """Install what a cluster needs and use it; write what it consists of to ``bill``. Raises ``DistError``."""
    programs = environment(folder)
    install(programs, "--require-hashes", "--only-binary=:all:", "--no-deps", f"--requirement={LOCK}")
    install(programs, "--no-deps", "--no-index", f"--find-links={wheel.parent}", "meshfed")
    uv("check", "--python", str(programs / "python"))
    said = call(programs, "version")
    if not said.startswith(f"meshfed {meshfed.__version__} "):
        raise DistError(f"the installed command says {said.strip()!r}, and the source is {meshfed.__version__}")
    call(programs, "controller", "--help")
    crds = call(programs, "crds")
    for kind in ("MeshFederation", "RemoteMesh", "FederatedService"):
        if f"kind: {kind}\n" not in crds:
            raise DistError(f"meshfed crds prints no {kind}")
    check_absence(programs)
    write_bill(programs, bill)


def check_absence(programs: Path) -> None:
    """Raise ``DistError`` unless the commands of the sandbox, which is not installed, say how to get it."""
    for name in ("demo", "sandbox"):
        asked = subprocess.run([str(programs / "meshfed"), name], capture_output=True, text=True, check=False)
        if (asked.returncode, asked.stderr.count("\n")) != (2, 1) or "pip install meshfed-sandbox" not in asked.stderr:
            raise DistError(f"without meshfed-sandbox, meshfed {name} ends with {asked.returncode}: {asked.stderr}")


def write_bill(programs: Path, bill: Path) -> None:
    """Write a CycloneDX bill of materials of what is installed; the same for the same packages."""
    command = [str(Path(sys.executable).with_name("cyclonedx-py")), "environment", "--output-reproducible"]
    described = ["--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application", "--output-file", str(bill)]
    subprocess.run([*command, *described, str(programs / "python")], check=True, stderr=subprocess.PIPE)


def check_architecture(architecture: str, folder: Path) -> int:
    """Install the lock for a machine of the image's Python; returns how many modules are that machine's own.

    Raises ``DistError`` where one is another's, ``CalledProcessError`` where a package has no such wheel in the lock.
    """
    target = [f"--target={folder}", f"--python-platform={architecture}", f"--python-version={image_python()}"]
    uv("install", *target, "--only-binary=:all:", "--require-hashes", "--no-deps", f"--requirement={LOCK}")
    modules = sorted(folder.rglob("*.so"))
    for path in modules:
        with path.open("rb") as file:
            (machine,) = struct.unpack_from("<H", file.read(20), 18)
        if machine != ARCHITECTURES[architecture]:
            raise DistError(f"{path.relative_to(folder)} is for machine {machine}, not for {architecture}")
    return len(modules)


def image_python() -> str:
    """The Python of the container image, such as 3.13."""
    found = BASE_IMAGE.search((ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8"))
    if found is None:
        raise DistError("deploy/Containerfile names no ARG BASE=python:X.Y-slim")
    return found[1]


def check_demo(release: Path, folder: Path) -> None:
    """Install what the demo needs and no more, and have it federate two meshes."""
    programs = environment(folder)
    (wheel, _), (sandbox, _) = MESHFED.archives(release), SANDBOX.archives(release)
    wanted = [f"meshfed[sandbox] @ {wheel.as_uri()}", f"meshfed-sandbox @ {sandbox.as_uri()}"]
    install(programs, f"--constraint={DEVELOPMENT_LOCK}", *wanted)
    call(programs, "demo", show=True)


def call(programs: Path, *arguments: str, show: bool = False) -> str:
    """Run the installed command, with nothing of this environment around it; returns what it prints."""
    done = subprocess.run(
        [str(programs / "meshfed"), *arguments],
        cwd=programs,
        env={"PATH": f"{programs}:/usr/bin:/bin"},
        stdout=None if show else subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout or ""


if __name__ == "__main__":
    sys.exit(main())
