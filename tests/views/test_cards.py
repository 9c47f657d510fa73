"""Cards: what one says of this mesh, and what is believed of a stranger's."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml

from meshfed.api.errors import InvalidInput
from meshfed.model.meshes import IngressType
from meshfed.views import API_VERSION
from meshfed.views.cards import (
    LARGEST,
    CardIncomplete,
    MeshCard,
    accounts,
    as_spec,
    card_root,
    gateway_addresses,
    mesh_card,
    read_card,
)
from tests.builders import GATEWAY, SYSTEM, manifest, port, service
from tests.cli.fakes import snapshot
from tests.istio.rendering_values import east

ROOT = "c7" * 32
CARD: dict[str, Any] = {
    "apiVersion": API_VERSION,
    "kind": "MeshCard",
    "name": "west",
    "addresses": ["192.0.2.20"],
    "port": 15443,
    "network": "west-network",
    "ingressType": "istio",
    "trustDomain": "west.example",
    "clusterDomain": "cluster.local",
    "identity": "spiffe://west.example/ns/istio-system/sa/federation-controller",
    "discovery": {"namespace": "istio-system", "port": 15080},
    "roots": [{"sha256": ROOT, "notAfter": "2036-11-26T19:56:07Z"}],
}


def card(**fields: Any) -> str:
    return yaml.safe_dump({key: value for key, value in (CARD | fields).items() if value is not None}, sort_keys=False)


def test_a_card_says_what_the_mesh_is() -> None:
    mesh = east()
    found = mesh_card(mesh, ["192.0.2.10"], [card_root(ROOT, 0.0)])
    assert (found.name, found.addresses, found.port, found.network) == (
        mesh.name,
        ("192.0.2.10",),
        mesh.gateway_port,
        mesh.network,
    )
    assert found.identity == str(mesh.identity)
    assert (found.discovery.namespace, found.discovery.port) == (mesh.namespace, 15080)
    assert [(one.sha256, one.not_after) for one in found.roots] == [(ROOT, "1970-01-01T00:00:00Z")]


def test_a_mesh_behind_a_router_is_reached_on_the_routers_port() -> None:
    mesh = msgspec.structs.replace(east(), ingress_type=IngressType.OPENSHIFT_ROUTER)
    assert mesh_card(mesh, ["router.example"], []).port == 443


def test_what_the_others_would_refuse_is_refused_here() -> None:
    with pytest.raises(InvalidInput, match=r"spec\.addresses\[0\]"):
        mesh_card(east(), ["https://gateway"], [])


def test_a_card_is_read_as_it_was_written() -> None:
    found, unknown = read_card(card(), "west.yaml")
    assert unknown == ()
    assert found.name == "west"
    assert as_spec(found) == {key: CARD[key] for key in as_spec(found)}


# --- where the gateway is


def _gateway(**fields: Any) -> dict[str, Any]:
    status = fields.pop("status", None)
    found = service(f"gateway.{SYSTEM}", selector=GATEWAY, ports=[port(15443)], **fields)
    return found | ({"status": status} if status else {})


@pytest.mark.parametrize(
    ("given", "addresses"),
    [
        (_gateway(externalIPs=["192.0.2.1", "192.0.2.2"]), ("192.0.2.1", "192.0.2.2")),
        (_gateway(status={"loadBalancer": {"ingress": [{"ip": "192.0.2.3"}]}}), ("192.0.2.3",)),
        (_gateway(status={"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}}), ("lb.example",)),
    ],
)
def test_where_the_gateway_is_reached(given: dict[str, Any], addresses: tuple[str, ...]) -> None:
    assert gateway_addresses(snapshot(given), _mesh()) == addresses


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "no Service with port 15443 selects"),
        ((service(f"gateway.{SYSTEM}", selector=GATEWAY, ports=[port(443)]),), "no Service with port 15443"),
        ((_gateway(type="NodePort"),), "reached by its node port"),
        ((_gateway(),), "no address of a load balancer and no externalIPs"),
        ((service("other", ports=[port(15443)], externalIPs=["192.0.2.9"]),), "no Service with port 15443"),
    ],
)
def test_where_that_is_not_seen_it_says_how_to_say_it(given: tuple[dict[str, Any], ...], said: str) -> None:
    with pytest.raises(CardIncomplete, match=rf"{said}.*say it by --address"):
        gateway_addresses(snapshot(*given), _mesh())


def _mesh(**fields: Any) -> Any:
    return msgspec.structs.replace(east(), gateway_selector=GATEWAY, gateway_port=15443, **fields)


def _route(name: str, *ingress: tuple[str, str]) -> dict[str, Any]:
    said = [
        {"routerCanonicalHostname": host, "conditions": [{"type": "Admitted", "status": status}]}
        for host, status in ingress
    ]
    return manifest("Route", name, {}) | {"status": {"ingress": said}}


def test_a_router_is_where_a_route_says_that_it_was_admitted() -> None:
    mesh = _mesh(ingress_type=IngressType.OPENSHIFT_ROUTER)
    routes = (_route("a", ("router.example", "True"), ("refusing.example", "False")), _route("b"))
    assert gateway_addresses(snapshot(*routes), mesh) == ("router.example",)
    with pytest.raises(CardIncomplete, match="no Route in namespace istio-system says"):
        gateway_addresses(snapshot(routes[1]), mesh)


def test_the_controllers_account_is_that_of_its_deployment() -> None:
    def deployment(account: str, **metadata: Any) -> dict[str, Any]:
        spec = {"serviceAccountName": account} if account else {}
        return manifest("Deployment", "federation-controller", {"template": {"spec": spec}}, **metadata)

    assert accounts(snapshot(deployment("federation-controller-east"))) == ("federation-controller-east",)
    assert accounts(snapshot(deployment(""))) == ("default",)
    assert accounts(snapshot(deployment("a", namespace="other"))) == ()


# --- strangers


def test_what_a_newer_card_says_more_is_named_and_skipped() -> None:
    given = card(
        labels={"a": "b"},
        discovery=CARD["discovery"] | {"tls": True},
        roots=[CARD["roots"][0] | {"subject": "CN=root"}],
    )
    found, unknown = read_card(given, "west.yaml")
    assert unknown == ("discovery.tls", "roots[0].subject", "labels")
    assert isinstance(found, MeshCard)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "0 documents"),
        ("[]", "not a Kubernetes object"),
        ("a: [", "not YAML"),
        (card() + "---\n" + card(), "2 documents"),
        (card(kind="RemoteMesh"), "have `meshfed link card` print one"),
        (card(apiVersion="cli.federation.openshift-service-mesh.io/v2"), "have `meshfed link card` print one"),
        (card(name=None), "missing required field `name`"),
        (card(name="a" * 35), "name: Expected `str` of length <= 34"),
        (card(name="west\n  import: {}"), "name: Expected `str` matching regex"),
        (card(name=7), "name: Expected `str`, got `int`"),
        (card(addresses=[]), "addresses: Expected `array` of length >= 1"),
        (card(addresses=["192.0.2.1"] * 2), "spec.addresses"),
        (card(addresses=[f"192.0.2.{n}" for n in range(65)]), "addresses: Expected `array` of length <= 64"),
        (card(addresses=["\x1b[2J"]), "spec.addresses[0]"),
        (card(addresses=["gateway.example/path"]), "spec.addresses[0]"),
        (card(port=0), "port: Expected `int` >= 1"),
        (card(port="15443"), "port: Expected `int`, got `str`"),
        (card(ingressType="nginx"), "ingressType: Invalid enum value"),
        (card(identity="https://west"), "identity: Expected `str` matching regex"),
        (card(identity="spiffe://west/ns/../sa/x"), "identity: Expected `str` matching regex"),
        (card(trustDomain="West"), "trustDomain: Expected `str` matching regex"),
        (card(discovery={"namespace": "a"}), "discovery: Object missing required field `port`"),
        (card(roots=[{"sha256": "\x1b", "notAfter": "2036-11-26T19:56:07Z"}]), "roots[0].sha256: Expected `str`"),
        (card(roots=[{"sha256": ROOT, "notAfter": "soon"}]), "roots[0].notAfter"),
        (card(roots={}), "roots: Expected `array`"),
        (card(trustDomainAliases=["a"] * 65), "trustDomainAliases: Expected `array`"),
        (card() + "# " + "x" * LARGEST, "larger than 64 KiB"),
        (BOMB, "it has an alias"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ('{"a": ' + "[" * 5000, "nested too deeply"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_card_that_is_none_is_refused(given: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_card(given, "west.yaml")
    assert said in str(refused.value)
    assert str(refused.value).startswith("west.yaml")
    assert len(str(refused.value)) < 1000
