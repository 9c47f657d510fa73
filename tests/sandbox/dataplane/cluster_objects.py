"""Objects of one mesh, as its API serves them, written down shortly."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from meshfed.model.offers import TLS_MODE
from meshfed_sandbox.dataplane.values import JSONObject, MeshSettings, ProxyFiles, ProxyIdentity
from tests.builders import pod, service

SIDECAR = {TLS_MODE: "istio"}
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


def aged(made: JSONObject) -> JSONObject:
    """Return an object as created a second after the one before."""
    return made | {"metadata": meta(**made["metadata"])}


def pod_at(name: str, address: str, app: str = "", *, namespace: str = "bookinfo", **parts: Any) -> JSONObject:
    """Make a Pod that runs at an address, under a service account of its app's name."""
    return aged(pod(f"{name}.{namespace}", app, account=app or name, address=address, **parts))


def service_at(
    name: str, address: str, ports: Sequence[JSONObject], *, namespace: str = "bookinfo", **parts: Any
) -> JSONObject:
    """Make a Service that has an address."""
    return aged(service(f"{name}.{namespace}", clusterIP=address, ports=list(ports), **parts))


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
