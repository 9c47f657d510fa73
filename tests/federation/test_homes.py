"""Which Gateway lists which Service: one home each, kept for good."""

from __future__ import annotations

from meshfed.federation.homes import HOSTS_PER_GATEWAY, Homes

SERVICES = [("ns", f"s{number:04}") for number in range(1200)]


def settled() -> Homes:
    homes = Homes()
    for service in SERVICES:
        homes.settle(service)
    return homes


def test_each_gateway_is_filled_before_the_next_and_the_first_keeps_a_place_for_discovery() -> None:
    homes = settled()
    assert homes.indexes() == [0, 1, 2]
    assert [len(homes.hosts(index, "x")) for index in homes.indexes()] == [
        HOSTS_PER_GATEWAY - 1,
        HOSTS_PER_GATEWAY,
        1200 - 2 * HOSTS_PER_GATEWAY + 1,
    ]


def test_hosts_never_move_and_a_new_one_takes_the_lowest_free_place() -> None:
    homes = settled()
    before = {service: homes.home(service) for service in SERVICES}
    assert homes.leave(SERVICES[7]) == 0
    assert homes.leave(SERVICES[600]) == 1
    assert {service: homes.home(service) for service in SERVICES} == before | {SERVICES[7]: None, SERVICES[600]: None}
    assert [homes.settle(("ns", "new")), homes.settle(("ns", "newer"))] == [0, 1]
    assert homes.settle(SERVICES[1199]) == 2


def test_homes_are_recovered_from_what_the_gateways_list() -> None:
    homes = Homes()
    homes.recover(1, [("ns", "a"), ("ns", "b")])
    homes.recover(0, [("ns", "b"), ("ns", "c")])
    homes.recover(2, [("ns", "c")])
    assert [homes.home(("ns", name)) for name in "abc"] == [1, 0, 0]
    assert homes.hosts(0, "cluster.local") == ("b.ns.svc.cluster.local", "c.ns.svc.cluster.local")
    assert homes.settle(("ns", "a")) == 1
    assert homes.leave(("ns", "unknown")) is None


def test_a_gateway_comes_after_those_that_may_still_list_what_it_lists() -> None:
    homes = settled()
    homes.leave(SERVICES[7])
    homes.leave(SERVICES[1199])
    assert (homes.settle(SERVICES[1199]), homes.former(0), homes.former(1), homes.former(2)) == (0, {2}, set(), set())
    homes.left(1)
    assert homes.former(0) == {2}
    homes.left(2)
    assert homes.former(0) == set()
    homes.leave(SERVICES[600])
    assert (homes.settle(SERVICES[600]), homes.former(1)) == (1, set())
