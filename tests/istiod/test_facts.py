"""What is compared is what decides about traffic, and a difference in it is seen."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from meshfed_sandbox.dataplane.translate import translate
from meshfed_sandbox.dataplane.values import MeshSettings, ProxyConfig
from tests.builders import port
from tests.istiod.facts import Facts, differences, facts
from tests.istiod.istiod import snake_case
from tests.sandbox.dataplane.cluster_objects import FILES, identity, istio, pod_at, service_at, slice_of

JSONObject = dict[str, Any]

SETTINGS = MeshSettings(name="east", network="east-network")
CLIENT = pod_at("client", "127.9.0.6", ports={"http": 8080})
SERVER = pod_at("ratings", "127.9.0.7", ports={"http": 9080})
RATINGS = service_at("ratings", "10.0.0.1", [port(9080)])
CLUSTER = "outbound|9080||ratings.bookinfo.svc.cluster.local"


def told(**changed: Any) -> ProxyConfig:
    objects: dict[str, Any] = {
        "Pod": [CLIENT, SERVER],
        "Service": [RATINGS],
        "EndpointSlice": [slice_of(RATINGS, [SERVER], {"http": 9080})],
    }
    return translate(SETTINGS, objects | changed, identity(CLIENT, application="127.9.128.6"), FILES)


def of(config: ProxyConfig) -> Facts:
    return facts(config.clusters, list(config.endpoints.values()), config.listeners, list(config.routes.values()))


def test_the_same_has_no_differences() -> None:
    assert differences(of(told()), copy.deepcopy(of(told()))) == []
    assert {
        "inbound 8080",
        "listener 0.0.0.0_9080",
        "routes 9080",
        f"cluster {CLUSTER}",
        f"endpoints {CLUSTER}",
    } <= set(of(told()))


def _without_endpoints() -> ProxyConfig:
    return told(EndpointSlice=[])


def _strict() -> ProxyConfig:
    return told(PeerAuthentication=[istio("mesh", {"mtls": {"mode": "STRICT"}})])


def _plaintext_alone() -> ProxyConfig:
    off = {"selector": {"matchLabels": {"app": "ratings"}}, "mtls": {"mode": "DISABLE"}}
    return told(PeerAuthentication=[istio("off", off, namespace="bookinfo")])


def _plaintext_everywhere() -> ProxyConfig:
    return told(PeerAuthentication=[istio("off", {"mtls": {"mode": "DISABLE"}}, namespace="bookinfo")])


def _denied() -> ProxyConfig:
    return told(AuthorizationPolicy=[istio("none", {}, namespace="bookinfo")])


def _sni() -> ProxyConfig:
    rule = {
        "host": "ratings.bookinfo.svc.cluster.local",
        "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL", "sni": "x"}},
    }
    return told(DestinationRule=[istio("rule", rule)])


def _another_port() -> ProxyConfig:
    return told(Service=[service_at("ratings", "10.0.0.1", [port(9081)])])


@pytest.mark.parametrize(
    ("changed", "about"),
    [
        (_without_endpoints, f"endpoints {CLUSTER}: "),
        (_strict, "inbound 8080: "),
        (_plaintext_alone, f"endpoints {CLUSTER}"),
        (_plaintext_everywhere, f"cluster {CLUSTER}: sockets"),
        (_denied, "inbound 8080: "),
        (_sni, f"cluster {CLUSTER}: sockets"),
        (_another_port, "routes 9080: "),
    ],
)
def test_a_difference_is_seen(changed: Callable[[], ProxyConfig], about: str) -> None:
    found = differences(of(told()), of(changed()))
    assert [line for line in found if line.startswith(about)], found


def test_names_of_fields_are_read_in_either_form() -> None:
    assert snake_case({"lbEndpoints": [{"portValue": 1}], "match": {"a.b/cD": "eF"}}) == {
        "lb_endpoints": [{"port_value": 1}],
        "match": {"a.b/cD": "eF"},
    }
