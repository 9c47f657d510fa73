"""From a card to a RemoteMesh: what follows, what stands in the way, what to think about, when it is there."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from meshfed.api.objects import decode_object
from meshfed.api.v1alpha1 import ImportPolicy, RemoteMesh
from meshfed.model.meshes import MeshConfig
from meshfed.views.cards import MeshCard, read_card
from meshfed.views.links import commented, concerns, drift, imported, obstacles, remote_mesh, standing, to_apply
from tests.builders import SYSTEM, mesh_federation, typed
from tests.builders import remote_mesh as a_remote
from tests.cli.fakes import NOW, condition, snapshot, with_status
from tests.istio.rendering_values import east
from tests.views.test_cards import CARD, ROOT, card

WEST = read_card(card(), "west.yaml")[0]
HERE = mesh_federation("east", trustDomain="east.example")
OURS = (SYSTEM, "federation-controller-east")


def west(**fields: Any) -> MeshCard:
    return read_card(card(**fields), "west.yaml")[0]


def new(given: MeshCard = WEST, imports: ImportPolicy | None = ImportPolicy()) -> dict[str, Any]:  # noqa: B008 - immutable
    return remote_mesh(given, SYSTEM, None, imports)


# --- the RemoteMesh


def test_a_remote_mesh_as_the_card_says_with_what_to_think_about() -> None:
    assert (
        commented(new(), WEST)
        == f"""\
# From the card of west.
# It trusts the root with the SHA-256 {ROOT}, valid until 2036-11-26T19:56:07Z.
apiVersion: federation.openshift-service-mesh.io/v1alpha1
kind: RemoteMesh
metadata:
  name: west
  namespace: istio-system
spec:
  network: west-network
  # Where its gateway answers. This cluster's pods have to reach it; a firewall may be in the way.
  addresses:
  - 192.0.2.20
  port: 15443
  ingressType: istio
  trustDomain: west.example
  clusterDomain: cluster.local
  # Who its controller is. Whoever has this identity is told what this mesh exports: be sure that the card came
  # from the owner of that mesh, and was not changed on its way.
  identity: spiffe://west.example/ns/istio-system/sa/federation-controller
  discovery:
    namespace: istio-system
    port: 15080
  # What is taken from it. Without `rules`, every host that it offers and that this mesh has not, up to `limit`.
  # With `merge: true` it also serves hosts that this mesh has. Without `import`, nothing is taken: it only hears
  # what this mesh exports.
  import: {{}}"""
    )
    published = commented(new(imports=None), WEST)
    assert published.endswith("so nothing is taken from it: it only hears what this mesh exports.")


def test_it_is_what_the_api_takes() -> None:
    decoded = decode_object(new(), RemoteMesh)
    assert drift(WEST, decoded, "east") == ()
    assert decoded.spec.import_ == ImportPolicy()


def test_what_is_not_in_the_card_stays_and_is_not_applied() -> None:
    before = typed(
        RemoteMesh,
        a_remote(
            "west",
            addresses=["192.0.2.99"],
            priority=7,
            discovery={"address": "127.0.0.1:1"},
            import_={"rules": [{"action": "Import", "hosts": ["a.*"]}]},
        ),
    )
    whole = remote_mesh(WEST, SYSTEM, before, imported(before, wanted=None, merge=False))
    assert whole["spec"]["priority"] == 7
    assert whole["spec"]["addresses"] == ["192.0.2.20"]
    assert whole["spec"]["discovery"] == {"namespace": "istio-system", "port": 15080, "address": "127.0.0.1:1"}
    assert whole["spec"]["import"] == {"rules": [{"action": "Import", "hosts": ["a.*"]}]}
    applied = to_apply(whole, WEST)["spec"]
    assert "priority" not in applied
    assert applied["discovery"] == CARD["discovery"]
    assert applied["import"] == whole["spec"]["import"]


@pytest.mark.parametrize(
    ("before", "wanted", "merge", "found"),
    [
        (None, None, False, ImportPolicy()),
        (None, False, False, None),
        (None, None, True, ImportPolicy(merge=True)),
        ({"import_": None}, None, False, None),
        ({"import_": None}, True, False, ImportPolicy()),
        ({"import_": None}, None, True, ImportPolicy(merge=True)),
        ({"import_": {"limit": 3}}, None, False, ImportPolicy(limit=3)),
        ({"import_": {"limit": 3}}, True, True, ImportPolicy(limit=3, merge=True)),
        ({"import_": {"limit": 3}}, False, False, None),
    ],
)
def test_what_is_imported(
    before: dict[str, Any] | None, wanted: bool | None, merge: bool, found: ImportPolicy | None
) -> None:
    there = typed(RemoteMesh, a_remote("west", **before)) if before is not None else None
    assert imported(there, wanted=wanted, merge=merge) == found


# --- what stands in the way


@pytest.mark.parametrize(
    ("fields", "others", "said"),
    [
        ({}, (), ()),
        ({"name": "east"}, (), ("NameConflict: RemoteMesh east has the name of this mesh itself",)),
        ({"network": "east-network"}, (), ("NameConflict: RemoteMesh west has `network: east-network`",)),
        ({"network": "north-network"}, ("north",), ("NameConflict: RemoteMesh north is older",)),
        (
            {
                "trustDomain": "east.example",
                "identity": "spiffe://east.example/ns/istio-system/sa/federation-controller-east",
            },
            (),
            ("IdentityAmbiguous: spiffe://east.example/ns/istio-system/sa/federation-controller-east",),
        ),
        (
            {
                "trustDomain": "cluster.local",
                "identity": "spiffe://cluster.local/ns/istio-system/sa/federation-controller",
            },
            (),
            ("IdentityShadowed: in an AuthorizationPolicy Istio reads",),
        ),
    ],
)
def test_what_stands_in_the_way_is_what_the_controller_says(
    fields: dict[str, Any], others: tuple[str, ...], said: tuple[str, ...]
) -> None:
    here = snapshot(HERE, *(a_remote(name) for name in others))
    found = obstacles(here, new(west(**fields)), account=OURS)
    assert len(found) == len(said)
    assert all(one.startswith(start) for one, start in zip(found, said, strict=True))


def test_without_a_mesh_federation_nothing_comes_of_it() -> None:
    assert obstacles(snapshot(), new(), account=OURS)[0].startswith("NoMeshFederation: ")


def test_the_identity_of_another_remote() -> None:
    here = snapshot(mesh_federation("east"), a_remote("north", trustDomain="west.example", identity=CARD["identity"]))
    (found,) = obstacles(here, new(), account=OURS)
    assert found.startswith("IdentityAmbiguous: ")
    assert "RemoteMesh north" in found


def test_a_remote_mesh_is_in_nobodys_way_by_being_there_already() -> None:
    here = snapshot(
        HERE, a_remote("west", trustDomain="west.example", identity=CARD["identity"], created="2026-01-01T00:00:00Z")
    )
    assert obstacles(here, new(), account=OURS) == ()


def test_where_the_own_account_is_not_known_nobody_has_it() -> None:
    given = west(trustDomain="east.example", identity="spiffe://east.example/ns/istio-system/sa/federation-controller")
    assert obstacles(snapshot(HERE), new(given), account=None) == ()
    assert obstacles(snapshot(HERE), new(given), account=(SYSTEM, "federation-controller")) != ()


# --- what to think about

EAST = msgspec.structs.replace(east(), trust_domain="west.example")


@pytest.mark.parametrize(
    ("fields", "trusted", "said"),
    [
        ({}, [ROOT], []),
        ({}, ["00" * 32], ["no root is common: west trusts c7c7c7c7c7c7c7c7..., this mesh 0000000000000000..."]),
        ({}, [], ["no root is common: west trusts c7c7c7c7c7c7c7c7..., this mesh none"]),
        ({}, None, ["roots are not compared: those of this mesh"]),
        ({"roots": None}, [ROOT], ["roots are not compared: the card has none"]),
        (
            {"roots": [{"sha256": ROOT, "notAfter": "2026-01-01T11:00:00Z"}]},
            [ROOT],
            ["its root c7c7c7c7c7c7c7c7... exp"],
        ),
        (
            {"roots": [{"sha256": ROOT, "notAfter": "2026-01-11T13:00:00Z"}]},
            [ROOT],
            ["its root c7c7c7c7c7c7c7c7... expires at 2026-01-11T13:00:00Z, in 10 days"],
        ),
        (
            {"roots": [{"sha256": ROOT, "notAfter": "9999-99-99T99:99:99Z"}]},
            [ROOT],
            ["its root c7c7c7c7c7c7c7c7... exp"],
        ),
        ({"trustDomainAliases": ["west.example"]}, [ROOT], []),
    ],
)
def test_roots_are_compared(fields: dict[str, Any], trusted: list[str] | None, said: list[str]) -> None:
    found = concerns(west(**fields), EAST, trusted, NOW, merge=False)
    assert [one[: len(start)] for one, start in zip(found, said, strict=True)] == said


def test_a_trust_domain_that_sidecars_refuse() -> None:
    mesh = msgspec.structs.replace(east(), trust_domain="east.example")
    (found,) = concerns(WEST, mesh, [ROOT], NOW, merge=False)
    assert "PILOT_SKIP_VALIDATE_TRUST_DOMAIN" in found
    assert len(concerns(WEST, mesh, [ROOT], NOW, merge=True)) == 2
    unread = msgspec.structs.replace(mesh, config=MeshConfig(unread="it may not be read"))
    (found,) = concerns(WEST, unread, [ROOT], NOW, merge=False)
    assert found.endswith("Aliases of this mesh's are not known: it may not be read")
    aliased = msgspec.structs.replace(mesh, config=MeshConfig(trust_domain_aliases=("west.example",)))
    assert concerns(WEST, aliased, [ROOT], NOW, merge=True) == ()


def test_a_mesh_that_takes_our_identities_for_its_own() -> None:
    mesh = msgspec.structs.replace(
        east(), trust_domain="east.example", config=MeshConfig(trust_domain_aliases=("west.example",))
    )
    (found,) = concerns(west(trustDomainAliases=["east.example"]), mesh, [ROOT], NOW, merge=False)
    assert found.startswith("it takes identities of east.example for its own")


# --- drift


def test_drift_is_told_field_by_field() -> None:
    remote = typed(RemoteMesh, new())
    spec = msgspec.structs.replace(remote.spec, addresses=("192.0.2.20:15443",), port=443, network="other")
    found = drift(WEST, msgspec.structs.replace(remote, spec=spec), "east")
    assert [(one.field, one.card, one.here) for one in found] == [("network", "west-network", "other")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("addresses", ["192.0.2.21"]),
        ("port", 443),
        ("network", "other"),
        ("ingressType", "openshift-router"),
        ("clusterDomain", "c"),
        ("identity", "spiffe://west.example/ns/a/sa/b"),
        ("discovery", {"namespace": "a", "port": 15080}),
        ("discovery", {"namespace": "istio-system", "port": 1}),
    ],
)
def test_no_field_drifts_unseen(field: str, value: Any) -> None:
    assert len(drift(west(**{field: value}), typed(RemoteMesh, new()), "east")) == 1


# --- how it comes along

READY = condition("Ready", True, "Ready", "2 of 2 offered services imported")
ANSWERED = condition("Reachable", True, "Answered", "answered")


@pytest.mark.parametrize(
    ("conditions", "spec", "done", "said"),
    [
        ((), {}, False, "no controller has looked at it yet"),
        (
            (condition("Ready", False, "PermissionDenied", "refused"),),
            {},
            False,
            "Ready False PermissionDenied: refused",
        ),
        ((READY,), {}, False, "Ready, and the way to it is not proven yet"),
        ((READY, condition("Reachable", "Unknown", "NotProbed", "no roots")), {}, False, "Reachable Unknown NotProbed"),
        ((READY, ANSWERED), {}, True, "Ready and Reachable: answered"),
        ((READY,), {"import_": None}, True, "Ready: 2 of 2"),
        ((READY,), {"discovery": {"address": "127.0.0.1:1"}}, True, "Ready: 2 of 2"),
    ],
)
def test_a_link_stands_once_it_is_proven(
    conditions: tuple[dict[str, Any], ...], spec: dict[str, Any], done: bool, said: str
) -> None:
    found = standing(typed(RemoteMesh, with_status(a_remote("west", **spec), *conditions)))
    assert (found.done, found.said[: len(said)]) == (done, said)


def test_a_status_of_before_the_change_counts_for_nothing() -> None:
    remote = with_status(a_remote("west"), READY, ANSWERED, observedGeneration=1)
    remote["metadata"]["generation"] = 2
    assert not standing(typed(RemoteMesh, remote)).done
