"""What follows from Istio's configuration of the mesh."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed.model.meshes import MeshConfig
from tests.builders import EXPORTED, federated_service, host, mesh_federation, remote_mesh, service
from tests.world import World

SOURCE = "ConfigMap istio-system/istio"
EXPORT_TO = "networking.istio.io/exportTo"
RECORD = f"{host('ratings')}.west"
ELSEWHERE = "spiffe://west.local/ns/default/sa/ratings"


def configured(world: World, **stated: Any) -> World:
    world.planner.mesh_config_changed(MeshConfig(source=SOURCE, **stated))
    return world


def message(world: World, of: str, kind: str) -> str:
    found = next(one for one in world.statuses[of].conditions if one.type == kind)
    return f"{found.status} {found.reason}: {found.message}"


def test_a_trust_domain_that_is_not_the_meshs_is_pointed_out() -> None:
    world = World(mesh_federation(trustDomain="east.local"))
    before = message(world, "MeshFederation east", "Ready")
    assert "TrustDomainMismatch" not in before
    configured(world, trust_domain="cluster.local")
    assert message(world, "MeshFederation east", "Ready") == (
        f"False TrustDomainMismatch: `spec.trustDomain` is east.local, and `trustDomain` in {SOURCE}, of which istiod "
        "makes certificates, is cluster.local: remotes are told identities that nobody has; set `spec.trustDomain` to "
        "cluster.local, or, where that is not this mesh's ConfigMap, name the right one with --mesh-config (in the "
        "chart istio.meshConfig)"
    )
    configured(world, trust_domain="east.local")
    assert message(world, "MeshFederation east", "Ready") == before
    configured(world, trust_domain="cluster.local")
    world.put(mesh_federation())
    assert message(world, "MeshFederation east", "Ready") == before
    configured(world.put(mesh_federation(trustDomain="east.local")))
    assert message(world, "MeshFederation east", "Ready") == before


@pytest.mark.parametrize(
    ("default", "own", "hidden"),
    [
        ((), "", False),
        (("*",), "", False),
        ((".",), "", True),
        (("istio-system",), "", False),
        (("~",), "", True),
        ((".",), "*", False),
        ((".",), "., istio-system", False),
    ],
)
def test_the_meshs_default_hides_exports_without_an_annotation(
    default: tuple[str, ...], own: str, hidden: bool
) -> None:
    annotations = {EXPORT_TO: own} if own else {}
    world = World(mesh_federation(), service("a", labels=EXPORTED, annotations=annotations))
    assert message(world, "MeshFederation east", "ExportsReady") == "True Exporting: 1 service exported: default/a"
    configured(world, default_service_export_to=default)
    assert message(world, "MeshFederation east", "ExportsReady") == (
        f"False HiddenFromGateway: annotation {EXPORT_TO} or, without it, `defaultServiceExportTo` of {SOURCE} hides "
        "default/a from the gateway in namespace istio-system, which passes no calls on to what it does not see: name "
        "that namespace there too, or do not export them"
        if hidden
        else "True Exporting: 1 service exported: default/a"
    )


def test_the_meshs_default_says_for_whom_remotes_join_a_local_service() -> None:
    world = World(mesh_federation(), remote_mesh(import_={"merge": True}), federated_service("west", "ratings"))
    configured(world.put(service("ratings")), default_service_export_to=(".", "shop"))
    assert message(world, f"FederatedService {RECORD}", "Accepted").endswith(
        f", for clients in default, shop alone, as `defaultServiceExportTo` of {SOURCE} says"
    )
    configured(world, default_service_export_to=("~",))
    assert world.carriers == []
    assert message(world, f"FederatedService {RECORD}", "Accepted") == (
        "False LocalServiceUnusable: local Service default/ratings is seen by no namespace, as "
        f"`defaultServiceExportTo` of {SOURCE} says"
    )


def test_who_sees_an_import_is_written_where_the_meshs_default_is_another() -> None:
    world = World(mesh_federation(), remote_mesh(), federated_service("west", "ratings"))

    def seen_by() -> set[tuple[str, ...]]:
        entries = [spec for name, spec in world.manifests.items() if name.startswith("ServiceEntry ")]
        assert len(entries) == 2
        return {tuple(spec.get("exportTo", ())) for spec in entries}

    assert seen_by() == {()}
    configured(world, default_service_export_to=(".",))
    assert seen_by() == {("*",)}
    configured(world, default_service_export_to=(".", "*"))
    assert seen_by() == {()}


@pytest.mark.parametrize("unread", ["", "it may not be read"])
def test_who_sees_a_rule_is_written_where_the_meshs_default_is_another(unread: str) -> None:
    """Else the SNI that it states would be nobody's but the control plane's."""
    router = remote_mesh(ingressType="openshift-router", trafficPolicy={"outlierDetection": {}})
    world = World(mesh_federation(), router, federated_service("west", "ratings"))

    def seen_by() -> set[tuple[str, ...]]:
        rules = [spec for name, spec in world.manifests.items() if name.startswith("DestinationRule ")]
        assert len(rules) == 2
        return {tuple(spec.get("exportTo", ())) for spec in rules}

    assert seen_by() == {()}
    configured(world, unread=unread, default_destination_rule_export_to=() if unread else (".",))
    assert seen_by() == {("*",)}
    configured(world, default_destination_rule_export_to=("*", "shop"))
    assert seen_by() == {()}
    configured(world, default_destination_rule_export_to=(".", "*"))
    assert seen_by() == {("*",)}, "of the default Istio takes the dot first"


def test_an_alias_of_the_trust_domain_lets_a_remote_of_it_join_a_local_service() -> None:
    west = remote_mesh(import_={"merge": True}, trustDomain="west.local")
    offered = federated_service("west", "ratings", identities=[ELSEWHERE])
    world = World(mesh_federation(), west, offered, service("ratings"))
    assert (world.carriers, world.accepted()) == ([], {RECORD: "IdentityMismatch"})
    configured(world, trust_domain="cluster.local", trust_domain_aliases=("old.local", "west.local"))
    (entry,) = world.carriers
    assert world.manifests[entry]["serviceAccount"] == "ratings"
    world.put(federated_service("west", "ratings", identities=[]))
    assert len(world.carriers) == 1
    world.put(federated_service("west", "ratings", identities=["spiffe://west.local/ns/elsewhere/sa/ratings"]))
    assert world.carriers == []
    assert message(world, f"FederatedService {RECORD}", "Accepted").endswith(
        "a WorkloadEntry can state only spiffe://cluster.local/ns/default/sa/... or "
        "spiffe://old.local/ns/default/sa/... or spiffe://west.local/ns/default/sa/..."
    )
    configured(world.put(offered))
    assert (world.carriers, world.accepted()) == ([], {RECORD: "IdentityMismatch"})


def test_where_aliases_are_not_known_what_is_refused_says_so() -> None:
    west = remote_mesh(import_={"merge": True}, trustDomain="west.local")
    world = World(mesh_federation(), west, service("ratings"))
    for identities in ([ELSEWHERE], []):
        configured(world.put(federated_service("west", "ratings", identities=identities)), unread="it is not there")
        said = message(world, f"FederatedService {RECORD}", "Accepted")
        assert said.startswith("False IdentityMismatch: ")
        assert said.endswith("; whether the trust domain here has aliases is unknown: it is not there")


def test_its_own_trust_domain_among_the_aliases_is_named_once() -> None:
    west = remote_mesh(import_={"merge": True}, trustDomain="west.local")
    offered = federated_service("west", "ratings", identities=[ELSEWHERE])
    world = configured(
        World(mesh_federation(), west, offered, service("ratings")), trust_domain_aliases=("cluster.local",)
    )
    assert message(world, f"FederatedService {RECORD}", "Accepted").endswith(
        "a WorkloadEntry can state only spiffe://cluster.local/ns/default/sa/..."
    )
