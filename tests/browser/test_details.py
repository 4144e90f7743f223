"""What is easily forgotten of pages: long names, secrets, holes; in a real browser."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from playwright.async_api import Browser, Dialog, Page, expect

from strata import dashboard
from strata.dashboard.log_pages import EVENTS_SHOWN
from support.children import until
from support.control import Place, StrataUp
from support.pages import PAGES, find_panel, visitor

PRIVATE = {"STRATA_FORWARD__ALLOW_PRIVATE": "true"}
LONG = "Championship_of_the_whole_county_" * 3
"""Nothing to break it at."""


@pytest.fixture
async def chart(browser: Browser) -> Page:
    """A page with what charts are made of, and no platform."""
    page = await browser.new_page()
    source = (Path(dashboard.__file__).parent / "look" / "chart.js").read_text()
    await page.evaluate(
        """async (source) => {
            const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
            window.apart = (await import(url)).apart;
        }""",
        source,
    )
    return page


@pytest.mark.long
async def test_long_names_make_no_page_wide(
    here: Place, browser: Browser, tmp_path: Path, shots: Path
) -> None:
    async with (
        StrataUp(here, environment=PRIVATE) as one,
        await one.log_in() as api,
        visitor(browser, one.url) as me,
    ):
        over = await api.start(record=True, name=LONG)
        await api.stop(over["id"])
        runs = await api.start(record=True, name=LONG)
        for path, body in (
            ("/api/destinations", {"name": LONG, "url": f"rtmp://192.0.2.1/{LONG}/key"}),
            ("/api/senders", {"name": LONG}),
            ("/api/tokens", {"name": LONG}),
        ):
            assert (await api.http.post(path, json=body)).status_code == 201, path
        await me.log_in()
        for path in ("/", f"/streams/{runs['id']}", "/start", *PAGES):
            await me.go(path)
            await expect(me.page.get_by_role("heading", level=1).first).to_be_visible()
            await expect(me.page.get_by_text("One moment")).to_have_count(0)
            if path in ("/past", "/destinations", "/senders", "/people"):
                await expect(me.page.get_by_role("cell", name=LONG).first).to_be_visible()
            await me.fit(shots, f"long-{path.split('/')[1] or 'wall'}")


@pytest.mark.long
async def test_what_is_shown_once_outlives_the_control_plane(here: Place, browser: Browser) -> None:
    async with StrataUp(here, environment=PRIVATE) as one, visitor(browser, one.url) as me:
        await me.log_in()
        page = me.page
        asked: list[str] = []

        async def stay(dialog: Dialog) -> None:
            asked.append(dialog.type)
            await dialog.dismiss()

        page.on("dialog", stay)
        kept = "Object.keys(sessionStorage).filter((name) => name.startsWith('strata-once'))"

        async def begin_anew() -> None:
            control = one.pid_of("control")
            assert control is not None
            await page.evaluate("window.isOld = true")
            os.kill(control, signal.SIGKILL)
            await until(lambda: one.pid_of("control") not in (None, control), 30.0, "it is back")
            await one.ready()
            await page.wait_for_function("!window.isOld", timeout=30_000)

        await me.go("/start")
        await page.get_by_label("Name", exact=True).fill("Derby")
        await page.get_by_role("button", name="3 How").click()
        await page.get_by_role("button", name="2 To where").click()
        await page.get_by_label("Record it on the host").check()
        await page.get_by_role("button", name="Next: how").click()
        await page.get_by_role("button", name="Start the broadcast").click()
        key = page.locator("dl.recipe code").first
        psk = await key.text_content()
        assert psk
        assert await page.evaluate(kept) == []
        await begin_anew()
        await expect(page.get_by_role("heading", name="Derby is ready")).to_be_visible()
        await expect(key).to_have_text(psk)
        assert await page.evaluate(kept) == []
        assert asked == []
        await page.get_by_role("button", name="Copy the key").click()
        await expect(page.locator(".popup, #popup").first).to_be_hidden()
        await page.evaluate("location.reload()")
        await until(lambda: asked == ["beforeunload"], 10.0, "the browser asks")
        await page.get_by_role("link", name="I have it").click()
        await expect(page.get_by_text("Waiting for the picture")).to_be_visible()
        assert await page.evaluate(kept) == []
        await me.go("/start")
        await expect(page.get_by_role("heading", name="Start a broadcast")).to_be_visible()

        await me.go("/people")
        await page.get_by_role("button", name="Make a token").click()
        await page.get_by_label("What for").fill("board")
        await page.get_by_role("dialog").get_by_role("button", name="Make a token").click()
        told = page.get_by_role("dialog").get_by_label("Token", exact=True)
        token = await told.text_content()
        assert token
        await begin_anew()
        await expect(told).to_have_text(token)
        await page.keyboard.press("Escape")
        await expect(told).to_be_visible()
        await page.get_by_role("button", name="I have it").click()
        await expect(told).to_be_hidden()
        await page.reload()
        await expect(page.get_by_role("cell", name="board", exact=True)).to_be_visible()
        await expect(told).to_be_hidden()
        assert asked == ["beforeunload"]


async def test_what_was_typed_is_forgotten_with_its_dialog(here: Place, browser: Browser) -> None:
    async with StrataUp(here) as one, visitor(browser, one.url) as me:
        await me.log_in()
        page = me.page
        await me.go("/people")
        await page.get_by_role("button", name="Add a user").click()
        password = page.get_by_role("dialog").get_by_label("Password")
        await password.fill("canary-typed")
        await page.keyboard.press("Escape")
        await expect(page.locator("input[type=password]")).to_have_value("")
        await page.get_by_role("button", name="Add a user").click()
        await expect(password).to_have_value("")


async def test_looking_does_not_make_the_charts_of_the_wall_run(
    here: Place, browser: Browser
) -> None:
    async with (
        StrataUp(here) as one,
        await one.log_in() as api,
        visitor(browser, one.url) as me,
    ):
        id = (await api.start(record=True, name="Derby"))["id"]
        await me.log_in()
        await expect(me.page.get_by_role("link", name="Derby")).to_be_visible()
        await find_panel(me.page, "heads")
        before, after, seconds = await me.page.evaluate(
            """async (id) => {
                const from = performance.now(), before = panel.points[id]?.length ?? 0;
                for (let turn = 0; turn < 20; turn++) await panel.look();
                return [before, panel.points[id].length, (performance.now() - from) / 1000];
            }""",
            id,
        )
        assert after - before <= seconds + 1


async def test_an_alert_that_is_told_while_they_are_asked_for_is_kept(
    here: Place, browser: Browser
) -> None:
    alert = {"id": "alr_1", "name": "Derby", "title": "Told meanwhile", "raised": 1}
    async with StrataUp(here) as one, visitor(browser, one.url) as me:
        await me.log_in()
        await me.go("/alerts")
        await expect(me.page.get_by_text("Nothing is wrong right now.")).to_be_visible()
        await find_panel(me.page, "shownMax")
        await me.page.evaluate(
            """async (alert) => {
                const answer = panel.connected();
                panel.take("alert", alert);
                await answer;
            }""",
            alert,
        )
        await expect(me.page.get_by_text("Told meanwhile")).to_be_visible()


@pytest.mark.long
async def test_what_happened_earlier_is_found(here: Place, browser: Browser) -> None:
    async with (
        StrataUp(here) as one,
        await one.log_in() as api,
        visitor(browser, one.url) as me,
    ):
        for number in range(EVENTS_SHOWN):
            body = {"name": f"token {number}"}
            assert (await api.http.post("/api/tokens", json=body)).status_code == 201
        await me.log_in()
        page = me.page
        await me.go("/events")
        newest, oldest = page.get_by_text(f"token {number}"), page.get_by_text("may log in")
        await expect(newest.first).to_be_visible()
        await expect(oldest).to_have_count(0)
        await page.get_by_role("button", name="Earlier").click()
        await expect(oldest).to_be_visible()
        await expect(page.locator("#content")).to_be_focused()
        await expect(page.get_by_role("button", name="Earlier")).to_have_count(0)
        await page.get_by_role("button", name="Later").click()
        await expect(newest.first).to_be_visible()
        await expect(page.get_by_role("button", name="Later")).to_have_count(0)


@pytest.mark.parametrize(
    ("seconds", "apart"),
    [
        ([0, 1, 2, 3, 4], []),
        ([0, 1, 2, 7, 8, 9], [3]),
        ([0, 3, 4, 5, 8.1, 9, 10], [4]),
        ([0, 10, 20, 30, 60, 70], []),
        ([0, 10, 20, 31, 62, 72, 82], [4]),
        ([0, 10, 20, 30, 38, 39, 40, 41, 46, 47, 48, 49], [8]),  # what was kept, then live
        ([0, 1], []),
        ([], []),
    ],
)
async def test_a_line_of_a_chart_has_a_gap_where_points_are_missing(
    chart: Page, seconds: list[float], apart: list[int]
) -> None:
    times = [round(each * 1000) for each in seconds]
    assert await chart.evaluate("(times) => [...window.apart(times)]", times) == apart
