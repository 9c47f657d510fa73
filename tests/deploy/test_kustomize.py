"""The kustomize base in other namespaces than the one it is written for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from meshfed.kube import Manifest
from meshfed_sandbox.kubectl import kubectl_path
from tests.builders import SYSTEM, mesh_federation, namespace, service
from tests.deploy.cluster import ROOT, Cluster, cluster, until
from tests.deploy.permissions import refused
from tests.deploy.test_release import written
from tests.pages import blocks

OPS = "mesh-ops"
NAME = "federation-controller"
OWN = {"Role", "RoleBinding", "ServiceAccount", "Service", "Deployment", "PodDisruptionBudget"}


def kustomized(folder: Path, base: Path, **more: Any) -> list[Manifest]:
    """What an overlay in ``folder`` makes of ``base``."""
    (folder / "base").symlink_to(base)
    overlay = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["base"], **more}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    text = output(kubectl_path(), "kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder))
    return list(yaml.safe_load_all(text))


def output(*command: str, stdin: str = "") -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def applied(found: Cluster, objects: list[Manifest], directory: Path) -> None:
    """Apply as the page says."""
    kubectl = [kubectl_path(), f"--kubeconfig={found.kubeconfig}", f"--cache-dir={directory}"]
    await asyncio.to_thread(output, *kubectl, "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))


async def federates(found: Cluster, control_plane: str) -> None:
    """The controller in ``mesh-ops`` writes what it should, where it should, and is refused nothing."""
    mesh = mesh_federation("mesh", controlPlaneNamespace=control_plane)
    mesh["metadata"]["namespace"] = OPS
    await found.apply(service("reviews", exported=True), mesh)
    pod = await found.run_controller(namespace=OPS)
    everything = {"Gateway", "PeerAuthentication", "AuthorizationPolicy"}
    await until(lambda: set(written(found, OPS)) >= everything, f"not written: {everything}", pod)
    assert {one["metadata"]["namespace"] for one in written(found, OPS)["Gateway"]} == {control_plane}
    assert {one["metadata"]["namespace"] for one in found.all("Lease")} == {OPS}
    assert refused(found.uses(NAME, OPS)) == []


def test_what_the_page_has_patched_for_other_ports(tmp_path: Path) -> None:
    (text,) = [
        text for _, kind, text in blocks(ROOT / "docs" / "install.md") if kind == "yaml" and "op: replace" in text
    ]
    patches = yaml.safe_load(text)["patches"]
    objects = kustomized(tmp_path, ROOT / "deploy" / "kustomize", patches=patches)
    (controller,) = [one for one in objects if one["kind"] == "Deployment"]
    annotations = controller["spec"]["template"]["metadata"]["annotations"]
    assert annotations["traffic.sidecar.istio.io/excludeOutboundPorts"] == "15443,443"


async def test_where_istiod_is_in_that_namespace_too_an_overlay_says_so_in_a_line(tmp_path: Path) -> None:
    objects = kustomized(tmp_path, ROOT / "deploy" / "kustomize", namespace=OPS)
    assert {obj["metadata"]["namespace"] for obj in objects if obj["kind"] in OWN} == {OPS}
    subjects = [subject["namespace"] for obj in objects for subject in obj.get("subjects", ())]
    assert subjects == [OPS] * 3
    assert SYSTEM not in {obj["metadata"].get("namespace") for obj in objects}
    async with cluster(tmp_path) as found:
        await found.apply(namespace(OPS))
        await applied(found, objects, tmp_path)
        await federates(found, OPS)


async def test_where_istiod_is_elsewhere_the_base_is_printed(tmp_path: Path) -> None:
    printed = output(sys.executable, "-m", "meshfed", "manifests", "--mesh=mesh", f"--namespace={OPS}")
    base = tmp_path / "printed"
    base.mkdir()
    (base / "controller.yaml").write_text(printed)
    (base / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["controller.yaml"]}))
    image = {"name": "meshfed", "newName": "registry.example.com/meshfed"}
    objects = kustomized(tmp_path, base, images=[image])
    places = {(obj["kind"], obj["metadata"]["namespace"]) for obj in objects if "namespace" in obj["metadata"]}
    assert places == {(kind, OPS) for kind in OWN} | {("Role", SYSTEM), ("RoleBinding", SYSTEM)}
    async with cluster(tmp_path) as found:
        await found.apply(namespace(OPS))
        await applied(found, objects, tmp_path)
        await federates(found, SYSTEM)
