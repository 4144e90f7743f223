from __future__ import annotations

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


def user(email: str, id: str = "usr_1") -> tables.User:
    return tables.User(
        id=id, email=email, password_hash="canary-hash", role="admin", created_at=datetime.now(UTC)
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    one = Store(settings.load(data_dir=tmp_path))
    await one.open()
    yield one
    await one.close()


async def test_the_migrations_make_what_the_tables_say(store: Store) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    async with store._engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_opening_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    async with store.begin() as session:
        session.add(user("me@example.org"))
    again = Store(settings.load(data_dir=tmp_path))
    await again.open()
    async with again.begin() as session:
        assert await session.scalar(select(tables.User.email)) == "me@example.org"
    await again.close()


@pytest.mark.parametrize(
    ("pragma", "wanted"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 5000)],
)
async def test_sqlite_is_told_to_be_careful(store: Store, pragma: str, wanted: object) -> None:
    async with store.begin() as session:
        assert await session.scalar(text(f"PRAGMA {pragma}")) == wanted


async def test_what_is_committed_is_there_for_others(store: Store, tmp_path: Path) -> None:
    async with store.begin() as session:
        session.add(user("me@example.org"))
    connection = sqlite3.connect(tmp_path / "strata.db")
    assert connection.execute("SELECT email FROM users").fetchall() == [("me@example.org",)]
    connection.close()


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
    assert "me@example.org" not in str(raised.value)


async def test_a_row_needs_what_it_belongs_to(store: Store) -> None:
    login = tables.Session(
        id="tok_1",
        user_id="usr_nobody",
        secret_hash=b"x" * 32,
        created_at=datetime.now(UTC),
        expires_at=datetime.now(UTC),
    )
    with pytest.raises(IntegrityError):
        async with store.begin() as session:
            session.add(login)


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
