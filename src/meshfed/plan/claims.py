"""Services that would be exported, each by itself: what is out of the ordinary about one, in reasons and in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar, overload

import msgspec

from meshfed.derive import Known
from meshfed.federation.exports import Exported
from meshfed.federation.ports import without
from meshfed.model.names import listed
from meshfed.model.reasons import Decision, Reason
from meshfed.plan.values import Place, Remarks

T = TypeVar("T")


class Claim(msgspec.Struct, frozen=True):
    """A Service that would be exported, and since when it exists: another may claim the same host."""

    exported: Exported
    created: str
    unservable: tuple[int, ...] = ()
    """Ports that the OpenShift router in front of this mesh cannot serve."""
    plaintext: dict[int, str] = {}
    """Ports of the Service that are not offered, since they are served without mTLS, and who turns it off."""
    no_sidecar: bool = False
    """Whether nothing that is behind it has a sidecar, so that the gateway reaches nobody."""
    hidden: str = ""
    """What keeps it from the gateway's proxies, in words; empty where nothing does."""
    listening: tuple[int, ...] = ()
    """Where no Gateway lists it, the ports on which the gateway's pods may listen."""

    @property
    def flaws(self) -> tuple[Reason, ...]:
        """Why it cannot be reached, or not wholly, though it is exported."""
        return (
            *((Reason.NAME_TOO_LONG,) if self.unservable else ()),
            *((Reason.NO_MESH_ENDPOINTS,) if self.no_sidecar else ()),
            *((Reason.MTLS_DISABLED,) if self.plaintext else ()),
            *((Reason.HIDDEN_FROM_GATEWAY,) if self.hidden else ()),
        )


EXPECTED = frozenset({Reason.NOT_SELECTED, Reason.DENIED_BY_RULE})
"""Why a Service is not exported where nobody would expect it to be."""


def listed_under(_place: Place, decided: Claim | Decision) -> tuple[Reason, ...]:
    """Return under what a person finds a Service in the status."""
    if isinstance(decided, Claim):
        return (Reason.EXPORTED, *decided.flaws)
    return () if decided.reason in EXPECTED else (decided.reason,)


def shown(place: Place, decided: Known[Claim | Decision]) -> str:
    """Return the name of a Service, with whatever is out of the ordinary about its export."""
    name = "/".join(place)
    if not isinstance(decided, Claim):
        return name
    offer, audience = decided.exported.offer, decided.exported.audience
    alias = f"as {offer.host}" if offer.sni_host else ""
    only = f"to {listed(sorted(audience))} only" if audience is not None else ""
    gone = decided.exported.left_out
    less = f"without port {listed([*map(str, sorted(one.port.number for one in gone))])}" if gone else ""
    remarks = ", ".join(filter(None, (alias, only, less)))
    return f"{name} ({remarks})" if remarks else name


class Listed(Sequence[str], Generic[T]):
    """Things as they are shown, each only once somebody looks at it: there may be thousands."""

    def __init__(self, things: Sequence[T], show: Callable[[T], str]) -> None:
        self._things = things
        self._show = show

    def __len__(self) -> int:
        return len(self._things)

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> list[str]: ...
    def __getitem__(self, position: int | slice) -> str | list[str]:
        if isinstance(position, slice):
            return [self._show(thing) for thing in self._things[position]]
        return self._show(self._things[position])


def described(claim: Claim) -> Decision:
    """Return why a Service is exported, with whatever is wrong about that."""
    host = claim.exported.offer.host
    audience = claim.exported.audience
    whom = "every remote mesh" if audience is None else f"RemoteMesh {', '.join(sorted(audience))}"
    by = f", by export rule {claim.exported.rule}" if claim.exported.rule else ""
    message = f"offered to {whom} as {host}{by}{without(claim.exported.left_out)}{_flawed(claim)}"
    reason = claim.flaws[0] if claim.flaws else Reason.EXPORTED
    return Decision(accepted=True, reason=reason, message=message)


def remarks(claim: Claim) -> Remarks:
    """Return what else there is to say of an export."""
    return Remarks(claim.exported.selected_by, claim.flaws, _flawed(claim).removeprefix("; "))


def _flawed(claim: Claim) -> str:
    """Return what is wrong with an export, in words that go on; empty where nothing is."""
    message = ""
    if claim.unservable:
        ports = ", ".join(map(str, claim.unservable))
        message += (
            f"; the OpenShift router cannot serve port {ports}: <name>-<port>.<namespace>.svc.<domain> needs DNS "
            "labels of at most 63 characters"
        )
    if claim.plaintext:
        message += f"; {without_mtls(claim.plaintext)}, so the gateway cannot reach it, and it is not offered"
    if claim.no_sidecar:
        message += "; none of its endpoints has a sidecar, so the gateway has nobody to send to"
    if claim.hidden:
        message += f"; {claim.hidden} hides it from the gateway, which passes no calls on to it"
    return message


def without_mtls(plaintext: Mapping[int, str]) -> str:
    """Return which ports of a Service are served without mTLS, and who says so."""
    ports: dict[str, list[int]] = {}
    for port in sorted(plaintext):
        ports.setdefault(plaintext[port], []).append(port)
    return ", ".join(
        (f"port {numbers[0]} takes" if len(numbers) == 1 else f"ports {listed([*map(str, numbers)])} take")
        + f" no mTLS because of {stated}"
        for stated, numbers in ports.items()
    )
