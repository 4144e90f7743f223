from __future__ import annotations

import asyncio
from typing import Any

import pytest

from strata.control import following, tables
from strata.control.bus import News
from strata.control.following import What
from unit.control.stage import DEADLINE_S, Stage
from unit.control.test_alerts import FAILED, on_air
from unit.control.test_troubles import stats


class Taking:
    """Takes what it is told; ``of`` those streams alone, if any are named."""

    def __init__(self, *of: str) -> None:
        self.of = of
        self.told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.ticks = asyncio.Event()
        self.is_broken = False
        self.has_failed = asyncio.Event()

    def wants(self, stream_id: str) -> bool:
        return not self.of or stream_id in self.of

    def take_stream(self, row: tables.Stream, what: What) -> None:
        if self.is_broken:
            raise ZeroDivisionError
        self.told.put_nowait((row.id, what))

    def take_news(self, news: News) -> None:
        self.told.put_nowait((news.topic, news.type))

    def take_tick(self) -> None:
        self.ticks.set()

    def fail(self) -> None:
        self.has_failed.set()

    async def until(self, *wanted: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while await self.told.get() != wanted:
                pass


async def numbers_come(stage: Stage, id: str, one: Taking) -> None:
    """A change that is told in the same moment brings them along; then the next ones do."""
    async with asyncio.timeout(DEADLINE_S):
        while (id, "stats") not in list(one.told._queue):  # type: ignore[attr-defined]
            await stage.hear(id, stats())
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "TICK_S", 0.05)


async def test_changes_at_once_and_numbers_with_the_tick(stage: Stage) -> None:
    id = await on_air(stage)
    one = Taking()
    stage.platform.following.join(one)
    await stage.hear(id, FAILED)
    await one.until(id, "changed")
    await numbers_come(stage, id, one)
    await asyncio.wait_for(one.ticks.wait(), DEADLINE_S)
    await stage.platform.following.leave(one)


async def test_each_is_told_of_what_it_shows(stage: Stage) -> None:
    ids = [await on_air(stage) for _ in range(2)]
    one, all_of_them = Taking(ids[1]), Taking()
    for each in (one, all_of_them):
        stage.platform.following.join(each)
    for id in ids:
        await stage.hear(id, FAILED)
        await all_of_them.until(id, "changed")
    await one.until(ids[1], "changed")
    told = {what for what, _ in list(one.told._queue)}  # type: ignore[attr-defined]
    assert ids[0] not in told
    for each in (one, all_of_them):
        await stage.platform.following.leave(each)


async def test_one_that_fails_takes_nobody_along(stage: Stage) -> None:
    id = await on_air(stage)
    broken, whole = Taking(), Taking()
    broken.is_broken = True
    for each in (broken, whole):
        stage.platform.following.join(each)
    await stage.hear(id, FAILED)
    await asyncio.wait_for(broken.has_failed.wait(), DEADLINE_S)
    await whole.until(id, "changed")
    await numbers_come(stage, id, whole)
    assert not whole.has_failed.is_set()
    broken.is_broken = False
    stage.platform.following.join(broken)  # and it may come again
    await stage.end(id, "eos", "it was told to")
    await broken.until(id, "changed")
    for each in (broken, whole):
        await stage.platform.following.leave(each)


async def test_a_failure_of_its_own_is_told_to_all(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await on_air(stage)
    followers = Taking(), Taking()
    for each in followers:
        stage.platform.following.join(each)

    async def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(stage.platform.streams, "rows", fail)
        await stage.hear(id, FAILED)
        for each in followers:
            await asyncio.wait_for(each.has_failed.wait(), DEADLINE_S)
    stage.platform.following.join(followers[0])
    await stage.end(id, "eos", "it was told to")
    await followers[0].until(id, "changed")
    await stage.platform.following.leave(followers[0])


async def test_nobody_listens_when_nobody_follows(stage: Stage) -> None:
    before = len(stage.platform.bus._listeners)
    one = Taking()
    stage.platform.following.join(one)
    stage.platform.following.join(one)
    assert len(stage.platform.bus._listeners) == before + 1
    await stage.platform.following.leave(one)
    assert len(stage.platform.bus._listeners) == before
