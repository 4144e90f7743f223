from __future__ import annotations

import stat
from pathlib import Path

import pytest

from strata.host.records import Record, Records

ONE = Record("str_1", [15000, 15002], name="Derby", slate="/slate.png", pid=4711, started=99)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "workers"


def test_the_folder_is_made_and_is_private(folder: Path) -> None:
    assert Records(folder).all() == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    Records(folder)  # and one that is there already is taken


def test_what_is_written_is_there_for_the_next_host(folder: Path) -> None:
    two = Record("str_2", [15001], first_media_s=0.0, forwards=3, had_media=True, boot="b")
    records = Records(folder)
    records.write(two)
    records.write(ONE)
    assert Records(folder).all() == [ONE, two]
    assert stat.S_IMODE((folder / "str_1.json").stat().st_mode) == 0o600


def test_the_newest_replaces_what_was_known(folder: Path) -> None:
    records = Records(folder)
    records.write(Record("str_1", [15000, 15002]))
    records.write(ONE)
    assert records.all() == [ONE]
    assert [path.name for path in folder.iterdir()] == ["str_1.json"]


def test_one_that_is_half_written_does_not_count(folder: Path) -> None:
    """The host was killed while it wrote."""
    records = Records(folder)
    records.write(ONE)
    (folder / "str_1.new").write_bytes(b'{"stream_id":')
    (folder / "str_2.new").write_bytes(b'{"stream_id":"str_2"')
    assert records.all() == [ONE]
    records.write(ONE)
    assert records.all() == [ONE]


def test_what_is_forgotten_is_gone_and_stays_gone(folder: Path) -> None:
    records = Records(folder)
    records.write(ONE)
    records.forget("str_1")
    records.forget("str_1")
    assert records.all() == []
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b'{"stream_id":"str_0"}', b'{"stream_id":7,"ports":[]}', b'{"stream_id":"\xff"}'],
)
def test_one_that_cannot_be_read_is_told_and_does_not_hide_the_others(
    folder: Path, caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    records = Records(folder)
    records.write(ONE)
    (folder / "str_0.json").write_bytes(text)
    assert records.all() == [ONE]
    assert f"the record {folder}/str_0.json cannot be read" in caplog.text
    assert (folder / "str_0.json").exists()


def test_a_record_of_a_newer_version_is_read(folder: Path) -> None:
    records = Records(folder)
    (folder / "str_1.json").write_bytes(b'{"stream_id":"str_1","ports":[15000],"colour":"blue"}')
    assert records.all() == [Record("str_1", [15000])]


def test_a_disk_that_refuses_is_told_and_what_was_known_stays(folder: Path) -> None:
    records = Records(folder)
    records.write(Record("str_1", [15000, 15002]))
    (folder / "str_1.new").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        records.write(ONE)
    assert records.all() == [Record("str_1", [15000, 15002])]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        Records(tmp_path / "file" / "workers")
