"""Meshes with roots of their own: with their bundles exchanged they reach each other, without it nobody does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from meshfed_sandbox import Sandbox
from meshfed_sandbox.dataplane.plane import Options
from tests.builders import service_entry
from tests.sandbox.dataplane.world import World
from tests.waiting import eventually

RATINGS = "http://ratings.bookinfo:9080/ratings/0"


async def test_exchanged_bundles_are_enough_and_a_policy_sees_the_other_trust_domain(tmp_path: Path) -> None:
    async with World.up("east", "west", directory=tmp_path, options=Options(trust="federated")) as world:
        await world.east.bookinfo("productpage")
        await world.west.bookinfo("ratings")
        await world.federate()
        await world.settled()
        await world.connected()
        await world.west.export("ratings.bookinfo")
        answer = await world.east.until(RATINGS, mesh="west")
        assert answer.caller == "spiffe://east.local/ns/bookinfo/sa/bookinfo-productpage"

        policy = {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "ratings", "namespace": "bookinfo"},
            "spec": {"selector": {"matchLabels": {"app": "ratings"}}, "action": "ALLOW"},
        }
        for principal, status in (("west.local", 403), ("east.local", 200)):
            source = {"principals": [f"{principal}/ns/bookinfo/sa/bookinfo-productpage"]}
            policy["spec"] |= {"rules": [{"from": [{"source": source}]}]}  # type: ignore[operator]
            await world.west.apply(policy)
            await world.east.until(RATINGS, status=status)


async def test_without_an_exchange_nothing_crosses(tmp_path: Path) -> None:
    async with World.up("east", "west", directory=tmp_path, options=Options(trust="none")) as world:
        await world.east.bookinfo("productpage")
        await world.federate()
        await world.settled()

        async def complaint() -> str:
            found = await world.east.condition("RemoteMesh", "west", "Connected")
            return found if found.startswith("False") and "upstream connect error" in found else ""

        said = await eventually(complaint, what="east's sidecar cannot connect, and says so")
        assert "a proxy says so: the remote's controller is not reached" in said
        # What a controller would have written, had it heard of the other mesh, changes nothing.
        await world.west.bookinfo("ratings")
        await world.west.export("ratings.bookinfo")
        await world.settled()
        await world.east.apply(await _as_imported(world))
        await world.east.until(RATINGS, status=503)
        sidecar = world.east.plane.pod("bookinfo", "productpage").proxy
        assert sidecar is not None
        failures = await sidecar.stats(r"ratings.*ssl.fail_verify_error|ratings.*upstream_cx_connect_fail")
        assert any(int(value) for value in failures.values())


async def _as_imported(world: World) -> dict[str, object]:
    endpoint = {
        "address": await world.west.gateway_address(),
        "network": "west-network",
        "labels": {"security.istio.io/tlsMode": "istio"},
        "ports": {"http": 15443},
    }
    return service_entry("ratings", "ratings.bookinfo.svc.cluster.local", endpoints=[endpoint])


def test_a_data_plane_needs_its_loop(tmp_path: Path) -> None:

    async def up() -> None:
        async with Sandbox(["east"], directory=tmp_path, data_plane=Options()):
            pass

    with pytest.raises(RuntimeError, match="PodLoop"):
        asyncio.run(up())
