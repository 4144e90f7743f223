"""``strata backup`` and ``strata restore``: database and key, together, as one archive.

They belong together: the database alone has sealed secrets that nothing opens. What the archive
says of itself is checked before anything is touched, and what was there before is kept.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, inspect, select, text

import strata
from strata.alone import Alone
from strata.control.copies import Database, Kind, database_of
from strata.control.rotation import SEALED
from strata.control.seal import KEY_BYTES, Seal
from strata.control.store import MIGRATIONS
from strata.errors import BadArguments, Conflict, HostError
from strata.settings import Settings, make_folders

MANIFEST: Final = "manifest.json"
ROWS: Final = "database"
KEY: Final = "seal.key"
MANIFEST_BYTES_MAX: Final = 64 * 1024
KEEP: Final = "before-restore-%Y%m%dT%H%M%SZ"


class Sealed(msgspec.Struct, frozen=True):
    """A sealed value of the database, to try the key on."""

    place: str
    value: bytes


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive says of itself.

    Attributes:
        version: of the program that made it.
        revision: of the tables.
        sha256: of each other file in it.
        newest: the secret that was sealed last; None where there is none.
    """

    form: Literal[1] = 1
    version: str
    revision: str
    made_at: datetime
    kind: Kind
    sha256: dict[str, str]
    newest: Sealed | None

    def __str__(self) -> str:
        return f"{self.kind} of Strata {self.version}, {self.made_at:%Y-%m-%d %H:%M:%S}Z"


def make(settings: Settings, target: Path) -> Manifest:
    """Writes an archive of the installation, which may be running.

    Raises:
        BadArguments: there is nothing to save, or the archive cannot be written.
        HostError: the database cannot be copied, or the key does not belong to it.
    """
    database = database_of(settings)
    key = settings.data_dir / KEY
    if not key.exists() or not database.exists():
        raise BadArguments(
            f"there is no database with its key in {settings.data_dir}; name the folder with "
            "--data-dir, or start strata there once"
        )
    if target.exists():
        raise BadArguments(f"{target} exists and is not written over; choose another name")
    with _beside(target) as folder:
        keys = [key.read_bytes()]
        with database.connected() as connection:
            revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
            newest = _newest(connection)
        database.copy_to(folder / ROWS)
        # The key may have been changed while the rows were copied: then both are needed.
        keys.insert(0, key.read_bytes())
        _write(folder / KEY, _joined(keys))
        manifest = Manifest(
            version=strata.__version__,
            revision=str(revision),
            made_at=datetime.now(UTC).replace(microsecond=0),
            kind=database.kind,
            sha256={name: _digest(folder / name) for name in (ROWS, KEY)},
            newest=newest,
        )
        _try_key(folder / KEY, manifest)
        _write(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        archive = folder / "archive"
        _write(archive, b"")
        with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
            for name in (MANIFEST, KEY, ROWS):
                tar.add(folder / name, name, filter=_of_nobody)
        _sync(archive)
        archive.rename(target)
        _sync(target.absolute().parent)
    return manifest


async def restore(settings: Settings, archive: Path, force: bool = False) -> list[str]:
    """Puts what an archive holds in its place; returns what to tell.

    Args:
        force: over an installation that is there; it is kept aside.

    Raises:
        BadArguments: the archive cannot be used, or not here.
        Conflict: Strata, or a stream, runs on this folder, or there is a database already.
    """
    make_folders(settings)
    async with (
        Alone(settings.data_dir / "host.lock", 0.0),
        Alone(settings.data_dir / "control.lock", 0.0),
    ):
        return _restore(settings, archive, force)


def _restore(settings: Settings, archive: Path, force: bool) -> list[str]:
    if running := _running(settings.data_dir / "workers"):
        raise Conflict(
            f"{', '.join(running)} may be on the air from {settings.data_dir}, and would be ended "
            "as a stranger after a restore; end it with: strata up, then strata stop"
        )
    database = database_of(settings)
    key = settings.data_dir / KEY
    with _beside(settings.data_dir / ROWS) as folder:
        manifest = _unpack(archive, folder)
        _check(manifest, folder, database)
        # Asked last: an archive that is no good is told first.
        is_there = key.exists() or database.exists()
        if is_there and not force:
            raise Conflict(
                f"{settings.data_dir} has a database already; with --force that one is kept aside "
                "and the archive takes its place"
            )
        kept = settings.data_dir / f"{datetime.now(UTC):{KEEP}}"
        if is_there:
            kept.mkdir(mode=0o700)
        with contextlib.ExitStack() as undo:
            if is_there:
                undo.callback(kept.rmdir)
                undo.callback(database.set_aside(kept))
                if key.exists():
                    key.rename(kept / KEY)
                    undo.callback((kept / KEY).replace, key)
            undo.callback(key.unlink, missing_ok=True)
            (folder / KEY).rename(key)
            database.take(folder / ROWS)
            undo.pop_all()
    _sync(settings.data_dir)
    _give_to_owner(settings.data_dir)
    told = [f"restored: {manifest}; the next start of strata brings it to this version's form"]
    if is_there:
        schema = (
            "" if manifest.kind == "sqlite" else ", and the schema of a like name in PostgreSQL"
        )
        told.append(f"what was there is in {kept}{schema}")
    return told


class _Worker(msgspec.Struct, frozen=True):
    """As much of a host's record of a worker as matters here."""

    stream_id: str
    pid: int = 0
    boot: str = ""


def _running(folder: Path) -> list[str]:
    """The streams whose workers have outlived their host."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    found = []
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            one = msgspec.json.decode(path.read_bytes(), type=_Worker)
            if one.pid > 0 and one.boot == boot and Path(f"/proc/{one.pid}").exists():
                found.append(one.stream_id)
    return found


def _check(manifest: Manifest, folder: Path, database: Database) -> None:
    if manifest.kind != database.kind:
        raise BadArguments(
            f"the archive is of {manifest.kind}, the settings name {database.kind}; set "
            "database.url to where it shall be"
        )
    for name in (ROWS, KEY):
        if manifest.sha256.get(name) != _digest(folder / name):
            raise BadArguments(f"the archive is damaged: {name} is not what was saved")
    script = ScriptDirectory(str(MIGRATIONS))
    try:
        known = script.get_revision(manifest.revision)
    except CommandError:
        known = None
    if known is None:
        raise BadArguments(
            f"the archive is of Strata {manifest.version}, which is newer than this one "
            f"({strata.__version__}); install that version first"
        )
    _try_key(folder / KEY, manifest)


def _try_key(key: Path, manifest: Manifest) -> None:
    """
    Raises:
        HostError: the key does not open what the database holds.
    """
    if len(key.read_bytes()) % KEY_BYTES or not key.stat().st_size:
        raise HostError(f"{key.name} holds no key of {KEY_BYTES} bytes")
    if manifest.newest is not None:
        Seal.load(key).open(manifest.newest.value, manifest.newest.place)


def _newest(connection: Connection) -> Sealed | None:
    """The secret of the newest row; the tables may be those of an older version."""
    found: list[tuple[str, Sealed]] = []
    for column, name in SEALED:
        kind: Any = column.class_
        if inspect(connection).has_table(kind.__tablename__):
            row = connection.execute(select(kind.id, column).order_by(kind.id.desc())).first()
            if row is not None:
                found.append((row[0].partition("_")[2], Sealed(f"{row[0]}.{name}", row[1])))
    return max(found, key=lambda each: each[0])[1] if found else None


def _joined(held: list[bytes]) -> bytes:
    """Every key once, the newest first."""
    keys = [one[at : at + KEY_BYTES] for one in held for at in range(0, len(one), KEY_BYTES)]
    return b"".join(dict.fromkeys(keys))


def _unpack(archive: Path, folder: Path) -> Manifest:
    """Takes out what we put in, by name, and nothing else.

    Raises:
        BadArguments: it is no archive of ours.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for name in (MANIFEST, KEY, ROWS):
                source = tar.extractfile(name)
                if source is None:
                    raise KeyError(name)
                limit = MANIFEST_BYTES_MAX if name != ROWS else None
                with _opened(folder / name) as file:
                    if limit is None:
                        shutil.copyfileobj(source, file)
                    else:
                        file.write(source.read(limit))
                    file.flush()
                    os.fsync(file.fileno())
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise BadArguments(f"{archive} does not exist") from None
    except (
        *(tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, KeyError),
        *(msgspec.MsgspecError, OSError),
    ) as error:
        raise BadArguments(
            f"{archive} is no archive of strata backup, or it is damaged ({error})"
        ) from None


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A folder of this user's alone on the same disk, for what is not whole yet.

    Raises:
        BadArguments: nothing can be written there.
    """
    parent = target.absolute().parent
    try:
        with tempfile.TemporaryDirectory(prefix=".strata-backup-", dir=parent) as name:
            yield Path(name)
    except OSError as error:
        raise BadArguments(f"{parent} cannot be written to: {error.strerror}") from None


def _opened(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


def _write(path: Path, data: bytes) -> None:
    with _opened(path) as file:
        file.write(data)


def _of_nobody(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mode, info.uid, info.gid, info.uname, info.gname = 0o600, 0, 0, "", ""
    return info


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give_to_owner(folder: Path) -> None:
    """What root has put into the folder of a service's user is that user's."""
    owner = folder.stat()
    for path in folder.iterdir():
        if path.lstat().st_uid == os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
