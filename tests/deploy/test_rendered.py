"""What the chart renders is valid, and hangs together: what one object says of another is so."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import helm
import pytest
import yaml

from meshfed.kube import Manifest
from tests import builders
from tests.builders import SYSTEM
from tests.deploy.cluster import CHART, Cluster, cluster
from tests.deploy.test_chart import CASES, PODS, example, one, rendered

JSONObject = dict[str, Any]
EDGE = {"app.kubernetes.io/name": "edge"}
LONG = {
    "mesh": {**example("objects")["mesh"], "name": "m" * 34},
    "gateway": {"enabled": True, "name": "g" * 63},
    "fullnameOverride": "f" * 63,
    "serviceAccount": {"name": "s" * 63},
    "networkPolicy": {"enabled": True},
    "podMonitor": {"enabled": True},
}
STRING = {"type": "string"}
DURATION = STRING | {"pattern": r"^(0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)$"}
LABELS = {"type": "object", "additionalProperties": STRING}


def fields(*required: str, **properties: JSONObject) -> JSONObject:
    return {"type": "object", "required": list(required), "properties": properties}


ENDPOINT = fields(port=STRING, path=STRING, interval=DURATION)
POD_MONITOR = fields(
    *("selector", "podMetricsEndpoints"),
    selector=fields(matchLabels=LABELS),
    podMetricsEndpoints={"type": "array", "items": ENDPOINT},
)
POD_MONITORS = builders.crd(
    "PodMonitor", "podmonitors", "monitoring.coreos.com", schema=fields("spec", spec=POD_MONITOR)
)
ALERT = fields(
    *("alert", "expr", "for"),
    alert=STRING,
    expr=STRING,
    labels=LABELS,
    annotations=LABELS,
    **{"for": DURATION},
)
GROUP = fields("name", "rules", name=STRING, rules={"type": "array", "items": ALERT})
PROMETHEUS_RULES = builders.crd(
    *("PrometheusRule", "prometheusrules", "monitoring.coreos.com"),
    schema=fields("spec", spec=fields("groups", groups={"type": "array", "items": GROUP})),
)
"""Of the Prometheus operator's CRDs, what the chart uses."""


class Release(NamedTuple):
    """What is installed, as what, and where."""

    values: JSONObject
    name: str = "east"
    namespace: str = "fed"


RELEASES = {name: Release(values) for name, values in CASES.items()} | {
    "names that are as long as can be": Release(LONG, "r" * 53, "n" * 63),
    "beside istiod": Release(example("objects"), namespace=SYSTEM),
    "flags, with a gateway": Release(
        example("kind") | {"gateway": {"enabled": True, "network": "n"}, "networkPolicy": {"enabled": True}}
    ),
    "a gateway whose pods are known by its name": Release(
        {
            "mesh": {"spec": {"network": "n", "ingress": {"gateway": {"selector": EDGE}}}},
            "gateway": {"enabled": True, "name": "gateway"},
            "networkPolicy": {"enabled": True},
        }
    ),
    "labels that the chart has too": Release(
        {
            "podMonitor": {"enabled": True, "labels": {"app.kubernetes.io/part-of": "monitoring"}},
            "controller": {"podLabels": {"app.kubernetes.io/part-of": "mesh"}},
        }
    ),
}


@pytest.fixture(scope="module")
def releases(helm_process: helm.Helm) -> dict[str, list[Manifest]]:
    return {
        case: rendered(helm_process, release.values, name=release.name, namespace=release.namespace)
        for case, release in RELEASES.items()
    }


async def test_every_object_is_one_that_a_cluster_takes(releases: dict[str, list[Manifest]], tmp_path: Path) -> None:
    plurals = {"NetworkPolicy": "networkpolicies", "RemoteMesh": "remotemeshes"}
    crds = [yaml.safe_load(path.read_text()) for path in sorted((CHART / "crds").glob("*.yaml"))]
    async with cluster(tmp_path, crds=[*crds, POD_MONITORS, PROMETHEUS_RULES]) as found:
        for namespace in {release.namespace for release in RELEASES.values()}:
            await found.apply(builders.namespace(namespace))
        seen = set()
        for case, objects in releases.items():
            for obj in objects:
                seen.add(obj["kind"])
                group = obj["apiVersion"]
                place = f"/namespaces/{obj['metadata']['namespace']}" if "namespace" in obj["metadata"] else ""
                plural = plurals.get(obj["kind"], f"{obj['kind'].lower()}s")
                path = f"/{'apis' if '/' in group else 'api'}/{group}{place}/{plural}"
                status, said = await post(found, path, obj)
                assert status == 201, f"{case}: {obj['kind']}: {said}"
        assert seen == {
            *("ClusterRole", "ClusterRoleBinding", "Deployment", "Job", "MeshFederation", "NetworkPolicy"),
            *("PodDisruptionBudget", "PodMonitor", "RemoteMesh", "Role", "RoleBinding", "Service", "ServiceAccount"),
            *("ConfigMap", "PrometheusRule"),
        }
        wrong = one(releases["everything"], "PodMonitor")
        wrong["spec"]["podMetricsEndpoints"][0]["intervall"] = "30s"
        status, said = await post(found, "/apis/monitoring.coreos.com/v1/namespaces/fed/podmonitors", wrong)
        assert (status, "unknown field" in said) == (400, True)


async def post(found: Cluster, path: str, obj: Manifest) -> tuple[int, str]:
    """Create for trial, with unknown fields refused."""
    context = ssl.create_default_context(cadata=found.server.ca.decode())
    headers = {"Authorization": f"Bearer {found.server.token}"}
    url = f"{found.server.url}{path}?fieldValidation=Strict&dryRun=All"
    connector = aiohttp.TCPConnector(ssl=context)
    async with (
        aiohttp.ClientSession(connector=connector, headers=headers) as session,
        session.post(url, json=obj) as answer,
    ):
        return answer.status, await answer.text()


def identity(obj: Manifest) -> tuple[str, str, str]:
    return obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


@pytest.mark.parametrize("case", RELEASES)
def test_no_two_objects_have_one_name(releases: dict[str, list[Manifest]], case: str) -> None:
    names = [identity(obj) for obj in releases[case]]
    assert sorted(names) == sorted(set(names))


def pods(objects: list[Manifest]) -> dict[str, JSONObject]:
    """The pod templates, by the name of what makes them."""
    return {obj["metadata"]["name"]: obj["spec"]["template"] for obj in objects if obj["kind"] in PODS}


def selectors(objects: list[Manifest]) -> Iterator[tuple[Manifest, dict[str, str]]]:
    """Everything that chooses pods by labels, and by which."""
    for obj in objects:
        match obj["kind"]:
            case "Service":
                yield obj, obj["spec"]["selector"]
            case "NetworkPolicy":
                yield obj, obj["spec"]["podSelector"]["matchLabels"]
            case "Deployment" | "PodDisruptionBudget" | "PodMonitor":
                yield obj, obj["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize("case", RELEASES)
def test_whoever_chooses_pods_finds_those_of_one_deployment(releases: dict[str, list[Manifest]], case: str) -> None:
    """Above all, the discovery Service leads to no gateway, and to no Job that uninstalls."""
    objects = releases[case]
    gateway = RELEASES[case].values.get("gateway", {}).get("name", "federation-ingress-gateway")
    templates = pods(objects)
    (controller,) = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Deployment"} - {gateway}
    for obj, labels in selectors(objects):
        assert labels
        found = [name for name, pod in templates.items() if labels.items() <= pod["metadata"]["labels"].items()]
        assert found == [gateway if obj["metadata"]["name"] == gateway else controller], identity(obj)
        for template in found:
            ports = {port["name"] for port in templates[template]["spec"]["containers"][0]["ports"]}
            assert {name for name in named_ports(obj) if isinstance(name, str)} <= ports, identity(obj)


def named_ports(obj: Manifest) -> list[str | int]:
    """The ports of the pods that ``obj`` means, by name or number."""
    spec = obj["spec"]
    match obj["kind"]:
        case "Service":
            return [port["targetPort"] for port in spec["ports"]]
        case "NetworkPolicy":
            return [port["port"] for rule in spec["ingress"] for port in rule["ports"]]
        case "PodMonitor":
            return [endpoint["port"] for endpoint in spec["podMetricsEndpoints"]]
        case "Deployment":
            (container,) = spec["template"]["spec"]["containers"]
            probes = [container[name] for name in ("livenessProbe", "readinessProbe") if name in container]
            return [probe["httpGet"]["port"] for probe in probes]
    return []


@pytest.mark.parametrize("case", RELEASES)
def test_every_account_and_role_that_is_named_is_there(releases: dict[str, list[Manifest]], case: str) -> None:
    objects, (values, _, namespace) = releases[case], RELEASES[case]
    made = {identity(obj) for obj in objects}
    account = values.get("serviceAccount", {})
    if not account.get("create", True):
        made.add(("ServiceAccount", namespace, account.get("name", "federation-controller")))
    bindings = [obj for obj in objects if obj["kind"].endswith("RoleBinding")] + [
        obj for obj in objects if obj["kind"].endswith("ClusterRoleBinding")
    ]
    for binding in bindings:
        role, place = binding["roleRef"], binding["metadata"].get("namespace", "")
        assert (role["kind"], place if role["kind"] == "Role" else "", role["name"]) in made
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["namespace"], subject["name"]) in made
    for pod in pods(objects).values():
        if "serviceAccountName" in pod["spec"]:
            assert ("ServiceAccount", namespace, pod["spec"]["serviceAccountName"]) in made


@pytest.mark.parametrize("case", ["everything", "flags, with a gateway"])
def test_every_image_is_pulled_with_the_secrets(helm_process: helm.Helm, case: str) -> None:
    secrets = [{"name": "one"}, {"name": "two"}]
    values = RELEASES[case].values | {"imagePullSecrets": secrets}
    templates = pods(rendered(helm_process, values))
    assert {name: pod["spec"]["imagePullSecrets"] for name, pod in templates.items()} == dict.fromkeys(
        ("federation-controller", "federation-controller-uninstall", "federation-ingress-gateway"), secrets
    )


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        (
            {"rbac": {"create": False}},
            {"Role": 1, "ClusterRole": 1, "ServiceAccount": 2},
        ),  # those of the uninstall hook
        ({"serviceAccount": {"create": False}}, {"Role": 3, "ClusterRole": 2, "ServiceAccount": 1}),
        ({"uninstall": {"enabled": False}}, {"Role": 2, "ClusterRole": 1, "ServiceAccount": 1, "Job": 0}),
        ({"controller": {"replicas": 1}}, {"PodDisruptionBudget": 0}),
    ],
)
def test_what_is_left_out(helm_process: helm.Helm, values: JSONObject, kinds: dict[str, int]) -> None:
    objects = rendered(helm_process, values)
    assert {kind: sum(obj["kind"] == kind for obj in objects) for kind in kinds} == kinds
    accounts = [obj["metadata"]["name"] for obj in objects if obj["kind"] == "ServiceAccount"]
    hooked = {obj["metadata"]["name"] for obj in objects if "helm.sh/hook" in obj["metadata"].get("annotations", {})}
    own = values.get("serviceAccount", {}).get("create", True)
    assert set(accounts) - hooked == ({"federation-controller"} if own else set())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({}, "federation-controller"),
        ({"nameOverride": "mine"}, "mine"),
        ({"fullnameOverride": "ours"}, "ours"),
        ({"nameOverride": "mine", "fullnameOverride": "ours"}, "ours"),
    ],
)
def test_what_objects_are_named(helm_process: helm.Helm, names: dict[str, str], expected: str) -> None:
    objects = rendered(helm_process, names | {"networkPolicy": {"enabled": True}, "podMonitor": {"enabled": True}})
    kinds = {obj["kind"] for obj in objects} - {"Service", "ServiceAccount"}
    hooks = {f"{expected}-uninstall", f"{expected}.uninstall", f"{expected}-fed.uninstall"}
    own = {expected, f"{expected}-fed", *hooks}
    assert {obj["metadata"]["name"] for obj in objects if obj["kind"] in kinds} == own
    assert {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Service"} == {
        "federation-discovery-service-east"
    }, "remotes look for it by this name"
    assert {obj["metadata"]["name"] for obj in objects if obj["kind"] == "ServiceAccount"} == {
        "federation-controller",  # the identity that remotes know
        f"{expected}-uninstall",
    }


def test_who_may_scrape(helm_process: helm.Helm) -> None:
    scrapers = [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]
    policies = {
        bool(sources): one(
            rendered(helm_process, {"networkPolicy": {"enabled": True, "metricsFrom": sources}}), "NetworkPolicy"
        )["spec"]["ingress"]
        for sources in ([], scrapers)
    }
    metrics = {"metrics", 15090, 15020}  # the controller's, its sidecar's, and both merged

    def admitted(rules: list[JSONObject]) -> dict[str | int, list[JSONObject] | None]:
        return {port["port"]: rule.get("from") for rule in rules for port in rule["ports"]}

    assert {port for port, sources in admitted(policies[False]).items() if sources is None} >= metrics
    assert {port for port, sources in admitted(policies[True]).items() if sources == scrapers} == metrics
    for rules in policies.values():
        (discovery,) = [rule for rule in rules if {"port": "grpc-fds"} in rule["ports"]]
        assert discovery["ports"] == [{"port": "grpc-fds"}]
        assert discovery["from"] == [
            {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "federation-ingress-gateway"}}}
        ]
