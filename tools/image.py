"""Make the file tree of the container image; ``deploy/Containerfile`` runs this, and so do the tests.

Usage, from a folder that holds ``requirements.lock`` and one wheel of Meshfed::

    python image.py install PREFIX [PYTHON]   # Meshfed and what it needs at run time, in an environment of PYTHON
    python image.py trim                      # take what installs packages out of this Python

It needs nothing but the standard library, and pip for ``install``. Nothing compiles at run time, since a container's
file system may be read-only: the bytecode is written here, and is valid by itself, whatever the files' times.
"""

from __future__ import annotations

import importlib.util
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

LOCK = "requirements.lock"
PIP = ["-m", "pip", "--disable-pip-version-check", "--no-input", "--python"]
INSTALLERS = ("pip", "setuptools", "wheel")
COMPILERS = ("cc", "gcc", "ld", "make")


def main(arguments: list[str]) -> int:
    """Run one of the steps; returns the exit code, 1 where it failed, 2 for a wrong command line."""
    try:
        match arguments:
            case ["install", prefix]:
                install(Path.cwd(), Path(prefix), sys.executable)
            case ["install", prefix, python]:
                install(Path.cwd(), Path(prefix), python)
            case ["trim"]:
                paths = sysconfig.get_paths()
                scripts = {paths["scripts"], str(Path(sys.executable).parent)}
                trim(Path(paths["stdlib"]), [*map(Path, site.getsitepackages())], [*map(Path, scripts)])
                if left := leftovers():
                    print(f"image: failed: the base still has {', '.join(left)}: name a slim one", file=sys.stderr)
                    return 1
            case _:
                print("usage: python image.py install PREFIX [PYTHON] | trim", file=sys.stderr)
                return 2
    except subprocess.CalledProcessError as error:
        print(f"image: failed: {error}", file=sys.stderr)
        return 1
    return 0


def install(source: Path, prefix: Path, base: str) -> None:
    """Install what ``source`` holds into the new environment ``prefix``, which uses the Python ``base``.

    Every file is checked against the lock's hashes, and nothing is built. Raises ``CalledProcessError`` where a step
    fails, which says why on standard error.
    """
    run(base, "-m", "venv", "--without-pip", str(prefix))
    python = str(prefix / "bin" / "python3")
    pip = [sys.executable, *PIP, python]
    run(*pip, "install", "--no-compile", "--no-deps", "--only-binary=:all:", "--require-hashes", f"-r{source / LOCK}")
    # By name and not by path, so that no record of the path is left in the image.
    run(*pip, "install", "--no-compile", "--no-deps", "--no-index", f"--find-links={source}", "meshfed")
    run(*pip, "check")
    for script in (prefix / "bin").iterdir():
        if script.name != "meshfed" and not script.name.startswith("python"):
            script.unlink()
    compile_all(python, prefix / "lib")
    run(str(prefix / "bin" / "meshfed"), "version")


def trim(library: Path, packages: list[Path], scripts: list[Path]) -> None:
    """Remove what installs packages, and write the bytecode of the standard library, which slim images lack."""
    for path in [library / "ensurepip", *installers(packages, scripts)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    # Python's own tests, where a base has them, hold files that are not meant to compile.
    compile_all(sys.executable, library, "-x", r"/(test|tests|idle_test)/")


def installers(packages: list[Path], scripts: list[Path]) -> Iterator[Path]:
    """Yield what there is of pip, setuptools and wheel."""
    for name in INSTALLERS:
        for folder in packages:
            yield from (folder / name, *folder.glob(f"{name}-*.*-info"))
        for folder in scripts:
            yield from folder.glob(f"{name}*")
    for folder in packages:
        yield from (folder / "pkg_resources", folder / "_distutils_hack", folder / "distutils-precedence.pth")


def leftovers() -> list[str]:
    """What should not be in an image and is still there, such as the compiler of a base that is not slim."""
    modules = [name for name in (*INSTALLERS, "ensurepip") if importlib.util.find_spec(name)]
    return modules + [found for name in COMPILERS if (found := shutil.which(name))]


def compile_all(python: str, folder: Path, *options: str) -> None:
    """Write the bytecode of all modules below ``folder``."""
    run(python, "-m", "compileall", "-q", "-j0", "--invalidation-mode=unchecked-hash", *options, str(folder))


def run(*command: str) -> None:
    """Run a command that has to succeed."""
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
