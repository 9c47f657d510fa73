"""What the controller writes is all known to the sandbox's control plane."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import msgspec
import yaml

from meshfed_sandbox.dataplane.translate import KINDS, translate
from meshfed_sandbox.dataplane.values import JSONObject, MeshSettings
from tests.builders import port
from tests.sandbox.dataplane.cluster_objects import FILES, identity, pod_at, service_at
from tests.sandbox.dataplane.envoys import validate

PAGE = Path(__file__).resolve().parents[3] / "docs" / "resources.md"
ROUTED = {"Route"}
"""Kinds that are for OpenShift's router, and no business of Istio's."""


def written() -> dict[str, list[JSONObject]]:
    """The examples of the documentation, which are rendered by the controller's own code."""
    found: dict[str, list[JSONObject]] = defaultdict(list)
    for text in re.findall(r"<!-- example: .*?```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for each in yaml.safe_load_all(text):
            found[each["kind"]].append(each)
    return found


def test_every_example_is_translated_and_valid(tmp_path: Path) -> None:
    objects = written()
    assert set(objects) - KINDS == ROUTED
    assert {"Gateway", "ServiceEntry", "WorkloadEntry", "DestinationRule", "EnvoyFilter"} <= set(objects)
    for kind in ROUTED:
        objects.pop(kind)
    gateway = pod_at("gateway", "127.9.0.5", namespace="istio-system", app="federation-ingress-gateway")
    client = pod_at("client", "127.9.0.6", ports={"http": 8080})
    controller = pod_at(
        "controller",
        "127.9.0.7",
        namespace="istio-system",
        ports={"grpc": 15080, "metrics": 8080},
        labels={"app.kubernetes.io/name": "federation-controller"},
    )
    objects["Pod"] = [gateway, client, controller]
    objects["Service"] = [
        service_at("reviews", "10.0.0.1", [port(9080)]),
        service_at("productpage", "10.0.0.2", [port(9080)]),
    ]
    settings = MeshSettings(name="east", network="east-network")
    told = {
        "gateway": translate(settings, objects, identity(gateway, kind="gateway"), FILES),
        "client": translate(settings, objects, identity(client, application="127.9.128.6"), FILES),
        "controller": translate(settings, objects, identity(controller, application="127.9.128.7"), FILES),
    }
    for config in told.values():
        validate(config, tmp_path)
    [door] = told["gateway"].listeners
    names = [chain["filter_chain_match"]["server_names"] for chain in door["filter_chains"]]
    assert ["outbound_.9080_._.reviews.bookinfo.svc.cluster.local"] in [each[:1] for each in names]
    assert "outbound|15080||federation-discovery-service-west.istio-system.svc.cluster.local" in {
        each["name"] for each in told["controller"].clusters
    }
    [metrics] = [each for each in told["controller"].listeners if each["name"] == "127.9.0.7_8080"]
    [discovery] = [each for each in told["controller"].listeners if each["name"] == "127.9.0.7_15080"]
    assert "plain-http" in {each["name"] for each in metrics["filter_chains"]}
    # A PeerAuthentication with a selector holds in any namespace but the root: there the AuthorizationPolicy has to do.
    assert "plain-http" in {each["name"] for each in discovery["filter_chains"]}
    assert all("rbac" in str(each) for each in discovery["filter_chains"] if each["name"] != "tls")
    elsewhere = msgspec.structs.replace(settings, root_namespace="istio-config")
    listeners = translate(elsewhere, objects, identity(controller, application="127.9.128.7"), FILES).listeners
    [discovery] = [each for each in listeners if each["name"] == "127.9.0.7_15080"]
    assert {each["name"] for each in discovery["filter_chains"]} == {"mtls-http", "mtls-tcp"}
