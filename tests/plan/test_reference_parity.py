"""From the reference's flags, in the three shapes of its examples, Meshfed writes what the reference writes.

Objects are matched by what they are for, not by name. Every difference there is stands in ``DIFFERENCES`` with its
reason, and is applied to what the reference writes; after that the two have to be equal. None may be idle.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from meshfed.api import core
from meshfed.api.reference_config import ReferenceConfig, reference_config
from meshfed.istio import Manifest
from meshfed.model.offers import Offer
from meshfed.model.offers import Port as OfferedPort
from meshfed.plan import PlanInputs, Settings, plan_all
from tests import builders
from tests.builders import typed
from tests.reference_objects import PEER, ROUTER, SYSTEM, Peer, Port, ReferenceMesh, Service

Key = tuple[str, str, str]
"""Kind, namespace, and what the object is for."""

RATINGS = Service("ratings", labels={"app": "ratings", "service": "ratings", "export-service": "true"})
REVIEWS = Service("reviews", labels={"app": "reviews", "service": "reviews", "export-service": "true"})
DETAILS = Service("details", ports=(Port(), Port(9443, "https", "HTTPS", 9443)))
KEPT = frozenset({"federation-ingress-gateway", "fds-strict-mtls", "federation-discovery-service-west"})
"""The names that the two have in common."""


def kind() -> ReferenceMesh:
    """East of the reference's example for kind; the address is that of the other mesh's gateway."""
    west = Peer("west", ("172.18.64.1",), "west-network", offers=(RATINGS, REVIEWS))
    return ReferenceMesh("east", (west,), exports=(DETAILS,), locals=(REVIEWS,))


def openshift() -> ReferenceMesh:
    """East of its example for OpenShift: routers on both sides, and the other router's host name as address."""
    west = Peer(
        "west",
        ("router-default.apps.west.example.com",),
        "west-network",
        port=443,
        ingress=ROUTER,
        offers=(RATINGS, REVIEWS),
        resolved=("203.0.113.7", "203.0.113.8"),
    )
    return ReferenceMesh("east", (west,), exports=(DETAILS,), locals=(REVIEWS,), ingress=ROUTER)


def flags(mesh: ReferenceMesh, **local: str) -> ReferenceConfig:
    """What its chart gives to its controller as flags."""
    peers = {
        "local": {
            "name": mesh.name,
            "controlPlane": {"namespace": SYSTEM},
            "gateways": {"ingress": {"selector": mesh.selector, "port": {"name": mesh.port_name, "number": mesh.port}}},
            "ingressType": mesh.ingress,
        }
        | local,
        "remotes": [
            {
                "name": peer.name,
                "addresses": list(peer.addresses),
                "ingressType": peer.ingress,
                "port": peer.port,
                "network": peer.network,
            }
            | ({"trustDomain": f"{peer.name}.local"} if local else {})
            for peer in mesh.peers
        ],
    }
    rule = {"type": "LabelSelector", "labelSelectors": [{"matchLabels": {"export-service": "true"}}]}
    return reference_config(
        mesh_peers=json.dumps(peers), exported_service_set=json.dumps({"rules": [rule]}), namespace=SYSTEM
    )


def written(mesh: ReferenceMesh, config: ReferenceConfig) -> list[Manifest]:
    """What Meshfed writes for the same mesh, told the same."""
    assert config.mesh is not None
    services = [
        *(_as_service(one, {"export-service": "true"}) for one in mesh.exports),
        *(_as_service(one, {}) for one in mesh.locals),
    ]
    inputs = PlanInputs(
        federations=(config.mesh,),
        remotes=config.remotes,
        services=tuple(services),
        resolved={peer.addresses[0]: peer.resolved for peer in mesh.peers if peer.resolved},
        offers={peer.name: tuple(_as_offer(one) for one in peer.offers) for peer in mesh.peers},
    )
    plan = plan_all(inputs, Settings(namespace=SYSTEM, metrics_port=8080))
    return [one for one in plan.objects if one["kind"] != "FederatedService"]


def _as_service(service: Service, labels: dict[str, str]) -> core.Service:
    ports = [
        {"name": port.name, "port": port.number, "protocol": "TCP", "targetPort": port.target} for port in service.ports
    ]
    given = builders.service(f"{service.name}.{service.namespace}", labels=labels, ports=ports)
    return typed(core.Service, given)


def _as_offer(service: Service) -> Offer:
    ports = tuple(
        OfferedPort(number=port.number, name=port.name, protocol=port.protocol, target_port=port.target)
        for port in service.ports
    )
    return Offer(host=service.host, ports=ports, labels=service.labels)


def by_purpose(objects: Iterable[Manifest]) -> dict[Key, Manifest]:
    """Objects by what they are for; two for one purpose are a fault."""
    found: dict[Key, Manifest] = {}
    for one in objects:
        key = (one["kind"], one["metadata"]["namespace"], _purpose(one))
        assert key not in found, key
        found[key] = one
    return found


def _purpose(manifest: Manifest) -> str:
    spec = manifest["spec"]
    match manifest["kind"]:
        case "ServiceEntry":
            return ",".join(spec["hosts"])
        case "WorkloadEntry":
            return f"{spec['labels']['app']} {spec['address']}"
        case "DestinationRule" | "Route":
            return str(spec["host"])
        case "EnvoyFilter":
            return str(spec["configPatches"][0]["match"]["listener"]["filterChain"]["sni"])
        case _:
            return str(manifest["metadata"]["name"])


# --- the differences, each of which a reader should be able to defend


def _peer_authentication(spec: dict[str, Any]) -> None:
    """STRICT alone makes a scrape of the metrics port in plaintext fail."""
    spec["portLevelMtls"] = {"8080": {"mode": "PERMISSIVE"}}


def _envoy_filter(spec: dict[str, Any]) -> None:
    """A listener's name differs on IPv6 and where the Service's port is not the pod's; its chain's SNI says enough."""
    match = spec["configPatches"][0]["match"]
    match["context"] = "GATEWAY"
    del match["listener"]["name"]


def _route(spec: dict[str, Any]) -> None:
    """What the API server fills in is written out, so that what is stored is what was sent."""
    spec["to"]["weight"] = 100
    spec["wildcardPolicy"] = "None"


def _workload_entry(spec: dict[str, Any]) -> None:
    """The labels are the local Service's selector: the remote Service's own may not match it, or match another's."""
    spec["labels"] = {
        key: value for key, value in spec["labels"].items() if key in {"app", "security.istio.io/tlsMode"}
    }


DIFFERENCES: dict[str, Callable[[dict[str, Any]], None]] = {
    "PeerAuthentication": _peer_authentication,
    "EnvoyFilter": _envoy_filter,
    "Route": _route,
    "WorkloadEntry": _workload_entry,
}
ADDED = frozenset({("AuthorizationPolicy", SYSTEM, "fds-known-remotes")})
"""Objects that the reference lacks: its discovery service answers whoever has a certificate."""


def expected(mesh: ReferenceMesh) -> dict[Key, dict[str, Any]]:
    """The specs of the reference's objects, with the differences."""
    specs = {}
    for key, one in by_purpose(mesh.objects()).items():
        spec = copy.deepcopy(one["spec"])
        change = DIFFERENCES.get(one["kind"])
        if change is not None:
            change(spec)
            assert spec != one["spec"], f"the difference of {one['kind']} is idle"
        specs[key] = spec
    return specs


@pytest.mark.parametrize("shape", [kind, openshift], ids=lambda shape: shape.__name__)
def test_the_same_objects_are_written(shape: Callable[[], ReferenceMesh]) -> None:
    mesh = shape()
    found = by_purpose(written(mesh, flags(mesh)))
    specs = {key: one["spec"] for key, one in found.items() if key not in ADDED}
    assert specs == expected(mesh)
    assert found.keys() >= ADDED


def test_every_kind_is_compared() -> None:
    kinds = {one["kind"] for shape in (kind(), openshift()) for one in shape.objects()}
    assert kinds >= DIFFERENCES.keys()
    assert kinds == {"Gateway", "ServiceEntry", "DestinationRule", *DIFFERENCES}


@pytest.mark.parametrize("shape", [kind, openshift], ids=lambda shape: shape.__name__)
def test_names_that_agree_are_the_ones_said_to(shape: Callable[[], ReferenceMesh]) -> None:
    mesh = shape()
    old = {(one["kind"], one["metadata"]["name"]) for one in mesh.objects()}
    new = {(one["kind"], one["metadata"]["name"]) for one in written(mesh, flags(mesh))}
    assert {name for _, name in old & new} == KEPT
    assert all(one["metadata"]["labels"] == PEER for one in mesh.objects())


def test_with_spire_only_who_may_ask_differs() -> None:
    """Its third shape is the first with pods of another template; the trust domains are for us alone to know."""
    mesh = kind()
    plain, spire = flags(mesh), flags(mesh, trustDomain="east.local")
    before, after = (by_purpose(written(mesh, config)) for config in (plain, spire))
    differing = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert ("AuthorizationPolicy", SYSTEM, "fds-known-remotes") in differing
    policy = after["AuthorizationPolicy", SYSTEM, "fds-known-remotes"]["spec"]
    assert policy["rules"][0]["from"][0]["source"]["principals"] == [
        "west.local/ns/istio-system/sa/federation-controller"
    ]
    # An endpoint beside local pods is admitted by its account, and nobody announced one of another trust domain.
    assert {key[0] for key in differing} <= {"AuthorizationPolicy", "WorkloadEntry"}
