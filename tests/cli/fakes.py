"""Clusters that commands look at, without any: what each holds is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from meshfed.cli import clusters
from meshfed.cli.kinds import Wanted
from meshfed.kube import Manifest
from meshfed.plan.replicas import Replica, Subscription, replica_lease
from meshfed.views.importers import ImportersSeen
from meshfed.views.snapshot import Snapshot, Unreached
from tests.builders import SYSTEM, federated_service, manifest, mesh_federation, remote_mesh

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEFORE = "2026-01-01T11:55:00Z"


def snapshot(*objects: Manifest, source: str = "east", unread: Mapping[str, str] | None = None) -> Snapshot:
    """What the cluster ``source`` held at `NOW`."""
    plain: tuple[Manifest, ...] = msgspec.json.decode(msgspec.json.encode(objects), type=tuple[Manifest, ...])
    return Snapshot(source, SYSTEM, NOW, plain, unread or {})


def holding(
    monkeypatch: pytest.MonkeyPatch, *found: Snapshot | Unreached, importing: ImportersSeen | None = None
) -> None:
    """Let commands find that, wherever they look; ``importing`` is what controllers answer who imports what."""

    def look(_where: clusters.Where, _wanted: Sequence[Wanted], **_: Any) -> clusters.Seen:
        return (
            tuple(one for one in found if isinstance(one, Snapshot)),
            tuple(one for one in found if isinstance(one, Unreached)),
        )

    for module in (
        "lists",
        "plan_inputs",
        "status",
        "explain",
        "clusters",
    ):  # where it is from last: who is imported now takes the real one
        monkeypatch.setattr(f"meshfed.cli.{module}.look", look)
    monkeypatch.setattr(
        "meshfed.cli.importers.importers",
        lambda _, seen, __: [importing or ImportersSeen(why="nobody says") for _ in seen],
    )


def condition(type_: str, status: bool | str, reason: str, message: str = "", since: str = BEFORE) -> dict[str, Any]:
    """A condition as it is stored."""
    word = status if isinstance(status, str) else str(status)
    return {"type": type_, "status": word, "reason": reason, "message": message, "lastTransitionTime": since}


def with_status(one: Manifest, *conditions: dict[str, Any], **fields: Any) -> Manifest:
    """``one`` with what the controller said of it."""
    return one | {"status": {"conditions": list(conditions), **fields}}


def imported(remote: str, name: str, *conditions: dict[str, Any], **more: Any) -> Manifest:
    """A FederatedService that is imported and reached, but for what ``conditions`` say."""
    given = {one["type"]: one for one in conditions}
    all_ = {
        "Accepted": condition("Accepted", True, "Accepted"),
        "Applied": condition("Applied", True, "Applied", f"ServiceEntry istio-system/import.{name}"),
        "Reachable": condition("Reachable", True, "Answered", "answered through 192.0.2.20:15443"),
    }
    one = federated_service(remote, name)
    return with_status(one, *(all_ | given).values(), importedAs=one["spec"]["host"], **more)


def lease(holder: str, renewed: str = "2026-01-01T11:59:58.000000Z") -> Manifest:
    """The Lease of the leader."""
    spec = {
        "holderIdentity": f"{holder}_1f2e",
        "acquireTime": "2026-01-01T09:00:00.000000Z",
        "renewTime": renewed,
        "leaseDurationSeconds": 15,
    }
    return manifest("Lease", "meshfed-controller", spec)


def replica(name: str, renewed: str = "2026-01-01T11:59:55.000000Z", **subscribers: str) -> Manifest:
    """The Lease of a replica; of each subscriber since when."""
    said = Replica(
        f"meshfed-replica-{name}",
        f"{name}_1f2e",
        "1.2.3",
        renewed,
        40,
        {remote: Subscription(since, "delta") for remote, since in subscribers.items()},
    )
    return replica_lease(None, said, SYSTEM)


def trouble() -> Snapshot:
    """A mesh with a bit of everything that can be wrong."""
    return snapshot(
        with_status(
            mesh_federation("east"),
            condition("Ready", False, "NoMeshEndpoints", "ExportsReady: no endpoint of shop/cart has a sidecar"),
            condition("GatewayReady", True, "Applied", "the gateway's objects are in place"),
            condition("ExportsReady", False, "NoMeshEndpoints", "no endpoint of shop/cart has a sidecar"),
            exportedServices=3,
            importedServices=2,
            remoteMeshes=2,
        ),
        with_status(
            remote_mesh("west", import_={}),
            condition("Ready", True, "Ready", "2 of 5 offered services imported"),
            condition("Connected", True, "Connected"),
            condition("Synced", True, "Synced"),
            condition("Reachable", True, "Answered"),
            offeredServices=6,
            importedServices=2,
            deniedServices=1,
            refusedServices=2,
            refused=[{"reason": "LocalServiceExists", "count": 2}],
        ),
        with_status(
            remote_mesh("north", import_={}),
            condition("Ready", False, "Unreachable", "192.0.2.30:15443: connection refused"),
            condition("Connected", False, "Unreachable", "192.0.2.30:15443: connection refused"),
            condition("Synced", False, "NotSynced", "its whole offer has not been received yet"),
            offeredServices=1,
            importedServices=1,
        ),
        imported("west", "ratings"),
        imported(
            "west", "reviews", condition("Reachable", False, "NotPassedOn", "192.0.2.20:15443: closed at the SNI")
        ),
        imported("west", "details", condition("Accepted", False, "LocalServiceExists", "there is a local Service")),
        imported("west", "cart", condition("Accepted", False, "LocalServiceExists", "there is a local Service")),
        imported("west", "secret", condition("Accepted", False, "DeniedByRule", "rule 1 denies it")),
        imported("west", "new", condition("Applied", False, "Pending", "the objects are being written")),
        imported("north", "old", condition("Applied", False, "WriteFailed", "the webhook says no")),
        lease("controller-0"),
        replica("controller-0"),
        replica("controller-1", west=BEFORE),
        replica("controller-x", renewed=BEFORE),
    )
