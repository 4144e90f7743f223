"""The operator's pages: what they cost the control plane, and how long they hold up its loop.

A real ``strata control`` on one core, with a host in memory that reports for 200 streams what
workers on the air report; Chromium on another, with some pages open on the wall.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Page, async_playwright

from bench import control
from bench.processes import cpu_s
from bench.report import (
    circumstances,
    print_circumstances,
    print_table,
    share,
    verdict,
    write_json,
)

CORES_MAX: Final = 0.5
LOOP_MAX_S: Final = 0.050
UPDATES_MIN: Final = 0.9
SETTLE_S: Final = 10.0
TELL_S: Final = 5.0
QUIET: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

COUNT_UPDATES: Final = """() => {
  window.updates = 0;
  window.socket.on("strata", (told) => { if (told.data?.numbers) window.updates++; });
}"""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="script/bench pages")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--pages", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    found = circumstances()
    print_circumstances(found)
    result = asyncio.run(_measure(args))
    write_json(args.json, {"circumstances": found, "parts": result})
    return 0


async def _measure(args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sb-", dir="/tmp") as name:
        beats = Path(name) / "beats.json"
        os.environ["BEATS"] = str(beats)
        command = (sys.executable, "-P", "-m", "bench.beating")
        async with (
            control.running(Path(name), command) as (url, pid),
            control.logged_in(url) as http,
        ):
            await control.start(http, args.streams)
            _keep_apart(pid)
            parts = {"no page": await _part(pid, beats, args.seconds, [])}
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(
                    executable_path="/usr/bin/chromium", args=[*QUIET]
                )
                began = time.monotonic()
                os.kill(pid, signal.SIGUSR1)
                pages = await _open(browser, url, args.pages)
                await asyncio.sleep(SETTLE_S)
                opening = await _late(pid, beats)
                parts["pages being opened"] = {
                    "late_s": opening,
                    "cores": None,
                    "updates": None,
                    "seconds": time.monotonic() - began,
                }
                parts[f"{args.pages} pages"] = await _part(pid, beats, args.seconds, pages)
                await browser.close()
            _print(args.streams, parts)
            return parts


def _keep_apart(pid: int) -> None:
    """The control plane on one core, and everything else on the others."""
    cores = sorted(os.sched_getaffinity(0))
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores[:1])
    os.sched_setaffinity(0, cores[1:] or cores)


async def _open(browser: Any, url: str, count: int) -> list[Page]:
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    pages = []
    for number in range(count):
        page = await context.new_page()
        await page.goto(url)
        if not number:
            await page.fill("#email", control.EMAIL)
            await page.fill("#password", control.PASSWORD)
            await page.click("button[type=submit]")
        await page.wait_for_selector("article.stream")
        await page.evaluate(COUNT_UPDATES)
        pages.append(page)
    return pages


async def _part(pid: int, beats: Path, seconds: float, pages: list[Page]) -> dict[str, Any]:
    before = [await page.evaluate("window.updates") for page in pages]
    os.kill(pid, signal.SIGUSR1)
    spent, began = cpu_s(pid), time.monotonic()
    await asyncio.sleep(seconds)
    took_s = time.monotonic() - began
    cores = (cpu_s(pid) - spent) / took_s
    late = await _late(pid, beats)
    after = [await page.evaluate("window.updates") for page in pages]
    updates = [(now - then) / took_s for now, then in zip(after, before, strict=True)]
    return {"late_s": late, "cores": cores, "updates": min(updates, default=None)}


async def _late(pid: int, beats: Path) -> list[float]:
    beats.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR2)
    async with asyncio.timeout(TELL_S):
        while not beats.exists():
            await asyncio.sleep(0.05)
    late: list[float] = json.loads(beats.read_text())
    return late


def _print(streams: int, parts: dict[str, Any]) -> None:
    rows = [
        (f"{streams} streams", "cores", "updates/s", "loop p50 ms", "p99 ms", "p99.9 ms", "worst")
    ]
    for name, part in parts.items():
        late = part["late_s"]
        figures = (share(late, 50), share(late, 99), share(late, 99.9), max(late))
        cores = "" if part["cores"] is None else f"{part['cores']:.3f}"
        updates = "" if part["updates"] is None else f"{part['updates']:.2f}"
        rows.append((name, cores, updates, *(f"{1000 * each:.1f}" for each in figures)))
        part["late_s"] = dict(zip(("p50", "p99", "p99.9", "worst"), figures, strict=True))
    print_table(rows)
    last = [*parts.values()][-1]
    held = last["late_s"]["p99.9"]
    print(f"  CPU, cores         {last['cores']:6.3f}     {verdict(last['cores'], CORES_MAX)}")
    print(f"  loop, p99.9        {1000 * held:6.1f} ms  {verdict(held, LOOP_MAX_S)}")
    print(f"  updates a second   {last['updates']:6.2f}     (at least {UPDATES_MIN})")
