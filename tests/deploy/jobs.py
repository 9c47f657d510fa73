"""Hooks: what Helm waits for is run meanwhile, as a kubelet and the controller of Jobs would."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import helm

from meshfed.kube import Manifest
from tests.builders import RESOURCES, SYSTEM
from tests.deploy.cluster import Cluster
from tests.waiting import PATIENCE

NOW = "2026-01-31T03:12:45Z"


async def nothing() -> None:
    """What is done where nothing is to be."""


async def helm_with_jobs(
    asked: helm.Helm,
    found: Cluster,
    verb: str,
    name: str,
    values: Mapping[str, Any],
    *,
    on_job: Callable[[], None] = lambda: None,
    before_done: Callable[[], Awaitable[None]] = nothing,
    **more: Any,
) -> list[str]:
    """What Helm does, and the logs of the Jobs that it made; ``HelmError`` as Helm raises it, with the logs as notes.

    A Job that fails is not tried again, as if it had been often enough. ``on_job`` is called before each is run,
    ``before_done`` before Helm hears that it has, and goes on.
    """
    namespace = more.get("namespace", SYSTEM)
    working = asyncio.create_task(found.helm(asked, verb, name, values, **more))
    logs: list[str] = []
    done = {job["metadata"]["uid"] for job in found.all("Job")}  # what a hook that failed left, Helm deletes
    async with asyncio.timeout(PATIENCE):
        while not working.done():
            for job in found.all("Job"):
                if job["metadata"]["uid"] not in done:
                    done.add(job["metadata"]["uid"])
                    on_job()
                    logs.append(await _run(found, job, namespace, before_done))
            await asyncio.sleep(0.02)
    try:
        await working
    except helm.HelmError as error:
        error.add_note("\n".join(logs))
        raise
    return logs


async def _run(found: Cluster, job: Manifest, namespace: str, before_done: Callable[[], Awaitable[None]]) -> str:
    pod = await found.run(job["spec"]["template"], namespace=namespace)
    code = await pod.process.wait()
    await before_done()
    types = ("SuccessCriteriaMet", "Complete") if code == 0 else ("FailureTarget", "Failed")
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": NOW} for kind in types]
    done = {"succeeded": 1, "completionTime": NOW} if code == 0 else {"failed": 1}
    status = {"status": {**done, "startTime": NOW, "conditions": conditions}}
    await found.client.patch(
        RESOURCES["Job"], job["metadata"]["name"], status, namespace=namespace, subresource="status"
    )
    return pod.log.read_text()
