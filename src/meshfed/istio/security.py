"""PeerAuthentication and AuthorizationPolicy: who may speak to this mesh's discovery service.

Both select the controller's own pods and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshfed.istio.metadata import SECURITY, Manifest, manifest
from meshfed.istio.names import AUTHORIZATION_POLICY, PEER_AUTHENTICATION
from meshfed.model.identity import SpiffeID
from meshfed.model.meshes import FDS_PORT, LocalMesh


def peer_authentication(mesh: LocalMesh) -> Manifest:
    """mTLS for whoever calls the controller; only the metrics port also takes plaintext, for scrapers without one.

    Ports are the workload's, not the Service's (Istio: PeerAuthentication, ``portLevelMtls``). Health probes need
    no exception: the sidecar injector sends them through the agent. In its root namespace istiod passes over one with
    a selector (``ComposePeerAuthentication``); there ``authorization_policy`` is what refuses plaintext.
    """
    return manifest(
        mesh,
        api_version=SECURITY,
        kind="PeerAuthentication",
        name=PEER_AUTHENTICATION,
        namespace=mesh.namespace,
        spec={
            "selector": _controller(mesh),
            "mtls": {"mode": "STRICT"},
            **({"portLevelMtls": {str(mesh.metrics_port): {"mode": "PERMISSIVE"}}} if mesh.metrics_port else {}),
        },
    )


def authorization_policy(mesh: LocalMesh, principals: Iterable[SpiffeID]) -> Manifest:
    """Discovery for ``principals`` alone; every other port as if there were no policy.

    An ALLOW policy denies what none of its rules names, so the other ports are named by exclusion. Without
    principals only that rule is left: an empty ``from`` would admit everybody.

    In a principal, Istio reads the trust domain ``cluster.local`` as *this mesh's, whatever it is called*
    (``trustdomain.Bundle.ReplaceTrustDomainAliases``), so a remote of that trust domain is refused by a mesh of
    another one.
    """
    names = sorted({principal.principal for principal in principals})
    known_remotes = {
        "from": [{"source": {"principals": names}}],
        "to": [{"operation": {"ports": [str(FDS_PORT)]}}],
    }
    other_ports = {"to": [{"operation": {"notPorts": [str(FDS_PORT)]}}]}
    return manifest(
        mesh,
        api_version=SECURITY,
        kind="AuthorizationPolicy",
        name=AUTHORIZATION_POLICY,
        namespace=mesh.namespace,
        spec={
            "selector": _controller(mesh),
            "action": "ALLOW",
            "rules": [known_remotes, other_ports] if names else [other_ports],
        },
    )


def _controller(mesh: LocalMesh) -> dict[str, Any]:
    return {"matchLabels": dict(sorted(mesh.controller_selector.items()))}
