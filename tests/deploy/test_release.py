"""Releases at work: installed by Helm into a cluster with RBAC, run from what was rendered, upgraded and uninstalled.

What the controller may do is held from both sides: whatever it asks for it is allowed, and without any one of the
permissions that it has, something that it did would have been refused.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import helm
import pytest

from meshfed.kube import Manifest
from meshfed.sandbox.apiserver.access import Use
from meshfed.sandbox.apiserver.rbac import Attributes, permits
from meshfed.sandbox.ports import free_port
from tests.controller.meshes import GROUP
from tests.deploy.cluster import PATIENCE, RESOURCES, SYSTEM, Cluster, Pod, cluster, until
from tests.deploy.test_chart import example

JSONObject = dict[str, Any]
NAMESPACE = "fed"
ACCOUNT = "federation-controller"
WRITTEN = (
    *("Gateway", "ServiceEntry", "WorkloadEntry", "DestinationRule", "EnvoyFilter", "Route"),
    *("PeerAuthentication", "AuthorizationPolicy", "FederatedService"),
)
LEFT: dict[str, Manifest] = {
    "DestinationRule": {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {},
        "spec": {"host": "left.over"},
    },
    "EnvoyFilter": {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": {}, "spec": {}},
}
"""What is left of a kind that is not written now."""
DRIFT: dict[str, JSONObject] = {
    "Gateway": {"selector": {"drift": "x"}},
    "ServiceEntry": {"location": "MESH_EXTERNAL"},
    "WorkloadEntry": {"labels": {"drift": "x"}},
    "DestinationRule": {"host": "drift.example"},
    "EnvoyFilter": {"workloadSelector": {"labels": {"drift": "x"}}},
    "Route": {"host": "drift.example", "to": {"name": "drift"}},
    "PeerAuthentication": {"mtls": {"mode": "PERMISSIVE"}},
    "AuthorizationPolicy": {"action": "DENY"},
    "FederatedService": {"labels": {"drift": "x"}},
}
"""What somebody changes in each kind."""
UNSEEN = {
    # Where an Event comes again, and where it is there already from before a restart: whether that happens here is a
    # matter of time. tests/kube/test_events.py has both.
    ("events", "patch"),
    ("events", "get"),
}
"""What is needed, and not used in these runs."""
UNHEARD = {("federatedservices", "create")}
"""The same, where no remote is heard, since there are no proxies to reach it through."""
EXPORTED_BY_ITS_OWNER: Manifest = {
    "apiVersion": "multicluster.x-k8s.io/v1alpha1",
    "kind": "ServiceExport",
    "metadata": {"name": "details", "namespace": "default"},
}
OFFERS = """
- host: details.default.svc.cluster.local
  ports: [{name: http, number: 9080, protocol: HTTP}]
- host: ratings.default.svc.cluster.local
  ports: [{name: http, number: 9080, protocol: HTTP}]
"""


def service(name: str, *, exported: bool = False) -> Manifest:
    labels = {"app": name} | ({"export-service": "true"} if exported else {})
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"ports": [{"name": "http", "port": 9080}], "selector": {"app": name}},
    }


def ours(kind: str, name: str, spec: Mapping[str, Any], namespace: str = NAMESPACE) -> Manifest:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": f"{GROUP}/v1alpha1", "kind": kind, "metadata": meta, "spec": dict(spec)}


def remembered(host: str) -> Manifest:
    """What an earlier process heard west offer."""
    spec = {"remote": "west", "host": host, "ports": [{"name": "http", "number": 9080, "protocol": "HTTP"}]}
    record = ours("FederatedService", f"{host}.west", spec)
    labels = {
        "app.kubernetes.io/managed-by": "meshfed",
        f"{GROUP}/owner-namespace": NAMESPACE,
        f"{GROUP}/remote": "west",
    }
    return record | {"metadata": record["metadata"] | {"labels": labels}}


@asynccontextmanager
async def offering(directory: Path) -> AsyncIterator[int]:
    """A discovery server that offers details and ratings; its port."""
    file, port = directory / "offers.yaml", free_port()
    file.write_text(OFFERS)
    command = ["-m", "meshfed", "fds", "serve", "-f", str(file), f"--port={port}"]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        await process.wait()


def written(found: Cluster, namespace: str = NAMESPACE) -> dict[str, list[Manifest]]:
    """What the controller of the installation in ``namespace`` wrote, by kind."""
    objects = {kind: [one for one in found.all(kind) if managed(one, namespace)] for kind in kinds(found)}
    return {kind: ones for kind, ones in objects.items() if ones}


def kinds(found: Cluster) -> list[str]:
    """What the controller may write here."""
    return [kind for kind in WRITTEN if kind != "Route" or found.openshift]


def managed(obj: Manifest, namespace: str) -> bool:
    return bool((obj["metadata"].get("labels") or {}).get(f"{GROUP}/owner-namespace") == namespace)


async def disturb(found: Cluster, pod: Pod) -> None:
    """Get in the controller's way, so that it has to do with each kind all that it ever does.

    Each object is changed, and the first attempt to put one right is refused as outdated, so that it has to be read.
    And of each kind there is one that an earlier process seems to have left, and nothing wants.
    """
    whole = written(found)
    labels = whole["Gateway"][0]["metadata"]["labels"]
    for kind in set(kinds(found)) - {"FederatedService"}:
        example = whole[kind][0] if kind in whole else LEFT[kind]
        meta = {"name": "left-over", "namespace": example["metadata"].get("namespace", SYSTEM), "labels": labels}
        await found.apply({**example, "metadata": meta})
    for kind, objects in whole.items():
        resource = RESOURCES[kind]
        found.server.fail(verb="update", resource=f"{resource.plural}.{resource.group}", status=409)
        for obj in objects:
            meta = obj["metadata"]
            await found.client.patch(resource, meta["name"], {"spec": DRIFT[kind]}, namespace=meta["namespace"])
    before = specs(whole)

    def put_right() -> bool:
        now = specs(written(found))
        return before.items() <= now.items() and "left-over" not in {name for _, name in now}

    await until(put_right, "what was disturbed is not put right", pod)


def specs(objects: Mapping[str, list[Manifest]]) -> dict[tuple[str, str], Any]:
    return {(kind, obj["metadata"]["name"]): obj["spec"] for kind, ones in objects.items() for obj in ones}


# --- permissions


class Permission(NamedTuple):
    """One cell of a rule, and the namespace that its binding is in; none for the whole cluster."""

    namespace: str
    group: str
    resource: str
    verb: str
    name: str = ""

    def allows(self, asked: Attributes) -> bool:
        names = {"resourceNames": [self.name]} if self.name else {}
        rule = {"apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb]} | names
        return self.namespace in {"", asked.namespace} and permits(rule, asked)


def granted(found: Cluster, account: str) -> list[Permission]:
    """What the roles grant the account now, cell by cell."""
    return list(_granted(found, account))


def _granted(found: Cluster, account: str) -> Iterator[Permission]:
    roles = {
        (role["kind"], role["metadata"].get("namespace", ""), role["metadata"]["name"]): role["rules"]
        for role in found.server.snapshot("clusterroles", "roles")
    }
    for binding in found.server.snapshot("clusterrolebindings", "rolebindings"):
        if not any(
            subject["kind"] == "ServiceAccount" and subject["name"] == account for subject in binding["subjects"]
        ):
            continue
        namespace = binding["metadata"].get("namespace", "")
        reference = binding["roleRef"]
        for rule in roles[reference["kind"], namespace if reference["kind"] == "Role" else "", reference["name"]]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        for name in rule.get("resourceNames", [""]):
                            yield Permission(namespace, group, resource, verb, name)


def check_permissions(
    found: Cluster, account: str, cells: list[Permission], *, exactly: bool = True, heard: bool = True
) -> None:
    """Everything that was asked for is granted by ``cells``, and, ``exactly``, everything granted was needed."""
    unseen = UNSEEN if heard else UNSEEN | UNHEARD
    uses = [use for use in found.uses(account, NAMESPACE) if not use.asked.path]
    assert [use.asked for use in uses if not use.allowed] == []
    if not exactly:
        return
    unneeded = [
        cell
        for cell in cells
        if (cell.resource, cell.verb) not in unseen
        and not any(cell.allows(use.asked) and not allowed_without(cell, cells, use) for use in uses)
    ]
    assert unneeded == [], "permissions that nothing asks for"


def allowed_without(cell: Permission, cells: list[Permission], use: Use) -> bool:
    return any(other.allows(use.asked) for other in cells if other is not cell)


def test_a_permission_that_is_missing_or_idle_would_be_found() -> None:
    asked = Attributes(verb="get", resource="pods", namespace="a", name="x")
    assert Permission("", "", "pods", "get").allows(asked)
    assert Permission("a", "", "pods", "get", "x").allows(asked)
    for other in (
        Permission("b", "", "pods", "get"),
        Permission("a", "", "pods", "list"),
        Permission("a", "", "pods/status", "get"),
        Permission("a", "apps", "pods", "get"),
        Permission("a", "", "pods", "get", "y"),
    ):
        assert not other.allows(asked)


# --- releases


@asynccontextmanager
async def prepared(directory: Path, *, openshift: bool = False) -> AsyncIterator[Cluster]:
    """A cluster where the controller's namespace is not istiod's, with Services, one of them exported."""
    async with cluster(directory, openshift=openshift, service_exports=True) as found:
        await found.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            service("reviews", exported=True),
            service("details"),
        )
        yield found


def described(port: int, *, openshift: bool) -> list[Manifest]:
    """Mesh east and its remote west, whose discovery is at ``port``."""
    router = {"type": "openshift-router"} if openshift else {}
    west = {
        "network": "west-network",
        "addresses": ["192.0.2.20"],
        "discovery": {"address": f"127.0.0.1:{port}"},
        "trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 5}},
        "import": {"merge": True},
    }
    east = {
        "network": "east-network",
        "ingress": {"gateway": {"selector": {"app": "federation-ingress-gateway"}}} | router,
        "export": {"serviceExports": True, "serviceSelectors": {"matchLabels": {"export-service": "true"}}},
    }
    return [ours("MeshFederation", "east", east), ours("RemoteMesh", "west", west)]


def renewed(found: Cluster) -> bool:
    return any((use.asked.resource, use.asked.verb) == ("leases", "update") for use in found.uses(ACCOUNT, NAMESPACE))


async def federates(found: Cluster, pod: Pod) -> None:
    """Wait until everything is written that can be."""
    expected = set(WRITTEN) - (set() if found.openshift else {"EnvoyFilter", "Route"})
    await until(lambda: set(written(found)) == expected, f"not written: {expected}", pod)


async def test_a_mesh_that_objects_describe(helm_process: helm.Helm, tmp_path: Path) -> None:
    async with offering(tmp_path) as port, prepared(tmp_path) as found:
        await found.helm(helm_process, "install", "east", {}, namespace=NAMESPACE)
        cells = granted(found, ACCOUNT)
        pod = await found.run_controller(namespace=NAMESPACE)
        await found.apply(*described(port, openshift=False), EXPORTED_BY_ITS_OWNER)
        await federates(found, pod)
        await disturb(found, pod)
        await uninstalled(helm_process, found, exactly=False)
        await pod.stop()
        check_permissions(found, ACCOUNT, cells)


async def test_a_mesh_on_openshift_whose_controller_is_gone_when_it_is_uninstalled(
    helm_process: helm.Helm, tmp_path: Path
) -> None:
    async with offering(tmp_path) as port, prepared(tmp_path, openshift=True) as found:
        mesh, remote = described(port, openshift=True)
        values = {"mesh": {"spec": mesh["spec"]}, "remotes": [{"name": "west", "spec": remote["spec"]}]}
        await found.helm(helm_process, "install", "east", values, namespace=NAMESPACE)
        cells = granted(found, ACCOUNT)
        pod = await found.run_controller(namespace=NAMESPACE)
        await found.apply(EXPORTED_BY_ITS_OWNER)
        await federates(found, pod)
        await disturb(found, pod)
        await found.helm(helm_process, "upgrade", "east", {"mesh": {"name": "east"}}, namespace=NAMESPACE)
        await until(lambda: written(found) == {}, "something is left of a mesh that is no longer described", pod)
        await until(lambda: renewed(found), "the leader renews its Lease", pod)
        check_permissions(found, ACCOUNT, cells)
        await found.helm(helm_process, "upgrade", "east", values, namespace=NAMESPACE)
        await federates(found, pod)
        await pod.kill()
        await uninstalled(helm_process, found, exactly=True)


@pytest.mark.parametrize("case", ["kind", "openshift"])
async def test_a_mesh_that_flags_describe(helm_process: helm.Helm, tmp_path: Path, case: str) -> None:
    openshift = case == "openshift"
    async with prepared(tmp_path, openshift=openshift) as found:
        values = example(case)
        values["federation"]["meshPeers"]["remotes"][0]["addresses"] = ["192.0.2.20"]
        await found.helm(helm_process, "install", "east", values, namespace=NAMESPACE)
        cells = granted(found, ACCOUNT)
        # Discovery through the ingress needs proxies, which are not here; what is remembered is imported without.
        await found.apply(*map(remembered, ("details.default.svc.cluster.local", "ratings.default.svc.cluster.local")))
        pod = await found.run_controller(namespace=NAMESPACE)
        expected = set(WRITTEN) - (set() if openshift else {"EnvoyFilter", "Route", "DestinationRule"})
        await until(lambda: set(written(found)) == expected, f"not written: {expected}", pod)
        await disturb(found, pod)
        await until(lambda: renewed(found), "the leader renews its Lease", pod)
        await pod.stop()
        alone = {"federation": {"meshPeers": {"local": values["federation"]["meshPeers"]["local"], "remotes": []}}}
        await found.helm(helm_process, "upgrade", "east", alone, namespace=NAMESPACE)
        pod = await found.run_controller(namespace=NAMESPACE)
        await until(lambda: "FederatedService" not in written(found), "what a remote offered stays without it", pod)
        await pod.stop()
        await uninstalled(helm_process, found, exactly=False)
        check_permissions(found, ACCOUNT, cells, heard=False)


async def uninstalled(asked: helm.Helm, found: Cluster, *, exactly: bool) -> None:
    """Uninstall the release, with the hook's Job run as a kubelet and the Job's controller would."""
    uninstalling = asyncio.create_task(found.helm(asked, "uninstall", "east", {}, namespace=NAMESPACE))
    await until(lambda: uninstalling.done() or bool(found.all("Job")), "Helm makes no Job when it uninstalls")
    (job,) = found.all("Job")
    account = job["spec"]["template"]["spec"]["serviceAccountName"]
    cells = granted(found, account)
    pod = await found.run(job["spec"]["template"], namespace=NAMESPACE)
    async with asyncio.timeout(PATIENCE):
        code = await pod.process.wait()
    await complete(found, job)
    await uninstalling
    assert code == 0, pod.log.read_text()
    assert written(found) == {}
    assert found.all("MeshFederation") == found.all("RemoteMesh") == []
    check_permissions(found, account, cells, exactly=exactly)
    left = [obj for obj in found.server.snapshot() if obj["metadata"].get("labels", {}).get("helm.sh/chart")]
    assert left == []


async def complete(found: Cluster, job: Manifest) -> None:
    """Say of a Job that it is done."""
    now = "2026-01-31T03:12:45Z"
    done = {"succeeded": 1, "startTime": now, "completionTime": now}
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("SuccessCriteriaMet", "Complete")
    ]
    status = {"status": done | {"conditions": conditions}}
    meta = job["metadata"]
    await found.client.patch(RESOURCES["Job"], meta["name"], status, namespace=meta["namespace"], subresource="status")
