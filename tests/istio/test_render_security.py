"""PeerAuthentication and AuthorizationPolicy: in the controller's namespace, on its pods, always."""

from __future__ import annotations

import pytest

from meshfed.istio import Manifest, authorization_policy, peer_authentication
from meshfed.model.identity import SpiffeID
from tests.istio.rendering_values import east, expected

WEST = SpiffeID.of_workload("west.local", "meshfed", "federation-controller")
CENTRAL = SpiffeID(trust_domain="central.local", path="/controller")
NORTH = SpiffeID(trust_domain="north.local", path="/controller")
SOUTH = SpiffeID(trust_domain="south.local", path="/controller")


def policy(rules: str) -> Manifest:
    return expected(
        "security.istio.io/v1",
        "AuthorizationPolicy",
        "fds-known-remotes",
        f"""
        selector: {{matchLabels: {{app: meshfed, app.kubernetes.io/name: federation-controller}}}}
        action: ALLOW
        rules: {rules}
        """,
        namespace="meshfed",
    )


@pytest.mark.parametrize("port", [8080, 9090])
def test_mtls_is_strict_but_on_the_metrics_port(port: int) -> None:
    assert peer_authentication(east(metrics_port=port)) == expected(
        "security.istio.io/v1",
        "PeerAuthentication",
        "fds-strict-mtls",
        f"""
        selector: {{matchLabels: {{app: meshfed, app.kubernetes.io/name: federation-controller}}}}
        mtls: {{mode: STRICT}}
        portLevelMtls: {{"{port}": {{mode: PERMISSIVE}}}}
        """,
        namespace="meshfed",
    )


def test_only_the_remotes_reach_discovery_and_everybody_the_other_ports() -> None:
    assert authorization_policy(east(), [WEST, NORTH, CENTRAL, SOUTH, WEST]) == policy(
        """
        - from:
          - source:
              principals:
              - central.local/controller
              - north.local/controller
              - south.local/controller
              - west.local/ns/meshfed/sa/federation-controller
          to: [{operation: {ports: ["15080"]}}]
        - to: [{operation: {notPorts: ["15080"]}}]
        """
    )


def test_without_remotes_nobody_reaches_discovery() -> None:
    assert authorization_policy(east(), []) == policy("""[{to: [{operation: {notPorts: ["15080"]}}]}]""")


def test_the_owner_labels_hold_the_longest_names() -> None:
    rendered = peer_authentication(east(namespace="n" * 63, name="m" * 34))

    assert rendered["metadata"]["labels"] == {
        "federation.openshift-service-mesh.io/owner-namespace": "n" * 63,
        "federation.openshift-service-mesh.io/owner": "m" * 34,
        "app.kubernetes.io/managed-by": "meshfed",
    }


def test_a_metrics_port_of_zero_needs_no_exception() -> None:
    assert "portLevelMtls" not in peer_authentication(east(metrics_port=0))["spec"]
