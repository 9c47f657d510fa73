"""Those controllers of a cluster that a mesh needs: Deployments, EndpointSlices, addresses, istiod's ConfigMaps."""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import yaml

from meshfed.kube import AlreadyExists, Client, Conflict, KubeError, NotFound
from meshfed_sandbox.dataplane import workloads
from meshfed_sandbox.dataplane.values import MeshSettings
from meshfed_sandbox.dataplane.watch import CONFIG_MAP, DEPLOYMENT, ENDPOINT_SLICE, JOB, POD, SERVICE, Watch

JSONObject = dict[str, Any]

_log = logging.getLogger(__name__)
ROOT_CERTIFICATE: Final = "istio-ca-root-cert"
MESH_CONFIG: Final = "istio"
_PAUSE: Final = 0.02
"""Seconds for which changes are gathered."""
_RETRY: Final = 0.5
_PATIENCE: Final = 5.0
"""Seconds after which a write that the watch never showed is no longer waited for."""
_SUFFIX: Final = string.ascii_lowercase + string.digits


def now() -> str:
    """The time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Controllers:
    """Brings Pods, EndpointSlices and addresses to what Deployments and Services ask for."""

    def __init__(self, client: Client, watch: Watch, settings: MeshSettings, *, roots: str) -> None:
        """``roots`` are those that the mesh trusts, as PEM."""
        self._client = client
        self._settings = settings
        self._roots = roots
        self._with_config_maps: set[str] = set()
        self._watch = watch
        self._changed = asyncio.Event()
        self._awaited: dict[tuple[str, str, bool], float] = {}
        watch.subscribe(self._notice)

    def _notice(self, kind: str) -> None:
        if kind in {"Deployment", "Job", "Namespace", "Pod", "Service", "EndpointSlice"}:
            self._changed.set()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        await self._watch.synced()
        self._changed.set()
        while True:
            await self._changed.wait()
            await asyncio.sleep(_PAUSE)
            self._changed.clear()
            try:
                await self._reconcile()
            except KubeError as error:
                _log.warning("a controller of the sandbox could not write: %s; it tries again", error)
                await asyncio.sleep(_RETRY)
                self._changed.set()

    async def _reconcile(self) -> None:
        await self._config_maps()
        pods = self._watch.all("Pod")
        wanted: dict[tuple[str, str], JSONObject] = {}
        for service in self._watch.all("Service"):
            if service["spec"].get("selector") and service["spec"].get("type") != "ExternalName":
                for made in workloads.endpoint_slices(service, pods):
                    wanted[made["metadata"]["namespace"], made["metadata"]["name"]] = made
                if service["spec"].get("type") == "LoadBalancer":
                    await self._load_balancer(service, workloads.ingress_addresses(service, pods))
        if await self._slices(wanted):
            return  # whoever takes a Pod's place is an endpoint before that goes: the watch will show it
        for deployment in self._watch.all("Deployment"):
            if workloads.is_istiod(deployment):
                await self._say(deployment, workloads.istiod_status(deployment, now()))
                continue
            own = [pod for pod in pods if workloads.owned_by(pod, deployment)]
            await self._deployment(deployment, own)
        for job in self._watch.all("Job"):
            await self._job(job, [pod for pod in pods if workloads.owned_by(pod, job)])

    async def _config_maps(self) -> None:
        """Have the ConfigMap that istiod puts into each namespace, and where istiod is, itself and what it reads."""
        for namespace in self._watch.all("Namespace"):
            name, uid = namespace["metadata"]["name"], namespace["metadata"]["uid"]
            if uid in self._with_config_maps or namespace["metadata"].get("deletionTimestamp"):
                continue
            await self._config_map(name, ROOT_CERTIFICATE, {"root-cert.pem": self._roots})
            if name == self._settings.root_namespace:
                await self._config_map(name, MESH_CONFIG, {"mesh": yaml.safe_dump(self._settings.mesh_config)})
                await _unless_gone(self._client.create(DEPLOYMENT, workloads.istiod(name)))
            self._with_config_maps.add(uid)

    async def _config_map(self, namespace: str, name: str, data: dict[str, str]) -> None:
        metadata = {"name": name, "namespace": namespace, "labels": {"istio.io/config": "true"}}
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        await _unless_gone(self._client.create(CONFIG_MAP, made))

    # --- Deployments

    async def _deployment(self, deployment: JSONObject, pods: list[JSONObject]) -> None:
        namespace = deployment["metadata"]["namespace"]
        if not self._in_sight(deployment, pods):
            return
        changes = workloads.changes(deployment, pods)
        owner = deployment["metadata"]["uid"]
        within = self._watch.get("Namespace", "", namespace)
        for _ in range(changes.create if within is not None else 0):
            pod = workloads.pod_of(deployment, "".join(secrets.choice(_SUFFIX) for _ in range(5)))
            pod = workloads.injected(pod, within or {})
            await self._client.create(POD, pod)
            self._expect(owner, pod["metadata"]["name"], exists=True)
        for name in changes.delete:
            await _unless_gone(self._client.delete(POD, name, namespace=namespace))
            self._expect(owner, name, exists=False)
        await self._say(deployment, workloads.deployment_status(deployment, pods, now()))

    async def _say(self, deployment: JSONObject, status: JSONObject) -> None:
        if status != deployment.get("status"):
            name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
            await _unless_gone(self._client.patch_status(DEPLOYMENT, name, status, namespace=namespace))

    async def _job(self, job: JSONObject, pods: list[JSONObject]) -> None:
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        if not self._in_sight(job, pods):
            return
        within = self._watch.get("Namespace", "", namespace)
        if within is not None and not job["metadata"].get("deletionTimestamp") and workloads.job_needs_a_pod(job, pods):
            pod = workloads.job_pod(job, "".join(secrets.choice(_SUFFIX) for _ in range(5)))
            await self._client.create(POD, workloads.injected(pod, within))
            self._expect(job["metadata"]["uid"], pod["metadata"]["name"], exists=True)
        status = workloads.job_status(job, pods, now())
        if not status.items() <= job.get("status", {}).items():
            await _unless_gone(self._client.patch_status(JOB, name, status, namespace=namespace))

    def _expect(self, owner: str, name: str, *, exists: bool) -> None:
        self._awaited[owner, name, exists] = asyncio.get_running_loop().time() + _PATIENCE

    def _in_sight(self, deployment: JSONObject, pods: list[JSONObject]) -> bool:
        """Whether the watch has shown what was written for a Deployment so far: until then, its Pods are old news."""
        names = {pod["metadata"]["name"] for pod in pods}
        time = asyncio.get_running_loop().time()
        owner = deployment["metadata"]["uid"]
        self._awaited = {
            key: until
            for key, until in self._awaited.items()
            if until > time and not (key[0] == owner and (key[1] in names) == key[2])
        }
        return not any(key[0] == owner for key in self._awaited)

    # --- Services

    async def _load_balancer(self, service: JSONObject, ingress: list[JSONObject]) -> None:
        status = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
        if ingress and status != ingress:  # an address that nobody answers at stays the address, as with real ones
            metadata = service["metadata"]
            patch = {"loadBalancer": {"ingress": ingress}}
            await _unless_gone(
                self._client.patch_status(SERVICE, metadata["name"], patch, namespace=metadata["namespace"])
            )

    async def _slices(self, wanted: Mapping[tuple[str, str], JSONObject]) -> bool:
        """Write the slices that there are to be; whether any was written."""
        existing = {
            (one["metadata"]["namespace"], one["metadata"]["name"]): one
            for one in self._watch.all("EndpointSlice")
            if workloads.labels(one).get(workloads.MANAGED_BY) == workloads.MANAGER
        }
        written = False
        for key, made in wanted.items():
            old = existing.get(key)
            if old is None:
                written |= await _unless_gone(self._client.create(ENDPOINT_SLICE, made))
            elif any(old.get(part) != made[part] for part in ("endpoints", "ports")):
                version = {"resourceVersion": old["metadata"]["resourceVersion"]}
                made["metadata"] |= version
                written |= await _unless_gone(self._client.replace(ENDPOINT_SLICE, made))
        for namespace, name in existing.keys() - wanted.keys():
            written |= await _unless_gone(self._client.delete(ENDPOINT_SLICE, name, namespace=namespace))
        return written


async def _unless_gone(write: Awaitable[Any]) -> bool:
    """Write, and return whether that was done.

    Where the object changed, came or went meanwhile, the watch says so and it is looked at again.
    """
    try:
        await write
    except (AlreadyExists, Conflict, NotFound) as error:
        _log.debug("the sandbox's view was old: %s", error)
        return False
    return True
