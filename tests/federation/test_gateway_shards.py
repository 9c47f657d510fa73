"""Which Gateway lists which Service: one home each, kept for good."""

from __future__ import annotations

from meshfed.federation.gateway_shards import HOSTS_PER_GATEWAY, GatewayShards

SERVICES = [("ns", f"s{number:04}") for number in range(1200)]


def settled() -> GatewayShards:
    homes = GatewayShards()
    for service in SERVICES:
        homes.assign(service)
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
    before = {service: homes.shard_of(service) for service in SERVICES}
    assert homes.release(SERVICES[7]) == 0
    assert homes.release(SERVICES[600]) == 1
    assert {service: homes.shard_of(service) for service in SERVICES} == before | {
        SERVICES[7]: None,
        SERVICES[600]: None,
    }
    assert [homes.assign(("ns", "new")), homes.assign(("ns", "newer"))] == [0, 1]
    assert homes.assign(SERVICES[1199]) == 2


def test_homes_are_recovered_from_what_the_gateways_list() -> None:
    homes = GatewayShards()
    homes.recover(1, [("ns", "a"), ("ns", "b")])
    homes.recover(0, [("ns", "b"), ("ns", "c")])
    homes.recover(2, [("ns", "c")])
    assert [homes.shard_of(("ns", name)) for name in "abc"] == [1, 0, 0]
    assert homes.hosts(0, "cluster.local") == ("b.ns.svc.cluster.local", "c.ns.svc.cluster.local")
    assert homes.assign(("ns", "a")) == 1
    assert homes.release(("ns", "unknown")) is None


def test_a_gateway_comes_after_those_that_may_still_list_what_it_lists() -> None:
    homes = settled()
    homes.release(SERVICES[7])
    homes.release(SERVICES[1199])
    assert (homes.assign(SERVICES[1199]), homes.former(0), homes.former(1), homes.former(2)) == (0, {2}, set(), set())
    homes.left(1)
    assert homes.former(0) == {2}
    homes.left(2)
    assert homes.former(0) == set()
    homes.release(SERVICES[600])
    assert (homes.assign(SERVICES[600]), homes.former(1)) == (1, set())
