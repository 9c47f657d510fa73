"""What every rendered object has in common: API versions, metadata, and the label that says whose it is.

The owner label is what keeps two installations in one cluster apart, so it is put on here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from meshfed.api.v1alpha1 import GROUP, OWNER_LABEL, OWNER_NAMESPACE_LABEL
from meshfed.model.meshes import LocalMesh

Manifest = dict[str, Any]
"""A whole Kubernetes object as plain data, ready to be written as JSON or YAML."""

NETWORKING: Final = "networking.istio.io/v1"
NETWORKING_ALPHA: Final = "networking.istio.io/v1alpha3"
"""Of EnvoyFilters, which Istio serves in no newer version."""
SECURITY: Final = "security.istio.io/v1"
ROUTE: Final = "route.openshift.io/v1"

PAUSED: Final = f"{GROUP}/paused"
"""On an object that we wrote: while it is ``true``, the object is left as it is."""
MANAGED_BY: Final = "app.kubernetes.io/managed-by"


def is_paused(metadata: Mapping[str, Any]) -> bool:
    """Whether an object's metadata says that it is to be left alone."""
    return (metadata.get("annotations") or {}).get(PAUSED) == "true"


def owner_labels(mesh: LocalMesh) -> dict[str, str]:
    """The labels of everything we write: whose it is (namespace and name of the MeshFederation), and what wrote it."""
    return {
        OWNER_NAMESPACE_LABEL: mesh.namespace,
        OWNER_LABEL: mesh.name,
        MANAGED_BY: "meshfed",
    }


def manifest(
    mesh: LocalMesh, *, api_version: str, kind: str, name: str, namespace: str, spec: dict[str, Any]
) -> Manifest:
    """A complete object that carries our labels."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": owner_labels(mesh),
        },
        "spec": spec,
    }


def present(**fields: Any) -> dict[str, Any]:
    """``fields`` without those that are empty, so that no object says the same thing in two ways."""
    return {name: value for name, value in fields.items() if value not in (None, "", 0, [], {}, ())}
