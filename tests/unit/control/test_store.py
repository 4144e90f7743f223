from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from strata import settings
from strata.control import tables
from strata.control.store import Store
from strata.control.tables import Base
from strata.errors import BadArguments, HostError, StoreUnavailable
from strata.settings import Settings
from support.database import Databases
from support.postgres import postgres


def user(email: str, id: str = "usr_1") -> tables.User:
    return tables.User(
        id=id, email=email, password_hash="canary-hash", role="admin", created_at=datetime.now(UTC)
    )


@pytest.fixture
async def store(loaded: Settings) -> AsyncIterator[Store]:
    one = Store(loaded)
    await one.open()
    yield one
    await one.close()


async def test_the_migrations_make_what_the_tables_say(store: Store) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    async with store._engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_opening_again_changes_nothing(store: Store, loaded: Settings) -> None:
    async with store.begin() as session:
        session.add(user("me@example.org"))
    again = Store(loaded)
    await again.open()
    async with again.begin() as session:
        assert await session.scalar(select(tables.User.email)) == "me@example.org"
    await again.close()


async def test_what_is_committed_is_there_for_others(store: Store, loaded: Settings) -> None:
    other = Store(loaded)
    async with store.begin() as session:
        session.add(user("me@example.org"))
        await session.flush()
        async with other.begin() as meanwhile:
            assert await meanwhile.scalar(select(tables.User.email)) is None
    async with other.begin() as session:
        assert await session.scalar(select(tables.User.email)) == "me@example.org"
    await other.close()


async def test_an_error_undoes_the_transaction(store: Store) -> None:
    async def fail() -> None:
        async with store.begin() as session:
            session.add(user("me@example.org"))
            await session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with store.begin() as session:
        assert await session.scalar(select(tables.User)) is None


async def test_an_error_of_the_database_repeats_no_value(store: Store) -> None:
    async with store.begin() as session:
        session.add(user("me@example.org"))
    with pytest.raises(IntegrityError) as raised:
        async with store.begin() as session:
            session.add(user("me@example.org", "usr_2"))
    assert "canary" not in str(raised.value)


async def test_a_row_needs_what_it_belongs_to(store: Store) -> None:
    login = tables.Token(
        id="tok_1",
        user_id="usr_nobody",
        kind="login",
        name="",
        secret_hash=b"x" * 32,
        created_at=datetime.now(UTC),
    )
    with pytest.raises(IntegrityError):
        async with store.begin() as session:
            session.add(login)


async def test_a_database_of_a_newer_version_is_left_alone(store: Store, loaded: Settings) -> None:
    async with store.begin() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    older = Store(loaded)
    with pytest.raises(HostError, match="of a newer version than this program"):
        await older.open()
    await older.close()


# SQLite.


@pytest.mark.parametrize(
    ("pragma", "wanted"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 5000)],
)
async def test_sqlite_is_told_to_be_careful(tmp_path: Path, pragma: str, wanted: object) -> None:
    store = Store(settings.load(data_dir=tmp_path))
    async with store.begin() as session:
        assert await session.scalar(text(f"PRAGMA {pragma}")) == wanted
    await store.close()


@pytest.mark.parametrize("name", ["my data", "a?b", "a#b", "50%", "ä"])
async def test_the_data_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    store = Store(settings.load(data_dir=folder))
    await store.open()
    await store.close()
    assert (folder / "strata.db").exists()


async def test_another_database_may_be_named(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/other.db"
    store = Store(settings.load(data_dir=tmp_path, database={"url": url}))
    await store.open()
    await store.close()
    assert (tmp_path / "other.db").exists()
    assert not (tmp_path / "strata.db").exists()


async def test_nothing_is_opened_before_it_is_asked_for(tmp_path: Path) -> None:
    await Store(settings.load(data_dir=tmp_path / "nowhere")).close()
    assert not (tmp_path / "nowhere").exists()


async def test_a_database_that_is_locked_is_away(tmp_path: Path) -> None:
    store = Store(settings.load(data_dir=tmp_path))
    await store.open()
    holder = sqlite3.connect(tmp_path / "strata.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    async def add() -> None:
        async with store.begin() as session:
            await session.execute(text("PRAGMA busy_timeout=50"))
            session.add(user("me@example.org"))

    try:
        with pytest.raises(StoreUnavailable, match="streams that run go on"):
            await add()
    finally:
        holder.close()
        await store.close()


# PostgreSQL.


@pytest.fixture
async def served(databases: Databases, tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(
        settings.load(data_dir=tmp_path, database=await databases.make("postgresql", tmp_path))
    )
    yield store
    await store.close()


async def test_two_that_start_at_once_migrate_once(databases: Databases, tmp_path: Path) -> None:
    loaded = settings.load(data_dir=tmp_path, database={"url": databases.server.new_database()})
    stores = [Store(loaded) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        await store.check()
        await store.close()


async def test_what_a_database_cannot_hold_is_the_askers_fault(served: Store) -> None:
    with pytest.raises(BadArguments, match="cannot hold that"):
        async with served.begin() as session:
            await session.get(tables.User, "usr_\0")


async def test_a_statement_has_its_deadline(databases: Databases, tmp_path: Path) -> None:
    section = await databases.make("postgresql", tmp_path) | {"timeout_s": 0.1}
    store = Store(settings.load(data_dir=tmp_path, database=section))
    with pytest.raises(StoreUnavailable):
        async with store.begin() as session:
            await session.execute(text("SELECT pg_sleep(30)"))
    await store.check()
    await store.close()


async def test_a_server_that_was_killed_is_used_again_once_it_is_back(tmp_path: Path) -> None:
    with postgres() as server:
        section = {"url": server.new_database(), "timeout_s": 2.0}
        store = Store(settings.load(data_dir=tmp_path, database=section))
        await store.open()
        await asyncio.gather(*(store.check() for _ in range(5)))
        server.kill()
        found = await asyncio.gather(*(store.check() for _ in range(5)), return_exceptions=True)
        assert {type(each) for each in found} == {StoreUnavailable}
        server.start()
        await asyncio.gather(*(store.check() for _ in range(20)))
        await store.close()


async def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://me:canary-password@/strata?host={tmp_path}"
    loaded = settings.load(data_dir=tmp_path, database={"url": url})
    store = Store(loaded)
    with pytest.raises(StoreUnavailable) as raised:
        await store.open()
    assert "canary" not in f"{raised.value} {raised.value.__cause__} {loaded!r}"
    await store.close()
