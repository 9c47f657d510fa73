"""The condition `Subscribed`, from a leading controller in virtual time: what replicas write, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from meshfed.controller.replicas.own_lease import RENEW_SECONDS, OwnLease
from meshfed.kube import LEASES, Forbidden, KubeError, Resource
from meshfed.kube.client import Page
from meshfed.plan.replicas import DURATION, Withdrawn, replica_of
from meshfed.plan.subscriptions import GRACE, KEPT
from tests.builders import SYSTEM, host, mesh_federation, remote_mesh, service
from tests.controller import in_memory
from tests.controller.in_memory import PatchingClient, Remote, World
from tests.virtual import virtual_loop

ALL = 2 * RENEW_SECONDS + GRACE
"""Seconds after which all is said that holds."""


class Replica:
    """Keeps a Lease, as the controller of the world or one beside it."""

    def __init__(self, world: World, identity: str = "") -> None:
        assert world.controller is not None
        self._subscribers: dict[str, str] = {}
        self.imports: dict[str, int] = {}
        self._withdrawn: tuple[Withdrawn, ...] = ()
        self._changed = asyncio.Event()
        self._lease = OwnLease(
            PatchingClient(world.cluster),
            namespace=SYSTEM,
            identity=identity or world.controller._identity,
            subscribers=lambda: self._subscribers,
            changed=self._changed,
            imports=lambda: self.imports,
            withdrawn=lambda: self._withdrawn,
            faults=world.controller._faults,
        )
        self._task = asyncio.create_task(self._lease.run())

    def subscribe(self, **subscribers: str) -> None:
        self._subscribers = subscribers
        self._changed.set()

    def withdraw(self, *remotes: str, at: str = "1", name: str = "ratings") -> None:
        self._withdrawn = (Withdrawn("default", name, host(name), remotes, at), *self._withdrawn)
        self._changed.set()

    def kill(self) -> None:
        self._task.cancel()


def told(
    story: Callable[[World], Awaitable[None]], refuse: Callable[[str, str], KubeError | None] = lambda *_: None
) -> None:
    """Have a story happen in a mesh with a remote west, whose own controller answers."""

    async def run(monkeypatch: pytest.MonkeyPatch) -> None:
        world = World(monkeypatch, west=Remote())
        identity = f"spiffe://cluster.local/ns/{SYSTEM}/sa/controller-west"
        world.put(mesh_federation("east"), remote_mesh("west", identity=identity, import_={"merge": True}))
        world.cluster.refuse = refuse
        await world.start()
        await story(world)
        await world.stop()

    with pytest.MonkeyPatch.context() as monkeypatch, asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(run(monkeypatch))


def condition(world: World, kind: str = "Subscribed") -> str:
    return next(
        (f"{status} {reason}" for type_, status, reason in world.said()["RemoteMesh west"] if type_ == kind), ""
    )


def message(world: World) -> str:
    (status,) = (one["status"] for (kind, *_), one in world.cluster.objects.items() if kind.kind == "RemoteMesh")
    (text,) = (one["message"] for one in status["conditions"] if one["type"] == "Subscribed")
    return str(text)


def leases(world: World) -> set[str]:
    return {replica_of(one).host for (kind, *_), one in world.cluster.objects.items() if kind == LEASES}


def statuses_written(world: World) -> int:
    return sum(call == ("patch", "west") for call in world.cluster.calls)


def test_that_a_remote_comes_to_subscribe_is_a_sign_that_it_is_there() -> None:
    async def story(world: World) -> None:
        found = Replica(world, "pod-2_uuid")
        found.subscribe(west="delta")
        await asyncio.sleep(4)
        await world.stop()
        await world.start()
        own, west = Replica(world), world.remotes["west"]
        await asyncio.sleep(4)
        before = west.signs
        await asyncio.sleep(ALL)
        assert west.signs == before, "a Lease that is found, or renewed, tells nothing new"
        own.subscribe(west="delta", north="delta")
        await asyncio.sleep(2)
        assert west.signs == before + 1
        own.imports = {"west": 7}
        await asyncio.sleep(ALL)
        own.subscribe()
        await asyncio.sleep(2)
        assert west.signs == before + 1
        own.subscribe(west="delta")
        await asyncio.sleep(2)
        assert west.signs == before + 2

    told(story)


def test_it_is_said_who_subscribes_and_where_and_that_nobody_does() -> None:
    async def story(world: World) -> None:
        own, beside = Replica(world), Replica(world, "pod-2_uuid")
        await asyncio.sleep(4)
        assert condition(world) == "Unknown SubscribersUnknown"
        assert condition(world, "Ready") == "True Ready"
        await asyncio.sleep(ALL)
        assert condition(world) == "False NotSubscribed"
        assert condition(world, "Ready") == "True Ready"
        beside.subscribe(west="delta")
        await asyncio.sleep(2)
        assert condition(world) == "True Subscribed"
        assert message(world).startswith("subscribes at replica pod-2 since ")
        own.subscribe(west="sotw")
        beside.subscribe()
        await asyncio.sleep(ALL)
        assert condition(world) == "True Subscribed"
        assert message(world).endswith(", in the reference's dialect")
        own.subscribe()
        await asyncio.sleep(ALL)
        assert condition(world) == "False NotSubscribed"

    told(story)


def test_a_new_leader_leaves_what_stands_until_it_knows() -> None:
    async def story(world: World) -> None:
        own, beside = Replica(world), Replica(world, "pod-2_uuid")
        beside.subscribe(west="delta")
        await asyncio.sleep(ALL)
        assert condition(world) == "True Subscribed"
        await world.stop()
        own.kill()
        beside.kill()
        await asyncio.sleep(60)
        before = len(seen(world))
        await world.start()
        own, beside = Replica(world), Replica(world, "pod-2_next")
        await asyncio.sleep(20)
        beside.subscribe(west="delta")
        await asyncio.sleep(ALL)
        assert set(seen(world)[before:]) <= {"True Subscribed"}
        assert condition(world) == "True Subscribed"

    told(story)


def seen(world: World) -> list[str]:
    """What the condition was in each state of the RemoteMesh there was."""
    found = []
    for change in world.cluster.history:
        if change.place[0].kind == "RemoteMesh" and change.new is not None:
            conditions = change.new.get("status", {}).get("conditions", [])
            found += [f"{one['status']} {one['reason']}" for one in conditions if one["type"] == "Subscribed"]
    return found


def test_who_comes_and_goes_all_the_time_costs_two_statuses_a_minute() -> None:
    async def story(world: World) -> None:
        own = Replica(world)
        own.subscribe(west="delta")
        await asyncio.sleep(ALL)
        before = statuses_written(world), len(seen(world))
        for _ in range(6000):
            own.subscribe()
            await asyncio.sleep(0.005)
            own.subscribe(west="delta")
            await asyncio.sleep(0.005)
        assert statuses_written(world) - before[0] <= 2
        assert set(seen(world)[before[1] :]) <= {"True Subscribed"}

    told(story)


def test_in_the_steady_state_nothing_is_written_but_the_leases() -> None:
    async def story(world: World) -> None:
        own = Replica(world)
        own.subscribe(west="delta")
        await asyncio.sleep(ALL)
        world.cluster.calls.clear()
        await asyncio.sleep(600)
        assert {name for verb, name in world.cluster.calls if verb not in {"list", "watch", "get"}} == leases_named(
            world
        )
        assert len(world.cluster.writes) <= 600 / RENEW_SECONDS + 1

    told(story)


def leases_named(world: World) -> set[str]:
    return {name for (kind, _, name) in world.cluster.objects if kind == LEASES}


def test_a_replica_that_dies_is_forgotten_and_its_lease_goes_after_ten_minutes() -> None:
    async def story(world: World) -> None:
        Replica(world)
        beside = Replica(world, "pod-2_uuid")
        beside.subscribe(west="delta")
        await asyncio.sleep(ALL)
        beside.kill()
        await asyncio.sleep(DURATION - 15)
        assert condition(world) == "True Subscribed"
        await asyncio.sleep(ALL)
        assert condition(world) == "False NotSubscribed"
        await asyncio.sleep(KEPT - 60)
        assert "pod-2" in leases(world)
        await asyncio.sleep(180)
        assert "pod-2" not in leases(world)
        assert len(leases(world)) == 1

    told(story)


def test_the_lease_of_who_lives_after_all_is_not_deleted() -> None:
    async def story(world: World) -> None:
        Replica(world)
        beside = Replica(world, "pod-2_uuid")
        await asyncio.sleep(ALL)
        beside.kill()

        def read_at_last(verb: str, name: str) -> None:
            # It is renewed in the moment before it is deleted.
            if verb == "delete" and name == "meshfed-replica-pod-2":
                world.cluster.edit(LEASES, SYSTEM, name, lambda lease: lease["spec"].update(renewTime="now"))

        world.cluster.refuse = read_at_last
        await asyncio.sleep(DURATION + KEPT + 90)
        assert "pod-2" in leases(world)

    told(story)


class Blind(PatchingClient):
    """A client that may not list some kinds."""

    async def page(self, resource: Resource, **more: Any) -> Page:
        if resource == LEASES:
            raise Forbidden(403, "Forbidden", "leases is forbidden")
        return await super().page(resource, **more)


@pytest.mark.parametrize("verb", ["create", "list"])
def test_where_leases_may_not_be_used_it_is_unknown_and_says_what_to_grant(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        own = Replica(world)
        own.subscribe(west="delta")
        await asyncio.sleep(ALL)
        assert condition(world) == "Unknown SubscribersUnknown"
        assert "on leases of coordination.k8s.io" in message(world)
        assert condition(world, "Ready") == "True Ready"

    def refuse(asked: str, name: str) -> KubeError | None:
        forbidden = asked == verb and name.startswith("meshfed-replica")
        return Forbidden(403, "Forbidden", "leases is forbidden") if forbidden else None

    if verb == "list":
        monkeypatch.setattr(in_memory, "PatchingClient", Blind)
    told(story, refuse)


# --- what remotes have in place


def imported_there(world: World) -> int:
    (status,) = (one["status"] for (kind, *_), one in world.cluster.objects.items() if kind.kind == "RemoteMesh")
    return int(status.get("importedThere", 0))


def test_how_much_a_remote_has_in_place_is_counted_and_costs_no_write_of_its_own() -> None:
    async def story(world: World) -> None:
        own = Replica(world)
        own.subscribe(west="delta")
        own.imports = {"west": 3}
        await asyncio.sleep(ALL)
        assert imported_there(world) == 3
        world.cluster.calls.clear()
        for number in range(6000):
            own.imports = {"west": number}
            await asyncio.sleep(0.1)
        assert len([call for call in world.cluster.calls if call[0] == "update"]) <= 600 / RENEW_SECONDS + 1
        assert statuses_written(world) <= 600 / GRACE + 1
        await asyncio.sleep(ALL)
        assert imported_there(world) == 5999
        own.imports = {}
        await asyncio.sleep(ALL)
        assert imported_there(world) == 0

    told(story)


def warnings(world: World) -> list[tuple[str, str, int]]:
    return [
        (one["involvedObject"]["kind"], one["message"], one["count"])
        for one in world.cluster.objects.values()
        if one.get("reason") == "StillImported"
    ]


def test_of_several_replicas_whose_subscribers_lose_a_service_one_event_tells() -> None:
    async def story(world: World) -> None:
        world.put(service("ratings"))
        own, beside = Replica(world), Replica(world, "pod-2_uuid")
        await asyncio.sleep(ALL)
        own.withdraw("west")
        await asyncio.sleep(1)
        beside.withdraw("north", "east", at="2")
        await asyncio.sleep(30)
        ((kind, message, count),) = warnings(world)
        assert (kind, count) == ("Service", 1)
        assert f"it was offered as {host('ratings')}, and RemoteMesh east, north, west said to import that" in message
        await asyncio.sleep(600)
        assert len(warnings(world)) == 1
        beside.withdraw("north", at="3", name="gone")
        await asyncio.sleep(30)
        assert sorted(kind for kind, *_ in warnings(world)) == ["MeshFederation", "Service"]

    told(story)


def test_a_new_leader_says_no_second_time_what_was_withdrawn() -> None:
    async def story(world: World) -> None:
        world.put(service("ratings"))
        Replica(world)
        beside = Replica(world, "pod-2_uuid")
        await asyncio.sleep(ALL)
        beside.withdraw("west")
        await asyncio.sleep(30)
        assert len(warnings(world)) == 1
        await world.stop()
        await world.start()
        await asyncio.sleep(ALL)
        assert [count for *_, count in warnings(world)] == [1]

    told(story)


def test_what_is_exported_again_by_then_is_no_loss() -> None:
    async def story(world: World) -> None:
        world.put(service("ratings", exported=True))
        own = Replica(world)
        await asyncio.sleep(ALL)
        own.withdraw("west")
        await asyncio.sleep(30)
        assert warnings(world) == []

    told(story)
