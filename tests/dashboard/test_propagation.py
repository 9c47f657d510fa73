"""How long changes took, in a Chromium: measured by real controllers, and drawn, said and listed as it was measured."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

pytest.importorskip("playwright")

from playwright.async_api import Browser, FloatRect, Locator, Page, expect

from meshfed.controller.remotes.publisher import Publisher
from meshfed.dashboard.still import still
from meshfed.dashboard.watching import WatchedMesh
from meshfed.model.importers import RemoteImports
from meshfed.model.last_hour import ChangesSeen, HourOfChanges, LastChange, LastHour
from meshfed.views.importers import ImportersSeen
from meshfed_sandbox.ports import Ports
from tests.builders import RESOURCES, SYSTEM, service
from tests.cli.fakes import trouble
from tests.cli.test_importers import replica as replica_pod
from tests.controller.meshes import Mesh, federated, synced
from tests.controller.test_subscribers import the_remote
from tests.dashboard.boards import HeldMesh, served, shifted
from tests.dashboard.browser import CHROMIUM, barriers, chromium, opened, opened_file, show
from tests.waiting import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium here: install it, or name it by MESHFED_CHROMIUM"),
    pytest.mark.timeout(300),
]
expect.set_options(timeout=30_000)  # far more than anything takes, so that a busy machine fails no test
VIEW = "remote?mesh=east&name=north"
SERIES = "section[aria-labelledby=propagation]"


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


def an_hour() -> ImportersSeen:
    """North was quick until 20 minutes ago, and slow since; what it imports is measured for 25 minutes only."""
    there, here = LastHour(), LastHour()
    now = 100 * 3600 + 45.0
    for ago in (58, 57, 55, 50, 49, 48, 40, 37, 33, 30, 29, 26, 22):
        there.add(0.08 + ago / 1000, now - ago * 60)
        there.add(0.21, now - ago * 60)
    for ago in (20, 19, 17, 12, 11, 9, 4):
        there.add(2.2, now - ago * 60)
        there.add(14.0 if ago == 12 else 4.1, now - ago * 60)
    for ago in (24, 18, 3):
        here.add(0.004 * ago, now - ago * 60)
    return ImportersSeen(
        imports_took=ChangesSeen(9000.0, {"north": there.seen(now)}),
        exports_took=ChangesSeen(1500.0, {"north": here.seen(now)}),
    )


def held(importing: ImportersSeen | None) -> HeldMesh:
    return HeldMesh(shifted(trouble()), importing=importing)


async def figures(page: Page, direction: str) -> list[list[str]]:
    """The rows of the table of a direction."""
    rows = page.locator(f"figure.{direction} tbody tr")
    return [await row.locator("th, td").all_text_contents() for row in await rows.all()]


async def box(what: Locator) -> FloatRect:
    """Where something is drawn."""
    found = await what.bounding_box()
    assert found is not None
    return found


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 320), ("dark", 320)])
async def test_an_hour_is_drawn_said_and_listed(scheme: str, width: int, browser: Browser, kept: Path) -> None:
    async with (
        served([held(an_hour())]) as found,
        opened(browser, found, scheme=scheme, width=width) as page,
    ):
        await show(page, VIEW, f"{SERIES} .series")
        there = page.locator("figure.imports")
        await expect(there.locator("figcaption")).to_contain_text(
            "Last change 4.1 s, 4m ago · 40 changes measured in the last hour · slowest 14 s, 12m ago"
        )
        here = page.locator("figure.exports")
        await expect(here.locator("figcaption")).to_contain_text("All is measured since 25m ago")
        assert await there.locator("rect.mean").count() == 20, "a minute without a change is a gap"
        assert await here.locator("rect.mean").count() == 3
        assert (await there.locator("rect.before").count(), await here.locator("rect.before").count()) == (0, 1)
        drawn = await box(there.locator(".hour"))
        slow, quick = [await box(there.locator("rect.mean").nth(at)) for at in (0, 19)]
        assert slow["height"] > quick["height"] + 20, "ten times as slow is a line higher"
        assert slow["x"] - drawn["x"] == pytest.approx(drawn["width"] * 55 / 60, abs=2)
        assert quick["x"] - drawn["x"] == pytest.approx(drawn["width"] * 1 / 60, abs=2)
        assert drawn["x"] + drawn["width"] <= width
        axis = await there.locator(".axis text").all_text_contents()
        assert (
            axis
            == await here.locator(".axis text").all_text_contents()
            == ["1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"]
        )
        name = await there.locator("svg.hour").get_attribute("aria-label")
        assert name == ("From north to east: 40 changes in 20 minutes of the last hour, the slowest took 14 s, 12m ago")
        assert (await figures(page, "imports"))[2] == ["11", "2", "3.1 s", "4.1 s"]
        assert await figures(page, "exports") == [
            ["3", "1", "12 ms", "12 ms"],
            ["18", "1", "72 ms", "72 ms"],
            ["24", "1", "96 ms", "96 ms"],
        ]
        assert await barriers(page) == []
        await there.locator("summary").click()
        await expect(there.locator("table")).to_be_visible()
        assert await barriers(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await page.locator(SERIES).screenshot(path=kept / f"propagation-{scheme}-{width}.png")


NONE = "\N{EN DASH}"
NOTHING = HourOfChanges((), LastChange(0.25, 9000.0))


@pytest.mark.parametrize(
    ("importing", "said"),
    [
        (
            ImportersSeen(imports_took=ChangesSeen(9000.0), exports_took=ChangesSeen(9000.0, {"north": NOTHING})),
            [
                "No change was measured in the last hour.",
                "No change was measured in the last hour. The last one, 2h ago, took 250 ms.",
            ],
        ),
        (
            ImportersSeen(exports_took=ChangesSeen(90.0)),
            [
                "Not measured: of the replicas that answered none leads",
                "No change was measured in the last hour. All is measured since 90s ago",
            ],
        ),
        (
            ImportersSeen(why="you may not get pods/proxy in namespace istio-system"),
            ["Not known: you may not get pods/proxy in namespace istio-system"],
        ),
        (
            ImportersSeen(why="pod c-1:8080 does not answer", exports_took=ChangesSeen(9000.0)),
            [
                "Not all is known: pod c-1:8080 does not answer",
                "Not measured",
                "No change was measured in the last hour.",
            ],
        ),
        (ImportersSeen(), ["they are of a version that does not measure it"]),
        (
            ImportersSeen({"north": RemoteImports()}, exports_took=ChangesSeen(9000.0)),
            ["What is in place is not known: north does not say it.", "No change was measured in the last hour."],
        ),
        (
            ImportersSeen(
                {"north": RemoteImports(says=True, imports=5, outdated=3, waiting=54.0)},
                exports_took=ChangesSeen(9000.0),
            ),
            ["3 hosts not in place there yet as offered now, the first for 54 s"],
        ),
        (ImportersSeen(exports_took=ChangesSeen(9000.0)), ["north does not subscribe now."]),
    ],
)
async def test_what_there_is_not_is_said(importing: ImportersSeen, said: Sequence[str], browser: Browser) -> None:
    async with served([held(importing)]) as found, opened(browser, found, width=320) as page:
        await show(page, VIEW, f"{SERIES} .empty, {SERIES} .banner")
        for one in said:
            await expect(page.locator(SERIES)).to_contain_text(one)
        await expect(page.locator(f"{SERIES} .series")).to_have_count(0)
        assert await barriers(page) == []
        await expect(page.locator("#lately")).to_be_visible()


async def test_whether_a_remote_subscribes_is_not_said_where_a_replica_did_not_answer(browser: Browser) -> None:
    unsure = ImportersSeen(why="pod c-1:8080 does not answer", exports_took=ChangesSeen(9000.0))
    async with served([held(unsure)]) as found, opened(browser, found) as page:
        await show(page, VIEW, f"{SERIES} .banner")
        await expect(page.locator(SERIES)).not_to_contain_text("does not subscribe")


async def test_the_list_of_remotes_says_which_is_slow(browser: Browser) -> None:
    stuck = {"north": RemoteImports(says=True, imports=5, outdated=3, waiting=54.0)}
    for importing, said in (
        (an_hour(), ["14 s", "96 ms"]),
        (msgspec.structs.replace(an_hour(), remotes=stuck), ["14 s", "waits 54 s"]),
        (ImportersSeen(why="nobody answers"), [NONE, NONE]),
    ):
        async with served([held(importing)]) as found, opened(browser, found, width=320) as page:
            await show(page, "remote", "table.stack")
            row = page.locator("table.stack tbody tr", has_text="north")
            await expect(row.locator("td[data-label='Slowest from']")).to_have_text(said[0])
            await expect(row.locator("td[data-label='Slowest to']")).to_have_text(said[1])
            assert await page.evaluate("document.documentElement.scrollWidth") <= 320
            assert await barriers(page) == []


async def test_it_is_asked_again_while_it_is_looked_at_and_not_else(browser: Browser) -> None:
    mesh = held(an_hour())
    async with served([mesh]) as found, opened(browser, found) as page:
        asked: list[str] = []
        page.on("request", lambda one: asked.append(one.url) if "/api/propagation?" in one.url else None)
        await page.clock.install()
        await page.reload()  # so that the page's own timers are of this clock
        await show(page, VIEW, f"{SERIES} .series")
        assert len(asked) == 1

        async def passed(seconds: int) -> int:
            """How many requests there are after so many seconds, once the page has made those that it makes."""
            before = len(asked)
            await page.clock.run_for(seconds * 1000)
            await page.evaluate("fetch('/api/federation').then((answer) => answer.text())")
            return len(asked) - before

        found.board._meshes[0]._importers_until = 0.0
        mesh.importing = ImportersSeen(imports_took=ChangesSeen(9000.0), exports_took=ChangesSeen(9000.0))
        assert await passed(11) == 1
        await expect(page.locator(SERIES)).to_contain_text("No change was measured in the last hour")
        hide = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        hide += " document.dispatchEvent(new Event('visibilitychange', { bubbles: true })) }"
        await page.evaluate(hide, True)
        assert await passed(60) == 0
        before = len(asked)
        await page.evaluate(hide, False)
        await passed(1)
        assert len(asked) == before + 1, "at once"
        await show(page, "remote", "table.stack")
        assert await passed(60) == 0


async def test_the_file_of_a_report_shows_what_the_report_has(browser: Browser, tmp_path: Path) -> None:
    with_it = msgspec.structs.replace(trouble(), importers=an_hour())
    for snapshot, said in (
        (with_it, "40 changes measured in the last hour"),
        (trouble(), "the report does not have it"),
    ):
        path = tmp_path / "dashboard.html"
        path.write_bytes(still([snapshot], "istio"))
        async with opened_file(browser, path, width=320) as page:
            await show(page, VIEW, f"{SERIES} .series, {SERIES} .banner")
            await expect(page.locator(SERIES)).to_contain_text(said)
            assert await barriers(page) == []


# --- as it is measured


class Running:
    """What runs the one pod of a mesh's controller, whose metrics are on a port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    def logs(self, *_: str) -> Sequence[Path]:
        return []

    async def execute(self, *_: Any) -> Any:
        raise LookupError("nothing runs here")

    async def fetch(self, _namespace: str, _name: str, port: int, path: str) -> tuple[int, str, bytes]:
        assert port == 8080
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self._port}{path}") as answer:
            return answer.status, answer.content_type, await answer.read()


async def with_metrics(mesh: Mesh, port: int) -> None:
    """Have the controller answer beside its metrics, as a pod does."""
    await mesh.stop()
    await mesh.start(metrics_port=port)
    mesh.server.run_by(Running(port))
    made = replica_pod("c-0", containers=[{"name": "controller", "image": "c"}])
    await mesh.client.create(RESOURCES["Pod"], made, namespace=SYSTEM)
    await mesh.client.patch_status(RESOURCES["Pod"], "c-0", {"phase": "Running"}, namespace=SYSTEM)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_change_is_in_the_series_of_both_meshes(
    scheme: str, browser: Browser, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Publisher, "_authorize", the_remote)
    services = {"west": [service("ratings", exported=True)]}
    async with federated("east", "west", services=services) as (east, west):
        for mesh in (east, west):
            await with_metrics(mesh, ports.take())
        await synced(east, west)
        await eventually(lambda: west.all("RemoteMesh")["east"]["status"].get("importedThere") == 1, within=60)
        await west.label("ratings", version="2")
        name, labels = "meshfed_export_in_place_seconds_sum", {"subscriber": "east"}
        await eventually(lambda: west.metrics.registry.get_sample_value(name, labels) is not None, within=30)
        watched = [WatchedMesh(one.name, one.client.config) for one in (east, west)]
        async with served(watched) as found, opened(browser, found, scheme=scheme) as page:
            await eventually(lambda: all(one.is_known and not one.is_being_read for one in watched))
            said: dict[str, str] = {}
            for here, there, direction in (("east", "west", "imports"), ("west", "east", "exports")):
                await show(page, f"remote?mesh={here}&name={there}", f"figure.{direction} .series")
                await expect(page.locator(f"figure.{direction}")).to_contain_text("1 change measured in the last hour")
                ((_, changes, mean, slowest),) = await figures(page, direction)
                assert (changes, mean) == ("1", slowest)
                said[direction] = slowest
                other = "exports" if direction == "imports" else "imports"
                await expect(page.locator(f"figure.{other}")).to_contain_text("No change was measured in the last hour")
                assert await barriers(page) == []
            seconds = west.metrics.registry.get_sample_value(name, labels)
            assert seconds is not None
            drawn = await page.evaluate(
                "async (seconds) => (await import('/page/propagation.js')).took(seconds)", round(seconds, 4)
            )
            assert said["exports"] == drawn, "what the metric has is what is drawn"


async def test_seconds_are_said_as_exactly_as_anybody_wants_to_know_and_stand_between_powers_of_ten(
    browser: Browser,
) -> None:
    values = [0.00042, 0.004, 0.0094, 0.0096, 0.042, 0.1234, 0.9994, 0.9996, 1.04, 9.94, 9.96, 61.2, 1234.0]
    words = "less than 1 ms,4 ms,9 ms,10 ms,42 ms,123 ms,999 ms,1 s,1 s,9.9 s,10 s,61 s,20m"
    async with served([held(None)]) as found, opened(browser, found) as page:
        program = (
            "async (all) => { const { took } = await import('/page/propagation.js'); return all.map(took).join() }"
        )
        assert await page.evaluate(program, values) == words
        program = """async (all) => {
          const { scale } = await import('/page/propagation.js');
          return all.map((values) => {
            const { ticks, y } = scale(values);
            return [ticks[0], ticks.at(-1), values.map(y)];
          });
        }"""
        for low, high, heights in await page.evaluate(program, [[0.1], [0.01, 3.1], [0.0001], [1, 1000], [12.0] * 3]):
            assert high / low >= 999
            assert all(8 <= height <= 104 for height in heights), (low, high, heights)
        ((low, high, _),) = await page.evaluate(program, [[0.2, 0.3]])
        assert (low, high) == (pytest.approx(0.001), 1)
