"""What an object of the reference is for, told from its spec, and from its name only where nothing else tells it."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed.istio.reference import ReferenceImport, Remnant, is_reference, remnant, without_owner
from meshfed.model.meshes import Remote
from tests.istio.rendering_values import east, peer
from tests.reference_objects import PEER, ROUTER, Peer, ReferenceMesh, Service


def remotes(*names: str) -> dict[str, Remote]:
    return {name: peer(name) for name in names}


def found(peer: Peer, *known: str, **fields: Any) -> dict[str, Remnant]:
    """What each object of the reference is for, with these remotes configured: the peer alone unless said otherwise."""
    old = ReferenceMesh("east", (peer,), **fields)
    return {
        f"{one['kind']} {one['metadata']['name']}": remnant(one, east(), remotes(*(known or (peer.name,))))
        for one in old.objects()
    }


def test_each_object_is_told() -> None:
    peer = Peer("west", ("192.0.2.1",), ingress=ROUTER, offers=(Service("ratings"), Service("reviews", "shop")))
    told = found(peer, exports=(Service("details"),), locals=(Service("reviews", "shop"),), ingress=ROUTER)
    ratings, reviews = (
        ReferenceImport("west", f"{name}.svc.cluster.local") for name in ("ratings.default", "reviews.shop")
    )
    fds = "federation-discovery-service-{}.istio-system.svc.cluster.local".format
    assert told == {
        "Gateway federation-ingress-gateway": Remnant(successor="federation-ingress-gateway"),
        "PeerAuthentication fds-strict-mtls": Remnant(successor="fds-strict-mtls"),
        "EnvoyFilter sni-federation-discovery-service-east-istio-system-15080": Remnant(
            successor=f"sni.{fds('east')}.15080"
        ),
        "EnvoyFilter sni-details-default-9080": Remnant(successor="sni.details.default.svc.cluster.local.9080"),
        "Route federation-discovery-service-east-istio-system-15080-to-federation-ingress-gateway": Remnant(
            successor=f"federation-ingress-gateway.{fds('east')}.15080"
        ),
        "Route details-default-9080-to-federation-ingress-gateway": Remnant(
            successor="federation-ingress-gateway.details.default.svc.cluster.local.9080"
        ),
        "ServiceEntry federation-discovery-service-west": Remnant(successor="federation-discovery-service-west"),
        "DestinationRule mtls-sni-federation-discovery-service-west-istio-system-svc-cluster-local": Remnant(
            successor="mtls-sni.federation-discovery-service-west"
        ),
        "ServiceEntry import-ratings-default-svc-cluster-local-west": Remnant(imports=(ratings,)),
        "DestinationRule mtls-sni-ratings-default-svc-cluster-local": Remnant(imports=(ratings,)),
        "WorkloadEntry import-west-reviews-0": Remnant(imports=(reviews,)),
        "DestinationRule mtls-sni-reviews-shop-svc-cluster-local": Remnant(imports=(reviews,)),
    }


def test_a_name_that_could_be_of_two_remotes_is_of_both() -> None:
    peer = Peer("west", ("192.0.2.1",), offers=(Service("two-reviews"),))
    told = found(peer, "west", "west-two", locals=(Service("two-reviews"),))
    assert told["WorkloadEntry import-west-two-reviews-0"].imports == (
        ReferenceImport("west", "two-reviews.default.svc.cluster.local"),
        ReferenceImport("west-two", "reviews.default.svc.cluster.local"),
    )


def test_of_a_remote_that_is_not_configured_nothing_is_known() -> None:
    peer = Peer("west", ("192.0.2.1",), ingress=ROUTER, offers=(Service("ratings"),))
    told = found(peer, "north")
    assert told["ServiceEntry import-ratings-default-svc-cluster-local-west"] == Remnant()
    assert told["ServiceEntry federation-discovery-service-west"] == Remnant()


@pytest.mark.parametrize("kind", ["ServiceEntry", "DestinationRule", "EnvoyFilter", "Route"])
@pytest.mark.parametrize("spec", [None, {}, [], {"hosts": 5}, {"host": 5}, {"configPatches": [{"match": "x"}]}])
def test_what_is_otherwise_made_is_for_nothing_known(kind: str, spec: Any) -> None:
    odd = {"kind": kind, "metadata": {"name": "odd", "namespace": "istio-system", "labels": PEER}, "spec": spec}
    told = remnant(odd, east(), remotes("west"))
    assert (told.successor, [one for one in told.imports if one.host]) == ("", [])


def test_it_is_told_by_its_label_and_loses_the_federation_as_owner() -> None:
    ours = {"apiVersion": "federation.openshift-service-mesh.io/v1alpha1", "kind": "MeshFederation", "name": "east"}
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}
    live = {"metadata": {"name": "a", "labels": PEER, "ownerReferences": [ours, other]}, "spec": {}}
    assert is_reference(live)
    assert not is_reference({"metadata": {"name": "a"}})
    assert without_owner(live)["metadata"]["ownerReferences"] == [other]
    live["metadata"] = {"name": "a", "labels": PEER, "ownerReferences": [ours]}
    assert "ownerReferences" not in without_owner(live)["metadata"]


def test_a_port_of_five_thousand_digits_is_no_port() -> None:
    digits = "1" * 5000
    server_name = {"filterChain": {"sni": f"outbound_.{digits}_._.details.default.svc.cluster.local"}}
    of_filter = {"configPatches": [{"match": {"listener": server_name}}]}
    of_route = {"host": f"details-{digits}.default.svc.cluster.local"}
    for kind, spec in (("EnvoyFilter", of_filter), ("Route", of_route)):
        manifest = {"kind": kind, "metadata": {"name": "a", "namespace": "istio-system"}, "spec": spec}
        assert remnant(manifest, east(), remotes("west")) == Remnant()
