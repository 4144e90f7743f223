"""A copy of a whole database as one file, and back: SQLite by its online backup, PostgreSQL by
its own tools. Both copy one moment, while others write.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeAlias

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from strata.control import tables
from strata.control.store import url_of
from strata.errors import BadArguments, HostError, PartMissing, StoreUnavailable
from strata.settings import Settings

Kind: TypeAlias = Literal["sqlite", "postgresql"]
Undo: TypeAlias = Callable[[], None]

DEADLINE_S: Final = 3600.0
"""For a log of a year on a slow disk."""
COMMON: Final = ("--dbname=service=strata", "--no-password", "--no-owner", "--no-privileges")
"""Of the tools of PostgreSQL. Whose the tables are is for the database that takes them."""
CONNECT_TIMEOUT_S: Final = 10
OURS: Final = (*sorted(tables.Base.metadata.tables), "alembic_version")
"""Others may keep theirs in the same database of PostgreSQL."""


class Database(ABC):
    """Where an installation keeps its rows."""

    kind: Kind
    connect_args: ClassVar[dict[str, Any]] = {}

    def __init__(self, url: URL) -> None:
        self._url = url

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is anything of ours."""

    @abstractmethod
    def copy_to(self, path: Path) -> None:
        """Writes all of ours into a new file."""

    @abstractmethod
    def set_aside(self, folder: Path) -> Undo:
        """Makes room for another, and keeps this one; returns what takes that back."""

    @abstractmethod
    def take(self, path: Path) -> None:
        """Becomes what :meth:`copy_to` wrote. All of it, or nothing."""

    @contextlib.contextmanager
    def connected(self) -> Iterator[Connection]:
        """A transaction.

        Raises:
            StoreUnavailable: the database does not answer.
            HostError: it refuses, for want of a right or of a table.
        """
        engine = create_engine(self._url, hide_parameters=True, connect_args=self.connect_args)
        try:
            with engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            if isinstance(error, OperationalError | InterfaceError):
                raise StoreUnavailable(f"the database does not answer: {cause}") from None
            raise HostError(f"the database refuses: {cause}") from None
        finally:
            engine.dispose()


class Sqlite(Database):
    kind = "sqlite"

    def __init__(self, url: URL) -> None:
        super().__init__(url.set(drivername="sqlite"))
        self.path = Path(url.database or "")

    def exists(self) -> bool:
        return self.path.exists()

    def copy_to(self, path: Path) -> None:
        try:
            with (
                contextlib.closing(sqlite3.connect(f"{self.path.as_uri()}?mode=rw", uri=True)) as a,
                contextlib.closing(sqlite3.connect(path)) as b,
            ):
                a.backup(b)
                b.execute("PRAGMA journal_mode=DELETE")  # one file, without another beside it
                [(found,)] = b.execute("PRAGMA quick_check(1)").fetchall()
        except sqlite3.Error as error:
            raise HostError(f"{self.path} cannot be copied: {error}") from None
        if found != "ok":
            raise HostError(f"{self.path} is damaged: {found}; restore the last good backup")

    def set_aside(self, folder: Path) -> Undo:
        moved: list[tuple[Path, Path]] = []
        # What is in the log beside it comes into it, so that one file is all of it.
        with contextlib.suppress(StoreUnavailable), self.connected() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))

        def undo() -> None:
            for old, new in reversed(moved):
                new.replace(old)

        try:
            for suffix in ("", "-wal", "-shm"):
                old = self.path.with_name(self.path.name + suffix)
                if old.exists():
                    old.rename(folder / old.name)
                    moved.append((old, folder / old.name))
        except OSError:
            undo()
            raise
        return undo

    def take(self, path: Path) -> None:
        path.chmod(0o600)
        path.rename(self.path)


class Postgresql(Database):
    kind = "postgresql"
    connect_args: ClassVar[dict[str, Any]] = {"connect_timeout": CONNECT_TIMEOUT_S}

    def exists(self) -> bool:
        with self.connected() as connection:
            return bool(self._present(connection))

    def copy_to(self, path: Path) -> None:
        named = [f"--table={name}" for name in OURS]
        self._run("pg_dump", "--format=custom", f"--file={path}", *named)

    def set_aside(self, folder: Path) -> Undo:
        schema = f"strata_{folder.name}".replace("-", "_").lower()
        with self.connected() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '10s'"))
            home = connection.scalar(text("SELECT current_schema()"))
            present = self._present(connection)
            if present:
                connection.execute(text(f'CREATE SCHEMA "{schema}"'))
            for name in present:
                connection.execute(text(f'ALTER TABLE "{name}" SET SCHEMA "{schema}"'))

        def undo() -> None:
            with self.connected() as connection:
                for name in present:
                    connection.execute(text(f'ALTER TABLE "{schema}"."{name}" SET SCHEMA "{home}"'))
                connection.execute(text(f'DROP SCHEMA IF EXISTS "{schema}"'))

        return undo

    def take(self, path: Path) -> None:
        self._run("pg_restore", "--single-transaction", "--exit-on-error", str(path))

    def _present(self, connection: Connection) -> list[str]:
        return [name for name in OURS if inspect(connection).has_table(name)]

    def _run(self, program: str, *arguments: str) -> None:
        """One of PostgreSQL's tools; how to connect is told in a file: a command line, and an
        environment, can be read by others.

        Raises:
            PartMissing: it is not installed.
            HostError: it failed.
        """
        if shutil.which(program) is None:
            raise PartMissing(
                f"{program} is not installed, so PostgreSQL cannot be copied; install it: "
                "apt install postgresql-client"
            )
        with tempfile.TemporaryDirectory(prefix="strata-") as folder:
            service = Path(folder) / "service.conf"
            lines = [f"{name}={value}\n" for name, value in self._conninfo().items()]
            service.touch(0o600)
            service.write_text("".join(["[strata]\n", *lines]))
            try:
                done = subprocess.run(
                    [program, *COMMON, *arguments],
                    env={**os.environ, "PGSERVICEFILE": str(service)},
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=DEADLINE_S,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise HostError(f"{program} took more than {DEADLINE_S:.0f} s") from None
        if done.returncode:
            told = done.stderr.decode(errors="replace").strip().splitlines()
            raise HostError(f"{program} failed: {told[0] if told else done.returncode}")

    def _conninfo(self) -> dict[str, str]:
        parts = self._url.translate_connect_args(username="user", database="dbname")
        more = {
            name: value if isinstance(value, str) else ",".join(value)
            for name, value in self._url.query.items()
        }
        return {**{name: str(value) for name, value in parts.items()}, **more}


def database_of(settings: Settings) -> Database:
    url = url_of(settings)
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            raise BadArguments("a database in memory is not kept")
        return Sqlite(url.set(database=str(Path(url.database).absolute())))
    return Postgresql(url)
