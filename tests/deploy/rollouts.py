"""What the controller of Deployments does: it starts and ends pods until they are as the Deployment says.

By the defaults of a Deployment's strategy, which for up to three replicas are: one more than there should be, and none
less. Each pod's metrics are followed all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from meshfed.kube import Manifest
from tests.builders import RESOURCES, SYSTEM
from tests.deploy.cluster import Cluster, Pod
from tests.waiting import PATIENCE, eventually

JSONObject = dict[str, Any]


class Sample(msgspec.Struct, frozen=True):
    """What a pod said of itself: whether it leads, and what it has written apart from the Lease."""

    leads: bool
    writes: float


class Replica:
    """A pod, where its metrics are, and what they were."""

    def __init__(self, pod: Pod, template: JSONObject, metrics: int, health: int) -> None:
        self.pod = pod
        self.template = template
        self.metrics = f"http://127.0.0.1:{metrics}/metrics"
        self.health = f"http://127.0.0.1:{health}/readyz"
        self.last = Sample(leads=False, writes=0)


class Rollouts:
    """The pods of one Deployment."""

    def __init__(self, found: Cluster, session: aiohttp.ClientSession) -> None:
        self._found = found
        self._session = session
        self.replicas: list[Replica] = []
        self.faults: list[str] = []
        """Moments at which two led, or one wrote that did not lead."""
        self.longest = 0.0
        """For how many seconds at most nobody led, after the first who did."""

    @property
    def writes(self) -> float:
        """What those that run have written."""
        return sum(one.last.writes for one in self.replicas)

    async def settle(self) -> None:
        """Roll out what the Deployment says now, and wait until one of its pods leads."""
        deployment = await self._found.client.get(RESOURCES["Deployment"], "federation-controller", namespace=SYSTEM)
        wanted, template = deployment["spec"]["replicas"], deployment["spec"]["template"]
        while (old := [one for one in self.replicas if one.template != template]) or len(self.replicas) != wanted:
            fresh = len(self.replicas) - len(old)
            if fresh < wanted and len(self.replicas) <= wanted:
                await self._start(template)
            else:
                # The leader first, since that is the hardest.
                await self._stop(max(old or self.replicas, key=lambda one: one.last.leads))
        await eventually(lambda: any(one.last.leads for one in self.replicas), "nobody leads", within=PATIENCE)

    async def _start(self, template: Manifest) -> None:
        metrics, health = self._found.ports.take(), self._found.ports.take()
        flags = (
            "--discovery-bind-address=127.0.0.1:{port}",
            f"--metrics-bind-address=127.0.0.1:{metrics}",
            f"--health-probe-bind-address=127.0.0.1:{health}",
            "--allow-unauthenticated-peers",
        )
        replica = Replica(await self._found.run(template, *flags), template, metrics, health)
        self.replicas.append(replica)
        async with asyncio.timeout(PATIENCE):
            while await self._get(replica.health) != "ok":
                assert replica.pod.process.returncode is None, replica.pod.log.read_text()[-3000:]
                await asyncio.sleep(0.05)

    async def _stop(self, replica: Replica) -> None:
        code = await replica.pod.stop()
        self.replicas.remove(replica)
        assert code == 0, replica.pod.log.read_text()[-3000:]

    async def _get(self, url: str) -> str | None:
        """What is there; nothing where nobody answers, or answers that it is not ready."""
        with contextlib.suppress(aiohttp.ClientError):
            async with self._session.get(url) as answer:
                return (await answer.text()).strip() if answer.status == 200 else None
        return None

    async def follow(self) -> None:
        """Look at all pods, over and over."""
        clock = asyncio.get_running_loop().time
        led_at = None
        while True:
            replicas = list(self.replicas)
            texts = await asyncio.gather(*(self._get(one.metrics) for one in replicas))
            for one, text in zip(replicas, texts, strict=True):
                now = _sample(text) if text else Sample(leads=False, writes=one.last.writes)
                if now.writes > one.last.writes and not (now.leads or one.last.leads):
                    self.faults.append(f"{one.pod.log.name} wrote without leading")
                one.last = now
            leaders = [one.pod.log.name for one in replicas if one.last.leads]
            if len(leaders) > 1:
                self.faults.append(f"{leaders} lead at once")
            if led_at is not None:
                self.longest = max(self.longest, clock() - led_at)
            led_at = clock() if leaders else led_at
            await asyncio.sleep(0.1)


def _sample(text: str) -> Sample:
    leads, writes = False, 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "meshfed_leader":
                leads = sample.value == 1
            elif sample.name == "meshfed_kube_writes_total" and not sample.labels["resource"].startswith("leases."):
                writes += sample.value
    return Sample(leads=leads, writes=writes)


@contextlib.asynccontextmanager
async def rollouts(found: Cluster) -> AsyncIterator[Rollouts]:
    """The pods of the release's Deployment, followed until the context ends."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        made = Rollouts(found, session)
        following = asyncio.create_task(made.follow())
        try:
            yield made
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
