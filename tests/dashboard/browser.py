"""A Chromium for tests that look at the page, and a page that fails the test for what a person would not see."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from tests.dashboard.boards import TOKEN, Served

CHROMIUM = os.environ.get("MESHFED_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""
"""Where it is; empty where none is found."""
_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--force-color-profile=srgb", "--lang=en"),
]
_AXE = Path(str(resources.files("axe_playwright_python"))) / "axe.min.js"


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run a Chromium while the context lasts."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(browser: Browser, found: Served, **how: Any) -> AsyncIterator[Page]:
    """Open the page of a dashboard, as its address is printed; ``how`` as `_opened` takes it."""
    async with _opened(browser, f"{found.url}/?token={TOKEN}", found.url, **how) as page:
        yield page


@asynccontextmanager
async def opened_file(browser: Browser, path: Path, **how: Any) -> AsyncIterator[Page]:
    """Open a page that is a file; ``how`` as `_opened` takes it."""
    async with _opened(browser, path.as_uri(), path.as_uri(), **how) as page:
        yield page


@asynccontextmanager
async def _opened(
    browser: Browser, address: str, home: str, *, scheme: str = "light", width: int = 1280, quiet: Iterable[str] = ()
) -> AsyncIterator[Page]:
    """Open an address.

    The test fails for an error in the page, for whatever it was not allowed, and for a request to what does not begin
    with ``home``. ``quiet`` are words of errors that are meant to be.
    """
    context = await browser.new_context(
        color_scheme=scheme,  # type: ignore[arg-type] # a word of playwright's
        viewport={"width": width, "height": 900},
        locale="en-GB",
        timezone_id="UTC",
        reduced_motion="reduce",
    )
    page = await context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("console", lambda said: wrong.append(f"{said.type}: {said.text}") if said.type != "log" else None)
    page.on("request", lambda asked: _note_stranger(asked.url, home, wrong))
    try:
        await page.goto(address)
        await page.wait_for_selector("h1")
        yield page
        loud = [one for one in wrong if not any(word in one for word in quiet)]
        assert loud == []
    finally:
        await context.close()


def _note_stranger(url: str, home: str, wrong: list[str]) -> None:
    if not url.startswith((home, "data:")):
        wrong.append(f"request to {url}")


async def show(page: Page, view: str, selector: str) -> None:
    """Go to a view, and wait until it has what the selector finds."""
    await page.evaluate("view => { location.hash = view }", f"#/{view}")
    await page.wait_for_selector(selector)


async def barriers(page: Page) -> list[str]:
    """What keeps somebody from using the page, as axe finds it."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(_AXE.read_text())
    found: dict[str, Any] = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{one['id']}: {node['html'][:160]}: {node['failureSummary'][:200]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
