"""One Envoy, told things by files: what it takes, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from meshfed_sandbox.dataplane import processes
from meshfed_sandbox.dataplane.addresses import Addresses
from meshfed_sandbox.dataplane.discovery import DiscoveryServer, Feed, Key
from meshfed_sandbox.dataplane.proxy import Proxy, ProxyEnded, Rejected
from meshfed_sandbox.dataplane.values import ProxyConfig, ProxyIdentity

JSONObject = dict[str, Any]

EXTENSIONS = "type.googleapis.com/envoy.extensions"
PORT = 8080


def bootstrap(proxy: Proxy) -> JSONObject:
    def source(name: str) -> JSONObject:
        return {"path_config_source": {"path": str(proxy.directory / name)}, "resource_api_version": "V3"}

    made = {
        "node": {"id": proxy.identity.pod, "cluster": "tests"},
        "admin": {"address": {"pipe": {"path": proxy.admin}}},
        "dynamic_resources": {"lds_config": source("listeners.json"), "cds_config": source("clusters.json")},
    }
    return DiscoveryServer(proxy.directory / "xds").bootstrap(made)


def cluster(proxy: Proxy, name: str) -> JSONObject:
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": {
                "path_config_source": {"path": f"{proxy.files.endpoints}/{name}.json"},
                "resource_api_version": "V3",
            },
            "service_name": name,
        },
    }


def endpoints(name: str, address: str, port: int) -> JSONObject:
    socket_address = {"address": address, "port_value": port}
    return {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": socket_address}}}]}],
    }


def listener(address: str, name: str, route: JSONObject | None = None) -> JSONObject:
    manager = {
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{EXTENSIONS}.filters.http.router.v3.Router"}}],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/"}}
                        | (route or {"direct_response": {"status": 200, "body": {"inline_string": name}}})
                    ],
                }
            ]
        },
    }
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": "in",
        "address": {"socket_address": {"address": address, "port_value": PORT}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def config(*listeners: JSONObject, clusters: tuple[JSONObject, ...] = (), **endpoint_files: JSONObject) -> ProxyConfig:
    files = {f"{name}.json": made for name, made in endpoint_files.items()}
    return ProxyConfig(listeners=listeners, clusters=clusters, endpoints=files, routes={})


@pytest.fixture
async def proxy(tmp_path: Path, addresses: Addresses) -> AsyncIterator[Proxy]:
    address = addresses.take("tests")
    identity = ProxyIdentity(
        kind="gateway", namespace="istio-system", pod="gateway", labels={}, service_account="default", address=address
    )
    proxy = Proxy(identity, tmp_path / "proxy", tmp_path / "admin", ("127.0.0.1", 53))
    server = DiscoveryServer(proxy.directory / "xds")
    async with server.serving():
        with server.feeding(identity.pod, proxy.feed):
            yield proxy
        await proxy.stop()
    addresses.give_back(address)


async def get(proxy: Proxy) -> tuple[int, str]:
    url = f"http://{proxy.identity.address}:{PORT}/"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_what_it_is_told_is_at_work_when_the_call_returns(proxy: Proxy) -> None:
    address = proxy.identity.address
    await proxy.start(bootstrap(proxy), config(listener(address, "first")))
    assert await get(proxy) == (200, "first")
    for word in ("second", "third", "fourth"):
        assert await proxy.update(config(listener(address, word)))
        assert await get(proxy) == (200, word)
    assert not await proxy.update(config(listener(address, "fourth")))


async def test_a_cluster_is_there_before_and_after_what_uses_it(proxy: Proxy, addresses: Addresses) -> None:
    """Requests all through changes back and forth: not one meets a route to a cluster that is not there."""
    address, app = proxy.identity.address, addresses.take("tests")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\napp")
        await writer.drain()
        writer.close()

    def to(name: str) -> ProxyConfig:
        return config(
            listener(address, name, {"route": {"cluster": name}}),
            clusters=(cluster(proxy, name),),
            **{name: endpoints(name, app, 9080)},
        )

    async with await asyncio.start_server(serve, app, 9080):
        await proxy.start(bootstrap(proxy), to("zero"))
        answers: list[tuple[int, str]] = []
        changing = asyncio.create_task(_change(proxy, [to(name) for name in ("one", "two", "one", "zero")]))
        while not changing.done():
            answers.append(await get(proxy))
        await changing
    assert set(answers) == {(200, "app")}
    assert {key for key in proxy.feed.versions if key.kind == "endpoints"} == {Key("endpoints", "zero")}
    clusters = await proxy.stats("^cluster_manager.active_clusters$")
    assert clusters == {"cluster_manager.active_clusters": "2"}  # zero, and the control plane itself


async def _change(proxy: Proxy, configs: list[ProxyConfig]) -> None:
    for made in configs:
        await proxy.update(made)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("stat_prefix", "", "StatPrefix:\\s+value\\s+length"), ("nonsense", 1, "no\\s+such\\s+field")],
)
async def test_a_refused_update_is_said_and_changes_nothing(proxy: Proxy, field: str, value: Any, words: str) -> None:
    address = proxy.identity.address
    good, bad = listener(address, "good"), listener(address, "bad")
    bad["filter_chains"][0]["filters"][0]["typed_config"][field] = value
    await proxy.start(bootstrap(proxy), config(good))
    with pytest.raises(Rejected, match=f"istio-system/gateway refuses an update(.|\n)*{words}"):
        await proxy.update(config(bad))
    assert await get(proxy) == (200, "good")
    assert await proxy.update(config(listener(address, "better")))
    assert await get(proxy) == (200, "better")


async def test_a_proxy_that_cannot_start_says_why(proxy: Proxy) -> None:
    with pytest.raises(ProxyEnded, match=r"no\s+such\s+field:\s+'nonsense'"):
        await proxy.start(bootstrap(proxy) | {"nonsense": 1}, config())


async def test_one_that_is_being_stopped_has_refused_nothing(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives up what it asks for as it ends, which its statistics call a failure."""
    told = config(listener(proxy.identity.address, "first"))
    await proxy.start(bootstrap(proxy), told)
    stopping, failed, end = asyncio.Event(), asyncio.Event(), processes.end

    async def slowly(process: asyncio.subprocess.Process) -> None:
        stopping.set()
        await failed.wait()
        await end(process)

    monkeypatch.setattr(processes, "end", slowly)
    stopped = asyncio.create_task(proxy.stop())
    await stopping.wait()
    unreadable = config(listener(proxy.identity.address, "second") | {"nonsense": 1})
    with pytest.raises(ProxyEnded):
        await proxy.update(unreadable)
    failed.set()
    await stopped


async def test_it_starts_again_after_a_kill_with_what_it_was_told_last(proxy: Proxy) -> None:
    told = config(listener(proxy.identity.address, "first"))
    await proxy.start(bootstrap(proxy), told)
    proxy.kill()
    assert await proxy.ended() == -9
    await proxy.start(bootstrap(proxy), told)
    assert await get(proxy) == (200, "first")
    assert proxy.pid is not None
    os.kill(proxy.pid, 0)


async def test_a_server_that_ends_lets_nobody_wait(tmp_path: Path) -> None:
    server, feed = DiscoveryServer(tmp_path / "xds"), Feed()
    asked = msgspec.json.encode({"node": {"id": "a"}})
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "xds"))) as session:
        async with server.serving():
            with server.feeding("a", feed):
                waiting = asyncio.create_task(session.post("http://xds/v3/discovery:clusters", data=asked))
                await asyncio.sleep(0.1)
            assert not waiting.done()
        assert (await waiting).status == 304
