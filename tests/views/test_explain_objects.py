"""Objects that the controller wrote: found by any of their names, and from which inputs each follows."""

from __future__ import annotations

import pytest

from meshfed.views.explain.asked import explained
from meshfed.views.explain.named import Named, named
from meshfed.views.explain.objects import TreeView, asks_about, find_object, tree, trees
from meshfed.views.explain.seen import seen
from tests.builders import service, service_entry
from tests.views.federated import ENTRY, RATINGS, RECORD, World


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("ServiceEntry", f"istio-system/{ENTRY}"), Named("ServiceEntry", "istio-system", ENTRY)),
        ((f"ServiceEntry istio-system/{ENTRY}",), Named("ServiceEntry", "istio-system", ENTRY)),
        (("serviceentries", ENTRY), Named("ServiceEntry", None, ENTRY)),
        ((f"se/{ENTRY}",), Named("ServiceEntry", None, ENTRY)),
        (
            (f"federatedservice.federation.openshift-service-mesh.io/{RECORD}",),
            Named("FederatedService", None, RECORD),
        ),
        (("gw/federation-ingress-gateway",), Named("Gateway", None, "federation-ingress-gateway")),
        (("bookinfo/ratings",), None),
        (("ratings.bookinfo",), None),
        (("ConfigMap", "istio"), None),
    ],
)
def test_what_a_person_may_call_an_object(words: tuple[str, ...], found: Named | None) -> None:
    assert named(words) == found


@pytest.mark.parametrize(
    ("kind", "name", "key", "inputs", "about"),
    [
        (
            "ServiceEntry",
            ENTRY,
            f"import {RATINGS}",
            (
                f"FederatedService istio-system/{RECORD}",
                "RemoteMesh istio-system/west",
                "MeshFederation istio-system/east",
            ),
            RATINGS,
        ),
        (
            "FederatedService",
            RECORD,
            f"offer {RECORD}",
            ("RemoteMesh istio-system/west", "MeshFederation istio-system/east"),
            RECORD,
        ),
        (
            "ServiceEntry",
            "federation-discovery-service-west",
            "remote west",
            ("RemoteMesh istio-system/west", "MeshFederation istio-system/east"),
            "",
        ),
        (
            "AuthorizationPolicy",
            "fds-known-remotes",
            "mesh",
            ("RemoteMesh istio-system/west", "MeshFederation istio-system/east"),
            "",
        ),
    ],
)
def test_what_an_object_follows_from(kind: str, name: str, key: str, inputs: tuple[str, ...], about: str) -> None:
    east, _ = World().seen()
    found = find_object(east, Named(kind, None, name))
    assert found is not None
    shown = f"{kind} istio-system/{name}"
    assert (tree(east, found), asks_about(found)) == (TreeView("east", shown, key, inputs), about)


def test_an_import_beside_a_local_service_follows_from_that_too() -> None:
    world = World()
    world.one("RemoteMesh", "west", "east")["spec"]["import"] = {"merge": True}
    world.east.append(service("ratings.bookinfo"))
    east, west = world.seen()
    (chain,) = explained("ratings.bookinfo", [east, west])
    by_kind = {one.object.partition(" ")[0]: one for one in trees([east, west], chain)}
    assert by_kind["WorkloadEntry"].inputs[2] == "Service bookinfo/ratings"
    assert "Service bookinfo/ratings" in by_kind["Gateway"].inputs
    assert {*by_kind} == {"FederatedService", "WorkloadEntry", "Gateway"}


def test_an_object_of_somebody_else_follows_from_nothing() -> None:
    world = World()
    world.east.append(service_entry("theirs", "vm.example"))
    east = seen(world.snapshots()[0])
    found = find_object(east, Named("ServiceEntry", "istio-system", "theirs"))
    assert found is not None
    assert tree(east, found) == TreeView("east", "ServiceEntry istio-system/theirs", "", ())
    assert find_object(east, Named("ServiceEntry", "shop", "theirs")) is None
