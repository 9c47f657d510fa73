"""The pods of the federation ingress gateway, and which networks they are told of."""

from __future__ import annotations

from typing import Final

from meshfed.api.v1alpha1 import MeshFederation
from meshfed.views.checks.facts import containers, is_ready, selected
from meshfed.views.snapshot import Document, Snapshot

VIEW: Final = "ISTIO_META_REQUESTED_NETWORK_VIEW"
"""The variable by which a proxy tells istiod whose endpoints it wants (``RequestedNetworkView`` of NodeMetadata)."""


def gateway_pods(snapshot: Snapshot, federation: MeshFederation) -> tuple[Document, ...]:
    """Return those that are ready."""
    found = selected(snapshot.of_kind("Pod"), federation.spec.ingress.gateway.selector)
    return tuple(pod for pod in found if is_ready(pod))


def network_view(pod: Document) -> tuple[str, ...] | None:
    """Return the networks whose endpoints a pod is told of; ``None``: nothing is said, and it is told of all."""
    found = [one for container in containers(pod) for one in container.get("env") or () if one.get("name") == VIEW]
    return tuple(part.strip() for part in str(found[0].get("value", "")).split(",")) if found else None
