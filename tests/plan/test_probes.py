"""What is to be proven of a way: by which SNIs, and who may answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from meshfed.api.v1alpha1 import RemoteMesh
from meshfed.federation.merging import Candidate, merge
from meshfed.federation.reachability import reachable
from meshfed.model.meshes import GatewayAddress, Remote
from meshfed.model.probes import Answered, Probe, ways
from meshfed.model.reasons import Reason
from meshfed.plan import meshes
from meshfed.plan.ways import of_discovery, of_import
from tests.builders import SYSTEM, offer, remote_mesh

WHO = "spiffe://cluster.local/ns/default/sa/cart"
CONTROLLER = f"spiffe://cluster.local/ns/{SYSTEM}/sa/west"
CART = "cart.default.svc.cluster.local"
PORTS = offer("cart").ports


def remote(**spec: Any) -> Remote:
    plain = {"addresses": ["192.0.2.20", "192.0.2.21"]}
    return meshes.remote(msgspec.convert(remote_mesh("west", **(plain | spec)), RemoteMesh))


def imported(of: Remote, **fields: Any) -> Probe | None:
    candidate = Candidate(record="cart.west", remote=of, offer=offer("cart", **fields), merge=False)
    alone = merge(CART, [candidate]).imported
    assert alone is not None
    return of_import(candidate, alone)


def test_each_port_through_each_address() -> None:
    found = imported(remote(port=15444), identities=(WHO,))
    assert found is not None
    assert found.remote == "west"
    assert found.addresses == (GatewayAddress("192.0.2.20", 15444), GatewayAddress("192.0.2.21", 15444))
    assert found.names == tuple(f"outbound_.{one.number}_._.{CART}" for one in PORTS)
    assert found.identities == (WHO,)


def test_an_address_has_its_own_port_and_is_proven_once() -> None:
    found = imported(
        remote(addresses=["192.0.2.20:443", "[2001:db8::1]:444", "gw.west.example", "192.0.2.20"], port=443)
    )
    assert found is not None
    assert list(map(str, found.addresses)) == ["192.0.2.20:443", "[2001:db8::1]:444", "gw.west.example:443"]
    assert {str(way.gateway) for way in ways(found)} == set(map(str, found.addresses))


def test_an_alias_is_asked_for_by_the_exporters_own_name() -> None:
    found = imported(remote(), sni_host="own.default.svc.cluster.local")
    assert found is not None
    assert found.names == tuple(f"outbound_.{one.number}_._.own.default.svc.cluster.local" for one in PORTS)


def test_behind_a_router_by_the_name_that_the_router_knows() -> None:
    found = imported(remote(ingressType="openshift-router", port=443))
    assert found is not None
    assert found.names == tuple(f"cart-{one.number}.default.svc.cluster.local" for one in PORTS)


def test_the_discovery_service() -> None:
    name = f"outbound_.15080_._.federation-discovery-service-west.{SYSTEM}.svc.cluster.local"
    addresses = (GatewayAddress("192.0.2.20", 15443), GatewayAddress("192.0.2.21", 15443))
    assert of_discovery(remote(identity=CONTROLLER)) == Probe(
        "west", addresses, (name,), (CONTROLLER,), is_discovery=True
    )
    assert of_discovery(remote()) == Probe("west", addresses, (name,), is_discovery=True), "nobody is stated"


@pytest.mark.parametrize("spec", [{"addresses": []}, {"discovery": {"address": "west.example.com:15080"}}])
def test_where_no_way_leads_through_the_gateway_nothing_is_proven_of_discovery(spec: dict[str, Any]) -> None:
    assert of_discovery(remote(**spec)) is None


def test_without_an_address_nothing_is_proven_of_an_import() -> None:
    assert imported(remote(addresses=[])) is None


def test_of_a_host_of_several_remotes_callers_take_whoever_one_of_them_announces() -> None:
    other = "spiffe://cluster.local/ns/default/sa/other"
    for theirs, expected in (((other,), (WHO, other)), ((), ())):
        of = remote(network="a")
        one = Candidate(record="cart.west", remote=of, offer=offer("cart", identities=(WHO,)), merge=True)
        elsewhere = msgspec.structs.replace(of, name="north", network="b")
        two = Candidate(record="cart.north", remote=elsewhere, offer=offer("cart", identities=theirs), merge=True)
        both = merge(CART, [one, two]).imported
        assert both is not None
        found = of_import(one, both)
        assert found is not None
        assert found.identities == expected


def test_a_port_that_a_router_cannot_name_is_reached_by_nobody() -> None:
    long = "c" * 58
    of = remote(ingressType="openshift-router", port=443)
    two = [msgspec.structs.replace(PORTS[0], number=number, name=f"http-{number}") for number in (80, 10000)]
    brought = offer(long, ports=tuple(two))
    candidate = Candidate(record="long.west", remote=of, offer=brought, merge=False)
    alone = merge(brought.host, [candidate]).imported
    assert alone is not None
    found = of_import(candidate, alone)
    assert found is not None
    assert found.unnamed == (10000,)
    condition = reachable(found, {way: Answered(WHO, 1e10) for way in ways(found)})
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", Reason.NAME_TOO_LONG)
    assert "port 10000" in condition.message
