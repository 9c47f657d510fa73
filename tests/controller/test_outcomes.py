"""What the engine made of a key's objects, as one verdict; and what routers say of Routes, up to our own status."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed.controller.writing.outcomes import refusal, verdict
from meshfed.kube import Manifest, ObjectKey, ObjectState, Outcome, SourceState
from meshfed.model.reasons import Reason
from meshfed.plan import Applied
from tests.builders import RESOURCES, SYSTEM, host, mesh_federation, service
from tests.controller.meshes import Mesh, meshes
from tests.waiting import eventually

ROUTER = {"type": "openshift-router", "gateway": {"selector": {"app": "federation-ingress-gateway"}}}
NAME = f"federation-ingress-gateway.{host('a')}.9080"
DISCOVERY = f"federation-ingress-gateway.federation-discovery-service-east.{SYSTEM}.svc.cluster.local.15080"
ADMITTED = {"type": "Admitted", "status": "True"}
CLAIMED = {"type": "Admitted", "status": "False", "reason": "HostAlreadyClaimed", "message": "route b is older"}


REFUSED = "router default does not admit it: HostAlreadyClaimed: route b is older"


def at(*conditions: Any, router: str = "default") -> dict[str, Any]:
    """What one router says."""
    return {"host": "a-9080.default", "routerName": router, "conditions": list(conditions)}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (None, ""),
        ({}, ""),
        ({"ingress": []}, ""),
        ({"ingress": [at()]}, ""),
        ({"ingress": [at(ADMITTED)]}, ""),
        ({"ingress": [at({"type": "Admitted", "status": "Unknown"})]}, ""),
        ({"ingress": [at({**CLAIMED, "type": "UnservableInFutureVersions"}, ADMITTED)]}, ""),
        ({"ingress": [at(CLAIMED)]}, REFUSED),
        ({"ingress": [at(CLAIMED), at(ADMITTED, router="shard")]}, ""),
        (
            {"ingress": [at(CLAIMED), at(router="shard")]},
            REFUSED,
        ),
        (
            {"ingress": [at(CLAIMED), at({**CLAIMED, "reason": "RouteNotAdmitted", "message": "no"}, router="shard")]},
            f"{REFUSED}; router shard does not admit it: RouteNotAdmitted: no",
        ),
        ({"ingress": "a new form"}, ""),
    ],
)
def test_a_route_is_refused_where_a_router_refuses_it_and_none_serves_it(status: Any, said: str) -> None:
    live: Manifest = {"kind": "Route", "metadata": {"name": "a"}, "status": status}
    assert refusal({key: value for key, value in live.items() if value is not None}) == said
    assert refusal({**live, "kind": "Gateway"}) == ""


def test_the_first_object_that_fails_or_is_refused_decides() -> None:
    def key(name: str) -> ObjectKey:
        return ObjectKey("route.openshift.io", "Route", "istio-system", name)

    def of(**states: ObjectState) -> Applied:
        return verdict(SourceState({key(name): state for name, state in states.items()}, frozenset()))

    applied, refused = ObjectState(Outcome.APPLIED), ObjectState(Outcome.APPLIED, refused="no")
    failed, pending = ObjectState(Outcome.FAILED, "down"), ObjectState(Outcome.PENDING)
    assert of(a=applied, b=applied) == Applied("applied")
    assert of(a=applied, b=pending) == Applied("pending", Reason.PENDING, "being written")
    assert of(a=pending, b=refused) == Applied("failed", Reason.ROUTE_NOT_ADMITTED, f"{key('b')}: no")
    assert of(a=failed, b=refused) == Applied("failed", Reason.WRITE_FAILED, f"{key('a')}: down")


async def say(mesh: Mesh, name: str, *conditions: Any) -> None:
    """Say of a Route what a router would."""
    status = {"status": {"ingress": [at(*conditions)]}}
    await mesh.client.patch(RESOURCES["Route"], name, status, namespace=SYSTEM, subresource="status")


def written(mesh: Mesh) -> dict[str, tuple[str, int]]:
    """Which Routes there are, and how often each was written."""
    return {name: (one["metadata"]["uid"], one["metadata"]["generation"]) for name, one in mesh.all("Route").items()}


async def test_an_export_whose_route_is_refused_is_pointed_out_until_it_is_admitted() -> None:
    async with meshes("east") as (east,):
        await east.start()
        await east.apply(mesh_federation("east", ingress=ROUTER), *(service(name, exported=True) for name in "abc"))
        await eventually(lambda: len(east.all("Route")) == 4)

        def holds(kind: str, *wanted: str) -> Any:
            return eventually(
                lambda: east.condition("MeshFederation", "east", kind) == wanted, f"{kind} is not {wanted}"
            )

        await holds("ExportsReady", "True", "Exporting")
        before = written(east)
        await say(east, NAME, CLAIMED)
        await holds("ExportsReady", "False", "RouteNotAdmitted")
        said = next(
            c for c in east.all("MeshFederation")["east"]["status"]["conditions"] if c["type"] == "ExportsReady"
        )
        assert said["message"] == (f"objects of default/a are not in place: Route {SYSTEM}/{NAME}: {REFUSED}")
        await say(east, NAME, ADMITTED)
        await holds("ExportsReady", "True", "Exporting")
        await say(east, DISCOVERY, CLAIMED)
        await holds("GatewayReady", "False", "RouteNotAdmitted")
        # What is refused stays as it is: it is for whoever claimed the host to let it go.
        assert written(east) == before
        await east.stop()
        await east.start()
        await holds("GatewayReady", "False", "RouteNotAdmitted")
