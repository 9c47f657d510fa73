"""OpenShift's router: a real HAProxy that passes TLS through by its server name, as the Routes of a mesh say.

A change is a reload: HAProxy's master starts a worker with the new configuration, which takes over the listening
socket, and lets the old one finish what it is carrying.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import tempfile
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from meshfed_sandbox.dataplane.routes import Backend, Objects, RouteKey, backends, configuration, statuses

JSONObject = dict[str, Any]

_log = logging.getLogger(__name__)

HTTPS_PORT: Final = 443
UNPRIVILEGED_PORT: Final = 8443
_PATIENCE: Final = 30.0
_POLL: Final = 0.02
_SAID: Final = 2000
_ELSEWHERE: Final = ("/usr/sbin/haproxy", "/usr/local/sbin/haproxy")  # where a user's PATH may not lead


class RouterError(Exception):
    """The router does not do what it is to do.

    RouterError
    ├── RouterUnavailable   there is no HAProxy on this machine
    └── RouterFailed        HAProxy ended, or does not take what it is given
    """


class RouterUnavailable(RouterError):
    """There is no HAProxy here; the message says how to get one."""


class RouterFailed(RouterError):
    """HAProxy ended by itself or takes no configuration; the message holds what it said."""


def haproxy_path() -> str:
    """The HAProxy to run.

    Raises:
        RouterUnavailable: there is none.
    """
    found = shutil.which("haproxy") or next((path for path in _ELSEWHERE if os.access(path, os.X_OK)), None)
    if found is None:
        raise RouterUnavailable(
            "no haproxy here, which OpenShift's router is made of: install it (on Debian and Ubuntu, as root: "
            "apt-get install haproxy), or use meshes whose gateways are reached directly"
        )
    return found


def https_port(address: str) -> int:
    """443 where this process may listen on it, else 8443."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, HTTPS_PORT))
        except OSError:
            return UNPRIVILEGED_PORT
    return HTTPS_PORT


class Router:
    """One mesh's router, on ``address`` and ``port``; an async context manager, listening from the start.

    ``canonical`` is what it calls itself in the status of the Routes that it admits.

    Raises:
        RouterUnavailable: on entering, there is no HAProxy.
        RouterFailed: on entering, it cannot listen.
    """

    def __init__(self, address: str, port: int, *, canonical: str = "router-default.apps.cluster.local") -> None:
        self.address = address
        self.port = port
        self._canonical = canonical
        self._exit = AsyncExitStack()
        self._backends: list[Backend] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._folder = Path()
        self._reloads = 0
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            program = haproxy_path()
            # A folder of its own, since a socket's path has to be short, and nobody else is to talk to the master.
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="router-")))
            self._write([])
            await self._check(program)
            with (self._folder / "log").open("wb") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *(
                        program,
                        "-W",
                        "-db",
                        "-S",
                        str(self._folder / "master"),
                        "-f",
                        str(self._folder / "haproxy.cfg"),
                    ),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            stack.push_async_callback(self._stop, self._process)
            await self._wait_for_reloads(0)
            self._backends = []
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    async def update(self, objects: Objects) -> dict[RouteKey, JSONObject]:
        """Serve what the Routes, Services and EndpointSlices say, from the return of this call on.

        Returns the merge patches for the status subresource of those Routes whose status is another now.

        Raises:
            RouterFailed: HAProxy ended, or refuses its configuration, and goes on with the last one.
        """
        async with self._lock:
            self._running()
            wanted = backends(objects)
            if wanted != self._backends:
                await self._reload(wanted)
                self._backends = wanted
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return statuses(objects.get("Route", ()), canonical=self._canonical, now=now)

    async def _reload(self, wanted: list[Backend]) -> None:
        process = self._running()
        self._write(wanted)
        await self._check(haproxy_path())
        self._reloads += 1
        process.send_signal(signal.SIGUSR2)
        await self._wait_for_reloads(self._reloads)
        _log.info("the router serves %d routes", len(wanted), extra={"address": f"{self.address}:{self.port}"})

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "a router is entered before it is updated"  # noqa: S101 - a caller's mistake
        if self._process.returncode is not None:
            said = (self._folder / "log").read_text(errors="replace")[-_SAID:]
            raise RouterFailed(f"haproxy on {self.address}:{self.port} ended: {said.strip() or 'it did not say why'}")
        return self._process

    def _write(self, wanted: list[Backend]) -> None:
        """The files for the next reload; nothing reads them before."""
        hosts = self._folder / "hosts.map"
        text, names = configuration(wanted, address=self.address, port=self.port, hosts=str(hosts))
        hosts.write_text(names)
        (self._folder / "haproxy.cfg").write_text(text)

    async def _check(self, program: str) -> None:
        """Have HAProxy read the files without acting on them: a reload that fails would be hard to tell from one that
        takes its time.
        """
        checking = await asyncio.create_subprocess_exec(
            *(program, "-c", "-q", "-f", str(self._folder / "haproxy.cfg")),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await checking.communicate()
        if checking.returncode != 0:
            text = said.decode(errors="replace")[-_SAID:].strip()
            raise RouterFailed(f"haproxy refuses the configuration for {self.address}:{self.port}: {text}")

    async def _wait_for_reloads(self, count: int) -> None:
        """Until the master says that it has reloaded ``count`` times and that its newest worker is at work."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    self._running()
                    if await self._seen() == count:
                        return
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise RouterFailed(
                f"haproxy on {self.address}:{self.port} did not take its configuration within {_PATIENCE:g} s"
            ) from None

    async def _seen(self) -> int | None:
        """How often the master has reloaded, as it tells; ``None`` while it has no worker, or is busy reloading."""
        with suppress(OSError, ValueError, IndexError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_unix_connection(str(self._folder / "master"))
            try:
                writer.write(b"show proc\n")
                writer.write_eof()  # else the master would wait for more to do
                lines = [line.split() for line in (await reader.read()).decode().splitlines()]
            finally:
                writer.close()
            rows = [line for line in lines if len(line) > 2 and line[0].isdecimal()]
            masters = [int(row[2]) for row in rows if row[1] == "master"]
            if any(row[1] == "worker" and row[2] == "0" for row in rows):
                return masters[0]
        return None

    @staticmethod
    async def _stop(process: asyncio.subprocess.Process) -> None:
        """End the master, which ends its workers, old ones too."""
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _PATIENCE)
            except TimeoutError:
                process.kill()
                await process.wait()
