"""The page in a Chromium: every view, in both themes, on a narrow screen, by keyboard alone, live, and with thousands.

Screenshots stay in the folder `MESHFED_SCREENSHOTS`, or in pytest's temporary one.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import yaml

pytest.importorskip("playwright")

from playwright.async_api import Browser, Page, expect

from meshfed.dashboard import server
from meshfed.dashboard.watching import WatchedMesh
from tests.builders import mesh_federation, namespace, pod, remote_mesh, service
from tests.cli.fakes import condition, imported, lease, replica, snapshot, trouble, with_status
from tests.controller.meshes import federated
from tests.dashboard.boards import HeldMesh, Served, served, shifted
from tests.dashboard.browser import CHROMIUM, barriers, chromium, opened, show
from tests.views.federated import World
from tests.views.test_timeline import event
from tests.waiting import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium here: install it, or name it by MESHFED_CHROMIUM"),
    pytest.mark.timeout(300),
]
expect.set_options(timeout=30_000)  # far more than anything takes, so that a busy machine fails no test
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "dashboard.png"
VIEWS = {
    "": "table.stack",
    "hosts": "table.hosts",
    "host?name=reviews": ".chain",
    "host?name=nothing": ".banner.warn",
    "remote": "table.stack",
    "remote?mesh=east&name=west": ".figures",
    "timeline": ".happenings",
    "plan": "textarea",
}
THOUSANDS = 5000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots stay."""
    given = os.environ.get("MESHFED_SCREENSHOTS")
    folder = Path(given) if given else tmp_path_factory.getbasetemp() / "dashboard"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def well(name: str, exported: int, imported_: int, *objects: Any, source: str = "", minutes: int = 0) -> HeldMesh:
    """A mesh that is well, or was so many minutes ago."""
    federation = with_status(
        mesh_federation(name),
        condition("Ready", True, "Ready", f"exports {exported} services, imports {imported_} hosts"),
        condition("GatewayReady", True, "Applied", "the gateway's objects are in place"),
        exportedServices=exported,
        importedServices=imported_,
    )
    taken = snapshot(federation, *objects, replica(f"{name}-0"), source=source or name)
    now = datetime.now(UTC)
    return HeldMesh(shifted(taken, now - timedelta(minutes=minutes)), time=now)


def heard(name: str, number: int, *conditions: Any) -> Any:
    """A RemoteMesh from which all is imported that it offers."""
    return with_status(
        remote_mesh(name),
        condition("Ready", True, "Ready"),
        condition("Connected", True, "Connected", "connected, told of its changes one by one"),
        condition("Synced", True, "Synced"),
        *conditions,
        offeredServices=number,
        importedServices=number,
    )


def in_trouble() -> list[HeldMesh]:
    """Four meshes: one in all kinds of trouble, one that is well, one that does not answer, one that never did."""
    answered = condition("Reachable", True, "Answered", "answered through 192.0.2.30:15443")
    lost = event("RemoteMesh", "north", "RemoteLost", "2026-01-01T11:55:10Z", warns=True)
    west = well(
        "west",
        14,
        8,
        heard("east", 2),
        heard("south", 6, answered),
        imported("east", "details"),
        imported("east", "catalogue.shop"),
        *(imported("south", f"stock-{number}.shop") for number in range(6)),
        namespace("default"),
        service("ratings", exported=True),
        service("outside", exported=True, type="ExternalName", externalName="x.example", ports=[]),
    )
    south = well("south", 6, 0, remote_mesh("west", import_=None), source="south-prod", minutes=3)
    south.unreached = "https://203.0.113.9:6443: connection refused"
    far = HeldMesh(snapshot(source="far"), unreached="https://203.0.113.10:6443 does not answer", known=False)
    return [HeldMesh(shifted(snapshot(*trouble().objects, lost))), west, south, far]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 320), ("dark", 320)])
async def test_every_view(scheme: str, width: int, browser: Browser, kept: Path) -> None:
    async with served(in_trouble()) as found, opened(browser, found, scheme=scheme, width=width) as page:
        for number, (view, selector) in enumerate(VIEWS.items()):
            await show(page, view, selector)
            await expect(page.locator(".old")).to_have_count(0)
            await page.screenshot(path=kept / f"{scheme}-{width}-{number}.png", full_page=True)
            assert await barriers(page) == [], view
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{view} is wider than the screen"
            assert await page.evaluate("document.querySelectorAll('h1').length") == 1


async def test_the_picture_in_the_documentation_is_of_what_is_there(browser: Browser) -> None:
    """`MESHFED_WRITE_CASES=1` makes it anew: the text of the page it was made of is noted in it."""
    async with served(in_trouble()) as found, opened(browser, found) as page:
        await expect(page.get_by_role("heading", name="Links")).to_be_visible()
        # What is five minutes old is so by less than a second, and may be four.
        text = re.sub(r"\b\d+[smhd]\b", "some time", await page.inner_text("main"))
        words = hashlib.sha256(text.encode()).hexdigest()
        if os.environ.get("MESHFED_WRITE_CASES"):
            PICTURE.write_bytes(noted(await page.screenshot(), words))
    assert note(PICTURE.read_bytes()) == words, "make it anew: MESHFED_WRITE_CASES=1"


def noted(picture: bytes, words: str) -> bytes:
    """A PNG with a text in it, before its end."""
    chunk = b"tEXtpage\0" + words.encode()
    end = picture.rindex(struct.pack(">I", 0) + b"IEND")
    return (
        picture[:end] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + picture[end:]
    )


def note(picture: bytes) -> str:
    """The text in a PNG."""
    return picture.partition(b"tEXtpage\0")[2][:64].decode()


# --- what is asked within a minute


async def test_who_uses_my_service(browser: Browser) -> None:
    async with served(in_trouble()) as found, opened(browser, found) as page:
        await page.get_by_role("link", name="Hosts", exact=True).click()
        await page.get_by_label("Search").fill("stock-3")
        (row,) = await rows(page, 1)
        assert {"stock-3.shop.svc.cluster.local", "south", "west Imported"} <= {*row}


async def test_why_is_this_host_refused(browser: Browser) -> None:
    async with served(in_trouble()) as found, opened(browser, found) as page:
        await page.locator("section[aria-labelledby=wrong] summary").click()
        await page.get_by_role("link", name="cart.default.svc.cluster.local").first.click()
        banner = page.locator(".chain .banner").first
        await expect(banner).to_contain_text("Broken at")
        await show(page, "hosts?state=Refused", ".chip[aria-current]")
        await rows(page, 2)
        await expect(page.locator("tbody tr").first).to_contain_text("LocalServiceExists")


async def test_which_remote_is_in_trouble(browser: Browser) -> None:
    async with served(in_trouble()) as found, opened(browser, found) as page:
        await expect(page.locator(".arrow.proven .tag.wrong + g + text")).to_contain_text("wrong")
        arrow = page.locator(".arrow.broken")
        await expect(arrow).to_have_attribute("aria-label", "east imports from north: broken · 1 of 1")
        await arrow.locator(".tag").click()
        await expect(page.locator(".banner.bad").first).to_contain_text("connection refused")


async def test_what_changed_in_the_last_hour(browser: Browser) -> None:
    async with served(in_trouble()) as found, opened(browser, found) as page:
        await page.get_by_role("link", name="What happened").first.click()
        await page.get_by_label("When").select_option("1h")
        await page.get_by_label("only what is wrong").check()
        await expect(page.locator(".happenings li").first).to_contain_text("RemoteLost")
        assert page.url.endswith("#/timeline?since=1h&bad=true")
        await page.reload()
        await expect(page.get_by_label("When")).to_have_value("1h")
        await expect(page.locator(".happenings li").first).to_contain_text("RemoteLost")


async def rows(page: Page, number: int) -> list[list[str]]:
    """The rows of the hosts, once there are so many: the words of each cell."""
    await expect(page.locator("table.hosts tbody tr")).to_have_count(number)
    all_rows = "[...document.querySelectorAll('table.hosts tbody tr')]"
    cells: list[list[str]] = await page.evaluate(f"{all_rows}.map(row => [...row.cells].map(cell => cell.textContent))")
    return cells


# --- what would happen


async def test_a_change_that_is_pasted_and_one_that_is_a_file(browser: Browser, tmp_path: Path) -> None:
    change = yaml.safe_dump(remote_mesh("west", import_={"rules": [{"action": "Deny"}]}))
    async with served([HeldMesh(one) for one in World().snapshots()]) as found, opened(browser, found) as page:
        await show(page, "plan", "textarea")
        await page.get_by_label("Objects, as YAML or JSON").fill(change)
        await page.get_by_role("button", name="Work it out").click()
        await expect(page.locator(".traffic")).to_contain_text("1 host loses its last endpoint")
        await page.get_by_text("Delete ServiceEntry").click()
        await expect(page.locator("details[open] .minus").first).to_be_visible()
        assert await barriers(page) == []
        (tmp_path / "same.yaml").write_text(yaml.safe_dump(remote_mesh("west", identity=None)))
        await page.get_by_label("or a file").set_input_files(tmp_path / "same.yaml")
        await expect(page.get_by_role("heading", name="Mesh east")).to_be_visible()


async def test_what_is_wrong_with_a_change_is_said(browser: Browser) -> None:
    meshes = [HeldMesh(one) for one in World().snapshots()]
    async with served(meshes) as found, opened(browser, found, quiet=["422"]) as page:
        await show(page, "plan", "textarea")
        await page.get_by_label("Objects, as YAML or JSON").fill("kind: Nothing")
        await page.get_by_role("button", name="Work it out").click()
        await expect(page.locator(".banner.bad")).to_contain_text("no apiVersion or no kind")


# --- by keyboard alone


async def test_by_keyboard_alone(browser: Browser) -> None:
    async with served(in_trouble()) as found, opened(browser, found) as page:

        async def focused() -> str:
            named = "(one => one.getAttribute('aria-label') || one.textContent.trim())(document.activeElement)"
            text: str = await page.evaluate(named)
            return text

        async def tab_to(words: str) -> None:
            for _ in range(60):
                await page.keyboard.press("Tab")
                if (await focused()).startswith(words):
                    return
            raise AssertionError(f"no Tab leads to {words!r}")

        await expect(page.locator(".picture")).to_be_visible()
        await tab_to("Skip to what is shown")
        await page.keyboard.press("Enter")
        assert (await focused()).startswith("Federation")
        await tab_to("east imports from west: proven · 2 of 6, 3 wrong")
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_contain_text("as east sees it")
        await expect(page.locator("h1")).to_be_focused()
        await tab_to("LocalServiceExists")
        await page.keyboard.press("Enter")
        await rows(page, 2)
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        await tab_to("cart.default.svc.cluster.local")
        assert await page.evaluate(outline) == "solid"
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_have_text("cart.default.svc.cluster.local")


# --- live


async def test_a_label_is_on_the_page_within_a_second(browser: Browser) -> None:
    services = [namespace("default"), service("ratings", exported=True), pod("ratings-1", "ratings")]
    async with federated("east", "west", services={"west": services}) as (east, west):
        await west.label("ratings", export_service=None)
        await eventually(lambda: not east.all("FederatedService"))
        meshes = [WatchedMesh(one.name, one.client.config) for one in (east, west)]
        async with served(meshes) as found, opened(browser, found) as page:
            await show(page, "hosts", ".empty")
            clock = asyncio.get_running_loop().time
            began = clock()
            await west.label("ratings", export_service="true")
            await expect(page.locator("table.hosts")).to_contain_text("Imported")
            took = clock() - began
            print(f"from the label to the page: {took:.3f} s")
            await show(page, "timeline?q=ratings", ".happenings")
            await expect(page.locator(".happenings")).to_contain_text("Exported")
    assert took < 10, "it takes half a second; a busy machine fails no test"


async def test_one_mesh_stops_and_blocks_nothing(browser: Browser) -> None:
    meshes = in_trouble()[:2]
    async with served(meshes) as found, opened(browser, found) as page:
        live = page.locator(".live")
        await expect(live).to_have_text("live")
        meshes[1].silence("https://192.0.2.1:6443: connection refused")
        await expect(live).to_contain_text("west not reached, shown as it was")
        await expect(page.locator(".mesh.grey")).to_have_count(1)
        await expect(page.locator(".arrow.unknown").first).to_be_attached()
        meshes[0].hold(shifted(snapshot(mesh_federation("east"), lease("c-0"))))
        await expect(page.get_by_text("imports 2").first).not_to_be_visible()
        meshes[1].silence("")
        await expect(live).to_have_text("live")


async def test_ages_are_by_the_clock_of_each_mesh(browser: Browser) -> None:
    """The clocks there are far from the one here, and an hour from each other."""
    east, west = World().snapshots()
    west = shifted(west, east.taken + timedelta(hours=1))
    async with served([HeldMesh(east), HeldMesh(west)]) as found, opened(browser, found) as page:
        await show(page, "remote", "table.stack")
        await expect(page.locator("td.age").first).to_have_text(ANY_MINUTES)
        await show(page, "hosts", "table.hosts")
        await expect(page.locator("td.age").first).to_have_text(ANY_MINUTES)
        await show(page, "timeline?since=15m", ".happenings li")
        for ago in await page.locator(".happenings .when small").all_inner_texts():
            assert ANY_MINUTES.match(ago), ago


ANY_MINUTES = re.compile(r"^(\d{1,2}|1[01]\d)[sm]( ago)?$")
"""Less than two hours."""


async def test_the_server_goes_and_comes_back(browser: Browser) -> None:
    async with served(in_trouble()[:1]) as found, opened(browser, found, quiet=["ERR_", "Failed to load"]) as page:
        await expect(page.locator(".live")).to_have_text("live")
        await page.context.set_offline(True)
        await page.evaluate("performance.now()")
        found.server._over.set()
        await expect(page.locator(".live")).to_contain_text("does not answer", timeout=20_000)
        found.server._over.clear()
        await page.context.set_offline(False)
        await expect(page.locator(".live")).to_have_text("live", timeout=20_000)


async def test_a_page_too_many_says_so_and_is_live_once_there_is_room(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(server, "_MOST_STREAMS", 0)
        async with served(in_trouble()[:1]) as found, opened(browser, found, quiet=["503", "Failed to load"]) as page:
            await expect(page.locator(".live")).to_contain_text("pages are open already: close some")
            full.undo()
            await expect(page.locator(".live")).to_have_text("live", timeout=20_000)


# --- thousands


@asynccontextmanager
async def thousands() -> AsyncIterator[tuple[Served, HeldMesh]]:
    """Three meshes, of which one imports 5,000 hosts."""
    answered = condition("Reachable", True, "Answered", "answered")
    offers = [imported("west", f"host-{number}.ns-{number % 80}") for number in range(THOUSANDS)]
    east = well("east", 0, THOUSANDS, heard("west", THOUSANDS, answered), heard("south", 1), *offers)
    meshes = [east, well("west", THOUSANDS, 0, remote_mesh("east", import_=None)), well("south", 1, 0)]
    async with served(meshes) as found:
        yield found, east


async def test_thousands_are_smooth(browser: Browser, kept: Path) -> None:
    async with thousands() as (found, east):
        clock = asyncio.get_running_loop().time
        began = clock()
        async with opened(browser, found) as page:
            await page.wait_for_selector(".picture svg .tag")
            first = clock() - began
            session = await page.context.new_cdp_session(page)
            await session.send("Performance.enable", {"timeDomain": "threadTicks"})
            before = await busy(session)
            await show(page, "hosts", "table.hosts")
            await expect(page.locator("h1")).to_contain_text("5,000")
            await expect(page.locator("table.hosts tbody tr")).to_have_count(100)
            drawn = await busy(session) - before
            assert await page.evaluate("document.querySelectorAll('*').length") < 4000
            await page.screenshot(path=kept / "thousands.png")
            assert await barriers(page) == []
            before = await busy(session)
            changed = list(east._held.objects)
            at = next(at for at, one in enumerate(changed) if one["kind"] == "FederatedService")
            refused = condition("Reachable", False, "NotPassedOn", "closed at the SNI", datetime.now(UTC).isoformat())
            changed[at] = changed[at] | {"status": {**changed[at]["status"]}}
            changed[at]["status"]["conditions"] = [*changed[at]["status"]["conditions"][:2], refused]
            east.hold(msgspec.structs.replace(east._held, objects=tuple(changed)))
            await expect(page.locator("table.hosts tbody tr").first).to_contain_text("NotPassedOn")
            update = await busy(session) - before
            await page.get_by_label("Search").fill("ns-79")
            await expect(page.locator("h1")).to_contain_text("62 of 5,000")
    took = f"drawing it takes {drawn * 1000:.0f} ms of the main thread, and an update {update * 1000:.0f}"
    print(f"first picture after {first:.2f} s; {took}")
    assert update < 1.2 * drawn, f"an update is drawn anew, and more than once: {took}"
    assert first < 20, "it takes a second; a busy machine fails no test"


async def busy(session: Any) -> float:
    """Seconds of a processor for which the page's main thread was busy, but for what this test has it look at."""
    found = {one["name"]: one["value"] for one in (await session.send("Performance.getMetrics"))["metrics"]}
    return float(found["TaskDuration"] - found["DevToolsCommandDuration"])


# --- the picture

TOPOLOGIES = {
    "two": [("a", "b"), ("b", "a")],
    "path": [("a", "b"), ("b", "c"), ("c", "d"), ("d", "c")],
    "triangle": [(one, other) for one in "abc" for other in "abc" if one != other],
    "star": [pair for number in range(5) for pair in (("hub", f"m{number}"), (f"m{number}", "hub"))],
    "big star": [pair for number in range(20) for pair in (("hub", f"m{number}"), (f"m{number}", "hub"))],
    "apart": [("a", "b"), ("c", "d"), ("d", "c")],
}


@pytest.mark.parametrize("topology", TOPOLOGIES)
async def test_nothing_in_the_picture_is_in_the_way_of_anything_else(topology: str, browser: Browser) -> None:
    pairs = TOPOLOGIES[topology]
    names = sorted({name for pair in pairs for name in pair})
    async with served(in_trouble()[:1]) as found, opened(browser, found) as page:
        drawn = await page.evaluate(
            """async ([names, links]) => {
              const { layout, way, BOX } = await import('/page/layout.js');
              const drawing = layout(names.map((name) => ({ name })), links);
              const box = ({ x, y }, width, height) => [x, y, x + width, y + height];
              const words = ({ at: [x, y], least }) => box({ x: Math.max(least, x - 65), y: y - 12 }, 130, 24);
              return [
                ...[...drawing.at.values()].map((one) => box(one, BOX.width, BOX.height)),
                ...drawing.drawn.map((one) => words(way(one, drawing))),
                ...[[0, 0, drawing.width, drawing.height]],
              ];
            }""",
            [names, [{"importer": importer, "exporter": exporter} for importer, exporter in pairs]],
        )
    *things, whole = drawn
    assert len(things) == len(names) + len(pairs)
    overlapping = [
        (one, other)
        for at, one in enumerate(things)
        for other in things[at + 1 :]
        if one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
    ]
    assert overlapping == []
    outside = [one for one in things if one[0] < 0 or one[1] < 0 or one[2] > whole[2] or one[3] > whole[3]]
    assert outside == []
