"""What the demo puts into the meshes: bookinfo, split over both, and how each mesh knows the other.

Written as a user would write them; the files are left in the demo's folder for reading and for kubectl.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import yaml

SYSTEM_NAMESPACE: Final = "istio-system"
APP_NAMESPACE: Final = "default"
EXPORT_LABEL: Final = "export-service"
PORT: Final = 9080
GATEWAY_PORT: Final = 15443

SERVICES: Final = {
    "east": ("productpage", "details", "reviews"),
    "west": ("reviews", "ratings"),
}
"""bookinfo, split: reviews is in both meshes, details in east alone, ratings in west alone."""

INGRESS: Final = "ingress"
"""The workload in east by which requests from outside come in."""
_IMAGES: Final = {
    "productpage": "examples-bookinfo-productpage-v1",
    "details": "examples-bookinfo-details-v1",
    "reviews": "examples-bookinfo-reviews-v3",  # the one that asks for ratings
    "ratings": "examples-bookinfo-ratings-v1",
    INGRESS: "curl",
}


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A mesh of the demo: its name, its ingress gateway's address and its trust domain.

    ``discovery_port`` is where its controller answers on this machine, where controllers do not meet through the
    gateways; else 0.
    """

    name: str
    gateway_address: str
    trust_domain: str = "cluster.local"
    discovery_port: int = 0

    @property
    def network(self) -> str:
        """Istio's name for the mesh's network."""
        return f"{self.name}-network"

    def identity(self, workload: str) -> str:
        """Who a workload of bookinfo is to those it calls."""
        return f"spiffe://{self.principal(workload)}"

    def principal(self, workload: str) -> str:
        """The same, as an AuthorizationPolicy names it."""
        return f"{self.trust_domain}/ns/{APP_NAMESPACE}/sa/{_account(workload)}"


def host(service: str) -> str:
    """The host of one of bookinfo's Services."""
    return f"{service}.{APP_NAMESPACE}.svc.cluster.local"


def sni(service: str) -> str:
    """The name under which the port of one of bookinfo's Services is asked for at a gateway."""
    return f"outbound_.{PORT}_._.{host(service)}"


def bookinfo(mesh: str) -> str:
    """The Services of ``mesh``, and the namespace of its control plane, as a YAML stream."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}}
    return _stream(namespace, *map(_service, SERVICES[mesh]))


def workloads(mesh: str) -> str:
    """What runs behind the Services of ``mesh``, injected, each as an account of its own, and taking nothing but mTLS.

    East has an ingress besides, a Pod that requests from outside are sent from.
    """
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": APP_NAMESPACE, "labels": {"istio-injection": "enabled"}},
    }
    strict = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": APP_NAMESPACE},
        "spec": {"mtls": {"mode": "STRICT"}},
    }
    names = (*SERVICES[mesh], *((INGRESS,) if mesh == "east" else ()))
    return _stream(namespace, strict, *(made for name in names for made in (_service_account(name), _deployment(name))))


def _stream(*objects: dict[str, Any]) -> str:
    return yaml.safe_dump_all(objects, sort_keys=False)


def _service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": APP_NAMESPACE, "labels": {"app": name, "service": name}},
        "spec": {"ports": [{"name": "http", "port": PORT}], "selector": {"app": name}},
    }


def _account(workload: str) -> str:
    return f"bookinfo-{workload}"


def _service_account(name: str) -> dict[str, Any]:
    metadata = {"name": _account(name), "namespace": APP_NAMESPACE}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _deployment(name: str) -> dict[str, Any]:
    container: dict[str, Any] = {"name": name, "image": _IMAGES[name]}
    if name != INGRESS:
        container["ports"] = [{"name": "http", "containerPort": PORT}]
    pod = {
        "metadata": {"labels": {"app": name, "version": "v1"}},
        "spec": {"serviceAccountName": _account(name), "containers": [container]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": APP_NAMESPACE, "labels": {"app": name}},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": pod},
    }


def federation(own: Place, remote: Place) -> str:
    """What the owner of a mesh applies to federate it with another: a MeshFederation and a RemoteMesh."""
    group = "federation.openshift-service-mesh.io/v1alpha1"
    local = {
        "apiVersion": group,
        "kind": "MeshFederation",
        "metadata": {"name": own.name, "namespace": SYSTEM_NAMESPACE},
        "spec": {
            "network": own.network,
            "trustDomain": own.trust_domain,
            "ingress": {"gateway": {"selector": {"app": "federation-ingress-gateway"}}},
            "export": {"serviceSelectors": {"matchLabels": {EXPORT_LABEL: "true"}}},
        },
    }
    other: dict[str, Any] = {
        "apiVersion": group,
        "kind": "RemoteMesh",
        "metadata": {"name": remote.name, "namespace": SYSTEM_NAMESPACE},
        "spec": {
            "addresses": [remote.gateway_address],
            "network": remote.network,
            "trustDomain": remote.trust_domain,
            "identity": f"spiffe://{remote.trust_domain}/ns/{SYSTEM_NAMESPACE}/sa/federation-controller-{remote.name}",
            "import": {"merge": True},
        },
    }
    if remote.discovery_port:
        # Controllers meet on loopback then; in clusters they meet through the ingress, and this line is absent.
        other["spec"]["discovery"] = {"address": f"127.0.0.1:{remote.discovery_port}"}
    return _stream(local, other)


def policy(service: str, principal: str) -> str:
    """An AuthorizationPolicy that lets nobody but ``principal`` call a Service's workload."""
    return _stream(
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": service, "namespace": APP_NAMESPACE},
            "spec": {
                "selector": {"matchLabels": {"app": service}},
                "action": "ALLOW",
                "rules": [{"from": [{"source": {"principals": [principal]}}]}],
            },
        }
    )
