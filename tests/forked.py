"""``python -m meshfed ...`` without the second of processor time in which a fresh Python imports what each needs.

Within ``forked()`` such a command, however it is started, is forked from a process that has imported all of that and
done nothing else. What is run is the same: its arguments, environment, folder, standard streams and session, what is to
be done before it runs; it is a child of this process, with an exit code, and has nothing else open. What the
interpreter takes from the environment for itself, such as ``PYTHONPATH`` and the locale, is as here.

Where the start itself is what a test is about, it starts a process outside of ``forked()``. Where a test cannot wait
for as long as something is meant to take, it gives a constant of ours another value.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import os
import pickle
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from meshfed.api.crds import all_crds

_IMPORTED: Final = (
    *(f"meshfed.cli.{name}" for name in ("controller", "plan", "fds", "crds", "manifests", "uninstall", "version")),
    "meshfed.controller.migration.removal",
    "meshfed_sandbox.dataplane.network",
    "meshfed_sandbox.dataplane.processes",
    "rich.markdown",  # what --help is printed with
)
_OURS: Final = {"meshfed", "meshfed_sandbox"}
_LONGEST: Final = 200_000
_PR_SET_CHILD_SUBREAPER: Final = 36
_LIBC: Final = ctypes.CDLL(None)
_one_at_a_time: Final = threading.Lock()


class _Start(msgspec.Struct, frozen=True):
    """What is to be run, but for its standard streams."""

    module: str
    arguments: Sequence[str]
    environment: dict[str, str]
    directory: str
    new_session: bool
    before: Callable[[], object] | None
    constants: dict[str, object]


_really_fork_exec: Final[Any] = subprocess._fork_exec  # type: ignore[attr-defined] # the one place that all pass by
_within: Final[list[dict[str, object]]] = []


@contextlib.contextmanager
def forked(constants: Mapping[str, object] | None = None) -> Iterator[None]:
    """Fork every ``python -m meshfed ...`` that is started within, by ``subprocess`` or ``asyncio``.

    ``constants``, by module and name, have these values there. Several may overlap, as those of tasks do.
    """
    within = dict(constants or {})
    _within.append(within)
    subprocess._fork_exec = _fork_exec  # type: ignore[attr-defined] # as above
    try:
        yield
    finally:
        _within[:] = [one for one in _within if one is not within]
        if not _within:
            subprocess._fork_exec = _really_fork_exec  # type: ignore[attr-defined] # as above


def _fork_exec(*asked: Any) -> int:
    """Stand in for the function by which Python starts every process; returns the process's id."""
    arguments, _, close, _, directory, environment, read, _, _, write, _, complain, *_ = asked
    new_session, *owner, before = asked[15:22]
    words = [os.fsdecode(word) for word in arguments]
    ours = words[:2] == [sys.executable, "-m"] and words[2].partition(".")[0] in _OURS
    if not ours or not close or owner != [-1, None, None, None, -1]:
        return int(_really_fork_exec(*asked))
    start = _Start(
        module=words[2],
        arguments=words[3:],
        environment=_decoded(environment) if environment is not None else dict(os.environ),
        directory=str(Path(os.fsdecode(directory or ".")).absolute()),
        new_session=bool(new_session),
        before=before,
        constants={name: value for constants in _within for name, value in constants.items()},
    )
    return _origin().start(start, [own if given == -1 else given for own, given in enumerate((read, write, complain))])


def _decoded(environment: Sequence[bytes]) -> dict[str, str]:
    pairs = (os.fsdecode(variable).partition("=") for variable in environment)
    return {name: value for name, _, value in pairs}


class _Origin:
    """The process that others are forked from, as its owner sees it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._end)

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()

    def start(self, start: _Start, streams: Sequence[int]) -> int:
        """Start a process; its id."""
        told, tell = os.pipe()
        with _one_at_a_time, os.fdopen(told, "rb") as answer:
            # Whose parent is gone, as that process's is at once, belongs to the next ancestor that says so.
            _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)
            try:
                with os.fdopen(tell, "wb"):
                    socket.send_fds(self._socket, [pickle.dumps(start)], [*streams, tell])
                pid = answer.read()
            finally:
                _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 0)
        assert pid, f"{start} ended before it began"
        return int(pid)


@functools.cache
def _origin() -> _Origin:
    return _Origin()


# --- in the process that others are forked from, and in these


def _next_to_run(asking: socket.socket) -> _Start | None:
    """Fork whenever that is asked for; what to run, in a process that is to run it, and ``None`` at the end."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(asking, _LONGEST, 4)
        if not message:
            return None
        between = os.fork()
        if between:
            os.waitpid(between, 0)
            for descriptor in descriptors:
                os.close(descriptor)
            continue
        between = os.getpid()
        if os.fork():
            os._exit(0)
        while os.getppid() == between:
            time.sleep(0.0005)
        asking.close()
        start: _Start = pickle.loads(message)
        _become(start, descriptors)
        return start


def _become(start: _Start, descriptors: Sequence[int]) -> None:
    """Have what a process has when ``start`` begins to run in it; then say so."""
    *streams, tell = descriptors
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    with os.fdopen(tell, "wb") as answer:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if start.new_session:
            os.setsid()
        os.chdir(start.directory)
        if start.before is not None:
            start.before()
        answer.write(str(os.getpid()).encode())
    for name, value in start.constants.items():
        module, _, constant = name.rpartition(".")
        where = importlib.import_module(module)
        assert hasattr(where, constant), f"there is no {name}"
        setattr(where, constant, value)
    os.environ.clear()
    os.environ.update(start.environment)
    sys.argv[1:] = start.arguments
    sys.stdin = os.fdopen(0, "r", encoding=sys.stdin.encoding, errors=sys.stdin.errors, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False)


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who interrupts the tests means them, and these end this process
    for name in _IMPORTED:
        importlib.import_module(name)
    all_crds()  # which are worked out once, and which a controller asks for at once
    gc.collect()
    gc.freeze()
    start = _next_to_run(socket.socket(fileno=int(sys.argv[1])))
    if start is not None:
        runpy.run_module(start.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
