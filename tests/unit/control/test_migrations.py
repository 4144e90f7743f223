"""From every form that the database has ever had, with something in it, to the newest."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, Table, inspect, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ProgrammingError

from strata import settings
from strata.control import tables
from strata.control.store import MIGRATIONS, Store
from strata.control.tables import UtcDateTime
from strata.errors import StrataError
from support.database import KINDS, Databases, Kind

MOMENT: Final = "2026-01-31 12:00:00.123456+00:00"

SEEDS: Final[dict[str, dict[str, list[dict[str, Any]]]]] = {
    "0001": {
        "users": [
            {"id": "usr_1", "email": "a@b.c", "password_hash": "x", "role": "admin"},
            {"id": "usr_2", "email": "d@e.f", "password_hash": "x", "role": "viewer"},
        ],
        "sessions": [{"id": "tok_1", "user_id": "usr_1", "secret_hash": b"h" * 32}],
        "streams": [
            {
                "id": "str_1",
                "owner_id": "usr_2",
                "name": "Derby",
                "state": "live",
                "ports": [15000, 15002],
                "psk_sealed": b"\0\1",
                "forwards_sealed": b"\2",
            }
        ],
        "events": [
            {"id": "evt_1", "stream_id": "str_1", "type": "state", "data": {"to": "live"}},
            {"id": "evt_2", "stream_id": None, "type": "other", "data": {}},
        ],
    },
}
"""What was in the tables of each revision; those that say nothing have no tables of their own."""


def revisions() -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    return [each.revision for each in script.walk_revisions()][::-1]


def migrate(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def seed(connection: Connection, revision: str) -> None:
    for name, rows in SEEDS[revision].items():
        table = Table(name, MetaData(), autoload_with=connection)
        moments = {
            column.name
            for column in table.columns
            if not column.nullable and column.type.python_type is datetime
        }
        for row in rows:
            values = {name: datetime.fromisoformat(MOMENT) for name in moments}
            connection.execute(table.insert().values(values | row))


def test_every_revision_has_something_in_it() -> None:
    assert set(SEEDS) == set(revisions()[:-1])


@pytest.mark.parametrize("revision", revisions()[:-1])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_there_is_there_in_the_newest_form(
    kind: Kind, revision: str, databases: Databases, tmp_path: Path
) -> None:
    url = databases.server.new_database() if kind == "postgresql" else ""
    store = Store(settings.load(data_dir=tmp_path, database={"url": url}))
    async with store._engine.begin() as connection:
        await connection.run_sync(migrate, revision)
        await connection.run_sync(seed, revision)
    await store.open()
    async with store.begin() as session:
        users = list(await session.scalars(select(tables.User).order_by(tables.User.id)))
        [token] = await session.scalars(select(tables.Token))
        [stream] = await session.scalars(select(tables.Stream))
        events = list(await session.scalars(select(tables.Event).order_by(tables.Event.id)))
    await store.close()
    assert [(user.email, user.is_disabled, user.sees) for user in users] == [
        ("a@b.c", False, []),
        ("d@e.f", False, []),
    ]
    assert (token.id, token.kind, token.secret_hash) == ("tok_1", "login", b"h" * 32)
    assert (stream.ports, stream.psk_sealed, stream.request) == ([15000, 15002], b"\0\1", {})
    assert [(event.subject, event.owner_id, event.data) for event in events] == [
        ("str_1", "usr_2", {"to": "live"}),
        (None, None, {}),
    ]
    moment = UtcDateTime().process_result_value(stream.created_at, None)  # type: ignore[arg-type]
    assert moment is not None
    assert moment.isoformat(" ") == MOMENT


@pytest.mark.parametrize("kind", KINDS)
async def test_a_migration_that_fails_has_changed_nothing(
    kind: Kind, databases: Databases, tmp_path: Path
) -> None:
    url = databases.server.new_database() if kind == "postgresql" else ""
    store = Store(settings.load(data_dir=tmp_path, database={"url": url}))
    async with store._engine.begin() as connection:
        await connection.run_sync(migrate, "0001")
        await connection.run_sync(seed, "0001")
        await connection.execute(text("CREATE TABLE hosts (x int)"))  # in the way of the last step
    with pytest.raises((StrataError, ProgrammingError)):
        await store.open()
    async with store._engine.connect() as connection:
        names = await connection.run_sync(lambda plain: inspect(plain).get_table_names())
        found = await connection.execute(text("SELECT version_num FROM alembic_version"))
        assert found.scalar() == "0001"
    assert sorted(names) == ["alembic_version", "events", "hosts", "sessions", "streams", "users"]
    await store.close()
