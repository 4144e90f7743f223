from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import func, insert, select

from strata.control import history, tables
from strata.errors import NotFound
from unit.control.stage import ADMIN, OTHER, OWNER, Stage
from unit.control.test_alerts import on_air
from unit.control.test_troubles import link, stats

EVER = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
STATS = msgspec.structs.replace(stats(link(15000, "up")), bitrate_in_kbps=5000.0)


async def count(stage: Stage) -> int:
    async with stage.store.begin() as session:
        return await session.scalar(select(func.count()).select_from(tables.Sample)) or 0


async def test_a_sample_of_each_stream(stage: Stage) -> None:
    ids = [await on_air(stage) for _ in range(3)]
    await stage.hear(ids[0], STATS)
    await stage.platform.history.sample()
    assert await count(stage) == 3
    step, [sample] = await stage.platform.history.of(OWNER, ids[0], *EVER)
    assert (step, sample.data["bitrate_in_kbps"]) == (1, 5000.0)
    assert sample.data["links"] == [{"port": 15000, "bitrate_kbps": 0.0, "rtt_ms": None}]
    _, [unheard] = await stage.platform.history.of(OWNER, ids[1], *EVER)
    assert unheard.data["bitrate_in_kbps"] is None, "not 0: nobody knows"


async def test_old_numbers_are_not_told_as_new(stage: Stage) -> None:
    id = await on_air(stage)
    await stage.hear(id, STATS)
    await stage.platform.history.sample()
    await stage.platform.history.sample()
    await stage.hear(id, msgspec.structs.replace(STATS, bitrate_in_kbps=0.0))
    await stage.platform.history.sample()
    _, found = await stage.platform.history.of(OWNER, id, *EVER)
    assert [each.data["bitrate_in_kbps"] for each in found] == [5000.0, None, 0.0]


async def test_a_long_time_is_thinned_evenly(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "POINTS_MAX", 10)
    id = await on_air(stage)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    async with stage.store.begin() as session:
        rows = [
            {"stream_id": id, "at": began + timedelta(seconds=5 * n), "data": {"n": n}}
            for n in range(95)
        ]
        await session.execute(insert(tables.Sample), rows)
    step, found = await stage.platform.history.of(OWNER, id, *EVER)
    assert (step, [each.data["n"] for each in found]) == (10, list(range(0, 95, 10)))
    later = began + timedelta(seconds=5 * 85)
    step, found = await stage.platform.history.of(OWNER, id, later, EVER[1])
    assert (step, [each.data["n"] for each in found]) == (1, list(range(85, 95)))


async def test_another_users_numbers(stage: Stage) -> None:
    id = await on_air(stage)
    await stage.platform.history.sample()
    with pytest.raises(NotFound):
        await stage.platform.history.of(OTHER, id, *EVER)
    with pytest.raises(NotFound):
        await stage.platform.history.of(ADMIN, "str_none", *EVER)
    assert len((await stage.platform.history.of(ADMIN, id, *EVER))[1]) == 1


async def test_what_is_old_goes(stage: Stage) -> None:
    await on_air(stage)
    await stage.platform.history.sample()
    await stage.platform.history.forget(timedelta(days=1))
    assert await count(stage) == 1
    await stage.platform.history.forget(timedelta(0))
    assert await count(stage) == 0


async def test_it_is_done_by_itself(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "EACH_S", 0.05)
    await stage.restart()
    id = await on_air(stage)
    async with asyncio.timeout(20):
        while await count(stage) < 3:
            await asyncio.sleep(0.02)
    _, found = await stage.platform.history.of(OWNER, id, *EVER)
    assert len(found) >= 3
