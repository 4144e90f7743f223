"""The operator's pages in a real browser, over a real `strata up` with real workers."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

from playwright.async_api import Browser, expect

from support.children import until
from support.control import EMAIL, PASSWORD, Place, StrataUp
from support.media import RistSender
from support.nginx import Nginx
from support.pages import PAGES, Visitor, find_panel, visitor
from support.sender import Sender
from support.udp_relay import UdpRelay, never

FIRST, SECOND = "canary-first-key", "canary-second-key"
SENT_S = 150.0
PRIVATE = {"STRATA_FORWARD__ALLOW_PRIVATE": "true"}
LIVE_MS = 10_000
ALARM_MS = 5_000
COUNT_SOUNDS = """
  window.sounds = 0;
  const begin = OscillatorNode.prototype.start;
  OscillatorNode.prototype.start = function (...args) {
    window.sounds++;
    return begin.apply(this, args);
  };
"""


async def start(me: Visitor, url: str, shots: Path) -> tuple[list[int], str]:
    """A broadcast from the page, in three steps; the ports and the key that it tells, once."""
    page = me.page
    await page.get_by_role("link", name="Start a broadcast").click()
    await page.get_by_label("Name", exact=True).fill("Derby")
    await page.get_by_label("Picture", exact=True).select_option("h265")
    await page.get_by_label("A key frame each").fill("6")
    await page.get_by_role("button", name="Next: to where").click()
    await page.get_by_label("Address 1").fill(url)
    await page.get_by_role("button", name="Next: how").click()
    await expect(page.get_by_text("Will not work:").first).to_be_visible()
    begin = page.get_by_role("button", name="Start the broadcast")
    await expect(begin).to_be_disabled()
    await page.get_by_label("A preview as HLS").check()
    await me.shoot(shots, "start-refused")
    await page.get_by_role("button", name="1 From where").click()
    await page.get_by_label("Picture", exact=True).select_option("h264")
    await page.get_by_label("A key frame each").fill("2")
    await me.shoot(shots, "start")
    await page.get_by_role("button", name="3 How").click()
    await expect(page.get_by_text("Nothing is known to stand in the way")).to_be_visible()
    await begin.click()
    await expect(page.get_by_role("heading", name="Derby is ready")).to_be_visible()
    await me.shoot(shots, "started")
    addresses = await page.locator("dl.recipe code").all_text_contents()
    psk, *links = addresses
    assert psk not in await me.source()
    return [int(link.rpartition(":")[2]) for link in links], psk


async def test_a_broadcast_is_watched_changed_and_stopped(
    here: Place, browser: Browser, tmp_path: Path, test_file: Path, shots: Path
) -> None:
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        StrataUp(here, environment=PRIVATE) as one,
        await one.log_in() as api,
        visitor(browser, one.url) as me,
    ):
        await me.log_in()
        page = me.page
        await expect(page.get_by_text("Nothing is on the air.")).to_be_visible()
        ports, psk = await start(me, nginx.url(FIRST), shots)
        await page.get_by_role("link", name="I have it").click()
        await expect(page.get_by_text("Waiting for the picture")).to_be_visible()
        assert psk not in await page.content()
        await me.go("/")
        row = page.get_by_role("listitem").filter(has_text="Derby")
        await expect(row.get_by_text("Waiting for the picture")).to_be_visible()
        async with UdpRelay(ports[0]) as relay:
            through = [relay.port, *ports[1:]]
            async with RistSender(tmp_path / "sender", through, psk) as sender:
                await sender.begin(test_file, SENT_S)
                await expect(row.get_by_text("On the air", exact=True)).to_be_visible(
                    timeout=LIVE_MS
                )
                await expect(row.get_by_role("img")).to_be_hidden()  # it is decoration there
                await expect(row.locator("img")).to_be_visible(timeout=LIVE_MS)
                await me.shoot(shots, "wall")

                await row.get_by_role("link", name="Derby").click()
                bitrate = page.get_by_role("img", name="Bitrate, now")
                await expect(bitrate).to_have_accessible_name(
                    re.compile(r"In [45]\.\d\d Mb/s"), timeout=LIVE_MS
                )
                before = await bitrate.get_attribute("aria-label")
                await expect(bitrate).not_to_have_attribute("aria-label", before or "")

                relay.there = relay.back = never
                port = ports[0]
                soon = page.get_by_text(re.compile(rf"^The link on port {port} is (silent|down)"))
                await expect(soon.first).to_be_visible(timeout=ALARM_MS)
                told = page.get_by_text(f"The link on port {port} is down.")
                await expect(told).to_be_visible()
                await me.shoot(shots, "stream")
                await page.get_by_role("button", name="Watch the preview").click()
                await page.wait_for_function(
                    "document.querySelector('video')?.currentTime > 0", timeout=LIVE_MS
                )
                await page.get_by_role("button", name="Show pictures instead").click()

                worker = here.worker_of(page.url.rpartition("/")[2])
                os.kill(worker, signal.SIGSTOP)
                try:
                    await expect(page.get_by_text("The receiver reports nothing")).to_be_visible(
                        timeout=ALARM_MS
                    )
                    await expect(page.get_by_text("Not known", exact=True)).to_be_visible()
                    await expect(page.get_by_role("cell", name="Up")).to_have_count(0)
                finally:
                    os.kill(worker, signal.SIGCONT)
                await expect(page.get_by_text("Not known", exact=True)).to_have_count(0)

                await page.get_by_role("button", name="Replace 127.0.0.1").first.click()
                dialog = page.get_by_role("dialog")
                await dialog.get_by_label("Address, with its key").fill(nginx.url(SECOND))
                await dialog.get_by_role("button", name="Replace", exact=True).click()
                await expect(page.get_by_role("status")).to_contain_text("has taken the place of")
                id = page.url.rpartition("/")[2]
                await api.until(
                    id,
                    lambda each: each["forwards"][0]["state"] == "live",
                    "the second destination is live",
                )
                for text in (await me.source(), await page.content()):
                    assert "canary" not in text
                    assert psk not in text

                await page.get_by_role("button", name="Stop the broadcast").click()
                await page.get_by_role("button", name="Keep it on the air").click()
                await page.get_by_role("button", name="Stop the broadcast").click()
                await (
                    page.get_by_role("dialog")
                    .get_by_role("button", name="Stop the broadcast")
                    .click()
                )
                await expect(page.get_by_role("status")).to_contain_text("It has ended.")
        await expect(page.get_by_text("Stopped on request").first).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("heading", name="Derby")).to_be_visible()
        await expect(page.get_by_text("The broadcast has ended").first).to_be_visible()
        ended = page.get_by_role("img", name=re.compile(r"^Bitrate, \d\d:\d\d:\d\d: In"))
        await expect(ended).to_be_visible()  # nothing of it is "now"
        await me.go("/")
        await expect(page.get_by_text("Nothing is on the air.")).to_be_visible()
        log = "".join(path.read_text(errors="replace") for path in here.folder.rglob("*.log"))
        assert "canary-first" not in log


async def test_a_box_is_let_in_and_put_on_the_air(
    here: Place, browser: Browser, tmp_path: Path, shots: Path
) -> None:
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        StrataUp(here, environment=PRIVATE) as one,
        visitor(browser, one.url) as me,
    ):
        await me.log_in()
        page = me.page
        await me.go("/senders")
        await page.get_by_role("button", name="Add a sender").click()
        await page.get_by_role("dialog").get_by_label("Name").fill("The van")
        await page.get_by_role("dialog").get_by_role("button", name="Add a sender").click()
        lines = await page.get_by_label("For its settings", exact=True).text_content()
        environment = dict(line.split("=", 1) for line in (lines or "").splitlines())
        box = Sender(tmp_path, "https://not-told-yet.invalid")
        box.start(environment)
        try:
            await page.get_by_role("button", name="I have it").click()
            await expect(page.get_by_role("cell", name="Connected")).to_be_visible()
            await page.get_by_role("link", name="Start", exact=True).click()
            await page.get_by_label("Name", exact=True).fill("Regatta")
            await page.get_by_role("radio", name="The van").check()
            await page.get_by_label("Its input").select_option("A test picture")
            await page.get_by_label("kb/s").fill("1200")
            await page.get_by_role("button", name="Next: to where").click()
            await page.get_by_label("Address 1").fill(nginx.url(FIRST))
            await page.get_by_role("button", name="Next: how").click()
            await page.get_by_role("button", name="Start the broadcast").click()
            clicked = time.monotonic()
            await expect(page.get_by_text("On the air", exact=True)).to_have_count(2)
            await expect(page.get_by_role("img", name="What is on the air now")).to_be_visible()
            await expect(page.get_by_role("img", name="Bitrate, now")).to_have_accessible_name(
                re.compile(r"In \d\.\d\d Mb/s")
            )
            assert time.monotonic() - clicked < LIVE_MS / 1000
            links = page.get_by_role("region", name="Links").get_by_role("row")
            await expect(links.filter(has_text="Up")).to_have_count(2)
            await me.shoot(shots, "stream-of-a-box")
            await me.go("/senders")
            await expect(page.get_by_role("link", name="Regatta")).to_be_visible()
            await me.shoot(shots, "senders-on-the-air")
            await page.add_init_script(COUNT_SOUNDS)
            await me.go("/")
            await page.get_by_role("button", name="Sound is on").click()
            await page.get_by_role("button", name="Sound is off").click()
            before = await page.evaluate("sounds")
            assert before > 0, "who turns it on hears it"
            assert await box.end() == 0
        finally:
            await box.child.__aexit__()
        banner = page.get_by_role("alert").filter(has_text="Regatta: Viewers see the slate")
        await expect(banner).to_be_visible()
        assert await page.evaluate("sounds") > before
        await banner.get_by_role("button", name="I have seen it").click()
        await expect(banner).to_be_hidden()
        await me.go("/alerts")
        seen = page.get_by_role("listitem").filter(has_text="Viewers see the slate")
        await expect(seen).to_contain_text("seen")
        await me.shoot(shots, "alerts-some")


async def test_a_viewer_sees_and_changes_nothing(
    here: Place, browser: Browser, tmp_path: Path
) -> None:
    async with (
        StrataUp(here) as one,
        await one.log_in() as api,
        visitor(browser, one.url) as me,
    ):
        admin = (await api.http.get("/api/auth/me")).json()["id"]
        body = {
            "email": "viewer@example.org",
            "password": "viewer-password-1",
            "role": "viewer",
            "sees": [admin],
        }
        assert (await api.http.post("/api/users", json=body)).status_code == 201
        started = await api.start(record=True, name="Derby")
        await me.log_in("viewer@example.org", "viewer-password-1")
        page = me.page
        await page.get_by_role("link", name="Derby").click()
        await expect(page.get_by_role("heading", name="Derby")).to_be_visible()
        for name in ("Stop the broadcast", "Show the slate", "Add a destination", "Replace"):
            await expect(page.get_by_role("button", name=name)).to_have_count(0)
        # By hand, as somebody would who knows how the page speaks.
        await find_panel(page, "points")
        for what in ("stop", "add", "remove", "slate"):
            args = {"forward": "fwd_1", "url": "rtmp://192.0.2.1/live/x", "now": True}
            answer = await page.evaluate(
                """([what, args]) => new Promise((resolve) => {
                    panel.ask(what, args).then(() => resolve("done"), (e) => resolve(e.message));
                })""",
                [what, args],
            )
            assert "role of an operator" in answer, (what, answer)
        assert (await api.get(started["id"]))["state"] == "waiting"


async def test_who_is_not_logged_in_sees_the_login_and_nothing_else(
    here: Place, browser: Browser, shots: Path
) -> None:
    async with (
        StrataUp(here) as one,
        await one.log_in() as api,
        visitor(browser, one.url) as me,
    ):
        page = me.page
        await me.go("/streams/str_1")
        await expect(page.get_by_role("button", name="Log in")).to_be_visible()
        assert page.url == f"{one.url}/login?to=/streams/str_1"
        await me.shoot(shots, "login")
        await page.get_by_label("E-mail address").fill(EMAIL)
        await page.get_by_label("Password").fill("canary-wrong")
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("alert")).to_contain_text("is wrong")
        assert "canary-wrong" not in await page.content()
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_text("There is no stream")).to_be_visible()
        [cookie] = await page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert await page.evaluate("document.cookie") == ""
        assert cookie["value"] not in await me.source()
        await page.get_by_text(EMAIL).click()
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_role("button", name="Log in")).to_be_visible()
        assert await page.context.cookies() == []
        kept = {"Authorization": f"Bearer {cookie['value']}"}
        assert (await api.http.get("/api/auth/me", headers=kept)).status_code == 401


async def test_each_page_is_for_everybody(here: Place, browser: Browser, shots: Path) -> None:
    async with (
        StrataUp(here, environment=PRIVATE) as one,
        await one.log_in() as api,
        visitor(browser, one.url) as me,
    ):
        stopped = await api.start(record=True, name="Derby")
        await api.stop(stopped["id"])
        await me.log_in()
        page = me.page
        for path, title in PAGES.items():
            await me.go(path)
            await expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
            await expect(page.get_by_text("One moment")).to_have_count(0)
            await me.shoot(shots, path.strip("/"))
            skip = page.get_by_role("link", name="Skip to the content")
            await skip.focus()
            await page.keyboard.press("Enter")
            await expect(page.locator("#content:focus")).to_have_count(1)

        await me.go("/destinations")
        await page.get_by_role("button", name="Add a destination").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Name").fill("Channel")
        await dialog.get_by_label("Address").fill("rtmp://192.0.2.1/live")
        await dialog.get_by_label("Stream key").fill("canary-key")
        await dialog.get_by_role("button", name="Add a destination").click()
        await expect(page.get_by_text("Channel was added")).to_be_visible()
        await expect(page.get_by_role("cell", name="rtmp://192.0.2.1/live/****")).to_be_visible()
        await me.shoot(shots, "destinations-some")

        await me.go("/senders")
        await page.get_by_role("button", name="Add a sender").click()
        await page.get_by_role("dialog").get_by_label("Name").fill("The van")
        await page.get_by_role("dialog").get_by_role("button", name="Add a sender").click()
        await expect(page.get_by_text("Let The van in")).to_be_visible()
        token = await page.get_by_label("Token", exact=True).text_content()
        assert token
        await me.shoot(shots, "sender-token")
        await page.get_by_role("button", name="I have it").click()
        await expect(page.get_by_text("Waits for its box")).to_be_visible()
        await me.shoot(shots, "senders-some")
        for text in (await page.content(), await me.source()):
            assert token not in text
            assert "canary-key" not in text
        await me.go("/senders")
        await expect(page.get_by_text("Waits for its box")).to_be_visible()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()


async def test_a_page_is_there_again_when_the_control_plane_is(
    here: Place, browser: Browser
) -> None:
    async with (
        StrataUp(here) as one,
        await one.log_in() as api,
        visitor(browser, one.url) as me,
    ):
        await me.log_in()
        control = one.pid_of("control")
        assert control is not None
        os.kill(control, signal.SIGKILL)
        await until(lambda: one.pid_of("control") not in (None, control), 30.0, "it is back")
        await one.ready()
        await api.start(record=True, name="Derby")
        await expect(me.page.get_by_role("link", name="Derby")).to_be_visible(timeout=30_000)
