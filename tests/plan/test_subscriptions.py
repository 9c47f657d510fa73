"""Who subscribes, by the Leases of replicas: who of them lives, and what is said when."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from meshfed.model.reasons import ConditionType
from meshfed.plan import RemoteStatusKey
from meshfed.plan.replicas import DURATION, PREFIX, Replica, Subscription
from meshfed.plan.subscriptions import GRACE, KEPT, Subscribers, Subscriptions, subscribed
from tests.builders import mesh_federation, remote_mesh
from tests.world import World

WEST = Subscription("2026-01-01T00:00:00Z", "delta")
LATER = Subscription("2026-01-01T01:00:00Z", "sotw")
NOBODY, UNKNOWN = Subscribers(), Subscribers(known=False)
RENEW = 10.0
LOOK = 1.0


def at(*places: tuple[str, Subscription]) -> Subscribers:
    return Subscribers(places)


class Story:
    """Replicas a, which looks, and b, whose Leases are renewed as long as they live, and what is said of west."""

    def __init__(self, *, found: Iterable[str] = ("a", "b")) -> None:
        self.now = 0.0
        self.subscriptions = Subscriptions("a")
        self.remotes = ["west"]
        self.said: list[tuple[float, Subscribers | None]] = []
        self.living: dict[str, dict[str, Subscription]] = {name: {} for name in found}
        for name in found:
            self.write(name, is_news=False)

    def write(self, name: str, *, is_news: bool = True) -> None:
        replica = Replica(PREFIX + name, holder=name, renewed=str(self.now), subscribers=self.living[name])
        self.subscriptions.seen(replica.name, replica, self.now, is_news=is_news)

    def subscribe(self, name: str, how: Subscription | None) -> None:
        self.living[name] = {} if how is None else {"west": how}
        self.write(name)
        self.look()

    def end(self, name: str, *, in_order: bool) -> None:
        del self.living[name]
        if in_order:
            self.subscriptions.seen(PREFIX + name, None, self.now, is_news=True)

    def look(self) -> None:
        for remote, subscribers in self.subscriptions.look(self.remotes, self.now).items():
            assert remote == "west"
            self.said.append((self.now, subscribers))

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += LOOK
            if self.now % RENEW == 0:
                for name in self.living:
                    self.write(name)
            self.look()

    @property
    def last(self) -> Subscribers | None:
        return self.said[-1][1]


def test_that_somebody_subscribes_is_said_at_once() -> None:
    story = Story()
    story.wait(5)
    assert story.said == []
    story.subscribe("b", WEST)
    assert story.said == [(5, at(("b", WEST)))]
    story.wait(600)
    assert len(story.said) == 1


def test_that_nobody_does_is_said_once_that_has_held() -> None:
    story = Story()
    story.wait(600)
    # Its own Lease was seen to be renewed at 10.
    assert story.said == [(RENEW + GRACE, NOBODY)]


def test_a_restart_of_either_controller_turns_nothing() -> None:
    story = Story()
    story.subscribe("b", WEST)
    story.wait(60)
    story.subscribe("b", None)  # theirs begins anew
    story.wait(GRACE - 5)
    story.subscribe("b", WEST)
    story.wait(60)
    story.end("b", in_order=True)  # ours does
    story.wait(GRACE - 5)
    story.living["c"] = {"west": WEST}
    story.write("c")
    story.wait(600)
    assert [said for _, said in story.said] == [at(("b", WEST)), at(("c", WEST))]


@pytest.mark.parametrize("again", [WEST, LATER])
def test_who_comes_and_goes_all_the_time_costs_next_to_nothing(again: Subscription) -> None:
    story = Story()
    story.subscribe("b", WEST)
    for second in range(600):
        story.subscribe("b", None if second % 2 else again)
        story.wait(1)
    assert {said.status if said is not None else "" for _, said in story.said} == {"True"}
    assert len(story.said) <= 2


def test_where_it_subscribes_is_said_once_that_has_held() -> None:
    story = Story()
    story.subscribe("b", WEST)
    story.subscribe("a", LATER)
    story.wait(GRACE)
    assert story.said == [(0, at(("b", WEST))), (GRACE, at(("a", LATER), ("b", WEST)))]


@pytest.mark.parametrize(("in_order", "after"), [(True, GRACE), (False, DURATION + GRACE)])
def test_a_replica_that_ends_has_no_subscribers_and_one_that_dies_none_once_its_lease_has_run_out(
    in_order: bool, after: float
) -> None:
    story = Story()
    story.wait(RENEW)
    story.subscribe("b", WEST)
    story.end("b", in_order=in_order)
    story.wait(600)
    assert [said for _, said in story.said] == [at(("b", WEST)), NOBODY]
    assert RENEW + after <= story.said[-1][0] <= RENEW + after + 2 * LOOK


def test_a_lease_that_is_found_counts_once_it_was_renewed() -> None:
    story = Story()
    story.living["b"] = {"west": WEST}
    story.write("b", is_news=False)
    story.wait(RENEW)
    assert story.said == [(RENEW, at(("b", WEST)))]


def test_a_lease_of_a_dead_process_turns_nothing_and_says_nothing() -> None:
    story = Story()
    story.living["b"] = {"west": WEST}
    story.write("b", is_news=False)
    story.end("b", in_order=False)
    story.wait(600)
    assert [said for _, said in story.said] == [NOBODY]
    assert story.said[0][0] >= DURATION + GRACE


def test_who_does_not_see_its_own_lease_renewed_knows_nobody_s() -> None:
    story = Story(found=["b"])
    story.wait(600)
    assert story.said == [(LOOK + GRACE, UNKNOWN)]
    assert story.subscriptions.run_out(story.now) == []
    story.living["a"] = {}
    story.wait(60)
    assert story.last == NOBODY


def test_while_the_api_is_away_nothing_turns_for_a_while_and_never_to_false() -> None:
    story = Story()
    story.subscribe("b", WEST)
    story.wait(60)
    living, story.living = story.living, {}
    story.wait(60)
    assert len(story.said) == 1
    story.wait(600)
    assert [said for _, said in story.said] == [at(("b", WEST)), UNKNOWN]
    story.living = living
    story.wait(RENEW)
    assert story.last == at(("b", WEST))


def test_nothing_is_kept_of_a_remote_that_is_gone() -> None:
    story = Story()
    story.subscribe("b", WEST)
    story.remotes = []
    story.look()
    assert story.last is None
    story.remotes = ["west"]
    story.look()
    assert story.last == at(("b", WEST))


def test_a_lease_that_ran_out_is_kept_for_ten_minutes() -> None:
    story = Story()
    story.wait(RENEW)
    story.end("b", in_order=False)
    story.wait(DURATION + KEPT - 1)
    assert story.subscriptions.run_out(story.now) == []
    story.wait(1)
    assert [one.host for one in story.subscriptions.run_out(story.now)] == ["b"]


# --- in words -------------------------------------------------------------------------------------


def test_the_message_says_where_since_when_and_how() -> None:
    found = subscribed(at(("a", WEST), ("b", LATER)), "spiffe://w", [])
    assert (found.status, found.reason) == ("True", "Subscribed")
    assert found.message == (
        "subscribes at replica a since 2026-01-01T00:00:00Z, incremental, at replica b since 2026-01-01T01:00:00Z, in "
        "the reference's dialect"
    )
    shared = subscribed(at(("a", WEST)), "spiffe://w", ["RemoteMesh north"])
    assert shared.message.endswith("; by its identity it may as well be RemoteMesh north")


def test_the_message_says_what_to_do_about_it() -> None:
    assert "spiffe://w subscribes" in subscribed(NOBODY, "spiffe://w", []).message
    assert "RemoteMesh for this mesh with `import`" in subscribed(NOBODY, "spiffe://w", []).message
    assert "on leases of coordination.k8s.io" in subscribed(UNKNOWN, "spiffe://w", []).message


def conditions(world: World) -> dict[str, str]:
    world.settle()
    (status,) = world.outputs[RemoteStatusKey("west")].statuses
    return {one.type: f"{one.status} {one.reason}" for one in status.conditions}


def test_it_stands_on_the_remote_mesh_and_is_no_part_of_ready() -> None:
    world = World(mesh_federation(), remote_mesh())
    before = conditions(world)
    (status,) = world.outputs[RemoteStatusKey("west")].statuses
    assert ConditionType.SUBSCRIBED not in before
    assert [f"{one.type} {one.status} {one.reason}" for one in status.at_first] == [
        "Subscribed Unknown SubscribersUnknown"
    ]
    for subscribers, said in (
        (NOBODY, "False NotSubscribed"),
        (UNKNOWN, "Unknown SubscribersUnknown"),
        (at(("a", WEST)), "True Subscribed"),
    ):
        world.planner.inputs.subscribers.put("west", subscribers)
        assert conditions(world) == before | {"Subscribed": said}
        assert world.outputs[RemoteStatusKey("west")].statuses[0].at_first == ()
    world.remove(mesh_federation())
    assert "Subscribed" not in conditions(world)
    assert ConditionType.SUBSCRIBED in world.outputs[RemoteStatusKey("west")].statuses[0].ended
