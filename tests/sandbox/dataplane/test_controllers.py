"""Deployments and Services of an API server, brought to Pods and endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshfed.kube import Client, Resource, load_kubeconfig
from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.dataplane.controllers import Controllers
from meshfed_sandbox.dataplane.translate import KINDS
from meshfed_sandbox.dataplane.translate.reading import WITHOUT_EFFECT
from meshfed_sandbox.dataplane.values import MeshSettings
from meshfed_sandbox.dataplane.watch import CONFIG_MAP, DEPLOYMENT, POD, SERVICE, Watch
from tests.waiting import eventually, meanwhile

JSONObject = dict[str, Any]

SETTINGS = MeshSettings(name="east", network="east-network")
NAMESPACE = Resource("", "v1", "namespaces", "Namespace", namespaced=False)


@pytest.fixture
async def client(api_server: APIServer, tmp_path: Path) -> AsyncIterator[Client]:
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(api_server.kubeconfig()))
    async with Client(load_kubeconfig(str(path), context=None, environ={})) as client:
        await client.create(NAMESPACE, {"metadata": {"name": "bookinfo"}})
        yield client


@pytest.fixture
async def watch(client: Client) -> AsyncIterator[Watch]:
    watch = Watch(client)
    async with meanwhile(watch.run(), Controllers(client, watch, SETTINGS, roots="").run()):
        await watch.synced()
        yield watch


def deployment(image: str, replicas: int = 2) -> JSONObject:
    labels = {"app": "ratings"}
    containers = [{"name": "ratings", "image": image, "ports": [{"containerPort": 9080}]}]
    return {
        "metadata": {"name": "ratings-v1", "namespace": "bookinfo"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }


SERVICE_OF_IT = {
    "metadata": {"name": "ratings", "namespace": "bookinfo"},
    "spec": {"type": "LoadBalancer", "selector": {"app": "ratings"}, "ports": [{"name": "http", "port": 9080}]},
}


async def make_ready(client: Client, watch: Watch) -> None:
    """What a kubelet would do."""
    for number, pod in enumerate(watch.all("Pod")):
        status = {"podIP": f"127.7.0.{10 + number}", "conditions": [{"type": "Ready", "status": "True"}]}
        await client.patch_status(POD, pod["metadata"]["name"], status, namespace="bookinfo")


def test_everything_is_watched_that_proxies_are_told_of(watch: Watch) -> None:
    assert [kind for kind in sorted(KINDS) if not watch.knows(kind)] == []


def test_what_no_proxy_is_told_of_is_watched_where_traffic_would_depend_on_it(watch: Watch) -> None:
    refused = ("VirtualService", "Sidecar", "RequestAuthentication", "WasmPlugin", "TrafficExtension", "HTTPRoute")
    assert [kind for kind in (*refused, *WITHOUT_EFFECT) if not watch.knows(kind)] == []


async def test_the_config_maps_of_istiod(client: Client, watch: Watch) -> None:
    await client.create(NAMESPACE, {"metadata": {"name": "istio-system"}})

    async def found() -> set[tuple[str, str]]:
        return {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in await client.list(CONFIG_MAP)}

    roots = {("bookinfo", "istio-ca-root-cert"), ("istio-system", "istio-ca-root-cert")}

    async def all_there() -> bool:
        return await found() >= roots | {("istio-system", "istio")}

    await eventually(all_there)
    assert ("bookinfo", "istio") not in await found()
    config = await client.get(CONFIG_MAP, "istio", namespace="istio-system")
    assert yaml.safe_load(config["data"]["mesh"]) == SETTINGS.mesh_config


async def test_from_a_deployment_to_endpoints_and_back(client: Client, watch: Watch) -> None:
    await client.create(DEPLOYMENT, deployment("ratings:1"))
    await client.create(SERVICE, SERVICE_OF_IT)
    await eventually(lambda: len(watch.all("Pod")) == 2)
    await make_ready(client, watch)

    def endpoints() -> list[str]:
        return [one["addresses"][0] for made in watch.all("EndpointSlice") for one in made["endpoints"]]

    await eventually(lambda: endpoints() == ["127.7.0.10", "127.7.0.11"])
    await eventually(lambda: watch.all("Deployment")[0]["status"].get("readyReplicas") == 2)
    ingress = [{"ip": "127.7.0.10"}, {"ip": "127.7.0.11"}]
    await eventually(lambda: watch.all("Service")[0]["status"]["loadBalancer"].get("ingress") == ingress)

    await client.delete(DEPLOYMENT, "ratings-v1", namespace="bookinfo")
    await eventually(lambda: not watch.all("Pod"))
    await eventually(lambda: not watch.all("EndpointSlice"))


async def test_never_too_many_pods_however_late_the_watch(client: Client, watch: Watch, api_server: APIServer) -> None:
    """What was created and not seen yet is not created again."""
    seen: set[str] = set()
    watch.subscribe(
        lambda kind: seen.update(pod["metadata"]["name"] for pod in watch.all("Pod")) if kind == "Pod" else None
    )
    await client.create(DEPLOYMENT, deployment("ratings:1", replicas=5))
    for _ in range(10):
        api_server.drop_watches()
        await client.patch(DEPLOYMENT, "ratings-v1", {"metadata": {"labels": {"turn": str(_)}}}, namespace="bookinfo")
        await asyncio.sleep(0.05)
    await eventually(lambda: len(watch.all("Pod")) == 5)
    await asyncio.sleep(0.3)
    assert len(seen) == 5


async def test_caught_up_is_no_earlier_than_what_was_written(client: Client, watch: Watch) -> None:
    for turn in range(20):
        await client.create(SERVICE, SERVICE_OF_IT)
        await watch.caught_up()
        assert watch.get("Service", "bookinfo", "ratings"), turn
        await client.delete(SERVICE, "ratings", namespace="bookinfo")
        await watch.caught_up()
        assert not watch.get("Service", "bookinfo", "ratings"), turn
