"""What a mesh has once it is ready to federate: the ingress gateway, and the controller as its chart installs it."""

from __future__ import annotations

from typing import Any, Final

from meshfed_sandbox.dataplane.values import MeshSettings

JSONObject = dict[str, Any]

GATEWAY: Final = "federation-ingress-gateway"
CONTROLLER: Final = "federation-controller"
GATEWAY_PORT: Final = 15443
_ROUTER_PORT: Final = 443
DISCOVERY_PORT: Final = 15080
_HEALTH_PORT: Final = 8081
_METRICS_PORT: Final = 8080


def controller_identity(settings: MeshSettings) -> str:
    """Who the controller of a mesh is to others: what their RemoteMesh names as its identity."""
    return f"spiffe://{settings.trust_domain}/ns/{settings.root_namespace}/sa/{_account(settings)}"


def _account(settings: MeshSettings) -> str:
    """The controller's service account. Meshes may share a trust domain, so its name tells them apart."""
    return f"{CONTROLLER}-{settings.name}"


def installation(settings: MeshSettings, *, arguments: tuple[str, ...] = ()) -> list[JSONObject]:
    """The objects of a mesh's control plane namespace, its federation ingress gateway and its controller.

    ``arguments`` are given to the controller besides its namespace and account. What it federates with is not part of
    it: that is for MeshFederation and RemoteMesh to say.
    """
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": settings.root_namespace, "labels": {"topology.istio.io/network": settings.network}},
        },
        *_gateway(settings),
        *_controller(settings, arguments),
    ]


def _meta(settings: MeshSettings, name: str, **labels: str) -> JSONObject:
    return {"name": name, "namespace": settings.root_namespace} | ({"labels": labels} if labels else {})


def _gateway(settings: MeshSettings) -> list[JSONObject]:
    labels = {"app": GATEWAY, "topology.istio.io/network": settings.network}
    environment = [
        {"name": "ISTIO_META_REQUESTED_NETWORK_VIEW", "value": settings.network},
        {"name": "ISTIO_META_DNS_CAPTURE", "value": "true"},
    ]
    pod = {
        "metadata": {
            "labels": {**labels, "sidecar.istio.io/inject": "true"},
            "annotations": {"inject.istio.io/templates": "gateway"},
        },
        "spec": {
            "serviceAccountName": GATEWAY,
            "containers": [{"name": "istio-proxy", "image": "auto", "env": environment}],
        },
    }
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta(settings, GATEWAY)},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _meta(settings, GATEWAY, **labels),
            "spec": {"selector": {"matchLabels": {"app": GATEWAY}}, "template": pod},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _meta(settings, GATEWAY, **labels),
            "spec": {
                "type": "LoadBalancer",
                "selector": {"app": GATEWAY},
                "ports": [{"name": "tls-passthrough", "port": GATEWAY_PORT, "targetPort": GATEWAY_PORT}],
            },
        },
    ]


def _controller(settings: MeshSettings, arguments: tuple[str, ...]) -> list[JSONObject]:
    labels = {"app.kubernetes.io/name": CONTROLLER}
    container = {
        "name": "controller",
        "image": "meshfed:latest",
        # No token is in these Pods that would say as whom they run.
        "args": [
            "controller",
            f"--namespace={settings.root_namespace}",
            f"--service-account={_account(settings)}",
            *arguments,
        ],
        "ports": [
            {"name": "grpc-fds", "containerPort": DISCOVERY_PORT},
            {"name": "http-metrics", "containerPort": _METRICS_PORT},
            {"name": "http-health", "containerPort": _HEALTH_PORT},
        ],
        "env": [{"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}],
        # Its own readiness is about the cluster and the mesh, which there may be none of yet; that it answers is what
        # its peers need to know.
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http-health"}},
    }
    annotations = {"traffic.sidecar.istio.io/excludeOutboundPorts": f"{GATEWAY_PORT},{_ROUTER_PORT}"}
    pod = {
        "metadata": {"labels": {**labels, "sidecar.istio.io/inject": "true"}, "annotations": annotations},
        "spec": {"serviceAccountName": _account(settings), "containers": [container]},
    }
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta(settings, _account(settings))},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _meta(settings, CONTROLLER, **labels),
            "spec": {"selector": {"matchLabels": labels}, "strategy": {"type": "Recreate"}, "template": pod},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _meta(settings, f"federation-discovery-service-{settings.name}", **labels),
            "spec": {
                "selector": labels,
                "ports": [{"name": "grpc-fds", "port": DISCOVERY_PORT, "targetPort": DISCOVERY_PORT}],
            },
        },
    ]
