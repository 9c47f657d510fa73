"""`meshfed test` in meshes that carry requests: it says of each way what requests do there, and nothing of it stays."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from meshfed.views.paths import PathView
from meshfed.views.requests import RequestView
from tests.builders import manifest
from tests.e2e.probes import run
from tests.sandbox.dataplane.world import NAMESPACE, World
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

HOST = "echo.bookinfo.svc.cluster.local"
URL = f"http://{HOST}:8080/"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """East calls; west has what is called, and exports it."""
    async with World.up("east", "west", directory=tmp_path_factory.mktemp("world")) as world:
        await run(world.east, "caller", image="sleep", account="caller")
        await world.west.run("echo", image="echo", port=8080, account="echo")
        await world.federate(**{"import": {"merge": True}})
        await world.west.export("echo.bookinfo")
        await world.settled()
        await world.east.until("http://echo.bookinfo:8080/", from_="caller", mesh="west")
        world.expected("Deprecated field")
        yield world


async def meshfed(world: World, *words: str) -> tuple[int, bytes, str]:
    """The exit code of `meshfed test`, what it prints, and what it says beside."""
    kubeconfigs = f"{world.east.kubeconfig}:{world.west.kubeconfig}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meshfed", "test", *words, "-o", "json"),
        env={"KUBECONFIG": kubeconfigs, "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out, err.decode()


class Requests(msgspec.Struct):
    items: list[RequestView]


class Paths(msgspec.Struct):
    items: list[PathView]


async def paths(world: World, *words: str) -> tuple[int, list[tuple[str, str, str, str]]]:
    code, out, err = await meshfed(world, *words)
    assert out, err
    items = msgspec.json.decode(out, type=Paths).items
    return code, [(one.client, one.server, str(one.outcome), one.ended_at) for one in items]


async def test_both_directions_from_one_side_and_from_both(world: World) -> None:
    both = [("east", "west", "ok", ""), ("west", "east", "ok", "")]
    await says(world, both, "--context", "east")
    await says(world, both, "--context", "east", "--context", "west")
    await says(world, both[::-1], "--context", "west", "--remote", "east")


async def says(world: World, found: list[tuple[str, str, str, str]], *words: str) -> None:
    """Wait until it says so: on a busy machine a controller may not have tried all ways in time, which is said."""

    async def holds() -> bool:
        return await paths(world, *words) == (0, found)

    await eventually(holds, what=f"meshfed test {' '.join(words)} says {found}")


async def test_a_direction_that_is_broken_names_its_place_and_the_other_holds(world: World) -> None:
    before = await world.east.get("RemoteMesh", "west", "istio-system")
    assert before is not None
    await world.east.patch("RemoteMesh", "west", {"spec": {"addresses": ["127.9.9.9"]}}, "istio-system")
    try:

        async def named() -> bool:
            code, found = await paths(world, "--context", "east", "--context", "west")
            return code == 1 and found == [("east", "west", "failed", "gateway"), ("west", "east", "ok", "")]

        await eventually(named)
    finally:
        addresses = {"spec": {"addresses": before["spec"]["addresses"]}}
        await world.east.patch("RemoteMesh", "west", addresses, "istio-system")

    async def mended() -> bool:
        return (await paths(world, "--context", "east"))[0] == 0

    await eventually(mended)


async def test_an_import_is_proven_by_handshake_and_that_is_said(world: World) -> None:
    code, out, err = await meshfed(world, "echo.bookinfo", "--context", "east")
    (found,) = msgspec.json.decode(out, type=Paths).items
    assert (code, found.client, found.server, found.host, str(found.outcome)) == (0, "east", "west", HOST, "ok")
    assert found.message.endswith("as spiffe://cluster.local/ns/bookinfo/sa/echo")
    assert "no request" in err
    assert "--from NAMESPACE" in err


async def request(world: World, *words: str) -> tuple[int, RequestView]:
    code, out, err = await meshfed(world, *words, "--context", "east")
    assert out, err
    (found,) = msgspec.json.decode(out, type=Requests).items
    return code, found


async def test_a_request_from_a_job_and_from_a_pod_and_nothing_stays(world: World) -> None:
    code, found = await request(world, "echo.bookinfo", "--from", NAMESPACE)
    assert (code, found.mesh, found.url, found.code, found.ended_at) == (0, "east", URL, 200, "")
    assert found.client.startswith(f"{NAMESPACE}/meshfed-test-")
    (pod,) = [one["metadata"]["name"] for one in await world.east.list("Pod", NAMESPACE) if "caller" in str(one)]
    code, found = await request(world, "echo.bookinfo", "--from", f"{NAMESPACE}/{pod}")
    assert (code, found.client, found.code) == (0, f"{NAMESPACE}/{pod}", 200)

    async def gone() -> bool:
        pods = [one["metadata"]["name"] for one in await world.east.list("Pod", NAMESPACE)]
        return not await world.east.list("Job") and not [name for name in pods if name.startswith("meshfed-test")]

    await eventually(gone)


async def test_a_job_sends_as_its_account_and_a_policy_that_refuses_it_is_named(world: World) -> None:
    principal = "cluster.local/ns/bookinfo/sa/default"
    rules = [{"from": [{"source": {"notPrincipals": [principal]}}]}]
    spec = {"action": "ALLOW", "rules": rules}
    await world.west.apply(manifest("AuthorizationPolicy", "echo", spec, namespace=NAMESPACE))
    try:

        async def refused() -> bool:
            code, found = await request(world, "echo.bookinfo", "--from", NAMESPACE)
            return (code, found.code, found.reached, found.ended_at) == (1, 403, True, "workload")

        await eventually(refused)
        code, found = await request(world, "echo.bookinfo", "--from", NAMESPACE, "--service-account", "caller")
        assert (code, found.code) == (0, 200)
    finally:
        await world.west.delete("AuthorizationPolicy", "echo")


async def test_a_host_that_is_not_imported_ends_at_its_name(world: World) -> None:
    code, found = await request(world, "nobody.bookinfo.svc.cluster.local:8080", "--from", NAMESPACE)
    assert (code, found.code, found.ended_at) == (1, 0, "name")


async def test_a_namespace_without_injection_sends_nothing(world: World) -> None:
    code, out, err = await meshfed(world, "echo.bookinfo", "--from", "default", "--context", "east")
    assert (code, out) == (1, b"")
    assert "nothing was sent" in err
    assert await world.east.list("Job") == []
