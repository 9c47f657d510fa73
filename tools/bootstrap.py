"""Set up ``.venv`` on a machine that has Python and nothing else.

Debian and Ubuntu ship a Python that can neither make a virtual environment with pip in it nor install anything, until
someone with root adds packages. This gets along without them, because "first install these five things" is where most
people who try a project give up. It uses the standard library only, and its syntax is old enough for a Python that is too
old for Meshfed to say so.

An environment is either complete (it carries a stamp of what it was made from) or made again from nothing, so that an
interrupted set-up heals and a changed lock never leaves a mixture. Everything installed is checked against the hashes in
``requirements-dev.lock``. The installer is the first that works of: ``uv``, Python's own ``ensurepip``, a pip found on the
machine, and the pip that the distribution packages, fetched through apt into ``.tools`` without root.
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

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / "complete"
TOOLS = ROOT / ".tools"
LOCK = ROOT / "requirements-dev.lock"
SYSTEM_WHEELS = Path("/usr/share/python-wheels")
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")

PIP_OPTIONS = ["--quiet", "--disable-pip-version-check", "--no-input"]
NO_INSTALLER = (
    "there is no way here to install Python packages: install one of them (on Debian and Ubuntu: "
    "apt-get install python3-venv), or name another Python with PYTHON=/path/to/python3"
)
INSTALL_FAILED = (
    "the locked dependencies could not be installed; the lines above say why. Behind a proxy or a mirror, configure pip as "
    "usual (pip config, PIP_INDEX_URL, PIP_CERT, HTTPS_PROXY); where no wheel fits, name another Python with PYTHON=; then run "
    "this again"
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
        print("setup: failed: {}".format(error), file=sys.stderr)
    except PermissionError as error:
        advice = "make the folder yours (chown), or run as the user who owns it"
        print("setup: failed: {}: {}; {}".format(error.filename, error.strerror, advice), file=sys.stderr)
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
        newer = shutil.which("python3.{}".format(minor))
        if newer and succeeds([newer, "-c", ""]):
            say("Python {} is too old, going on with {}".format(python_version(), newer))
            os.execv(newer, [newer, *sys.argv])
    raise SetupError(
        "Python {}.{} or newer is needed, found {}: {}. Install one, or name it with PYTHON=/path/to/python3".format(
            *OLDEST, python_version(), sys.executable
        )
    )


def python_version() -> str:
    """This Python's version, as people write it."""
    return "{}.{}.{}".format(*sys.version_info)


def stamp() -> str:
    """What the environment is made from: it is complete where it carries exactly this."""
    import tomllib  # noqa: PLC0415 - absent from the Pythons that only get as far as saying that they are too old

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    made_from = [
        str(ROOT),
        sys.base_prefix,
        "{}.{}".format(*sys.version_info),
        repr([project.get("build-system"), project.get("project"), project["tool"].get("hatch")]),
        LOCK.read_text(encoding="utf-8"),
    ]
    return hashlib.sha256("\0".join(made_from).encode()).hexdigest() + "\n"


def is_complete() -> bool:
    """Whether ``.venv`` was made from what is here now, and still runs."""
    try:
        complete = STAMP.read_text(encoding="utf-8") == stamp()
    except (OSError, UnicodeDecodeError):
        return False
    return complete and succeeds([str(VENV_PYTHON), "-c", "import meshfed"])


@contextlib.contextmanager
def one_at_a_time():
    """Hold off a second set-up of this checkout; the kernel lets go of the lock however this process ends."""
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is at work here, waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_up() -> None:
    """Make ``.venv`` from nothing."""
    say("making .venv with Python {} (once, and again when the lock changes)".format(python_version()))
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
    STAMP.write_text(stamp(), encoding="utf-8")
    say("done")


def install(base_python: str) -> None:
    """Install the locked dependencies and the project into the new environment."""
    count = sum("==" in line for line in LOCK.read_text(encoding="utf-8").splitlines())
    locked = ["--require-hashes", "--only-binary=:all:", "--no-deps", "--requirement", str(LOCK)]
    project = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]

    uv = shutil.which("uv")
    if uv:
        say("installing {} locked packages with uv".format(count))
        with_uv = [uv, "pip", "install", "--quiet", "--python", str(VENV_PYTHON)]
        if succeeds([*with_uv, *locked], quiet=False) and succeeds([*with_uv, *project], quiet=False):
            return
        say("uv could not do it, trying pip")

    pip = [*find_pip(base_python), "install", *PIP_OPTIONS]
    say("installing {} locked packages with pip, about half a minute".format(count))
    run([*pip, "--progress-bar=off", *locked], INSTALL_FAILED)
    run([*pip, *project], INSTALL_FAILED)


def find_pip(base_python: str) -> list[str]:
    """The beginning of a command line that is pip at work in the new environment."""
    if succeeds([str(VENV_PYTHON), "-m", "ensurepip"]):
        return [str(VENV_PYTHON), "-m", "pip"]
    for pip in ([base_python, "-m", "pip"], ["pip3"], ["pip"]):
        on_environment = [*pip, "--python", str(VENV_PYTHON)]
        if shutil.which(pip[0]) and succeeds([*on_environment, "--version"]):
            return on_environment
    for wheels in (SYSTEM_WHEELS, TOOLS / "distribution" / SYSTEM_WHEELS.relative_to("/")):
        found = sorted(wheels.glob("pip-*.whl"))
        if found:
            break
    else:
        found = [fetch_distribution_pip()]
    provide_certificates()
    return [str(VENV_PYTHON), str(found[-1] / "pip")]


def fetch_distribution_pip() -> Path:
    """Unpack the distribution's own pip into ``.tools``, and the certificates it relies on where the system has none."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SetupError(NO_INSTALLER)
    say("fetching the distribution's pip through apt, into .tools")
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
    packages = ["python3-pip-whl"] if SYSTEM_CERTIFICATES.exists() else ["python3-pip-whl", "ca-certificates"]
    if not succeeds([*apt, "download", *packages], cwd=work / "packages"):
        advice = "the lines above say why; or as root: apt-get install python3-venv"
        run([*apt, *own_lists, "update"], "apt could not read its package lists: {}".format(advice))
        run(
            [*apt, *own_lists, "download", *packages],
            "apt could not fetch {}: {}".format(" and ".join(packages), advice),
            cwd=work / "packages",
        )
    target = TOOLS / "distribution"
    for package in (work / "packages").glob("*.deb"):
        run(["dpkg-deb", "--extract", str(package), str(target)], "{} does not unpack".format(package.name))
    shutil.rmtree(str(work))
    wheels = sorted((target / SYSTEM_WHEELS.relative_to("/")).glob("pip-*.whl"))
    if not wheels:
        raise SetupError(NO_INSTALLER)
    return wheels[-1]


def provide_certificates() -> None:
    """Point pip at fetched certificates where the system has none: the distribution's pip brings none of its own.

    They are gathered as the distribution would gather them, local ones included. REQUESTS_CA_BUNDLE ranks below whatever pip
    itself is configured with, so it overrides nobody.
    """
    fetched = TOOLS / "distribution" / "usr" / "share" / "ca-certificates"
    if SYSTEM_CERTIFICATES.exists() or not fetched.exists():
        return
    certificates = sorted(fetched.rglob("*.crt")) + sorted(LOCAL_CERTIFICATES.rglob("*.crt"))
    bundle = TOOLS / "ca-certificates.crt"
    bundle.write_text("\n".join(path.read_text(encoding="ascii", errors="replace") for path in certificates))
    os.environ.setdefault("REQUESTS_CA_BUNDLE", str(bundle))


def run(command: list[str], advice: str, cwd: Path = ROOT) -> None:
    """Run a command that has to succeed."""
    if not succeeds(command, quiet=False, cwd=cwd):
        raise SetupError(advice)


def succeeds(command: list[str], quiet: bool = True, cwd: Path = ROOT) -> bool:
    """Whether a command runs and ends well."""
    output = subprocess.DEVNULL if quiet else None
    try:
        return subprocess.run(command, cwd=str(cwd), stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
