"""What becomes of traffic where one plan takes the place of another, in words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from meshfed.kube import Manifest
from meshfed.plan import Plan, Settings, plan_all
from meshfed.plan.documents import read_documents
from meshfed.views.traffic import traffic
from tests.builders import SYSTEM, federated_service, mesh_federation, pod, port, remote_mesh, service

EAST = mesh_federation("east")


def planned(*objects: Manifest) -> Plan:
    documents = msgspec.json.decode(msgspec.json.encode([EAST, *objects]))
    inputs = read_documents((("test", one) for one in documents), SYSTEM, "istio")
    return plan_all(inputs, Settings(namespace=SYSTEM))


def remote(name: str, address: str = "192.0.2.10", **import_: Any) -> Manifest:
    return remote_mesh(
        name,
        addresses=[address],
        identity=f"spiffe://cluster.local/ns/{SYSTEM}/sa/{name}",
        import_={"merge": True} | import_,
    )


def ratings(remote: str, *numbers: int, **more: Any) -> Manifest:
    ports = [{"number": number, "name": f"http-{number}", "protocol": "HTTP"} for number in numbers or (9080,)]
    return federated_service(remote, "ratings", ports=ports, **more)


def sayings(before: Plan, after: Plan) -> list[str]:
    """Each sentence with its hosts, by their first label, and what holds now."""
    return [
        f"{one.says}: {' '.join(host.partition('.')[0] for host in one.hosts)}" + "".join(f" > {n}" for n in one.now)
        for one in traffic(before, after)
    ]


WEST, NORTH = remote("west"), remote("north", "192.0.2.30")
LOCAL = service("ratings", ports=[port(9080, "http-9080")])
"""A Service that what `ratings` offers can join."""
ACCOUNT = f"spiffe://cluster.local/ns/{SYSTEM}/sa/ratings"
RULE_OUT = [{"action": "Deny", "hosts": ["ratings.*"]}]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        pytest.param([WEST, ratings("west")], [WEST, ratings("west")], [], id="nothing"),
        pytest.param([WEST], [WEST, ratings("west")], ["1 host is new, from west: ratings"], id="a host is new"),
        pytest.param(
            [WEST, ratings("west"), federated_service("west", "reviews")],
            [WEST],
            ["2 hosts lose their last endpoint: ratings reviews"],
            id="hosts go",
        ),
        pytest.param(
            [WEST, ratings("west")],
            [remote("west", rules=RULE_OUT), ratings("west")],
            ["1 host loses its last endpoint: ratings"],
            id="a rule takes a host out",
        ),
        pytest.param(
            [WEST, LOCAL],
            [WEST, LOCAL, ratings("west")],
            ["1 host moves from local to both (local and west): ratings"],
            id="local to both",
        ),
        pytest.param(
            [WEST, LOCAL, ratings("west")],
            [WEST, LOCAL],
            ["1 host moves from both (local and west) to local: ratings"],
            id="both to local",
        ),
        pytest.param(
            [WEST, ratings("west")],
            [WEST, LOCAL, ratings("west")],
            ["1 host moves from remote (west) to both (local and west): ratings"],
            id="remote to both",
        ),
        pytest.param(
            [WEST, ratings("west")],
            [remote("west", merge=False), LOCAL, ratings("west")],
            ["1 host moves from remote (west) to local: ratings"],
            id="remote to local",
        ),
        pytest.param(
            [WEST, LOCAL, ratings("west")],
            [WEST, NORTH, ratings("west"), ratings("north")],
            ["1 host moves from both (local and west) to remote (north and west): ratings"],
            id="both to remote",
        ),
        pytest.param(
            [WEST, NORTH, ratings("west")],
            [WEST, NORTH, ratings("west"), ratings("north")],
            ["1 host gains remote north: ratings"],
            id="a remote comes",
        ),
        pytest.param(
            [WEST, NORTH, ratings("west")],
            [WEST, NORTH, ratings("north")],
            ["1 host loses remote west: ratings", "1 host gains remote north: ratings"],
            id="one remote for another",
        ),
        pytest.param(
            [WEST, ratings("west", 80, 9080)],
            [WEST, ratings("west", 9080, 9443)],
            ["1 host loses port 80/HTTP: ratings", "1 host gains port 9443/HTTP: ratings"],
            id="ports",
        ),
        pytest.param(
            [WEST, ratings("west"), federated_service("west", "reviews")],
            [remote("west", "192.0.2.99"), ratings("west"), federated_service("west", "reviews")],
            ["2 hosts are called by way of other addresses of remote west: ratings reviews > 192.0.2.99:15443"],
            id="addresses",
        ),
        pytest.param(
            [WEST, ratings("west")],
            [WEST, ratings("west", identities=[ACCOUNT])],
            [f"1 host is answered by other identities of remote west: ratings > {ACCOUNT}"],
            id="identities",
        ),
        pytest.param(
            [WEST, ratings("west")],
            [remote("west", exportTo=["shop", "bookinfo"]), ratings("west")],
            ["1 host is seen by other namespaces: ratings > bookinfo > shop"],
            id="who sees it",
        ),
        pytest.param(
            [WEST, LOCAL, ratings("west")],
            [remote("west", "gateway.example"), LOCAL, ratings("west")],
            ["1 host moves from both (local and west) to local: ratings"],
            id="an address of which no IP is known",
        ),
        pytest.param([LOCAL], [], [], id="a Service that no other mesh knows"),
    ],
)
def test_of_imports(before: list[Manifest], after: list[Manifest], said: list[str]) -> None:
    assert sayings(planned(*before), planned(*after)) == said


EXPORTED = service("ratings", exported=True)
REVIEWS = service("reviews", exported=True)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        pytest.param(
            [WEST, service("ratings")],
            [WEST, EXPORTED],
            ["1 Service is newly exported to west: ratings"],
            id="labelled",
        ),
        pytest.param(
            [WEST, EXPORTED, REVIEWS],
            [WEST],
            ["2 Services are no longer exported to west: ratings reviews"],
            id="deleted",
        ),
        pytest.param(
            [WEST, EXPORTED],
            [WEST, NORTH, EXPORTED],
            ["1 Service is newly exported to north: ratings"],
            id="a remote comes",
        ),
        pytest.param([], [EXPORTED], ["1 Service is newly exported, to nobody yet: ratings"], id="nobody is there"),
        pytest.param(
            [EXPORTED], [], ["1 Service is no longer exported, which nobody was told of: ratings"], id="nobody was"
        ),
        pytest.param(
            [WEST, EXPORTED],
            [EXPORTED],
            ["1 Service is no longer exported to west: ratings"],
            id="the last remote goes",
        ),
        pytest.param(
            [WEST, service("ratings", exported=True, ports=[port(80), port(9080, "tcp")])],
            [WEST, service("ratings", exported=True, ports=[port(80), port(9443, "https")])],
            ["1 exported Service loses port 9080/TCP: ratings", "1 exported Service gains port 9443/HTTPS: ratings"],
            id="ports",
        ),
        pytest.param(
            [WEST, EXPORTED, pod("ratings-1", "ratings")],
            [WEST, EXPORTED, pod("ratings-1", "ratings", account="other")],
            ["1 exported Service is served by other identities: ratings > spiffe://cluster.local/ns/default/sa/other"],
            id="identities",
        ),
    ],
)
def test_of_exports(before: list[Manifest], after: list[Manifest], said: list[str]) -> None:
    assert sayings(planned(*before), planned(*after)) == said


def test_without_a_mesh_all_is_gone() -> None:
    before = planned(WEST, ratings("west"), EXPORTED)
    after = plan_all(read_documents((), SYSTEM, "istio"), Settings(namespace=SYSTEM))
    assert sayings(before, after) == [
        "1 Service is no longer exported to west: ratings",
        "1 host moves from both (local and west) to local: ratings",
    ]
