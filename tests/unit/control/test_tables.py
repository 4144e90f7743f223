from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy.dialects import sqlite

from strata.control import tables
from strata.control.store import Store
from strata.control.tables import UtcDateTime
from strata.settings import Settings

MOMENT = datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)


@pytest.fixture
async def store(loaded: Settings) -> AsyncIterator[Store]:
    one = Store(loaded)
    async with one.begin() as session:
        session.add(
            tables.User(
                id="usr_1", email="a@b.c", password_hash="x", role="admin", created_at=MOMENT
            )
        )
    yield one
    await one.close()


async def test_a_moment_comes_back_with_its_zone(store: Store) -> None:
    async with store.begin() as session:
        row = await session.get(tables.User, "usr_1")
    assert row is not None
    assert row.created_at == MOMENT
    assert row.created_at.utcoffset() == timedelta(0)


def test_what_a_database_returns_in_another_zone_is_the_same_moment() -> None:
    dialect = sqlite.dialect()  # type: ignore[no-untyped-call]
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=2)))
    found = UtcDateTime().process_result_value(elsewhere, dialect)
    assert found == MOMENT
    assert found is not None
    assert found.utcoffset() == timedelta(0)
    assert UtcDateTime().process_result_value(None, dialect) is None
    assert UtcDateTime().process_result_value(MOMENT.replace(tzinfo=None), dialect) == MOMENT


async def test_a_stream_comes_back_as_it_was_stored(store: Store) -> None:
    async with store.begin() as session:
        session.add(
            tables.Stream(
                id="str_1",
                owner_id="usr_1",
                name="Derby",
                state="starting",
                ports=[15000, 15002],
                psk_sealed=b"\0\1",
                forwards_sealed=b"\2",
                created_at=MOMENT,
            )
        )
        session.add(
            tables.Event(
                id="evt_1", at=MOMENT, subject="str_1", type="state", data={"to": "live", "n": 1}
            )
        )
    async with store.begin() as session:
        row = await session.get(tables.Stream, "str_1")
        event = await session.get(tables.Event, "evt_1")
    assert row is not None
    assert event is not None
    assert (row.ports, row.psk_sealed, row.forwards_sealed) == ([15000, 15002], b"\0\1", b"\2")
    assert (row.reason, row.detail, row.host, row.ended_at) == (None, None, None, None)
    assert event.data == {"to": "live", "n": 1}
    assert event.user_id is None
