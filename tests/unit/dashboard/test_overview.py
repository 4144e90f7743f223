from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from strata.control import following
from strata.control.bus import News
from strata.control.streams import View
from strata.dashboard import overview as module
from strata.dashboard import rows
from strata.dashboard.overview import Overview
from strata.dashboard.words import Names
from unit.control.stage import ADMIN, DEADLINE_S, OTHER, OWNER, Stage
from unit.control.test_alerts import FAILED, on_air
from unit.dashboard.views import link, stats


@pytest.fixture
async def overview(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Overview]:
    monkeypatch.setattr(following, "TICK_S", 0.05)
    monkeypatch.setattr(module, "AGAIN_S", 0.05)
    one = Overview(stage.platform)
    yield one
    await one.close()


async def until(holds: Any) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.01)


async def test_what_there_was_before_and_what_comes(stage: Stage, overview: Overview) -> None:
    before = await on_air(stage)
    overview.start()
    await until(lambda: overview.order == [before])
    after = await on_air(stage)
    await until(lambda: set(overview.order) == {before, after})
    await stage.hear(after, FAILED)
    await until(lambda: overview.order == [after, before])  # trouble first
    assert overview.entries[after].head["tone"] == "bad"
    await stage.end(after, "eos", "it was told to")
    await until(lambda: overview.order == [before])


async def test_each_sees_its_own(stage: Stage, overview: Overview) -> None:
    mine = await on_air(stage)
    theirs = (await stage.begin(OTHER)).row.id
    overview.start()
    await until(lambda: len(overview.order) == 2)
    assert overview.visible_to(OWNER) == [mine]
    assert overview.visible_to(OTHER) == [theirs]
    assert set(overview.visible_to(ADMIN)) == {mine, theirs}


async def test_one_that_failed_stays_for_a_while(
    stage: Stage, overview: Overview, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await on_air(stage)
    await stage.end(id, "worker_crash", "three times in a minute")
    overview.start()  # also after a start of the control plane
    await until(lambda: overview.order == [id])
    assert "three times" in overview.entries[id].head["note"]
    monkeypatch.setattr(module, "FAILED_SHOWN", timedelta(0))
    await until(lambda: overview.order == [])


async def test_numbers_that_are_old_are_not_shown(stage: Stage, overview: Overview) -> None:
    id = await on_air(stage)
    overview.start()
    await until(lambda: id in overview.entries)
    await stage.hear(id, stats(link(15000)))
    await until(lambda: overview.entries[id].numbers["in"] == 5000)
    entry = overview.entries[id]
    await until(lambda: entry.numbers["in"] is None)
    assert (5000, 10_000) in entry.points
    await until(lambda: entry.points[-1] == (None, None))
    assert len(entry.points) <= module.POINTS


async def test_what_is_the_same_is_the_very_same(stage: Stage, overview: Overview) -> None:
    id = await on_air(stage)
    overview.start()
    await until(lambda: id in overview.entries)
    await stage.hear(id, stats(link(15000)))
    await until(lambda: overview.entries[id].numbers["in"] == 5000)
    head = overview.entries[id].head
    newer = stats(link(15000, bitrate_kbps=7.0))
    await stage.hear(id, newer)
    await until(lambda: overview.entries[id].stats is newer)
    assert overview.entries[id].head is head, "or each page would be sent it each second"


class OnePage:
    """Part of a page that counts what it is told, or fails at it."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.seconds = 0
        self.heard: list[News] = []
        self.begun = 0

    def take_second(self) -> None:
        self.seconds += 1
        if self.fails:
            raise ZeroDivisionError

    def hear_news(self, news: News) -> None:
        self.heard.append(news)
        if self.fails:
            raise ZeroDivisionError

    def anew(self) -> None:
        self.begun += 1


async def test_pages_are_called_each_second_and_told_what_is_told(
    stage: Stage, overview: Overview
) -> None:
    broken, page = OnePage(fails=True), OnePage()
    overview.add_page(broken)
    overview.add_page(page)
    overview.start()
    await on_air(stage)
    await until(lambda: page.seconds > 2 and page.heard)
    assert (broken.seconds, page.begun) == (page.seconds, 1), "one that fails stops no other"
    overview.drop_page(page)
    told = page.seconds, len(page.heard)
    await on_air(stage)
    await until(lambda: broken.seconds > told[0] + 1)
    assert (page.seconds, len(page.heard)) == told


async def test_a_receiver_that_reports_no_more_is_not_shown_as_fine(
    stage: Stage, overview: Overview
) -> None:
    id = await on_air(stage)
    overview.start()
    await stage.hear(id, stats(link(15000)))
    await until(lambda: id in overview.entries and overview.entries[id].numbers["in"] == 5000)
    entry = overview.entries[id]
    assert (entry.head["tone"], entry.head["word"]) == ("good", "On the air")
    await until(lambda: entry.is_silent)
    assert (entry.head["tone"], entry.head["word"]) == ("bad", "Not known")
    assert entry.head["troubles"][0]["title"] == "The receiver reports nothing"
    assert entry.numbers == rows.UNKNOWN
    assert overview.order[0] == id
    await stage.hear(id, stats(link(15000)))
    await until(lambda: entry.head["word"] == "On the air")
    assert entry.numbers["in"] == 5000


async def test_one_that_has_gone_is_listed_no_more_at_once(
    stage: Stage, overview: Overview
) -> None:
    id = await on_air(stage)
    overview.start()
    await until(lambda: id in overview.order)
    del overview.entries[id]
    assert overview.visible_to(OWNER) == []


async def test_one_that_cannot_be_described_is_not_shown_as_fine(
    stage: Stage, overview: Overview, monkeypatch: pytest.MonkeyPatch
) -> None:
    overview.start()
    whole = await on_air(stage)
    await until(lambda: whole in overview.entries)
    describe = module.rows.head

    def fail(view: View, names: Names) -> Any:
        if view.row.id != whole:
            raise ZeroDivisionError
        return describe(view, names)

    with monkeypatch.context() as broken:
        broken.setattr(module.rows, "head", fail)
        id = (await stage.begin()).row.id
        await until(lambda: id in overview.entries)
        head = overview.entries[id].head
        assert (head["tone"], head["word"]) == ("bad", "Not known")
        assert head.keys() == overview.entries[whole].head.keys()
    await stage.hear(id, stats(link(15000)))
    await until(lambda: overview.entries[id].head["tone"] == "wait")


async def test_a_failure_of_ours_is_over_soon(
    stage: Stage, overview: Overview, monkeypatch: pytest.MonkeyPatch
) -> None:
    overview.start()
    await until(lambda: overview._platform.following._followers)

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(overview, "_describe", fail)
        id = (await stage.begin()).row.id
        await until(lambda: not overview._platform.following._followers)
    await until(lambda: id in overview.entries)
