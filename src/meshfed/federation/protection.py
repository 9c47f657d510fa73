"""Namespaces that federation leaves alone unless a person names them outright.

A remote that could put a host into `kube-system` or beside the control plane would speak for the cluster itself, and an
export of everything must not include the cluster's own machinery. Both directions share one rule, kept here.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshfed.model.meshes import FDS_SERVICE_PREFIX, LocalMesh

_PREFIXES = ("kube-", "openshift-")


def is_protected_namespace(mesh: LocalMesh, namespace: str) -> bool:
    """Whether ``namespace`` belongs to Kubernetes, OpenShift, the control plane or the controller."""
    return namespace.startswith(_PREFIXES) or namespace in {mesh.control_plane_namespace, mesh.namespace}


def is_api_server(namespace: str, name: str) -> bool:
    """Whether this is the Service of the Kubernetes API server, protected by itself in a namespace that is not."""
    return (namespace, name) == ("default", "kubernetes")


def is_discovery_service(name: str) -> bool:
    """Whether the name is that of a federation discovery service, which discovery alone may speak for."""
    return name.startswith(FDS_SERVICE_PREFIX)


def names_outright(entries: Iterable[str] | None, text: str) -> bool:
    """Whether one of a rule's globs is ``text`` itself, without a wildcard."""
    return entries is not None and text in entries
