"""The database: opening it, bringing it to the newest form, and sessions on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import ConnectionPoolEntry

from strata.settings import Settings

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"


class Store:
    """Sessions on one database."""

    def __init__(self, settings: Settings) -> None:
        database = str(settings.data_dir / "strata.db")
        url = make_url(settings.database.url or URL.create("sqlite+aiosqlite", database=database))
        self._engine: AsyncEngine = create_async_engine(url, hide_parameters=True)
        if url.get_backend_name() == "sqlite":
            event.listen(self._engine.sync_engine, "connect", _tune_sqlite)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)

    async def open(self) -> None:
        """Brings the tables to this version's form; a no-op where they have it."""
        async with self._engine.begin() as connection:
            await connection.run_sync(_migrate)

    async def ping(self) -> None:
        """Returns where the database answers; its tables are left as they are.

        Raises:
            SQLAlchemyError, OSError: it does not.
        """
        async with self._engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """A transaction: committed at the end, rolled back on an error."""
        async with self._sessions() as session, session.begin():
            yield session

    async def close(self) -> None:
        # A request that is cancelled here must not leave a connection half closed.
        await asyncio.shield(self._engine.dispose())


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _tune_sqlite(connection: object, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    # WAL: readers do not wait for the writer. FULL: what was answered survives a power cut.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
