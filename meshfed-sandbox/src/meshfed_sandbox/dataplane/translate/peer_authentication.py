"""Which mode of mutual TLS a workload's ports are in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from meshfed_sandbox.dataplane.translate import schema
from meshfed_sandbox.dataplane.translate.mesh import Mesh
from meshfed_sandbox.dataplane.translate.names import selects

Mode = Literal["DISABLE", "PERMISSIVE", "STRICT"]


def port_mode(mesh: Mesh, namespace: str, labels: Mapping[str, str], port: int) -> Mode:
    """The mode of one port of a workload: what is set closest to it (istiod's ``ComposePeerAuthentication``).

    Of several PeerAuthentications for the same scope the oldest counts. ``portLevelMtls`` counts only where a
    selector says whose ports are meant. In the root namespace, one with a selector counts for nobody. Nothing set:
    PERMISSIVE.
    """
    if namespace == mesh.settings.root_namespace:
        return namespace_mode(mesh, namespace)
    for each in mesh.peer_authentications:
        selector = each.spec.selector.match_labels
        if not selector or each.meta.namespace != namespace or not selects(selector, labels):
            continue
        by_port = each.spec.port_level_mtls.get(str(port))
        return _set(by_port) or _set(each.spec.mtls) or namespace_mode(mesh, namespace)
    return namespace_mode(mesh, namespace)


def namespace_mode(mesh: Mesh, namespace: str) -> Mode:
    """The mode of workloads in a namespace for which nothing else is said."""
    for scope in (namespace, mesh.settings.root_namespace):
        for each in mesh.peer_authentications:
            if each.meta.namespace == scope and not each.spec.selector.match_labels:
                found = _set(each.spec.mtls)
                if found:
                    return found
                break
    return "PERMISSIVE"


def _set(mutual: schema.MutualTLS | None) -> Mode | None:
    return None if mutual is None or mutual.mode == "UNSET" else mutual.mode
