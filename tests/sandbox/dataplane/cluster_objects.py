"""Objects of one mesh, as its API serves them, written down shortly."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from meshfed_sandbox.dataplane.values import JSONObject, MeshSettings, ProxyFiles, ProxyIdentity

SIDECAR = {"security.istio.io/tlsMode": "istio"}
FILES = ProxyFiles(
    certificate="/run/certificate.json",
    trust="/run/trust.json",
    endpoints="/run/endpoints",
    routes="/run/routes",
    resolver=("127.0.0.1", 5353),
)
SETTINGS = MeshSettings(name="east", network="east-network", trust_domain="east.local")

_count = itertools.count()


def meta(name: str, namespace: str = "bookinfo", **more: Any) -> JSONObject:
    """Metadata; each object is a second younger than the one before it."""
    number = next(_count)
    created = f"2026-01-{1 + number // 86400:02}T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z"
    return {"name": name, "namespace": namespace, "creationTimestamp": created, **more}


def pod(
    name: str,
    address: str,
    *,
    app: str = "",
    namespace: str = "bookinfo",
    account: str = "",
    ports: Mapping[str, int] | None = None,
    sidecar: bool = True,
    labels: Mapping[str, str] | None = None,
    node: str = "node",
) -> JSONObject:
    return {
        "metadata": meta(
            name, namespace, labels={"app": app or name, **(SIDECAR if sidecar else {}), **(labels or {})}
        ),
        "spec": {
            "serviceAccountName": account or app or name,
            "nodeName": node,
            "containers": [
                {"ports": [{"name": port, "containerPort": number} for port, number in (ports or {}).items()]}
            ],
        },
        "status": {"podIP": address, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def service(
    name: str,
    address: str,
    ports: Sequence[JSONObject],
    *,
    namespace: str = "bookinfo",
    selector: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONObject:
    return {
        "metadata": meta(name, namespace, **more),
        "spec": {"clusterIP": address, "selector": selector or {"app": name}, "ports": list(ports)},
    }


def port(number: int, name: str = "http", target: int | str | None = None, **more: Any) -> JSONObject:
    return {"port": number, "name": name, **({"targetPort": target} if target else {}), **more}


def slice_of(service: JSONObject, pods: Sequence[JSONObject], ports: Mapping[str, int]) -> JSONObject:
    """The EndpointSlice that a cluster would keep for a Service."""
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    return {
        "metadata": meta(f"{name}-1", namespace, labels={"kubernetes.io/service-name": name}),
        "addressType": "IPv4",
        "ports": [{"name": each, "port": number} for each, number in ports.items()],
        "endpoints": [
            {
                "addresses": [each["status"]["podIP"]],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": each["metadata"]["name"], "namespace": namespace},
            }
            for each in pods
        ],
    }


def istio(name: str, spec: JSONObject, *, namespace: str = "istio-system", **more: Any) -> JSONObject:
    """An object of Istio's."""
    return {"metadata": meta(name, namespace, **more), "spec": spec}


def identity(of: JSONObject, *, kind: Any = "sidecar", application: str = "", **more: Any) -> ProxyIdentity:
    """The proxy of a Pod."""
    return ProxyIdentity(
        kind=kind,
        namespace=of["metadata"]["namespace"],
        pod=of["metadata"]["name"],
        labels=of["metadata"]["labels"],
        service_account=of["spec"]["serviceAccountName"],
        address=of["status"]["podIP"],
        application=application,
        ports=tuple(each["containerPort"] for each in of["spec"]["containers"][0]["ports"]),
        **more,
    )
