"""A PostgreSQL server of our own: a private cluster on a Unix socket."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg

from support.children import Child

DEADLINE_S: Final = 30.0

OPTIONS: Final = (
    *("-c", "listen_addresses="),
    # What a test writes need not survive a power cut.
    *("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"),
    *("-c", "max_connections=200", "-c", "shared_buffers=32MB"),
)


class Postgres:
    """One server. It refuses to run as root: there it runs as Debian's user for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._data = folder / "cluster"
        self._programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self._names = itertools.count()
        self._templates: set[str] = set()
        self.child: Child | None = None

    def make(self) -> None:
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        subprocess.run(
            [
                *(*_as_its_user(), self._programs / "initdb", "-D", self._data),
                *("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
            ],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            timeout=DEADLINE_S,
        )

    def start(self) -> None:
        """Returns when it answers."""
        self.child = Child(
            [
                *(*_as_its_user(), self._programs / "postgres", "-D", self._data),
                *("-k", self.folder, *OPTIONS),
            ],
            self.folder / "log",
        )
        give_up_at = time.monotonic() + DEADLINE_S
        while True:
            try:
                psycopg.connect(self._conninfo("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert self.child.status is None, self.child.said()
                assert time.monotonic() < give_up_at, self.child.said()
                time.sleep(0.02)

    def kill(self) -> None:
        """As in a crash: every process of it at once."""
        assert self.child is not None
        os.killpg(self.child.pid, signal.SIGKILL)
        self._until_gone()
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """Cuts its connections and ends it."""
        if self.child is not None and self.child.status is None:
            self.child.signal(signal.SIGINT)
            self._until_gone()

    def _until_gone(self) -> None:
        give_up_at = time.monotonic() + DEADLINE_S
        while self.child is not None and self.child.status is None:
            assert time.monotonic() < give_up_at, self.child.said()
            time.sleep(0.01)

    def new_database(self, template: str = "template1") -> str:
        """The URL of a database that nobody else has.

        Args:
            template: the name of another, which the new one is a copy of.
        """
        name = f"test_{os.getpid()}_{next(self._names)}"
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            # Both names are ours: letters, digits and underscores.
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"

    def _conninfo(self, name: str) -> str:
        return f"host={self.folder} user=postgres dbname={name}"


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A server that runs, on a cluster that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # short: it holds a socket
    one = Postgres(folder)
    try:
        one.make()
        one.start()
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _as_its_user() -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    return ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
