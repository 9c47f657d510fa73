"""What a plan says beside its objects: what remotes are told, as what each Service is exported, every condition."""

from __future__ import annotations

from typing import Any

import msgspec

from meshfed.istio import istio_sni, router_sni
from meshfed.istio.metadata import present
from meshfed.model.meshes import IngressType, LocalMesh
from meshfed.model.names import ServiceHost
from meshfed.model.offers import Offer
from meshfed.plan.offline import Plan
from meshfed.plan.values import StatusUpdate


def report(plan: Plan) -> dict[str, Any]:
    """Return what a plan says, as plain data, sorted.

    ``offered`` has the hosts that each remote is told of, ``services`` what each Service is exported as and why, or
    why not, ``statuses`` the conditions of each object.
    """
    return {
        "offered": {remote: list(hosts) for remote, hosts in plan.offered.items()},
        "services": [
            {
                "service": "/".join(place),
                **(_offered(plan.mesh, published.offer) if published is not None and plan.mesh is not None else {}),
                "reason": str(decision.reason),
                "message": decision.message,
            }
            for place, decision, published in plan.exports
        ],
        "statuses": [_status(status) for status in plan.statuses],
    }


def _offered(mesh: LocalMesh, offer: Offer) -> dict[str, Any]:
    return present(
        host=offer.host,
        ports=[
            present(number=port.number, name=port.name, protocol=port.protocol, sni=_sni(mesh, offer, port.number))
            for port in offer.ports
        ],
        identities=list(offer.identities),
    )


def _sni(mesh: LocalMesh, offer: Offer, port: int) -> str | None:
    """Return the server name by which other meshes call a port; ``None`` where the router can serve none."""
    if mesh.ingress_type is not IngressType.OPENSHIFT_ROUTER:
        return istio_sni(offer.server_host, port)
    host = ServiceHost.parse(offer.server_host, mesh.cluster_domain)
    return router_sni(host, port) if host is not None else None


def _status(status: StatusUpdate) -> dict[str, Any]:
    conditions: list[Any] = msgspec.to_builtins(status.conditions)
    return {"object": f"{status.kind} {status.namespace}/{status.name}", "conditions": conditions}
