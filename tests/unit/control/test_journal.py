from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from strata.control import journal as module
from strata.control import tables
from strata.control.journal import Journal
from strata.control.roles import User
from unit.control.stage import ADMIN, OTHER, OWNER, VIEWER, Stage


@pytest.fixture
def journal(stage: Stage) -> Journal:
    return stage.platform.journal


async def note(journal: Journal, *types: str, owner: User | None = OWNER) -> None:
    for type in types:
        async with journal.begin() as change:
            change.note(type, "str_1", owner.id if owner is not None else None)


async def types(journal: Journal, user: User, **query: object) -> list[str]:
    wanted = {"moment": None, "after": None, "limit": 100} | query
    found = await journal.since(user, **wanted)  # type: ignore[arg-type]
    return [event.type for event in found]


async def test_it_is_published_once_it_is_committed(stage: Stage, journal: Journal) -> None:
    with stage.platform.bus.listen() as listener:
        async with journal.begin() as change:
            change.note("state", "str_1", OWNER.id, ADMIN, to="live")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(listener.next(), 0.01)
        news = await listener.next()
    assert (news.topic, news.type, news.owner_id) == ("events", "state", OWNER.id)
    assert isinstance(news.data, tables.Event)
    assert (news.data.subject, news.data.user_id) == ("str_1", ADMIN.id)
    assert news.data.data == {"to": "live"}


async def test_what_was_undone_did_not_happen(stage: Stage, journal: Journal) -> None:
    async def fail() -> None:
        async with journal.begin() as change:
            change.note("state", "str_1")
            raise ZeroDivisionError

    with stage.platform.bus.listen() as listener:
        with pytest.raises(ZeroDivisionError):
            await fail()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(listener.next(), 0.01)
    assert not await journal.latest("str_1", 10)


async def test_who_reads_what(journal: Journal) -> None:
    await note(journal, "a", owner=OWNER)
    await note(journal, "b", owner=OTHER)
    await note(journal, "c", owner=None)
    assert await types(journal, ADMIN) == ["a", "b", "c"]
    assert await types(journal, OWNER) == ["a"]
    assert await types(journal, VIEWER) == []
    watcher = User(VIEWER.id, VIEWER.email, "viewer", (OWNER.id, OTHER.id))
    assert await types(journal, watcher) == ["a", "b"]


async def test_from_when_and_from_where_on(journal: Journal) -> None:
    await note(journal, "a", "b")
    moment = datetime.now(UTC)
    await note(journal, "c", "d", "e")
    assert await types(journal, OWNER, moment=moment) == ["c", "d", "e"]
    assert await types(journal, OWNER, moment=moment, limit=2) == ["c", "d"]
    assert await types(journal, OWNER, limit=2) == ["d", "e"]
    third = (await journal.since(OWNER, moment, None, 1))[0]
    assert await types(journal, OWNER, after=third.id) == ["d", "e"]
    assert await types(journal, OWNER, after=third.id, limit=1) == ["d"]


async def test_backwards(journal: Journal) -> None:
    await note(journal, "a", "b", "c")
    await note(journal, "d", owner=OTHER)

    async def until(user: User, before: str | None, limit: int) -> list[str]:
        return [event.type for event in await journal.until(user, before, limit)]

    assert await until(ADMIN, None, 2) == ["d", "c"]
    assert await until(OWNER, None, 2) == ["c", "b"]
    second = (await journal.until(OWNER, None, 2))[1]
    assert await until(OWNER, second.id, 2) == ["a"]
    assert await until(VIEWER, None, 2) == []


async def test_what_is_old_is_forgotten(
    stage: Stage, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FORGOTTEN_AT_ONCE", 3)
    old = datetime.now(UTC) - timedelta(days=2)
    async with journal.begin() as change:
        for _ in range(7):
            change.note("old", "str_1", at=old)
    await note(journal, "new")
    assert await journal.forget(timedelta(days=1)) == 7
    assert await journal.forget(timedelta(days=1)) == 0
    async with stage.store.begin() as session:
        assert await session.scalar(select(func.count()).select_from(tables.Event)) == 1
