"""Proving the ways into remote meshes: when what is seen is believed, and who hears of it. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable

import pytest

from meshfed.controller.remotes.damping import LASTING, said_before
from meshfed.controller.remotes.prober import Prober, Proven
from meshfed.controller.remotes.trust_bundle import TrustBundle
from meshfed.federation.reachability import reachable
from meshfed.model.meshes import GatewayAddress
from meshfed.model.probes import MOST_WAYS, Answered, Broken, Finding, Link, Probe, Way, ways
from meshfed.model.reasons import Condition, Reason
from meshfed.plan import OfferKey, RemoteKey
from meshfed.probe import Pace, Roots
from meshfed.telemetry.metrics import Metrics
from tests.virtual import virtual_loop

WHO = "spiffe://cluster.local/ns/shop/sa/cart"
GOOD = Answered(WHO, 1e10)
GONE = Broken(Link.SNI)
CART = OfferKey("cart.shop.svc.cluster.local.west")
ROOTS = object()
PACE = Pace()


def probe(name: str = "cart", remote: str = "west", *addresses: str) -> Probe:
    found = tuple(GatewayAddress.parse(address, 15443) for address in addresses or ("192.0.2.20",))
    return Probe(remote, found, (name,), (WHO,))


class Bundle(TrustBundle):
    """Roots that a test gives and takes."""

    def __init__(self) -> None:
        self.roots: Roots | None = ROOTS  # type: ignore[assignment] # nobody looks into them
        self.why_none = "no roots"
        self.changed: Callable[[], None] = lambda: None

    async def run(self, changed: Callable[[], None]) -> None:
        self.changed = changed
        await asyncio.Event().wait()


class World:
    """A prober, what gateways answer, and what it says."""

    def __init__(self) -> None:
        self.answers: dict[str, Finding] = {}
        self.seconds: dict[str, float] = {}
        self.tried: list[tuple[float, Way]] = []
        self.trial = asyncio.Event()
        self.said: list[tuple[float, Proven, Condition, bool]] = []
        self.faults: dict[Hashable, Exception] = {}
        self.handled: list[tuple[float, str, str]] = []
        self.bundle = Bundle()
        self.connected: set[str] = set()
        self.connecting: set[str] = set()
        self.metrics = Metrics()
        self.prober = Prober(
            self.bundle,
            self._hear,
            metrics=self.metrics,
            faults=self._fault,
            connected=lambda name: None if name in self.connecting else name in self.connected,
            handled=lambda remote, request: self.handled.append((self.now, remote, request)),
            shake=self._shake,
        )

    def _hear(self, key: Proven, condition: Condition, lasting: bool) -> None:
        self.said.append((self.now, key, condition, lasting))

    def _fault(self, key: Hashable, error: Exception | None) -> None:
        if error is None:
            self.faults.pop(key, None)
        else:
            self.faults[key] = error

    async def _shake(self, way: Way, _ip: str, _roots: Roots) -> Finding:
        self.tried.append((self.now, way))
        given = self.answers.get(way.gateway.host, self.answers.get(way.name, GOOD))
        self.trial.set()
        await asyncio.sleep(self.seconds.get(way.gateway.host, 0.0))
        if isinstance(given, Broken) and given.detail == "raise":
            raise RuntimeError("a fault of ours")
        return given

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def recall(self, key: Proven, seconds: float) -> Condition:
        """Have it said before a restart that something is not reachable; returns in which words."""
        before = reachable(probe(), dict.fromkeys(ways(probe()), GONE))
        assert before is not None
        self.prober.recall(key, said_before(before, seconds, self.now))
        return before

    def last(self, key: Proven = CART) -> Condition | None:
        return next((condition for _, of, condition, _ in reversed(self.said) if of == key), None)

    def gauge(self, name: str, remote: str = "west") -> float | None:
        return self.metrics.registry.get_sample_value(name, {"remote": remote})


def in_world(story: Callable[[World], Awaitable[None]]) -> None:
    """Have a story happen in virtual time."""

    async def run() -> None:
        world = World()
        running = asyncio.create_task(world.prober.run())
        await asyncio.sleep(0)
        await story(world)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(run())


def test_what_answers_is_said_once() -> None:
    async def story(world: World) -> None:
        world.prober.want(CART, probe())
        await asyncio.sleep(600)
        assert [(key, one.status, one.reason) for _, key, one, _ in world.said] == [(CART, "True", Reason.ANSWERED)]
        assert len(world.tried) > 100
        assert world.gauge("meshfed_unreachable_services") == 0

    in_world(story)


def test_what_breaks_is_false_within_ten_seconds_and_true_again_within_ten() -> None:
    async def story(world: World) -> None:
        world.prober.want(CART, probe())
        await asyncio.sleep(300)
        for _ in range(3):
            world.answers["cart"], broke = GONE, world.now
            await asyncio.sleep(60)
            fell = next(when for when, _, one, _ in world.said if one.status == "False" and when >= broke)
            assert fell - broke < 10
            assert world.gauge("meshfed_unreachable_services") == 1
            world.answers["cart"], mended = GOOD, world.now
            await asyncio.sleep(60)
            rose = next(when for when, _, one, _ in world.said if one.status == "True" and when >= mended)
            assert rose - mended < 10

    in_world(story)


def test_one_packet_that_is_lost_is_no_news() -> None:
    async def story(world: World) -> None:
        world.prober.want(CART, probe())
        await asyncio.sleep(60)
        for _ in range(20):
            world.answers["cart"] = GONE
            world.trial.clear()
            await world.trial.wait()
            world.answers["cart"] = GOOD
            await asyncio.sleep(20)
        assert [one.status for _, _, one, _ in world.said] == ["True"]

    in_world(story)


def test_one_packet_that_is_lost_is_no_news_of_the_remote_either() -> None:
    async def story(world: World) -> None:
        world.prober.want(RemoteKey("west"), probe("discovery"))
        await asyncio.sleep(60)
        for _ in range(20):
            world.answers["discovery"] = GONE
            world.trial.clear()
            await world.trial.wait()
            world.answers["discovery"] = GOOD
            await asyncio.sleep(20)
        assert [one.status for _, _, one, _ in world.said] == ["True"]

    in_world(story)


def test_what_is_false_for_long_counts_for_more() -> None:
    async def story(world: World) -> None:
        world.answers["cart"] = GONE
        world.prober.want(CART, probe())
        await asyncio.sleep(LASTING + 20)
        assert [(one.status, lasting) for _, _, one, lasting in world.said] == [("False", False), ("False", True)]
        (first, *_), (second, *_) = world.said
        assert second - first >= LASTING

    in_world(story)


def test_a_gateway_that_swallows_packets_delays_no_other_remote() -> None:
    async def story(world: World) -> None:
        for number in range(50):
            world.prober.want(OfferKey(f"slow-{number}"), probe(f"slow-{number}", "slow", "198.51.100.1"))
        world.seconds["198.51.100.1"], world.answers["198.51.100.1"] = 4.0, Broken(Link.ADDRESS)
        await asyncio.sleep(60)
        began = world.now
        world.prober.want(CART, probe())
        await asyncio.sleep(2)
        found = world.last()
        assert found is not None
        assert found.status == "True"
        assert min(when for when, key, _, _ in world.said if key == CART) - began < 1

    in_world(story)


def test_a_restart_says_nothing_before_something_was_seen() -> None:
    async def story(world: World) -> None:
        world.seconds["192.0.2.20"] = 3.0
        world.prober.want(CART, probe())
        await asyncio.sleep(2.9)
        assert not world.said

    in_world(story)


@pytest.mark.parametrize("seconds", [LASTING, 3600.0])
def test_what_has_been_false_for_long_before_a_restart_and_still_is_is_not_said_again(seconds: float) -> None:
    async def story(world: World) -> None:
        world.answers["cart"] = GONE
        world.recall(CART, seconds)
        world.prober.want(CART, probe())
        assert world.gauge("meshfed_unreachable_services") == 1
        await asyncio.sleep(600)
        assert not world.said

    in_world(story)


def test_what_began_to_be_false_before_a_restart_counts_from_then_on() -> None:
    async def story(world: World) -> None:
        world.answers["cart"] = GONE
        before = world.recall(CART, 20.0)
        world.prober.want(CART, probe())
        await asyncio.sleep(600)
        assert [(condition, lasting) for _, _, condition, lasting in world.said] == [(before, True)]
        assert 10 <= world.said[0][0] < 20

    in_world(story)


def test_what_was_false_before_a_restart_and_answers_now_is_true_once_that_was_seen() -> None:
    async def story(world: World) -> None:
        world.seconds["192.0.2.20"] = 3.0
        world.recall(CART, 3600.0)
        world.prober.want(CART, probe())
        await asyncio.sleep(2.9)
        assert not world.said
        await asyncio.sleep(600)
        assert [(one.status, lasting) for _, _, one, lasting in world.said] == [("True", False)]
        assert world.gauge("meshfed_unreachable_services") == 0

    in_world(story)


def test_what_was_said_before_a_restart_is_not_said_of_ways_that_came_since() -> None:
    async def story(world: World) -> None:
        world.seconds["192.0.2.20"] = world.seconds["192.0.2.21"] = 3.0
        world.recall(CART, 3600.0)
        world.prober.want(CART, probe())
        await asyncio.sleep(1)
        world.prober.want(CART, probe("cart", "west", "192.0.2.21"))
        found = world.last()
        assert found is not None
        assert (found.status, found.reason) == ("Unknown", Reason.NOT_PROBED)

    in_world(story)


def test_what_is_not_wanted_after_a_restart_is_forgotten() -> None:
    async def story(world: World) -> None:
        world.recall(CART, 3600.0)
        world.prober.want(CART, None)
        world.prober.want(CART, probe())
        await asyncio.sleep(60)
        assert [one.status for _, _, one, _ in world.said] == ["True"]

    in_world(story)


def test_after_a_restart_nobody_is_blamed_before_it_is_known_whether_our_own_sidecar_closes_handshakes() -> None:
    async def story(world: World) -> None:
        world.answers["192.0.2.20"] = GONE
        world.connecting.add("west")
        world.prober.want(CART, probe())
        world.prober.want(RemoteKey("west"), probe("discovery"))
        await asyncio.sleep(20)
        assert not world.said
        world.connecting.clear()
        world.connected.add("west")
        await asyncio.sleep(20)
        assert {(key, one.status) for _, key, one, _ in world.said} == {
            (CART, "Unknown"),
            (RemoteKey("west"), "Unknown"),
        }

    in_world(story)


def test_where_a_remote_takes_tls_1_2_alone_it_is_unknown_and_stays_so() -> None:
    async def story(world: World) -> None:
        world.answers["192.0.2.20"] = Broken(Link.VERSION)
        world.prober.want(RemoteKey("west"), probe("discovery"))
        world.prober.want(CART, probe())
        await asyncio.sleep(600)
        assert [(key, one.status, one.reason) for _, key, one, _ in world.said] == [
            (RemoteKey("west"), "Unknown", Reason.NOT_PROBED),
            (CART, "Unknown", Reason.NOT_PROBED),
        ]
        assert world.gauge("meshfed_unreachable_services") == 0

    in_world(story)


def test_another_identity_is_seen_and_what_is_announced_anew_is_compared_at_once() -> None:
    async def story(world: World) -> None:
        world.prober.want(CART, probe())
        await asyncio.sleep(10)
        other = "spiffe://cluster.local/ns/shop/sa/other"
        world.answers["cart"] = Answered(other, 1e10)
        await asyncio.sleep(10)
        found = world.last()
        assert found is not None
        assert found.reason is Reason.UNEXPECTED_IDENTITY
        world.prober.want(CART, Probe("west", (GatewayAddress("192.0.2.20", 15443),), ("cart",), (WHO, other)))
        found = world.last()
        assert found is not None
        assert found.status == "True"

    in_world(story)


def test_addresses_that_are_another_are_tried_at_once() -> None:
    async def story(world: World) -> None:
        world.prober.want(CART, probe())
        await asyncio.sleep(30)
        world.prober.want(CART, probe("cart", "west", "192.0.2.21"))
        await asyncio.sleep(1)
        assert world.said[-1][2].message.startswith("answered through 192.0.2.21:15443")
        before = len(world.tried)
        await asyncio.sleep(60)
        assert {way.gateway.host for _, way in world.tried[before:]} == {"192.0.2.21"}

    in_world(story)


def test_what_is_wanted_no_more_is_tried_no_more() -> None:
    async def story(world: World) -> None:
        world.answers["cart"] = GONE
        world.prober.want(CART, probe())
        await asyncio.sleep(30)
        world.prober.want(CART, None)
        assert world.gauge("meshfed_unreachable_services") is None
        before, said = len(world.tried), len(world.said)
        await asyncio.sleep(60)
        assert (len(world.tried), len(world.said)) == (before, said)

    in_world(story)


def test_a_way_that_two_imports_share_is_tried_once_for_both() -> None:
    async def story(world: World) -> None:
        other = OfferKey("alias.example.com.west")
        for key in (CART, other):
            world.prober.want(key, probe())
        await asyncio.sleep(30)
        assert world.last(other) == world.last()
        world.prober.want(CART, None)
        world.answers["cart"] = GONE
        await asyncio.sleep(30)
        found = world.last(other)
        assert found is not None
        assert found.status == "False"

    in_world(story)


def test_without_roots_nothing_is_tried_and_that_is_said() -> None:
    async def story(world: World) -> None:
        roots, world.bundle.roots = world.bundle.roots, None
        world.prober.want(CART, probe())
        await asyncio.sleep(30)
        assert not world.tried
        assert [(one.status, one.message) for _, _, one, _ in world.said] == [("Unknown", "no roots")]
        world.bundle.why_none = "none for another reason"
        world.bundle.changed()
        world.bundle.roots = roots
        world.bundle.changed()
        await asyncio.sleep(5)
        assert world.said[-1][2].status == "True"

    in_world(story)


def test_a_gateway_that_is_down_is_known_as_such_within_seconds_however_many_imports_there_are() -> None:
    async def story(world: World) -> None:
        world.prober.want(RemoteKey("west"), probe("discovery"))
        for number in range(1000):
            world.prober.want(OfferKey(f"{number}"), probe(f"s{number}"))
        await asyncio.sleep(900)
        broke = world.now
        world.answers["192.0.2.20"] = Broken(Link.ADDRESS)
        await asyncio.sleep(60)
        fell = next(when for when, key, one, _ in world.said if key == RemoteKey("west") and one.status == "False")
        assert fell - broke < 10

    in_world(story)


def test_where_discovery_is_connected_it_is_our_own_sidecar_that_closes_handshakes() -> None:
    async def story(world: World) -> None:
        world.answers["192.0.2.20"] = GONE
        world.connected.add("west")
        world.prober.want(RemoteKey("west"), probe("discovery"))
        world.prober.want(CART, probe())
        await asyncio.sleep(20)
        for key in (CART, RemoteKey("west")):
            found = world.last(key)
            assert found is not None
            assert (found.status, found.reason) == ("Unknown", Reason.NOT_PROBED)
            assert "excludeOutboundPorts" in found.message
            assert "name port 15443 in annotation" in found.message
        world.prober.want(CART, probe("cart", "west", "192.0.2.20", "192.0.2.20:31443"))
        await asyncio.sleep(1)
        found = world.last()
        assert found is not None
        assert "name ports 15443, 31443 in annotation" in found.message
        world.prober.want(CART, probe())
        world.connected.clear()
        await asyncio.sleep(20)
        found = world.last()
        assert found is not None
        assert (found.status, found.reason) == ("False", Reason.NOT_PASSED_ON)

    in_world(story)


@pytest.mark.parametrize("number", [1, 6, 12, 300])
def test_imports_that_do_not_answer_hide_nothing_else(number: int) -> None:
    async def story(world: World) -> None:
        healthy = [OfferKey(f"healthy-{one}") for one in range(5)]
        world.prober.want(RemoteKey("west"), probe("discovery"))
        for one, key in enumerate(healthy):
            world.prober.want(key, probe(f"healthy-{one}"))
        for one in range(number):
            world.answers[f"broken-{one}"] = GONE
            world.prober.want(OfferKey(f"broken-{one}"), probe(f"broken-{one}"))
        await asyncio.sleep(1200)
        assert all(found is not None and found.status == "True" for found in map(world.last, healthy))
        world.answers["192.0.2.20"], died = Broken(Link.ADDRESS), world.now
        await asyncio.sleep(60)
        proven: list[Proven] = [RemoteKey("west"), *healthy]
        for one_of_them in proven:
            fell = next(
                when for when, of, one, _ in world.said if of == one_of_them and one.status == "False" and when >= died
            )
            assert fell - died < 30

    in_world(story)


def test_imports_that_all_break_are_all_said_to() -> None:
    async def story(world: World) -> None:
        keys = [OfferKey(f"{one}") for one in range(300)]
        for one, key in enumerate(keys):
            world.prober.want(key, probe(f"s{one}", "west", "192.0.2.20"))
        await asyncio.sleep(400)
        world.answers["192.0.2.20"] = GONE
        await asyncio.sleep(900)
        assert all(found is not None and found.status == "False" for found in map(world.last, keys))

    in_world(story)


def test_after_a_restart_nothing_is_said_before_all_ways_were_tried() -> None:
    async def story(world: World) -> None:
        for one in range(40):
            two = Probe("west", probe().addresses, (f"{one}-a", f"{one}-b"), (WHO,))
            world.prober.want(OfferKey(f"{one}"), two)
        await asyncio.sleep(120)
        assert [condition.status for _, _, condition, _ in world.said] == ["True"] * 40

    in_world(story)


def test_what_was_seen_of_other_ways_is_not_said_of_these() -> None:
    async def story(world: World) -> None:
        world.prober.want(CART, probe())
        await asyncio.sleep(30)
        world.seconds["192.0.2.99"] = 3.0
        world.prober.want(CART, probe("cart", "west", "192.0.2.99"))
        found = world.last()
        assert found is not None
        assert (found.status, found.reason) == ("Unknown", Reason.NOT_PROBED)

    in_world(story)


def test_however_often_it_broke_that_it_is_mended_is_said_within_three_quarters_of_a_minute() -> None:
    async def story(world: World) -> None:
        world.prober.want(CART, probe())
        await asyncio.sleep(10)
        for _ in range(10):
            world.answers["cart"] = GONE
            await asyncio.sleep(12)
            assert (found := world.last()) is not None
            assert found.status == "False"
            world.answers["cart"] = GOOD
            await asyncio.sleep(45)
            assert (found := world.last()) is not None
            assert found.status == "True"

    in_world(story)


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param((GOOD, GONE, GONE), id="broken and not"),
        pytest.param((GONE, Broken(Link.WORKLOAD), Broken(Link.TLS)), id="one link and another"),
        pytest.param((GOOD, Answered("spiffe://cluster.local/ns/shop/sa/other", 1e10)), id="one identity and another"),
        pytest.param((GOOD, Answered("spiffe://cluster.local/ns/shop/sa/canary", 1e10)), id="two that may"),
    ],
)
def test_what_changes_all_the_time_is_said_ever_more_slowly(answers: tuple[Finding, ...]) -> None:
    async def story(world: World) -> None:
        identities = (WHO, "spiffe://cluster.local/ns/shop/sa/canary")
        world.prober.want(CART, Probe("west", probe().addresses, ("cart",), identities))
        number = 0
        for number in range(2000):
            world.answers["cart"] = answers[number % len(answers)]
            world.trial.clear()
            await world.trial.wait()
        assert len(world.said) <= 20 + world.now / 60 * 2.5, (len(world.said), world.now)
        world.answers["cart"] = GOOD
        await asyncio.sleep(130)
        found = world.last()
        assert found is not None
        assert found.status == "True"

    in_world(story)


def test_an_import_with_a_way_that_answers_is_not_blocked_here() -> None:
    async def story(world: World) -> None:
        world.answers["discovery"] = GONE
        world.connected.add("west")
        world.prober.want(RemoteKey("west"), probe("discovery"))
        world.prober.want(CART, probe())
        await asyncio.sleep(30)
        cart, discovery = world.last(), world.last(RemoteKey("west"))
        assert cart is not None
        assert discovery is not None
        assert (cart.status, discovery.status) == ("True", "False")

    in_world(story)


def test_a_thousand_changes_leave_nothing_behind() -> None:
    async def story(world: World) -> None:
        world.bundle.roots = None
        for number in range(10_000):
            world.prober.want(CART, Probe("west", probe().addresses, ("cart", f"other-{number % 2}"), (WHO,)))
        schedule = world.prober._remotes["west"]._schedule
        assert len(schedule) == 2
        assert sum(map(len, schedule._due.values())) == 2

    in_world(story)


def test_of_many_ways_some_are_tried() -> None:
    many = Probe(
        "west", probe("x", "west", *(f"192.0.2.{one}" for one in range(64))).addresses, tuple(map(str, range(64)))
    )
    assert len(ways(many)) == MOST_WAYS
    few = Probe("west", many.addresses[:2], many.names[:3])
    assert len(ways(few)) == 6
    assert len({way.gateway for way in ways(many)}) > 1
    assert len({way.name for way in ways(many)}) > 1


def test_a_fault_of_ours_is_told_and_stops_nothing() -> None:
    async def story(world: World) -> None:
        world.answers["cart"] = Broken(Link.SNI, "raise")
        world.prober.want(CART, probe())
        world.prober.want(OfferKey("other"), probe("other"))
        await asyncio.sleep(30)
        assert len(world.faults) == 1
        assert world.last() is None
        found = world.last(OfferKey("other"))
        assert found is not None
        assert found.status == "True"
        world.answers["cart"] = GOOD
        await asyncio.sleep(30)
        assert not world.faults

    in_world(story)


def test_what_is_wanted_no_more_leaves_neither_a_fault_nor_a_date() -> None:
    async def story(world: World) -> None:
        world.answers["cart"] = Broken(Link.SNI, "raise")
        world.prober.want(CART, probe())
        world.prober.want(OfferKey("other"), probe("other"))
        world.prober.want(RemoteKey("west"), probe("discovery"))
        await asyncio.sleep(20)
        assert world.faults
        assert world.gauge("meshfed_remote_certificate_expiry_timestamp_seconds") == 1e10
        world.prober.want(CART, None)
        world.prober.want(RemoteKey("west"), None)
        assert not world.faults
        assert world.gauge("meshfed_remote_certificate_expiry_timestamp_seconds") is None

    in_world(story)


def test_the_certificate_of_the_discovery_service_is_measured() -> None:
    async def story(world: World) -> None:
        world.prober.want(RemoteKey("west"), probe())
        await asyncio.sleep(5)
        assert world.gauge("meshfed_remote_certificate_expiry_timestamp_seconds") == 1e10
        assert world.gauge("meshfed_probe_last_answered_timestamp_seconds")

    in_world(story)


@pytest.mark.parametrize("broken", [False, True])
def test_many_imports_cost_a_trickle(broken: bool) -> None:
    """Ten remotes with a hundred imports each: what each gateway sees, and all together."""

    async def story(world: World) -> None:
        for remote in range(10):
            address = f"192.0.2.{remote}"
            if broken:
                world.answers[address] = GONE
            for number in range(100):
                world.prober.want(OfferKey(f"{remote}-{number}"), probe(f"s{number}", f"r{remote}", address))
        await asyncio.sleep(200)
        before = len(world.tried)
        await asyncio.sleep(100)
        most = 1 / PACE.burst if broken else 1.15 / PACE.gap
        assert len(world.tried) - before <= 10 * 100 * most + 20
        assert len({key for _, key, _, _ in world.said}) > 900

    in_world(story)


# --- upon a request


def test_upon_a_request_every_way_is_tried_at_once_and_that_is_told() -> None:
    async def story(world: World) -> None:
        shops = [OfferKey(f"shop-{number}.west") for number in range(8)]
        for number, shop in enumerate(shops):
            world.prober.want(shop, probe(f"shop-{number}"))
        await asyncio.sleep(60)
        asked = world.now
        world.prober.ask("west", "now")
        await asyncio.sleep(6)
        tried = {way.name for at, way in world.tried if at >= asked}
        assert tried == {f"shop-{number}" for number in range(8)}
        assert [(remote, request) for _, remote, request in world.handled] == [("west", "now")]
        assert world.handled[0][0] - asked <= 8 * PACE.burst
        world.prober.ask("west", "now")
        await asyncio.sleep(30)
        assert len(world.handled) == 1
        world.prober.ask("west", "again")
        await asyncio.sleep(6)
        world.prober.ask("west", "")
        assert [request for *_, request in world.handled] == ["now", "again", ""]

    in_world(story)


def test_what_is_newly_broken_is_said_before_the_request_counts_as_handled() -> None:
    async def story(world: World) -> None:
        world.prober.want(CART, probe())
        await asyncio.sleep(60)
        world.answers["cart"] = GONE
        asked = world.now
        world.prober.ask("west", "now")
        await asyncio.sleep(5)
        assert [request for *_, request in world.handled] == ["now"]
        said = [at for at, key, condition, _ in world.said if condition.status == "False"]
        assert said
        assert asked <= said[0] <= world.handled[0][0]

    in_world(story)


def test_a_request_from_before_the_ways_are_known_and_what_comes_meanwhile() -> None:
    async def story(world: World) -> None:
        world.prober.ask("west", "x" * 100)
        await asyncio.sleep(5)
        assert world.handled == []
        world.seconds["192.0.2.20"] = 2.0
        world.prober.want(CART, probe())
        await asyncio.sleep(1)
        world.prober.want(RemoteKey("west"), probe("controller"))
        await asyncio.sleep(1.5)
        assert world.handled == []
        await asyncio.sleep(5)
        assert [(remote, request) for _, remote, request in world.handled] == [("west", "x" * 64)]

    in_world(story)


def test_what_was_being_tried_before_a_request_does_not_count() -> None:
    async def story(world: World) -> None:
        world.seconds["192.0.2.20"] = 2.0
        world.prober.want(CART, probe())
        await asyncio.sleep(1)
        world.prober.ask("west", "now")
        await asyncio.sleep(1.5)
        assert world.handled == []
        await asyncio.sleep(5)
        assert [request for *_, request in world.handled] == ["now"]
        assert len(world.tried) >= 2

    in_world(story)
