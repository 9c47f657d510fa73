"""The controller of a mesh: its replicas, who of them leads, and whether anybody does."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from meshfed.api.times import parse_time
from meshfed.model.installation import LEASE
from meshfed.plan.replicas import REPLICA_LABEL, Replica, replica_of
from meshfed.views.snapshot import Document, Snapshot


class LeaderView(msgspec.Struct, frozen=True, rename="camel"):
    """Who holds the Lease; ``alive`` where it was renewed within the time that it is for, by the clock of who looks."""

    name: str
    since: str
    renewed: str
    alive: bool


class ReplicaView(msgspec.Struct, frozen=True, rename="camel"):
    """One replica, as it says itself; ``alive`` as of `LeaderView`. ``subscribers`` are remotes that it serves."""

    name: str
    version: str
    renewed: str
    alive: bool
    leads: bool
    subscribers: tuple[str, ...]


class ControllerView(msgspec.Struct, frozen=True, rename="camel"):
    """The controller of a mesh. ``leader`` is ``None`` where there is no election; who runs alone then leads."""

    leader: LeaderView | None
    replicas: tuple[ReplicaView, ...]

    @property
    def alive(self) -> bool | None:
        """Whether anybody is at work; ``None`` where no Lease says."""
        if self.leader is not None:
            return self.leader.alive
        return any(replica.alive for replica in self.replicas) if self.replicas else None

    @property
    def renewed(self) -> str:
        """When whoever is at work wrote last that it is; empty where nobody is seen."""
        if self.leader is not None:
            return self.leader.renewed
        return max((replica.renewed for replica in self.replicas if replica.alive), default="")


def controller(snapshot: Snapshot) -> ControllerView:
    """Return who controls the mesh, those who live first."""
    leases = list(snapshot.of_kind("Lease"))
    lease = next((one for one in leases if one["metadata"].get("name") == LEASE), None)
    holder = str(_spec(lease).get("holderIdentity") or "") if lease is not None else ""
    found = [
        _replica(replica_of(one), holder, snapshot.taken)
        for one in leases
        if (one["metadata"].get("labels") or {}).get(REPLICA_LABEL) == "true"
    ]
    return ControllerView(
        leader=_leader(lease, snapshot.taken) if lease is not None else None,
        replicas=tuple(sorted(found, key=lambda one: (not one.leads, not one.alive, one.name))),
    )


def _leader(lease: Document, now: datetime) -> LeaderView:
    spec = _spec(lease)
    holder, renewed = str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")
    return LeaderView(
        name=holder.rpartition("_")[0] or holder,
        since=str(spec.get("acquireTime") or ""),
        renewed=renewed,
        alive=bool(holder) and _fresh(renewed, spec.get("leaseDurationSeconds"), now),
    )


def _spec(lease: Document) -> dict[str, Any]:
    spec = lease.get("spec")
    return spec if isinstance(spec, dict) else {}


def _replica(replica: Replica, holder: str, now: datetime) -> ReplicaView:
    return ReplicaView(
        name=replica.host,
        version=replica.version,
        renewed=replica.renewed,
        alive=_fresh(replica.renewed, replica.duration, now),
        leads=bool(holder) and replica.holder == holder,
        subscribers=tuple(sorted(replica.subscribers)),
    )


def _fresh(renewed: str, duration: Any, now: datetime) -> bool:
    """Whether what was ``renewed`` for a ``duration`` in seconds still holds."""
    try:
        return now - parse_time(renewed) <= timedelta(seconds=float(duration))
    except (ValueError, TypeError, OverflowError):
        return False
