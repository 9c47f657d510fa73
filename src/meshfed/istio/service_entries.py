"""ServiceEntry: hosts of other meshes, made known to this one.

Never written for a host that a local Service has: Istio ignores it, or its gateway ends up with two filter chains
for one SNI and takes no more updates. Such hosts get WorkloadEntries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from meshfed.istio.metadata import NETWORKING, Manifest, manifest, present
from meshfed.istio.names import discovery_name, import_name
from meshfed.model.imports import Backend, Import
from meshfed.model.meshes import FDS_PORT_NAME, LocalMesh, Remote
from meshfed.model.offers import TLS_MODE


def discovery_entry(mesh: LocalMesh, remote: Remote) -> Manifest | None:
    """The discovery service of ``remote``, behind its ingress.

    ``None`` where it is not reached that way: the remote has no address, or its discovery has one of its own.
    ``subjectAltNames`` is the only check of the server's identity, since behind a sidecar the controller never
    sees a certificate. A default identity is not held against the server: nobody said that it is its own.
    """
    if not remote.addresses or remote.discovery_address:
        return None
    return manifest(
        mesh,
        api_version=NETWORKING,
        kind="ServiceEntry",
        name=discovery_name(remote),
        namespace=mesh.control_plane_namespace,
        spec=present(
            hosts=[remote.fds_host],
            ports=[{"number": remote.discovery_port, "name": FDS_PORT_NAME, "protocol": "GRPC"}],
            location="MESH_INTERNAL",
            resolution=_resolution([remote]),
            endpoints=_endpoints(remote, port_names=(FDS_PORT_NAME,), labels={}),
            subjectAltNames=[str(remote.identity)] if remote.identity_configured else [],
            exportTo=_export_to(mesh, ("*",)),
        ),
    )


def import_entry(mesh: LocalMesh, import_: Import) -> Manifest:
    """One imported host with an endpoint for every address of every remote that serves it.

    ``subjectAltNames`` hold for all endpoints alike, so they are written only where every remote announced some;
    without them any certificate under the trusted roots may answer. ``exportTo`` is left to Istio where it is ``*``,
    its own default, unless the mesh's configuration has another. Where no remote has an address, the host is known but
    has no endpoints.
    """
    backends = sorted(
        (backend for backend in import_.backends if backend.remote.addresses), key=lambda backend: backend.remote.name
    )
    ports = sorted(import_.ports, key=lambda port: port.number)
    names = tuple(port.name for port in ports)
    spec = present(
        hosts=[import_.host],
        ports=[
            present(number=port.number, name=port.name, protocol=port.protocol, targetPort=port.target_port)
            for port in ports
        ],
        location="MESH_INTERNAL",
        resolution=_resolution(backend.remote for backend in backends),
        endpoints=[
            endpoint
            for backend in backends
            for endpoint in _endpoints(backend.remote, port_names=names, labels=backend.labels)
        ],
        subjectAltNames=subject_alt_names(backends),
        exportTo=_export_to(mesh, import_.export_to),
    )
    return manifest(
        mesh,
        api_version=NETWORKING,
        kind="ServiceEntry",
        name=import_name(import_.host),
        namespace=mesh.control_plane_namespace,
        spec=spec,
    )


def _endpoints(remote: Remote, *, port_names: Iterable[str], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """An endpoint per address of ``remote``: each port leads to the ingress port there.

    The tlsMode label makes proxies speak mTLS to the address, which has no sidecar that istiod knows of; the network
    keeps gateways of this mesh from sending traffic of others on.
    """
    names = tuple(port_names)
    return [
        present(
            address=address.host,
            ports=dict.fromkeys(names, address.port),
            labels={**dict(sorted(labels.items())), TLS_MODE: "istio"},
            network=remote.network,
            locality=remote.locality,
        )
        for address in sorted(set(remote.addresses))
    ]


def _export_to(mesh: LocalMesh, namespaces: Collection[str]) -> list[str]:
    """Who sees an entry; nothing is written where it is known that Istio's default says the same."""
    if "*" not in namespaces:
        return sorted(set(namespaces))
    return [] if mesh.config.shows_entries else ["*"]


def _resolution(remotes: Iterable[Remote]) -> str:
    """STATIC takes no host names, DNS takes both (istiod's ``ValidateServiceEntry``).

    Never DNS without endpoints: proxies would then resolve the imported host itself.
    """
    return "STATIC" if all(remote.has_only_ips for remote in remotes) else "DNS"


def subject_alt_names(backends: Iterable[Backend]) -> list[str]:
    """The identities of which an endpoint has to have one, sorted; none, and so any, where one says nothing."""
    announced = [backend.identities for backend in backends]
    return sorted({name for names in announced for name in names}) if all(announced) else []
