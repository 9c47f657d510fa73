"""The page out of a controller: off unless asked for, read-only, by what the controller may read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from meshfed.cli.app import run
from meshfed.controller.options import Address, Options
from meshfed.dashboard.inside import inside
from meshfed.kube import ClusterConfig
from meshfed_sandbox.ports import Ports
from tests.builders import SYSTEM
from tests.dashboard.test_watching import ACCOUNT, as_somebody
from tests.waiting import eventually

NAMES = ("mesh.example.com",)


@asynccontextmanager
async def asked(config: ClusterConfig, port: int, **more: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """The page of a controller, and who asks it."""
    options = Options(namespace=SYSTEM, **more)
    async with (
        inside(config, options, Address("127.0.0.1", port), NAMES),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


def granted_to_the_controller(everywhere: bool) -> list[dict[str, Any]]:
    """The rules that `meshfed manifests` prints, of the cluster or of the namespace."""
    text = (resources.files("meshfed.cli") / "manifests.yaml").read_text()
    kind = "ClusterRole" if everywhere else "Role"
    return [rule for one in yaml.safe_load_all(text) if one and one["kind"] == kind for rule in one["rules"]]


async def test_the_controller_gets_no_permission_for_it(tmp_path: Path, ports: Ports) -> None:
    async with (
        as_somebody(tmp_path, granted_to_the_controller) as (server, config),
        asked(config, ports.take()) as session,
    ):

        async def is_shown() -> bool:
            async with session.get("/api/federation") as answer:
                return [one["name"] for one in (await answer.json())["nodes"]][:1] == ["east"]

        await eventually(is_shown)
        notes: list[str] = []

        async def are_all() -> bool:
            async with session.get("/api/hosts") as answer:
                # Routes are served here, and granted on OpenShift alone.
                notes[:] = [one for one in (await answer.json())["notes"] if "routes.route.openshift.io" not in one]
            return not any("being" in one for one in notes)

        await eventually(are_all)
        assert notes == ["this cluster: the controller, out of which this page is, may not read Events"]
        async with session.get("/api/timeline") as answer:
            assert (await answer.json())["notes"] == notes
        async with session.get("/api/propagation", params={"source": "this cluster", "remote": "west"}) as answer:
            assert "may not ask its replicas" in (await answer.json())["why"]
        uses = [use for use in server.audit if use.user.endswith(f":{ACCOUNT}")]
        assert {use.asked.resource for use in uses if not use.allowed} <= {"routes"}
        assert {use.asked.verb for use in uses} == {"get", "list", "watch"}


async def test_it_is_known_by_its_names_alone_and_only_shows(tmp_path: Path, ports: Ports) -> None:
    away = ClusterConfig(server="http://127.0.0.1:1")
    async with asked(away, ports.take(), read_pods=False) as session:

        async def status(host: str, path: str = "/", **headers: str) -> int:
            async with session.get(path, headers={"Host": host, **headers}) as answer:
                return answer.status

        for host in ("mesh.example.com", "MESH.example.com:443", "localhost:1234", "127.0.0.1", "[::1]:8082"):
            assert await status(host) == 200, host
        for host in ("evil.example", "mesh.example.com.evil.example", "", "x@evil.example", "[::1"):
            assert await status(host, "/api/federation") == 421, host
        async with session.get("/") as answer:
            page = await answer.text()
            assert '<div id="app" data-asks="" data-still=""></div>' in page
            assert "Set-Cookie" not in answer.headers
        for path in ("/api/plan", "/api/handshake"):
            async with session.post(path, json={}) as posted:
                assert posted.status == 404


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dashboard-bind-address", "8082"], "--dashboard-bind-address: '8082' is not an address to listen on"),
        (["--dashboard-hosts", "https://mesh.example.com"], "'https://mesh.example.com' is no name of a host"),
    ],
)
def test_what_is_no_address_is_said(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["controller", *arguments]) == 2
    assert said in capsys.readouterr().err
