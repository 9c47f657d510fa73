"""Releases that are upgraded: Helm leaves the CRDs alone, and a hook brings them up, with no permission too many."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import helm
import pytest
import yaml

from meshfed import __version__
from meshfed.api.crds import DIGEST_ANNOTATION, VERSION_LABEL
from meshfed.controller.watches import CRDS
from meshfed.kube import Manifest
from tests.builders import SYSTEM, namespace, service
from tests.controller.test_adoption import foreign_crds
from tests.controller.test_definitions import NAMES, older, spec_of
from tests.deploy.cluster import CHART, Cluster, cluster, until
from tests.deploy.jobs import helm_with_jobs
from tests.deploy.permissions import Permission, granted, idle, refused
from tests.deploy.test_chart import rendered
from tests.deploy.test_release import written

HOOK = "federation-controller-crds"
POLICY = {"outlierDetection": {"consecutive5xxErrors": 5}}
WEST = {"network": "west-network", "addresses": ["192.0.2.20"]}
ALL = {"Gateway", "ServiceEntry", "PeerAuthentication", "AuthorizationPolicy"}
"""What is written for a mesh with an export and a remote."""
VALUES: dict[str, Any] = {
    "mesh": {
        "spec": {
            "network": "east-network",
            "ingress": {"gateway": {"selector": {"app": "federation-ingress-gateway"}}},
            "export": {"serviceSelectors": {"matchLabels": {"export-service": "true"}}},
        }
    },
    "remotes": [{"name": "west", "spec": WEST}],
}


def older_chart(folder: Path, version: str = "0.0.9") -> Path:
    """The chart as an earlier version had it: with that version's CRDs, and values that are no others."""
    shutil.copytree(CHART, folder)
    for crd in older(version):
        kind = crd["spec"]["names"]["plural"]
        (folder / "crds" / f"{kind}.yaml").write_text(yaml.safe_dump(crd))
    about = yaml.safe_load((folder / "Chart.yaml").read_text())
    (folder / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": version}))
    return folder


def described_otherwise(folder: Path) -> Path:
    """An earlier version's chart, whose CRDs have every field that there is now."""
    older_chart(folder)
    for path in (CHART / "crds").iterdir():
        crd = yaml.safe_load(path.read_text())
        crd["metadata"]["labels"][VERSION_LABEL] = "0.0.9"
        crd["metadata"]["annotations"][DIGEST_ANNOTATION] = "another"
        spec_of(crd)["description"] = "Described otherwise."
        (folder / "crds" / path.name).write_text(yaml.safe_dump(crd))
    return folder


def definitions(found: Cluster) -> dict[str, Manifest]:
    """Meshfed's CRDs in the cluster."""
    return {crd["metadata"]["name"]: crd for crd in found.all("CustomResourceDefinition") if name_of(crd) in NAMES}


def name_of(obj: Manifest) -> str:
    return str(obj["metadata"]["name"])


def west_of(found: Cluster, namespace: str = SYSTEM) -> Manifest:
    (remote,) = [one for one in found.all("RemoteMesh") if one["metadata"]["namespace"] == namespace]
    return remote


def left_of_hook(found: Cluster) -> list[Manifest]:
    return [
        one for one in found.server.snapshot() if name_of(one).endswith(("-crds", ".crds")) and one["kind"] != "Event"
    ]


def check_uses(found: Cluster, namespace: str = SYSTEM) -> None:
    """The hook asked for nothing that it was refused."""
    uses = found.uses(HOOK, namespace)
    assert uses
    assert refused(uses) == []


async def test_a_release_is_upgraded_in_place_while_its_controller_runs(
    helm_process: helm.Helm, tmp_path: Path
) -> None:
    async with cluster(tmp_path) as found:
        await found.apply(service("reviews", exported=True))
        chart = str(older_chart(tmp_path / "older"))
        assert await helm_with_jobs(helm_process, found, "install", "east", VALUES, chart=chart) == []
        # The controller is this version's, so that it waits for definitions that have all it writes.
        pod = await found.run_controller()
        await until(lambda: "is not Meshfed's (it has no spec.trafficPolicy)" in pod.log.read_text(), "no word of it")
        uids = {name: crd["metadata"]["uid"] for name, crd in definitions(found).items()}
        before = west_of(found)

        more = {**VALUES, "remotes": [{"name": "west", "spec": {**WEST, "trafficPolicy": POLICY}}]}
        with pytest.raises(helm.HelmError, match=r'unknown field "spec\.trafficPolicy"'):
            await found.helm(helm_process, "upgrade", "east", {**more, "crds": {"upgrade": False}})
        logs = await helm_with_jobs(helm_process, found, "upgrade", "east", more)
        assert logs == ["".join(f"{name}: brought from 0.0.9 to {__version__}\n" for name in NAMES)]
        assert {name: crd["metadata"]["uid"] for name, crd in definitions(found).items()} == uids
        assert left_of_hook(found) == []
        check_uses(found)
        after = west_of(found)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["spec"] == {**before["spec"], "trafficPolicy": after["spec"]["trafficPolicy"]}
        assert after["spec"]["trafficPolicy"].items() >= POLICY.items()
        await until(lambda: "Gateway" in written(found, SYSTEM), "the controller does not go on", pod)
        assert await helm_with_jobs(helm_process, found, "upgrade", "east", more) == []  # nothing to do: no Job
        # Helm 4 would put an older version's in their place.
        with pytest.raises(helm.HelmError, match="conflict occurred while applying object"):
            await found.helm(helm_process, "install", "west", {}, chart=chart)
        assert await pod.stop() == 0


async def test_two_releases_of_different_versions_live_by_one_set_of_crds(
    helm_process: helm.Helm, tmp_path: Path
) -> None:
    async with cluster(tmp_path) as found:
        await found.apply(namespace("two"))
        await found.apply(service("reviews", exported=True))
        chart = str(described_otherwise(tmp_path / "older"))
        await found.helm(helm_process, "install", "east", VALUES, chart=chart)
        pod = await found.run_controller()
        await until(lambda: set(written(found, SYSTEM)) >= ALL, f"not written: {ALL}", pod)
        first = written(found, SYSTEM)

        # The second release is upgraded, and brings them up; the first one's controller notices nothing.
        await found.helm(helm_process, "install", "west", VALUES, chart=chart, namespace="two")
        logs = await helm_with_jobs(helm_process, found, "upgrade", "west", VALUES, namespace="two")
        assert [line.partition(": ")[2] for line in logs[0].splitlines()] == [
            f"brought from 0.0.9 to {__version__}"
        ] * 3
        check_uses(found, "two")
        beside = await found.run_controller(namespace="two")
        await until(lambda: "PeerAuthentication" in written(found, "two"), "nothing is written", beside)
        assert written(found, SYSTEM) == first
        assert {one["metadata"]["namespace"] for one in found.all("RemoteMesh")} == {SYSTEM, "two"}

        # A yet newer one comes by another release: what it brought stays as this version's releases are upgraded.
        for crd in definitions(found).values():
            crd["metadata"]["labels"][VERSION_LABEL] = "10.0.0"
            crd["metadata"]["annotations"][DIGEST_ANNOTATION] = "another"
            spec_of(crd)["properties"]["more"] = {"type": "string"}
            await found.client.replace(CRDS, crd)
        before = definitions(found)
        logs = await helm_with_jobs(helm_process, found, "upgrade", "east", VALUES)
        assert [line.partition(": ")[2] for line in logs[0].splitlines()] == [
            f"of the newer version 10.0.0, which {__version__} gets along with"
        ] * 3
        assert definitions(found) == before
        assert (pod.process.returncode, beside.process.returncode) == (None, None)


async def with_foreign_crds(asked: helm.Helm, found: Cluster) -> None:
    """A release, in whose cluster somebody put other CRDs in place of Meshfed's."""
    await found.helm(asked, "install", "east", {})
    for name in NAMES:
        await found.client.delete(CRDS, name)
    for crd in foreign_crds():
        found.server.install_crd(crd)


async def test_crds_that_are_somebody_elses_are_refused_by_helm_itself(helm_process: helm.Helm, tmp_path: Path) -> None:
    async with cluster(tmp_path) as found:
        await with_foreign_crds(helm_process, found)
        before = found.server.snapshot()
        with pytest.raises(helm.HelmError) as caught:
            await found.helm(helm_process, "upgrade", "east", {"controller": {"replicas": 3}})
        said = str(caught.value)
        assert f"the CRD {min(NAMES)} in the cluster is not Meshfed's" in said
        assert "set controller.adoptReference=true" in said
        assert "crds.upgrade=false" in said
        assert found.server.snapshot() == before
        await found.helm(helm_process, "upgrade", "east", {"crds": {"upgrade": False}})
        assert len(definitions(found)) == 2


async def test_crds_of_the_reference_are_taken_over_where_that_is_asked_for(
    helm_process: helm.Helm, tmp_path: Path
) -> None:
    async with cluster(tmp_path) as found:
        await with_foreign_crds(helm_process, found)
        values = {"controller": {"adoptReference": True}}
        (log,) = await helm_with_jobs(helm_process, found, "upgrade", "east", values)
        assert log.count("replaced: it was not Meshfed's") == 2
        assert log.count(f"created, of version {__version__}") == 1
        assert left_of_hook(found) == []
        check_uses(found)
        pod = await found.run_controller()
        await until(lambda: "ready" in pod.log.read_text(), "the controller is not ready", pod)


async def test_a_hook_that_is_refused_says_why_and_the_release_is_as_before(
    helm_process: helm.Helm, tmp_path: Path
) -> None:
    async with cluster(tmp_path) as found:
        await found.helm(helm_process, "install", "east", VALUES)
        live = definitions(found)[NAMES[1]]
        spec_of(live)["properties"]["more"] = {"type": "string"}
        del spec_of(live)["properties"]["trafficPolicy"]
        marks = {"labels": {VERSION_LABEL: "10.0.0"}, "annotations": {DIGEST_ANNOTATION: "another"}}
        await found.client.replace(CRDS, {**live, "metadata": {**live["metadata"], **marks}})
        before = [one["metadata"]["resourceVersion"] for one in found.all("Deployment")]
        with pytest.raises(helm.HelmError, match="pre-upgrade hooks failed") as caught:
            await helm_with_jobs(helm_process, found, "upgrade", "east", {**VALUES, "controller": {"replicas": 3}})
        (log,) = caught.value.__notes__
        assert "nothing was changed: remotemeshes.federation.openshift-service-mesh.io is of the newer version" in log
        assert [one["metadata"]["resourceVersion"] for one in found.all("Deployment")] == before


async def test_crds_that_are_not_there_are_left_to_whoever_installs_them(
    helm_process: helm.Helm, tmp_path: Path
) -> None:
    """As after `--skip-crds`, or where GitOps applies them apart: the release brings no CRDs, and no Job."""
    async with cluster(tmp_path) as found:
        await found.helm(helm_process, "install", "east", {})
        for name in NAMES:
            await found.client.delete(CRDS, name)
        assert await helm_with_jobs(helm_process, found, "upgrade", "east", {}) == []
        assert definitions(found) == {}


@pytest.mark.parametrize("missing", NAMES)
async def test_the_hook_has_no_permission_too_many(helm_process: helm.Helm, tmp_path: Path, missing: str) -> None:
    async with cluster(tmp_path) as found:
        await found.helm(helm_process, "install", "east", {}, chart=str(older_chart(tmp_path / "older")))
        await found.client.delete(CRDS, missing)
        cells: list[Permission] = []
        await helm_with_jobs(
            helm_process, found, "upgrade", "east", {}, on_job=lambda: cells.extend(granted(found.server, SYSTEM, HOOK))
        )
        assert sorted(definitions(found)) == sorted(NAMES)
        assert len(cells) == 9
        # Only one is not there, and so is created.
        assert {(cell.verb, cell.name) for cell in idle(cells, found.uses(HOOK))} == {
            ("create", name) for name in NAMES if name != missing
        }
        check_uses(found)


def test_where_the_cluster_cannot_be_asked_there_is_no_hook(helm_process: helm.Helm) -> None:
    assert "Job" not in {one["kind"] for one in rendered(helm_process, {"uninstall": {"enabled": False}})}
