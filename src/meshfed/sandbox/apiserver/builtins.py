"""The kinds that Kubernetes brings itself: their schemas, and the defaults a schema cannot express.

The schemas say what users of these kinds rely on (fields, how lists are keyed, defaults, ranges) in our own short
words; how they are written down is in `builtin_language`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any, Final

from meshfed.sandbox.apiserver.builtin_cluster import SCHEMAS as _CLUSTER
from meshfed.sandbox.apiserver.builtin_core import SCHEMAS as _CORE
from meshfed.sandbox.apiserver.builtin_pods import SCHEMAS as _PODS
from meshfed.sandbox.apiserver.builtin_workloads import SCHEMAS as _WORKLOADS
from meshfed.sandbox.apiserver.schema_node import JsonObject

__all__ = ["BUILTIN_SCHEMAS", "complete"]

BUILTIN_SCHEMAS: Final[dict[str, JsonObject]] = {**_CORE, **_PODS, **_WORKLOADS, **_CLUSTER}
"""OpenAPI v3 schemas by "group/version/Kind", "/v1/Service" for the core group. Do not change them."""


def complete(kind_key: str, obj: JsonObject) -> None:
    """Puts in, in place, what follows from other fields. Call it after `Schema.default`; other kinds: does nothing."""
    completer = _COMPLETERS.get(kind_key)
    if completer:
        completer(obj)


def _service(obj: JsonObject) -> None:
    spec = obj["spec"]
    for port in spec.get("ports") or ():
        if spec.get("clusterIP") != "None" or "targetPort" not in port:
            port.setdefault("targetPort", port.get("port", 0))
    kind = spec.get("type")
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if spec.get("sessionAffinity") == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}).setdefault("timeoutSeconds", 10800)


def _secret(obj: JsonObject) -> None:
    plain = obj.pop("stringData", None)
    if plain:
        data = obj.setdefault("data", {})
        data |= {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}


def _namespace(obj: JsonObject) -> None:
    obj["spec"].setdefault("finalizers", ["kubernetes"])
    obj["status"].setdefault("phase", "Active")
    if name := obj["metadata"].get("name"):
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name


def _pod(obj: JsonObject) -> None:
    _pod_spec(obj["spec"])
    obj["spec"].setdefault("enableServiceLinks", True)
    obj["status"].setdefault("phase", "Pending")
    for container in _containers(obj["spec"]):
        resources = container.get("resources") or {}
        for name, limit in (resources.get("limits") or {}).items():
            resources.setdefault("requests", {}).setdefault(name, limit)


def _template(obj: JsonObject) -> None:
    _pod_spec(obj["spec"]["template"]["spec"])


def _pod_spec(spec: JsonObject) -> None:
    spec.setdefault("securityContext", {})
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in _containers(spec):
        if "imagePullPolicy" not in container:
            container["imagePullPolicy"] = _pull_policy(container.get("image") or "")
        for port in container.get("ports") or ():
            if spec.get("hostNetwork"):
                port.setdefault("hostPort", port.get("containerPort"))
        for amounts in (container.get("resources") or {}).values():
            _as_quantities(amounts)


def _containers(spec: JsonObject) -> Iterator[JsonObject]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            if isinstance(container, dict):
                yield container


def _as_quantities(amounts: Any) -> None:
    """Numbers become strings, as the API server writes quantities: 1 is "1", and 0.5 is "500m"."""
    if isinstance(amounts, dict):
        for name, amount in amounts.items():
            if isinstance(amount, int | float):
                amounts[name] = str(int(amount)) if amount == int(amount) else f"{round(amount * 1000)}m"


def _pull_policy(image: str) -> str:
    name = image.rpartition("/")[2]
    tag = name.rpartition(":")[2] if ":" in name else "latest"
    return "Always" if tag == "latest" and "@" not in name else "IfNotPresent"


def _deployment(obj: JsonObject) -> None:
    _template(obj)
    strategy = obj["spec"]["strategy"]
    if strategy.get("type") == "RollingUpdate":
        _rolling(strategy, maxSurge="25%", maxUnavailable="25%")


def _daemon_set(obj: JsonObject) -> None:
    _template(obj)
    strategy = obj["spec"]["updateStrategy"]
    if strategy.get("type") == "RollingUpdate":
        _rolling(strategy, maxSurge=0, maxUnavailable=1)


def _stateful_set(obj: JsonObject) -> None:
    _template(obj)
    spec = obj["spec"]
    spec.setdefault("persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"})
    if spec["updateStrategy"].get("type") == "RollingUpdate":
        _rolling(spec["updateStrategy"], partition=0, maxUnavailable=1)


def _rolling(strategy: JsonObject, **defaults: Any) -> None:
    update = strategy.setdefault("rollingUpdate", {})
    for key, value in defaults.items():
        update.setdefault(key, value)


def _job(obj: JsonObject) -> None:
    _template(obj)
    spec = obj["spec"]
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("suspend", False)
    spec.setdefault("backoffLimit", 2**31 - 1 if "backoffLimitPerIndex" in spec else 6)
    spec.setdefault("podReplacementPolicy", "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")


def _binding(obj: JsonObject) -> None:
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


def _network_policy(obj: JsonObject) -> None:
    spec = obj["spec"]
    if "policyTypes" not in spec:
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _custom_resource_definition(obj: JsonObject) -> None:
    spec = obj["spec"]
    names = spec["names"]
    if kind := names.get("kind"):
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
