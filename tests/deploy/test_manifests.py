"""`meshfed manifests` and the kustomize base: what the chart renders by default, without Helm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import helm
import pytest
import render_manifests
import yaml

from meshfed import __version__
from meshfed.cli.app import run
from meshfed.cli.manifests import TEMPLATE, controller_yaml
from meshfed.kube import Manifest
from meshfed_sandbox.kubectl import kubectl_path
from tests.deploy.cluster import CHART, ROOT

JSONObject = dict[str, Any]


def by_name(objects: list[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    found = {(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]): obj for obj in objects}
    assert len(found) == len(objects)
    return found


def kustomized(folder: Path) -> dict[tuple[str, str, str], Manifest]:
    command = [kubectl_path(), "kustomize", str(folder)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return by_name(list(yaml.safe_load_all(text)))


def accounts(objects: dict[tuple[str, str, str], Manifest]) -> set[str]:
    """The service accounts that are made, run as, and given roles."""
    found = {name for kind, _, name in objects if kind == "ServiceAccount"}
    for (kind, _, _), obj in objects.items():
        if kind == "Deployment":
            found.add(obj["spec"]["template"]["spec"]["serviceAccountName"])
        elif kind.endswith("Binding"):
            found.update(subject["name"] for subject in obj["subjects"])
    return found


def crds() -> dict[tuple[str, str, str], Manifest]:
    return by_name([yaml.safe_load(path.read_text()) for path in sorted((CHART / "crds").glob("*.yaml"))])


def test_the_template_is_what_the_chart_renders(helm_process: helm.Helm) -> None:
    assert TEMPLATE.read_text() == render_manifests.rendered(helm_process), (
        "run .venv/bin/python tools/render_manifests.py"
    )


def test_each_object_is_the_charts(helm_process: helm.Helm) -> None:
    rendered = helm_process("template", chart=str(CHART), name="east", namespace="fed", values={})
    printed = yaml.safe_load_all(controller_yaml("east", "fed", "istio-system", f"meshfed:{__version__}"))
    assert by_name(list(printed)) == by_name(list(render_manifests.objects(rendered)))


def test_what_is_printed_is_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["manifests", "--mesh", "east", "-n", "fed", "--image", "registry.example.com/meshfed:1"]
    assert run(command) == 0
    objects = by_name(list(yaml.safe_load_all(capsys.readouterr().out)))
    assert crds().items() <= objects.items()
    assert ("Service", "fed", "federation-discovery-service-east") in objects
    assert ("Role", "istio-system", "federation-controller-fed") in objects
    (container,) = objects["Deployment", "fed", "federation-controller"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/meshfed:1"
    assert accounts(objects) == {"federation-controller"}
    assert run([*command, "--service-account", "federation-controller-east", "--no-crds"]) == 0
    printed = capsys.readouterr().out
    assert accounts(by_name(list(yaml.safe_load_all(printed)))) == {"federation-controller-east"}
    assert run([*command, "--no-crds"]) == 0
    printed = capsys.readouterr().out
    assert by_name(list(yaml.safe_load_all(printed))).keys() == objects.keys() - crds().keys()
    assert "the-" not in printed


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--mesh", "East"], "--mesh: 'East' is no DNS label"),
        (["--mesh", "e" * 35], "longer than the 34 characters"),
        (["--mesh", "east", "--service-account", "East"], "--service-account: 'East' is no name of a service account"),
        (["--mesh", "east", "-n", "a.b"], "--namespace: 'a.b' is no DNS label"),
    ],
)
def test_names_that_cannot_be(capsys: pytest.CaptureFixture[str], flags: list[str], said: str) -> None:
    assert run(["manifests", *flags]) == 2
    assert said in capsys.readouterr().err


def test_the_kustomize_base_is_the_same() -> None:
    text = controller_yaml("mesh", "istio-system", "istio-system", f"meshfed:{__version__}")
    assert kustomized(ROOT / "deploy" / "kustomize") == crds() | by_name(list(yaml.safe_load_all(text)))


def test_the_example_overlay_names_the_mesh() -> None:
    objects = kustomized(ROOT / "deploy" / "examples" / "kustomize")
    assert [name for kind, _, name in objects if kind == "Service"] == ["federation-discovery-service-east"]
    assert accounts(objects) == {"federation-controller-east"}
    (container,) = objects["Deployment", "istio-system", "federation-controller"]["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["image"] == f"registry.example.com/meshfed:{__version__}"


def test_the_charts_crds_are_the_projects() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "meshfed", "crds"], capture_output=True, text=True, check=True
    ).stdout
    assert crds() == by_name(list(yaml.safe_load_all(printed)))
