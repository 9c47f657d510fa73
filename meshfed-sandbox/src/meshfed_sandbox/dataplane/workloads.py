"""What Kubernetes' controllers decide: which Pods a Deployment needs, which endpoints a Service has. Pure functions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

JSONObject = dict[str, Any]

HASH_LABEL: Final = "pod-template-hash"
SERVICE_LABEL: Final = "kubernetes.io/service-name"
MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
MANAGER: Final = "endpointslice-controller.k8s.io"
NODE: Final = "sandbox"
"""The name of the one node there is."""


class Changes(msgspec.Struct, frozen=True):
    """What is to be done for a Deployment now: how many Pods to create, which to delete (by name)."""

    create: int = 0
    delete: tuple[str, ...] = ()


def labels(obj: Mapping[str, Any]) -> Mapping[str, str]:
    """An object's labels."""
    return obj["metadata"].get("labels") or {}


def selects(selector: Mapping[str, str], of: Mapping[str, str]) -> bool:
    """Whether a plain selector, which must not be empty, matches labels."""
    return bool(selector) and selector.items() <= of.items()


def owned_by(obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether ``owner`` is the controller of ``obj``."""
    references = obj["metadata"].get("ownerReferences") or ()
    return any(one.get("controller") and one["uid"] == owner["metadata"]["uid"] for one in references)


def ready(pod: Mapping[str, Any]) -> bool:
    """Whether a Pod takes requests."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def node() -> JSONObject:
    """The one node there is, as it registers itself."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}}}


# --- Deployments


def template_hash(deployment: Mapping[str, Any]) -> str:
    """A label value that changes with a Deployment's Pod template."""
    encoded = msgspec.json.encode(deployment["spec"]["template"], order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:10]


def pod_of(deployment: Mapping[str, Any], suffix: str) -> JSONObject:
    """A new Pod of a Deployment, whose name ends with ``suffix``, before anything is injected."""
    template = deployment["spec"]["template"]
    given = template.get("metadata") or {}
    name, revision = deployment["metadata"]["name"], template_hash(deployment)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{revision}-{suffix}",
            "namespace": deployment["metadata"]["namespace"],
            "labels": {**(given.get("labels") or {}), HASH_LABEL: revision},
            "annotations": given.get("annotations") or {},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": name,
                    "uid": deployment["metadata"]["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {"serviceAccountName": "default", **template["spec"], "nodeName": NODE},
    }


def job_pod(job: Mapping[str, Any], suffix: str) -> JSONObject:
    """A new Pod of a Job, whose name ends with ``suffix``, before anything is injected."""
    template, metadata = job["spec"]["template"], job["metadata"]
    given = template.get("metadata") or {}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{metadata['name']}-{suffix}",
            "namespace": metadata["namespace"],
            "labels": given.get("labels") or {},
            "annotations": given.get("annotations") or {},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": {"serviceAccountName": "default", **template["spec"], "nodeName": NODE},
    }


def job_needs_a_pod(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a Job, which here is one Pod that has to succeed, is to have another: the first, or after a failure."""
    phases = [pod.get("status", {}).get("phase") for pod in pods]
    over = (job.get("status") or {}).get("completionTime") or len(phases) > job["spec"].get("backoffLimit", 6)
    return not over and all(phase == "Failed" for phase in phases)


def job_status(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], now: str) -> JSONObject:
    """The status of a Job that has ``pods``; ``now`` dates what changes."""
    before: Mapping[str, Any] = job.get("status") or {}
    phases = [pod.get("status", {}).get("phase") for pod in pods]
    failed, succeeded = phases.count("Failed"), phases.count("Succeeded")
    status: JSONObject = {"startTime": before.get("startTime") or now, "failed": failed, "succeeded": succeeded}
    status["active"] = len(phases) - failed - succeeded
    ended = "Complete" if succeeded else "Failed" if failed > job["spec"].get("backoffLimit", 6) else ""
    if ended:
        types = ("SuccessCriteriaMet" if succeeded else "FailureTarget", ended)
        since = next((one["lastTransitionTime"] for one in before.get("conditions") or ()), now)
        reason = {} if succeeded else {"reason": "BackoffLimitExceeded", "message": "its Pods failed; see their logs"}
        status["conditions"] = [{"type": one, "status": "True", "lastTransitionTime": since, **reason} for one in types]
        if succeeded:
            status["completionTime"] = since
    return status


def changes(deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Changes:
    """What brings the Pods of a Deployment nearer to what it says.

    A new template's Pods come before the old ones go, unless the strategy is Recreate: then they go first.
    """
    spec = deployment["spec"]
    wanted = spec.get("replicas", 1)
    revision = template_hash(deployment)
    new = [pod for pod in pods if labels(pod).get(HASH_LABEL) == revision]
    old = [pod for pod in pods if labels(pod).get(HASH_LABEL) != revision]
    if len(new) > wanted:
        surplus = sorted(new, key=ready)[: len(new) - wanted]
        return Changes(delete=tuple(pod["metadata"]["name"] for pod in surplus))
    missing = wanted - len(new)
    if (spec.get("strategy") or {}).get("type") == "Recreate":
        if old:
            return Changes(delete=tuple(pod["metadata"]["name"] for pod in old))
        return Changes(create=missing)
    room = wanted + max(1, math.ceil(wanted / 4)) - len(pods)
    serving = sum(map(ready, new))
    spare = serving + sum(map(ready, old)) - wanted
    # Old Pods that do not serve are no loss; of those that do, as many as the new ones make up for.
    gone = [pod for pod in old if not ready(pod)] if serving or not wanted else []
    gone += [pod for pod in old if ready(pod)][: max(0, spare)]
    return Changes(max(0, min(missing, room)), tuple(pod["metadata"]["name"] for pod in gone))


def deployment_status(deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], now: str) -> JSONObject:
    """The status of a Deployment that has ``pods``; ``now`` dates a condition that changes."""
    revision, wanted = template_hash(deployment), deployment["spec"].get("replicas", 1)
    serving = sum(map(ready, pods))
    available = serving >= wanted
    before = deployment.get("status", {}).get("conditions") or ()
    condition = {
        "type": "Available",
        "status": "True" if available else "False",
        "reason": "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable",
        "message": f"{serving} of {wanted} Pods are ready.",
    }
    since = next((old["lastTransitionTime"] for old in before if old["status"] == condition["status"]), now)
    return {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "replicas": len(pods),
        "updatedReplicas": sum(labels(pod).get(HASH_LABEL) == revision for pod in pods),
        "readyReplicas": serving,
        "availableReplicas": serving,
        "unavailableReplicas": max(0, wanted - serving),
        "conditions": [{**condition, "lastTransitionTime": since, "lastUpdateTime": since}],
    }


def istiod(namespace: str) -> JSONObject:
    """The Deployment of the control plane. It has no Pods: what it stands for runs where the sandbox does."""
    labels = {"app": "istiod", "istio.io/rev": "default"}
    container = {"name": "discovery", "image": "istio/pilot"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "istiod", "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"app": "istiod"}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def is_istiod(deployment: Mapping[str, Any]) -> bool:
    """Whether a Deployment is that of the control plane."""
    return bool(labels(deployment).get("app") == "istiod")


def istiod_status(deployment: Mapping[str, Any], now: str) -> JSONObject:
    """Its status, which is that of the sandbox: whoever reads it is told by somebody who runs."""
    wanted = deployment["spec"].get("replicas", 1)
    pod = {
        "metadata": {"labels": {HASH_LABEL: template_hash(deployment)}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    return deployment_status(deployment, [pod] * wanted, now)


# --- Services


def endpoint_slices(service: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> list[JSONObject]:
    """The EndpointSlices of a Service with a selector: one for each set of port numbers that its Pods have.

    A Pod that lacks a port that the Service names is an endpoint of the Service's other ports.
    """
    spec, metadata = service["spec"], service["metadata"]
    groups: dict[tuple[tuple[str, int, str, str], ...], list[JSONObject]] = {}
    chosen = (pod for pod in pods if pod["metadata"]["namespace"] == metadata["namespace"])
    for pod in sorted(chosen, key=lambda one: str(one["metadata"]["name"])):
        address = pod.get("status", {}).get("podIP")
        if address and selects(spec.get("selector") or {}, labels(pod)):
            ports = tuple(_ports(service, pod))
            serving = ready(pod)
            groups.setdefault(ports, []).append(
                {
                    "addresses": [address],
                    "conditions": {
                        "ready": serving or bool(spec.get("publishNotReadyAddresses")),
                        "serving": serving,
                        "terminating": False,
                    },
                    "nodeName": NODE,
                    "targetRef": {
                        "kind": "Pod",
                        "namespace": metadata["namespace"],
                        "name": pod["metadata"]["name"],
                        "uid": pod["metadata"]["uid"],
                    },
                }
            )
    return [_slice(service, ports, endpoints) for ports, endpoints in groups.items()]


def _ports(service: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[tuple[str, int, str, str]]:
    for port in service["spec"].get("ports") or ():
        number = target_port(port, pod)
        if number is not None:
            yield port.get("name", ""), number, port.get("protocol", "TCP"), port.get("appProtocol", "")


def target_port(port: Mapping[str, Any], pod: Mapping[str, Any]) -> int | None:
    """The number on ``pod`` of a Service's port; ``None`` where the Pod has no port of the name it asks for."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    return next((one["containerPort"] for one in container_ports(pod) if one.get("name") == target), None)


def container_ports(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The ports that a Pod's applications declare."""
    for container in pod["spec"]["containers"]:
        if container["name"] != PROXY:
            yield from container.get("ports") or ()


def _slice(
    service: Mapping[str, Any], ports: tuple[tuple[str, int, str, str], ...], endpoints: list[JSONObject]
) -> JSONObject:
    metadata = service["metadata"]
    digest = hashlib.sha256(repr(ports).encode()).hexdigest()[:5]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{metadata['name']}-{digest}",
            "namespace": metadata["namespace"],
            "labels": {
                **labels(service),
                SERVICE_LABEL: metadata["name"],
                MANAGED_BY: MANAGER,
            },
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [
            {"name": name, "port": number, "protocol": protocol} | ({"appProtocol": known} if known else {})
            for name, number, protocol, known in ports
        ],
    }


def ingress_addresses(service: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> list[JSONObject]:
    """What ``status.loadBalancer.ingress`` of a Service of type LoadBalancer holds: the addresses of its ready Pods."""
    found = [
        pod["status"]["podIP"]
        for pod in pods
        if pod["metadata"]["namespace"] == service["metadata"]["namespace"]
        and selects(service["spec"].get("selector") or {}, labels(pod))
        and ready(pod)
    ]
    return [{"ip": address} for address in sorted(found)]


# --- Istio's injection

INJECT: Final = "sidecar.istio.io/inject"
EXCLUDED_PORTS: Final = "traffic.sidecar.istio.io/excludeOutboundPorts"
TEMPLATES: Final = "inject.istio.io/templates"
TAKES_MTLS: Final = {"security.istio.io/tlsMode": "istio"}
"""The label by which istiod knows that a Pod has a sidecar."""
DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
PROXY: Final = "istio-proxy"
"""The name of the container that is the proxy."""
PROXY_IMAGE: Final = "istio/proxyv2"


def excluded_outbound_ports(pod: Mapping[str, Any]) -> frozenset[int]:
    """The ports that a Pod reaches without its sidecar, as its annotation says."""
    said = (pod["metadata"].get("annotations") or {}).get(EXCLUDED_PORTS, "")
    return frozenset(int(port) for port in said.split(",") if port.strip().isdecimal())


def proxy_kind(pod: Mapping[str, Any], namespace: Mapping[str, Any]) -> str:
    """Which proxy Istio's webhook would put into a Pod: ``sidecar``, ``gateway``, or none (empty)."""
    own = labels(pod).get(INJECT) or (pod["metadata"].get("annotations") or {}).get(INJECT)
    enabled = labels(namespace).get("istio-injection")
    injected = own != "false" if enabled == "enabled" else own == "true" and enabled is None
    if not injected:
        return ""
    templates = (pod["metadata"].get("annotations") or {}).get(TEMPLATES, "sidecar")
    return "gateway" if "gateway" in (part.strip() for part in templates.split(",")) else "sidecar"


def injected(pod: JSONObject, namespace: Mapping[str, Any]) -> JSONObject:
    """A Pod as Istio's webhook would have it: a sidecar is one more container, a gateway's image is named."""
    kind, containers = proxy_kind(pod, namespace), pod["spec"]["containers"]
    if not kind:
        return pod
    proxy: JSONObject = {"name": PROXY, "ports": [{"name": "http-envoy-prom", "containerPort": 15090}]}
    own: JSONObject = next((one for one in containers if one["name"] == PROXY), {})
    proxy |= own | {"image": PROXY_IMAGE}
    others = [one for one in containers if one["name"] != PROXY]
    metadata = {**pod["metadata"], "labels": {**labels(pod), **(TAKES_MTLS if kind == "sidecar" else {})}}
    if others:  # whose logs and whose shell kubectl means, where nobody names a container
        metadata["annotations"] = {DEFAULT_CONTAINER: others[0]["name"], **(pod["metadata"].get("annotations") or {})}
    return {**pod, "metadata": metadata, "spec": {**pod["spec"], "containers": [*others, proxy]}}


# --- DNS


def cluster_names(objects: Mapping[str, Sequence[JSONObject]], domain: str) -> dict[str, tuple[str, ...]]:
    """What the cluster's name server answers: Services by their cluster IP, headless ones by their endpoints."""
    names: dict[str, tuple[str, ...]] = {}
    headless: dict[tuple[str, str], list[str]] = {}
    for one in objects["EndpointSlice"]:
        key = (one["metadata"]["namespace"], labels(one).get(SERVICE_LABEL, ""))
        for endpoint in one.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready", True):
                headless.setdefault(key, []).extend(endpoint["addresses"])
    for service in objects["Service"]:
        metadata, address = service["metadata"], service["spec"].get("clusterIP", "")
        found = headless.get((metadata["namespace"], metadata["name"]), []) if address == "None" else [address]
        names[f"{metadata['name']}.{metadata['namespace']}.svc.{domain}"] = tuple(one for one in found if one)
    return names
