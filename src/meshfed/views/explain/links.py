"""The links of a chain: what each asks, how it stands, and whose it is to mend."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from meshfed.model.reasons import REASONS


class State(StrEnum):
    """How a link stands."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    UNKNOWN = "unknown"
    UNSEEN = "unseen"


STATES: Final[dict[State, str]] = {
    State.OK: "it holds, as the message says",
    State.WARNING: "it does not hold, and this host is served all the same; the message says what suffers",
    State.BROKEN: "it does not hold, as the message says",
    State.UNKNOWN: "nobody can say; the message says why",
    State.UNSEEN: "it is the other owner's side, of which nothing was read here",
}
"""What each state means."""


class Whose(StrEnum):
    """Whose side something is."""

    EXPORTER = "exporter"
    IMPORTER = "importer"
    EITHER = "either"


class LinkName(StrEnum):
    """What a link is called."""

    SERVICE = "service"
    SELECTED = "selected"
    EXPORTED = "exported"
    SERVED = "served"
    GATEWAY = "gateway"
    OFFERED = "offered"
    DESCRIBED = "described"
    CONNECTED = "connected"
    RECEIVED = "received"
    ACCEPTED = "accepted"
    WRITTEN = "written"
    RESOLVED = "resolved"
    REACHED = "reached"
    IDENTITY = "identity"
    POLICY = "policy"


LINKS: Final[dict[LinkName, tuple[Whose, str]]] = {
    LinkName.SERVICE: (Whose.EXPORTER, "There is such a Service."),
    LinkName.SELECTED: (Whose.EXPORTER, "The MeshFederation exports it, by the rule or selector that is named."),
    LinkName.EXPORTED: (Whose.EXPORTER, "The host, ports and identities it is exported with; nothing keeps the gateway from passing calls on to it."),
    LinkName.SERVED: (Whose.EXPORTER, "Pods with a sidecar are ready behind it."),
    LinkName.GATEWAY: (Whose.EXPORTER, "The objects that have the gateway pass it on are in place, and the gateway is ready."),
    LinkName.OFFERED: (Whose.EXPORTER, "The importer may see it, and can hear of it."),
    LinkName.DESCRIBED: (Whose.EITHER, "Each mesh's RemoteMesh for the other says what the other's MeshFederation says, and who its controller is. It takes both sides."),
    LinkName.CONNECTED: (Whose.IMPORTER, "The importer is connected to the exporter's discovery service, and imports from it."),
    LinkName.RECEIVED: (Whose.IMPORTER, "The offer is recorded, as a FederatedService; where both sides are read, as it is offered."),
    LinkName.ACCEPTED: (Whose.IMPORTER, "Rules, limits and what else has the host let it be imported (condition `Accepted`)."),
    LinkName.WRITTEN: (Whose.IMPORTER, "The Istio objects of the import are in place (condition `Applied`)."),
    LinkName.RESOLVED: (Whose.IMPORTER, "A client gets an address for the host."),
    LinkName.REACHED: (Whose.IMPORTER, "A handshake through the exporter's gateway was answered by whom it should be (condition `Reachable`)."),
    LinkName.IDENTITY: (Whose.IMPORTER, "Who may answer, and as whom callers are seen there."),
    LinkName.POLICY: (Whose.EXPORTER, "No AuthorizationPolicy selects the workload. What one says to a request is not seen."),
}  # fmt: skip
"""Whose side each link is, and what holds where it is ok."""


class ChainLink(msgspec.Struct, frozen=True, rename="camel"):
    """One link: how it stands, why, and where it is broken whose side that is and what to do.

    ``mesh`` is where it was looked at. ``reason`` is one of the controller's, where there is one. ``remedy`` is empty
    where the message says what to do.
    """

    name: LinkName
    state: State
    message: str
    reason: str = ""
    remedy: str = ""
    whose: Whose | None = None
    mesh: str = ""


def ok(name: LinkName, message: str, reason: str = "") -> ChainLink:
    """Return a link that holds."""
    return ChainLink(name, State.OK, message, reason)


def broken(
    name: LinkName, message: str, reason: str = "", *, remedy: str = "", whose: Whose | None = None
) -> ChainLink:
    """Return a link that does not hold; it is its own side's to mend unless ``whose`` says otherwise."""
    return ChainLink(name, State.BROKEN, message, reason, remedy, whose or LINKS[name][0])


def warning(name: LinkName, message: str, reason: str = "", *, remedy: str = "") -> ChainLink:
    """Return a link that does not hold, without which this host is served all the same."""
    return ChainLink(name, State.WARNING, message, reason, remedy)


def unknown(name: LinkName, message: str, reason: str = "", *, remedy: str = "") -> ChainLink:
    """Return a link of which nobody can say whether it holds."""
    return ChainLink(name, State.UNKNOWN, message, reason, remedy)


def unseen(name: LinkName, message: str) -> ChainLink:
    """Return a link of the other owner's side."""
    return ChainLink(name, State.UNSEEN, message)


def after(names: tuple[LinkName, ...], link: LinkName) -> tuple[ChainLink, ...]:
    """Return links of which nothing can be said where an earlier one does not hold."""
    return tuple(unknown(name, f"it depends on `{link}`") for name in names)


def sentence(reason: str) -> str:
    """Return what a reason means, as the documentation has it; empty where it is none of ours."""
    return next((text for known, text in REASONS.items() if known == reason), "")
