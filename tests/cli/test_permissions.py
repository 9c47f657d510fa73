"""What commands may do: exactly what the documentation lists is needed, and enough."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshfed.api.crds import all_crds
from meshfed.cli.app import run
from meshfed.kube import Client, discover, load_kubeconfig, micro_time_now
from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.istio_crds import istio_crds
from meshfed_sandbox.ports import Ports
from tests.builders import (
    SYSTEM,
    config_map,
    manifest,
    mesh_federation,
    namespace,
    pod,
    remote_mesh,
    service_exports_crd,
)
from tests.cli.test_jobs import Cluster, ended
from tests.cli.test_link import DEPLOYMENT, GATEWAY_SERVICE
from tests.controller.meshes import Mesh, synced
from tests.deploy.permissions import Permission, granted, idle
from tests.views.test_cards import card
from tests.waiting import meanwhile

DOCS = Path(__file__).resolve().parents[2] / "docs" / "permissions.md"
ACCOUNT = "somebody"
NOT_ASKED = {
    Permission(SYSTEM, "federation.openshift-service-mesh.io", "remotemeshes", "create"),
    Permission(SYSTEM, "", "pods/exec", "create"),
}
"""A real API server asks it where an apply makes the object, and for a command in a pod; the sandbox does not."""
CLIENT = pod(f"client.{SYSTEM}", "client")
COMMANDS = {
    "meshfed link card": [["link", "card"]],
    "meshfed link": [
        ["link", "{card}", "--diff"],
        ["link", "{card}", "--dry-run", "server"],
        ["link", "-f", "{card}", "--apply", "--yes", "--wait", "--timeout", "1s"],
    ],
    "meshfed test": [["test", "--timeout", "1s"]],
    "meshfed test --from POD": [["test", "ratings.example:80", "--from", f"{SYSTEM}/client"]],
    "meshfed test --from NAMESPACE": [["test", "ratings.example:80", "--from", SYSTEM]] * 2,
    "meshfed unlink": [["unlink", "west", "--yes", "--timeout", "2s"]],
}
BENCH = {"meshfed bench, exporter": "west", "meshfed bench, importer": "east"}
"""What it may do in either cluster, which takes controllers that run."""


def rows() -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Of each command in the table the rules, and whether each is for the whole cluster."""
    text = DOCS.read_text().partition("## Permissions of commands")[2]
    command = ""
    for line in text.splitlines():
        if not line.startswith("| ") or line.startswith("| Command"):
            continue
        first, group, resources, verbs, where = (cell.strip() for cell in line.strip("|").split("|"))
        command = first.replace("`", "") or command
        plurals, _, named = resources.partition(" named ")
        rule = {
            "apiGroups": ["" if group == "core" else group.strip("`")],
            "resources": re.findall(r"`([a-z/]+)`", plurals),
            "verbs": re.findall(r"\b(list|watch|get|patch|create|update|delete)\b", verbs),
            **({"resourceNames": [named.strip("`")]} if named else {}),
        }
        yield command, rule, where.startswith("cluster")


def test_every_command_is_in_the_table() -> None:
    assert {command for command, *_ in rows()} == {*COMMANDS, *BENCH}


@pytest.mark.parametrize("command", COMMANDS)
async def test_what_is_listed_is_needed_and_enough(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crds = [*all_crds(), *istio_crds(), service_exports_crd()]
    async with APIServer(authorization="RBAC", crds=crds) as server:
        config = server.kubeconfig()
        (tmp_path / "admin").write_text(yaml.safe_dump(config))
        (tmp_path / "card.yaml").write_text(card())
        held = {"holderIdentity": "a_1", "renewTime": micro_time_now(), "leaseDurationSeconds": 3600}
        objects = [
            namespace(SYSTEM, **{"istio-injection": "enabled"}),
            manifest("Lease", "meshfed-controller", held),
            CLIENT,
            mesh_federation("east"),
            remote_mesh("west", trustDomain="west.example", addresses=["192.0.2.20"]),
            GATEWAY_SERVICE,
            DEPLOYMENT,
            config_map("istio", namespace=SYSTEM),
            config_map("istio-ca-root-cert", namespace=SYSTEM),
            *_roles(command),
        ]
        async with Client(load_kubeconfig(str(tmp_path / "admin"), None, {})) as client:
            await _create(client, objects)
        config["users"][0]["user"]["token"] = server.service_account_token(SYSTEM, ACCOUNT)
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        where = ["--kubeconfig", str(tmp_path / "kubeconfig"), "--namespace", SYSTEM]
        async with Client(load_kubeconfig(str(tmp_path / "admin"), None, {})) as client:
            cluster = Cluster(client, tmp_path / "log", SYSTEM)
            server.run_by(cluster)
            # The first Job is refused, the second gets its Pod.
            becomes = [lambda: cluster.refuses("no"), lambda: cluster.pod(ended(0))]
            for arguments in COMMANDS[command]:
                words = [word.format(card=tmp_path / "card.yaml") for word in arguments]
                happens = [becomes.pop(0)()] if command.endswith("NAMESPACE") else []
                async with meanwhile(*happens):
                    await asyncio.to_thread(run, [*words, *where])
        uses = [use for use in server.audit if use.user.endswith(f":{ACCOUNT}")]
        assert [use.asked for use in uses if not use.allowed] == [], capsys.readouterr().err
        cells = [cell for cell in granted(server, SYSTEM, ACCOUNT) if cell not in NOT_ASKED]
        assert idle(cells, uses) == []


async def _create(client: Client, objects: list[dict[str, Any]]) -> None:
    served = await discover(client)
    for one in objects:
        resource = served.find(one["apiVersion"].rpartition("/")[0], one["kind"])
        assert resource is not None
        await client.create(resource, one)


async def test_a_bench_may_do_what_is_listed_and_needs_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crds = [*all_crds(), *istio_crds()]
    async with contextlib.AsyncExitStack() as stack:
        ports = stack.enter_context(Ports())
        found: dict[str, Mesh] = {}
        arguments = ["bench", "--services", "25", "--changes", "2", "--namespace", SYSTEM]
        for command, name in BENCH.items():
            server = await stack.enter_async_context(APIServer(authorization="RBAC", crds=crds))
            config = server.kubeconfig()
            (tmp_path / name).write_text(yaml.safe_dump(config))
            client = await stack.enter_async_context(Client(load_kubeconfig(str(tmp_path / name), None, {})))
            found[name] = Mesh(name, server, client, ports.take())
            stack.push_async_callback(found[name].stop)
            await _create(client, [namespace(SYSTEM), *_roles(command), mesh_federation(name)])
            config["users"][0]["user"]["token"] = server.service_account_token(SYSTEM, ACCOUNT)
            (tmp_path / f"{name}-bench").write_text(yaml.safe_dump(config))
            arguments += ["--kubeconfig", str(tmp_path / f"{name}-bench")]
        west, east = found["west"], found["east"]
        for mesh, other in ((west, east), (east, west)):
            await mesh.apply(other.remote_mesh())
            await mesh.start()
        await synced(east, west)
        await synced(west, east)
        code = await asyncio.to_thread(run, arguments)
        for command, name in BENCH.items():
            uses = [use for use in found[name].server.audit if use.user.endswith(f":{ACCOUNT}")]
            assert [use.asked for use in uses if not use.allowed] == [], capsys.readouterr().err
            assert idle(granted(found[name].server, SYSTEM, ACCOUNT), uses) == [], command
    assert code == 0


def _roles(command: str) -> list[dict[str, Any]]:
    """An account with what the table lists, in one role for the cluster and one for the namespace."""
    found: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": SYSTEM}}
    ]
    for everywhere in (True, False):
        prefix, place = ("Cluster", {}) if everywhere else ("", {"namespace": SYSTEM})
        role = f"{prefix}Role"
        rules = [rule for of, rule, cluster in rows() if of == command and cluster is everywhere]
        if not rules:
            continue
        common = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": ACCOUNT, **place}}
        found += [
            common | {"kind": role, "rules": rules},
            common
            | {
                "kind": f"{role}Binding",
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": ACCOUNT},
                "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}],
            },
        ]
    return found
