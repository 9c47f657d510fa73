"""What the chart renders: for the values of the reference's chart, for its own, and for those that cannot be meant."""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dist
import helm
import pytest
import yaml

from meshfed import __version__
from meshfed.api.reference_config import reference_config
from meshfed.cli.app import build
from meshfed.kube import Manifest
from tests.deploy.cluster import CHART, ROOT

EXAMPLES = ROOT / "deploy" / "examples"
PODS = {"Deployment", "Job"}
DIGEST = f"sha256:{'a1' * 32}"


def example(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    return values


def rendered(
    asked: helm.Helm, values: Mapping[str, Any], *, name: str = "east", namespace: str = "fed", chart: Path = CHART
) -> list[Manifest]:
    found = asked("template", chart=str(chart), name=name, namespace=namespace, values=values)
    texts = [text for path, text in sorted(found.items()) if path.endswith(".yaml")]
    return [document for text in texts for document in yaml.load_all(text, UniqueKeys) if document]


class UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is there twice, of which a cluster would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"twice: {keys}"
        return super().construct_mapping(node, deep=deep)


def one(objects: list[Manifest], kind: str, name: str = "") -> Manifest:
    (found,) = [obj for obj in objects if obj["kind"] == kind and name in {"", obj["metadata"]["name"]}]
    return found


def arguments(objects: list[Manifest]) -> list[str]:
    found: list[str] = one(objects, "Deployment", "federation-controller")["spec"]["template"]["spec"]["containers"][0][
        "args"
    ]
    return found


HELPERS = (CHART / "templates" / "_helpers.tpl").read_text()
FLAGS = ("--meshPeers", "--exportedServiceSet", "--importedServiceSet")
ALL = {
    "mesh": {"spec": {"network": "n", "ingress": {"gateway": {"selector": {"app": "gateway"}}}}},
    "gateway": {"enabled": True, "service": {"annotations": {"a": "b"}}},
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "interval": "30s"},
    "prometheusRule": {
        "enabled": True,
        "labels": {"release": "prometheus"},
        "runbooks": "https://git.example.com/meshfed",
    },
    "dashboard": {"enabled": True, "labels": {"grafana": "yes"}, "annotations": {"grafana_folder": "Mesh"}},
    "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {}}]},
    "imagePullSecrets": [{"name": "pull"}],
    "istio": {"revision": "1-31", "spire": {"enabled": True}},
    "controller": {
        "replicas": 1,
        "readPods": False,
        "probe": {"enabled": True, "trustBundle": "spire-bundle", "ports": [443, 15443]},
        "dashboard": {"bindAddress": "127.0.0.1:8082", "hosts": ["mesh.example.com"]},
        "adoptReference": True,
        "logLevel": "debug",
        "logFormat": "json",
        "extraArgs": ["--trusted-proxy-cidrs=127.0.0.6/32"],
        "podLabels": {"team": "mesh"},
        "podAnnotations": {"note": "yes"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
    },
    "serviceAccount": {"name": "other", "annotations": {"a": "b"}},
}
CASES = {
    "defaults": {},
    "kind": example("kind"),
    "openshift": example("openshift"),
    "spire": example("spire"),
    "objects": example("objects"),
    "everything": ALL,
    "nothing that can be left out": {
        "serviceAccount": {"create": False},
        "rbac": {"create": False},
        "uninstall": {"enabled": False},
        "fullnameOverride": "meshfed",
    },
}


@pytest.fixture(scope="module")
def renderings(helm_process: helm.Helm) -> dict[str, list[Manifest]]:
    return {name: rendered(helm_process, values) for name, values in CASES.items()}


@pytest.mark.parametrize("case", CASES)
def test_helm_has_nothing_to_complain_of(helm_process: helm.Helm, case: str) -> None:
    said = helm_process("lint", chart=str(CHART), namespace="fed", values=CASES[case])
    assert said["errors"] == []
    assert [message for message in said["messages"] if message["error"] != "icon is recommended"] == []


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_held_to_little(renderings: dict[str, list[Manifest]], case: str) -> None:
    for obj in renderings[case]:
        if obj["kind"] not in PODS:
            continue
        spec = obj["spec"]["template"]["spec"]
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert container["resources"]["requests"]


@pytest.mark.parametrize("case", CASES)
def test_the_commands_flags_exist(renderings: dict[str, list[Manifest]], case: str) -> None:
    app = build()
    for obj in renderings[case]:
        if obj["kind"] in PODS and obj["spec"]["template"]["spec"]["containers"][0]["name"] != "istio-proxy":
            container = obj["spec"]["template"]["spec"]["containers"][0]
            assert container["command"] == ["meshfed"]
            app.parse_args(container["args"], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("case", ["kind", "openshift", "spire"])
def test_the_references_values_become_its_flags(renderings: dict[str, list[Manifest]], case: str) -> None:
    objects, values = renderings[case], CASES[case]
    flags = dict(argument.split("=", 1) for argument in arguments(objects) if "=" in argument)
    assert json.loads(flags["--meshPeers"]) == values["federation"]["meshPeers"]
    assert json.loads(flags["--exportedServiceSet"]) == values["federation"]["exportedServiceSet"]
    config = reference_config(
        mesh_peers=flags["--meshPeers"], exported_service_set=flags["--exportedServiceSet"], namespace="fed"
    )
    assert config.mesh is not None
    assert config.mesh.metadata.name == "east"
    assert [remote.metadata.name for remote in config.remotes] == ["west"]
    assert not [obj for obj in objects if obj["kind"] in {"MeshFederation", "RemoteMesh"}]
    service = one(objects, "Service", "federation-discovery-service-east")
    assert service["spec"]["ports"] == [{"name": "grpc-fds", "port": 15080, "targetPort": "grpc-fds"}]
    pod = one(objects, "Deployment")["spec"]["template"]["metadata"]
    assert pod["labels"]["app.kubernetes.io/name"] == "federation-controller"
    assert pod["labels"]["sidecar.istio.io/inject"] == "true"
    templates = pod["annotations"].get("inject.istio.io/templates")
    assert templates == ("sidecar,spire" if case == "spire" else None)
    assert one(objects, "ServiceAccount", "federation-controller")


def test_what_the_reference_leaves_open(helm_process: helm.Helm) -> None:
    peers = {"local": {"gateways": {"ingress": {"selector": {"app": "g"}}}}}
    objects = rendered(helm_process, {"federation": {"meshPeers": peers}}, name="central")
    flags = dict(argument.split("=", 1) for argument in arguments(objects) if "=" in argument)
    assert json.loads(flags["--meshPeers"])["local"]["name"] == "central"
    assert flags["--exportedServiceSet"] == "null"
    assert one(objects, "Service", "federation-discovery-service-central")


def test_objects_of_our_own(renderings: dict[str, list[Manifest]]) -> None:
    objects, values = renderings["objects"], CASES["objects"]
    assert one(objects, "MeshFederation", "east")["spec"] == values["mesh"]["spec"]
    assert one(objects, "RemoteMesh", "west")["spec"] == values["remotes"][0]["spec"]
    assert arguments(objects) == ["controller", "--leader-elect"]
    gateway = one(objects, "Deployment", "federation-ingress-gateway")["spec"]["template"]
    assert gateway["metadata"]["labels"]["topology.istio.io/network"] == "east-network"
    assert gateway["metadata"]["labels"]["app"] == "federation-ingress-gateway"
    assert gateway["metadata"]["annotations"] == {"inject.istio.io/templates": "gateway"}
    (proxy,) = gateway["spec"]["containers"]
    assert proxy["env"] == [{"name": "ISTIO_META_REQUESTED_NETWORK_VIEW", "value": "east-network"}]
    service = one(objects, "Service", "federation-ingress-gateway")["spec"]
    assert [(port["name"], port["port"]) for port in service["ports"]] == [
        ("status-port", 15021),
        ("tls-passthrough", 15443),
    ]
    policy = one(objects, "NetworkPolicy")["spec"]["ingress"][0]
    assert policy["from"][0]["podSelector"]["matchLabels"] == {"app": "federation-ingress-gateway"}


def test_one_replica_may_go_in_a_drain_and_has_no_other_beside_it_unelected(
    renderings: dict[str, list[Manifest]],
) -> None:
    objects = renderings["everything"]
    assert "--leader-elect" in arguments(objects)
    assert "PodDisruptionBudget" not in {obj["kind"] for obj in objects}
    assert "pods" not in one(objects, "ClusterRole", "federation-controller-fed")["rules"][0]["resources"]


def test_two_releases_in_one_cluster_have_nothing_of_the_same_name(helm_process: helm.Helm) -> None:
    values = example("objects") | {"istio": {"namespace": "istio-system"}}
    first = rendered(helm_process, values, name="east", namespace="one")
    second = rendered(helm_process, values, name="east", namespace="two")

    def names(objects: list[Manifest]) -> set[tuple[str, str, str]]:
        return {(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]) for obj in objects}

    assert names(first) & names(second) == set()


def test_no_hook_has_the_name_of_a_role_that_is_in_use(renderings: dict[str, list[Manifest]]) -> None:
    """What bears a hook's name Helm deletes before it makes the hook, another release's too: so a dot is in it."""
    for objects in renderings.values():
        for obj in objects:
            if "Role" in obj["kind"]:
                assert ("." in obj["metadata"]["name"]) is ("annotations" in obj["metadata"]), obj["metadata"]["name"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"image": {"tagg": "1"}}, "at '/image': additional properties 'tagg' not allowed"),
        ({"istio": {"spire": {"enabled": "yes"}}}, "at '/istio/spire/enabled': got string, want boolean"),
        ({"controller": {"logLevel": "loud"}}, "at '/controller/logLevel': value must be one of 'debug', 'info'"),
        ({"mesh": {"spec": {"network": "n"}}}, "at '/mesh/spec': missing property 'ingress'"),
        (
            {"remotes": [{"name": "west", "spec": {"network": "n", "import": {"merg": True}}}]},
            "at '/remotes/0/spec/import': additional properties 'merg' not allowed",
        ),
        (
            {"federation": {"meshPeers": {"local": {"gateways": {}}}}},
            "at '/federation/meshPeers/local/gateways': missing property 'ingress'",
        ),
        (
            {"federation": {"exportedServiceSet": {"rules": [{"type": "All"}]}}},
            "at '/federation/exportedServiceSet/rules/0/type': value must be 'LabelSelector'",
        ),
        (
            example("kind") | {"mesh": example("objects")["mesh"]},
            "federation.meshPeers and mesh.spec or remotes both describe the mesh: keep federation",
        ),
        (
            {"federation": {"exportedServiceSet": {"rules": []}}},
            "federation.exportedServiceSet and federation.importedServiceSet need federation.meshPeers",
        ),
        ({"remotes": example("objects")["remotes"]}, "remotes without mesh.spec"),
        ({"gateway": {"enabled": True}}, "gateway.enabled without a network: set gateway.network"),
        (
            {"image": {"repository": "example.com/meshfed:1"}},
            "at '/image/repository': 'example.com/meshfed:1' does not",
        ),
        ({"image": {"repository": f"meshfed@{DIGEST}"}}, "at '/image/repository': 'meshfed@sha256:"),
        ({"image": {"tag": '1"\n  x: y'}}, "at '/image/tag': '1"),
        ({"controller": {"resources": {"limit": {}}}}, "at '/controller/resources': additional properties 'limit'"),
        (
            {"controller": {"extraArgs": ["--metrics-bind-address=:9090"]}},
            "controller.extraArgs: --metrics-bind-address is not for here: the chart's Service, probes, PodMonitor",
        ),
        (
            {"controller": {"extraArgs": ["--no-read-pods"]}},
            "--no-read-pods is not for here: set controller.readPods=f",
        ),
        ({"controller": {"extraArgs": ["--no-leader-elect"]}}, "without it two pods would write at once"),
        (
            {"gateway": {"enabled": True, "network": "n", "name": "federation-controller"}},
            "gateway.name: the controller's Deployment is named federation-controller already",
        ),
        (
            {
                "fullnameOverride": "meshfed",
                "gateway": {"enabled": True, "network": "n", "name": "federation-controller"},
            },
            "gateway.name: by the label federation-controller the mesh's policies find the controller's pods",
        ),
        ({"imagePullSecrets": [{"nam": "regcred"}]}, "at '/imagePullSecrets/0': missing property 'name'"),
        ({"gateway": {"name": "1st"}}, "at '/gateway/name': '1st' does not match"),
        ({"gateway": {"network": "a b"}}, "at '/gateway/network': 'a b' does not match"),
        ({"podMonitor": {"interval": "often"}}, "at '/podMonitor/interval': 'often' does not match"),
        ({"prometheusRule": {"runbooks": "docs"}}, "at '/prometheusRule/runbooks': 'docs' does not match"),
        ({"istio": {"revision": "a b"}}, "at '/istio/revision': 'a b' does not match"),
        ({"istio": {"spire": {"templateName": "a b"}}}, "at '/istio/spire/templateName': 'a b' does not match"),
        ({"enabled": False}, "enabled=false: it is read by a parent chart, as the condition of a dependency"),
        (
            {"controller": {"podLabels": {"app.kubernetes.io/name": "mine"}}},
            "controller.podLabels: app.kubernetes.io/name is the chart's own",
        ),
    ],
)
def test_values_that_cannot_be_meant_are_refused(helm_process: helm.Helm, values: dict[str, Any], said: str) -> None:
    with pytest.raises(helm.HelmError) as caught:
        rendered(helm_process, values)
    assert said in str(caught.value)


def test_an_image_by_its_digest(helm_process: helm.Helm) -> None:
    image = {"repository": "example.com:5000/mesh/meshfed", "tag": DIGEST}
    objects = rendered(helm_process, {"image": image})
    for obj in objects:
        if obj["kind"] in PODS:
            (container,) = obj["spec"]["template"]["spec"]["containers"]
            assert container["image"] == f"example.com:5000/mesh/meshfed@{DIGEST}"


@pytest.mark.parametrize("name", ["123", "1e3", "null", "true", "2026-01-31"])
def test_a_name_that_yaml_would_read_otherwise_stays_one(helm_process: helm.Helm, name: str) -> None:
    values = example("objects") | {"mesh": {**example("objects")["mesh"], "name": name}, "fullnameOverride": name}
    objects = rendered(helm_process, values | {"podMonitor": {"enabled": True}}, name=name, namespace=name)
    assert {type(obj["metadata"]["name"]) for obj in objects} == {str}
    assert {type(obj["metadata"].get("namespace", "")) for obj in objects} == {str}
    labels = {value for obj in objects for value in obj["metadata"]["labels"].values()}
    assert {type(value) for value in labels} == {str}
    assert one(objects, "MeshFederation")["metadata"] | {"labels": {}} == {
        "name": name,
        "namespace": name,
        "labels": {},
    }
    for obj in objects:
        for subject in obj.get("subjects", ()):
            assert isinstance(subject["namespace"], str)


def test_a_name_that_is_cut_still_ends_as_a_name(helm_process: helm.Helm) -> None:
    objects = rendered(helm_process, {"fullnameOverride": f"{'a' * 49}---b"})
    names = {obj["metadata"]["name"] for obj in objects}
    assert "a" * 49 in names
    assert [name for name in names if len(name) > 63] == []


def test_what_is_said_of_the_pods_replaces_what_the_chart_says(helm_process: helm.Helm) -> None:
    controller = {
        "podLabels": {"sidecar.istio.io/inject": "false"},
        "podAnnotations": {"inject.istio.io/templates": "sidecar,mine"},
    }
    found = helm_process(
        "template",
        chart=str(CHART),
        name="east",
        namespace="fed",
        values={"controller": controller, "istio": {"spire": {"enabled": True}}},
    )
    text = found["federation-controller/templates/deployment.yaml"]
    assert text.count("sidecar.istio.io/inject:") == 1
    assert text.count("inject.istio.io/templates:") == 1
    (pod,) = [one["spec"]["template"]["metadata"] for one in yaml.safe_load_all(text) if one]
    assert pod["labels"]["sidecar.istio.io/inject"] == "false"
    assert pod["labels"]["app.kubernetes.io/name"] == "federation-controller"
    assert pod["annotations"]["inject.istio.io/templates"] == "sidecar,mine"


def test_flags_that_go_with_permissions_and_ports_are_not_given_twice(helm_process: helm.Helm) -> None:
    """Each flag of the controller is given by the chart, is for `extraArgs`, or is for neither."""
    (controller,) = [line for line in HELPERS.split("define ") if line.startswith('"meshfed.ownFlags"')]
    refused = set(re.findall(r"^(--[^:=]*):", controller, re.MULTILINE))
    given = {argument.partition("=")[0] for argument in (*arguments(rendered(helm_process, ALL)), *FLAGS)}
    assert refused - given == {
        *("--discovery-bind-address", "--health-probe-bind-address", "--metrics-bind-address", "--namespace"),
        *("--no-leader-elect", "--read-pods", "--probe", "--no-probe", "--service-account"),
    }
    for flag in refused:
        with pytest.raises(helm.HelmError, match=f"controller.extraArgs: {flag} is not for here"):
            rendered(helm_process, {"controller": {"extraArgs": [f"{flag}=1"]}})


def test_with_certificates_of_spire_istiods_roots_prove_nothing(helm_process: helm.Helm) -> None:
    spire = {"istio": {"spire": {"enabled": True}}}
    assert "--no-probe" in arguments(rendered(helm_process, spire))
    bundles = {"controller": {"probe": {"trustBundle": "bundles"}}}
    found = rendered(helm_process, spire | bundles)
    assert "--trust-bundle=bundles" in arguments(found)
    roles = [rule for one in found if one["kind"] == "Role" for rule in one["rules"]]
    assert [rule["resourceNames"] for rule in roles if rule["resources"] == ["configmaps"]] == [["istio"], ["bundles"]]


def test_a_text_with_a_quote_stays_one(helm_process: helm.Helm) -> None:
    labels = {"matchLabels": {"owner": "it's: {}"}}
    exported = {"rules": [{"type": "LabelSelector", "labelSelectors": [labels]}]}
    values = {"federation": example("kind")["federation"] | {"exportedServiceSet": exported}}
    assert f"--exportedServiceSet={json.dumps(exported, separators=(',', ':'), sort_keys=True)}" in arguments(
        rendered(helm_process, values)
    )


@pytest.mark.parametrize(
    ("istio", "name"),
    [
        ({}, "istio"),
        ({"revision": "default"}, "istio"),
        ({"revision": "1-31"}, "istio-1-31"),
        ({"revision": "stable", "meshConfig": "istio-1-31"}, "istio-1-31"),
    ],
)
def test_istios_configuration_is_that_of_the_revision(
    helm_process: helm.Helm, istio: dict[str, str], name: str
) -> None:
    found = rendered(helm_process, {"istio": istio | {"namespace": "mesh"}})
    rules = [rule for role in found if role["kind"] == "Role" for rule in role["rules"]]
    assert [rule["verbs"] for rule in rules if rule.get("resourceNames") == [name]] == [["get"]]
    assert [flag for flag in arguments(found) if flag.startswith("--mesh-config")] == (
        [] if name == "istio" else [f"--mesh-config={name}"]
    )


def test_proxies_of_a_revision(renderings: dict[str, list[Manifest]]) -> None:
    for case, expected in (("everything", "1-31"), ("objects", None)):
        pods = [obj["spec"]["template"]["metadata"] for obj in renderings[case] if obj["kind"] == "Deployment"]
        assert [pod["labels"].get("istio.io/rev") for pod in pods] == [expected, expected]
        assert [pod["labels"]["sidecar.istio.io/inject"] for pod in pods] == ["true", "true"]


def test_several_gateways_are_apart_and_do_not_go_at_once(helm_process: helm.Helm) -> None:
    found = rendered(helm_process, {"gateway": {"enabled": True, "network": "n", "replicas": 2}})
    selector = {"matchLabels": {"app": "federation-ingress-gateway"}}
    budget = one(found, "PodDisruptionBudget", "federation-ingress-gateway")["spec"]
    assert budget == {"minAvailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": selector}
    pod = one(found, "Deployment", "federation-ingress-gateway")["spec"]["template"]["spec"]
    (term,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"] == {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}


def test_a_mesh_may_select_its_gateway_otherwise_without_making_it_anew(helm_process: helm.Helm) -> None:
    """The selector of a Deployment cannot be changed, and its pods have whatever labels the mesh selects by."""
    selectors = []
    for selector in ({"app": "one"}, {"istio": "two", "sidecar.istio.io/inject": "true"}):
        mesh = {"spec": {"network": "n", "ingress": {"gateway": {"selector": selector}}}}
        found = rendered(helm_process, {"mesh": mesh, "gateway": {"enabled": True, "name": "edge"}})
        gateway = one(found, "Deployment", "edge")["spec"]
        labels = gateway["template"]["metadata"]["labels"]
        assert labels.items() >= {**selector, **gateway["selector"]["matchLabels"]}.items()
        assert one(found, "Service", "edge")["spec"]["selector"] == selector
        selectors.append(gateway["selector"]["matchLabels"])
    assert selectors == [{"app.kubernetes.io/name": "edge", "app.kubernetes.io/instance": "east"}] * 2


def test_no_node_waits_for_a_controller_that_is_not_ready(renderings: dict[str, list[Manifest]]) -> None:
    budget = one(renderings["defaults"], "PodDisruptionBudget")["spec"]
    assert (budget["minAvailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


def test_hooks_go_where_the_controller_may(renderings: dict[str, list[Manifest]]) -> None:
    pods = [obj["spec"]["template"]["spec"] for obj in renderings["everything"] if obj["kind"] in PODS]
    hook, controller = [pod for pod in pods if "serviceAccountName" in pod]
    for field in ("tolerations", "nodeSelector"):
        assert hook[field] == controller[field] == ALL["controller"][field]  # type: ignore[index]


def test_a_release_with_a_name_that_is_too_long_for_a_mesh(helm_process: helm.Helm) -> None:
    with pytest.raises(helm.HelmError, match=r"longer than the 34 characters .*: set mesh\.name"):
        rendered(helm_process, {}, name="e" * 35)


@pytest.mark.parametrize("case", CASES)
def test_the_notes_say_what_is_next(helm_process: helm.Helm, case: str) -> None:
    found = helm_process("template", chart=str(CHART), name="east", namespace="fed", values=CASES[case])
    notes = found["federation-controller/templates/NOTES.txt"]
    assert "the controller of mesh east" in notes
    assert ("waits for a MeshFederation named east" in notes) is (case in {"defaults", "nothing that can be left out"})
    assert ("described by flags" in notes) is ("federation" in CASES[case])
    assert "<no value>" not in notes


def test_the_charts_version_is_the_packages() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_the_table_of_values_has_them_all() -> None:
    def leaves(values: Mapping[str, Any], path: str = "") -> set[str]:
        found: set[str] = set()
        for key, value in values.items():
            here = f"{path}.{key}".lstrip(".")
            found |= leaves(value, here) if isinstance(value, dict) and value and key != "resources" else {here}
        return found

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    table = (CHART / "README.md").read_text()
    assert [leaf for leaf in sorted(leaves(values)) if f"| `{leaf}` |" not in table] == []


def test_the_chart_of_a_release_is_the_same_each_time_and_renders_the_same(
    helm_process: helm.Helm, tmp_path: Path
) -> None:
    copy = tmp_path / "chart"
    shutil.copytree(CHART, copy)
    for name in (".hidden", "templates/gateway.yaml.orig", "values.tmp"):
        (copy / name).write_text("{{ broken")
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    (tmp_path / "again").mkdir()
    packed, again = dist.pack_chart(tmp_path, 1_750_000_000), dist.pack_chart(tmp_path / "again", 1_750_000_000, copy)
    assert packed.name == again.name == f"federation-controller-{__version__}.tgz"
    assert packed.read_bytes() == again.read_bytes()
    assert rendered(helm_process, ALL, chart=packed) == rendered(helm_process, ALL)
    with tarfile.open(packed) as archive:
        names = set(archive.getnames())
    folder = {path.relative_to(CHART).as_posix() for path in CHART.rglob("*") if path.is_file()} - {".helmignore"}
    assert names == {f"federation-controller/{name}" for name in folder}
    assert "federation-controller/crds/remotemeshes.yaml" in names
