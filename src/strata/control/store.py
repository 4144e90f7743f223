"""The database: opening it, bringing it to the newest form, and sessions on it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import ConnectionPoolEntry

from strata.errors import BadArguments, HostError, StoreUnavailable
from strata.settings import Settings

log = logging.getLogger(__name__)

MIGRATIONS: Final = Path(__file__).parent / "migrations"
MIGRATION_LOCK: Final = 0x5354524154410001
"""Of PostgreSQL's advisory locks; ``STRATA`` and a number."""

POOL_SIZE: Final = 10


class Store:
    """Sessions on one database: SQLite in the data folder, or a PostgreSQL server.

    Attributes:
        failures: how often it did not answer.
        is_away: whether it did not when it was last asked.
    """

    def __init__(self, settings: Settings) -> None:
        self.failures = 0
        self.is_away = False
        self._engine = _engine(settings)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)

    async def open(self) -> None:
        """Brings the tables to this version's form; a no-op where they have it.

        Raises:
            StoreUnavailable: the database does not answer.
            HostError: it is of a newer version.
        """
        with _told_apart():
            async with self._engine.connect() as connection:
                await connection.run_sync(_migrate)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """A transaction: committed at the end, rolled back on an error.

        Raises:
            StoreUnavailable: the database does not answer; nothing was changed.
        """
        try:
            with _told_apart():
                async with self._sessions() as session, session.begin():
                    yield session
        except StoreUnavailable:
            self.failures += 1
            self.is_away = True
            raise
        self.is_away = False

    async def check(self) -> None:
        """Returns if the database answers.

        Raises:
            StoreUnavailable: it does not.
        """
        async with self.begin() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        # A request that is cancelled here must not leave a connection half closed.
        await asyncio.shield(self._engine.dispose())


def url_of(settings: Settings) -> URL:
    """The database of an installation."""
    database = str(settings.data_dir / "strata.db")
    text = settings.database.url.get_secret_value()
    return make_url(text or URL.create("sqlite+aiosqlite", database=database))


def _engine(settings: Settings) -> AsyncEngine:
    url = url_of(settings)
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(url, hide_parameters=True)
        event.listen(engine.sync_engine, "connect", _tune_sqlite)
        return engine
    return create_async_engine(
        url,
        hide_parameters=True,
        # A server that was restarted has ended our connections: they are tried before use.
        pool_pre_ping=True,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=settings.database.timeout_s,
        connect_args={
            "connect_timeout": math.ceil(settings.database.timeout_s),
            "options": f"-c statement_timeout={settings.database.timeout_s * 1000:.0f}",
            # A server whose machine went away says nothing: the kernel gives it up.
            "tcp_user_timeout": int(settings.database.timeout_s * 1000),
        },
    )


@contextmanager
def _told_apart() -> Iterator[None]:
    """A database that is away is its own kind of error; a mistake of ours stays what it is."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        log.warning("the database does not answer: %s", str(cause).strip())
        raise StoreUnavailable(
            "the database does not answer, so nothing can be started, changed or looked up now; "
            "streams that run go on. Try again in a moment, and see the control plane's log"
        ) from error
    except DataError as error:  # such as a NUL in a text, for PostgreSQL
        raise BadArguments(f"the database cannot hold that: {str(error.orig).strip()}") from None


def _migrate(connection: Connection) -> None:
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        # A table that changes is copied and dropped, which others that point to it would
        # forbid. This cannot be said within a transaction.
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.commit()
        # All of it or nothing: SQLite's driver would begin a transaction with the first row that
        # is changed, not with the first table.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        # Two control planes that start at once: the second waits, and finds it done.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise HostError(
            f"the database is of a newer version than this program ({error}); start the newer "
            "one again, or restore the backup that was made before the upgrade"
        ) from None
    if is_sqlite:
        lost = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if lost:
            raise HostError(f"the database holds rows that belong to nothing: {lost[:5]}")
    connection.commit()
    if is_sqlite:
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")


def _tune_sqlite(connection: object, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    # WAL: readers do not wait for the writer. FULL: what was answered survives a power cut.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
