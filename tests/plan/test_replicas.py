"""The Lease of a replica: what it says, read and written, and what it is called."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from meshfed.model.names import is_dns_label
from meshfed.plan.replicas import (
    Replica,
    Subscription,
    Withdrawn,
    lease_name,
    lease_name_beside,
    replica_lease,
    replica_of,
)

WEST = Subscription("2026-01-01T00:00:00Z", "delta")
NORTH = Subscription("2026-01-02T00:00:00Z", "sotw")
DEEP = '{"b":{"more":' + "[" * 100_000 + "]" * 100_000 + "}}"
REPLICA = Replica(
    name="meshfed-replica-pod-1",
    holder="pod-1_uuid",
    version="1.2.3",
    renewed="2026-01-03T00:00:00.000000Z",
    subscribers={"west": WEST, "north": NORTH},
)


def test_it_says_who_lives_in_which_version_and_who_subscribes() -> None:
    assert replica_lease(None, REPLICA, "istio-system") == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": "meshfed-replica-pod-1",
            "namespace": "istio-system",
            "labels": {
                "federation.openshift-service-mesh.io/replica": "true",
                "federation.openshift-service-mesh.io/owner-namespace": "istio-system",
            },
            "annotations": {
                "federation.openshift-service-mesh.io/version": "1.2.3",
                "federation.openshift-service-mesh.io/subscribers": (
                    '{"north":{"since":"2026-01-02T00:00:00Z","dialect":"sotw"},'
                    '"west":{"since":"2026-01-01T00:00:00Z","dialect":"delta"}}'
                ),
            },
        },
        "spec": {
            "holderIdentity": "pod-1_uuid",
            "leaseDurationSeconds": 40,
            "acquireTime": "2026-01-03T00:00:00.000000Z",
            "renewTime": "2026-01-03T00:00:00.000000Z",
        },
    }
    assert replica_of(replica_lease(None, REPLICA, "istio-system")) == REPLICA
    assert REPLICA.host == "pod-1"


def test_what_was_withdrawn_is_on_it_for_as_long_as_that_is_to_be_told() -> None:
    gone = Withdrawn("default", "ratings", "ratings.example", ("west", "north"), "2026-01-03T00:00:00.000000Z")
    telling = replace(REPLICA, withdrawn=(gone,), subscribers={"west": replace(WEST, imports=3)})
    lease = replica_lease(None, telling, "istio-system")
    assert replica_of(lease) == telling
    assert replica_lease(lease, REPLICA, "istio-system") == replica_lease(None, REPLICA, "istio-system")
    lease["metadata"]["annotations"]["federation.openshift-service-mesh.io/withdrawn"] = DEEP
    assert replica_of(lease).withdrawn == ()


def test_since_when_it_lives_stays_over_renewals_and_begins_anew_with_another_process() -> None:
    first = replica_lease(None, REPLICA, "istio-system")
    first["metadata"] |= {"resourceVersion": "7", "labels": first["metadata"]["labels"] | {"theirs": "stays"}}
    later = Replica(name=REPLICA.name, holder=REPLICA.holder, renewed="later")
    renewed = replica_lease(first, later, "istio-system")
    assert (renewed["spec"]["acquireTime"], renewed["spec"]["renewTime"]) == (REPLICA.renewed, "later")
    assert (renewed["metadata"]["resourceVersion"], renewed["metadata"]["labels"]["theirs"]) == ("7", "stays")
    other = replica_lease(first, Replica(name=REPLICA.name, holder="pod-1_next", renewed="later"), "istio-system")
    assert (other["spec"]["holderIdentity"], other["spec"]["acquireTime"]) == ("pod-1_next", "later")


@pytest.mark.parametrize(
    "manifest",
    [
        {"metadata": {"name": "a"}},
        {"metadata": {"name": "a", "annotations": None}, "spec": None},
        {"metadata": {"name": "a", "annotations": {"federation.openshift-service-mesh.io/subscribers": "[1"}}},
        {"metadata": {"name": "a", "annotations": {"federation.openshift-service-mesh.io/subscribers": '{"b":1}'}}},
        {"metadata": {"name": "a", "annotations": {"federation.openshift-service-mesh.io/subscribers": DEEP}}},
    ],
)
def test_what_cannot_be_read_is_not_stated(manifest: dict[str, Any]) -> None:
    assert replica_of(manifest) == Replica(name="a")


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ("federation-controller-7d9f5b6c4-x2x4z_5b1f", "meshfed-replica-federation-controller-7d9f5b6c4-x2x4z"),
        ("Laptop.local_5b1f", "meshfed-replica-laptop-local"),
        ("a_b_5b1f", "meshfed-replica-a-b"),
        ("nobody", "meshfed-replica-nobody"),
    ],
)
def test_it_is_called_as_the_pod_or_host(identity: str, name: str) -> None:
    assert lease_name(identity) == name


@pytest.mark.parametrize("host", ["_", "é", "x" * 63, "x" * 46 + "-y", "node-1.example.org"])
def test_its_name_is_a_label_whatever_the_host_is_called(host: str) -> None:
    names = [named(f"{host}_{uuid}") for named in (lease_name, lease_name_beside) for uuid in ("1", "2")]
    assert all(is_dns_label(name) for name in names), names
    assert names[0] == names[1]
    assert len({names[0], names[2], names[3]}) == 3


def test_long_names_that_begin_alike_differ() -> None:
    assert lease_name("x" * 60 + "a_1") != lease_name("x" * 60 + "b_1")
