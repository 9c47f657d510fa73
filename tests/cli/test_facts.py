"""What ``meshfed check`` finds out of real API servers: with what permissions, and what it makes of those it lacks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from meshfed.api.crds import all_crds
from meshfed.api.v1alpha1 import PROBE_REQUEST_ANNOTATION
from meshfed.cli.clusters import Where
from meshfed.cli.facts import Asked, find_out
from meshfed.cli.manifests import controller_yaml
from meshfed.kube import Client, Manifest, Resource
from meshfed.model.probes import Broken, Link
from meshfed.views.checks import BEFORE, CHECKS, CheckOutcome, Facts, Need, Proof, Reviewed, run
from meshfed.views.checks.access import needs
from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.istio_crds import istio_crds
from tests.builders import RESOURCES, SYSTEM, config_map, crd, namespace, remote_mesh, service_exports_crd
from tests.deploy.permissions import granted, idle, refused
from tests.views.healthy import configured, controller, east, front, gateway, istiod

READER = Path(__file__).resolve().parents[2] / "docs" / "examples" / "check" / "reader.yaml"
RBAC = "rbac.authorization.k8s.io"
ROLES = {
    kind: Resource(RBAC, "v1", f"{kind.lower()}s", kind, namespaced=not kind.startswith("Cluster"))
    for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
}
ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")


async def create(client: Client, *objects: Manifest) -> None:
    for one in objects:
        resource = RESOURCES.get(one["kind"]) or ROLES.get(one["kind"]) or ACCOUNTS
        place = one["metadata"].get("namespace") if resource.namespaced else None
        await client.create(resource, one, namespace=place)
        if "status" in one:
            await client.patch_status(resource, one["metadata"]["name"], one["status"], namespace=place)


def bindings(*roles: Manifest, account: str, place: str = SYSTEM) -> list[Manifest]:
    """Bind roles to an account."""
    return [
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": f"{role['kind']}Binding",
            "metadata": {key: role["metadata"][key] for key in ("name", "namespace") if key in role["metadata"]},
            "roleRef": {"apiGroup": RBAC, "kind": role["kind"], "name": role["metadata"]["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": place}],
        }
        for role in roles
    ]


def kubeconfig(server: APIServer, path: Path, token: str | None = None) -> Where:
    config = server.kubeconfig()
    if token is not None:
        config["users"][0]["user"] = {"token": token}
    path.write_text(json.dumps(config))
    return Where(kubeconfig=str(path))


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody proves anything here, but where a test says so."""
    monkeypatch.setattr("meshfed.cli.facts.SECONDS", 2.0)


@asynccontextmanager
async def cluster(path: Path, *, ours: bool = True) -> AsyncIterator[tuple[APIServer, Client]]:
    """A cluster with roles, an installation in it, whose roles are as by default, and someone called reader."""
    from meshfed.kube import detect

    async with APIServer(authorization="RBAC") as server:
        sidecars = crd("Sidecar", "sidecars", "networking.istio.io")
        for one in [*istio_crds(), service_exports_crd(), sidecars, *(all_crds() if ours else ())]:
            server.install_crd(one)
        where = kubeconfig(server, path / "admin.json")
        async with Client(detect(environ={}, path=where.kubeconfig)) as client:
            reader = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": SYSTEM}}
            root = trustme.CA(organization_name="root of all meshes").cert_pem.bytes().decode()
            await create(
                client,
                namespace(SYSTEM, **{"topology.istio.io/network": "east-network"}),
                configured(),
                config_map("istio-ca-root-cert", namespace=SYSTEM, **{"root-cert.pem": root}),
                istiod(),
                reader,
            )
            if ours:
                text = controller_yaml("east", SYSTEM, SYSTEM, "meshfed", account="federation-controller-east")
                installed = [one for one in yaml.safe_load_all(text) if one["kind"] in {*ROLES, "ServiceAccount"}]
                await create(client, *installed, controller(), gateway(), front())
                await create(client, east(), remote_mesh("west", addresses=["127.0.0.1:1"]))
            yield server, client


def outcomes(found: Facts) -> dict[str, str]:
    return {f"{one.group}/{one.check}": one.message for one in run(found) if one.outcome is CheckOutcome.UNKNOWN}


async def test_it_takes_what_is_documented_and_nothing_else(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (server, client):
        roles = list(yaml.safe_load_all(READER.read_text()))
        await create(client, *roles, *bindings(*roles, account="reader"))
        where = kubeconfig(server, tmp_path / "reader.json", server.service_account_token(SYSTEM, "reader"))
        (found,), unreached = await find_out(where, Asked())
        assert unreached == ()
        assert found.snapshot.unread == {}
        assert found.plan is not None
        assert set(found.access.values()) == {Reviewed(True)}
        assert [root.subject for root in found.roots] == ["root of all meshes"]
        uses = [use for use in server.audit if use.user == f"system:serviceaccount:{SYSTEM}:reader"]
        assert refused(uses) == []
        # A cluster without Routes is not asked for any.
        left = [cell for cell in idle(granted(server, SYSTEM, "reader"), uses) if cell.resource != "routes"]
        assert left == []


async def test_who_may_read_nothing_hears_so_of_each_check_and_of_none_that_it_is_ok(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (server, _):
        where = kubeconfig(server, tmp_path / "reader.json", server.service_account_token(SYSTEM, "reader"))
        (found,), unreached = await find_out(where, Asked(probe=True))
        assert unreached == ()
        views = list(run(found))
        assert {one.outcome for one in views} == {CheckOutcome.OK, CheckOutcome.UNKNOWN}
        # That is said by the server to everybody.
        assert {one.check for one in views if one.outcome is CheckOutcome.OK} == {"kubernetes", "istio-kinds", "clock"}
        assert "you may not list pods in all namespaces" in outcomes(found)["permissions/controller"]


async def test_a_permission_that_the_controller_lacks_is_found(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (server, client):
        name = f"federation-controller-{SYSTEM}"
        for kind in ("RoleBinding", "ClusterRoleBinding"):
            place = SYSTEM if kind == "RoleBinding" else None
            await client.delete(ROLES[kind], name, namespace=place)
        (found,), _ = await find_out(kubeconfig(server, tmp_path / "admin.json"), Asked())
        lacking = [need for need, answer in found.access.items() if answer.allowed is False]
        assert Need("", "services", "list") in lacking
        assert Need("networking.istio.io", "gateways", "create", SYSTEM) in lacking
        failed = [
            one.message for one in run(found) if one.outcome is CheckOutcome.FAILED and one.group == "permissions"
        ]
        assert failed[0].startswith(f"ServiceAccount {SYSTEM}/federation-controller-east may not ")


async def test_before_an_installation(tmp_path: Path) -> None:
    async with cluster(tmp_path, ours=False) as (server, _):
        (found,), _ = await find_out(kubeconfig(server, tmp_path / "admin.json"), Asked(before=True))
        assert {one.check: one.message for one in run(found, BEFORE) if one.outcome is not CheckOutcome.OK} == {}
        assert set(found.own.values()) == {Reviewed(True)}
        where = kubeconfig(server, tmp_path / "reader.json", server.service_account_token(SYSTEM, "reader"))
        (found,), _ = await find_out(where, Asked(before=True))
        assert set(found.own.values()) == {Reviewed(False)}


async def test_a_cluster_without_istio_fails_before(tmp_path: Path) -> None:
    async with APIServer() as server:
        (found,), _ = await find_out(kubeconfig(server, tmp_path / "admin.json"), Asked(before=True))
        failed = {one.check for one in run(found, BEFORE) if one.outcome is CheckOutcome.FAILED}
        assert failed == {"istio-kinds", "network"}


async def test_handshakes_are_made_from_here(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (server, _):
        (found,), _ = await find_out(kubeconfig(server, tmp_path / "admin.json"), Asked(probe=True))
        assert found.findings is not None
        (way, finding), *_ = found.findings.items()
        assert (str(way.gateway), isinstance(finding, Broken) and finding.link) == ("127.0.0.1:1", Link.ADDRESS)
        (asked_nothing,), _ = await find_out(kubeconfig(server, tmp_path / "admin.json"), Asked())
        assert asked_nothing.findings is None


async def test_a_controller_is_asked_and_waited_for(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (server, client):
        where, west = kubeconfig(server, tmp_path / "admin.json"), RESOURCES["RemoteMesh"]

        async def answer() -> None:
            requested = ""
            while not requested:
                await asyncio.sleep(0.01)
                found = await client.get(west, "west", namespace=SYSTEM)
                requested = (found["metadata"].get("annotations") or {}).get(PROBE_REQUEST_ANNOTATION, "")
            await client.patch_status(west, "west", {"probeHandledAt": requested}, namespace=SYSTEM)

        answering = asyncio.create_task(answer())
        (found,), _ = await find_out(where, Asked(probe=True))
        await answering
        assert found.proofs == {"west": Proof(handled=True)}


async def test_who_may_not_ask_a_controller_hears_so(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (server, client):
        roles = list(yaml.safe_load_all(READER.read_text()))
        await create(client, *roles, *bindings(*roles, account="reader"))
        where = kubeconfig(server, tmp_path / "reader.json", server.service_account_token(SYSTEM, "reader"))
        (found,), _ = await find_out(where, Asked(probe=True))
        why = "you may not patch or get remotemeshes.federation.openshift-service-mesh.io in namespace istio-system"
        assert found.proofs == {"west": Proof(handled=False, why=why)}


async def test_a_controller_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (server, client):
        await client.delete(RESOURCES["Pod"], "controller-1", namespace=SYSTEM)
        (found,), _ = await find_out(kubeconfig(server, tmp_path / "admin.json"), Asked(probe=True))
        assert [one.why.partition(" in ")[0] for one in found.proofs.values()] == [
            "there is no Lease and no Pod of a controller"
        ]


async def test_a_cluster_that_is_away_is_named(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "away",
        "clusters": [{"name": "away", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "away", "user": {}}],
        "contexts": [{"name": "away", "context": {"cluster": "away", "user": "away"}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    found, unreached = await find_out(Where(kubeconfig=str(tmp_path / "config"), context=("away",)), Asked())
    assert (found, [one.source for one in unreached]) == ((), ["away"])


def test_what_a_controller_needs_is_what_an_installation_grants() -> None:
    given = needs(yaml.safe_load_all(controller_yaml("east", "mesh", SYSTEM, "meshfed")))
    assert Need("federation.openshift-service-mesh.io", "remotemeshes/status", "patch", "mesh") in given
    assert Need("", "configmaps", "get", SYSTEM, "istio") in given
    assert Need("", "services", "list") in given


@pytest.mark.parametrize("check", [*CHECKS, *BEFORE], ids=lambda check: f"{check.group}/{check.name}")
def test_checks_say_what_they_ask(check: Any) -> None:
    assert check.says.endswith(".")
    assert check.docs.partition("#")[2]
