"""Releases at work: installed by Helm into a cluster with RBAC, run from what was rendered, upgraded and uninstalled.

What the controller may do is held from both sides: whatever it asks for it is allowed, and without any one of the
permissions that it has, something that it did would have been refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import helm
import pytest

from meshfed.api.v1alpha1 import FINALIZER
from meshfed.kube import Manifest
from meshfed.model.meshes import FDS_PORT
from meshfed.model.reasons import EventReason
from meshfed_sandbox.apiserver.access import Use
from meshfed_sandbox.apiserver.rbac import Attributes
from meshfed_sandbox.dataplane import processes
from meshfed_sandbox.ports import Ports
from tests.builders import (
    EXPORTED,
    GATEWAY,
    GROUP,
    RESOURCES,
    SYSTEM,
    mesh_federation,
    namespace,
    remote_mesh,
    service,
    service_export,
)
from tests.deploy.cluster import Cluster, Pod, cluster, until
from tests.deploy.jobs import helm_with_jobs, nothing
from tests.deploy.permissions import Permission, granted, idle, refused
from tests.deploy.test_chart import example
from tests.forked import forked

pytestmark = pytest.mark.timeout(300)  # half a minute's work, on a machine that may do much else

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
EXPORTED_BY_ITS_OWNER = service_export("details")
OFFERS = """
- host: details.default.svc.cluster.local
  ports: [{name: http, number: 9080, protocol: HTTP}]
  identities: [spiffe://cluster.local/ns/default/sa/details]
- host: ratings.default.svc.cluster.local
  ports: [{name: http, number: 9080, protocol: HTTP}]
  identities: [spiffe://cluster.local/ns/default/sa/ratings]
"""


@asynccontextmanager
async def offering(directory: Path) -> AsyncIterator[str]:
    """A discovery server that offers details and ratings, on the usual port; its address.

    That is the only address west has, so a controller finds it with no proxy between.
    """
    file = directory / "offers.yaml"
    file.write_text(OFFERS)
    with Ports() as ports:
        address = take_address(ports, FDS_PORT)
        command = ["fds", "serve", "-f", str(file), f"--host={address}", f"--port={FDS_PORT}"]
        with forked(), (directory / "offers.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "meshfed", *command), stdout=log, stderr=log
            )
        try:
            yield address
        finally:
            await processes.end(process)


def take_address(ports: Ports, port: int) -> str:
    """An address of the loopback where nobody has ``port``."""
    while True:
        address = f"127.{random.randint(1, 246)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        with contextlib.suppress(OSError):
            ports.take(address, port)
            return address


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
    await leave(found, whole, [kind for kind in kinds(found) if kind != "FederatedService"])
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


async def leave(found: Cluster, whole: Mapping[str, list[Manifest]], left: Sequence[str]) -> None:
    """Put an object of each kind there that an earlier process seems to have left."""
    labels = whole["Gateway"][0]["metadata"]["labels"]
    for kind in left:
        example = whole[kind][0] if kind in whole else LEFT[kind]
        meta = {"name": "left-over", "namespace": example["metadata"].get("namespace", SYSTEM), "labels": labels}
        await found.apply({**example, "metadata": meta})


def specs(objects: Mapping[str, list[Manifest]]) -> dict[tuple[str, str], Any]:
    return {(kind, obj["metadata"]["name"]): obj["spec"] for kind, ones in objects.items() for obj in ones}


# --- permissions


async def check_permissions(found: Cluster, cells: list[Permission], pod: Pod) -> None:
    """Everything that was asked for is allowed, and without any of ``cells`` something had not been.

    What ``pod`` has not asked for yet, it may ask for still, such as the renewal of its Lease.
    """
    with contextlib.suppress(AssertionError):
        await until(lambda: pod.process.returncode is not None or not idle(cells, pod.uses()), "late", pod)
    assert refused(pod.uses()) == []
    assert idle(cells, pod.uses()) == [], "permissions that nothing asks for"


def test_a_permission_that_is_missing_or_idle_would_be_found() -> None:
    asked = Attributes(verb="get", resource="pods", namespace="a", name="x")
    needed = [Permission("", "", "pods", "get"), Permission("a", "", "pods", "get", "x")]
    others = [
        Permission("b", "", "pods", "get"),
        Permission("a", "", "pods", "list"),
        Permission("a", "", "pods/status", "get"),
        Permission("a", "apps", "pods", "get"),
        Permission("a", "", "pods", "get", "y"),
    ]
    uses = [Use(user="u", asked=asked, allowed=True)]
    for cell in needed:
        assert idle([cell, *others], uses) == others
    assert idle(needed, uses) == needed, "each would do without the other"
    assert refused([*uses, Use(user="u", asked=asked, allowed=False)]) == [asked]


# --- releases


@asynccontextmanager
async def prepared(directory: Path, *, openshift: bool = False) -> AsyncIterator[Cluster]:
    """A cluster where the controller's namespace is not istiod's, with Services, one of them exported."""
    async with cluster(directory, openshift=openshift, service_exports=True) as found:
        await found.apply(
            namespace(NAMESPACE),
            service("reviews", exported=True),
            service("details"),
            service("page"),
        )
        yield found


def described(address: str, *, openshift: bool) -> list[Manifest]:
    """Mesh east and its remote west, which is at ``address``."""
    router = {"type": "openshift-router"} if openshift else {}
    outliers = {"outlierDetection": {"consecutive5xxErrors": 5}}
    return [
        mesh_federation(
            "east",
            namespace=NAMESPACE,
            ingress={"gateway": {"selector": GATEWAY}} | router,
            export={
                "serviceExports": True,
                "serviceSelectors": {"matchLabels": EXPORTED},
                "rules": [{"action": "Export", "names": ["reviews"], "ports": ["http"]}, {"action": "Export"}],
            },
        ),
        remote_mesh("west", namespace=NAMESPACE, addresses=[address], trafficPolicy=outliers, import_={"merge": True}),
    ]


def values_of(mesh: Manifest, remote: Manifest) -> JSONObject:
    """The chart's values that make the two objects."""
    return {"mesh": {"spec": mesh["spec"]}, "remotes": [{"name": "west", "spec": remote["spec"]}]}


async def exercise(found: Cluster, expected: set[str]) -> Pod:
    """Have the controller do all that it ever does, in two processes; the second one, which runs.

    ``expected``: the kinds that are written.
    """
    what = f"not written: {expected}"
    first = await found.run_controller(namespace=NAMESPACE)
    await until(lambda: set(written(found)) == expected, what, first)
    for exported in (True, False, True):  # the second Event of a kind counts up in the first
        await turn(found, first, exported=exported)
    await first.stop()
    second = await found.run_controller(namespace=NAMESPACE)
    await until(lambda: set(written(found)) == expected, what, second)
    await disturb(found, second)
    await turn(found, second, exported=False)  # and in that of an earlier process, which has to be read
    return second


async def turn(found: Cluster, pod: Pod, *, exported: bool) -> None:
    """Begin or end an export, and wait until an Event says so, once more."""

    def told() -> int:
        events = found.server.snapshot("events")
        counts = [one["count"] for one in events if (one["involvedObject"]["name"], one["reason"]) == ("page", reason)]
        return sum(counts)

    reason = EventReason.EXPORTED if exported else EventReason.UNEXPORTED
    before = told()
    await found.apply(service("page", exported=exported))
    await until(lambda: told() == before + 1, f"no Event says that page is {reason}", pod)


def described_by(found: Cluster) -> list[JSONObject]:
    """The objects that describe the mesh, those that are being deleted among them."""
    return [*found.server.snapshot("meshfederations"), *found.server.snapshot("remotemeshes")]


@pytest.mark.parametrize("case", ["whatever comes", "as little as can be"])
async def test_a_mesh_that_objects_describe(helm_process: helm.Helm, tmp_path: Path, case: str) -> None:
    async with offering(tmp_path) as address, prepared(tmp_path) as found:
        mesh, remote = described(address, openshift=False)
        if case == "whatever comes":
            values: JSONObject = {}
            await found.helm(helm_process, "install", "east", values, namespace=NAMESPACE)
            await found.apply(mesh, remote, EXPORTED_BY_ITS_OWNER)
        else:
            del mesh["spec"]["export"]["serviceExports"]
            values = values_of(mesh, remote) | {"controller": {"readPods": False}}
            await found.helm(helm_process, "install", "east", values, namespace=NAMESPACE)
        cells = granted(found.server, NAMESPACE, ACCOUNT)
        pod = await exercise(found, set(WRITTEN) - {"Route"})

        async def ended() -> None:  # as Helm deletes the Deployment, before the roles have any reason to stay
            await check_permissions(found, cells, pod)
            await pod.stop()

        await uninstalled(helm_process, found, exactly=False, before_done=ended)  # the controller does the work


async def test_a_mesh_on_openshift_whose_controller_is_gone_when_it_is_uninstalled(
    helm_process: helm.Helm, tmp_path: Path
) -> None:
    async with offering(tmp_path) as address, prepared(tmp_path, openshift=True) as found:
        values = values_of(*described(address, openshift=True))
        await found.helm(helm_process, "install", "east", values, namespace=NAMESPACE)
        cells = granted(found.server, NAMESPACE, ACCOUNT)
        await found.apply(EXPORTED_BY_ITS_OWNER)
        pod = await exercise(found, set(WRITTEN))
        await found.helm(helm_process, "upgrade", "east", {"mesh": {"name": "east"}}, namespace=NAMESPACE)
        # Until their finalizers let them go, Helm would change the objects that go instead of making them anew.
        await until(
            lambda: written(found) == {} and not described_by(found),
            "something is left of a mesh that is no longer described",
            pod,
        )
        await check_permissions(found, cells, pod)
        await found.helm(helm_process, "upgrade", "east", values, namespace=NAMESPACE)
        await until(lambda: set(written(found)) == set(WRITTEN) and is_held(found), "it is not as before", pod)
        await pod.kill()
        await uninstalled(helm_process, found)


@pytest.mark.parametrize("case", ["kind", "openshift"])
async def test_a_mesh_that_flags_describe(helm_process: helm.Helm, tmp_path: Path, case: str) -> None:
    openshift = case == "openshift"
    async with offering(tmp_path) as address, prepared(tmp_path, openshift=openshift) as found:
        values = example(case)
        values["federation"]["meshPeers"]["remotes"][0]["addresses"] = [address]
        await found.helm(helm_process, "install", "east", values, namespace=NAMESPACE)
        cells = granted(found.server, NAMESPACE, ACCOUNT)
        expected = set(WRITTEN) - (set() if openshift else {"EnvoyFilter", "Route", "DestinationRule"})
        pod = await exercise(found, expected)
        whole = written(found)
        await pod.stop()
        alone = {"federation": {"meshPeers": {"local": values["federation"]["meshPeers"]["local"], "remotes": []}}}
        await found.helm(helm_process, "upgrade", "east", alone, namespace=NAMESPACE)
        pod = await found.run_controller(namespace=NAMESPACE)
        await until(lambda: "FederatedService" not in written(found), "what a remote offered stays without it", pod)
        await check_permissions(found, cells, pod)
        await pod.stop()
        # And what there was while objects described the mesh, which a controller that flags describe does not let go.
        await leave(found, whole, kinds(found))
        await found.apply(*map(held, described(address, openshift=openshift)))
        await uninstalled(helm_process, found)


def held(configured: Manifest) -> Manifest:
    return configured | {"metadata": configured["metadata"] | {"finalizers": [FINALIZER]}}


def is_held(found: Cluster) -> bool:
    configured = [*found.all("MeshFederation"), *found.all("RemoteMesh")]
    return all(FINALIZER in one["metadata"].get("finalizers", ()) for one in configured)


async def uninstalled(
    asked: helm.Helm, found: Cluster, *, exactly: bool = True, before_done: Callable[[], Awaitable[None]] = nothing
) -> None:
    """Uninstall the release: nothing is left of it, and, ``exactly``, its hook needed all that it may do.

    ``before_done`` is called when the hook has done its work, and Helm has not gone on yet.
    """
    cells: list[Permission] = []
    await helm_with_jobs(
        *(asked, found, "uninstall", "east", {}),
        on_job=lambda: cells.extend(granted(found.server, NAMESPACE, f"{ACCOUNT}-uninstall")),
        before_done=before_done,
        namespace=NAMESPACE,
    )
    hook = found.pods[-1]
    assert cells
    assert written(found) == {}
    assert found.all("MeshFederation") == found.all("RemoteMesh") == []
    assert refused(hook.uses()) == []
    if exactly:
        await check_permissions(found, cells, hook)
    left = [obj for obj in found.server.snapshot() if obj["metadata"].get("labels", {}).get("helm.sh/chart")]
    assert left == []


async def test_two_releases_in_one_cluster(helm_process: helm.Helm, tmp_path: Path) -> None:
    """Each needs a namespace of its own, and leaves that of the other alone, also as it goes.

    The namespace of the one that stays ends as the other's hook is named: joined by dashes, their roles had one name.
    """
    stays = "other-uninstall"
    values = {"podMonitor": {"enabled": False}, "networkPolicy": {"enabled": True}}
    async with cluster(tmp_path) as found:

        def everything(but: str | None = None) -> dict[str, Manifest]:
            objects = [
                obj for obj in found.server.snapshot() if obj["kind"] != "Secret"
            ]  # in which Helm keeps releases
            return {obj["metadata"]["uid"]: obj for obj in objects if obj["metadata"].get("namespace", "") != but}

        await found.apply(namespace(stays), namespace("other"))
        await found.helm(helm_process, "install", "east", values, namespace=stays)
        first = everything()
        exists = r'federation-controller.* in namespace "other-uninstall" exists and cannot be'
        with pytest.raises(helm.HelmError, match=exists):
            await found.helm(helm_process, "install", "west", values, namespace=stays)
        assert everything() == first
        await found.helm(helm_process, "install", "west", values, namespace="other")
        assert first.items() <= everything().items()
        (log,) = await helm_with_jobs(helm_process, found, "uninstall", "west", {}, namespace="other")
        assert "there is nothing of Meshfed in namespace other" in log
        assert everything(but="other") == {
            uid: obj for uid, obj in first.items() if obj["metadata"].get("namespace") != "other"
        }
