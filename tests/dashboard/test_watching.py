"""Clusters that are watched: what changes is there at once, what may not be read is said, who is away is waited for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml

from meshfed.api.crds import all_crds
from meshfed.dashboard.meshes import Topic
from meshfed.dashboard.watching import WatchedMesh
from meshfed.kube import Client, ClusterConfig, Resource, load_kubeconfig
from meshfed.model.importers import ImportersPage
from meshfed.model.last_hour import ChangesSeen
from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.istio_crds import istio_crds
from tests.builders import (
    RESOURCES,
    SYSTEM,
    config_map,
    mesh_federation,
    namespace,
    pod,
    remote_mesh,
    service,
    service_exports_crd,
)
from tests.cli.fakes import replica
from tests.cli.test_importers import Replicas
from tests.cli.test_importers import replica as replica_pod
from tests.controller.meshes import Mesh, federated, meshes
from tests.dashboard.boards import served
from tests.deploy.permissions import granted, idle
from tests.probe.test_handshake import WHO, at, reads
from tests.probe.test_handshake import Mesh as Trusted
from tests.waiting import eventually

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "cli.schema.json"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "dashboard.md"
ACCOUNT = "somebody"
SERVICES = [namespace("default"), service("ratings", exported=True), pod("ratings-1", "ratings")]
PULSE = 0.2


@asynccontextmanager
async def watching(*watched: WatchedMesh) -> AsyncIterator[None]:
    """Watch while the context lasts."""
    tasks = [asyncio.create_task(one.run()) for one in watched]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def watched(mesh: Mesh, **more: Any) -> WatchedMesh:
    return WatchedMesh(mesh.name, mesh.client.config, pulse=PULSE, **more)


async def test_a_label_is_in_the_page_within_a_second() -> None:
    async with federated("east", "west", services={"west": SERVICES}) as (east, west):
        await west.label("ratings", export_service=None)
        await eventually(lambda: not east.all("FederatedService"))
        async with served([watched(east), watched(west)], pulse=PULSE) as found:

            async def states() -> list[str]:
                return [one["state"] for one in (await found.document("/api/hosts"))["items"]]

            await eventually(lambda: all(one.watched.is_known for one in found.board._meshes))
            assert await states() == []
            with found.board.changes() as queue:
                await west.label("ratings", export_service="true")
                began = asyncio.get_running_loop().time()
                while await states() != ["Imported"]:
                    async with asyncio.timeout(10):
                        await queue.get()
                took = asyncio.get_running_loop().time() - began
            assert took < 5, "far more than it takes: a busy machine fails no test"
            links = (await found.document("/api/federation"))["links"]
            assert {(one["importer"], one["exporter"]) for one in links} == {("east", "west"), ("west", "east")}
            happened = await found.document("/api/timeline?q=exported+ratings")
            assert "Exported" in {one["what"] for one in happened["items"]}


async def test_who_changed_what_is_asked_for_is_in_the_page() -> None:
    async with meshes("east") as (east,), served([watched(east)], pulse=PULSE) as found:
        await east.apply(mesh_federation("east"), remote_mesh("west"))

        async def edits() -> list[tuple[str, str]]:
            every = (await found.document("/api/timeline"))["items"]
            return [
                (one["kind"], one["message"])
                for one in every
                if one["trace"] == "edit" and "kubectl" in one["message"]  # and not what made them here
            ]

        async def stand(expected: list[tuple[str, str]]) -> bool:
            return await edits() == expected

        await eventually(lambda: stand([]))
        async with Client(east.client.config, field_manager="kubectl-edit") as kubectl:
            await kubectl.patch(
                RESOURCES["RemoteMesh"], "west", {"spec": {"import": {"merge": True}}}, namespace=SYSTEM
            )
        await eventually(lambda: stand([("RemoteMesh", "by kubectl-edit; its fields: spec.import")]))


async def test_one_that_stops_is_shown_as_it_was_and_comes_back() -> None:
    async with meshes("east", "west") as (east, west):
        for one in (east, west):
            await one.apply(mesh_federation(one.name), replica("c-0"))
        async with served([watched(east), watched(west)], pulse=PULSE) as found:

            async def nodes() -> list[tuple[str, bool]]:
                return [(one["name"], one["reached"]) for one in (await found.document("/api/federation"))["nodes"]]

            async def stand(expected: list[tuple[str, bool]]) -> bool:
                return await nodes() == expected

            await eventually(lambda: stand([("east", True), ("west", True)]))
            await west.server.stop()
            await eventually(lambda: stand([("east", True), ("west", False)]))
            (silent,) = (await found.document("/api/federation"))["unreached"]
            assert silent["source"] == "west"
            assert west.server.url.removeprefix("http://") in silent["why"]
            await east.apply(mesh_federation("east", network="changed"))
            await west.server.start()
            await west.apply(config_map("unrelated", namespace=SYSTEM))
            await eventually(lambda: stand([("east", True), ("west", True)]))


async def test_one_that_is_not_there_yet_and_one_without_an_installation() -> None:
    async with meshes("east") as (east,):
        away = WatchedMesh("away", ClusterConfig(server="http://127.0.0.1:1"), pulse=PULSE)
        here = watched(east)
        async with watching(away, here):
            await eventually(lambda: here.is_known and "127.0.0.1:1" in away.unreached)
            assert not away.is_known
            assert here.snapshot().federations == ()
            await east.apply(mesh_federation("east"))
            await eventually(lambda: here.snapshot().mesh == "east")


async def test_the_time_is_the_api_servers() -> None:
    async with meshes("east") as (east,):
        await east.apply(mesh_federation("east"))
        slow, right = timedelta(hours=1), timedelta(minutes=1)
        here = watched(east, now=lambda: datetime.now(UTC) - slow)
        async with watching(here):
            await eventually(lambda: here.is_known)
            assert abs(datetime.now(UTC) - here.snapshot().taken) < right
            slow = timedelta(hours=5)  # somebody set the clock here
            await eventually(lambda: abs(datetime.now(UTC) - here.time) < right)
            await east.server.stop()
            await eventually(lambda: bool(here.unreached))
            silent = here.snapshot()
            assert silent.taken == here.snapshot().taken
            assert abs(datetime.now(UTC) - silent.taken) < right


async def test_several_installations_ask_for_a_namespace() -> None:
    async with meshes("east") as (east,):
        await east.apply(namespace("mesh"), mesh_federation("east", namespace="mesh"), mesh_federation("other"))
        several, one = watched(east), watched(east, namespace="mesh")
        async with watching(several, one):
            await eventually(lambda: "namespaces istio-system, mesh" in several.unreached)
            await eventually(lambda: one.snapshot().mesh == "east")


async def test_an_installation_elsewhere_is_found_once_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshfed.dashboard.watching._LOOK_AGAIN", 0.0)
    async with meshes("east") as (east,):
        here = watched(east)
        async with watching(here):
            await eventually(lambda: here.is_known)
            await east.apply(namespace("mesh"), mesh_federation("east", namespace="mesh"))
            await eventually(lambda: (here.snapshot().namespace, here.snapshot().mesh) == ("mesh", "east"))


async def test_a_lease_that_is_renewed_is_no_news() -> None:
    async with meshes("east") as (east,):
        await east.apply(mesh_federation("east"), replica("c-0"))
        here = watched(east)
        async with watching(here):
            await eventually(lambda: here.is_known and not here.is_being_read)
            told: list[Topic] = []
            here.changed = told.append
            await east.apply(service("before"))
            await eventually(lambda: Topic.OBJECTS in told)
            told.clear()
            renewed = {"spec": {"renewTime": "2026-01-01T12:00:05.000000Z"}}
            await east.patch("Lease", "meshfed-replica-c-0", renewed)
            await east.apply(service("after"))
            await eventually(lambda: Topic.OBJECTS in told)
            assert Topic.STATUS not in told
            await east.apply(replica("c-0", west="2026-01-01T12:00:00Z"))
            await eventually(lambda: Topic.STATUS in told)


async def test_what_a_pod_keeps_to_itself_is_not_kept() -> None:
    async with meshes("east") as (east,):
        secret = pod("ratings-1", "ratings")
        secret["spec"]["containers"][0] |= {
            "env": [{"name": "PASSWORD", "value": "hunter2"}],
            "args": ["controller", "--password=hunter2"],
        }
        await east.apply(mesh_federation("east"), secret)
        here = watched(east)
        async with watching(here):
            await eventually(lambda: list(here.snapshot().of_kind("Pod")))
            assert "hunter2" not in str(here.snapshot().objects)


# --- tried from here


async def test_a_remote_is_tried_from_here(tmp_path: Path) -> None:
    trusted = Trusted()
    async with at(reads, trusted.workload(tmp_path)) as way, meshes("east") as (east,):
        remote = remote_mesh("west", addresses=["127.0.0.1"], port=way.gateway.port, identity=WHO)
        bundle = config_map("istio-ca-root-cert", namespace=SYSTEM, pem=trusted.pem)
        await east.apply(mesh_federation("east"), remote, bundle)
        async with served([watched(east)], pulse=PULSE) as found:
            here = found.board._meshes[0].watched
            await eventually(lambda: here.is_known and not here.is_being_read)

            async def tried(source: str, remote: str) -> tuple[int, Any]:
                asked = {"source": source, "remote": remote}
                async with found.session.post(f"{found.url}/api/handshake", json=asked) as answer:
                    return answer.status, await (answer.json() if answer.status == 200 else answer.text())

            status, document = await tried("east", "west")
            assert status == 200
            jsonschema_rs.validator_for(json.loads(SCHEMA.read_text())).validate(document)
            gateway, certificate = document["items"]
            assert (gateway["check"], gateway["outcome"], certificate["outcome"]) == ("gateway-from-here", "ok", "ok")
            assert f"as {WHO}" in gateway["message"]
            assert certificate["message"].startswith("the certificate of its controller is valid for ")
            assert (await tried("east", "north"))[0] == 422
            before = east.server.counters.writes
            assert (await tried("east", "west"))[0] == 200
            assert east.server.counters.writes == before, "no controller was asked to"
            await east.server.stop()
            assert (await tried("east", "west"))[0] == 422


# --- permissions


def role(rules: list[dict[str, Any]], name: str, *, everywhere: bool) -> list[dict[str, Any]]:
    """A role of these rules, and the account that has it."""
    prefix, place = ("Cluster", {}) if everywhere else ("", {"namespace": SYSTEM})
    common = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name, **place}}
    return [
        common | {"kind": f"{prefix}Role", "rules": rules},
        common
        | {
            "kind": f"{prefix}RoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": f"{prefix}Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}],
        },
    ]


def documented() -> Callable[[bool], list[dict[str, Any]]]:
    """The rules that the page in the documentation lists: of the cluster, and of the namespace."""
    blocks = [block.partition("```")[0] for block in DOCS.read_text().split("```yaml\n")[1:]]
    found = {one["kind"]: one["rules"] for block in blocks for one in yaml.safe_load_all(block) if "rules" in one}
    return lambda everywhere: found["ClusterRole" if everywhere else "Role"]


_RBAC = {
    kind: Resource("rbac.authorization.k8s.io", "v1", f"{kind.lower()}s", kind, kind.startswith("Role"))
    for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
}
_ACCOUNT = {"ServiceAccount": Resource("", "v1", "serviceaccounts", "ServiceAccount")}


@asynccontextmanager
async def as_somebody(
    folder: Path, rules: Callable[[bool], list[dict[str, Any]]]
) -> AsyncIterator[tuple[APIServer, ClusterConfig]]:
    """A cluster, and how somebody is known there who has these rules, in the cluster and in the namespace."""

    def known(config: dict[str, Any]) -> ClusterConfig:
        (folder / "kubeconfig").write_text(yaml.safe_dump(config))
        return load_kubeconfig(str(folder / "kubeconfig"), None, {})

    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": SYSTEM}}
    objects = [namespace(SYSTEM), account, config_map("istio", namespace=SYSTEM), mesh_federation("east")]
    objects.append(remote_mesh("west", addresses=["127.0.0.1"], port=1))
    for everywhere in (True, False):
        objects += role(rules(everywhere), ACCOUNT, everywhere=everywhere)
    crds = [*all_crds(), *istio_crds(), service_exports_crd()]
    async with APIServer(authorization="RBAC", crds=crds) as server:
        config = server.kubeconfig()
        async with Client(known(config)) as client:
            for one in objects:
                await client.create((RESOURCES | _RBAC | _ACCOUNT)[one["kind"]], one)
        config["users"][0]["user"]["token"] = server.service_account_token(SYSTEM, ACCOUNT)
        yield server, known(config)


async def run_by_hand(server: APIServer, folder: Path) -> Replicas:
    """Let there be a pod of the controller that has measured for a minute and a half, and answers at another port."""
    replicas = Replicas()
    replicas.answers["c-0"] = msgspec.json.encode(ImportersPage({}, exports_took=ChangesSeen(90.0)))
    server.run_by(replicas)
    (folder / "admin").write_text(yaml.safe_dump(server.kubeconfig()))
    async with Client(load_kubeconfig(str(folder / "admin"), None, {})) as client:
        args = ["controller", "--metrics-bind-address=:9090"]
        made = replica_pod("c-0", containers=[{"name": "controller", "image": "c", "args": args}])
        await client.create(RESOURCES["Pod"], made, namespace=SYSTEM)
        await client.patch_status(RESOURCES["Pod"], "c-0", made["status"], namespace=SYSTEM)
    return replicas


async def test_what_is_documented_is_needed_and_enough(tmp_path: Path) -> None:
    async with as_somebody(tmp_path, documented()) as (server, config):
        replicas = await run_by_hand(server, tmp_path)
        async with served([WatchedMesh("east", config, namespace=SYSTEM, pulse=PULSE)], pulse=PULSE) as found:
            shown = found.board._meshes[0].watched
            await eventually(lambda: shown.is_known and not shown.is_being_read)
            for path in ("federation", "hosts", "timeline", "explanation?name=ratings"):
                await found.document(f"/api/{path}")
            asked = {"source": "east", "remote": "west"}
            async with found.session.post(f"{found.url}/api/handshake", json=asked) as one:
                assert [check["check"] for check in (await one.json())["items"]] == ["gateway-from-here", "certificate"]
            assert shown.snapshot().unread == {}
            took = await found.document("/api/propagation?source=east&remote=west")
            assert (took["why"], took["exports"]["measured"]) == ("", 90.0)
            assert replicas.asked == [("c-0", 9090, "/importers")]
        uses = [use for use in server.audit if use.user.endswith(f":{ACCOUNT}")]
        assert [use.asked for use in uses if not use.allowed] == []
        assert idle(granted(server, SYSTEM, ACCOUNT), uses) == []
        assert {use.asked.verb for use in uses} == {"get", "list", "watch"}


async def test_whoever_may_read_the_federation_alone_sees_that(tmp_path: Path) -> None:
    ours = documented()(False)
    async with as_somebody(tmp_path, lambda everywhere: [] if everywhere else ours) as (_, config):
        here = WatchedMesh("east", config, namespace=SYSTEM, pulse=PULSE)
        async with served([here], pulse=PULSE) as found:
            await eventually(lambda: here.is_known and not here.is_being_read)
            assert (await found.document("/api/federation"))["nodes"][0]["name"] == "east"
            notes = (await found.document("/api/hosts"))["notes"]
            assert "east: you may not list services in all namespaces" in notes
            assert (await found.document("/api/timeline"))["notes"] == [
                "east: you may not list events in all namespaces"
            ]
            took = await found.document("/api/propagation?source=east&remote=west")
            assert took["why"] == "you may not list pods in all namespaces"


async def test_whoever_may_not_ask_the_controller_is_told_so_and_sees_the_rest(tmp_path: Path) -> None:
    def without(everywhere: bool) -> list[dict[str, Any]]:
        return [one for one in documented()(everywhere) if one["resources"] != ["pods/proxy"]]

    async with as_somebody(tmp_path, without) as (server, config):
        await run_by_hand(server, tmp_path)
        here = WatchedMesh("east", config, namespace=SYSTEM, pulse=PULSE)
        async with served([here], pulse=PULSE) as found:
            await eventually(lambda: here.is_known and not here.is_being_read)
            took = await found.document("/api/propagation?source=east&remote=west")
            assert took["why"] == f"you may not get pods/proxy in namespace {SYSTEM}"
            assert (await found.document("/api/federation"))["nodes"][0]["name"] == "east"
        assert (await here.importers()).why.startswith("east is not reached: ")


async def test_what_is_allowed_later_comes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshfed.kube.reflector._ABSENT_PERIOD", 0.1)
    async with as_somebody(tmp_path, lambda _: []) as (server, config):
        here = WatchedMesh("east", config, namespace=SYSTEM, pulse=PULSE)
        async with watching(here):
            await eventually(lambda: here.is_known)
            assert "you may not list" in here.snapshot().unread["MeshFederation"]
            admin = server.kubeconfig()
            (tmp_path / "admin").write_text(yaml.safe_dump(admin))
            async with Client(load_kubeconfig(str(tmp_path / "admin"), None, {})) as client:
                patch = {"rules": documented()(False)}
                await client.patch(_RBAC["Role"], ACCOUNT, patch, namespace=SYSTEM)
            await eventually(lambda: here.snapshot().mesh == "east")
