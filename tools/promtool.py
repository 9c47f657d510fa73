"""promtool, for the tests of the alerts and the dashboard; nothing else needs it.

It is part of Prometheus, and no package that pip installs. What is on the ``PATH`` is taken; else Debian's or Ubuntu's
package is fetched through apt into ``.tools``, without root, and of its 100 MB promtool is kept.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess

import bootstrap

PLACE = bootstrap.TOOLS / "promtool"
_ADVICE = "install Debian's package `prometheus`, or put promtool on the PATH"


class PromtoolUnavailable(Exception):
    """promtool cannot be had here; the message says why, and what helps."""


def promtool_path() -> str:
    """Return where promtool is, fetched if it has to be.

    Raises:
        PromtoolUnavailable: it cannot be had.
    """
    if found := shutil.which("promtool"):
        return found
    bootstrap.TOOLS.mkdir(exist_ok=True)
    with (bootstrap.TOOLS / "promtool.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        program = PLACE / "usr" / "bin" / "promtool"
        if not program.is_file():
            _fetch()
        if not bootstrap.succeeds([str(program), "--version"]):
            raise PromtoolUnavailable(f"the promtool of the distribution does not run here: {_ADVICE}")
    return str(program)


def _fetch() -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise PromtoolUnavailable(f"there is no promtool here, and no apt-get to fetch it with: {_ADVICE}")
    try:
        bootstrap.fetch_packages(["prometheus"], PLACE, _ADVICE)
    except (bootstrap.SetupError, OSError) as error:
        raise PromtoolUnavailable(f"promtool cannot be fetched: {error}") from error
    (PLACE / "usr" / "bin" / "prometheus").unlink(missing_ok=True)


def ask(*arguments: str) -> tuple[int, str]:
    """Run promtool; returns its exit code, and what it said."""
    done = subprocess.run([promtool_path(), *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr
