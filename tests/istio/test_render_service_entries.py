"""ServiceEntry: of each remote's discovery service, and of each imported host that no local Service has."""

from __future__ import annotations

import pytest

from meshfed.istio import Manifest, discovery_entry, import_entry
from meshfed.model.imports import Import
from meshfed.model.meshes import Remote
from meshfed.model.offers import Port
from tests.istio.rendering_values import HTTP, backend, east, expected, imported, peer


def discovery(spec: str) -> Manifest:
    return expected("networking.istio.io/v1", "ServiceEntry", "federation-discovery-service-west", spec)


def expected_entry(spec: str) -> Manifest:
    return expected("networking.istio.io/v1", "ServiceEntry", "import.ratings.bookinfo.svc.cluster.local", spec)


@pytest.mark.parametrize(
    ("of", "spec"),
    [
        pytest.param(
            peer("west", "192.0.2.11", "2001:db8::1", "192.0.2.10", "192.0.2.11"),
            """
            hosts: [federation-discovery-service-west.federation.svc.cluster.local]
            ports: [{number: 15080, name: grpc, protocol: GRPC}]
            location: MESH_INTERNAL
            resolution: STATIC
            endpoints:
            - address: 192.0.2.10
              ports: {grpc: 15444}
              labels: {security.istio.io/tlsMode: istio}
              network: west-network
            - address: 192.0.2.11
              ports: {grpc: 15444}
              labels: {security.istio.io/tlsMode: istio}
              network: west-network
            - address: "2001:db8::1"
              ports: {grpc: 15444}
              labels: {security.istio.io/tlsMode: istio}
              network: west-network
            subjectAltNames: [spiffe://west.local/ns/meshfed/sa/federation-controller]
            """,
            id="IPs",
        ),
        pytest.param(
            peer("west", "gw.west.example", "192.0.2.10", cluster_domain="west.internal", discovery_port=16080),
            """
            hosts: [federation-discovery-service-west.federation.svc.west.internal]
            ports: [{number: 16080, name: grpc, protocol: GRPC}]
            location: MESH_INTERNAL
            resolution: DNS
            endpoints:
            - address: 192.0.2.10
              ports: {grpc: 15444}
              labels: {security.istio.io/tlsMode: istio}
              network: west-network
            - address: gw.west.example
              ports: {grpc: 15444}
              labels: {security.istio.io/tlsMode: istio}
              network: west-network
            subjectAltNames: [spiffe://west.local/ns/meshfed/sa/federation-controller]
            """,
            id="a name among them, another cluster domain and port",
        ),
        pytest.param(
            peer(
                "west", "192.0.2.10:443", "192.0.2.10", "gw.west.example:31443", network="", identity_configured=False
            ),
            """
            hosts: [federation-discovery-service-west.federation.svc.cluster.local]
            ports: [{number: 15080, name: grpc, protocol: GRPC}]
            location: MESH_INTERNAL
            resolution: DNS
            endpoints:
            - address: 192.0.2.10
              ports: {grpc: 443}
              labels: {security.istio.io/tlsMode: istio}
            - address: 192.0.2.10
              ports: {grpc: 15444}
              labels: {security.istio.io/tlsMode: istio}
            - address: gw.west.example
              ports: {grpc: 31443}
              labels: {security.istio.io/tlsMode: istio}
            """,
            id="addresses with ports of their own, two of them at one IP",
        ),
        pytest.param(
            peer(network="", locality="us-west1/us-west1-a", port=443, identity_configured=False),
            """
            hosts: [federation-discovery-service-west.federation.svc.cluster.local]
            ports: [{number: 15080, name: grpc, protocol: GRPC}]
            location: MESH_INTERNAL
            resolution: STATIC
            endpoints:
            - address: 192.0.2.10
              ports: {grpc: 443}
              labels: {security.istio.io/tlsMode: istio}
              locality: us-west1/us-west1-a
            """,
            id="no network, a locality, an identity that nobody configured",
        ),
    ],
)
def test_discovery(of: Remote, spec: str) -> None:
    assert discovery_entry(east(), of) == discovery(spec)


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(peer(addresses=()), id="no addresses"),
        pytest.param(peer(discovery_address="fds.west.example:15080"), id="an address of its own"),
    ],
)
def test_no_discovery_entry_where_the_ingress_is_not_the_way(of: Remote) -> None:
    assert discovery_entry(east(), of) is None


WEST = peer("west")
CENTRAL = peer("central", "198.51.100.1", "198.51.100.2", port=15443, locality="us-east1")


@pytest.mark.parametrize(
    ("import_", "spec"),
    [
        pytest.param(
            imported(backend(WEST, labels={"team": "b", "app": "ratings"})),
            """
            hosts: [ratings.bookinfo.svc.cluster.local]
            ports: [{number: 9080, name: http, protocol: HTTP, targetPort: 8080}]
            location: MESH_INTERNAL
            resolution: STATIC
            endpoints:
            - address: 192.0.2.10
              ports: {http: 15444}
              labels: {app: ratings, team: b, security.istio.io/tlsMode: istio}
              network: west-network
            """,
            id="one remote",
        ),
        pytest.param(
            imported(
                backend(WEST, labels={"app": "ratings"}, identities=("spiffe://w/ns/b/sa/v2", "spiffe://w/ns/b/sa/v1")),
                backend(CENTRAL, identities=("spiffe://c/ns/b/sa/v1", "spiffe://w/ns/b/sa/v1")),
                ports=(Port(number=9090, name="metrics", protocol="TCP"), HTTP),
            ),
            """
            hosts: [ratings.bookinfo.svc.cluster.local]
            ports:
            - {number: 9080, name: http, protocol: HTTP, targetPort: 8080}
            - {number: 9090, name: metrics, protocol: TCP}
            location: MESH_INTERNAL
            resolution: STATIC
            endpoints:
            - address: 198.51.100.1
              ports: {http: 15443, metrics: 15443}
              labels: {security.istio.io/tlsMode: istio}
              network: central-network
              locality: us-east1
            - address: 198.51.100.2
              ports: {http: 15443, metrics: 15443}
              labels: {security.istio.io/tlsMode: istio}
              network: central-network
              locality: us-east1
            - address: 192.0.2.10
              ports: {http: 15444, metrics: 15444}
              labels: {app: ratings, security.istio.io/tlsMode: istio}
              network: west-network
            subjectAltNames: [spiffe://c/ns/b/sa/v1, spiffe://w/ns/b/sa/v1, spiffe://w/ns/b/sa/v2]
            """,
            id="two remotes, several ports, all identities announced",
        ),
        pytest.param(
            imported(
                backend(WEST, identities=("spiffe://w/ns/b/sa/v1",)),
                backend(peer("central", "gw.central.example", network="")),
                ports=(Port(number=9080, name="http"),),
                export_to=("bookinfo", ".", "bookinfo"),
            ),
            """
            hosts: [ratings.bookinfo.svc.cluster.local]
            ports: [{number: 9080, name: http}]
            location: MESH_INTERNAL
            resolution: DNS
            endpoints:
            - address: gw.central.example
              ports: {http: 15444}
              labels: {security.istio.io/tlsMode: istio}
            - address: 192.0.2.10
              ports: {http: 15444}
              labels: {security.istio.io/tlsMode: istio}
              network: west-network
            exportTo: [., bookinfo]
            """,
            id="a name among the addresses, identities of one remote only, no protocol, exportTo",
        ),
        pytest.param(
            imported(
                backend(WEST, identities=("spiffe://w/ns/b/sa/v1",)),
                backend(peer("central", addresses=())),
                export_to=("bookinfo", "*"),
            ),
            """
            hosts: [ratings.bookinfo.svc.cluster.local]
            ports: [{number: 9080, name: http, protocol: HTTP, targetPort: 8080}]
            location: MESH_INTERNAL
            resolution: STATIC
            endpoints:
            - address: 192.0.2.10
              ports: {http: 15444}
              labels: {security.istio.io/tlsMode: istio}
              network: west-network
            subjectAltNames: [spiffe://w/ns/b/sa/v1]
            """,
            id="a remote without addresses contributes nothing",
        ),
        pytest.param(
            imported(backend(peer("west", "[2001:db8::1]:31443", "2001:db8::1"))),
            """
            hosts: [ratings.bookinfo.svc.cluster.local]
            ports: [{number: 9080, name: http, protocol: HTTP, targetPort: 8080}]
            location: MESH_INTERNAL
            resolution: STATIC
            endpoints:
            - address: 2001:db8::1
              ports: {http: 15444}
              labels: {security.istio.io/tlsMode: istio}
              network: west-network
            - address: 2001:db8::1
              ports: {http: 31443}
              labels: {security.istio.io/tlsMode: istio}
              network: west-network
            """,
            id="a port of its own behind an IPv6 address",
        ),
        pytest.param(
            imported(backend(peer(addresses=()))),
            """
            hosts: [ratings.bookinfo.svc.cluster.local]
            ports: [{number: 9080, name: http, protocol: HTTP, targetPort: 8080}]
            location: MESH_INTERNAL
            resolution: STATIC
            """,
            id="no addresses at all: never DNS, which would resolve the host itself",
        ),
    ],
)
def test_import(import_: Import, spec: str) -> None:
    assert import_entry(east(), import_) == expected_entry(spec)
