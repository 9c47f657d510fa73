"""The kinds that Kubernetes brings itself: their schemas, and the defaults a schema cannot express.

The schemas say what users of these kinds rely on (fields, how lists are keyed, defaults, ranges) in our own short
words; how they are written down is in `builtin_language`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any, Final

from meshfed_sandbox.apiserver.builtin_cluster import SCHEMAS as _CLUSTER
from meshfed_sandbox.apiserver.builtin_core import SCHEMAS as _CORE
from meshfed_sandbox.apiserver.builtin_pods import SCHEMAS as _PODS
from meshfed_sandbox.apiserver.builtin_workloads import SCHEMAS as _WORKLOADS
from meshfed_sandbox.apiserver.schema_node import JsonObject

__all__ = ["BUILTIN_SCHEMAS", "complete"]

BUILTIN_SCHEMAS: Final[dict[str, JsonObject]] = {**_CORE, **_PODS, **_WORKLOADS, **_CLUSTER}
"""OpenAPI v3 schemas by "group/version/Kind", "/v1/Service" for the core group. Do not change them."""


def complete(kind_key: str, obj: JsonObject) -> None:
    """Puts in, in place, what follows from other fields. Call it after `Schema.default`; other kinds: does nothing."""
    completer = _COMPLETERS.get(kind_key)
    if completer:
        completer(obj)


def _map(obj: JsonObject, *path: str) -> JsonObject:
    """The map at `path`; where there is none, one that nobody keeps: what is malformed is left to validation."""
    for key in path:
        found = obj.get(key)
        obj = found if isinstance(found, dict) else {}
    return obj


def _maps(obj: JsonObject, *path: str) -> Iterator[JsonObject]:
    *way, last = path
    items = _map(obj, *way).get(last)
    if isinstance(items, list):
        yield from (item for item in items if isinstance(item, dict))


def _service(obj: JsonObject) -> None:
    spec = _map(obj, "spec")
    for port in _maps(spec, "ports"):
        port.setdefault("targetPort", port.get("port", 0))
    kind = spec.get("type")
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if spec.get("sessionAffinity") == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 10800}})


def _secret(obj: JsonObject) -> None:
    plain = _map(obj, "stringData")
    if plain and all(isinstance(value, str) for value in plain.values()):
        data = obj.setdefault("data", {})
        data |= {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        del obj["stringData"]


def _namespace(obj: JsonObject) -> None:
    _map(obj, "spec").setdefault("finalizers", ["kubernetes"])
    _map(obj, "status").setdefault("phase", "Active")
    metadata = _map(obj, "metadata")
    if name := metadata.get("name"):
        metadata["labels"] = _map(metadata, "labels") | {"kubernetes.io/metadata.name": name}


def _pod(obj: JsonObject) -> None:
    spec = _map(obj, "spec")
    _pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    _map(obj, "status").setdefault("phase", "Pending")
    for container in _containers(spec):
        resources = _map(container, "resources")
        limits = _map(resources, "limits")
        if limits:
            resources["requests"] = limits | _map(resources, "requests")


def _template(obj: JsonObject) -> None:
    _pod_spec(_map(obj, "spec", "template", "spec"))


def _pod_spec(spec: JsonObject) -> None:
    spec.setdefault("securityContext", {})
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in _containers(spec):
        image = container.get("image")
        if "imagePullPolicy" not in container:
            container["imagePullPolicy"] = _pull_policy(image if isinstance(image, str) else "")
        for port in _maps(container, "ports"):
            if spec.get("hostNetwork"):
                port.setdefault("hostPort", port.get("containerPort"))
        for kind in ("limits", "requests"):
            _as_quantities(_map(container, "resources", kind))


def _containers(spec: JsonObject) -> Iterator[JsonObject]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from _maps(spec, kind)


def _as_quantities(amounts: JsonObject) -> None:
    """Numbers become strings, as the API server writes quantities: 1 is "1", and 0.5 is "500m"."""
    for name, amount in amounts.items():
        if isinstance(amount, int | float) and not isinstance(amount, bool):
            amounts[name] = str(int(amount)) if amount == int(amount) else f"{round(amount * 1000)}m"


def _pull_policy(image: str) -> str:
    name = image.rpartition("/")[2]
    tag = name.rpartition(":")[2] if ":" in name else "latest"
    return "Always" if tag == "latest" and "@" not in name else "IfNotPresent"


def _deployment(obj: JsonObject) -> None:
    _template(obj)
    _rolling(_map(obj, "spec", "strategy"), maxSurge="25%", maxUnavailable="25%")


def _daemon_set(obj: JsonObject) -> None:
    _template(obj)
    _rolling(_map(obj, "spec", "updateStrategy"), maxSurge=0, maxUnavailable=1)


def _stateful_set(obj: JsonObject) -> None:
    _template(obj)
    spec = _map(obj, "spec")
    spec.setdefault("persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"})
    _rolling(_map(spec, "updateStrategy"), partition=0, maxUnavailable=1)


def _rolling(strategy: JsonObject, **defaults: Any) -> None:
    if strategy.get("type") == "RollingUpdate":
        strategy["rollingUpdate"] = defaults | _map(strategy, "rollingUpdate")


def _job(obj: JsonObject) -> None:
    _template(obj)
    spec = _map(obj, "spec")
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("suspend", False)
    spec.setdefault("backoffLimit", 2**31 - 1 if "backoffLimitPerIndex" in spec else 6)
    spec.setdefault("podReplacementPolicy", "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")


def _binding(obj: JsonObject) -> None:
    for subject in _maps(obj, "subjects"):
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


def _network_policy(obj: JsonObject) -> None:
    spec = _map(obj, "spec")
    if "policyTypes" not in spec:
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _custom_resource_definition(obj: JsonObject) -> None:
    spec = _map(obj, "spec")
    names = _map(spec, "names")
    kind = names.get("kind")
    if isinstance(kind, str):
        names.setdefault("listKind", f"{kind}List")
        names.setdefault("singular", kind.lower())
    spec.setdefault("conversion", {"strategy": "None"})


_COMPLETERS: Final[dict[str, Callable[[JsonObject], None]]] = {
    "/v1/Service": _service,
    "/v1/Secret": _secret,
    "/v1/Namespace": _namespace,
    "/v1/Pod": _pod,
    "apps/v1/Deployment": _deployment,
    "apps/v1/ReplicaSet": _template,
    "apps/v1/DaemonSet": _daemon_set,
    "apps/v1/StatefulSet": _stateful_set,
    "batch/v1/Job": _job,
    "rbac.authorization.k8s.io/v1/RoleBinding": _binding,
    "rbac.authorization.k8s.io/v1/ClusterRoleBinding": _binding,
    "networking.k8s.io/v1/NetworkPolicy": _network_policy,
    "apiextensions.k8s.io/v1/CustomResourceDefinition": _custom_resource_definition,
}
