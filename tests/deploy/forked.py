"""``meshfed`` in processes of its own that do not begin with what every one would import: they are forked from one.

Starting Python and importing a controller takes a second of processor time, which the tests here would spend a hundred
times. What is run is the same: its command line, its environment, its exit code, signals.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest import mock

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [__name__, "meshfed.cli.controller", "meshfed.cli.uninstall", "meshfed.cli.crds", "meshfed.cli.fds"]
)


def _run(arguments: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    """What the process does."""
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = ["meshfed", *arguments]
    from meshfed.cli import main

    main()


class Forked:
    """A process: as much of what asyncio makes of one as is used here."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        log.write_bytes(b"")
        self._process = _context.Process(target=_run, args=(arguments, dict(environment), str(log)))
        # Else each would run pytest's own main module first.
        with mock.patch.dict(sys.modules, __main__=types.ModuleType("__main__")):
            self._process.start()

    @property
    def returncode(self) -> int | None:
        """As of the process: a signal is a negative number, and nothing is one that runs."""
        return self._process.exitcode

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> int:
        """Wait until it ends."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode
