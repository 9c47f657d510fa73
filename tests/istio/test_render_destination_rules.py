"""DestinationRule: for remotes behind OpenShift's router, for aliases, and for outlier detection."""

from __future__ import annotations

from textwrap import indent
from typing import Any

import pytest

from meshfed.istio import discovery_rule, import_rule
from meshfed.model.imports import Import
from meshfed.model.meshes import Remote
from meshfed.model.offers import Port
from tests.istio.rendering_values import HTTP, RATINGS, ROUTER, backend, east, expected, imported, peer

OUTLIERS: dict[str, Any] = {"outlierDetection": {"consecutive5xxErrors": 0, "interval": "5s"}}
TCP = Port(number=9090, name="tcp")
BEHIND_ROUTER = backend(peer(ingress_type=ROUTER))
ALIAS = "ratings.bookinfo.svc.west.mesh"


def test_discovery_behind_a_router() -> None:
    of = peer(ingress_type=ROUTER, cluster_domain="west.internal", discovery_port=16080)

    assert discovery_rule(east(), of) == expected(
        "networking.istio.io/v1",
        "DestinationRule",
        "mtls-sni.federation-discovery-service-west",
        """
        host: federation-discovery-service-west.federation.svc.west.internal
        trafficPolicy:
          tls:
            mode: ISTIO_MUTUAL
            sni: federation-discovery-service-west-16080.federation.svc.west.internal
        """,
    )


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(peer(), id="Istio's own SNI does"),
        pytest.param(peer(ingress_type=ROUTER, addresses=()), id="no addresses"),
        pytest.param(peer(ingress_type=ROUTER, discovery_address="fds:1"), id="discovery bypasses the ingress"),
        pytest.param(peer("m" * 34, ingress_type=ROUTER), id="no room for the port in a DNS label"),
    ],
)
def test_no_discovery_rule(of: Remote) -> None:
    assert discovery_rule(east(), of) is None


@pytest.mark.parametrize(
    ("import_", "policy"),
    [
        pytest.param(
            imported(BEHIND_ROUTER, ports=(TCP, HTTP)),
            """
            portLevelSettings:
            - port: {number: 9080}
              tls: {mode: ISTIO_MUTUAL, sni: ratings-9080.bookinfo.svc.cluster.local}
            - port: {number: 9090}
              tls: {mode: ISTIO_MUTUAL, sni: ratings-9090.bookinfo.svc.cluster.local}
            """,
            id="behind a router",
        ),
        pytest.param(
            imported(BEHIND_ROUTER, traffic_policy=OUTLIERS),
            """
            outlierDetection: {consecutive5xxErrors: 0, interval: 5s}
            portLevelSettings:
            - port: {number: 9080}
              outlierDetection: {consecutive5xxErrors: 0, interval: 5s}
              tls: {mode: ISTIO_MUTUAL, sni: ratings-9080.bookinfo.svc.cluster.local}
            """,
            id="behind a router, with outlier detection, which port-level settings would switch off",
        ),
        pytest.param(
            imported(traffic_policy=OUTLIERS),
            "outlierDetection: {consecutive5xxErrors: 0, interval: 5s}",
            id="outlier detection alone",
        ),
        pytest.param(
            imported(traffic_policy={"outlierDetection": {}}),
            "outlierDetection: {}",
            id="outlier detection by Istio's defaults",
        ),
        pytest.param(
            imported(BEHIND_ROUTER, traffic_policy={"outlierDetection": {}}),
            """
            outlierDetection: {}
            portLevelSettings:
            - port: {number: 9080}
              outlierDetection: {}
              tls: {mode: ISTIO_MUTUAL, sni: ratings-9080.bookinfo.svc.cluster.local}
            """,
            id="behind a router, with outlier detection by Istio's defaults",
        ),
    ],
)
def test_import(import_: Import, policy: str) -> None:
    assert import_rule(east(), import_) == expected(
        "networking.istio.io/v1",
        "DestinationRule",
        f"mtls-sni.{RATINGS}",
        f"host: {RATINGS}\ntrafficPolicy:\n{indent(policy, '  ')}",
    )


@pytest.mark.parametrize(
    ("of", "sni"),
    [
        pytest.param(peer(), f"outbound_.9080_._.{RATINGS}", id="Istio's ingress"),
        pytest.param(peer(ingress_type=ROUTER), "ratings-9080.bookinfo.svc.cluster.local", id="router"),
    ],
)
def test_an_alias_is_reached_under_the_exporters_own_sni(of: Remote, sni: str) -> None:
    assert import_rule(east(), imported(backend(of), host=ALIAS)) == expected(
        "networking.istio.io/v1",
        "DestinationRule",
        f"mtls-sni.{ALIAS}",
        f"""
        host: {ALIAS}
        trafficPolicy:
          portLevelSettings:
          - port: {{number: 9080}}
            tls: {{mode: ISTIO_MUTUAL, sni: {sni}}}
        """,
    )


def test_a_port_that_the_router_cannot_serve_is_left_out_and_nothing_else() -> None:
    host = f"{'r' * 60}.bookinfo.svc.cluster.local"
    import_ = imported(
        backend(peer(ingress_type=ROUTER), sni_host=host),
        host=host,
        ports=(Port(number=80, name="http"), Port(number=443, name="https")),
        traffic_policy=OUTLIERS,
    )

    assert import_rule(east(), import_) == expected(
        "networking.istio.io/v1",
        "DestinationRule",
        f"mtls-sni.{host}",
        f"""
        host: {host}
        trafficPolicy:
          outlierDetection: {{consecutive5xxErrors: 0, interval: 5s}}
          portLevelSettings:
          - port: {{number: 80}}
            outlierDetection: {{consecutive5xxErrors: 0, interval: 5s}}
            tls: {{mode: ISTIO_MUTUAL, sni: {"r" * 60}-80.bookinfo.svc.cluster.local}}
        """,
    )


@pytest.mark.parametrize(
    "import_",
    [
        pytest.param(imported(), id="Istio's own SNI does"),
        pytest.param(
            imported(backend(peer(ingress_type=ROUTER, cluster_domain="west.internal"))),
            id="a host that is no Service of the remote's domain has no router SNI",
        ),
    ],
)
def test_no_import_rule(import_: Import) -> None:
    assert import_rule(east(), import_) is None
