"""What goes with a RemoteMesh, and what else serves its hosts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from meshfed.views.unlinking import HostAfter, unlinking
from tests.builders import federated_service, mesh_federation, namespace, pod, remote_mesh, service
from tests.cli.fakes import snapshot

MERGED = {"merge": True}


def served(remote: str, name: str) -> Any:
    """What a remote offers, and says as whom it is served."""
    return federated_service(remote, name, identities=["spiffe://cluster.local/ns/default/sa/default"])


def world(*more: Any, unread: dict[str, str] | None = None) -> Any:
    objects = (
        namespace("default"),
        mesh_federation("east"),
        remote_mesh("west", import_=MERGED, created="2026-01-01T00:00:00Z"),
        served("west", "ratings"),
        *more,
    )
    return snapshot(*msgspec.json.decode(msgspec.json.encode(objects)), unread=unread)


NORTH = remote_mesh("north", addresses=["192.0.2.30"], import_=MERGED)
ALSO = (NORTH, served("north", "ratings"))


@pytest.mark.parametrize(
    ("more", "after", "served_by"),
    [
        ((), HostAfter.GONE, ()),
        ((service("ratings"), pod("ratings-1", "ratings")), HostAfter.SERVED, ("Service default/ratings",)),
        ((service("ratings"),), HostAfter.EMPTY, ()),
        ((service("ratings"), pod("ratings-1", "ratings", ready=False)), HostAfter.EMPTY, ()),
        ((service("ratings"), pod("ratings-1.other", "ratings")), HostAfter.EMPTY, ()),
        (ALSO, HostAfter.SERVED, ("RemoteMesh north",)),
        (
            (*ALSO, service("ratings"), pod("ratings-1", "ratings")),
            HostAfter.SERVED,
            ("Service default/ratings", "RemoteMesh north"),
        ),
    ],
)
def test_what_is_left_of_a_host(more: tuple[Any, ...], after: HostAfter, served_by: tuple[str, ...]) -> None:
    (found,) = unlinking(world(*more), "west").hosts
    assert (found.host, found.after, found.served_by) == ("ratings.default.svc.cluster.local", after, served_by)


def test_who_waits_in_the_second_place_takes_over() -> None:
    """Without `merge` there, north was refused as AlreadyImported; it is decided anew."""
    north = NORTH | {"spec": NORTH["spec"] | {"import": {}}}
    (found,) = unlinking(world(north, ALSO[1]), "west").hosts
    assert found.served_by == ("RemoteMesh north",)


def test_where_pods_may_not_be_read_a_service_counts_as_served() -> None:
    (found,) = unlinking(world(service("ratings"), unread={"Pod": "you may not list pods"}), "west").hosts
    assert found.after is HostAfter.SERVED


def test_the_worst_comes_first_and_what_is_refused_is_not_named() -> None:
    here = world(
        service("reviews"),
        pod("reviews-1", "reviews"),
        served("west", "reviews"),
        service("details"),
        served("west", "details"),
        federated_service("west", "kubernetes.kube-system"),
    )
    found = unlinking(here, "west")
    assert [(one.host.partition(".")[0], one.after) for one in found.hosts] == [
        ("ratings", "Gone"),
        ("details", "Empty"),
        ("reviews", "Served"),
    ]


def test_a_remote_that_serves_nothing_and_hears_something() -> None:
    here = snapshot(
        namespace("default"),
        mesh_federation("east"),
        remote_mesh("west", import_=None),
        service("ratings", exported=True),
    )
    found = unlinking(here, "west")
    assert (found.hosts, found.exports) == ((), 1)
