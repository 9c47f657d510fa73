"""Two meshes whose controllers know one another: each says whether the other one subscribes, and where."""

from __future__ import annotations

import pytest

from meshfed.controller.remotes.publisher import Publisher
from meshfed.fds import Subscriber
from meshfed.model.identity import SpiffeID
from meshfed.plan import subscriptions
from meshfed.plan.replicas import replica_of
from tests.controller.meshes import Mesh, federated
from tests.controller.test_federation import BOOKINFO
from tests.controller.test_steady import lease_writes
from tests.waiting import eventually


def the_remote(publisher: Publisher, _identity: SpiffeID | None) -> Subscriber | None:
    """Whoever calls is the one remote there is, as its certificate would say through a sidecar."""
    planner = publisher._planner
    names = tuple(planner.remotes) if planner is not None else ()
    return Subscriber(names[0], frozenset(names)) if names else None


def subscribers(mesh: Mesh) -> dict[str, str]:
    """Who subscribes at the replicas of a mesh, and in which dialect."""
    return {
        remote: how.dialect for lease in mesh.all_of("Lease") for remote, how in replica_of(lease).subscribers.items()
    }


def said(mesh: Mesh, remote: str) -> str:
    return " ".join(mesh.condition("RemoteMesh", remote, "Subscribed"))


async def test_who_subscribes_and_leaves_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Publisher, "_authorize", the_remote)
    monkeypatch.setattr(subscriptions, "GRACE", 3.0)
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        for mesh, other in ((east, "west"), (west, "east")):
            await eventually(lambda mesh=mesh, other=other: subscribers(mesh) == {other: "delta"})  # type: ignore[misc]
            await eventually(lambda mesh=mesh, other=other: said(mesh, other) == "True Subscribed", within=20)  # type: ignore[misc]
        message = next(
            one["message"]
            for one in east.all("RemoteMesh")["west"]["status"]["conditions"]
            if one["type"] == "Subscribed"
        )
        assert message.endswith(", incremental")
        await west.stop()
        assert west.all_of("Lease") == [], "it goes with its controller"
        await eventually(lambda: subscribers(east) == {})
        assert said(east, "west") == "True Subscribed", "it may come back"
        await eventually(lambda: said(east, "west") == "False NotSubscribed", within=60)
        assert east.condition("RemoteMesh", "west", "Connected")[0] == "False"
        await west.start()
        await eventually(lambda: said(east, "west") == "True Subscribed")
        assert lease_writes(east.metrics) < 30


async def test_who_imports_nothing_does_not_subscribe_and_may_be_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Publisher, "_authorize", the_remote)
    monkeypatch.setattr(subscriptions, "GRACE", 3.0)
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await eventually(lambda: said(east, "west") == "True Subscribed", within=20)
        await west.patch("RemoteMesh", "east", {"spec": {"import": None}})
        await eventually(lambda: said(east, "west") == "False NotSubscribed", within=60)
        assert east.condition("RemoteMesh", "west", "Ready") == ("True", "Ready")
