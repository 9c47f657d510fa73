"""EnvoyFilter and Route: for every exported port where this mesh is behind OpenShift's router; and the two SNIs."""

from __future__ import annotations

import pytest

from meshfed.istio import istio_sni, passthrough_filter, port_filter, route, router_sni
from meshfed.model.meshes import IngressType
from meshfed.model.names import ServiceHost
from tests.istio.rendering_values import ROUTER, east, expected

RATINGS = ServiceHost("ratings", "bookinfo", "cluster.local")


def test_the_gateways_chain_answers_to_the_router_sni_too() -> None:
    assert passthrough_filter(east(ingress_type=ROUTER), RATINGS, 9080) == expected(
        "networking.istio.io/v1alpha3",
        "EnvoyFilter",
        "sni.ratings.bookinfo.svc.cluster.local.9080",
        """
        workloadSelector: {labels: {app: federation-ingress-gateway, istio: eastwest}}
        configPatches:
        - applyTo: FILTER_CHAIN
          match:
            context: GATEWAY
            listener:
              filterChain: {sni: outbound_.9080_._.ratings.bookinfo.svc.cluster.local}
          patch:
            operation: MERGE
            value: {filter_chain_match: {server_names: [ratings-9080.bookinfo.svc.cluster.local]}}
        """,
    )


def test_the_chain_is_added_wherever_the_gateway_may_listen() -> None:
    patches = port_filter(east(), RATINGS, 9080, listening={15443, 8443})["spec"]["configPatches"]
    assert [patch["match"]["listener"] for patch in patches] == [{"portNumber": 8443}, {"portNumber": 15443}]
    assert patches[0]["patch"] == patches[1]["patch"]


PROTOCOLS = "[istio, istio-peer-exchange, istio-http/1.0, istio-http/1.1, istio-h2]"


@pytest.mark.parametrize(
    ("ingress", "names"),
    [
        ({}, "[outbound_.9080_._.ratings.bookinfo.svc.cluster.local]"),
        (
            {"ingress_type": ROUTER},
            "[outbound_.9080_._.ratings.bookinfo.svc.cluster.local, ratings-9080.bookinfo.svc.cluster.local]",
        ),
    ],
)
def test_a_port_of_a_host_that_is_in_no_gateway_has_a_filter_chain_of_its_own(
    ingress: dict[str, IngressType], names: str
) -> None:
    assert port_filter(east(**ingress), RATINGS, 9080, listening=[8443]) == expected(
        "networking.istio.io/v1alpha3",
        "EnvoyFilter",
        "sni.ratings.bookinfo.svc.cluster.local.9080",
        f"""
        workloadSelector: {{labels: {{app: federation-ingress-gateway, istio: eastwest}}}}
        configPatches:
        - applyTo: FILTER_CHAIN
          match:
            context: GATEWAY
            listener: {{portNumber: 8443}}
          patch:
            operation: ADD
            value:
              filter_chain_match:
                server_names: {names}
                transport_protocol: tls
                application_protocols: {PROTOCOLS}
              filters:
              - name: envoy.filters.network.tcp_proxy
                typed_config:
                  '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
                  stat_prefix: outbound_.9080_._.ratings.bookinfo.svc.cluster.local
                  cluster: outbound_.9080_._.ratings.bookinfo.svc.cluster.local
        """,
    )


def test_the_router_sends_the_sni_on_to_the_gateway() -> None:
    assert route(east(ingress_type=ROUTER, gateway_port_name="fed"), RATINGS, 9080) == expected(
        "route.openshift.io/v1",
        "Route",
        "federation-ingress-gateway.ratings.bookinfo.svc.cluster.local.9080",
        """
        host: ratings-9080.bookinfo.svc.cluster.local
        to: {kind: Service, name: federation-ingress-gateway, weight: 100}
        port: {targetPort: fed}
        tls: {termination: passthrough}
        wildcardPolicy: None
        """,
    )


def test_neither_is_needed_without_a_router() -> None:
    assert passthrough_filter(east(), RATINGS, 9080) is None
    assert route(east(), RATINGS, 9080) is None


def test_neither_is_written_for_an_sni_that_cannot_be_served() -> None:
    long = ServiceHost("r" * 59, "bookinfo", "cluster.local")

    assert passthrough_filter(east(ingress_type=ROUTER), long, 9080) is None
    assert route(east(ingress_type=ROUTER), long, 9080) is None


def test_istio_sni() -> None:
    assert istio_sni("a.b.svc.cluster.local", 80) == "outbound_.80_._.a.b.svc.cluster.local"


@pytest.mark.parametrize(
    ("host", "port", "sni"),
    [
        (ServiceHost("a", "b", "west.mesh"), 80, "a-80.b.svc.west.mesh"),
        (ServiceHost("s" * 58, "b", "c"), 9080, f"{'s' * 58}-9080.b.svc.c"),
        (ServiceHost("s" * 59, "b", "c"), 9080, None),
        (ServiceHost("s" * 60, "b", "c"), 80, f"{'s' * 60}-80.b.svc.c"),
        (ServiceHost("s", "n" * 63, ".".join(["d" * 60] * 3)), 80, None),
    ],
)
def test_router_sni_keeps_to_the_limits_of_dns(host: ServiceHost, port: int, sni: str | None) -> None:
    assert router_sni(host, port) == sni
