"""A Service that is exported, and one that is imported, and everybody who calls them or is called."""

from __future__ import annotations

from typing import Any

from meshfed.plan import ExportKey, GatewayKey, ImportKey
from meshfed.plan.foreign_destination_rules import of_destination_rule
from tests.builders import (
    GATEWAY,
    SYSTEM,
    endpoint_slice,
    federated_service,
    mesh_federation,
    namespace,
    pod,
    port,
    remote_mesh,
    service,
)
from tests.sandbox.dataplane.cluster_objects import identity
from tests.world import World

JSONObject = dict[str, Any]

HERE = "ratings.default.svc.cluster.local"
"""A Service of this mesh, which a remote serves too."""
THERE = "details.default.svc.cluster.local"
"""A Service of the remote alone."""
REMOTE = "192.0.2.10"
"""The address of the remote's ingress."""
POD_PORTS = {"http": 8080, "grpc": 7070, "plain": 82, "tls": 15443}
OUTLIERS: JSONObject = {"outlierDetection": {"consecutive5xxErrors": 3}}

INGRESS = pod(f"gateway-1.{SYSTEM}", "gateway", address="10.244.0.1", labels=GATEWAY)
SERVERS = (
    pod("ratings-1", "ratings", address="10.244.0.2", ports=POD_PORTS, account="ratings"),
    pod("ratings-2", "ratings", address="10.244.0.3", ports=POD_PORTS, account="ratings", labels={"version": "v2"}),
    pod("outside", "ratings", address="10.244.0.4", ports=POD_PORTS, sidecar=False),
    pod("leader-1", "leader", address="10.244.0.5", ports=POD_PORTS, account="leader"),
)
CLIENTS = {
    where: pod(f"client.{where}", "client", address=f"10.244.1.{number}")
    for number, where in enumerate(("default", "web", "shop", "other", SYSTEM), start=1)
}
UNSELECTED = pod("other.web", "other", address="10.244.2.1")
"""A client that no rule selects."""
RATINGS = service(
    "ratings",
    exported=True,
    clusterIP="10.96.200.2",
    ports=[port(80, "http", 8080), port(81, "grpc", "grpc"), port(82, "http-plain")],
)
LED = service(
    "leader",
    exported=True,
    clusterIP="10.96.200.3",
    ports=[port(80, "http", 8080), port(81, "grpc", "grpc")],
    selector={},
)
FRONT = service(f"gateway.{SYSTEM}", clusterIP="10.96.200.4", ports=[port(15443, "tls")], selector=GATEWAY)
SCENE = (
    *(namespace(where) for where in ("web", "shop", "other", SYSTEM)),
    *(*SERVERS, *CLIENTS.values(), UNSELECTED, INGRESS, RATINGS, FRONT),
    endpoint_slice(
        "ratings-s",
        "ratings",
        *(f"{one['status']['podIP']}={one['metadata']['name']}" for one in SERVERS[:3]),
        ports={"http": 8080, "grpc": 7070, "http-plain": 82},
        managed_by="endpointslice-controller.k8s.io",
    ),
    endpoint_slice(
        f"gateway-s.{SYSTEM}",
        "gateway",
        "10.244.0.1=gateway-1",
        ports={"tls": 15443},
        managed_by="endpointslice-controller.k8s.io",
    ),
)
"""What is there in all states, but for ``LED``: istiod remembers the accounts of a Service while it is there."""

GATE = identity(INGRESS, kind="gateway", requested_network="east-network")
SIDECARS = {
    f"{one['metadata']['name']}.{one['metadata']['namespace']}": identity(one, application="10.244.128.1", dns_port=53)
    for one in (*CLIENTS.values(), UNSELECTED, *(one for one in SERVERS if one["metadata"]["name"] != "outside"))
}
WHERE = ("default", "web", "shop", SYSTEM, "other")
EVERYBODY = (GATE, *SIDECARS.values())


def planned(*others: JSONObject, **remote: Any) -> World:
    """What is worked out of all these objects."""
    ports = [
        {"number": number, "name": name, "protocol": "GRPC" if name == "grpc" else "HTTP"}
        for number, name in ((80, "http"), (81, "grpc"), (82, "http-plain"))
    ]
    world = World(
        mesh_federation(),
        remote_mesh(import_={"merge": True}, **remote),
        federated_service("west", "ratings", ports=ports, identities=["spiffe://cluster.local/ns/default/sa/ratings"]),
        federated_service("west", "details", ports=ports[:2]),
    )
    return put(world, *SCENE, LED, *others)


def put(world: World, *objects: JSONObject) -> World:
    """Take in objects of others, and those of this mesh."""
    for one in objects:
        if one["kind"] == "DestinationRule":
            place = (one["metadata"]["namespace"], one["metadata"]["name"])
            world.planner.inputs.rules.put(place, of_destination_rule(one))
        else:
            world.put(one)
    return world


def written(world: World) -> list[JSONObject]:
    """What is written, but for what the controller needs for itself; later than what others wrote."""
    world.settle()
    return [
        {**one, "metadata": {**one["metadata"], "creationTimestamp": "2026-02-01T00:00:00Z"}}
        for key, outputs in world.outputs.items()
        if isinstance(key, ImportKey | ExportKey | GatewayKey)
        for one in outputs.objects
    ]
