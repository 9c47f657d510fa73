"""One API server with an istiod beside it, in which nothing runs: Pods and proxies are only said to be there.

So a state takes no longer than istiod needs to hear of it, and objects are as old as a test says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from meshfed.kube import Client, load_kubeconfig
from meshfed_sandbox.apiserver import APIServer, server
from meshfed_sandbox.dataplane.translate import configuration, read_mesh
from meshfed_sandbox.dataplane.translate.reading import KINDS
from meshfed_sandbox.dataplane.values import MeshSettings, ProxyIdentity
from meshfed_sandbox.istio_crds import istio_crds
from tests.builders import RESOURCES, endpoint_slice, service
from tests.istiod.facts import differences, facts
from tests.istiod.istiod import Istiod, crds, istiod
from tests.sandbox.dataplane.cluster_objects import FILES
from tests.waiting import eventually

JSONObject = dict[str, Any]

_OLDEST: Final = "2026-01-01T00:00:00Z"
"""When an object was created of which nobody says it."""
_PATIENCE: Final = 10.0
"""Seconds until istiod has made of a state what it makes of it."""


_NOBODY: Final = ProxyIdentity(
    kind="sidecar", namespace="default", pod="nobody", labels={}, service_account="default", address="10.244.255.1"
)
"""A proxy that is only asked what istiod has heard of."""


class Cluster:
    """The objects of one mesh, and what istiod and the sandbox's control plane make of them."""

    def __init__(self, settings: MeshSettings, client: Client, beside: Istiod, clock: list[str]) -> None:
        self.settings = settings
        self._client = client
        self._istiod = beside
        self._clock = clock
        self._states = 0
        self._there: list[JSONObject] = []

    async def create(self, *objects: JSONObject) -> None:
        """Create objects for good."""
        for one in objects:
            resource, meta = RESOURCES[one["kind"]], one["metadata"]
            self._clock[0] = meta.get("creationTimestamp") or _OLDEST
            await self._client.create(resource, one)
            if "status" in one:
                await self._client.patch_status(resource, meta["name"], one["status"], namespace=meta.get("namespace"))

    async def state(self, *objects: JSONObject) -> None:
        """Have these objects in place of those of the state before, once istiod has heard that those are gone."""
        for one in reversed(self._there):
            meta = one["metadata"]
            await self._client.delete(RESOURCES[one["kind"]], meta["name"], namespace=meta.get("namespace"))
        self._there = []
        await self._mark()
        await self.told(_NOBODY)
        await self._have(objects)
        await self._mark()

    async def _have(self, objects: Iterable[JSONObject]) -> None:
        for one in objects:
            await self.create(one)
            self._there.append(one)

    async def _mark(self) -> None:
        """Have a Service whose endpoint shows whether istiod has heard of what was before."""
        self._states += 1
        name = f"state-{self._states}"
        await self._have([service(name, selector={}), endpoint_slice(f"{name}-s", name, "192.0.2.200")])

    async def told(self, proxy: ProxyIdentity) -> Mapping[str, list[JSONObject]]:
        """What istiod tells a proxy, once it has heard of the state."""
        gateway = proxy.kind == "gateway"
        host = f"state-{self._states}.default.svc.{self.settings.cluster_domain}"
        marked = f"outbound_.9080_._.{host}" if gateway else f"outbound|9080||{host}"

        async def heard() -> Mapping[str, list[JSONObject]] | None:
            found = await self._istiod.tells(proxy)
            # To a gateway it has no endpoint, since that takes no mTLS.
            there = {each["cluster_name"] for each in found["endpoints"] if gateway or each.get("endpoints")}
            return found if marked in there else None

        found: Mapping[str, list[JSONObject]] = await eventually(heard, what=f"istiod has heard of {marked}")
        return found

    async def hold(self, state: str, *proxies: ProxyIdentity) -> None:
        """Fail where the sandbox's control plane would tell one of these proxies anything else than istiod does."""
        kinds = sorted(KINDS & set(RESOURCES))
        lists = await asyncio.gather(*(self._client.list(RESOURCES[kind]) for kind in kinds))
        read = read_mesh(self.settings, dict(zip(kinds, lists, strict=True)))
        for proxy in proxies:
            config = configuration(read, proxy, FILES)
            ours = facts(
                config.clusters, list(config.endpoints.values()), config.listeners, list(config.routes.values())
            )
            found: list[str] = []

            async def equal() -> bool:
                told = await self.told(proxy)  # noqa: B023 - it is awaited before the next one
                theirs = facts(told["clusters"], told["endpoints"], told["listeners"], told["routes"])
                found[:] = differences(ours, theirs)  # noqa: B023
                return not found  # noqa: B023

            try:
                await eventually(equal, within=_PATIENCE)
            except AssertionError:
                raise AssertionError("\n".join([f"{state}: {proxy.kind} {proxy.pod}:", *found])) from None


@asynccontextmanager
async def cluster(settings: MeshSettings, directory: Path) -> AsyncIterator[Cluster]:
    """Run both."""
    clock = [_OLDEST]
    async with AsyncExitStack() as stack:
        patched = stack.enter_context(pytest.MonkeyPatch.context())
        patched.setattr(server, "_now", lambda: datetime.fromisoformat(clock[0]))
        served = await stack.enter_async_context(APIServer(crds=[*istio_crds(), *crds()]))
        kubeconfig = directory / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(served.kubeconfig()))
        client = await stack.enter_async_context(Client(load_kubeconfig(str(kubeconfig), None, {})))
        beside = await stack.enter_async_context(istiod(settings, kubeconfig, directory / "istiod"))
        yield Cluster(settings, client, beside, clock)
