"""The page as one file: it shows what a server would, asks nobody for anything, and is bounded."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
import pytest_asyncio

pytest.importorskip("playwright")

from playwright.async_api import Browser, Page, expect

from meshfed.dashboard.files import files, whole
from meshfed.dashboard.still import documents, still
from meshfed.model.last_hour import ChangesSeen, HourOfChanges, LastChange, MinuteOfChanges
from meshfed.views.importers import ImportersSeen
from meshfed.views.snapshot import Snapshot
from tests.builders import host, mesh_federation, remote_mesh
from tests.cli.fakes import condition, imported, lease, snapshot, trouble, with_status
from tests.dashboard.boards import HeldMesh, served
from tests.dashboard.browser import CHROMIUM, barriers, chromium, opened, opened_file, show
from tests.views.federated import World
from tests.views.test_timeline import event

looks = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium here: install it, or name it by MESHFED_CHROMIUM"),
    pytest.mark.timeout(300),
]
VIEWS = {
    "": "table.stack",
    "hosts": "table.hosts",
    "host?name=ratings.bookinfo.svc.cluster.local": ".chain",
    "host?name=nothing": ".banner.bad",
    "host?name=constructor": ".banner.bad",
    "remote": "table.stack",
    "remote?mesh=east&name=north": ".figures",
    "timeline": ".happenings",
    "plan": ".empty",
}
MANY = 250


def looked_at(test: Any) -> Any:
    """A test that has a browser."""
    for mark in looks:
        test = mark(test)
    return test


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found


def meshes() -> tuple[Snapshot, ...]:
    """One mesh in trouble, and two that are well, of which the clocks are an hour apart."""
    east, west = World().snapshots()
    lost = event("RemoteMesh", "north", "RemoteLost", "2026-01-01T11:55:10Z", warns=True)
    return snapshot(*trouble().objects, lost, source="south"), east, west


def many() -> Snapshot:
    """A mesh that imports hosts of three namespaces, with some of each state."""
    bad = condition("Accepted", False, "LocalServiceExists", "there is a local Service")
    conditions = [[bad] if number % 7 == 0 else [] for number in range(MANY)]
    offers = [imported("west", f"host-{number}.ns-{number % 3}", *found) for number, found in enumerate(conditions)]
    well = with_status(mesh_federation("east"), condition("Ready", True, "Ready"))
    return snapshot(well, with_status(remote_mesh("west", import_={})), *offers, lease("c-0"))


def held(page: bytes) -> dict[str, Any]:
    """The documents in a page."""
    found = re.search(rb'<script type="application/json" id="documents">(.*?)</script>', page)
    assert found is not None
    documents: dict[str, Any] = json.loads(found[1])
    return documents


def test_what_it_holds_is_what_was_found() -> None:
    found = held(still(meshes(), "istio"))
    assert found == json.loads(json.dumps(documents(meshes(), "istio")))
    assert [one["mesh"] for one in found["federation"]["meshes"]] == ["east", "east", "west"]
    assert found["explanations"][host("ratings.bookinfo")]["chains"][0]["broken"] is None


def test_what_somebody_wrote_into_an_object_is_no_part_of_the_page() -> None:
    evil = "</script><script>alert(1)</script><!--"
    page = still([snapshot(with_status(mesh_federation("east"), condition("Ready", False, "Odd", evil)))], "istio")
    assert page.count(b"<script") == page.count(b"</script") == 3
    assert evil in held(page)["federation"]["meshes"][0]["message"]


def test_it_is_bounded_and_says_so() -> None:
    found = documents([many()], "istio", most_hosts=30, most_happenings=2, most_chains=5)
    assert (len(found["hosts"]["items"]), found["hosts"]["all"], len(found["explanations"])) == (30, MANY, 5)
    assert {one["state"] for one in found["hosts"]["items"]} == {"Refused"}
    assert found["hosts"]["notes"] == (f"of {MANY} hosts this file has 30, the worst",)
    assert len(found["timeline"]["items"]) == 2
    assert found["timeline"]["notes"][0].endswith("happenings this file has 2, the latest")


def test_every_module_is_in_it_and_nothing_is_loaded() -> None:
    page = whole({}, "").decode()
    scripts = [path for path in files() if path.endswith(("js",))]
    assert [path for path in scripts if f"modules['{path}'] = " not in page] == []
    assert not re.search(r'(?:src|href)="(?!data:|#)|@import|url\((?!#)', page)
    assert "The MIT License" in page
    assert "Apache License" in page


# --- in a browser


@looked_at
async def test_every_view_of_the_file(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "dashboard.html"
    path.write_bytes(still(meshes(), "istio"))
    async with opened_file(browser, path, width=320) as page:
        await expect(page.locator(".live")).to_have_text("as it was at 2026-01-01 12:00:00 UTC; this does not change")
        for view, selector in VIEWS.items():
            await show(page, view, selector)
            assert await barriers(page) == [], view
            assert await page.evaluate("document.documentElement.scrollWidth") <= 320, view
        await show(page, "remote?mesh=east&name=north", ".figures")
        await expect(page.get_by_role("button")).to_have_count(0)
        await expect(page.get_by_role("link", name="What if")).to_have_count(0)
        await show(page, "timeline?bad=true&since=15m", ".happenings li")
        await expect(page.locator(".happenings .when small").first).to_have_text("4m ago")


@looked_at
async def test_hosts_are_searched_in_the_file(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "dashboard.html"
    path.write_bytes(whole(documents([many()], "istio", most_chains=50), "2026-01-01T12:00:00Z"))
    async with opened_file(browser, path) as page:
        await show(page, "hosts", "table.hosts")
        await expect(page.locator("h1")).to_have_text(f"Hosts {MANY}")
        await page.get_by_label("Search").fill("host-24 refused")
        await expect(page.locator("table.hosts tbody tr")).to_have_count(1)
        await page.get_by_role("link", name=host("host-245.ns-2")).click()
        await expect(page.locator(".chain .banner").first).to_contain_text("Broken at")
        await show(page, f"host?name={host('host-249.ns-0')}", ".banner.bad")
        await expect(page.locator(".banner.bad")).to_contain_text(f"meshfed explain {host('host-249.ns-0')} -f REPORT")


@looked_at
async def test_nothing_else_runs_in_it(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "dashboard.html"
    more = b"<script>document.title = 'taken over'</script></body>"
    path.write_bytes(still(meshes(), "istio").replace(b"</body>", more))
    async with opened_file(browser, path, quiet=["Content Security Policy", "192.0.2.1"]) as page:
        assert await page.title() == "Federation · Meshfed"
        async with page.expect_event("requestfailed") as failed:
            await page.evaluate("document.body.append(Object.assign(new Image(), { src: 'http://192.0.2.1/a.png' }))")
        assert (await failed.value).failure == "csp"


HOSTS = [
    {},
    {"q": "HOST-1 west"},
    {"q": "localservice", "namespace": "ns-1"},
    {"state": "Refused"},
    {"state": "Imported", "start": "100"},
    {"mesh": "west", "start": "9999"},
    {"mesh": "nobody"},
]
HAPPENED = [{}, {"bad": "true"}, {"remote": "west", "q": "accepted"}, {"since": "15m"}, {"since": "1h", "mesh": "east"}]


@looked_at
async def test_it_answers_as_the_server_does(browser: Browser) -> None:
    questions = [
        *(f"/api/hosts?{urlencode(one)}" for one in HOSTS),
        *(f"/api/timeline?{urlencode(one)}" for one in HAPPENED),
    ]
    west = HourOfChanges((MinuteOfChanges(3, 1, 0.2, 0.2),), LastChange(0.2, 190.0))
    took = ChangesSeen(600.0, {"west": west})
    there = msgspec.structs.replace(many(), importers=ImportersSeen(imports_took=took))
    more = snapshot(*trouble().objects, source="south")
    later = Snapshot("south", more.namespace, more.taken + timedelta(minutes=30), more.objects)
    for given in ([there], [later]):
        async with served([HeldMesh(one) for one in given]) as found, opened(browser, found) as page:
            mine = documents(given, "istio", most_chains=0)
            for question in (*questions, f"/api/propagation?source={given[0].source}&remote=west"):
                answer = await found.document(question)
                expected = {key: value for key, value in answer.items() if key not in {"apiVersion", "kind"}}
                assert await answered(page, mine, question) == expected, question


async def answered(page: Page, mine: dict[str, Any], question: str) -> Any:
    """What the page's own code answers of documents."""
    program = "async ([mine, path]) => (await import('/page/still.js')).answer(mine, path)"
    return await page.evaluate(program, [mine, question])
