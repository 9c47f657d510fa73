"""`meshfed crds apply` against an API server: what it does to definitions and objects, what it says, how it ends."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshfed import __version__
from meshfed.api.crds import DIGEST_ANNOTATION, VERSION_LABEL, all_crds
from meshfed.cli.app import run
from meshfed.controller.startup.definitions import bring_up
from meshfed.controller.watches import CRDS
from meshfed.kube import Client, ClusterConfig, Manifest, Resource
from meshfed_sandbox.apiserver import APIServer
from tests.builders import GROUP, remote_mesh
from tests.controller.test_adoption import foreign_crds
from tests.waiting import eventually

REMOTES = Resource(GROUP, "v1alpha1", "remotemeshes", "RemoteMesh")
NAMES = [crd["metadata"]["name"] for crd in all_crds()]


def older(version: str = "0.0.9") -> list[Manifest]:
    """As an earlier version had them: a RemoteMesh has no ``trafficPolicy``, and a rule that was given up."""
    found = copy.deepcopy(all_crds())
    for crd in found:
        crd["metadata"]["labels"][VERSION_LABEL] = version
        crd["metadata"]["annotations"][DIGEST_ANNOTATION] = f"that of {version}"
    spec = spec_of(found[NAMES.index(f"remotemeshes.{GROUP}")])
    del spec["properties"]["trafficPolicy"]
    spec["x-kubernetes-validations"] = [{"rule": "self.network != 'given-up'", "message": "given up"}]
    return found


def spec_of(crd: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


class Place:
    """An API server, and the command that is run against it."""

    def __init__(self, server: APIServer, client: Client, kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.server = server
        self.client = client
        self._kubeconfig = kubeconfig
        self._capsys = capsys

    def live(self) -> dict[str, Manifest]:
        """The definitions that there are."""
        return {crd["metadata"]["name"]: crd for crd in self.server.snapshot("customresourcedefinitions")}

    async def apply(self, *flags: str) -> tuple[int, list[str], str]:
        """Exit code, lines of output, and what was said besides."""
        command = ["crds", "apply", f"--kubeconfig={self._kubeconfig}", *flags]
        code = await asyncio.to_thread(run, command)
        out, said = self._capsys.readouterr()
        return code, out.splitlines(), said


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    @asynccontextmanager
    async def made(crds: Sequence[Manifest]) -> AsyncIterator[Place]:
        async with APIServer(crds=crds) as server, Client(ClusterConfig(server=server.url)) as client:
            kubeconfig = tmp_path / "kubeconfig"
            kubeconfig.write_text(yaml.safe_dump(server.kubeconfig()))
            yield Place(server, client, kubeconfig, capsys)

    return made


async def test_those_of_an_older_version_are_brought_up_and_objects_stay(place: Any) -> None:
    async with place(older()) as found:
        policy = {"outlierDetection": {"consecutive5xxErrors": 5}}
        before = await found.client.create(REMOTES, remote_mesh(namespace="default", trafficPolicy=policy))
        assert "trafficPolicy" not in before["spec"]
        code, out, _ = await found.apply()
        assert (code, out) == (0, [f"{name}: brought from 0.0.9 to {__version__}" for name in NAMES])
        assert [found.live()[crd["metadata"]["name"]]["metadata"]["labels"] for crd in all_crds()] == [
            crd["metadata"]["labels"] for crd in all_crds()
        ]
        # A rule that was given up is gone too, though another put it there.
        assert "given up" not in str(found.live()[f"remotemeshes.{GROUP}"]["spec"])
        stays = await found.client.get(REMOTES, "west", namespace="default")
        assert (stays["metadata"]["uid"], stays["spec"]) == (before["metadata"]["uid"], before["spec"])
        after = await found.client.replace(REMOTES, {**stays, "spec": stays["spec"] | {"trafficPolicy": policy}})
        assert after["spec"]["trafficPolicy"] == policy

        writes = found.server.counters.writes
        code, out, _ = await found.apply()
        assert (code, out) == (0, [f"{name}: as this version, {__version__}, has it" for name in NAMES])
        assert found.server.counters.writes == writes


async def test_those_that_are_not_there_are_created(place: Any) -> None:
    async with place([]) as found:
        code, out, said = await found.apply("--dry-run")
        assert (code, found.live()) == (0, {})
        assert out == [f"{name}: created, of version {__version__}" for name in NAMES]
        assert "nothing is changed" in said
        assert (await found.apply())[:2] == (0, out)
        assert {name: crd["spec"]["names"]["kind"] for name, crd in found.live().items()} == {
            crd["metadata"]["name"]: crd["spec"]["names"]["kind"] for crd in all_crds()
        }
        made = await found.client.create(REMOTES, remote_mesh(namespace="default"))
        assert made["spec"]["network"] == "west-network"


async def test_those_of_a_newer_version_stay(place: Any) -> None:
    newer = older("10.0.0")
    spec_of(newer[0])["properties"]["more"] = {"type": "string"}
    async with place([newer[0]]) as found:
        code, out, _ = await found.apply()
        assert code == 0
        assert out[0] == f"{NAMES[0]}: of the newer version 10.0.0, which {__version__} gets along with"
        assert "more" in spec_of(found.live()[NAMES[0]])["properties"]
    # Without what this version needs it cannot be served by them.
    async with place(newer) as found:
        before = found.live()
        code, out, said = await found.apply()
        assert (code, out, found.live()) == (1, [], before)
        assert "use 10.0.0 or a later one here too" in said


async def test_somebody_elses_stay_and_so_do_the_others_unless_it_is_said(place: Any) -> None:
    foreign = foreign_crds()
    async with place(foreign) as found:
        before = found.live()
        code, out, said = await found.apply()
        assert (code, out, found.live()) == (1, [], before)
        for crd in foreign:
            assert f"{crd['metadata']['name']} is not Meshfed's" in said
        assert "--adopt-reference (the chart's controller.adoptReference=true)" in said
        code, out, _ = await found.apply("--adopt-reference")
        assert code == 0
        assert sorted(found.live()) == sorted(NAMES)
        assert [line.partition(": ")[2].partition(" ")[0] for line in out] == ["replaced:", "created,", "replaced:"]
        assert (await found.apply())[0] == 0


async def test_another_that_is_faster_is_looked_at_again(place: Any) -> None:
    async with place(older()) as found:
        found.server.fail(verb="patch", resource="customresourcedefinitions.apiextensions.k8s.io", status=409)
        code, out, _ = await found.apply()
        assert (code, len(out)) == (0, 3)
        assert all("brought from" in line for line in out)


async def test_one_that_is_not_in_force_is_waited_for(place: Any) -> None:
    async with place(older()) as found:
        conditions = [{"type": "NamesAccepted", "status": "False"}, {"type": "Established", "status": "True"}]
        await found.client.patch(CRDS, NAMES[1], {"status": {"conditions": conditions}}, subresource="status")
        code, out, said = await found.apply("--timeout=1s")
        assert (code, out) == (1, [])
        assert "after 1 s not every CRD is in force" in said
        waiting = asyncio.create_task(bring_up(found.client))
        await asyncio.sleep(0)
        conditions[0]["status"] = "True"
        await found.client.patch(CRDS, NAMES[1], {"status": {"conditions": conditions}}, subresource="status")
        await eventually(waiting.done)
        assert [name for name, _ in await waiting] == NAMES


async def test_a_server_that_refuses_or_is_not_there(place: Any, tmp_path: Path) -> None:
    async with place(older()) as found:
        found.server.fail(
            verb="patch", resource="customresourcedefinitions.apiextensions.k8s.io", status=403, message="not you"
        )
        code, out, said = await found.apply()
        assert (code, out) == (3, [])
        assert "not you" in said
        assert (await found.apply("--timeout=soon"))[0] == 2
        await found.server.stop()
        assert (await found.apply())[0] == 3
