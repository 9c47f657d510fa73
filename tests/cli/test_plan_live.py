"""``meshfed plan --live`` against API servers in which controllers are at work: what it says is what they do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import yaml

from meshfed.cli.app import run
from meshfed.kube import Manifest, Resource
from meshfed.kube.connection import HTTPConnection, Request
from tests.builders import (
    GROUP,
    SYSTEM,
    mesh_federation,
    namespace,
    peer_authentication,
    pod,
    port,
    service,
    service_entry,
)
from tests.controller.meshes import Mesh, meshes, synced, with_gateway
from tests.controller.plans import contents
from tests.waiting import eventually

TWO_PORTS = [port(9080), port(9090, "http-admin")]
RULES = {
    "rules": [
        {"action": "Deny", "ports": ["*-admin"]},
        {"action": "Export", "names": ["details"], "as": {"name": "facts"}},
        {"action": "Export", "labels": {"matchLabels": {"export-service": "true"}}},
    ],
}
"""An alias, and ports by themselves."""
IN_WEST = [
    namespace("default"),
    service("ratings", exported=True, ports=TWO_PORTS),
    service("reviews", exported=True),
    service("details"),
    *(pod(f"{app}-1", app, account=app) for app in ("ratings", "reviews", "details")),
]
IN_EAST = [
    namespace("default"),
    service("reviews", exported=True),
    pod("reviews-1", "reviews", account="reviews"),
    service("cart", exported=True),
    pod("cart-1", "cart", account="cart"),
    service_entry("theirs", "vm.example"),
    peer_authentication("theirs", "PERMISSIVE"),
]
DENYING = [{"action": "Deny", "hosts": ["reviews.*"]}, {"action": "Import"}]


@pytest_asyncio.fixture
async def both() -> AsyncIterator[tuple[Mesh, Mesh]]:
    """East and west, each of which exports and imports; west's gateway is known to east by a host name."""
    async with meshes("east", "west") as (east, west):
        east.dns = {"gateway.west.example": ("192.0.2.77", "192.0.2.78")}
        await west.apply(*IN_WEST, mesh_federation("west", export=RULES), east.remote_mesh())
        await east.apply(*IN_EAST, mesh_federation("east"), west.remote_mesh(addresses=["gateway.west.example"]))
        for mesh in (east, west):
            await with_gateway(mesh)
            await mesh.start()
        await synced(east, west)
        await synced(west, east)
        await eventually(lambda: len(east.merged()) == 2)
        await eventually(lambda: west.merged() and {*FROM_WEST} <= {*east.imported()})
        yield east, west


FROM_WEST = ["facts.default.svc.cluster.local", "ratings.default.svc.cluster.local"]


async def plan(mesh: Mesh, folder: Path, *arguments: str) -> int:
    """Run the command against a mesh, as a person would."""
    config = folder / f"{mesh.name}.kubeconfig"
    cluster = {"name": mesh.name, "cluster": {"server": mesh.client.config.server}}
    context = {"name": mesh.name, "context": {"cluster": mesh.name}}
    config.write_text(yaml.safe_dump({"clusters": [cluster], "contexts": [context], "current-context": mesh.name}))
    return await asyncio.to_thread(run, ["plan", "--live", "--kubeconfig", str(config), *arguments])


def file(folder: Path, objects: Sequence[Manifest]) -> str:
    (folder / "change.yaml").write_text(yaml.safe_dump_all(msgspec.to_builtins(list(objects))))
    return str(folder / "change.yaml")


async def test_in_a_healthy_mesh_there_is_no_difference(
    both: tuple[Mesh, Mesh], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for mesh in both:
        await eventually_equal(mesh, tmp_path, capsys)
    kinds = {kind for mesh in both for kind, _ in mesh.written()}
    assert kinds >= {"EnvoyFilter", "Gateway", "ServiceEntry", "DestinationRule", "WorkloadEntry", "FederatedService"}


async def eventually_equal(mesh: Mesh, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wait until there is no difference; what is printed last says what there is."""
    for _ in range(20):
        if await plan(mesh, folder, "--diff") == 0:
            assert capsys.readouterr().out == f"Mesh {mesh.name} against {mesh.name}: no difference\n"
            return
        await asyncio.sleep(0.1)
    raise AssertionError(capsys.readouterr().out)


async def test_what_is_said_of_a_change_is_what_comes_of_it(
    both: tuple[Mesh, Mesh], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    east, west = both
    await eventually_equal(east, tmp_path, capsys)
    change = [
        west.remote_mesh(addresses=["gateway.west.example"], import_={"merge": True, "rules": DENYING}),
        service("cart"),
        service("ratings"),
        pod("ratings-1", "ratings", account="ratings"),
    ]
    given = file(tmp_path, change)
    assert await plan(east, tmp_path, "--diff", "--summary", "-f", given) == 1
    assert capsys.readouterr().out.split("\nTo ")[0].splitlines()[2:] == [
        "Traffic",
        "  1 Service is no longer exported to west",
        "    cart.default.svc.cluster.local",
        "  1 host moves from both (local and west) to local",
        "    reviews.default.svc.cluster.local",
        "  1 host moves from remote (west) to both (local and west)",
        "    ratings.default.svc.cluster.local",
    ]
    assert await plan(east, tmp_path, "-f", given) == 0
    planned = list(yaml.safe_load_all(capsys.readouterr().out))
    await east.apply(*change)
    expected = {(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]): one["spec"] for one in planned}
    await eventually(lambda: {name: one["spec"] for name, one in contents(east).items()} == expected)
    await eventually_equal(east, tmp_path, capsys)


async def test_what_somebody_took_away_while_no_controller_runs_is_to_be_created(
    both: tuple[Mesh, Mesh], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    east, _ = both
    await eventually_equal(east, tmp_path, capsys)
    await east.stop()
    name = "import.ratings.default.svc.cluster.local"
    await east.delete("ServiceEntry", name)
    east.dns = {}
    assert await plan(east, tmp_path, "--diff", "--summary") == 1
    assert capsys.readouterr().out.splitlines()[2:] == ["To create", f"  ServiceEntry {SYSTEM}/{name}"]


async def test_it_reads_what_the_documentation_lists_and_nothing_else(
    both: tuple[Mesh, Mesh], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for mesh in both:
        await mesh.stop()
    asked: set[tuple[str, str, str, bool]] = set()
    send = HTTPConnection.send

    async def recording(self: HTTPConnection, call: Request) -> Any:
        if isinstance(call.resource, Resource):
            asked.add((call.verb, call.resource.group, call.resource.plural, "/namespaces/" in call.path))
        return await send(self, call)

    monkeypatch.setattr(HTTPConnection, "send", recording)
    assert await plan(both[0], tmp_path, "--diff", "-n", SYSTEM) == 0
    capsys.readouterr()
    in_namespace = {
        ("list", GROUP, plural, True) for plural in ("meshfederations", "remotemeshes", "federatedservices")
    }
    # This API server serves no ServiceExports.
    unserved = {("list", "multicluster.x-k8s.io", "serviceexports", False)}
    assert asked == (documented() - unserved) | in_namespace | {("get", "", "configmaps", True)}


def documented() -> set[tuple[str, str, str, bool]]:
    """What `Before a change` says is listed in all namespaces."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
    section = page.partition("## Before a change")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (core|`.+?`) \| (`.+) \|$", section, re.MULTILINE)
    return {
        ("list", "" if group == "core" else group.strip("`"), plural, False)
        for group, resources in rows
        for plural in re.findall(r"`(\w+)`", resources)
    }
