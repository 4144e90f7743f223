from __future__ import annotations

import asyncio

import pytest

from strata.control.upkeep import Upkeep
from strata.errors import StoreUnavailable
from unit.control.stage import Stage


@pytest.fixture
def upkeep(stage: Stage) -> Upkeep:
    return stage.platform.upkeep


async def test_a_look_that_is_under_way_is_finished(
    upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def once() -> None:
        begun.set()
        await go_on.wait()
        done.set()

    monkeypatch.setattr(upkeep, "once", once)
    upkeep.start()
    await begun.wait()
    closing = asyncio.create_task(upkeep.close())
    await asyncio.sleep(0)
    assert not closing.done()
    go_on.set()
    await closing
    assert done.is_set()


async def test_without_a_database_it_goes_on(
    upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Event()

    async def once() -> None:
        tried.set()
        raise StoreUnavailable("the database does not answer")

    monkeypatch.setattr(upkeep, "once", once)
    upkeep.start()
    await tried.wait()
    assert not upkeep._looking.done()
    await upkeep.close()
    assert upkeep._looking.done()
