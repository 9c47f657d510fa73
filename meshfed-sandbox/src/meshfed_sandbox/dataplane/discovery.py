"""What proxies are told reaches them by xDS over REST, each answer held until there is news.

Not by files: an Envoy takes an inotify instance for each file it follows, of which a user has 128 on most machines, and
a mesh of this sandbox would need more. Not by gRPC: it takes resources as protocol buffers alone, and the classes for
Envoy's are no package that lives beside another.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from weakref import WeakSet

import msgspec
from aiohttp import web

JSONObject = dict[str, Any]

CLUSTER: Final = "xds"
"""The name under which a proxy knows the control plane."""
_HOLD_SECONDS: Final = 300
_AGAIN: Final = (0.01, 5.0)
"""Seconds before what was sent is sent again, the first time and at most: to a new subscription it is news, but for one
that refuses it, it shall not be a storm.
"""
_MAX_REQUEST: Final = 1 << 20


class Key(NamedTuple):
    """What a proxy subscribes to: a kind as its URL names it, and a resource's name, which ``listeners`` have none."""

    kind: str
    name: str = ""


class _Node(msgspec.Struct):
    id: str


class _Request(msgspec.Struct):
    node: _Node
    version_info: str = ""
    resource_names: list[str] = []


class Feed:
    """What one proxy is told now."""

    def __init__(self) -> None:
        self.versions: dict[Key, str] = {}
        self._answers: dict[Key, bytes] = {}
        self._sent: Counter[tuple[Key, str]] = Counter()
        self._refused: set[str] = set()
        self._changed = asyncio.Event()
        self._closed = False

    def close(self) -> None:
        """Nobody has to wait for news any more: there are none."""
        self._closed = True
        self._changed.set()

    def set(self, key: Key, resources: Sequence[JSONObject]) -> None:
        """``resources`` are what is told under ``key`` from now on."""
        encoded = msgspec.json.encode(resources)
        version = hashlib.sha256(encoded).hexdigest()[:16]
        self._refused.discard(version)
        if self.versions.get(key) != version:
            self.versions[key] = version
            self._answers[key] = msgspec.json.encode({"version_info": version, "resources": msgspec.Raw(encoded)})
            self._sent.clear()
            self._changed.set()
            self._changed = asyncio.Event()

    def forget(self, key: Key) -> None:
        """Nothing is told under ``key`` any more."""
        del self.versions[key], self._answers[key]

    def refuse(self, version: str) -> None:
        """``version`` was refused: it is not sent again, and nobody is to wait for it."""
        self._refused.add(version)
        for key in [key for key, known in self.versions.items() if known == version]:
            self.forget(key)

    async def answer(self, key: Key, version: str) -> bytes | None:
        """What is told under ``key``, once it is not ``version`` any more; ``None`` where it stays that for long."""
        deadline = asyncio.get_running_loop().time() + _HOLD_SECONDS
        while not self._closed and (left := deadline - asyncio.get_running_loop().time()) > 0:
            changed, current = self._changed, self.versions.get(key)
            if current is not None and current != version:
                again = self._sent[key, current]
                self._sent[key, current] += 1
                if again:
                    await asyncio.sleep(min(_AGAIN[0] * 2 ** min(again, 20), _AGAIN[1]))
                if key in self._answers:
                    return self._answers[key]
                continue
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                break
        return None


class DiscoveryServer:
    """Answers the proxies of one mesh, on a Unix socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._feeds: dict[str, Feed] = {}
        self._all: WeakSet[Feed] = WeakSet()

    @contextmanager
    def feeding(self, node: str, feed: Feed) -> Iterator[None]:
        """Tell the proxy that calls itself ``node`` what ``feed`` has, while the context lasts."""
        self._feeds[node] = feed
        self._all.add(feed)
        try:
            yield
        finally:
            if self._feeds.get(node) is feed:
                del self._feeds[node]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer while the context lasts."""
        app = web.Application(client_max_size=_MAX_REQUEST)
        app.router.add_post("/v3/discovery:{kind}", self._fetch)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.UnixSite(runner, str(self._socket)).start()
            yield
        finally:
            # A handler that is still at work when its server ends is cancelled, which aiohttp may be loud about.
            for feed in self._all:
                feed.close()
            await runner.cleanup()

    async def _fetch(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=_Request)
        feed = self._feeds.get(asked.node.id)
        if feed is None:
            raise web.HTTPNotFound(text=f"no proxy {asked.node.id} is known")
        name = asked.resource_names[0] if asked.resource_names else ""
        answer = await feed.answer(Key(request.match_info["kind"], name), asked.version_info)
        if answer is None:
            return web.Response(status=304)
        return web.Response(body=answer, content_type="application/json")

    def bootstrap(self, made: JSONObject) -> JSONObject:
        """A bootstrap of files, made one of this server."""
        address = {"pipe": {"path": str(self._socket)}}
        cluster = {
            "name": CLUSTER,
            "connect_timeout": "5s",
            "load_assignment": {
                "cluster_name": CLUSTER,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
        }
        static = made.get("static_resources") or {}
        static = {**static, "clusters": [*static.get("clusters", ()), cluster]}
        converted: JSONObject = over_rest({**made, "static_resources": static})
        return converted


def over_rest(config: Any) -> Any:
    """The same configuration with every source that is a file replaced by this server."""
    if isinstance(config, Mapping):
        return {
            **{key: over_rest(value) for key, value in config.items() if key != "path_config_source"},
            **({"api_config_source": _SOURCE} if "path_config_source" in config else {}),
        }
    if isinstance(config, Sequence) and not isinstance(config, str):
        return [over_rest(one) for one in config]
    return config


_SOURCE: Final[JSONObject] = {
    "api_type": "REST",
    "transport_api_version": "V3",
    "cluster_names": [CLUSTER],
    "refresh_delay": "0.010s",
    "request_timeout": f"{2 * _HOLD_SECONDS}s",
}
