"""The controller of a mesh: who leads, and whether anybody does."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from meshfed.api.times import parse_time
from meshfed.views.snapshot import Snapshot

LEADER_LEASE: Final = "meshfed-controller"
"""The Lease that the leading replica holds."""


class LeaderView(msgspec.Struct, frozen=True, rename="camel"):
    """Who holds the Lease; ``alive`` where it was renewed within the time that it is for, by the clock of who looks."""

    name: str
    since: str
    renewed: str
    alive: bool


def leader(snapshot: Snapshot) -> LeaderView | None:
    """Return who leads; ``None`` where there is no Lease, as with one replica that runs without an election."""
    lease = next((one for one in snapshot.of_kind("Lease") if one["metadata"].get("name") == LEADER_LEASE), None)
    if lease is None:
        return None
    spec: dict[str, Any] = lease.get("spec") or {}
    holder, renewed = str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")
    return LeaderView(
        name=holder.partition("_")[0],
        since=str(spec.get("acquireTime") or ""),
        renewed=renewed,
        alive=bool(holder) and fresh(renewed, spec.get("leaseDurationSeconds"), snapshot.taken),
    )


def fresh(renewed: str, duration: Any, now: datetime) -> bool:
    """Whether what was ``renewed`` for a ``duration`` in seconds still holds."""
    try:
        return now - parse_time(renewed) <= timedelta(seconds=float(duration))
    except (ValueError, TypeError):
        return False
