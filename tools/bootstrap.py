"""Set up ``.venv`` on a machine that has Python and nothing else.

Debian and Ubuntu ship a Python that can neither make a virtual environment with pip in it nor install anything, until
someone with root adds packages. This gets along without them, because "first install these five things" is where most
people who try a project give up. It uses the standard library only, and a syntax old enough for a Python that is too
old for Meshfed to say so.

An environment is either complete (it carries a stamp of what it was made from) or made again from nothing, so that an
interrupted set-up heals and a changed lock never leaves a mixture. Everything installed is checked against the hashes
in ``requirements-dev.lock``. The installer is the first that works of: ``uv``, Python's own ``ensurepip``, a pip found
on the machine, and the pip that the distribution packages, fetched through apt into ``.tools`` without root.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / "complete"
TOOLS = ROOT / ".tools"
DISTRIBUTION = TOOLS / "distribution"
LOCK = ROOT / "requirements-dev.lock"
PROJECTS = [ROOT, ROOT / "meshfed-sandbox"]
SYSTEM_WHEELS = Path("/usr/share/python-wheels")
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")

PIP_OPTIONS = ["--quiet", "--disable-pip-version-check", "--no-input"]
# The distribution's pip insists on the system's certificates, also where there are none, and an old one needs modules
# of distutils that are packaged apart. Only defaults change, so that whatever pip is configured with still counts.
PIP_FROM_DISTRIBUTION = """
import os, runpy, sys
wheel, distutils_modules, certificates = sys.argv[1:4]
del sys.argv[1:4]
sys.path.insert(0, wheel)
import pip # first: setuptools, once installed, replaces distutils, but not under pip
if os.path.isdir(distutils_modules):
    import distutils
    distutils.__path__.append(distutils_modules)
if certificates:
    import pip._vendor.certifi
    pip._vendor.certifi.where = lambda: certificates
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
NO_INSTALLER = (
    "there is no way here to install Python packages: install one of them (on Debian and Ubuntu: "
    "apt-get install python3-venv), or name another Python with PYTHON=/path/to/python3"
)
INSTALL_FAILED = (
    "the locked dependencies could not be installed; the lines above say why. Behind a proxy or a mirror, configure "
    "pip as usual (pip config, PIP_INDEX_URL, PIP_CERT, HTTPS_PROXY); where no wheel fits, name another Python with "
    "PYTHON=; then run this again"
)


class SetupError(Exception):
    """Set-up cannot go on; the message says what a person can do about it."""


def say(text: str) -> None:
    """Tell the person who waits what is being done."""
    print("setup: " + text, flush=True)


def main() -> int:
    """Leave a complete ``.venv`` behind and return 0, or say why not and return 1."""
    try:
        require_python()
        if not is_complete():
            with one_at_a_time():
                if not is_complete():
                    set_up()
    except SetupError as error:
        print(f"setup: failed: {error}", file=sys.stderr)
    except OSError as error:
        needs = f"{ROOT} has to belong to the user who runs this, with half a gigabyte free"
        print(f"setup: failed: {error}; {needs}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nsetup: interrupted; the next run starts over", file=sys.stderr)
        return 130
    else:
        return 0
    return 1


def require_python() -> None:
    """Go on only in a Python that is new enough: this one, or a newer one on PATH that takes over."""
    if sys.version_info >= OLDEST:
        return
    for minor in range(OLDEST[1], 30):
        newer = shutil.which(f"python3.{minor}")
        if newer and succeeds([newer, "-c", ""]):
            say(f"Python {python_version()} is too old, going on with {newer}")
            os.execv(newer, [newer, *sys.argv])
    raise SetupError(
        f"Python 3.{OLDEST[1]} or newer is needed, found {python_version()}: {sys.executable}. "
        "Install one, or name it with PYTHON=/path/to/python3"
    )


def python_version() -> str:
    """This Python's version, as people write it."""
    return "{}.{}.{}".format(*sys.version_info)


def stamp() -> str:
    """What the environment is made from: it is complete where it carries exactly this."""
    import tomllib  # noqa: PLC0415 - absent from the Pythons that only get as far as saying that they are too old

    projects = [tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")) for folder in PROJECTS]
    made_from = [
        str(ROOT),
        sys.base_prefix,
        "{}.{}".format(*sys.version_info),
        repr([[one.get("build-system"), one.get("project"), one["tool"].get("hatch")] for one in projects]),
        LOCK.read_text(encoding="utf-8"),
    ]
    return hashlib.sha256("\0".join(made_from).encode()).hexdigest() + "\n"


def is_complete() -> bool:
    """Whether ``.venv`` was made from what is here now, and still runs."""
    try:
        complete = STAMP.read_text(encoding="utf-8") == stamp()
    except (OSError, UnicodeDecodeError):
        return False
    return complete and succeeds([str(VENV_PYTHON), "-c", "import meshfed, meshfed_sandbox"])


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold off a second set-up of this checkout.

    The kernel lets go of the lock when this process and those it has started have ended, in whatever way.
    """
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "setup.lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is at work here, waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_up() -> None:
    """Make ``.venv`` from nothing."""
    made_from = stamp()
    say(f"making .venv with Python {python_version()} (once, and again when the lock changes)")
    if VENV.is_symlink():
        VENV.unlink()
    elif VENV.exists():
        shutil.rmtree(str(VENV))
    # Under an activated .venv, this very Python has just been removed: its base is not.
    base_python = getattr(sys, "_base_executable", sys.executable)
    if not succeeds([base_python, "-c", "import venv"]):
        raise SetupError(NO_INSTALLER)
    run([base_python, "-m", "venv", "--without-pip", str(VENV)], NO_INSTALLER)
    install(base_python)
    STAMP.write_text(made_from, encoding="utf-8")
    say("done")


def install(base_python: str) -> None:
    """Install the locked dependencies and the projects of this repository into the new environment."""
    count = sum("==" in line for line in LOCK.read_text(encoding="utf-8").splitlines())
    locked = ["--require-hashes", "--only-binary=:all:", "--no-deps", "--requirement", str(LOCK)]
    projects = ["--no-deps", "--no-build-isolation"]
    for folder in PROJECTS:
        projects += ["--editable", str(folder)]

    uv = shutil.which("uv")
    if uv:
        say(f"installing {count} locked packages with uv")
        with_uv = [uv, "pip", "install", "--quiet", "--python", str(VENV_PYTHON)]
        if succeeds([*with_uv, *locked], quiet=False) and succeeds([*with_uv, *projects], quiet=False):
            return
        say("uv could not do it, trying pip")

    # A person's habit of installing for themselves has no place in an environment.
    os.environ["PIP_USER"] = "0"
    pip = [*find_pip(base_python), "install", *PIP_OPTIONS]
    say(f"installing {count} locked packages with pip, about half a minute")
    run([*pip, "--progress-bar=off", *locked], INSTALL_FAILED)
    run([*pip, *projects], INSTALL_FAILED)


def find_pip(base_python: str) -> list[str]:
    """The beginning of a command line that is pip at work in the new environment."""
    if succeeds([str(VENV_PYTHON), "-m", "ensurepip"]):
        return [str(VENV_PYTHON), "-m", "pip"]
    for pip in ([base_python, "-m", "pip"], ["pip3"], ["pip"]):
        on_environment = [*pip, "--python", str(VENV_PYTHON)]
        if shutil.which(pip[0]) and succeeds([*on_environment, "--version"]):
            return on_environment
    wheel = find_pip_wheel()
    if wheel is None:
        fetch_distribution_pip()
        wheel = find_pip_wheel()
    if wheel is None:
        raise SetupError(NO_INSTALLER)
    modules = DISTRIBUTION / "usr" / "lib" / "python{}.{}".format(*sys.version_info) / "distutils"
    pip_from_wheel = [str(VENV_PYTHON), "-W", "ignore", "-c", PIP_FROM_DISTRIBUTION]
    return [*pip_from_wheel, str(wheel), str(modules), gather_certificates()]


def find_pip_wheel() -> Path | None:
    """The distribution's pip, where it is installed or was fetched before."""
    fetched = DISTRIBUTION / SYSTEM_WHEELS.relative_to("/")
    wheels = [*sorted(SYSTEM_WHEELS.glob("pip-*.whl")), *sorted(fetched.glob("pip-*.whl"))]
    return wheels[0] if wheels else None


def fetch_distribution_pip() -> None:
    """Unpack the distribution's own pip into ``.tools``, with what it relies on and the system lacks."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SetupError(NO_INSTALLER)
    say("fetching the distribution's pip through apt, into .tools")
    packages = ["python3-pip-whl"]
    if not SYSTEM_CERTIFICATES.exists():
        packages.append("ca-certificates")
    if sys.version_info < (3, 12) and not succeeds([str(VENV_PYTHON), "-c", "import distutils.cmd"]):
        packages.append("python3-distutils")
    fetch_packages(packages, DISTRIBUTION, "the lines above say why; or as root: apt-get install python3-venv")


def fetch_packages(packages: list[str], place: Path, advice: str) -> None:
    """Unpack packages of the distribution into ``place``, a folder below ``.tools``; needs apt-get and dpkg-deb."""
    work = TOOLS / "apt"
    shutil.rmtree(str(work), ignore_errors=True)
    for folder in ("state/lists/partial", "cache/archives/partial", "packages"):
        (work / folder).mkdir(parents=True)
    apt = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root"]
    # The system's own lists are not ours to refresh, and on a minimal system they are empty.
    own_lists = [
        *("-o", "Dir::State={}".format(work / "state")),
        *("-o", "Dir::State::status=/var/lib/dpkg/status"),
        *("-o", "Dir::Cache={}".format(work / "cache")),
    ]
    if not succeeds([*apt, "download", *packages], cwd=work / "packages"):
        run([*apt, *own_lists, "update"], f"apt could not read its package lists: {advice}")
        run(
            [*apt, *own_lists, "download", *packages],
            "apt could not fetch {}: {}".format(" and ".join(packages), advice),
            cwd=work / "packages",
        )
    target = work / "unpacked"
    for package in (work / "packages").glob("*.deb"):
        run(["dpkg-deb", "--extract", str(package), str(target)], f"{package.name} does not unpack")
    # Moved into place when it is whole: what is there is taken to be good by later runs.
    shutil.rmtree(str(place), ignore_errors=True)
    target.rename(place)
    shutil.rmtree(str(work))


def gather_certificates() -> str:
    """Make one file of the fetched certificates and the machine's own, as the distribution does; "" where it did."""
    if SYSTEM_CERTIFICATES.exists():
        return ""
    fetched = DISTRIBUTION / "usr" / "share" / "ca-certificates"
    certificates = sorted(fetched.rglob("*.crt")) + sorted(LOCAL_CERTIFICATES.rglob("*.crt"))
    bundle = TOOLS / "ca-certificates.crt"
    bundle.write_text("\n".join(path.read_text(encoding="utf-8") for path in certificates), encoding="utf-8")
    return str(bundle)


def run(command: list[str], advice: str, cwd: Path = ROOT) -> None:
    """Run a command that has to succeed."""
    if not succeeds(command, quiet=False, cwd=cwd):
        raise SetupError(advice)


def succeeds(command: list[str], quiet: bool = True, cwd: Path = ROOT) -> bool:
    """Whether a command runs and ends well."""
    output = subprocess.DEVNULL if quiet else None
    try:
        code = subprocess.call(
            command, cwd=str(cwd), stdin=subprocess.DEVNULL, stdout=output, stderr=output, close_fds=False
        )
    except OSError:
        return False
    return code == 0


if __name__ == "__main__":
    sys.exit(main())
