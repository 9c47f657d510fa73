"""What the demo puts into the meshes: bookinfo's Services, and how each mesh knows the other.

Written as a user would write them; the files are left in the demo's folder for reading and for kubectl.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import yaml

SYSTEM_NAMESPACE: Final = "istio-system"
APP_NAMESPACE: Final = "default"
EXPORT_LABEL: Final = "export-service"

SERVICES: Final = {
    "east": ("productpage", "reviews", "details"),
    "west": ("productpage", "reviews", "ratings"),
}
"""bookinfo as in the federation guide: two Services in both meshes, one in east alone, one in west alone."""


class Place(msgspec.Struct, frozen=True):
    """A mesh of the demo: its name, its ingress gateway's address, and where its controller answers on this machine."""

    name: str
    gateway_address: str
    discovery_port: int

    @property
    def network(self) -> str:
        """Istio's name for the mesh's network."""
        return f"{self.name}-network"


def host(service: str) -> str:
    """The host of one of bookinfo's Services."""
    return f"{service}.{APP_NAMESPACE}.svc.cluster.local"


def _service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": APP_NAMESPACE, "labels": {"app": name, "service": name}},
        "spec": {"ports": [{"name": "http", "port": 9080}], "selector": {"app": name}},
    }


def bookinfo(mesh: str) -> str:
    """The Services of ``mesh``, and the namespace of its control plane, as a YAML stream."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}}
    return yaml.safe_dump_all([namespace, *map(_service, SERVICES[mesh])], sort_keys=False)


def federation(own: Place, remote: Place) -> str:
    """What the owner of a mesh applies to federate it with another: a MeshFederation and a RemoteMesh."""
    group = "federation.openshift-service-mesh.io/v1alpha1"
    local = {
        "apiVersion": group,
        "kind": "MeshFederation",
        "metadata": {"name": own.name, "namespace": SYSTEM_NAMESPACE},
        "spec": {
            "network": own.network,
            "ingress": {"gateway": {"selector": {"app": "federation-ingress-gateway"}}},
            "export": {"serviceSelectors": {"matchLabels": {EXPORT_LABEL: "true"}}},
        },
    }
    other = {
        "apiVersion": group,
        "kind": "RemoteMesh",
        "metadata": {"name": remote.name, "namespace": SYSTEM_NAMESPACE},
        "spec": {
            "addresses": [remote.gateway_address],
            "network": remote.network,
            "identity": f"spiffe://cluster.local/ns/{SYSTEM_NAMESPACE}/sa/federation-controller-{remote.name}",
            # Controllers meet on loopback here; in clusters they meet through the ingress, and this line is absent.
            "discovery": {"address": f"127.0.0.1:{remote.discovery_port}"},
            "import": {"merge": True},
        },
    }
    return yaml.safe_dump_all([local, other], sort_keys=False)
