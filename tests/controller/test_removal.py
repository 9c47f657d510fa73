"""``meshfed uninstall``: one installation goes, whole, whatever runs or fails meanwhile, and nothing else does."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshfed.api.v1alpha1 import FINALIZER, OWNER_NAMESPACE_LABEL
from meshfed.kube import LeaseTiming
from meshfed.model.installation import LEASE
from meshfed.plan.replicas import Replica, replica_lease
from tests.builders import GROUP, SYSTEM, mesh_federation, offer, service, service_entry
from tests.controller.meshes import WRITTEN, Mesh, meshes
from tests.controller.plans import as_planned
from tests.controller.remotes import Remote, remotes
from tests.controller.test_installations import SECOND, installations, second
from tests.forked import forked
from tests.waiting import eventually

EVERYTHING = (*WRITTEN, "meshfederations", "remotemeshes")


class Command:
    """One ``meshfed uninstall`` against a mesh."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def end(self, answer: str = "") -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        async with asyncio.timeout(90):
            out, err = await self.process.communicate(answer.encode())
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), err.decode()


async def uninstalling(mesh: Mesh, directory: Path, *arguments: str, namespace: str = SYSTEM) -> Command:
    """Start it."""
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(mesh.server.kubeconfig(mesh.name)))
    with forked():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "meshfed", "uninstall", "--kubeconfig", path, "--namespace", namespace),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    return Command(process)


async def uninstall(mesh: Mesh, directory: Path, *arguments: str, namespace: str = SYSTEM) -> tuple[int, str, str]:
    """Run it to its end."""
    return await (await uninstalling(mesh, directory, *arguments, namespace=namespace)).end()


@asynccontextmanager
async def installed(count: int = 3, **spec: Any) -> AsyncIterator[tuple[Mesh, Remote]]:
    """A mesh whose controller runs and has imported ``count`` hosts, and one more beside its own pods."""
    async with meshes("east") as (east,), remotes("west") as (west,):
        west.offer(offer("reviews"), *(offer(f"s{number}") for number in range(count)))
        await east.apply(service("reviews"), service("mine", exported=True))
        await east.apply(mesh_federation("east", **spec), west.remote_mesh(ingressType="openshift-router"))
        await east.start()
        await as_planned(east, west, within=100.0)
        yield east, west


def everything(mesh: Mesh) -> list[str]:
    return [f"{one['kind']} {one['metadata']['name']}" for one in mesh.server.snapshot(*EVERYTHING)]


async def test_a_living_controller_does_it_and_nothing_is_left(tmp_path: Path) -> None:
    async with installed(ingress={"type": "openshift-router", "gateway": {"selector": {"app": "gateway"}}}) as (
        east,
        _,
    ):
        kinds = {one["kind"] for one in east.server.snapshot(*EVERYTHING)}
        assert len(kinds) == len(EVERYTHING)  # every kind there is
        code, out, _ = await uninstall(east, tmp_path, "--yes")
        assert (code, everything(east)) == (0, [])
        assert "gateways.networking.istio.io" in out
        assert "kubectl delete crd meshfederations.federation.openshift-service-mesh.io" in out
        assert len(east.server.snapshot("customresourcedefinitions")) > 3
        assert [one["metadata"]["name"] for one in east.all_of("Service") if one["metadata"]["namespace"] == "default"]


async def test_without_a_controller_the_objects_go_before_the_finalizers(tmp_path: Path) -> None:
    async with installed() as (east, _):
        await east.stop()
        early: list[str] = []

        def look() -> None:
            configured = east.server.snapshot("meshfederations", "remotemeshes")
            if len(configured) < 2 and (rest := east.server.snapshot(*WRITTEN)):
                early.append(f"{len(rest)} objects outlive what they were written for")

        with east.server.told(look):
            code, _, _ = await uninstall(east, tmp_path, "--yes")
        assert (code, everything(east), early) == (0, [], [])


async def test_of_two_installations_the_other_one_is_not_touched(tmp_path: Path) -> None:
    async with installations() as (east, orient), remotes("west", "north") as (west, north):
        west.offer(offer("ratings"))
        north.offer(offer("ratings"))
        await east.apply(mesh_federation("east"), west.remote_mesh())
        await east.apply(second(), north.remote_mesh(namespace=SECOND, addresses=["192.0.2.30"]))
        await east.start()
        await orient.start()
        await as_planned(east, west)
        theirs = await as_planned(orient, north)
        versions = {
            one["metadata"]["uid"]: one["metadata"]["resourceVersion"] for one in east.server.snapshot(*WRITTEN)
        }
        code, _, _ = await uninstall(east, tmp_path, "--yes")
        assert code == 0
        left = east.server.snapshot(*EVERYTHING)
        assert {one["metadata"]["namespace"] for one in left} == {SECOND}
        assert len([one for one in left if one["kind"] not in {"MeshFederation", "RemoteMesh"}]) == len(theirs)
        assert all(versions.get(one["metadata"]["uid"]) in {None, one["metadata"]["resourceVersion"]} for one in left)


@pytest.mark.timeout(240)
async def test_killed_in_the_middle_it_is_resumed(tmp_path: Path) -> None:
    async with installed(120) as (east, _):
        await east.stop()
        many = len(everything(east))
        for _ in range(3):
            going = await uninstalling(east, tmp_path, "--yes")
            before = east.writes
            await eventually(lambda before=before: east.writes > before + 40, within=60)  # type: ignore[misc]
            going.process.kill()
            await going.process.wait()
            assert going.process.returncode == -9
        assert 0 < len(everything(east)) < many
        assert east.all("MeshFederation")["east"]["metadata"]["finalizers"] == [FINALIZER]
        code, _, _ = await uninstall(east, tmp_path, "--yes")
        assert (code, everything(east)) == (0, [])


async def test_the_leases_go_last(tmp_path: Path) -> None:
    async with installed() as (east, _):
        await east.stop()
        await east.start(election=LeaseTiming())
        await east.ready()
        await east.stop()
        dead = Replica(name="meshfed-replica-pod-1", holder="pod-1_dead", renewed="2026-01-01T00:00:00.000000Z")
        await east.apply(replica_lease(None, dead, SYSTEM))
        assert {one["metadata"]["name"] for one in east.server.snapshot("leases")} == {LEASE, dead.name}
        code, _, _ = await uninstall(east, tmp_path, "--yes")
        assert (code, everything(east), east.server.snapshot("leases")) == (0, [], [])


async def test_where_nothing_is_there_it_is_quick_and_content(tmp_path: Path) -> None:
    async with meshes("east") as (east,):
        code, out, err = await uninstall(east, tmp_path, "--yes")
        assert (code, out, err) == (0, f"there is nothing of Meshfed in namespace {SYSTEM}\n", "")
        assert east.server.counters.watches == 0
        assert await uninstall(east, tmp_path, "--yes", namespace="nowhere") == (
            0,
            "there is nothing of Meshfed in namespace nowhere\n",
            "",
        )


async def test_it_asks_where_somebody_is_there_and_refuses_where_nobody_is(tmp_path: Path) -> None:
    async with installed() as (east, _):
        before = east.identities("ServiceEntry", "MeshFederation")
        code, _, err = await uninstall(east, tmp_path)
        assert code == 2
        assert "--yes" in err
        code, out, err = await uninstall(east, tmp_path, "--dry-run")
        assert code == 0
        assert sorted(out.splitlines()) == sorted(
            f"{one['kind']} {one['metadata']['namespace']}/{one['metadata']['name']}"
            for one in east.server.snapshot(*EVERYTHING)
        )
        assert f"{len(out.splitlines())} objects" in err
        assert east.identities("ServiceEntry", "MeshFederation") == before


async def test_at_a_terminal_it_takes_a_yes(tmp_path: Path) -> None:
    async with installed() as (east, _):
        before = everything(east)
        for answer, code in (("", 1), ("n", 1), ("Yes", 0)):
            assert everything(east) == before
            assert await _typed(east, tmp_path, answer) == code
        assert everything(east) == []


async def _typed(mesh: Mesh, directory: Path, answer: str) -> int:
    """The exit code where a person types ``answer``."""
    ours, theirs = pty.openpty()
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(mesh.server.kubeconfig(mesh.name)))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meshfed", "uninstall", "--kubeconfig", path),
        *("--namespace", SYSTEM),
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    os.write(ours, f"{answer}\n".encode())
    await process.communicate()
    os.close(ours)
    os.close(theirs)
    assert process.returncode is not None
    return process.returncode


async def test_a_missing_permission_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with installed() as (east, _):
        await east.stop()
        entries = "serviceentries.networking.istio.io"
        fault = east.server.fail(verb="delete", resource=entries, status=403, message="user may not", times=10_000)
        code, _, err = await uninstall(east, tmp_path, "--yes")
        assert code == 1
        assert f"the permission is missing to delete {entries} in namespace {SYSTEM}: user may not" in err
        assert "ServiceEntry istio-system/import.s0.default.svc.cluster.local" in err
        assert {one.split()[0] for one in everything(east)} == {"ServiceEntry", "MeshFederation", "RemoteMesh"}
        fault.times = 0
        code, _, _ = await uninstall(east, tmp_path, "--yes")
        assert (code, everything(east)) == (0, [])


async def test_what_cannot_be_listed_may_be_there(tmp_path: Path) -> None:
    async with installed() as (east, _):
        await east.stop()
        filters = "envoyfilters.networking.istio.io"
        east.server.fail(verb="list", resource=filters, status=403, message="user may not", times=10_000)
        code, _, err = await uninstall(east, tmp_path, "--yes")
        assert code == 1
        assert f"the permission is missing to list {filters} in all namespaces" in err
        assert east.all("MeshFederation")["east"]["metadata"]["finalizers"] == [FINALIZER]


async def test_the_finalizers_of_others_are_theirs(tmp_path: Path) -> None:
    async with installed() as (east, _):
        await east.patch("RemoteMesh", "west", {"metadata": {"finalizers": [FINALIZER, "example.org/mine"]}})
        await east.stop()
        code, _, err = await uninstall(east, tmp_path, "--yes", "--timeout", "12s")
        assert code == 1
        assert f"RemoteMesh {SYSTEM}/west is held by the finalizer example.org/mine" in err
        assert everything(east) == ["RemoteMesh west"]


async def test_an_api_that_fails_is_outlasted_and_one_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    async with installed() as (east, _):
        await east.stop()
        east.server.fail(verb="delete", status=500, times=20)
        east.server.fail(verb="list", resource="serviceentries.networking.istio.io", status=429, retry_after=1, times=1)
        code, _, err = await uninstall(east, tmp_path, "--yes")
        assert code == 3  # at its first look it is the user's to try again
        code, _, err = await uninstall(east, tmp_path, "--yes")
        assert (code, everything(east)) == (0, [])
        assert "the API fails, and is tried again" in err
        await east.server.stop()
        code, _, err = await uninstall(east, tmp_path, "--yes")
        assert code == 3
        assert "Connect" in err


async def test_a_controller_that_no_object_governs_has_to_be_stopped_first(tmp_path: Path) -> None:
    """Configured by flags, it knows of no deletion; here somebody else stands in for it and puts an object back."""
    async with meshes("east") as (east,):
        entry = service_entry("one", "a.example")
        entry["metadata"]["labels"] = {OWNER_NAMESPACE_LABEL: SYSTEM}

        async def keep() -> None:
            while True:
                if not east.all("ServiceEntry"):
                    await east.apply(entry)
                await asyncio.sleep(0.01)

        await east.apply(entry)
        keeping = asyncio.create_task(keep())
        code, out, err = await uninstall(east, tmp_path, "--yes")
        keeping.cancel()
        assert code == 1
        assert "There is no MeshFederation" in out
        assert "ServiceEntry istio-system/one is put back each time it is deleted" in err


async def test_told_not_to_wait_it_leaves_the_end_to_the_controller(tmp_path: Path) -> None:
    async with installed() as (east, _):
        code, out, _ = await uninstall(east, tmp_path, "--yes", "--no-wait")
        assert code == 0
        assert "told to go" in out
        await eventually(lambda: everything(east) == [])


@pytest.mark.parametrize(
    ("arguments", "words"), [(("--timeout", "soon"), "soon"), (("--context", "nowhere"), "nowhere")]
)
async def test_bad_usage(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    async with meshes("east") as (east,):
        code, _, err = await uninstall(east, tmp_path, "--yes", *arguments)
        assert code == 2
        assert words in err
        assert GROUP not in err
