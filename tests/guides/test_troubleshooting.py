"""What a caller sees of each failure is what the page on troubleshooting looks it up by; real proxies say it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from meshfed.views.access_log import judge, parse
from meshfed.views.symptoms import CALLERS
from tests.builders import service_entry
from tests.guides.readers import ROOT
from tests.sandbox.dataplane.world import Answer, World
from tests.waiting import eventually

KNOWS_NOTHING = ("UH", "BlackHoleCluster")
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """West exports ratings and not details; what east has of them is each test's."""
    async with World.up("east", "west", directory=tmp_path_factory.mktemp("world")) as world:
        await world.east.bookinfo("productpage")
        await world.west.bookinfo("ratings", "details")
        await world.west.federation()
        await world.west.export("ratings.bookinfo")
        await world.settled()
        yield world


async def imported(world: World, *, service: str = "ratings", port: int = 15443, **spec: Any) -> str:
    """Write what an import looks like, with something wrong in it; the URL to call."""
    host = f"{service}.bookinfo.svc.cluster.local"
    endpoint = {
        "address": await world.west.gateway_address(),
        "network": "west-network",
        "labels": {"security.istio.io/tlsMode": "istio"},
        "ports": {"http": port},
    }
    await world.east.apply(service_entry("imported", host, **{"endpoints": [endpoint], **spec}))
    return f"http://{host}:9080/{service}/0"


def row(it_is: str) -> tuple[list[str], list[str]]:
    """What the page's row that leads to ``it_is`` quotes: of what the caller gets, and of its access log."""
    (found,) = [one for one in CALLERS if it_is in one.it_is]
    assert f"| {found.gets} | {found.log} | {found.it_is} |" in (ROOT / "docs" / "troubleshooting.md").read_text()
    return re.findall(r"`([^`]+)`", found.gets), re.findall(r"`([^`]+)`", found.log)


def verdict(line: dict[str, Any]) -> str:
    """What `meshfed explain --log` says of a line, and where it leads."""
    found = judge(parse(json.dumps(line)))
    assert found.failed
    return f"{found.verdict} {found.page}"


async def fails(world: World, url: str, status: int, it_is: str) -> None:
    """A call fails with what the page's row quotes, to the caller and in its access log."""
    body, log = row(it_is)
    last: Answer | None = None

    async def quoted() -> bool:
        nonlocal last
        last = await world.east.request(url)
        if last.status != status or not all(words in str(last.body) for words in body):
            return False
        (hop, *_) = await world.path(last)
        seen = f"{hop.line['response_flags']} {hop.line['upstream_transport_failure_reason']}"
        return all(words in seen for words in log) and it_is in verdict(hop.line)

    await eventually(quoted, what=f"{url}: {status} {body} {log}; last: {last}")


async def test_a_name_that_does_not_resolve(world: World) -> None:
    answer = await world.east.request("http://nowhere.bookinfo:9080/")
    assert (answer.status, answer.error.partition(":")[0]) == (0, "cannot connect")
    assert "does not resolve" in (ROOT / "docs" / "troubleshooting.md").read_text()


async def test_a_port_that_is_not_known_is_closed_at_once(world: World) -> None:
    url = await imported(world)
    await world.east.until(url)
    answer = await world.east.request(url.replace("9080", "9999"))
    # Which of the two is said depends on whether the request had been sent by then.
    assert answer.status == 0
    assert answer.error in {"Server disconnected", "[Errno 104] Connection reset by peer"}


async def test_another_identity_than_expected(world: World) -> None:
    url = await imported(world, subjectAltNames=["spiffe://cluster.local/ns/bookinfo/sa/somebody-else"])
    await fails(world, url, 503, "#a-certificate-is-not-accepted")
    reasons = [hop.line["upstream_transport_failure_reason"] or "" for hop in world.east.hops()]
    assert any("SAN_matcher" in reason for reason in reasons)


async def test_a_gateway_that_is_not_reached(world: World) -> None:
    url = await imported(world, port=15444)
    assert row("#the-gateway-is-not-reached") == (["upstream connect error"], ["UF", "delayed_connect_error"])
    await fails(world, url, 503, "#the-gateway-is-not-reached")


async def test_a_host_that_is_not_exported(world: World) -> None:
    url = await imported(world, service="details")
    await fails(world, url, 503, "#the-gateway-does-not-pass-it-on")

    def closed() -> bool:
        lines = [hop.line for hop in world.west.hops() if "details" in (hop.line["requested_server_name"] or "")]
        knows_nothing = [line for line in lines if (line["response_flags"], line["upstream_cluster"]) == KNOWS_NOTHING]
        return any("the gateway knows no such host" in verdict(line) for line in knows_nothing)

    await eventually(closed, what="west's gateway logs what it does not know")


async def test_no_endpoint(world: World) -> None:
    url = await imported(world, endpoints=[])
    await fails(world, url, 503, "no endpoint is left")


async def test_who_is_refused(world: World) -> None:
    source = {"principals": ["cluster.local/ns/bookinfo/sa/somebody-else"]}
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "ratings", "namespace": "bookinfo"},
        "spec": {"selector": {"matchLabels": {"app": "ratings"}}, "rules": [{"from": [{"source": source}]}]},
    }
    await world.west.apply(policy)
    await fails(world, await imported(world), 403, "#it-is-refused")
