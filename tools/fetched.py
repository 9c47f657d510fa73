"""Libraries that one task alone needs, and so are no dependencies: fetched into ``.tools`` the first time."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import bootstrap


class Unavailable(Exception):
    """A library cannot be fetched; the message is the last of what pip says."""


def fetched(name: str, requirements: str) -> Path:
    """The folder below ``.tools`` that a library is in, with all that ``requirements`` lists and nothing else.

    ``requirements`` is the text of a file for pip, with versions and hashes. Another text is fetched anew.

    Raises:
        Unavailable: it cannot be had.
    """
    bootstrap.TOOLS.mkdir(exist_ok=True)
    place, wanted = bootstrap.TOOLS / name, bootstrap.TOOLS / f"{name}-requirements.txt"
    digest, stamp = hashlib.sha256(requirements.encode()).hexdigest(), place / "complete"
    with (bootstrap.TOOLS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text() == digest:
            return place
        shutil.rmtree(place, ignore_errors=True)
        wanted.write_text(requirements)
        install = ["install", *bootstrap.PIP_OPTIONS, "--no-deps", "--require-hashes", "--only-binary=:all:"]
        command = [*bootstrap.find_pip(sys.executable), *install, f"--target={place}", "-r", str(wanted)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable((done.stderr.strip().splitlines() or ["pip said nothing"])[-1])
        stamp.write_text(digest)
    return place


def main(name: str, requirements: str) -> int:
    """Print the folder of a library, so that a command line can name it in ``PYTHONPATH``; returns the exit code."""
    try:
        print(fetched(name, Path(requirements).read_text(encoding="utf-8")))
    except Unavailable as error:
        print(f"{name}: it cannot be fetched: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
