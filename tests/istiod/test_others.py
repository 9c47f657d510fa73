"""What others wrote is read as istiod reads it: by the sandbox's control plane, and by what decides about federation.

A Service that is exported, and one that is imported, among objects of others of any kind that decides about them.
Skipped where ``ISTIOD`` names none.
"""

from __future__ import annotations

import os
import random
from typing import Any, Final

import pytest
import yaml

from tests.builders import (
    SYSTEM,
    manifest,
)
from tests.istiod.agreement import agree
from tests.istiod.cluster import Cluster
from tests.istiod.istiod import binary
from tests.istiod.others import MUTUAL, OFF, by_hand, entries, peer_authentications, rules
from tests.istiod.scene import (
    EVERYBODY,
    LED,
    OUTLIERS,
    planned,
    written,
)

JSONObject = dict[str, Any]

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(binary() is None, reason="ISTIOD names no pilot-discovery"),
    pytest.mark.asyncio(loop_scope="module"),
]

SEEDS: Final = int(os.environ.get("ISTIOD_STATES", "12"))
"""How many states of each kind are compared."""


async def test_without_any(beside: Cluster) -> None:
    world = planned()
    await beside.state(LED, *written(world))
    await beside.hold("without any", *EVERYBODY)
    await agree(beside, world, "without any", {})


ROUTER: JSONObject = {"ingressType": "openshift-router"}


@pytest.mark.parametrize("remote", [{}, ROUTER, {"trafficPolicy": OUTLIERS}], ids=["plain", "router", "outliers"])
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_rules_of_others(beside: Cluster, seed: int, remote: JSONObject) -> None:
    await _compared(beside, _not_beside_ours(rules(random.Random(seed)), remote), **remote)


@pytest.mark.parametrize(
    "export_to",
    [
        ([], ["shop", "web"], [], ["web"]),
        (["web"], ["web", "shop"]),
        (["web"], ["*"]),
        (["."], ["shop", "default"], [".", "shop"]),
        (["default"], ["."], ["default", "web"], []),
    ],
)
async def test_rules_that_are_merged_or_stand_side_by_side(beside: Cluster, export_to: list[list[str]]) -> None:
    others = [
        manifest(
            "DestinationRule",
            f"r{at}",
            {"host": "ratings", "exportTo": to, "trafficPolicy": OFF if at % 2 else MUTUAL},
            namespace="default",
            creationTimestamp=f"2026-01-0{at + 1}T00:00:00Z",
        )
        for at, to in enumerate(export_to)
    ]
    await _compared(beside, others)


@pytest.mark.parametrize("remote", [{}, ROUTER], ids=["plain", "router"])
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_rules_of_others_that_select_clients(beside: Cluster, seed: int, remote: JSONObject) -> None:
    """The sandbox's control plane refuses those, so only what is said is compared."""
    chosen = random.Random(seed)
    others = _not_beside_ours(rules(chosen), remote)
    for one in others:
        if chosen.random() < 0.5:
            one["spec"]["workloadSelector"] = {"matchLabels": {"app": "client"}}
    await beside.state(LED, *written(planned(**remote)), *others)
    await agree(beside, planned(*others, **remote), yaml.safe_dump_all(others), remote)


def _not_beside_ours(found: list[JSONObject], remote: JSONObject) -> list[JSONObject]:
    """How old ours is nobody knows, so beside another for its host in its namespace it counts for less."""
    return [
        one
        for one in found
        if not remote or one["metadata"]["namespace"] != SYSTEM or one["spec"]["host"].startswith("*")
    ]


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_peer_authentications_of_others(beside: Cluster, seed: int) -> None:
    chosen = random.Random(seed)
    await _compared(beside, peer_authentications(chosen) + by_hand(chosen))


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_endpoints_that_others_wrote(beside: Cluster, seed: int) -> None:
    chosen = random.Random(seed)
    await _compared(beside, by_hand(chosen) + entries(chosen))


async def _compared(beside: Cluster, others: list[JSONObject], **remote: Any) -> None:
    state = yaml.safe_dump_all(others)
    # What would be written without them is there, so that it shows what becomes of it.
    await beside.state(LED, *written(planned(**remote)), *others)
    await beside.hold(state, *EVERYBODY)
    await agree(beside, planned(*others, **remote), state, remote)
