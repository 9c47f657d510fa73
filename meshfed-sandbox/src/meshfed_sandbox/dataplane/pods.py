"""The life of one Pod, as a kubelet leads it: an address, its proxy, its containers, its readiness, its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from meshfed.kube import Client, KubeError, NotFound
from meshfed_sandbox.apps import image_name
from meshfed_sandbox.dataplane import workloads
from meshfed_sandbox.dataplane.addresses import Addresses, application_address
from meshfed_sandbox.dataplane.containers import (
    CONTROLLER_IMAGE,
    CannotStart,
    Container,
    ContainerStatus,
    context_of,
    environment,
    expanded,
)
from meshfed_sandbox.dataplane.controllers import now
from meshfed_sandbox.dataplane.istiod import ControlPlane
from meshfed_sandbox.dataplane.network import Place
from meshfed_sandbox.dataplane.proxy import Proxy, ProxyEnded, Rejected
from meshfed_sandbox.dataplane.values import ProxyIdentity
from meshfed_sandbox.dataplane.watch import POD
from meshfed_sandbox.dataplane.workloads import PROXY

JSONObject = dict[str, Any]

_log = logging.getLogger(__name__)
DNS_PORT: Final = 15053
_PROBE_SECONDS: Final = 1.0
_STARTING_PROBE_SECONDS: Final = 0.1
_FAILURES: Final = 3
"""Probes in a row that must fail until a container that was ready is not."""
_RESTART_DELAYS: Final = (0.2, 5.0)
"""Seconds until the first restart of a container, and at most; the delay doubles with each."""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What all Pods of one mesh share."""

    mesh: str
    cluster_domain: str
    client: Client
    control_plane: ControlPlane
    addresses: Addresses
    resolver: tuple[str, int]
    api_server: tuple[str, int]
    kubeconfig: Path
    directory: Path
    drain_seconds: float
    """For how long a Pod that ends goes on serving, for what is on its way, once all proxies know of it."""


class Pod:
    """One Pod while it exists. ``run`` ends when it is cancelled, and everything of the Pod with it."""

    def __init__(self, manifest: JSONObject, kind: str, around: Surroundings) -> None:
        self.manifest = manifest
        self.namespace: str = manifest["metadata"]["namespace"]
        self.name: str = manifest["metadata"]["name"]
        self.kind = kind
        self.place: Place | None = None
        self.proxy: Proxy | None = None
        self._around = around
        self._directory = around.directory / f"{self.namespace}_{self.name}"
        self._containers: dict[str, Container] = {}
        self._statuses: dict[str, ContainerStatus] = {}
        self._reported: JSONObject = {}
        self._since = now()
        self._stale = asyncio.Event()

    async def run(self) -> None:
        """Lead the Pod's life until cancelled."""
        owner = next((one["name"] for one in self.manifest["metadata"].get("ownerReferences") or ()), self.name)
        address = self._around.addresses.take(f"{self.namespace}/{owner}")
        self._directory.mkdir(parents=True, exist_ok=True)
        sidecar = self.kind == "sidecar"
        application = application_address(address) if sidecar else address
        resolver = (address, DNS_PORT) if sidecar else self._around.resolver
        self.place = Place(
            namespace=self.namespace,
            address=address,
            application=application,
            sidecar=sidecar,
            resolver=resolver,
            cluster_domain=self._around.cluster_domain,
            direct=(self._around.api_server,),
            direct_ports=workloads.excluded_outbound_ports(self.manifest),
        )
        try:
            await self._label()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._report())
                if self.kind:
                    group.create_task(self._keep(PROXY, workloads.PROXY_IMAGE, self._run_proxy))
                for container in self.manifest["spec"]["containers"]:
                    if container["name"] != PROXY:
                        group.create_task(self._keep(container["name"], container["image"], self._runner(container)))
        finally:
            self._around.addresses.give_back(address)

    async def _label(self) -> None:
        """Label a Pod that nobody injected, since no Deployment made it, as the webhook would have."""
        if self.kind == "sidecar" and not workloads.TAKES_MTLS.items() <= workloads.labels(self.manifest).items():
            patch = {"metadata": {"labels": workloads.TAKES_MTLS}}
            with contextlib.suppress(NotFound):
                await self._around.client.patch(POD, self.name, patch, namespace=self.namespace)

    def crash(self, container: str = "") -> None:
        """Kill a container (the proxy where none is named and the Pod is a gateway), as a fault would."""
        name = container or (PROXY if self.kind == "gateway" else self.manifest["spec"]["containers"][0]["name"])
        if name == PROXY and self.proxy is not None:
            self.proxy.kill()
        elif name in self._containers:
            self._containers[name].kill()
        else:
            raise LookupError(f"Pod {self.namespace}/{self.name} runs no container {name!r}")

    async def drain(self) -> None:
        """Have its proxy ask whoever is connected to connect elsewhere."""
        if self.proxy is not None:
            await self.proxy.drain()

    @property
    def ready(self) -> bool:
        """Whether all of its containers run and answer."""
        return bool(self._statuses) and all(status.ready for status in self._statuses.values())

    @property
    def pids(self) -> Mapping[str, int]:
        """The processes of containers that have their own, the proxy apart, by the container's name."""
        return {name: pid for name, container in self._containers.items() if (pid := container.pid) is not None}

    @property
    def complaint(self) -> str:
        """Why it is not ready, for people; empty where it is."""
        parts = [
            f"container {one.name} {one.reason or 'is not ready'}: {one.message}".rstrip(": ")
            for one in self._statuses.values()
            if not one.ready
        ]
        return "; ".join(parts) if self._statuses else "not started"

    def logs(self, container: str) -> tuple[Path, ...]:
        """The files that a container writes: of the proxy what it says of itself, and then its access log."""
        names = ("envoy.log", "access.log") if container == PROXY else (f"{container}.log",)
        return tuple(self._directory / name for name in names)

    def waiting(self, container: str) -> str:
        """Why a container does not run, in a word; empty where it does."""
        status = self._statuses.get(container)
        return status.reason if status is not None else "PodInitializing"

    # --- containers

    async def _keep(self, name: str, image: str, run: Callable[[ContainerStatus], Awaitable[str]]) -> None:
        """Run a container over and over; ``run`` returns how a run ended."""
        status = self._statuses[name] = ContainerStatus(name=name, image=image)
        policy = self.manifest["spec"].get("restartPolicy", "Always") if name != PROXY else "Always"
        delay, longest = _RESTART_DELAYS
        while True:
            started = True
            try:
                status.message = await run(status)
                status.reason = "CrashLoopBackOff"
                _log.info("%s/%s: container %s ended: %s", self.namespace, self.name, name, status.message)
                code = self._containers[name].code if name != PROXY else 1
                if policy == "Never" or (policy == "OnFailure" and code == 0):
                    status.code, status.reason, status.ready = code, "Error" if code else "Completed", False
                    self._stale.set()
                    return
            except CannotStart as error:
                status.reason, status.message = error.reason, str(error)
                started = False
            except (ProxyEnded, Rejected) as error:
                status.reason, status.message = "CrashLoopBackOff", str(error)
                self._around.control_plane.complain(self.namespace, self.name, str(error))
            status.ready = False
            self._stale.set()
            await asyncio.sleep(delay)
            delay = min(2 * delay, longest)
            status.restarts += started  # what never ran is not run again

    async def _run_proxy(self, status: ContainerStatus) -> str:
        proxy = self.proxy = self.proxy or Proxy(
            self._identity(), self._directory, self._around.control_plane.admin_socket(), self._around.resolver
        )
        async with self._around.control_plane.serving(proxy):
            self._running(status)
            status.ready = True
            self._stale.set()
            code = await proxy.ended()
            self._around.control_plane.complain(self.namespace, self.name, f"its proxy ended with exit code {code}")
            return f"exit code {code}"

    def _runner(self, spec: JSONObject) -> Callable[[ContainerStatus], Awaitable[str]]:
        async def run(status: ContainerStatus) -> str:
            place = self.place
            assert place is not None  # noqa: S101 - set before any container starts
            container = Container(place, self._directory / f"{spec['name']}.log")
            await self._start(container, spec, place)
            self._containers[spec["name"]] = container
            self._running(status)
            probing = asyncio.create_task(self._probe(spec, place, status))
            try:
                return await container.ended()
            finally:
                probing.cancel()
                await container.stop()

        return run

    async def _start(self, container: Container, spec: JSONObject, place: Place) -> None:
        environ = environment(self.manifest, spec, place.address)
        if image_name(spec["image"]) == CONTROLLER_IMAGE:
            words = expanded([*(spec.get("command") or ()), *(spec.get("args") or ["controller"])], environ)
            await container.start_controller(words, environ, self._around.kubeconfig)
        else:
            context = context_of(self.manifest, spec, self._around.mesh, place.address)
            container.start_application(context, spec["image"])

    def _running(self, status: ContainerStatus) -> None:
        status.reason, status.message, status.since = "", "", now()
        self._stale.set()

    def _identity(self) -> ProxyIdentity:
        place, spec = self.place, self.manifest["spec"]
        assert place is not None  # noqa: S101 - set before any container starts
        environ: dict[str, str] = {}
        for container in spec["containers"]:
            if container["name"] == PROXY:
                environ = environment(self.manifest, container, place.address)
        sidecar = self.kind == "sidecar"
        return ProxyIdentity(
            kind="sidecar" if sidecar else "gateway",
            namespace=self.namespace,
            pod=self.name,
            labels=workloads.labels(self.manifest),
            service_account=spec.get("serviceAccountName") or "default",
            address=place.address,
            application=place.application if sidecar else "",
            ports=tuple(port["containerPort"] for port in workloads.container_ports(self.manifest)) if sidecar else (),
            requested_network=environ.get("ISTIO_META_REQUESTED_NETWORK_VIEW", ""),
            dns_port=DNS_PORT if sidecar else 0,
        )

    # --- readiness

    async def _probe(self, spec: JSONObject, place: Place, status: ContainerStatus) -> None:
        """Keep ``status.ready`` at what the container's readiness probe says, or whether its first port is open."""
        failures = 0
        while True:
            if await _answers(spec, place.application):
                failures, ready = 0, True
            else:
                failures += 1
                ready = status.ready and failures < _FAILURES
            if ready != status.ready:
                status.ready = ready
                self._stale.set()
            await asyncio.sleep(_PROBE_SECONDS if status.ready else _STARTING_PROBE_SECONDS)

    # --- status

    async def _report(self) -> None:
        """Keep the Pod's status at what there is."""
        while True:
            self._stale.clear()
            status = self._status()
            if status != self._reported:
                try:
                    await self._around.client.patch_status(POD, self.name, status, namespace=self.namespace)
                    self._reported = status
                except NotFound:
                    return
                except KubeError as error:
                    _log.warning("the status of Pod %s/%s cannot be written: %s", self.namespace, self.name, error)
                    await asyncio.sleep(0.5)
                    continue
            await self._stale.wait()

    def _status(self) -> JSONObject:
        place = self.place
        address = place.address if place is not None else ""
        running = bool(self._statuses) and all(not one.reason for one in self._statuses.values())
        unready = [one.name for one in self._statuses.values() if not one.ready]
        before = {one["type"]: one for one in self._reported.get("conditions", ())}

        def condition(kind: str, holds: bool) -> JSONObject:
            status = "True" if holds else "False"
            changed = before.get(kind, {}).get("status") != status
            made = {"type": kind, "status": status}
            made["lastTransitionTime"] = now() if changed else before[kind]["lastTransitionTime"]
            if not holds:
                made |= {"reason": "ContainersNotReady", "message": f"containers with unready status: {unready}"}
            return made

        phase = "Running" if running or self._reported.get("phase") == "Running" else "Pending"
        codes = [one.code for one in self._statuses.values() if one.name != PROXY]
        if codes and None not in codes:
            phase = "Failed" if any(codes) else "Succeeded"
        return {
            "phase": phase,
            "podIP": address,
            "podIPs": [{"ip": address}],
            "hostIP": "127.0.0.1",
            "startTime": self._since,
            "conditions": [
                condition("PodScheduled", holds=True),
                condition("Initialized", holds=True),
                condition("ContainersReady", holds=self.ready),
                condition("Ready", holds=self.ready),
            ],
            "containerStatuses": [one.manifest() for one in self._statuses.values()],
        }


async def _answers(spec: JSONObject, host: str) -> bool:
    """Whether the container at ``host`` passes its readiness probe."""
    probe = spec.get("readinessProbe") or {}
    ports = spec.get("ports") or ()
    if "httpGet" in probe:
        asked = probe["httpGet"]
        return await _answers_http(f"http://{host}:{_number(asked['port'], ports)}{asked.get('path', '/')}")
    port = probe["tcpSocket"]["port"] if "tcpSocket" in probe else ports[0]["containerPort"] if ports else None
    return port is None or await _is_open(host, _number(port, ports))


def _number(port: int | str, ports: Sequence[JSONObject]) -> int:
    return port if isinstance(port, int) else next(one["containerPort"] for one in ports if one.get("name") == port)


async def _answers_http(url: str) -> bool:
    try:
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return answer.status < 400
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False


async def _is_open(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
