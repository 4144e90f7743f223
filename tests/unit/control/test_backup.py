"""On both databases: what is saved comes back whole, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from strata import settings
from strata.alone import Alone
from strata.control import backup, copies
from strata.control.backup import KEY, MANIFEST, ROWS
from strata.control.copies import database_of
from strata.control.seal import Seal
from strata.control.store import Store
from strata.errors import BadArguments, Conflict, HostError, PartMissing, StoreUnavailable
from strata.settings import Settings
from support.database import Databases, Kind
from unit.control.stage import ADMIN, Stage, staged
from unit.control.stage import KEY as STREAM_KEY


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups" / "one.tar.gz"


@pytest.fixture
async def other(loaded: Settings, databases: Databases, tmp_path: Path) -> Settings:
    """Of a machine that has nothing yet: an empty folder, an empty database."""
    url = loaded.database.url.get_secret_value()
    return settings.load(
        data_dir=tmp_path / "other",
        forward={"allow_private": True},
        database={"url": databases.server.new_database() if url else ""},
    )


@pytest.fixture
async def saved(loaded: Settings, archive: Path) -> str:
    """An archive with a stream in it; its id."""
    async with staged(loaded) as stage:
        view = await stage.begin()
        backup.make(loaded, archive)  # while it runs
        return view.row.id


@asynccontextmanager
async def opened(loaded: Settings) -> AsyncIterator[Stage]:
    one = Stage(loaded)
    await one.open()
    try:
        yield one
    finally:
        await one.close()


def kind_of(loaded: Settings) -> Kind:
    return database_of(loaded).kind


def change(archive: Path, name: str, edit: Callable[[bytes], bytes | None]) -> None:
    """Writes the archive anew, with another file in it in place of that one; None: without."""
    with tarfile.open(archive) as tar:
        held = {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]
    edited = edit(held.pop(name))
    with tarfile.open(archive, "w:gz") as tar:
        for each, data in {**held, **({name: edited} if edited is not None else {})}.items():
            info = tarfile.TarInfo(each)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


async def test_what_was_saved_is_there_again_elsewhere(
    saved: str, archive: Path, other: Settings
) -> None:
    told = await backup.restore(other, archive)
    assert len(told) == 1
    assert told[0].startswith(f"restored: {kind_of(other)} of Strata ")
    async with opened(other) as stage:
        view = await stage.streams.view(ADMIN, saved)
        assert view.row.name == "Derby"
        sealed = (await stage.row(saved)).forwards_sealed
        value = stage.platform.seal.open(sealed, f"{saved}.forwards")
        assert STREAM_KEY in value.reveal()
        # The host there knows nothing of it: it does not stand as if it were on the air.
        await stage.streams.observer.compare_notes()
        assert (await stage.becomes(saved, "failed")).reason == "host_lost"


async def test_an_archive_is_for_this_user_and_says_what_it_is(saved: str, archive: Path) -> None:
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert [each.name for each in archive.parent.iterdir()] == [archive.name]
    with tarfile.open(archive) as tar:
        assert tar.getnames() == [MANIFEST, KEY, ROWS]
        manifest = json.load(tar.extractfile(MANIFEST) or io.BytesIO())
    assert manifest["revision"] == "0002"
    assert manifest["newest"]["place"] == f"{saved}.psk"


async def test_nothing_of_it_is_in_a_command_line(
    loaded: Settings, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor in the environment: the password of a database is told to its tools in a file."""
    if kind_of(loaded) == "sqlite":
        return
    url = loaded.database.url.get_secret_value().replace("postgres@", "postgres:canary%21@")
    loaded = settings.load(data_dir=loaded.data_dir, database={"url": url})
    Seal.load(loaded.data_dir / KEY)
    seen: list[str] = []
    run = copies.subprocess.run

    def watched(command: list[str], **more: object) -> object:
        seen.append(f"{command} {more['env']}")
        service = Path(more["env"]["PGSERVICEFILE"])  # type: ignore[index]
        assert "password=canary!\n" in service.read_text()
        assert stat.S_IMODE(service.stat().st_mode) == 0o600
        return run(command, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(copies.subprocess, "run", watched)
    backup.make(loaded, archive)
    assert len(seen) == 1
    assert "canary" not in seen[0]


async def test_a_database_that_is_there_stays_unless_it_is_forced(
    saved: str, archive: Path, loaded: Settings
) -> None:
    async with opened(loaded) as stage, stage.store.begin() as session:
        await session.execute(text("UPDATE streams SET name = 'later'"))
    with pytest.raises(Conflict, match="--force"):
        await backup.restore(loaded, archive)
    assert await name_of(loaded, saved) == "later"
    told = await backup.restore(loaded, archive, force=True)
    assert await name_of(loaded, saved) == "Derby"
    [kept] = loaded.data_dir.glob("before-restore-*")
    assert str(kept) in told[1]
    assert (kept / KEY).read_bytes() == (loaded.data_dir / KEY).read_bytes()
    if kind_of(loaded) == "sqlite":
        aside = settings.load(data_dir=kept)
        assert await name_of(aside, saved) == "later"
    else:
        schema = f"strata_{kept.name}".replace("-", "_").lower()
        store = Store(loaded)
        async with store.begin() as session:
            assert await session.scalar(text(f'SELECT name FROM "{schema}".streams')) == "later"
        await store.close()


async def name_of(loaded: Settings, stream_id: str) -> str | None:
    store = Store(loaded)
    try:
        async with store.begin() as session:
            name = await session.scalar(
                text("SELECT name FROM streams WHERE id = :id"), {"id": stream_id}
            )
            return str(name)
    finally:
        await store.close()


async def test_a_restore_that_fails_takes_all_of_it_back(
    saved: str, archive: Path, loaded: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (loaded.data_dir / KEY).read_bytes()

    def fail(self: object, path: Path) -> None:
        raise HostError("the disk is full")

    monkeypatch.setattr(type(database_of(loaded)), "take", fail)
    with pytest.raises(HostError, match="disk is full"):
        await backup.restore(loaded, archive, force=True)
    assert await name_of(loaded, saved) == "Derby"
    assert (loaded.data_dir / KEY).read_bytes() == key
    assert not [*loaded.data_dir.glob("before-restore-*"), *loaded.data_dir.glob(".strata-*")]


@pytest.mark.parametrize("lock", ["host.lock", "control.lock"])
async def test_not_while_strata_runs(
    saved: str, archive: Path, loaded: Settings, lock: str
) -> None:
    async with Alone(loaded.data_dir / lock):
        with pytest.raises(Conflict, match="another strata runs"):
            await backup.restore(loaded, archive, force=True)


async def test_not_while_a_stream_has_outlived_its_host(
    saved: str, archive: Path, other: Settings
) -> None:
    workers = other.data_dir / "workers"
    workers.mkdir(parents=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    record = {"stream_id": saved, "ports": [1], "pid": os.getpid(), "boot": boot}
    (workers / f"{saved}.json").write_text(json.dumps(record))
    with pytest.raises(Conflict, match=f"{saved} may be on the air"):
        await backup.restore(other, archive, force=True)
    record["boot"] = "of yesterday"
    (workers / f"{saved}.json").write_text(json.dumps(record))
    await backup.restore(other, archive)


def flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        (KEY, flip, "damaged: seal.key"),
        (ROWS, flip, "damaged: database"),
        (ROWS, lambda data: None, "no archive of strata backup"),
        (MANIFEST, lambda data: b"{}", "no archive of strata backup"),
        (MANIFEST, lambda data: data.replace(b'"0002"', b'"9999"'), "newer than this one"),
        (MANIFEST, lambda data: data.replace(b'"form": 1', b'"form": 2'), "no archive"),
    ],
)
async def test_what_is_no_good_changes_nothing(
    saved: str,
    archive: Path,
    loaded: Settings,
    name: str,
    edit: Callable[[bytes], bytes | None],
    words: str,
) -> None:
    change(archive, name, edit)
    with pytest.raises(BadArguments, match=words):
        await backup.restore(loaded, archive, force=True)
    assert await name_of(loaded, saved) == "Derby"


async def test_a_key_of_another_installation_is_seen(
    saved: str, archive: Path, other: Settings
) -> None:
    strange = bytes(32)
    change(archive, KEY, lambda data: strange)
    digest = hashlib.sha256(strange).hexdigest()

    def edit(data: bytes) -> bytes:
        manifest = json.loads(data)
        manifest["sha256"][KEY] = digest
        return json.dumps(manifest).encode()

    change(archive, MANIFEST, edit)
    with pytest.raises(HostError, match="do not belong together"):
        await backup.restore(other, archive)
    assert not (other.data_dir / KEY).exists()


async def test_a_key_that_does_not_fit_is_seen_when_it_is_saved(
    saved: str, archive: Path, loaded: Settings
) -> None:
    (loaded.data_dir / KEY).write_bytes(bytes(32))
    with pytest.raises(HostError, match="do not belong together"):
        backup.make(loaded, archive.with_name("two.tar.gz"))
    assert [each.name for each in archive.parent.iterdir()] == [archive.name]


async def test_both_keys_are_saved_where_one_takes_the_place_of_the_other(
    loaded: Settings, archive: Path, other: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are copied, and all of them closed with a new key before the key is."""
    async with staged(loaded) as stage:
        id = (await stage.begin()).row.id
        kind = type(database_of(loaded))
        copy_to = kind.copy_to

        def copy_then_rotate(self: copies.Database, path: Path) -> None:
            copy_to(self, path)  # type: ignore[arg-type]
            stage.platform.seal.add_key()
            stage.platform.seal.drop_old_keys()

        monkeypatch.setattr(kind, "copy_to", copy_then_rotate)
        backup.make(loaded, archive)
        # As rotation goes: what this platform holds now would not open. It ends here.
    await backup.restore(other, archive)
    async with opened(other) as restored:
        assert len((other.data_dir / KEY).read_bytes()) == 32  # rotated to its end
        sealed = (await restored.row(id)).psk_sealed
        assert restored.platform.seal.open(sealed, f"{id}.psk").reveal()


async def test_tables_that_an_older_version_does_not_have_are_not_missed(
    loaded: Settings, archive: Path, other: Settings
) -> None:
    Seal.load(loaded.data_dir / KEY)
    async with opened(loaded):
        pass
    with database_of(loaded).connected() as connection:
        for name in ("deliveries", "webhooks", "destinations"):
            connection.execute(text(f"DROP TABLE {name}"))
    assert backup.make(loaded, archive).newest is None
    assert "restored" in (await backup.restore(other, archive))[0]


async def test_nothing_to_save(other: Settings, archive: Path) -> None:
    with pytest.raises(BadArguments, match="no database with its key"):
        backup.make(other, archive)
    assert not other.data_dir.exists()


async def test_an_archive_is_never_written_over(
    saved: str, archive: Path, loaded: Settings
) -> None:
    before = archive.read_bytes()
    with pytest.raises(BadArguments, match="not written over"):
        backup.make(loaded, archive)
    assert archive.read_bytes() == before


async def test_a_folder_that_is_not_there(saved: str, loaded: Settings, tmp_path: Path) -> None:
    with pytest.raises(BadArguments, match="cannot be written to"):
        backup.make(loaded, tmp_path / "nowhere" / "one.tar.gz")


@pytest.mark.parametrize("data", [b"", b"no archive", b"\x1f\x8b\x08\x00broken"])
async def test_what_is_no_archive(other: Settings, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(BadArguments, match="no archive of strata backup"):
        await backup.restore(other, path)


async def test_an_archive_that_was_cut_off(saved: str, archive: Path, other: Settings) -> None:
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(BadArguments, match="no archive of strata backup"):
        await backup.restore(other, archive)


async def test_an_archive_that_is_not_there(other: Settings, tmp_path: Path) -> None:
    with pytest.raises(BadArguments, match="does not exist"):
        await backup.restore(other, tmp_path / "nowhere")


async def test_what_root_restores_is_of_the_folders_owner(
    saved: str, archive: Path, other: Settings
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    other.data_dir.mkdir()
    os.chown(other.data_dir, 12345, 12345)
    await backup.restore(other, archive)
    assert {each.stat().st_uid for each in other.data_dir.iterdir()} == {12345}


async def test_an_archive_of_the_other_kind(
    saved: str, archive: Path, loaded: Settings, databases: Databases, tmp_path: Path
) -> None:
    is_sqlite = kind_of(loaded) == "sqlite"
    url = databases.server.new_database() if is_sqlite else ""
    strange = settings.load(data_dir=tmp_path / "strange", database={"url": url})
    with pytest.raises(BadArguments, match=r"the archive is of .*database\.url"):
        await backup.restore(strange, archive)


async def test_tools_that_are_not_installed_are_named(
    saved: str, archive: Path, loaded: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind_of(loaded) == "sqlite":
        return
    monkeypatch.setattr(copies.shutil, "which", lambda name: None)
    with pytest.raises(PartMissing, match=r"pg_dump is not installed.*postgresql-client"):
        backup.make(loaded, archive.with_name("two.tar.gz"))


async def test_a_server_that_is_away_is_told(loaded: Settings, archive: Path) -> None:
    if kind_of(loaded) == "sqlite":
        return
    Seal.load(loaded.data_dir / KEY)
    url = "postgresql+psycopg://me:canary@127.0.0.1:1/strata"
    away = settings.load(data_dir=loaded.data_dir, database={"url": url})
    with pytest.raises(StoreUnavailable, match="does not answer") as raised:
        backup.make(away, archive)
    assert "canary" not in raised.value.message


async def test_others_may_write_meanwhile(loaded: Settings, archive: Path) -> None:
    """A backup is of one moment: each of its rows was committed, and none is half."""
    async with staged(loaded) as stage:
        stop = asyncio.Event()

        async def write() -> int:
            count = 0
            while not stop.is_set():
                async with stage.platform.journal.begin() as one:
                    one.note("tick", "str_1", by=ADMIN, count=count)
                count += 1
            return count

        writing = asyncio.create_task(write())
        await asyncio.to_thread(backup.make, loaded, archive)
        stop.set()
        assert await writing > 0
