"""The one node of a mesh: it runs the Pods that the API server holds, and ends those that it holds no more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp

from meshfed_sandbox.apps import WITH_CURL, Ran, curl, image_name
from meshfed_sandbox.dataplane import workloads
from meshfed_sandbox.dataplane.network import inside
from meshfed_sandbox.dataplane.pods import Pod, Surroundings
from meshfed_sandbox.dataplane.watch import Watch

JSONObject = dict[str, Any]

_log = logging.getLogger(__name__)
_PATIENCE: Final = aiohttp.ClientTimeout(total=5)
"""For what a Pod is asked over HTTP."""
_TOLD_SECONDS: Final = 10.0
"""Seconds within which all proxies know that a Pod is out of the endpoints, also on a machine that is busy."""
_PAUSE: Final = 0.05


class Node:
    """Runs the Pods of one mesh."""

    def __init__(self, watch: Watch, around: Surroundings) -> None:
        self._watch = watch
        self._around = around
        self._pods: dict[str, Pod] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        watch.subscribe(self._notice)

    def _notice(self, kind: str) -> None:
        if kind in {"Pod", "Namespace"}:
            self._changed.set()

    @property
    def pods(self) -> Mapping[str, Pod]:
        """The Pods that run, by their uid."""
        return self._pods

    def pod(self, namespace: str, of: str) -> Pod:
        """A Pod, ready ones first: of that name, or of the workload of that name (its label ``app``, or a Deployment).

        Raises:
            LookupError: there is none; the message says which there are.
        """
        here = [pod for pod in self._pods.values() if pod.namespace == namespace]
        found = [pod for pod in here if of in _names(pod)]
        if not found:
            have = ", ".join(sorted(pod.name for pod in here)) or "none"
            raise LookupError(f"mesh {self._around.mesh} has no Pod {of!r} in namespace {namespace}; it has: {have}")
        return max(found, key=lambda pod: pod.ready)

    def logs(self, namespace: str, pod: str, container: str) -> Sequence[Path]:
        """The files that a container writes, the liveliest last; ``LookupError`` where it does not run here."""
        return self._running(namespace, pod).logs(container)

    async def execute(self, namespace: str, pod: str, container: str, words: Sequence[str]) -> Ran:
        """What a command says in a container: a curl, in those whose image has one.

        Raises:
            LookupError: the container does not run, or has no such program.
        """
        running = self._running(namespace, pod)
        if why := running.waiting(container):
            raise LookupError(f"container {container} of pod {pod} does not run: {why}")
        image = next(one["image"] for one in running.manifest["spec"]["containers"] if one["name"] == container)
        program, *arguments = words or ("",)
        if program != "curl" or image_name(image) not in WITH_CURL:
            raise LookupError(
                f"exec: {program!r} is not in container {container}: nothing but curl can be run here, "
                f"in the images {', '.join(sorted(WITH_CURL))}"
            )
        if running.place is None:
            raise LookupError(f"pod {pod} has no address yet")
        with inside(running.place):
            return await asyncio.create_task(curl(arguments))

    async def fetch(self, namespace: str, pod: str, port: int, path: str) -> tuple[int, str, bytes]:
        """Status, Content-Type and body of what a Pod's application answers to GET.

        Raises:
            LookupError: nothing answers there.
        """
        place = self._running(namespace, pod).place
        if place is None:
            raise LookupError(f"pod {pod} has no address yet")
        url = f"http://{place.application}:{port}{path}"
        try:
            async with aiohttp.ClientSession(timeout=_PATIENCE) as session, session.get(url) as answer:
                return answer.status, answer.headers.get("Content-Type", ""), await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise LookupError(f"{place.application}:{port}: {error}") from error

    def _running(self, namespace: str, name: str) -> Pod:
        found = next((pod for pod in self._pods.values() if (pod.namespace, pod.name) == (namespace, name)), None)
        if found is None:
            raise LookupError(f"pod {name} does not run yet")
        return found

    async def run(self) -> None:
        """Run Pods until cancelled."""
        await self._watch.synced()
        self._changed.set()
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                self._look()
        finally:
            await _cancelled(*self._tasks.values(), *self._ending)

    def _look(self) -> None:
        existing = {pod["metadata"]["uid"]: pod for pod in self._watch.all("Pod")}
        for uid in self._pods.keys() - existing.keys():
            ending = asyncio.create_task(self._end(self._pods.pop(uid), self._tasks.pop(uid)))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        for uid, manifest in existing.items():
            namespace = self._watch.get("Namespace", "", manifest["metadata"]["namespace"])
            if uid not in self._pods and namespace is not None:
                pod = self._pods[uid] = Pod(manifest, workloads.proxy_kind(manifest, namespace), self._around)
                self._tasks[uid] = asyncio.create_task(self._run(pod), name=f"Pod {pod.namespace}/{pod.name}")

    async def _run(self, pod: Pod) -> None:
        try:
            await pod.run()
        except Exception:
            _log.exception("Pod %s/%s ended by a fault of the sandbox", pod.namespace, pod.name)
            raise

    def _is_endpoint(self, pod: Pod) -> bool:
        """Whether a Service is said to have it still."""
        address = pod.place.address if pod.place is not None else ""
        return any(
            address in endpoint["addresses"]
            for one in self._watch.all("EndpointSlice")
            if workloads.labels(one).get(workloads.MANAGED_BY) == workloads.MANAGER
            for endpoint in one.get("endpoints") or ()
        )

    async def _end(self, pod: Pod, task: asyncio.Task[None]) -> None:
        """End a Pod that is out of the endpoints, once nobody sends it anything any more."""
        try:
            await pod.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TOLD_SECONDS):
                    while self._is_endpoint(pod):  # noqa: ASYNC110 - the watch tells of kinds, and not of what was heard
                        await asyncio.sleep(_PAUSE)
                    await self._around.control_plane.settled()
            await asyncio.sleep(self._around.drain_seconds)
        finally:
            await _cancelled(task)


def _names(pod: Pod) -> Iterator[str]:
    """What a Pod is called by: its name, its labels ``app`` and ``app.kubernetes.io/name``, its owner's name."""
    labels = workloads.labels(pod.manifest)
    yield pod.name
    yield labels.get("app", "")
    yield labels.get("app.kubernetes.io/name", "")
    for owner in pod.manifest["metadata"].get("ownerReferences") or ():
        yield owner["name"]


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
