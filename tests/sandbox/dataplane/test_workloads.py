"""Which Pods a Deployment needs, which endpoints a Service has, which proxy a Pod gets."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed_sandbox.dataplane.workloads import (
    Changes,
    changes,
    cluster_names,
    deployment_status,
    endpoint_slices,
    ingress_addresses,
    pod_of,
    proxy_kind,
)
from tests.builders import port, service

JSONObject = dict[str, Any]


def deployment(replicas: int = 1, image: str = "ratings:1", **spec: Any) -> JSONObject:
    template = {
        "metadata": {"labels": {"app": "ratings"}},
        "spec": {
            "serviceAccountName": "bookinfo-ratings",
            "containers": [
                {"name": "ratings", "image": image, "ports": [{"name": "http", "containerPort": 9080}]},
            ],
        },
    }
    return {
        "metadata": {"name": "ratings-v1", "namespace": "bookinfo", "uid": "d1", "generation": 2},
        "spec": {"replicas": replicas, "template": template, **spec},
    }


def pod_from(
    of: JSONObject, suffix: str, *, ready: bool = True, address: str = "127.7.0.10", **labels: str
) -> JSONObject:
    made = pod_of(of, suffix)
    made["metadata"]["uid"] = suffix
    made["metadata"]["labels"] |= labels
    made["status"] = {"podIP": address, "conditions": [{"type": "Ready", "status": str(ready)}]}
    return made


def names(of: JSONObject, *suffixes: str) -> tuple[str, ...]:
    return tuple(pod_of(of, suffix)["metadata"]["name"] for suffix in suffixes)


def test_a_pod_is_its_template_and_says_whose_it_is() -> None:
    made = pod_of(deployment(), "abcde")
    revision = made["metadata"]["labels"].pop("pod-template-hash")
    assert made["metadata"] == {
        "name": f"ratings-v1-{revision}-abcde",
        "namespace": "bookinfo",
        "labels": {"app": "ratings"},
        "annotations": {},
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": "ratings-v1",
                "uid": "d1",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert made["spec"]["serviceAccountName"] == "bookinfo-ratings"


OLD, NEW = deployment(2, "ratings:1"), deployment(2, "ratings:2")


@pytest.mark.parametrize(
    ("of", "pods", "expected"),
    [
        pytest.param(NEW, [], Changes(create=2), id="none yet"),
        pytest.param(NEW, [pod_from(NEW, "a"), pod_from(NEW, "b")], Changes(), id="complete"),
        pytest.param(NEW, [pod_from(OLD, "a"), pod_from(OLD, "b")], Changes(create=1), id="the new one first"),
        pytest.param(
            NEW,
            [pod_from(OLD, "a"), pod_from(OLD, "b"), pod_from(NEW, "c", ready=False)],
            Changes(),
            id="until it serves",
        ),
        pytest.param(
            NEW,
            [pod_from(OLD, "a"), pod_from(OLD, "b"), pod_from(NEW, "c")],
            Changes(delete=names(OLD, "a")),
            id="then an old one goes",
        ),
        pytest.param(NEW, [pod_from(OLD, "b"), pod_from(NEW, "c")], Changes(create=1), id="and the next comes"),
        pytest.param(
            NEW,
            [pod_from(OLD, "b"), pod_from(NEW, "c"), pod_from(NEW, "d")],
            Changes(delete=names(OLD, "b")),
            id="the last old one goes",
        ),
        pytest.param(
            deployment(1, "ratings:2"),
            [pod_from(NEW, "a"), pod_from(NEW, "b", ready=False)],
            Changes(delete=names(NEW, "b")),
            id="scaled down: those that do not serve first",
        ),
        pytest.param(
            deployment(0, "ratings:2"), [pod_from(NEW, "a")], Changes(delete=names(NEW, "a")), id="to nothing"
        ),
        pytest.param(
            deployment(1, "ratings:2", strategy={"type": "Recreate"}),
            [pod_from(OLD, "a")],
            Changes(delete=names(OLD, "a")),
            id="Recreate: the old one goes first",
        ),
    ],
)
def test_what_a_deployment_needs_now(of: JSONObject, pods: list[JSONObject], expected: Changes) -> None:
    assert changes(of, pods) == expected


def test_the_status_of_a_deployment() -> None:
    status = deployment_status(NEW, [pod_from(NEW, "a"), pod_from(OLD, "b", ready=False)], "2026-01-01T00:00:00Z")
    condition = status["conditions"][0]
    assert (condition["type"], condition["status"], condition["message"]) == (
        "Available",
        "False",
        "1 of 2 Pods are ready.",
    )
    assert {key: value for key, value in status.items() if key != "conditions"} == {
        "observedGeneration": 2,
        "replicas": 2,
        "updatedReplicas": 1,
        "readyReplicas": 1,
        "availableReplicas": 1,
        "unavailableReplicas": 1,
    }
    again = deployment_status({**NEW, "status": status}, [pod_from(NEW, "a")], "2026-02-02T00:00:00Z")
    assert again["conditions"][0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"


def ratings(**spec: Any) -> JSONObject:
    made = service("ratings.bookinfo", **{"clusterIP": "10.96.0.7", "ports": [port(80, target="http")], **spec})
    return made | {"metadata": made["metadata"] | {"uid": "s1"}}


def test_the_endpoints_of_a_service_are_the_pods_it_selects() -> None:
    pods = [
        pod_from(OLD, "a", address="127.7.0.10"),
        pod_from(OLD, "b", address="127.7.0.11", ready=False),
        pod_from(OLD, "c", address="127.7.0.12", app="other"),
        pod_from(OLD, "d", address=""),
    ]
    made = endpoint_slices(ratings(), pods)
    assert [
        (one["addresses"], one["conditions"]["ready"], one["targetRef"]["uid"]) for one in made[0]["endpoints"]
    ] == [(["127.7.0.10"], True, "a"), (["127.7.0.11"], False, "b")]
    assert made[0]["ports"] == [{"name": "http", "port": 9080, "protocol": "TCP"}]
    assert made[0]["metadata"]["labels"] == {
        "app": "ratings",
        "kubernetes.io/service-name": "ratings",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert len(made) == 1


def test_a_named_target_port_is_each_pods_own() -> None:
    other = pod_from(OLD, "b", address="127.7.0.11")
    other["spec"] = {"containers": [{"name": "ratings", "ports": [{"name": "http", "containerPort": 9081}]}]}
    third = pod_from(OLD, "c", address="127.7.0.12")
    third["spec"] = {"containers": [{"name": "ratings"}]}
    made = endpoint_slices(ratings(), [pod_from(OLD, "a"), other, third])
    assert [([port["port"] for port in one["ports"]], one["endpoints"][0]["addresses"]) for one in made] == [
        ([9080], ["127.7.0.10"]),
        ([9081], ["127.7.0.11"]),
        ([], ["127.7.0.12"]),
    ]
    assert len({one["metadata"]["name"] for one in made}) == 3


def test_not_ready_addresses_are_published_on_request() -> None:
    made = endpoint_slices(ratings(publishNotReadyAddresses=True), [pod_from(OLD, "a", ready=False)])
    assert made[0]["endpoints"][0]["conditions"] == {"ready": True, "serving": False, "terminating": False}


def test_a_load_balancer_has_the_addresses_of_pods_that_serve() -> None:
    pods = [
        pod_from(OLD, "a", address="127.7.0.11"),
        pod_from(OLD, "b", address="127.7.0.10"),
        pod_from(OLD, "c", ready=False),
    ]
    assert ingress_addresses(ratings(), pods) == [{"ip": "127.7.0.10"}, {"ip": "127.7.0.11"}]


@pytest.mark.parametrize(
    ("namespace", "labels", "annotations", "expected"),
    [
        ({}, {}, {}, ""),
        ({}, {"sidecar.istio.io/inject": "true"}, {}, "sidecar"),
        ({"istio-injection": "enabled"}, {}, {}, "sidecar"),
        ({"istio-injection": "enabled"}, {"sidecar.istio.io/inject": "false"}, {}, ""),
        ({"istio-injection": "disabled"}, {"sidecar.istio.io/inject": "true"}, {}, ""),
        ({"istio-injection": "enabled"}, {}, {"sidecar.istio.io/inject": "false"}, ""),
        ({}, {"sidecar.istio.io/inject": "true"}, {"inject.istio.io/templates": "gateway"}, "gateway"),
        ({}, {"sidecar.istio.io/inject": "true"}, {"inject.istio.io/templates": "sidecar, spire"}, "sidecar"),
        ({}, {}, {"inject.istio.io/templates": "gateway"}, ""),
    ],
)
def test_which_proxy_a_pod_gets(
    namespace: dict[str, str], labels: dict[str, str], annotations: dict[str, str], expected: str
) -> None:
    made = {"metadata": {"name": "a", "labels": labels, "annotations": annotations}}
    assert proxy_kind(made, {"metadata": {"name": "bookinfo", "labels": namespace}}) == expected


def test_the_names_that_a_cluster_knows() -> None:
    headless = ratings(clusterIP="None")
    headless["metadata"] = {**headless["metadata"], "name": "db"}
    objects = {
        "Service": [ratings(), headless],
        "EndpointSlice": endpoint_slices(
            headless, [pod_from(OLD, "a"), pod_from(OLD, "b", ready=False, address="127.7.0.9")]
        ),
    }
    assert cluster_names(objects, "cluster.local") == {
        "ratings.bookinfo.svc.cluster.local": ("10.96.0.7",),
        "db.bookinfo.svc.cluster.local": ("127.7.0.10",),
    }
