"""The operator's pages in Debian's Chromium, driven as a person would."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, Page, Request, async_playwright, expect

from support.browser import FLAGS
from support.control import EMAIL, PASSWORD

AXE: Final = files("axe_playwright_python") / "axe.min.js"

SIZES: Final = {"desk": (1440, 900), "phone": (390, 844)}

GRAVE: Final = frozenset(("serious", "critical"))

REACH: Final = """() => Math.max(
  document.documentElement.scrollWidth,
  ...[...document.querySelectorAll("#content button, #content h1, #content h2")].map(
    (each) => each.getBoundingClientRect().right),
)"""

PAGES: Final = {
    "/alerts": "Alerts",
    "/past": "Past broadcasts",
    "/senders": "Senders",
    "/destinations": "Destinations",
    "/hosts": "Hosts",
    "/people": "Users",
    "/events": "Events",
    "/settings": "Settings",
}
"""Those that are tables, and alerts; with their headings."""

PAGE_DEADLINE_MS: Final = 20_000


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    expect.set_options(timeout=PAGE_DEADLINE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=[*FLAGS]
        )
        try:
            yield browser
        finally:
            await browser.close()


class Visitor:
    """A person with a browser.

    Attributes:
        faults: what the browser complained of, and what a page asked of another machine.
        page: what is on the screen.
    """

    def __init__(self, url: str, page: Page) -> None:
        self.url = url
        self.page = page
        self.faults: list[str] = []
        self.loaded: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self._see)
        page.set_default_timeout(PAGE_DEADLINE_MS)

    def _see(self, request: Request) -> None:
        self.loaded.append(request.url)
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.faults.append(f"asked of another machine: {request.url}")

    async def log_in(self, email: str = EMAIL, password: str = PASSWORD) -> None:
        await self.page.goto(f"{self.url}/")
        await self.page.get_by_label("E-mail address").fill(email)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Log in").click()
        await self.page.wait_for_url(f"{self.url}/")

    async def go(self, path: str) -> None:
        await self.page.goto(f"{self.url}{path}")

    async def source(self) -> str:
        """The page as the server sends it."""
        answer = await self.page.context.request.get(self.page.url)
        return await answer.text()

    async def grave_faults(self) -> list[str]:
        """What axe finds that keeps people from using the page."""
        await self.page.evaluate(AXE.read_text())
        found: dict[str, Any] = await self.page.evaluate("axe.run()")
        return [
            f"{each['id']}: {node['html'][:120]}"
            for each in found["violations"]
            if each["impact"] in GRAVE
            for node in each["nodes"]
        ]

    async def fit(self, folder: Path, name: str) -> None:
        """That neither the page nor anything to click on is wider than a desk or a phone."""
        folder.mkdir(parents=True, exist_ok=True)
        for size, (width, height) in SIZES.items():
            await self.page.set_viewport_size({"width": width, "height": height})
            await self.page.screenshot(path=folder / f"{name}-{size}.png", full_page=True)
            reach = await self.page.evaluate(REACH)
            assert reach <= width, f"{name} is {reach} pixels wide on a {size}"

    async def shoot(self, folder: Path, name: str) -> None:
        """The page on a desk and on a phone, dark and light; none is wider than its screen."""
        folder.mkdir(parents=True, exist_ok=True)
        for size, (width, height) in SIZES.items():
            await self.page.set_viewport_size({"width": width, "height": height})
            for scheme in ("dark", "light"):
                await self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                path = folder / f"{name}-{size}-{scheme}.png"
                await self.page.screenshot(path=path, full_page=True)
                problems = await self.grave_faults()
                assert problems == [], f"{name}, {size}, {scheme}: {problems}"
            wide = await self.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} pixels wide on a {size}"
        await self.page.set_viewport_size({"width": 1440, "height": 900})


@contextlib.asynccontextmanager
async def visitor(browser: Browser, url: str) -> AsyncIterator[Visitor]:
    context = await browser.new_context(
        viewport={"width": 1440, "height": 900}, timezone_id="Asia/Kolkata", locale="en-GB"
    )
    try:
        one = Visitor(url, await context.new_page())
        yield one
        assert one.faults == []
    finally:
        await context.close()


async def find_panel(page: Page, has: str) -> None:
    """Names the part of the page that has that."""
    await page.evaluate(
        "(has) => { window.panel = Object.values(mounted_app.$refs).flat()"
        ".find((each) => each && has in each); }",
        has,
    )
