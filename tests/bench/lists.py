"""The floor of a restart: a process that starts, lists what a controller lists, keeps none of it, and says so.

``python -m tests.bench.lists KUBECONFIG GROUP/VERSION/PLURAL/KIND...``; the group is empty for the core.
"""

from __future__ import annotations

import asyncio
import sys

from meshfed.kube.client import Client
from meshfed.kube.kubeconfig import load_kubeconfig
from meshfed.kube.resources import Resource


async def lists(kubeconfig: str, resources: list[Resource]) -> None:
    """List each resource, page by page and all at the same time."""

    async def every(client: Client, resource: Resource) -> None:
        async for _ in client.pages(resource):
            pass

    async with Client(load_kubeconfig(kubeconfig, None, {})) as client, asyncio.TaskGroup() as tasks:
        for resource in resources:
            tasks.create_task(every(client, resource))


if __name__ == "__main__":
    named = [word.split("/") for word in sys.argv[2:]]
    resources = [Resource(group, version, plural, kind) for group, version, plural, kind in named]
    asyncio.run(lists(sys.argv[1], resources))
    print("listed", flush=True)
