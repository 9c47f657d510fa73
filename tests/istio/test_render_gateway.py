"""Gateway: `federation-ingress-gateway` in the control plane's namespace, always."""

from __future__ import annotations

import pytest

from meshfed.istio import gateway, gateway_index, gateway_name
from tests.istio.rendering_values import east, expected


def test_hosts_are_sorted_and_each_stands_once() -> None:
    hosts = ["ratings.bookinfo.svc.cluster.local", "details.bookinfo.svc.cluster.local", east().fds_host]

    assert gateway(east(), 0, [*hosts, hosts[0]]) == expected(
        "networking.istio.io/v1",
        "Gateway",
        "federation-ingress-gateway",
        """
        selector: {app: federation-ingress-gateway, istio: eastwest}
        servers:
        - port: {number: 15443, name: tls-passthrough, protocol: TLS}
          hosts:
          - details.bookinfo.svc.cluster.local
          - federation-discovery-service-east.meshfed.svc.cluster.local
          - ratings.bookinfo.svc.cluster.local
          tls: {mode: AUTO_PASSTHROUGH}
        """,
    )


def test_selector_port_and_namespace_are_what_the_mesh_says() -> None:
    configured = east(
        gateway_selector={"gw": "fed"}, gateway_port=443, gateway_port_name="fed", control_plane_namespace="cp"
    )

    assert gateway(configured, 2, iter(["a.b.svc.c"])) == expected(
        "networking.istio.io/v1",
        "Gateway",
        "federation-ingress-gateway-3",
        """
        selector: {gw: fed}
        servers:
        - port: {number: 443, name: fed, protocol: TLS}
          hosts: [a.b.svc.c]
          tls: {mode: AUTO_PASSTHROUGH}
        """,
        namespace="cp",
    )


def test_the_first_gateway_has_the_references_name_and_the_others_are_counted_from_two() -> None:
    assert [gateway_name(index) for index in range(3)] == [
        "federation-ingress-gateway",
        "federation-ingress-gateway-2",
        "federation-ingress-gateway-3",
    ]


@pytest.mark.parametrize("index", [0, 1, 8, 9, 10, 98, 99, 1000])
def test_a_name_tells_its_index(index: int) -> None:
    assert gateway_index(gateway_name(index)) == index


@pytest.mark.parametrize("suffix", ["-0", "-1", "-02", "-x", "-", "-2-2", "2", "-2\n", "-٣"])
def test_a_name_that_is_never_given_tells_none(suffix: str) -> None:
    assert gateway_index("federation-ingress-gateway" + suffix) is None
