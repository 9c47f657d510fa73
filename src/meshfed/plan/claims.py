"""Services that would be exported, each by itself: what is out of the ordinary about one, in reasons and in words."""

from __future__ import annotations

import msgspec

from meshfed.federation.exports import Exported
from meshfed.istio.names import EXPORT_TO
from meshfed.model.reasons import Decision, Reason
from meshfed.plan.statuses import listed

Place = tuple[str, str]
"""The namespace and name of a Service."""


class Claim(msgspec.Struct, frozen=True):
    """A Service that would be exported, and since when it exists: another may claim the same host."""

    exported: Exported
    created: str
    unservable: tuple[int, ...] = ()
    """Ports that the OpenShift router in front of this mesh cannot serve."""
    meshless: bool = False
    """Whether nothing that is behind it has a sidecar, so that the gateway reaches nobody."""
    hidden: bool = False
    """Whether the gateway is in none of the namespaces whose proxies are told of it."""

    @property
    def flaws(self) -> tuple[Reason, ...]:
        """Why it cannot be reached, or not wholly, though it is exported."""
        return (
            *((Reason.NAME_TOO_LONG,) if self.unservable else ()),
            *((Reason.NO_MESH_ENDPOINTS,) if self.meshless else ()),
            *((Reason.HIDDEN_FROM_GATEWAY,) if self.hidden else ()),
        )


def listing(place: Place, decided: Claim | Decision | None) -> tuple[Reason, str] | None:
    """Return under what a Service is listed once it is settled who has its host, and as what."""
    name = "/".join(place)
    if isinstance(decided, Claim):
        offer, audience = decided.exported.offer, decided.exported.audience
        alias = f"as {offer.host}" if offer.sni_host else ""
        only = f"to {listed(sorted(audience))} only" if audience is not None else ""
        remarks = ", ".join(filter(None, (alias, only)))
        return Reason.EXPORTED, f"{name} ({remarks})" if remarks else name
    if decided is not None and decided.reason is Reason.HOST_TAKEN:
        return Reason.HOST_TAKEN, name
    return None


def described(claim: Claim) -> Decision:
    """Return why a Service is exported, with whatever is wrong about that."""
    host = claim.exported.offer.host
    audience = claim.exported.audience
    whom = "every remote mesh" if audience is None else f"RemoteMesh {', '.join(sorted(audience))}"
    message = f"offered to {whom} as {host}"
    if claim.unservable:
        ports = ", ".join(map(str, claim.unservable))
        message += (
            f"; the OpenShift router cannot serve port {ports}: <name>-<port>.<namespace>.svc.<domain> needs DNS "
            "labels of at most 63 characters"
        )
    if claim.meshless:
        message += "; none of its pods has a sidecar, so the gateway has nobody to send to"
    if claim.hidden:
        message += f"; its annotation {EXPORT_TO} hides it from the gateway, which passes no calls on to it"
    return Decision(accepted=True, reason=Reason.EXPORTED, message=message)
