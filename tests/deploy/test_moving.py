"""A release of the reference, upgraded to this chart: what Helm keeps, and what the controller takes over with RBAC."""

from __future__ import annotations

from pathlib import Path

import helm
import msgspec
import pytest
import yaml

from meshfed.api.crds import all_crds
from meshfed.kube import Manifest
from tests.builders import RESOURCES, SYSTEM, service
from tests.controller.test_adoption import foreign_crds
from tests.deploy.cluster import Cluster, cluster, until
from tests.deploy.jobs import helm_with_jobs
from tests.deploy.permissions import granted, idle, refused
from tests.deploy.test_chart import example
from tests.deploy.test_release import written
from tests.reference_objects import PEER, RECORD, Peer, ReferenceMesh, Service

NAME = "federation-controller"
SELECTOR = {"app": NAME, "app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": "east"}
ACCOUNT = {"kind": "ServiceAccount", "name": NAME, "namespace": SYSTEM}
ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME}
CONTAINER = {"name": NAME, "image": "reference"}
OWN = {crd["metadata"]["name"] for crd in all_crds()}


def _object(api_version: str, kind: str, name: str, **fields: object) -> Manifest:
    labels = {**SELECTOR, "app.kubernetes.io/managed-by": "Helm"}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": labels}, **fields}


def reference_chart(folder: Path) -> Path:
    """A chart with the objects that the reference's makes, under their names and with their selectors."""
    pod = {"metadata": {"labels": SELECTOR}, "spec": {"serviceAccountName": NAME, "containers": [CONTAINER]}}
    rbac = "rbac.authorization.k8s.io/v1"
    objects = [
        _object("v1", "ServiceAccount", NAME),
        _object(rbac, "ClusterRole", NAME, rules=[{"apiGroups": [""], "resources": ["services"], "verbs": ["list"]}]),
        _object(rbac, "ClusterRoleBinding", NAME, roleRef=ROLE, subjects=[ACCOUNT]),
        _object("apps/v1", "Deployment", NAME, spec={"selector": {"matchLabels": SELECTOR}, "template": pod}),
        _object(
            "v1",
            "Service",
            "federation-discovery-service-east",
            spec={"selector": SELECTOR, "ports": [{"name": "grpc-fds", "port": 15080}]},
        ),
    ]
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": NAME, "version": "0.0.1"}))
    (folder / "templates" / "all.yaml").write_text(yaml.safe_dump_all(objects))
    return folder


@pytest.mark.parametrize("by", ["the hook", "the controller"])
async def test_a_release_of_the_reference_is_upgraded_to_this_chart(
    helm_process: helm.Helm, tmp_path: Path, by: str
) -> None:
    reviews, ratings = Service("reviews"), Service("ratings")
    peer = Peer("west", ("192.0.2.20",), "west-network", offers=(ratings,))
    left = ReferenceMesh("east", (peer,), exports=(reviews,)).objects()
    async with cluster(tmp_path, crds=foreign_crds(), service_exports=True) as found:
        await found.helm(helm_process, "install", "east", {}, chart=str(reference_chart(tmp_path / "reference")))
        await found.apply(service("reviews", exported=True), RECORD)
        for one in left:
            version = one["apiVersion"].rpartition("/")[2]
            await found.client.create(msgspec.structs.replace(RESOURCES[one["kind"]], version=version), one)
        values = example("kind") | {"controller": {"adoptReference": True}, "crds": {"upgrade": by == "the hook"}}

        await found.delete("Deployment", NAME)
        logs = await helm_with_jobs(helm_process, found, "upgrade", "east", values)
        assert len(logs) == (by == "the hook")
        names = {(one["kind"], one["metadata"]["name"]) for one in found.server.snapshot("clusterroles", "deployments")}
        assert ("Deployment", NAME) in names
        assert ("ClusterRole", NAME) not in names

        pod = await found.run_controller()
        kept = {"import-ratings-default-svc-cluster-local-west"}  # west is not heard, since there are no proxies
        await until(
            lambda: (
                {one["metadata"]["name"] for one in theirs(found.all("Gateway"), found.all("ServiceEntry"))} == kept
                and found.all("FederatedService") == []
            ),
            "the reference's objects are not taken over",
            pod,
        )
        assert "Gateway" in written(found, SYSTEM)
        assert definitions(found) >= OWN
        await pod.stop()

        # A reference that brought no definitions, or whose definitions went with it.
        cells = granted(found.server, SYSTEM, NAME)
        for name in OWN:
            await found.client.delete(RESOURCES["CustomResourceDefinition"], name)
        pod = await found.run_controller()
        await until(lambda: definitions(found) >= OWN, "there are no definitions", pod)
        await pod.stop()

        await found.helm(helm_process, "upgrade", "east", example("kind") | {"controller": {"replicas": 1}})
        otherwise = granted(found.server, SYSTEM, NAME)
        uses = found.uses(NAME)
        assert len(cells) > len(otherwise)
        assert [cell for cell in idle(cells, uses) if cell not in otherwise] == []
        assert refused(uses) == []


def definitions(found: Cluster) -> set[str]:
    return {one["metadata"]["name"] for one in found.all("CustomResourceDefinition")}


def theirs(*kinds: list[Manifest]) -> list[Manifest]:
    """What still carries the reference's label."""
    return [
        one for objects in kinds for one in objects if PEER.items() <= (one["metadata"].get("labels") or {}).items()
    ]
