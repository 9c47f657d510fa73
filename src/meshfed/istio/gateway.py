"""Gateway: the door through which other meshes reach what this one exports."""

from __future__ import annotations

from collections.abc import Iterable

from meshfed.istio.metadata import NETWORKING, Manifest, manifest
from meshfed.istio.names import gateway_name
from meshfed.model.meshes import LocalMesh


def gateway(mesh: LocalMesh, index: int, hosts: Iterable[str]) -> Manifest:
    """Gateway ``index`` with its share of the exported hosts; the discovery service's host belongs to index 0.

    AUTO_PASSTHROUGH routes by SNI without ending the TLS connection, so the workloads' own mTLS reaches from end
    to end. A host may stand in one Gateway object only: istiod skips a whole server that repeats a host of an older
    one.
    """
    server = {
        "port": {"number": mesh.gateway_port, "name": mesh.gateway_port_name, "protocol": "TLS"},
        "hosts": sorted(set(hosts)),
        "tls": {"mode": "AUTO_PASSTHROUGH"},
    }
    return manifest(
        mesh,
        api_version=NETWORKING,
        kind="Gateway",
        name=gateway_name(index),
        namespace=mesh.control_plane_namespace,
        spec={"selector": dict(sorted(mesh.gateway_selector.items())), "servers": [server]},
    )
