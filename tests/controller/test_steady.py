"""The steady state: but for the Leases nothing is written, and nothing is pushed, while nothing changes."""

from __future__ import annotations

import asyncio

import pytest

from meshfed.controller.replicas.own_lease import RENEW_SECONDS
from meshfed.plan import subscriptions
from meshfed.telemetry.metrics import Metrics
from tests.controller.meshes import federated
from tests.controller.test_federation import BOOKINFO, export_all
from tests.waiting import eventually

SECONDS = 60


def total(metrics: Metrics, name: str) -> float:
    """The sum of a counter over its labels."""
    return sum(
        sample.value for family in metrics.registry.collect() for sample in family.samples if sample.name == name
    )


def lease_writes(metrics: Metrics) -> float:
    """What was written to Leases."""
    return sum(
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "meshfed_kube_writes_total" and sample.labels["resource"].startswith("leases.")
    )


@pytest.mark.timeout(SECONDS + 120)
async def test_in_the_steady_state_there_are_no_writes_but_leases_and_no_pushes_but_heartbeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscriptions, "GRACE", 1.0)
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        await eventually(
            lambda: all(
                mesh.condition("FederatedService", name, "Applied")[0] == "True"
                for mesh in (east, west)
                for name in mesh.all("FederatedService")
            )
        )
        # Nobody here says who they are, so that nobody is seen to subscribe, which is said once it has held.
        await eventually(
            lambda: all(
                mesh.condition("RemoteMesh", other.name, "Subscribed") == ("False", "NotSubscribed")
                for mesh, other in ((east, west), (west, east))
            ),
            within=60,
        )
        await asyncio.sleep(2)

        def counted() -> list[float]:
            return [
                count
                for mesh in (east, west)
                for count in (
                    mesh.writes,
                    total(mesh.metrics, "meshfed_kube_writes_total") - lease_writes(mesh.metrics),
                    total(mesh.metrics, "meshfed_fds_pushes_total"),
                )
            ]

        before = counted()
        leases = [lease_writes(mesh.metrics) for mesh in (east, west)]
        beats = [total(mesh.metrics, "meshfed_fds_heartbeats_sent_total") for mesh in (east, west)]
        await asyncio.sleep(SECONDS)
        assert counted() == before
        for mesh, written in zip((east, west), leases, strict=True):
            assert lease_writes(mesh.metrics) - written <= SECONDS / RENEW_SECONDS + 1
        for mesh, beat in zip((east, west), beats, strict=True):
            assert 1 <= total(mesh.metrics, "meshfed_fds_heartbeats_sent_total") - beat <= 4
