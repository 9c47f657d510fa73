"""Child processes that do not outlive us, whatever ends us."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_GRACE: Final = 10.0


def _die_with_parent() -> None:
    """Between fork and exec: have the kernel kill this process when its parent is gone, however that came about."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_LIBC: Final = ctypes.CDLL(None)


async def spawn(command: list[str], log: Path, environ: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
    """Start ``command``, with what it says appended to ``log``."""
    with log.open("ab") as out:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environ,
            preexec_fn=_die_with_parent,
        )


async def end(process: asyncio.subprocess.Process, how: signal.Signals = signal.SIGTERM) -> None:
    """End a process; one that takes too long over it is killed."""
    if process.returncode is not None:
        return
    send(process, how)
    try:
        async with asyncio.timeout(_GRACE):
            await process.wait()
    except TimeoutError:
        send(process, signal.SIGKILL)
        await process.wait()


def send(process: asyncio.subprocess.Process, how: signal.Signals) -> None:
    """Signal a process, if it still runs.

    Not by its own ``send_signal``, which looks first whether it has ended, and so takes its exit code from asyncio.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, how)


def tail(log: Path, lines: int = 10) -> str:
    """The last lines of a log."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 16384))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
